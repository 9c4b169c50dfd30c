/* csr.c - the edges of a graph, sorted once.
 *
 * Csr sorts the edges by the node they end in, keeping their order among themselves (a counting sort),
 * so that the sum of a row is the chain that ScatterElements would make, and the same bits. It knows
 * the indices alone, not how many nodes there are, so that it can be kept with a graph whatever runs
 * over it; what runs checks the range that Csr has seen against the sizes it meets. Negative indices count
 * from the end in ONNX: the rare file that has them pays for a second sort. */
#include "../blame.h"
#include "../team.h"
#include "csr_sort.h"
#include "sparse.h"

#include <string.h>

/* ---- Csr ------------------------------------------------------------------------------------ */

/* Index e of an edge list; a negative one counts from the end of `rows`. */
static int64_t index_of(const struct rcd_tensor *t, size_t e, int64_t rows)
{
    int64_t i = t->dtype == RCD_I64 ? ((const int64_t *)t->data)[e] : ((const int32_t *)t->data)[e];
    return i < 0 ? i + rows : i;
}

static void *scratch_for(const struct rcd_call *c, size_t n_edges)
{
    const size_t bytes = rcd__sort_scratch(n_edges);
    return bytes > 0 ? rcd__scratch_try(c, bytes) : NULL;
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
    rcd__index_range(c->x->team, t, range);
    *ret = range;
    for (size_t e = 0; range[1] >= INT32_MAX && e < t->n; e++) {
        if (index_of(t, e, 0) == range[1])
            return rcd__fail_index(c, r, t, e, INT32_MIN, INT32_MAX - 1);
    }
    return RCD_OK;
}

/* The node that asks where the edges of this Csr start, if what it reads is there by now: the edges are sorted with it.
 * run_cols finds its output made. NULL: none. */
static const struct rcd_node *cols_node(const struct rcd_call *c, size_t r)
{
    const struct rcd_body *main = &c->run->plan->main;
    if (c->node < main->nodes || c->node >= main->nodes + main->n_nodes)
        return NULL;
    for (const struct rcd_node *n = c->node + 1; n < main->nodes + main->n_nodes; n++) {
        if (n->op != &rcd__op_csr_cols || n->in[0] != c->node->out[RCD__CSR_EDGE])
            continue;
        const struct rcd_call call = {.run = c->run, .node = n, .n = c->n, .req = c->req};
        const struct rcd_tensor *src = rcd__in(&call, 1, r);
        return src->dtype != RCD_NONE && src->rank == 1 && src->n == rcd__in(c, 0, r)->n ? n : NULL;
    }
    return NULL;
}

/* Outputs of that node; *ret NULL: it fails when its turn comes, and says why. */
static rcd_status new_cols(struct rcd_call *c, size_t r, const struct rcd_node *node, int32_t **ret)
{
    struct rcd_call call = *c;
    struct rcd_tensor *col = NULL, *range = NULL;
    const int64_t two = 2;
    int64_t seen[2];
    call.node = node;
    const struct rcd_tensor *src = rcd__in(&call, 1, r);
    rcd__index_range(c->x->team, src, seen);
    if (seen[1] >= INT32_MAX || rcd__out(&call, RCD__COLS_COL, r) == NULL)
        return RCD_OK;
    rcd_status st = rcd__new_out(&call, RCD__COLS_RANGE, r, RCD_I64, 1, &two, &range);
    if (st == RCD_OK)
        st = rcd__new_out(&call, RCD__COLS_COL, r, RCD_I32, 1, src->dims, &col);
    if (st != RCD_OK)
        return st;
    if (range != NULL)
        memcpy(range->data, seen, sizeof seen);
    *ret = col->data;
    return RCD_OK;
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
    struct rcd__edge_sort s = {.dst = dst, .rows = rows, .ptr = ptr->data, .edge = edge->data};
    if (!plain) {
        s.ptr[0] = 0;
        return RCD_OK;
    }
    const struct rcd_node *cols = cols_node(c, r);
    if (cols != NULL) {
        const struct rcd_call call = {.run = c->run, .node = cols, .n = c->n, .req = c->req};
        s.src = rcd__in(&call, 1, r);
        st = new_cols(c, r, cols, &s.col);
    }
    if (st == RCD_OK)
        rcd__sort_edges(c->x->team, &s, scratch_for(c, dst->n));
    return st;
}

static rcd_status run_cols(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *edge = rcd__in(c, 0, r), *src = rcd__in(c, 1, r);
    struct rcd_tensor *col = rcd__out(c, RCD__COLS_COL, r);
    if (col != NULL && col->dtype != RCD_NONE)
        return RCD_OK; /* the edges were sorted with it */
    int64_t *range = NULL;
    rcd_status st = range_of(c, r, src, RCD__COLS_RANGE, &range);
    if (st != RCD_OK)
        return st;
    if (edge->n != 0 && src->n != edge->n)
        return rcd__fail(c, r, RCD_EINVAL, "edges end in %zu places and start in %zu", edge->n,
                         src->n);
    st = rcd__new_out(c, RCD__COLS_COL, r, RCD_I32, 1, edge->dims, &col);
    if (st != RCD_OK || col == NULL)
        return st;
    const int32_t *from = edge->data;
    int32_t *to = col->data;
    for (size_t e = 0; e < edge->n; e++)
        to[e] = (int32_t)index_of(src, (size_t)from[e], 0);
    return RCD_OK;
}

struct factors {
    const int32_t *at;
    const float *from;
    float *to;
    size_t width;
};
enum { SOME_FACTORS = 1 << 15 };

static void factors_some(void *ctx, size_t begin, size_t end)
{
    const struct factors f = *(const struct factors *)ctx;
    for (size_t e = begin; e < end && f.width == 1; e++)
        f.to[e] = f.from[f.at[e]];
    for (size_t e = begin; e < end && f.width > 1; e++)
        memcpy(f.to + e * f.width, f.from + (size_t)f.at[e] * f.width, f.width * sizeof *f.to);
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
    struct factors f = {.at = edge->data, .from = w->data, .to = out->data, .width = width};
    rcd__team_run(c->x->team, n, SOME_FACTORS, factors_some, &f);
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
    int32_t *edge = again + rows + 1, *col = src != NULL ? edge + n : edge;
    const struct rcd__edge_sort s = {.dst = dst,
                                     .src = src,
                                     .rows = rows,
                                     .x_rows = x_rows,
                                     .ptr = again,
                                     .edge = edge,
                                     .col = src != NULL ? col : NULL};
    rcd__sort_edges(c->x->team, &s, scratch_for(c, n));
    *ret = (struct rcd__edges){again, edge, col, (size_t)rows, n, true};
    return RCD_OK;
}

const struct rcd_op rcd__op_csr = {
    .name = "Csr", .domain = "recurd.fused", .check = rcd__check_fused, .run = run_csr};
const struct rcd_op rcd__op_csr_cols = {
    .name = "CsrCols", .domain = "recurd.fused", .check = rcd__check_fused, .run = run_cols};
const struct rcd_op rcd__op_csr_factors = {
    .name = "CsrFactors", .domain = "recurd.fused", .check = rcd__check_fused, .run = run_factors};
