/* recurrent_run.c - sequences of all requests through one recurrent layer, in lockstep.
 *
 * A lane is one sequence in one direction. Lanes are sorted by length, longest first, so the active ones
 * are always a prefix; a finished one drops out. Time is walked in chunks: the input projection of a
 * chunk is one product over all its rows, then the steps run one after another. A step reads the hidden
 * state where the step before wrote it, which is in Y itself when Y is wanted. Chunk and batch never
 * show in the result: every chain is input first, then recurrence, whatever the grouping. */
#include "recurrent.h"

#include <stdlib.h>
#include <string.h>

enum { CHUNK_ROWS = 256 }; /* rows of one projection: with 4 x 256 gates some 1 MiB, about one L2 */

struct lane {
    const float *x;    /* row of time 0 */
    size_t x_step;     /* floats between time steps */
    size_t len, steps; /* valid steps; steps of the tensor */
    float *y;          /* NULL when Y is not wanted */
    size_t y_step;
    const float *h;  /* current hidden state */
    float *h_buf[2]; /* where it goes when there is no Y */
    float *c;
    float *yh, *yc; /* final states; yh NULL when not wanted */
};

struct layer {
    struct rcd_call *call;
    const struct rcd_cell_spec *spec;
    struct lane *lanes;
    size_t n_lanes;
    float *zeros;
};

/* What one request brings; checked before lanes are made. */
struct seqs {
    const struct rcd_tensor *x, *lens, *h0, *c0;
    struct rcd_tensor *y, *yh, *yc;
    size_t steps, batch, input;
};

static rcd_status check_state(const struct rcd_call *c, size_t r, const struct rcd_cell_spec *s,
                              const char *name, const struct rcd_tensor *t, size_t batch)
{
    int64_t d = s->n_dirs, b = (int64_t)batch, h = (int64_t)s->hidden;
    if (t == NULL || (t->rank == 3 && t->dims[s->batch_first ? 1 : 0] == d &&
                      t->dims[s->batch_first ? 0 : 1] == b && t->dims[2] == h))
        return RCD_OK;
    char text[128];
    return rcd__fail(c, r, RCD_EINVAL, "%s has shape %s, want %s%lld, %lld, %lld]", name,
                     rcd_shape_text(text, sizeof text, t->rank, t->dims), "[",
                     (long long)(s->batch_first ? b : d), (long long)(s->batch_first ? d : b),
                     (long long)h);
}

static rcd_status check_request(const struct rcd_call *c, size_t r, const struct rcd_cell_spec *s,
                                size_t input, struct seqs *q)
{
    q->x = rcd__in(c, IN_X, r);
    q->lens = rcd__in(c, IN_LENS, r);
    q->h0 = rcd__in(c, IN_H, r);
    q->c0 = s->has_c ? rcd__in(c, IN_C, r) : NULL;
    char text[128];
    if (q->x->rank != 3 || (size_t)q->x->dims[2] != input)
        return rcd__fail(c, r, RCD_EINVAL, "X has shape %s, want 3 dims, the last of %zu features",
                         rcd_shape_text(text, sizeof text, q->x->rank, q->x->dims), input);
    q->steps = (size_t)q->x->dims[s->batch_first ? 1 : 0];
    q->batch = (size_t)q->x->dims[s->batch_first ? 0 : 1];
    q->input = input;
    rcd_status st = check_state(c, r, s, "initial_h", q->h0, q->batch);
    if (st == RCD_OK)
        st = check_state(c, r, s, "initial_c", q->c0, q->batch);
    if (st != RCD_OK || q->lens == NULL)
        return st;
    if (q->lens->rank != 1 || q->lens->n != q->batch)
        return rcd__fail(c, r, RCD_EINVAL, "sequence_lens has shape %s, want [%zu]",
                         rcd_shape_text(text, sizeof text, q->lens->rank, q->lens->dims), q->batch);
    for (size_t b = 0; b < q->batch; b++) {
        int64_t len = rcd__int_at(q->lens, b);
        if (len < 0 || (size_t)len > q->steps)
            return rcd__fail(c, r, RCD_EINVAL, "sequence_lens[%zu] is %lld, want 0 to %zu", b,
                             (long long)len, q->steps);
    }
    return RCD_OK;
}

