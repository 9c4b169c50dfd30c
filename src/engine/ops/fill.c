/* fill.c - tensors made from shapes and numbers: Shape, Size, ConstantOfShape, Range, OneHot, EyeLike,
 * Trilu. (Constant nodes are tensors already when the file is loaded.) */
#include "../blame.h"
#include "move.h"

#include <math.h>
#include <string.h>

struct state {
    int64_t start, end; /* Shape */
    bool has_end;
    const struct rcd_tensor *value; /* ConstantOfShape */
    int64_t axis;                   /* OneHot */
    int64_t k, upper;               /* EyeLike, Trilu */
    rcd_dtype type;                 /* EyeLike */
};

static struct state *state_of(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    k->node->state = s;
    return s;
}

static rcd_status check_shape(struct rcd_check *k)
{
    struct state *s = state_of(k);
    if (s == NULL)
        return RCD_ENOMEM;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    s->has_end = rcd__attr_has(k, "end");
    if (st == RCD_OK)
        st = rcd__attr_int(k, "start", 0, &s->start);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "end", 0, &s->end);
    rcd__set_out(k, 0, RCD_I64);
    return st;
}

static int64_t clamp_axis(int64_t v, int rank)
{
    v = v < 0 ? v + rank : v;
    return v < 0 ? 0 : v > rank ? rank : v;
}

static rcd_status run_shape(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    int64_t from = clamp_axis(s->start, x->rank);
    int64_t to = s->has_end ? clamp_axis(s->end, x->rank) : x->rank;
    int64_t n = to > from ? to - from : 0;
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, RCD_I64, 1, &n, &out);
    if (st == RCD_OK && out != NULL)
        rcd__copy(out->data, x->dims + from, (size_t)n * sizeof x->dims[0]);
    return st;
}

static rcd_status check_size(struct rcd_check *k)
{
    rcd__set_out(k, 0, RCD_I64);
    return rcd__check_arity(k, 1, 1, 1, 1);
}

rcd_status rcd__run_size(struct rcd_call *c, size_t r)
{
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, RCD_I64, 0, NULL, &out);
    if (st == RCD_OK && out != NULL)
        *(int64_t *)out->data = (int64_t)rcd__in(c, 0, r)->n;
    return st;
}

static rcd_status check_constant(struct rcd_check *k)
{
    struct state *s = state_of(k);
    if (s == NULL)
        return RCD_ENOMEM;
    const struct rcd_attr *a = rcd__attr_any(k, "value");
    if (a != NULL && (a->type != RCD_ATTR_TENSOR || a->t->n != 1))
        return rcd__refuse(k, "attribute 'value' must be a tensor of one element");
    s->value = a != NULL ? a->t : NULL;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_T(RCD_I64));
    rcd__set_out(k, 0, s->value != NULL ? s->value->dtype : RCD_F32);
    return st;
}

static rcd_status run_constant(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *shape = rcd__in(c, 0, r);
    if (shape->n > RCD_MAX_RANK)
        return rcd__fail(c, r, RCD_EINVAL, "the shape has %zu dims, want at most %d", shape->n,
                         RCD_MAX_RANK);
    int64_t dims[RCD_MAX_RANK];
    for (size_t d = 0; d < shape->n; d++)
        dims[d] = rcd__int_at(shape, d);
    struct rcd_tensor *out = NULL;
    rcd_dtype t = s->value != NULL ? s->value->dtype : RCD_F32;
    rcd_status st = rcd__new_out(c, 0, r, t, (int)shape->n, dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    size_t elem = rcd_dtype_size(t);
    if (s->value == NULL) {
        memset(out->data, 0, out->n * elem);
        return RCD_OK;
    }
    rcd__repeat(out->data, out->n, elem, s->value->data);
    return RCD_OK;
}

/* ---- Range ---------------------------------------------------------------------------------------- */

static rcd_status check_range(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 3, 3, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_TS_FLOAT | RCD_TS_SINT);
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 1);
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 2);
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static double number(const struct rcd_tensor *t)
{
    return t->dtype == RCD_F32   ? (double)*(const float *)t->data
           : t->dtype == RCD_F64 ? *(const double *)t->data
                                 : (double)rcd__int_at(t, 0);
}

