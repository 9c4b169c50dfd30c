/* text.c - JSON strings: checked, measured, resolved; and lists of names without duplicates.
 *
 * A string without escapes is used where it stands in the body; only names, which need a NUL, and
 * strings with escapes are copied. */
#include "codec_int.h"

#include <string.h>

static bool hex4(const char *p, const char *end, uint32_t *ret)
{
    if (end - p < 4)
        return false;
    uint32_t v = 0;
    for (int i = 0; i < 4; i++) {
        unsigned c = (unsigned char)p[i];
        unsigned digit = c - '0' < 10 ? c - '0' : (c | 0x20) - 'a' < 6 ? (c | 0x20) - 'a' + 10 : 16;
        if (digit == 16)
            return false;
        v = v << 4 | digit;
    }
    *ret = v;
    return true;
}

/* The escape at p (a backslash): its length, 0 if it is none; *ret is the character. */
static size_t escape(const char *p, const char *end, uint32_t *ret)
{
    static const char letters[] = "\"\\/bfnrt", stands_for[] = "\"\\/\b\f\n\r\t";
    if (end - p < 2)
        return 0;
    const char *letter = p[1] != '\0' ? strchr(letters, p[1]) : NULL;
    if (letter != NULL) {
        *ret = (unsigned char)stands_for[letter - letters];
        return 2;
    }
    uint32_t high = 0, low = 0;
    if (p[1] != 'u' || !hex4(p + 2, end, &high) || (high >= 0xdc00 && high < 0xe000))
        return 0;
    *ret = high;
    if (high < 0xd800 || high >= 0xdc00)
        return 6;
    if (end - p < 12 || p[6] != '\\' || p[7] != 'u' || !hex4(p + 8, end, &low) || low < 0xdc00 ||
        low >= 0xe000)
        return 0;
    *ret = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
    return 12;
}

rcd_status rcd__scan_text(struct rcd__scan *s, struct rcd__text *ret)
{
    const char *const at = s->p + 1, *const end = s->end;
    const char *p = at;
    size_t saved = 0; /* bytes that escapes take beyond what they stand for */
    for (;;) {
        while (end - p >= 8 && rcd__eight_plain(p))
            p += 8;
        while (p < end && rcd__is_plain(*p))
            p++;
        if (p == end)
            return rcd__scan_fail(s, s->p, "a string has no end");
        if (*p == '"')
            break;
        size_t n;
        if (*p == '\\') {
            uint32_t code = 0;
            char utf8[4];
            n = escape(p, end, &code);
            if (n == 0)
                return rcd__scan_fail(s, p, "wrong escape in a string");
            saved += n - rcd__utf8_put(utf8, code);
        } else {
            n = rcd__utf8_len(p, end);
            if ((unsigned char)*p < 0x20)
                return rcd__scan_fail(s, p, "control byte 0x%02x in a string", *p);
            if (n == 0)
                return rcd__scan_fail(s, p, "a string is not UTF-8 (0x%02x)", (unsigned char)*p);
        }
        p += n;
    }
    *ret = (struct rcd__text){.at = at, .raw = (size_t)(p - at)};
    ret->len = ret->raw - saved;
    s->p = p + 1;
    return RCD_OK;
}

void rcd__text_decode(const struct rcd__text *t, char *out)
{
    const char *p = t->at, *end = p + t->raw;
    while (p < end) {
        const char *slash = memchr(p, '\\', (size_t)(end - p));
        size_t plain = (size_t)((slash != NULL ? slash : end) - p);
        memcpy(out, p, plain);
        out += plain;
        p += plain;
        if (slash != NULL) {
            uint32_t code = 0;
            p += escape(p, end, &code);
            out += rcd__utf8_put(out, code);
        }
    }
}

bool rcd__text_equals(const struct rcd__text *t, const char *word)
{
    char decoded[64];
    if (t->len != strlen(word) || t->len > sizeof decoded)
        return false;
    if (t->raw == t->len)
        return memcmp(t->at, word, t->len) == 0;
    rcd__text_decode(t, decoded);
    return memcmp(decoded, word, t->len) == 0;
}

