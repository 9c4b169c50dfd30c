/* test_fuse_each.c - sums over the same edges for each of several inputs: x f32[sets, nodes, WIDTH], along axis 1. */
#include "plans.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(engine_fuse_each, .timeout = 400);

enum { SETS = 3, NODES = 6, WIDTH = 3, EDGES = 9, RUN_BYTES = 1 << 20 };

/* A duplicate, a loop, a node without edges (5), indices that count from the end. */
static const int64_t edges_of[2][2 * EDGES] = {
    {0, 1, 1, 2, 3, 0, 0, 4, 2, /**/ 1, 0, 0, 2, 4, 1, 1, 3, 3},
    {0, -5, 1, 2, 3, 0, 0, -2, 2, /**/ 1, 0, -6, 2, 4, 1, 1, 3, 3}};

struct written {
    const char *index_shape,
        *x; /* how dst is laid out before it is spread; whose rows are gathered, NULL: none are */
    bool factors;
};

/* y = ScatterElements(zeros like x, dst spread over sets and channels, rows of edges, axis 1, add) */
static struct pb net(const struct written *how)
{
    static const int64_t middle[] = {1, -1, 1}, first[] = {-1, 1, 1};
    const bool gathers = how->x != NULL;
    struct pb g = graph_of_edges();
    pb_msg(&g, G_INIT, mk_i64("middle", "3", middle, 3));
    pb_msg(&g, G_INIT, mk_i64("first", "3", first, 3));
    if (gathers) {
        struct pb n = mk_node("Gather", "m", "x,src", "m");
        add_attr_int(&n, "axis", -2);
        pb_msg(&g, G_NODE, n);
    }
    pb_msg(&g, G_NODE, mk_node("Reshape", "wcol", "w,column", "wcol"));
    pb_msg(&g, G_NODE, mk_node("Mul", "u", gathers ? "wcol,m" : "rows,wcol", "u"));
    const char *u = how->factors ? "u" : gathers ? "m" : "rows";
    char text[64];
    snprintf(text, sizeof text, "dst,%s", how->index_shape);
    pb_msg(&g, G_NODE, mk_node("Reshape", "line", text, "line"));
    pb_msg(&g, G_NODE, mk_node("Shape", "size", u, "size"));
    pb_msg(&g, G_NODE, mk_node("Expand", "index", "line,size", "index"));
    pb_msg(&g, G_NODE, mk_node("Shape", "like", "x", "like"));
    pb_msg(&g, G_NODE, mk_node("ConstantOfShape", "zeros", "like", "zeros"));
    snprintf(text, sizeof text, "zeros,index,%s", u);
    struct pb n = mk_node("ScatterElements", "y", text, "y");
    add_attr_int(&n, "axis", 1);
    add_attr_str(&n, "reduction", "add");
    pb_msg(&g, G_NODE, n);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "sets,nodes,3"));
    pb_msg(&g, G_INPUT, mk_info("edge_index", T_I64, "2,edges"));
    pb_msg(&g, G_INPUT, mk_info("w", T_FLOAT, "edges"));
    pb_msg(&g, G_INPUT, mk_info("rows", T_FLOAT, "sets,edges,3"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    return mk_model(8, 18, g);
}

struct given {
    float x[SETS * NODES * WIDTH], w[EDGES], rows[SETS * EDGES * WIDTH];
    int64_t edges[2 * EDGES];
    struct rcd_tensor in[4];
};

static float some_number(uint32_t *state)
{
    *state = *state * 1664525 + 1013904223;
    return (float)(int32_t)(*state >> 8) / 3e6f - 2;
}

static void give(struct given *q, int64_t sets, const int64_t *edges)
{
    const int64_t xd[] = {sets, NODES, WIDTH}, ed[] = {2, EDGES}, rd[] = {sets, EDGES, WIDTH};
    uint32_t state = 7;
    for (size_t i = 0; i < RCD_COUNT(q->x); i++)
        q->x[i] = some_number(&state);
    for (size_t i = 0; i < RCD_COUNT(q->rows); i++)
        q->rows[i] = some_number(&state);
    for (size_t i = 0; i < EDGES; i++)
        q->w[i] = some_number(&state);
    memcpy(q->edges, edges, sizeof q->edges);
    memset(q->in, 0, sizeof q->in);
    cr_assert(rcd_tensor_shape(&q->in[0], RCD_F32, 3, xd) &&
              rcd_tensor_shape(&q->in[1], RCD_I64, 2, ed) &&
              rcd_tensor_shape(&q->in[2], RCD_F32, 1, &ed[1]) &&
              rcd_tensor_shape(&q->in[3], RCD_F32, 3, rd));
    q->in[0].data = q->x;
    q->in[1].data = q->edges;
    q->in[2].data = q->w;
    q->in[3].data = q->rows;
}

/* The chain of each sum, in edge order. */
static void expected(const struct given *q, const struct written *how, float *y)
{
    memset(y, 0, SETS * NODES * WIDTH * sizeof *y);
    for (size_t k = 0; k < (size_t)SETS * EDGES * WIDTH; k++) {
        const size_t set = k / (EDGES * WIDTH), e = k / WIDTH % EDGES, c = k % WIDTH;
        const int64_t src = q->edges[e], dst = q->edges[EDGES + e];
        const size_t from = (size_t)(src < 0 ? src + NODES : src),
                     to = (size_t)(dst < 0 ? dst + NODES : dst);
        const float v = how->x != NULL ? q->x[(set * NODES + from) * WIDTH + c]
                                       : q->rows[(set * EDGES + e) * WIDTH + c];
        float *sum = &y[(set * NODES + to) * WIDTH + c];
        *sum = fmaf(how->factors ? q->w[e] : 1.0f, v, *sum);
    }
}

static rcd_status run(const rcd_plan *p, const struct given *q, float *y, struct rcd_error *err)
{
    rcd_exec *exec = rcd_exec_new(RUN_BYTES, RUN_BYTES);
    struct rcd_tensor out[1] = {{.dtype = RCD_NONE}};
    struct rcd_infer req = {.in = q->in, .out = out};
    struct rcd_infer *const list[] = {&req};
    rcd_exec_run(exec, p, 1, list, NULL);
    *err = req.err;
    if (req.err.code == RCD_OK && out[0].n > 0)
        memcpy(y, out[0].data, out[0].n * sizeof *y);
    rcd_infer_drop(&req, 1);
    rcd_exec_free(exec);
    return err->code;
}

static bool same_bits(const float *a, const float *b)
{
    return memcmp((const char *)a, (const char *)b, SETS * NODES * WIDTH * sizeof *a) == 0;
}

static const struct written ways[] = {
    {"middle", "x", true}, {"middle", "x", false}, {"middle", NULL, true}, {"middle", NULL, false}};

Test(engine_fuse_each, each_input_has_its_sums_in_edge_order)
{
    for (size_t i = 0; i < RCD_COUNT(ways); i++) {
        for (size_t level = 0; level < 2; level++) {
            rcd_plan *p =
                plan_from(net(&ways[i]), level ? rcd_cpu_best(RCD_CPU_AVX512) : RCD_CPU_C);
            cr_expect(lines_with(p, "* SpmmEach(") == 1 && lines_with(p, "ScatterElements(") == 0 &&
                          lines_with(p, "Mul(") == 0 && lines_with(p, "Expand(") == 0,
                      "way %zu", i);
            for (size_t e = 0; e < RCD_COUNT(edges_of); e++) {
                struct given q;
                struct rcd_error err = {.text = ""};
                float want[SETS * NODES * WIDTH], y[SETS * NODES * WIDTH];
                give(&q, SETS, edges_of[e]);
                expected(&q, &ways[i], want);
                cr_assert(run(p, &q, y, &err) == RCD_OK, "%s", err.text);
                cr_expect(same_bits(y, want), "way %zu, edges %zu", i, e);
                give(&q, 0, edges_of[e]);
                cr_expect(run(p, &q, y, &err) == RCD_OK, "no sets: %s", err.text);
            }
            rcd_plan_unref(p);
        }
    }
}

Test(engine_fuse_each, an_edge_out_of_range_is_named)
{
    static const struct {
        size_t at;
        const char *start;
    } cases[] = {{2, "edge_index[0][2] is 6, want -6 to 5 ("},
                 {EDGES + 1, "edge_index[1][1] is 6, want -6 to 5 ("}};
    rcd_plan *p = plan_from(net(&ways[0]), RCD_CPU_C);
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct given q;
        struct rcd_error err = {.text = ""};
        float y[SETS * NODES * WIDTH];
        give(&q, SETS, edges_of[0]);
        q.edges[cases[i].at] = NODES;
        cr_expect(run(p, &q, y, &err) == RCD_EINVAL);
        cr_expect(strncmp(err.text, cases[i].start, strlen(cases[i].start)) == 0, "%s", err.text);
    }
    rcd_plan_unref(p);
}

