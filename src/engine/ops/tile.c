/* tile.c - Tile and Expand. */
#include "move.h"

#include <string.h>

static rcd_status check(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_T(RCD_I64));
    if (st == RCD_OK)
        rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status run_expand(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *x = rcd__in(c, 0, r), *shape = rcd__in(c, 1, r);
    if (shape->rank != 1 || shape->n > RCD_MAX_RANK)
        return rcd__fail(c, r, RCD_EINVAL, "the shape has %zu dims, want at most %d", shape->n,
                         RCD_MAX_RANK);
    int64_t want[RCD_MAX_RANK];
    for (size_t d = 0; d < shape->n; d++)
        want[d] = rcd__int_at(shape, d);
    struct rcd_tensor target = {.dtype = x->dtype};
    if (!rcd_tensor_shape(&target, x->dtype, (int)shape->n, want))
        return rcd__fail(c, r, RCD_EINVAL, "the shape has a negative or too large size");
    const struct rcd_tensor *t[2] = {x, &target};
    struct rcd_bcast b;
    rcd_status st = rcd__broadcast(c, r, 2, t, &b);
    if (st != RCD_OK)
        return st;
    bool same = b.out_rank == x->rank &&
                memcmp(b.out_dims, x->dims, (size_t)x->rank * sizeof x->dims[0]) == 0;
    if (same)
        return rcd__alias_out(c, 0, r, x, x->rank, x->dims);
    struct rcd_tensor *out = NULL;
    st = rcd__new_out(c, 0, r, x->dtype, b.out_rank, b.out_dims, &out);
    if (st == RCD_OK && out != NULL && out->n > 0)
        rcd__gather_box(out->data, x->data, rcd_dtype_size(x->dtype), b.rank, b.dims, b.stride[0]);
    return st;
}

static rcd_status run_tile(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *x = rcd__in(c, 0, r), *repeats = rcd__in(c, 1, r);
    if (repeats->n != (size_t)x->rank)
        return rcd__fail(c, r, RCD_EINVAL, "%zu repeats for %d dims", repeats->n, x->rank);
    int64_t dims[RCD_MAX_RANK], step[RCD_MAX_RANK];
    rcd__strides(x->rank, x->dims, step);
    for (int d = 0; d < x->rank; d++) {
        int64_t times = rcd__int_at(repeats, (size_t)d);
        if (times < 0 || __builtin_mul_overflow(x->dims[d], times, &dims[d]))
            return rcd__fail(c, r, RCD_EINVAL, "repeat %d is %lld", d, (long long)times);
    }
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, x->dtype, x->rank, dims, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    /* last dim by last dim: a run of the input is copied, then what is already written is repeated */
    size_t elem = rcd_dtype_size(x->dtype);
    int64_t at[RCD_MAX_RANK] = {0};
    for (size_t o = 0; o < out->n;) {
        int64_t from = 0;
        for (int d = 0; d < x->rank; d++)
            from += at[d] % x->dims[d] * step[d];
        size_t n = x->rank > 0 ? (size_t)x->dims[x->rank - 1] : 1;
        memcpy((char *)out->data + o * elem, (const char *)x->data + from * (int64_t)elem,
               n * elem);
        o += n;
        for (int d = x->rank - 1; d >= 0; d--) {
            at[d] += d == x->rank - 1 ? (int64_t)n : 1;
            if (at[d] < dims[d])
                break;
            at[d] = 0;
        }
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "Tile", .since = 6, .check = check, .run = run_tile},
    {.name = "Expand", .since = 8, .check = check, .run = run_expand},
};
RCD_OP_LIST(tile, ops);
