/* test_joined.c - what a run of one request does together: products with a row and their sums, layers that are read without
 * their zeros. The bits are those of node by node. */
#include "plans.h"
#include "recurd/engine_bind.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(engine_joined, .timeout = 400);

/* Scores of heads as GAT has them: h = x W [n, 64], seen as [n, 4, 16], times a row, summed along the last axis. */
enum { ROWS = 4096, HEADS = 4, CHANNELS = 16, WIDTH = HEADS * CHANNELS };

static struct pb head_scores(const char *row_first)
{
    static float w[8 * WIDTH], row[WIDTH];
    static const int64_t heads[] = {-1, HEADS, CHANNELS}, last[] = {-1};
    for (size_t i = 0; i < 8 * WIDTH; i++)
        w[i] = (float)(i % 23) / 7.0f - 1.5f;
    for (size_t i = 0; i < WIDTH; i++)
        row[i] = (float)(i % 13) / 11.0f - 0.5f;
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INIT, mk_f32("w", "8,64", w, 8 * WIDTH));
    pb_msg(&g, G_INIT, mk_f32("row", "1,4,16", row, WIDTH));
    pb_msg(&g, G_INIT, mk_i64("heads", "3", heads, 3));
    pb_msg(&g, G_INIT, mk_i64("last", "1", last, 1));
    pb_msg(&g, G_NODE, mk_node("MatMul", "h", "x,w", "flat"));
    pb_msg(&g, G_NODE, mk_node("Reshape", "view", "flat,heads", "h"));
    pb_msg(&g, G_NODE, mk_node("Mul", "scaled", row_first, "p"));
    pb_msg(&g, G_NODE, mk_node("Neg", "beside", "x", "z")); /* stands between */
    struct pb sum = mk_node("ReduceSum", "scores", "p,last", "s");
    add_attr_int(&sum, "keepdims", 0);
    pb_msg(&g, G_NODE, sum);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "nodes,8"));
    pb_msg(&g, G_OUTPUT, mk_info("h", T_FLOAT, NULL));
    pb_msg(&g, G_OUTPUT, mk_info("s", T_FLOAT, NULL));
    pb_msg(&g, G_OUTPUT, mk_info("z", T_FLOAT, NULL));
    return mk_model(8, 18, g);
}

/* What is out at one time, in bytes: never the products with the row, which are as large as h itself. The scores have the
 * bits of a run that makes them: the batch of two, which does nodes one by one. */
Test(engine_joined, products_that_are_summed_are_never_there)
{
    const size_t of_h = ROWS * WIDTH * sizeof(float);
    static float x[ROWS * 8];
    for (size_t i = 0; i < ROWS * 8; i++)
        x[i] = (float)(i * 7919 % 1009) / 503.0f - 1.0f;
    const int64_t dims[] = {ROWS, 8};
    struct rcd_tensor in;
    cr_assert(rcd_tensor_shape(&in, RCD_F32, 2, dims));
    in.data = x, in.block = NULL;
    for (int first = 0; first < 2; first++) {
        rcd_plan *p = plan_from(head_scores(first == 0 ? "h,row" : "row,h"), RCD_CPU_C);
        cr_assert(lines_with(p, "+ ReduceSum(") == 1);
        rcd_exec *small = rcd_exec_new(of_h + of_h / 2, 0), *large = rcd_exec_new(8 * of_h, 0);
        struct rcd_tensor out[3][3] = {0};
        struct rcd_infer req[3];
        for (int r = 0; r < 3; r++)
            req[r] = (struct rcd_infer){.in = &in, .out = out[r]};
        struct rcd_infer *const one[] = {&req[0]}, *const two[] = {&req[1], &req[2]};
        rcd_exec_run(small, p, 1, one, NULL);
        cr_assert(req[0].err.code == RCD_OK, "%s", req[0].err.text);
        rcd_exec_run(large, p, 2, two, NULL);
        cr_assert(req[1].err.code == RCD_OK, "%s", req[1].err.text);
        cr_assert(out[0][1].rank == 2 && out[0][1].n == ROWS * HEADS);
        for (int o = 0; o < 3; o++)
            cr_assert(memcmp(out[0][o].data, out[2][o].data, out[0][o].n * sizeof(float)) == 0);
        for (int r = 0; r < 3; r++)
            rcd_infer_drop(&req[r], 3);
        rcd_exec_free(small);
        rcd_exec_free(large);
        rcd_plan_unref(p);
    }
}

