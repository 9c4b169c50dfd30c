/* norm.c - LayerNormalization (17), BatchNormalization (inference form), InstanceNormalization and
 * GroupNormalization. */
#include "ops.h"

#include <math.h>
#include <string.h>

struct state {
    int64_t axis, groups;
    float epsilon;
};

static rcd_status check_layer(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    int64_t stash = 1;
    rcd_status st = rcd__check_arity(k, 2, 3, 1, 3);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", -1, &s->axis);
    if (st == RCD_OK)
        st = rcd__attr_float(k, "epsilon", 1e-5f, &s->epsilon);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "stash_type", 1, &stash);
    if (st == RCD_OK && stash != 1)
        return rcd__refuse(k, "stash_type %lld is not run", (long long)stash);
    for (size_t i = 0; st == RCD_OK && i < 3; i++)
        st = rcd__check_type(k, i, RCD_T(RCD_F32));
    for (size_t i = 0; i < 3; i++)
        rcd__set_out(k, i, RCD_F32);
    return st;
}

static rcd_status run_layer(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *scale = rcd__in(c, 1, r);
    const struct rcd_tensor *bias = rcd__in(c, 2, r);
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, x->rank, &axis);
    if (st != RCD_OK)
        return st;
    size_t n = rcd__span(x->dims, axis, x->rank), rows = rcd__span(x->dims, 0, axis);
    if (scale->n != n || (bias != NULL && bias->n != n))
        return rcd__fail(c, r, RCD_EINVAL, "scale has %zu elements, the normalised axes %zu",
                         scale->n, n);
    int64_t dims[RCD_MAX_RANK];
    for (int d = 0; d < x->rank; d++)
        dims[d] = d < axis ? x->dims[d] : 1;
    struct rcd_tensor *out = NULL, *mean = NULL, *inv = NULL;
    st = rcd__new_out(c, 0, r, RCD_F32, x->rank, x->dims, &out);
    if (st == RCD_OK)
        st = rcd__new_out(c, 1, r, RCD_F32, x->rank, dims, &mean);
    if (st == RCD_OK)
        st = rcd__new_out(c, 2, r, RCD_F32, x->rank, dims, &inv);
    if (st != RCD_OK || out == NULL)
        return st;
    for (size_t i = 0; i < rows; i++)
        c->kern->layer_norm(
            n, (const float *)x->data + i * n, scale->data, bias != NULL ? bias->data : NULL,
            s->epsilon, (float *)out->data + i * n, mean != NULL ? (float *)mean->data + i : NULL,
            inv != NULL ? (float *)inv->data + i : NULL);
    return RCD_OK;
}

/* ---- BatchNormalization --------------------------------------------------------------------- */

static rcd_status check_batch(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    int64_t training = 0, spatial = 1;
    float momentum = 0.0f;
    rcd_status st = rcd__check_arity(k, 5, 5, 1, 5);
    if (st == RCD_OK)
        st = rcd__attr_float(k, "epsilon", 1e-5f, &s->epsilon);
    if (st == RCD_OK)
        st = rcd__attr_float(k, "momentum", 0.9f, &momentum);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "training_mode", 0, &training);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "spatial", 1, &spatial);
    if (st == RCD_OK && (training != 0 || spatial != 1))
        return rcd__refuse(k, "only the inference form (training_mode 0, spatial 1) is run");
    for (size_t i = 1; i < k->node->n_out; i++) {
        if (st == RCD_OK && rcd__has_out(k, i))
            return rcd__refuse(k, "output %zu exists only in training", i);
    }
    for (size_t i = 0; st == RCD_OK && i < 5; i++)
        st = rcd__check_type(k, i, RCD_TS_FLOAT);
    for (size_t i = 1; st == RCD_OK && i < 5; i++)
        st = rcd__check_same(k, 0, i);
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

