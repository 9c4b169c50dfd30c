/* test_reduced.c - plans with reduced weights: which weights are reduced, what it saves, what it computes,
 * and that batches, pieces of time and failing allocations change nothing. */
#include "../onnx/model_bytes.h"
#include "recurd/engine.h"
#include "recurd/engine_report.h"
#include "recurd/engine_steps.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TestSuite(engine_reduced, .timeout = 400);

enum { IN = 6, HIDDEN = 20, OUT = 5, STEPS = 4, BATCH = 3 };

static float noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed / 2147483648.0f;
}

static float round_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff0000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* An initialiser of noise; rounded: as bf16 weights would be. */
static struct pb weights(const char *name, const char *dims, size_t n, uint32_t seed, bool rounded)
{
    static float values[4096];
    for (size_t i = 0; i < n; i++) {
        float x = noise(&seed);
        values[i] = rounded ? round_to_bf16(x) : x;
    }
    return mk_f32(name, dims, values, n);
}

static struct pb with_hidden(struct pb node)
{
    add_attr_int(&node, "hidden_size", HIDDEN);
    return node;
}

/* x f32[time,batch,6] through a cell, then MatMul, plus a product of constants. */
static struct pb cell_model(const char *cell, size_t gates, bool linear, bool rounded)
{
    struct pb g = mk_graph("g");
    char dims[64];
    bool lstm = gates == 4;
    struct pb node = with_hidden(mk_node(cell, "cell", lstm ? "x,W,R,B,,h0,c0" : "x,W,R,B,,h0",
                                         lstm ? "all,hn,cn" : "all,hn"));
    if (linear)
        add_attr_int(&node, "linear_before_reset", 1);
    pb_msg(&g, G_NODE, node);
    pb_msg(&g, G_NODE, mk_node("MatMul", "head", "all,V", "y0"));
    pb_msg(&g, G_NODE, mk_node("MatMul", "folded", "P,Q", "pq"));
    pb_msg(&g, G_NODE, mk_node("Add", "add", "y0,pq", "y"));
    snprintf(dims, sizeof dims, "1,%zu,%d", gates * HIDDEN, IN);
    pb_msg(&g, G_INIT, weights("W", dims, gates * HIDDEN * IN, 1, rounded));
    snprintf(dims, sizeof dims, "1,%zu,%d", gates * HIDDEN, HIDDEN);
    pb_msg(&g, G_INIT, weights("R", dims, gates * HIDDEN * HIDDEN, 2, rounded));
    snprintf(dims, sizeof dims, "1,%zu", 2 * gates * HIDDEN);
    pb_msg(&g, G_INIT, weights("B", dims, 2 * gates * HIDDEN, 3, false));
    snprintf(dims, sizeof dims, "%d,%d", HIDDEN, OUT);
    pb_msg(&g, G_INIT, weights("V", dims, HIDDEN * OUT, 4, rounded));
    pb_msg(&g, G_INIT, weights("P", "2", 2, 5, false));
    pb_msg(&g, G_INIT, weights("Q", "2,5", 10, 6, false));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "time,batch,6"));
    pb_msg(&g, G_INPUT, mk_info("h0", T_FLOAT, "1,batch,20"));
    if (lstm)
        pb_msg(&g, G_INPUT, mk_info("c0", T_FLOAT, "1,batch,20"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, "time,1,batch,5"));
    pb_msg(&g, G_OUTPUT, mk_info("hn", T_FLOAT, NULL));
    if (lstm)
        pb_msg(&g, G_OUTPUT, mk_info("cn", T_FLOAT, NULL));
    return mk_model(8, 17, g);
}

static rcd_plan *plan_of(struct pb model, const struct rcd_kernels *k, rcd_weights how, bool states)
{
    static const char *const in[] = {"h0", "c0"}, *const out[] = {"hn", "cn"};
    rcd_onnx_model *m = load_ok(model);
    struct rcd_plan_opts opts = {.kernels = k, .weights = how};
    struct rcd_error err;
    rcd_plan *p = NULL;
    if (states) {
        opts.n_states = 2;
        opts.state_inputs = in;
        opts.state_outputs = out;
    }
    cr_assert(rcd_plan_new(&m, &opts, &p, &err) == RCD_OK, "%s", err.text);
    return p;
}

