/* attr.c - attributes of nodes, with references to attributes of the function around them. */
#include "onnx_int.h"

#include <string.h>

/* AttributeProto.AttributeType */
enum {
    TYPE_UNDEFINED = 0,
    TYPE_FLOAT = 1,
    TYPE_INT = 2,
    TYPE_STRING = 3,
    TYPE_TENSOR = 4,
    TYPE_GRAPH = 5,
    TYPE_FLOATS = 6,
    TYPE_INTS = 7,
    TYPE_STRINGS = 8,
};

static const char *type_name(int32_t type)
{
    static const char *const names[] = {
        "undefined",      "float",      "int",         "string",  "tensor", "graph",
        "floats",         "ints",       "strings",     "tensors", "graphs", "sparse_tensor",
        "sparse_tensors", "type_proto", "type_protos",
    };
    return type >= 0 && (size_t)type < RCD_COUNT(names) ? names[type] : "unknown";
}

/* Files of IR version 1 do not say the type: then the field that is there tells it. */
static int32_t type_of(const Onx__AttributeProto *a)
{
    if (a->type != TYPE_UNDEFINED)
        return a->type;
    int32_t found[] = {
        a->has_f ? TYPE_FLOAT : 0,     a->has_i ? TYPE_INT : 0,
        a->has_s ? TYPE_STRING : 0,    a->t != NULL ? TYPE_TENSOR : 0,
        a->g != NULL ? TYPE_GRAPH : 0, a->n_floats > 0 ? TYPE_FLOATS : 0,
        a->n_ints > 0 ? TYPE_INTS : 0, a->n_strings > 0 ? TYPE_STRINGS : 0,
    };
    int32_t type = TYPE_UNDEFINED;
    for (size_t i = 0; i < RCD_COUNT(found); i++) {
        if (found[i] != 0 && type != TYPE_UNDEFINED)
            return TYPE_UNDEFINED;
        if (found[i] != 0)
            type = found[i];
    }
    return type;
}

static rcd_status refuse(const struct rcd__env *env, const char *name, const char *what)
{
    char quoted[ONNX_QUOTE];
    return rcd_fail(env->l->err, RCD_EMODEL, "attribute '%s' %s", rcd__onnx_quote(quoted, name),
                    what);
}

rcd_status rcd__attr_resolve(const struct rcd__env **env, const Onx__AttributeProto **attr)
{
    const Onx__AttributeProto *a = *attr;
    const char *ref = rcd__text(a->ref_attr_name);
    if (ref[0] == '\0')
        return RCD_OK;
    const struct rcd__frame *frame = (*env)->frame;
    if (frame == NULL)
        return refuse(*env, rcd__text(a->name),
                      "refers to an attribute of a function, but stands in none");
    for (size_t i = 0; i < frame->n_binds; i++) {
        if (strcmp(frame->binds[i].name, ref) != 0)
            continue;
        if (a->type != TYPE_UNDEFINED && a->type != type_of(frame->binds[i].attr))
            return refuse(*env, rcd__text(a->name),
                          "has another type than the attribute that it refers to");
        *attr = frame->binds[i].attr;
        *env = frame->binds[i].env;
        return RCD_OK;
    }
    *attr = NULL;
    return RCD_OK;
}

struct made {
    struct rcd_tensor t;
    uintptr_t key; /* the address of what it was made of */
};

/* A tensor of the file is made once, however often functions bring it in. */
static rcd_status tensor(const struct rcd__env *env, const Onx__TensorProto *p,
                         const struct rcd_tensor **ret)
{
    struct rcd__load *l = env->l;
    uintptr_t key = (uintptr_t)p;
    struct rcd__name *e = rcd__names_find(&l->tensors, (const char *)&key, sizeof key);
    if (e != NULL) {
        *ret = e->info;
        return RCD_OK;
    }
    struct made *made = rcd__onnx_keep(l, 1, sizeof *made);
    if (made == NULL)
        return rcd__onnx_no_memory(l);
    made->key = key;
    rcd_status st = rcd__onnx_tensor(l, p, &made->t);
    if (st != RCD_OK)
        return st;
    e = rcd__names_add(&l->tensors, (const char *)&made->key, sizeof made->key);
    if (e == NULL)
        return rcd__onnx_no_memory(l);
    e->info = &made->t;
    *ret = &made->t;
    return RCD_OK;
}

static rcd_status text(struct rcd__load *l, const ProtobufCBinaryData *from, struct rcd_bytes *ret)
{
    char *copy = rcd__onnx_keep_text(l, (const char *)from->data, from->len);
    if (copy == NULL)
        return rcd__onnx_no_memory(l);
    *ret = (struct rcd_bytes){copy, from->len};
    return RCD_OK;
}

