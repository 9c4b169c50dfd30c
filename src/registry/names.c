/* names.c - which names are allowed, and small parsers of text from outside. */
#include "registry_int.h"

#include <string.h>

static const char *const reserved[] = {"stats"}; /* /v2/models/stats is an endpoint */

const char *rcd__name_fault(const char *name)
{
    size_t len = strlen(name);
    if (len == 0 || len > RCD__NAME_MAX)
        return "a model's name has 1 to 64 characters";
    if (name[0] == '.')
        return "a model's name does not begin with a dot";
    for (size_t i = 0; i < len; i++) {
        char c = name[i];
        bool fine = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '.' || c == '_' || c == '-';
        if (!fine)
            return "a model's name has letters, digits, '.', '_' and '-' only";
    }
    for (size_t i = 0; i < RCD_COUNT(reserved); i++) {
        if (strcmp(name, reserved[i]) == 0)
            return "this name is reserved";
    }
    return NULL;
}

static bool digits(const char **text, uint64_t *ret)
{
    const char *p = *text;
    uint64_t v = 0;
    for (; *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
            __builtin_add_overflow(v, (uint64_t)(*p - '0'), &v))
            return false;
    }
    bool any = p != *text;
    *text = p;
    *ret = v;
    return any;
}

bool rcd__version_parse(const char *text, uint64_t *ret)
{
    uint64_t v = 0;
    if (text[0] == '0' || !digits(&text, &v) || *text != '\0' || v > INT64_MAX)
        return false;
    *ret = v;
    return true;
}

bool rcd__size_parse(const char *text, uint64_t *ret)
{
    static const char units[] = "KMG";
    uint64_t v = 0;
    if (!digits(&text, &v))
        return false;
    if (*text != '\0') {
        const char *unit = strchr(units, *text);
        if (unit == NULL || text[1] != '\0' ||
            __builtin_mul_overflow(v, (uint64_t)1 << (10 * (unit - units + 1)), &v))
            return false;
    }
    *ret = v;
    return true;
}

/* Letters to insert, remove or replace to get from a to b; more than `far` for words too long to be
 * compared. */
static size_t distance(const char *a, const char *b, size_t far)
{
    size_t row[33], na = strlen(a), nb = strlen(b);
    if (na >= RCD_COUNT(row) || nb >= RCD_COUNT(row))
        return far + 1;
    for (size_t j = 0; j <= nb; j++)
        row[j] = j;
    for (size_t i = 1; i <= na; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            diagonal = row[j];
            row[j] = best;
        }
    }
    return row[nb];
}

const char *rcd__nearest(const char *word, const char *const *known, size_t n)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2; /* further off is no slip of the pen */
    for (size_t i = 0; i < n; i++) {
        size_t d = distance(word, known[i], least);
        if (d < least) {
            least = d;
            best = known[i];
        }
    }
    return best;
}
