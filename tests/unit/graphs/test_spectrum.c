/* test_spectrum.c - eigenvectors of a graph's Laplacian: what they are, their signs, their limits. */
#include "recurd/graphs_spectrum.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TestSuite(graphs_spectrum, .timeout = 400);

enum { N = 7, E = 10 };
/* parallel edges, a loop, an edge both ways, node 6 alone */
static int64_t ends[2][E] = {{0, 0, 1, 2, 3, 3, 4, 4, 5, 2}, {1, 1, 2, 0, 3, 4, 5, 3, 0, 5}};
static float weights[E] = {1, 2, 0.5f, 1, 3, 1, 1, 1, 0.25f, 2};

static rcd_graph *graph(const float *w)
{
    struct rcd_graph_tensor t[2] = {{.name = "edge_index"}, {.name = "edge_weight"}};
    const int64_t dims[2] = {2, E};
    struct rcd_error err;
    rcd_graph *g = NULL;
    cr_assert(rcd_tensor_shape(&t[0].tensor, RCD_I64, 2, dims) &&
              rcd_tensor_shape(&t[1].tensor, RCD_F32, 1, dims + 1));
    t[0].tensor.data = ends;
    t[1].tensor.data = (float *)(uintptr_t)w;
    const struct rcd_graph_parts parts = {.name = "g",
                                          .n = w != NULL ? 2 : 1,
                                          .tensors = t,
                                          .version = 1,
                                          .nodes = N,
                                          .max_bytes = 1 << 20};
    cr_assert(rcd_graph_new(&parts, &g, &err) == RCD_OK, "%s", err.text);
    return g;
}

static void laplacian(const float *w, double l[N][N])
{
    double a[N][N] = {{0}}, d[N] = {0};
    for (int e = 0; e < E; e++) {
        a[ends[0][e]][ends[1][e]] += (w != NULL ? w[e] : 1) / 2.0;
        a[ends[1][e]][ends[0][e]] += (w != NULL ? w[e] : 1) / 2.0;
    }
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            d[i] += a[i][j];
    for (int i = 0; i < N; i++)
        for (int j = 0; j < N; j++)
            l[i][j] = (i == j) - (d[i] > 0 && d[j] > 0 ? a[i][j] / sqrt(d[i] * d[j]) : 0);
}

static void check(const float *w, size_t k)
{
    struct rcd_error err;
    struct rcd_tensor basis, values;
    double l[N][N];
    rcd_graph *g = graph(w);
    laplacian(w, l);
    cr_assert(rcd_graph_spectrum(g, k, N, &basis, &values, &err) == RCD_OK, "%s", err.text);
    const size_t cols = k == 0 ? N : k, real = cols < N ? cols : N;
    const float *u = basis.data, *v = values.data;
    cr_assert(basis.rank == 2 && basis.dims[0] == N && basis.dims[1] == (int64_t)cols &&
              values.n == cols);
    for (size_t c = 0; c < real; c++) {
        double most = 0, norm = 0;
        size_t at = 0;
        for (size_t i = 0; i < N; i++) {
            double lu = 0;
            for (size_t j = 0; j < N; j++)
                lu += l[i][j] * (double)u[j * cols + c];
            cr_assert(fabs(lu - (double)(v[c] * u[i * cols + c])) < 1e-6,
                      "k %zu column %zu: %g, want %g", k, c, lu, (double)(v[c] * u[i * cols + c]));
            norm += (double)(u[i * cols + c] * u[i * cols + c]);
            if (fabs((double)u[i * cols + c]) > most * (1 + 1e-5)) {
                most = fabs((double)u[i * cols + c]);
                at = i;
            }
        }
        cr_assert(fabs(norm - 1) < 1e-5 && u[at * cols + c] > 0,
                  "column %zu: length %g, sign of the largest", c, norm);
        cr_assert(c == 0 || v[c] >= v[c - 1]);
    }
    for (size_t c = real; c < cols; c++)
        cr_assert(v[c] == 0 && u[c] == 0);
    rcd_free(basis.data);
    rcd_free(values.data);
    rcd_graph_unref(g);
}

Test(graphs_spectrum, columns_are_eigenvectors)
{
    for (size_t k = 0; k < N + 3; k++)
        check(weights, k);
    check(NULL, 0);
}

Test(graphs_spectrum, kept_and_widened)
{
    struct rcd_error err;
    struct rcd_tensor u[3], v[3];
    rcd_graph *g = graph(weights);
    const size_t k[3] = {2, 0, 2}; /* computed, computed again with more, cut from what is kept */
    for (int i = 0; i < 3; i++)
        cr_assert(rcd_graph_spectrum(g, k[i], N, &u[i], &v[i], &err) == RCD_OK, "%s", err.text);
    for (size_t i = 0; i < N; i++)
        for (size_t c = 0; c < 2; c++)
            cr_assert(fabsf(((float *)u[0].data)[i * 2 + c] - ((float *)u[1].data)[i * N + c]) <
                          1e-5f &&
                      ((float *)u[2].data)[i * 2 + c] == ((float *)u[1].data)[i * N + c]);
    for (int i = 0; i < 3; i++) {
        rcd_free(u[i].data);
        rcd_free(v[i].data);
    }
    rcd_graph_unref(g);
}

Test(graphs_spectrum, refusals_name_the_numbers)
{
    struct rcd_error err;
    struct rcd_tensor u, v;
    rcd_graph *g = graph(weights);
    cr_assert(rcd_graph_spectrum(g, 0, N - 1, &u, &v, &err) == RCD_ETOOBIG);
    cr_assert(strstr(err.text, "has 7 nodes; eigenvectors are computed for up to 6") != NULL, "%s",
              err.text);
    rcd_graph_unref(g);
    float bad[E];
    memcpy(bad, weights, sizeof bad);
    bad[3] = -1;
    g = graph(bad);
    cr_assert(rcd_graph_spectrum(g, 0, N, &u, &v, &err) == RCD_EINVAL);
    cr_assert(strstr(err.text, "edge_weight[3] is -1") != NULL, "%s", err.text);
    rcd_graph_unref(g);
}
