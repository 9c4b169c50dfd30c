/* concat.c - Concat. */
#include "ops.h"

#include <string.h>

struct state {
    int64_t axis;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 1, SIZE_MAX, 1, 1);
    if (st == RCD_OK && !rcd__attr_has(k, "axis"))
        return rcd__refuse(k, "attribute 'axis' is missing");
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", 0, &s->axis);
    for (size_t i = 0; st == RCD_OK && i < k->node->n_in; i++) {
        if (!rcd__has_in(k, i))
            return rcd__refuse(k, "input %zu is left out", i);
        st = rcd__check_same(k, 0, i);
    }
    if (st == RCD_OK)
        rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, x->rank, &axis);
    if (st != RCD_OK)
        return st;
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = 0;
    for (size_t i = 0; i < c->node->n_in; i++) {
        const struct rcd_tensor *t = rcd__in(c, i, r);
        bool fits = t->rank == x->rank;
        for (int d = 0; fits && d < x->rank; d++)
            fits = d == axis || t->dims[d] == x->dims[d];
        if (!fits) {
            char a[128], b[128];
            return rcd__fail(c, r, RCD_EINVAL, "inputs 0 and %zu have shapes %s and %s, axis %d", i,
                             rcd_shape_text(a, sizeof a, x->rank, x->dims),
                             rcd_shape_text(b, sizeof b, t->rank, t->dims), axis);
        }
        dims[axis] += t->dims[axis];
    }
    struct rcd_tensor *out = NULL;
    st = rcd__new_out(c, 0, r, x->dtype, x->rank, dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    size_t outer = rcd__span(dims, 0, axis), size = rcd_dtype_size(x->dtype);
    size_t out_run = rcd__span(dims, axis, x->rank) * size, at = 0;
    for (size_t i = 0; i < c->node->n_in; i++) {
        const struct rcd_tensor *t = rcd__in(c, i, r);
        size_t bytes = rcd__span(t->dims, axis, t->rank) * size;
        for (size_t o = 0; o < outer; o++)
            rcd__copy((char *)out->data + o * out_run + at, (const char *)t->data + o * bytes,
                      bytes);
        at += bytes;
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {{.name = "Concat", .since = 4, .check = check, .run = run}};
RCD_OP_LIST(concat, ops);
