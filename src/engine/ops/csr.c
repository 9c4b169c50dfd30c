/* csr.c - the edges of a graph, sorted once.
 *
 * Csr sorts the edges by the node they end in, keeping their order among themselves (a counting sort),
 * so that the sum of a row is the chain that ScatterElements would make, and the same bits. It knows
 * the indices alone, not how many nodes there are, so that it can be kept with a graph whatever runs
 * over it; what runs checks the range that Csr has seen against the sizes it meets. Negative indices count
 * from the end in ONNX: the rare file that has them pays for a second sort. */
#include "../blame.h"
#include "sparse.h"

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
    int64_t *range = seen->data, least = t->n > 0 ? INT64_MAX : 0, most = -1;
    for (size_t e = 0; e < t->n; e++) {
        const int64_t i = index_of(t, e, 0);
        least = i < least ? i : least;
        most = i > most ? i : most;
    }
    range[0] = least;
    range[1] = most;
    *ret = range;
    for (size_t e = 0; most >= INT32_MAX && e < t->n; e++) {
        if (index_of(t, e, 0) == most)
            return rcd__fail_index(c, r, t, e, INT32_MIN, INT32_MAX - 1);
    }
    return RCD_OK;
}

enum {
    PARTS = 256,          /* of the rows; the edges of each lie near while they are sorted, */
    PARTS_EDGES = 1 << 17 /* where there are so many */
};

struct part_edge {
    int32_t row, edge;
};

/* The edges by parts of 2^shift rows: from many rows at once, most would be written to memory that is not near. */
static void sort_by_parts(const struct rcd_tensor *dst, int64_t rows, unsigned shift, int32_t *ptr,
                          int32_t *edge, struct part_edge *parts)
{
    size_t at[PARTS];
    for (size_t p = 0; p < PARTS; p++) {
        const int64_t row = (int64_t)(p << shift);
        at[p] = (size_t)ptr[row < rows ? row : rows];
    }
    for (size_t e = 0; e < dst->n; e++) {
        const int32_t row = (int32_t)index_of(dst, e, rows);
        parts[at[row >> shift]++] = (struct part_edge){row, (int32_t)e};
    }
    for (size_t e = 0; e < dst->n; e++)
        edge[ptr[parts[e].row]++] = parts[e].edge;
}

/* ptr has rows + 1 zeros. */
static void sort_edges(const struct rcd_call *c, const struct rcd_tensor *dst, int64_t rows,
                       int32_t *ptr, int32_t *edge)
{
    for (size_t e = 0; e < dst->n; e++)
        ptr[index_of(dst, e, rows)]++;
    int32_t at = 0;
    for (int64_t i = 0; i <= rows; i++) {
        int32_t count = i < rows ? ptr[i] : 0;
        ptr[i] = at;
        at += count;
    }
    struct part_edge *parts =
        dst->n >= PARTS_EDGES ? rcd__scratch_try(c, dst->n * sizeof *parts) : NULL;
    unsigned shift = 0;
    while (rows >> shift >= PARTS)
        shift++;
    if (parts != NULL)
        sort_by_parts(dst, rows, shift, ptr, edge, parts);
    for (size_t e = 0; parts == NULL && e < dst->n; e++)
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
        sort_edges(c, dst, rows, ptr->data, edge->data);
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
    if (st != RCD_OK || col == NULL)
        return st;
    const int32_t *from = edge->data;
    int32_t *to = col->data;
    for (size_t e = 0; e < edge->n; e++)
        to[e] = (int32_t)index_of(src, (size_t)from[e], 0);
    return RCD_OK;
}

