/* plan.c - from a validated ONNX graph to a plan that can run.
 *
 * Node by node: find the operator, let it check itself, fold it when all its inputs are known. Then,
 * over the whole: drop what nobody reads, give run-time values their slots, and note after which node
 * each slot is free again. Constants never take a slot. */
#include "engine_int.h"
#include "plan_int.h"

#include <string.h>

enum { PLAN_MAX_BYTES_SHIFT = 40 }; /* arena bound; the real one is the registry's model limit */

static rcd_status check_node(rcd_plan *p, const struct rcd_onnx_node *src, struct rcd_node *node,
                             struct rcd_error *err)
{
    struct rcd_check k = {.plan = p, .node = node, .src = src, .opset = src->opset, .err = err};
    *node = (struct rcd_node){
        .src = src, .n_in = src->n_in, .n_out = src->n_out, .in = src->in, .out = src->out};
    bool known = false;
    node->op = rcd__op_find(src->domain, src->op_type, src->opset, &known);
    if (node->op == NULL) {
        char domain[64];
        rcd_quote(domain, sizeof domain, src->domain, strlen(src->domain));
        return rcd__refuse(&k, "recurd does not run this operator%s%s%s%s",
                           known ? " in this opset version" : "", domain[0] ? " (domain '" : "",
                           domain, domain[0] ? "')" : "");
    }
    if (src->n_attrs > RCD_MAX_ATTRS)
        return rcd__refuse(&k, "%zu attributes, want at most %d", src->n_attrs, RCD_MAX_ATTRS);
    for (size_t i = 0; i < src->n_in && !node->op->compound; i++) {
        const struct rcd_plan_value *v = rcd__has_in(&k, i) ? &p->values[src->in[i]] : NULL;
        if (v != NULL && v->dtype == RCD_SEQ)
            return rcd__refuse(&k, "input %zu is a sequence, want a tensor", i);
    }
    rcd_status st = node->op->check(&k);
    if (st != RCD_OK)
        return st;
    for (size_t i = 0; i < src->n_attrs; i++) {
        if ((k.attrs_seen & (UINT64_C(1) << i)) == 0)
            return rcd__refuse(&k, "attribute '%s' is not known", src->attrs[i].name);
    }
    for (size_t i = 0; i < node->n_out; i++) {
        if (rcd__has_out(&k, i) && p->values[node->out[i]].dtype == RCD_NONE)
            return rcd__refuse(&k, "output %zu has no element type that recurd knows", i);
    }
    return RCD_OK;
}

static bool foldable(const rcd_plan *p, const struct rcd_node *node)
{
    if (node->op->impure || node->n_bodies > 0)
        return false;
    for (size_t i = 0; i < node->n_in; i++) {
        if (node->in[i] != RCD_NO_VALUE && p->values[node->in[i]].constant == NULL)
            return false;
    }
    return true;
}

/* Whole numbers that come with a request and are only moved may hold anything, duplicates, too: scatter.c
 * warns where that matters. */
static void note_asked(rcd_plan *p, const struct rcd_node *node)
{
    static const char *const moves[] = {"Cast",      "Concat",    "Expand",  "Flatten", "Gather",
                                        "Identity",  "Reshape",   "Slice",   "Split",   "Squeeze",
                                        "Tile",      "Transpose", "Add",     "Where",   "Mod",
                                        "Unsqueeze", "GatherND",  "Compress"};
    bool move = false, asked = false;
    for (size_t i = 0; i < RCD_COUNT(moves) && node->op->domain == NULL; i++)
        move = move || strcmp(node->op->name, moves[i]) == 0;
    const bool picks =
        strncmp(node->op->name, "Gather", 6) == 0 || strcmp(node->op->name, "Compress") == 0;
    for (size_t i = 0; move && i < node->n_in && (i == 0 || !picks); i++)
        asked = asked || (node->in[i] != RCD_NO_VALUE && p->values[node->in[i]].asked);
    for (size_t i = 0; asked && i < node->n_out; i++) {
        if (node->out[i] != RCD_NO_VALUE)
            p->values[node->out[i]].asked =
                (RCD_T(p->values[node->out[i]].dtype) & RCD_TS_INDEX) != 0;
    }
}

