/* graph_bindings.c - what depends on a graph alone, computed once for each version of graph and model
 * (engine_bind.h) and kept: a model whose inputs all come from the graph then costs a look-up.
 *
 * Bindings are made on helper threads; requests that need one that is being made wait for it. When the
 * graph changes, those that are used or listened to go on to the new version, version by version, from
 * what they were; when many versions wait, some are passed over and all is made anew. Everything here
 * runs on the loop; the step itself, on a helper thread, is in graph_binding_step.c. */
#include "graph_bindings.h"
#include "infer_int.h"

#include <string.h>

enum { MAX_BINDINGS = 256, MAX_UNREAD = 16, WAIT_BEFORE_SKIP = 4 };

static void binding_free(struct rcd__binding *b)
{
    struct rcd__binding **at = &b->api->bindings;
    while (*at != b)
        at = &(*at)->next;
    *at = b->next;
    b->api->n_bindings--;
    if (b->listeners > 0)
        rcd__graph_streams_forget(b->api, b);
    if (b->bound != NULL)
        b->api->binding_bytes -= rcd_bound_bytes(b->bound);
    for (size_t i = 0; i < b->n_later; i++)
        rcd_graph_unref(b->later[i]);
    rcd_bound_unref(b->bound);
    rcd_bound_unref(b->old);
    rcd_bound_unref(b->before);
    rcd_exec_free(b->exec);
    rcd_graph_unref(b->graph);
    rcd_plan_unref(b->plan);
    rcd_free(b);
}

void rcd__bindings_free(rcd_api *api)
{
    while (api->bindings != NULL)
        binding_free(api->bindings);
}

/* Idle ones go, because they keep versions of models alive; and the least recently used ones while
 * there are too many bytes. */