static rcd_status make_outputs(const struct rcd_call *c, size_t r, const struct rcd_cell_spec *s,
                               struct seqs *q)
{
    int64_t d = s->n_dirs, h = (int64_t)s->hidden;
    int64_t steps = (int64_t)q->steps, batch = (int64_t)q->batch;
    int64_t y_tm[4] = {steps, d, batch, h}, y_bf[4] = {batch, steps, d, h};
    int64_t s_tm[3] = {d, batch, h}, s_bf[3] = {batch, d, h};
    rcd_status st = rcd__new_out(c, 0, r, RCD_F32, 4, s->batch_first ? y_bf : y_tm, &q->y);
    const int64_t *state = s->batch_first ? s_bf : s_tm;
    if (st == RCD_OK)
        st = rcd__new_out(c, 1, r, RCD_F32, 3, state, &q->yh);
    q->yc = NULL;
    if (st == RCD_OK && s->has_c)
        st = rcd__new_out(c, 2, r, RCD_F32, 3, state, &q->yc);
    return st;
}

/* Lanes of request r in direction d. */
static void add_lanes(struct layer *l, size_t r, const struct seqs *q, size_t d)
{
    const struct rcd_cell_spec *s = l->spec;
    size_t h = s->hidden, dirs = (size_t)s->n_dirs;
    float *buf = rcd__scratch(l->call, r, q->batch * 3 * s->padded * sizeof *buf);
    if (buf == NULL)
        return; /* this request has failed; the others go on */
    for (size_t b = 0; b < q->batch; b++) {
        struct lane *ln = &l->lanes[l->n_lanes++];
        float *own = buf + b * 3 * s->padded;
        size_t state_at = (s->batch_first ? b * dirs + d : d * q->batch + b) * h;
        const float *x = q->x->data;
        *ln = (struct lane){.steps = q->steps, .len = q->steps, .h_buf = {own, own + s->padded}};
        if (q->lens != NULL)
            ln->len = (size_t)rcd__int_at(q->lens, b);
        ln->x = x + (s->batch_first ? b * q->steps : b) * q->input;
        ln->x_step = (s->batch_first ? 1 : q->batch) * q->input;
        if (q->y != NULL) {
            ln->y = (float *)q->y->data +
                    (s->batch_first ? b * q->steps * dirs + d : d * q->batch + b) * h;
            ln->y_step = (s->batch_first ? 1 : q->batch) * dirs * h;
        }
        ln->h = q->h0 != NULL ? (const float *)q->h0->data + state_at : l->zeros;
        ln->yh = q->yh != NULL ? (float *)q->yh->data + state_at : NULL;
        ln->yc = q->yc != NULL ? (float *)q->yc->data + state_at : NULL;
        ln->c = ln->yc != NULL ? ln->yc : own + 2 * s->padded;
        if (s->has_c) {
            const float *c0 = q->c0 != NULL ? (const float *)q->c0->data + state_at : l->zeros;
            memcpy(ln->c, c0, h * sizeof *c0);
        }
    }
}

static int longer_first(const void *a, const void *b)
{
    size_t x = ((const struct lane *)a)->len, y = ((const struct lane *)b)->len;
    return (x < y) - (x > y);
}

/* Rows past the end are zero, final states are those after the last valid step; an empty sequence has
 * zero states (as ONNX Runtime has it). */
static void finish_lane(const struct rcd_cell_spec *s, const struct lane *ln, const float *zeros)
{
    size_t bytes = s->hidden * sizeof(float);
    for (size_t t = ln->len; ln->y != NULL && t < ln->steps; t++)
        memset(ln->y + t * ln->y_step, 0, bytes);
    if (ln->yh != NULL)
        memcpy(ln->yh, ln->len > 0 ? ln->h : zeros, bytes);
    if (ln->yc != NULL && ln->len == 0)
        memset(ln->yc, 0, bytes);
}

struct walk {
    const struct layer *l;
    const struct rcd_cell_weights *w;
    bool backward;
    int dir;
    size_t row_floats; /* of a projection row */
    float *pre, *tmp;
    void *scratch; /* of products */
    const float **x_rows;
    float **pre_rows, **tmp_rows, **aux[2];
    const float **h_in;
    float **h_out, **c;
};

static size_t active_at(const struct layer *l, size_t n, size_t step)
{
    while (n > 0 && l->lanes[n - 1].len <= step)
        n--;
    return n;
}

/* One product for the inputs of steps [from, to). */
static void project(const struct walk *w, size_t n, size_t from, size_t to)
{
    size_t rows = 0;
    for (size_t t = from; t < to; t++) {
        n = active_at(w->l, n, t);
        for (size_t i = 0; i < n; i++, rows++) {
            const struct lane *ln = &w->l->lanes[i];
            w->x_rows[rows] = ln->x + (w->backward ? ln->len - 1 - t : t) * ln->x_step;
            w->pre_rows[rows] = w->pre + rows * w->row_floats;
        }
    }
    struct rcd_gemm g = {.rows = rows,
                         .a = w->x_rows,
                         .c = w->pre_rows,
                         .b = &w->w->w,
                         .bias = w->w->bias,
                         .c_padded = true,
                         .scratch = w->scratch};
    rcd_gemm_any(w->l->call->kern, &g);
}

