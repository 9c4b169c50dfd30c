/* node.c - one node: look up what it reads, build its attributes and bodies, make its outputs. */
#include "onnx_int.h"

#include <limits.h>
#include <string.h>

static const char *domain_of(const char *domain)
{
    return strcmp(domain, "ai.onnx") == 0 ? "" : domain;
}

bool rcd__opset_find(const struct rcd__env *env, const char *domain, int *ret)
{
    for (size_t i = 0; i < env->n_opsets; i++) {
        const Onx__OperatorSetIdProto *o = env->opsets[i];
        if (strcmp(domain_of(rcd__text(o->domain)), domain_of(domain)) == 0) {
            *ret = (int)o->version; /* model.c and function.c checked the range */
            return true;
        }
    }
    return false;
}

/* Put the node in front of the message; once, at the innermost node, where the reader looks first
 * and where a long message is not cut. */
static rcd_status place(const struct rcd__env *env, const Onx__NodeProto *node, rcd_status st)
{
    char name[ONNX_QUOTE], op[ONNX_QUOTE], fn[ONNX_QUOTE];
    if (env->l->placed || st != RCD_EMODEL)
        return st;
    env->l->placed = true;
    rcd__onnx_quote(op, rcd__text(node->op_type));
    if (rcd__text(node->name)[0] != '\0')
        rcd_error_prefix(env->l->err, st, "node '%s' (%s): ", rcd__onnx_quote(name, node->name),
                         op);
    else
        rcd_error_prefix(env->l->err, st, "node (%s) that makes '%s': ", op,
                         rcd__onnx_quote(name, node->n_output > 0 ? node->output[0] : ""));
    if (env->frame != NULL)
        rcd_error_prefix(env->l->err, st,
                         "function '%s': ", rcd__onnx_quote(fn, rcd__text(env->frame->fn->name)));
    return st;
}

static rcd_status unknown_input(const struct rcd__env *env, const char *name)
{
    char quoted[ONNX_QUOTE];
    rcd__onnx_quote(quoted, name);
    for (size_t i = 0; i < env->n_nodes; i++)
        for (size_t k = 0; k < env->nodes[i]->n_output; k++)
            if (strcmp(env->nodes[i]->output[k], name) == 0)
                return rcd_fail(env->l->err, RCD_EMODEL,
                                "reads '%s', which a later node makes: nodes must stand in "
                                "topological order",
                                quoted);
    return rcd_fail(env->l->err, RCD_EMODEL, "reads '%s', which nothing in its scope makes",
                    quoted);
}

static rcd_status read_inputs(const struct rcd__env *env, const Onx__NodeProto *node,
                              struct rcd_onnx_node *out)
{
    out->n_in = node->n_input;
    out->in = rcd__onnx_keep(env->l, node->n_input, sizeof *out->in);
    if (out->in == NULL)
        return rcd__onnx_no_memory(env->l);
    for (size_t i = 0; i < node->n_input; i++) {
        out->in[i] = RCD_NO_VALUE;
        if (node->input[i][0] != '\0' && !rcd__value_find(env->scope, node->input[i], &out->in[i]))
            return unknown_input(env, node->input[i]);
    }
    return RCD_OK;
}

/* An output must not have the name of any value that is visible here (single assignment). */
static rcd_status make_output(const struct rcd__env *env, const char *name, rcd_value_id *ret)
{
    rcd_value_id old = 0;
    *ret = RCD_NO_VALUE;
    if (name[0] == '\0')
        return RCD_OK;
    if (rcd__value_find(env->scope, name, &old)) {
        char quoted[ONNX_QUOTE];
        return rcd_fail(env->l->err, RCD_EMODEL, "output '%s' is the name of another value",
                        rcd__onnx_quote(quoted, name));
    }
    return rcd__value_define(env, name, ret);
}

static rcd_status append(const struct rcd__env *env, const struct rcd_onnx_node *node)
{
    struct rcd__node_list *out = env->out;
    void *list = out->nodes;
    if (!rcd__onnx_mem_grow(env->l->mem, &list, out->n, &out->cap, sizeof *out->nodes))
        return rcd__onnx_no_memory(env->l);
    out->nodes = list;
    out->nodes[out->n++] = *node;
    return RCD_OK;
}

