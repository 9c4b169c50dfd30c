/* place.c - where the file of durability `process` is: in the state directory, or in a runtime directory
 * (memory that outlives the process) with a copy in the state directory while nobody serves.
 *
 * What must hold, whenever the process dies: a copy in the state directory is as new as the file in the
 * runtime directory or newer. So the copy goes, on disk too, before the runtime file serves; and it is made
 * by an orderly end, whole before it has its name, when nothing changes any more. Each time a file begins
 * to serve it gets a new stamp: a copy with the stamp of the runtime file is the same, one with another was
 * served since, by a server without this runtime directory. */
#include "sessions_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

enum { COPY_BYTES = 1 << 18, PATH_BYTES = 4300 };

/* ---- files ---------------------------------------------------------------------------------------- */

/* The folder knows on disk what was made, renamed or removed in it. */
int rcd__folder_sync(const char *path)
{
    char folder[PATH_BYTES];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(path, '/') - path), path);
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = fd >= 0 ? fsync(fd) : -1;
    if (fd >= 0)
        close(fd);
    return rc;
}

static bool copy_bytes(int from, int to)
{
    char *block = rcd_alloc(COPY_BYTES);
    off_t at = 0;
    ssize_t n = block != NULL ? 1 : -1;
    while (n > 0 && (n = pread(from, block, COPY_BYTES, at)) > 0) {
        ssize_t put = pwrite(to, block, (size_t)n, at);
        if (put >= 0 && put < n)
            errno = ENOSPC;
        n = put < n ? -1 : n;
        at += n;
    }
    rcd_free(block);
    return n == 0;
}

bool rcd__file_copy(int from, const char *to)
{
    char name[PATH_BYTES];
    snprintf(name, sizeof name, "%s.new", to);
    int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool done = fd >= 0 && copy_bytes(from, fd) && fsync(fd) == 0;
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (done) {
        done = rename(name, to) == 0 && rcd__folder_sync(to) == 0;
        why = errno;
    }
    if (!done)
        (void)unlink(name);
    errno = why;
    return done;
}

void rcd__aside_name(const char *path, const char *how, char name[], size_t bytes)
{
    uint64_t ms = rcd_wall_ms();
    do
        snprintf(name, bytes, "%s.%s-%llu", path, how, (unsigned long long)ms++);
    while (access(name, F_OK) == 0);
}

bool rcd__file_aside(const rcd_sessions *s, const char *path, const char *how, char name[],
                     size_t bytes)
{
    /* where it stays, if there is such a place */
    rcd__aside_name(s->path != NULL ? s->path : path, how, name, bytes);
    if (rename(path, name) == 0)
        return true;
    int fd = errno == EXDEV ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    bool done = fd >= 0 && rcd__file_copy(fd, name) && unlink(path) == 0;
    if (fd >= 0)
        close(fd);
    return done;
}

/* ---- the beginning ---------------------------------------------------------------------------------- */

static rcd_status failed(const char *path, const char *what, struct rcd_error *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    return rcd_fail(err, full ? RCD_ENOSPC : RCD_EIO, "%s %s: %s", path, what, strerror(errno));
}

static rcd_status put_aside(const rcd_sessions *s, const char *path, const char *how,
                            const char *why, struct rcd_error *err)
{
    char name[PATH_BYTES];
    if (!rcd__file_aside(s, path, how, name, sizeof name))
        return failed(path, "cannot be kept aside", err);
    rcd__store_say(s, LOG_ERR, "%s %s: kept aside as %s", path, why, name);
    return RCD_OK;
}

static rcd_status drop_copy(const rcd_sessions *s, struct rcd_error *err)
{
    if (unlink(s->path) != 0 || rcd__folder_sync(s->path) != 0)
        return failed(s->path, "is a copy that must go, and cannot be removed", err);
    return RCD_OK;
}

/* From the state directory into the runtime directory; without room there it serves where it is. */
static rcd_status move_in(rcd_sessions *s, const char *runtime, struct rcd_error *err)
{
    int fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    bool done = fd >= 0 && rcd__file_copy(fd, runtime);
    int why = errno;
    if (fd >= 0)
        close(fd);
    if (done)
        return drop_copy(s, err);
    rcd__store_say(s, LOG_WARNING,
                   "model '%s': its sessions cannot be copied to %s (%s): they are served from %s",
                   s->model, runtime, strerror(why), s->path);
    s->live = s->path;
    return RCD_OK;
}

rcd_status rcd__place_open(rcd_sessions *s, struct rcd_error *err)
{
    char left[PATH_BYTES];
    const char *runtime = s->runtime_path;
    uint64_t mine = 0, theirs = 0;
    rcd_status st = RCD_OK;
    s->live = runtime != NULL ? runtime : s->path;
    if (runtime == NULL || s->path == NULL)
        return RCD_OK;
    snprintf(left, sizeof left, "%s.new", s->path); /* of a death in an orderly end */
    (void)unlink(left);
    enum rcd__peek here = rcd__file_peek(runtime, &mine);
    enum rcd__peek copy = rcd__file_peek(s->path, &theirs);
    if (copy == RCD__PEEK_NONE)
        return RCD_OK;
    if (copy == RCD__PEEK_DAMAGED)
        return put_aside(s, s->path, "damaged", "is damaged at its head", err);
    if (here == RCD__PEEK_GOOD && mine == theirs)
        return drop_copy(s, err);
    if (here == RCD__PEEK_DAMAGED)
        st = put_aside(s, runtime, "damaged", "is damaged at its head", err);
    else if (here == RCD__PEEK_GOOD)
        st = put_aside(s, runtime, "aside",
                       "is older than what was served from the state directory", err);
    return st == RCD_OK ? move_in(s, runtime, err) : st;
}

void rcd__keep_damaged(const rcd_sessions *s, bool *done)
{
    if (*done)
        return;
    *done = true;
    char name[4300];
    rcd__aside_name(s->path != NULL ? s->path : s->live, "damaged", name, sizeof name);
    if (rcd__file_copy(s->file.fd, name))
        rcd__store_say(s, LOG_ERR, "%s is damaged: kept aside as %s", s->live, name);
    else
        rcd__store_say(s, LOG_ERR, "%s is damaged, and cannot be kept aside as %s: %s", s->live,
                       name, strerror(errno));
}

/* ---- the end ------------------------------------------------------------------------------------------ */

void rcd__place_close(const rcd_sessions *s)
{
    if (s->file.fd < 0 || s->path == NULL || s->live == s->path)
        return;
    if (!rcd__file_copy(s->file.fd, s->path))
        rcd__store_say(
            s, LOG_ERR,
            "model '%s': its sessions cannot be copied to %s (%s): they are in %s, which "
            "is lost when the machine ends or its folder is removed",
            s->model, s->path, strerror(errno), s->live);
}
