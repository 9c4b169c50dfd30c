/* graphs.c - the resources under /v2/graphs: register, change, describe, list, read, remove.
 *
 * Registering and changing may have to read and check millions of edges, so they run on a helper
 * thread of the loop; the loop then makes the new version the newest one. Changes of one graph take
 * their turn in the order of their arrival, so none works on a version that is not the newest. */
#include "graphs.h"

#include <string.h>
#include <uv.h>

enum { MAX_DEPTH = 16, LIST_MAX = 1000 };

struct rcd__graph_change {
    uv_work_t work;
    rcd_api *api;
    rcd_http_req *req;
    struct rcd__graph_change *next; /* waits for its turn, or runs */
    bool patch, running, made;
    uint64_t base; /* version that is replaced; 0: none */
    size_t json_len;
    const char *name;
    uint64_t expected; /* version that the client thinks is the newest; 0: does not say */
    rcd_graph *old, *g;
    struct rcd_graph_parts parts; /* in the arena */
    struct rcd_arena arena;
    struct rcd_error err;
};

static void change_free(struct rcd__graph_change *c)
{
    rcd_graph_unref(c->old);
    rcd_graph_unref(c->g);
    rcd_arena_done(&c->arena);
    rcd_free(c);
}

/* ---- describing ------------------------------------------------------------------------------------ */

static void describe(struct rcd_buf *b, const rcd_graph *g)
{
    size_t n = 0;
    const struct rcd_graph_group *groups = rcd_graph_groups(g, &n);
    (void)rcd_buf_puts(b, "{\"name\":");
    rcd__put_text(b, rcd_graph_name(g));
    (void)rcd_buf_printf(b, ",\"version\":%llu,\"undirected\":%s",
                         (unsigned long long)rcd_graph_version(g),
                         rcd_graph_undirected(g) ? "true" : "false");
    for (int edges = 0; edges < 2; edges++) {
        bool first = true;
        (void)rcd_buf_puts(b, edges ? ",\"edges\":{" : ",\"nodes\":{");
        for (size_t i = 0; i < n; i++) {
            if (groups[i].edges != (edges != 0))
                continue;
            (void)rcd_buf_puts(b, first ? "" : ",");
            first = false;
            rcd__put_text(b, groups[i].name);
            (void)rcd_buf_printf(b, ":%lld", (long long)groups[i].n);
        }
        (void)rcd_buf_puts(b, "}");
    }
    const struct rcd_graph_tensor *t = rcd_graph_tensors(g, &n);
    (void)rcd_buf_puts(b, ",\"tensors\":[");
    for (size_t i = 0; i < n; i++) {
        char shape[128];
        (void)rcd_buf_puts(b, i > 0 ? ",{\"name\":" : "{\"name\":");
        rcd__put_text(b, t[i].name);
        (void)rcd_buf_printf(
            b, ",\"datatype\":\"%s\",\"shape\":%s}", rcd_dtype_name(t[i].tensor.dtype),
            rcd_shape_text(shape, sizeof shape, t[i].tensor.rank, t[i].tensor.dims));
    }
    (void)rcd_buf_printf(b, "],\"bytes\":%zu,\"changed_ms\":%llu}", rcd_graph_bytes(g),
                         (unsigned long long)rcd_graph_changed_ms(g));
}

static rcd_graph *graph_of(rcd_api *api, rcd_http_req *req)
{
    const char *name = rcd_http_segment(req, "graph");
    rcd_graph *g = rcd_graphs_find(api->opts.graphs, name);
    if (g != NULL)
        return g;
    struct rcd_error err;
    char quoted[64];
    rcd_fail(&err, RCD_ENOTFOUND, "there is no graph '%s'",
             rcd_quote(quoted, sizeof quoted, name, strlen(name)));
    rcd__answer_error(req, &err);
    return NULL;
}

void rcd__graph_describe(void *ctx, rcd_http_req *req)
{
    const rcd_graph *g = graph_of(ctx, req);
    if (g == NULL)
        return;
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    describe(&b, g);
    rcd__answer(req, 200, &b);
}

