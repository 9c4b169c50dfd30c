/* graph_events.c - GET /v2/graphs/{g}/events?model=M: the predictions that change with the graph, as
 * server-sent events.
 *
 * Each listener has a bit for every row that it has not been sent. A new version adds the rows whose bits
 * differ; they go out in pieces while the client keeps up, and wait, one bit each, while it does not: a
 * slow client gets fewer and newer values, never a longer queue. What is sent is an inference answer with
 * the rows' nodes in front. */
#include "graph_bindings.h"
#include "recurd/codec.h"

#include <string.h>

enum { BUFFERED = 8 << 20, AHEAD = 256 << 10, ROWS = 1024, HEARTBEAT_TICKS = 150 };

struct rcd__graph_listener {
    struct rcd__graph_listener *next;
    rcd_api *api;
    rcd_http_stream *stream;
    rcd_version *version;
    struct rcd__binding *binding; /* NULL: the stream has ended */
    char graph[RCD_GRAPH_NAME_MAX + 1];
    char number[24]; /* the version that was asked for; "": the default one */
    size_t output;
    uint64_t *waiting; /* bit per row */
    size_t n_rows, n_waiting;
    rcd_graph *now; /* of the rows that wait; NULL: none do */
    rcd_bound *bound;
    unsigned ticks;
};

/* ---- leaving ------------------------------------------------------------------------------------------ */

static void let_go(struct rcd__graph_listener *l)
{
    l->now = rcd_graph_unref(l->now);
    l->bound = rcd_bound_unref(l->bound);
    if (l->binding != NULL)
        l->binding->listeners--;
    l->binding = NULL;
}

void rcd__graph_streams_forget(rcd_api *api, const struct rcd__binding *b)
{
    for (struct rcd__graph_listener *l = api->graph_listeners; l != NULL; l = l->next) {
        if (l->binding == b)
            let_go(l);
    }
}

static void on_closed(void *ctx)
{
    struct rcd__graph_listener *l = ctx, **link = &l->api->graph_listeners;
    while (*link != l)
        link = &(*link)->next;
    *link = l->next;
    let_go(l);
    rcd_version_unref(l->version);
    rcd_free(l->waiting);
    rcd_free(l);
}

static void end(struct rcd__graph_listener *l, const char *reason)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 4096);
    (void)rcd_buf_puts(&b, "event: end\ndata: {\"reason\":");
    rcd__put_text(&b, reason);
    (void)rcd_buf_puts(&b, "}\n\n");
    if (!b.failed)
        (void)rcd_http_stream_write(l->stream, b.data, b.len);
    rcd_buf_done(&b);
    rcd_http_stream_end(l->stream);
    let_go(l);
}

void rcd__graph_streams_end(rcd_api *api, const char *graph, const struct rcd__binding *of,
                            const char *reason)
{
    for (struct rcd__graph_listener *l = api->graph_listeners; l != NULL; l = l->next) {
        if (l->binding != NULL && (of != NULL ? l->binding == of : strcmp(l->graph, graph) == 0))
            end(l, reason);
    }
}

/* ---- sending ------------------------------------------------------------------------------------------- */

static size_t take_rows(struct rcd__graph_listener *l, int64_t *ret)
{
    size_t n = 0;
    for (size_t w = 0; w <= l->n_rows / 64 && n < ROWS; w++) {
        while (l->waiting[w] != 0 && n < ROWS) {
            ret[n++] = (int64_t)(64 * w + (size_t)__builtin_ctzll(l->waiting[w]));
            l->waiting[w] &= l->waiting[w] - 1;
        }
    }
    l->n_waiting -= n;
    return n;
}

/* Rows of t at these positions. */
static bool pick(struct rcd_arena *a, const struct rcd_tensor *t, const int64_t *at, size_t n,
                 struct rcd_tensor *ret)
{
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, t->dims, sizeof dims);
    const size_t row = t->dims[0] > 0 ? t->n / (size_t)t->dims[0] * rcd_dtype_size(t->dtype) : 0;
    dims[0] = (int64_t)n;
    if (!rcd_tensor_shape(ret, t->dtype, t->rank, dims))
        return false;
    ret->data = rcd_arena_alloc_aligned(a, n * row + 1);
    for (size_t i = 0; ret->data != NULL && i < n && row > 0; i++)
        memcpy((char *)ret->data + i * row, (const char *)t->data + (size_t)at[i] * row, row);
    return ret->data != NULL;
}

