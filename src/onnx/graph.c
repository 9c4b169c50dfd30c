/* graph.c - graphs: initialisers, inputs, nodes in their order, outputs. */
#include "onnx_int.h"

#include <string.h>

enum { IR_FREE_INITIALISERS = 4 }; /* since then an initialiser need not be an input as well */

rcd_status rcd__onnx_enter(struct rcd__load *l)
{
    if (l->depth >= ONNX_MAX_DEPTH)
        return rcd_fail(l->err, RCD_EMODEL,
                        "graphs and function calls are nested more than %d deep", ONNX_MAX_DEPTH);
    l->depth++;
    return RCD_OK;
}

void rcd__onnx_leave(struct rcd__load *l)
{
    l->depth--;
}

rcd_status rcd__onnx_count_node(struct rcd__load *l)
{
    if (++l->n_nodes > ONNX_MAX_NODES)
        return rcd_fail(l->err, RCD_EMODEL, "more than %d nodes once functions are inlined",
                        ONNX_MAX_NODES);
    return RCD_OK;
}

rcd_status rcd__onnx_count_edges(struct rcd__load *l, size_t n)
{
    l->n_edges += n;
    if (l->n_edges > ONNX_MAX_EDGES)
        return rcd_fail(l->err, RCD_EMODEL,
                        "more than %d inputs, outputs and attributes once functions are inlined",
                        ONNX_MAX_EDGES);
    return RCD_OK;
}

static rcd_status refuse(const struct rcd__env *env, const char *what, const char *name,
                         const char *why)
{
    char quoted[ONNX_QUOTE];
    return rcd_fail(env->l->err, RCD_EMODEL, "%s '%s' %s", what, rcd__onnx_quote(quoted, name),
                    why);
}

static rcd_status declare(const struct rcd__env *env, const Onx__GraphProto *g)
{
    rcd_status st = RCD_OK;
    for (size_t i = 0; i < g->n_value_info && st == RCD_OK; i++)
        st = rcd__value_declare(env, g->value_info[i]);
    for (size_t i = 0; i < g->n_output && st == RCD_OK; i++)
        st = rcd__value_declare(env, g->output[i]);
    for (size_t i = 0; i < g->n_input && st == RCD_OK; i++)
        st = rcd__value_declare(env, g->input[i]);
    return st;
}

static bool bound_here(const struct rcd__env *env, const char *name, rcd_value_id *ret)
{
    const struct rcd__name *e = rcd__names_find(&env->scope->names, name, strlen(name));
    if (e == NULL || !e->bound)
        return false;
    *ret = e->id;
    return true;
}

static rcd_status initialisers(const struct rcd__env *env, const Onx__GraphProto *g)
{
    struct rcd__load *l = env->l;
    for (size_t i = 0; i < g->n_initializer; i++) {
        const char *name = rcd__text(g->initializer[i]->name);
        rcd_value_id id = 0;
        if (name[0] == '\0' || bound_here(env, name, &id))
            return refuse(env, "initializer", name,
                          name[0] == '\0' ? "has no name" : "is there twice");
        struct rcd_tensor *t = rcd__onnx_keep(l, 1, sizeof *t);
        if (t == NULL)
            return rcd__onnx_no_memory(l);
        rcd_status st = rcd__onnx_tensor(l, g->initializer[i], t);
        if (st == RCD_OK)
            st = rcd__value_define(env, name, &id);
        if (st == RCD_OK)
            st = rcd__value_set_constant(env, id, t);
        if (st != RCD_OK)
            return st;
    }
    if (g->n_sparse_initializer > 0)
        return rcd_fail(l->err, RCD_EMODEL, "sparse_initializer is not supported");
    return RCD_OK;
}

/* Inputs and outputs of the model are tensors: requests can carry nothing else. */
static rcd_status tensor_only(const struct rcd__env *env, const Onx__ValueInfoProto *v,
                              const char *what)
{
    const Onx__TypeProto *t = v->type;
    const char *type = t == NULL                   ? NULL
                       : t->has_sequence_type      ? "sequence"
                       : t->has_optional_type      ? "optional"
                       : t->has_map_type           ? "map"
                       : t->has_sparse_tensor_type ? "sparse tensor"
                       : t->has_opaque_type        ? "opaque value"
                                                   : NULL;
    char quoted[ONNX_QUOTE];
    if (type == NULL)
        return RCD_OK;
    return rcd_fail(env->l->err, RCD_EMODEL, "%s '%s' is of type %s: only tensors are supported",
                    what, rcd__onnx_quote(quoted, rcd__text(v->name)), type);
}

