/* recurrent_run.c - sequences of all requests through one recurrent layer: requests become lanes.
 */
#include "recurrent_walk.h"

#include <string.h>

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
static void add_lanes(struct rcd_layer *l, size_t r, const struct seqs *q, size_t d)
{
    const struct rcd_cell_spec *s = l->spec;
    size_t h = s->hidden, dirs = (size_t)s->n_dirs;
    float *buf = rcd__scratch(l->call, r, q->batch * 3 * s->padded * sizeof *buf);
    if (buf == NULL)
        return; /* this request has failed; the others go on */
    for (size_t b = 0; b < q->batch; b++) {
        struct rcd_lane *ln = &l->lanes[l->n_lanes++];
        float *own = buf + b * 3 * s->padded;
        size_t state_at = (s->batch_first ? b * dirs + d : d * q->batch + b) * h;
        const float *x = q->x->data;
        *ln =
            (struct rcd_lane){.steps = q->steps, .len = q->steps, .h_buf = {own, own + s->padded}};
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

/* Nothing can run for want of memory: every request of the group that is still alive fails. */
static void fail_group(const struct rcd_call *c, size_t from, size_t to)
{
    for (size_t r = from; r < to; r++) {
        if (rcd__alive(c, r))
            rcd__fail(c, r, RCD_ENOMEM, "no scratch memory for a batch of %zu requests", to - from);
    }
}

/* Products of `rows` rows of inputs and of n states; one at a time. */
/* Requests [from, to) share weights: walk both directions over all their lanes. */
static void run_group(struct rcd_call *c, const struct rcd_cell_spec *s,
                      const struct rcd_cell_weights *weights, size_t input, size_t from, size_t to)
{
    struct seqs *q = rcd__lane_take(c, to - from, sizeof *q);
    float *zeros = rcd__lane_take(c, s->padded, sizeof *zeros);
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
    struct rcd_layer l = {.call = c, .spec = s, .zeros = zeros};
    l.lanes = rcd__lane_take(c, batch, sizeof *l.lanes);
    for (int d = 0; d < s->n_dirs; d++) {
        l.n_lanes = 0;
        size_t mark = c->x->scratch.used;
        for (size_t r = from; l.lanes != NULL && r < to; r++) {
            if (rcd__alive(c, r))
                add_lanes(&l, r, &q[r - from], (size_t)d);
        }
        if (l.lanes == NULL || !rcd__walk_time(&l, &weights[d], d)) {
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
