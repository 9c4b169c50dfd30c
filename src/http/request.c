/* request.c - one request through MHD's handler calls.
 *
 * First call: the head is known. Framing guard, route, limits and the admission hook decide here,
 * because an answer queued now refuses the body unread (and costs the connection). A refusal of a
 * small body waits for its end instead, so that the client keeps its connection.
 * Body calls: everything is copied out. Last call: the route's handler; when it does not answer at
 * once the connection is suspended, and the last call comes again after the resume; or it is held, and
 * the last call comes again by itself after `settle` (turn.c). */
#include "http_int.h"

#include <string.h>
#include <sys/socket.h>

/* MHD decodes query arguments and the path with this. The path must stay as it is until it has been
 * split, so that %2F stays in its segment. */
size_t rcd__unescape(void *cls, struct MHD_Connection *mhd, char *text)
{
    (void)cls;
    struct rcd__conn *c = rcd__conn_of(mhd);
    if (c != NULL && text == c->target)
        return strlen(text);
    return MHD_http_unescape(text);
}

/* ---- the head ------------------------------------------------------------------------------- */

static enum MHD_Result guard_each(void *cls, enum MHD_ValueKind kind, const char *key,
                                  size_t key_size, const char *value, size_t value_size)
{
    (void)kind;
    rcd__guard_header(cls, key, key_size, value, value_size);
    return MHD_YES;
}

/* "http://host/path" (absolute form) to "/path". */
static const char *origin_form(const char *url)
{
    size_t scheme = strncmp(url, "http://", 7) == 0 ? 7 : strncmp(url, "https://", 8) == 0 ? 8 : 0;
    if (scheme == 0)
        return url;
    const char *slash = strchr(url + scheme, '/');
    return slash != NULL ? slash : "/";
}

enum { SPARE_MAX = 128, SPARE_BODY = 16384, TEXT_MIN = 192 };

static void request_destroy(rcd_http_req *req)
{
    rcd_buf_done(&req->body);
    rcd_arena_done(&req->arena);
    rcd_free(req);
}

/* Some requests are kept, with the memory of small bodies. */
static void request_free(struct rcd_http *h, rcd_http_req *req)
{
    if (h->n_spare == SPARE_MAX || req->body.cap > SPARE_BODY) {
        request_destroy(req);
        return;
    }
    rcd_arena_clear(&req->arena);
    req->next_done = h->spare;
    h->spare = req;
    h->n_spare++;
}

void rcd__request_spare_free(struct rcd_http *h)
{
    while (h->spare != NULL) {
        rcd_http_req *req = h->spare;
        h->spare = req->next_done;
        request_destroy(req);
    }
    h->n_spare = 0;
}

/* All zero but for what its body and arena have kept, with room for a text. */
static rcd_http_req *spare_or_new(struct rcd_http *h, size_t text)
{
    rcd_http_req *req = h->spare;
    if (req == NULL || req->text_cap < text) {
        size_t cap = text > TEXT_MIN ? text : TEXT_MIN;
        req = rcd_alloc(sizeof *req + cap);
        if (req != NULL)
            *req = (struct rcd_http_req){.text_cap = cap};
        return req;
    }
    const struct rcd_buf body = {.data = req->body.data, .cap = req->body.cap};
    const struct rcd_arena arena = req->arena;
    h->spare = req->next_done;
    h->n_spare--;
    *req = (struct rcd_http_req){.body = body, .arena = arena, .text_cap = req->text_cap};
    return req;
}