/* The head's output for sequences [first, first + n) of three. */
static void run(const rcd_plan *p, size_t first, size_t n, float *y)
{
    enum { MAX_IO = 3 };
    static float x[STEPS * BATCH * IN], h[BATCH * HIDDEN];
    uint32_t seed = 9;
    for (size_t t = 0; t < STEPS; t++) {
        for (size_t b = 0; b < BATCH; b++) {
            for (size_t i = 0; i < IN; i++) {
                float v = noise(&seed);
                if (b >= first && b < first + n)
                    x[(t * n + b - first) * IN + i] = v;
            }
        }
    }
    struct rcd_tensor in[MAX_IO] = {{.dtype = RCD_NONE}}, out[MAX_IO] = {{.dtype = RCD_NONE}};
    int64_t x_dims[3] = {STEPS, (int64_t)n, IN}, h_dims[3] = {1, (int64_t)n, HIDDEN};
    size_t n_in = 0, n_out = 0;
    (void)rcd_plan_inputs(p, &n_in);
    (void)rcd_plan_outputs(p, &n_out);
    cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 3, x_dims));
    in[0].data = x;
    for (size_t i = 1; i < n_in; i++) {
        cr_assert(rcd_tensor_shape(&in[i], RCD_F32, 3, h_dims));
        in[i].data = h;
    }
    struct rcd_infer req = {.in = in, .out = out};
    struct rcd_infer *const list[] = {&req};
    rcd_exec *exec = rcd_exec_new(1 << 22, 1 << 20);
    rcd_exec_run(exec, p, 1, list, NULL);
    cr_assert(req.err.code == RCD_OK, "%s", req.err.text);
    cr_assert(out[0].n == STEPS * n * OUT);
    memcpy(y, out[0].data, out[0].n * sizeof *y);
    rcd_infer_drop(&req, n_out);
    rcd_exec_free(exec);
}

static bool equal(const void *a, const void *b, size_t bytes)
{
    return memcmp(a, b, bytes) == 0;
}

static const struct cell {
    const char *op;
    size_t gates;
    bool linear;
} cells[] = {{"LSTM", 4, false}, {"GRU", 3, true}, {"GRU", 3, false}, {"RNN", 1, false}};

Test(engine_reduced, bf16_has_the_bits_of_f32_over_rounded_weights)
{
    float want[STEPS * BATCH * OUT], got[STEPS * BATCH * OUT], full[STEPS * BATCH * OUT];
    for (size_t c = 0; c < RCD_COUNT(cells); c++) {
        const struct cell *cell = &cells[c];
        const struct rcd_kernels *k;
        for (size_t set = 0; (k = rcd_kernels_variant(set)) != NULL; set++) {
            rcd_plan *f32 = plan_of(cell_model(cell->op, cell->gates, cell->linear, true), k,
                                    RCD_WEIGHTS_F32, false);
            rcd_plan *bf16 = plan_of(cell_model(cell->op, cell->gates, cell->linear, false), k,
                                     RCD_WEIGHTS_BF16, false);
            rcd_plan *whole = plan_of(cell_model(cell->op, cell->gates, cell->linear, false), k,
                                      RCD_WEIGHTS_F32, false);
            run(f32, 0, BATCH, want);
            run(bf16, 0, BATCH, got);
            run(whole, 0, BATCH, full);
            cr_assert(equal(want, got, sizeof got), "%s %d on %s", cell->op, cell->linear, k->name);
            cr_assert(!equal(full, got, sizeof got), "%s: nothing was rounded", cell->op);
            rcd_plan_unref(f32);
            rcd_plan_unref(bf16);
            rcd_plan_unref(whole);
        }
    }
}

Test(engine_reduced, a_sequence_alone_has_the_bits_of_the_batch_on_every_level)
{
    for (int how = RCD_WEIGHTS_BF16; how < RCD_WEIGHTS_MAX; how++) {
        for (size_t c = 0; c < RCD_COUNT(cells); c++) {
            const struct cell *cell = &cells[c];
            float first[STEPS * BATCH * OUT], all[STEPS * BATCH * OUT], one[STEPS * OUT];
            const struct rcd_kernels *k;
            for (size_t set = 0; (k = rcd_kernels_variant(set)) != NULL; set++) {
                rcd_plan *p = plan_of(cell_model(cell->op, cell->gates, cell->linear, false), k,
                                      (rcd_weights)how, false);
                run(p, 0, BATCH, all);
                if (set == 0)
                    memcpy(first, all, sizeof all);
                cr_assert(equal(first, all, sizeof all), "%s with %s: set %zu", cell->op,
                          rcd_weights_name((rcd_weights)how), set);
                for (size_t b = 0; b < BATCH; b++) {
                    run(p, b, 1, one);
                    for (size_t t = 0; t < STEPS; t++)
                        cr_assert(
                            equal(one + t * OUT, all + (t * BATCH + b) * OUT, OUT * sizeof(float)),
                            "%s with %s: sequence %zu", cell->op,
                            rcd_weights_name((rcd_weights)how), b);
                }
                rcd_plan_unref(p);
            }
        }
    }
}

