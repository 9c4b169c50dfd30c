/* test_fuse.c - what becomes of a graph layer: merged nodes, known sizes, one sparse product. */
#include "plans.h"
#include "recurd/engine_bind.h"
#include "recurd/engine_report.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(engine_fuse, .timeout = 400);

/* One layer: y = sum over edges of w[e] x[src[e]], in the words of an exporter. */
static void layer(struct pb *g, const char *const *v)
{
    enum { X, M, U, C, S, E, T, Z, Y, INPUT };
    char text[96];
#define NODE(op, out, ...)                                                                         \
    (snprintf(text, sizeof text, __VA_ARGS__), pb_msg(g, G_NODE, mk_node(op, out, text, out)))
    NODE("Gather", v[M], "%s,src", v[X]);
    NODE("Mul", v[U], "%s,wcol", v[M]);
    NODE("Reshape", v[C], "dst,column");
    NODE("Shape", v[S], "%s", v[U]);
    NODE("Expand", v[E], "%s,%s", v[C], v[S]);
    NODE("Shape", v[T], "%s", v[X]);
    NODE("ConstantOfShape", v[Z], "%s", v[T]);
#undef NODE
    snprintf(text, sizeof text, "%s,%s,%s", v[Z], v[E], v[U]);
    struct pb n = mk_node("ScatterElements", v[Y], text, v[Y]);
    add_attr_int(&n, "axis", 0);
    add_attr_str(&n, "reduction", "add");
    pb_msg(g, G_NODE, n);
}

static struct pb two_layers(const char *w_dims)
{
    static const char *const first[] = {"x", "m0", "u0", "c0", "s0", "e0", "t0", "z0", "h"};
    static const char *const second[] = {"h", "m1", "u1", "c1", "s1", "e1", "t1", "z1", "y"};
    struct pb g = graph_of_edges();
    pb_msg(&g, G_NODE, mk_node("Reshape", "wcol", "w,column", "wcol"));
    layer(&g, first);
    layer(&g, second);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "nodes,3"));
    pb_msg(&g, G_INPUT, mk_info("edge_index", T_I64, "2,edges"));
    pb_msg(&g, G_INPUT, mk_info("w", T_FLOAT, w_dims));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    return mk_model(8, 18, g);
}

Test(engine_fuse, two_layers_share_the_sorted_edges)
{
    rcd_plan *p = plan_from(two_layers("edges"), RCD_CPU_C);
    cr_assert(lines_with(p, "* Spmm(") == 2 && lines_with(p, "* Csr(") == 1 &&
              lines_with(p, "* CsrCols(") == 1);
    cr_assert(lines_with(p, "ScatterElements(") == 0 && lines_with(p, "Expand(") == 0 &&
              lines_with(p, "Mul(") == 0);
    rcd_plan_unref(p);
}

/* A factor with a size of another name: where rows of edges meet, one size is meant; a request in which they differ is
 * refused. */
Test(engine_fuse, sums_by_index_put_are_sparse_products)
{
    rcd_plan *p = plan_of_golden("graph_index_put_rx18");
    cr_assert(lines_with(p, "* Spmm(") == 1 && lines_with(p, "ScatterND(") == 0);
    rcd_plan_unref(p);
}

Test(engine_fuse, sizes_that_meet_edge_by_edge_are_one)
{
    rcd_plan *p = plan_from(two_layers("others"), RCD_CPU_C);
    cr_assert(lines_with(p, "* Spmm(") == 2 && lines_with(p, "Mul(") == 0);
    float x[6] = {0}, w[3] = {1}, y[6];
    int64_t edges[4] = {0, 1, 1, 0};
    const int64_t x_dims[] = {2, 3}, e_dims[] = {2, 2}, w_dims[] = {3};
    struct rcd_tensor in[3];
    cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 2, x_dims) &&
              rcd_tensor_shape(&in[1], RCD_I64, 2, e_dims) &&
              rcd_tensor_shape(&in[2], RCD_F32, 1, w_dims));
    in[0].data = x, in[1].data = edges, in[2].data = w;
    struct rcd_tensor out = {.dtype = RCD_NONE, .data = y};
    const struct rcd_infer req = {.in = in, .out = &out};
    struct rcd_error err = {.text = ""};
    cr_assert(rcd_plan_check_inputs(p, &req, &err) == RCD_EINVAL);
    cr_assert_str_eq(err.text,
                     "input 'edge_index' has 2 and input 'w' has 3 'edges', want the same: "
                     "both axes have that name in the file");
    rcd_plan_unref(p);
}

