/* test_refuse.c - models that are refused, and whether the message says where and why. */
#include "model_bytes.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(refuse, .timeout = 400);

/* Graph x -> node -> y. */
static struct pb one_node(struct pb node)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_NODE, node);
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    return g;
}

static struct pb relu(void)
{
    return one_node(mk_node("Relu", "r", "x", "y"));
}

Test(refuse, not_a_model)
{
    struct pb nothing = {0}, text = {0}, no_graph = {0};
    load_refused(nothing, "not an ONNX model");
    pb_raw(&text, "# a text file\n", 14);
    load_refused(text, "not a valid ONNX file");
    pb_int(&no_graph, 1, 8);
    load_refused(no_graph, "no graph");
    load_refused(mk_model(0, 17, relu()), "IR version 0");
    load_refused(mk_model(-1, 17, relu()), "IR version -1");
    load_refused(mk_model((int64_t)1 << 40, 17, relu()), "IR version 1099511627776");
}

Test(refuse, operator_sets)
{
    load_refused(mk_model(8, 0, relu()), "node 'r' (Relu): operator set 'ai.onnx' is not imported");
    load_refused(mk_model(8, -2, relu()), "version -2: not possible");
    load_refused(mk_model(8, (int64_t)1 << 33, relu()), "not possible");
    struct pb twice = mk_model(8, 17, relu());
    pb_msg(&twice, M_OPSET, mk_opset("ai.onnx", 16));
    load_refused(twice, "imported with another version before");
    struct pb node = mk_node("Relu", NULL, "x", "y");
    pb_str(&node, 7, "com.example");
    load_refused(mk_model(8, 17, one_node(node)), "operator set 'com.example' is not imported");
    struct pb many = mk_model(8, 17, relu());
    for (int i = 0; i < 70; i++)
        pb_msg(&many, M_OPSET, mk_opset("d", 1));
    load_refused(many, "the limit is 64");
}

Test(refuse, names)
{
    struct pb g = relu();
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    load_refused(mk_model(8, 17, g), "graph input 'x' is there twice");
    g = relu();
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    load_refused(mk_model(8, 17, g), "graph output 'y' is there twice");
    g = relu();
    pb_msg(&g, G_OUTPUT, mk_info("z", T_FLOAT, NULL));
    load_refused(mk_model(8, 17, g), "graph output 'z' is made by no node");
    g = relu();
    pb_msg(&g, G_OUTPUT, mk_info("", T_FLOAT, NULL));
    load_refused(mk_model(8, 17, g), "graph output '' has no name");
    g = relu();
    pb_msg(&g, G_INPUT, mk_info("", T_FLOAT, NULL));
    load_refused(mk_model(8, 17, g), "graph input '' has no name");
    static const float one[] = {1};
    g = relu();
    pb_msg(&g, G_INIT, mk_f32("w", "1", one, 1));
    pb_msg(&g, G_INIT, mk_f32("w", "1", one, 1));
    load_refused(mk_model(8, 17, g), "initializer 'w' is there twice");
    g = relu();
    pb_msg(&g, G_INIT, mk_f32("", "1", one, 1));
    load_refused(mk_model(8, 17, g), "initializer '' has no name");
    g = relu();
    pb_msg(&g, G_INFO, mk_info("w", T_I64, "1"));
    pb_msg(&g, G_INIT, mk_f32("w", "1", one, 1));
    load_refused(mk_model(8, 17, g), "value 'w' is declared as int64, its data are float32");
    g = relu();
    pb_bytes(&g, G_SPARSE, "", 0);
    load_refused(mk_model(8, 17, g), "sparse_initializer");
}

Test(refuse, single_assignment_and_order)
{
    struct pb g = relu();
    pb_msg(&g, G_NODE, mk_node("Neg", "again", "x", "y"));
    load_refused(mk_model(8, 17, g), "node 'again' (Neg): output 'y' is the name of another value");
    g = one_node(mk_node("Relu", NULL, "x", "x"));
    load_refused(mk_model(8, 17, g), "output 'x' is the name of another value");
    g = one_node(mk_node("Split", NULL, "x", "y,y"));
    load_refused(mk_model(8, 17, g), "output 'y' is the name of another value");
    g = one_node(mk_node("Relu", "early", "t", "y"));
    pb_msg(&g, G_NODE, mk_node("Neg", NULL, "x", "t"));
    load_refused(mk_model(8, 17, g), "node 'early' (Relu): reads 't', which a later node makes");
    g = one_node(mk_node("Relu", NULL, "y", "y"));
    load_refused(mk_model(8, 17, g), "node (Relu) that makes 'y': reads 'y'");
    g = one_node(mk_node("Relu", NULL, "ghost", "y"));
    load_refused(mk_model(8, 17, g), "reads 'ghost', which nothing in its scope makes");
    g = one_node(mk_node("", "n", "x", "y"));
    load_refused(mk_model(8, 17, g), "has no operator");
}