/* The ids of the nodes that the rows belong to; NULL: they have none. */
static const struct rcd_tensor *ids_of_rows(const struct rcd__graph_listener *l)
{
    char type[RCD_GRAPH_NAME_MAX + 1], ends[2][RCD_GRAPH_NAME_MAX + 1];
    char name[RCD_GRAPH_NAME_MAX + 8] = "id";
    const rcd_plan *plan = rcd_version_plan(l->version);
    const int input = rcd_plan_output_rows(plan, l->output);
    size_t n = 0;
    if (input >= 0) {
        if (rcd_graph_name_of(rcd_plan_inputs(plan, &n)[input].name, type, ends))
            return NULL;
        snprintf(name, sizeof name, "%s%sid", type, type[0] != '\0' ? "." : "");
    }
    return rcd_graph_tensor(l->now, name);
}

static bool encode(const struct rcd__graph_listener *l, const int64_t *at, size_t n,
                   struct rcd_arena *a, struct rcd_buf *b)
{
    size_t n_out = 0, json_len = 0;
    const rcd_plan *plan = rcd_version_plan(l->version);
    const struct rcd_io *io = rcd_plan_outputs(plan, &n_out);
    const struct rcd_tensor *ids = ids_of_rows(l);
    const int64_t dims[1] = {(int64_t)n};
    struct rcd_tensor nodes, id, rows;
    if (!rcd_tensor_shape(&nodes, RCD_I64, 1, dims) ||
        !pick(a, rcd_bound_output(l->bound, l->output), at, n, &rows))
        return false;
    union {
        const int64_t *c;
        void *p;
    } u = {.c = at};
    nodes.data = u.p;
    struct rcd_wire_result results[3] = {{.name = "nodes", .tensor = &nodes}};
    size_t k = 1;
    if (ids != NULL && ids->dims[0] == (int64_t)l->n_rows && pick(a, ids, at, n, &id))
        results[k++] = (struct rcd_wire_result){.name = "id", .tensor = &id};
    results[k++] = (struct rcd_wire_result){.name = io[l->output].name, .tensor = &rows};
    const struct rcd_param params[] = {
        {.name = "graph", .kind = RCD_PARAM_STRING, .str = l->graph, .str_len = strlen(l->graph)},
        {.name = "graph_version", .kind = RCD_PARAM_UINT, .u = rcd_graph_version(l->now)},
        {.name = "more", .kind = RCD_PARAM_BOOL, .b = l->n_waiting > 0}};
    const struct rcd_wire_answer answer = {.model_name = rcd_version_model(l->version),
                                           .model_version = rcd_version_number(l->version),
                                           .n_params = RCD_COUNT(params),
                                           .params = params,
                                           .n_results = k,
                                           .results = results,
                                           .nonfinite = RCD_NONFINITE_STRING};
    struct rcd_error err;
    return rcd_buf_printf(b, "event: predictions\nid: %llu\ndata: ",
                          (unsigned long long)rcd_graph_version(l->now)) == RCD_OK &&
           rcd_wire_encode(&answer, b, &json_len, &err) == RCD_OK &&
           rcd_buf_puts(b, "\n\n") == RCD_OK;
}

/* As much as the client takes. */
static void send_rows(struct rcd__graph_listener *l)
{
    while (l->binding != NULL && l->now != NULL && rcd_http_stream_waiting(l->stream) < AHEAD) {
        int64_t at[ROWS];
        struct rcd_arena a;
        struct rcd_buf b;
        const size_t n = take_rows(l, at);
        rcd_arena_init(&a, BUFFERED);
        rcd_buf_init(&b, BUFFERED);
        if (encode(l, at, n, &a, &b))
            (void)rcd_http_stream_write(l->stream, b.data, b.len);
        else
            end(l, "the rows are too large for a stream");
        rcd_buf_done(&b);
        rcd_arena_done(&a);
        l->ticks = 0;
        if (l->n_waiting > 0)
            continue;
        l->now = rcd_graph_unref(l->now);
        l->bound = rcd_bound_unref(l->bound);
    }
}

/* ---- what changed ----------------------------------------------------------------------------------------- */

