/* test_blame.c - a number in a request that the network cannot use is named by input and place, whatever lies between. */
#include "plans.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(engine_blame, .timeout = 400);

enum { NODES = 5, COLUMNS = 4, MAX_IN = 8, RUN_BYTES = 1 << 26 };

/* All inputs zero: NODES rows of nodes, COLUMNS edges or pairs. */
struct request {
    struct rcd_tensor in[MAX_IN];
    char data[MAX_IN][1024];
};

static void fill(struct request *q, const rcd_plan *p)
{
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(p, &n);
    memset(q, 0, sizeof *q);
    cr_assert(n <= MAX_IN);
    for (size_t i = 0; i < n; i++) {
        int64_t dims[RCD_MAX_RANK] = {0};
        for (int d = 0; d < io[i].rank; d++) {
            const bool edges = d > 0 || strncmp(io[i].name, "edge_", 5) == 0;
            dims[d] = io[i].dims[d] >= 0 ? io[i].dims[d] : edges ? COLUMNS : NODES;
        }
        cr_assert(rcd_tensor_shape(&q->in[i], io[i].dtype, io[i].rank, dims));
        cr_assert(q->in[i].n * rcd_dtype_size(io[i].dtype) <= sizeof q->data[i]);
        q->in[i].data = q->data[i];
    }
}

/* y = x[a + 3 b]: a number is as good as any alone. */
static struct pb computed_index(void)
{
    static const int64_t three = 3;
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INIT, mk_i64("three", "", &three, 1));
    pb_msg(&g, G_NODE, mk_node("Mul", "times", "b,three", "far"));
    pb_msg(&g, G_NODE, mk_node("Add", "plus", "a,far", "at"));
    pb_msg(&g, G_NODE, mk_node("Gather", "pick", "x,at", "y"));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "n"));
    pb_msg(&g, G_INPUT, mk_info("a", T_I64, "k"));
    pb_msg(&g, G_INPUT, mk_info("b", T_I64, "k"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    return mk_model(8, 17, g);
}

/* What is said of a request with one number changed. */
static void said(const char *net, const char *input, size_t at, int64_t value, char *ret,
                 size_t cap)
{
    static struct request q;
    rcd_plan *p = plan_of_golden(net);
    rcd_exec *exec = rcd_exec_new(RUN_BYTES, RUN_BYTES);
    size_t n_in = 0, n_out = 0;
    const struct rcd_io *io = rcd_plan_inputs(p, &n_in);
    (void)rcd_plan_outputs(p, &n_out);
    struct rcd_tensor out[MAX_IN] = {{.dtype = RCD_NONE}};
    struct rcd_error err = {.text = ""};
    fill(&q, p);
    for (size_t i = 0; i < n_in; i++) {
        if (strcmp(io[i].name, input) == 0)
            ((int64_t *)q.in[i].data)[at] = value;
    }
    struct rcd_infer req = {.in = q.in, .out = out};
    struct rcd_infer *const list[] = {&req};
    cr_assert(rcd_plan_check_inputs(p, &req, &err) == RCD_OK, "%s: %s", net, err.text);
    rcd_exec_run(exec, p, 1, list, NULL);
    cr_expect(req.err.code == RCD_EINVAL, "%s: code %d", net, (int)req.err.code);
    snprintf(ret, cap, "%s", req.err.text);
    rcd_infer_drop(&req, n_out);
    rcd_exec_free(exec);
    rcd_plan_unref(p);
}

Test(engine_blame, an_index_out_of_range_is_named_by_input_and_place)
{
    static const struct {
        const char *net, *input;
        size_t at;
        int64_t value;
        const char *start;
    } cases[] = {
        {"graph_gcn_ts18", "edge_index", 6, 5, "edge_index[1][2] is 5, want -5 to 4 ("},
        {"graph_gcn_dyn18", "edge_index", 3, 77, "edge_index[0][3] is 77, want -5 to 4 ("},
        {"graph_written_split_ts18", "links", 1, 5, "links[0][1] is 5, want -5 to 4 ("},
        {"graph_gat_ts18", "edge_index", 6, -6, "edge_index[1][2] is -6, want -5 to 4 ("},
        {"graph_gae_ts16", "pairs", 1, 9, "pairs[0][1] is 9, want -5 to 4 ("},
        {"graph_gae_ts18", "pairs", 7, 9, "pairs[1][3] is 9, want -5 to 4 ("},
        {"graph_gae_dyn18", "pairs", 7, 9, "pairs[1][3] is 9, want -5 to 4 ("},
        {"graph_hetero_rx18", "author.writes.paper.edge_index", 5, 8,
         "author.writes.paper.edge_index[1][1] is 8, want -5 to 4 ("},
        {"graph_pool_add_ts18", "batch", 3, -7, "batch[3] is -7, want -"},
    };
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        char text[RCD_ERROR_TEXT];
        said(cases[i].net, cases[i].input, cases[i].at, cases[i].value, text, sizeof text);
        cr_expect(strncmp(text, cases[i].start, strlen(cases[i].start)) == 0, "%s: %s",
                  cases[i].net, text);
    }
}

/* 7 of `a` is outside of x, but with b = -1 it is not the number that is; nor is b's. */
Test(engine_blame, a_computed_index_is_nobodys)
{
    float x[NODES] = {0};
    int64_t a[2] = {7, 1}, b[2] = {-1, 4};
    const int64_t dims[2] = {NODES, 2};
    rcd_plan *p = plan_from(computed_index(), RCD_CPU_C);
    rcd_exec *exec = rcd_exec_new(RUN_BYTES, RUN_BYTES);
    struct rcd_tensor in[3], out[1] = {{.dtype = RCD_NONE}};
    cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 1, &dims[0]) &&
              rcd_tensor_shape(&in[1], RCD_I64, 1, &dims[1]) &&
              rcd_tensor_shape(&in[2], RCD_I64, 1, &dims[1]));
    in[0].data = x;
    in[1].data = a;
    in[2].data = b;
    struct rcd_infer req = {.in = in, .out = out};
    struct rcd_infer *const list[] = {&req};
    rcd_exec_run(exec, p, 1, list, NULL);
    cr_expect(req.err.code == RCD_EINVAL);
    cr_expect(strstr(req.err.text, "index 1 is 13, want -5 to 4") != NULL &&
                  strstr(req.err.text, "a[") == NULL,
              "%s", req.err.text);
    rcd_infer_drop(&req, 1);
    rcd_exec_free(exec);
    rcd_plan_unref(p);
}

/* As many graphs as the largest number says, plus one: rows that no run could hold. */
Test(engine_blame, a_number_of_graphs_that_is_too_large_is_named)
{
    static const char *const nets[] = {"graph_pool_add_dyn18", "graph_pool_max_rx18",
                                       "graph_pool_mean_rx18", "graph_norm_graph_rx18",
                                       "graph_sortpool_rx18",  "graph_topk_rx18"};
    static const int64_t values[] = {1 << 30, INT64_C(1) << 40, INT64_MAX - 1};
    for (size_t i = 0; i < RCD_COUNT(nets); i++) {
        for (size_t v = 0; v < RCD_COUNT(values); v++) {
            char text[RCD_ERROR_TEXT], start[64];
            snprintf(start, sizeof start, "batch[4] is %lld, ", (long long)values[v]);
            said(nets[i], "batch", NODES - 1, values[v], text, sizeof text);
            cr_expect(strncmp(text, start, strlen(start)) == 0, "%s: %s", nets[i], text);
        }
    }
}
