/* test_alike.c - what is the same for all edges: one row of an input that else has a row per edge, and what a file does to
 * all gathered rows alike. */
#include "plans.h"
#include "recurd/engine_bind.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(engine_alike, .timeout = 400);

enum { NODES = 4, EDGES = 5, WIDTH = 3 };

/* y = the sums of Mul(x[src], w); `w`: what is multiplied, as a column where it is empty. */
static struct pb net(const char *w_dims, const char *w, bool measured)
{
    static const int64_t width[] = {WIDTH};
    struct pb g = graph_of_edges();
    if (w[0] != 'm')
        pb_msg(&g, G_NODE, mk_node("Reshape", "wcol", "w,column", "wcol"));
    pb_msg(&g, G_NODE, mk_node("Gather", "m", "x,src", "m"));
    pb_msg(&g, G_NODE, mk_node("Mul", "u", w[0] == 'm' ? w : "m,wcol", "u"));
    pb_msg(&g, G_NODE, mk_node("Reshape", "c", "dst,column", "c"));
    if (w_dims[0] ==
        'e') { /* as torch.export has it: the number of edges is that of their weights */
        struct pb join = mk_node("Concat", "s", "rows,width", "s");
        add_attr_int(&join, "axis", 0);
        pb_msg(&g, G_INIT, mk_i64("width", "1", width, 1));
        struct pb rows = mk_node("Shape", "rows", "w", "rows");
        add_attr_int(&rows, "start", 0);
        add_attr_int(&rows, "end", 1);
        pb_msg(&g, G_NODE, rows);
        pb_msg(&g, G_NODE, join);
    } else {
        pb_msg(&g, G_NODE, mk_node("Shape", "s", "u", "s"));
    }
    pb_msg(&g, G_NODE, mk_node("Expand", "e", "c,s", "e"));
    pb_msg(&g, G_NODE, mk_node("Shape", "t", "x", "t"));
    pb_msg(&g, G_NODE, mk_node("ConstantOfShape", "z", "t", "z"));
    struct pb n = mk_node("ScatterElements", "y", "z,e,u", "y");
    add_attr_int(&n, "axis", 0);
    add_attr_str(&n, "reduction", "add");
    pb_msg(&g, G_NODE, n);
    if (measured) /* with one row it is another number */
        pb_msg(&g, G_NODE, mk_node("ReduceSum", "k", "w", "k"));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "nodes,3"));
    pb_msg(&g, G_INPUT, mk_info("edge_index", T_I64, "2,edges"));
    pb_msg(&g, G_INPUT, mk_info("w", T_FLOAT, w_dims));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    if (measured)
        pb_msg(&g, G_OUTPUT, mk_info("k", T_FLOAT, NULL));
    return mk_model(8, 18, g);
}

static const float x[NODES * WIDTH] = {.1f, 2, 3, 4.7f, 5, 6, 7, 8.3f, 9, 1, 1, 1};
static const int64_t edges[2 * EDGES] = {0, 0, 1, 2, 1, 1, 1, 1, 2, 0};
static const float same[EDGES * WIDTH] = {.3f, .3f, .3f, .3f, .3f, .3f, .3f, .3f,
                                          .3f, .3f, .3f, .3f, .3f, .3f, .3f};

struct inputs {
    struct rcd_tensor in[3];
};

static struct inputs given(int rank, int64_t rows, int64_t columns)
{
    struct inputs all;
    const int64_t xd[] = {NODES, WIDTH}, ed[] = {2, EDGES}, wd[] = {rows, columns};
    memset(&all, 0, sizeof all);
    cr_assert(rcd_tensor_shape(&all.in[0], RCD_F32, 2, xd) &&
              rcd_tensor_shape(&all.in[1], RCD_I64, 2, ed) &&
              rcd_tensor_shape(&all.in[2], RCD_F32, rank, wd));
    all.in[0].data = (void *)(uintptr_t)x;
    all.in[1].data = (void *)(uintptr_t)edges;
    all.in[2].data = (void *)(uintptr_t)same;
    return all;
}

