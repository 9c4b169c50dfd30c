/* sequence_map.c - SequenceMap, and the operators of optional values.
 *
 * An optional stands for its value itself: an empty one can only come from outside, where recurd takes tensors
 * alone. */
#include "list.h"

enum { MAP_INPUTS = 64 };

struct state {
    struct rcd_body *body;
    bool is_list[MAP_INPUTS];
};

static rcd_status check_map(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    const rcd_value_id *in = NULL;
    size_t n = 0;
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 1, MAP_INPUTS, 1, SIZE_MAX);
    if (st == RCD_OK)
        st = rcd__list_want(k, 0);
    if (st == RCD_OK)
        st = rcd__body_inputs(k, "body", &in, &n);
    if (st == RCD_OK && n != k->node->n_in)
        return rcd__refuse(k, "the body has %zu inputs, the node %zu", n, k->node->n_in);
    for (size_t i = 0; st == RCD_OK && i < n; i++) {
        if (!rcd__has_in(k, i))
            return rcd__refuse(k, "input %zu is left out", i);
        s->is_list[i] = rcd__in_type(k, i) == RCD_SEQ;
        rcd__like(k, in[i], k->node->in[i]);
        if (s->is_list[i])
            k->plan->values[in[i]].dtype = rcd__list_type(k, i);
    }
    if (st == RCD_OK)
        st = rcd__check_body(k, "body", &s->body);
    if (st == RCD_OK && s->body->n_outputs != k->node->n_out)
        return rcd__refuse(k, "the body has %zu outputs, the node %zu", s->body->n_outputs,
                           k->node->n_out);
    for (size_t i = 0; st == RCD_OK && i < k->node->n_out; i++) {
        rcd_dtype t = k->plan->values[s->body->outputs[i]].dtype;
        if (t == RCD_SEQ || !rcd__has_out(k, i))
            return rcd__refuse(k, "output %zu is a sequence of sequences or left out", i);
        rcd__set_out_list(k, i, t);
    }
    return st;
}

static void map_one(struct rcd_call *c, const struct state *s, size_t r, size_t at)
{
    const struct rcd_plan_value *values = c->run->plan->values;
    const uint32_t req = c->req[r];
    for (size_t i = 0; i < s->body->n_inputs; i++) {
        const struct rcd_tensor *t = rcd__in(c, i, r);
        if (s->is_list[i] && t->n != rcd__in(c, 0, r)->n) {
            rcd__fail(c, r, RCD_EINVAL, "sequence %zu has %zu tensors, the first %zu", i, t->n,
                      rcd__in(c, 0, r)->n);
            return;
        }
        *rcd__slot(c->run, values[s->body->inputs[i]].slot, req) =
            rcd__share(s->is_list[i] ? rcd__list_at(t, at) : t);
    }
    rcd__run_body(c->run, s->body, 1, &req);
    for (size_t i = 0; i < s->body->n_outputs && rcd__alive(c, r); i++)
        ((struct rcd_tensor *)rcd__out(c, i, r)->data)[at] =
            rcd__body_output(c->run, s->body, i, req);
    rcd__body_done(c->run, s->body, req);
    for (size_t i = 0; i < s->body->n_inputs; i++)
        rcd_tensor_drop(rcd__slot(c->run, values[s->body->inputs[i]].slot, req));
}

static rcd_status run_map(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const size_t n = rcd__in(c, 0, r)->n;
    struct rcd_tensor *out = NULL;
    for (size_t i = 0; i < c->node->n_out; i++) {
        if (!rcd__list_new(c, r, i, n, &out))
            return RCD_ENOMEM;
    }
    for (size_t at = 0; at < n && rcd__alive(c, r); at++)
        map_one(c, s, r, at);
    return c->run->reqs[c->req[r]]->err.code;
}

/* ---- optionals ------------------------------------------------------------------------------ */

static rcd_status check_same(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        rcd__like(k, k->node->out[0], k->node->in[0]);
    return st;
}

static rcd_status run_same(struct rcd_call *c, size_t r)
{
    *rcd__out(c, 0, r) = rcd__share(rcd__in(c, 0, r));
    return RCD_OK;
}

static rcd_status check_has(struct rcd_check *k)
{
    rcd__set_out(k, 0, RCD_BOOL);
    return rcd__check_arity(k, 0, 1, 1, 1);
}

static rcd_status run_has(struct rcd_call *c, size_t r)
{
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, RCD_BOOL, 0, NULL, &out);
    if (st == RCD_OK && out != NULL)
        *(uint8_t *)out->data = rcd__in(c, 0, r) != NULL;
    return st;
}

static const struct rcd_op ops[] = {
    {.name = "SequenceMap",
     .since = 17,
     .check = check_map,
     .run = run_map,
     .compound = true,
     .impure = true},
    {.name = "Optional", .since = 15, .check = check_same, .run = run_same, .compound = true},
    {.name = "OptionalGetElement",
     .since = 15,
     .check = check_same,
     .run = run_same,
     .compound = true},
    {.name = "OptionalHasElement",
     .since = 15,
     .check = check_has,
     .run = run_has,
     .compound = true},
};
RCD_OP_LIST(sequence_map, ops);