void rcd__graph_list(void *ctx, rcd_http_req *req)
{
    const rcd_api *api = ctx;
    const char *after = rcd_http_query(req, "after"), *most = rcd_http_query(req, "limit");
    size_t limit = 100, n = 0, i = 0;
    if (most != NULL && (!rcd__parse_length(most, &limit) || limit == 0 || limit > LIST_MAX)) {
        struct rcd_error err;
        rcd_fail(&err, RCD_EINVAL, "query parameter 'limit' must be 1 to %d", LIST_MAX);
        rcd__answer_error(req, &err);
        return;
    }
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_puts(&b, "{\"graphs\":[");
    const rcd_graph *g = rcd_graphs_at(api->opts.graphs, i);
    while (g != NULL && after != NULL && strcmp(rcd_graph_name(g), after) <= 0)
        g = rcd_graphs_at(api->opts.graphs, ++i);
    for (; g != NULL && n < limit; g = rcd_graphs_at(api->opts.graphs, ++i)) {
        (void)rcd_buf_puts(&b, n++ > 0 ? "," : "");
        describe(&b, g);
        after = rcd_graph_name(g);
    }
    (void)rcd_buf_printf(&b, "],\"total\":%zu", rcd_graphs_count(api->opts.graphs));
    if (g != NULL) {
        (void)rcd_buf_puts(&b, ",\"next\":");
        rcd__put_text(&b, after);
    }
    (void)rcd_buf_puts(&b, "}");
    rcd__answer(req, 200, &b);
}

/* All tensors, as an inference answer has them. */
void rcd__graph_read(void *ctx, rcd_http_req *req)
{
    const rcd_api *api = ctx;
    const rcd_graph *g = graph_of(ctx, req);
    if (g == NULL)
        return;
    size_t n = 0, json_len = 0, out = 0;
    const char *only = rcd_http_query(req, "tensor"), *form = rcd_http_query(req, "binary");
    const struct rcd_graph_tensor *t = rcd_graph_tensors(g, &n);
    struct rcd_wire_result *results = rcd_arena_calloc(rcd_http_arena(req), n + 1, sizeof *results);
    struct rcd_error err = {.code = RCD_OK};
    char number[24], quoted[64];
    snprintf(number, sizeof number, "%llu", (unsigned long long)rcd_graph_version(g));
    for (size_t i = 0; results != NULL && i < n; i++) {
        if (only != NULL && strcmp(only, t[i].name) != 0)
            continue;
        results[out++] = (struct rcd_wire_result){
            .name = t[i].name, .tensor = &t[i].tensor, .binary = form != NULL && form[0] != '0'};
    }
    struct rcd_buf b;
    rcd_buf_init(&b, 16 * api->opts.max_body_bytes + (size_t)RCD__ANSWER_MAX);
    rcd_status st = RCD_OK;
    if (results == NULL)
        st = rcd_fail(&err, RCD_ENOMEM, "no memory for the answer");
    else if (out == 0 && only != NULL)
        st = rcd_fail(&err, RCD_ENOTFOUND, "graph '%s' has no tensor '%s'", rcd_graph_name(g),
                      rcd_quote(quoted, sizeof quoted, only, strlen(only)));
    const struct rcd_wire_answer answer = {.model_name = rcd_graph_name(g),
                                           .model_version = number,
                                           .n_results = out,
                                           .results = results,
                                           .nonfinite = RCD_NONFINITE_STRING};
    if (st == RCD_OK)
        st = rcd_wire_encode(&answer, &b, &json_len, &err);
    if (st != RCD_OK) {
        err.code = st;
        rcd_buf_done(&b);
        rcd__answer_error(req, &err);
        return;
    }
    snprintf(number, sizeof number, "%zu", json_len);
    const struct rcd_http_header head = {"Inference-Header-Content-Length", number};
    rcd_http_respond(req, 200, json_len > 0 ? "application/octet-stream" : "application/json",
                     &head, json_len > 0, &b);
}

/* If-Match; 0: there is none. */
static rcd_status read_match(rcd_http_req *req, size_t *ret, struct rcd_error *err)
{
    const char *match = rcd_http_header(req, "If-Match");
    *ret = 0;
    if (match == NULL || (rcd__parse_length(match, ret) && *ret > 0))
        return RCD_OK;
    return rcd_fail(err, RCD_EINVAL, "If-Match must be the number of a version");
}

/* Is this the version that If-Match names? g NULL: there is none. */
static rcd_status check_match(const rcd_graph *g, const char *name, uint64_t expected,
                              struct rcd_error *err)
{
    const uint64_t has = g != NULL ? rcd_graph_version(g) : 0;
    if (expected == 0 || expected == has)
        return RCD_OK;
    return rcd_fail(err, RCD_ECONFLICT, "graph '%s' has version %llu, not %llu", name,
                    (unsigned long long)has, (unsigned long long)expected);
}

/* Is there a change of the graph before this one? NULL: any at all. */
static bool is_changing(const rcd_api *api, const char *name,
                        const struct rcd__graph_change *before)
{
    for (const struct rcd__graph_change *c = api->graph_changes; c != before; c = c->next) {
        if (strcmp(c->name, name) == 0)
            return true;
    }
    return false;
}