static rcd_status run(rcd_plan *p, const rcd_bound *bound, const struct inputs *all, float *y,
                      struct rcd_error *err)
{
    rcd_exec *exec = rcd_exec_new(1 << 20, 1 << 20);
    struct rcd_tensor out[2] = {{.dtype = RCD_NONE}, {.dtype = RCD_NONE}};
    struct rcd_infer req = {.in = all->in, .bound = bound, .out = out};
    struct rcd_infer *const list[] = {&req};
    rcd_status st = rcd_plan_check_inputs(p, &req, err);
    if (st == RCD_OK) {
        rcd_exec_run(exec, p, 1, list, NULL);
        st = req.err.code;
        *err = req.err;
    }
    if (st == RCD_OK)
        memcpy(y, out[0].data, NODES * WIDTH * sizeof *y);
    rcd_infer_drop(&req, 2);
    rcd_exec_free(exec);
    return st;
}

static void expected(float *y)
{
    memset(y, 0, NODES * WIDTH * sizeof *y);
    for (int e = 0; e < EDGES; e++) {
        for (int c = 0; c < WIDTH; c++) {
            const float m = x[edges[e] * WIDTH + c] * .3f;
            y[edges[EDGES + e] * WIDTH + c] += m;
        }
    }
}

Test(engine_alike, one_row_stands_for_every_edge)
{
    static const char *const names[] = {"edges", "others", "edges,1", "edges,3"};
    float want[NODES * WIDTH], y[NODES * WIDTH];
    expected(want);
    for (size_t i = 0; i < RCD_COUNT(names); i++) {
        const int rank = i < 2 ? 1 : 2;
        const int64_t columns = i == 3 ? 3 : 1;
        struct rcd_error err = {.text = ""};
        rcd_plan *p = plan_from(net(names[i], i == 3 ? "m,w" : "", false), RCD_CPU_C);
        cr_expect(lines_with(p, "* Spmm(") == 1, "%s", names[i]);
        for (int64_t rows = 1; rows <= EDGES; rows += EDGES - 1) {
            const struct inputs all = given(rank, rows, columns);
            cr_assert(run(p, NULL, &all, y, &err) == RCD_OK, "%s: %s", names[i], err.text);
            cr_expect(memcmp(y, want, sizeof y) == 0, "%s, %d rows", names[i], (int)rows);
        }
        const struct inputs few = given(rank, 2, columns);
        cr_expect(run(p, NULL, &few, y, &err) == RCD_EINVAL);
        cr_expect(strstr(err.text, "'edge_index' has 5 and input 'w' has 2 'edges'") != NULL, "%s",
                  err.text);
        rcd_plan_unref(p);
    }
}

/* What does more with the rows than meet the edges has to have them all. */
Test(engine_alike, rows_that_are_measured_are_not_spread)
{
    struct rcd_error err = {.text = ""};
    float y[NODES * WIDTH];
    rcd_plan *p = plan_from(net("edges", "", true), RCD_CPU_C);
    const struct inputs one = given(1, 1, 1);
    cr_expect(run(p, NULL, &one, y, &err) == RCD_EINVAL);
    cr_expect_str_eq(err.text,
                     "input 'edge_index' has 5 and input 'w' has 1 'edges', want the same: "
                     "both axes have that name in the file");
    rcd_plan_unref(p);
}

/* The rest of the inputs come from a graph, whose shapes may be known before the one row is. */
Test(engine_alike, one_row_beside_what_is_bound)
{
    float want[NODES * WIDTH], y[NODES * WIDTH];
    expected(want);
    rcd_exec *exec = rcd_exec_new(1 << 20, 1 << 20);
    rcd_plan *p = plan_from(net("edges", "", false), RCD_CPU_C);
    for (int sized = 0; sized < 2; sized++) {
        struct rcd_error err = {.text = ""};
        struct inputs fixed = given(1, 1, 1), open = given(1, 1, 1);
        rcd_bound *b = NULL;
        fixed.in[2].data = NULL;
        if (!sized)
            fixed.in[2] = (struct rcd_tensor){.dtype = RCD_NONE};
        open.in[0].dtype = open.in[1].dtype = RCD_NONE;
        cr_assert(rcd_bound_new(exec, p, fixed.in, NULL, &b, &err) == RCD_OK, "%s", err.text);
        cr_assert(run(p, b, &open, y, &err) == RCD_OK, "%s", err.text);
        cr_expect(memcmp(y, want, sizeof y) == 0, "sized %d", sized);
        rcd_bound_unref(b);
    }
    rcd_plan_unref(p);
    rcd_exec_free(exec);
}

