/* buf.c - growable bytes that can never pass the maximum given at birth. */
#include "recurd/base.h"

#include <string.h>

enum { BUF_MIN = 256 };

void rcd_buf_init(struct rcd_buf *b, size_t max_bytes)
{
    *b = (struct rcd_buf){.data = NULL, .max = max_bytes};
}

void rcd_buf_done(struct rcd_buf *b)
{
    rcd_free(b->data);
    *b = (struct rcd_buf){.data = NULL, .max = b->max};
}

static rcd_status grow(struct rcd_buf *b, size_t len)
{
    size_t want = 0;
    if (!rcd_add(b->len, len, &want) || want > b->max) {
        b->failed = true;
        return RCD_ETOOBIG;
    }
    if (want <= b->cap)
        return RCD_OK;
    size_t cap = b->cap < BUF_MIN ? BUF_MIN : b->cap;
    while (cap < want)
        cap = cap > b->max / 2 ? b->max : cap * 2;
    char *data = rcd_realloc(b->data, cap);
    if (data == NULL) {
        b->failed = true;
        return RCD_ENOMEM;
    }
    b->data = data;
    b->cap = cap;
    return RCD_OK;
}

rcd_status rcd_buf_append_slow(struct rcd_buf *b, const void *bytes, size_t len)
{
    rcd_status st = grow(b, len);
    if (st != RCD_OK || len == 0)
        return st;
    memcpy(b->data + b->len, bytes, len);
    b->len += len;
    return RCD_OK;
}

rcd_status rcd_buf_puts(struct rcd_buf *b, const char *text)
{
    return rcd_buf_append(b, text, strlen(text));
}

rcd_status rcd_buf_printf(struct rcd_buf *b, const char *fmt, ...)
{
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    rcd_status st = n < 0 ? RCD_EINTERNAL : grow(b, (size_t)n + 1);
    if (st == RCD_OK) {
        vsnprintf(b->data + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
    return st;
}

char *rcd_buf_reserve(struct rcd_buf *b, size_t len)
{
    return grow(b, len) == RCD_OK ? b->data + b->len : NULL;
}
