/* graph_binding_step.c - one step of a binding, on a helper thread: made anew from a version of a graph, or brought on from
 * the version before by what has changed in each of its tensors. */
#include "graph_bindings.h"
#include "infer_int.h"

#include <string.h>

static size_t tensor_at(const rcd_graph *g, const char *name)
{
    size_t n = 0, i = 0;
    const struct rcd_graph_tensor *t = rcd_graph_tensors(g, &n);
    while (i < n && strcmp(t[i].name, name) != 0)
        i++;
    return i;
}

/* Rows of t at the given positions, packed; NULL: no memory. */
static void *pack_rows(struct rcd_arena *a, const struct rcd_tensor *t, const int64_t *at, size_t n)
{
    const size_t row = t->dims[0] > 0 ? t->n / (size_t)t->dims[0] * rcd_dtype_size(t->dtype) : 0;
    char *to = rcd_arena_alloc_aligned(a, n * row + 1);
    for (size_t i = 0; to != NULL && i < n && row > 0; i++)
        memcpy(to + i * row, (const char *)t->data + (size_t)at[i] * row, row);
    return to;
}

/* The last n columns of an i64[2][edges]. */
static void *pack_ends(struct rcd_arena *a, const struct rcd_tensor *t, size_t n)
{
    const size_t edges = (size_t)t->dims[1];
    int64_t *to = rcd_arena_alloc_aligned(a, 2 * n * sizeof *to + 1);
    for (size_t r = 0; to != NULL && n > 0 && r < 2; r++)
        memcpy(to + r * n, (const int64_t *)t->data + (r + 1) * edges - n, n * sizeof *to);
    return to;
}

/* How the rows of features that come with requests change: as those of a tensor of the same nodes or edges. Nodes without
 * one can only become more. */
static struct rcd_input_delta delta_of_shape(const struct rcd__binding *b, size_t i)
{
    size_t n = 0;
    const struct rcd_graph_tensor *t = rcd_graph_tensors(b->graph, &n);
    const int64_t before = rcd_bound_shape(b->old, i)->dims[0], now = b->in[i].dims[0];
    bool any = false;
    for (size_t k = 0; k < n; k++) {
        const struct rcd_graph_delta g = rcd_graph_delta_of(b->graph, k);
        if (rcd__binding_group(b->graph, t[k].name) != b->entries[i].group)
            continue;
        any = true;
        if (!b->anew && !g.other)
            return (struct rcd_input_delta){
                .n_removed = g.n_removed, .removed = g.removed, .n_added = g.n_added};
    }
    if (any || b->anew || now < before)
        return (struct rcd_input_delta){.other = true};
    return (struct rcd_input_delta){.n_added = (size_t)(now - before)};
}

static struct rcd_input_delta delta_of(const struct rcd__binding *b, size_t i, const char *name,
                                       struct rcd_arena *a)
{
    const struct rcd_tensor *t = &b->in[i];
    if (rcd_graph_tensor(b->graph, name) == NULL) /* derived from all of the graph */
        return (struct rcd_input_delta){.other = true};
    const struct rcd_graph_delta g = rcd_graph_delta_of(b->graph, tensor_at(b->graph, name));
    struct rcd_input_delta d = {.other = b->anew || g.other,
                                .n_removed = g.n_removed,
                                .removed = g.removed,
                                .n_added = g.n_added,
                                .n_changed = g.n_changed,
                                .changed = g.changed};
    if (d.other)
        return d;
    if (b->entries[i].axis == 1) {
        d.added = pack_ends(a, t, d.n_added);
        d.other = d.added == NULL || d.n_changed > 0;
        return d;
    }
    const size_t row = t->dims[0] > 0 ? t->n / (size_t)t->dims[0] * rcd_dtype_size(t->dtype) : 0;
    d.added = (const char *)t->data + ((size_t)t->dims[0] - d.n_added) * row;
    d.values = pack_rows(a, t, d.changed, d.n_changed);
    d.other = d.values == NULL;
    return d;
}

/* Nothing that a binding of edges alone depends on: features were set, or edges of another type changed. */
static bool all_the_same(const struct rcd__binding *b, const struct rcd_input_delta *d, size_t n)
{
    bool same = b->sized != 0 && rcd_bound_has_shapes(b->old, b->in);
    for (size_t i = 0; same && i < n; i++)
        same = !d[i].other && d[i].n_removed == 0 && d[i].n_added == 0 && d[i].n_changed == 0;
    return same;
}

static rcd_status go_on(struct rcd__binding *b)
{
    struct rcd_input_delta deltas[RCD__MAX_FIXED] = {{.other = false}};
    struct rcd_arena arena;
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(b->plan, &n);
    rcd_arena_init(&arena, SIZE_MAX / 2);
    for (size_t i = 0; i < n; i++) {
        if ((b->fixed >> i & 1) != 0)
            deltas[i] = delta_of(b, i, io[i].name, &arena);
        else if ((b->sized >> i & 1) != 0)
            deltas[i] = delta_of_shape(b, i);
    }
    rcd_bound *old = b->old;
    rcd_status st = RCD_OK;
    const bool same = all_the_same(b, deltas, n);
    b->old = NULL;
    if (same)
        b->bound = old;
    else
        st = rcd_bound_update(b->exec, old, b->in, deltas, NULL, &b->bound, &b->err);
    b->followed = b->bound != NULL;
    rcd_arena_done(&arena);
    return st;
}

void rcd__binding_step(uv_work_t *work)
{
    struct rcd__binding *b = work->data;
    struct rcd__derived derived = {.basis = {.data = NULL}};
    rcd_status st = RCD_OK;
    if (b->exec == NULL) {
        b->exec = rcd_exec_new(b->api->opts.max_run_bytes, b->follow ? 64u << 20 : 0);
        if (b->exec == NULL)
            st = rcd_fail(&b->err, RCD_ENOMEM, "no memory to run the model on graph '%s'",
                          rcd_graph_name(b->graph));
        else
            st = rcd_exec_set_threads(b->exec, b->api->opts.run_threads, &b->err);
    }
    if (st == RCD_OK)
        st = rcd__graph_derive(b->graph, b->plan, b->fixed, b->api->opts.max_spectral_nodes, b->in,
                               &derived, &b->err);
    if (st == RCD_OK && b->old != NULL)
        st = go_on(b);
    if (st == RCD_OK && b->bound == NULL && b->follow)
        st = rcd_bound_new_live(b->exec, b->plan, b->in, b->entries, b->may_bytes, NULL, &b->bound,
                                &b->err);
    else if (st == RCD_OK && b->bound == NULL)
        st = rcd_bound_new(b->exec, b->plan, b->in, NULL, &b->bound, &b->err);
    rcd__derived_done(&derived);
    b->err.code = st;
}
