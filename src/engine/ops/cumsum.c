/* cumsum.c - CumSum along one axis, exclusive and reverse. */
#include "ops.h"

struct state {
    int64_t exclusive, reverse;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "exclusive", 0, &s->exclusive);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "reverse", 0, &s->reverse);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_TS_NUM);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_TS_INDEX);
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

#define SCAN(S, T, U)                                                                              \
    case RCD_##S: {                                                                                \
        const T *v = (const T *)x->data + from;                                                    \
        T *o = (T *)out->data + from;                                                              \
        U sum = 0;                                                                                 \
        for (size_t j = 0; j < n; j++) {                                                           \
            size_t at = (s->reverse != 0 ? n - 1 - j : j) * step;                                  \
            if (s->exclusive != 0)                                                                 \
                o[at] = (T)sum;                                                                    \
            sum = (U)(sum + (U)v[at]);                                                             \
            if (s->exclusive == 0)                                                                 \
                o[at] = (T)sum;                                                                    \
        }                                                                                          \
        break;                                                                                     \
    }

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *ax = rcd__in(c, 1, r);
    int axis = 0;
    if (ax->n != 1)
        return rcd__fail(c, r, RCD_EINVAL, "axis has %zu elements, want 1", ax->n);
    rcd_status st = rcd__axis(c, r, rcd__int_at(ax, 0), x->rank, &axis);
    struct rcd_tensor *out = NULL;
    if (st == RCD_OK)
        st = rcd__new_like(c, r, x->dtype, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    size_t n = (size_t)x->dims[axis], step = rcd__span(x->dims, axis + 1, x->rank);
    for (size_t row = 0; row < x->n / n; row++) {
        size_t from = row / step * n * step + row % step;
        switch (x->dtype) {
            RCD_EACH_NUM(SCAN)
        default:
            RCD_ASSERT(!"checked at load");
        }
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {{.name = "CumSum", .since = 11, .check = check, .run = run}};
RCD_OP_LIST(cumsum, ops);
