/* connections.c - the table of connections and their deadlines.
 *
 * MHD's own time-out counts from the last byte, so a client that drips never reaches it, and it
 * sleeps while a connection is suspended. Here every phase has an absolute end, looked at every
 * tick; a connection that is over it is shut down, which MHD notices in its next run. */
#include "http_int.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <syslog.h>

static const uint64_t MS = 1000000u;
static const uint64_t RATE_FROM_NS = 5000000000u; /* the rate floor counts after this */

/* glibc's tcp_info ends before the byte counts that the kernel has given since Linux 4.1. */
struct tcp_info_more {
    struct tcp_info known;
    uint64_t pacing_rate, max_pacing_rate, bytes_acked, bytes_received;
};
_Static_assert(offsetof(struct tcp_info_more, bytes_received) == 128, "the kernel's layout");

struct rcd__conn *rcd__conn_of(struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static struct rcd__conn *conn_open(struct rcd_http *h, struct MHD_Connection *mhd)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct rcd__conn *c = rcd_calloc(1, sizeof *c);
    if (c == NULL || info == NULL) {
        rcd_free(c);
        if (info != NULL)
            shutdown(info->connect_fd, SHUT_RDWR); /* without an entry it would have no deadline */
        return NULL;
    }
    c->http = h;
    c->fd = info->connect_fd;
    c->since_ns = rcd_now_ns();
    c->phase = RCD__PHASE_NEW;
    c->admin = h->accepting != NULL && h->accepting->admin;
    c->next = h->conns;
    if (c->next != NULL)
        c->next->prev = c;
    h->conns = c;
    return c;
}

static void conn_close(struct rcd__conn *c)
{
    if (c->prev != NULL)
        c->prev->next = c->next;
    else
        c->http->conns = c->next;
    if (c->next != NULL)
        c->next->prev = c->prev;
    rcd_free(c);
}

void rcd__conn_notify(void *cls, struct MHD_Connection *mhd, void **socket_context,
                      enum MHD_ConnectionNotificationCode toe)
{
    struct rcd_http *h = cls;
    if (toe == MHD_CONNECTION_NOTIFY_STARTED) {
        h->n_conns++;
        *socket_context = conn_open(h, mhd);
        return;
    }
    h->n_conns--;
    if (*socket_context != NULL)
        conn_close(*socket_context);
    *socket_context = NULL;
    rcd__accept_resume(h); /* a slot is free */
}

void *rcd__conn_request_line(void *cls, const char *target, struct MHD_Connection *mhd)
{
    (void)cls;
    struct rcd__conn *c = rcd__conn_of(mhd);
    if (c == NULL)
        return NULL;
    c->bad_target = false;
    c->target = target;
    for (const char *p = target; p != NULL && *p != '\0'; p++)
        if ((unsigned char)*p <= 0x20 || *p == 0x7f)
            c->bad_target = true;
    if (c->phase == RCD__PHASE_NEW)
        c->phase = RCD__PHASE_HEAD; /* the head's time began with the connection */
    else
        rcd__conn_phase(c, RCD__PHASE_HEAD);
    return NULL;
}

void rcd__conn_phase(struct rcd__conn *c, rcd__phase phase)
{
    c->phase = phase;
    c->since_ns = c->http->turn_ns;
    c->rx_mark = 0;
}

/* MHD tells nothing between two requests before a whole request line is there. The kernel's count
 * of received bytes does: when it moves while we are idle, a head has begun. */
static void idle_watch(struct rcd__conn *c)
{
    struct tcp_info_more info;
    socklen_t len = sizeof info;
    if (getsockopt(c->fd, IPPROTO_TCP, TCP_INFO, &info, &len) != 0 || len < sizeof info)
        return;
    if (c->rx_mark == 0)
        c->rx_mark = info.bytes_received;
    else if (info.bytes_received != c->rx_mark)
        rcd__conn_phase(c, RCD__PHASE_HEAD);
}

static bool too_slow(const struct rcd__conn *c, uint64_t age)
{
    const struct rcd_http_limits *lim = &c->http->opts.limits;
    if (lim->body_min_rate == 0 || age < RATE_FROM_NS || c->req == NULL)
        return false;
    return c->req->body.len < (age / MS) * lim->body_min_rate / 1000u;
}

/* The text of what is over its time, or NULL. */
static const char *expired(const struct rcd__conn *c, uint64_t now)
{
    const struct rcd_http_limits *lim = &c->http->opts.limits;
    uint64_t age = now > c->since_ns ? now - c->since_ns : 0;
    switch (c->phase) {
    case RCD__PHASE_NEW:
    case RCD__PHASE_HEAD:
        return age > lim->head_timeout_ms * MS ? "the request head took too long" : NULL;
    case RCD__PHASE_IDLE:
        return age > lim->idle_timeout_ms * MS ? "idle" : NULL;
    case RCD__PHASE_BODY:
        if (age > lim->body_timeout_ms * MS || too_slow(c, age))
            return "the request body came too slowly";
        return NULL;
    case RCD__PHASE_REPLY:
        if (c->req != NULL && c->req->stream != NULL && rcd__stream_idle(c->req->stream))
            return NULL;
        return age > lim->body_timeout_ms * MS ? "answer" : NULL;
    case RCD__PHASE_HANDLER:
        break;
    }
    return NULL;
}

void rcd__conn_tick(struct rcd_http *h, uint64_t now)
{
    for (struct rcd__conn *c = h->conns; c != NULL; c = c->next) {
        if (c->killed)
            continue;
        if (c->phase == RCD__PHASE_IDLE)
            idle_watch(c);
        const char *what = expired(c, now);
        if (what == NULL)
            continue;
        if (c->phase == RCD__PHASE_HEAD || c->phase == RCD__PHASE_BODY)
            rcd__conn_last_words(c, 408, "Request Timeout", "request_timeout", what);
        c->killed = true;
        shutdown(c->fd, SHUT_RDWR);
    }
}

void rcd__conn_last_words(struct rcd__conn *c, int status, const char *reason, const char *word,
                          const char *text)
{
    char body[256], head[512];
    int n = snprintf(body, sizeof body, "{\"error\": \"%s\", \"code\": \"%s\"}", text, word);
    int m = snprintf(head, sizeof head,
                     "HTTP/1.1 %d %s\r\nConnection: close\r\nContent-Type: application/json\r\n"
                     "%s%s%sContent-Length: %d\r\n\r\n%s",
                     status, reason, c->req != NULL ? "X-Request-Id: " : "",
                     c->req != NULL ? c->req->id : "", c->req != NULL ? "\r\n" : "", n, body);
    RCD_ASSERT(n > 0 && m > n && (size_t)m < sizeof head);
    if (c->req != NULL) {
        c->req->status = status;
        c->req->refused = true;
    }
    c->killed = true;
    if (send(c->fd, head, (size_t)m, MSG_DONTWAIT | MSG_NOSIGNAL) != m)
        rcd__log(c->http, LOG_DEBUG, "answer %d could not be sent", status);
}