Test(engine_reduced, what_is_reduced_is_counted_and_said)
{
    const struct rcd_kernels *k = rcd_kernels_for(RCD_CPU_C);
    size_t f32 = 0, stored[RCD_WEIGHTS_MAX];
    for (int how = 0; how < RCD_WEIGHTS_MAX; how++) {
        rcd_plan *p = plan_of(cell_model("LSTM", 4, false, false), k, (rcd_weights)how, false);
        stored[how] = rcd_plan_weight_bytes(p, &f32);
        cr_assert((int)rcd_plan_weights(p) == how);
        struct rcd_buf text;
        rcd_buf_init(&text, 1 << 20);
        cr_assert(rcd_plan_report(p, &text) == RCD_OK && rcd_buf_puts(&text, "") == RCD_OK);
        char *report = rcd_strndup(text.data, text.len);
        char want[64];
        snprintf(want, sizeof want, "-> all, hn, cn   weights %s",
                 rcd_weights_name((rcd_weights)how));
        cr_assert((strstr(report, want) != NULL) == (how != RCD_WEIGHTS_F32), "%s", report);
        cr_assert((strstr(report, " as f32\n") != NULL) == (how != RCD_WEIGHTS_F32), "%s", report);
        rcd_free(report);
        rcd_buf_done(&text);
        rcd_plan_unref(p);
    }
    /* cell: 4 * 32 columns of 6 and 20 rows; head: 16 columns of 20; folded: 16 columns of 2 */
    size_t columns = 4 * 32 * (IN + HIDDEN) + 16 * HIDDEN, folded = 16 * 2;
    cr_assert(stored[RCD_WEIGHTS_F32] == f32 && f32 == 4 * (columns + folded));
    cr_assert(stored[RCD_WEIGHTS_BF16] == 2 * columns + 4 * folded);
    /* int8: rows in fours, 8 bytes more for each column of the three matrices */
    size_t int8 = 4 * 32 * (8 + HIDDEN) + 16 * HIDDEN + 8 * (4 * 32 * 2 + 16);
    cr_assert(stored[RCD_WEIGHTS_INT8] == int8 + 4 * folded);
}

Test(engine_reduced, sums_that_int8_cannot_hold_stay_f32_with_a_warning)
{
    enum { K = RCD_INT8_MAX_K + 1 };
    float *b = calloc(K, sizeof *b);
    struct pb g = mk_graph("g");
    pb_msg(&g, G_NODE, mk_node("MatMul", "long", "x,B", "y"));
    pb_msg(&g, G_INIT, mk_f32("B", "131073,1", b, K));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "n,131073"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    rcd_plan *p = plan_of(mk_model(8, 17, g), rcd_kernels_for(RCD_CPU_C), RCD_WEIGHTS_INT8, false);
    size_t n = 0, f32 = 0;
    const char *const *warnings = rcd_plan_warnings(p, &n);
    cr_assert(n == 1 && strstr(warnings[0], "stay f32: sums of 131073 products, limit 131072"));
    cr_assert(rcd_plan_weight_bytes(p, &f32) == f32);
    rcd_plan_unref(p);
    free(b);
}

Test(engine_reduced, pieces_of_time_are_the_whole)
{
    for (int how = RCD_WEIGHTS_BF16; how < RCD_WEIGHTS_MAX; how++) {
        const struct rcd_kernels *k = rcd_kernels_for(rcd_cpu_best(RCD_CPU_AVX512));
        rcd_plan *p = plan_of(cell_model("LSTM", 4, false, false), k, (rcd_weights)how, true);
        rcd_exec *x = rcd_exec_new(1 << 22, 1 << 20);
        struct rcd_error err;
        cr_assert(rcd_plan_prove_steps(p, x, 7, &err) == RCD_OK, "%s", err.text);
        rcd_exec_free(x);
        rcd_plan_unref(p);
    }
}

Test(engine_reduced, failing_allocations)
{
    bool done = false;
    for (size_t k = 0; !done; k++) {
        rcd_onnx_model *m = load_ok(cell_model("LSTM", 4, false, false));
        const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C),
                                           .weights = RCD_WEIGHTS_INT8};
        rcd_plan *p = NULL;
        struct rcd_error err;
        rcd_fault_after(k);
        rcd_status st = rcd_plan_new(&m, &opts, &p, &err);
        done = !rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        cr_assert(done || st == RCD_ENOMEM, "allocation %zu: status %d, %s", k, (int)st, err.text);
        rcd_onnx_free(m);
        rcd_plan_unref(p);
    }
}