void rcd__graph_remove(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    const rcd_graph *g = graph_of(api, req);
    if (g == NULL)
        return;
    struct rcd_error err = {.code = RCD_OK};
    size_t expected = 0;
    rcd_status st = read_match(req, &expected, &err);
    if (st == RCD_OK)
        st = check_match(g, rcd_graph_name(g), expected, &err);
    if (st == RCD_OK && is_changing(api, rcd_graph_name(g), NULL))
        st = rcd_fail(&err, RCD_ECONFLICT, "graph '%s' is being changed", rcd_graph_name(g));
    if (st != RCD_OK) {
        rcd__answer_error(req, &err);
        return;
    }
    rcd__graph_forget(api, rcd_graph_name(g));
    (void)rcd_graphs_drop(api->opts.graphs, rcd_graph_name(g));
    rcd_http_respond(req, 204, NULL, NULL, 0, NULL);
}

/* ---- changing --------------------------------------------------------------------------------------- */

static rcd_status read_params(const struct rcd_wire_request *w, struct rcd_graph_parts *parts,
                              bool patch, struct rcd_error *err)
{
    for (size_t i = 0; i < w->n_params; i++) {
        const struct rcd_param *p = &w->params[i];
        const bool undirected = strcmp(p->name, "undirected") == 0 && !patch,
                   nodes = strcmp(p->name, "nodes") == 0;
        if (undirected && p->kind == RCD_PARAM_BOOL)
            parts->undirected = p->b;
        else if (nodes && p->kind == RCD_PARAM_UINT && p->u <= INT32_MAX)
            parts->nodes = (int64_t)p->u;
        else if (undirected || nodes)
            return rcd_fail(err, RCD_EINVAL, "parameter '%s' must be %s", p->name,
                            undirected ? "true or false" : "an integer from 0 to 2147483647");
        else
            return rcd_fail(err, RCD_EINVAL, "parameter '%s' is not known here (known: %snodes)",
                            p->name, patch ? "" : "undirected, ");
    }
    return RCD_OK;
}

static rcd_status make(struct rcd__graph_change *c, struct rcd_error *err)
{
    size_t len = 0;
    const char *body = rcd_http_body(c->req, &len);
    const struct rcd_wire_limits limits = {.max_depth = MAX_DEPTH,
                                           .max_inputs = 4 * RCD_GRAPH_TENSORS_MAX,
                                           .max_string_bytes = c->api->opts.max_body_bytes};
    struct rcd_wire_request w;
    struct rcd_graph_parts *parts = &c->parts;
    *parts = (struct rcd_graph_parts){.name = c->name,
                                      .version = c->base + 1,
                                      .nodes = -1,
                                      .max_bytes = c->api->opts.max_graph_bytes};
    rcd_status st = rcd_wire_decode(&c->arena, body, len, c->json_len, &limits, &w, err);
    if (st == RCD_OK && (w.raw || w.n_outputs > 0))
        st = rcd_fail(err, RCD_EINVAL, "a graph is an object with \"inputs\" and \"parameters\"");
    if (st == RCD_OK)
        st = read_params(&w, parts, c->patch, err);
    struct rcd_graph_tensor *tensors = NULL;
    if (st == RCD_OK) {
        tensors = rcd_arena_calloc(&c->arena, w.n_inputs + 1, sizeof *tensors);
        if (tensors == NULL)
            st = rcd_fail(err, RCD_ENOMEM, "no memory for the request");
    }
    for (size_t i = 0; st == RCD_OK && i < w.n_inputs; i++)
        tensors[i] = (struct rcd_graph_tensor){w.inputs[i].name, w.inputs[i].tensor};
    if (st != RCD_OK)
        return st;
    parts->n = w.n_inputs;
    parts->tensors = tensors;
    if (c->patch && parts->n == 0 && parts->nodes < 0)
        return rcd_fail(err, RCD_EINVAL, "a change needs tensors: add.NAME, remove.NAME, set.NAME");
    if (c->patch)
        return rcd_graph_patch(c->old, parts, &c->g, err);
    return rcd_graph_new(parts, &c->g, err);
}

/* On a helper thread: first make the version, then, when the loop has found room for it, write it. */
static void run(uv_work_t *work)
{
    struct rcd__graph_change *c = work->data;
    if (c->g == NULL)
        c->err.code = make(c, &c->err);
    else if (c->patch)
        c->err.code = rcd_graphs_append(c->api->opts.graphs, c->g, &c->parts, &c->err);
    else
        c->err.code = rcd_graphs_write(c->api->opts.graphs, c->g, &c->err);
}

static void start_next(rcd_api *api);

