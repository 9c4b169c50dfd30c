/* sparse.c - sums over the edges of a graph as one sparse product: the chain of a row is the one that
 * ScatterElements would make, and the same bits. */
#include "sparse.h"
#include "../team.h"

#include <string.h>

/* The result's sizes. */
static rcd_status rows_dims(struct rcd_call *c, size_t r, const struct rcd__row_end *end,
                            int64_t *dims, int *ret_rank)
{
    const struct rcd_tensor *shape = rcd__in(c, RCD__EDGES_SHAPE, r);
    if (shape->n > RCD_MAX_RANK || shape->n < 1)
        return rcd__fail(c, r, RCD_EINVAL, "rank %zu, want 1 to %d", shape->n, RCD_MAX_RANK);
    const int rank = (int)shape->n;
    for (int d = 0; d < rank; d++)
        dims[d] = rcd__int_at(shape, (size_t)d);
    for (int d = 2; end->flat && d < rank; d++)
        dims[1] *= dims[d]; /* checked at load: small numbers */
    if (end->width > 0)
        dims[1] = (int64_t)end->width; /* of rank 2 */
    *ret_rank = end->flat ? 2 : rank;
    return RCD_OK;
}

rcd_status rcd__rows_new(struct rcd_call *c, size_t r, const struct rcd__row_end *end,
                         struct rcd_tensor **ret)
{
    int64_t dims[RCD_MAX_RANK];
    int rank = 0;
    rcd_status st = rows_dims(c, r, end, dims, &rank);
    return st == RCD_OK ? rcd__new_out(c, 0, r, RCD_F32, rank, dims, ret) : st;
}

void rcd__rows_end(float *y, size_t n, size_t width, const float *bias, bool relu)
{
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < width; j++) {
            const float v = bias != NULL ? 0.0f + bias[j] : 0.0f;
            y[i * width + j] = relu && v < 0.0f ? 0.0f : v;
        }
    }
}

void rcd__rows_rest(struct rcd_call *c, size_t r, const struct rcd__row_end *end, size_t from,
                    const struct rcd_tensor *out)
{
    const struct rcd_tensor *bias = rcd__in(c, RCD__EDGES_BIAS, r);
    const size_t width = rcd__span(out->dims, 1, out->rank), rows = (size_t)out->dims[0];
    if (from < rows)
        rcd__rows_end((float *)out->data + from * width, rows - from, width,
                      bias != NULL ? bias->data : NULL, end->relu);
}

/* A copy of what the sums start from. */
static rcd_status copy_start(struct rcd_call *c, size_t r, const struct rcd_tensor *start,
                             struct rcd_tensor **ret)
{
    rcd_status st = rcd__new_out(c, 0, r, RCD_F32, start->rank, start->dims, ret);
    if (st == RCD_OK && *ret != NULL)
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

void rcd__spmm_rows(const struct rcd_kernels *kern, struct rcd__team *team,
                    const struct rcd_spmm *s, size_t chunk)
{
    struct some_rows some = {kern, s};
    rcd__team_run(team, s->row_end, chunk, sum_some, &some);
}

enum { PARALLEL_ROWS = 512 };

static rcd_status take_factors(struct rcd_call *c, size_t r, const struct rcd__edges *e,
                               size_t width, struct rcd_spmm *s)
{
    const struct rcd_tensor *w = rcd__in(c, RCD__SPMM_W, r);
    const struct rcd_tensor *sorted = e->again ? NULL : rcd__in(c, RCD__SPMM_SORTED, r);
    if (w == NULL)
        return RCD_OK;
    s->w = sorted != NULL ? sorted->data : w->data;
    s->edge = sorted != NULL ? NULL : e->edge;
    s->groups = e->n > 0 ? w->n / e->n : 1;
    if (s->groups == 0 || w->n != e->n * s->groups || width % s->groups != 0)
        return rcd__fail(c, r, RCD_EINVAL, "%zu factors for %zu edges of %zu elements", w->n, e->n,
                         width);
    s->chan = width / s->groups;
    return RCD_OK;
}

/* Where the sums go, and their sizes; with joined nodes they go nowhere. */
static rcd_status spmm_out(struct rcd_call *c, size_t r, bool joined, struct rcd_tensor *ret)
{
    const struct rcd__spmm_state *state = c->node->state;
    const struct rcd_tensor *start = rcd__in(c, RCD__SPMM_START, r);
    struct rcd_tensor *out = NULL;
    *ret = (struct rcd_tensor){.dtype = RCD_NONE};
    if (joined) {
        rcd_status st = rows_dims(c, r, &state->end, ret->dims, &ret->rank);
        ret->dtype = RCD_F32;
        return st == RCD_OK && (ret->rank != 2 || ret->dims[0] < 0 || ret->dims[1] < 0)
                   ? rcd__fail(c, r, RCD_EINVAL, "rank %d, want 2", ret->rank)
                   : st;
    }
    rcd_status st =
        start != NULL ? copy_start(c, r, start, &out) : rcd__rows_new(c, r, &state->end, &out);
    if (st == RCD_OK && out != NULL)
        *ret = *out;
    return st;
}

static rcd_status run_spmm(struct rcd_call *c, size_t r)
{
    const struct rcd__spmm_state *state = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, RCD__EDGES_X, r),
                            *bias = rcd__in(c, RCD__EDGES_BIAS, r);
    const size_t n_joined = rcd__joined(c);
    struct rcd_tensor out;
    rcd_status st = spmm_out(c, r, n_joined > 0, &out);
    if (st != RCD_OK || out.dtype == RCD_NONE)
        return st;
    size_t width = rcd__span(out.dims, 1, out.rank);
    if ((!state->end.flat && x->rank != out.rank) || x->rank < 1 ||
        rcd__span(x->dims, 1, x->rank) != width)
        return rcd__fail(c, r, RCD_EINVAL, "rows of %zu elements are added to rows of %zu",
                         x->rank < 1 ? 1 : rcd__span(x->dims, 1, x->rank), width);
    struct rcd__edges e;
    st = rcd__take_edges(c, r, out.dims[0], x->dims[0], &e);
    if (st != RCD_OK)
        return st;
    struct rcd_spmm s = {.x = x->data,
                         .x_rows = (size_t)x->dims[0],
                         .row_end = e.rows,
                         .ptr = e.ptr,
                         .col = e.col,
                         .n_edges = e.n,
                         .y = out.data,
                         .how = state->how,
                         .bias = bias != NULL ? bias->data : NULL,
                         .relu = state->end.relu,
                         .groups = 1,
                         .chan = width,
                         .accumulate = rcd__in(c, RCD__SPMM_START, r) != NULL};
    if (c->run->squeezed != NULL && x->block == c->run->squeezed) {
        s.squeezed = width + RCD_SQUEEZED_MORE;
        c->run->squeezed = NULL; /* nobody else reads it */
    }
    st = take_factors(c, r, &e, width, &s);
    if (st != RCD_OK)
        return st;
    if (n_joined > 0)
        return rcd__chain_run(c, r, (size_t)out.dims[0], &s, n_joined);
    if (!s.accumulate)
        rcd__rows_rest(c, r, &state->end, e.rows, &out);
    if (width > 0 && !rcd__degrees(c, &s))
        rcd__spmm_rows(c->kern, c->x->team, &s, PARALLEL_ROWS);
    return RCD_OK;
}

const struct rcd_op rcd__op_spmm = {
    .name = "Spmm", .domain = "recurd.fused", .check = rcd__check_fused, .run = run_spmm};
