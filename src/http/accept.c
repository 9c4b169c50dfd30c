/* accept.c - listeners: addresses, accepting, the connection limit.
 *
 * We accept and hand the socket to MHD. At the limit the listeners leave the loop, so that more
 * clients wait in the kernel's backlog, and come back as soon as a connection closes. */
#include "http_int.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

enum { BACKLOG = 1024, ACCEPTS_PER_TURN = 64 };

union address {
    struct sockaddr any;
    struct sockaddr_un un;
    struct sockaddr_in in;
    struct sockaddr_in6 in6;
    struct sockaddr_storage room;
};

/* ---- accepting ------------------------------------------------------------------------------ */

static bool at_limit(const struct rcd_http *h)
{
    return h->n_conns >= h->opts.limits.max_connections;
}

static void accept_error(struct rcd_http *h, int error)
{
    if (error == ECONNABORTED || error == EINTR || error == EPROTO)
        return;
    rcd__log(h, LOG_WARNING, "cannot accept connections for now: %s", strerror(error));
    rcd__accept_pause(h); /* out of descriptors or memory: the tick tries again */
}

static void on_listener(uv_poll_t *poll, int status, int events)
{
    struct rcd__listener *l = poll->data;
    struct rcd_http *h = l->http;
    (void)status;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN && !at_limit(h); i++) {
        union address addr;
        socklen_t len = sizeof addr;
        int fd = accept4(l->fd, &addr.any, &len, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno != EAGAIN)
                accept_error(h, errno);
            break;
        }
        if (!l->is_unix) {
            int on = 1;
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        }
        h->accepting = l;
        if (MHD_add_connection(h->mhd, fd, &addr.any, len) != MHD_YES) /* closes fd on failure */
            accept_error(h, errno);
        h->accepting = NULL;
    }
    if (at_limit(h))
        rcd__accept_pause(h);
    rcd__turn_arm(h);
}

void rcd__accept_pause(struct rcd_http *h)
{
    h->accept_paused = true;
    for (struct rcd__listener *l = h->listeners; l != NULL; l = l->next)
        if (l->fd >= 0)
            uv_poll_stop(&l->poll);
}

void rcd__accept_resume(struct rcd_http *h)
{
    if (!h->accept_paused || h->quiesced || h->stopping || at_limit(h))
        return;
    h->accept_paused = false;
    for (struct rcd__listener *l = h->listeners; l != NULL; l = l->next)
        uv_poll_start(&l->poll, UV_READABLE, on_listener);
}

static void on_listener_closed(uv_handle_t *poll)
{
    struct rcd__listener *l = poll->data;
    rcd__http_handle_gone(l->http);
}

void rcd__accept_close(struct rcd_http *h)
{
    if (h->quiesced)
        return;
    h->quiesced = true;
    for (struct rcd__listener *l = h->listeners; l != NULL; l = l->next) {
        if (!h->stopping && !at_limit(h))
            on_listener(&l->poll, 0, UV_READABLE); /* who is already in the backlog is served */
        uv_poll_stop(&l->poll);
        uv_close((uv_handle_t *)&l->poll, on_listener_closed);
        close(l->fd);
        l->fd = -1;
        if (l->path != NULL)
            unlink(l->path);
    }
}

/* ---- addresses ------------------------------------------------------------------------------ */

