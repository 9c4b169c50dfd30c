/* gemm.c - Gemm: alpha * A' B' + beta * C. */
#include "product.h"

#include <string.h>

struct state {
    struct rcd__row_product rows; /* bias: beta * C where C is a constant row, else NULL */
    bool trans_a, trans_b;
    float alpha, beta;
};

/* How C is walked over the product's rows and columns. */
struct c_view {
    const struct rcd_tensor *t; /* NULL: no C */
    size_t row_step, col_step;
};

static rcd_status view_c(const struct rcd_call *c, size_t r, const struct rcd_tensor *out,
                         struct c_view *ret)
{
    const struct rcd_tensor *cc = rcd__in(c, 2, r), *t[2] = {out, cc};
    struct rcd_bcast b;
    *ret = (struct c_view){.t = cc};
    if (cc == NULL)
        return RCD_OK;
    rcd_status st = rcd__broadcast(c, r, 2, t, &b);
    if (st != RCD_OK)
        return st;
    if (b.out_rank != 2 || b.out_dims[0] != out->dims[0] || b.out_dims[1] != out->dims[1])
        return rcd__fail(c, r, RCD_EINVAL, "C does not broadcast to the product");
    bool by_row = cc->rank == 2 && cc->dims[0] != 1;
    ret->col_step = cc->rank >= 1 && cc->dims[cc->rank - 1] != 1 ? 1 : 0;
    ret->row_step = !by_row ? 0 : ret->col_step != 0 ? (size_t)out->dims[1] : 1;
    return RCD_OK;
}

/* The chain starts from beta * C: C's element where C is given, else 0. */
static rcd_status start_from_c(const struct rcd_call *c, size_t r, const struct state *s,
                               const struct rcd_tensor *out)
{
    struct c_view v;
    rcd_status st = view_c(c, r, out, &v);
    float *o = out->data;
    size_t cols = (size_t)out->dims[1];
    if (st == RCD_OK && v.t == NULL)
        memset(o, 0, out->n * sizeof *o);
    for (size_t i = 0; st == RCD_OK && v.t != NULL && i < out->n; i++)
        o[i] = s->beta * ((const float *)v.t->data)[i / cols * v.row_step + i % cols * v.col_step];
    return st;
}

static rcd_status gemm_out(const struct rcd_call *c, size_t r, const struct state *s,
                           struct rcd_tensor **out)
{
    const struct rcd_tensor *a = rcd__in(c, 0, r), *b = rcd__in(c, 1, r);
    char ta[128], tb[128];
    bool fits =
        a->rank == 2 && b->rank == 2 && a->dims[s->trans_a ? 0 : 1] == b->dims[s->trans_b ? 1 : 0];
    if (!fits)
        return rcd__fail(c, r, RCD_EINVAL, "shapes %s and %s do not multiply",
                         rcd_shape_text(ta, sizeof ta, a->rank, a->dims),
                         rcd_shape_text(tb, sizeof tb, b->rank, b->dims));
    int64_t dims[2] = {a->dims[s->trans_a ? 1 : 0], b->dims[s->trans_b ? 0 : 1]};
    return rcd__new_out(c, 0, r, a->dtype, 2, dims, out);
}

static void gemm_packed(struct rcd_call *c, const struct state *s)
{
    size_t n = 0;
    struct rcd_tensor *out = NULL;
    for (size_t r = 0; r < c->n; r++) {
        if (gemm_out(c, r, s, &out) == RCD_OK &&
            (s->rows.bias != NULL || start_from_c(c, r, s, out) == RCD_OK))
            n += (size_t)out->dims[0];
    }
    struct rcd_rows rows;
    if (!rcd__rows_take(c, n, &s->rows.b, &rows))
        return;
    for (size_t r = 0; r < c->n; r++) {
        if (!rcd__alive(c, r))
            continue;
        out = rcd__out(c, 0, r);
        rcd__rows_add(&rows, rcd__in(c, 0, r)->data, out->data, (size_t)out->dims[0], s->rows.b.k,
                      s->rows.b.n);
    }
    rcd__rows_multiply(c, &rows, &s->rows.b, s->rows.bias, s->rows.bias == NULL);
}