/* A row for all edges that comes from elsewhere broadcasts: what cannot be proved is not fused with it. */
Test(engine_fuse, unproved_sizes_stay_as_the_file_says)
{
    rcd_plan *p = plan_from(two_layers("2,others"), RCD_CPU_C);
    cr_assert(lines_with(p, "Mul(") == 2, "the factors are applied by themselves");
    rcd_plan_unref(p);
}

/* Networks as people write them (tests/golden/gen/graph_written.py): edges unpacked, flipped, joined, sizes without
 * common names, cells unrolled. Nothing that adds up rows is left by itself. */
Test(engine_fuse, layers_however_they_are_written)
{
    static const struct {
        const char *name;
        size_t sums, attends, sorted;
    } nets[] = {
        {"graph_written_split_ts18", 1, 0, 1},       {"graph_written_split_dyn18", 1, 0, 1},
        {"graph_written_weights_ts18", 3, 0, 1},     {"graph_written_both_ts18", 2, 0, 1},
        {"graph_written_flip_dyn18", 2, 0, 1},       {"graph_written_attention_ts18", 0, 1, 1},
        {"graph_written_cell_ts18", 5, 0, 1},        {"graph_written_pool_dyn18", 2, 0, 2},
        {"graph_written_transformer_ts18", 0, 2, 1}, {"graph_written_transformer_dyn18", 0, 2, 1},
        {"graph_written_bmm_ts18", 1, 0, 1},
    };
    for (size_t i = 0; i < RCD_COUNT(nets); i++) {
        rcd_plan *p = plan_of_golden(nets[i].name);
        cr_expect(lines_with(p, "* Spmm(") == nets[i].sums &&
                      lines_with(p, "* Attend(") == nets[i].attends &&
                      lines_with(p, "* Csr(") == nets[i].sorted &&
                      lines_with(p, "ScatterElements(") == 0,
                  "%s: %zu sums, %zu attentions, %zu sorted lists of edges", nets[i].name,
                  lines_with(p, "* Spmm("), lines_with(p, "* Attend("), lines_with(p, "* Csr("));
        rcd_plan_unref(p);
    }
}

struct run {
    float x[12], w[5], y[12];
    int64_t edges[10];
};

static rcd_status run_once(struct run *r, const char **ret_text)
{
    static char text[RCD_ERROR_TEXT];
    static const int64_t xd[] = {4, 3}, ed[] = {2, 5}, wd[] = {5};
    rcd_plan *p = plan_from(two_layers("edges"), RCD_CPU_C);
    rcd_exec *x = rcd_exec_new(1 << 20, 1 << 20);
    struct rcd_tensor in[3], out[1];
    memset(in, 0, sizeof in);
    memset(out, 0, sizeof out);
    cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 2, xd) &&
              rcd_tensor_shape(&in[1], RCD_I64, 2, ed) && rcd_tensor_shape(&in[2], RCD_F32, 1, wd));
    in[0].data = r->x;
    in[1].data = r->edges;
    in[2].data = r->w;
    struct rcd_infer req = {.in = in, .out = out};
    struct rcd_infer *const list[] = {&req};
    rcd_exec_run(x, p, 1, list, NULL);
    rcd_status st = req.err.code;
    snprintf(text, sizeof text, "%s", req.err.text);
    *ret_text = text;
    if (st == RCD_OK)
        memcpy(r->y, out[0].data, sizeof r->y);
    rcd_infer_drop(&req, 1);
    rcd_exec_free(x);
    rcd_plan_unref(p);
    return st;
}

