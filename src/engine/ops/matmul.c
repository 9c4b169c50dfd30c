/* matmul.c - MatMul (numpy rules) and Gemm.
 *
 * A constant right side is packed at load and the rows of all requests go through it as one product. A
 * right side made at run time is packed per matrix in scratch, so that every product is the same chain.
 * float64 and integers take a plain loop in the same order. */
#include "ops.h"

#include <math.h>
#include <string.h>

enum { PANEL = 64 };

struct state {
    bool packed;
    struct rcd_packed b; /* constant right side */
    float *bias;         /* Gemm: beta * C where C is a constant row, else NULL */
    bool vector;         /* MatMul: the constant right side has rank 1 */
    bool trans_a, trans_b;
    float alpha, beta;
};

static rcd_status pack_const(struct rcd_check *k, struct state *s, const struct rcd_tensor *b,
                             bool trans)
{
    size_t rows = (size_t)b->dims[0], cols = b->rank == 2 ? (size_t)b->dims[1] : 1, bytes = 0;
    size_t inner = trans ? cols : rows, n = trans ? rows : cols;
    if (!rcd_packed_bytes(inner, n, &bytes))
        return rcd__refuse(k, "a matrix of %zu x %zu is too large", inner, n);
    s->b.data = rcd__plan_alloc(k, bytes);
    if (s->b.data == NULL)
        return RCD_ENOMEM;
    rcd_pack(&s->b, b->data, trans ? 1 : cols, trans ? cols : 1, inner, n, PANEL);
    s->packed = true;
    return RCD_OK;
}

/* ---- plain products for types that have no kernels ------------------------------------------- */

struct matrix {
    const void *data;
    size_t rows, cols, row_step, col_step;
};

#define PLAIN(S, T, U)                                                                             \
    case RCD_##S:                                                                                  \
        for (size_t i = 0; i < a->rows; i++) {                                                     \
            for (size_t j = 0; j < b->cols; j++) {                                                 \
                U sum = 0;                                                                         \
                for (size_t x = 0; x < a->cols; x++)                                               \
                    sum = (U)(sum +                                                                \
                              (U)((U)((const T *)a->data)[i * a->row_step + x * a->col_step] *     \
                                  (U)((const T *)b->data)[x * b->row_step + j * b->col_step]));    \
                ((T *)c)[i * b->cols + j] = (T)sum;                                                \
            }                                                                                      \
        }                                                                                          \
        break;

static void plain_product(rcd_dtype t, const struct matrix *a, const struct matrix *b, void *c)
{
    switch (t) {
        PLAIN(F64, double, double)
        PLAIN(I32, int32_t, uint32_t)
        PLAIN(I64, int64_t, uint64_t)
        PLAIN(U32, uint32_t, uint32_t)
        PLAIN(U64, uint64_t, uint64_t)
    default:
        RCD_ASSERT(!"checked at load");
    }
}

enum {
    PLAIN_TYPES = RCD_T(RCD_F64) | RCD_T(RCD_I32) | RCD_T(RCD_I64) | RCD_T(RCD_U32) | RCD_T(RCD_U64)
};

/* c f32[a.rows][b.cols] = a b, with b packed here. */
static rcd_status f32_product(const struct rcd_call *c, size_t r, const struct matrix *a,
                              const struct matrix *b, float *out)
{
    size_t mark = c->x->scratch.used, bytes = 0;
    struct rcd_packed p;
    if (!rcd_packed_bytes(b->rows, b->cols, &bytes))
        return rcd__fail(c, r, RCD_EINVAL, "a matrix of %zu x %zu is too large", b->rows, b->cols);
    p.data = rcd__scratch(c, r, bytes);
    const float **rows = rcd__scratch(c, r, a->rows * sizeof *rows);
    float **outs = rcd__scratch(c, r, a->rows * sizeof *outs);
    float *moved = a->col_step != 1 ? rcd__scratch(c, r, a->rows * a->cols * sizeof *moved) : NULL;
    if (p.data == NULL || rows == NULL || outs == NULL || (a->col_step != 1 && moved == NULL))
        return RCD_ENOMEM;
    rcd_pack(&p, b->data, b->row_step, b->col_step, b->rows, b->cols, PANEL);
    for (size_t i = 0; i < a->rows; i++) {
        const float *row = (const float *)a->data + i * a->row_step;
        for (size_t x = 0; moved != NULL && x < a->cols; x++)
            moved[i * a->cols + x] = row[x * a->col_step];
        rows[i] = moved != NULL ? moved + i * a->cols : row;
        outs[i] = out + i * b->cols;
    }
    struct rcd_gemm g = {.rows = a->rows, .a = rows, .c = outs, .b = &p};
    c->kern->gemm(&g);
    c->x->scratch.used = mark;
    return RCD_OK;
}

