/* scan.c - JSON structure (RFC 8259, nothing more): objects, arrays, skipped values.
 *
 * There is no tree and no event interface: whoever wants an object asks for its members one after
 * the other and decides by the key. Values of unknown keys are passed over, but checked. */
#include "codec_int.h"

#include "decimal_int.h"

#include <string.h>

/* ---- messages ---- */

rcd_status rcd__scan_fail(struct rcd__scan *s, const char *at, const char *fmt, ...)
{
    char text[RCD_ERROR_TEXT];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return rcd_fail(s->err, RCD_EINVAL, "%s (byte %zu)", text, (size_t)(at - s->start));
}

char *rcd__scan_snippet(const struct rcd__scan *s, const char *at, char *out)
{
    if (at >= s->end) {
        memcpy(out, "the end", sizeof "the end");
        return out;
    }
    size_t len = 1; /* a token: to the next byte that ends one */
    while (at + len < s->end && len < RCD__SNIPPET && strchr(" \t\r\n,:[]{}\"", at[len]) == NULL)
        len++;
    if (*at == '"' && at + len < s->end && at[len] == '"')
        len++;
    return rcd_quote(out, RCD__SNIPPET, at, len);
}

rcd_status rcd__scan_unexpected(struct rcd__scan *s, const char *want)
{
    char found[RCD__SNIPPET];
    return rcd__scan_fail(s, s->p, "want %s, found %s", want, rcd__scan_snippet(s, s->p, found));
}

rcd_status rcd__scan_no_memory(struct rcd__scan *s, const char *what, size_t bytes)
{
    return rcd_fail(s->err, RCD_ENOMEM,
                    "no memory for %zu bytes of %s: %zu of the %zu bytes of a request are in use",
                    bytes, what, s->arena->used, s->arena->max);
}

/* ---- structure ---- */

rcd_status rcd__scan_open(struct rcd__scan *s, char bracket, const char *what)
{
    if (rcd__scan_peek(s) != bracket) {
        char want[64];
        snprintf(want, sizeof want, "an %s for %s", bracket == '{' ? "object" : "array", what);
        return rcd__scan_unexpected(s, want);
    }
    if (s->depth >= s->max_depth)
        return rcd__scan_fail(s, s->p, "nested deeper than %zu", s->max_depth);
    s->depth++;
    s->p++;
    return RCD_OK;
}

/* After '{' or '[', or behind a value: does another one follow? */
static bool another(struct rcd__scan *s, char close, bool *first, rcd_status *st)
{
    char c = rcd__scan_peek(s);
    bool at_first = *first;
    *first = false;
    *st = RCD_OK;
    if (c == close) {
        s->depth--;
        s->p++;
        return false;
    }
    if (at_first)
        return true;
    if (c != ',') {
        *st = rcd__scan_unexpected(s, close == '}' ? "',' or '}'" : "',' or ']'");
        return false;
    }
    s->p++;
    rcd__scan_blanks(s);
    return true;
}

bool rcd__scan_member(struct rcd__scan *s, bool *first, struct rcd__text *key, rcd_status *st)
{
    if (!another(s, '}', first, st))
        return false;
    if (rcd__scan_peek(s) != '"') {
        *st = rcd__scan_unexpected(s, "a key in quotes");
        return false;
    }
    *st = rcd__scan_text(s, key);
    if (*st != RCD_OK)
        return false;
    if (rcd__scan_peek(s) != ':') {
        *st = rcd__scan_unexpected(s, "':'");
        return false;
    }
    s->p++;
    rcd__scan_blanks(s);
    return true;
}

bool rcd__scan_item(struct rcd__scan *s, bool *first, rcd_status *st)
{
    if (!another(s, ']', first, st))
        return false;
    rcd__scan_blanks(s);
    return true;
}

rcd_status rcd__scan_known(struct rcd__scan *s, const char *const *keys, size_t n_keys,
                           const struct rcd__text *key, unsigned *seen, size_t *ret)
{
    size_t i = 0;
    while (i < n_keys && !rcd__text_is(key, keys[i]))
        i++;
    *ret = i;
    if (i == n_keys)
        return RCD_OK;
    if ((*seen >> i & 1u) != 0)
        return rcd__scan_fail(s, key->at, "'%s' is there twice", keys[i]);
    *seen |= 1u << i;
    return RCD_OK;
}

/* ---- values ---- */

bool rcd__scan_word(struct rcd__scan *s, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(s->end - s->p) < len || memcmp(s->p, word, len) != 0)
        return false;
    s->p += len;
    return true;
}

rcd_status rcd__scan_uint(struct rcd__scan *s, uint64_t max, const char *what, uint64_t *ret)
{
    struct rcd__decimal d;
    char c = rcd__scan_peek(s);
    const char *end = c == '-' || rcd__is_digit(c) ? rcd__decimal(s->p, s->end, &d) : NULL;
    uint64_t v = 0;
    if (end == NULL || !d.integer || !rcd__decimal_u64(&d, &v) || v > max ||
        (d.negative && v != 0)) {
        char want[96];
        snprintf(want, sizeof want, "an integer from 0 to %llu for %s", (unsigned long long)max,
                 what);
        return rcd__scan_unexpected(s, want);
    }
    s->p = end;
    *ret = v;
    return RCD_OK;
}

/* NOLINTNEXTLINE(misc-no-recursion): as deep as max_depth, which is at most RCD__DEPTH_LIMIT */
static rcd_status skip_brackets(struct rcd__scan *s, bool object)
{
    rcd_status st = rcd__scan_open(s, object ? '{' : '[', "a value");
    bool first = true;
    struct rcd__text key;
    while (st == RCD_OK &&
           (object ? rcd__scan_member(s, &first, &key, &st) : rcd__scan_item(s, &first, &st)))
        st = rcd__scan_skip(s);
    return st;
}

rcd_status rcd__scan_skip(struct rcd__scan *s)
{
    struct rcd__text text;
    struct rcd__decimal d;
    char c = rcd__scan_peek(s);
    if (c == '"')
        return rcd__scan_text(s, &text);
    if (c == '{' || c == '[')
        return skip_brackets(s, c == '{');
    if (c == '-' || rcd__is_digit(c)) {
        const char *end = rcd__decimal(s->p, s->end, &d);
        if (end == NULL)
            return rcd__scan_unexpected(s, "a number");
        s->p = end;
        return RCD_OK;
    }
    if (rcd__scan_word(s, "true") || rcd__scan_word(s, "false") || rcd__scan_word(s, "null"))
        return RCD_OK;
    return rcd__scan_unexpected(s, "a JSON value");
}