static rcd_status constant(const struct rcd__env *env, const Onx__NodeProto *node)
{
    const struct rcd_tensor *t = NULL;
    rcd_value_id id = RCD_NO_VALUE;
    if (node->n_input != 0 || node->n_output != 1)
        return rcd_fail(env->l->err, RCD_EMODEL,
                        "%zu inputs and %zu outputs, a Constant has 0 and 1", node->n_input,
                        node->n_output);
    rcd_status st = rcd__constant_tensor(env, node, &t);
    if (st == RCD_OK)
        st = make_output(env, node->output[0], &id);
    if (st != RCD_OK || id == RCD_NO_VALUE)
        return st;
    return rcd__value_set_constant(env, id, t);
}

static rcd_status plain(const struct rcd__env *env, const Onx__NodeProto *node, int opset)
{
    struct rcd__load *l = env->l;
    const char *name = rcd__text(node->name), *domain = domain_of(rcd__text(node->domain));
    struct rcd_onnx_node out = {.opset = opset, .n_out = node->n_output};
    rcd_status st = read_inputs(env, node, &out);
    if (st != RCD_OK)
        return st;
    out.name = rcd__onnx_keep_text(l, name, strlen(name));
    out.op_type = rcd__onnx_keep_text(l, node->op_type, strlen(node->op_type));
    out.domain = rcd__onnx_keep_text(l, domain, strlen(domain));
    out.out = rcd__onnx_keep(l, node->n_output, sizeof *out.out);
    if (out.name == NULL || out.op_type == NULL || out.domain == NULL || out.out == NULL)
        return rcd__onnx_no_memory(l);
    st = rcd__attrs_build(env, node, &out.n_attrs, &out.attrs); /* bodies do not see the outputs */
    for (size_t i = 0; i < node->n_output && st == RCD_OK; i++)
        st = make_output(env, node->output[i], &out.out[i]);
    return st == RCD_OK ? append(env, &out) : st;
}

static rcd_status build(const struct rcd__env *env, const Onx__NodeProto *node)
{
    struct rcd__load *l = env->l;
    const Onx__FunctionProto *fn = NULL;
    int opset = 0;
    rcd_status st = rcd__onnx_count_node(l);
    if (st == RCD_OK)
        st = rcd__onnx_count_edges(l, node->n_input + node->n_output + node->n_attribute);
    if (st != RCD_OK)
        return st;
    if (rcd__text(node->op_type)[0] == '\0')
        return rcd_fail(l->err, RCD_EMODEL, "has no operator");
    st = rcd__function_find(l, node, &fn);
    if (st != RCD_OK)
        return st;
    if (fn != NULL)
        return rcd__function_inline(env, node, fn);
    const char *domain = domain_of(rcd__text(node->domain));
    if (!rcd__opset_find(env, domain, &opset)) {
        char quoted[ONNX_QUOTE];
        return rcd_fail(l->err, RCD_EMODEL, "operator set '%s' is not imported",
                        domain[0] == '\0' ? "ai.onnx" : rcd__onnx_quote(quoted, domain));
    }
    if (domain[0] == '\0' && strcmp(node->op_type, "Constant") == 0)
        return constant(env, node);
    return plain(env, node, opset);
}

rcd_status rcd__node_build(const struct rcd__env *env, const Onx__NodeProto *node)
{
    return place(env, node, build(env, node));
}

rcd_status rcd__node_identity(const struct rcd__env *env, rcd_value_id in, rcd_value_id out)
{
    struct rcd__load *l = env->l;
    struct rcd_onnx_node node = {
        .name = "", .op_type = "Identity", .domain = "", .n_in = 1, .n_out = 1};
    if (!rcd__opset_find(env, "", &node.opset))
        node.opset = 1; /* Identity has meant the same since then */
    node.in = rcd__onnx_keep(l, 2, sizeof *node.in);
    if (node.in == NULL)
        return rcd__onnx_no_memory(l);
    node.out = node.in + 1;
    node.in[0] = in;
    node.out[0] = out;
    return append(env, &node);
}
