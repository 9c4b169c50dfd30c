/* test_function.c - model-local functions. */
#include "model_bytes.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(function, .timeout = 400); /* a million calls under sanitizers */

static struct pb call(const char *name, const char *in, const char *out)
{
    struct pb n = mk_node(name, NULL, in, out);
    pb_str(&n, 7, "f");
    return n;
}

/* Graph x -> nodes -> y, with one function. */
static struct pb with_function(struct pb node, struct pb fn)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_NODE, node);
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, "7"));
    struct pb m = mk_model(8, 17, g);
    pb_msg(&m, M_OPSET, mk_opset("f", 1));
    pb_msg(&fn, F_OPSET, mk_opset("", 13));
    pb_msg(&fn, F_OPSET, mk_opset("f", 1));
    pb_msg(&m, M_FUNCTION, fn);
    return m;
}

Test(function, nested_calls_attributes_and_defaults)
{
    rcd_onnx_model *m = load_ok(sample_model());
    const struct rcd_onnx_node *first = &m->graph.nodes[2], *second = &m->graph.nodes[3];
    cr_assert_str_eq(first->op_type, "Mul");
    cr_assert_eq(first->opset, 14, "the function's own operator set");
    cr_assert_eq(second->in[0], first->out[0]);
    cr_assert_eq(*(const float *)m->values[first->in[1]].constant->data, 2.0f, "given");
    cr_assert_eq(*(const float *)m->values[second->in[1]].constant->data, 3.0f, "default");
    cr_assert_eq(m->graph.outputs[0], second->out[0]);
    cr_assert_str_eq(m->values[second->out[0]].name, "y");
    cr_assert_eq(m->values[second->out[0]].rank, 2, "type from the caller's declaration");
    cr_assert_str_eq(m->values[first->out[0]].name, "");
    rcd_onnx_free(m);
}

Test(function, left_out_input_and_attribute)
{
    struct pb fn = mk_function("f", "g", "a,b", "r"), n = mk_node("Clip", NULL, "a,b", "r");
    add_attr_ref(&n, "min", 1, "low");
    pb_str(&fn, F_ATTR, "low");
    pb_msg(&fn, F_NODE, n);
    rcd_onnx_model *m = load_ok(with_function(call("g", "x", "y"), fn));
    cr_assert_eq(m->graph.n_nodes, 1);
    cr_assert_eq(m->graph.nodes[0].in[1], RCD_NO_VALUE);
    cr_assert_eq(m->graph.nodes[0].n_attrs, 0);
    rcd_onnx_free(m);

    n = call("g", "x", "y");
    add_attr_float(&n, "low", 4.0f);
    m = load_ok(with_function(n, fn));
    cr_assert_eq(rcd_onnx_attr(&m->graph.nodes[0], "min")->f, 4.0f);
    rcd_onnx_free(m);
}

/* An input given through and a result given twice need a value of their own. */
Test(function, results_with_two_names_are_copied)
{
    static const char *const names[] = {"y", "z", "u"};
    struct pb fn = mk_function("f", "g", "a", "a,r,r"), g = mk_graph("g");
    pb_msg(&fn, F_NODE, mk_node("Relu", NULL, "a", "r"));
    pb_msg(&fn, F_OPSET, mk_opset("", 13));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_NODE, call("g", "x", "y,z,u"));
    for (size_t i = 0; i < 3; i++)
        pb_msg(&g, G_OUTPUT, mk_info(names[i], T_FLOAT, NULL));
    struct pb model = mk_model(8, 17, g);
    pb_msg(&model, M_FUNCTION, fn);
    rcd_onnx_model *m = load_ok(model);
    cr_assert_eq(m->graph.n_nodes, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_assert_neq(m->graph.outputs[i], m->graph.inputs[0]);
        cr_assert_str_eq(m->values[m->graph.outputs[i]].name, names[i]);
    }
    const struct rcd_onnx_node *copy = &m->graph.nodes[1];
    cr_assert_str_eq(copy->op_type, "Identity");
    cr_assert(copy->in[0] == m->graph.inputs[0] && copy->out[0] == m->graph.outputs[0]);
    cr_assert_eq(m->graph.nodes[2].in[0], m->graph.outputs[1]);
    rcd_onnx_free(m);
}

Test(function, bodies_do_not_see_the_caller)
{
    struct pb fn = mk_function("f", "g", "a", "r");
    pb_msg(&fn, F_NODE, mk_node("Add", NULL, "a,x", "r"));
    load_refused(with_function(call("g", "x", "y"), fn), "reads 'x', which nothing in its scope");
}

/* A graph given as attribute sees the values where it was written. */
Test(function, graph_attribute_sees_the_caller)
{
    struct pb fn = mk_function("f", "g", "c", "r"), cond = mk_node("If", NULL, "c", "r");
    struct pb n = call("g", "x", "y"), body = mk_graph("body");
    add_attr_ref(&cond, "then_branch", 5, "body");
    add_attr_ref(&cond, "else_branch", 5, "body");
    pb_str(&fn, F_ATTR, "body");
    pb_msg(&fn, F_NODE, cond);
    pb_msg(&body, G_NODE, mk_node("Relu", NULL, "x", "inner"));
    pb_msg(&body, G_OUTPUT, mk_info("inner", T_FLOAT, NULL));
    add_attr_graph(&n, "body", body);
    rcd_onnx_model *m = load_ok(with_function(n, fn));
    const struct rcd_onnx_graph *b = rcd_onnx_attr(&m->graph.nodes[0], "else_branch")->g;
    cr_assert_eq(b->nodes[0].in[0], m->graph.inputs[0]);
    cr_assert_eq(b->nodes[0].opset, 17, "and the caller's operator sets");
    rcd_onnx_free(m);
}

