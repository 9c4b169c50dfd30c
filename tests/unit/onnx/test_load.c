/* test_load.c - what a good file becomes. */
#include "model_bytes.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(load, .timeout = 400);

Test(load, sample)
{
    rcd_onnx_model *m = load_ok(sample_model());
    cr_assert(m->ir_version == 8 && m->opset == 17);
    cr_assert_str_eq(m->producer_name, "recurd-tests");
    cr_assert_str_eq(m->producer_version, "");
    cr_assert_str_eq(m->doc, "a sample");
    cr_assert_eq(m->n_meta, 1);
    cr_assert_str_eq(m->meta_keys[0], "key");
    cr_assert_str_eq(m->meta_values[0], "value");
    cr_assert_str_eq(m->graph.name, "main");
    cr_assert(m->graph.n_inputs == 2 && m->graph.n_outputs == 1);

    const struct rcd_onnx_value *x = &m->values[m->graph.inputs[0]];
    cr_assert_str_eq(x->name, "x");
    cr_assert(x->dtype == RCD_F32 && x->rank == 2 && x->dims[0] == -1 && x->dims[1] == 2);
    cr_assert_str_eq(x->dim_names[0], "batch");
    cr_assert_null(x->dim_names[1]);
    cr_assert_eq(m->values[m->graph.inputs[1]].rank, 0);

    /* MatMul, If, and Mul twice: functions inlined, Constants gone */
    cr_assert_eq(m->graph.n_nodes, 4);
    const struct rcd_onnx_node *n = m->graph.nodes;
    cr_assert(strcmp(n[0].op_type, "MatMul") == 0 && n[0].opset == 17 && n[0].domain[0] == '\0');
    cr_assert_str_eq(n[0].name, "mm");
    const struct rcd_onnx_value *h = &m->values[n[0].out[0]];
    cr_assert(strcmp(h->name, "h") == 0 && h->rank == 2 && h->dims[1] == 3, "value_info is used");
    const struct rcd_tensor *w = m->values[n[0].in[1]].constant;
    cr_assert(w != NULL && w->n == 6 && ((const float *)w->data)[5] == 6.0f);
    cr_assert_eq((uintptr_t)w->data % RCD_ALIGN, 0);
    rcd_onnx_free(m);
}

Test(load, bodies_see_outer_names)
{
    rcd_onnx_model *m = load_ok(sample_model());
    const struct rcd_onnx_node *branch = &m->graph.nodes[1];
    cr_assert_str_eq(branch->op_type, "If");
    const struct rcd_attr *yes = rcd_onnx_attr(branch, "then_branch");
    const struct rcd_attr *no = rcd_onnx_attr(branch, "else_branch");
    cr_assert(yes != NULL && no != NULL && yes->type == RCD_ATTR_GRAPH);
    cr_assert_null(rcd_onnx_attr(branch, "else"));
    rcd_value_id h = m->graph.nodes[0].out[0];
    cr_assert(yes->g->n_nodes == 1 && yes->g->nodes[0].in[0] == h);
    cr_assert(no->g->n_nodes == 1 && no->g->nodes[0].in[0] == h);
    cr_assert_eq(yes->g->outputs[0], yes->g->nodes[0].out[0]);
    const struct rcd_tensor *c = m->values[yes->g->nodes[0].in[1]].constant;
    cr_assert(c != NULL && c->rank == 0 && *(const float *)c->data == 1.0f);
    rcd_onnx_free(m);
}

