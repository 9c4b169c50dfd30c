/* files.c - what of graphs outlives the process: for each a file with a version, and beside it the changes
 * that came after. A change is appended and synced, so that a change of one edge costs its own bytes;
 * when the changes have grown to a part of the file, a new file takes their place.
 *
 * The new file is renamed into place before the changes go, and a change that the file has already is
 * passed over, so a crash in between loses nothing. A torn change at the end was never answered for. */
#include "graphs_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

static const char suffix[] = ".graph", changes[] = ".changes";
static const size_t changes_min = 1 << 20; /* bytes that are kept whatever the file's size */

/* ---- files -------------------------------------------------------------------------------------- */

static void file_name(const char *name, const char *end, char ret[RCD_GRAPH_NAME_MAX + 32])
{
    snprintf(ret, RCD_GRAPH_NAME_MAX + 32, "%s%s", name, end);
}

static rcd_status io_failed(const char *what, const char *name, struct rcd_error *err)
{
    const int e = errno;
    bool full = e == ENOSPC || e == EDQUOT || e == EFBIG;
    return rcd_fail(err, full ? RCD_ENOSPC : RCD_EIO, "graph '%s' could not be kept: %s: %s", name,
                    what, strerror(e));
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t k = write(fd, p, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            return false;
        p += k;
        n -= (size_t)k;
    }
    return true;
}

