/* reduce.c - ReduceSum, Mean, Max, Min, Prod, L1, L2, SumSquare, LogSum, LogSumExp.
 *
 * A contiguous row of float32 is summed by the kernels' fixed tree of 16 lanes; reductions over other
 * axes run in index order, in the type itself. Either way the order depends on the shape alone. */
#include "dots.h"

#include <math.h>
#include <string.h>

enum kind { SUM, MEAN, MAX, MIN, PROD, L1, L2, SUM_SQUARE, LOG_SUM, LOG_SUM_EXP };

struct state {
    enum kind kind;
    int64_t keep, noop_empty;
    const int64_t *axes;
    size_t n_axes;
    bool axes_input;
};

static const struct {
    const char *name;
    enum kind kind;
    unsigned types;
    int input_since; /* opset from which the axes are an input */
} rows[] = {
    {"ReduceSum", SUM, RCD_TS_NUM, 13},
    {"ReduceMean", MEAN, RCD_TS_NUM, 18},
    {"ReduceMax", MAX, RCD_TS_NUM | RCD_T(RCD_BOOL), 18},
    {"ReduceMin", MIN, RCD_TS_NUM | RCD_T(RCD_BOOL), 18},
    {"ReduceProd", PROD, RCD_TS_NUM, 18},
    {"ReduceL1", L1, RCD_TS_NUM, 18},
    {"ReduceL2", L2, RCD_TS_FLOAT, 18},
    {"ReduceSumSquare", SUM_SQUARE, RCD_TS_NUM, 18},
    {"ReduceLogSum", LOG_SUM, RCD_TS_FLOAT, 18},
    {"ReduceLogSumExp", LOG_SUM_EXP, RCD_TS_FLOAT, 18},
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    size_t row = 0;
    while (strcmp(rows[row].name, k->src->op_type) != 0)
        row++;
    s->kind = rows[row].kind;
    s->axes_input = k->opset >= rows[row].input_since;
    rcd_status st = rcd__check_arity(k, 1, s->axes_input ? 2 : 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, rows[row].types);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_T(RCD_I64));
    if (st == RCD_OK)
        st = rcd__attr_int(k, "keepdims", 1, &s->keep);
    if (st == RCD_OK && s->axes_input)
        st = rcd__attr_int(k, "noop_with_empty_axes", 0, &s->noop_empty);
    if (st == RCD_OK && !s->axes_input)
        st = rcd__attr_ints(k, "axes", &s->axes, &s->n_axes);
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

/* The walk: outer positions of the output, and the elements each one takes. */
struct plan {
    uint32_t bits; /* reduced axes */
    int64_t out_dims[RCD_MAX_RANK];
    int out_rank;
    int n_kept, n_red;
    int64_t kept[RCD_MAX_RANK], kept_step[RCD_MAX_RANK];
    int64_t red[RCD_MAX_RANK], red_step[RCD_MAX_RANK];
    size_t count; /* elements of one reduction */
};

static rcd_status make_plan(const struct rcd_call *c, size_t r, const struct rcd_tensor *x,
                            struct plan *p)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *axes = s->axes_input ? rcd__in(c, 1, r) : NULL;
    size_t n = axes != NULL ? axes->n : s->n_axes;
    *p = (struct plan){.count = 1};
    for (size_t i = 0; i < n; i++) {
        int axis = 0;
        rcd_status st =
            rcd__axis(c, r, axes != NULL ? rcd__int_at(axes, i) : s->axes[i], x->rank, &axis);
        if (st != RCD_OK)
            return st;
        p->bits |= 1u << axis;
    }
    if (n == 0 && s->noop_empty == 0)
        p->bits = UINT32_MAX;
    int64_t step = (int64_t)x->n;
    for (int d = 0; d < x->rank; d++) {
        step = x->dims[d] != 0 ? step / x->dims[d] : 0;
        if ((p->bits & (1u << d)) != 0) {
            p->red[p->n_red] = x->dims[d];
            p->red_step[p->n_red++] = step;
            p->count *= (size_t)x->dims[d];
            if (s->keep != 0)
                p->out_dims[p->out_rank++] = 1;
        } else {
            p->kept[p->n_kept] = x->dims[d];
            p->kept_step[p->n_kept++] = step;
            p->out_dims[p->out_rank++] = x->dims[d];
        }
    }
    return RCD_OK;
}

