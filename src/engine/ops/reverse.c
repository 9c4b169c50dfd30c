/* reverse.c - ReverseSequence: the first sequence_lens[b] steps of each sequence turned round. */
#include "ops.h"

#include <string.h>

struct state {
    int64_t batch_axis, time_axis;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "batch_axis", 1, &s->batch_axis);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "time_axis", 0, &s->time_axis);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_T(RCD_I64));
    if (st == RCD_OK && (s->batch_axis | s->time_axis | 1) != 1)
        return rcd__refuse(k, "batch_axis and time_axis must be 0 or 1");
    if (st == RCD_OK && s->batch_axis == s->time_axis)
        return rcd__refuse(k, "batch_axis and time_axis are both %lld", (long long)s->time_axis);
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *lens = rcd__in(c, 1, r);
    if (x->rank < 2)
        return rcd__fail(c, r, RCD_EINVAL, "the input has rank %d, want at least 2", x->rank);
    size_t batch = (size_t)x->dims[s->batch_axis], steps = (size_t)x->dims[s->time_axis];
    if (lens->rank != 1 || lens->n != batch)
        return rcd__fail(c, r, RCD_EINVAL, "sequence_lens has %zu elements, want %zu", lens->n,
                         batch);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, x->dtype, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    size_t bytes = rcd__span(x->dims, 2, x->rank) * rcd_dtype_size(x->dtype);
    size_t time_step = s->time_axis == 0 ? batch : 1, batch_step = s->time_axis == 0 ? 1 : steps;
    for (size_t b = 0; b < batch; b++) {
        int64_t len = rcd__int_at(lens, b);
        if (len < 0 || (size_t)len > steps)
            return rcd__fail(c, r, RCD_EINVAL, "sequence_lens[%zu] is %lld, want 0 to %zu", b,
                             (long long)len, steps);
        for (size_t t = 0; t < steps; t++) {
            size_t from = t < (size_t)len ? (size_t)len - 1 - t : t;
            rcd__copy((char *)out->data + (b * batch_step + t * time_step) * bytes,
                      (const char *)x->data + (b * batch_step + from * time_step) * bytes, bytes);
        }
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "ReverseSequence", .since = 10, .check = check, .run = run}};
RCD_OP_LIST(reverse, ops);
