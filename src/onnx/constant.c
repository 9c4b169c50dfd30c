/* constant.c - Constant nodes become tensors of the value table (all forms up to opset 24). */
#include "onnx_int.h"

#include <string.h>

/* One scalar or list attribute as a tensor of rank 0 or 1. */
static rcd_status make(struct rcd__load *l, rcd_dtype dtype, int rank, size_t n, const void *data,
                       const struct rcd_tensor **ret)
{
    struct rcd_tensor *t = rcd__onnx_keep(l, 1, sizeof *t);
    int64_t dim = (int64_t)n;
    if (t == NULL)
        return rcd__onnx_no_memory(l);
    if (!rcd_tensor_shape(t, dtype, rank, &dim))
        return rcd_fail(l->err, RCD_EMODEL, "a list of %zu elements is not possible", n);
    size_t bytes = n * rcd_dtype_size(dtype);
    t->data = rcd_arena_alloc_aligned(l->arena, bytes);
    if (t->data == NULL)
        return rcd__onnx_no_memory(l);
    if (bytes > 0)
        memcpy(t->data, data, bytes);
    *ret = t;
    return RCD_OK;
}

rcd_status rcd__constant_tensor(const struct rcd__env *env, const Onx__NodeProto *node,
                                const struct rcd_tensor **ret)
{
    static const struct {
        const char *name;
        rcd_attr_type type;
    } forms[] = {
        {"value", RCD_ATTR_TENSOR},          {"value_float", RCD_ATTR_FLOAT},
        {"value_floats", RCD_ATTR_FLOATS},   {"value_int", RCD_ATTR_INT},
        {"value_ints", RCD_ATTR_INTS},       {"value_string", RCD_ATTR_STRING},
        {"value_strings", RCD_ATTR_STRINGS},
    };
    size_t n = 0, form = 0;
    struct rcd_attr *a = NULL;
    struct rcd__load *l = env->l;
    rcd_status st = rcd__attrs_build(env, node, &n, &a);
    if (st != RCD_OK)
        return st;
    if (n != 1)
        return rcd_fail(l->err, RCD_EMODEL, "%zu values, a Constant has one", n);
    while (form < RCD_COUNT(forms) && strcmp(forms[form].name, a->name) != 0)
        form++;
    if (form == RCD_COUNT(forms) || forms[form].type != a->type) {
        char quoted[ONNX_QUOTE];
        return rcd_fail(l->err, RCD_EMODEL, "attribute '%s' is unknown or of the wrong type",
                        rcd__onnx_quote(quoted, a->name));
    }
    switch (a->type) {
    case RCD_ATTR_FLOAT:
        return make(l, RCD_F32, 0, 1, &a->f, ret);
    case RCD_ATTR_FLOATS:
        return make(l, RCD_F32, 1, a->n, a->floats, ret);
    case RCD_ATTR_INT:
        return make(l, RCD_I64, 0, 1, &a->i, ret);
    case RCD_ATTR_INTS:
        return make(l, RCD_I64, 1, a->n, a->ints, ret);
    case RCD_ATTR_STRING:
        return make(l, RCD_BYTES, 0, 1, &a->s, ret);
    case RCD_ATTR_STRINGS:
        return make(l, RCD_BYTES, 1, a->n, a->strings, ret);
    default: /* RCD_ATTR_TENSOR: the table of forms lets nothing else through */
        *ret = a->t;
        return RCD_OK;
    }
}