/* Small whole numbers: exact whatever the order. */
Test(engine_fuse, sums_duplicates_loops_and_isolated_nodes)
{
    struct run r = {.x = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 1},
                    .w = {1, 2, 3, -1, 2},
                    .edges = {0, 0, 1, 2, 1, 1, 1, 1, 2, 0}};
    const char *why = "";
    cr_assert(run_once(&r, &why) == RCD_OK, "%s", why);
    float h[12] = {0}, y[12] = {0};
    for (int e = 0; e < 5; e++) {
        for (int c = 0; c < 3; c++)
            h[r.edges[5 + e] * 3 + c] += r.w[e] * r.x[r.edges[e] * 3 + c];
    }
    for (int e = 0; e < 5; e++) {
        for (int c = 0; c < 3; c++)
            y[r.edges[5 + e] * 3 + c] += r.w[e] * h[r.edges[e] * 3 + c];
    }
    cr_assert(memcmp(r.y, y, sizeof y) == 0);
    struct run again = r; /* an index that counts from the end means the same node */
    again.edges[5] = 1 - 4;
    again.edges[3] = 2 - 4;
    cr_assert(run_once(&again, &why) == RCD_OK, "%s", why);
    cr_assert(memcmp(again.y, y, sizeof y) == 0);
}

/* Many at once go in lockstep or one by one, whichever has been faster; both are tried at first. Answers and errors are
 * those of each alone. */
Test(engine_fuse, batches_in_lockstep_and_one_by_one)
{
    enum { MANY = 3, BAD = 1 };
    static const int64_t xd[] = {4, 3}, ed[] = {2, 5}, wd[] = {5};
    struct run r[MANY] = {
        {.x = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 1, 1},
         .w = {1, 2, 3, -1, 2},
         .edges = {0, 0, 1, 2, 1, 1, 1, 1, 2, 0}},
        {.w = {1}, .edges = {0, 0, 1, 2, 1, 1, 1, 1, 4, 0}},
        {.x = {.5f, .25f, 3, 4}, .w = {3, 1, 3, -1, 2}, .edges = {3, 0, 1, 2, 1, 3, 1, 0, 2, 0}}};
    struct rcd_tensor in[MANY][3], out[MANY];
    struct rcd_infer req[MANY], *list[MANY];
    rcd_plan *p = plan_from(two_layers("edges"), RCD_CPU_C);
    rcd_exec *x = rcd_exec_new(1 << 20, 1 << 20);
    memset(in, 0, sizeof in);
    for (int i = 0; i < MANY; i++) {
        const char *why = "";
        cr_assert_eq(run_once(&r[i], &why), i == BAD ? RCD_EINVAL : RCD_OK, "%s", why);
        cr_assert(rcd_tensor_shape(&in[i][0], RCD_F32, 2, xd) &&
                  rcd_tensor_shape(&in[i][1], RCD_I64, 2, ed) &&
                  rcd_tensor_shape(&in[i][2], RCD_F32, 1, wd));
        in[i][0].data = r[i].x;
        in[i][1].data = r[i].edges;
        in[i][2].data = r[i].w;
        list[i] = &req[i];
    }
    for (int turn = 0; turn < 8; turn++) {
        for (int i = 0; i < MANY; i++) {
            out[i] = (struct rcd_tensor){.dtype = RCD_NONE};
            req[i] = (struct rcd_infer){.in = in[i], .out = &out[i]};
        }
        rcd_exec_run(x, p, MANY, list, NULL);
        for (int i = 0; i < MANY; i++) {
            cr_assert_eq(req[i].err.code, i == BAD ? RCD_EINVAL : RCD_OK, "turn %d: %s", turn,
                         req[i].err.text);
            cr_expect(i == BAD || memcmp(out[i].data, r[i].y, sizeof r[i].y) == 0,
                      "turn %d, request %d", turn, i);
            rcd_infer_drop(&req[i], 1);
        }
    }
    const bool cancel = true;
    for (int turn = 0; turn < 4; turn++) {
        req[0] = (struct rcd_infer){.in = in[0], .out = &out[0]};
        req[1] = (struct rcd_infer){.in = in[2], .out = &out[2]};
        rcd_exec_run(x, p, 2, list, &cancel);
        cr_expect(req[0].err.code == RCD_ECANCELLED && req[1].err.code == RCD_ECANCELLED);
    }
    rcd_exec_free(x);
    rcd_plan_unref(p);
}