static rcd_status any_product(const struct rcd_call *c, size_t r, rcd_dtype t,
                              const struct matrix *a, const struct matrix *b, void *out)
{
    if (t == RCD_F32)
        return f32_product(c, r, a, b, out);
    plain_product(t, a, b, out);
    return RCD_OK;
}

/* ---- constant right side: all requests together ----------------------------------------------- */

struct rows {
    const float **a;
    float **c;
    size_t n;
};

static bool take_rows(const struct rcd_call *c, size_t n, struct rows *ret)
{
    ret->n = 0;
    ret->a = rcd__scratch_try(c, n * sizeof *ret->a);
    ret->c = rcd__scratch_try(c, n * sizeof *ret->c);
    if (ret->a != NULL && ret->c != NULL)
        return true;
    for (size_t r = 0; r < c->n; r++) {
        if (rcd__alive(c, r))
            rcd__fail(c, r, RCD_ENOMEM, "no scratch memory for %zu rows", n);
    }
    return false;
}

static void add_rows(struct rows *rows, const float *a, float *c, size_t n, size_t k, size_t cols)
{
    for (size_t i = 0; i < n; i++, rows->n++) {
        rows->a[rows->n] = a + i * k;
        rows->c[rows->n] = c + i * cols;
    }
}

static void multiply(const struct rcd_call *c, const struct rows *rows, const struct rcd_packed *b,
                     const float *bias, bool accumulate)
{
    struct rcd_gemm g = {.rows = rows->n,
                         .a = rows->a,
                         .c = rows->c,
                         .b = b,
                         .bias = bias,
                         .accumulate = accumulate};
    c->kern->gemm(&g);
}

/* ---- MatMul ------------------------------------------------------------------------------------ */

static rcd_status matmul_packed_out(const struct rcd_call *c, size_t r, const struct state *s)
{
    const struct rcd_tensor *a = rcd__in(c, 0, r);
    struct rcd_tensor *out = NULL;
    char text[128];
    if (a->rank < 1 || (size_t)a->dims[a->rank - 1] != s->b.k)
        return rcd__fail(c, r, RCD_EINVAL, "left side has shape %s, want %zu columns",
                         rcd_shape_text(text, sizeof text, a->rank, a->dims), s->b.k);
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, a->dims, sizeof dims);
    dims[a->rank - 1] = (int64_t)s->b.n;
    return rcd__new_out(c, 0, r, RCD_F32, a->rank - (s->vector ? 1 : 0), dims, &out);
}

static void matmul_packed(struct rcd_call *c, const struct state *s)
{
    size_t n = 0;
    for (size_t r = 0; r < c->n; r++) {
        if (matmul_packed_out(c, r, s) == RCD_OK)
            n += rcd__out(c, 0, r)->n;
    }
    struct rows rows;
    if (s->b.n == 0 || !take_rows(c, n / (s->b.n != 0 ? s->b.n : 1), &rows))
        return;
    for (size_t r = 0; r < c->n; r++) {
        if (!rcd__alive(c, r))
            continue;
        const struct rcd_tensor *out = rcd__out(c, 0, r);
        add_rows(&rows, rcd__in(c, 0, r)->data, out->data, out->n / s->b.n, s->b.k, s->b.n);
    }
    multiply(c, &rows, &s->b, NULL, false);
}

