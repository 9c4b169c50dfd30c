/* echo_server.c - a small server on the http folder alone, for raw-socket tests and load.
 *
 * Usage: echo_server [name=value ...]; prints "port N" lines (main listener, administration
 * listener) and serves until SIGTERM, then drains and exits 0. Answers are given at once
 * (/echo), after a hand-over to a thread (/later), after a wait (/wait/{ms}), or in pieces (/stream,
 * see echo_stream.h). */
#include "echo_stream.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

struct job {
    rcd_http_req *req;
    struct job *next;
    uint64_t due_ms;
};

struct server {
    uv_loop_t loop;
    uv_async_t wake;
    uv_signal_t term;
    uv_timer_t timer;
    uv_prepare_t prepare;
    uv_thread_t worker;
    uv_mutex_t lock;
    uv_cond_t more;
    struct job *fresh, *queue, *done, *waiting;
    rcd_http *http;
    size_t finished, gone;
    bool stop, leaving, refuse;
};

static void answer_echo(rcd_http_req *req)
{
    size_t len = 0;
    const char *body = rcd_http_body(req, &len);
    struct rcd_buf out;
    rcd_buf_init(&out, len + 1);
    rcd_buf_append(&out, body, len);
    rcd_http_respond(req, 200, "application/octet-stream", NULL, 0, &out);
}

static void on_echo(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    answer_echo(req);
}

static void on_item(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    struct rcd_buf out;
    const char *q = rcd_http_query(req, "q");
    rcd_buf_init(&out, 65536);
    rcd_buf_printf(&out, "item=%s q=%s", rcd_http_segment(req, "name"), q != NULL ? q : "-");
    rcd_http_respond(req, 200, "text/plain", NULL, 0, &out);
}

static void on_stats(void *ctx, rcd_http_req *req)
{
    struct server *s = ctx;
    struct rcd_buf out;
    rcd_buf_init(&out, 65536);
    rcd_buf_printf(&out,
                   "{\"finished\": %zu, \"gone\": %zu, \"connections\": %zu, \"active\": %zu}",
                   s->finished, s->gone, rcd_http_connections(s->http), rcd_http_active(s->http));
    rcd_http_respond(req, 200, "application/json", NULL, 0, &out);
}

static void on_refuse(void *ctx, rcd_http_req *req)
{
    struct server *s = ctx;
    s->refuse = rcd_http_query(req, "on") != NULL;
    rcd_http_respond(req, 204, NULL, NULL, 0, NULL);
}

/* Handed to a thread that takes the whole queue, as the batcher will: collected during a turn of
 * the loop and handed over in one piece before it sleeps, or the thread would be woken, and preempt
 * the loop, once per request. */
static void on_later(void *ctx, rcd_http_req *req)
{
    struct server *s = ctx;
    struct job *j = rcd_arena_calloc(rcd_http_arena(req), 1, sizeof *j);
    if (j == NULL)
        abort();
    j->req = req;
    j->next = s->fresh;
    s->fresh = j;
}

static struct job *last_of(struct job *j)
{
    while (j->next != NULL)
        j = j->next;
    return j;
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct server *s = prepare->data;
    if (s->fresh == NULL)
        return;
    uv_mutex_lock(&s->lock);
    last_of(s->fresh)->next = s->queue;
    s->queue = s->fresh;
    uv_cond_signal(&s->more);
    uv_mutex_unlock(&s->lock);
    s->fresh = NULL;
}

static void worker_main(void *arg)
{
    struct server *s = arg;
    uv_mutex_lock(&s->lock);
    while (!s->stop) {
        struct job *batch = s->queue;
        if (batch == NULL) {
            uv_cond_wait(&s->more, &s->lock);
            continue;
        }
        s->queue = NULL;
        uv_mutex_unlock(&s->lock);
        struct job *last = last_of(batch);
        uv_mutex_lock(&s->lock);
        last->next = s->done;
        bool was_empty = s->done == NULL;
        s->done = batch;
        if (was_empty)
            uv_async_send(&s->wake);
    }
    uv_mutex_unlock(&s->lock);
}

static void on_wake(uv_async_t *wake)
{
    struct server *s = wake->data;
    uv_mutex_lock(&s->lock);
    struct job *j = s->done;
    s->done = NULL;
    uv_mutex_unlock(&s->lock);
    while (j != NULL) {
        struct job *next = j->next;
        answer_echo(j->req);
        j = next;
    }
}

static void on_wait(void *ctx, rcd_http_req *req)
{
    struct server *s = ctx;
    struct job *j = rcd_arena_calloc(rcd_http_arena(req), 1, sizeof *j);
    if (j == NULL)
        abort();
    j->req = req;
    j->due_ms = uv_now(&s->loop) + strtoul(rcd_http_segment(req, "ms"), NULL, 10);
    j->next = s->waiting;
    s->waiting = j;
}

static void on_stream(void *ctx, rcd_http_req *req)
{
    struct server *s = ctx;
    echo_stream_begin(&s->loop, req);
}

static void on_streams(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    echo_stream_report(req);
}

static void on_timer(uv_timer_t *timer)
{
    struct server *s = timer->data;
    for (struct job **at = &s->waiting; *at != NULL;) {
        struct job *j = *at;
        bool gone = rcd_http_peer_gone(j->req);
        if (!gone && !s->leaving && j->due_ms > uv_now(&s->loop)) {
            at = &j->next;
            continue;
        }
        *at = j->next;
        answer_echo(j->req);
    }
    if (s->leaving && rcd_http_active(s->http) == 0) {
        uv_close((uv_handle_t *)&s->timer, NULL);
        uv_close((uv_handle_t *)&s->wake, NULL);
        uv_close((uv_handle_t *)&s->prepare, NULL);
        uv_close((uv_handle_t *)&s->term, NULL);
        s->http = rcd_http_free(s->http);
    }
}

