/* test_forget.c - weights are held once: constants that were packed are given back, those that somebody
 * still reads are not. */
#include "../onnx/model_bytes.h"
#include "recurd/engine.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(engine_forget, .timeout = 400);

enum { K = 300, N = 400, MATRIX = K * N * 4, PACKED = K * 400 * 4 };

static float *matrix(void)
{
    static float w[K * N];
    for (size_t i = 0; i < K * N; i++)
        w[i] = (float)(i % 1000) * 0.001f;
    return w;
}

/* y = x W, and what `more` adds to the graph. */
static rcd_plan *plan_of(struct pb *more, size_t n_more, const char *output)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_NODE, mk_node("MatMul", "m", "x,W", "y"));
    for (size_t i = 0; i < n_more; i++)
        pb_msg(&g, G_NODE, more[i]);
    pb_msg(&g, G_INIT, mk_f32("W", "300,400", matrix(), K * N));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "n,300"));
    pb_msg(&g, G_INPUT, mk_info("i", T_I64, "m"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    if (output != NULL)
        pb_msg(&g, G_OUTPUT, mk_info(output, T_FLOAT, NULL));
    rcd_onnx_model *m = load_ok(mk_model(8, 17, g));
    struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
    struct rcd_error err;
    rcd_plan *p = NULL;
    cr_assert(rcd_plan_new(&m, &opts, &p, &err) == RCD_OK, "%s", err.text);
    return p;
}

/* y[0] and the second output's rows for index 7 are right. */
static void check_run(const rcd_plan *p, bool rows)
{
    float x[K] = {0};
    int64_t index[1] = {7}, x_dims[2] = {1, K}, i_dims[1] = {1};
    struct rcd_tensor in[2] = {{.dtype = RCD_NONE}, {.dtype = RCD_NONE}};
    struct rcd_tensor out[2] = {{.dtype = RCD_NONE}, {.dtype = RCD_NONE}};
    x[3] = 2.0f;
    cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 2, x_dims));
    cr_assert(rcd_tensor_shape(&in[1], RCD_I64, 1, i_dims));
    in[0].data = x;
    in[1].data = index;
    struct rcd_infer req = {.in = in, .out = out};
    struct rcd_infer *const list[] = {&req};
    rcd_exec *exec = rcd_exec_new(1 << 24, 1 << 20);
    rcd_exec_run(exec, p, 1, list, NULL);
    cr_assert(req.err.code == RCD_OK, "%s", req.err.text);
    for (size_t j = 0; j < N; j++)
        cr_assert(((float *)out[0].data)[j] == 2.0f * matrix()[3 * N + j]);
    for (size_t j = 0; rows && j < out[1].n; j++)
        cr_assert(((float *)out[1].data)[j] == matrix()[7 * (size_t)out[1].n + j]);
    cr_assert(!rows || out[1].n > 0);
    rcd_infer_drop(&req, rows ? 2 : 1);
    rcd_exec_free(exec);
}

Test(engine_forget, a_packed_constant_is_held_once)
{
    rcd_plan *p = plan_of(NULL, 0, NULL);
    size_t bytes = rcd_plan_bytes(p);
    cr_assert(bytes > PACKED && bytes < PACKED + 32 * 1024, "%zu bytes", bytes);
    check_run(p, false);
    rcd_plan_unref(p);
}

Test(engine_forget, a_constant_that_is_read_stays)
{
    struct pb gather = mk_node("Gather", "g", "W,i", "rows");
    rcd_plan *p = plan_of(&gather, 1, "rows");
    cr_assert(rcd_plan_bytes(p) > PACKED + MATRIX);
    check_run(p, true);
    rcd_plan_unref(p);
}

/* Reshape of a constant is folded to a view of it. */
Test(engine_forget, a_constant_that_is_read_under_another_shape_stays)
{
    const int64_t dims[2] = {400, 300};
    struct pb constant = mk_node("Constant", "c", NULL, "dims");
    add_attr_ints(&constant, "value_ints", dims, 2);
    struct pb more[3] = {constant, mk_node("Reshape", "r", "W,dims", "V"),
                         mk_node("Gather", "g", "V,i", "rows")};
    rcd_plan *p = plan_of(more, 3, "rows");
    cr_assert(rcd_plan_bytes(p) > PACKED + MATRIX);
    check_run(p, true);
    rcd_plan_unref(p);
}