Test(refuse, bodies)
{
    struct pb body = mk_graph("body"), n = mk_node("If", "cond", "x", "y");
    pb_msg(&body, G_NODE, mk_node("Relu", "in", "x", "x"));
    add_attr_graph(&n, "then_branch", body);
    load_refused(mk_model(8, 17, one_node(n)),
                 "node 'in' (Relu): output 'x' is the name of another value");

    body = mk_graph("body"), n = mk_node("If", "cond", "x", "y");
    pb_msg(&body, G_OUTPUT, mk_info("y", T_FLOAT, NULL)); /* the node's own output */
    add_attr_graph(&n, "then_branch", body);
    load_refused(mk_model(8, 17, one_node(n)),
                 "node 'cond' (If): graph output 'y' is made by no node");

    static const float one[] = {1};
    body = mk_graph("body"), n = mk_node("Loop", NULL, "x", "y");
    pb_msg(&body, G_INPUT, mk_info("i", T_FLOAT, "1"));
    pb_msg(&body, G_INIT, mk_f32("i", "1", one, 1));
    add_attr_graph(&n, "body", body);
    load_refused(mk_model(8, 17, one_node(n)), "input 'i' of a body is an initializer as well");

    body = mk_graph("body"), n = mk_node("If", NULL, "x", "y"); /* inner names stay inside */
    pb_msg(&body, G_NODE, mk_node("Relu", NULL, "x", "inner"));
    pb_msg(&body, G_OUTPUT, mk_info("inner", T_FLOAT, NULL));
    add_attr_graph(&n, "then_branch", body);
    struct pb g = one_node(n);
    pb_msg(&g, G_NODE, mk_node("Neg", NULL, "inner", "z"));
    load_refused(mk_model(8, 17, g), "reads 'inner', which nothing in its scope makes");
}

Test(refuse, attributes)
{
    struct pb n = mk_node("Op", "n", "x", "y"), a = {0};
    add_attr_int(&n, "axis", 1);
    add_attr_int(&n, "axis", 1);
    load_refused(mk_model(8, 17, one_node(n)), "node 'n' (Op): attribute 'axis' is there twice");
    n = mk_node("Op", "n", "x", "y");
    add_attr_int(&n, "", 1);
    load_refused(mk_model(8, 17, one_node(n)), "attribute '' has no name");
    n = mk_node("Op", "n", "x", "y");
    pb_str(&a, 1, "t");
    pb_int(&a, 20, 13);
    pb_msg(&n, 5, a);
    load_refused(mk_model(8, 17, one_node(n)), "attribute 't' of type type_proto (13)");
    n = mk_node("Op", "n", "x", "y");
    a = (struct pb){0};
    pb_str(&a, 1, "t");
    pb_float(&a, 2, 1);
    pb_int(&a, 3, 1); /* no type, two fields */
    pb_msg(&n, 5, a);
    load_refused(mk_model(8, 17, one_node(n)), "attribute 't' of type undefined (0)");
    n = mk_node("Op", "n", "x", "y");
    add_attr_ref(&n, "t", 2, "outer");
    load_refused(mk_model(8, 17, one_node(n)), "stands in none");
    for (int type = 4; type <= 5; type++) {
        n = mk_node("Op", "n", "x", "y"), a = (struct pb){0};
        pb_str(&a, 1, "t");
        pb_int(&a, 20, type);
        pb_msg(&n, 5, a);
        load_refused(mk_model(8, 17, one_node(n)), type == 4 ? "has no tensor" : "has no graph");
    }
    n = mk_node("Op", "n", "x", "y");
    for (int i = 0; i < 200; i++)
        add_attr_int(&n, "a", i);
    load_refused(mk_model(8, 17, one_node(n)), "200 attributes, the limit is 128");
}

Test(refuse, constants)
{
    struct pb n = mk_node("Constant", "c", NULL, "y");
    load_refused(mk_model(8, 17, one_node(n)), "node 'c' (Constant): 0 values, a Constant has one");
    add_attr_int(&n, "value_int", 1);
    add_attr_float(&n, "value_float", 1);
    load_refused(mk_model(8, 17, one_node(n)), "2 values, a Constant has one");
    n = mk_node("Constant", "c", NULL, "y");
    add_attr_int(&n, "value_float", 1);
    load_refused(mk_model(8, 17, one_node(n)),
                 "attribute 'value_float' is unknown or of the wrong");
    n = mk_node("Constant", "c", NULL, "y");
    add_attr_int(&n, "val", 1);
    load_refused(mk_model(8, 17, one_node(n)), "attribute 'val' is unknown");
    n = mk_node("Constant", "c", "x", "y");
    add_attr_int(&n, "value_int", 1);
    load_refused(mk_model(8, 17, one_node(n)), "1 inputs and 1 outputs, a Constant has 0 and 1");
}

Test(refuse, types)
{
    static const struct {
        unsigned field;
        const char *name;
    } kinds[] = {
        {4, "sequence"}, {5, "map"}, {7, "opaque value"}, {8, "sparse tensor"}, {9, "optional"}};
    for (size_t i = 0; i < RCD_COUNT(kinds); i++) {
        struct pb type = {0}, info = {0}, g = mk_graph("g");
        char want[64];
        pb_bytes(&type, kinds[i].field, "", 0);
        pb_str(&info, 1, "s");
        pb_msg(&info, 2, type);
        pb_msg(&g, G_INPUT, info);
        snprintf(want, sizeof want, "graph input 's' is of type %s:", kinds[i].name);
        load_refused(mk_model(8, 17, g), want);
        g = one_node(mk_node("Relu", NULL, "x", "y")); /* fine inside the graph */
        pb_msg(&g, G_NODE, mk_node("SequenceConstruct", NULL, "x", "s"));
        pb_msg(&g, G_INFO, info);
        rcd_onnx_model *m = load_ok(mk_model(8, 17, g));
        cr_assert_eq(m->values[value_named(m, "s")].dtype, RCD_NONE);
        rcd_onnx_free(m);
    }
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INPUT, mk_info("x", 19, "1"));
    load_refused(mk_model(8, 17, g), "value 'x': element type float8e5m2 is not supported");
    g = mk_graph("g");
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "1,1,1,1,1,1,1,1,1"));
    load_refused(mk_model(8, 17, g), "value 'x': rank 9 is over the limit of 8");
}