/* "ADDR:PORT", "[V6]:PORT" or "unix:/path" to a socket address. */
static rcd_status parse_address(const char *text, union address *addr, socklen_t *len,
                                struct rcd_error *err)
{
    char host[64];
    memset(addr, 0, sizeof *addr);
    if (strncmp(text, "unix:", 5) == 0) {
        size_t n = strlen(text + 5);
        if (n == 0 || n >= sizeof addr->un.sun_path)
            return rcd_fail(err, RCD_EINVAL, "listen address \"%s\": path must have 1 to %zu bytes",
                            text, sizeof addr->un.sun_path - 1);
        addr->un.sun_family = AF_UNIX;
        memcpy(addr->un.sun_path, text + 5, n + 1);
        *len = sizeof addr->un;
        return RCD_OK;
    }
    const char *colon = strrchr(text, ':');
    size_t n = colon != NULL ? (size_t)(colon - text) : 0;
    bool v6 = n >= 2 && text[0] == '[' && text[n - 1] == ']';
    const char *first = v6 ? text + 1 : text;
    n -= v6 ? 2 : 0;
    if (n == 0 || n >= sizeof host || strspn(colon + 1, "0123456789") != strlen(colon + 1))
        return rcd_fail(err, RCD_EINVAL,
                        "listen address \"%s\" is not ADDR:PORT, [ADDR]:PORT or "
                        "unix:/path",
                        text);
    memcpy(host, first, n);
    host[n] = '\0';
    long port = strtol(colon + 1, NULL, 10);
    struct addrinfo hints = {.ai_family = v6 ? AF_INET6 : AF_INET,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *found = NULL;
    const char *name = strcmp(host, "localhost") == 0 ? "127.0.0.1" : host;
    if (colon[1] == '\0' || port < 0 || port > 65535 ||
        getaddrinfo(name, colon + 1, &hints, &found) != 0)
        return rcd_fail(err, RCD_EINVAL,
                        "listen address \"%s\" needs a numeric address and a port "
                        "of 0 to 65535",
                        text);
    *len = found->ai_addrlen;
    memcpy(addr, found->ai_addr, found->ai_addrlen);
    freeaddrinfo(found);
    return RCD_OK;
}

/* A socket file left by a crash is in the way; one that answers belongs to somebody. */
static void remove_stale(const union address *addr, socklen_t len)
{
    struct stat st;
    if (lstat(addr->un.sun_path, &st) != 0 || !S_ISSOCK(st.st_mode))
        return;
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    if (connect(fd, &addr->any, len) != 0 && errno == ECONNREFUSED)
        unlink(addr->un.sun_path);
    close(fd);
}

static rcd_status open_socket(const char *text, int *ret_fd, char **ret_path, struct rcd_error *err)
{
    union address addr;
    socklen_t len = 0;
    int on = 1;
    rcd_status st = parse_address(text, &addr, &len, err);
    if (st != RCD_OK)
        return st;
    int family = addr.any.sa_family;
    int fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return rcd_fail(err, RCD_EIO, "listen on %s: %s", text, strerror(errno));
    if (family == AF_UNIX)
        remove_stale(&addr, len);
    else
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, &addr.any, len) != 0 || listen(fd, BACKLOG) != 0) {
        st = rcd_fail(err, RCD_EIO, "listen on %s: %s", text, strerror(errno));
        close(fd);
        return st;
    }
    if (family == AF_UNIX)
        *ret_path = rcd_strdup(addr.un.sun_path); /* without it the file stays behind: harmless */
    *ret_fd = fd;
    return RCD_OK;
}

static rcd_status describe(struct rcd__listener *l, struct rcd_error *err)
{
    union address addr;
    memset(&addr, 0, sizeof addr);
    socklen_t len = sizeof addr;
    int listening = 0;
    socklen_t opt_len = sizeof listening;
    if (getsockname(l->fd, &addr.any, &len) != 0 ||
        getsockopt(l->fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &opt_len) != 0)
        return rcd_fail(err, RCD_EIO, "listen descriptor %d: %s", l->fd, strerror(errno));
    if (listening == 0)
        return rcd_fail(err, RCD_EINVAL, "listen descriptor %d is not a listening socket", l->fd);
    l->is_unix = addr.any.sa_family == AF_UNIX;
    if (addr.any.sa_family == AF_INET)
        l->port = ntohs(addr.in.sin_port);
    else if (addr.any.sa_family == AF_INET6)
        l->port = ntohs(addr.in6.sin6_port);
    return RCD_OK;
}

rcd_status rcd_http_listen(rcd_http *h, const char *address, int listen_fd, bool allow_admin,
                           struct rcd_error *err)
{
    struct rcd__listener *l = rcd_calloc(1, sizeof *l);
    if (l == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a listener");
    *l = (struct rcd__listener){.http = h, .fd = listen_fd, .admin = allow_admin};
    rcd_status st = RCD_OK;
    if (listen_fd < 0)
        st = open_socket(address, &l->fd, &l->path, err);
    if (st == RCD_OK)
        st = describe(l, err);
    int rc = st == RCD_OK ? uv_poll_init(h->opts.loop, &l->poll, l->fd) : 0; /* non-blocking too */
    if (rc != 0)
        st = rcd_fail(err, RCD_EIO, "listen on %s: %s", address, uv_strerror(rc));
    if (st != RCD_OK) {
        if (listen_fd < 0 && l->fd >= 0)
            close(l->fd);
        rcd_free(l->path);
        rcd_free(l);
        return st;
    }
    l->poll.data = l;
    h->open_handles++;
    struct rcd__listener **end = &h->listeners;
    while (*end != NULL)
        end = &(*end)->next;
    *end = l;
    if (!h->accept_paused)
        uv_poll_start(&l->poll, UV_READABLE, on_listener);
    return RCD_OK;
}

unsigned rcd_http_port(const rcd_http *h, size_t i)
{
    const struct rcd__listener *l = h->listeners;
    while (l != NULL && i-- > 0)
        l = l->next;
    return l != NULL ? l->port : 0;
}
