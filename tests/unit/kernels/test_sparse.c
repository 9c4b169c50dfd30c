/* test_sparse.c - sums over edges and the softmax over the edges of a row: every CPU level, every split of
 * the rows and a list of them give the same bits, and what a plain loop gives. */
#include "recurd/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TestSuite(sparse, .timeout = 400);

enum { ROWS = 23, EDGES = 140, MAX_WIDTH = 300 };

static float noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed / 2147483648.0f;
}

struct graph {
    int32_t ptr[ROWS + 1], col[EDGES], edge[EDGES];
    float x[ROWS * MAX_WIDTH], w[EDGES * 8], sorted[EDGES * 8], bias[MAX_WIDTH];
};

/* Row 3 has no edges, row 5 has many. */
static struct graph *graph_new(uint32_t seed, size_t groups)
{
    struct graph *g = calloc(1, sizeof *g);
    for (size_t e = 0; e < EDGES; e++) {
        seed = seed * 1664525u + 1013904223u;
        size_t row = e < 50 ? 5 : (seed >> 8) % ROWS;
        g->ptr[(row == 3 ? 4 : row) + 1]++;
        g->col[e] = (int32_t)((seed >> 16) % ROWS);
        g->edge[e] = (int32_t)((e * 37) % EDGES);
    }
    for (size_t i = 0; i < ROWS; i++)
        g->ptr[i + 1] += g->ptr[i];
    for (size_t i = 0; i < RCD_COUNT(g->x); i++)
        g->x[i] = noise(&seed);
    for (size_t i = 0; i < RCD_COUNT(g->w); i++)
        g->w[i] = noise(&seed);
    for (size_t i = 0; i < MAX_WIDTH; i++)
        g->bias[i] = noise(&seed);
    for (size_t e = 0; e < EDGES; e++)
        memcpy(g->sorted + e * groups, g->w + (size_t)g->edge[e] * groups, groups * sizeof(float));
    return g;
}

static void plain(const struct graph *g, rcd_spmm_reduce how, size_t groups, size_t chan, float *y)
{
    for (size_t i = 0; i < ROWS; i++) {
        for (size_t j = 0; j < groups * chan; j++) {
            float sum = 0;
            for (int32_t e = g->ptr[i]; e < g->ptr[i + 1]; e++)
                sum = fmaf(g->w[(size_t)g->edge[e] * groups + j / chan],
                           g->x[(size_t)g->col[e] * groups * chan + j], sum);
            const int32_t n = g->ptr[i + 1] - g->ptr[i];
            if (how == RCD_SPMM_MEAN)
                sum = sum / (n > 0 ? (float)n : 1.0f);
            sum += g->bias[j];
            y[i * groups * chan + j] = sum < 0 ? 0 : sum;
        }
    }
}

/* All rows, with bias and ReLU. */
static struct rcd_spmm sums_of(const struct graph *g, size_t groups, size_t chan, float *y)
{
    return (struct rcd_spmm){.row_end = ROWS,
                             .ptr = g->ptr,
                             .col = g->col,
                             .edge = g->edge,
                             .n_edges = EDGES,
                             .w = g->w,
                             .groups = groups,
                             .chan = chan,
                             .x = g->x,
                             .x_rows = ROWS,
                             .y = y,
                             .bias = g->bias,
                             .relu = true};
}

static void check(rcd_spmm_reduce how, size_t groups, size_t chan, uint32_t seed)
{
    struct graph *g = graph_new(seed, groups);
    const size_t n = ROWS * groups * chan;
    float *want = calloc(n, sizeof *want), *y = calloc(n + 1, sizeof *y);
    plain(g, how, groups, chan, want);
    struct rcd_spmm s = sums_of(g, groups, chan, y);
    s.how = how;
    static const int32_t some[] = {7, 5, 3, 22};
    for (int level = 0; level < RCD_CPU_MAX; level++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
        if (k == NULL)
            continue;
        y[n] = 12345.0f;
        k->spmm(&s);
        cr_assert(memcmp(y, want, n * sizeof *y) == 0 && y[n] == 12345.0f, "%s %zu x %zu", k->name,
                  groups, chan);
        memset(y, 0, n * sizeof *y);
        struct rcd_spmm part =
            s; /* factors in edge order, a block of rows whose factors start late */
        part.row_begin = 5, part.row_end = 9;
        part.edge = NULL, part.w_first = (size_t)g->ptr[5];
        part.w = g->sorted + part.w_first * groups;
        k->spmm(&part);
        const size_t row = groups * chan;
        cr_assert(memcmp(y + 5 * row, want + 5 * row, 4 * row * sizeof *y) == 0, "%s", k->name);
        cr_assert(y[4 * row] == 0 && y[9 * row] == 0, "rows that were not asked for");
        memset(y, 0, n * sizeof *y);
        part = s;
        part.rows = some, part.row_end = RCD_COUNT(some);
        k->spmm(&part);
        for (size_t i = 0; i < RCD_COUNT(some); i++)
            cr_assert(memcmp(y + (size_t)some[i] * row, want + (size_t)some[i] * row,
                             row * sizeof *y) == 0,
                      "%s row %d of a list", k->name, some[i]);
        cr_assert(y[6 * row] == 0);
    }
    free(want);
    free(y);
    free(g);
}

