/* infer.c - POST .../infer: from the HTTP request to a job of the scheduler and back.
 *
 * The loop makes the job; small uncompressed bodies are decoded here, because then the queue's time
 * limit and the row count are known before the job is queued; all others on the worker that runs
 * them. The job owns everything that it needs and is freed in one place, job_free(): after `done`,
 * or at once when it could not be submitted. */
#include "graph_objects.h"

#include <string.h>

enum { SMALL_BODY = 16 << 10, SPARE_MAX = 128 };

static struct rcd__infer *of_job(struct rcd_job *job)
{
    return (struct rcd__infer *)(void *)job;
}

/* Some are kept with the beginning of their memory: most requests then need no more. */
static void job_free(struct rcd__infer *x)
{
    rcd_api *api = x->api;
    rcd__sequence_leave(x);
    rcd__graph_release(x);
    rcd_buf_done(&x->inflated);
    rcd_buf_done(&x->out);
    rcd_version_unref(x->version);
    if (api->n_spare == SPARE_MAX) {
        rcd_arena_done(&x->arena);
        rcd_free(x);
        return;
    }
    rcd_arena_clear(&x->arena);
    x->next_spare = api->spare;
    api->spare = x;
    api->n_spare++;
}

void rcd__infer_spare_free(rcd_api *api)
{
    while (api->spare != NULL) {
        struct rcd__infer *x = api->spare;
        api->spare = x->next_spare;
        rcd_arena_done(&x->arena);
        rcd_free(x);
    }
    api->n_spare = 0;
}

/* A step that is not the next one: the body says which is. */
static bool answer_step(const struct rcd__infer *x, const struct rcd_error *err)
{
    struct rcd_buf b;
    if (err->code != RCD_ECONFLICT || x->seq.turn.expected == 0)
        return false;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_puts(&b, "{\"error\":");
    rcd__put_text(&b, err->text);
    (void)rcd_buf_printf(&b, ",\"code\":\"%s\",\"expected_step\":%llu}", rcd_status_word(err->code),
                         (unsigned long long)x->seq.turn.expected);
    rcd__answer(x->req, rcd_status_http(err->code), &b);
    return true;
}

/* 415 says what would be understood. */
static void answer_error(const struct rcd__infer *x, const struct rcd_error *err,
                         unsigned retry_after_s)
{
    rcd_http_req *req = x->req;
    if (answer_step(x, err))
        return;
    if (x->objects != NULL && retry_after_s == 0) {
        rcd__objects_error(x, err);
        return;
    }
    if (err->code != RCD_EMEDIA) {
        rcd_http_respond_error(req, err->code, err->text, retry_after_s);
        return;
    }
    const struct rcd_http_header accept = {"Accept-Encoding", "gzip, deflate"};
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_puts(&b, "{\"error\":");
    rcd__put_text(&b, err->text);
    (void)rcd_buf_printf(&b, ",\"code\":\"%s\"}", rcd_status_word(err->code));
    rcd_http_respond(req, rcd_status_http(err->code), "application/json", &accept, 1, &b);
}

/* ---- the job's callbacks ---------------------------------------------------------------- */

static rcd_status job_decode(struct rcd_job *job, struct rcd_error *err)
{
    struct rcd__infer *x = of_job(job);
    rcd_status st = rcd__infer_decode(x, err);
    if (st == RCD_OK && x->timeout_ns > 0 && rcd_now_ns() - job->times.queued > x->timeout_ns)
        st = rcd_fail(err, RCD_ETIMEOUT, "the request waited longer than its 'timeout' of %llu us",
                      (unsigned long long)(x->timeout_ns / 1000));
    return st;
}

/* Errors are written in job_done, on the loop. */
static void job_encode(struct rcd_job *job)
{
    struct rcd__infer *x = of_job(job);
    if (job->err.code == RCD_OK)
        job->err.code = rcd__infer_encode(x, &job->err);
}

static bool job_gone(const struct rcd_job *job)
{
    return rcd_http_peer_gone(((const struct rcd__infer *)(const void *)job)->req);
}

