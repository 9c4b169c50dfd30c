/* session_call.c - a call on a session, on the loop or, where it has to wait for a disk or to read or write
 * much, on a helper thread; its answer is made there and given on the loop. */
#include "session_call.h"

#include <string.h>

enum { BODY_SMALL = 16 << 10 };

static void call_free(struct rcd__session_call *c)
{
    rcd_buf_done(&c->body);
    rcd_arena_done(&c->arena);
    rcd__session_path_done(&c->p);
    rcd_free(c);
}

static void answer(struct rcd__session_call *c)
{
    char text[24];
    if (c->err.code == RCD_OK && c->body.failed)
        rcd_fail(&c->err, RCD_ENOMEM, "no memory for the answer");
    if (c->err.code != RCD_OK) {
        rcd__answer_refused(c->req, &c->err, c->retry_after_s);
        return;
    }
    snprintf(text, sizeof text, "%zu", c->json_len);
    const struct rcd_http_header length = {"Inference-Header-Content-Length", text};
    rcd_http_respond(c->req, c->status, c->binary ? "application/octet-stream" : "application/json",
                     &length, c->json_len > 0 ? 1 : 0, &c->body);
}

static void run(uv_work_t *work)
{
    struct rcd__session_call *c = work->data;
    c->err.code = c->run(c, &c->err);
}

static void after(uv_work_t *work, int status)
{
    struct rcd__session_call *c = work->data;
    (void)status;
    c->api->pending--;
    rcd__store_release(c->p.store);
    answer(c);
    call_free(c);
}

/* Its session is in memory or nowhere, or near on the disk. */
static void begin(void *call)
{
    struct rcd__session_call *c = call;
    rcd_api *api = c->api;
    size_t len = 0;
    if (!rcd__session_path(api, c->req, &c->p)) {
        rcd_free(c);
        return;
    }
    c->work.data = c;
    rcd_buf_init(&c->body, RCD__ANSWER_MAX);
    rcd_arena_init(&c->arena, 4 * api->opts.max_body_bytes + (1u << 20));
    (void)rcd_http_body(c->req, &len);
    if (len <= BODY_SMALL && !rcd_sessions_slow(c->p.store->sessions)) {
        run(&c->work);
        answer(c);
        call_free(c);
        return;
    }
    rcd__store_hold(c->p.store); /* whatever becomes of its versions */
    if (uv_queue_work(api->opts.loop, &c->work, run, after) == 0) {
        api->pending++;
        return;
    }
    rcd__store_release(c->p.store);
    rcd_http_respond_error(c->req, RCD_EUNAVAILABLE, "no helper thread for the request", 1);
    call_free(c);
}

void rcd__session_call(rcd_api *api, rcd_http_req *req, rcd__session_run *how)
{
    const char *model = rcd_http_segment(req, "model");
    struct rcd_session_id id;
    bool given = false;
    struct rcd__session_call *c = rcd_calloc(1, sizeof *c);
    if (c == NULL) {
        rcd_http_respond_error(req, RCD_ENOMEM, "no memory for the request", 1);
        return;
    }
    *c = (struct rcd__session_call){.api = api, .req = req, .run = how, .status = 200};
    if (rcd__session_id_in_path(req, &id, &given, NULL) == RCD_OK && given &&
        rcd__session_fetch(api, model, &id, begin, c))
        return;
    begin(c); /* what is wrong with the path is told there */
}

rcd_status rcd__call_session(struct rcd__session_call *c, int status,
                             const struct rcd_session_id *id, struct rcd_error *err)
{
    struct rcd_session_info info;
    rcd_status st = rcd_session_describe(c->p.store->sessions, id, &info, err);
    c->status = status;
    if (st == RCD_OK)
        rcd__put_session(&c->body, c->p.store, &info);
    return st;
}