Test(engine_fuse, indices_out_of_range_are_named)
{
    struct run r = {.edges = {0, 0, 1, 2, 1, 1, 1, 1, 4, 0}};
    const char *why = "";
    cr_assert(run_once(&r, &why) == RCD_EINVAL);
    cr_assert(
        strcmp(why,
               "edge_index[1][3] is 4, want -4 to 3 (an index of node 'h' (ScatterElements))") == 0,
        "%s", why);
    r.edges[8] = 0;
    r.edges[2] = -5;
    cr_assert(run_once(&r, &why) == RCD_EINVAL);
    cr_assert(strstr(why, "edge_index[0][2] is -5, want -4 to 3") != NULL, "%s", why);
}

Test(engine_fuse, failing_allocations)
{
    bool done = false;
    for (size_t k = 0; !done; k++) {
        rcd_onnx_model *m = load_ok(two_layers("edges"));
        const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
        rcd_plan *p = NULL;
        struct rcd_error err;
        rcd_fault_after(k);
        rcd_status st = rcd_plan_new(&m, &opts, &p, &err);
        done = !rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        cr_assert(done ? st == RCD_OK : st == RCD_OK || st == RCD_ENOMEM, "k = %zu: %d", k,
                  (int)st);
        rcd_plan_unref(p);
        rcd_onnx_free(m);
    }
}

/* ---- attention --------------------------------------------------------------------------------- */

/* Two layers each, both exporters; the answers are checked by the golden networks' own test. */
Test(engine_fuse, attention_is_one_pass)
{
    static const char *const nets[] = {"graph_gat_ts16", "graph_gat_ts18", "graph_gatv2_ts16",
                                       "graph_gatv2_ts18", "graph_gatv2_dyn18"};
    for (size_t i = 0; i < RCD_COUNT(nets); i++) {
        rcd_plan *p = plan_of_golden(nets[i]);
        cr_assert(lines_with(p, "* Attend(") == 2 && lines_with(p, "* Csr(") == 1, "%s", nets[i]);
        cr_assert(lines_with(p, "Exp(") == 0 && lines_with(p, "LeakyRelu(") == 0 &&
                      lines_with(p, "* Spmm(") == 0,
                  "%s", nets[i]);
        rcd_plan_unref(p);
    }
}

/* What is summed may be made edge by edge, of both ends and the edge's own row, or be seen as one row for all heads; the
 * maximum may start from -inf (recurd_export). */
Test(engine_fuse, attention_over_rows_that_are_made_is_one_pass)
{
    static const char *const nets[] = {"graph_attend_made_ts18", "graph_attend_made_rx18"};
    for (size_t i = 0; i < RCD_COUNT(nets); i++) {
        rcd_plan *p = plan_of_golden(nets[i]);
        cr_expect(lines_with(p, "* Attend(") == 3 && lines_with(p, "made edge by edge") == 2 &&
                      lines_with(p, "* Spmm(") == 0 && lines_with(p, "* Csr(") == 1 &&
                      lines_with(p, "Exp(") == 0,
                  "%s", nets[i]);
        rcd_plan_unref(p);
    }
    rcd_plan *p = plan_of_golden("graph_gat_edge_rx18");
    cr_expect(lines_with(p, "Where(") == 0 && lines_with(p, "   max") == 0);
    rcd_plan_unref(p);
}

/* Sum, count, clip and division are one product, in a layer and over the nodes of each graph. */
Test(engine_fuse, means_are_divided_where_they_are_summed)
{
    static const char *const nets[] = {"graph_sage_mean_ts16", "graph_sage_mean_ts18",
                                       "graph_sage_mean_dyn18", "graph_written_pool_dyn18"};
    for (size_t i = 0; i < RCD_COUNT(nets); i++) {
        rcd_plan *p = plan_of_golden(nets[i]);
        cr_assert(lines_with(p, "   mean") == 2 && lines_with(p, "* Spmm(") == 2 &&
                      lines_with(p, "Div(") == 0 && lines_with(p, "Clip(") == 0,
                  "%s", nets[i]);
        rcd_plan_unref(p);
    }
}

