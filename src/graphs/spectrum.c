/* spectrum.c - the normalised Laplacian and its eigenvectors, by LAPACK's dsyevr in double precision.
 *
 * LAPACK is opened when a model asks for the first time: most servers never do, and OpenBLAS behind it would take
 * threads and memory at their start. One thread is used, so that the bits do not depend on how many there are. */
#include "graphs_int.h"
#include "recurd/graphs_spectrum.h"

#include <dlfcn.h>
#include <math.h>
#include <pthread.h>
#include <string.h>

/* lapacke.h's declaration, with its LAPACK_ROW_MAJOR */
typedef int dsyevr_fn(int layout, char jobz, char range, char uplo, int n, double *a, int lda,
                      double vl, double vu, int il, int iu, double abstol, int *m, double *w,
                      double *z, int ldz, int *isuppz);
enum { ROW_MAJOR = 101 };

static rcd_status open_lapack(dsyevr_fn **ret, struct rcd_error *err)
{
    static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
    static dsyevr_fn *found;
    static void *library;
    pthread_mutex_lock(&opening);
    if (library == NULL)
        library = dlopen("liblapacke.so.3", RTLD_NOW | RTLD_LOCAL);
    if (library != NULL && found == NULL) {
        union {
            void *symbol;
            dsyevr_fn *call;
            void (*threads)(int);
        } as = {.symbol = dlsym(library, "openblas_set_num_threads")};
        if (as.symbol != NULL)
            as.threads(1);
        as.symbol = dlsym(library, "LAPACKE_dsyevr");
        found = as.call;
    }
    dsyevr_fn *call = found;
    pthread_mutex_unlock(&opening);
    *ret = call;
    return call != NULL ? RCD_OK
                        : rcd_fail(err, RCD_EUNSUPPORTED,
                                   "the Laplacian's eigenvectors need LAPACK (liblapacke.so.3; "
                                   "Debian: liblapacke)");
}

/* ---- the matrix ----------------------------------------------------------------------------------- */

static rcd_status add_edges(const rcd_graph *g, double *a, size_t n, struct rcd_error *err)
{
    const struct rcd_tensor *index = rcd_graph_tensor(g, "edge_index"),
                            *weight = rcd_graph_tensor(g, "edge_weight");
    const size_t edges = index != NULL ? (size_t)index->dims[1] : 0;
    const int64_t *ends = index != NULL ? index->data : NULL;
    const bool weighted = weight != NULL && weight->dtype == RCD_F32 && weight->n == edges;
    for (size_t e = 0; e < edges; e++) {
        const size_t i = (size_t)ends[e], j = (size_t)ends[edges + e];
        const double w = weighted ? (double)((const float *)weight->data)[e] : 1.0;
        if (!(w >= 0) || !isfinite(w))
            return rcd_fail(err, RCD_EINVAL,
                            "edge_weight[%zu] is %g: a Laplacian wants weights of 0 and more", e,
                            w);
        a[i * n + j] += w / 2;
        a[j * n + i] += w / 2;
    }
    return RCD_OK;
}

static void normalise(double *a, double *scale, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        double degree = 0;
        for (size_t j = 0; j < n; j++)
            degree += a[i * n + j];
        scale[i] = degree > 0 ? 1 / sqrt(degree) : 0;
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < n; j++)
            a[i * n + j] = (i == j ? 1.0 : 0.0) - scale[i] * a[i * n + j] * scale[j];
    }
}

/* An eigenvector is one but for its sign. */
static void fix_signs(double *z, size_t n, size_t k)
{
    enum { DIGITS = 1000000 }; /* entries that rounding alone tells apart count as equal */
    for (size_t c = 0; c < k; c++) {
        double most = 0;
        size_t at = 0;
        for (size_t i = 0; i < n; i++)
            most = fmax(most, fabs(z[i * k + c]));
        while (at + 1 < n && fabs(z[at * k + c]) < most * (1 - 1.0 / DIGITS))
            at++;
        const bool flip = n > 0 && z[at * k + c] < 0;
        for (size_t i = 0; flip && i < n; i++)
            z[i * k + c] = -z[i * k + c];
    }
}

