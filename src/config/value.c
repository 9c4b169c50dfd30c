/* value.c - the text of one option's value to its field, and back.
 *
 * Numbers are digits with an optional unit and nothing else: no sign, no fraction, no hex, so what
 * is written is what is meant. A wrong value is answered with what would be right. */
#include "config_int.h"

#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    uint64_t factor;
};
static const struct unit sizes[] = {{"", 1}, {"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}};
static const struct unit durations[] = {{"", 1000},   {"ms", 1},      {"s", 1000},
                                        {"m", 60000}, {"h", 3600000}, {"d", 86400000}};

static bool parse_number(const char *text, const struct unit *units, size_t n_units, uint64_t *ret)
{
    uint64_t value = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(value, 10u, &value) ||
            __builtin_add_overflow(value, (unsigned)(*p - '0'), &value))
            return false;
    if (p == text)
        return false;
    for (size_t i = 0; i < n_units; i++)
        if (strcasecmp(p, units[i].name) == 0)
            return !__builtin_mul_overflow(value, units[i].factor, ret);
    return false;
}

static bool parse_bool(const char *text, bool *ret)
{
    static const char *const words[] = {"no", "yes", "off", "on", "false", "true", "0", "1"};
    for (size_t i = 0; i < RCD_COUNT(words); i++) {
        if (strcasecmp(text, words[i]) == 0) {
            *ret = i % 2 == 1;
            return true;
        }
    }
    return false;
}

static bool parse_choice(const char *text, const char *choices, int *ret)
{
    size_t len = strlen(text);
    int at = 0;
    for (const char *c = choices;; at++) {
        size_t n = strcspn(c, ",");
        if (n == len && strncasecmp(c, text, n) == 0) {
            *ret = at;
            return true;
        }
        if (c[n] == '\0')
            return false;
        c += n + 1;
    }
}

static bool parse_uint(const struct rcd__option *o, const char *text, uint64_t *ret)
{
    uint64_t value = 0;
    bool ok = false;
    if (o->type == RCD_OPT_BYTES)
        ok = parse_number(text, sizes, RCD_COUNT(sizes), &value);
    else if (o->type == RCD_OPT_DURATION)
        ok = parse_number(text, durations, RCD_COUNT(durations), &value);
    else
        ok = parse_number(text, sizes, 1, &value);
    if (!ok || value < o->min || value > o->max)
        return false;
    *ret = value;
    return true;
}

static bool plain_text(const struct rcd__option *o, const char *text)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < len; i++)
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            return false;
    return len >= o->min && len <= o->max;
}

static const char *unit_hint(const struct rcd__option *o)
{
    if (o->type == RCD_OPT_BYTES)
        return " (bytes, or with K, M, G)";
    return o->type == RCD_OPT_DURATION ? " (with ms, s, m, h, d; seconds without)" : "";
}

rcd_status rcd__option_set(struct rcd_config *c, const struct rcd__option *o, const char *text,
                           const char *where, const char *name, struct rcd_error *err)
{
    void *field = (char *)c + o->offset;
    bool ok = false;
    switch (o->type) {
    case RCD_OPT_STRING:
        ok = plain_text(o, text);
        if (ok) {
            char *copy = rcd_strdup(text);
            if (copy == NULL)
                return rcd_fail(err, RCD_ENOMEM, "%s%s: no memory", where, name);
            rcd_free(*(char **)field);
            *(char **)field = copy;
        }
        break;
    case RCD_OPT_BOOL:
        ok = parse_bool(text, field);
        break;
    case RCD_OPT_ENUM:
        ok = parse_choice(text, o->choices, field);
        break;
    case RCD_OPT_UINT:
    case RCD_OPT_BYTES:
    case RCD_OPT_DURATION:
        ok = parse_uint(o, text, field);
        break;
    }
    if (ok)
        return RCD_OK;
    char range[128], quoted[64];
    return rcd_fail(err, RCD_EINVAL, "%s%s: got '%s', want %s%s", where, name,
                    rcd_quote(quoted, sizeof quoted, text, strlen(text)),
                    rcd__option_range(o, range, sizeof range), unit_hint(o));
}

const char *rcd__value_text(const struct rcd__option *o, uint64_t value, char *buf, size_t cap)
{
    const struct unit *units = sizes;
    size_t n = 1, best = 0;
    if (o->type == RCD_OPT_BYTES)
        n = RCD_COUNT(sizes);
    if (o->type == RCD_OPT_DURATION) {
        units = durations;
        n = RCD_COUNT(durations);
        best = 1; /* ms */
    }
    for (size_t i = best; i < n; i++)
        if (value % units[i].factor == 0 && value != 0)
            best = i;
    snprintf(buf, cap, "%llu%s", (unsigned long long)(value / units[best].factor),
             value == 0 && o->type == RCD_OPT_DURATION ? "" : units[best].name);
    return buf;
}

const char *rcd__option_range(const struct rcd__option *o, char *buf, size_t cap)
{
    char low[32], high[32];
    size_t at = 0;
    switch (o->type) {
    case RCD_OPT_STRING:
        snprintf(buf, cap, "text of %llu to %llu characters", (unsigned long long)o->min,
                 (unsigned long long)o->max);
        break;
    case RCD_OPT_BOOL:
        snprintf(buf, cap, "yes or no");
        break;
    case RCD_OPT_ENUM: /* "a,b,c" -> "a, b or c" */
        for (const char *c = o->choices; *c != '\0' && at + 8 < cap; c++) {
            if (*c != ',')
                buf[at++] = *c;
            else
                at += (size_t)snprintf(buf + at, cap - at,
                                       strchr(c + 1, ',') != NULL ? ", " : " or ");
        }
        buf[at] = '\0';
        break;
    case RCD_OPT_UINT:
    case RCD_OPT_BYTES:
    case RCD_OPT_DURATION:
        snprintf(buf, cap, "%s to %s", rcd__value_text(o, o->min, low, sizeof low),
                 rcd__value_text(o, o->max, high, sizeof high));
        break;
    }
    return buf;
}

static size_t field_bytes(const struct rcd__option *o)
{
    if (o->type == RCD_OPT_STRING)
        return sizeof(char *);
    if (o->type == RCD_OPT_BOOL)
        return sizeof(bool);
    return o->type == RCD_OPT_ENUM ? sizeof(int) : sizeof(uint64_t);
}

bool rcd__option_equal(const struct rcd_config *a, const struct rcd_config *b,
                       const struct rcd__option *o)
{
    const char *left = (const char *)a + o->offset, *right = (const char *)b + o->offset;
    if (o->type != RCD_OPT_STRING)
        return memcmp(left, right, field_bytes(o)) == 0;
    char *text_a = NULL, *text_b = NULL;
    memcpy(&text_a, left, sizeof text_a);
    memcpy(&text_b, right, sizeof text_b);
    return strcmp(text_a, text_b) == 0;
}

void rcd__option_swap(struct rcd_config *a, struct rcd_config *b, const struct rcd__option *o)
{
    char *left = (char *)a + o->offset, *right = (char *)b + o->offset;
    char keep[sizeof(uint64_t)];
    size_t n = field_bytes(o);
    memcpy(keep, left, n);
    memcpy(left, right, n);
    memcpy(right, keep, n);
}