static void job_done(struct rcd_job *job)
{
    struct rcd__infer *x = of_job(job);
    struct rcd_http_header headers[2];
    size_t n = 0;
    char length[32];
    x->api->pending--;
    if (job->err.code != RCD_OK) {
        bool later = job->err.code == RCD_EUNAVAILABLE || job->err.code == RCD_ENOMEM;
        answer_error(x, &job->err, later ? 1 : 0);
        job_free(x);
        return;
    }
    bool blobs = x->answer_json_len > 0;
    if (blobs) {
        length[rcd_u64_print(length, x->answer_json_len)] = '\0';
        headers[n++] = (struct rcd_http_header){"Inference-Header-Content-Length", length};
    }
    if (x->coding_out != RCD_CODING_IDENTITY)
        headers[n++] = (struct rcd_http_header){"Content-Encoding", rcd_coding_name(x->coding_out)};
    rcd_http_respond(x->req, 200, blobs ? "application/octet-stream" : "application/json", headers,
                     n, &x->out);
    job_free(x);
}

static const struct rcd_job_ops ops_decoded = {
    .encode = job_encode, .gone = job_gone, .done = job_done};
static rcd_status job_begin(struct rcd_job *job, struct rcd_error *err)
{
    return rcd__sequence_begin(of_job(job), err);
}

static rcd_status job_commit(struct rcd_job *job, bool *later, struct rcd_error *err)
{
    return rcd__sequence_commit(of_job(job), later, err);
}

static const struct rcd_job_ops ops_session = {.encode = job_encode,
                                               .begin = job_begin,
                                               .commit = job_commit,
                                               .gone = job_gone,
                                               .done = job_done};
static const struct rcd_job_ops ops_undecoded = {
    .decode = job_decode, .encode = job_encode, .gone = job_gone, .done = job_done};

/* ---- making it ------------------------------------------------------------------------------ */

bool rcd__parse_length(const char *text, size_t *ret)
{
    size_t n = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || n > SIZE_MAX / 20)
            return false;
        n = n * 10 + (size_t)(*text - '0');
    }
    *ret = n;
    return true;
}

static rcd_status read_headers(struct rcd__infer *x, struct rcd_error *err)
{
    char quoted[64];
    const char *coding = rcd_http_header(x->req, "Content-Encoding");
    const char *length = rcd_http_header(x->req, "Inference-Header-Content-Length");
    if (!rcd_coding_parse(coding, &x->coding_in))
        return rcd_fail(err, RCD_EMEDIA, "Content-Encoding '%s' is not known (gzip, deflate)",
                        rcd_quote(quoted, sizeof(quoted), coding, strlen(coding)));
    x->json_len = RCD_NO_JSON_LEN;
    if (length != NULL && !rcd__parse_length(length, &x->json_len))
        return rcd_fail(err, RCD_EINVAL,
                        "Inference-Header-Content-Length '%s' is not a number of bytes",
                        rcd_quote(quoted, sizeof(quoted), length, strlen(length)));
    x->coding_out = rcd_coding_choose(rcd_http_header(x->req, "Accept-Encoding"));
    return RCD_OK;
}

/* All zero but for what its arena has kept. */
static struct rcd__infer *spare_or_new(rcd_api *api)
{
    struct rcd__infer *x = api->spare;
    if (x == NULL)
        return rcd_calloc(1, sizeof *x);
    const struct rcd_arena arena = x->arena;
    api->spare = x->next_spare;
    api->n_spare--;
    memset(x, 0, sizeof *x);
    x->arena = arena;
    return x;
}

/* Takes the reference `v`, also when it fails. */
static struct rcd__infer *job_new(rcd_api *api, rcd_http_req *req, rcd_version *v)
{
    size_t max = api->opts.max_body_bytes;
    struct rcd__infer *x = spare_or_new(api);
    if (x == NULL) {
        rcd_version_unref(v);
        return NULL;
    }
    x->api = api;
    x->req = req;
    x->version = v;
    /* A number takes at least two bytes of JSON and at most eight as a tensor. */
    x->arena.max = 4 * max + (1u << 20);
    rcd_buf_init(&x->inflated, max);
    rcd_buf_init(&x->out, 16 * max + ((size_t)RCD__ANSWER_MAX));
    return x;
}

/* Small work is done by the loop, unless an answer has to wait for a disk or costs more than the run. */
static bool taken_here(struct rcd__infer *x)
{
    bool simple = x->decoded && !x->apart && x->on_graph.graph == NULL &&
                  x->coding_out == RCD_CODING_IDENTITY;
    if (simple && x->seq.given)
        simple = rcd_sessions_durable(x->seq.store->sessions) != RCD_DURABLE_COMMIT;
    bool here = simple && rcd_queue_take_here(rcd__served(x->version)->queue, &x->job);
    if (here)
        rcd_http_hold(x->req);
    else
        rcd_http_unhold(x->req);
    if (x->seq.given)
        x->seq.store->here = here;
    return here;
}

