/* gru.c - ONNX GRU (7, 14, 22; Cho et al. 2014, arXiv 1406.1078): gates z r h, linear_before_reset 0
 * (the paper's) and 1 (PyTorch's and cuDNN's), clip on pre-activations. */
#include "recurrent.h"

#include <string.h>

static const uint8_t all_gates[3] = {0, 1, 2}, zr_gates[2] = {0, 1}, h_gate[1] = {2};

/* Only the fused form with linear_before_reset multiplies all three gates at once. */
static bool split(const struct rcd_cell_spec *s)
{
    return !s->plain || !s->linear_before_reset;
}

static bool bytes(const struct rcd_cell_spec *s, size_t input, size_t *ret)
{
    size_t w = 0, r = 0, r2 = 0, rest = 4 * s->padded * sizeof(float);
    size_t gates = split(s) ? 2 : 3;
    return rcd_packed_gates_bytes(3, s->hidden, input, &w) &&
           rcd_packed_gates_bytes(gates, s->hidden, s->hidden, &r) &&
           rcd_packed_gates_bytes(1, s->hidden, s->hidden, &r2) && rcd_add(w, r, ret) &&
           rcd_add(*ret, r2, ret) && rcd_add(*ret, rest, ret);
}

static void pack_biases(const struct rcd_cell_spec *s, struct rcd_cell_weights *w, const float *B)
{
    size_t h = s->hidden;
    memset(w->bias, 0, 4 * s->padded * sizeof *B); /* bias and bias2 are neighbours */
    if (B == NULL)
        return;
    const float *rb = B + 3 * h;
    if (!s->linear_before_reset) {
        rcd_pack_gate_bias(w->bias, B, rb, 3, all_gates, h);
        return;
    }
    /* The candidate's recurrent bias stays inside the reset product. */
    rcd_pack_gate_bias(w->bias, B, NULL, 3, all_gates, h);
    rcd_pack_gate_bias(w->bias2, rb, NULL, 1, h_gate, h);
    for (size_t u = 0; u < h; u++) {
        float *group = w->bias + u / RCD_LANES * 3 * RCD_LANES + u % RCD_LANES;
        group[0] += rb[u];
        group[RCD_LANES] += rb[h + u];
    }
}

static void pack(const struct rcd_cell_spec *s, struct rcd_cell_weights *w, float *mem,
                 const float *W, const float *R, const float *B, const float *P, size_t input)
{
    (void)P; /* LSTM's */
    size_t w_bytes = 0, r_bytes = 0, r2_bytes = 0, h = s->hidden;
    RCD_ASSERT(rcd_packed_gates_bytes(3, h, input, &w_bytes));
    RCD_ASSERT(rcd_packed_gates_bytes(split(s) ? 2 : 3, h, h, &r_bytes));
    RCD_ASSERT(rcd_packed_gates_bytes(1, h, h, &r2_bytes));
    w->w.data = mem;
    w->r.data = mem + w_bytes / sizeof *mem;
    w->r2.data = w->r.data + r_bytes / sizeof *mem;
    w->bias = w->r2.data + r2_bytes / sizeof *mem;
    w->bias2 = w->bias + 3 * s->padded;
    w->peep = NULL;
    rcd_pack_gates(&w->w, W, 3, all_gates, h, input);
    if (split(s)) {
        rcd_pack_gates(&w->r, R, 2, zr_gates, h, h);
        rcd_pack_gates(&w->r2, R, 1, h_gate, h, h);
    } else {
        rcd_pack_gates(&w->r, R, 3, all_gates, h, h);
    }
    pack_biases(s, w, B);
}

/* tmp rows of the general path: z and r in groups of 32, then the candidate, then r * h. */
static float *cand_of(const struct rcd_cell_step *s, size_t row)
{
    return s->tmp[row] + 2 * s->spec->padded;
}

static float *reset_of(const struct rcd_cell_step *s, size_t row)
{
    return s->tmp[row] + 3 * s->spec->padded;
}

/* z and r of one row from their chains; the candidate's rows made ready for their product. */
static void gates_row(const struct rcd_cell_step *s, size_t row)
{
    const struct rcd_cell_spec *spec = s->spec;
    float *zr = s->tmp[row], *cand = cand_of(s, row), *reset = reset_of(s, row);
    rcd__clip_apply(s, 2 * spec->padded, zr);
    rcd__act_apply(s->call, &spec->act[s->dir][0], 2 * spec->padded, zr);
    for (size_t u = 0; u < spec->hidden; u++) {
        float r = zr[u / RCD_LANES * 2 * RCD_LANES + RCD_LANES + u % RCD_LANES];
        const float *pre = s->pre[row] + u / RCD_LANES * 3 * RCD_LANES + u % RCD_LANES;
        if (spec->linear_before_reset) {
            cand[u] = pre[2 * RCD_LANES] + r * cand[u];
        } else {
            cand[u] = pre[2 * RCD_LANES];
            reset[u] = r * s->h_in[row][u];
        }
    }
}

static void blend_row(const struct rcd_cell_step *s, size_t row)
{
    const struct rcd_cell_spec *spec = s->spec;
    float *cand = cand_of(s, row);
    rcd__clip_apply(s, spec->hidden, cand);
    rcd__act_apply(s->call, &spec->act[s->dir][1], spec->hidden, cand);
    for (size_t u = 0; u < spec->hidden; u++) {
        float z = s->tmp[row][u / RCD_LANES * 2 * RCD_LANES + u % RCD_LANES];
        s->h_out[row][u] = __builtin_fmaf(z, s->h_in[row][u] - cand[u], cand[u]);
    }
}

