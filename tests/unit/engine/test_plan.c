/* test_plan.c - making a plan: what is refused and how it is said, failing allocations, states. */
#include "../onnx/model_bytes.h"
#include "recurd/engine.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(engine_plan, .timeout = 400);

/* y = op(x, ...), x f32[batch,3] */
static struct pb one_node(struct pb node, int64_t opset)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_NODE, node);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "batch,3"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    return mk_model(8, opset, g);
}

static rcd_status plan_of(struct pb model, const struct rcd_plan_opts *more, rcd_plan **ret,
                          struct rcd_error *err)
{
    rcd_onnx_model *m = load_ok(model);
    struct rcd_plan_opts opts = more != NULL ? *more : (struct rcd_plan_opts){.n_states = 0};
    opts.kernels = rcd_kernels_for(RCD_CPU_C);
    rcd_status st = rcd_plan_new(&m, &opts, ret, err);
    rcd_onnx_free(m);
    return st;
}

static void refused(struct pb model, const char *text)
{
    rcd_plan *p = NULL;
    struct rcd_error err;
    cr_assert(plan_of(model, NULL, &p, &err) == RCD_EMODEL, "it was not refused: %s", text);
    cr_assert(strstr(err.text, text) != NULL, "'%s' lacks '%s'", err.text, text);
}

Test(engine_plan, unknown_operator_names_node_and_operator)
{
    refused(one_node(mk_node("Frobnicate", "n7", "x", "y"), 17), "node 'n7' (Frobnicate");
}

Test(engine_plan, operator_of_another_opset)
{
    refused(one_node(mk_node("Gelu", "g", "x", "y"), 17), "in this opset version");
}

Test(engine_plan, unknown_attribute_is_named)
{
    struct pb node = mk_node("Relu", "r", "x", "y");
    add_attr_int(&node, "sparkle", 1);
    refused(one_node(node, 17), "attribute 'sparkle' is not known");
}

Test(engine_plan, attribute_of_the_wrong_type)
{
    struct pb node = mk_node("Softmax", "s", "x", "y");
    add_attr_str(&node, "axis", "last");
    refused(one_node(node, 17), "attribute 'axis' has the wrong type");
}

Test(engine_plan, wrong_number_of_inputs)
{
    refused(one_node(mk_node("Add", "a", "x", "y"), 17), "1 inputs, want 2 to 2");
}

static struct pb state_model(void)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_NODE, mk_node("Add", "a", "x,h", "hn"));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "batch,3"));
    pb_msg(&g, G_INPUT, mk_info("h", T_FLOAT, "batch,3"));
    pb_msg(&g, G_OUTPUT, mk_info("hn", T_FLOAT, NULL));
    return mk_model(8, 17, g);
}

Test(engine_plan, a_state_that_is_left_out_is_zero_of_the_request_s_batch)
{
    const char *in[] = {"h"}, *out[] = {"hn"};
    struct rcd_plan_opts opts = {.n_states = 1, .state_inputs = in, .state_outputs = out};
    rcd_plan *p = NULL;
    struct rcd_error err;
    cr_assert(plan_of(state_model(), &opts, &p, &err) == RCD_OK, "%s", err.text);
    float x[6] = {1, 2, 3, 4, 5, 6};
    int64_t dims[2] = {2, 3};
    struct rcd_tensor ins[2] = {{.dtype = RCD_NONE}, {.dtype = RCD_NONE}}, outs[1];
    memset(outs, 0, sizeof outs);
    cr_assert(rcd_tensor_shape(&ins[0], RCD_F32, 2, dims));
    ins[0].data = x;
    cr_assert(rcd_plan_check_inputs(p, &(struct rcd_infer){.in = ins}, &err) == RCD_OK, "%s",
              err.text);
    struct rcd_infer req = {.in = ins, .out = outs};
    struct rcd_infer *reqs[1] = {&req};
    rcd_exec *exec = rcd_exec_new(1 << 20, 1 << 20);
    rcd_exec_run(exec, p, 1, reqs, NULL);
    cr_assert(req.err.code == RCD_OK, "%s", req.err.text);
    cr_assert(outs[0].dims[0] == 2 && memcmp(outs[0].data, x, sizeof x) == 0);
    rcd_infer_drop(&req, 1);
    rcd_exec_free(exec);
    cr_assert(rcd_plan_state_output(p, 1) == 0 && rcd_plan_state_output(p, 0) == -1);
    rcd_plan_unref(p);
}

Test(engine_plan, a_state_that_is_not_there_is_named)
{
    const char *in[] = {"h0"}, *out[] = {"hn"};
    struct rcd_plan_opts opts = {.n_states = 1, .state_inputs = in, .state_outputs = out};
    rcd_plan *p = NULL;
    struct rcd_error err;
    cr_assert(plan_of(state_model(), &opts, &p, &err) == RCD_EMODEL);
    cr_assert(strstr(err.text, "no input 'h0'") != NULL, "%s", err.text);
}

/* Sizes that differ are told with what may differ: some axes, or, of a file without dynamic axes, none. */
Test(engine_plan, sizes_of_another_request)
{
    static const struct {
        const char *dims, *why;
    } cases[] = {
        {"rows,2", "input 'x' has shape [3,4], want [-1,2] (-1: any size)"},
        {"5,2",
         "input 'x' has shape [3,4], want [5,2] (the file has no other: sizes vary where it was "
         "exported with dynamic axes)"}};
    const int64_t dims[] = {3, 4};
    float zeros[12] = {0};
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct pb g = mk_graph("g");
        pb_msg(&g, G_NODE, mk_node("Relu", "y", "x", "y"));
        pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, cases[i].dims));
        pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
        rcd_onnx_model *m = load_ok(mk_model(8, 18, g));
        const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
        rcd_plan *p = NULL;
        struct rcd_error err = {.text = ""};
        struct rcd_tensor in, out = {.dtype = RCD_NONE};
        cr_assert(rcd_plan_new(&m, &opts, &p, &err) == RCD_OK &&
                  rcd_tensor_shape(&in, RCD_F32, 2, dims));
        in.data = zeros;
        const struct rcd_infer req = {.in = &in, .out = &out};
        cr_assert(rcd_plan_check_inputs(p, &req, &err) == RCD_EINVAL);
        cr_assert_str_eq(err.text, cases[i].why);
        rcd_plan_unref(p);
    }
}

/* The k-th allocation fails, for k = 0, 1, ... until none does: never a crash, never a leak. */
Test(engine_plan, failing_allocations)
{
    bool done = false;
    for (size_t k = 0; !done; k++) {
        rcd_onnx_model *m = load_ok(sample_model());
        const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
        rcd_plan *p = NULL;
        struct rcd_error err;
        rcd_fault_after(k);
        rcd_status st = rcd_plan_new(&m, &opts, &p, &err);
        done = !rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        cr_assert(done || st == RCD_ENOMEM, "allocation %zu: status %d, %s", k, (int)st, err.text);
        rcd_onnx_free(m);
        rcd_plan_unref(p);
        cr_assert(k < 10000);
    }
}