void rcd__bindings_tidy(rcd_api *api, uint64_t now_ns)
{
    for (;;) {
        struct rcd__binding *oldest = NULL;
        for (struct rcd__binding *b = api->bindings; b != NULL; b = b->next) {
            if (!b->making && b->listeners == 0 && (oldest == NULL || b->used_ns < oldest->used_ns))
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

/* ---- steps, on the loop ------------------------------------------------------------------------------- */

static void give(struct rcd__binding *b, struct rcd__infer *x)
{
    x->on_graph.bound = rcd_bound_ref(b->bound);
    x->job.infer.bound = b->bound;
    b->used_ns = rcd_now_ns();
    b->unread = 0;
}

/* Requests that wait for this version, or for any when there will be no more. */
static void serve(struct rcd__binding *b, bool all)
{
    struct rcd__infer **at = &b->waits, *ready = NULL, **end = &ready;
    while (*at != NULL) {
        struct rcd__infer *x = *at;
        if (!all && x->on_graph.graph != b->graph) {
            at = &x->on_graph.next;
            continue;
        }
        *at = x->on_graph.next;
        x->on_graph.next = NULL;
        *end = x;
        end = &x->on_graph.next;
    }
    static const struct rcd_error late = {.code = RCD_EUNAVAILABLE,
                                          .text = "the graph changes too fast"};
    while (ready != NULL) {
        struct rcd__infer *x = ready;
        ready = x->on_graph.next;
        const struct rcd_error *err = b->err.code != RCD_OK           ? &b->err
                                      : x->on_graph.graph != b->graph ? &late
                                                                      : NULL;
        if (err == NULL)
            give(b, x);
        b->api->pending--;
        x->on_graph.go(x, err);
    }
}

static void work_after(uv_work_t *work, int status);

int rcd__binding_group(const rcd_graph *g, const char *tensor)
{
    char type[RCD_GRAPH_NAME_MAX + 1], ends[2][RCD_GRAPH_NAME_MAX + 1];
    const bool edges = rcd_graph_name_of(tensor, type, ends);
    size_t n = 0;
    const struct rcd_graph_group *k = rcd_graph_groups(g, &n);
    for (size_t i = 0; i < n; i++) {
        if (k[i].edges == edges && strcmp(k[i].name, type) == 0)
            return (int)i;
    }
    return -1;
}

bool rcd__binding_shape(const rcd_graph *g, const struct rcd_io *io, struct rcd_tensor *ret)
{
    size_t n = 0;
    const int group = rcd__binding_group(g, io->name);
    int64_t dims[RCD_MAX_RANK];
    const bool floats = io->dtype >= RCD_F16 && io->dtype <= RCD_F64;
    if (group < 0 || !floats || io->rank < 1 || io->rank > RCD_MAX_RANK)
        return false;
    memcpy(dims, io->dims, (size_t)io->rank * sizeof *dims);
    dims[0] = rcd_graph_groups(g, &n)[group].n;
    if (io->dims[0] >= 0 && io->dims[0] != dims[0])
        return false;
    *ret = (struct rcd_tensor){.dtype = RCD_NONE};
    return rcd_tensor_shape(ret, io->dtype, io->rank, dims) && ret->n > 0;
}

/* False: the graph lacks an input. */
static bool take_inputs(struct rcd__binding *b)
{
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(b->plan, &n);
    for (size_t i = 0; i < n; i++) {
        const size_t len = strlen(io[i].name);
        const bool ends = len >= 10 && strcmp(io[i].name + len - 10, "edge_index") == 0;
        b->in[i] = (struct rcd_tensor){.dtype = RCD_NONE};
        b->entries[i] = (struct rcd_bound_entries){
            .group = rcd__binding_group(b->graph, io[i].name), .axis = ends};
        if ((b->sized >> i & 1) != 0 && !rcd__binding_shape(b->graph, &io[i], &b->in[i]))
            return false;
        if ((b->fixed >> i & 1) == 0)
            continue;
        const struct rcd_tensor *t = rcd_graph_tensor(b->graph, io[i].name);
        if (t != NULL) {
            b->in[i] = *t;
            continue;
        }
        b->entries[i].group = -1; /* derived: made on the helper thread */
        if (!rcd__graph_derives(b->graph, io[i].name))
            return false;
    }
    return true;
}

static bool begin(struct rcd__binding *b)
{
    rcd_api *api = b->api;
    b->err = (struct rcd_error){.code = RCD_OK};
    b->followed = false;
    if (!take_inputs(b) ||
        uv_queue_work(api->opts.loop, &b->work, rcd__binding_step, work_after) != 0)
        return false;
    b->making = true;
    api->pending++;
    return true;
}

/* From the version that is there to the next that waits. */
static bool step(struct rcd__binding *b)
{
    rcd_api *api = b->api;
    rcd_graph *next = b->later[0];
    b->anew = b->skips[0] || rcd_graph_version(next) != rcd_graph_version(b->graph) + 1;
    b->n_later--;
    memmove(b->later, b->later + 1, b->n_later * sizeof(void *));
    memmove(b->skips, b->skips + 1, b->n_later * sizeof *b->skips);
    rcd_graph_unref(b->graph);
    b->graph = next;
    api->binding_bytes -= rcd_bound_bytes(b->bound);
    b->may_bytes = api->binding_bytes < api->opts.max_binding_bytes
                       ? api->opts.max_binding_bytes - api->binding_bytes
                       : 0;
    b->old = b->bound;
    b->before = b->listeners > 0 ? rcd_bound_ref(b->bound) : NULL;
    b->bound = NULL;
    if (!b->follow)
        b->exec = rcd_exec_free(b->exec);
    b->follow = b->stepped = true;
    return begin(b);
}

/* Nothing more comes of it. */
static void give_up(struct rcd__binding *b, const char *why)
{
    rcd__graph_streams_end(b->api, NULL, b, why);
    serve(b, true);
    binding_free(b);
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
    if (b->stepped && b->bound != NULL)
        *(b->followed ? &api->binding_followed : &api->binding_anew) += 1;
    if (!b->follow)
        b->exec = rcd_exec_free(b->exec);
    if (b->err.code == RCD_OK) {
        serve(b, false);
        rcd__graph_predictions(api, b);
    }
    b->before = rcd_bound_unref(b->before);
    if (b->err.code != RCD_OK || b->stale)
        give_up(b, b->err.code != RCD_OK ? b->err.text : "the graph changes too fast");
    else if (b->n_later > 0 && !step(b))
        give_up(b, "the graph lacks an input of the model");
    rcd__bindings_tidy(api, rcd_now_ns());
}

/* ---- versions ------------------------------------------------------------------------------------------- */

static bool is_waited_for(const struct rcd__binding *b, const rcd_graph *g)
{
    for (const struct rcd__infer *x = b->waits; x != NULL; x = x->on_graph.next) {
        if (x->on_graph.graph == g)
            return true;
    }
    return false;
}

static void follow(struct rcd__binding *b, rcd_graph *g)
{
    const size_t n = b->n_later;
    if (n >= WAIT_BEFORE_SKIP && !is_waited_for(b, b->later[n - 1])) {
        rcd_graph_unref(b->later[n - 1]);
        b->later[n - 1] = rcd_graph_ref(g);
        b->skips[n - 1] = true;
        return;
    }
    if (n == RCD__MAX_LATER) {
        b->stale = true;
        return;
    }
    b->skips[n] = false;
    b->later[b->n_later++] = rcd_graph_ref(g);
    if (!b->making && !step(b))
        give_up(b, "the graph lacks an input of the model");
}

void rcd__graph_changed(rcd_api *api, rcd_graph *g)
{
    api->graph_changes_done++;
    for (struct rcd__binding *b = api->bindings, *next; b != NULL; b = next) {
        next = b->next;
        if (b->graph == g || b->stale || strcmp(rcd_graph_name(b->graph), rcd_graph_name(g)) != 0)
            continue;
        if (b->listeners > 0 || b->waits != NULL || ++b->unread <= MAX_UNREAD) {
            follow(b, g);
            continue;
        }
        b->stale = true;
        if (!b->making)
            binding_free(b);
    }
}

void rcd__graph_forget(rcd_api *api, const char *name)
{
    rcd__graph_streams_end(api, name, NULL, "the graph was deleted");
    for (struct rcd__binding *b = api->bindings, *next; b != NULL; b = next) {
        next = b->next;
        if (strcmp(rcd_graph_name(b->graph), name) != 0)
            continue;
        b->stale = true;
        if (!b->making)
            binding_free(b);
    }
}

/* ---- requests --------------------------------------------------------------------------------------------- */

static bool leads_to(const struct rcd__binding *b, const rcd_graph *g)
{
    bool hit = b->graph == g;
    for (size_t i = 0; !hit && i < b->n_later; i++)
        hit = b->later[i] == g;
    return hit && !b->stale;
}

uint64_t rcd__binding_inputs(const rcd_graph *g, const rcd_plan *plan, const char **ret_missing)
{
    size_t n = 0;
    uint64_t fixed = 0;
    const struct rcd_io *io = rcd_plan_inputs(plan, &n);
    *ret_missing = n > RCD__MAX_FIXED ? io[RCD__MAX_FIXED].name : NULL;
    for (size_t i = 0; i < n && i < RCD__MAX_FIXED; i++) {
        const bool here =
            rcd_graph_tensor(g, io[i].name) != NULL || rcd__graph_derives(g, io[i].name);
        if (here && rcd_plan_state_output(plan, i) < 0)
            fixed |= UINT64_C(1) << i;
        else if (!io[i].optional)
            *ret_missing = io[i].name;
    }
    return fixed;
}

struct rcd__binding *rcd__binding_of(rcd_api *api, rcd_graph *g, rcd_plan *plan, uint64_t fixed,
                                     uint64_t sized)
{
    struct rcd__binding *b = api->bindings;
    while (b != NULL &&
           (!leads_to(b, g) || b->plan != plan || b->fixed != fixed || b->sized != sized))
        b = b->next;
    api->binding_hits += b != NULL;
    api->binding_misses += b == NULL;
    if (b != NULL)
        return b;
    b = rcd_calloc(1, sizeof *b);
    if (b == NULL)
        return NULL;
    b->api = api;
    b->graph = rcd_graph_ref(g);
    b->plan = rcd_plan_ref(plan);
    b->fixed = fixed;
    b->sized = sized;
    b->work.data = b;
    b->used_ns = rcd_now_ns();
    b->next = api->bindings;
    api->bindings = b;
    api->n_bindings++;
    if (begin(b))
        return b;
    binding_free(b);
    return NULL;
}

bool rcd__graph_bind(struct rcd__infer *x,
                     void (*go)(struct rcd__infer *x, const struct rcd_error *err))
{
    struct rcd__on_graph *o = &x->on_graph;
    struct rcd__binding *b =
        rcd__binding_of(x->api, o->graph, rcd_version_plan(x->version), o->fixed, o->sized);
    if (b == NULL) {
        const struct rcd_error err = {.code = RCD_ENOMEM, .text = "no memory for the request"};
        go(x, &err);
        return false;
    }
    if (!b->making && b->graph == o->graph) {
        give(b, x);
        return true;
    }
    o->go = go;
    o->next = NULL;
    struct rcd__infer **at = &b->waits;
    while (*at != NULL)
        at = &(*at)->on_graph.next;
    *at = x;
    x->api->pending++;
    return false;
}
