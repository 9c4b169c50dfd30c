/* lstm.c - ONNX LSTM (7, 14, 22; Hochreiter and Schmidhuber 1997): gates i o f c, peepholes i o f (the
 * output gate sees the new cell), clip on pre-activations, input_forget as f = 1 - i. */
#include "recurrent.h"

#include <math.h>
#include <string.h>

static const uint8_t gate_map[4] = {0, 1, 2, 3};

static bool bytes(const struct rcd_cell_spec *s, size_t input, size_t *ret)
{
    size_t w = 0, r = 0;
    size_t rest = (4 * s->padded + 3 * s->hidden + RCD_LANES) * sizeof(float);
    return rcd_packed_gates_bytes(4, s->hidden, input, &w) &&
           rcd_packed_gates_bytes(4, s->hidden, s->hidden, &r) && rcd_add(w, r, ret) &&
           rcd_add(*ret, rest, ret);
}

static void pack(const struct rcd_cell_spec *s, struct rcd_cell_weights *w, float *mem,
                 const float *W, const float *R, const float *B, const float *P, size_t input)
{
    size_t w_bytes = 0, r_bytes = 0, h = s->hidden;
    RCD_ASSERT(rcd_packed_gates_bytes(4, h, input, &w_bytes));
    RCD_ASSERT(rcd_packed_gates_bytes(4, h, h, &r_bytes));
    w->w.data = mem;
    w->r.data = mem + w_bytes / sizeof *mem;
    w->bias = w->r.data + r_bytes / sizeof *mem;
    rcd_pack_gates(&w->w, W, 4, gate_map, h, input);
    rcd_pack_gates(&w->r, R, 4, gate_map, h, h);
    if (B != NULL)
        rcd_pack_gate_bias(w->bias, B, B + 4 * h, 4, gate_map, h);
    else
        memset(w->bias, 0, 4 * s->padded * sizeof *mem);
    float *peep = w->bias + 4 * s->padded;
    if (P != NULL)
        memcpy(peep, P, 3 * h * sizeof *P);
    w->peep = P != NULL ? peep : NULL;
}

/* 16 units (fewer at the end) of one row; g holds the four gates' pre-activations, 16 each. */
static void general_group(const struct rcd_cell_step *s, float *g, size_t at, size_t n, float *c,
                          float *h_out)
{
    const struct rcd_act *act = s->spec->act[s->dir];
    const float *peep = s->w->peep;
    size_t hidden = s->spec->hidden;
    float *i = g, *o = g + RCD_LANES, *f = g + 2 * RCD_LANES, *z = g + 3 * RCD_LANES;
    for (size_t u = 0; peep != NULL && u < n; u++) {
        i[u] = fmaf(peep[at + u], c[at + u], i[u]);
        f[u] = fmaf(peep[2 * hidden + at + u], c[at + u], f[u]);
    }
    rcd__clip_apply(s, n, i);
    rcd__clip_apply(s, n, f);
    rcd__clip_apply(s, n, z);
    rcd__act_apply(s->call, &act[0], n, i);
    rcd__act_apply(s->call, &act[1], n, z);
    if (!s->spec->input_forget)
        rcd__act_apply(s->call, &act[0], n, f);
    for (size_t u = 0; u < n; u++) {
        float forget = s->spec->input_forget ? 1.0f - i[u] : f[u];
        c[at + u] = fmaf(forget, c[at + u], i[u] * z[u]);
        z[u] = c[at + u];
        if (peep != NULL)
            o[u] = fmaf(peep[hidden + at + u], c[at + u], o[u]);
    }
    rcd__clip_apply(s, n, o); /* after its peephole, which sees the new cell */
    rcd__act_apply(s->call, &act[0], n, o);
    rcd__act_apply(s->call, &act[2], n, z);
    for (size_t u = 0; u < n; u++)
        h_out[at + u] = o[u] * z[u];
}

/* The fused kernel does the step. */
static bool fused(const struct rcd_cell_spec *s, const struct rcd_cell_weights *w)
{
    return s->plain && w->peep == NULL && w->r.weights == RCD_WEIGHTS_F32;
}

static void step(const struct rcd_cell_step *s)
{
    const struct rcd_kernels *k = s->call->kern;
    const bool plain = s->spec->plain && s->w->peep == NULL;
    if (fused(s->spec, s->w)) {
        struct rcd_lstm_step one = {.rows = s->n,
                                    .hidden = s->spec->hidden,
                                    .pre = (const float *const *)s->pre,
                                    .h_in = s->h_in,
                                    .h_out = s->h_out,
                                    .c_in = (const float *const *)s->c,
                                    .c_out = s->c,
                                    .r = &s->w->r,
                                    .x = s->x,
                                    .w = &s->w->w,
                                    .bias = s->w->bias,
                                    .unit_from = s->unit_from,
                                    .unit_to = s->unit_to};
        k->lstm_step(&one);
        return;
    }
    rcd__cell_product(s, s->h_in, s->pre, &s->w->r, NULL);
    if (plain) {
        struct rcd_gates gates = {.rows = s->n,
                                  .hidden = s->spec->hidden,
                                  .pre = (const float *const *)s->pre,
                                  .h_out = s->h_out,
                                  .c = s->c};
        k->lstm_gates(&gates);
        return;
    }
    for (size_t r = 0; r < s->n; r++) {
        for (size_t at = 0; at < s->spec->hidden; at += RCD_LANES) {
            size_t n = s->spec->hidden - at < RCD_LANES ? s->spec->hidden - at : RCD_LANES;
            general_group(s, s->pre[r] + 4 * at, at, n, s->c[r], s->h_out[r]);
        }
    }
}

static rcd_status check(struct rcd_check *k)
{
    static const char *const default_acts[] = {"Sigmoid", "Tanh", "Tanh"};
    struct rcd_cell_spec *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    s->gates = 4;
    s->n_acts = 3;
    s->has_c = true;
    s->plain = true;
    s->bytes = bytes;
    s->pack = pack;
    s->step = step;
    s->splits = fused;
    s->takes_inputs = fused;
    int64_t input_forget = 0;
    rcd_status st = rcd__attr_int(k, "input_forget", 0, &input_forget);
    s->input_forget = input_forget != 0;
    if (s->input_forget)
        s->plain = false;
    if (st == RCD_OK)
        st = rcd__cell_check(k, s, default_acts);
    return st == RCD_OK ? rcd__cell_pack(k, s) : st;
}

static const struct rcd_op ops[] = {
    {.name = "LSTM", .since = 7, .check = check, .run_all = rcd__cell_run}};
RCD_OP_LIST(lstm, ops);
