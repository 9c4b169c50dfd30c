/* rnn.c - ONNX RNN (7, 14, 22): H' = f(W x + R h + Wb + Rb), the simple (Elman) cell. */
#include "recurrent.h"

#include <string.h>

enum { PANEL = 64 };

static bool bytes(const struct rcd_cell_spec *s, size_t input, size_t *ret)
{
    size_t w = 0, r = 0;
    return rcd_packed_bytes(input, s->hidden, &w) && rcd_packed_bytes(s->hidden, s->hidden, &r) &&
           rcd_add(w, r, ret) && rcd_add(*ret, s->padded * sizeof(float), ret);
}

static void pack(const struct rcd_cell_spec *s, struct rcd_cell_weights *w, float *mem,
                 const float *W, const float *R, const float *B, const float *P, size_t input)
{
    (void)P; /* LSTM's */
    size_t w_bytes = 0, r_bytes = 0, h = s->hidden;
    RCD_ASSERT(rcd_packed_bytes(input, h, &w_bytes) && rcd_packed_bytes(h, h, &r_bytes));
    w->w.data = mem;
    w->r.data = mem + w_bytes / sizeof *mem;
    w->bias = w->r.data + r_bytes / sizeof *mem;
    w->peep = NULL;
    rcd_pack(&w->w, W, 1, input, input, h, PANEL);
    rcd_pack(&w->r, R, 1, h, h, h, PANEL);
    memset(w->bias, 0, s->padded * sizeof *mem);
    for (size_t u = 0; B != NULL && u < h; u++)
        w->bias[u] = B[u] + B[h + u];
}

static void step(const struct rcd_cell_step *s)
{
    const struct rcd_act *act = &s->spec->act[s->dir][0];
    const struct rcd_kernels *k = s->call->kern;
    if (!s->spec->has_clip && s->w->r.weights == RCD_WEIGHTS_F32) {
        struct rcd_rnn_step fused = {.rows = s->n,
                                     .hidden = s->spec->hidden,
                                     .pre = (const float *const *)s->pre,
                                     .h_in = s->h_in,
                                     .h_out = s->h_out,
                                     .r = &s->w->r,
                                     .act = act->f,
                                     .alpha = act->alpha,
                                     .beta = act->beta};
        k->rnn_step(&fused);
        return;
    }
    rcd__cell_product(s, s->h_in, s->pre, &s->w->r, NULL);
    for (size_t r = 0; r < s->n; r++) {
        rcd__clip_apply(s, s->spec->hidden, s->pre[r]);
        k->unary(act->f, s->spec->hidden, s->pre[r], s->h_out[r], act->alpha, act->beta);
    }
}

static rcd_status check(struct rcd_check *k)
{
    static const char *const default_acts[] = {"Tanh"};
    struct rcd_cell_spec *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    s->gates = 1;
    s->n_acts = 1;
    s->plain = true;
    s->bytes = bytes;
    s->pack = pack;
    s->step = step;
    rcd_status st = rcd__cell_check(k, s, default_acts);
    return st == RCD_OK ? rcd__cell_pack(k, s) : st;
}

static const struct rcd_op ops[] = {
    {.name = "RNN", .since = 7, .check = check, .run_all = rcd__cell_run}};
RCD_OP_LIST(rnn, ops);
