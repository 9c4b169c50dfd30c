/* recurrent_walk.c - lanes through time, in lockstep.
 *
 * Lanes are sorted by length, longest first, so the active ones are always a prefix; a finished one drops out.
 * Time is walked in chunks: the input projection of a chunk is one product over all its rows, then the steps run
 * one after another. A step reads the hidden state where the step before wrote it, which is in Y itself when Y
 * is wanted. Chunk and batch never show in the result: every chain is input first, then recurrence, whatever the
 * grouping.
 *
 * Several threads share the units: each multiplies its own part of both matrices, which then stays in its
 * caches, and they meet after each step, when the new hidden state is whole. */
#include "recurrent_walk.h"
#include "../team.h"

#include <stdlib.h>
#include <string.h>

enum {
    CHUNK_ROWS = 128,     /* rows of one projection */
    CHUNK_ROWS_NEAR = 64, /* where both matrices stay in the second level: beside them, */
    NEAR_BYTES = 1 << 19, /* if they are not larger than this */
    CHUNK_ROWS_FAR = 256, /* where they come from memory, */
    FAR_BYTES = 1 << 24,  /* beyond this */
    /* A step of many lanes takes its inputs itself, as chains through both matrices: nothing is written and read
     * in between. Then both are read again at each step, which so many lanes must make up for. */
    WHOLE_LANES_NEAR = 12,
    WHOLE_LANES = 24,
    WHOLE_BYTES = 5 << 19,
    MAX_PARTS = 64,
    WORTH_SHARING_NS = 50 * 1000, /* of work: waking takes some microseconds, */
    WORTH_MEETING_NS = 5 * 1000   /* and so may meeting, at each step */
};

/* What one thread needs for itself; arrays with room for all lanes, or all rows of a chunk. */
struct part {
    const float **x_rows;
    float **pre_rows;
    const float **h_in;
    float **h_out, **c;
};

struct walk {
    const struct rcd_layer *l;
    const struct rcd_cell_weights *w;
    bool backward;
    int dir;
    size_t chunk, steps; /* of time */
    size_t whole_lanes;  /* from so many lanes on steps take the inputs themselves; 0: never */
    size_t row_floats;   /* of a projection row */
    float *pre, *tmp;
    void *scratch; /* of products */
    float **tmp_rows, **aux[2];
    unsigned n_parts;
    double ns;                     /* estimated for one thread */
    struct rcd__choice_of *choice; /* where sharing may win; else NULL */
    struct part *parts;
    struct rcd__meeting meeting;
};

void *rcd__lane_take(const struct rcd_call *c, size_t count, size_t bytes)
{
    size_t total = 0;
    return rcd_mul(count, bytes, &total) ? rcd__scratch_try(c, total) : NULL;
}

static size_t active_at(const struct rcd_layer *l, size_t n, size_t step)
{
    while (n > 0 && l->lanes[n - 1].len <= step)
        n--;
    return n;
}

/* Where step t of a lane leaves the hidden state. */
static float *state_after(const struct walk *w, const struct rcd_lane *ln, size_t t)
{
    return ln->y != NULL ? ln->y + (w->backward ? ln->len - 1 - t : t) * ln->y_step
                         : ln->h_buf[t & 1];
}

static const float *input_of(const struct walk *w, const struct rcd_lane *ln, size_t t)
{
    return ln->x + (w->backward ? ln->len - 1 - t : t) * ln->x_step;
}

/* Units [from, to) of a part; sixteens, as equal as can be. */
static size_t unit_bound(const struct walk *w, size_t part)
{
    return w->l->spec->padded / RCD_LANES * part / w->n_parts * RCD_LANES;
}

/* One product for the inputs of steps [from, to). */
static void project(const struct walk *w, size_t part, size_t n, size_t from, size_t to)
{
    const struct part *p = &w->parts[part];
    size_t rows = 0;
    for (size_t t = from; t < to; t++) {
        n = active_at(w->l, n, t);
        for (size_t i = 0; i < n; i++, rows++) {
            const struct rcd_lane *ln = &w->l->lanes[i];
            p->x_rows[rows] = input_of(w, ln, t);
            p->pre_rows[rows] = w->pre + rows * w->row_floats;
        }
    }
    struct rcd_gemm g = {.rows = rows,
                         .a = p->x_rows,
                         .c = p->pre_rows,
                         .b = &w->w->w,
                         .bias = w->w->bias,
                         .c_padded = true,
                         .scratch = w->scratch};
    if (w->n_parts > 1) {
        g.col_from = w->l->spec->gates * unit_bound(w, part);
        g.col_to = w->l->spec->gates * unit_bound(w, part + 1);
    }
    rcd_gemm_any(w->l->call->kern, &g);
}

