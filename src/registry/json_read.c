/* json_read.c - reading a JSON object strictly; see json_read.h. */
#include "json_read.h"

#include <string.h>

/* ---- messages -------------------------------------------------------------------------------- */

const char *rcd__type_name(const json_t *v)
{
    switch (json_typeof(v)) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "a list";
    case JSON_STRING:
        return "a text";
    case JSON_INTEGER:
        return "an integer";
    case JSON_REAL:
        return "a number with a fraction";
    case JSON_TRUE:
    case JSON_FALSE:
        return "true or false";
    default:
        return "null";
    }
}

rcd_status rcd__wrong(struct rcd__parse *p, const char *key, const char *fmt, ...)
{
    char why[RCD_ERROR_TEXT], name[80];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    rcd_quote(name, sizeof name, key, strlen(key));
    return rcd_fail(p->err, RCD_EMODEL, "%s%s%s: %s", p->where, p->where[0] != '\0' ? "." : "",
                    name, why);
}

rcd_status rcd__no_memory(struct rcd__parse *p)
{
    return rcd_fail(p->err, RCD_ENOMEM, "no memory for the configuration");
}

/* ---- values ---------------------------------------------------------------------------------- */

rcd_status rcd__read_int(struct rcd__parse *p, const char *key, const json_t *v, int64_t min,
                         int64_t max, int64_t *ret)
{
    if (!json_is_integer(v))
        return rcd__wrong(p, key, "is %s, want an integer from %lld to %lld", rcd__type_name(v),
                          (long long)min, (long long)max);
    int64_t n = json_integer_value(v);
    if (n < min || n > max)
        return rcd__wrong(p, key, "is %lld, want %lld to %lld", (long long)n, (long long)min,
                          (long long)max);
    *ret = n;
    return RCD_OK;
}

rcd_status rcd__read_text(struct rcd__parse *p, const char *key, const json_t *v, const char **ret)
{
    if (!json_is_string(v))
        return rcd__wrong(p, key, "is %s, want a text", rcd__type_name(v));
    *ret = rcd_arena_strndup(p->arena, json_string_value(v), json_string_length(v));
    return *ret != NULL ? RCD_OK : rcd__no_memory(p);
}

rcd_status rcd__read_choice(struct rcd__parse *p, const char *key, const json_t *v,
                            const char *const *choices, size_t n, size_t *ret)
{
    const char *text = json_is_string(v) ? json_string_value(v) : NULL;
    for (size_t i = 0; text != NULL && i < n; i++) {
        if (strcmp(text, choices[i]) == 0) {
            *ret = i;
            return RCD_OK;
        }
    }
    char list[128] = "", got[64];
    size_t at = 0;
    for (size_t i = 0; i < n; i++)
        at += (size_t)snprintf(list + at, sizeof list - at, "%s\"%s\"",
                               i == 0 ? "" : (i + 1 < n ? ", " : " or "), choices[i]);
    if (text == NULL)
        return rcd__wrong(p, key, "is %s, want %s", rcd__type_name(v), list);
    return rcd__wrong(p, key, "is '%s', want %s", rcd_quote(got, sizeof got, text, strlen(text)),
                      list);
}

rcd_status rcd__want_list(struct rcd__parse *p, const char *key, const json_t *v, const char *of)
{
    if (!json_is_array(v))
        return rcd__wrong(p, key, "is %s, want a list of %s", rcd__type_name(v), of);
    if (json_array_size(v) > RCD__LIST_MAX)
        return rcd__wrong(p, key, "has %zu members, limit %d", json_array_size(v), RCD__LIST_MAX);
    return RCD_OK;
}

/* ---- objects --------------------------------------------------------------------------------- */

static rcd_status unknown_key(struct rcd__parse *p, const char *key,
                              const struct rcd__field *fields, size_t n)
{
    const char *known[16];
    char name[80];
    RCD_ASSERT(n <= RCD_COUNT(known));
    for (size_t i = 0; i < n; i++)
        known[i] = fields[i].key;
    const char *near = rcd__nearest(key, known, n);
    rcd_quote(name, sizeof name, key, strlen(key));
    return rcd_fail(p->err, RCD_EMODEL, "unknown key '%s'%s%s%s%s%s%s", name,
                    p->where[0] != '\0' ? " in " : "", p->where, near != NULL ? "; is '" : "",
                    near != NULL ? near : "", near != NULL ? "' meant" : "",
                    near != NULL ? "?" : "");
}

rcd_status rcd__check_keys(struct rcd__parse *p, json_t *v, const struct rcd__field *fields,
                           size_t n)
{
    const char *name;
    json_t *value;
    json_object_foreach(v, name, value)
    {
        size_t i = 0;
        while (i < n && strcmp(fields[i].key, name) != 0)
            i++;
        if (i == n)
            return unknown_key(p, name, fields, n);
    }
    return RCD_OK;
}

rcd_status rcd__read_object(struct rcd__parse *p, const char *key, json_t *v,
                            const struct rcd__field *fields, size_t n)
{
    if (!json_is_object(v))
        return rcd__wrong(p, key, "is %s, want an object", rcd__type_name(v));
    const char *outside = p->where;
    p->where = key;
    rcd_status st = rcd__check_keys(p, v, fields, n);
    for (size_t i = 0; i < n && st == RCD_OK; i++) {
        json_t *value = json_object_get(v, fields[i].key);
        st = value != NULL ? fields[i].read(p, fields[i].key, value) : RCD_OK;
    }
    if (st == RCD_OK)
        p->where = outside;
    return st;
}
