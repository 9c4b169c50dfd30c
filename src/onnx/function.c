/* function.c - model-local functions: found by name, and inlined at every call.
 *
 * A body sees nothing but its inputs; its values get no names, as a second call would repeat them.
 * An attribute given with a call keeps the place where it was written: a graph among them sees the
 * caller's values. Calls may nest up to ONNX_MAX_DEPTH and may not recurse; a chain of functions
 * that each call the next one twice grows as 2^n, so nodes are counted when they are visited. */
#include "onnx_int.h"

#include <limits.h>
#include <string.h>

/* "domain:name:overload"; names cannot hold a zero byte (wire_scan.c), so NUL parts them. */
static rcd_status key_of(struct rcd__load *l, const char *domain, const char *name,
                         const char *overload, char **ret, size_t *ret_len)
{
    if (strcmp(domain, "ai.onnx") == 0)
        domain = "";
    size_t d = strlen(domain) + 1, n = strlen(name) + 1, o = strlen(overload);
    char *key = rcd__onnx_mem_alloc(l->mem, d + n + o + 1);
    if (key == NULL)
        return rcd__onnx_no_memory(l);
    memcpy(key, domain, d);
    memcpy(key + d, name, n);
    memcpy(key + d + n, overload, o + 1);
    *ret = key;
    *ret_len = d + n + o;
    return RCD_OK;
}

static rcd_status check_opsets(struct rcd__load *l, const Onx__FunctionProto *f)
{
    if (f->n_opset_import > ONNX_MAX_OPSETS)
        return rcd_fail(l->err, RCD_EMODEL, "%zu operator sets imported, the limit is %d",
                        f->n_opset_import, ONNX_MAX_OPSETS);
    for (size_t i = 0; i < f->n_opset_import; i++) {
        int64_t version = f->opset_import[i]->version;
        if (version < 1 || version > INT_MAX)
            return rcd_fail(l->err, RCD_EMODEL, "operator set version %lld", (long long)version);
    }
    if (f->n_attribute + f->n_attribute_proto > ONNX_MAX_NODE_ATTRS)
        return rcd_fail(l->err, RCD_EMODEL, "%zu attributes, the limit is %d",
                        f->n_attribute + f->n_attribute_proto, ONNX_MAX_NODE_ATTRS);
    return RCD_OK;
}

static rcd_status collect(struct rcd__load *l, const Onx__FunctionProto *f)
{
    char *key = NULL;
    size_t len = 0;
    if (rcd__text(f->name)[0] == '\0')
        return rcd_fail(l->err, RCD_EMODEL, "a function without a name");
    rcd_status st = check_opsets(l, f);
    if (st == RCD_OK)
        st = key_of(l, rcd__text(f->domain), f->name, rcd__text(f->overload), &key, &len);
    if (st != RCD_OK)
        return st;
    struct rcd__name *e = rcd__names_add(&l->functions, key, len);
    bool twice = e != NULL && e->info != NULL;
    if (e == NULL)
        st = rcd__onnx_no_memory(l);
    else if (twice)
        st = rcd_fail(l->err, RCD_EMODEL, "is there twice");
    else
        e->info = f; /* the table keeps the key until rcd__functions_release */
    if (st != RCD_OK)
        rcd__onnx_mem_free(l->mem, key);
    return st;
}

rcd_status rcd__functions_collect(struct rcd__load *l, const Onx__ModelProto *p)
{
    for (size_t i = 0; i < p->n_functions; i++) {
        rcd_status st = collect(l, p->functions[i]);
        if (st == RCD_EMODEL) {
            char name[ONNX_QUOTE];
            rcd_error_prefix(l->err, st, "function '%s': ",
                             rcd__onnx_quote(name, rcd__text(p->functions[i]->name)));
        }
        if (st != RCD_OK)
            return st;
    }
    return RCD_OK;
}

void rcd__functions_release(struct rcd__load *l)
{
    for (size_t i = 0; i < l->functions.cap; i++) {
        union {
            const char *in;
            char *out;
        } key = {l->functions.slots[i].key};
        rcd__onnx_mem_free(l->mem, key.out);
    }
    rcd__names_done(&l->functions);
}

