/* test_threads.c - a run with helpers: recurrent layers shared by units, products by panels. The bits are those of one
 * thread, at every level, for lanes of different lengths, with and without Y. */
#include "../onnx/model_bytes.h"
#include "recurd/engine.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(engine_threads, .timeout = 400);

enum { IN = 24, HIDDEN = 208, STEPS = 40, BATCH = 5, OUT = 1344, REQUESTS = 2 };

static float *noise(size_t n, uint32_t seed, float scale)
{
    float *p = rcd_alloc_aligned((n + 1) * sizeof *p);
    for (size_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (float)(int32_t)seed / 2147483648.0f * scale;
    }
    return p;
}

static struct pb weights(const char *name, const char *dims, size_t n, uint32_t seed)
{
    float *values = noise(n, seed, 0.1f);
    struct pb t = mk_f32(name, dims, values, n);
    rcd_free(values);
    return t;
}

/* x f32[time,batch,24] through a cell; the last hidden state through a wide product of its own. */
static struct pb cell_model(const char *cell, size_t gates)
{
    struct pb g = mk_graph("g");
    char dims[64];
    const bool lstm = gates == 4;
    struct pb node = mk_node(cell, "cell", "x,W,R,B,lens", lstm ? "all,hn,cn" : "all,hn");
    add_attr_int(&node, "hidden_size", HIDDEN);
    if (!lstm)
        add_attr_int(&node, "linear_before_reset", 1);
    pb_msg(&g, G_NODE, node);
    pb_msg(&g, G_NODE, mk_node("MatMul", "head", "hn,V", "y"));
    snprintf(dims, sizeof dims, "1,%zu,%d", gates * HIDDEN, IN);
    pb_msg(&g, G_INIT, weights("W", dims, gates * HIDDEN * IN, 1));
    snprintf(dims, sizeof dims, "1,%zu,%d", gates * HIDDEN, HIDDEN);
    pb_msg(&g, G_INIT, weights("R", dims, gates * HIDDEN * HIDDEN, 2));
    snprintf(dims, sizeof dims, "1,%zu", 2 * gates * HIDDEN);
    pb_msg(&g, G_INIT, weights("B", dims, 2 * gates * HIDDEN, 3));
    snprintf(dims, sizeof dims, "%d,%d", HIDDEN, OUT);
    pb_msg(&g, G_INIT, weights("V", dims, HIDDEN * OUT, 4));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "time,batch,24"));
    pb_msg(&g, G_INPUT, mk_info("lens", T_I32, "batch"));
    pb_msg(&g, G_OUTPUT, mk_info("all", T_FLOAT, NULL));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    return mk_model(8, 17, g);
}

static rcd_plan *plan_for(struct pb model, rcd_cpu_level level)
{
    const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(level)};
    struct rcd_error err = {.code = RCD_OK};
    rcd_onnx_model *m = load_ok(model);
    rcd_plan *p = NULL;
    cr_assert(rcd_plan_new(&m, &opts, &p, &err) == RCD_OK, "%s", err.text);
    return p;
}

struct answers {
    struct rcd_infer req[REQUESTS];
    struct rcd_tensor out[REQUESTS][2];
};

static void run(rcd_exec *x, const rcd_plan *p, struct rcd_tensor (*in)[2], const bool *wanted,
                struct answers *a)
{
    struct rcd_infer *list[REQUESTS];
    memset(a, 0, sizeof *a);
    for (int r = 0; r < REQUESTS; r++) {
        a->req[r] = (struct rcd_infer){.in = in[r], .out = a->out[r], .wanted = wanted};
        list[r] = &a->req[r];
    }
    rcd_exec_run(x, p, REQUESTS, list, NULL);
    for (int r = 0; r < REQUESTS; r++)
        cr_assert(a->req[r].err.code == RCD_OK, "%s", a->req[r].err.text);
}

static void check_cell(const char *cell, size_t gates)
{
    static int32_t lens[REQUESTS][BATCH] = {{40, 3, 17, 40, 1}, {39, 40, 0, 5, 22}};
    const int64_t xd[3] = {STEPS, BATCH, IN}, ld[1] = {BATCH};
    const struct pb model = cell_model(cell, gates);
    struct rcd_tensor in[REQUESTS][2];
    for (int r = 0; r < REQUESTS; r++) {
        cr_assert(rcd_tensor_shape(&in[r][0], RCD_F32, 3, xd) &&
                  rcd_tensor_shape(&in[r][1], RCD_I32, 1, ld));
        in[r][0].data = noise(in[r][0].n, 7 + (uint32_t)r, 1.0f);
        in[r][1].data = lens[r];
        in[r][0].block = in[r][1].block = NULL;
    }
    const bool both[2] = {true, true}, last_only[2] = {false, true};
    for (int level = RCD_CPU_C; level < RCD_CPU_MAX; level++) {
        if (rcd_kernels_for((rcd_cpu_level)level) == NULL)
            continue;
        rcd_plan *p = plan_for(model, (rcd_cpu_level)level);
        struct answers one, many;
        struct rcd_error err;
        rcd_exec *x = rcd_exec_new(1 << 28, 1 << 28);
        run(x, p, in, both, &one);
        for (unsigned threads = 2; threads <= 3; threads++) {
            cr_assert(rcd_exec_set_threads(x, threads, &err) == RCD_OK);
            for (int again = 0; again < 3; again++) {
                run(x, p, in, again == 1 ? last_only : both, &many);
                for (int r = 0; r < REQUESTS; r++) {
                    for (int o = again == 1; o < 2; o++)
                        cr_assert(memcmp(one.out[r][o].data, many.out[r][o].data,
                                         4 * one.out[r][o].n) == 0,
                                  "%s, level %d, %u threads, request %d, output %d", cell, level,
                                  threads, r, o);
                    rcd_infer_drop(&many.req[r], 2);
                }
            }
        }
        for (int r = 0; r < REQUESTS; r++)
            rcd_infer_drop(&one.req[r], 2);
        rcd_exec_free(x);
        rcd_plan_unref(p);
    }
    for (int r = 0; r < REQUESTS; r++)
        rcd_free(in[r][0].data);
}

Test(engine_threads, lstm_has_the_bits_of_one_thread)
{
    check_cell("LSTM", 4);
}

Test(engine_threads, gru_has_the_bits_of_one_thread)
{
    check_cell("GRU", 3);
}
