/* nonzero.c - NonZero and Compress: what is picked by a condition, in row-major order. The sizes of
 * their outputs depend on the values. */
#include "ops.h"

#include <string.h>

struct state {
    int64_t axis;
    bool has_axis;
};

static bool is_nonzero(const struct rcd_tensor *t, size_t i)
{
    switch (t->dtype) {
#define TEST(S, T, U)                                                                              \
    case RCD_##S:                                                                                  \
        return ((const T *)t->data)[i] != 0;
        RCD_EACH_NUM(TEST)
#undef TEST
    default:
        return ((const uint8_t *)t->data)[i] != 0; /* bool */
    }
}

static rcd_status check_nonzero(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_TS_NUM | RCD_T(RCD_BOOL));
    rcd__set_out(k, 0, RCD_I64);
    return st;
}

static rcd_status run_nonzero(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    size_t n = 0;
    for (size_t i = 0; i < x->n; i++)
        n += is_nonzero(x, i);
    const int64_t dims[2] = {x->rank, (int64_t)n};
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, RCD_I64, 2, dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    int64_t at[RCD_MAX_RANK] = {0}, *o = out->data;
    size_t k = 0;
    const uint8_t *is = x->rank == 1 && x->dtype == RCD_BOOL ? x->data : NULL;
    for (size_t i = 0; is != NULL && k < n; i++) {
        o[k] = (int64_t)i;
        k += is[i] != 0;
    }
    for (size_t i = 0; is == NULL && i < x->n; i++) {
        if (is_nonzero(x, i)) {
            for (int d = 0; d < x->rank; d++)
                o[(size_t)d * n + k] = at[d];
            k++;
        }
        for (int d = x->rank - 1; d >= 0 && ++at[d] == x->dims[d]; d--)
            at[d] = 0;
    }
    return RCD_OK;
}

static rcd_status check_compress(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    s->has_axis = rcd__attr_has(k, "axis");
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", 0, &s->axis);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_T(RCD_BOOL));
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status run_compress(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *take = rcd__in(c, 1, r);
    int axis = 0;
    rcd_status st = s->has_axis ? rcd__axis(c, r, s->axis, x->rank, &axis) : RCD_OK;
    if (st != RCD_OK)
        return st;
    const size_t len = s->has_axis ? (size_t)x->dims[axis] : x->n;
    if (take->rank != 1 || take->n > len)
        return rcd__fail(c, r, RCD_EINVAL, "%zu conditions for %zu entries", take->n, len);
    size_t n = 0;
    for (size_t i = 0; i < take->n; i++)
        n += is_nonzero(take, i);
    int64_t dims[RCD_MAX_RANK] = {(int64_t)n};
    int rank = 1;
    if (s->has_axis) {
        rank = x->rank;
        memcpy(dims, x->dims, sizeof dims);
        dims[axis] = (int64_t)n;
    }
    struct rcd_tensor *out = NULL;
    st = rcd__new_out(c, 0, r, x->dtype, rank, dims, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    const size_t inner = s->has_axis ? rcd__span(x->dims, axis + 1, x->rank) : 1;
    const size_t bytes = inner * rcd_dtype_size(x->dtype), outer = x->n / (len * inner);
    char *to = out->data;
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < take->n; i++) {
            if (!is_nonzero(take, i))
                continue;
            memcpy(to, (const char *)x->data + (o * len + i) * bytes, bytes);
            to += bytes;
        }
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "NonZero", .since = 9, .check = check_nonzero, .run = run_nonzero},
    {.name = "Compress", .since = 9, .check = check_compress, .run = run_compress},
};
RCD_OP_LIST(nonzero, ops);
