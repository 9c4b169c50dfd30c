/* product.c - matrix products, shared by MatMul and Gemm.
 *
 * A constant right side is packed at load and the rows of all requests go through it as one product. A
 * right side made at run time is packed in scratch, so that every product is the same chain. float64
 * and integers take a plain loop in the same order. */
#include "product.h"
#include "../team.h"

#include <string.h>

enum { PANEL = 64, FEW_ROWS = 2 };

rcd_status rcd__pack_right(struct rcd_check *k, const struct rcd_tensor *b, bool trans,
                           struct rcd_packed *ret)
{
    size_t rows = (size_t)b->dims[0], cols = b->rank == 2 ? (size_t)b->dims[1] : 1, bytes = 0;
    size_t inner = trans ? cols : rows, n = trans ? rows : cols;
    if (!rcd_packed_bytes(inner, n, &bytes))
        return rcd__refuse(k, "a matrix of %zu x %zu is too large", inner, n);
    rcd_weights how = RCD_WEIGHTS_F32;
    rcd_status st = rcd__weights_of(k, inner, &how);
    if (st != RCD_OK)
        return st;
    ret->data = rcd__weights_new(k, how, bytes);
    if (ret->data == NULL)
        return RCD_ENOMEM;
    rcd_pack(ret, b->data, trans ? 1 : cols, trans ? cols : 1, inner, n, PANEL);
    rcd_packed_look(ret);
    return rcd__weights_keep(k, how, ret);
}

/* ---- plain products for types that have no kernels ------------------------------------------- */

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

static void plain_product(rcd_dtype t, const struct rcd_matrix *a, const struct rcd_matrix *b,
                          void *c)
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

/* One or two rows: packing the right side would take longer than the product. The same chains: from 0, in order. */
static void few_rows(const struct rcd_call *c, const struct rcd_matrix *a,
                     const struct rcd_matrix *b, float *out)
{
    if (a->rows * b->cols == 0)
        return;
    memset(out, 0, a->rows * b->cols * sizeof *out);
    for (size_t i = 0; i < a->rows; i++) {
        for (size_t x = 0; x < a->cols; x++)
            c->kern->axpy(b->cols, ((const float *)a->data)[i * a->row_step + x * a->col_step],
                          (const float *)b->data + x * b->row_step, out + i * b->cols);
    }
}