static rcd_status inputs(const struct rcd__env *env, const Onx__GraphProto *g, bool main_graph,
                         struct rcd_onnx_graph *out)
{
    struct rcd__load *l = env->l;
    out->inputs = rcd__onnx_keep(l, g->n_input, sizeof *out->inputs);
    if (out->inputs == NULL)
        return rcd__onnx_no_memory(l);
    for (size_t i = 0; i < g->n_input; i++) {
        const char *name = rcd__text(g->input[i]->name);
        rcd_value_id id = 0;
        if (name[0] == '\0')
            return refuse(env, "graph input", name, "has no name");
        if (bound_here(env, name, &id)) {
            if (l->values[id].constant == NULL)
                return refuse(env, "graph input", name, "is there twice");
            if (!main_graph && l->model->ir_version >= IR_FREE_INITIALISERS)
                return refuse(env, "input", name, "of a body is an initializer as well");
            continue; /* its default is its value: requests do not carry weights */
        }
        rcd_status st = main_graph ? tensor_only(env, g->input[i], "graph input") : RCD_OK;
        if (st == RCD_OK)
            st = rcd__value_define(env, name, &id);
        if (st != RCD_OK)
            return st;
        out->inputs[out->n_inputs++] = id;
    }
    return RCD_OK;
}

static rcd_status outputs(const struct rcd__env *env, const Onx__GraphProto *g, bool main_graph,
                          struct rcd_onnx_graph *out)
{
    struct rcd__load *l = env->l;
    struct rcd__names seen;
    rcd_status st = RCD_OK;
    out->n_outputs = g->n_output;
    out->outputs = rcd__onnx_keep(l, g->n_output, sizeof *out->outputs);
    if (out->outputs == NULL)
        return rcd__onnx_no_memory(l);
    rcd__names_init(&seen, l->mem);
    for (size_t i = 0; i < g->n_output && st == RCD_OK; i++) {
        const char *name = rcd__text(g->output[i]->name);
        struct rcd__name *e = rcd__names_add(&seen, name, strlen(name));
        if (e == NULL)
            st = rcd__onnx_no_memory(l);
        else if (name[0] == '\0')
            st = refuse(env, "graph output", name, "has no name");
        else if (e->bound && main_graph)
            st = refuse(env, "graph output", name, "is there twice");
        else if (!rcd__value_find(env->scope, name, &out->outputs[i]) ||
                 out->outputs[i] == RCD_NO_VALUE)
            st = refuse(env, "graph output", name, "is made by no node");
        else if (main_graph)
            st = tensor_only(env, g->output[i], "graph output");
        if (st == RCD_OK)
            e->bound = true;
    }
    rcd__names_done(&seen);
    return st;
}

static rcd_status fill(const struct rcd__env *env, const Onx__GraphProto *g, bool main_graph,
                       struct rcd_onnx_graph *out)
{
    struct rcd__load *l = env->l;
    out->name = rcd__onnx_keep_text(l, rcd__text(g->name), strlen(rcd__text(g->name)));
    if (out->name == NULL)
        return rcd__onnx_no_memory(l);
    rcd_status st = rcd__onnx_count_edges(l, g->n_value_info + g->n_input + g->n_output);
    if (st == RCD_OK)
        st = declare(env, g);
    if (st == RCD_OK)
        st = initialisers(env, g);
    if (st == RCD_OK)
        st = inputs(env, g, main_graph, out);
    for (size_t i = 0; i < g->n_node && st == RCD_OK; i++)
        st = rcd__node_build(env, g->node[i]);
    if (st == RCD_OK)
        st = outputs(env, g, main_graph, out);
    if (st != RCD_OK)
        return st;
    out->n_nodes = env->out->n;
    out->nodes = rcd__onnx_keep(l, out->n_nodes, sizeof *out->nodes);
    if (out->nodes == NULL)
        return rcd__onnx_no_memory(l);
    if (out->n_nodes > 0)
        memcpy(out->nodes, env->out->nodes, out->n_nodes * sizeof *out->nodes);
    return RCD_OK;
}

rcd_status rcd__graph_build(const struct rcd__env *env, const Onx__GraphProto *g,
                            struct rcd_onnx_graph *ret)
{
    struct rcd__load *l = env->l;
    rcd_status st = rcd__onnx_enter(l);
    if (st != RCD_OK)
        return st;
    struct rcd__scope scope = {.up = env->scope};
    struct rcd__node_list list = {.n = 0};
    struct rcd__env inner = *env;
    inner.scope = &scope;
    inner.n_nodes = g->n_node;
    inner.nodes = g->node;
    inner.out = &list;
    rcd__names_init(&scope.names, l->mem);
    st = fill(&inner, g, ret == &l->model->graph, ret);
    rcd__names_done(&scope.names);
    rcd__onnx_mem_free(l->mem, list.nodes);
    rcd__onnx_leave(l);
    return st;
}