Test(load, every_form_of_constant)
{
    struct pb g = mk_graph("g"), t = mk_tensor("", T_I32, "2"), n;
    pb_packed(&t, 5, (int64_t[]){7, -8}, 2);
    n = mk_node("Constant", NULL, NULL, "a");
    add_attr_tensor(&n, "value", t);
    pb_msg(&g, G_NODE, n);
    n = mk_node("Constant", NULL, NULL, "b");
    add_attr_int(&n, "value_int", -5);
    pb_msg(&g, G_NODE, n);
    n = mk_node("Constant", NULL, NULL, "c");
    add_attr_ints(&n, "value_ints", (int64_t[]){1, 2, 3}, 3);
    pb_msg(&g, G_NODE, n);
    n = mk_node("Constant", NULL, NULL, "d");
    add_attr_float(&n, "value_float", 0.5f);
    pb_msg(&g, G_NODE, n);
    n = mk_node("Constant", NULL, NULL, "e");
    add_attr_floats(&n, "value_floats", (float[]){0.5f, 1.5f}, 2);
    pb_msg(&g, G_NODE, n);
    n = mk_node("Constant", NULL, NULL, "f");
    add_attr_str(&n, "value_string", "hello");
    pb_msg(&g, G_NODE, n);
    n = mk_node("Constant", NULL, NULL, "h");
    add_attr_strs(&n, "value_strings", "x,,yz");
    pb_msg(&g, G_NODE, n);
    pb_msg(&g, G_OUTPUT, mk_info("a", T_I32, NULL));
    rcd_onnx_model *m = load_ok(mk_model(8, 13, g));
    cr_assert_eq(m->graph.n_nodes, 0);
    const struct rcd_tensor *c[7];
    for (size_t i = 0; i < 7; i++) {
        rcd_value_id id =
            value_named(m, (const char *const[]){"a", "b", "c", "d", "e", "f", "h"}[i]);
        cr_assert_neq(id, RCD_NO_VALUE);
        c[i] = m->values[id].constant;
        cr_assert_not_null(c[i]);
        cr_assert_eq(m->values[id].rank, c[i]->rank);
        cr_assert_eq(m->values[id].dtype, c[i]->dtype);
    }
    cr_assert(c[0]->dtype == RCD_I32 && c[0]->n == 2 && ((const int32_t *)c[0]->data)[1] == -8);
    cr_assert(c[1]->dtype == RCD_I64 && c[1]->rank == 0 && *(const int64_t *)c[1]->data == -5);
    cr_assert(c[2]->rank == 1 && c[2]->n == 3 && ((const int64_t *)c[2]->data)[2] == 3);
    cr_assert(c[3]->dtype == RCD_F32 && c[3]->rank == 0 && *(const float *)c[3]->data == 0.5f);
    cr_assert(c[4]->rank == 1 && ((const float *)c[4]->data)[1] == 1.5f);
    const struct rcd_bytes *f = c[5]->data, *h = c[6]->data;
    cr_assert(c[5]->dtype == RCD_BYTES && f->len == 5 && memcmp(f->ptr, "hello", 6) == 0);
    cr_assert(c[6]->n == 3 && h[0].len == 1 && h[1].len == 0 && memcmp(h[2].ptr, "yz", 3) == 0);
    rcd_onnx_free(m);
}

Test(load, left_out_inputs_and_outputs)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_NODE, mk_node("LSTM", NULL, "x,x,x,,,x", ",yh"));
    pb_msg(&g, G_OUTPUT, mk_info("yh", T_FLOAT, NULL));
    rcd_onnx_model *m = load_ok(mk_model(8, 14, g));
    const struct rcd_onnx_node *n = m->graph.nodes;
    cr_assert(n->n_in == 6 && n->in[3] == RCD_NO_VALUE && n->in[5] == n->in[0]);
    cr_assert(n->n_out == 2 && n->out[0] == RCD_NO_VALUE && n->out[1] == m->graph.outputs[0]);
    cr_assert_eq(m->values[n->in[0]].rank, -1);
    rcd_onnx_free(m);
}

/* Before IR version 4 every initialiser is listed as an input, in bodies as well. */
Test(load, initialisers_listed_as_inputs)
{
    static const float one[] = {1.0f};
    for (int64_t ir = 3; ir <= 4; ir++) {
        struct pb g = mk_graph("g");
        pb_msg(&g, G_INPUT, mk_info("w", T_FLOAT, "1"));
        pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "1"));
        pb_msg(&g, G_INIT, mk_f32("w", "1", one, 1));
        pb_msg(&g, G_NODE, mk_node("Add", NULL, "x,w", "y"));
        pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, "1"));
        rcd_onnx_model *m = load_ok(mk_model(ir, 9, g));
        cr_assert_eq(m->graph.n_inputs, 1);
        cr_assert_str_eq(m->values[m->graph.inputs[0]].name, "x");
        cr_assert_not_null(m->values[m->graph.nodes[0].in[1]].constant);
        rcd_onnx_free(m);
    }
}

Test(load, domains_and_opsets)
{
    struct pb g = mk_graph("g"), n = mk_node("Relu", NULL, "x", "y");
    pb_str(&n, 7, "ai.onnx");
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_NODE, n);
    n = mk_node("FusedGelu", NULL, "y", "z");
    pb_str(&n, 7, "com.microsoft");
    pb_msg(&g, G_NODE, n);
    pb_msg(&g, G_OUTPUT, mk_info("z", T_FLOAT, NULL));
    struct pb model = mk_model(8, 0, g);
    pb_msg(&model, M_OPSET, mk_opset("ai.onnx", 15));
    pb_msg(&model, M_OPSET, mk_opset("com.microsoft", 1));
    pb_msg(&model, M_OPSET, mk_opset("nobody.uses.this", 99));
    rcd_onnx_model *m = load_ok(model);
    cr_assert_eq(m->opset, 15);
    cr_assert_str_eq(m->graph.nodes[0].domain, "");
    cr_assert_eq(m->graph.nodes[0].opset, 15);
    cr_assert_str_eq(m->graph.nodes[1].domain, "com.microsoft");
    cr_assert_eq(m->graph.nodes[1].opset, 1);
    rcd_onnx_free(m);
}

