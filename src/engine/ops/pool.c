/* pool.c - MaxPool and AveragePool over 1 to 3 spatial dims (strides, dilations, pads, auto_pad, ceil_mode), and their global
 * forms: one window that is all there is. Indices are not given out. */
#include "spatial.h"

#include <math.h>
#include <string.h>

struct state {
    bool max, global;
    int64_t ceil_mode, include_pad;
    struct rcd__spatial at;
};

static rcd_status read_attrs(struct rcd_check *k, struct state *s)
{
    const struct rcd__spatial *at = &s->at;
    int64_t order = 0;
    rcd_status st = rcd__attr_int(k, "ceil_mode", 0, &s->ceil_mode);
    if (st == RCD_OK)
        st = s->max ? rcd__attr_int(k, "storage_order", 0, &order) /* of indices alone */
                    : rcd__attr_int(k, "count_include_pad", 0, &s->include_pad);
    if (st == RCD_OK)
        st = rcd__spatial_read(k, &s->at);
    if (st == RCD_OK)
        st = rcd__spatial_range(k, "kernel", at->kernel, at->n_kernel, 1);
    if (st != RCD_OK)
        return st;
    const size_t n = at->n_kernel;
    if (n < 1 || n > RCD__SPATIAL || (at->n_strides != 0 && at->n_strides != n) ||
        (at->n_dilations != 0 && at->n_dilations != n) || (at->n_pads != 0 && at->n_pads != 2 * n))
        return rcd__refuse(k, "kernel_shape has %zu dims, strides %zu, dilations %zu, pads %zu", n,
                           at->n_strides, at->n_dilations, at->n_pads);
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

/* The elements of one window; *ret_n: how many count. */
static float window(const struct state *s, const struct rcd__dim d[RCD__SPATIAL], const float *x,
                    const int64_t at[RCD__SPATIAL], int64_t *ret_n)
{
    float v = s->max ? -INFINITY : 0.0f;
    int64_t n = 0, p[RCD__SPATIAL];
    for (int64_t a = 0; a < d[0].kernel; a++) {
        for (int64_t b = 0; b < d[1].kernel; b++) {
            for (int64_t c = 0; c < d[2].kernel; c++) {
                const int64_t k[RCD__SPATIAL] = {a, b, c};
                bool inside = true, padded = true;
                for (int i = 0; i < RCD__SPATIAL; i++) {
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
    if (dims < 1 || dims > RCD__SPATIAL || (!s->global && dims != (int)s->at.n_kernel))
        return rcd__fail(c, r, RCD_EINVAL, "input %s has not the window's %zu spatial dims",
                         rcd_shape_text(shape, sizeof shape, x->rank, x->dims), s->at.n_kernel);
    struct rcd__dim d[RCD__SPATIAL];
    int64_t to[RCD_MAX_RANK] = {x->dims[0], x->dims[1]};
    rcd_status st = RCD_OK;
    for (int i = 0; i < RCD__SPATIAL && st == RCD_OK; i++) {
        d[i] = rcd__dim_none();
        const int own = i - (RCD__SPATIAL - dims);
        if (own < 0)
            continue;
        d[i].in = x->dims[2 + own];
        d[i].kernel = s->global ? d[i].in : s->at.kernel[own];
        if (!s->global)
            st = rcd__spatial_size(c, r, &s->at, own, dims, s->ceil_mode != 0, &d[i]);
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
        int64_t at[RCD__SPATIAL], n = 0;
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
