/* linger.c - after an early refusal the client may still be sending. Closing then makes the kernel
 * answer with a reset, which can destroy the refusal before it is read. So a duplicate of the
 * descriptor stays open for a while and what arrives is thrown away. */
#include "http_int.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINGER_S = 2, READS_PER_TICK = 64 };
static const uint64_t SECOND_NS = 1000000000u;

void rcd__linger_add(struct rcd_http *h, int fd)
{
    if (h->n_linger == RCD__LINGERERS)
        return;
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (copy < 0)
        return;
    h->linger[h->n_linger++] =
        (struct rcd__lingerer){.fd = copy, .until_ns = rcd_now_ns() + LINGER_S * SECOND_NS};
}

/* True when the client has finished (or failed). */
static bool drained(int fd)
{
    char sink[16384];
    for (int i = 0; i < READS_PER_TICK; i++) {
        ssize_t n = recv(fd, sink, sizeof sink, MSG_DONTWAIT);
        if (n <= 0)
            return n == 0 || (errno != EAGAIN && errno != EINTR);
    }
    return false;
}

void rcd__linger_tick(struct rcd_http *h, uint64_t now)
{
    for (size_t i = 0; i < h->n_linger;) {
        struct rcd__lingerer *l = &h->linger[i];
        if (now < l->until_ns && !drained(l->fd)) {
            i++;
            continue;
        }
        close(l->fd);
        *l = h->linger[--h->n_linger];
    }
}

void rcd__linger_close(struct rcd_http *h)
{
    while (h->n_linger > 0)
        close(h->linger[--h->n_linger].fd);
}
