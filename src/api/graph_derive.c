/* graph_derive.c - inputs that follow from a registered graph, where neither the request nor the graph gives them:
 *   laplacian_basis f32[nodes][k], laplacian_values f32[k]   see graphs_spectrum.h; k from the model's file, else all
 *   batch i64[nodes]                                         zeros: a registered graph is one graph */
#include "graphs.h"
#include "recurd/graphs_spectrum.h"

#include <string.h>

enum kind { NONE, BASIS, VALUES, BATCH };

static enum kind kind_of(const char *name)
{
    if (strcmp(name, "laplacian_basis") == 0)
        return BASIS;
    if (strcmp(name, "laplacian_values") == 0)
        return VALUES;
    return strcmp(name, "batch") == 0 ? BATCH : NONE;
}

bool rcd__graph_derives(const rcd_graph *g, const char *input)
{
    return kind_of(input) != NONE && rcd_graph_nodes(g, "") >= 0;
}

/* How many eigenvectors the model takes; 0: all. */
static size_t columns(const struct rcd_io *io, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const enum kind kind = kind_of(io[i].name);
        const int axis = kind == BASIS ? 1 : 0;
        if ((kind == BASIS || kind == VALUES) && io[i].rank > axis && io[i].dims[axis] > 0)
            return (size_t)io[i].dims[axis];
    }
    return 0;
}

static rcd_status zeros(const rcd_graph *g, struct rcd_tensor *ret, struct rcd_error *err)
{
    const int64_t n = rcd_graph_nodes(g, "");
    (void)rcd_tensor_shape(ret, RCD_I64, 1, &n);
    ret->data = rcd_calloc((size_t)n + 1, sizeof(int64_t));
    return ret->data != NULL ? RCD_OK
                             : rcd_fail(err, RCD_ENOMEM, "no memory for %lld nodes", (long long)n);
}

rcd_status rcd__graph_derive(rcd_graph *g, const rcd_plan *plan, uint64_t fixed, size_t max_nodes,
                             struct rcd_tensor *in, struct rcd__derived *d, struct rcd_error *err)
{
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(plan, &n);
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && i < n && i < 64; i++) {
        const enum kind kind = kind_of(io[i].name);
        if ((fixed >> i & 1) == 0 || in[i].dtype != RCD_NONE || kind == NONE)
            continue;
        if (kind == BATCH) {
            st = zeros(g, &d->batch, err);
            in[i] = d->batch;
            continue;
        }
        if (d->basis.data == NULL)
            st = rcd_graph_spectrum(g, columns(io, n), max_nodes, &d->basis, &d->values, err);
        in[i] = kind == BASIS ? d->basis : d->values;
    }
    return st;
}

void rcd__derived_done(struct rcd__derived *d)
{
    rcd_free(d->basis.data);
    rcd_free(d->values.data);
    rcd_free(d->batch.data);
    *d = (struct rcd__derived){.basis = {.data = NULL}};
}
