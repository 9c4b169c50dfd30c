/* where.c - Where(condition, X, Y) with broadcasting, any element type. */
#include "ops.h"

#include <string.h>

static rcd_status check(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 3, 3, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_T(RCD_BOOL));
    if (st == RCD_OK)
        st = rcd__check_same(k, 1, 2);
    rcd__set_out(k, 0, rcd__in_type(k, 1));
    return st;
}

#define PICK(T)                                                                                    \
    for (int64_t i = 0; i < n; i++)                                                                \
    ((T *)o)[i] = cond[i * s[0]] != 0 ? ((const T *)x)[i * s[1]] : ((const T *)y)[i * s[2]]

static void pick(char *o, const uint8_t *cond, const char *x, const char *y, int64_t n,
                 const int64_t *s, size_t elem)
{
    switch (elem) {
    case 1:
        PICK(uint8_t);
        break;
    case 2:
        PICK(uint16_t);
        break;
    case 4:
        PICK(uint32_t);
        break;
    case 8:
        PICK(uint64_t);
        break;
    default:
        RCD_ASSERT(elem == sizeof(struct rcd_bytes));
        PICK(struct rcd_bytes);
    }
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *t[3] = {rcd__in(c, 0, r), rcd__in(c, 1, r), rcd__in(c, 2, r)};
    struct rcd_bcast b;
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__broadcast(c, r, 3, t, &b);
    if (st == RCD_OK)
        st = rcd__new_out(c, 0, r, t[1]->dtype, b.out_rank, b.out_dims, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    size_t elem = rcd_dtype_size(out->dtype);
    int last = b.rank - 1;
    int64_t at[RCD_MAX_RANK] = {0}, from[3] = {0, 0, 0};
    int64_t steps[3] = {b.stride[0][last], b.stride[1][last], b.stride[2][last]};
    for (char *o = out->data;;) {
        pick(o, (const uint8_t *)t[0]->data + from[0],
             (const char *)t[1]->data + (size_t)from[1] * elem,
             (const char *)t[2]->data + (size_t)from[2] * elem, b.dims[last], steps, elem);
        o += (size_t)b.dims[last] * elem;
        int d = last - 1;
        for (; d >= 0; d--) {
            for (int i = 0; i < 3; i++)
                from[i] += b.stride[i][d];
            if (++at[d] < b.dims[d])
                break;
            for (int i = 0; i < 3; i++)
                from[i] -= b.stride[i][d] * b.dims[d];
            at[d] = 0;
        }
        if (d < 0)
            return RCD_OK;
    }
}

static const struct rcd_op ops[] = {{.name = "Where", .since = 9, .check = check, .run = run}};
RCD_OP_LIST(where, ops);