static rcd_http_req *request_new(struct rcd_http *h, struct rcd__conn *c,
                                 struct MHD_Connection *mhd, const char *path, const char *method)
{
    size_t len = strlen(path);
    rcd_http_req *req = spare_or_new(h, 2 * (len + 1));
    if (req == NULL)
        return NULL;
    req->http = h;
    req->conn = c;
    req->mhd = mhd;
    req->started_ns = rcd_now_ns();
    memcpy(req->text, path, len + 1);
    size_t method_len = strnlen(method, RCD__METHOD_CAP);
    memcpy(req->method, method, method_len < RCD__METHOD_CAP ? method_len : RCD__METHOD_CAP - 1);
    if (method_len == RCD__METHOD_CAP)
        req->method[0] = '?'; /* cut: must not look like a known method */
    req->arena.max = h->opts.limits.max_body_bytes + (1u << 20);
    const char *id = MHD_lookup_connection_value(mhd, MHD_HEADER_KIND, "X-Request-Id");
    if (id != NULL && rcd__id_sane(id))
        memcpy(req->id, id, strlen(id) + 1);
    else
        rcd__id_make(&h->ids, req->id);
    c->req = req;
    h->n_active++;
    return req;
}

static void refuse(rcd_http_req *req, rcd_status code, const char *text)
{
    rcd_http_respond_error(req, code, text, 0);
}

/* Find the route and check what the head alone tells; an answer is set when it is refused. */
static void check_head(rcd_http_req *req, const struct rcd__guard *g)
{
    struct rcd_http *h = req->http;
    struct rcd_error err = {.code = RCD_OK};
    char allow[128], text[RCD_ERROR_TEXT];
    unsigned retry_after_s = 0;
    rcd_status why = RCD_OK;
    why = rcd__path_split(req->text, req->text + strlen(req->text) + 1, &req->path, &err);
    if (why != RCD_OK) {
        refuse(req, why, err.text);
        return;
    }
    req->route = rcd__router_find(h->router, req->method, &req->path, &why, allow, sizeof allow);
    if (req->route == NULL && why == RCD_EMETHOD) {
        const struct rcd_http_header header = {"Allow", allow};
        snprintf(text, sizeof text, "method not allowed here; allowed: %s", allow);
        rcd__respond_text(req, rcd_status_http(why), rcd_status_word(why), text, &header, 1);
    } else if (req->route == NULL) {
        refuse(req, why, "no such path");
    } else if ((req->route->flags & RCD_ROUTE_ADMIN) != 0 && !req->conn->admin) {
        rcd__respond_text(req, 403, "forbidden", "administration is not allowed on this address",
                          NULL, 0);
    } else if (g->chunked && !h->opts.limits.allow_chunked) {
        refuse(req, RCD_ELENGTH, "chunked uploads are switched off: send Content-Length");
    } else if (g->length > h->opts.limits.max_body_bytes) {
        snprintf(text, sizeof text, "body of %llu bytes is over the limit of %zu (server.max_body)",
                 (unsigned long long)g->length, h->opts.limits.max_body_bytes);
        refuse(req, RCD_ETOOBIG, text);
    } else if (h->opts.admit != NULL) {
        why = h->opts.admit(h->opts.ctx, req, &retry_after_s, &err);
        if (why != RCD_OK)
            rcd_http_respond_error(req, why, err.text, retry_after_s);
    }
}

static enum MHD_Result begin(struct rcd_http *h, struct MHD_Connection *mhd, const char *url,
                             const char *method, const char *version, void **con_cls)
{
    struct rcd__guard g = {.why = NULL};
    struct rcd__conn *c = rcd__conn_of(mhd);
    rcd_http_req *req = c != NULL ? request_new(h, c, mhd, origin_form(url), method) : NULL;
    if (req == NULL)
        return MHD_NO;
    *con_cls = req;
    rcd__conn_phase(c, RCD__PHASE_BODY);
    MHD_get_connection_values_n(mhd, MHD_HEADER_KIND, guard_each, &g);
    const char *why = rcd__guard_verdict(&g, version);
    if (why == NULL && c->bad_target)
        why = "the request target holds a space or a control byte";
    if (why != NULL)
        refuse(req, RCD_EINVAL, why);
    else
        check_head(req, &g);
    bool expects_body = g.chunked || g.length > 0;
    bool at_once = why != NULL || g.chunked || g.expect || g.length > RCD__DISCARD_MAX;
    if (req->answered && at_once) {
        /* Nothing after this head can be trusted, or it is not worth reading. */
        MHD_add_response_header(req->response, "Connection", "close");
        rcd__linger_add(h, c->fd);
        return rcd__respond_queue(req);
    }
    /* Content-Length is only a bound here: the buffer grows with what really arrives. */
    req->body.max = g.chunked ? h->opts.limits.max_body_bytes : (size_t)g.length;
    if (expects_body) {
        req->next_fresh = h->fresh;
        h->fresh = req;
    }
    return MHD_YES;
}

