/* test_control.c - Loop with a list of tensors in a batch: requests that end at other trips, one that fails in
 * the middle, too little memory; lists where tensors are wanted. */
#include "../onnx/model_bytes.h"
#include "recurd/engine.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(engine_control, .timeout = 400);

/* for i in range(n): rows.append(x[i]); also the sum of the rows, and each row scanned out */
static struct pb collect_body(void)
{
    struct pb body = mk_graph("body");
    const uint8_t yes = 1;
    struct pb t = mk_tensor("yes", T_BOOL, "");
    pb_bytes(&t, 9, &yes, 1);
    pb_msg(&body, G_INIT, t);
    pb_msg(&body, G_NODE, mk_node("Gather", "row", "x,i", "row"));
    pb_msg(&body, G_NODE, mk_node("SequenceInsert", "append", "rows,row", "more"));
    pb_msg(&body, G_NODE, mk_node("Add", "add", "sum,row", "total"));
    pb_msg(&body, G_INPUT, mk_info("i", T_I64, ""));
    pb_msg(&body, G_INPUT, mk_info("on", T_BOOL, ""));
    pb_msg(&body, G_INPUT, mk_info("rows", T_FLOAT, NULL));
    pb_msg(&body, G_INPUT, mk_info("sum", T_FLOAT, NULL));
    pb_msg(&body, G_OUTPUT, mk_info("yes", T_BOOL, NULL));
    pb_msg(&body, G_OUTPUT, mk_info("more", T_FLOAT, NULL));
    pb_msg(&body, G_OUTPUT, mk_info("total", T_FLOAT, NULL));
    pb_msg(&body, G_OUTPUT, mk_info("row", T_FLOAT, NULL));
    return body;
}

static struct pb collect_model(void)
{
    static const float zeros[2] = {0, 0};
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INIT, mk_f32("zeros", "2", zeros, 2));
    pb_msg(&g, G_NODE, mk_node("SequenceEmpty", "none", NULL, "none"));
    struct pb loop = mk_node("Loop", "loop", "n,,none,zeros", "rows,sum,scan");
    add_attr_graph(&loop, "body", collect_body());
    pb_msg(&g, G_NODE, loop);
    struct pb join = mk_node("ConcatFromSequence", "join", "rows", "y");
    add_attr_int(&join, "axis", 0);
    add_attr_int(&join, "new_axis", 1);
    pb_msg(&g, G_NODE, join);
    pb_msg(&g, G_INPUT, mk_info("n", T_I64, ""));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "t,2"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    pb_msg(&g, G_OUTPUT, mk_info("sum", T_FLOAT, NULL));
    pb_msg(&g, G_OUTPUT, mk_info("scan", T_FLOAT, NULL));
    return mk_model(8, 17, g);
}

enum { N = 3, ROWS = 20, OUT = 3 };
struct batch {
    rcd_plan *plan;
    rcd_exec *exec;
    int64_t n[N];
    float x[ROWS][2];
    struct rcd_tensor in[N][2], out[N][OUT];
    struct rcd_infer req[N], *list[N];
};

static void batch_init(struct batch *b, size_t max_bytes)
{
    rcd_onnx_model *m = load_ok(collect_model());
    const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
    const int64_t dims[2] = {ROWS, 2};
    struct rcd_error err;
    memset(b, 0, sizeof *b);
    cr_assert(rcd_plan_new(&m, &opts, &b->plan, &err) == RCD_OK, "%s", err.text);
    b->exec = rcd_exec_new(max_bytes, max_bytes);
    for (int i = 0; i < ROWS; i++) {
        b->x[i][0] = (float)i;
        b->x[i][1] = (float)(100 - i);
    }
    for (int r = 0; r < N; r++) {
        b->n[r] = 3 + 8 * r;
        cr_assert(rcd_tensor_shape(&b->in[r][0], RCD_I64, 0, NULL));
        cr_assert(rcd_tensor_shape(&b->in[r][1], RCD_F32, 2, dims));
        b->in[r][0].data = &b->n[r];
        b->in[r][1].data = b->x;
        b->req[r] = (struct rcd_infer){.in = b->in[r], .out = b->out[r]};
        b->list[r] = &b->req[r];
    }
}

static void batch_done(struct batch *b)
{
    for (int r = 0; r < N; r++)
        rcd_infer_drop(&b->req[r], OUT);
    rcd_exec_free(b->exec); /* the pool asserts that every block came back */
    rcd_plan_unref(b->plan);
}

static void check_rows(const struct batch *b, int r)
{
    cr_assert(b->req[r].err.code == RCD_OK, "%s", b->req[r].err.text);
    const struct rcd_tensor *y = &b->out[r][0], *sum = &b->out[r][1], *scan = &b->out[r][2];
    cr_assert(y->rank == 2 && y->dims[0] == b->n[r] && scan->dims[0] == b->n[r]);
    cr_assert(memcmp(y->data, b->x, y->n * sizeof(float)) == 0);
    cr_assert(memcmp(scan->data, b->x, y->n * sizeof(float)) == 0);
    float want = 0;
    for (int64_t i = 0; i < b->n[r]; i++)
        want += b->x[i][1];
    cr_assert(((const float *)sum->data)[1] == want);
}

Test(engine_control, each_request_runs_its_own_trips)
{
    struct batch b;
    batch_init(&b, 1 << 20);
    rcd_exec_run(b.exec, b.plan, N, b.list, NULL);
    for (int r = 0; r < N; r++)
        check_rows(&b, r);
    batch_done(&b);
}

Test(engine_control, one_that_fails_on_the_way_leaves_the_others)
{
    struct batch b;
    batch_init(&b, 1 << 20);
    b.n[1] = ROWS + 1;
    rcd_exec_run(b.exec, b.plan, N, b.list, NULL);
    cr_assert(b.req[1].err.code == RCD_EINVAL &&
                  strstr(b.req[1].err.text, "node 'row' (Gather): index 0 is 20"),
              "%s", b.req[1].err.text);
    check_rows(&b, 0);
    check_rows(&b, 2);
    batch_done(&b);
}

Test(engine_control, too_little_memory_is_an_error_of_the_request)
{
    for (size_t max = 4096; max < (1 << 16); max += 256) {
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

static void refused(struct pb model, const char *text)
{
    rcd_onnx_model *m = load_ok(model);
    const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
    struct rcd_error err;
    rcd_plan *p = NULL;
    cr_assert(rcd_plan_new(&m, &opts, &p, &err) == RCD_EMODEL);
    cr_assert(strstr(err.text, text) != NULL, "%s", err.text);
    rcd_onnx_free(m);
}

Test(engine_control, a_list_is_no_tensor)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_NODE, mk_node("SequenceConstruct", "list", "x,x", "xs"));
    pb_msg(&g, G_NODE, mk_node("Relu", "relu", "xs", "y"));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "n"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    refused(mk_model(8, 17, g),
            "node 'relu' (Relu, opset 17): input 0 is a sequence, want a tensor");
}

Test(engine_control, a_list_keeps_its_type)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_NODE, mk_node("SequenceEmpty", "none", NULL, "none"));
    pb_msg(&g, G_NODE, mk_node("SequenceInsert", "put", "none,x", "xs"));
    pb_msg(&g, G_NODE, mk_node("SequenceLength", "count", "xs", "y"));
    pb_msg(&g, G_INPUT, mk_info("x", T_I64, "n"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_I64, NULL));
    refused(mk_model(8, 17, g), "a tensor of int64 for a sequence of float32");
}