/* One number in the file, or an input of one: the rows of x are multiplied, once for each node. */
Test(engine_alike, what_is_done_to_all_rows_is_done_before_they_are_gathered)
{
    static const char *const dims[] = {"1", "1,1", "1,3"};
    float want[NODES * WIDTH], y[NODES * WIDTH];
    expected(want);
    for (size_t i = 0; i < RCD_COUNT(dims); i++) {
        struct rcd_error err = {.text = ""};
        rcd_plan *p = plan_from(net(dims[i], i == 0 ? "" : "m,w", false), RCD_CPU_C);
        const struct inputs all = given(i == 0 ? 1 : 2, 1, i == 2 ? 3 : 1);
        cr_expect(lines_with(p, "Mul(x,") == 1 && lines_with(p, "CsrCols(") == 1 &&
                      lines_with(p, "\nGather(x") == 0,
                  "%s", dims[i]);
        cr_assert(run(p, NULL, &all, y, &err) == RCD_OK, "%s", err.text);
        cr_expect(memcmp(y, want, sizeof y) == 0, "%s", dims[i]);
        rcd_plan_unref(p);
    }
}

/* y = the sums of rows of x W, multiplied before they are gathered or after. */
static struct pb product(bool gathered)
{
    static const float w[] = {.1f, 2, -.3f, 4, .5f, .7f, 1.5f, -2, .9f};
    struct pb g = graph_of_edges();
    pb_msg(&g, G_INIT, mk_f32("W", "3,3", w, RCD_COUNT(w)));
    pb_msg(&g, G_NODE,
           mk_node(gathered ? "Gather" : "MatMul", "m", gathered ? "x,src" : "x,W", "m"));
    pb_msg(&g, G_NODE,
           mk_node(gathered ? "MatMul" : "Gather", "u", gathered ? "m,W" : "m,src", "u"));
    pb_msg(&g, G_NODE, mk_node("Reshape", "c", "dst,column", "c"));
    pb_msg(&g, G_NODE, mk_node("Shape", "s", "u", "s"));
    pb_msg(&g, G_NODE, mk_node("Expand", "e", "c,s", "e"));
    pb_msg(&g, G_NODE, mk_node("Shape", "t", "x", "t"));
    pb_msg(&g, G_NODE, mk_node("ConstantOfShape", "z", "t", "z"));
    struct pb n = mk_node("ScatterElements", "y", "z,e,u", "y");
    add_attr_int(&n, "axis", 0);
    add_attr_str(&n, "reduction", "max"); /* a sum would go before the product */
    pb_msg(&g, G_NODE, n);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "nodes,3"));
    pb_msg(&g, G_INPUT, mk_info("edge_index", T_I64, "2,edges"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    return mk_model(8, 18, g);
}

Test(engine_alike, rows_are_multiplied_before_they_are_gathered)
{
    struct inputs all = given(1, 1, 1);
    float y[2][NODES * WIDTH];
    for (int gathered = 0; gathered < 2; gathered++) {
        struct rcd_error err = {.text = ""};
        rcd_plan *p = plan_from(product(gathered), RCD_CPU_C);
        cr_expect(lines_with(p, "MatMul(x, W)") == 1 && lines_with(p, "\nGather(x") == 0 &&
                  lines_with(p, "* CsrCols(") == 1);
        cr_assert(run(p, NULL, &all, y[gathered], &err) == RCD_OK, "%s", err.text);
        rcd_plan_unref(p);
    }
    cr_expect(memcmp(y[0], y[1], sizeof y[0]) == 0);
}

Test(engine_alike, failing_allocations)
{
    bool done = false;
    for (size_t k = 0; !done; k++) {
        rcd_onnx_model *m = load_ok(
            k % 3 == 2 ? product(true) : net(k % 3 ? "edges" : "1,1", k % 3 ? "" : "m,w", false));
        const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
        rcd_plan *p = NULL;
        struct rcd_error err;
        rcd_fault_after(k / 3);
        rcd_status st = rcd_plan_new(&m, &opts, &p, &err);
        done = !rcd_fault_hit() && k % 3 == 2;
        rcd_fault_after(SIZE_MAX);
        cr_assert(st == RCD_OK || st == RCD_ENOMEM, "k = %zu: %d", k, (int)st);
        rcd_plan_unref(p);
        rcd_onnx_free(m);
    }
}