/* Rows without their zeros give the bits that they give with them: half zeros, all, none; -0, NaN and infinity stay. */
static void check_squeezed(const struct rcd_kernels *k, size_t chan, uint32_t seed)
{
    struct graph *g = graph_new(seed, 1);
    const size_t n = ROWS * chan, stride = chan + RCD_SQUEEZED_MORE;
    float *want = calloc(n, sizeof *want), *y = calloc(n, sizeof *y);
    float *thin = rcd_alloc_aligned(ROWS * stride * sizeof *thin);
    for (size_t i = 0; i < n; i++)
        g->x[i] = i / chan == 1 || (i / chan != 2 && g->x[i] < 0) ? 0.0f : g->x[i];
    g->x[4 * chan + 17] = -0.0f;
    g->x[6 * chan] = NAN;
    g->x[7 * chan - 1] = INFINITY;
    g->w[5] = INFINITY; /* times zero */
    memset(thin, 0xff, ROWS * stride * sizeof *thin);
    k->squeeze(ROWS, chan, g->x, thin);
    struct rcd_spmm s = sums_of(g, 1, chan, want);
    for (int how = 0; how < 3; how++) {
        s.w = how == 1 ? NULL : g->w;
        s.edge = how == 2 ? NULL : g->edge;
        s.x = g->x, s.y = want, s.squeezed = 0;
        k->spmm(&s);
        s.x = thin, s.y = y, s.squeezed = stride;
        k->spmm(&s);
        cr_assert(memcmp(y, want, n * sizeof *y) == 0, "%s, %zu columns, %d", k->name, chan, how);
    }
    static const int32_t some[] = {7, 5, 3, 22};
    memset(y, 0, n * sizeof *y);
    s.rows = some, s.row_end = RCD_COUNT(some);
    k->spmm(&s);
    for (size_t i = 0; i < RCD_COUNT(some); i++)
        cr_assert(memcmp(y + (size_t)some[i] * chan, want + (size_t)some[i] * chan,
                         chan * sizeof *y) == 0);
    cr_assert(y[6 * chan] == 0);
    rcd_free(thin);
    free(want);
    free(y);
    free(g);
}

Test(sparse, rows_without_their_zeros_give_the_same_bits)
{
    for (int level = 0; level < RCD_CPU_MAX; level++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
        if (k == NULL || k->squeeze == NULL)
            continue;
        check_squeezed(k, RCD_SQUEEZED, 3);
        check_squeezed(k, RCD_SQUEEZED / 2, 4);
    }
}

Test(sparse, sums_and_means_are_the_same_chain_everywhere)
{
    static const size_t chans[] = {1, 3, 7, 8, 16, 17, 31, 32, 37};
    static const rcd_spmm_reduce how[] = {RCD_SPMM_SUM, RCD_SPMM_MEAN};
    for (size_t k = 0; k < RCD_COUNT(how); k++) {
        for (size_t i = 0; i < RCD_COUNT(chans); i++) {
            for (size_t groups = 1; groups <= 8; groups++)
                check(how[k], groups, chans[i], (uint32_t)(i * 100 + groups));
        }
        check(how[k], 1, 256, 5);
        check(how[k], 1, 300, 6);
        check(how[k], 2, 150, 7);
    }
}

/* Three rows: the first edge, none, the others. */
static void check_softmax(size_t n, size_t groups, bool raw, uint32_t seed)
{
    const int32_t ptr[] = {5, 6, 6, 5 + (int32_t)n};
    float *a = calloc(n * groups, sizeof *a), *y = calloc(n * groups + 1, sizeof *y);
    float *first = calloc(n * groups, sizeof *first), *sums = calloc(n * groups, sizeof *sums);
    for (size_t i = 0; i < n * groups; i++)
        a[i] = raw ? fabsf(noise(&seed)) : 9 * noise(&seed);
    bool have = false;
    for (int level = 0; level < RCD_CPU_MAX; level++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
        if (k == NULL)
            continue;
        const struct rcd_edge_softmax s = {.rows = 3,
                                           .groups = groups,
                                           .ptr = ptr,
                                           .a = a,
                                           .y = y,
                                           .sums = sums,
                                           .floor = -INFINITY,
                                           .eps = 1e-16f,
                                           .raw = raw};
        y[n * groups] = 12345.0f;
        k->edge_softmax(&s);
        cr_assert(y[n * groups] == 12345.0f);
        for (size_t i = 0; i < 3 * groups; i++) {
            const size_t g = i / 3;
            const size_t from = (size_t)ptr[i % 3] - 5, to = (size_t)ptr[i % 3 + 1] - 5;
            double most = -INFINITY, sum = 0;
            for (size_t t = from; t < to; t++)
                most = fmax(most, (double)a[t * groups + g]);
            for (size_t t = from; t < to; t++)
                sum += raw ? (double)a[t * groups + g] : exp((double)a[t * groups + g] - most);
            for (size_t t = from; t < to; t++) {
                double e = raw ? (double)a[t * groups + g] : exp((double)a[t * groups + g] - most);
                cr_assert(fabs((double)y[t * groups + g] - e / sum) < 1e-6, "%s", k->name);
            }
        }
        if (!have)
            memcpy(first, y, n * groups * sizeof *y);
        have = true;
        cr_assert(memcmp(first, y, n * groups * sizeof *y) == 0, "%s", k->name);
    }
    free(a);
    free(y);
    free(first);
    free(sums);
}

Test(sparse, softmax_of_rows)
{
    for (size_t groups = 1; groups < 40; groups += 3) {
        check_softmax(1, groups, false, 1);
        check_softmax(77, groups, false, (uint32_t)groups);
        check_softmax(9, groups, true, (uint32_t)groups);
    }
}