/* From here on it belongs to the scheduler, or it is answered. */
void rcd__infer_submit(struct rcd__infer *x, const struct rcd_error *failed)
{
    rcd_api *api = x->api;
    struct rcd_error err = {.code = RCD_OK};
    unsigned retry_after_s = 0;
    rcd_status st = RCD_OK;
    if (failed != NULL) {
        err = *failed;
        st = err.code;
    }
    if (st == RCD_OK && x->seq.given)
        st = rcd__sequence_enter(x, &retry_after_s, &err);
    if (st == RCD_OK) {
        x->job.ops = x->seq.given ? &ops_session : x->decoded ? &ops_decoded : &ops_undecoded;
        if (api->opts.request_timeout_ns > 0)
            x->job.deadline_ns = rcd_http_started_ns(x->req) + api->opts.request_timeout_ns;
        if (x->timeout_ns > 0)
            x->job.queue_deadline_ns = rcd_now_ns() + x->timeout_ns;
        if (!taken_here(x))
            st = rcd_queue_submit(rcd__served(x->version)->queue, &x->job, &retry_after_s, &err);
    }
    if (st == RCD_OK) {
        api->pending++; /* job_done runs on this thread, so not before we are back in the loop */
        return;
    }
    if (retry_after_s == 0 && (st == RCD_EBUSY || st == RCD_EUNAVAILABLE || st == RCD_ENOMEM))
        retry_after_s = 1;
    err.code = st;
    answer_error(x, &err, retry_after_s);
    job_free(x);
}

/* Requests of a session must be known as such in the order of their arrival, and what a registered graph gives is looked
 * up on the loop. A graph as JSON objects comes the same way: its body has the word, too. */
static bool taken_by_loop(const struct rcd__infer *x)
{
    size_t len = 0;
    const char *body = rcd_http_body(x->req, &len);
    if (rcd__served(x->version)->store != NULL)
        return true;
    if (x->coding_in != RCD_CODING_IDENTITY)
        return rcd_graphs_count(x->api->opts.graphs) > 0;
    return memmem(body, x->json_len < len ? x->json_len : len, "\"graph\"", 7) != NULL;
}

static bool is_small(const struct rcd__infer *x)
{
    size_t len = 0;
    (void)rcd_http_body(x->req, &len);
    return x->coding_in == RCD_CODING_IDENTITY && len <= SMALL_BODY;
}

/* Its session, if it has one, is in memory or nowhere, or near on the disk. */
static void take(void *job)
{
    struct rcd__infer *x = job;
    struct rcd_error err = {.code = RCD_OK};
    err.code = rcd__infer_take(x, &err);
    if (err.code == RCD_OK && x->on_graph.graph != NULL && !rcd__graph_bind(x, rcd__infer_submit))
        return;
    if (err.code != RCD_OK || x->apart || !rcd__infer_arrive(x))
        rcd__infer_submit(x, err.code == RCD_OK ? NULL : &err);
}

/* The body was read. */
static void go_on(struct rcd__infer *x, const struct rcd_error *failed)
{
    x->decoded = true;
    if (failed->code != RCD_OK) {
        rcd__infer_submit(x, failed);
        return;
    }
    const char *model = rcd_version_model(x->version);
    if (x->seq.given && rcd__session_fetch(x->api, model, &x->seq.id, take, x))
        x->apart = true;
    else
        take(x);
}

static void read_apart(struct rcd__infer *x, const struct rcd_error *failed)
{
    x->apart = true;
    go_on(x, failed);
}

void rcd__infer(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    rcd_version *v = rcd__version_of(api, req);
    if (v == NULL)
        return;
    struct rcd__infer *x = job_new(api, req, v);
    if (x == NULL) {
        rcd_http_respond_error(req, RCD_ENOMEM, "no memory for the request", 1);
        return;
    }
    struct rcd_error err = {.code = RCD_OK};
    rcd_status st = read_headers(x, &err);
    const bool here = st == RCD_OK && taken_by_loop(x);
    if (here && rcd__infer_read_apart(x, read_apart))
        return;
    if (st == RCD_OK && (here || is_small(x))) {
        err.code = rcd__infer_read(x, &err);
        go_on(x, &err);
        return;
    }
    err.code = st;
    rcd__infer_submit(x, st == RCD_OK ? NULL : &err);
}
