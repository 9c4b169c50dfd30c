/* sparse.c - sums over the edges of a graph as one sparse product.
 *
 * Csr sorts the edges by the node they end in, keeping their order among themselves (a counting sort),
 * so that the sum of a row is the chain that ScatterElements would make, and the same bits. It knows
 * the indices alone, not how many nodes there are, so that it can be kept with a graph whatever runs
 * over it; Spmm checks the range that Csr has seen against the sizes it meets. Negative indices count
 * from the end in ONNX: the rare file that has them pays for a second sort. */
#include "sparse.h"
#include "../team.h"

#include <string.h>

/* ---- Csr ------------------------------------------------------------------------------------ */

/* Index e of an edge list; a negative one counts from the end of `rows`. */
static int64_t index_of(const struct rcd_tensor *t, size_t e, int64_t rows)
{
    int64_t i = t->dtype == RCD_I64 ? ((const int64_t *)t->data)[e] : ((const int32_t *)t->data)[e];
    return i < 0 ? i + rows : i;
}

static rcd_status range_of(const struct rcd_call *c, size_t r, const struct rcd_tensor *t,
                           size_t out, int64_t **ret)
{
    const int64_t two = 2;
    struct rcd_tensor *seen = NULL;
    if (t->rank != 1 || t->n >= INT32_MAX)
        return rcd__fail(c, r, RCD_EINVAL, "%zu edges, limit %d", t->n, INT32_MAX - 1);
    rcd_status st = rcd__new_out(c, out, r, RCD_I64, 1, &two, &seen);
    if (st != RCD_OK)
        return st;
    int64_t *range = seen->data;
    range[0] = t->n > 0 ? INT64_MAX : 0;
    range[1] = -1;
    for (size_t e = 0; e < t->n; e++) {
        int64_t i = index_of(t, e, 0);
        range[0] = i < range[0] ? i : range[0];
        range[1] = i > range[1] ? i : range[1];
    }
    *ret = range;
    if (range[1] >= INT32_MAX)
        return rcd__fail(c, r, RCD_EINVAL, "index %lld, limit %d", (long long)range[1],
                         INT32_MAX - 1);
    return RCD_OK;
}

/* ptr has rows + 1 zeros. */
static void sort_edges(const struct rcd_tensor *dst, int64_t rows, int32_t *ptr, int32_t *edge)
{
    for (size_t e = 0; e < dst->n; e++)
        ptr[index_of(dst, e, rows)]++;
    int32_t at = 0;
    for (int64_t i = 0; i <= rows; i++) {
        int32_t count = i < rows ? ptr[i] : 0;
        ptr[i] = at;
        at += count;
    }
    for (size_t e = 0; e < dst->n; e++)
        edge[ptr[index_of(dst, e, rows)]++] = (int32_t)e;
    memmove(ptr + 1, ptr, (size_t)rows * sizeof *ptr);
    ptr[0] = 0;
}

static rcd_status run_csr(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *dst = rcd__in(c, 0, r);
    int64_t *range = NULL;
    rcd_status st = range_of(c, r, dst, RCD__CSR_RANGE, &range);
    if (st != RCD_OK)
        return st;
    const bool plain = range[0] >= 0;
    const int64_t rows = plain ? range[1] + 1 : 0, n_ptr = rows + 1, n = plain ? dst->dims[0] : 0;
    struct rcd_tensor *ptr = NULL, *edge = NULL;
    st = rcd__new_out(c, RCD__CSR_PTR, r, RCD_I32, 1, &n_ptr, &ptr);
    if (st == RCD_OK)
        st = rcd__new_out(c, RCD__CSR_EDGE, r, RCD_I32, 1, &n, &edge);
    if (st != RCD_OK)
        return st;
    memset(ptr->data, 0, (size_t)n_ptr * sizeof(int32_t));
    if (plain)
        sort_edges(dst, rows, ptr->data, edge->data);
    return RCD_OK;
}