static rcd_status copy(struct rcd__scan *s, const struct rcd__text *t, const char *what,
                       const char **ret)
{
    if (t->len > s->max_string)
        return rcd__scan_fail(s, t->at, "%s of %zu bytes; at most %zu", what, t->len,
                              s->max_string);
    char *out = rcd_arena_alloc(s->arena, t->len + 1);
    if (out == NULL)
        return rcd__scan_no_memory(s, what, t->len + 1);
    rcd__text_decode(t, out);
    out[t->len] = '\0';
    *ret = out;
    return RCD_OK;
}

static rcd_status want_text(struct rcd__scan *s, const char *what, struct rcd__text *ret)
{
    if (rcd__scan_peek(s) == '"')
        return rcd__scan_text(s, ret);
    char want[64];
    snprintf(want, sizeof want, "a string for %s", what);
    return rcd__scan_unexpected(s, want);
}

rcd_status rcd__scan_string(struct rcd__scan *s, const char *what, const char **ret,
                            size_t *ret_len)
{
    struct rcd__text t = {.at = NULL};
    rcd_status st = want_text(s, what, &t);
    if (st == RCD_OK)
        st = copy(s, &t, what, ret);
    if (st == RCD_OK)
        *ret_len = t.len;
    return st;
}

rcd_status rcd__text_name(struct rcd__scan *s, const struct rcd__text *t, const char *what,
                          const char **ret)
{
    rcd_status st = copy(s, t, what, ret);
    if (st == RCD_OK && (t->len == 0 || strlen(*ret) != t->len))
        st = rcd__scan_fail(s, t->at, "%s is empty or holds U+0000", what);
    return st;
}

rcd_status rcd__scan_name(struct rcd__scan *s, const char *what, const char **ret)
{
    struct rcd__text t = {.at = NULL};
    rcd_status st = want_text(s, what, &t);
    return st == RCD_OK ? rcd__text_name(s, &t, what, ret) : st;
}

/* ---- lists ---- */

rcd_status rcd__scan_grow(struct rcd__scan *s, void **array, size_t n, size_t *cap,
                          size_t elt_bytes)
{
    if (n < *cap)
        return RCD_OK;
    size_t want = *cap == 0 ? 4 : *cap * 2;
    void *bigger = rcd_arena_calloc(s->arena, want, elt_bytes);
    if (bigger == NULL)
        return rcd__scan_no_memory(s, "a list", want * elt_bytes);
    if (n > 0)
        memcpy(bigger, *array, n * elt_bytes);
    *array = bigger;
    *cap = want;
    return RCD_OK;
}

static uint64_t hash(const char *name) /* FNV-1a */
{
    uint64_t h = 0xcbf29ce484222325u;
    for (; *name != '\0'; name++)
        h = (h ^ (unsigned char)*name) * 0x100000001b3u;
    return h;
}

rcd_status rcd__wire_names_add(struct rcd__scan *s, struct rcd__names *names, const char *name,
                               const char *what)
{
    uint64_t h = hash(name);
    if (names->cap == 0) {
        names->hashes = names->few_hashes;
        names->names = names->few_names;
        names->cap = RCD__FEW_NAMES;
    }
    for (size_t i = 0; i < names->n; i++) {
        if (names->hashes[i] != h || strcmp(names->names[i], name) != 0)
            continue;
        char text[RCD__SNIPPET];
        return rcd__scan_fail(s, s->p, "%s '%s' is there twice", what,
                              rcd_quote(text, sizeof text, name, strlen(name)));
    }
    size_t cap = names->cap;
    void *hashes = names->hashes, *list = names->names;
    rcd_status st = rcd__scan_grow(s, &hashes, names->n, &cap, sizeof *names->hashes);
    if (st == RCD_OK)
        st = rcd__scan_grow(s, &list, names->n, &names->cap, sizeof *names->names);
    if (st != RCD_OK)
        return st;
    names->hashes = hashes;
    names->names = list;
    names->hashes[names->n] = h;
    names->names[names->n++] = name;
    return RCD_OK;
}