/* A layer as exporters write it, over f32[nodes, width] `x`; the names of what it makes end in `tag`. */
static void gcn_layer(struct pb *g, const char *x, const char *tag, size_t in, size_t out)
{
    char name[16][24], text[96], dims[24];
    static const char *const stems[] = {"w", "l", "m", "u", "c", "s", "e", "t", "z", "a", "h"};
    enum { W, L, M, U, C, S, E, T, Z, A, H };
    for (size_t i = 0; i < RCD_COUNT(stems); i++)
        snprintf(name[i], sizeof name[i], "%s%s", stems[i], tag);
    float *w = calloc(in * out, sizeof *w);
    for (size_t i = 0; i < in * out; i++)
        w[i] = (float)(i * 2654435761u % 1013) / 506.0f - 1.0f;
    snprintf(dims, sizeof dims, "%zu,%zu", in, out);
    pb_msg(g, G_INIT, mk_f32(name[W], dims, w, in * out));
    free(w);
#define NODE(op, o, ...)                                                                           \
    (snprintf(text, sizeof text, __VA_ARGS__),                                                     \
     pb_msg(g, G_NODE, mk_node(op, name[o], text, name[o])))
    NODE("MatMul", L, "%s,%s", x, name[W]);
    NODE("Gather", M, "%s,src", name[L]);
    NODE("Mul", U, "%s,wcol", name[M]);
    NODE("Reshape", C, "dst,column");
    NODE("Shape", S, "%s", name[U]);
    NODE("Expand", E, "%s,%s", name[C], name[S]);
    NODE("Shape", T, "%s", name[L]);
    NODE("ConstantOfShape", Z, "%s", name[T]);
    snprintf(text, sizeof text, "%s,%s,%s", name[Z], name[E], name[U]);
    struct pb n = mk_node("ScatterElements", name[A], text, name[A]);
    add_attr_int(&n, "axis", 0);
    add_attr_str(&n, "reduction", "add");
    pb_msg(g, G_NODE, n);
    NODE("Relu", H, "%s", name[A]);
#undef NODE
}

static struct pb gcn(size_t hidden)
{
    struct pb g = graph_of_edges();
    pb_msg(&g, G_NODE, mk_node("Reshape", "wcol", "w,column", "wcol"));
    gcn_layer(&g, "x", "1", 16, hidden);
    gcn_layer(&g, "h1", "2", hidden, hidden);
    gcn_layer(&g, "h2", "3", hidden, 8);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "nodes,16"));
    pb_msg(&g, G_INPUT, mk_info("edge_index", T_I64, "2,edges"));
    pb_msg(&g, G_INPUT, mk_info("w", T_FLOAT, "edges"));
    pb_msg(&g, G_OUTPUT, mk_info("h3", T_FLOAT, NULL));
    return mk_model(8, 18, g);
}

enum { NODES = 3000, N_EDGES = 20000, MORE = 100, IN = 16 };

static struct {
    float x[NODES * IN], w[N_EDGES + MORE];
    int64_t ends[2][N_EDGES + MORE], index[2 * (N_EDGES + MORE)];
    size_t n_edges;
    struct rcd_tensor in[3];
    uint32_t seed;
} many;

static uint32_t next(void)
{
    return many.seed = many.seed * 1664525u + 1013904223u;
}

