/* reshape.c - operators that only see the same data under another shape: Identity, Dropout (inference),
 * Reshape, Flatten, Squeeze, Unsqueeze. No byte moves. */
#include "ops.h"

#include <string.h>

struct state {
    const int64_t *axes; /* attribute form (opset < 13) */
    size_t n_axes;
    bool axes_input; /* a second input may give them */
    int64_t value;   /* Reshape: allowzero; Flatten: axis */
};

static rcd_status start(struct rcd_check *k, size_t in_min, size_t in_max, struct state **ret)
{
    *ret = rcd__state_new(k, sizeof **ret);
    if (*ret == NULL)
        return RCD_ENOMEM;
    k->node->state = *ret;
    rcd_status st = rcd__check_arity(k, in_min, in_max, 1, 2);
    if (st == RCD_OK)
        rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status check_identity(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        rcd__like(k, k->node->out[0], k->node->in[0]);
    return st;
}

static rcd_status run_identity(struct rcd_call *c, size_t r)
{
    *rcd__out(c, 0, r) = rcd__share(rcd__in(c, 0, r));
    return RCD_OK;
}

/* ---- Dropout: inference only, so the mask is all true ----------------------------------------- */

static rcd_status check_dropout(struct rcd_check *k)
{
    struct state *s = NULL;
    float ratio = 0.0f;
    int64_t seed = 0;
    rcd_status st = start(k, 1, 3, &s);
    if (st == RCD_OK)
        st = rcd__attr_float(k, "ratio", 0.5f, &ratio);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "seed", 0, &seed);
    const struct rcd_tensor *training = rcd__in_const(k, 2);
    if (st == RCD_OK && rcd__has_in(k, 2) &&
        (training == NULL || (training->n == 1 && *(const uint8_t *)training->data != 0)))
        return rcd__refuse(k, "training_mode must be a constant false");
    rcd__set_out(k, 1, RCD_BOOL);
    return st;
}

static rcd_status run_dropout(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    struct rcd_tensor *mask = NULL;
    rcd_status st = rcd__alias_out(c, 0, r, x, x->rank, x->dims);
    if (st == RCD_OK)
        st = rcd__new_out(c, 1, r, RCD_BOOL, x->rank, x->dims, &mask);
    if (st == RCD_OK && mask != NULL)
        memset(mask->data, 1, mask->n);
    return st;
}

/* ---- Reshape ------------------------------------------------------------------------------------ */

static rcd_status check_reshape(struct rcd_check *k)
{
    struct state *s = NULL;
    rcd_status st = start(k, 2, 2, &s);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_T(RCD_I64));
    return st == RCD_OK ? rcd__attr_int(k, "allowzero", 0, &s->value) : st;
}

static rcd_status run_reshape(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *shape = rcd__in(c, 1, r);
    if (shape->rank != 1 || shape->n > RCD_MAX_RANK)
        return rcd__fail(c, r, RCD_EINVAL, "the new shape has %zu dims, want at most %d", shape->n,
                         RCD_MAX_RANK);
    int64_t dims[RCD_MAX_RANK];
    int open = -1, rank = (int)shape->n;
    size_t known = 1;
    for (int d = 0; d < rank; d++) {
        dims[d] = rcd__int_at(shape, (size_t)d);
        if (dims[d] == 0 && s->value == 0 && d < x->rank)
            dims[d] = x->dims[d];
        if (dims[d] < -1 || (dims[d] == -1 && open >= 0))
            return rcd__fail(c, r, RCD_EINVAL, "new shape: dim %d is %lld", d, (long long)dims[d]);
        if (dims[d] == -1)
            open = d;
        else if (!rcd_mul(known, (size_t)dims[d], &known))
            return rcd__fail(c, r, RCD_EINVAL, "new shape: too many elements");
    }
    if (open >= 0)
        dims[open] = known != 0 ? (int64_t)(x->n / known) : 0;
    return rcd__alias_out(c, 0, r, x, rank, dims);
}

/* ---- Flatten ------------------------------------------------------------------------------------ */

static rcd_status check_flatten(struct rcd_check *k)
{
    struct state *s = NULL;
    rcd_status st = start(k, 1, 1, &s);
    return st == RCD_OK ? rcd__attr_int(k, "axis", 1, &s->value) : st;
}

