/* json_string.c - text to JSON strings. */
#include "codec_int.h"

#include <string.h>

/* How a byte is written: 0 as it is, a letter behind a backslash, 'u' as \u00NN, 'x' part of a
 * longer character. */
static char way_of(unsigned char c)
{
    switch (c) {
    case '"':
    case '\\':
        return (char)c;
    case '\b':
        return 'b';
    case '\f':
        return 'f';
    case '\n':
        return 'n';
    case '\r':
        return 'r';
    case '\t':
        return 't';
    default:
        return c < 0x20 ? 'u' : c < 0x80 ? 0 : 'x';
    }
}

/* How many bytes at the beginning are written as they are and are no longer characters, either. */
static size_t plain_length(const char *text, size_t len)
{
    size_t n = 0;
    while (len - n >= 8 && rcd__eight_plain(text + n))
        n += 8;
    while (n < len && rcd__is_plain(text[n]))
        n++;
    return n;
}

rcd_status rcd_json_string(struct rcd_buf *out, const char *text, size_t len)
{
    if (len > 0 && len + 2 <= rcd_buf_room(out) &&
        plain_length(text, len) == len) { /* names, mostly; an empty one may be NULL */
        char *to = out->data + out->len;
        to[0] = '"';
        memcpy(to + 1, text, len);
        to[len + 1] = '"';
        rcd_buf_commit(out, len + 2);
        return RCD_OK;
    }
    const char *p = text, *end = text + len;
    rcd_status st = rcd_buf_append(out, "\"", 1);
    while (st == RCD_OK && p < end) {
        const char *from = p;
        char way = 0;
        size_t n = 1;
        while (p < end) { /* a run that needs no change */
            way = way_of((unsigned char)*p);
            n = way == 'x' ? rcd__utf8_len(p, end) : 1;
            if ((way != 0 && way != 'x') || n == 0)
                break;
            p += n;
        }
        st = rcd_buf_append(out, from, (size_t)(p - from));
        if (st != RCD_OK || p == end)
            break;
        if (n == 0)
            st = rcd_buf_append(out, "\xef\xbf\xbd", 3); /* U+FFFD */
        else if (way == 'u')
            st = rcd_buf_printf(out, "\\u%04x", (unsigned char)*p);
        else
            st = rcd_buf_append(out, (const char[2]){'\\', way}, 2);
        p++;
    }
    return st == RCD_OK ? rcd_buf_append(out, "\"", 1) : st;
}