Test(load, first_ir_versions)
{
    struct pb g = mk_graph("g"), n = mk_node("LeakyRelu", NULL, "x", "y"), a = {0};
    pb_str(&a, 1, "alpha"); /* no type: the field tells */
    pb_float(&a, 2, 0.25f);
    pb_msg(&n, 5, a);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "-1,3"));
    pb_msg(&g, G_NODE, n);
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    rcd_onnx_model *m = load_ok(mk_model(1, 0, g));
    cr_assert(m->opset == 1 && m->graph.nodes[0].opset == 1);
    const struct rcd_attr *alpha = rcd_onnx_attr(&m->graph.nodes[0], "alpha");
    cr_assert(alpha->type == RCD_ATTR_FLOAT && alpha->f == 0.25f);
    cr_assert_eq(m->values[m->graph.inputs[0]].dims[0], -1);
    rcd_onnx_free(m);
}

Test(load, attributes)
{
    struct pb g = mk_graph("g"), n = mk_node("Op", NULL, "x", "y"), zero = {0};
    add_attr_int(&n, "i", INT64_MIN);
    add_attr_str(&n, "s", "text");
    add_attr_ints(&n, "ints", (int64_t[]){3, -3}, 2);
    add_attr_floats(&n, "floats", (float[]){1, 2}, 2);
    add_attr_strs(&n, "strs", "forward,reverse");
    add_attr_ints(&n, "none", NULL, 0);
    pb_str(&zero, 1, "zero"); /* proto3 writers leave out zeros */
    pb_int(&zero, 20, 1);
    pb_msg(&n, 5, zero);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_NODE, n);
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    rcd_onnx_model *m = load_ok(mk_model(8, 14, g));
    const struct rcd_onnx_node *node = m->graph.nodes;
    cr_assert_eq(node->n_attrs, 7);
    cr_assert_eq(rcd_onnx_attr(node, "i")->i, INT64_MIN);
    cr_assert_str_eq(rcd_onnx_attr(node, "s")->s.ptr, "text");
    cr_assert(rcd_onnx_attr(node, "ints")->n == 2 && rcd_onnx_attr(node, "ints")->ints[1] == -3);
    cr_assert_eq(rcd_onnx_attr(node, "floats")->floats[1], 2.0f);
    cr_assert_str_eq(rcd_onnx_attr(node, "strs")->strings[1].ptr, "reverse");
    cr_assert(rcd_onnx_attr(node, "none")->n == 0 &&
              rcd_onnx_attr(node, "none")->type == RCD_ATTR_INTS);
    cr_assert(rcd_onnx_attr(node, "zero")->f == 0.0f);
    rcd_onnx_free(m);
}

/* A body may name its inputs like outer values, and give out outer values. */
Test(load, shadowing_by_inputs_and_outer_results)
{
    struct pb body = mk_graph("body"), g = mk_graph("g"), n = mk_node("Loop", NULL, "x", "y,z");
    pb_msg(&body, G_INPUT, mk_info("x", T_I64, NULL));
    pb_msg(&body, G_NODE, mk_node("Relu", NULL, "x", "r"));
    pb_msg(&body, G_OUTPUT, mk_info("r", T_I64, NULL));
    pb_msg(&body, G_OUTPUT, mk_info("o", T_I64, NULL));
    pb_msg(&body, G_OUTPUT, mk_info("o", T_I64, NULL));
    add_attr_graph(&n, "body", body);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_NODE, mk_node("Relu", NULL, "x", "o"));
    pb_msg(&g, G_NODE, n);
    pb_msg(&g, G_NODE, mk_node("Neg", NULL, "y", "r")); /* after the body: no clash */
    pb_msg(&g, G_OUTPUT, mk_info("r", T_FLOAT, NULL));
    rcd_onnx_model *m = load_ok(mk_model(8, 14, g));
    const struct rcd_onnx_graph *b = rcd_onnx_attr(&m->graph.nodes[1], "body")->g;
    cr_assert_neq(b->inputs[0], m->graph.inputs[0]);
    cr_assert_eq(b->nodes[0].in[0], b->inputs[0]);
    cr_assert_eq(m->values[b->inputs[0]].dtype, RCD_I64);
    cr_assert_eq(b->outputs[1], m->graph.nodes[0].out[0]);
    cr_assert_eq(b->outputs[1], b->outputs[2]);
    rcd_onnx_free(m);
}

Test(load, fingerprint_follows_the_bytes)
{
    struct pb a = sample_model(), b = sample_model();
    rcd_onnx_model *ma = load_ok(a), *mb = load_ok(b);
    cr_assert_eq(ma->fingerprint, mb->fingerprint);
    rcd_onnx_free(mb);
    pb_str(&b, 3, "1.0");
    mb = load_ok(b);
    cr_assert_neq(ma->fingerprint, mb->fingerprint);
    cr_assert_str_eq(mb->producer_version, "1.0");
    rcd_onnx_free(ma);
    rcd_onnx_free(mb);
    cr_assert_null(rcd_onnx_free(NULL));
}