static rcd_status run_cols(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *edge = rcd__in(c, 0, r), *src = rcd__in(c, 1, r);
    int64_t *range = NULL;
    rcd_status st = range_of(c, r, src, RCD__COLS_RANGE, &range);
    if (st != RCD_OK)
        return st;
    if (edge->n != 0 && src->n != edge->n)
        return rcd__fail(c, r, RCD_EINVAL, "edges end in %zu places and start in %zu", edge->n,
                         src->n);
    struct rcd_tensor *col = NULL;
    st = rcd__new_out(c, RCD__COLS_COL, r, RCD_I32, 1, edge->dims, &col);
    for (size_t e = 0; st == RCD_OK && e < edge->n; e++)
        ((int32_t *)col->data)[e] =
            (int32_t)index_of(src, (size_t)((const int32_t *)edge->data)[e], 0);
    return st;
}

/* ---- Spmm ----------------------------------------------------------------------------------- */

static rcd_status out_of_range(const struct rcd_call *c, size_t r, const struct rcd_tensor *t,
                               int64_t rows)
{
    for (size_t e = 0; e < t->n; e++) {
        int64_t i = index_of(t, e, 0);
        if (i < -rows || i >= rows)
            return rcd__fail(c, r, RCD_EINVAL, "index %zu is %lld, want %lld to %lld", e,
                             (long long)i, (long long)-rows, (long long)rows - 1);
    }
    RCD_ASSERT(!"an index was out of range");
}

/* The sorted edges: Csr's, or sorted again where indices count from the end. */
static rcd_status take_csr(struct rcd_call *c, size_t r, int64_t rows, int64_t x_rows,
                           struct rcd_spmm *s, size_t *ret_rows)
{
    const struct rcd_tensor *dst = rcd__in(c, RCD__SPMM_DST, r);
    const struct rcd_tensor *src = rcd__in(c, RCD__SPMM_SRC, r);
    const int64_t *in_dst = rcd__in(c, RCD__SPMM_DST_RANGE, r)->data;
    const int64_t *in_src = src != NULL ? rcd__in(c, RCD__SPMM_SRC_RANGE, r)->data : NULL;
    if (in_dst[0] < -rows || in_dst[1] >= rows)
        return out_of_range(c, r, dst, rows);
    if (src != NULL && (in_src[0] < -x_rows || in_src[1] >= x_rows))
        return out_of_range(c, r, src, x_rows);
    if (src == NULL ? x_rows != (int64_t)dst->n : src->n != dst->n)
        return rcd__fail(c, r, RCD_EINVAL, "edges end in %zu places and start in %lld", dst->n,
                         src != NULL ? (long long)src->n : (long long)x_rows);
    if (in_dst[0] >= 0 && (src == NULL || in_src[0] >= 0)) {
        const struct rcd_tensor *ptr = rcd__in(c, RCD__SPMM_PTR, r);
        s->ptr = ptr->data;
        s->edge = rcd__in(c, RCD__SPMM_EDGE, r)->data;
        s->col = src != NULL ? rcd__in(c, RCD__SPMM_COL, r)->data : s->edge;
        *ret_rows = ptr->n - 1;
        return RCD_OK;
    }
    const size_t n = dst->n;
    int32_t *again = rcd__scratch(c, r, ((size_t)rows + 1 + 2 * n) * sizeof *again);
    if (again == NULL)
        return RCD_ENOMEM;
    int32_t *edge = again + rows + 1, *col = edge + n;
    memset(again, 0, ((size_t)rows + 1) * sizeof *again);
    sort_edges(dst, rows, again, edge);
    for (size_t e = 0; e < n; e++)
        col[e] = src != NULL ? (int32_t)index_of(src, (size_t)edge[e], x_rows) : edge[e];
    s->ptr = again;
    s->edge = edge;
    s->col = col;
    *ret_rows = (size_t)rows;
    return RCD_OK;
}