/* Both sides from the run: matrices over broadcast leading dims. */
static rcd_status matmul_one(const struct rcd_call *c, size_t r)
{
    struct rcd_tensor a = *rcd__in(c, 0, r), b = *rcd__in(c, 1, r);
    char ta[128], tb[128];
    rcd_shape_text(ta, sizeof ta, a.rank, a.dims);
    rcd_shape_text(tb, sizeof tb, b.rank, b.dims);
    bool a_vec = a.rank == 1, b_vec = b.rank == 1;
    if (a.rank < 1 || b.rank < 1)
        return rcd__fail(c, r, RCD_EINVAL, "shapes %s and %s do not multiply", ta, tb);
    if (a_vec) {
        a.dims[1] = a.dims[0];
        a.dims[0] = 1;
        a.rank = 2;
    }
    if (b_vec) {
        b.dims[1] = 1;
        b.rank = 2;
    }
    size_t m = (size_t)a.dims[a.rank - 2], k = (size_t)a.dims[a.rank - 1];
    size_t n = (size_t)b.dims[b.rank - 1];
    if ((size_t)b.dims[b.rank - 2] != k)
        return rcd__fail(c, r, RCD_EINVAL, "shapes %s and %s do not multiply", ta, tb);
    struct rcd_tensor lead_a = {.dtype = a.dtype}, lead_b = {.dtype = b.dtype};
    RCD_ASSERT(rcd_tensor_shape(&lead_a, a.dtype, a.rank - 2, a.dims));
    RCD_ASSERT(rcd_tensor_shape(&lead_b, b.dtype, b.rank - 2, b.dims));
    const struct rcd_tensor *leads[2] = {&lead_a, &lead_b};
    struct rcd_bcast bc;
    rcd_status st = rcd__broadcast(c, r, 2, leads, &bc);
    if (st != RCD_OK)
        return st;
    int64_t dims[RCD_MAX_RANK + 2];
    int rank = bc.out_rank;
    memcpy(dims, bc.out_dims, sizeof bc.out_dims);
    if (!a_vec)
        dims[rank++] = (int64_t)m;
    if (!b_vec)
        dims[rank++] = (int64_t)n;
    struct rcd_tensor *out = NULL;
    st = rcd__new_out(c, 0, r, a.dtype, rank, dims, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    size_t size = rcd_dtype_size(a.dtype), count = out->n / (m * n);
    int64_t at[RCD_MAX_RANK] = {0}, i = 0, j = 0;
    for (size_t x = 0; x < count && st == RCD_OK; x++) {
        struct matrix ma = {(const char *)a.data + (size_t)i * m * k * size, m, k, k, 1};
        struct matrix mb = {(const char *)b.data + (size_t)j * k * n * size, k, n, n, 1};
        st = any_product(c, r, a.dtype, &ma, &mb, (char *)out->data + x * m * n * size);
        for (int d = bc.rank - 1; d >= 0; d--) {
            i += bc.stride[0][d];
            j += bc.stride[1][d];
            if (++at[d] < bc.dims[d])
                break;
            i -= bc.stride[0][d] * bc.dims[d];
            j -= bc.stride[1][d] * bc.dims[d];
            at[d] = 0;
        }
    }
    return st;
}

static void run_matmul(struct rcd_call *c)
{
    const struct state *s = c->node->state;
    if (s->packed) {
        matmul_packed(c, s);
        return;
    }
    size_t mark = c->x->scratch.used;
    for (size_t r = 0; r < c->n; r++) {
        rcd_status st = matmul_one(c, r);
        RCD_ASSERT(st == RCD_OK || !rcd__alive(c, r));
        c->x->scratch.used = mark;
    }
}

static rcd_status check_types(struct rcd_check *k)
{
    rcd_status st = rcd__check_type(k, 0, RCD_T(RCD_F32) | PLAIN_TYPES);
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 1);
    if (st == RCD_OK)
        rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status check_matmul(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = check_types(k);
    const struct rcd_tensor *b = rcd__in_const(k, 1);
    if (st == RCD_OK && b != NULL && b->dtype == RCD_F32 && (b->rank == 1 || b->rank == 2)) {
        s->vector = b->rank == 1;
        st = pack_const(k, s, b, false);
    }
    return st;
}

/* ---- Gemm: alpha * A' B' + beta * C ------------------------------------------------------------ */

/* The chain starts from beta * C: C's element where C is given, else 0. */
static rcd_status gemm_start(const struct rcd_call *c, size_t r, const struct state *s,
                             const struct rcd_tensor *cc, const struct rcd_tensor *out)
{
    float *o = out->data;
    if (cc == NULL) {
        memset(o, 0, out->n * sizeof *o);
        return RCD_OK;
    }
    struct rcd_tensor shape = *out;
    const struct rcd_tensor *t[2] = {&shape, cc};
    struct rcd_bcast b;
    rcd_status st = rcd__broadcast(c, r, 2, t, &b);
    if (st != RCD_OK)
        return st;
    if (b.out_rank != 2 || b.out_dims[0] != out->dims[0] || b.out_dims[1] != out->dims[1])
        return rcd__fail(c, r, RCD_EINVAL, "C does not broadcast to the product");
    size_t rows = (size_t)out->dims[0], cols = (size_t)out->dims[1];
    bool by_row = cc->rank == 2 && cc->dims[0] != 1;
    bool by_col = cc->rank >= 1 && cc->dims[cc->rank - 1] != 1;
    size_t step = by_row ? (by_col ? cols : 1) : 0;
    const float *from = cc->data;
    for (size_t i = 0; i < rows; i++) {
        for (size_t j = 0; j < cols; j++)
            o[i * cols + j] = s->beta * from[i * step + (by_col ? j : 0)];
    }
    return RCD_OK;
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
            (s->bias != NULL || gemm_start(c, r, s, rcd__in(c, 2, r), out) == RCD_OK))
            n += (size_t)out->dims[0];
    }
    struct rows rows;
    if (!take_rows(c, n, &rows))
        return;
    for (size_t r = 0; r < c->n; r++) {
        if (!rcd__alive(c, r))
            continue;
        out = rcd__out(c, 0, r);
        add_rows(&rows, rcd__in(c, 0, r)->data, out->data, (size_t)out->dims[0], s->b.k, s->b.n);
    }
    multiply(c, &rows, &s->b, s->bias, s->bias == NULL);
}

