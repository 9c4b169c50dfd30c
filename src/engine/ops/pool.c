/* pool.c - MaxPool and AveragePool over 1 to 3 spatial dims (strides, dilations, pads, auto_pad, ceil_mode), and their global
 * forms: one window that is all there is. Indices are not given out. */
#include "ops.h"

#include <math.h>
#include <string.h>

enum { SPATIAL = 3 };
enum auto_pad { NOTSET, SAME_UPPER, SAME_LOWER, VALID };

struct state {
    bool max, global;
    enum auto_pad auto_pad;
    int64_t ceil_mode, include_pad;
    const int64_t *kernel, *strides, *dilations, *pads;
    size_t n_kernel, n_strides, n_dilations, n_pads;
};

/* One spatial dim of a call. */
struct dim {
    int64_t in, out, kernel, stride, dilation, pad, end;
};

static rcd_status in_range(struct rcd_check *k, const char *name, const int64_t *v, size_t n,
                           int64_t least)
{
    for (size_t i = 0; i < n; i++) {
        if (v[i] < least || v[i] > INT32_MAX)
            return rcd__refuse(k, "%s[%zu] is %lld", name, i, (long long)v[i]);
    }
    return RCD_OK;
}

static rcd_status read_attrs(struct rcd_check *k, struct state *s)
{
    static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
    const char *mode = NULL;
    int64_t order = 0;
    rcd_status st = rcd__attr_string(k, "auto_pad", "NOTSET", &mode);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "ceil_mode", 0, &s->ceil_mode);
    if (st == RCD_OK)
        st = s->max ? rcd__attr_int(k, "storage_order", 0, &order) /* of indices alone */
                    : rcd__attr_int(k, "count_include_pad", 0, &s->include_pad);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "kernel_shape", &s->kernel, &s->n_kernel);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "strides", &s->strides, &s->n_strides);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "dilations", &s->dilations, &s->n_dilations);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "pads", &s->pads, &s->n_pads);
    if (st == RCD_OK)
        st = in_range(k, "kernel_shape", s->kernel, s->n_kernel, 1);
    if (st == RCD_OK)
        st = in_range(k, "strides", s->strides, s->n_strides, 1);
    if (st == RCD_OK)
        st = in_range(k, "dilations", s->dilations, s->n_dilations, 1);
    if (st == RCD_OK)
        st = in_range(k, "pads", s->pads, s->n_pads, 0);
    if (st != RCD_OK)
        return st;
    size_t m = 0;
    while (m < RCD_COUNT(names) && strcmp(names[m], mode) != 0)
        m++;
    if (m == RCD_COUNT(names))
        return rcd__refuse(k, "auto_pad '%s' is not known", mode);
    s->auto_pad = (enum auto_pad)m;
    const size_t n = s->n_kernel;
    if (n < 1 || n > SPATIAL || (s->n_strides != 0 && s->n_strides != n) ||
        (s->n_dilations != 0 && s->n_dilations != n) || (s->n_pads != 0 && s->n_pads != 2 * n))
        return rcd__refuse(k, "kernel_shape has %zu dims, strides %zu, dilations %zu, pads %zu", n,
                           s->n_strides, s->n_dilations, s->n_pads);
    return RCD_OK;
}

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    s->max = strstr(k->src->op_type, "Max") != NULL;
    s->global = strncmp(k->src->op_type, "Global", 6) == 0;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_T(RCD_F32));
    if (st == RCD_OK && !s->global)
        st = read_attrs(k, s);
    rcd__set_out(k, 0, RCD_F32);
    return st;
}

static rcd_status measure(const struct rcd_call *c, size_t r, int i, struct dim *d)
{
    const struct state *s = c->node->state;
    const int dims = (int)s->n_kernel;
    const int64_t reach = (s->kernel[i] - 1) * (s->n_dilations > 0 ? s->dilations[i] : 1) + 1;
    d->kernel = s->kernel[i];
    d->stride = s->n_strides > 0 ? s->strides[i] : 1;
    d->dilation = s->n_dilations > 0 ? s->dilations[i] : 1;
    if (s->auto_pad == SAME_UPPER || s->auto_pad == SAME_LOWER) {
        d->out = (d->in + d->stride - 1) / d->stride;
        int64_t total = (d->out - 1) * d->stride + reach - d->in;
        total = total > 0 ? total : 0;
        d->pad = s->auto_pad == SAME_UPPER ? total / 2 : total - total / 2;
        d->end = total - d->pad;
        return RCD_OK;
    }
    if (s->auto_pad == NOTSET && s->n_pads > 0) {
        d->pad = s->pads[i];
        d->end = s->pads[i + dims];
    }
    const int64_t room = d->in + d->pad + d->end - reach;
    if (room < 0)
        return rcd__fail(c, r, RCD_EINVAL,
                         "spatial dim %d: %lld elements are fewer than the window's %lld", i,
                         (long long)(d->in + d->pad + d->end), (long long)reach);
    d->out = (s->ceil_mode != 0 ? room + d->stride - 1 : room) / d->stride + 1;
    if (s->ceil_mode != 0 && (d->out - 1) * d->stride >= d->in + d->pad)
        d->out--; /* a window that would begin behind the end */
    return RCD_OK;
}