rcd_status rcd__plan_body(rcd_plan *p, const struct rcd_onnx_graph *g, struct rcd_body *body,
                          struct rcd_error *err)
{
    *body = (struct rcd_body){.n_inputs = g->n_inputs,
                              .n_outputs = g->n_outputs,
                              .inputs = g->inputs,
                              .outputs = g->outputs};
    body->nodes = rcd_arena_calloc(&p->arena, g->n_nodes, sizeof *body->nodes);
    if (body->nodes == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a plan of %zu nodes", g->n_nodes);
    for (size_t i = 0; i < g->n_nodes; i++) {
        struct rcd_node *node = &body->nodes[body->n_nodes];
        rcd_status st = check_node(p, &g->nodes[i], node, err);
        if (st != RCD_OK)
            return st;
        if (foldable(p, node)) {
            st = rcd__plan_fold(p, node, err);
            if (st != RCD_OK)
                return st;
        } else {
            note_asked(p, node);
            body->n_nodes++;
        }
    }
    for (size_t i = 0; i < g->n_outputs; i++) {
        if (p->values[g->outputs[i]].dtype == RCD_NONE)
            return rcd_fail(err, RCD_EMODEL, "output '%s' has no element type",
                            p->model->values[g->outputs[i]].name);
    }
    return RCD_OK;
}

rcd_status rcd__body_inputs(struct rcd_check *k, const char *attr, const rcd_value_id **ret,
                            size_t *ret_n)
{
    const struct rcd_attr *a = rcd_onnx_attr(k->src, attr);
    if (a == NULL || a->type != RCD_ATTR_GRAPH)
        return rcd__refuse(k, "attribute '%s' must be a graph", attr);
    *ret = a->g->inputs;
    *ret_n = a->g->n_inputs;
    return RCD_OK;
}

rcd_status rcd__check_body(struct rcd_check *k, const char *attr, struct rcd_body **ret_body)
{
    const struct rcd_attr *a = rcd__attr_any(k, attr);
    if (a == NULL || a->type != RCD_ATTR_GRAPH)
        return rcd__refuse(k, "attribute '%s' must be a graph", attr);
    if (k->node->n_bodies == RCD_MAX_BODIES)
        return rcd__refuse(k, "more than %d bodies", RCD_MAX_BODIES);
    if (k->node->bodies == NULL) {
        k->node->bodies = rcd__state_new(k, RCD_MAX_BODIES * sizeof *k->node->bodies);
        if (k->node->bodies == NULL)
            return RCD_ENOMEM;
    }
    struct rcd_body *body = &k->node->bodies[k->node->n_bodies];
    rcd_status st = rcd__plan_body(k->plan, a->g, body, k->err);
    if (st == RCD_OK) {
        k->node->n_bodies++;
        *ret_body = body;
    }
    return st;
}

static rcd_status take_values(rcd_plan *p, struct rcd_error *err)
{
    p->n_values = p->model->n_values;
    p->values = rcd_arena_calloc(&p->arena, p->n_values, sizeof *p->values);
    if (p->values == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a plan of %zu values", p->n_values);
    for (size_t i = 0; i < p->n_values; i++) {
        const struct rcd_onnx_value *v = &p->model->values[i];
        struct rcd_plan_value *pv = &p->values[i];
        pv->slot = UINT32_MAX;
        pv->rank = -1;
        pv->constant = v->constant;
        if (v->constant != NULL) {
            pv->dtype = v->constant->dtype;
            pv->rank = v->constant->rank;
            memcpy(pv->dims, v->constant->dims, sizeof pv->dims);
        }
    }
    for (size_t i = 0; i < p->model->graph.n_inputs; i++) {
        rcd_value_id id = p->model->graph.inputs[i];
        const struct rcd_onnx_value *v = &p->model->values[id];
        if (v->dtype == RCD_NONE)
            return rcd_fail(err, RCD_EMODEL,
                            "input '%s' has no tensor type that recurd knows (sequences and "
                            "optionals are not served)",
                            v->name);
        p->values[id].dtype = v->dtype;
        p->values[id].asked = v->dtype == RCD_I64 || v->dtype == RCD_I32;
        p->values[id].rank = v->rank;
        memcpy(p->values[id].dims, v->dims, sizeof v->dims);
    }
    return RCD_OK;
}

rcd_status rcd_plan_new(rcd_onnx_model **model, const struct rcd_plan_opts *opts,
                        rcd_plan **ret_plan, struct rcd_error *err)
{
    RCD_ASSERT(opts->kernels != NULL && *model != NULL);
    rcd_plan *p = rcd_calloc(1, sizeof *p);
    if (p == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a plan");
    p->refs = 1;
    p->model = *model;
    p->kernels = opts->kernels;
    p->weights = opts->weights;
    rcd_arena_init(&p->arena, (size_t)1 << PLAN_MAX_BYTES_SHIFT);
    rcd_status st = take_values(p, err);
    if (st == RCD_OK)
        st = rcd__plan_body(p, &p->model->graph, &p->main, err);
    p->fold_exec = rcd_exec_free(p->fold_exec);
    if (st == RCD_OK)
        st = rcd__plan_rewrite(p, err);
    if (st == RCD_OK)
        st = rcd__plan_lifetimes(p, err);
    if (st == RCD_OK)
        st = rcd__plan_io(p, opts, err);
    if (st == RCD_OK)
        st = rcd__plan_time(p, opts, err);
    if (st == RCD_OK)
        st = rcd__plan_forget(p, err);
    if (st != RCD_OK) {
        p->model = NULL; /* stays with the caller */
        rcd_plan_unref(p);
        return st;
    }
    *model = NULL;
    *ret_plan = p;
    return RCD_OK;
}

rcd_plan *rcd_plan_ref(rcd_plan *p)
{
    __atomic_add_fetch(&p->refs, 1, __ATOMIC_RELAXED); /* the caller holds one already */
    return p;
}

rcd_plan *rcd_plan_unref(rcd_plan *p)
{
    /* acq_rel: the last holder must see all others' use before it frees */
    if (p != NULL && __atomic_sub_fetch(&p->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        rcd_onnx_free(p->model);
        rcd_arena_done(&p->arena);
        rcd_free(p);
    }
    return NULL;
}

size_t rcd_plan_bytes(const rcd_plan *p)
{
    return p->arena.used + p->model->arena.used - p->forgotten_bytes;
}

const char *const *rcd_plan_warnings(const rcd_plan *p, size_t *ret_n)
{
    *ret_n = p->n_warnings;
    return p->warnings;
}
