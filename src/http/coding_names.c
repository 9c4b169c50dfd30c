/* coding_names.c - the words of Content-Encoding and Accept-Encoding. */
#include "http_int.h"

#include <string.h>
#include <strings.h>

static const char *const names[] = {"identity", "gzip", "deflate"};

static bool word_is(const char *text, size_t len, const char *want)
{
    return len == strlen(want) && strncasecmp(text, want, len) == 0;
}

static bool word_coding(const char *text, size_t len, rcd_coding *ret)
{
    for (size_t i = 0; i < RCD_COUNT(names); i++) {
        if (word_is(text, len, names[i])) {
            *ret = (rcd_coding)i;
            return true;
        }
    }
    if (word_is(text, len, "x-gzip")) {
        *ret = RCD_CODING_GZIP;
        return true;
    }
    return false;
}

static size_t trimmed(const char **text, size_t len)
{
    while (len > 0 && (**text == ' ' || **text == '\t')) {
        (*text)++;
        len--;
    }
    while (len > 0 && ((*text)[len - 1] == ' ' || (*text)[len - 1] == '\t'))
        len--;
    return len;
}

bool rcd_coding_parse(const char *content_encoding, rcd_coding *ret)
{
    const char *text = content_encoding != NULL ? content_encoding : "";
    size_t len = trimmed(&text, strlen(text));
    if (len == 0) {
        *ret = RCD_CODING_IDENTITY;
        return true;
    }
    return word_coding(text, len, ret); /* a list of codings is one unknown word */
}

const char *rcd_coding_name(rcd_coding c)
{
    return names[c];
}

/* Weight in thousandths from ";q=0.8"; -1 when malformed. */
static int weight(const char *params, size_t len)
{
    len = trimmed(&params, len);
    if (len == 0)
        return 1000;
    if (len < 3 || (params[0] != 'q' && params[0] != 'Q') || params[1] != '=' ||
        (params[2] != '0' && params[2] != '1'))
        return -1;
    int q = (params[2] - '0') * 1000;
    int unit = 100;
    for (size_t i = 3; i < len; i++) {
        if (i == 3) {
            if (params[i] != '.')
                return -1;
            continue;
        }
        if (params[i] < '0' || params[i] > '9' || i > 6)
            return -1;
        q += (params[i] - '0') * unit;
        unit /= 10;
    }
    return q > 1000 ? -1 : q;
}

rcd_coding rcd_coding_choose(const char *accept_encoding)
{
    rcd_coding best = RCD_CODING_IDENTITY;
    int best_q = 0;
    for (const char *at = accept_encoding; at != NULL && *at != '\0';) {
        size_t len = strcspn(at, ",");
        const char *word = at;
        const char *semi = memchr(at, ';', len);
        size_t word_len = trimmed(&word, semi != NULL ? (size_t)(semi - at) : len);
        int q = semi != NULL ? weight(semi + 1, (size_t)(at + len - semi - 1)) : 1000;
        rcd_coding c = RCD_CODING_IDENTITY;
        if (q > best_q && word_coding(word, word_len, &c)) {
            best = c;
            best_q = q;
        }
        at += len;
        at += *at == ',';
    }
    return best;
}