/* Bias and ReLU are done where the sum is: of two layers one Relu stands in between. */
Test(engine_fuse, what_ends_a_row_is_part_of_the_sum)
{
    static const char *const nets[] = {"graph_gcn_ts18", "graph_gcn_dyn18", "graph_gcn_plain_ts18"};
    for (size_t i = 0; i < RCD_COUNT(nets); i++) {
        rcd_plan *p = plan_of_golden(nets[i]);
        cr_assert(lines_with(p, "Relu(") == 0 && lines_with(p, "\nAdd(") == 0, "%s", nets[i]);
        rcd_plan_unref(p);
    }
}

/* Two layers of a plan: one product is done with the sum before it, some rows at a time. */
Test(engine_fuse, products_behind_a_sum_are_joined)
{
    static const char *const nets[] = {"graph_gcn_ts18", "graph_gcn_dyn18", "graph_gcn_plain_ts18"};
    for (size_t i = 0; i < RCD_COUNT(nets); i++) {
        rcd_plan *p = plan_of_golden(nets[i]);
        cr_assert(lines_with(p, "+ MatMul(") + lines_with(p, "+ Gemm(") >= 1, "%s", nets[i]);
        rcd_plan_unref(p);
    }
}

/* Edges and the shape of x are bound: all but the layers has run; x of another shape is refused. */
Test(engine_fuse, a_shape_can_be_bound)
{
    enum { FEATURES = 6 };
    const int64_t x_dims[] = {5, FEATURES}, more[] = {6, FEATURES}, e_dims[] = {2, 3};
    static float x[6 * FEATURES];
    static int64_t edges[] = {0, 1, 3, 1, 2, 3};
    struct rcd_tensor in[2], fixed[2], open[2], out[2] = {{.dtype = RCD_NONE}};
    for (size_t i = 0; i < RCD_COUNT(x); i++)
        x[i] = (float)(i * 7 % 11) - 4.5f;
    cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 2, x_dims) &&
              rcd_tensor_shape(&in[1], RCD_I64, 2, e_dims));
    in[0].data = x;
    in[1].data = edges;
    in[0].block = in[1].block = NULL;
    memcpy(fixed, in, sizeof in);
    memcpy(open, in, sizeof in);
    fixed[0].data = NULL;
    open[1].dtype = RCD_NONE;
    rcd_plan *p = plan_of_golden("graph_gcn_ts18");
    rcd_exec *exec = rcd_exec_new((size_t)1 << 26, (size_t)1 << 24);
    struct rcd_error err = {.text = ""};
    rcd_bound *b = NULL;
    cr_assert(rcd_bound_new(exec, p, fixed, NULL, &b, &err) == RCD_OK, "%s", err.text);
    cr_expect(!rcd_bound_fixes(b, 0) && rcd_bound_fixes(b, 1) && rcd_bound_output(b, 0) == NULL);
    struct rcd_infer all = {.in = in, .out = &out[0]},
                     kept = {.in = open, .bound = b, .out = &out[1]};
    struct rcd_infer *lists[][1] = {{&all}, {&kept}};
    for (int k = 0; k < 2; k++) {
        cr_assert(rcd_plan_check_inputs(p, lists[k][0], &err) == RCD_OK, "%s", err.text);
        rcd_exec_run(exec, p, 1, lists[k], NULL);
        cr_assert(lists[k][0]->err.code == RCD_OK, "%s", lists[k][0]->err.text);
    }
    cr_expect(out[0].n == out[1].n && memcmp(out[0].data, out[1].data, out[0].n * 4) == 0);
    cr_assert(rcd_tensor_shape(&open[0], RCD_F32, 2, more));
    cr_expect(rcd_plan_check_inputs(p, &kept, &err) == RCD_EINVAL &&
                  strstr(err.text, "[6,6], the graph wants [5,6]") != NULL,
              "%s", err.text);
    rcd_infer_drop(&all, 1);
    rcd_infer_drop(&kept, 1);
    rcd_bound_unref(b);
    rcd_exec_free(exec);
    rcd_plan_unref(p);
}
