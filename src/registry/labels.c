/* labels.c - labels.txt: the name of each class, one per line. They go into JSON answers, so they must
 * be UTF-8. */
#include "registry_int.h"

#include <string.h>

/* Length of the well-formed sequence at s (RFC 3629), 0 when there is none. */
static size_t utf8_length(const unsigned char *s, size_t left)
{
    if (s[0] < 0x80)
        return s[0] != 0 ? 1 : 0;
    size_t n = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    if (s[0] < 0xc2 || s[0] > 0xf4 || n > left)
        return 0;
    unsigned char low = 0x80, high = 0xbf; /* bounds of the second byte */
    if (s[0] == 0xe0)
        low = 0xa0;
    else if (s[0] == 0xed)
        high = 0x9f;
    else if (s[0] == 0xf0)
        low = 0x90;
    else if (s[0] == 0xf4)
        high = 0x8f;
    if (s[1] < low || s[1] > high)
        return 0;
    for (size_t i = 2; i < n; i++) {
        if (s[i] < 0x80 || s[i] > 0xbf)
            return 0;
    }
    return n;
}

static bool is_utf8(const char *text, size_t len)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t at = 0, n; at < len; at += n) {
        n = utf8_length(s + at, len - at);
        if (n == 0)
            return false;
    }
    return true;
}

rcd_status rcd__labels(const char *text, size_t len, struct rcd_arena *arena,
                       const char *const **ret, size_t *ret_n, struct rcd_error *err)
{
    size_t n = 0;
    for (size_t i = 0; i < len; i++)
        n += text[i] == '\n';
    n += len > 0 && text[len - 1] != '\n';
    const char **labels = rcd_arena_calloc(arena, n, sizeof *labels);
    if (labels == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu labels", n);
    const char *line = text;
    for (size_t i = 0; i < n; i++) {
        size_t left = len - (size_t)(line - text);
        const char *end = memchr(line, '\n', left);
        size_t size = end != NULL ? (size_t)(end - line) : left;
        const char *next = end != NULL ? end + 1 : text + len;
        if (size > 0 && line[size - 1] == '\r')
            size--;
        if (!is_utf8(line, size))
            return rcd_fail(err, RCD_EMODEL, "line %zu is not UTF-8 text", i + 1);
        labels[i] = rcd_arena_strndup(arena, line, size);
        if (labels[i] == NULL)
            return rcd_fail(err, RCD_ENOMEM, "no memory for %zu labels", n);
        line = next;
    }
    *ret = labels;
    *ret_n = n;
    return RCD_OK;
}