static void one_step(const struct walk *w, size_t n, size_t t, float *const *pre)
{
    for (size_t i = 0; i < n; i++) {
        struct lane *ln = &w->l->lanes[i];
        w->h_in[i] = ln->h;
        w->h_out[i] = ln->y != NULL ? ln->y + (w->backward ? ln->len - 1 - t : t) * ln->y_step
                                    : ln->h_buf[t & 1];
        w->c[i] = ln->c;
        ln->h = w->h_out[i];
    }
    struct rcd_cell_step step = {.call = w->l->call,
                                 .spec = w->l->spec,
                                 .w = w->w,
                                 .dir = w->dir,
                                 .n = n,
                                 .pre = pre,
                                 .h_in = w->h_in,
                                 .h_out = w->h_out,
                                 .c = w->c,
                                 .tmp = w->tmp_rows,
                                 .aux = {w->aux[0], w->aux[1]},
                                 .scratch = w->scratch};
    w->l->spec->step(&step);
}

static void *take(const struct rcd_call *c, size_t count, size_t bytes)
{
    size_t total = 0;
    return rcd_mul(count, bytes, &total) ? rcd__scratch_try(c, total) : NULL;
}

/* Nothing can run for want of memory: every request of the group that is still alive fails. */
static void fail_group(const struct rcd_call *c, size_t from, size_t to)
{
    for (size_t r = from; r < to; r++) {
        if (rcd__alive(c, r))
            rcd__fail(c, r, RCD_ENOMEM, "no scratch memory for a batch of %zu requests", to - from);
    }
}

/* Products of `rows` rows of inputs and of n states; one at a time. */
static size_t scratch_bytes(const struct rcd_cell_weights *w, size_t n, size_t rows)
{
    size_t input = rcd_gemm_scratch(&w->w, rows), state = rcd_gemm_scratch(&w->r, n);
    return input > state ? input : state; /* r2 has as many rows as r */
}

static bool walk_memory(struct walk *w, size_t n, size_t rows)
{
    const struct rcd_call *c = w->l->call;
    size_t tmp_floats = w->l->spec->tmp_floats;
    w->row_floats = w->w->w.padded;
    w->pre = take(c, rows * w->row_floats, sizeof *w->pre);
    w->x_rows = take(c, rows, sizeof *w->x_rows);
    w->pre_rows = take(c, rows, sizeof *w->pre_rows);
    w->h_in = take(c, n, sizeof *w->h_in);
    w->h_out = take(c, n, sizeof *w->h_out);
    w->c = take(c, n, sizeof *w->c);
    w->tmp = take(c, n * tmp_floats, sizeof *w->tmp);
    w->tmp_rows = take(c, n, sizeof *w->tmp_rows);
    w->aux[0] = take(c, n, sizeof *w->aux[0]);
    w->aux[1] = take(c, n, sizeof *w->aux[1]);
    w->scratch = take(c, 1, scratch_bytes(w->w, n, rows));
    for (size_t i = 0; w->tmp != NULL && w->tmp_rows != NULL && i < n; i++)
        w->tmp_rows[i] = w->tmp + i * tmp_floats;
    return w->pre != NULL && w->x_rows != NULL && w->pre_rows != NULL && w->h_in != NULL &&
           w->h_out != NULL && w->c != NULL && w->tmp != NULL && w->tmp_rows != NULL &&
           w->aux[0] != NULL && w->aux[1] != NULL && w->scratch != NULL;
}

static bool walk_time(const struct layer *l, const struct rcd_cell_weights *weights, int dir)
{
    size_t n = l->n_lanes;
    if (n == 0)
        return true;
    qsort(l->lanes, n, sizeof *l->lanes, longer_first);
    size_t steps = l->lanes[0].len;
    size_t chunk = n >= CHUNK_ROWS ? 1 : CHUNK_ROWS / n;
    if (chunk > steps)
        chunk = steps;
    struct walk w = {.l = l, .w = weights, .dir = dir};
    w.backward = dir == 1 || l->spec->reverse;
    if (!walk_memory(&w, n, chunk * n))
        return false;
    for (size_t from = 0; from < steps; from += chunk) {
        size_t to = from + chunk < steps ? from + chunk : steps;
        n = active_at(l, n, from);
        project(&w, n, from, to);
        float *const *pre = w.pre_rows;
        size_t active = n;
        for (size_t t = from; t < to; t++) {
            active = active_at(l, active, t);
            one_step(&w, active, t, pre);
            pre += active;
        }
    }
    for (size_t i = 0; i < l->n_lanes; i++)
        finish_lane(l->spec, &l->lanes[i], l->zeros);
    return true;
}