#define RANGE(S, T, U)                                                                             \
    case RCD_##S:                                                                                  \
        for (int64_t i = 0; i < n; i++)                                                            \
            ((T *)out->data)[i] =                                                                  \
                (T)((U) * (const T *)t[0]->data + (U)((U)i * (U) * (const T *)t[2]->data));        \
        break;

static rcd_status run_range(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *t[3];
    for (size_t i = 0; i < 3; i++) {
        t[i] = rcd__in(c, i, r);
        if (t[i]->n != 1)
            return rcd__fail(c, r, RCD_EINVAL, "input %zu has %zu elements, want 1", i, t[i]->n);
    }
    double step = number(t[2]);
    double count = ceil((number(t[1]) - number(t[0])) / step);
    int64_t n = count >= 0x1p63 ? INT64_MAX : count > 0.0 ? (int64_t)count : 0;
    if (step == 0.0 || count != count || count > 0x1p40) {
        char text[128];
        snprintf(text, sizeof text, "%g elements from %g to %g by %g", count, number(t[0]),
                 number(t[1]), step);
        return rcd__fail_size(c, r, RCD_EINVAL, 1, &n, text);
    }
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, t[0]->dtype, 1, &n, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    switch (out->dtype) {
        RCD_EACH_FLOAT(RANGE)
        RANGE(I16, int16_t, uint16_t)
        RANGE(I8, int8_t, uint8_t)
        RANGE(I32, int32_t, uint32_t)
        RANGE(I64, int64_t, uint64_t)
    default:
        RCD_ASSERT(!"checked at load");
    }
    return RCD_OK;
}

/* ---- OneHot: values [off, on]; an index outside gives a row of off ------------------------------- */

static rcd_status check_onehot(struct rcd_check *k)
{
    struct state *s = state_of(k);
    if (s == NULL)
        return RCD_ENOMEM;
    rcd_status st = rcd__check_arity(k, 3, 3, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", -1, &s->axis);
    for (size_t i = 0; st == RCD_OK && i < 2; i++)
        st = rcd__check_type(k, i, RCD_TS_NUM);
    rcd__set_out(k, 0, rcd__in_type(k, 2));
    return st;
}

static int64_t whole_at(const struct rcd_tensor *t, size_t i)
{
    if (t->dtype == RCD_F32)
        return (int64_t)((const float *)t->data)[i];
    return t->dtype == RCD_F64 ? (int64_t)((const double *)t->data)[i] : rcd__int_at(t, i);
}

static rcd_status run_onehot(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *idx = rcd__in(c, 0, r), *depth = rcd__in(c, 1, r);
    const struct rcd_tensor *values = rcd__in(c, 2, r);
    if (depth->n != 1 || values->n != 2)
        return rcd__fail(c, r, RCD_EINVAL, "depth has %zu and values %zu elements, want 1 and 2",
                         depth->n, values->n);
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, idx->rank + 1, &axis);
    if (st != RCD_OK)
        return st;
    int64_t dims[RCD_MAX_RANK + 1], classes = whole_at(depth, 0);
    memcpy(dims, idx->dims, (size_t)axis * sizeof dims[0]);
    dims[axis] = classes;
    memcpy(dims + axis + 1, idx->dims + axis, (size_t)(idx->rank - axis) * sizeof dims[0]);
    struct rcd_tensor *out = NULL;
    st = rcd__new_out(c, 0, r, values->dtype, idx->rank + 1, dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    size_t elem = rcd_dtype_size(values->dtype), inner = rcd__span(idx->dims, axis, idx->rank);
    const char *off = values->data, *on = off + elem;
    rcd__repeat(out->data, out->n, elem, off);
    for (size_t i = 0; i < idx->n; i++) {
        int64_t v = whole_at(idx, i);
        v = v < 0 ? v + classes : v;
        if (v >= 0 && v < classes)
            memcpy((char *)out->data +
                       ((i / inner * (size_t)classes + (size_t)v) * inner + i % inner) * elem,
                   on, elem);
    }
    return RCD_OK;
}

/* ---- EyeLike and Trilu --------------------------------------------------------------------------- */

static rcd_status check_eye(struct rcd_check *k)
{
    struct state *s = state_of(k);
    if (s == NULL)
        return RCD_ENOMEM;
    int64_t onnx_type = 0;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "dtype", 0, &onnx_type);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "k", 0, &s->k);
    s->type = onnx_type != 0 ? rcd_dtype_from_onnx((int32_t)onnx_type) : rcd__in_type(k, 0);
    if (st == RCD_OK && (RCD_T(s->type) & (RCD_TS_NUM | RCD_T(RCD_BOOL))) == 0)
        return rcd__refuse(k, "dtype %lld is not run here", (long long)onnx_type);
    rcd__set_out(k, 0, s->type);
    return st;
}