static rcd_status run_factors(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *edge = rcd__in(c, 0, r), *w = rcd__in(c, 1, r);
    const size_t n = edge->n, width = n > 0 ? w->n / n : 0;
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, RCD_F32, w->rank, w->dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    if (n > 0 && width * n != w->n) /* none: the edges were not sorted */
        return rcd__fail(c, r, RCD_EINVAL, "%zu factors for %zu edges", w->n, n);
    const int32_t *at = edge->data;
    const float *from = w->data;
    float *to = out->data;
    for (size_t e = 0; e < n && width == 1; e++)
        to[e] = from[at[e]];
    for (size_t e = 0; e < n && width > 1; e++)
        memcpy(to + e * width, from + (size_t)at[e] * width, width * sizeof *to);
    return RCD_OK;
}

/* ---- what runs over the edges ---------------------------------------------------------------- */

static rcd_status out_of_range(const struct rcd_call *c, size_t r, const struct rcd_tensor *t,
                               int64_t rows)
{
    for (size_t e = 0; e < t->n; e++) {
        int64_t i = index_of(t, e, 0);
        if (i < -rows || i >= rows)
            return rcd__fail_index(c, r, t, e, -rows, rows - 1);
    }
    RCD_ASSERT(!"an index was out of range");
}

rcd_status rcd__take_edges(struct rcd_call *c, size_t r, int64_t rows, int64_t x_rows,
                           struct rcd__edges *ret)
{
    const struct rcd_tensor *dst = rcd__in(c, RCD__EDGES_DST, r);
    const struct rcd_tensor *src = rcd__in(c, RCD__EDGES_SRC, r);
    const int64_t *in_dst = rcd__in(c, RCD__EDGES_DST_RANGE, r)->data;
    const int64_t *in_src = src != NULL ? rcd__in(c, RCD__EDGES_SRC_RANGE, r)->data : NULL;
    if (in_dst[0] < -rows || in_dst[1] >= rows)
        return out_of_range(c, r, dst, rows);
    if (src != NULL && (in_src[0] < -x_rows || in_src[1] >= x_rows))
        return out_of_range(c, r, src, x_rows);
    if (src == NULL ? x_rows != (int64_t)dst->n : src->n != dst->n)
        return rcd__fail(c, r, RCD_EINVAL, "edges end in %zu places and start in %lld", dst->n,
                         src != NULL ? (long long)src->n : (long long)x_rows);
    *ret = (struct rcd__edges){.n = dst->n};
    if (in_dst[0] >= 0 && (src == NULL || in_src[0] >= 0)) {
        const struct rcd_tensor *ptr = rcd__in(c, RCD__EDGES_PTR, r);
        ret->ptr = ptr->data;
        ret->edge = rcd__in(c, RCD__EDGES_EDGE, r)->data;
        ret->col = src != NULL ? rcd__in(c, RCD__EDGES_COL, r)->data : ret->edge;
        ret->rows = ptr->n - 1;
        return RCD_OK;
    }
    const size_t n = dst->n;
    int32_t *again = rcd__scratch(c, r, ((size_t)rows + 1 + 2 * n) * sizeof *again);
    if (again == NULL)
        return RCD_ENOMEM;
    int32_t *edge = again + rows + 1, *col = edge + n;
    memset(again, 0, ((size_t)rows + 1) * sizeof *again);
    sort_edges(c, dst, rows, again, edge);
    for (size_t e = 0; e < n; e++)
        col[e] = src != NULL ? (int32_t)index_of(src, (size_t)edge[e], x_rows) : edge[e];
    *ret = (struct rcd__edges){again, edge, col, (size_t)rows, n, true};
    return RCD_OK;
}

const struct rcd_op rcd__op_csr = {
    .name = "Csr", .domain = "recurd.fused", .check = rcd__check_fused, .run = run_csr};
const struct rcd_op rcd__op_csr_cols = {
    .name = "CsrCols", .domain = "recurd.fused", .check = rcd__check_fused, .run = run_cols};
const struct rcd_op rcd__op_csr_factors = {
    .name = "CsrFactors", .domain = "recurd.fused", .check = rcd__check_fused, .run = run_factors};