/* Requests [from, to) share weights: walk both directions over all their lanes. */
static void run_group(struct rcd_call *c, const struct rcd_cell_spec *s,
                      const struct rcd_cell_weights *weights, size_t input, size_t from, size_t to)
{
    struct seqs *q = take(c, to - from, sizeof *q);
    float *zeros = take(c, s->padded, sizeof *zeros);
    if (q == NULL || zeros == NULL) {
        fail_group(c, from, to);
        return;
    }
    memset(zeros, 0, s->padded * sizeof *zeros);
    size_t batch = 0;
    for (size_t r = from; r < to; r++) {
        if (check_request(c, r, s, input, &q[r - from]) == RCD_OK &&
            make_outputs(c, r, s, &q[r - from]) == RCD_OK)
            batch += q[r - from].batch;
    }
    struct layer l = {.call = c, .spec = s, .zeros = zeros};
    l.lanes = take(c, batch, sizeof *l.lanes);
    for (int d = 0; d < s->n_dirs; d++) {
        l.n_lanes = 0;
        size_t mark = c->x->scratch.used;
        for (size_t r = from; l.lanes != NULL && r < to; r++) {
            if (rcd__alive(c, r))
                add_lanes(&l, r, &q[r - from], (size_t)d);
        }
        if (l.lanes == NULL || !walk_time(&l, &weights[d], d)) {
            fail_group(c, from, to);
            return;
        }
        c->x->scratch.used = mark;
    }
}

/* Weights that only the run knows (made by other nodes): packed for this request alone. */
static void run_unpacked(struct rcd_call *c, const struct rcd_cell_spec *s, size_t r)
{
    const struct rcd_tensor *w = rcd__in(c, IN_W, r), *rr = rcd__in(c, IN_R, r);
    const struct rcd_tensor *b = rcd__in(c, IN_B, r);
    const struct rcd_tensor *p = s->has_c ? rcd__in(c, IN_P, r) : NULL;
    size_t dirs = (size_t)s->n_dirs, gh = s->gates * s->hidden, bytes = 0;
    if (w->rank != 3 || rr->rank != 3 || (size_t)w->dims[0] != dirs || (size_t)w->dims[1] != gh ||
        (size_t)rr->dims[0] != dirs || (size_t)rr->dims[1] != gh ||
        (size_t)rr->dims[2] != s->hidden || (b != NULL && b->n != dirs * 2 * gh) ||
        (p != NULL && p->n != dirs * 3 * s->hidden)) {
        char tw[128], tr[128];
        rcd__fail(c, r, RCD_EINVAL, "W %s and R %s do not fit %zu units",
                  rcd_shape_text(tw, sizeof tw, w->rank, w->dims),
                  rcd_shape_text(tr, sizeof tr, rr->rank, rr->dims), s->hidden);
        return;
    }
    size_t input = (size_t)w->dims[2];
    if (!s->bytes(s, input, &bytes)) {
        rcd__fail(c, r, RCD_EINVAL, "weights of %zu inputs are too large", input);
        return;
    }
    struct rcd_cell_weights weights[CELL_MAX_DIRS] = {{.bias = NULL}};
    for (size_t d = 0; d < dirs; d++) {
        float *mem = rcd__scratch(c, r, bytes);
        if (mem == NULL)
            return;
        s->pack(s, &weights[d], mem, (const float *)w->data + d * gh * input,
                (const float *)rr->data + d * gh * s->hidden,
                b != NULL ? (const float *)b->data + d * 2 * gh : NULL,
                p != NULL ? (const float *)p->data + d * 3 * s->hidden : NULL, input);
    }
    run_group(c, s, weights, input, r, r + 1);
}

void rcd__cell_run(struct rcd_call *c)
{
    const struct rcd_cell_spec *s = c->node->state;
    if (s->packed) {
        run_group(c, s, s->weights, s->input, 0, c->n);
        return;
    }
    size_t mark = c->x->scratch.used;
    for (size_t r = 0; r < c->n; r++) {
        run_unpacked(c, s, r);
        c->x->scratch.used = mark;
    }
}
