/* turn.c - libmicrohttpd inside the libuv loop.
 *
 * Whatever wants MHD to run (its epoll descriptor, a new connection, an answer given outside a
 * handler, the tick) only sets want_run. The check handle, which libuv calls after all polled
 * events of a turn, resumes every answered connection and runs MHD once. So many answers in one
 * turn share one MHD_run, whose cost grows with the number of suspended connections.
 *
 * Small requests are answered by the loop itself: all that were found readable in one turn are held,
 * and answered together at the beginning of the next.
 *
 * An idle handle keeps the loop from sleeping when the wish came up outside the poll phase. The
 * 100 ms tick drives the deadlines and whatever MHD 0.9.75 does not notice by itself. */
#include "http_int.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

static const uint64_t PEEK_FROM_NS = 5000000u; /* shorter waits are not worth a system call */

static void on_idle(uv_idle_t *idle)
{
    (void)idle;
}

void rcd__turn_arm(struct rcd_http *h)
{
    h->want_run = true;
    uv_idle_start(&h->idle, on_idle);
}

static void resume_answered(struct rcd_http *h)
{
    uint64_t now = h->done != NULL ? rcd_now_ns() : 0;
    rcd_http_req *req = h->done;
    h->done = NULL;
    while (req != NULL) {
        rcd_http_req *next = req->next_done;
        if (now - req->suspended_ns > PEEK_FROM_NS)
            req->client_gone = rcd_http_peer_gone(req);
        req->suspended = false;
        h->n_pending--;
        MHD_resume_connection(req->mhd);
        req = next;
    }
}

/* A client that writes head and body separately with Nagle's algorithm waits for our ACK, and the
 * kernel delays that by 40 ms unless told otherwise. */
static void acknowledge_fresh(struct rcd_http *h)
{
    while (h->fresh != NULL) {
        rcd_http_req *req = h->fresh;
        int on = 1;
        h->fresh = req->next_fresh;
        req->next_fresh = NULL;
        setsockopt(req->conn->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
    }
}

/* Requests that are held are not suspended: MHD would call their handler again in its next run, and may
 * find their connection broken. So they are answered before it runs. The run that takes the answers up
 * begins no new request, or its handler would be called in between; the next one sends them. */
static void settle_held(struct rcd_http *h)
{
    if (h->n_held == 0)
        return;
    h->opts.settle(h->opts.ctx);
    RCD_ASSERT(h->n_held == 0);
    h->turn_ns = rcd_now_ns();
    h->settling = true;
    MHD_run(h->mhd);
    h->settling = false;
}

void rcd__turn_run(struct rcd_http *h)
{
    MHD_UNSIGNED_LONG_LONG ms = 1;
    h->want_run = false;
    h->turn_ns = rcd_now_ns();
    settle_held(h);
    rcd__streams_resume(h);
    resume_answered(h);
    MHD_run(h->mhd);
    acknowledge_fresh(h);
    rcd__streams_tell(h);
    if (h->n_held > 0 || (MHD_get_timeout(h->mhd, &ms) == MHD_YES && ms == 0))
        h->want_run = true;
    if (h->want_run || h->done != NULL)
        rcd__turn_arm(h);
    else
        uv_idle_stop(&h->idle);
}

static void on_check(uv_check_t *check)
{
    struct rcd_http *h = check->data;
    if (h->want_run)
        rcd__turn_run(h);
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
    struct rcd_http *h = poll->data;
    (void)status;
    (void)events;
    h->want_run = true; /* the check comes right after the polled events */
}

static void on_tick(uv_timer_t *tick)
{
    struct rcd_http *h = tick->data;
    uint64_t now = rcd_now_ns();
    rcd__conn_tick(h, now);
    rcd__streams_tick(h);
    rcd__linger_tick(h, now);
    rcd__log_tick(h, now);
    rcd__accept_resume(h);
    rcd__turn_arm(h);
}

rcd_status rcd__turn_start(struct rcd_http *h, struct rcd_error *err)
{
    const union MHD_DaemonInfo *info = MHD_get_daemon_info(h->mhd, MHD_DAEMON_INFO_EPOLL_FD);
    uv_loop_t *loop = h->opts.loop;
    int rc = info == NULL ? UV_ENOTSUP : uv_poll_init(loop, &h->poll, info->epoll_fd);
    if (rc != 0)
        return rcd_fail(err, RCD_EIO, "HTTP server in the event loop: %s", uv_strerror(rc));
    uv_check_init(loop, &h->check);
    uv_idle_init(loop, &h->idle);
    uv_timer_init(loop, &h->tick);
    h->poll.data = h->check.data = h->idle.data = h->tick.data = h;
    h->open_handles += 4;
    uv_poll_start(&h->poll, UV_READABLE, on_readable);
    uv_check_start(&h->check, on_check);
    uv_timer_start(&h->tick, on_tick, RCD__TICK_MS, RCD__TICK_MS);
    return RCD_OK;
}

static void on_closed(uv_handle_t *handle)
{
    rcd__http_handle_gone(handle->data);
}

void rcd__turn_stop(struct rcd_http *h)
{
    uv_handle_t *handles[] = {(uv_handle_t *)&h->poll, (uv_handle_t *)&h->check,
                              (uv_handle_t *)&h->idle, (uv_handle_t *)&h->tick};
    uv_poll_stop(&h->poll);
    for (size_t i = 0; i < RCD_COUNT(handles); i++)
        uv_close(handles[i], on_closed);
}
