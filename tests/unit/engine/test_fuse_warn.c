/* test_fuse_warn.c - sums that exporters write otherwise than the network means are told at load. */
#include "plans.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(engine_fuse_warn, .timeout = 400);

struct sum {
    const char *reduction;
    const char *x_dims;   /* of the input */
    const char *rows;     /* what is picked and summed: "x", or "r", its ReLU */
    const char *shape_of; /* as many rows as this value has, or "frozen": 4 */
    const char *updates;  /* "m", what the edges bring, or "f", a fill of its shape */
};

static rcd_plan *plan_of(const struct sum *s)
{
    static const int64_t frozen[] = {4, 3};
    struct pb g = graph_of_edges();
    pb_msg(&g, G_INIT, mk_i64("frozen", "2", frozen, 2));
    pb_msg(&g, G_NODE, mk_node("Relu", "r", "x", "r"));
    char text[64];
    snprintf(text, sizeof text, "%s,src", s->rows);
    pb_msg(&g, G_NODE, mk_node("Gather", "m", text, "m"));
    pb_msg(&g, G_NODE, mk_node("Shape", "ms", "m", "ms"));
    pb_msg(&g, G_NODE, mk_node("ConstantOfShape", "f", "ms", "f"));
    pb_msg(&g, G_NODE, mk_node("Reshape", "c", "dst,column", "c"));
    pb_msg(&g, G_NODE, mk_node("Expand", "e", "c,ms", "e"));
    const bool counted = strcmp(s->shape_of, "frozen") != 0;
    if (counted)
        pb_msg(&g, G_NODE, mk_node("Shape", "shape", s->shape_of, "shape"));
    pb_msg(&g, G_NODE, mk_node("ConstantOfShape", "z", counted ? "shape" : "frozen", "z"));
    snprintf(text, sizeof text, "z,e,%s", s->updates);
    struct pb n = mk_node("ScatterElements", "y", text, "y");
    add_attr_int(&n, "axis", 0);
    add_attr_str(&n, "reduction", s->reduction);
    pb_msg(&g, G_NODE, n);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, s->x_dims));
    pb_msg(&g, G_INPUT, mk_info("edge_index", T_I64, "2,edges"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    rcd_onnx_model *m = load_ok(mk_model(8, 18, g));
    rcd_plan *p = NULL;
    struct rcd_error err;
    const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
    cr_assert(rcd_plan_new(&m, &opts, &p, &err) == RCD_OK, "%s", err.text);
    return p;
}

/* text NULL: no warning is wanted */
static void check(struct sum s, const char *text)
{
    rcd_plan *p = plan_of(&s);
    size_t n = 0;
    const char *const *w = rcd_plan_warnings(p, &n);
    if (text == NULL)
        cr_assert(n == 0, "%s of %s: %s", s.reduction, s.rows, w[0]);
    else
        cr_assert(n == 1 && strstr(w[0], text) != NULL, "%s: %s", text, n > 0 ? w[0] : "none");
    rcd_plan_unref(p);
}

Test(engine_fuse_warn, a_maximum_that_starts_from_zeros)
{
    check((struct sum){"max", "nodes,3", "x", "x", "m"},
          "'y' (ScatterElements): takes the maximum of 0");
    check((struct sum){"min", "nodes,3", "r", "x", "m"}, "takes the minimum of 0");
    check((struct sum){"max", "nodes,3", "r", "x", "m"}, NULL);
    check((struct sum){"max", "nodes,3", "x", "x", "f"}, NULL);
    check((struct sum){"add", "nodes,3", "x", "x", "m"}, NULL);
}

Test(engine_fuse_warn, as_many_rows_as_the_example_had)
{
    check((struct sum){"add", "nodes,3", "x", "frozen", "m"}, "always makes 4 rows");
    check((struct sum){"add", "4,3", "x", "frozen", "m"}, NULL);
}

/* Rows that are not known to be as many as their indices, or whole numbers, or a product: no sparse product, but the same
 * number of graphs. `data`: what the scatter starts from. */
static void check_other(const char *op, const char *reduction, const char *updates,
                        const char *data, const char *text)
{
    static const int64_t counts[4] = {0}, frozen[] = {4, 3}, begin[] = {0, 4, 4, 9},
                         names[] = {0, 7, 5, 9};
    static const float rows[12] = {0};
    struct pb g = graph_of_edges();
    pb_msg(&g, G_INIT, mk_i64("counts", "4", counts, 4));
    pb_msg(&g, G_INIT, mk_i64("frozen", "2", frozen, 2));
    pb_msg(&g, G_INIT, mk_f32("rows", "4,3", rows, 12));
    pb_msg(&g, G_INIT, mk_i64("begin", "4", begin, 4));
    pb_msg(&g, G_INIT, mk_i64("names", "4", names, 4));
    char in[64];
    pb_msg(&g, G_NODE, mk_node("Reshape", "at", "batch,column", "at"));
    pb_msg(&g, G_NODE, mk_node("Shape", "xs", "x", "xs"));
    pb_msg(&g, G_NODE, mk_node("Expand", "spread", "at,xs", "spread"));
    pb_msg(&g, G_NODE, mk_node("Mul", "twice", "batch,batch", "ones"));
    pb_msg(&g, G_NODE, mk_node("Mul", "places", "at,at", "places"));
    pb_msg(&g, G_NODE, mk_node("ConstantOfShape", "z", "frozen", "z"));
    snprintf(in, sizeof in, "%s,%s,%s", data,
             strcmp(op, "ScatterND") == 0 ? "places"
             : strcmp(updates, "x") == 0  ? "spread"
                                          : "batch",
             updates);
    const bool gather = strcmp(op, "Gather") == 0;
    struct pb n = mk_node(op, "y", gather ? data : in, "y");
    if (strcmp(op, "ScatterND") != 0)
        add_attr_int(&n, "axis", 0);
    if (!gather)
        add_attr_str(&n, "reduction", reduction);
    pb_msg(&g, G_NODE, n);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "nodes,3"));
    pb_msg(&g, G_INPUT, mk_info("batch", T_I64, "also_nodes"));
    pb_msg(&g, G_INPUT, mk_info("edge_index", T_I64, "2,edges"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    rcd_plan *p = plan_from(mk_model(8, 18, g), RCD_CPU_C);
    size_t k = 0;
    const char *const *w = rcd_plan_warnings(p, &k);
    if (text == NULL)
        cr_assert(k == 0, "%s of %s: %s", op, updates, w[0]);
    else
        cr_assert(k == 1 && strstr(w[0], text) != NULL, "%s of %s: %s", op, updates,
                  k > 0 ? w[0] : "none");
    rcd_plan_unref(p);
}

Test(engine_fuse_warn, as_many_rows_as_the_example_had_in_other_scatters)
{
    check_other("ScatterElements", "add", "x", "z", "'y' (ScatterElements): always makes 4 rows");
    check_other("ScatterElements", "add", "ones", "counts",
                "always makes 4 rows"); /* whole numbers */
    check_other("ScatterElements", "mul", "x", "rows", "always makes 4 rows");
    check_other("ScatterND", "none", "x", "z",
                "'y' (ScatterND): always makes 4 rows"); /* a dense batch */
    check_other("ScatterND", "none", "x", "x", NULL);
    check_other("Gather", "", "", "begin,batch", "'y' (Gather): picks from 4 numbers of the file");
    check_other("Gather", "", "", "counts,batch", "'y' (Gather): picks from 4 numbers of the file");
    check_other("Gather", "", "", "names,batch", NULL);
}