static void row_pointers(const struct rcd_cell_step *s, float **cands, float **resets)
{
    for (size_t r = 0; r < s->n; r++) {
        cands[r] = cand_of(s, r);
        resets[r] = reset_of(s, r);
        for (size_t at = 0; at < s->spec->padded; at += RCD_LANES)
            memcpy(s->tmp[r] + 2 * at, s->pre[r] + 3 * at, 2 * RCD_LANES * sizeof(float));
    }
}

static void general_step(const struct rcd_cell_step *s, float **cands, float **resets)
{
    const struct rcd_cell_spec *spec = s->spec;
    row_pointers(s, cands, resets);
    rcd__cell_product(s, s->h_in, s->tmp, &s->w->r, NULL);
    if (spec->linear_before_reset)
        rcd__cell_product(s, s->h_in, cands, &s->w->r2, s->w->bias2);
    for (size_t r = 0; r < s->n; r++)
        gates_row(s, r);
    if (!spec->linear_before_reset)
        rcd__cell_product(s, (const float *const *)resets, cands, &s->w->r2, NULL);
    for (size_t r = 0; r < s->n; r++)
        blend_row(s, r);
}

/* Gates of row r from groups of three to groups of n: `count` of them from gate `first` on. */
static void copy_groups(const struct rcd_cell_spec *spec, float *to, size_t n, const float *from,
                        size_t first, size_t count)
{
    for (size_t at = 0; at < spec->padded; at += RCD_LANES)
        memcpy(to + n * at, from + 3 * at + first * RCD_LANES, count * RCD_LANES * sizeof *to);
}

/* Reduced weights: products of their own, the rows in tmp; then what the fused step does to them. */
static void reduced_step(const struct rcd_cell_step *s, float **zs, float **rhs)
{
    const struct rcd_cell_spec *spec = s->spec;
    struct rcd_gates gates = {.rows = s->n,
                              .hidden = spec->hidden,
                              .pre = (const float *const *)s->pre,
                              .rec = (const float *const *)s->tmp,
                              .h_in = s->h_in,
                              .h_out = s->h_out,
                              .zs = zs,
                              .rh = rhs};
    const size_t of = spec->linear_before_reset ? 3 : 2;
    for (size_t r = 0; r < s->n; r++) {
        copy_groups(spec, s->tmp[r], of, s->pre[r], 0, 2);
        for (size_t at = 0; spec->linear_before_reset && at < spec->padded; at += RCD_LANES)
            memcpy(s->tmp[r] + 3 * at + 2 * RCD_LANES, s->w->bias2 + at, RCD_LANES * sizeof(float));
    }
    rcd__cell_product(s, s->h_in, s->tmp, &s->w->r, NULL);
    if (spec->linear_before_reset) {
        s->call->kern->gru_linear_gates(&gates);
        return;
    }
    s->call->kern->gru_reset(&gates);
    for (size_t r = 0; r < s->n; r++)
        copy_groups(spec, s->tmp[r], 1, s->pre[r], 2, 1);
    rcd__cell_product(s, (const float *const *)rhs, s->tmp, &s->w->r2, NULL);
    s->call->kern->gru_blend(&gates);
}

static bool splits(const struct rcd_cell_spec *s, const struct rcd_cell_weights *w)
{
    return s->plain && s->linear_before_reset && w->r.weights == RCD_WEIGHTS_F32;
}

static void step(const struct rcd_cell_step *s)
{
    const struct rcd_cell_spec *spec = s->spec;
    float **zs = s->aux[0], **rhs = s->aux[1];
    if (!spec->plain) {
        general_step(s, zs, rhs);
        return;
    }
    for (size_t r = 0; r < s->n; r++) {
        zs[r] = s->tmp[r] + 2 * spec->padded;
        rhs[r] = s->tmp[r] + 3 * spec->padded;
    }
    if (s->w->r.weights != RCD_WEIGHTS_F32) {
        reduced_step(s, zs, rhs);
        return;
    }
    struct rcd_gru_step fused = {.rows = s->n,
                                 .hidden = spec->hidden,
                                 .pre = (const float *const *)s->pre,
                                 .h_in = s->h_in,
                                 .h_out = s->h_out,
                                 .linear_before_reset = spec->linear_before_reset,
                                 .r = &s->w->r,
                                 .rb_h = s->w->bias2,
                                 .r_h = &s->w->r2,
                                 .rh = rhs,
                                 .zs = zs,
                                 .unit_from = s->unit_from,
                                 .unit_to = s->unit_to};
    s->call->kern->gru_step(&fused);
}

static rcd_status check(struct rcd_check *k)
{
    static const char *const default_acts[] = {"Sigmoid", "Tanh"};
    struct rcd_cell_spec *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    s->gates = 3;
    s->n_acts = 2;
    s->plain = true;
    s->bytes = bytes;
    s->pack = pack;
    s->step = step;
    s->splits = splits;
    int64_t linear = 0;
    rcd_status st = rcd__attr_int(k, "linear_before_reset", 0, &linear);
    s->linear_before_reset = linear != 0;
    if (st == RCD_OK)
        st = rcd__cell_check(k, s, default_acts);
    s->tmp_floats = 4 * s->padded;
    return st == RCD_OK ? rcd__cell_pack(k, s) : st;
}

static const struct rcd_op ops[] = {
    {.name = "GRU", .since = 7, .check = check, .run_all = rcd__cell_run}};
RCD_OP_LIST(gru, ops);
