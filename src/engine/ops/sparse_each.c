/* sparse_each.c - the same sparse product for each of several inputs: sums along an inner axis, over edges that are sorted
 * once. The chains are those of Spmm, so each input has the bits that it has alone. */
#include "sparse.h"

#include <string.h>

enum { PARALLEL_ROWS = 512 };

/* The result's sizes: those of x but along the axis. */
static rcd_status new_rows(struct rcd_call *c, size_t r, int axis, struct rcd_tensor **ret)
{
    const struct rcd_tensor *x = rcd__in(c, RCD__EDGES_X, r),
                            *shape = rcd__in(c, RCD__EDGES_SHAPE, r);
    int64_t dims[RCD_MAX_RANK];
    bool fits = shape->n == (size_t)x->rank && axis < x->rank;
    for (int d = 0; fits && d < x->rank; d++) {
        dims[d] = rcd__int_at(shape, (size_t)d);
        fits = d == axis ? dims[d] >= 0 : dims[d] == x->dims[d];
    }
    if (!fits) {
        char got[128];
        return rcd__fail(c, r, RCD_EINVAL,
                         "rows of %s along axis %d are added to those of another shape",
                         rcd_shape_text(got, sizeof got, x->rank, x->dims), axis);
    }
    return rcd__new_out(c, 0, r, RCD_F32, x->rank, dims, ret);
}

static rcd_status run_each(struct rcd_call *c, size_t r)
{
    const struct rcd__each_state *state = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, RCD__EDGES_X, r), *w = rcd__in(c, RCD__SPMM_W, r);
    const int axis = state->axis;
    struct rcd_tensor *out = NULL;
    rcd_status st = new_rows(c, r, axis, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    struct rcd__edges e;
    st = rcd__take_edges(c, r, out->dims[axis], x->dims[axis], &e);
    if (st != RCD_OK)
        return st;
    if (w != NULL && w->n != e.n)
        return rcd__fail(c, r, RCD_EINVAL, "%zu factors for %zu edges", w->n, e.n);
    const size_t width = rcd__span(x->dims, axis + 1, x->rank), n = rcd__span(x->dims, 0, axis);
    const size_t rows = (size_t)out->dims[axis], x_rows = (size_t)x->dims[axis];
    struct rcd_spmm s = {.x_rows = x_rows,
                         .row_end = e.rows,
                         .ptr = e.ptr,
                         .col = e.col,
                         .n_edges = e.n,
                         .how = state->sum.how,
                         .groups = 1,
                         .chan = width};
    if (w != NULL) {
        s.w = e.again ? w->data : rcd__in(c, RCD__SPMM_SORTED, r)->data;
        s.edge = e.again ? e.edge : NULL;
    }
    for (size_t i = 0; width > 0 && i < n; i++) {
        s.x = (const float *)x->data + i * x_rows * width;
        s.y = (float *)out->data + i * rows * width;
        rcd__rows_end(s.y + e.rows * width, rows - e.rows, width, NULL, false);
        if (!rcd__degrees(c, &s))
            rcd__spmm_rows(c->kern, c->x->team, &s, PARALLEL_ROWS);
    }
    return RCD_OK;
}

const struct rcd_op rcd__op_spmm_each = {
    .name = "SpmmEach", .domain = "recurd.fused", .check = rcd__check_fused, .run = run_each};