/* The tensor of a Constant in a body called often is made once. */
Test(function, tensors_are_shared_between_calls)
{
    float data[1024] = {0};
    struct pb fn = mk_function("f", "g", "a", "r"), c = mk_node("Constant", NULL, NULL, "c");
    add_attr_tensor(&c, "value", mk_f32("", "1024", data, 1024));
    pb_msg(&fn, F_NODE, c);
    pb_msg(&fn, F_NODE, mk_node("Add", NULL, "a,c", "r"));
    pb_msg(&fn, F_OPSET, mk_opset("", 13));
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_NODE, call("g", "x", "t"));
    pb_msg(&g, G_NODE, call("g", "t", "y"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    struct pb model = mk_model(8, 17, g);
    pb_msg(&model, M_FUNCTION, fn);
    rcd_onnx_model *m = load_ok(model);
    cr_assert_eq(m->graph.n_nodes, 2);
    cr_assert_eq(m->values[m->graph.nodes[0].in[1]].constant,
                 m->values[m->graph.nodes[1].in[1]].constant);
    rcd_onnx_free(m);
}

Test(function, refusals)
{
    struct pb fn = mk_function("f", "g", "a", "r"), n;
    pb_msg(&fn, F_NODE, call("g", "a", "r"));
    load_refused(with_function(call("g", "x", "y"), fn), "the function calls itself");

    fn = mk_function("f", "g", "a", "r");
    pb_msg(&fn, F_NODE, mk_node("Relu", NULL, "a", "r"));
    load_refused(with_function(call("g", "x,x", "y"), fn), "2 inputs and 1 outputs, the function");
    load_refused(with_function(call("g", "x", "y,z"), fn), "1 inputs and 2 outputs, the function");
    load_refused(with_function(call("g", "nope", "y"), fn), "reads 'nope'");
    load_refused(with_function(call("g", "x", "x"), fn), "output 'x' is the name of another value");
    n = call("g", "x", "y");
    add_attr_int(&n, "extra", 1);
    load_refused(with_function(n, fn), "attribute 'extra' is not one of the function");

    struct pb twice = with_function(call("g", "x", "y"), fn);
    pb_msg(&twice, M_FUNCTION, fn);
    load_refused(twice, "function 'g': is there twice");

    fn = mk_function("f", "g", "a,a", "r");
    load_refused(with_function(call("g", "x", "y"), fn), "is there twice");
    fn = mk_function("f", "g", "a", "r");
    load_refused(with_function(call("g", "x", "y"), fn),
                 "output 'r' of the function is made by nothing");
    fn = mk_function("f", "g", "a,b", "b");
    load_refused(with_function(call("g", "x", "y"), fn),
                 "output 'b' of the function is made by nothing");

    fn = mk_function("f", "g", "a", "r");
    n = mk_node("Elu", NULL, "a", "r");
    add_attr_ref(&n, "alpha", 2, "v");
    pb_msg(&fn, F_NODE, n);
    pb_str(&fn, F_ATTR, "v");
    n = call("g", "x", "y");
    add_attr_float(&n, "v", 1.0f);
    load_refused(with_function(n, fn), "has another type than the attribute that it refers to");

    fn = mk_function("f", "g", "a", "r");
    n = mk_node("Thing", NULL, "a", "r");
    pb_str(&n, 7, "elsewhere");
    pb_msg(&fn, F_NODE, n);
    load_refused(with_function(call("g", "x", "y"), fn),
                 "function 'g': node (Thing) that makes 'r': operator set 'elsewhere'");
}

/* f0 calls f1 twice, f1 calls f2 twice ...: 2^40 calls of a body without nodes. */
Test(function, exponential_growth_is_stopped)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_NODE, call("f0", "x", "y"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    struct pb model = mk_model(8, 17, g);
    for (int i = 0; i < 40; i++) {
        char name[16], next[16];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(next, sizeof next, "f%d", i + 1);
        struct pb fn = mk_function("f", name, "a", "a");
        for (int k = 0; k < 2 && i < 39; k++)
            pb_msg(&fn, F_NODE, call(next, "a", ""));
        pb_msg(&model, M_FUNCTION, fn);
    }
    load_refused(model, "more than 1000000 nodes once functions are inlined");
}

Test(function, long_chain_is_stopped)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_NODE, call("f0", "x", "y"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    struct pb model = mk_model(8, 17, g);
    for (int i = 0; i < 3000; i++) {
        char name[16], next[16];
        snprintf(name, sizeof name, "f%d", i);
        snprintf(next, sizeof next, "f%d", i + 1);
        struct pb fn = mk_function("f", name, "a", "r");
        pb_msg(&fn, F_NODE, i == 2999 ? mk_node("Relu", NULL, "a", "r") : call(next, "a", "r"));
        pb_msg(&fn, F_OPSET, mk_opset("", 13));
        pb_msg(&model, M_FUNCTION, fn);
    }
    load_refused(model, "nested more than 64 deep");
}
