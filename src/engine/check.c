/* check.c - what an operator's `check` asks of its node: attributes, inputs, types; and how it
 * refuses. Every attribute that is read is marked, so that one nobody knows refuses the model. */
#include "engine_int.h"

#include <string.h>

rcd_status rcd__refuse(struct rcd_check *k, const char *fmt, ...)
{
    char why[RCD_ERROR_TEXT];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    char name[64];
    rcd_quote(name, sizeof name, k->src->name, strlen(k->src->name));
    return rcd_fail(k->err, RCD_EMODEL, "node '%s' (%s, opset %d): %s", name, k->src->op_type,
                    k->opset, why);
}

rcd_status rcd__check_fused(struct rcd_check *k)
{
    return rcd__refuse(k, "made by fusion only");
}

const struct rcd_attr *rcd__attr_any(struct rcd_check *k, const char *name)
{
    for (size_t i = 0; i < k->src->n_attrs && i < RCD_MAX_ATTRS; i++) {
        if (strcmp(k->src->attrs[i].name, name) == 0) {
            k->attrs_seen |= UINT64_C(1) << i;
            return &k->src->attrs[i];
        }
    }
    return NULL;
}

bool rcd__attr_has(const struct rcd_check *k, const char *name)
{
    return rcd_onnx_attr(k->src, name) != NULL;
}

static rcd_status typed(struct rcd_check *k, const char *name, rcd_attr_type type,
                        const struct rcd_attr **ret)
{
    const struct rcd_attr *a = rcd__attr_any(k, name);
    if (a != NULL && a->type != type)
        return rcd__refuse(k, "attribute '%s' has the wrong type", name);
    *ret = a;
    return RCD_OK;
}

rcd_status rcd__attr_int(struct rcd_check *k, const char *name, int64_t def, int64_t *ret)
{
    const struct rcd_attr *a = NULL;
    rcd_status st = typed(k, name, RCD_ATTR_INT, &a);
    if (st == RCD_OK)
        *ret = a != NULL ? a->i : def;
    return st;
}

rcd_status rcd__attr_float(struct rcd_check *k, const char *name, float def, float *ret)
{
    const struct rcd_attr *a = NULL;
    rcd_status st = typed(k, name, RCD_ATTR_FLOAT, &a);
    if (st == RCD_OK)
        *ret = a != NULL ? a->f : def;
    return st;
}

rcd_status rcd__attr_string(struct rcd_check *k, const char *name, const char *def,
                            const char **ret)
{
    const struct rcd_attr *a = NULL;
    rcd_status st = typed(k, name, RCD_ATTR_STRING, &a);
    if (st == RCD_OK)
        *ret = a != NULL ? a->s.ptr : def;
    return st;
}

rcd_status rcd__attr_choice(struct rcd_check *k, const char *name, const char *const *names,
                            size_t n, size_t *ret)
{
    const char *text = NULL;
    rcd_status st = rcd__attr_string(k, name, names[0], &text);
    if (st != RCD_OK)
        return st;
    *ret = 0;
    while (*ret < n && strcmp(names[*ret], text) != 0)
        ++*ret;
    return *ret < n ? RCD_OK : rcd__refuse(k, "%s '%s' is not known", name, text);
}

rcd_status rcd__attr_ints(struct rcd_check *k, const char *name, const int64_t **ret, size_t *ret_n)
{
    const struct rcd_attr *a = NULL;
    rcd_status st = typed(k, name, RCD_ATTR_INTS, &a);
    if (st == RCD_OK) {
        *ret = a != NULL ? a->ints : NULL;
        *ret_n = a != NULL ? a->n : 0;
    }
    return st;
}

rcd_status rcd__attr_floats(struct rcd_check *k, const char *name, const float **ret, size_t *ret_n)
{
    const struct rcd_attr *a = NULL;
    rcd_status st = typed(k, name, RCD_ATTR_FLOATS, &a);
    if (st == RCD_OK) {
        *ret = a != NULL ? a->floats : NULL;
        *ret_n = a != NULL ? a->n : 0;
    }
    return st;
}

rcd_status rcd__attr_strings(struct rcd_check *k, const char *name, const struct rcd_bytes **ret,
                             size_t *ret_n)
{
    const struct rcd_attr *a = NULL;
    rcd_status st = typed(k, name, RCD_ATTR_STRINGS, &a);
    if (st == RCD_OK) {
        *ret = a != NULL ? a->strings : NULL;
        *ret_n = a != NULL ? a->n : 0;
    }
    return st;
}