#define FINISH(S, T)                                                                               \
    case RCD_##S:                                                                                  \
        for (size_t i = 0; i < out->n; i++) {                                                      \
            T *o = (T *)out->data + i;                                                             \
            T add = 0;                                                                             \
            if (v->t != NULL)                                                                      \
                add = ((const T *)v->t->data)[i / cols * v->row_step + i % cols * v->col_step];    \
            *o = (T)((T)s->alpha * *o + (T)s->beta * add);                                         \
        }                                                                                          \
        break;

/* alpha * product + beta * C, where they could not be part of the product's chain. */
static void finish(const struct state *s, const struct rcd_tensor *out, const struct c_view *v)
{
    size_t cols = (size_t)out->dims[1];
    switch (out->dtype) {
        FINISH(F32, float)
        FINISH(F64, double)
        FINISH(I32, int32_t)
        FINISH(I64, int64_t)
        FINISH(U32, uint32_t)
        FINISH(U64, uint64_t)
    default:
        RCD_ASSERT(!"checked at load");
    }
}

static rcd_status gemm_one(const struct rcd_call *c, size_t r, const struct state *s)
{
    const struct rcd_tensor *a = rcd__in(c, 0, r), *b = rcd__in(c, 1, r);
    struct rcd_tensor *out = NULL;
    struct c_view v;
    rcd_status st = gemm_out(c, r, s, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    st = view_c(c, r, out, &v);
    if (st != RCD_OK)
        return st;
    size_t rows = (size_t)out->dims[0], cols = (size_t)out->dims[1];
    size_t inner = (size_t)a->dims[s->trans_a ? 0 : 1];
    struct rcd_matrix ma = {a->data, rows, inner, s->trans_a ? 1 : inner, s->trans_a ? rows : 1};
    struct rcd_matrix mb = {b->data, inner, cols, s->trans_b ? 1 : cols, s->trans_b ? inner : 1};
    st = rcd__product(c, r, a->dtype, &ma, &mb, out->data);
    if (st == RCD_OK)
        finish(s, out, &v);
    return st;
}

static void run_gemm(struct rcd_call *c)
{
    const struct state *s = c->node->state;
    if (s->rows.packed) {
        gemm_packed(c, s);
        return;
    }
    size_t mark = c->x->scratch.used;
    for (size_t r = 0; r < c->n; r++) {
        rcd_status st = gemm_one(c, r, s);
        RCD_ASSERT(st == RCD_OK || !rcd__alive(c, r));
        c->x->scratch.used = mark;
    }
}

/* A constant row C becomes the start of every chain. */
static rcd_status gemm_bias(struct rcd_check *k, struct state *s)
{
    const struct rcd_tensor *c = rcd__in_const(k, 2);
    if (rcd__has_in(k, 2) && (c == NULL || c->n != s->rows.b.n || c->rank < 1 ||
                              c->dims[c->rank - 1] != (int64_t)s->rows.b.n))
        return RCD_OK;
    float *bias = rcd__plan_alloc(k, s->rows.b.padded * sizeof *bias);
    if (bias == NULL)
        return RCD_ENOMEM;
    memset(bias, 0, s->rows.b.padded * sizeof *bias);
    for (size_t j = 0; c != NULL && j < s->rows.b.n; j++)
        bias[j] = s->beta * ((const float *)c->data)[j];
    s->rows.bias = bias;
    s->rows.alone = true;
    return RCD_OK;
}

static rcd_status check_gemm(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    int64_t ta = 0, tb = 0;
    rcd_status st = rcd__check_arity(k, k->opset < 11 ? 3 : 2, 3, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_float(k, "alpha", 1.0f, &s->alpha);
    if (st == RCD_OK)
        st = rcd__attr_float(k, "beta", 1.0f, &s->beta);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "transA", 0, &ta);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "transB", 0, &tb);
    if (st == RCD_OK)
        st = rcd__product_types(k);
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 2);
    if (st != RCD_OK)
        return st;
    s->trans_a = ta != 0;
    s->trans_b = tb != 0;
    const struct rcd_tensor *b = rcd__in_const(k, 1);
    if (b == NULL || b->dtype != RCD_F32 || b->rank != 2 || s->trans_a || s->alpha != 1.0f)
        return RCD_OK;
    s->rows.packed = true;
    k->node->packed = 1u << 1;
    st = rcd__pack_right(k, b, s->trans_b, &s->rows.b);
    return st == RCD_OK ? gemm_bias(k, s) : st;
}

static const struct rcd_op ops[] = {
    {.name = "Gemm", .since = 7, .check = check_gemm, .run_all = run_gemm},
};
RCD_OP_LIST(gemm, ops);