static void finish(struct rcd__graph_change *c)
{
    rcd_api *api = c->api;
    struct rcd__graph_change **at = &api->graph_changes;
    while (*at != c)
        at = &(*at)->next;
    *at = c->next;
    api->pending--;
    if (c->err.code != RCD_OK) {
        rcd__answer_error(c->req, &c->err);
    } else {
        struct rcd_buf b;
        rcd_buf_init(&b, RCD__ANSWER_MAX);
        describe(&b, c->g);
        rcd__answer(c->req, rcd_graph_version(c->g) == 1 ? 201 : 200, &b);
    }
    change_free(c);
    start_next(api);
}

static void after(uv_work_t *work, int status);

static void made(struct rcd__graph_change *c)
{
    c->made = true;
    /* once queued, the change is the helper thread's: its error must not be looked at here */
    rcd_status st = rcd_graphs_room(c->api->opts.graphs, c->g, &c->err);
    if (st == RCD_OK && uv_queue_work(c->api->opts.loop, &c->work, run, after) != 0)
        st = rcd_fail(&c->err, RCD_EUNAVAILABLE, "no helper thread for the request");
    if (st != RCD_OK)
        finish(c);
}

static void after(uv_work_t *work, int status)
{
    struct rcd__graph_change *c = work->data;
    rcd_api *api = c->api;
    if (status != 0)
        rcd_fail(&c->err, RCD_EUNAVAILABLE, "the server is stopping");
    if (c->err.code == RCD_OK && !c->made) {
        made(c);
        return;
    }
    if (c->err.code == RCD_OK)
        c->err.code = rcd_graphs_set(api->opts.graphs, c->g, &c->err);
    if (c->err.code == RCD_OK)
        rcd__graph_changed(api, c->g);
    finish(c);
}

/* Everything that is known before the body is looked at. */
static rcd_status look(struct rcd__graph_change *c, struct rcd_error *err)
{
    rcd_graph *old = rcd_graphs_find(c->api->opts.graphs, c->name);
    char quoted[64];
    if (c->patch && old == NULL)
        return rcd_fail(err, RCD_ENOTFOUND, "there is no graph '%s'",
                        rcd_quote(quoted, sizeof quoted, c->name, strlen(c->name)));
    rcd_status st = check_match(old, c->name, c->expected, err);
    if (st != RCD_OK)
        return st;
    c->base = old != NULL ? rcd_graph_version(old) : 0;
    if (c->patch)
        c->old = rcd_graph_ref(old);
    return RCD_OK;
}

static void start_next(rcd_api *api)
{
    for (struct rcd__graph_change *c = api->graph_changes, *next; c != NULL; c = next) {
        next = c->next;
        if (c->running || is_changing(api, c->name, c))
            continue;
        c->running = true;
        rcd_status st = look(c, &c->err);
        if (st == RCD_OK && uv_queue_work(api->opts.loop, &c->work, run, after) != 0)
            st = rcd_fail(&c->err, RCD_EUNAVAILABLE, "no helper thread for the request");
        if (st != RCD_OK) {
            finish(c);
            return; /* finish looked at the others */
        }
    }
}

static void submit(rcd_api *api, rcd_http_req *req, bool patch)
{
    struct rcd_error err = {.code = RCD_OK};
    const char *length = rcd_http_header(req, "Inference-Header-Content-Length");
    struct rcd__graph_change *c = rcd_calloc(1, sizeof *c);
    if (c == NULL) {
        rcd_http_respond_error(req, RCD_ENOMEM, "no memory for the request", 1);
        return;
    }
    size_t expected = 0;
    *c = (struct rcd__graph_change){
        .api = api, .req = req, .patch = patch, .json_len = RCD_NO_JSON_LEN};
    c->name = rcd_http_segment(req, "graph");
    c->work.data = c;
    rcd_arena_init(&c->arena, 4 * api->opts.max_body_bytes + (1u << 20));
    if (api->life == RCD_LIFE_DRAINING)
        rcd_fail(&err, RCD_EUNAVAILABLE, "the server is draining");
    else if (length != NULL && !rcd__parse_length(length, &c->json_len))
        rcd_fail(&err, RCD_EINVAL, "Inference-Header-Content-Length is not a number of bytes");
    else
        (void)read_match(req, &expected, &err);
    if (err.code != RCD_OK) {
        rcd__answer_error(req, &err);
        change_free(c);
        return;
    }
    c->expected = expected;
    api->pending++;
    struct rcd__graph_change **at = &api->graph_changes;
    while (*at != NULL)
        at = &(*at)->next;
    *at = c;
    start_next(api);
}

void rcd__graph_put(void *ctx, rcd_http_req *req)
{
    submit(ctx, req, false);
}

void rcd__graph_patch(void *ctx, rcd_http_req *req)
{
    submit(ctx, req, true);
}