#define NORMALISE(T, ROOT)                                                                         \
    do {                                                                                           \
        const T *scale = t[1]->data, *bias = t[2]->data, *mean = t[3]->data, *var = t[4]->data;    \
        for (size_t i = 0; i < outer * channels; i++) {                                            \
            size_t ch = i % channels;                                                              \
            T a = scale[ch] / ROOT(var[ch] + (T)s->epsilon), b = bias[ch] - mean[ch] * a;          \
            for (size_t j = i * inner; j < (i + 1) * inner; j++)                                   \
                ((T *)out->data)[j] = ((const T *)x->data)[j] * a + b;                             \
        }                                                                                          \
    } while (0)

static rcd_status run_batch(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *t[5] = {x};
    if (x->rank < 1)
        return rcd__fail(c, r, RCD_EINVAL, "the input is a scalar");
    size_t channels = x->rank > 1 ? (size_t)x->dims[1] : 1, outer = (size_t)x->dims[0];
    size_t inner = rcd__span(x->dims, 2, x->rank);
    for (size_t i = 1; i < 5; i++) {
        t[i] = rcd__in(c, i, r);
        if (t[i]->n != channels)
            return rcd__fail(c, r, RCD_EINVAL, "input %zu has %zu elements, the data %zu channels",
                             i, t[i]->n, channels);
    }
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, x->dtype, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    if (x->dtype == RCD_F32)
        NORMALISE(float, sqrtf);
    else
        NORMALISE(double, sqrt);
    return RCD_OK;
}

/* ---- InstanceNormalization, GroupNormalization: each channel, or group of channels, of each row by its own
 * mean and variance */

static rcd_status check_groups(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    int64_t stash = 1;
    const bool group = strcmp(k->src->op_type, "GroupNormalization") == 0;
    rcd_status st = rcd__check_arity(k, 3, 3, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_float(k, "epsilon", 1e-5f, &s->epsilon);
    if (st == RCD_OK && group)
        st = rcd__attr_int(k, "num_groups", 0, &s->groups);
    if (st == RCD_OK && group)
        st = rcd__attr_int(k, "stash_type", 1, &stash);
    if (st == RCD_OK && (stash != 1 || (group && s->groups < 1)))
        return rcd__refuse(k, "num_groups %lld with stash_type %lld is not run",
                           (long long)s->groups, (long long)stash);
    for (size_t i = 0; st == RCD_OK && i < 3; i++)
        st = rcd__check_type(k, i, RCD_T(RCD_F32));
    rcd__set_out(k, 0, RCD_F32);
    return st;
}

static rcd_status run_groups(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *scale = rcd__in(c, 1, r);
    const struct rcd_tensor *bias = rcd__in(c, 2, r);
    if (x->rank < 2)
        return rcd__fail(c, r, RCD_EINVAL, "the data have rank %d, want 2 or more", x->rank);
    const size_t channels = (size_t)x->dims[1], inner = rcd__span(x->dims, 2, x->rank);
    const size_t groups = s->groups > 0 ? (size_t)s->groups : channels;
    if (groups > 0 && channels % groups != 0)
        return rcd__fail(c, r, RCD_EINVAL, "%zu channels in %zu groups", channels, groups);
    if (scale->n != channels || bias->n != channels)
        return rcd__fail(c, r, RCD_EINVAL, "scale has %zu elements, bias %zu, want %zu", scale->n,
                         bias->n, channels);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, RCD_F32, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    const size_t each = channels / groups, n = each * inner;
    for (size_t i = 0; i < (size_t)x->dims[0] * groups; i++) {
        float *y = (float *)out->data + i * n;
        c->kern->layer_norm(n, (const float *)x->data + i * n, NULL, NULL, s->epsilon, y, NULL,
                            NULL);
        for (size_t j = 0; j < n; j++) {
            const size_t at = i % groups * each + j / inner;
            y[j] = y[j] * ((const float *)scale->data)[at] + ((const float *)bias->data)[at];
        }
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "LayerNormalization", .since = 17, .check = check_layer, .run = run_layer},
    {.name = "BatchNormalization", .since = 7, .check = check_batch, .run = run_batch},
    {.name = "InstanceNormalization", .since = 6, .check = check_groups, .run = run_groups},
    {.name = "GroupNormalization", .since = 21, .check = check_groups, .run = run_groups},
};
RCD_OP_LIST(norm, ops);