/* The elements of one window; *ret_n: how many count. */
static float window(const struct state *s, const struct dim d[SPATIAL], const float *x,
                    const int64_t at[SPATIAL], int64_t *ret_n)
{
    float v = s->max ? -INFINITY : 0.0f;
    int64_t n = 0, p[SPATIAL];
    for (int64_t a = 0; a < d[0].kernel; a++) {
        for (int64_t b = 0; b < d[1].kernel; b++) {
            for (int64_t c = 0; c < d[2].kernel; c++) {
                const int64_t k[SPATIAL] = {a, b, c};
                bool inside = true, padded = true;
                for (int i = 0; i < SPATIAL; i++) {
                    p[i] = at[i] * d[i].stride - d[i].pad + k[i] * d[i].dilation;
                    inside = inside && p[i] >= 0 && p[i] < d[i].in;
                    padded = padded && p[i] < d[i].in + d[i].end;
                }
                n += inside || (s->include_pad != 0 && padded);
                if (!inside)
                    continue;
                const float e = x[(p[0] * d[1].in + p[1]) * d[2].in + p[2]];
                if (!s->max)
                    v += e;
                else if (!(e <= v)) /* what is no number stays */
                    v = isnan(v) ? v : e;
            }
        }
    }
    *ret_n = n;
    return v;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    const int dims = x->rank - 2;
    char shape[128];
    if (dims < 1 || dims > SPATIAL || (!s->global && dims != (int)s->n_kernel))
        return rcd__fail(c, r, RCD_EINVAL, "input %s has not the window's %zu spatial dims",
                         rcd_shape_text(shape, sizeof shape, x->rank, x->dims), s->n_kernel);
    struct dim d[SPATIAL];
    int64_t to[RCD_MAX_RANK] = {x->dims[0], x->dims[1]};
    rcd_status st = RCD_OK;
    for (int i = 0; i < SPATIAL && st == RCD_OK; i++) {
        d[i] = (struct dim){.in = 1, .out = 1, .kernel = 1, .stride = 1, .dilation = 1};
        const int own = i - (SPATIAL - dims);
        if (own < 0)
            continue;
        d[i].in = x->dims[2 + own];
        d[i].kernel = s->global ? d[i].in : 1;
        if (!s->global)
            st = measure(c, r, own, &d[i]);
        to[2 + own] = d[i].out;
    }
    struct rcd_tensor *y = NULL;
    if (st == RCD_OK)
        st = rcd__new_out(c, 0, r, RCD_F32, x->rank, to, &y);
    if (st != RCD_OK || y == NULL)
        return st;
    const size_t area = (size_t)(d[0].in * d[1].in * d[2].in);
    float *out = y->data;
    for (size_t m = 0; m < (size_t)(to[0] * to[1]); m++) {
        const float *from = (const float *)x->data + m * area;
        int64_t at[SPATIAL], n = 0;
        for (at[0] = 0; at[0] < d[0].out; at[0]++) {
            for (at[1] = 0; at[1] < d[1].out; at[1]++) {
                for (at[2] = 0; at[2] < d[2].out; at[2]++) {
                    const float v = window(s, d, from, at, &n);
                    *out++ = s->max ? v : v / (float)n;
                }
            }
        }
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "MaxPool", .since = 8, .check = check, .run = run},
    {.name = "AveragePool", .since = 7, .check = check, .run = run},
    {.name = "GlobalMaxPool", .since = 1, .check = check, .run = run},
    {.name = "GlobalAveragePool", .since = 1, .check = check, .run = run},
};
RCD_OP_LIST(pool, ops);