/* Indices spread along another axis than the sum's, or of which nobody knows along which, are those of the file. */
Test(engine_fuse_each, other_indices_stay_as_the_file_says)
{
    static const struct written other = {"first", "x", false};
    rcd_plan *p = plan_from(net(&other), RCD_CPU_C);
    cr_expect(lines_with(p, "* SpmmEach(") == 0 && lines_with(p, "ScatterElements(") == 1);
    rcd_plan_unref(p);
}

/* Static graphs of PyTorch Geometric, stacks of ARMAConv (tests/golden/gen/graph_written.py). */
Test(engine_fuse_each, layers_of_several_inputs)
{
    static const struct {
        const char *name;
        size_t sums;
    } nets[] = {{"graph_written_series_ts18", 3},
                {"graph_written_series_dyn18", 3},
                {"graph_written_stacks_ts18", 2},
                {"graph_written_stacks_dyn18", 2}};
    for (size_t i = 0; i < RCD_COUNT(nets); i++) {
        rcd_plan *p = plan_of_golden(nets[i].name);
        cr_expect(lines_with(p, "* SpmmEach(") == nets[i].sums &&
                      lines_with(p, "ScatterElements(") == 0,
                  "%s: %zu sums", nets[i].name, lines_with(p, "* SpmmEach("));
        rcd_plan_unref(p);
    }
}