static rcd_status solve(const rcd_graph *g, struct rcd__spectrum *s, struct rcd_error *err)
{
    dsyevr_fn *dsyevr = NULL;
    const size_t n = s->n, k = s->k;
    rcd_status st = open_lapack(&dsyevr, err);
    if (st != RCD_OK)
        return st;
    RCD_ASSERT(dsyevr != NULL);
    double *a = rcd_calloc(n * n, sizeof *a), *w = rcd_calloc(2 * n, sizeof *w),
           *z = rcd_calloc(n * k, sizeof *z);
    int *support = rcd_calloc(2 * n, sizeof *support), found = 0;
    if (a == NULL || w == NULL || z == NULL || support == NULL)
        st = rcd_fail(err, RCD_ENOMEM, "no memory for the Laplacian of %zu nodes", n);
    if (st == RCD_OK)
        st = add_edges(g, a, n, err);
    if (st == RCD_OK) {
        normalise(a, w, n);
        int info = dsyevr(ROW_MAJOR, 'V', k < n ? 'I' : 'A', 'U', (int)n, a, (int)n, 0, 0, 1,
                          (int)k, 0, &found, w, z, (int)k, support);
        if (info != 0 || (size_t)found != k)
            st = rcd_fail(err, info == -1010 || info == -1011 ? RCD_ENOMEM : RCD_EINTERNAL,
                          "LAPACK's dsyevr of %zu nodes: info %d, %d of %zu eigenvalues", n, info,
                          found, k);
    }
    if (st == RCD_OK) {
        fix_signs(z, n, k);
        for (size_t i = 0; i < n * k; i++)
            s->basis[i] = (float)z[i];
        for (size_t i = 0; i < k; i++)
            s->values[i] = (float)w[i];
    }
    rcd_free_large(a);
    rcd_free(w);
    rcd_free_large(z);
    rcd_free(support);
    return st;
}

/* ---- kept with the version -------------------------------------------------------------------------- */

static rcd_status find(rcd_graph *g, size_t n, size_t k, struct rcd_error *err)
{
    if (g->spectrum != NULL && g->spectrum->k >= k)
        return RCD_OK;
    struct rcd__spectrum *s = rcd_calloc(1, sizeof *s + (n * k + k) * sizeof(float));
    if (s == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu eigenvectors of %zu nodes", k, n);
    s->n = n;
    s->k = k;
    s->values = (float *)(void *)(s + 1);
    s->basis = s->values + k;
    rcd_status st = n > 0 && k > 0 ? solve(g, s, err) : RCD_OK;
    if (st != RCD_OK) {
        rcd_free(s);
        return st;
    }
    rcd_free_large(g->spectrum);
    g->spectrum = s;
    return RCD_OK;
}

static rcd_status copy_out(const struct rcd__spectrum *s, size_t k, struct rcd_tensor *basis,
                           struct rcd_tensor *values, struct rcd_error *err)
{
    const int64_t dims[2] = {(int64_t)s->n, (int64_t)k};
    float *u = rcd_calloc(s->n * k + 1, sizeof *u), *v = rcd_calloc(k + 1, sizeof *v);
    if (u == NULL || v == NULL || !rcd_tensor_shape(basis, RCD_F32, 2, dims) ||
        !rcd_tensor_shape(values, RCD_F32, 1, dims + 1)) {
        rcd_free(u);
        rcd_free(v);
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu eigenvectors of %zu nodes", k, s->n);
    }
    const size_t have = k < s->k ? k : s->k;
    for (size_t i = 0; i < s->n; i++)
        memcpy(u + i * k, s->basis + i * s->k, have * sizeof *u);
    memcpy(v, s->values, have * sizeof *v);
    basis->data = u;
    values->data = v;
    return RCD_OK;
}

rcd_status rcd_graph_spectrum(rcd_graph *g, size_t k, size_t max_nodes,
                              struct rcd_tensor *ret_basis, struct rcd_tensor *ret_values,
                              struct rcd_error *err)
{
    const int64_t nodes = rcd_graph_nodes(g, "");
    if (nodes < 0)
        return rcd_fail(err, RCD_EINVAL,
                        "graph '%s' has typed nodes alone: their Laplacian is not defined",
                        g->name);
    if ((size_t)nodes > max_nodes)
        return rcd_fail(err, RCD_ETOOBIG,
                        "graph '%s' has %lld nodes; eigenvectors are computed for up to %zu "
                        "(graphs.max_spectral_nodes)",
                        g->name, (long long)nodes, max_nodes);
    const size_t n = (size_t)nodes;
    if (k == 0)
        k = n;
    pthread_mutex_lock(&g->spectrum_lock);
    rcd_status st = find(g, n, k < n ? k : n, err);
    if (st == RCD_OK)
        st = copy_out(g->spectrum, k, ret_basis, ret_values, err);
    pthread_mutex_unlock(&g->spectrum_lock);
    return st;
}
