/* recover.c - the file of durability `process`: made, or taken over from a predecessor that may have died
 * at any moment.
 *
 * The file is a header and then segments, each with a header that says what is in it. Nothing in it is
 * believed: segments are checked by sum here, their items by recover_items.c. A file in which anything was
 * wrong is copied aside before anything is mended, and what is whole in it goes on. */
#include "sessions_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

enum { PAGE = RCD__SIZE_UNIT };

static rcd_status io_error(const rcd_sessions *s, const char *what, struct rcd_error *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    return rcd_fail(err, full ? RCD_ENOSPC : RCD_EIO, "%s: %s: %s", s->path, what, strerror(errno));
}

static rcd_status make_file(rcd_sessions *s, struct rcd_error *err)
{
    char page[PAGE] = "";
    struct rcd__head h = rcd__head_of(s);
    uint64_t length = rcd__size_word(PAGE);
    memcpy(page, &h, sizeof h);
    memcpy(page + RCD__SIZE_AT, &length, sizeof length);
    s->file.fd = open(s->live, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (s->file.fd < 0)
        return io_error(s, "cannot be made", err);
    if (write(s->file.fd, page, sizeof page) != (ssize_t)sizeof page)
        return io_error(s, "cannot be written", err);
    s->file.size = PAGE;
    return RCD_OK;
}

/* ---- segments -------------------------------------------------------------------------------- */

static struct rcd__slab *slab_of(rcd_sessions *s, const struct rcd__segment *g)
{
    struct rcd__slab *b = NULL;
    if (g->kind == RCD__RECORDS)
        b = &s->records;
    else if (g->kind == RCD__ROWS)
        b = &s->rows;
    else if (g->kind == RCD__EXTRAS)
        b = &s->extras;
    else if (g->kind >= RCD__BLOBS && g->kind < RCD__BLOBS + RCD__BLOB_SIZES)
        b = &s->blobs[g->kind - RCD__BLOBS];
    return b != NULL && g->item == b->item && g->count == 1u << b->shift ? b : NULL;
}

/* How much of the file counts; false: it does not know, or not so much is there. */
static bool length_of(const rcd_sessions *s, size_t size, size_t *ret)
{
    uint64_t pages = 0;
    *ret = size;
    if (!rcd__size_read(s->file.fd, &pages) || pages > size / PAGE)
        return false;
    *ret = (size_t)pages * PAGE; /* a death while the file grew leaves more */
    return true;
}

static bool adopt(rcd_sessions *s, size_t *at, size_t size)
{
    struct rcd__segment g;
    if (*at + sizeof g > size || pread(s->file.fd, &g, sizeof g, (off_t)*at) != (ssize_t)sizeof g)
        return false;
    struct rcd__slab *b = slab_of(s, &g);
    if (g.magic != RCD__SEGMENT_MAGIC || g.sum != rcd__segment_sum(&g) || b == NULL ||
        g.bytes > size - *at || !rcd__slab_adopt(b, *at, (size_t)g.bytes))
        return false;
    *at = s->file.size += (size_t)g.bytes;
    return true;
}

/* Returns whether all of the file was understood: nothing can stand behind what was not. */
static bool adopt_segments(rcd_sessions *s, size_t size)
{
    size_t at = s->file.size = PAGE; /* what is understood so far */
    bool whole = length_of(s, size, &size);
    while (at < size && adopt(s, &at, size))
        ;
    return whole && at == size;
}

/* ---- the whole ------------------------------------------------------------------------------------- */

static rcd_status set_aside(rcd_sessions *s, const char *why, struct rcd_error *err)
{
    char name[4300];
    close(s->file.fd);
    s->file.fd = -1;
    if (!rcd__file_aside(s, s->live, "aside", name, sizeof name))
        return io_error(s, "cannot be kept aside", err);
    rcd__store_say(s, LOG_ERR, "%s %s: it is kept aside as %s, and no session of it is served",
                   s->live, why, name);
    return make_file(s, err);
}

static rcd_status take_over(rcd_sessions *s, size_t size, struct rcd_error *err)
{
    struct rcd__head h = {.magic = 0}, mine = rcd__head_of(s);
    struct rcd__taken c = {.good = 0};
    if (!rcd__head_read(s->file.fd, &h) || size < PAGE)
        return set_aside(s, "is damaged at its head", err);
    if (h.layout != mine.layout || h.row_bytes != mine.row_bytes)
        return set_aside(s, "holds states of another shape", err);
    if (h.fingerprint != mine.fingerprint && !s->opts.carry)
        return set_aside(s, "is of another model file (sessions.reload is not \"carry\")", err);
    bool whole = adopt_segments(s, size);
    if (!whole)
        rcd__keep_damaged(s, &c.aside);
    rcd_status st = rcd__take_items(s, &c, err);
    if (st != RCD_OK)
        return st;
    if (h.fingerprint != mine.fingerprint)
        rcd__head_write(s);
    uint64_t length = rcd__size_word(s->file.size);
    if (!whole && pwrite(s->file.fd, &length, sizeof length, RCD__SIZE_AT) != sizeof length)
        return io_error(s, "cannot be written", err);
    if (size > s->file.size && ftruncate(s->file.fd, (off_t)s->file.size) != 0)
        return io_error(s, "cannot be cut", err);
    rcd__store_say(s, LOG_NOTICE,
                   "model '%s': %zu sessions taken over from %s, %zu of them damaged", s->model,
                   c.good + c.bad, s->live, c.bad);
    return RCD_OK;
}

static rcd_status open_file(rcd_sessions *s, struct rcd_error *err)
{
    struct stat about;
    s->file.fd = open(s->live, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (s->file.fd < 0 && errno == ENOENT)
        return make_file(s, err);
    if (s->file.fd < 0 || fstat(s->file.fd, &about) != 0)
        return io_error(s, "cannot be opened", err);
    if (!S_ISREG(about.st_mode))
        return rcd_fail(err, RCD_EIO, "%s is not a regular file", s->live);
    return take_over(s, (size_t)about.st_size, err);
}

rcd_status rcd__recover(rcd_sessions *s, struct rcd_error *err)
{
    rcd_status st = rcd__place_open(s, err);
    if (st == RCD_OK)
        st = open_file(s, err);
    if (st == RCD_OK && !rcd__head_stamp(s))
        return io_error(s, "cannot be written", err);
    return st;
}
