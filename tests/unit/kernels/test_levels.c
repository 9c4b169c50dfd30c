/* test_levels.c - the promise of the recurrent steps: every CPU level, every batch and every split of the units
 * gives the same bits, and nothing is written past an output. */
#include "level_bits.h"
#include "recurd/kernels.h"

#include <math.h>
#include <string.h>

TestSuite(levels, .timeout = 400);

/* ---- recurrent steps --------------------------------------------------------------------------- */

enum cell { LSTM, GRU_LINEAR, GRU_PAPER, CELLS };

struct step {
    size_t rows, hidden, padded;
    float *pre, *h, *c, *rb;
    struct rcd_packed r, r2;
};

static void run_step(const struct rcd_kernels *k, enum cell cell, const struct step *s, size_t from,
                     size_t rows, float *h_out, float *c_out)
{
    size_t gates = cell == LSTM ? 4 : 3;
    const float *pre[MAX_ROWS], *h[MAX_ROWS], *c[MAX_ROWS];
    float *ho[MAX_ROWS], *co[MAX_ROWS], *rh[MAX_ROWS], *zs[MAX_ROWS];
    float *scratch = calloc(2 * rows * s->padded, sizeof *scratch);
    for (size_t r = 0; r < rows; r++) {
        pre[r] = s->pre + (from + r) * gates * s->padded;
        h[r] = s->h + (from + r) * s->hidden;
        c[r] = s->c + (from + r) * s->hidden;
        ho[r] = h_out + (from + r) * s->hidden;
        co[r] = c_out + (from + r) * s->hidden;
        rh[r] = scratch + 2 * r * s->padded;
        zs[r] = rh[r] + s->padded;
    }
    if (cell == LSTM) {
        struct rcd_lstm_step step = {.rows = rows,
                                     .hidden = s->hidden,
                                     .pre = pre,
                                     .h_in = h,
                                     .h_out = ho,
                                     .c_in = c,
                                     .c_out = co,
                                     .r = &s->r};
        k->lstm_step(&step);
    } else {
        struct rcd_gru_step step = {.rows = rows,
                                    .hidden = s->hidden,
                                    .pre = pre,
                                    .h_in = h,
                                    .h_out = ho,
                                    .linear_before_reset = cell == GRU_LINEAR,
                                    .r = &s->r,
                                    .rb_h = s->rb,
                                    .r_h = &s->r2,
                                    .rh = rh,
                                    .zs = zs};
        k->gru_step(&step);
    }
    free(scratch);
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

/* Unit u of row r in double precision, from the ONNX equations; w is f32[gates * hidden][hidden]. */
static double slow_unit(enum cell cell, const struct step *s, const float *w, size_t r, size_t u,
                        double *ret_c)
{
    size_t gates = cell == LSTM ? 4 : 3, h = s->hidden;
    double g[4] = {0}, rec[4] = {0};
    for (size_t i = 0; i < gates; i++) {
        g[i] = (double)s->pre[r * gates * s->padded + u / 16 * gates * 16 + i * 16 + u % 16];
        for (size_t j = 0; j < h; j++)
            rec[i] += (double)w[(i * h + u) * h + j] * (double)s->h[r * h + j];
    }
    if (cell == LSTM) {
        *ret_c = sigmoid(g[2] + rec[2]) * (double)s->c[r * h + u] +
                 sigmoid(g[0] + rec[0]) * tanh(g[3] + rec[3]);
        return sigmoid(g[1] + rec[1]) * tanh(*ret_c);
    }
    double z = sigmoid(g[0] + rec[0]), n = 0.0;
    if (cell == GRU_LINEAR) {
        n = tanh(g[2] + sigmoid(g[1] + rec[1]) * (rec[2] + (double)s->rb[u]));
    } else {
        double sum = g[2];
        for (size_t j = 0; j < h; j++) {
            double gate = (double)s->pre[r * gates * s->padded + j / 16 * gates * 16 + 16 + j % 16];
            for (size_t i = 0; i < h; i++)
                gate += (double)w[(h + j) * h + i] * (double)s->h[r * h + i];
            sum += (double)w[(2 * h + u) * h + j] * sigmoid(gate) * (double)s->h[r * h + j];
        }
        n = tanh(sum);
    }
    *ret_c = 0.0;
    return (1.0 - z) * n + z * (double)s->h[r * h + u];
}

static void check_step(enum cell cell, size_t rows, size_t hidden, uint32_t seed)
{
    static const uint8_t map[4] = {0, 1, 2, 3}, last[1] = {2};
    size_t gates = cell == LSTM ? 4 : 3, bytes = 0;
    struct step s = {.rows = rows, .hidden = hidden, .padded = (hidden + 15) / 16 * 16};
    s.pre = random_floats(rows * gates * s.padded, &seed);
    s.h = random_floats(rows * hidden, &seed);
    s.c = random_floats(rows * hidden, &seed);
    s.rb = random_floats(s.padded, &seed);
    float *w = random_floats(gates * hidden * hidden, &seed);
    cr_assert(rcd_packed_gates_bytes(4, hidden, hidden, &bytes));
    s.r.data = aligned_alloc(64, bytes + 64);
    s.r2.data = aligned_alloc(64, bytes + 64);
    rcd_pack_gates(&s.r, w, cell == GRU_PAPER ? 2 : gates, map, hidden, hidden);
    rcd_pack_gates(&s.r2, w, 1, last, hidden, hidden);
    size_t n = rows * hidden;
    float *h[3], *c[3];
    for (int i = 0; i < 3; i++) {
        h[i] = calloc(n, sizeof(float));
        c[i] = calloc(n, sizeof(float));
    }
    run_step(rcd_kernels_for(RCD_CPU_C), cell, &s, 0, rows, h[0], c[0]);
    for (size_t i = 0; i < n; i++) {
        double want_c = 0.0, want = slow_unit(cell, &s, w, i / hidden, i % hidden, &want_c);
        cr_assert(fabs((double)h[0][i] - want) < 2e-5, "cell %d, %zu units, unit %zu: %g, want %g",
                  (int)cell, hidden, i, (double)h[0][i], want);
        cr_assert(cell != LSTM || fabs((double)c[0][i] - want_c) < 2e-5, "cell state");
    }
    for (int level = 0; level < RCD_CPU_MAX; level++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
        if (k == NULL)
            continue;
        run_step(k, cell, &s, 0, rows, h[1], c[1]);
        for (size_t r = 0; r < rows; r++)
            run_step(k, cell, &s, r, 1, h[2], c[2]);
        for (int i = 1; i < 3; i++) {
            cr_assert(memcmp(h[0], h[i], n * sizeof(float)) == 0, "cell %d on %s, %zu units, %s",
                      (int)cell, k->name, hidden, i == 1 ? "together" : "alone");
            cr_assert(cell != LSTM || memcmp(c[0], c[i], n * sizeof(float)) == 0, "cell state");
        }
    }
    for (int i = 0; i < 3; i++)
        free(h[i]), free(c[i]);
    free(s.pre), free(s.h), free(s.c), free(s.rb), free(w), free(s.r.data), free(s.r2.data);
}

Test(levels, steps_agree)
{
    static const size_t hiddens[] = {1, 3, 15, 16, 17, 33, 70};
    uint32_t seed = 99;
    for (int cell = 0; cell < CELLS; cell++) {
        for (size_t i = 0; i < RCD_COUNT(hiddens); i++) {
            for (size_t rows = 1; rows <= 13; rows += 4)
                check_step((enum cell)cell, rows, hiddens[i], seed++);
        }
    }
}

/* Weights beyond the second level, all rows in one tile or in several. */
Test(levels, large_steps_agree)
{
    uint32_t seed = 7;
    for (int cell = 0; cell < CELLS; cell++) {
        for (size_t rows = 2; rows <= 9; rows++)
            check_step((enum cell)cell, rows, 210, seed++);
    }
}

Test(levels, rows_agree)
{
    uint32_t seed = 5;
    for (size_t n = 1; n < 100; n += n < 20 ? 1 : 13) {
        float *x = random_floats(n, &seed), ref[4][128], out[4][128];
        for (int level = 0; level < RCD_CPU_MAX; level++) {
            const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
            if (k == NULL)
                continue;
            memset(out, 0, sizeof out);
            k->softmax(n, x, out[0], false);
            k->softmax(n, x, out[1], true);
            k->layer_norm(n, x, NULL, NULL, 1e-5f, out[2], NULL, NULL);
            out[3][0] = k->sum(n, x);
            out[3][1] = k->max(n, x);
            if (level == RCD_CPU_C)
                memcpy(ref, out, sizeof ref);
            cr_assert(memcmp(ref, out, sizeof ref) == 0, "rows of %zu differ on %s", n, k->name);
        }
        double total = 0.0;
        for (size_t i = 0; i < n; i++)
            total += (double)ref[0][i];
        cr_assert(fabs(total - 1.0) < 1e-5);
        free(x);
    }
}

/* ---- steps that take their inputs themselves ---------------------------------------------------- */

struct inputs {
    struct rcd_lstm_step step; /* x, w and bias set */
    float *states, *gates;     /* f32[4][rows][hidden]: h, h', c, c'; f32[rows][w->padded] */
};

/* Projection and step by one kernel, or one after another. */
static void run_inputs(const struct rcd_kernels *k, const struct inputs *in, bool whole,
                       size_t from, size_t rows)
{
    struct rcd_lstm_step s = in->step;
    float *gates[MAX_ROWS], *states[4][MAX_ROWS];
    for (size_t r = 0; r < rows; r++) {
        gates[r] = in->gates + r * s.w->padded;
        for (size_t i = 0; i < 4; i++)
            states[i][r] = in->states + (i * in->step.rows + from + r) * s.hidden;
    }
    s.rows = rows;
    s.x += from;
    s.h_in = (const float *const *)states[0];
    s.h_out = states[1];
    s.c_in = (const float *const *)states[2];
    s.c_out = states[3];
    if (!whole) {
        struct rcd_gemm g = {
            .rows = rows, .a = s.x, .c = gates, .b = s.w, .bias = s.bias, .c_padded = true};
        k->gemm(&g);
        s.pre = (const float *const *)gates;
        s.x = NULL;
    }
    k->lstm_step(&s);
}

static void check_inputs(size_t rows, size_t input, size_t hidden, uint32_t seed)
{
    static const uint8_t map[4] = {0, 1, 2, 3};
    size_t w_bytes = 0, r_bytes = 0, state_bytes = rows * hidden * sizeof(float);
    cr_assert(rcd_packed_gates_bytes(4, hidden, input, &w_bytes) &&
              rcd_packed_gates_bytes(4, hidden, hidden, &r_bytes));
    struct rcd_packed w = {.data = aligned_alloc(64, w_bytes)};
    struct rcd_packed r = {.data = aligned_alloc(64, r_bytes)};
    float *raw = random_floats(4 * hidden * (input > hidden ? input : hidden), &seed);
    rcd_pack_gates(&w, raw, 4, map, hidden, input);
    rcd_pack_gates(&r, raw, 4, map, hidden, hidden);
    float *x = random_floats(rows * input, &seed), *bias = random_floats(w.padded, &seed);
    float *want = malloc(2 * state_bytes);
    const float *x_rows[MAX_ROWS];
    for (size_t i = 0; i < rows; i++)
        x_rows[i] = x + i * input;
    struct inputs in = {.states = random_floats(4 * rows * hidden, &seed),
                        .gates = random_floats(rows * w.padded, &seed),
                        .step = {.rows = rows, .hidden = hidden, .x = x_rows, .w = &w, .r = &r}};
    in.step.bias = bias;
    float *h = in.states + rows * hidden, *c = in.states + 3 * rows * hidden;
    run_inputs(rcd_kernels_for(RCD_CPU_C), &in, false, 0, rows);
    memcpy(want, h, state_bytes);
    memcpy((char *)want + state_bytes, c, state_bytes);
    for (int i = 0; i < 2 * RCD_CPU_MAX; i++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)(i / 2));
        if (k == NULL)
            continue;
        memset(h, 0, state_bytes);
        memset(c, 0, state_bytes);
        for (size_t from = 0, some = i % 2 == 0 ? rows : 1; from < rows; from += some)
            run_inputs(k, &in, true, from, some);
        cr_assert(memcmp(h, want, state_bytes) == 0 &&
                      memcmp(c, (char *)want + state_bytes, state_bytes) == 0,
                  "%zu inputs, %zu units, %zu rows%s on %s", input, hidden, rows,
                  i % 2 == 0 ? "" : " one by one", k->name);
    }
    free(w.data), free(r.data), free(raw), free(x), free(bias), free(want);
    free(in.states), free(in.gates);
}

Test(levels, steps_of_inputs_agree)
{
    static const size_t inputs[] = {1, 16, 37, 1030}, hiddens[] = {1, 16, 70};
    uint32_t seed = 17;
    for (size_t i = 0; i < RCD_COUNT(inputs); i++) {
        for (size_t j = 0; j < RCD_COUNT(hiddens); j++) {
            for (size_t rows = 1; rows <= MAX_ROWS; rows += 6)
                check_inputs(rows, inputs[i], hiddens[j], seed++);
        }
    }
    check_inputs(8, 600, 40, seed);
}