rcd_status rcd__check_arity(struct rcd_check *k, size_t in_min, size_t in_max, size_t out_min,
                            size_t out_max)
{
    const struct rcd_node *n = k->node;
    if (n->n_in < in_min || n->n_in > in_max)
        return rcd__refuse(k, "%zu inputs, want %zu to %zu", n->n_in, in_min, in_max);
    if (n->n_out < out_min || n->n_out > out_max)
        return rcd__refuse(k, "%zu outputs, want %zu to %zu", n->n_out, out_min, out_max);
    for (size_t i = 0; i < in_min; i++) {
        if (n->in[i] == RCD_NO_VALUE)
            return rcd__refuse(k, "input %zu is left out, but required", i);
    }
    return RCD_OK;
}

bool rcd__has_in(const struct rcd_check *k, size_t i)
{
    return i < k->node->n_in && k->node->in[i] != RCD_NO_VALUE;
}

bool rcd__has_out(const struct rcd_check *k, size_t i)
{
    return i < k->node->n_out && k->node->out[i] != RCD_NO_VALUE;
}

rcd_dtype rcd__in_type(const struct rcd_check *k, size_t i)
{
    return rcd__has_in(k, i) ? k->plan->values[k->node->in[i]].dtype : RCD_NONE;
}

const struct rcd_tensor *rcd__in_const(const struct rcd_check *k, size_t i)
{
    return rcd__has_in(k, i) ? k->plan->values[k->node->in[i]].constant : NULL;
}

void rcd__set_out(struct rcd_check *k, size_t i, rcd_dtype t)
{
    if (rcd__has_out(k, i)) {
        k->plan->values[k->node->out[i]].dtype = t;
        k->plan->values[k->node->out[i]].rank = -1;
    }
}

void rcd__set_out_list(struct rcd_check *k, size_t i, rcd_dtype elem)
{
    rcd__set_out(k, i, RCD_SEQ);
    if (rcd__has_out(k, i))
        k->plan->values[k->node->out[i]].elem = elem;
}

void rcd__like(struct rcd_check *k, rcd_value_id id, rcd_value_id other)
{
    if (id == RCD_NO_VALUE)
        return;
    struct rcd_plan_value *v = &k->plan->values[id];
    const struct rcd_plan_value *o = &k->plan->values[other];
    v->dtype = o->dtype;
    v->elem = o->elem;
    v->rank = -1;
}

bool rcd__fits(const struct rcd_check *k, rcd_value_id got, rcd_value_id want)
{
    const struct rcd_plan_value *g = &k->plan->values[got], *w = &k->plan->values[want];
    return g->dtype == w->dtype && (g->dtype != RCD_SEQ || g->elem == w->elem);
}

rcd_status rcd__check_type(struct rcd_check *k, size_t i, unsigned types)
{
    rcd_dtype t = rcd__in_type(k, i);
    if (t == RCD_NONE || (RCD_T(t) & types) != 0)
        return RCD_OK;
    return rcd__refuse(k, "input %zu is %s, which recurd does not run here", i,
                       rcd_dtype_onnx_name(t));
}

rcd_status rcd__check_same(struct rcd_check *k, size_t i, size_t j)
{
    rcd_dtype a = rcd__in_type(k, i), b = rcd__in_type(k, j);
    if (a == RCD_NONE || b == RCD_NONE || a == b)
        return RCD_OK;
    return rcd__refuse(k, "inputs %zu and %zu are %s and %s, want equal types", i, j,
                       rcd_dtype_onnx_name(a), rcd_dtype_onnx_name(b));
}

void *rcd__state_new(struct rcd_check *k, size_t bytes)
{
    void *p = rcd_arena_calloc(&k->plan->arena, 1, bytes);
    if (p == NULL)
        rcd_fail(k->err, RCD_ENOMEM, "node '%s' (%s): no memory", k->src->name, k->src->op_type);
    return p;
}

void *rcd__plan_alloc(struct rcd_check *k, size_t bytes)
{
    void *p = rcd_arena_alloc_aligned(&k->plan->arena, bytes);
    if (p == NULL)
        rcd_fail(k->err, RCD_ENOMEM, "node '%s' (%s): no memory for %zu bytes of weights",
                 k->src->name, k->src->op_type, bytes);
    return p;
}

rcd_status rcd__warn(struct rcd_check *k, const char *fmt, ...)
{
    char why[RCD_ERROR_TEXT], line[RCD_ERROR_TEXT + 128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    int len = snprintf(line, sizeof line, "node '%s' (%s): %s", k->src->name, k->src->op_type, why);
    struct rcd_arena *arena = &k->plan->arena;
    const char **grown = rcd_arena_calloc(arena, k->plan->n_warnings + 1, sizeof *grown);
    char *text = rcd_arena_strndup(arena, line, (size_t)len);
    if (grown == NULL || text == NULL)
        return rcd_fail(k->err, RCD_ENOMEM, "no memory for a warning");
    for (size_t i = 0; i < k->plan->n_warnings; i++)
        grown[i] = k->plan->warnings[i];
    grown[k->plan->n_warnings++] = text;
    k->plan->warnings = grown;
    return RCD_OK;
}
