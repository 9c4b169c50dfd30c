/* test_fuse_large.c - graph layers over many nodes: threads, batches, edges sorted in parts give the bits of one thread,
 * one request and few edges. */
#include "plans.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(engine_fuse_large, .timeout = 400);

enum { MANY_NODES = 40000, MANY_EDGES = 90000, MANY_FEATURES = 6 };

static struct rcd_tensor run_many(const rcd_plan *p, rcd_exec *x, const struct rcd_tensor *in,
                                  size_t n)
{
    struct rcd_tensor out[2] = {{.dtype = RCD_NONE}, {.dtype = RCD_NONE}};
    struct rcd_infer req[2] = {{.in = in, .out = &out[0]}, {.in = in, .out = &out[1]}};
    struct rcd_infer *list[] = {&req[0], &req[1]};
    rcd_exec_run(x, p, n, list, NULL);
    cr_assert(req[0].err.code == RCD_OK, "%s", req[0].err.text);
    if (n > 1)
        rcd_infer_drop(&req[1], 1);
    return out[0];
}

/* More threads than there are places in scratch take turns, joined products go by blocks of rows, in a batch they do
 * not: every row has the bits of one thread. Some nodes have no edges, one has thousands. */
static void same_bits_of_many_rows(const char *net, int64_t features, int64_t of_edges)
{
    const int64_t x_dims[] = {MANY_NODES, features}, e_dims[] = {2, MANY_EDGES},
                  a_dims[] = {MANY_EDGES, of_edges};
    static float x[MANY_NODES * MANY_FEATURES];
    static int64_t edges[2 * MANY_EDGES];
    uint32_t seed = 7;
    for (size_t i = 0; i < RCD_COUNT(x); i++)
        x[i] = (float)(int32_t)(seed = seed * 1664525u + 1013904223u) / 2147483648.0f;
    for (size_t i = 0; i < RCD_COUNT(edges); i++)
        edges[i] = (seed = seed * 1664525u + 1013904223u) / 65536 % (MANY_NODES - 100);
    for (size_t e = 0; e < MANY_EDGES; e += 40)
        edges[MANY_EDGES + e] = 3;
    struct rcd_tensor in[3], out[3];
    cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 2, x_dims) &&
              rcd_tensor_shape(&in[1], RCD_I64, 2, e_dims) &&
              rcd_tensor_shape(&in[2], RCD_F32, 2, a_dims) && in[2].n <= RCD_COUNT(x));
    in[0].data = in[2].data = x;
    in[1].data = edges;
    in[0].block = in[1].block = in[2].block = NULL;
    rcd_plan *p = plan_of_golden(net);
    rcd_exec *exec[3];
    for (int k = 0; k < 3; k++) {
        struct rcd_error err = {.text = ""};
        exec[k] = rcd_exec_new((size_t)1 << 30, (size_t)1 << 28);
        cr_assert(exec[k] != NULL && rcd_exec_set_threads(exec[k], k == 1 ? 40 : 1, &err) == RCD_OK,
                  "%s", err.text);
        out[k] = run_many(p, exec[k], in, k == 2 ? 2 : 1);
        cr_expect(out[0].n == out[k].n && out[0].n > 0 &&
                      memcmp(out[0].data, out[k].data, out[0].n * sizeof(float)) == 0,
                  "%s, run %d", net, k);
    }
    for (int k = 0; k < 3; k++) {
        struct rcd_infer req = {.out = &out[k]};
        rcd_infer_drop(&req, 1);
        rcd_exec_free(exec[k]);
    }
    rcd_plan_unref(p);
}

Test(engine_fuse_large, forty_threads_and_batches_have_the_bits_of_one)
{
    same_bits_of_many_rows("graph_gat_ts18", 6, 0);
    same_bits_of_many_rows("graph_gcn_ts18", 6, 0);
    same_bits_of_many_rows("graph_graphconv_ts18", 6, 0);
    same_bits_of_many_rows("graph_written_transformer_ts18", 5, 2);
}

/* A few nodes and their edges among so many others that edges are sorted in parts: their rows have the bits that they
 * have alone, at the beginning of the nodes and at their end. */
Test(engine_fuse_large, many_edges_are_sorted_as_few_are)
{
    enum { FEW = 50, FEW_EDGES = 300, EVERY = 500, EDGES = 150000 };
    static float x[MANY_NODES * MANY_FEATURES], few_x[FEW * MANY_FEATURES];
    static int64_t edges[2 * EDGES], few[2 * FEW_EDGES];
    rcd_plan *p = plan_of_golden("graph_gcn_ts18");
    rcd_exec *exec = rcd_exec_new((size_t)1 << 28, (size_t)1 << 24);
    uint32_t seed = 11;
    for (size_t i = 0; i < RCD_COUNT(x); i++)
        x[i] = (float)(i * 7 % 11) - 4.5f;
    for (size_t i = 0; i < RCD_COUNT(few); i++)
        few[i] = (int64_t)((seed = seed * 1664525u + 1013904223u) / 65536 % FEW);
    for (int end = 0; end < 2; end++) {
        const size_t first = end ? MANY_NODES - FEW : 0;
        struct rcd_error err = {.text = ""};
        cr_assert(rcd_exec_set_threads(exec, end ? 3 : 1, &err) == RCD_OK, "%s", err.text);
        for (size_t e = 0; e < EDGES; e++) {
            const bool one = e % EVERY == 7 && e / EVERY < FEW_EDGES;
            for (size_t s = 0; s < 2; s++) {
                seed = seed * 1664525u + 1013904223u;
                edges[s * EDGES + e] = one ? few[s * FEW_EDGES + e / EVERY] + (int64_t)first
                                           : (int64_t)(FEW + seed / 65536 % (MANY_NODES - 2 * FEW));
            }
        }
        memcpy(few_x, x + first * MANY_FEATURES, sizeof few_x);
        const int64_t dims[][2] = {
            {MANY_NODES, MANY_FEATURES}, {2, EDGES}, {FEW, MANY_FEATURES}, {2, FEW_EDGES}};
        struct rcd_tensor in[4], out[2] = {{.dtype = RCD_NONE}};
        void *const data[] = {x, edges, few_x, few};
        for (int i = 0; i < 4; i++) {
            cr_assert(rcd_tensor_shape(&in[i], i % 2 ? RCD_I64 : RCD_F32, 2, dims[i]));
            in[i].data = data[i];
            in[i].block = NULL;
        }
        struct rcd_infer reqs[2] = {{.in = in, .out = &out[0]}, {.in = in + 2, .out = &out[1]}};
        for (int r = 0; r < 2; r++) {
            struct rcd_infer *list[] = {&reqs[r]};
            rcd_exec_run(exec, p, 1, list, NULL);
            cr_assert(reqs[r].err.code == RCD_OK, "%s", reqs[r].err.text);
        }
        const size_t width = out[1].n / FEW;
        cr_expect(memcmp((const float *)out[0].data + first * width, out[1].data,
                         out[1].n * sizeof(float)) == 0,
                  "other bits from node %zu on", first);
        rcd_infer_drop(&reqs[0], 1);
        rcd_infer_drop(&reqs[1], 1);
    }
    rcd_exec_free(exec);
    rcd_plan_unref(p);
}