static rcd_status run_flatten(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    int64_t axis = s->value < 0 ? s->value + x->rank : s->value;
    if (axis < 0 || axis > x->rank)
        return rcd__fail(c, r, RCD_EINVAL, "axis %lld is outside rank %d", (long long)s->value,
                         x->rank);
    int64_t dims[2] = {(int64_t)rcd__span(x->dims, 0, (int)axis),
                       (int64_t)rcd__span(x->dims, (int)axis, x->rank)};
    return rcd__alias_out(c, 0, r, x, 2, dims);
}

/* ---- Squeeze and Unsqueeze: axes from the attribute (opset < 13) or the second input ----------- */

static rcd_status check_squeeze(struct rcd_check *k)
{
    struct state *s = NULL;
    bool needed = strcmp(k->src->op_type, "Unsqueeze") == 0;
    bool input = k->opset >= 13;
    rcd_status st = start(k, input && needed ? 2 : 1, input ? 2 : 1, &s);
    if (st != RCD_OK)
        return st;
    s->axes_input = input;
    if (input)
        return rcd__check_type(k, 1, RCD_T(RCD_I64));
    st = rcd__attr_ints(k, "axes", &s->axes, &s->n_axes);
    if (st == RCD_OK && needed && s->axes == NULL)
        return rcd__refuse(k, "attribute 'axes' is missing");
    return st;
}

/* Bit per axis of a shape of `rank` dims; *ret_any: axes were given at all. */
static rcd_status axes_of(const struct rcd_call *c, size_t r, int rank, uint32_t *ret_bits,
                          size_t *ret_n, bool *ret_any)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *axes = s->axes_input ? rcd__in(c, 1, r) : NULL;
    size_t n = axes != NULL ? axes->n : s->n_axes;
    *ret_any = axes != NULL || s->axes != NULL;
    *ret_bits = 0;
    *ret_n = n;
    for (size_t i = 0; i < n; i++) {
        int axis = 0;
        rcd_status st =
            rcd__axis(c, r, axes != NULL ? rcd__int_at(axes, i) : s->axes[i], rank, &axis);
        if (st != RCD_OK)
            return st;
        if ((*ret_bits & (1u << axis)) != 0)
            return rcd__fail(c, r, RCD_EINVAL, "axis %d is given twice", axis);
        *ret_bits |= 1u << axis;
    }
    return RCD_OK;
}

static rcd_status run_squeeze(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    uint32_t bits = 0;
    size_t n = 0;
    bool any = false;
    rcd_status st = axes_of(c, r, x->rank, &bits, &n, &any);
    if (st != RCD_OK)
        return st;
    int64_t dims[RCD_MAX_RANK];
    int rank = 0;
    for (int d = 0; d < x->rank; d++) {
        bool named = (bits & (1u << d)) != 0;
        if (named && x->dims[d] != 1)
            return rcd__fail(c, r, RCD_EINVAL, "axis %d has size %lld, want 1", d,
                             (long long)x->dims[d]);
        if (!named && (any || x->dims[d] != 1))
            dims[rank++] = x->dims[d];
    }
    return rcd__alias_out(c, 0, r, x, rank, dims);
}

static rcd_status run_unsqueeze(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    const struct state *s = c->node->state;
    size_t n = s->axes_input ? rcd__in(c, 1, r)->n : s->n_axes;
    if (n > (size_t)(RCD_MAX_RANK - x->rank))
        return rcd__fail(c, r, RCD_EINVAL, "%zu new axes make more than %d dims", n, RCD_MAX_RANK);
    uint32_t bits = 0;
    bool any = false;
    int rank = x->rank + (int)n, from = 0;
    rcd_status st = axes_of(c, r, rank, &bits, &n, &any);
    if (st != RCD_OK)
        return st;
    int64_t dims[RCD_MAX_RANK];
    for (int d = 0; d < rank; d++)
        dims[d] = (bits & (1u << d)) != 0 ? 1 : x->dims[from++];
    return rcd__alias_out(c, 0, r, x, rank, dims);
}

static const struct rcd_op ops[] = {
    {.name = "Identity",
     .since = 1,
     .check = check_identity,
     .run = run_identity,
     .compound = true},
    {.name = "Dropout", .since = 7, .check = check_dropout, .run = run_dropout},
    {.name = "Reshape", .since = 5, .check = check_reshape, .run = run_reshape},
    {.name = "Flatten", .since = 1, .check = check_flatten, .run = run_flatten},
    {.name = "Squeeze", .since = 1, .check = check_squeeze, .run = run_squeeze},
    {.name = "Unsqueeze", .since = 1, .check = check_squeeze, .run = run_unsqueeze},
};
RCD_OP_LIST(reshape, ops);