/* The tensors as x, w and ends have them. */
static void set_tensors(void)
{
    const int64_t n = (int64_t)many.n_edges, x_dims[] = {NODES, IN}, e_dims[] = {2, n};
    memcpy(many.index, many.ends[0], many.n_edges * sizeof(int64_t));
    memcpy(many.index + n, many.ends[1], many.n_edges * sizeof(int64_t));
    cr_assert(rcd_tensor_shape(&many.in[0], RCD_F32, 2, x_dims) &&
              rcd_tensor_shape(&many.in[1], RCD_I64, 2, e_dims) &&
              rcd_tensor_shape(&many.in[2], RCD_F32, 1, &n));
    many.in[0].data = many.x, many.in[1].data = many.index, many.in[2].data = many.w;
    for (int i = 0; i < 3; i++)
        many.in[i].block = NULL;
}

/* Every third edge ends in one node. */
static void make_graph(void)
{
    many.seed = 5;
    many.n_edges = N_EDGES;
    for (size_t i = 0; i < NODES * IN; i++)
        many.x[i] = (float)(int32_t)next() / 2147483648.0f;
    for (size_t e = 0; e < N_EDGES; e++) {
        many.ends[0][e] = (next() >> 8) % NODES;
        many.ends[1][e] = e % 3 == 0 ? 77 : (next() >> 8) % NODES;
        many.w[e] = (float)(next() >> 16) / 65536.0f;
    }
    set_tensors();
}

/* A layer behind a ReLU is read without its zeros in a run of one request, alone and with helpers; the batch of two does
 * nodes one by one, over whole rows. */
Test(engine_joined, layers_without_their_zeros_give_the_same_bits)
{
    make_graph();
    for (size_t hidden = RCD_SQUEEZED / 2; hidden <= RCD_SQUEEZED; hidden *= 2) {
        rcd_plan *p = plan_from(gcn(hidden), rcd_cpu_best(RCD_CPU_AVX512));
        struct rcd_error err = {.text = ""};
        cr_assert(lines_with(p, "* Spmm(") == 3 && lines_with(p, "+ MatMul(") == 3);
        rcd_exec *exec = rcd_exec_new(1 << 28, 0);
        struct rcd_tensor out[4];
        struct rcd_infer req[4];
        for (int r = 0; r < 4; r++)
            req[r] = (struct rcd_infer){.in = many.in, .out = &out[r]};
        struct rcd_infer *const one[] = {&req[0]}, *const two[] = {&req[1], &req[2]},
                                *const helped[] = {&req[3]};
        rcd_exec_run(exec, p, 1, one, NULL);
        rcd_exec_run(exec, p, 2, two, NULL);
        cr_assert(rcd_exec_set_threads(exec, 2, &err) == RCD_OK);
        rcd_exec_run(exec, p, 1, helped, NULL);
        for (int r = 0; r < 4; r++) {
            cr_assert(req[r].err.code == RCD_OK, "%s", req[r].err.text);
            cr_assert(out[r].n == NODES * 8 &&
                      memcmp(out[r].data, out[0].data, NODES * 8 * sizeof(float)) == 0);
        }
        for (int r = 0; r < 4; r++)
            rcd_infer_drop(&req[r], 1);
        rcd_exec_free(exec);
        rcd_plan_unref(p);
    }
}

