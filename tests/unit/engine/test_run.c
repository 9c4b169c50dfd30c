/* test_run.c - a batch of requests: one that fails leaves the others their bits; cancelling; memory. */
#include "../onnx/model_bytes.h"
#include "recurd/engine.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(engine_run, .timeout = 400);

/* y = relu(gather(table, ids)) w: an index outside fails its own request */
static struct pb lookup_model(void)
{
    static const float table[12] = {0, 1, 2, 3, -4, 5, 6, -7, 8, 9, 10, -11};
    static const float w[6] = {0.5f, -1, 2, 3, -0.25f, 1};
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INIT, mk_f32("table", "4,3", table, 12));
    pb_msg(&g, G_INIT, mk_f32("w", "3,2", w, 6));
    pb_msg(&g, G_NODE, mk_node("Gather", "look", "table,ids", "rows"));
    pb_msg(&g, G_NODE, mk_node("Relu", "relu", "rows", "pos"));
    pb_msg(&g, G_NODE, mk_node("MatMul", "out", "pos,w", "y"));
    pb_msg(&g, G_INPUT, mk_info("ids", T_I64, "n"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    return mk_model(8, 17, g);
}

enum { N = 4, MOST = 8 };
struct batch {
    rcd_plan *plan;
    rcd_exec *exec;
    int64_t ids[N][MOST];
    struct rcd_tensor in[N], out[N];
    struct rcd_infer req[N], *list[N];
};

static void batch_init(struct batch *b, size_t max_bytes)
{
    rcd_onnx_model *m = load_ok(lookup_model());
    const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
    struct rcd_error err;
    memset(b, 0, sizeof *b);
    cr_assert(rcd_plan_new(&m, &opts, &b->plan, &err) == RCD_OK, "%s", err.text);
    b->exec = rcd_exec_new(max_bytes, max_bytes);
    for (int r = 0; r < N; r++) {
        int64_t n = 1 + r; /* ragged */
        for (int64_t i = 0; i < n; i++)
            b->ids[r][i] = (r + i) % 4;
        cr_assert(rcd_tensor_shape(&b->in[r], RCD_I64, 1, &n));
        b->in[r].data = b->ids[r];
        b->req[r] = (struct rcd_infer){.in = &b->in[r], .out = &b->out[r]};
        b->list[r] = &b->req[r];
    }
}

static void batch_done(struct batch *b)
{
    for (int r = 0; r < N; r++)
        rcd_infer_drop(&b->req[r], 1);
    rcd_exec_free(b->exec);
    rcd_plan_unref(b->plan);
}

Test(engine_run, one_failure_leaves_the_others_their_bits)
{
    struct batch good, bad;
    batch_init(&good, 1 << 20);
    batch_init(&bad, 1 << 20);
    bad.ids[1][0] = 99;
    rcd_exec_run(good.exec, good.plan, N, good.list, NULL);
    rcd_exec_run(bad.exec, bad.plan, N, bad.list, NULL);
    for (int r = 0; r < N; r++) {
        cr_assert(good.req[r].err.code == RCD_OK, "%s", good.req[r].err.text);
        if (r == 1) {
            cr_assert(bad.req[r].err.code == RCD_EINVAL);
            cr_assert(strstr(bad.req[r].err.text,
                             "ids[0] is 99, want -4 to 3 (an index of node ") != NULL,
                      "%s", bad.req[r].err.text);
            cr_assert(bad.out[r].dtype == RCD_NONE);
            continue;
        }
        cr_assert(bad.req[r].err.code == RCD_OK && bad.out[r].n == good.out[r].n);
        cr_assert(memcmp(bad.out[r].data, good.out[r].data, good.out[r].n * sizeof(float)) == 0,
                  "request %d has other bits beside a failing one", r);
    }
    batch_done(&good);
    batch_done(&bad); /* the pool asserts that every block came back */
}

Test(engine_run, cancelling_fails_what_is_left)
{
    struct batch b;
    bool cancel = true;
    batch_init(&b, 1 << 20);
    rcd_exec_run(b.exec, b.plan, N, b.list, &cancel);
    for (int r = 0; r < N; r++)
        cr_assert(b.req[r].err.code == RCD_ECANCELLED);
    batch_done(&b);
}

Test(engine_run, too_little_memory_is_an_error_of_the_request)
{
    for (size_t max = 4096; max < (1 << 16); max += 512) {
        struct batch b;
        batch_init(&b, max);
        if (b.exec != NULL) {
            rcd_exec_run(b.exec, b.plan, N, b.list, NULL);
            for (int r = 0; r < N; r++)
                cr_assert(b.req[r].err.code == RCD_OK || b.req[r].err.code == RCD_ENOMEM, "%s",
                          b.req[r].err.text);
        }
        batch_done(&b);
    }
}

Test(engine_run, unwanted_outputs_stay_empty)
{
    struct batch b;
    const bool wanted[1] = {false};
    batch_init(&b, 1 << 20);
    b.req[0].wanted = wanted;
    rcd_exec_run(b.exec, b.plan, N, b.list, NULL);
    cr_assert(b.out[0].dtype == RCD_NONE && b.out[1].dtype == RCD_F32);
    batch_done(&b);
}

/* The largest and smallest of nothing, by ONNX: the type's lowest and highest value. */
Test(engine_run, extremes_of_nothing)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_NODE, mk_node("ReduceMax", "most", "ids", "high"));
    pb_msg(&g, G_NODE, mk_node("ReduceMin", "least", "ids", "low"));
    pb_msg(&g, G_INPUT, mk_info("ids", T_I64, "n"));
    pb_msg(&g, G_OUTPUT, mk_info("high", T_I64, NULL));
    pb_msg(&g, G_OUTPUT, mk_info("low", T_I64, NULL));
    rcd_onnx_model *m = load_ok(mk_model(8, 17, g));
    const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
    struct rcd_error err;
    rcd_plan *plan = NULL;
    cr_assert(rcd_plan_new(&m, &opts, &plan, &err) == RCD_OK, "%s", err.text);
    rcd_exec *x = rcd_exec_new(1 << 20, 1 << 20);
    for (int64_t n = 0; n < 2; n++) {
        int64_t seven = 7;
        struct rcd_tensor in, out[2] = {{.dtype = RCD_NONE}};
        cr_assert(rcd_tensor_shape(&in, RCD_I64, 1, &n));
        in.data = &seven;
        struct rcd_infer req = {.in = &in, .out = out}, *list[] = {&req};
        rcd_exec_run(x, plan, 1, list, NULL);
        cr_assert(req.err.code == RCD_OK, "%s", req.err.text);
        cr_assert(*(int64_t *)out[0].data == (n == 0 ? INT64_MIN : 7));
        cr_assert(*(int64_t *)out[1].data == (n == 0 ? INT64_MAX : 7));
        rcd_infer_drop(&req, 2);
    }
    rcd_exec_free(x);
    rcd_plan_unref(plan);
}
