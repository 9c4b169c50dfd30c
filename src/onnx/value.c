/* value.c - the table of values, and what a file declares of their types.
 *
 * Every graph is a scope; a scope knows its declarations (graph inputs, outputs, value_info) before
 * the values exist, and binds a name when its value is made. A look-up therefore sees exactly the
 * values that stand before the place of use: the file's order is checked by the way. */
#include "onnx_int.h"

#include <string.h>

bool rcd__value_find(const struct rcd__scope *scope, const char *name, rcd_value_id *ret)
{
    size_t len = strlen(name);
    for (; scope != NULL; scope = scope->up) {
        const struct rcd__name *e = rcd__names_find(&scope->names, name, len);
        if (e != NULL && e->bound) {
            *ret = e->id;
            return true;
        }
    }
    return false;
}

static rcd_status about(const struct rcd__env *env, rcd_status st, const char *name)
{
    char quoted[ONNX_QUOTE];
    if (st == RCD_EMODEL)
        rcd_error_prefix(env->l->err, st, "value '%s': ", rcd__onnx_quote(quoted, name));
    return st;
}

rcd_status rcd__value_declare(const struct rcd__env *env, const Onx__ValueInfoProto *info)
{
    const char *name = rcd__text(info->name);
    if (name[0] == '\0')
        return RCD_OK;
    struct rcd__name *e = rcd__names_add(&env->scope->names, name, strlen(name));
    if (e == NULL)
        return rcd__onnx_no_memory(env->l);
    if (e->info == NULL || info->type != NULL)
        e->info = info;
    return RCD_OK;
}

rcd_status rcd__value_bind(const struct rcd__env *env, const char *name, rcd_value_id id)
{
    struct rcd__name *e = rcd__names_add(&env->scope->names, name, strlen(name));
    if (e == NULL)
        return rcd__onnx_no_memory(env->l);
    e->bound = true;
    e->id = id;
    return RCD_OK;
}

static rcd_status set_shape(struct rcd__load *l, struct rcd_onnx_value *v,
                            const Onx__TensorShapeProto *shape)
{
    if (shape->n_dim > RCD_MAX_RANK)
        return rcd_fail(l->err, RCD_EMODEL, "rank %zu is over the limit of %d", shape->n_dim,
                        RCD_MAX_RANK);
    v->rank = (int)shape->n_dim;
    for (size_t i = 0; i < shape->n_dim; i++) {
        const Onx__DimensionProto *d = shape->dim[i];
        /* Some writers say -1 for "not known". */
        v->dims[i] = d->has_dim_value && d->dim_value >= 0 ? d->dim_value : -1;
        if (!d->has_dim_value && rcd__text(d->dim_param)[0] != '\0') {
            v->dim_names[i] = rcd__onnx_keep_text(l, d->dim_param, strlen(d->dim_param));
            if (v->dim_names[i] == NULL)
                return rcd__onnx_no_memory(l);
        }
    }
    return RCD_OK;
}

rcd_status rcd__value_type(const struct rcd__env *env, const char *name, rcd_value_id id)
{
    struct rcd__load *l = env->l;
    struct rcd_onnx_value *v = &l->values[id];
    const struct rcd__name *e = rcd__names_find(&env->scope->names, name, strlen(name));
    const Onx__ValueInfoProto *info = e != NULL ? e->info : NULL;
    if (info == NULL || info->type == NULL || info->type->tensor_type == NULL ||
        v->dtype != RCD_NONE)
        return RCD_OK;
    const Onx__TensorTypeProto *type = info->type->tensor_type;
    rcd_status st = RCD_OK;
    if (type->elem_type != 0)
        st = rcd__onnx_dtype(l, type->elem_type, &v->dtype);
    if (st == RCD_OK && type->shape != NULL)
        st = set_shape(l, v, type->shape);
    return about(env, st, name);
}

rcd_status rcd__value_define(const struct rcd__env *env, const char *name, rcd_value_id *ret)
{
    struct rcd__load *l = env->l;
    if (l->n_values >= ONNX_MAX_VALUES)
        return rcd_fail(l->err, RCD_EMODEL, "the model has more than %d values", ONNX_MAX_VALUES);
    void *list = l->values;
    if (!rcd__onnx_mem_grow(l->mem, &list, l->n_values, &l->cap_values, sizeof *l->values))
        return rcd__onnx_no_memory(l);
    l->values = list;
    struct rcd_onnx_value *v = &l->values[l->n_values];
    *v = (struct rcd_onnx_value){.name = "", .rank = -1};
    if (env->frame == NULL) { /* names inside functions repeat with every call */
        v->name = rcd__onnx_keep_text(l, name, strlen(name));
        if (v->name == NULL)
            return rcd__onnx_no_memory(l);
    }
    rcd_value_id id = (rcd_value_id)l->n_values++;
    rcd_status st = rcd__value_bind(env, name, id);
    if (st == RCD_OK)
        st = rcd__value_type(env, name, id);
    if (st == RCD_OK)
        *ret = id;
    return st;
}

rcd_status rcd__value_set_constant(const struct rcd__env *env, rcd_value_id id,
                                   const struct rcd_tensor *tensor)
{
    struct rcd_onnx_value *v = &env->l->values[id];
    if (v->dtype != RCD_NONE && v->dtype != tensor->dtype) {
        char quoted[ONNX_QUOTE];
        return rcd_fail(env->l->err, RCD_EMODEL, "value '%s' is declared as %s, its data are %s",
                        rcd__onnx_quote(quoted, v->name), rcd_dtype_onnx_name(v->dtype),
                        rcd_dtype_onnx_name(tensor->dtype));
    }
    v->dtype = tensor->dtype;
    v->rank = tensor->rank;
    memset(v->dim_names, 0, sizeof v->dim_names);
    memcpy(v->dims, tensor->dims, sizeof v->dims);
    v->constant = tensor;
    return RCD_OK;
}
