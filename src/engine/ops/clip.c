/* clip.c - Clip: bounds as attributes (opset < 11) or inputs; either may be left out. NaN passes. */
#include "ops.h"

#include <float.h>

struct state {
    bool inputs;
    float min, max;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    s->inputs = k->opset >= 11;
    rcd_status st = rcd__check_arity(k, 1, s->inputs ? 3 : 1, 1, 1);
    if (st == RCD_OK && !s->inputs)
        st = rcd__attr_float(k, "min", -FLT_MAX, &s->min);
    if (st == RCD_OK && !s->inputs)
        st = rcd__attr_float(k, "max", FLT_MAX, &s->max);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_TS_NUM);
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 1);
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 2);
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

#define CLIP(S, T, U)                                                                              \
    case RCD_##S:                                                                                  \
        for (size_t i = 0; i < x->n; i++) {                                                        \
            T v = ((const T *)x->data)[i];                                                         \
            if (min != NULL && v < *(const T *)min)                                                \
                v = *(const T *)min;                                                               \
            if (max != NULL && v > *(const T *)max)                                                \
                v = *(const T *)max;                                                               \
            ((T *)out->data)[i] = v;                                                               \
        }                                                                                          \
        break;

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *lo = rcd__in(c, 1, r), *hi = rcd__in(c, 2, r);
    if ((lo != NULL && lo->n != 1) || (hi != NULL && hi->n != 1))
        return rcd__fail(c, r, RCD_EINVAL, "min and max must have one element");
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, x->dtype, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    double d_min = (double)s->min, d_max = (double)s->max;
    bool wide = x->dtype == RCD_F64;
    const void *min = lo != NULL ? lo->data : NULL, *max = hi != NULL ? hi->data : NULL;
    if (!s->inputs) { /* attributes only exist for floats */
        min = wide ? (const void *)&d_min : &s->min;
        max = wide ? (const void *)&d_max : &s->max;
    }
    switch (x->dtype) {
        RCD_EACH_NUM(CLIP)
    default:
        RCD_ASSERT(!"checked at load");
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {{.name = "Clip", .since = 6, .check = check, .run = run}};
RCD_OP_LIST(clip, ops);
