/* error.c - statuses, their words and their HTTP codes, all from errors.def. */
#include "recurd/base.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    int http;
    const char *word;
} statuses[] = {
#define X(name, http, word) {http, word},
#include "recurd/errors.def"
#undef X
};

rcd_status rcd_fail(struct rcd_error *err, rcd_status code, const char *fmt, ...)
{
    if (err != NULL) {
        err->code = code;
        va_list args;
        va_start(args, fmt);
        vsnprintf(err->text, sizeof err->text, fmt, args);
        va_end(args);
    }
    return code;
}

rcd_status rcd_error_prefix(struct rcd_error *err, rcd_status code, const char *fmt, ...)
{
    if (err == NULL)
        return code;
    char old[RCD_ERROR_TEXT];
    memcpy(old, err->text, sizeof old);
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, args);
    va_end(args);
    if (n >= 0 && (size_t)n < sizeof err->text)
        snprintf(err->text + n, sizeof err->text - (size_t)n, "%s", old);
    return code;
}

int rcd_status_http(rcd_status code)
{
    return (size_t)code < RCD_COUNT(statuses) ? statuses[code].http : 500;
}

const char *rcd_status_word(rcd_status code)
{
    return (size_t)code < RCD_COUNT(statuses) ? statuses[code].word : "internal";
}

void rcd_assert_failed(const char *cond, const char *file, int line)
{
    fprintf(stderr, "recurd: bug: assertion failed: %s (%s:%d)\n", cond, file, line);
    abort();
}