static rcd_status run_eye(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    if (x->rank != 2)
        return rcd__fail(c, r, RCD_EINVAL, "the input has rank %d, want 2", x->rank);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, s->type, 2, x->dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    size_t elem = rcd_dtype_size(s->type);
    memset(out->data, 0, out->n * elem);
    for (int64_t i = 0; i < x->dims[0]; i++) {
        if (s->k > x->dims[1] || s->k < -x->dims[0] || i + s->k < 0 || i + s->k >= x->dims[1])
            continue;
        char *at = (char *)out->data + (size_t)(i * x->dims[1] + i + s->k) * elem;
        if (s->type == RCD_F32)
            memcpy(at, &(float){1.0f}, elem);
        else if (s->type == RCD_F64)
            memcpy(at, &(double){1.0}, elem);
        else
            *at = 1; /* little-endian one of any integer type */
    }
    return RCD_OK;
}

static rcd_status check_trilu(struct rcd_check *k)
{
    struct state *s = state_of(k);
    if (s == NULL)
        return RCD_ENOMEM;
    rcd_status st = rcd__check_arity(k, 1, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "upper", 1, &s->upper);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_T(RCD_I64));
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status run_trilu(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *diag = rcd__in(c, 1, r);
    if (x->rank < 2 || (diag != NULL && diag->n != 1))
        return rcd__fail(c, r, RCD_EINVAL, "the input has rank %d, want at least 2", x->rank);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, x->dtype, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    int64_t k = diag != NULL ? rcd__int_at(diag, 0) : 0;
    size_t elem = rcd_dtype_size(x->dtype);
    int64_t rows = x->dims[x->rank - 2], cols = x->dims[x->rank - 1];
    k = k > cols ? cols : k < -rows ? -rows : k;
    rcd__copy(out->data, x->data, x->n * elem);
    for (size_t i = 0; i < x->n; i++) {
        int64_t row = (int64_t)i / cols % rows, col = (int64_t)i % cols;
        if (s->upper != 0 ? col < row + k : col > row + k)
            memset((char *)out->data + i * elem, 0, elem);
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "Shape", .since = 1, .check = check_shape, .run = run_shape},
    {.name = "Size", .since = 1, .check = check_size, .run = rcd__run_size},
    {.name = "ConstantOfShape", .since = 9, .check = check_constant, .run = run_constant},
    {.name = "Range", .since = 11, .check = check_range, .run = run_range},
    {.name = "OneHot", .since = 9, .check = check_onehot, .run = run_onehot},
    {.name = "EyeLike", .since = 9, .check = check_eye, .run = run_eye},
    {.name = "Trilu", .since = 14, .check = check_trilu, .run = run_trilu},
};
RCD_OP_LIST(fill, ops);