static rcd_status list(struct rcd__load *l, const Onx__AttributeProto *a, struct rcd_attr *out)
{
    size_t size = out->type == RCD_ATTR_FLOATS ? sizeof *out->floats
                  : out->type == RCD_ATTR_INTS ? sizeof *out->ints
                                               : sizeof *out->strings;
    out->n = out->type == RCD_ATTR_FLOATS ? a->n_floats
             : out->type == RCD_ATTR_INTS ? a->n_ints
                                          : a->n_strings;
    void *copy = rcd__onnx_keep(l, out->n, size);
    if (copy == NULL)
        return rcd__onnx_no_memory(l);
    if (out->type == RCD_ATTR_STRINGS) {
        struct rcd_bytes *strings = copy;
        out->strings = strings;
        for (size_t i = 0; i < out->n; i++) {
            rcd_status st = text(l, &a->strings[i], &strings[i]);
            if (st != RCD_OK)
                return st;
        }
    } else if (out->type == RCD_ATTR_INTS) {
        out->ints = copy;
        if (out->n > 0)
            memcpy(copy, a->ints, out->n * size);
    } else {
        out->floats = copy;
        if (out->n > 0)
            memcpy(copy, a->floats, out->n * size);
    }
    return RCD_OK;
}

static rcd_status value(const struct rcd__env *env, const Onx__AttributeProto *a,
                        struct rcd_attr *out)
{
    struct rcd__load *l = env->l;
    switch (type_of(a)) {
    case TYPE_FLOAT:
        out->type = RCD_ATTR_FLOAT;
        out->f = a->f; /* 0 when left out, as writers of proto3 do */
        return RCD_OK;
    case TYPE_INT:
        out->type = RCD_ATTR_INT;
        out->i = a->i;
        return RCD_OK;
    case TYPE_STRING:
        out->type = RCD_ATTR_STRING;
        return text(l, &a->s, &out->s);
    case TYPE_TENSOR:
        out->type = RCD_ATTR_TENSOR;
        return a->t != NULL ? tensor(env, a->t, &out->t) : refuse(env, out->name, "has no tensor");
    case TYPE_GRAPH:
        out->type = RCD_ATTR_GRAPH;
        if (a->g == NULL)
            return refuse(env, out->name, "has no graph");
        out->g = rcd__onnx_keep(l, 1, sizeof *out->g);
        return out->g != NULL ? rcd__graph_build(env, a->g, out->g) : rcd__onnx_no_memory(l);
    case TYPE_FLOATS:
        out->type = RCD_ATTR_FLOATS;
        return list(l, a, out);
    case TYPE_INTS:
        out->type = RCD_ATTR_INTS;
        return list(l, a, out);
    case TYPE_STRINGS:
        out->type = RCD_ATTR_STRINGS;
        return list(l, a, out);
    default: {
        char quoted[ONNX_QUOTE];
        return rcd_fail(l->err, RCD_EMODEL, "attribute '%s' of type %s (%d) is not supported",
                        rcd__onnx_quote(quoted, out->name), type_name(a->type), (int)a->type);
    }
    }
}

rcd_status rcd__attrs_build(const struct rcd__env *env, const Onx__NodeProto *node, size_t *ret_n,
                            struct rcd_attr **ret_attrs)
{
    struct rcd__load *l = env->l;
    size_t n = 0;
    if (node->n_attribute > ONNX_MAX_NODE_ATTRS)
        return rcd_fail(l->err, RCD_EMODEL, "%zu attributes, the limit is %d", node->n_attribute,
                        ONNX_MAX_NODE_ATTRS);
    struct rcd_attr *attrs = rcd__onnx_keep(l, node->n_attribute, sizeof *attrs);
    if (attrs == NULL)
        return rcd__onnx_no_memory(l);
    for (size_t i = 0; i < node->n_attribute; i++) {
        const Onx__AttributeProto *a = node->attribute[i];
        const char *name = rcd__text(a->name);
        if (name[0] == '\0')
            return refuse(env, name, "has no name");
        for (size_t k = 0; k < i; k++)
            if (strcmp(rcd__text(node->attribute[k]->name), name) == 0)
                return refuse(env, name, "is there twice");
        const struct rcd__env *at = env;
        rcd_status st = rcd__attr_resolve(&at, &a);
        if (st != RCD_OK)
            return st;
        if (a == NULL) /* the call did not give it: the node goes without */
            continue;
        attrs[n].name = rcd__onnx_keep_text(l, name, strlen(name));
        if (attrs[n].name == NULL)
            return rcd__onnx_no_memory(l);
        st = value(at, a, &attrs[n]);
        if (st != RCD_OK)
            return st;
        n++;
    }
    *ret_n = n;
    *ret_attrs = attrs;
    return RCD_OK;
}

const struct rcd_attr *rcd_onnx_attr(const struct rcd_onnx_node *node, const char *name)
{
    for (size_t i = 0; i < node->n_attrs; i++)
        if (strcmp(node->attrs[i].name, name) == 0)
            return &node->attrs[i];
    return NULL;
}
