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
    unsigned taken;         /* atomic: parts of scratch */
    int32_t place[STRETCH]; /* 0, 1, 2, ... */
};

/* The rows of edges [e, e + n), from *row on, as a program calls them. */
static void rows_of(const struct attend *a, size_t e, size_t n, size_t *row, int32_t *dst)
{
    const int32_t *ptr = a->w.e->ptr;
    for (size_t t = 0; t < n; t++) {
        while ((size_t)ptr[*row + 1] <= e + t)
            (*row)++;
        dst[t] = a->w.ids != NULL ? a->w.ids[*row] : (int32_t)*row;
    }
}

/* Scores of the edges of rows [from, to), as f32[edges][groups]. */
static void score(const struct attend *a, size_t from, size_t to, float *scores, float *steps)
{
    const int32_t *ptr = a->w.e->ptr;
    const size_t groups = a->w.state->program.width;
    int32_t dst[STRETCH];
    size_t row = from;
    for (size_t e = (size_t)ptr[from], n = 0; e < (size_t)ptr[to]; e += n) {
        n = (size_t)ptr[to] - e < STRETCH ? (size_t)ptr[to] - e : STRETCH;
        rows_of(a, e, n, &row, dst);
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

/* What follows the sums of rows that are made edge by edge. */
static void end_rows(const struct rcd_spmm *s, size_t from, size_t to, size_t width)
{
    for (size_t i = from; i < to && (s->bias != NULL || s->relu); i++) {
        float *y = s->y + i * width;
        for (size_t j = 0; j < width; j++) {
            const float v = s->bias != NULL ? y[j] + s->bias[j] : y[j];
            y[j] = s->relu && v < 0.0f ? 0.0f : v;
        }
    }
}

/* The sums of rows [from, to) whose summands are made edge by edge, a stretch at a time: the part of a row in a stretch
 * continues its chain. */
static void sum_made(const struct attend *a, size_t from, size_t to, const float *scores,
                     float *steps)
{
    const struct rcd__edge_program *p = &a->w.state->values;
    const int32_t *ptr = a->w.e->ptr;
    const size_t width = p->width, groups = a->w.state->program.width;
    const size_t first = (size_t)ptr[from], last = (size_t)ptr[to];
    int32_t dst[STRETCH], ends[2] = {0, 0};
    size_t row = from, named = from;
    struct rcd_spmm part = a->w.sum;
    part.bias = NULL;
    part.relu = false;
    part.accumulate = true;
    part.ptr = ends;
    part.col = a->place;
    part.row_end = 1;
    memset(a->w.sum.y + from * width, 0, (to - from) * width * sizeof *part.y);
    for (size_t e = first, n = 0; e < last; e += n) {
        n = last - e < STRETCH ? last - e : STRETCH;
        rows_of(a, e, n, &named, dst);
        const float *made = rcd__edge_program_run(a->w.kern, p, &a->w.in, e, n, dst, steps);
        for (size_t t = 0, k = 0; t < n; t += k) {
            while ((size_t)ptr[row + 1] <= e + t)
                row++;
            k = (size_t)ptr[row + 1] - (e + t);
            k = k < n - t ? k : n - t;
            ends[1] = (int32_t)k;
            part.x = made + t * width;
            part.x_rows = part.n_edges = k;
            part.w = scores + (e + t - first) * groups;
            part.y = a->w.sum.y + row * width;
            a->w.kern->spmm(&part);
        }
    }
    end_rows(&a->w.sum, from, to, width);
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
        if (a->w.state->values.width > 0) {
            sum_made(a, row, end, scores, steps);
            continue;
        }
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
    const struct rcd__edge_program *p;
};

static bool take_leaf(void *ctx, const struct rcd__edge_step *step, const struct rcd__edge_arg *arg)
{
    const struct leaves *l = ctx;
    const struct rcd__edge_program *p = l->p;
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
    const size_t scores = rcd__edge_program_floats(&w->state->program, STRETCH);
    const size_t rows = rcd__edge_program_floats(&w->state->values, STRETCH);
    return 2 * w->block_edges * w->state->program.width + (scores > rows ? scores : rows) +
           RCD_LANES;
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
    for (int32_t t = 0; t < STRETCH; t++)
        a.place[t] = t;
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
    const size_t made = state->values.width;
    if (x->rank < 1 || (made > 0 ? made : rcd__span(x->dims, 1, x->rank)) != width ||
        width % groups != 0)
        return rcd__fail(c, r, RCD_EINVAL, "rows of %zu elements are added to rows of %zu",
                         made > 0      ? made
                         : x->rank < 1 ? 1
                                       : rcd__span(x->dims, 1, x->rank),
                         width);
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
    struct leaves scores = {c, r, out->dims[0], x->dims[0], &a, &state->program};
    struct leaves values = {c, r, out->dims[0], x->dims[0], &a, &state->values};
    if (!rcd__edge_leaves(scores.p, take_leaf, &scores) ||
        (made > 0 && !rcd__edge_leaves(values.p, take_leaf, &values)))
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