/* Offset of the next element of a counter over dims; returns the change. */
static int64_t advance(int n, const int64_t *dims, const int64_t *step, int64_t *at)
{
    int64_t move = 0;
    for (int d = n - 1; d >= 0; d--) {
        move += step[d];
        if (++at[d] < dims[d])
            return move;
        move -= step[d] * dims[d];
        at[d] = 0;
    }
    return move;
}

/* x: first element. Sums are taken in A; `first` skips the neutral element for Max, Min and Prod. */
#define REDUCE(S, T, A)                                                                            \
    static T reduce_##S(enum kind kind, const T *x, const struct plan *p)                          \
    {                                                                                              \
        int64_t at[RCD_MAX_RANK] = {0}, i = 0;                                                     \
        A acc = kind == PROD ? (A)1 : (A)0;                                                        \
        T best = x != NULL ? x[0] : (T)0;                                                          \
        for (size_t e = 0; e < p->count; e++) {                                                    \
            const T v = x[i];                                                                      \
            i += advance(p->n_red, p->red, p->red_step, at);                                       \
            switch (kind) {                                                                        \
            case MAX:                                                                              \
                best = v > best || v != v ? v : best;                                              \
                break;                                                                             \
            case MIN:                                                                              \
                best = v < best || v != v ? v : best;                                              \
                break;                                                                             \
            case PROD:                                                                             \
                acc = (A)(acc * (A)v);                                                             \
                break;                                                                             \
            case L1:                                                                               \
                acc = (A)(acc + MAGNITUDE_##S((A)v, v));                                           \
                break;                                                                             \
            case L2:                                                                               \
            case SUM_SQUARE:                                                                       \
                acc = (A)(acc + (A)v * (A)v);                                                      \
                break;                                                                             \
            default:                                                                               \
                acc = (A)(acc + (A)v);                                                             \
            }                                                                                      \
        }                                                                                          \
        return kind == MAX || kind == MIN ? best : finish_##S(kind, acc, p->count);                \
    }
/* integers are summed modulo 2^64 and cut to their width at the end */
#define FINISH_INT(S, T, U)                                                                        \
    static T finish_##S(enum kind kind, uint64_t acc, size_t n)                                    \
    {                                                                                              \
        return kind == MEAN && n > 0 ? (T)((T)acc / (T)n) : (T)acc;                                \
    }
FINISH_INT(I8, int8_t, uint8_t)
FINISH_INT(U8, uint8_t, uint8_t)
FINISH_INT(I16, int16_t, uint16_t)
FINISH_INT(U16, uint16_t, uint16_t)
FINISH_INT(I32, int32_t, uint32_t)
FINISH_INT(U32, uint32_t, uint32_t)
FINISH_INT(I64, int64_t, uint64_t)
FINISH_INT(U64, uint64_t, uint64_t)
static double finish_F64(enum kind kind, double acc, size_t n)
{
    return kind == MEAN      ? acc / (double)n
           : kind == L2      ? sqrt(acc)
           : kind == LOG_SUM ? log(acc)
                             : acc;
}
static float finish_F32(enum kind kind, float acc, size_t n)
{
    return kind == MEAN      ? acc / (float)n
           : kind == L2      ? sqrtf(acc)
           : kind == LOG_SUM ? (float)log((double)acc)
                             : acc;
}
#define NEGATE_BELOW(a, v) ((v) < 0 ? 0 - (a) : (a))
#define UNCHANGED(a, v) (a)
#define MAGNITUDE_I8 NEGATE_BELOW
#define MAGNITUDE_I16 NEGATE_BELOW
#define MAGNITUDE_I32 NEGATE_BELOW
#define MAGNITUDE_I64 NEGATE_BELOW
#define MAGNITUDE_F32 NEGATE_BELOW
#define MAGNITUDE_F64 NEGATE_BELOW
#define MAGNITUDE_U8 UNCHANGED
#define MAGNITUDE_U16 UNCHANGED
#define MAGNITUDE_U32 UNCHANGED
#define MAGNITUDE_U64 UNCHANGED
#define REDUCE_INT(S, T, U) REDUCE(S, T, uint64_t)
#define REDUCE_FLOAT(S, T, U) REDUCE(S, T, T)
RCD_EACH_SINT(REDUCE_INT)
RCD_EACH_UINT(REDUCE_INT)
RCD_EACH_FLOAT(REDUCE_FLOAT)

/* log(sum(exp(x))) without overflow: exp(x - max). */
static double log_sum_exp(const struct rcd_tensor *x, size_t offset, const struct plan *p)
{
    const float *f = x->dtype == RCD_F32 ? (const float *)x->data + offset : NULL;
    const double *d = x->dtype == RCD_F64 ? (const double *)x->data + offset : NULL;
    double max = -INFINITY, sum = 0.0;
    for (int pass = 0; pass < 2; pass++) {
        int64_t at[RCD_MAX_RANK] = {0}, i = 0;
        for (size_t e = 0; e < p->count; e++) {
            double v = f != NULL ? (double)f[i] : d[i];
            i += advance(p->n_red, p->red, p->red_step, at);
            if (pass == 0)
                max = v > max || isnan(v) ? v : max;
            else
                sum += exp(v - max);
        }
        if (isinf(max))
            return max;
    }
    return max + log(sum);
}

/* The kernels' maximum of fewer elements than lanes: in order. */
static float short_max(size_t n, const float *x)
{
    float best = x[0];
    for (size_t i = 1; i < n; i++)
        best = x[i] > best || x[i] != x[i] ? x[i] : best;
    return best;
}

/* One run of neighbours: the kernels' 16-lane tree. */
static bool fast_f32(const struct rcd_call *c, enum kind kind, const struct plan *p, const float *x,
                     float *o)
{
    bool dense = p->n_red > 0 && p->red_step[p->n_red - 1] == 1;
    for (int d = 0; dense && d + 1 < p->n_red; d++)
        dense = p->red_step[d] == p->red_step[d + 1] * p->red[d + 1];
    if (!dense || (kind != SUM && kind != MEAN && kind != MAX) || p->count == 0)
        return false;
    if (kind == MAX)
        *o = p->count < RCD_LANES ? short_max(p->count, x) : c->kern->max(p->count, x);
    else
        *o = finish_F32(kind, c->kern->sum(p->count, x), p->count);
    return true;
}

/* The last axes are reduced: row by row. */
static bool sum_rows(const struct rcd_call *c, enum kind kind, const struct rcd_tensor *x,
                     const struct plan *p, const struct rcd_tensor *out)
{
    float *y = out->data;
    bool last = x->dtype == RCD_F32 && (kind == SUM || kind == MEAN) && p->count > 0;
    bool before = true;
    for (int d = 0; last && d < x->rank; d++) {
        const bool is = (p->bits >> d & 1) != 0;
        last = before || is || x->dims[d] == 1;
        before = before && !is;
    }
    if (!last)
        return false;
    c->kern->sums(out->n, p->count, x->data, y);
    for (size_t o = 0; kind == MEAN && o < out->n; o++)
        y[o] = finish_F32(kind, y[o], p->count);
    return true;
}

#define CASE(S, T, U)                                                                              \
    case RCD_##S:                                                                                  \
        ((T *)out->data)[o] = reduce_##S(s->kind, (const T *)x->data + from, p);                   \
        break;

static void reduce_at(const struct rcd_call *c, const struct rcd_tensor *x,
                      const struct rcd_tensor *out, size_t o, size_t from, const struct plan *p)
{
    const struct state *s = c->node->state;
    if (s->kind == LOG_SUM_EXP) {
        double v = log_sum_exp(x, from, p);
        if (x->dtype == RCD_F32)
            ((float *)out->data)[o] = (float)v;
        else
            ((double *)out->data)[o] = v;
        return;
    }
    if (x->dtype == RCD_F32 &&
        fast_f32(c, s->kind, p, (const float *)x->data + from, (float *)out->data + o))
        return;
    switch (x->dtype) {
        RCD_EACH_NUM(CASE)
    case RCD_BOOL:
        ((uint8_t *)out->data)[o] = reduce_U8(s->kind, (const uint8_t *)x->data + from, p);
        break;
    default:
        RCD_ASSERT(!"checked at load");
    }
}

#define SINT_LIMIT(S, T, U)                                                                        \
    case RCD_##S:                                                                                  \
        ((T *)out->data)[o] = (T)(((U)1 << (8 * sizeof(T) - 1)) - (U)highest);                     \
        break;
#define UINT_LIMIT(S, T, U)                                                                        \
    case RCD_##S:                                                                                  \
        ((T *)out->data)[o] = (T)((T)0 - (T)highest);                                              \
        break;

/* The lowest or highest value of an integer type. */
static void int_limit(bool highest, const struct rcd_tensor *out, size_t o)
{
    switch (out->dtype) {
        RCD_EACH_SINT(SINT_LIMIT)
        RCD_EACH_UINT(UINT_LIMIT)
    default:
        RCD_ASSERT(!"checked at load");
    }
}

/* What an empty reduction gives: ONNX takes the lowest and highest values for Max and Min. */
static rcd_status empty_value(const struct rcd_call *c, size_t r, enum kind kind,
                              const struct rcd_tensor *out, size_t o)
{
    if (kind == MAX || kind == MIN || kind == LOG_SUM || kind == LOG_SUM_EXP) {
        double v = kind == MIN ? INFINITY : -INFINITY;
        if (out->dtype == RCD_F32)
            ((float *)out->data)[o] = (float)v;
        else if (out->dtype == RCD_F64)
            ((double *)out->data)[o] = v;
        else if (out->dtype == RCD_BOOL)
            ((uint8_t *)out->data)[o] = kind == MIN;
        else if (kind == MAX || kind == MIN)
            int_limit(kind == MIN, out, o);
        else
            return rcd__fail(c, r, RCD_EINVAL, "reduces no elements");
        return RCD_OK;
    }
    struct plan none = {.count = 0};
    const struct rcd_tensor nothing = {.dtype = out->dtype, .data = out->data};
    reduce_at(c, &nothing, out, o, 0, &none);
    return RCD_OK;
}

rcd_status rcd__reduce_out(const struct rcd_call *c, size_t r, const struct rcd_tensor *x,
                           struct rcd_tensor **ret)
{
    struct plan p;
    rcd_status st = make_plan(c, r, x, &p);
    return st == RCD_OK ? rcd__new_out(c, 0, r, x->dtype, p.out_rank, p.out_dims, ret) : st;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    struct plan p;
    struct rcd_tensor *out = NULL;
    rcd_status st = make_plan(c, r, x, &p);
    if (st != RCD_OK)
        return st;
    bool copies = p.bits == 0 && (s->kind == SUM || s->kind == MEAN || s->kind == MAX ||
                                  s->kind == MIN || s->kind == PROD);
    if (copies)
        return rcd__alias_out(c, 0, r, x, x->rank, x->dims);
    st = rcd__new_out(c, 0, r, x->dtype, p.out_rank, p.out_dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    int64_t at[RCD_MAX_RANK] = {0}, from = 0;
    const bool done = sum_rows(c, s->kind, x, &p, out);
    for (size_t o = 0; !done && o < out->n && st == RCD_OK; o++) {
        if (p.count == 0)
            st = empty_value(c, r, s->kind, out, o);
        else
            reduce_at(c, x, out, o, (size_t)from, &p);
        from += advance(p.n_kept, p.kept, p.kept_step, at);
    }
    return st;
}

#define ROW(n)                                                                                     \
    {                                                                                              \
        .name = n, .since = 1, .check = check, .run = run                                          \
    }
static const struct rcd_op ops[] = {
    ROW("ReduceSum"),    ROW("ReduceMean"),      ROW("ReduceMax"), ROW("ReduceMin"),
    ROW("ReduceProd"),   ROW("ReduceL1"),        ROW("ReduceL2"),  ROW("ReduceSumSquare"),
    ROW("ReduceLogSum"), ROW("ReduceLogSumExp"),
};
RCD_OP_LIST(reduce, ops);
