/* softmax.c - Softmax, LogSoftmax, Hardmax. Opset < 13: axis 1 by default, and everything from the axis
 * on is one row; from 13: axis -1 by default, along that axis alone. */
#include "ops.h"

#include <math.h>
#include <string.h>

enum kind { SOFTMAX, LOG_SOFTMAX, HARDMAX };

struct state {
    enum kind kind;
    int64_t axis;
    bool flatten;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    s->kind = strcmp(k->src->op_type, "Softmax") == 0      ? SOFTMAX
              : strcmp(k->src->op_type, "LogSoftmax") == 0 ? LOG_SOFTMAX
                                                           : HARDMAX;
    s->flatten = k->opset < 13;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", s->flatten ? 1 : -1, &s->axis);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_TS_FLOAT);
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static void hardmax(size_t n, const float *x, float *y)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    memset(y, 0, n * sizeof *y);
    y[best] = 1.0f;
}

static void row_f32(const struct rcd_call *c, enum kind kind, size_t n, const float *x, float *y)
{
    if (kind == HARDMAX)
        hardmax(n, x, y);
    else
        c->kern->softmax(n, x, y, kind == LOG_SOFTMAX);
}

static void row_f64(enum kind kind, size_t n, size_t step, const double *x, double *y)
{
    double max = x[0], sum = 0.0;
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        if (x[i * step] > max || isnan(x[i * step])) {
            max = x[i * step];
            best = i;
        }
    }
    for (size_t i = 0; i < n; i++)
        sum += exp(x[i * step] - max);
    for (size_t i = 0; i < n; i++) {
        double v = x[i * step] - max;
        y[i * step] = kind == HARDMAX ? (i == best) : kind == SOFTMAX ? exp(v) / sum : v - log(sum);
    }
}

/* Along an axis that is not the last: a row is gathered, worked on, and put back. */
static rcd_status strided_f32(const struct rcd_call *c, size_t r, enum kind kind, size_t n,
                              size_t inner, size_t outer, const float *x, float *y)
{
    float *row = rcd__scratch(c, r, n * sizeof *row);
    if (row == NULL)
        return RCD_ENOMEM;
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < inner; i++) {
            size_t at = o * n * inner + i;
            for (size_t j = 0; j < n; j++)
                row[j] = x[at + j * inner];
            row_f32(c, kind, n, row, row);
            for (size_t j = 0; j < n; j++)
                y[at + j * inner] = row[j];
        }
    }
    return RCD_OK;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    struct rcd_tensor *out = NULL;
    int axis = 0;
    rcd_status st = x->rank == 0 ? RCD_OK : rcd__axis(c, r, s->axis, x->rank, &axis);
    if (st == RCD_OK)
        st = rcd__new_like(c, r, x->dtype, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    size_t outer = rcd__span(x->dims, 0, axis);
    size_t n = x->rank == 0 ? 1
               : s->flatten ? rcd__span(x->dims, axis, x->rank)
                            : (size_t)x->dims[axis];
    size_t inner = out->n / (outer * n);
    if (x->dtype == RCD_F64) {
        for (size_t i = 0; i < outer * inner; i++) {
            size_t at = i / inner * n * inner + i % inner;
            row_f64(s->kind, n, inner, (const double *)x->data + at, (double *)out->data + at);
        }
        return RCD_OK;
    }
    if (inner > 1)
        return strided_f32(c, r, s->kind, n, inner, outer, x->data, out->data);
    for (size_t o = 0; o < outer; o++)
        row_f32(c, s->kind, n, (const float *)x->data + o * n, (float *)out->data + o * n);
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "Softmax", .since = 1, .check = check, .run = run},
    {.name = "LogSoftmax", .since = 1, .check = check, .run = run},
    {.name = "Hardmax", .since = 13, .check = check, .run = run},
};
RCD_OP_LIST(softmax, ops);