/* c f32[a.rows][b.cols] = a b, with b packed here. */
static rcd_status f32_product(const struct rcd_call *c, size_t r, const struct rcd_matrix *a,
                              const struct rcd_matrix *b, float *out)
{
    size_t mark = c->x->scratch.used, bytes = 0;
    struct rcd_packed p;
    if (a->rows <= FEW_ROWS && b->col_step == 1) {
        few_rows(c, a, b, out);
        return RCD_OK;
    }
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

rcd_status rcd__product(const struct rcd_call *c, size_t r, rcd_dtype t, const struct rcd_matrix *a,
                        const struct rcd_matrix *b, void *out)
{
    if (t == RCD_F32)
        return f32_product(c, r, a, b, out);
    plain_product(t, a, b, out);
    return RCD_OK;
}

const struct rcd__row_product *rcd__row_product_of(const struct rcd_node *node)
{
    const char *name = node->op->name;
    if (node->op->domain != NULL || (strcmp(name, "MatMul") != 0 && strcmp(name, "Gemm") != 0))
        return NULL;
    const struct rcd__row_product *p = node->state;
    return p->packed && p->alone && p->b.weights == RCD_WEIGHTS_F32 ? p : NULL;
}

void rcd__row_product_some(const struct rcd_kernels *kern, const struct rcd__row_product *p,
                           size_t n, const float *from, float *to)
{
    const float *a[RCD__SOME_ROWS];
    float *y[RCD__SOME_ROWS];
    RCD_ASSERT(n <= RCD__SOME_ROWS);
    for (size_t i = 0; i < n; i++) {
        a[i] = from + i * p->b.k;
        y[i] = to + i * p->b.n;
    }
    const struct rcd_gemm g = {.rows = n, .a = a, .c = y, .b = &p->b, .bias = p->bias};
    kern->gemm(&g);
    if (p->relu)
        kern->unary(RCD_UN_RELU, n * p->b.n, to, to, 0, 0);
}

/* ---- constant right side: all requests together ----------------------------------------------- */

bool rcd__rows_take(const struct rcd_call *c, size_t n, const struct rcd_packed *b,
                    struct rcd_rows *ret)
{
    ret->n = 0;
    ret->a = rcd__scratch_try(c, n * sizeof *ret->a);
    ret->c = rcd__scratch_try(c, n * sizeof *ret->c);
    ret->scratch = rcd__scratch_try(c, rcd_gemm_scratch(b, n));
    if (ret->a != NULL && ret->c != NULL && ret->scratch != NULL)
        return true;
    for (size_t r = 0; r < c->n; r++) {
        if (rcd__alive(c, r))
            rcd__fail(c, r, RCD_ENOMEM, "no scratch memory for %zu rows", n);
    }
    return false;
}

void rcd__rows_add(struct rcd_rows *rows, const float *a, float *c, size_t n, size_t k, size_t cols)
{
    for (size_t i = 0; i < n; i++, rows->n++) {
        rows->a[rows->n] = a + i * k;
        rows->c[rows->n] = c + i * cols;
    }
}

/* Rows of a product for one of several threads. */
struct some_rows {
    const struct rcd_kernels *kern;
    const struct rcd_gemm *all;
};

static void multiply_some(void *ctx, size_t from, size_t to)
{
    const struct some_rows *s = ctx;
    struct rcd_gemm part = *s->all;
    part.rows = to - from;
    part.a += from;
    part.c += from;
    part.scratch = (char *)part.scratch + rcd_gemm_scratch(part.b, from);
    rcd_gemm_any(s->kern, &part);
}

/* Panels of a product for one of several threads. */
static void multiply_columns(void *ctx, size_t from, size_t to)
{
    const struct some_rows *s = ctx;
    struct rcd_gemm part = *s->all;
    part.col_from = from * part.b->width;
    part.col_to = to * part.b->width < part.b->padded ? to * part.b->width : part.b->padded;
    s->kern->gemm(&part);
}

enum {
    PARALLEL_FLOPS = 1 << 22,
    ROW_GROUP = 48,              /* of a chunk; rows that fill the kernel's groups */
    WORTH_SHARING_NS = 50 * 1000 /* of reading the weights: waking takes some microseconds */
};

void rcd__rows_multiply(const struct rcd_call *c, const struct rcd_rows *rows,
                        const struct rcd_packed *b, const float *bias, bool accumulate)
{
    struct rcd_gemm g = {.rows = rows->n,
                         .a = rows->a,
                         .c = rows->c,
                         .b = b,
                         .bias = bias,
                         .accumulate = accumulate,
                         .scratch = rows->scratch};
    struct some_rows some = {c->kern, &g};
    size_t chunk = PARALLEL_FLOPS / (b->k * b->padded + 1);
    chunk = (chunk / ROW_GROUP + 1) * ROW_GROUP;
    const size_t threads = rcd__team_size(c->x->team),
                 panels = (b->padded + b->width - 1) / b->width;
    const bool large = b->k * b->padded * sizeof(float) / 20 > WORTH_SHARING_NS; /* at 20 GB/s */
    if (rows->n <= chunk && threads > 1 && large && b->weights == RCD_WEIGHTS_F32)
        rcd__team_run(c->x->team, panels, (panels + threads - 1) / threads, multiply_columns,
                      &some);
    else
        rcd__team_run(c->x->team, rows->n, chunk, multiply_some, &some);
}

rcd_status rcd__product_types(struct rcd_check *k)
{
    rcd_status st = rcd__check_type(k, 0, RCD_T(RCD_F32) | PLAIN_TYPES);
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 1);
    if (st == RCD_OK)
        rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}
