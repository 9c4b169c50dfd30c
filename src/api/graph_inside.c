/* graph_inside.c - a graph that comes inside a request, beside what the model's file names:
 *   batch_ptr i64[graphs + 1]   graph g has the nodes batch_ptr[g] .. batch_ptr[g + 1] - 1; becomes the model's
 *                               `batch` i64[nodes], so that graph-level outputs have a row per graph
 *   targets   i64[k]            of outputs with a row per node, the rows of these nodes (`nodes` means the same)
 * On a registered graph `targets` may be ids, too, and `paper.nodes` those of a type. */
#include "graphs.h"
#include "infer_int.h"

#include <string.h>

static size_t input_named(const struct rcd__infer *x, const char *name, const struct rcd_io **ret)
{
    size_t n = 0, i = 0;
    *ret = rcd_plan_inputs(rcd_version_plan(x->version), &n);
    while (i < n && strcmp((*ret)[i].name, name) != 0)
        i++;
    return i < n ? i : SIZE_MAX;
}

bool rcd__graph_beside(struct rcd__infer *x, const struct rcd_wire_input *given)
{
    const struct rcd_io *io = NULL;
    if (strcmp(given->name, "batch_ptr") == 0 && input_named(x, "batch", &io) != SIZE_MAX) {
        x->batch_ptr = &given->tensor;
        return true;
    }
    char type[RCD_GRAPH_NAME_MAX + 1], ends[2][RCD_GRAPH_NAME_MAX + 1];
    (void)rcd_graph_name_of(given->name, type, ends);
    const char *base = type[0] != '\0' ? given->name + strlen(type) + 1 : given->name;
    if (strcmp(base, "targets") != 0 && strcmp(base, "nodes") != 0)
        return false;
    if (type[0] != '\0') { /* of a type */
        char *own = x->on_graph.graph != NULL && x->targets == NULL
                        ? rcd_arena_alloc(&x->arena, strlen(type) + 1)
                        : NULL;
        if (own == NULL)
            return false;
        memcpy(own, type, strlen(type) + 1);
        x->on_graph.type = own;
    }
    if (x->on_graph.graph == NULL && input_named(x, "edge_index", &io) == SIZE_MAX)
        return false;
    x->targets = &given->tensor;
    return true;
}

/* Nodes of the graph in the request: rows of `x`, or of the first input that shares the name of `batch`'s size. */
static int64_t nodes_of(const struct rcd__infer *x, const struct rcd_tensor *in)
{
    const struct rcd_io *io = NULL;
    size_t n = 0;
    const size_t features = input_named(x, "x", &io), batch = input_named(x, "batch", &io);
    if (features != SIZE_MAX && in[features].rank > 0)
        return in[features].dims[0];
    (void)rcd_plan_inputs(rcd_version_plan(x->version), &n);
    const char *name = batch != SIZE_MAX && io[batch].rank == 1 ? io[batch].dim_names[0] : NULL;
    for (size_t i = 0; name != NULL && i < n; i++) {
        const char *other = io[i].rank > 0 ? io[i].dim_names[0] : NULL;
        if (in[i].rank > 0 && other != NULL && strcmp(other, name) == 0)
            return in[i].dims[0];
    }
    return -1;
}

static rcd_status check_ptr(const struct rcd_tensor *p, int64_t nodes, struct rcd_error *err)
{
    const int64_t *v = p->data;
    if (p->dtype != RCD_I64 || p->rank != 1 || p->n < 2)
        return rcd_fail(err, RCD_EINVAL,
                        "'batch_ptr' must be INT64 [graphs + 1] of one graph or more");
    if (v[0] != 0)
        return rcd_fail(err, RCD_EINVAL, "batch_ptr[0] is %lld, want 0", (long long)v[0]);
    for (size_t g = 1; g < p->n; g++) {
        if (v[g] < v[g - 1])
            return rcd_fail(err, RCD_EINVAL, "batch_ptr[%zu] is %lld, less than the %lld before it",
                            g, (long long)v[g], (long long)v[g - 1]);
    }
    if (nodes >= 0 && v[p->n - 1] != nodes)
        return rcd_fail(err, RCD_EINVAL, "batch_ptr[%zu] is %lld, but there are %lld nodes",
                        p->n - 1, (long long)v[p->n - 1], (long long)nodes);
    if (v[p->n - 1] == v[p->n - 2]) /* the file counts graphs by the largest number in `batch` */
        return rcd_fail(err, RCD_EINVAL, "the last graph of 'batch_ptr', number %zu, has no nodes",
                        p->n - 2);
    return RCD_OK;
}

