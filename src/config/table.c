/* table.c - the option table as data, its names in file, environment and command line, and the
 * nearest known name for one that is not known. */
#include "config_int.h"

#include <ctype.h>
#include <string.h>

static const struct rcd__option table[] = {
#define X(section, key, field, type, def, min, max, reload, choices, doc)                          \
    {section,        key,     NULL, NULL,                                                          \
     RCD_OPT_##type, def,     min,  max,                                                           \
     reload,         choices, doc,  offsetof(struct rcd_config, field)},
#include "recurd/options.def"
#undef X
};

static char flag_names[RCD_COUNT(table)][RCD__NAME_MAX];
static char env_names[RCD_COUNT(table)][RCD__NAME_MAX];
static struct rcd__option options[RCD_COUNT(table)];

const struct rcd__option *rcd__options(size_t *ret_n)
{
    if (ret_n != NULL)
        *ret_n = RCD_COUNT(table);
    if (options[0].section != NULL)
        return options;
    for (size_t i = RCD_COUNT(table); i-- > 0;) {
        int len = snprintf(flag_names[i], RCD__NAME_MAX, "%s-%s", table[i].section, table[i].key);
        RCD_ASSERT(len > 0 && len + 8 < RCD__NAME_MAX);
        snprintf(env_names[i], RCD__NAME_MAX, "RECURD_%s_%s", table[i].section, table[i].key);
        for (char *p = flag_names[i]; *p != '\0'; p++)
            *p = *p == '_' ? '-' : *p;
        for (char *p = env_names[i]; *p != '\0'; p++)
            *p = (char)toupper((unsigned char)*p);
        options[i] = table[i];
        options[i].flag = flag_names[i];
        options[i].env = env_names[i];
    }
    return options;
}

const struct rcd__option *rcd__option_by_key(const char *section, const char *key)
{
    size_t n = 0;
    const struct rcd__option *o = rcd__options(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(o[i].section, section) == 0 && strcmp(o[i].key, key) == 0)
            return &o[i];
    return NULL;
}

const char *rcd__option_name(const struct rcd__option *o, rcd__spelling s, char *buf, size_t cap)
{
    if (s == RCD__BY_ENV)
        snprintf(buf, cap, "%s", o->env);
    else if (s == RCD__BY_FLAG)
        snprintf(buf, cap, "--%s", o->flag);
    else
        snprintf(buf, cap, "%s.%s", o->section, o->key);
    return buf;
}

const struct rcd__option *rcd__option_find(const char *name, rcd__spelling s)
{
    char buf[RCD__NAME_MAX];
    size_t n = 0;
    const struct rcd__option *o = rcd__options(&n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(rcd__option_name(&o[i], s, buf, sizeof buf), name) == 0)
            return &o[i];
    return NULL;
}

/* Levenshtein distance of two names, one row at a time; long names are compared by their start. */
static size_t distance(const char *a, const char *b)
{
    size_t row[RCD__NAME_MAX + 1];
    size_t n_a = strnlen(a, RCD__NAME_MAX), n_b = strnlen(b, RCD__NAME_MAX);
    for (size_t j = 0; j <= n_b; j++)
        row[j] = j;
    for (size_t i = 1; i <= n_a; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= n_b; j++) {
            size_t best = diagonal + (a[i - 1] == b[j - 1] ? 0 : 1);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
        }
    }
    return row[n_b];
}

/* Is `key` the second half of the option's spelt name? "max_body" alone is a common slip. */
static bool is_bare_key(const struct rcd__option *o, const char *name)
{
    const char *key = strrchr(name, '.');
    key = key != NULL ? key + 1 : name;
    while (*key == '-')
        key++;
    if (strncmp(key, "RECURD_", 7) == 0)
        key += 7;
    for (const char *want = o->key; *want != '\0' || *key != '\0'; want++, key++) {
        char got = *key == '-' ? '_' : (char)tolower((unsigned char)*key);
        if (got != *want)
            return false;
    }
    return true;
}

rcd_status rcd__option_unknown(const char *where, const char *name, rcd__spelling s,
                               struct rcd_error *err)
{
    size_t n = 0, best = SIZE_MAX, n_aliases = s == RCD__BY_FLAG ? 6 : 0;
    const struct rcd__option *o = rcd__options(&n);
    static const char *const aliases[] = {"--config", "--models", "--listen",
                                          "--check",  "--help",   "--version"};
    char candidate[RCD__NAME_MAX], nearest[RCD__NAME_MAX] = "", quoted[RCD__NAME_MAX];
    for (size_t i = 0; i < n + n_aliases; i++) {
        const char *text =
            i < n ? rcd__option_name(&o[i], s, candidate, sizeof candidate) : aliases[i - n];
        size_t d = i < n && is_bare_key(&o[i], name) ? 1 : distance(name, text);
        if (d < best) {
            best = d;
            snprintf(nearest, sizeof nearest, "%s", text);
        }
    }
    rcd_quote(quoted, sizeof quoted, name, strlen(name));
    if (best > 2 + strlen(name) / 4)
        return rcd_fail(err, RCD_EINVAL, "%s%s is not an option; recurd --help lists them", where,
                        quoted);
    return rcd_fail(err, RCD_EINVAL, "%s%s is not an option; did you mean %s?", where, quoted,
                    nearest);
}