rcd_status rcd_graphs_write(const rcd_graphs *t, const rcd_graph *g, struct rcd_error *err)
{
    if (t->dir < 0)
        return RCD_OK;
    char name[RCD_GRAPH_NAME_MAX + 32], aside[RCD_GRAPH_NAME_MAX + 32];
    file_name(g->name, suffix, name);
    file_name(g->name, ".new", aside);
    struct rcd_buf b;
    rcd_buf_init(&b, SIZE_MAX / 2);
    if (rcd_graph_save(g, &b) != RCD_OK) {
        rcd_buf_done(&b);
        return rcd_fail(err, RCD_ENOMEM, "no memory to keep graph '%s'", g->name);
    }
    rcd_status st = RCD_OK;
    int fd = openat(t->dir, aside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        st = io_failed("open", g->name, err);
    else if (!write_all(fd, b.data, b.len))
        st = io_failed("write", g->name, err);
    else if (fsync(fd) != 0)
        st = io_failed("sync", g->name, err);
    if (fd >= 0 && close(fd) != 0 && st == RCD_OK)
        st = io_failed("close", g->name, err);
    if (st == RCD_OK && renameat(t->dir, aside, t->dir, name) != 0)
        st = io_failed("rename", g->name, err);
    if (st == RCD_OK && fsync(t->dir) != 0)
        st = io_failed("sync", g->name, err);
    if (st == RCD_OK) { /* the file has them all */
        file_name(g->name, changes, name);
        (void)unlinkat(t->dir, name, 0);
    }
    if (st != RCD_OK && fd >= 0)
        (void)unlinkat(t->dir, aside, 0);
    rcd_buf_done(&b);
    return st;
}

/* How many bytes a file has; 0: there is none. */
static size_t size_of(const rcd_graphs *t, const char *file)
{
    struct stat is;
    return fstatat(t->dir, file, &is, AT_SYMLINK_NOFOLLOW) == 0 ? (size_t)is.st_size : 0;
}

rcd_status rcd_graphs_append(const rcd_graphs *t, const rcd_graph *g,
                             const struct rcd_graph_parts *parts, struct rcd_error *err)
{
    char file[RCD_GRAPH_NAME_MAX + 32], name[RCD_GRAPH_NAME_MAX + 32];
    if (t->dir < 0)
        return RCD_OK;
    file_name(g->name, suffix, file);
    file_name(g->name, changes, name);
    const size_t whole = size_of(t, file), before = size_of(t, name);
    struct rcd_buf b;
    rcd_buf_init(&b, SIZE_MAX / 2);
    if (rcd__change_save(g, parts, &b) != RCD_OK) {
        rcd_buf_done(&b);
        return rcd_fail(err, RCD_ENOMEM, "no memory to keep graph '%s'", g->name);
    }
    const size_t most = whole / 2 > changes_min ? whole / 2 : changes_min;
    if (whole == 0 || before + b.len > most) {
        rcd_buf_done(&b);
        return rcd_graphs_write(t, g, err);
    }
    rcd_status st = RCD_OK;
    int fd = openat(t->dir, name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        st = io_failed("open", g->name, err);
    else if (!write_all(fd, b.data, b.len))
        st = io_failed("write", g->name, err);
    else if (fdatasync(fd) != 0 || (before == 0 && fsync(t->dir) != 0))
        st = io_failed("sync", g->name, err);
    if (st != RCD_OK && fd >= 0 && ftruncate(fd, (off_t)before) != 0)
        rcd_error_prefix(err, st, "and what was written could not be taken back: ");
    if (fd >= 0)
        close(fd);
    rcd_buf_done(&b);
    return st;
}

void rcd__files_drop(const rcd_graphs *t, const char *name)
{
    char file[RCD_GRAPH_NAME_MAX + 32];
    if (t->dir < 0)
        return;
    file_name(name, suffix, file); /* first: changes alone mean nothing */
    (void)unlinkat(t->dir, file, 0);
    (void)fsync(t->dir);
    file_name(name, changes, file);
    (void)unlinkat(t->dir, file, 0);
}

/* ---- back --------------------------------------------------------------------------------------------- */

static void say(const rcd_graphs *t, int priority, const char *fmt, const char *a, const char *b)
{
    char text[1024];
    snprintf(text, sizeof text, fmt, a, b);
    if (t->opts.log != NULL)
        t->opts.log(t->opts.log_ctx, priority, text);
}

/* RCD_EIO, RCD_ENOMEM. */
static rcd_status read_bytes(const rcd_graphs *t, const char *file, char **ret, size_t *ret_len,
                             struct rcd_error *err)
{
    struct stat is;
    int fd = openat(t->dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &is) != 0 || !S_ISREG(is.st_mode)) {
        rcd_status st = rcd_fail(err, RCD_EIO, "%s cannot be opened: %s", file,
                                 fd < 0 ? strerror(errno) : "it is no file");
        if (fd >= 0)
            close(fd);
        return st;
    }
    *ret = rcd_alloc((size_t)is.st_size + 1);
    *ret_len = 0;
    ssize_t k = 1;
    while (*ret != NULL && *ret_len < (size_t)is.st_size && k != 0) {
        k = read(fd, *ret + *ret_len, (size_t)is.st_size - *ret_len);
        if (k < 0 && errno != EINTR)
            break;
        *ret_len += k > 0 ? (size_t)k : 0;
    }
    const int e = errno;
    close(fd);
    if (*ret == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %s of %lld bytes", file,
                        (long long)is.st_size);
    return k >= 0 ? RCD_OK : rcd_fail(err, RCD_EIO, "%s cannot be read: %s", file, strerror(e));
}

static rcd_status read_file(const rcd_graphs *t, const char *file, rcd_graph **ret,
                            struct rcd_error *err)
{
    char *data = NULL;
    size_t len = 0;
    rcd_status st = read_bytes(t, file, &data, &len, err);
    if (st == RCD_OK)
        st = rcd_graph_load(data, len, ret, err);
    rcd_free(data);
    return st;
}

static void set_aside(const rcd_graphs *t, const char *file, const struct rcd_error *why)
{
    char other[400];
    snprintf(other, sizeof other, "%s.damaged-%llu", file, (unsigned long long)rcd_wall_ms());
    if (renameat(t->dir, file, t->dir, other) == 0)
        say(t, LOG_ERR, "graph: %s; set aside as %s", why->text, other);
    else
        say(t, LOG_ERR, "graph: %s; %s could not be set aside and is left", why->text, file);
}

static bool truncateat(const rcd_graphs *t, const char *file, size_t len)
{
    int fd = openat(t->dir, file, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    const bool ok = fd >= 0 && ftruncate(fd, (off_t)len) == 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* Changes that came after the file. What follows a damaged one cannot be used: the file is written anew
 * as far as they led. */
static rcd_status replay(const rcd_graphs *t, rcd_graph **g, struct rcd_error *err)
{
    char name[RCD_GRAPH_NAME_MAX + 32], *data = NULL;
    size_t len = 0, at = 0;
    file_name((*g)->name, changes, name);
    if (size_of(t, name) == 0)
        return RCD_OK;
    rcd_status st = read_bytes(t, name, &data, &len, err);
    while (st == RCD_OK && at < len) {
        const size_t bytes = rcd__change_bytes(data + at, len - at);
        rcd_graph *next = NULL;
        if (bytes > len - at) {
            say(t, LOG_WARNING, "graph '%s': the last change in %s is torn and was left out",
                (*g)->name, name);
            if (truncateat(t, name, at))
                break;
            st = rcd_fail(err, RCD_EIO, "%s: %s", name, strerror(errno));
        } else {
            st = rcd__change_load(data + at, bytes, *g, &next, err);
        }
        if (st != RCD_OK)
            break;
        rcd_graph_unref(*g);
        *g = next;
        at += bytes;
    }
    rcd_free(data);
    if (st == RCD_OK || st == RCD_ENOMEM)
        return st;
    set_aside(t, name, err);
    return rcd_graphs_write(t, *g, err);
}

/* A file that cannot be used is kept under another name, so that it is neither lost nor in the way. */
static rcd_status take_file(rcd_graphs *t, const char *file, struct rcd_error *err)
{
    rcd_graph *g = NULL;
    char wanted[RCD_GRAPH_NAME_MAX + 32] = "";
    rcd_status st = read_file(t, file, &g, err);
    if (st == RCD_OK) {
        file_name(g->name, suffix, wanted);
        st = strcmp(wanted, file) == 0
                 ? replay(t, &g, err)
                 : rcd_fail(err, RCD_EINVAL, "the file holds graph '%s'", g->name);
    }
    if (st == RCD_OK)
        st = rcd_graphs_set(t, g, err);
    rcd_graph_unref(g);
    if (st == RCD_OK || st == RCD_ENOMEM)
        return st;
    set_aside(t, file, err);
    return RCD_OK;
}

static bool ends_in(const char *file, const char *end, size_t *ret_stem)
{
    const size_t len = strlen(file), n = strlen(end);
    *ret_stem = len > n ? len - n : 0;
    return *ret_stem > 0 && strcmp(file + *ret_stem, end) == 0;
}

/* Changes of a graph that is not there, because the process ended while it was deleted or its file is damaged, would be taken
 * for those of the next graph of that name. */
static void set_orphans_aside(const rcd_graphs *t, DIR *d)
{
    rewinddir(d);
    for (struct dirent *e = NULL; (e = readdir(d)) != NULL;) {
        char file[RCD_GRAPH_NAME_MAX + 32];
        struct rcd_error why;
        size_t stem = 0;
        if (!ends_in(e->d_name, changes, &stem) || stem > RCD_GRAPH_NAME_MAX)
            continue;
        snprintf(file, sizeof file, "%.*s%s", (int)stem, e->d_name, suffix);
        if (size_of(t, file) > 0)
            continue;
        (void)rcd_fail(&why, RCD_EIO, "%s: the graph of these changes is not here", e->d_name);
        set_aside(t, e->d_name, &why);
    }
}

rcd_status rcd__files_read(rcd_graphs *t, struct rcd_error *err)
{
    int again = dup(t->dir);
    DIR *d = again >= 0 ? fdopendir(again) : NULL;
    if (d == NULL) {
        if (again >= 0)
            close(again);
        return rcd_fail(err, RCD_EIO, "graphs: %s: %s", t->opts.dir, strerror(errno));
    }
    rcd_status st = RCD_OK;
    for (struct dirent *e = NULL; st == RCD_OK && (e = readdir(d)) != NULL;) {
        size_t stem = 0;
        if (ends_in(e->d_name, suffix, &stem))
            st = take_file(t, e->d_name, err);
    }
    if (st == RCD_OK)
        set_orphans_aside(t, d);
    closedir(d);
    return st;
}
