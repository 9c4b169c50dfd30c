/* attend.c - attention over the edges of a graph (GAT and its kin): scores, softmax over the edges of a
 * row, weighted sum, one block of rows after the other. A block is rows with some hundred edges
 * together, or one row with more; its scores stay in cache, and only a row's own edges are ever looked
 * at together, so any subset of rows can be done, by any thread. */
#include "../team.h"
#include "sparse.h"

#include <string.h>

enum { BLOCK_EDGES = 512, STRETCH = 64, PARALLEL_ROWS = 256 };

struct attend {
    struct rcd__attend_work w;
    size_t per_thread; /* floats */
    float *scratch;
    unsigned taken; /* atomic: parts of scratch */
};

/* Scores of the edges of rows [from, to), as f32[edges][groups]. */
static void score(const struct attend *a, size_t from, size_t to, float *scores, float *steps)
{
    const int32_t *ptr = a->w.e->ptr;
    const size_t groups = a->w.state->program.width;
    int32_t dst[STRETCH];
    size_t row = from;
    for (size_t e = (size_t)ptr[from], n = 0; e < (size_t)ptr[to]; e += n) {
        n = (size_t)ptr[to] - e < STRETCH ? (size_t)ptr[to] - e : STRETCH;
        for (size_t t = 0; t < n; t++) {
            while ((size_t)ptr[row + 1] <= e + t)
                row++;
            dst[t] = a->w.ids != NULL ? a->w.ids[row] : (int32_t)row;
        }
        const float *got =
            rcd__edge_program_run(a->w.kern, &a->w.state->program, &a->w.in, e, n, dst, steps);
        memcpy(scores + (e - (size_t)ptr[from]) * groups, got, n * groups * sizeof *got);
    }
    const struct rcd_edge_softmax soft = {.rows = to - from,
                                          .groups = groups,
                                          .ptr = ptr + from,
                                          .a = scores,
                                          .y = scores,
                                          .sums = scores + a->w.block_edges * groups,
                                          .floor = a->w.state->floor,
                                          .eps = a->w.state->eps,
                                          .raw = a->w.state->raw};
    a->w.kern->edge_softmax(&soft);
}

static void attend_some(void *ctx, size_t from, size_t to)
{
    struct attend *a = ctx;
    const unsigned place = rcd__place_take(&a->taken);
    float *scores = a->scratch + place * a->per_thread;
    float *steps = scores + 2 * a->w.block_edges * a->w.state->program.width; /* behind the sums */
    const int32_t *ptr = a->w.e->ptr;
    for (size_t row = from, end = 0; row < to; row = end) {
        end = row + 1;
        while (end < to && (size_t)(ptr[end + 1] - ptr[row]) <= BLOCK_EDGES)
            end++;
        score(a, row, end, scores, steps);
        struct rcd_spmm part = a->w.sum;
        part.row_begin = row;
        part.row_end = end;
        part.w = scores;
        part.w_first = (size_t)ptr[row];
        a->w.kern->spmm(&part);
    }
    rcd__place_give(&a->taken, place);
}

/* What the program reads, checked against what it will be read by. */
struct leaves {
    struct rcd_call *c;
    size_t r;
    int64_t rows, x_rows;
    struct rcd__attend_work *w;
};

static bool take_leaf(void *ctx, const struct rcd__edge_step *step, const struct rcd__edge_arg *arg)
{
    const struct leaves *l = ctx;
    const struct rcd__edge_program *p = &l->w->state->program;
    const struct rcd_tensor *t = rcd__in(l->c, RCD__ATTEND_LEAVES + arg->i, l->r);
    const bool uniform = arg->from == RCD__FROM_UNIFORM;
    const int64_t n = arg->from == RCD__FROM_SRC   ? l->x_rows
                      : arg->from == RCD__FROM_DST ? l->rows
                                                   : (int64_t)l->w->e->n;
    const size_t want = arg->single                 ? 1
                        : step == NULL              ? p->width
                        : step->op == RCD_EDGE_SUMS ? step->width * step->inner
                                                    : step->width;
    const size_t width = uniform ? t->n : t->rank < 1 ? 0 : rcd__span(t->dims, 1, t->rank);
    if (width != want || (!uniform && t->dims[0] != n)) {
        rcd__fail(l->c, l->r, RCD_EINVAL, "%zu values per edge, want %zu", width, want);
        return false;
    }
    l->w->in.leaves[arg->i] = t->data;
    l->w->in.strides[arg->i] = width;
    return true;
}

/* For one thread. */
static size_t floats(const struct rcd__attend_work *w)
{
    return 2 * w->block_edges * w->state->program.width +
           rcd__edge_program_floats(&w->state->program, STRETCH) + RCD_LANES;
}

size_t rcd__attend_floats(struct rcd__attend_work *w, const struct rcd__team *team)
{
    w->block_edges = BLOCK_EDGES;
    for (size_t i = 0; i < w->e->rows; i++) {
        size_t n = (size_t)(w->e->ptr[i + 1] - w->e->ptr[i]);
        w->block_edges = n > w->block_edges ? n : w->block_edges;
    }
    return rcd__places(team) * floats(w);
}

void rcd__attend_rows(const struct rcd__attend_work *w, struct rcd__team *team, float *scratch)
{
    struct attend a = {.w = *w, .per_thread = floats(w), .scratch = scratch};
    a.w.sum.ptr = w->e->ptr;
    a.w.sum.col = a.w.in.col = w->e->col;
    a.w.in.edge = w->e->edge;
    a.w.sum.n_edges = w->e->n;
    rcd__team_run(team, w->e->rows, PARALLEL_ROWS, attend_some, &a);
}

static rcd_status run_attend(struct rcd_call *c, size_t r)
{
    const struct rcd__attend_state *state = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, RCD__EDGES_X, r),
                            *bias = rcd__in(c, RCD__EDGES_BIAS, r);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__rows_new(c, r, &state->end, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    const size_t width = rcd__span(out->dims, 1, out->rank), groups = state->program.width;
    if (x->rank < 1 || rcd__span(x->dims, 1, x->rank) != width || width % groups != 0)
        return rcd__fail(c, r, RCD_EINVAL, "rows of %zu elements are added to rows of %zu",
                         x->rank < 1 ? 1 : rcd__span(x->dims, 1, x->rank), width);
    struct rcd__edges e;
    st = rcd__take_edges(c, r, out->dims[0], x->dims[0], &e);
    if (st != RCD_OK)
        return st;
    struct rcd__attend_work a = {.kern = c->kern,
                                 .state = state,
                                 .e = &e,
                                 .sum = {.x = x->data,
                                         .x_rows = (size_t)x->dims[0],
                                         .groups = groups,
                                         .chan = width / groups,
                                         .y = out->data,
                                         .bias = bias != NULL ? bias->data : NULL,
                                         .relu = state->end.relu}};
    struct leaves leaves = {c, r, out->dims[0], x->dims[0], &a};
    if (!rcd__edge_leaves(&state->program, take_leaf, &leaves))
        return RCD_EINVAL; /* said */
    rcd__rows_rest(c, r, &state->end, e.rows, out);
    float *scratch = rcd__scratch(c, r, rcd__attend_floats(&a, c->x->team) * sizeof *scratch);
    if (scratch == NULL)
        return RCD_ENOMEM;
    if (width > 0)
        rcd__attend_rows(&a, c->x->team, scratch);
    return RCD_OK;
}

const struct rcd_op rcd__op_attend = {
    .name = "Attend", .domain = "recurd.fused", .check = rcd__check_fused, .run = run_attend};
