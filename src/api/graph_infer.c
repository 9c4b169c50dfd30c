/* graph_infer.c - inference on a graph that the server keeps.
 *
 * Inputs that the request does not give come from the graph, by name; results that depend on them alone
 * are kept (graph_bindings.c). Everything here runs on the loop but for rcd__graph_rows. */
#include "graph_bindings.h"
#include "infer_int.h"

#include <string.h>

/* ---- the request --------------------------------------------------------------------------------- */

rcd_status rcd__graph_find(struct rcd__infer *x, struct rcd_error *err)
{
    struct rcd__on_graph *o = &x->on_graph;
    char quoted[64];
    if (o->name == NULL)
        return o->version == 0
                   ? RCD_OK
                   : rcd_fail(err, RCD_EINVAL, "parameter 'graph_version' needs 'graph'");
    if (!x->decoded) /* on a worker, where the table of graphs is out of reach */
        return rcd_fail(err, RCD_EUNSUPPORTED,
                        "the name of a graph was seen too late: write \"graph\" without escapes");
    rcd_graph *g = rcd_graphs_find(x->api->opts.graphs, o->name);
    if (g == NULL)
        return rcd_fail(err, RCD_ENOTFOUND, "there is no graph '%s'",
                        rcd_quote(quoted, sizeof quoted, o->name, strlen(o->name)));
    if (o->version != 0 && o->version != rcd_graph_version(g))
        return rcd_fail(err, o->version < rcd_graph_version(g) ? RCD_EGONE : RCD_ECONFLICT,
                        "graph '%s' has version %llu, not %llu", o->name,
                        (unsigned long long)rcd_graph_version(g), (unsigned long long)o->version);
    o->graph = rcd_graph_ref(g);
    return RCD_OK;
}

/* The type whose nodes "nodes" names: the only one there is. */
static const char *node_type(const rcd_graph *g)
{
    size_t n = 0;
    const struct rcd_graph_group *k = rcd_graph_groups(g, &n);
    const char *only = "";
    for (size_t i = 0, seen = 0; i < n; i++) {
        if (k[i].edges)
            continue;
        if (k[i].name[0] == '\0')
            return "";
        only = seen++ == 0 ? k[i].name : "";
    }
    return only;
}

const char *rcd__graph_node_type(const struct rcd__infer *x)
{
    return x->on_graph.type != NULL ? x->on_graph.type : node_type(x->on_graph.graph);
}