static rcd_status make_batch(struct rcd__infer *x, struct rcd_tensor *in, struct rcd_error *err)
{
    const struct rcd_io *io = NULL;
    const size_t at = input_named(x, "batch", &io);
    if (in[at].dtype != RCD_NONE)
        return rcd_fail(err, RCD_EINVAL, "'batch' and 'batch_ptr' say the same: give one of them");
    const int64_t nodes =
        x->on_graph.graph != NULL ? rcd_graph_nodes(x->on_graph.graph, "") : nodes_of(x, in);
    rcd_status st = check_ptr(x->batch_ptr, nodes, err);
    if (st != RCD_OK)
        return st;
    const int64_t *ptr = x->batch_ptr->data, n = ptr[x->batch_ptr->n - 1];
    /* as large as the nodes that came, which nodes_of has counted where it could; else bound by the limits */
    if ((uint64_t)n > x->api->opts.max_body_bytes)
        return rcd_fail(err, RCD_ETOOBIG, "batch_ptr[%zu] is %lld, want at most %zu nodes",
                        x->batch_ptr->n - 1, (long long)n, x->api->opts.max_body_bytes);
    int64_t *batch = rcd_arena_alloc_aligned(&x->arena, ((size_t)n + 1) * sizeof *batch);
    if (batch == NULL || !rcd_tensor_shape(&in[at], RCD_I64, 1, &n))
        return rcd_fail(err, RCD_ENOMEM, "no memory for the request");
    for (size_t g = 0; g + 1 < x->batch_ptr->n; g++) {
        for (int64_t i = ptr[g]; i < ptr[g + 1]; i++)
            batch[i] = (int64_t)g;
    }
    in[at].data = batch;
    return RCD_OK;
}

static rcd_status take_targets(struct rcd__infer *x, const struct rcd_tensor *in,
                               struct rcd_error *err)
{
    struct rcd__on_graph *o = &x->on_graph;
    const struct rcd_tensor *t = x->targets;
    o->n_nodes = t->n;
    if (o->graph != NULL)
        return rcd__graph_nodes(x, rcd__graph_node_type(x), t, &o->nodes, err);
    const int64_t nodes = nodes_of(x, in);
    if (nodes < 0)
        return rcd_fail(err, RCD_EINVAL, "'targets' names rows of 'x', which is not there");
    if (t->dtype != RCD_I64)
        return rcd_fail(err, RCD_EINVAL,
                        "'targets' must be INT64 where the graph comes with the request, not %s",
                        rcd_dtype_name(t->dtype));
    for (size_t i = 0; i < t->n; i++) {
        const int64_t v = ((const int64_t *)t->data)[i];
        if (v < 0 || v >= nodes)
            return rcd_fail(err, RCD_EINVAL, "targets[%zu] is %lld, but there are %lld nodes", i,
                            (long long)v, (long long)nodes);
    }
    o->nodes = t->data;
    o->n_rows = (size_t)nodes;
    return RCD_OK;
}

/* An edge that ends nowhere is the sender's mistake most often made: it is named here, before a node of the plan
 * would name an index. */
static rcd_status check_edges(const struct rcd__infer *x, const struct rcd_tensor *in,
                              struct rcd_error *err)
{
    const struct rcd_io *io = NULL;
    const size_t at = input_named(x, "edge_index", &io);
    int64_t nodes = nodes_of(x, in);
    if (at == SIZE_MAX || nodes < 0 || (in[at].dtype != RCD_I64 && in[at].dtype != RCD_I32) ||
        in[at].rank != 2 || in[at].dims[0] != 2)
        return RCD_OK;
    size_t n_in = 0;
    (void)rcd_plan_inputs(rcd_version_plan(x->version), &n_in);
    for (size_t i = 0; i < n_in; i++) { /* edges between two kinds of nodes */
        if (in[i].dtype == RCD_F32 && in[i].rank > 0 && strncmp(io[i].name, "edge_", 5) != 0 &&
            in[i].dims[0] > nodes)
            nodes = in[i].dims[0];
    }
    const bool wide = in[at].dtype == RCD_I64;
    const int64_t n = in[at].dims[1];
    for (int64_t i = 0; i < 2 * n; i++) {
        const int64_t end =
            wide ? ((const int64_t *)in[at].data)[i] : ((const int32_t *)in[at].data)[i];
        if (end < 0 || end >= nodes)
            return rcd_fail(
                err, RCD_EINVAL, "edge_index[%lld][%lld] is %lld, but there are %lld nodes",
                (long long)(i / n), (long long)(i % n), (long long)end, (long long)nodes);
    }
    return RCD_OK;
}

rcd_status rcd__graph_inside(struct rcd__infer *x, struct rcd_tensor *in, struct rcd_error *err)
{
    rcd_status st = x->batch_ptr != NULL ? make_batch(x, in, err) : RCD_OK;
    if (st == RCD_OK)
        st = check_edges(x, in, err);
    return st == RCD_OK && x->targets != NULL ? take_targets(x, in, err) : st;
}
