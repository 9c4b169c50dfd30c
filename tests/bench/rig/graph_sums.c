/* graph_sums.c - the sparse product of a graph alone, one thread, for graph.py: beside it, the same rows in the same
 * order only loaded, and memory read from end to end. GB/s of rows read, and of all that a sum moves: rows, edges,
 * results. Medians of rounds, in turns; one line of JSON.
 *
 * usage: graph_sums NODES EDGES EDGE_INDEX.i64 COLUMNS (a multiple of 16) */
#include "median.h"
#include "model_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 7, LINE = 16 };

static struct {
    size_t nodes, edges, width;
    int32_t *ptr, *col;
    float *w, *x, *y;
} g;

static void *memory(size_t bytes)
{
    void *p = rcd_alloc_aligned(bytes);
    if (p == NULL)
        rig_die("memory", NULL);
    memset(p, 0, bytes);
    return p;
}

/* Edges by the row they end in, behind them a loop of each node, as GCN has it. */
static void sort(const int64_t *index, size_t n)
{
    g.edges = n + g.nodes;
    g.ptr = memory((g.nodes + 2) * sizeof *g.ptr);
    g.col = memory(g.edges * sizeof *g.col);
    int32_t *at = memory((g.nodes + 1) * sizeof *at);
    for (size_t e = 0; e < n; e++)
        g.ptr[index[n + e] + 1]++;
    for (size_t i = 0; i < g.nodes; i++) {
        g.ptr[i + 1] += g.ptr[i] + 1;
        at[i] = g.ptr[i];
    }
    for (size_t e = 0; e < n; e++)
        g.col[at[index[n + e]]++] = (int32_t)index[e];
    for (size_t i = 0; i < g.nodes; i++)
        g.col[at[i]] = (int32_t)i;
    rcd_free(at);
}

static uint64_t touched; /* so that loads are not left out */

/* A word of each line, so that nothing but memory limits it: as many loads are under way as a core has room for. */
static void load_rows(const float *x, const int32_t *order, size_t n, size_t width)
{
    uint32_t seen = 0;
    for (size_t e = 0; e < n; e++) {
        const float *row = x + (order != NULL ? (size_t)order[e] : e) * width;
        for (size_t i = 0; i < width; i += LINE) {
            uint32_t bits;
            memcpy(&bits, row + i, sizeof bits);
            seen ^= bits;
        }
    }
    touched += seen;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return 2;
    size_t bytes = 0;
    g.nodes = strtoul(argv[1], NULL, 10);
    const size_t n = strtoul(argv[2], NULL, 10);
    g.width = strtoul(argv[4], NULL, 10);
    int64_t *index = rig_read(argv[3], &bytes);
    sort(index, n);
    rcd_free(index);
    g.w = memory(g.edges * sizeof *g.w);
    g.x = memory(g.nodes * g.width * sizeof *g.x);
    g.y = memory(g.nodes * g.width * sizeof *g.y);
    for (size_t i = 0; i < g.nodes * g.width; i++)
        g.x[i] = (float)(i % 17);
    const struct rcd_spmm s = {.row_end = g.nodes,
                               .ptr = g.ptr,
                               .col = g.col,
                               .n_edges = g.edges,
                               .w = g.w,
                               .groups = 1,
                               .chan = g.width,
                               .x = g.x,
                               .x_rows = g.nodes,
                               .y = g.y};
    const struct rcd_kernels *kern = rcd_kernels_for(rcd_cpu_best(RCD_CPU_AVX512));
    double ms[3][ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        for (int what = 0; what < 3; what++) {
            const uint64_t t = rcd_now_ns();
            if (what == 0)
                kern->spmm(&s);
            else
                load_rows(g.x, what == 1 ? g.col : NULL, what == 1 ? g.edges : g.nodes, g.width);
            ms[what][round] = (double)(rcd_now_ns() - t) / 1e6;
        }
    }
    const double row = (double)g.width * sizeof(float) / 1e6;
    const double sum = rig_median(ms[0], ROUNDS), load = rig_median(ms[1], ROUNDS),
                 read = rig_median(ms[2], ROUNDS);
    const double rows = row * (double)g.edges, /* and each edge's end and factor, and a result: */
        moved = rows + 8e-6 * (double)g.edges + (row + 4e-6) * (double)g.nodes;
    printf("{\"sum ms\": %.2f, \"load ms\": %.2f, \"read ms\": %.2f, \"sum GB/s\": %.2f, "
           "\"moved GB/s\": %.2f, \"load GB/s\": %.2f, \"read GB/s\": %.2f, \"touched\": %d}\n",
           sum, load, read, rows / sum, moved / sum, rows / load, row * (double)g.nodes / read,
           touched != 0);
    return 0;
}