rcd_status rcd__function_find(struct rcd__load *l, const Onx__NodeProto *node,
                              const Onx__FunctionProto **ret)
{
    char *key = NULL;
    size_t len = 0;
    *ret = NULL;
    if (l->functions.n == 0)
        return RCD_OK;
    rcd_status st =
        key_of(l, rcd__text(node->domain), node->op_type, rcd__text(node->overload), &key, &len);
    if (st != RCD_OK)
        return st;
    const struct rcd__name *e = rcd__names_find(&l->functions, key, len);
    if (e != NULL)
        *ret = e->info;
    rcd__onnx_mem_free(l->mem, key);
    return RCD_OK;
}

/* Inputs that the call leaves out are bound to "no value", so that nodes of the body that read
 * them see an input that was left out. */
static rcd_status bind_inputs(const struct rcd__env *env, const struct rcd__env *body,
                              const Onx__NodeProto *node, const Onx__FunctionProto *fn)
{
    if (node->n_input > fn->n_input || node->n_output > fn->n_output)
        return rcd_fail(env->l->err, RCD_EMODEL,
                        "%zu inputs and %zu outputs, the function has %zu and %zu", node->n_input,
                        node->n_output, fn->n_input, fn->n_output);
    for (size_t i = 0; i < fn->n_input; i++) {
        rcd_value_id id = RCD_NO_VALUE, old = 0;
        char quoted[ONNX_QUOTE];
        const char *actual = i < node->n_input ? node->input[i] : "";
        if (fn->input[i][0] == '\0' || rcd__value_find(body->scope, fn->input[i], &old))
            return rcd_fail(env->l->err, RCD_EMODEL, "input %zu of the function, '%s', %s", i,
                            rcd__onnx_quote(quoted, fn->input[i]),
                            fn->input[i][0] == '\0' ? "has no name" : "is there twice");
        if (actual[0] != '\0' && !rcd__value_find(env->scope, actual, &id))
            return rcd_fail(env->l->err, RCD_EMODEL,
                            "reads '%s', which nothing in its scope makes so far",
                            rcd__onnx_quote(quoted, actual));
        rcd_status st = rcd__value_bind(body, fn->input[i], id);
        if (st != RCD_OK)
            return st;
    }
    return RCD_OK;
}

static bool declared(const Onx__FunctionProto *fn, const char *name)
{
    for (size_t i = 0; i < fn->n_attribute; i++)
        if (strcmp(fn->attribute[i], name) == 0)
            return true;
    for (size_t i = 0; i < fn->n_attribute_proto; i++)
        if (strcmp(rcd__text(fn->attribute_proto[i]->name), name) == 0)
            return true;
    return false;
}

static bool bound(const struct rcd__frame *frame, const char *name)
{
    for (size_t i = 0; i < frame->n_binds; i++)
        if (strcmp(frame->binds[i].name, name) == 0)
            return true;
    return false;
}

/* Attributes of the call, then defaults for those that it does not give. `binds` has room. */
static rcd_status bind_attrs(const struct rcd__env *env, const struct rcd__env *body,
                             const Onx__NodeProto *node, struct rcd__frame *frame)
{
    const Onx__FunctionProto *fn = frame->fn;
    char quoted[ONNX_QUOTE];
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onx__AttributeProto *a = node->attribute[i];
        const struct rcd__env *at = env;
        const char *name = rcd__text(a->name);
        if (!declared(fn, name) || bound(frame, name))
            return rcd_fail(env->l->err, RCD_EMODEL, "attribute '%s' %s",
                            rcd__onnx_quote(quoted, name),
                            bound(frame, name) ? "is there twice" : "is not one of the function");
        rcd_status st = rcd__attr_resolve(&at, &a);
        if (st != RCD_OK)
            return st;
        if (a != NULL)
            frame->binds[frame->n_binds++] = (struct rcd__bind){name, a, at};
    }
    for (size_t i = 0; i < fn->n_attribute_proto; i++) {
        const Onx__AttributeProto *a = fn->attribute_proto[i];
        const char *name = rcd__text(a->name);
        if (rcd__text(a->ref_attr_name)[0] != '\0')
            return rcd_fail(env->l->err, RCD_EMODEL, "the default of attribute '%s' is a reference",
                            rcd__onnx_quote(quoted, name));
        if (!bound(frame, name))
            frame->binds[frame->n_binds++] = (struct rcd__bind){name, a, body};
    }
    return RCD_OK;
}