/* A layer that means the rows of its neighbours, of a product made for it alone, on top of a layer behind a ReLU. */
static struct pb mean_of_products(size_t width)
{
    static const int64_t first[] = {0};
    static const float one[] = {1};
    struct pb g = graph_of_edges(), n;
    pb_msg(&g, G_INIT, mk_i64("first", "1", first, 1));
    pb_msg(&g, G_INIT, mk_f32("onef", "", one, 1));
    pb_msg(&g, G_NODE, mk_node("Reshape", "wcol", "w,column", "wcol"));
    gcn_layer(&g, "x", "1", IN, width);
    float *w = calloc(width * width, sizeof *w);
    for (size_t i = 0; i < width * width; i++)
        w[i] = (float)(i * 40503u % 997) / 498.0f - 1.0f;
    char dims[24];
    snprintf(dims, sizeof dims, "%zu,%zu", width, width);
    pb_msg(&g, G_INIT, mk_f32("w2", dims, w, width * width));
    free(w);
    static const char *const nodes[][3] = {
        {"MatMul", "h1,w2", "l2"},      {"Gather", "l2,src", "m2"},
        {"Mul", "m2,wcol", "u2"},       {"Reshape", "dst,column", "c2"},
        {"Shape", "u2", "s2"},          {"Expand", "c2,s2", "e2"},
        {"Shape", "l2", "t2"},          {"ConstantOfShape", "t2", "z2"},
        {"Gather", "t2,first", "rows"}, {"ConstantOfShape", "rows", "z3"},
        {"Shape", "dst", "many"},       {"Expand", "onef,many", "ones"}};
    for (size_t i = 0; i < RCD_COUNT(nodes); i++)
        pb_msg(&g, G_NODE, mk_node(nodes[i][0], nodes[i][2], nodes[i][1], nodes[i][2]));
    static const char *const sums[][2] = {{"z2,e2,u2", "a2"}, {"z3,dst,ones", "n2"}};
    for (size_t i = 0; i < 2; i++) {
        n = mk_node("ScatterElements", sums[i][1], sums[i][0], sums[i][1]);
        add_attr_int(&n, "axis", 0);
        add_attr_str(&n, "reduction", "add");
        pb_msg(&g, G_NODE, n);
    }
    pb_msg(&g, G_NODE, mk_node("Clip", "at_least", "n2,onef", "k2"));
    pb_msg(&g, G_NODE, mk_node("Reshape", "kcol", "k2,column", "kcol"));
    pb_msg(&g, G_NODE, mk_node("Div", "y", "a2,kcol", "y"));
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "nodes,16"));
    pb_msg(&g, G_INPUT, mk_info("edge_index", T_I64, "2,edges"));
    pb_msg(&g, G_INPUT, mk_info("w", T_FLOAT, "edges"));
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    return mk_model(8, 18, g);
}

/* The sum that a mean was made of still stands there, read by nobody: its product is the mean's, which would be without it
 * if the sum took it, and the rows below are read whole. */
Test(engine_joined, a_mean_keeps_the_product_of_its_sum)
{
    make_graph();
    for (size_t width = RCD_SQUEEZED / 2; width <= RCD_SQUEEZED; width *= 2) {
        rcd_plan *p = plan_from(mean_of_products(width), rcd_cpu_best(RCD_CPU_AVX512));
        cr_assert(lines_with(p, "   mean") == 1);
        rcd_exec *exec = rcd_exec_new(1 << 28, 0);
        struct rcd_tensor out[3];
        struct rcd_infer req[3];
        for (int r = 0; r < 3; r++)
            req[r] = (struct rcd_infer){.in = many.in, .out = &out[r]};
        struct rcd_infer *const one[] = {&req[0]}, *const two[] = {&req[1], &req[2]};
        rcd_exec_run(exec, p, 1, one, NULL);
        cr_assert(req[0].err.code == RCD_OK, "%s", req[0].err.text);
        rcd_exec_run(exec, p, 2, two, NULL);
        cr_assert(out[0].n == NODES * width &&
                  memcmp(out[0].data, out[2].data, out[0].n * sizeof(float)) == 0);
        float largest = 0;
        for (size_t i = 0; i < out[0].n; i++)
            largest = fmaxf(largest, fabsf(((const float *)out[0].data)[i]));
        cr_assert(largest > 1);
        for (int r = 0; r < 3; r++)
            rcd_infer_drop(&req[r], 1);
        rcd_exec_free(exec);
        rcd_plan_unref(p);
    }
}

