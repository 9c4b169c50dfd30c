/* matmul.c - MatMul, by numpy's rules. */
#include "product.h"

#include <string.h>

static rcd_status matmul_packed_out(const struct rcd_call *c, size_t r,
                                    const struct rcd__row_product *s)
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
    return rcd__new_out(c, 0, r, RCD_F32, a->rank - (s->alone ? 0 : 1), dims, &out);
}

static void matmul_packed(struct rcd_call *c, const struct rcd__row_product *s)
{
    size_t n = 0;
    for (size_t r = 0; r < c->n; r++) {
        if (matmul_packed_out(c, r, s) == RCD_OK)
            n += rcd__out(c, 0, r)->n;
    }
    struct rcd_rows rows;
    if (s->b.n == 0 || !rcd__rows_take(c, n / (s->b.n != 0 ? s->b.n : 1), &s->b, &rows))
        return;
    for (size_t r = 0; r < c->n; r++) {
        if (!rcd__alive(c, r))
            continue;
        const struct rcd_tensor *out = rcd__out(c, 0, r);
        rcd__rows_add(&rows, rcd__in(c, 0, r)->data, out->data, out->n / s->b.n, s->b.k, s->b.n);
    }
    rcd__rows_multiply(c, &rows, &s->b, s->bias, false);
    for (size_t r = 0; s->relu && r < c->n; r++) {
        const struct rcd_tensor *out = rcd__out(c, 0, r);
        if (rcd__alive(c, r))
            c->kern->unary(RCD_UN_RELU, out->n, out->data, out->data, 0, 0);
    }
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
        struct rcd_matrix ma = {(const char *)a.data + (size_t)i * m * k * size, m, k, k, 1};
        struct rcd_matrix mb = {(const char *)b.data + (size_t)j * k * n * size, k, n, n, 1};
        st = rcd__product(c, r, a.dtype, &ma, &mb, (char *)out->data + x * m * n * size);
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
    const struct rcd__row_product *s = c->node->state;
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

static rcd_status check_matmul(struct rcd_check *k)
{
    struct rcd__row_product *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__product_types(k);
    const struct rcd_tensor *b = rcd__in_const(k, 1);
    if (st == RCD_OK && b != NULL && b->dtype == RCD_F32 && (b->rank == 1 || b->rank == 2)) {
        s->packed = true;
        s->alone = b->rank == 2; /* a vector has rank 1 */
        k->node->packed = 1u << 1;
        st = rcd__pack_right(k, b, false, &s->b);
    }
    return st;
}

static const struct rcd_op ops[] = {
    {.name = "MatMul", .since = 1, .check = check_matmul, .run_all = run_matmul},
};
RCD_OP_LIST(matmul, ops);
