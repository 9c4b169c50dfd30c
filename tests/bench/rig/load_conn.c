/* load_conn.c - one keep-alive connection: sends a job's request, reads the answer's head, counts
 * its body off. Answers must have a Content-Length, which recurd's and the ceiling's have. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static char answer[1 << 18]; /* what was read last, of any connection */

void conn_close(struct conn *c)
{
    if (c->fd >= 0)
        close(c->fd);
    c->fd = -1;
    c->state = CONN_IDLE;
}

static enum conn_event lost(struct conn *c)
{
    conn_close(c);
    return CONN_LOST;
}

static bool watch(struct conn *c, int epoll, int op, bool out)
{
    struct epoll_event e = {.events = EPOLLIN | (out ? (uint32_t)EPOLLOUT : 0), .data.ptr = c};
    c->wants_out = out;
    return epoll_ctl(epoll, op, c->fd, &e) == 0;
}

static bool connect_now(struct conn *c, int epoll, uint16_t port)
{
    struct sockaddr_in to = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1;
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (c->fd < 0)
        return false;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->state = CONN_CONNECTING;
    return (connect(c->fd, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS) &&
           watch(c, epoll, EPOLL_CTL_ADD, true);
}

static enum conn_event send_more(struct conn *c, int epoll)
{
    while (c->out_at < c->out_len) {
        ssize_t n = send(c->fd, c->out + c->out_at, c->out_len - c->out_at, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN)
            return c->wants_out || watch(c, epoll, EPOLL_CTL_MOD, true) ? CONN_NOTHING : lost(c);
        if (n < 0)
            return lost(c);
        c->out_at += (size_t)n;
    }
    c->state = CONN_WAITING;
    return !c->wants_out || watch(c, epoll, EPOLL_CTL_MOD, false) ? CONN_NOTHING : lost(c);
}

enum conn_event conn_start(struct conn *c, int epoll, uint16_t port, const struct job *job)
{
    c->job = *job;
    c->out = job->request->bytes;
    if (job->request->id_at != SIZE_MAX) {
        job_patch(job, c->scratch);
        c->out = c->scratch;
    }
    c->out_len = job->request->len;
    c->out_at = c->head_len = c->body_left = 0;
    c->in_body = c->close_after = false;
    if (c->fd < 0)
        return connect_now(c, epoll, port) ? CONN_NOTHING : lost(c);
    c->state = CONN_SENDING;
    return send_more(c, epoll);
}

/* The head is whole: status and length; false if it has none. */
static bool read_head(struct conn *c)
{
    static const char length[] = "\r\ncontent-length:", closing[] = "\r\nconnection: close";
    const char *at = strcasestr(c->head, length);
    c->close_after = strcasestr(c->head, closing) != NULL;
    if (at == NULL || sscanf(c->head, "HTTP/1.1 %3d", &c->status) != 1 || c->status < 100 ||
        c->status >= STATUS_MAX)
        return false;
    c->body_left = strtoul(at + sizeof length - 1, NULL, 10);
    c->in_body = true;
    return true;
}

/* Takes bytes of the answer; false when they are none. */
static bool take(struct conn *c, const char *bytes, size_t n)
{
    if (!c->in_body) {
        size_t had = c->head_len, fits = HEAD_MAX - 1 - had < n ? HEAD_MAX - 1 - had : n;
        memcpy(c->head + had, bytes, fits);
        c->head[had + fits] = '\0';
        const char *end = strstr(c->head, "\r\n\r\n");
        c->head_len = had + fits;
        if (end == NULL)
            return c->head_len < HEAD_MAX - 1;
        size_t head_bytes = (size_t)(end - c->head) + 4;
        c->head[head_bytes - 2] = '\0'; /* the body is not searched for headers */
        if (!read_head(c))
            return false;
        bytes += head_bytes - had;
        n -= head_bytes - had;
    }
    if (n > c->body_left)
        return false;
    c->body_left -= n;
    return true;
}

static enum conn_event receive(struct conn *c)
{
    ssize_t n = recv(c->fd, answer, sizeof answer, 0);
    if (n < 0 && errno == EAGAIN)
        return CONN_NOTHING;
    if (n <= 0 || c->state == CONN_IDLE || !take(c, answer, (size_t)n))
        return lost(c);
    if (!c->in_body || c->body_left > 0)
        return CONN_NOTHING;
    if (c->close_after || c->out_at < c->out_len) /* refused before all of it was sent */
        conn_close(c);
    c->state = CONN_IDLE;
    return CONN_ANSWER;
}

enum conn_event conn_on_event(struct conn *c, int epoll, uint32_t events)
{
    if (c->fd < 0)
        return CONN_NOTHING;
    if ((events & EPOLLOUT) != 0 && (c->state == CONN_CONNECTING || c->state == CONN_SENDING)) {
        c->state = CONN_SENDING;
        return send_more(c, epoll);
    }
    if ((events & (EPOLLIN | EPOLLERR | EPOLLHUP)) == 0)
        return CONN_NOTHING;
    bool idle = c->state == CONN_IDLE;
    enum conn_event event = receive(c);
    return idle ? CONN_NOTHING : event; /* an idle connection that ends takes no job with it */
}