static bool room_for(struct rcd__graph_listener *l, size_t rows)
{
    const size_t words = rows / 64 + 1, before = l->waiting != NULL ? l->n_rows / 64 + 1 : 0;
    if (words > before) {
        uint64_t *more = rcd_realloc(l->waiting, words * sizeof *more);
        if (more == NULL)
            return false;
        memset(more + before, 0, (words - before) * sizeof *more);
        l->waiting = more;
    }
    for (size_t r = rows; r < l->n_rows; r++) /* rows that are no more */
        l->waiting[r / 64] &= ~(UINT64_C(1) << (r % 64));
    l->n_rows = rows;
    l->n_waiting = 0;
    for (size_t w = 0; w < words; w++)
        l->n_waiting += (size_t)__builtin_popcountll(l->waiting[w]);
    return true;
}

static void mark(struct rcd__graph_listener *l, size_t row)
{
    const uint64_t bit = UINT64_C(1) << (row % 64);
    l->n_waiting += (l->waiting[row / 64] & bit) == 0;
    l->waiting[row / 64] |= bit;
}

static void mark_changed(struct rcd__graph_listener *l, const struct rcd__binding *b)
{
    const struct rcd_tensor *now = rcd_bound_output(b->bound, l->output);
    const struct rcd_tensor *was =
        b->before != NULL ? rcd_bound_output(b->before, l->output) : NULL;
    const int32_t *rows = NULL;
    size_t n = 0;
    if (rcd_bound_changed(b->bound, l->output, &rows, &n)) {
        for (size_t i = 0; i < n; i++)
            mark(l, (size_t)rows[i]);
        return;
    }
    const size_t row = l->n_rows > 0 ? now->n / l->n_rows * rcd_dtype_size(now->dtype) : 0;
    const bool alike =
        was != NULL && was->rank == now->rank &&
        memcmp(was->dims + 1, now->dims + 1, (size_t)(now->rank - 1) * sizeof *now->dims) == 0;
    for (size_t i = 0; i < l->n_rows; i++) {
        if (!alike || i >= (size_t)was->dims[0] ||
            memcmp((const char *)now->data + i * row, (const char *)was->data + i * row, row) != 0)
            mark(l, i);
    }
}

void rcd__graph_predictions(rcd_api *api, struct rcd__binding *b)
{
    for (struct rcd__graph_listener *l = api->graph_listeners; l != NULL; l = l->next) {
        if (l->binding != b)
            continue;
        const struct rcd_tensor *t = rcd_bound_output(b->bound, l->output);
        if (b->before == NULL) /* the first one that this listener sees */
            continue;
        if (t == NULL || t->rank < 1 || t->dtype == RCD_BYTES || !room_for(l, (size_t)t->dims[0])) {
            end(l, "the output has no rows");
            continue;
        }
        mark_changed(l, b);
        rcd_graph_unref(l->now);
        rcd_bound_unref(l->bound);
        l->now = l->n_waiting > 0 ? rcd_graph_ref(b->graph) : NULL;
        l->bound = l->n_waiting > 0 ? rcd_bound_ref(b->bound) : NULL;
        send_rows(l);
    }
}

/* The version that the listener would get now. */
static void check_model(struct rcd__graph_listener *l)
{
    rcd_version *v = NULL;
    rcd_status st = rcd_registry_get(l->api->opts.registry, rcd_version_model(l->version),
                                     l->number[0] != '\0' ? l->number : NULL, &v, NULL);
    if (st != RCD_OK || v != l->version)
        end(l, st != RCD_OK ? "the model was unloaded" : "the model was loaded anew");
    rcd_version_unref(v);
}

void rcd__graph_events_pump(rcd_api *api)
{
    for (struct rcd__graph_listener *l = api->graph_listeners; l != NULL; l = l->next) {
        if (l->binding == NULL)
            continue;
        check_model(l);
        send_rows(l);
        if (l->binding != NULL && ++l->ticks >= HEARTBEAT_TICKS) {
            l->ticks = 0;
            (void)rcd_http_stream_write(l->stream, ":\n\n", 3);
        }
    }
}

/* ---- coming ------------------------------------------------------------------------------------------------- */