/* The result: of the given shape from zeros, or a copy of what it starts from. */
static rcd_status new_result(struct rcd_call *c, size_t r, struct rcd_tensor **ret)
{
    const struct rcd_tensor *shape = rcd__in(c, RCD__SPMM_SHAPE, r);
    const struct rcd_tensor *start = rcd__in(c, RCD__SPMM_START, r);
    int64_t dims[RCD_MAX_RANK];
    int rank = 0;
    if (start == NULL && shape->n > RCD_MAX_RANK)
        return rcd__fail(c, r, RCD_EINVAL, "rank %zu, limit %d", shape->n, RCD_MAX_RANK);
    for (; start == NULL && rank < (int)shape->n; rank++)
        dims[rank] = rcd__int_at(shape, (size_t)rank);
    rcd_status st = start != NULL ? rcd__new_out(c, 0, r, RCD_F32, start->rank, start->dims, ret)
                                  : rcd__new_out(c, 0, r, RCD_F32, rank, dims, ret);
    if (st == RCD_OK && *ret != NULL && start != NULL)
        rcd__copy((*ret)->data, start->data, start->n * sizeof(float));
    return st;
}

struct some_rows {
    const struct rcd_kernels *kern;
    const struct rcd_spmm *all;
};

static void sum_some(void *ctx, size_t from, size_t to)
{
    const struct some_rows *s = ctx;
    struct rcd_spmm part = *s->all;
    part.row_begin = from;
    part.row_end = to;
    s->kern->spmm(&part);
}

enum { PARALLEL_ROWS = 512 };

static rcd_status run_spmm(struct rcd_call *c, size_t r)
{
    const struct rcd__spmm_state *state = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, RCD__SPMM_X, r), *w = rcd__in(c, RCD__SPMM_W, r);
    struct rcd_tensor *out = NULL;
    rcd_status st = new_result(c, r, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    size_t width = rcd__span(out->dims, 1, out->rank), rows = 0;
    if (x->rank != out->rank || out->rank < 1 || rcd__span(x->dims, 1, x->rank) != width)
        return rcd__fail(c, r, RCD_EINVAL, "rows of %zu elements are added to rows of %zu",
                         rcd__span(x->dims, 1, x->rank), width);
    struct rcd_spmm s = {.x = x->data,
                         .x_rows = (size_t)x->dims[0],
                         .y = out->data,
                         .how = state->how,
                         .groups = 1,
                         .chan = width,
                         .accumulate = rcd__in(c, RCD__SPMM_START, r) != NULL};
    st = take_csr(c, r, out->dims[0], x->dims[0], &s, &rows);
    if (st != RCD_OK)
        return st;
    size_t n = rcd__in(c, RCD__SPMM_DST, r)->n;
    if (w != NULL) {
        s.w = w->data;
        s.groups = n > 0 ? w->n / n : 1;
        if (s.groups == 0 || w->n != n * s.groups || width % s.groups != 0)
            return rcd__fail(c, r, RCD_EINVAL, "%zu factors for %zu edges of %zu elements", w->n, n,
                             width);
        s.chan = width / s.groups;
    }
    if (!s.accumulate && rows < (size_t)out->dims[0])
        memset((float *)out->data + rows * width, 0,
               ((size_t)out->dims[0] - rows) * width * sizeof(float));
    s.row_end = rows;
    struct some_rows some = {c->kern, &s};
    if (width > 0)
        rcd__team_run(c->x->team, rows, PARALLEL_ROWS, sum_some, &some);
    return RCD_OK;
}

static rcd_status check_none(struct rcd_check *k)
{
    return rcd__refuse(k, "made by fusion only");
}

const struct rcd_op rcd__op_csr = {
    .name = "Csr", .domain = "recurd.fused", .check = check_none, .run = run_csr};
const struct rcd_op rcd__op_csr_cols = {
    .name = "CsrCols", .domain = "recurd.fused", .check = check_none, .run = run_cols};
const struct rcd_op rcd__op_spmm = {
    .name = "Spmm", .domain = "recurd.fused", .check = check_none, .run = run_spmm};