/* Give the results to the caller's names. In a graph a value has one name: an inner value that
 * has one already (an input passed through, or a result given out twice) is copied. */
static rcd_status bind_outputs(const struct rcd__env *env, const struct rcd__env *body,
                               const Onx__NodeProto *node, const Onx__FunctionProto *fn,
                               size_t first_value)
{
    struct rcd__load *l = env->l;
    for (size_t i = 0; i < node->n_output; i++) {
        const char *name = node->output[i];
        rcd_value_id id = RCD_NO_VALUE, old = 0, copy = 0;
        char quoted[ONNX_QUOTE];
        rcd_status st = RCD_OK;
        if (name[0] == '\0')
            continue;
        if (!rcd__value_find(body->scope, fn->output[i], &id) || id == RCD_NO_VALUE)
            return rcd_fail(l->err, RCD_EMODEL, "output '%s' of the function is made by nothing",
                            rcd__onnx_quote(quoted, fn->output[i]));
        if (rcd__value_find(env->scope, name, &old))
            return rcd_fail(l->err, RCD_EMODEL, "output '%s' is the name of another value",
                            rcd__onnx_quote(quoted, name));
        if (env->frame == NULL && (id < first_value || l->values[id].name[0] != '\0')) {
            st = rcd__value_define(env, name, &copy);
            if (st == RCD_OK)
                st = rcd__node_identity(env, id, copy);
        } else {
            if (env->frame == NULL)
                l->values[id].name = rcd__onnx_keep_text(l, name, strlen(name));
            if (l->values[id].name == NULL) {
                l->values[id].name = "";
                return rcd__onnx_no_memory(l);
            }
            st = rcd__value_bind(env, name, id);
            if (st == RCD_OK)
                st = rcd__value_type(env, name, id);
        }
        if (st != RCD_OK)
            return st;
    }
    return RCD_OK;
}

static rcd_status inline_body(const struct rcd__env *env, const struct rcd__env *body,
                              const Onx__NodeProto *node, struct rcd__frame *frame)
{
    const Onx__FunctionProto *fn = frame->fn;
    size_t first_value = env->l->n_values;
    rcd_status st = bind_inputs(env, body, node, fn);
    if (st == RCD_OK)
        st = bind_attrs(env, body, node, frame);
    for (size_t i = 0; i < fn->n_node && st == RCD_OK; i++)
        st = rcd__node_build(body, fn->node[i]);
    return st == RCD_OK ? bind_outputs(env, body, node, fn, first_value) : st;
}

rcd_status rcd__function_inline(const struct rcd__env *env, const Onx__NodeProto *node,
                                const Onx__FunctionProto *fn)
{
    struct rcd__load *l = env->l;
    for (const struct rcd__frame *f = env->frame; f != NULL; f = f->caller->frame)
        if (f->fn == fn)
            return rcd_fail(l->err, RCD_EMODEL, "the function calls itself");
    if (node->n_attribute > ONNX_MAX_NODE_ATTRS)
        return rcd_fail(l->err, RCD_EMODEL, "%zu attributes, the limit is %d", node->n_attribute,
                        ONNX_MAX_NODE_ATTRS);
    rcd_status st = rcd__onnx_count_edges(l, fn->n_input + fn->n_output);
    if (st == RCD_OK)
        st = rcd__onnx_enter(l);
    if (st != RCD_OK)
        return st;
    struct rcd__frame frame = {.fn = fn, .caller = env};
    struct rcd__scope scope = {.up = NULL};
    struct rcd__env body = {.l = l,
                            .scope = &scope,
                            .frame = &frame,
                            .n_opsets = fn->n_opset_import,
                            .opsets = fn->opset_import,
                            .n_nodes = fn->n_node,
                            .nodes = fn->node,
                            .out = env->out};
    rcd__names_init(&scope.names, l->mem);
    frame.binds = rcd__onnx_mem_alloc(l->mem, (node->n_attribute + fn->n_attribute_proto) *
                                                  sizeof *frame.binds);
    st = frame.binds != NULL ? inline_body(env, &body, node, &frame) : rcd__onnx_no_memory(l);
    rcd__onnx_mem_free(l->mem, frame.binds);
    rcd__names_done(&scope.names);
    rcd__onnx_leave(l);
    return st;
}