rcd_status rcd__graph_nodes(struct rcd__infer *x, const char *type, const struct rcd_tensor *who,
                            int64_t **ret, struct rcd_error *err)
{
    *ret = rcd_arena_alloc_aligned(&x->arena, (who->n + 1) * sizeof **ret);
    if (*ret == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the request");
    return rcd_graph_find(x->on_graph.graph, type, who, *ret, err);
}

/* Ids in an input: those of the type in its name, in `paper.cites.paper.edge_pairs` [2, K] one for each end. */
static rcd_status ids_to_indices(struct rcd__infer *x, const char *name, struct rcd_tensor *t,
                                 struct rcd_error *err)
{
    char type[RCD_GRAPH_NAME_MAX + 1], ends[2][RCD_GRAPH_NAME_MAX + 1];
    int64_t *index[2] = {NULL, NULL};
    rcd_status st = RCD_OK;
    if (!rcd_graph_name_of(name, type, ends) || type[0] == '\0' || t->rank != 2 ||
        t->dims[0] != 2) {
        st = rcd__graph_nodes(x, type[0] != '\0' ? type : node_type(x->on_graph.graph), t,
                              &index[0], err);
    } else {
        struct rcd_tensor side = *t;
        side.n = t->n / 2;
        index[0] = rcd_arena_alloc_aligned(&x->arena, (t->n + 1) * sizeof **index);
        if (index[0] == NULL)
            return rcd_fail(err, RCD_ENOMEM, "no memory for the request");
        for (size_t r = 0; st == RCD_OK && r < 2; r++) {
            side.data = (struct rcd_bytes *)t->data + r * side.n;
            st = rcd_graph_find(x->on_graph.graph, ends[r], &side, index[0] + r * side.n, err);
        }
    }
    if (st != RCD_OK)
        return rcd_error_prefix(err, st, "input '%s': ", name);
    t->dtype = RCD_I64;
    t->data = index[0];
    return RCD_OK;
}

/* Sorted edges, degrees and loops need not wait for what is in such an input: its shape is known. */
static bool has_all_rows(const rcd_graph *g, const struct rcd_io *io, const struct rcd_tensor *t)
{
    struct rcd_tensor want;
    return rcd__binding_shape(g, io, &want) && want.dtype == t->dtype && want.rank == t->rank &&
           memcmp(want.dims, t->dims, (size_t)t->rank * sizeof *t->dims) == 0;
}

rcd_status rcd__graph_inputs(struct rcd__infer *x, struct rcd_tensor *in, struct rcd_error *err)
{
    struct rcd__on_graph *o = &x->on_graph;
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(rcd_version_plan(x->version), &n);
    if (n > RCD__MAX_FIXED)
        return rcd_fail(err, RCD_EUNSUPPORTED, "models with more than %d inputs take no graph",
                        RCD__MAX_FIXED);
    for (size_t i = 0; i < n; i++) {
        const struct rcd_tensor *t = rcd_graph_tensor(o->graph, io[i].name);
        if (in[i].dtype == RCD_BYTES && io[i].dtype == RCD_I64) {
            rcd_status st = ids_to_indices(x, io[i].name, &in[i], err);
            if (st != RCD_OK)
                return st;
        }
        if (rcd_plan_state_output(rcd_version_plan(x->version), i) >= 0)
            continue;
        if (in[i].dtype != RCD_NONE) {
            o->sized |= (uint64_t)has_all_rows(o->graph, &io[i], &in[i]) << i;
            continue;
        }
        const bool derived = t == NULL && rcd__graph_derives(o->graph, io[i].name);
        if (t == NULL && !derived && !io[i].optional)
            return rcd_fail(err, RCD_EINVAL,
                            "input '%s' is neither in the request nor in graph '%s'", io[i].name,
                            rcd_graph_name(o->graph));
        if (t != NULL || derived)
            o->fixed |= UINT64_C(1) << i;
    }
    const int64_t rows = rcd_graph_nodes(o->graph, rcd__graph_node_type(x));
    o->n_rows = rows > 0 ? (size_t)rows : 0;
    x->job.rows = 1;
    return RCD_OK;
}

/* Are the rows of an output those of another type, or of edges? Where that is not known, their number tells. */
static bool of_others(const struct rcd__infer *x, size_t output)
{
    char type[RCD_GRAPH_NAME_MAX + 1], ends[2][RCD_GRAPH_NAME_MAX + 1];
    const rcd_plan *plan = rcd_version_plan(x->version);
    const int input = rcd_plan_output_rows(plan, output);
    size_t n = 0;
    if (input < 0 || x->on_graph.graph == NULL)
        return false;
    const bool edges = rcd_graph_name_of(rcd_plan_inputs(plan, &n)[input].name, type, ends);
    return edges || (type[0] != '\0' && strcmp(type, rcd__graph_node_type(x)) != 0);
}

rcd_status rcd__graph_rows(struct rcd__infer *x, size_t output, const struct rcd_tensor **t,
                           struct rcd_error *err)
{
    const struct rcd__on_graph *o = &x->on_graph;
    const struct rcd_tensor *from = *t;
    if (o->nodes == NULL || from->rank < 1 || from->dims[0] != (int64_t)o->n_rows ||
        from->dtype == RCD_BYTES || o->n_rows == 0 || of_others(x, output))
        return RCD_OK;
    struct rcd_tensor *to = rcd_arena_calloc(&x->arena, 1, sizeof *to);
    const size_t row = from->n / o->n_rows * rcd_dtype_size(from->dtype);
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, from->dims, sizeof dims);
    dims[0] = (int64_t)o->n_nodes;
    if (to == NULL || !rcd_tensor_shape(to, from->dtype, from->rank, dims))
        return rcd_fail(err, RCD_ENOMEM, "no memory for the answer");
    to->data = rcd_arena_alloc_aligned(&x->arena, o->n_nodes * row + 1);
    if (to->data == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the answer");
    for (size_t i = 0; i < o->n_nodes && row > 0; i++)
        memcpy((char *)to->data + i * row, (const char *)from->data + (size_t)o->nodes[i] * row,
               row);
    *t = to;
    return RCD_OK;
}

void rcd__graph_release(struct rcd__infer *x)
{
    x->on_graph.bound = rcd_bound_unref(x->on_graph.bound);
    x->on_graph.graph = rcd_graph_unref(x->on_graph.graph);
}
