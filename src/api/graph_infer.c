/* graph_infer.c - inference on a graph that the server keeps.
 *
 * Inputs that the request does not give come from the graph, by name. What depends on them alone is
 * computed once for each version of the graph and of the model (engine_bind.h) and kept: a model
 * whose inputs all come from the graph then costs a look-up. Bindings are made on helper threads;
 * requests that need one that is being made wait for it. Everything here runs on the loop but for
 * work_run and rcd__graph_rows. */
#include "graphs.h"
#include "infer_int.h"

#include <string.h>
#include <uv.h>

enum { MAX_FIXED = 64, MAX_BINDINGS = 256 };

struct rcd__binding {
    struct rcd__binding *next;
    uv_work_t work;
    rcd_api *api;
    rcd_graph *graph;
    rcd_plan *plan;
    uint64_t fixed; /* bit per input of the plan */
    rcd_bound *bound;
    bool making, stale; /* stale: goes as soon as it is made */
    uint64_t used_ns;
    struct rcd__infer *waits; /* in the order of arrival */
    struct rcd_tensor in[MAX_FIXED];
    struct rcd_error err;
};

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
                        "a request that names a graph cannot be compressed when it is large");
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

rcd_status rcd__graph_nodes(struct rcd__infer *x, const struct rcd_tensor *who, int64_t **ret,
                            struct rcd_error *err)
{
    *ret = rcd_arena_alloc_aligned(&x->arena, (who->n + 1) * sizeof **ret);
    if (*ret == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the request");
    return rcd_graph_find(x->on_graph.graph, node_type(x->on_graph.graph), who, *ret, err);
}

rcd_status rcd__graph_inputs(struct rcd__infer *x, struct rcd_tensor *in, struct rcd_error *err)
{
    struct rcd__on_graph *o = &x->on_graph;
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(rcd_version_plan(x->version), &n);
    if (n > MAX_FIXED)
        return rcd_fail(err, RCD_EUNSUPPORTED, "models with more than %d inputs take no graph",
                        MAX_FIXED);
    for (size_t i = 0; i < n; i++) {
        const struct rcd_tensor *t = rcd_graph_tensor(o->graph, io[i].name);
        if (in[i].dtype == RCD_BYTES && io[i].dtype == RCD_I64) { /* ids of nodes */
            int64_t *index = NULL;
            rcd_status st = rcd__graph_nodes(x, &in[i], &index, err);
            if (st != RCD_OK)
                return rcd_error_prefix(err, st, "input '%s': ", io[i].name);
            in[i].dtype = RCD_I64;
            in[i].data = index;
        }
        if (in[i].dtype != RCD_NONE || rcd_plan_state_output(rcd_version_plan(x->version), i) >= 0)
            continue;
        if (t == NULL && !io[i].optional)
            return rcd_fail(err, RCD_EINVAL,
                            "input '%s' is neither in the request nor in graph '%s'", io[i].name,
                            rcd_graph_name(o->graph));
        if (t != NULL)
            o->fixed |= UINT64_C(1) << i;
    }
    const int64_t rows = rcd_graph_nodes(o->graph, node_type(o->graph));
    o->n_rows = rows > 0 ? (size_t)rows : 0;
    x->job.rows = 1;
    return RCD_OK;
}

rcd_status rcd__graph_rows(struct rcd__infer *x, const struct rcd_tensor **t, struct rcd_error *err)
{
    const struct rcd__on_graph *o = &x->on_graph;
    const struct rcd_tensor *from = *t;
    if (o->nodes == NULL || from->rank < 1 || from->dims[0] != (int64_t)o->n_rows ||
        from->dtype == RCD_BYTES || o->n_rows == 0)
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

/* ---- bindings ------------------------------------------------------------------------------------ */

static void binding_free(struct rcd__binding *b)
{
    struct rcd__binding **at = &b->api->bindings;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    b->api->n_bindings--;
    if (b->bound != NULL)
        b->api->binding_bytes -= rcd_bound_bytes(b->bound);
    rcd_bound_unref(b->bound);
    rcd_graph_unref(b->graph);
    rcd_plan_unref(b->plan);
    rcd_free(b);
}

void rcd__bindings_free(rcd_api *api)
{
    while (api->bindings != NULL)
        binding_free(api->bindings);
}

static void drop_of(rcd_api *api, const char *name, const rcd_graph *but)
{
    for (struct rcd__binding *b = api->bindings, *next; b != NULL; b = next) {
        next = b->next;
        if (b->graph == but || strcmp(rcd_graph_name(b->graph), name) != 0)
            continue;
        b->stale = true;
        if (!b->making)
            binding_free(b);
    }
}

void rcd__graph_changed(rcd_api *api, const rcd_graph *g)
{
    api->graph_changes_done++;
    drop_of(api, rcd_graph_name(g), g);
}

void rcd__graph_forget(rcd_api *api, const char *name)
{
    drop_of(api, name, NULL);
}

/* Idle ones go, because they keep versions of models alive; and the least recently used ones while
 * there are too many bytes. */
void rcd__bindings_tidy(rcd_api *api, uint64_t now_ns)
{
    for (;;) {
        struct rcd__binding *oldest = NULL;
        for (struct rcd__binding *b = api->bindings; b != NULL; b = b->next) {
            if (!b->making && (oldest == NULL || b->used_ns < oldest->used_ns))
                oldest = b;
        }
        if (oldest == NULL)
            return;
        bool over =
            api->binding_bytes > api->opts.max_binding_bytes || api->n_bindings > MAX_BINDINGS;
        bool idle = now_ns - oldest->used_ns > api->opts.binding_idle_ns;
        if (!over && !idle)
            return;
        binding_free(oldest);
    }
}

/* On a helper thread. */
static void work_run(uv_work_t *work)
{
    struct rcd__binding *b = work->data;
    rcd_exec *exec = rcd_exec_new(b->api->opts.max_run_bytes, 0);
    if (exec == NULL)
        rcd_fail(&b->err, RCD_ENOMEM, "no memory to run the model on graph '%s'",
                 rcd_graph_name(b->graph));
    else if (rcd_exec_set_threads(exec, b->api->opts.run_threads, &b->err) == RCD_OK)
        b->err.code = rcd_bound_new(exec, b->plan, b->in, NULL, &b->bound, &b->err);
    rcd_exec_free(exec);
}

static void give(struct rcd__binding *b, struct rcd__infer *x)
{
    x->on_graph.bound = rcd_bound_ref(b->bound);
    x->job.infer.bound = b->bound;
    b->used_ns = rcd_now_ns();
}

static void work_after(uv_work_t *work, int status)
{
    struct rcd__binding *b = work->data;
    rcd_api *api = b->api;
    api->pending--;
    b->making = false;
    if (status != 0)
        rcd_fail(&b->err, RCD_EUNAVAILABLE, "the server is stopping");
    if (b->bound != NULL)
        api->binding_bytes += rcd_bound_bytes(b->bound);
    struct rcd__infer *x = b->waits;
    b->waits = NULL;
    while (x != NULL) {
        struct rcd__infer *next = x->on_graph.next;
        if (b->err.code == RCD_OK)
            give(b, x);
        api->pending--;
        x->on_graph.go(x, b->err.code == RCD_OK ? NULL : &b->err);
        x = next;
    }
    if (b->err.code != RCD_OK || b->stale)
        binding_free(b);
    rcd__bindings_tidy(api, rcd_now_ns());
}

static struct rcd__binding *binding_new(struct rcd__infer *x, rcd_plan *plan)
{
    const struct rcd__on_graph *o = &x->on_graph;
    rcd_api *api = x->api;
    struct rcd__binding *b = rcd_calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(plan, &n);
    for (size_t i = 0; i < n; i++) {
        if ((o->fixed >> i & 1) != 0)
            b->in[i] = *rcd_graph_tensor(o->graph, io[i].name);
    }
    b->api = api;
    b->graph = rcd_graph_ref(o->graph);
    b->plan = rcd_plan_ref(plan);
    b->fixed = o->fixed;
    b->work.data = b;
    b->next = api->bindings;
    api->bindings = b;
    api->n_bindings++;
    if (uv_queue_work(api->opts.loop, &b->work, work_run, work_after) != 0) {
        binding_free(b);
        return NULL;
    }
    b->making = true;
    api->pending++;
    return b;
}

bool rcd__graph_bind(struct rcd__infer *x,
                     void (*go)(struct rcd__infer *x, const struct rcd_error *err))
{
    struct rcd__on_graph *o = &x->on_graph;
    rcd_api *api = x->api;
    rcd_plan *plan = rcd_version_plan(x->version);
    struct rcd__binding *b = api->bindings;
    while (b != NULL && (b->graph != o->graph || b->plan != plan || b->fixed != o->fixed))
        b = b->next;
    api->binding_hits += b != NULL;
    api->binding_misses += b == NULL;
    if (b == NULL)
        b = binding_new(x, plan);
    if (b == NULL) {
        const struct rcd_error err = {.code = RCD_ENOMEM, .text = "no memory for the request"};
        go(x, &err);
        return false;
    }
    if (!b->making) {
        give(b, x);
        return true;
    }
    o->go = go;
    o->next = NULL;
    struct rcd__infer **at = &b->waits;
    while (*at != NULL)
        at = &(*at)->on_graph.next;
    *at = x;
    api->pending++;
    return false;
}