/* pre NULL: of the inputs themselves. */
static void one_step(const struct walk *w, size_t part, size_t n, size_t t, float *const *pre)
{
    const struct part *p = &w->parts[part];
    for (size_t i = 0; i < n; i++) {
        const struct rcd_lane *ln = &w->l->lanes[i];
        p->x_rows[i] = input_of(w, ln, t);
        p->h_in[i] = t == 0 ? ln->h : state_after(w, ln, t - 1);
        p->h_out[i] = state_after(w, ln, t);
        p->c[i] = ln->c;
    }
    struct rcd_cell_step step = {.call = w->l->call,
                                 .spec = w->l->spec,
                                 .w = w->w,
                                 .dir = w->dir,
                                 .n = n,
                                 .pre = pre,
                                 .x = pre == NULL ? p->x_rows : NULL,
                                 .h_in = p->h_in,
                                 .h_out = p->h_out,
                                 .c = p->c,
                                 .tmp = w->tmp_rows,
                                 .aux = {w->aux[0], w->aux[1]},
                                 .scratch = w->scratch};
    if (w->n_parts > 1) {
        step.unit_from = unit_bound(w, part);
        step.unit_to = unit_bound(w, part + 1);
    }
    w->l->spec->step(&step);
}

/* All steps, units of one part; several threads at the same time. */
static void walk_part(void *ctx, size_t part, size_t end)
{
    (void)end;
    struct walk *w = ctx;
    size_t n = w->l->n_lanes;
    if (part >= w->n_parts)
        return;
    for (size_t from = 0, to = 0; from < w->steps; from = to) {
        n = active_at(w->l, n, from);
        const bool whole = w->whole_lanes != 0 && n >= w->whole_lanes;
        to = whole ? from + 1 : from + w->chunk < w->steps ? from + w->chunk : w->steps;
        if (!whole)
            project(w, part, n, from, to);
        float *const *pre = whole ? NULL : w->parts[part].pre_rows;
        size_t active = n;
        for (size_t t = from; t < to; t++) {
            active = active_at(w->l, active, t);
            one_step(w, part, active, t, pre);
            pre = whole ? NULL : pre + active;
            if (w->n_parts > 1)
                rcd__meet(&w->meeting, w->n_parts);
        }
    }
}

/* Rows past the end are zero, final states are those after the last valid step; an empty sequence has zero
 * states (as ONNX Runtime has it). */
static void finish_lane(const struct walk *w, const struct rcd_lane *ln)
{
    size_t bytes = w->l->spec->hidden * sizeof(float);
    for (size_t t = ln->len; ln->y != NULL && t < ln->steps; t++)
        memset(ln->y + t * ln->y_step, 0, bytes);
    if (ln->yh != NULL)
        memcpy(ln->yh, ln->len > 0 ? state_after(w, ln, ln->len - 1) : w->l->zeros, bytes);
    if (ln->yc != NULL && ln->len == 0)
        memset(ln->yc, 0, bytes);
}

static int longer_first(const void *a, const void *b)
{
    size_t x = ((const struct rcd_lane *)a)->len, y = ((const struct rcd_lane *)b)->len;
    return (x < y) - (x > y);
}

/* Mostly they are in order already, and qsort may take memory. */
static void sort_lanes(const struct rcd_layer *l)
{
    size_t i = 1;
    while (i < l->n_lanes && l->lanes[i].len <= l->lanes[i - 1].len)
        i++;
    if (i < l->n_lanes)
        qsort(l->lanes, l->n_lanes, sizeof *l->lanes, longer_first);
}

/* How many threads share the walk: all, or one where that is not worth the meetings, or has not been so far. */
static unsigned parts_for(struct walk *w)
{
    const struct rcd_cell_spec *s = w->l->spec;
    const unsigned all = rcd__team_size(w->l->call->x->team);
    if (all == 1 || all > MAX_PARTS || s->splits == NULL || !s->splits(s, w->w) ||
        s->padded < 2 * RCD_LANES * all)
        return 1;
    double rows = 0.0, per_step = (double)w->w->r.k * (double)w->w->r.padded;
    for (size_t i = 0; i < w->l->n_lanes; i++)
        rows += (double)w->l->lanes[i].len;
    double flops = 2.0 * rows * (per_step + (double)w->w->w.k * (double)w->w->w.padded);
    double bytes = 4.0 * per_step * (double)w->steps,
           rate = 4.0 * per_step > NEAR_BYTES ? 20.0 : 80.0;
    w->ns = flops / 100.0 + bytes / rate; /* at some 100 GFLOP/s, and GB/s */
    if (w->ns <= WORTH_SHARING_NS + WORTH_MEETING_NS * (double)w->steps)
        return 1;
    w->choice = rcd__choice_for(rcd__team_choice(w->l->call->x->team), w->ns / (double)w->steps,
                                4.0 * per_step);
    return rcd__choose(w->choice) ? all : 1;
}

