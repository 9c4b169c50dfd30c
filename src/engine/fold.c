/* fold.c - a node whose inputs are all known at load runs once, here, with the code that would run it
 * for a request, so that folding can never differ from running. */
#include "plan_int.h"

#include <string.h>

enum { FOLD_MAX_BYTES = 1 << 30, FOLD_KEEP_BYTES = 1 << 20 };

/* The result outlives the fold's pool: its data moves into the plan's arena, unless it is a view of a
 * constant that lives there already. */
static rcd_status keep(rcd_plan *p, rcd_value_id id, const struct rcd_tensor *t,
                       struct rcd_error *err)
{
    struct rcd_tensor *c = rcd_arena_calloc(&p->arena, 1, sizeof *c);
    if (c == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory to fold a constant");
    *c = *t;
    c->block = NULL;
    if (t->block != NULL) {
        size_t bytes = t->n * rcd_dtype_size(t->dtype);
        c->data = rcd_arena_alloc_aligned(&p->arena, bytes);
        if (c->data == NULL)
            return rcd_fail(err, RCD_ENOMEM, "no memory to fold a constant of %zu bytes", bytes);
        memcpy(c->data, t->data, bytes);
    }
    p->values[id].constant = c;
    p->values[id].dtype = c->dtype;
    p->values[id].rank = c->rank;
    memcpy(p->values[id].dims, c->dims, sizeof c->dims);
    return RCD_OK;
}

static rcd_status run_once(rcd_plan *p, const struct rcd_node *node, rcd_exec *x,
                           struct rcd_tensor *outs, struct rcd_error *err)
{
    uint32_t slot = 0;
    for (size_t i = 0; i < node->n_out; i++) {
        if (node->out[i] != RCD_NO_VALUE)
            p->values[node->out[i]].slot = slot++;
    }
    struct rcd_infer infer = {.err = {.code = RCD_OK}};
    struct rcd_infer *reqs[1] = {&infer};
    const uint32_t req[1] = {0};
    struct rcd_run run = {.x = x, .plan = p, .n = 1, .slots = outs, .reqs = reqs};
    struct rcd_call call = {
        .run = &run, .node = node, .kern = p->kernels, .x = x, .n = 1, .req = req};
    if (node->op->run_all != NULL)
        node->op->run_all(&call);
    else if (node->op->run(&call, 0) != RCD_OK)
        RCD_ASSERT(infer.err.code != RCD_OK);
    rcd_status st = infer.err.code;
    if (st != RCD_OK && err != NULL) {
        *err = infer.err;
        st = st == RCD_ENOMEM ? RCD_ENOMEM : RCD_EMODEL;
        err->code = st;
    }
    for (size_t i = 0; st == RCD_OK && i < node->n_out; i++) {
        if (node->out[i] != RCD_NO_VALUE)
            st = keep(p, node->out[i], &outs[p->values[node->out[i]].slot], err);
    }
    for (size_t i = 0; i < node->n_out; i++) {
        if (node->out[i] != RCD_NO_VALUE)
            p->values[node->out[i]].slot = UINT32_MAX;
    }
    for (size_t i = 0; i < slot; i++)
        rcd_tensor_drop(&outs[i]);
    return st;
}

rcd_status rcd__plan_fold(rcd_plan *p, const struct rcd_node *node, struct rcd_error *err)
{
    if (p->fold_exec == NULL)
        p->fold_exec = rcd_exec_new(FOLD_MAX_BYTES, FOLD_KEEP_BYTES);
    struct rcd_tensor *outs = rcd_calloc(node->n_out, sizeof *outs);
    rcd_status st = RCD_ENOMEM;
    if (p->fold_exec == NULL || outs == NULL)
        rcd_fail(err, RCD_ENOMEM, "no memory to fold constants");
    else
        st = run_once(p, node, p->fold_exec, outs, err);
    if (p->fold_exec != NULL)
        p->fold_exec->scratch.used = 0;
    rcd_free(outs);
    return st;
}