static rcd_status find_output(const rcd_plan *plan, const char *name, size_t *ret,
                              struct rcd_error *err)
{
    size_t n = 0;
    char quoted[64];
    const struct rcd_io *io = rcd_plan_outputs(plan, &n);
    for (*ret = 0; *ret < n; ++*ret) {
        if (name == NULL || strcmp(io[*ret].name, name) == 0)
            return RCD_OK;
    }
    return rcd_fail(err, RCD_EINVAL, "the model has no output '%s'",
                    rcd_quote(quoted, sizeof quoted, name != NULL ? name : "",
                              name != NULL ? strlen(name) : 0));
}

static rcd_status look(rcd_api *api, rcd_http_req *req, struct rcd__graph_listener *l,
                       uint64_t *ret_fixed, struct rcd_error *err)
{
    const char *name = rcd_http_segment(req, "graph"), *model = rcd_http_query(req, "model");
    const char *number = rcd_http_query(req, "version"), *missing = NULL;
    rcd_graph *g = rcd_graphs_find(api->opts.graphs, name);
    char quoted[64];
    if (g == NULL)
        return rcd_fail(err, RCD_ENOTFOUND, "there is no graph '%s'",
                        rcd_quote(quoted, sizeof quoted, name, strlen(name)));
    if (model == NULL)
        return rcd_fail(err, RCD_EINVAL, "query parameter 'model' is missing");
    rcd_status st = rcd_registry_get(api->opts.registry, model, number, &l->version, err);
    if (st != RCD_OK)
        return st;
    const rcd_plan *plan = rcd_version_plan(l->version);
    *ret_fixed = rcd__binding_inputs(g, plan, &missing);
    if (missing != NULL)
        return rcd_fail(err, RCD_EINVAL, "input '%s' of model '%s' is not in graph '%s'", missing,
                        rcd_version_model(l->version), rcd_graph_name(g));
    snprintf(l->graph, sizeof l->graph, "%s", rcd_graph_name(g));
    snprintf(l->number, sizeof l->number, "%s", number != NULL ? number : "");
    return find_output(plan, rcd_http_query(req, "output"), &l->output, err);
}

static void greet(struct rcd__graph_listener *l, const rcd_graph *g)
{
    size_t n = 0;
    struct rcd_buf b;
    rcd_buf_init(&b, 4096);
    (void)rcd_buf_puts(&b, "event: subscribed\ndata: {\"graph\":");
    rcd__put_text(&b, l->graph);
    (void)rcd_buf_printf(
        &b, ",\"graph_version\":%llu,\"model_name\":", (unsigned long long)rcd_graph_version(g));
    rcd__put_text(&b, rcd_version_model(l->version));
    (void)rcd_buf_printf(&b,
                         ",\"model_version\":\"%s\",\"output\":", rcd_version_number(l->version));
    rcd__put_text(&b, rcd_plan_outputs(rcd_version_plan(l->version), &n)[l->output].name);
    (void)rcd_buf_puts(&b, "}\n\n");
    if (!b.failed)
        (void)rcd_http_stream_write(l->stream, b.data, b.len);
    rcd_buf_done(&b);
}

void rcd__graph_events(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    uint64_t fixed = 0;
    struct rcd_error err = {.code = RCD_OK};
    struct rcd__graph_listener *l = rcd_calloc(1, sizeof *l);
    if (l == NULL) {
        rcd_http_respond_error(req, RCD_ENOMEM, "no memory for a stream", 1);
        return;
    }
    err.code = look(api, req, l, &fixed, &err);
    rcd_graph *g = err.code == RCD_OK ? rcd_graphs_find(api->opts.graphs, l->graph) : NULL;
    struct rcd__binding *b =
        g != NULL ? rcd__binding_of(api, g, rcd_version_plan(l->version), fixed, 0) : NULL;
    if (err.code == RCD_OK && b == NULL)
        rcd_fail(&err, RCD_ENOMEM, "no memory for a stream");
    l->api = api;
    if (err.code != RCD_OK)
        rcd__answer_error(req, &err);
    else
        l->stream = rcd_http_stream_begin(req, "text/event-stream", BUFFERED, on_closed, l);
    if (l->stream == NULL) {
        rcd_version_unref(l->version);
        rcd_free(l);
        return;
    }
    l->binding = b;
    b->listeners++;
    l->next = api->graph_listeners;
    api->graph_listeners = l;
    greet(l, g);
}
