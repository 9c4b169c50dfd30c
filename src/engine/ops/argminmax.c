/* argminmax.c - ArgMax and ArgMin: the first best index, or the last with select_last_index. */
#include "ops.h"

#include <string.h>

struct state {
    int64_t axis, keep, last;
    bool max;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    s->max = strcmp(k->src->op_type, "ArgMax") == 0;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", 0, &s->axis);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "keepdims", 1, &s->keep);
    if (st == RCD_OK && k->opset >= 12)
        st = rcd__attr_int(k, "select_last_index", 0, &s->last);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_TS_NUM);
    rcd__set_out(k, 0, RCD_I64);
    return st;
}

#define BEST(S, T, U)                                                                              \
    case RCD_##S: {                                                                                \
        const T *v = (const T *)x->data + from;                                                    \
        for (size_t i = 1; i < n; i++) {                                                           \
            T a = v[i * step], b = v[best * step];                                                 \
            bool better = s->max ? a > b : a < b;                                                  \
            if (better || (a == b && s->last != 0))                                                \
                best = i;                                                                          \
        }                                                                                          \
        break;                                                                                     \
    }

static size_t best_of(const struct state *s, const struct rcd_tensor *x, size_t from, size_t n,
                      size_t step)
{
    size_t best = 0;
    switch (x->dtype) {
        RCD_EACH_NUM(BEST)
    default:
        RCD_ASSERT(!"checked at load");
    }
    return best;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, x->rank, &axis);
    if (st != RCD_OK)
        return st;
    size_t n = (size_t)x->dims[axis], inner = rcd__span(x->dims, axis + 1, x->rank);
    if (n == 0)
        return rcd__fail(c, r, RCD_EINVAL, "axis %d has no elements", axis);
    int64_t dims[RCD_MAX_RANK];
    int rank = 0;
    for (int d = 0; d < x->rank; d++) {
        if (d != axis)
            dims[rank++] = x->dims[d];
        else if (s->keep != 0)
            dims[rank++] = 1;
    }
    struct rcd_tensor *out = NULL;
    st = rcd__new_out(c, 0, r, RCD_I64, rank, dims, &out);
    for (size_t o = 0; st == RCD_OK && out != NULL && o < out->n; o++) {
        size_t from = o / inner * n * inner + o % inner;
        ((int64_t *)out->data)[o] = (int64_t)best_of(s, x, from, n, inner);
    }
    return st;
}

static const struct rcd_op ops[] = {
    {.name = "ArgMax", .since = 1, .check = check, .run = run},
    {.name = "ArgMin", .since = 1, .check = check, .run = run},
};
RCD_OP_LIST(argminmax, ops);
