/* head.c - the first page of the file of durability `process`: whose it is, how long it is, and a stamp. Each
 * part has a checksum of its own, since each is written at another time, by one store. */
#include "sessions_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include <xxhash.h>

#define FILE_MAGIC 0x3273736573646352u /* "Rcdsess2" */
enum { STAMP_AT = RCD__SIZE_AT + 8, GUARDED_BITS = 40 };
static const uint64_t GUARDED_MAX = ((uint64_t)1 << GUARDED_BITS) - 1;

static uint64_t head_sum(const struct rcd__head *h)
{
    return XXH3_64bits(h, offsetof(struct rcd__head, sum));
}

struct rcd__head rcd__head_of(const rcd_sessions *s)
{
    struct rcd__head h = {.magic = FILE_MAGIC,
                          .fingerprint = s->fingerprint,
                          .layout = s->layout,
                          .row_bytes = s->row_bytes};
    h.sum = head_sum(&h);
    return h;
}

void rcd__head_write(const rcd_sessions *s)
{
    struct rcd__head h = rcd__head_of(s);
    if (s->file.fd >= 0 && pwrite(s->file.fd, &h, sizeof h, 0) != (ssize_t)sizeof h)
        rcd__store_say(s, LOG_ERR, "%s: cannot be written: %s", s->live, strerror(errno));
}

/* A number of up to 40 bits and what says that it is one, to be stored at once. */
static uint64_t guarded(uint64_t n)
{
    return n | (n + 1) * 0x9e3779b97f4a7c15u >> GUARDED_BITS << GUARDED_BITS;
}

static bool guarded_at(int fd, off_t at, uint64_t *ret)
{
    uint64_t word = 0;
    if (pread(fd, &word, sizeof word, at) != (ssize_t)sizeof word)
        return false;
    *ret = word & GUARDED_MAX;
    return word == guarded(*ret);
}

uint64_t rcd__size_word(size_t bytes)
{
    return guarded(bytes / RCD__SIZE_UNIT);
}

bool rcd__size_read(int fd, uint64_t *ret_units)
{
    return guarded_at(fd, RCD__SIZE_AT, ret_units);
}

bool rcd__head_stamp(const rcd_sessions *s)
{
    uint64_t words[] = {rcd_now_ns(), rcd_wall_ms(), (uint64_t)getpid()};
    uint64_t stamp = guarded(XXH3_64bits(words, sizeof words) & GUARDED_MAX);
    return pwrite(s->file.fd, &stamp, sizeof stamp, STAMP_AT) == (ssize_t)sizeof stamp;
}

bool rcd__head_read(int fd, struct rcd__head *ret)
{
    return pread(fd, ret, sizeof *ret, 0) == (ssize_t)sizeof *ret && ret->magic == FILE_MAGIC &&
           ret->sum == head_sum(ret);
}

enum rcd__peek rcd__file_peek(const char *path, uint64_t *ret_stamp)
{
    struct rcd__head h;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return errno == ENOENT ? RCD__PEEK_NONE : RCD__PEEK_DAMAGED;
    bool good = rcd__head_read(fd, &h) && guarded_at(fd, STAMP_AT, ret_stamp);
    close(fd);
    return good ? RCD__PEEK_GOOD : RCD__PEEK_DAMAGED;
}
