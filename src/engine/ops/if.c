/* if.c - If: the list of requests splits by their conditions and each part runs its branch together. */
#include "ops.h"

#include <string.h>

struct state {
    struct rcd_body *branch[2]; /* else, then */
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, SIZE_MAX);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_T(RCD_BOOL));
    if (st == RCD_OK)
        st = rcd__check_body(k, "else_branch", &s->branch[0]);
    if (st == RCD_OK)
        st = rcd__check_body(k, "then_branch", &s->branch[1]);
    if (st != RCD_OK)
        return st;
    for (size_t b = 0; b < 2; b++) {
        if (s->branch[b]->n_outputs != k->node->n_out || s->branch[b]->n_inputs != 0)
            return rcd__refuse(k, "a branch has %zu inputs and %zu outputs, want 0 and %zu",
                               s->branch[b]->n_inputs, s->branch[b]->n_outputs, k->node->n_out);
    }
    for (size_t i = 0; i < k->node->n_out; i++) {
        rcd_value_id no = s->branch[0]->outputs[i], yes = s->branch[1]->outputs[i];
        if (!rcd__fits(k, no, yes))
            return rcd__refuse(k, "output %zu is %s in one branch and %s in the other", i,
                               rcd_dtype_onnx_name(k->plan->values[yes].dtype),
                               rcd_dtype_onnx_name(k->plan->values[no].dtype));
        rcd__like(k, k->node->out[i], yes);
    }
    return RCD_OK;
}

static void run_branch(struct rcd_call *c, const struct rcd_body *body, size_t n,
                       const uint32_t *req)
{
    rcd__run_body(c->run, body, n, req);
    struct rcd_call part = *c;
    part.n = n;
    part.req = req;
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < body->n_outputs && rcd__alive(&part, r); i++) {
            struct rcd_tensor *out = rcd__out(&part, i, r);
            if (out != NULL)
                *out = rcd__body_output(c->run, body, i, req[r]);
        }
        rcd__body_done(c->run, body, req[r]);
    }
}

static void run_all(struct rcd_call *c)
{
    const struct state *s = c->node->state;
    uint32_t *part = rcd__scratch_try(c, c->n * sizeof *part);
    for (size_t b = 0; b < 2; b++) {
        size_t n = 0;
        for (size_t r = 0; r < c->n; r++) {
            if (!rcd__alive(c, r))
                continue;
            const struct rcd_tensor *cond = rcd__in(c, 0, r);
            if (part == NULL)
                rcd__fail(c, r, RCD_ENOMEM, "no scratch memory for %zu requests", c->n);
            else if (cond->n != 1)
                rcd__fail(c, r, RCD_EINVAL, "the condition has %zu elements, want 1", cond->n);
            else if ((*(const uint8_t *)cond->data != 0) == (b == 1))
                part[n++] = c->req[r];
        }
        if (n > 0)
            run_branch(c, s->branch[b], n, part);
    }
}

static const struct rcd_op ops[] = {
    {.name = "If", .since = 1, .check = check, .run_all = run_all, .compound = true}};
RCD_OP_LIST(if, ops);