static void on_term(uv_signal_t *term, int signum)
{
    struct server *s = term->data;
    (void)signum;
    s->leaving = true;
    rcd_http_quiesce(s->http);
}

static rcd_status admit(void *ctx, rcd_http_req *req, unsigned *retry_after_s,
                        struct rcd_error *err)
{
    struct server *s = ctx;
    if (!s->refuse || strcmp(rcd_http_path(req), "/refuse") == 0)
        return RCD_OK;
    *retry_after_s = 3;
    return rcd_fail(err, RCD_EBUSY, "queue is full (\"%s\")", "quoted");
}

static void finished(void *ctx, const rcd_http_req *req, int status, uint64_t ns, bool gone)
{
    struct server *s = ctx;
    (void)req;
    (void)status;
    (void)ns;
    s->finished++;
    s->gone += gone;
}

static void log_line(void *ctx, int priority, const char *text)
{
    (void)ctx;
    fprintf(stderr, "log %d %s\n", priority, text);
}

static const struct rcd_route routes[] = {
    {"POST", "/echo", on_echo, RCD_ROUTE_INFER},
    {"GET", "/echo", on_echo, 0},
    {"POST", "/later", on_later, RCD_ROUTE_INFER},
    {"POST", "/wait/{ms}", on_wait, 0},
    {"GET", "/wait/{ms}", on_wait, 0},
    {"GET", "/items/{name}", on_item, 0},
    {"GET", "/stats", on_stats, 0},
    {"POST", "/admin", on_echo, RCD_ROUTE_ADMIN},
    {"GET", "/refuse", on_refuse, 0},
    {"GET", "/stream", on_stream, 0},
    {"POST", "/stream", on_stream, 0},
    {"GET", "/streams", on_streams, 0},
};

static void check(rcd_status st, const struct rcd_error *err)
{
    if (st != RCD_OK) {
        fprintf(stderr, "echo_server: %s\n", err->text);
        exit(2);
    }
}

static void set_option(struct rcd_http_limits *lim, const char *arg, const char **unix_path)
{
    const char *eq = strchr(arg, '=');
    unsigned n = eq != NULL ? (unsigned)strtoul(eq + 1, NULL, 10) : 0;
    if (eq != NULL && strncmp(arg, "unix=", 5) == 0)
        *unix_path = eq + 1;
    else if (eq != NULL && strncmp(arg, "body=", 5) == 0)
        lim->max_body_bytes = n;
    else if (eq != NULL && strncmp(arg, "connections=", 12) == 0)
        lim->max_connections = n;
    else if (eq != NULL && strncmp(arg, "head_ms=", 8) == 0)
        lim->head_timeout_ms = n;
    else if (eq != NULL && strncmp(arg, "body_ms=", 8) == 0)
        lim->body_timeout_ms = n;
    else if (eq != NULL && strncmp(arg, "idle_ms=", 8) == 0)
        lim->idle_timeout_ms = n;
    else if (eq != NULL && strncmp(arg, "chunked=", 8) == 0)
        lim->allow_chunked = n != 0;
    else
        exit(2);
}

int main(int argc, char **argv)
{
    static struct server s;
    struct rcd_error err;
    const char *unix_path = NULL;
    struct rcd_http_opts opts = {.loop = &s.loop,
                                 .limits = {.max_body_bytes = 16u << 20,
                                            .max_head_bytes = 65536,
                                            .max_connections = 1024,
                                            .head_timeout_ms = 5000,
                                            .body_timeout_ms = 30000,
                                            .body_min_rate = 500,
                                            .idle_timeout_ms = 75000,
                                            .allow_chunked = true},
                                 .routes = routes,
                                 .n_routes = RCD_COUNT(routes),
                                 .ctx = &s,
                                 .admit = admit,
                                 .finished = finished,
                                 .log = log_line};
    for (int i = 1; i < argc; i++)
        set_option(&opts.limits, argv[i], &unix_path);
    signal(SIGPIPE, SIG_IGN);
    uv_loop_init(&s.loop);
    uv_async_init(&s.loop, &s.wake, on_wake);
    uv_signal_init(&s.loop, &s.term);
    uv_timer_init(&s.loop, &s.timer);
    uv_prepare_init(&s.loop, &s.prepare);
    uv_mutex_init(&s.lock);
    uv_cond_init(&s.more);
    s.wake.data = s.term.data = s.timer.data = s.prepare.data = &s;
    check(rcd_http_new(&opts, &s.http, &err), &err);
    check(rcd_http_listen(s.http, "127.0.0.1:0", -1, false, &err), &err);
    check(rcd_http_listen(s.http, "[::1]:0", -1, true, &err), &err);
    if (unix_path != NULL)
        check(rcd_http_listen(s.http, unix_path, -1, true, &err), &err);
    uv_signal_start(&s.term, on_term, SIGTERM);
    uv_timer_start(&s.timer, on_timer, 5, 5);
    uv_prepare_start(&s.prepare, on_prepare);
    uv_thread_create(&s.worker, worker_main, &s);
    printf("port %u\nport %u\n", rcd_http_port(s.http, 0), rcd_http_port(s.http, 1));
    fflush(stdout);
    uv_run(&s.loop, UV_RUN_DEFAULT);
    uv_mutex_lock(&s.lock);
    s.stop = true;
    uv_cond_signal(&s.more);
    uv_mutex_unlock(&s.lock);
    uv_thread_join(&s.worker);
    uv_cond_destroy(&s.more);
    uv_mutex_destroy(&s.lock);
    if (!echo_stream_balanced())
        return 4;
    return uv_loop_close(&s.loop) == 0 ? 0 : 3;
}
