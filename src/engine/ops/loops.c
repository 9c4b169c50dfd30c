/* loops.c - the walk over broadcast shapes: operators bring an inner loop over one run of elements. */
#include "ops.h"

#include <string.h>

void rcd__copy(void *dst, const void *src, size_t bytes)
{
    if (bytes > 0)
        memcpy(dst, src, bytes);
}

rcd_status rcd__new_like(const struct rcd_call *c, size_t r, rcd_dtype t, struct rcd_tensor **ret)
{
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    return rcd__new_out(c, 0, r, t, x->rank, x->dims, ret);
}

void rcd__loop2(const struct rcd_bcast *b, const struct rcd_tensor *x, const struct rcd_tensor *y,
                const struct rcd_tensor *out, rcd__inner2 *f)
{
    size_t in_size = rcd_dtype_size(x->dtype), out_size = rcd_dtype_size(out->dtype);
    size_t y_size = rcd_dtype_size(y->dtype);
    int last = b->rank - 1;
    size_t n = (size_t)b->dims[last];
    if (out->n == 0)
        return;
    int64_t at[RCD_MAX_RANK] = {0};
    char *o = out->data;
    const char *px = x->data, *py = y->data;
    for (;;) {
        f(o, px, py, n, b->stride[0][last] != 0, b->stride[1][last] != 0);
        o += n * out_size;
        int d = last - 1;
        for (; d >= 0; d--) {
            px += b->stride[0][d] * (int64_t)in_size;
            py += b->stride[1][d] * (int64_t)y_size;
            if (++at[d] < b->dims[d])
                break;
            px -= b->stride[0][d] * b->dims[d] * (int64_t)in_size;
            py -= b->stride[1][d] * b->dims[d] * (int64_t)y_size;
            at[d] = 0;
        }
        if (d < 0)
            return;
    }
}

rcd_status rcd__binary_check(struct rcd_check *k, rcd__inner2 *const *table, rcd__inner2 **ret)
{
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 1);
    if (st != RCD_OK)
        return st;
    *ret = table[rcd__in_type(k, 0)];
    if (*ret == NULL)
        return rcd__refuse(k, "element type %s is not run here",
                           rcd_dtype_onnx_name(rcd__in_type(k, 0)));
    return RCD_OK;
}

rcd_status rcd__binary(const struct rcd_call *c, size_t r, rcd_dtype out_type, rcd__inner2 *f)
{
    const struct rcd_tensor *t[2] = {rcd__in(c, 0, r), rcd__in(c, 1, r)};
    struct rcd_bcast b;
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__broadcast(c, r, 2, t, &b);
    if (st == RCD_OK)
        st = rcd__new_out(c, 0, r, out_type, b.out_rank, b.out_dims, &out);
    if (st == RCD_OK && out != NULL)
        rcd__loop2(&b, t[0], t[1], out, f);
    return st;
}