static size_t scratch_bytes(const struct rcd_cell_weights *w, size_t n, size_t rows)
{
    size_t input = rcd_gemm_scratch(&w->w, rows), state = rcd_gemm_scratch(&w->r, n);
    return input > state ? input : state; /* r2 has as many rows as r */
}

static bool part_memory(const struct rcd_call *c, struct part *p, size_t n, size_t rows)
{
    p->x_rows = rcd__lane_take(c, rows, sizeof *p->x_rows);
    p->pre_rows = rcd__lane_take(c, rows, sizeof *p->pre_rows);
    p->h_in = rcd__lane_take(c, n, sizeof *p->h_in);
    p->h_out = rcd__lane_take(c, n, sizeof *p->h_out);
    p->c = rcd__lane_take(c, n, sizeof *p->c);
    return p->x_rows != NULL && p->pre_rows != NULL && p->h_in != NULL && p->h_out != NULL &&
           p->c != NULL;
}

static bool walk_memory(struct walk *w, size_t n, size_t rows)
{
    const struct rcd_call *c = w->l->call;
    size_t tmp_floats = w->l->spec->tmp_floats;
    w->row_floats = w->w->w.padded;
    w->pre = rcd__lane_take(c, rows * w->row_floats, sizeof *w->pre);
    w->tmp = rcd__lane_take(c, n * tmp_floats, sizeof *w->tmp);
    w->tmp_rows = rcd__lane_take(c, n, sizeof *w->tmp_rows);
    w->aux[0] = rcd__lane_take(c, n, sizeof *w->aux[0]);
    w->aux[1] = rcd__lane_take(c, n, sizeof *w->aux[1]);
    w->scratch = rcd__lane_take(c, 1, scratch_bytes(w->w, n, rows));
    w->parts = rcd__lane_take(c, w->n_parts, sizeof *w->parts);
    for (size_t i = 0; w->tmp != NULL && w->tmp_rows != NULL && i < n; i++)
        w->tmp_rows[i] = w->tmp + i * tmp_floats;
    bool good = w->pre != NULL && w->tmp != NULL && w->tmp_rows != NULL && w->aux[0] != NULL &&
                w->aux[1] != NULL && w->scratch != NULL && w->parts != NULL;
    for (unsigned i = 0; good && i < w->n_parts; i++)
        good = part_memory(c, &w->parts[i], n, rows);
    return good;
}

bool rcd__walk_time(const struct rcd_layer *l, const struct rcd_cell_weights *weights, int dir)
{
    const size_t n = l->n_lanes;
    if (n == 0)
        return true;
    sort_lanes(l);
    struct walk w = {.l = l, .w = weights, .dir = dir, .steps = l->lanes[0].len};
    const size_t bytes = sizeof(float) * (weights->w.k + weights->r.k) * weights->w.padded;
    const size_t rows = bytes <= NEAR_BYTES  ? CHUNK_ROWS_NEAR
                        : bytes <= FAR_BYTES ? CHUNK_ROWS
                                             : CHUNK_ROWS_FAR;
    w.backward = dir == 1 || l->spec->reverse;
    w.chunk = n >= rows ? 1 : rows / n;
    if (w.chunk > w.steps)
        w.chunk = w.steps;
    if (l->spec->takes_inputs != NULL && l->spec->takes_inputs(l->spec, weights))
        w.whole_lanes = bytes <= NEAR_BYTES    ? WHOLE_LANES_NEAR
                        : bytes <= WHOLE_BYTES ? WHOLE_LANES
                                               : 0;
    w.n_parts = parts_for(&w);
    if (!walk_memory(&w, n, w.chunk * n))
        return false;
    const uint64_t begin = w.choice != NULL ? rcd_now_ns() : 0;
    if (w.n_parts > 1)
        rcd__team_together(l->call->x->team, walk_part, &w);
    else
        walk_part(&w, 0, 1);
    if (w.choice != NULL)
        rcd__choice_took(w.choice, w.n_parts > 1, (double)(rcd_now_ns() - begin) / w.ns);
    for (size_t i = 0; i < n; i++)
        finish_lane(&w, &l->lanes[i]);
    return true;
}