/* An edge goes, one comes, a node has other features. */
static void change(rcd_exec *x, rcd_bound **b)
{
    const size_t e = next() % many.n_edges, last = many.n_edges - 1, row = next() % NODES;
    const int64_t removed = (int64_t)e, changed = (int64_t)row;
    for (int r = 0; r < 2; r++) {
        memmove(many.ends[r] + e, many.ends[r] + e + 1, (last - e) * sizeof(int64_t));
        many.ends[r][last] = next() % 4 == 0 ? 77 : (next() >> 8) % NODES;
    }
    memmove(many.w + e, many.w + e + 1, (last - e) * sizeof(float));
    many.w[last] = (float)(next() >> 16) / 65536.0f;
    for (size_t i = 0; i < IN; i++)
        many.x[row * IN + i] = (float)(int32_t)next() / 2147483648.0f;
    const int64_t added[2] = {many.ends[0][last], many.ends[1][last]};
    const struct rcd_input_delta deltas[3] = {
        {.changed = &changed, .n_changed = 1, .values = many.x + row * IN},
        {.removed = &removed, .n_removed = 1, .added = added, .n_added = 1},
        {.removed = &removed, .n_removed = 1, .added = many.w + last, .n_added = 1}};
    struct rcd_error err = {.text = ""};
    rcd_bound *new = NULL;
    set_tensors();
    cr_assert(rcd_bound_update(x, *b, many.in, deltas, NULL, &new, &err) == RCD_OK, "%s", err.text);
    cr_assert(new != NULL, "%s", err.text);
    *b = new;
}

/* Sums with their products, layers kept without their zeros, a row of more edges than go together: what changes of a graph
 * lead to has the bits of a run over the graph as it is then, with helpers too, and who holds what was before keeps it. */
Test(engine_joined, changes_of_layers_without_their_zeros_give_the_same_bits)
{
    static const struct rcd_bound_entries entries[3] = {{0, 0}, {1, 1}, {1, 0}};
    for (int k = 0; k < 4; k++) {
        make_graph();
        rcd_plan *p = plan_from(gcn(k % 2 ? RCD_SQUEEZED : RCD_SQUEEZED / 2),
                                rcd_cpu_best(k == 3 ? RCD_CPU_AVX2 : RCD_CPU_AVX512));
        rcd_exec *x = rcd_exec_new(1 << 28, 0);
        struct rcd_error err = {.text = ""};
        rcd_bound *b = NULL, *before = NULL, *anew = NULL;
        cr_assert(rcd_exec_set_threads(x, k < 2 ? 1 : 2, &err) == RCD_OK);
        cr_assert(rcd_bound_new_live(x, p, many.in, entries, 1 << 28, NULL, &b, &err) == RCD_OK);
        cr_assert(rcd_bound_not_live(b) == NULL, "%s", rcd_bound_not_live(b));
        for (int i = 0; i < 40; i++) {
            const size_t bytes = rcd_bound_output(b, 0)->n * sizeof(float);
            float *was = malloc(bytes);
            memcpy(was, rcd_bound_output(b, 0)->data, bytes);
            before = i % 3 == 0 ? rcd_bound_ref(b) : NULL;
            change(x, &b);
            if (i % 8 == 7)
                cr_assert(rcd_bound_new(x, p, many.in, NULL, &anew, &err) == RCD_OK);
            cr_assert(anew == NULL || memcmp(rcd_bound_output(b, 0)->data,
                                             rcd_bound_output(anew, 0)->data, bytes) == 0);
            cr_assert(before == NULL || memcmp(rcd_bound_output(before, 0)->data, was, bytes) == 0);
            anew = rcd_bound_unref(anew);
            rcd_bound_unref(before);
            free(was);
        }
        rcd_bound_unref(b);
        rcd_exec_free(x);
        rcd_plan_unref(p);
    }
}