/* ---- the body ------------------------------------------------------------------------------- */

static void no_longer_fresh(rcd_http_req *req)
{
    for (rcd_http_req **at = &req->http->fresh; *at != NULL; at = &(*at)->next_fresh) {
        if (*at == req) {
            *at = req->next_fresh;
            return;
        }
    }
}

static enum MHD_Result take_body(rcd_http_req *req, const char *data, size_t len)
{
    struct rcd_http *h = req->http;
    if (req->answered) /* refused: read and forget */
        return MHD_YES;
    rcd_status st = rcd_buf_append(&req->body, data, len);
    if (st == RCD_OK)
        return MHD_YES;
    if (!req->conn->killed) {
        /* MHD takes no answer in the middle of a body. */
        rcd__linger_add(h, req->conn->fd);
        if (st == RCD_ETOOBIG)
            rcd__conn_last_words(req->conn, 413, "Content Too Large", rcd_status_word(st),
                                 "body is over the limit");
        else
            rcd__conn_last_words(req->conn, 503, "Service Unavailable", rcd_status_word(st),
                                 "no memory for the body");
    }
    h->mute_log = true; /* MHD reports our MHD_NO as an internal error */
    return MHD_NO;
}

/* ---- the end -------------------------------------------------------------------------------- */

static enum MHD_Result finish(rcd_http_req *req)
{
    struct rcd_http *h = req->http;
    if (!req->complete && h->settling && !req->answered)
        return MHD_YES; /* MHD asks again in its next run */
    if (!req->complete) {
        req->complete = true;
        no_longer_fresh(req);
        rcd__conn_phase(req->conn, RCD__PHASE_HANDLER);
        if (!req->answered && h->stopping)
            refuse(req, RCD_EUNAVAILABLE, "the server is stopping");
        else if (!req->answered)
            req->route->handler(h->opts.ctx, req);
    }
    if (req->answered)
        return rcd__respond_queue(req);
    if (req->hold) { /* MHD asks again, in this run perhaps and in its next one */
        h->n_held += !req->held;
        req->held = true;
        return MHD_YES;
    }
    req->suspended = true;
    req->suspended_ns = rcd_now_ns();
    h->n_pending++;
    MHD_suspend_connection(req->mhd);
    return MHD_YES;
}

enum MHD_Result rcd__request_call(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **con_cls)
{
    rcd_http_req *req = *con_cls;
    if (req == NULL)
        return begin(cls, mhd, url, method, version, con_cls);
    if (*data_len > 0) {
        size_t len = *data_len;
        *data_len = 0;
        return take_body(req, data, len);
    }
    return finish(req);
}

void rcd__request_over(void *cls, struct MHD_Connection *mhd, void **con_cls,
                       enum MHD_RequestTerminationCode toe)
{
    struct rcd_http *h = cls;
    rcd_http_req *req = *con_cls;
    struct rcd__conn *c = rcd__conn_of(mhd);
    *con_cls = NULL;
    if (c != NULL) {
        rcd__conn_phase(c, RCD__PHASE_IDLE);
        c->req = NULL;
    }
    if (req == NULL)
        return;
    no_longer_fresh(req);
    if (req->stream != NULL)
        rcd__stream_over(req->stream);
    h->n_active--;
    bool gone = toe != MHD_REQUEST_TERMINATED_COMPLETED_OK && !req->refused;
    if (req->status == 0)
        req->status = rcd_status_http(RCD_ECANCELLED);
    if (h->opts.finished != NULL)
        h->opts.finished(h->opts.ctx, req, req->status, rcd_now_ns() - req->started_ns,
                         gone || req->client_gone);
    if (req->response != NULL && req->response != h->oom)
        MHD_destroy_response(req->response);
    request_free(h, req);
}