#define GEMM_FINISH(S, T)                                                                          \
    case RCD_##S: {                                                                                \
        T *o = out->data;                                                                          \
        const T *from = cc != NULL ? cc->data : NULL;                                              \
        for (size_t i = 0; i < rows; i++) {                                                        \
            for (size_t j = 0; j < cols; j++) {                                                    \
                T add = from != NULL ? from[i * step + (by_col ? j : 0)] : 0;                      \
                o[i * cols + j] = (T)((T)s->alpha * o[i * cols + j] + (T)s->beta * add);           \
            }                                                                                      \
        }                                                                                          \
        break;                                                                                     \
    }

static rcd_status gemm_one(const struct rcd_call *c, size_t r, const struct state *s)
{
    const struct rcd_tensor *a = rcd__in(c, 0, r), *b = rcd__in(c, 1, r), *cc = rcd__in(c, 2, r);
    struct rcd_tensor *out = NULL;
    rcd_status st = gemm_out(c, r, s, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    if (cc != NULL) {
        const struct rcd_tensor *t[2] = {out, cc};
        struct rcd_bcast bc;
        st = rcd__broadcast(c, r, 2, t, &bc);
        if (st != RCD_OK)
            return st;
        if (bc.out_rank != 2 || bc.out_dims[0] != out->dims[0] || bc.out_dims[1] != out->dims[1])
            return rcd__fail(c, r, RCD_EINVAL, "C does not broadcast to the product");
    }
    size_t rows = (size_t)out->dims[0], cols = (size_t)out->dims[1];
    size_t inner = (size_t)a->dims[s->trans_a ? 0 : 1];
    struct matrix ma = {a->data, rows, inner, s->trans_a ? 1 : inner, s->trans_a ? rows : 1};
    struct matrix mb = {b->data, inner, cols, s->trans_b ? 1 : cols, s->trans_b ? inner : 1};
    st = any_product(c, r, a->dtype, &ma, &mb, out->data);
    if (st != RCD_OK)
        return st;
    bool by_row = cc != NULL && cc->rank == 2 && cc->dims[0] != 1;
    bool by_col = cc != NULL && cc->rank >= 1 && cc->dims[cc->rank - 1] != 1;
    size_t step = by_row ? (by_col ? cols : 1) : 0;
    switch (out->dtype) {
        GEMM_FINISH(F32, float)
        GEMM_FINISH(F64, double)
        GEMM_FINISH(I32, int32_t)
        GEMM_FINISH(I64, int64_t)
        GEMM_FINISH(U32, uint32_t)
        GEMM_FINISH(U64, uint64_t)
    default:
        RCD_ASSERT(!"checked at load");
    }
    return RCD_OK;
}

static void run_gemm(struct rcd_call *c)
{
    const struct state *s = c->node->state;
    if (s->packed) {
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
    if (rcd__has_in(k, 2) &&
        (c == NULL || c->n != s->b.n || c->rank < 1 || c->dims[c->rank - 1] != (int64_t)s->b.n))
        return RCD_OK;
    s->bias = rcd__plan_alloc(k, s->b.padded * sizeof *s->bias);
    if (s->bias == NULL)
        return RCD_ENOMEM;
    memset(s->bias, 0, s->b.padded * sizeof *s->bias);
    for (size_t j = 0; c != NULL && j < s->b.n; j++)
        s->bias[j] = s->beta * ((const float *)c->data)[j];
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
        st = check_types(k);
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 2);
    if (st != RCD_OK)
        return st;
    s->trans_a = ta != 0;
    s->trans_b = tb != 0;
    const struct rcd_tensor *b = rcd__in_const(k, 1);
    if (b == NULL || b->dtype != RCD_F32 || b->rank != 2 || s->trans_a || s->alpha != 1.0f)
        return RCD_OK;
    st = pack_const(k, s, b, s->trans_b);
    return st == RCD_OK ? gemm_bias(k, s) : st;
}

static const struct rcd_op ops[] = {
    {.name = "MatMul", .since = 1, .check = check_matmul, .run_all = run_matmul},
    {.name = "Gemm", .since = 7, .check = check_gemm, .run_all = run_gemm},
};
RCD_OP_LIST(matmul, ops);
