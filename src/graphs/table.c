/* table.c - the newest version of every graph by name, and the files that outlive the process. */
#include "graphs_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

static const char suffix[] = ".graph";

struct rcd_graphs {
    struct rcd_graphs_opts opts;
    int dir; /* -1: none */
    size_t n, cap, bytes;
    rcd_graph **list; /* by name */
};

/* ---- the table ---------------------------------------------------------------------------------- */

/* Where the name is, or where it belongs. */
static bool seek(const rcd_graphs *t, const char *name, size_t *ret)
{
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        int order = strcmp(t->list[mid]->name, name);
        if (order == 0) {
            *ret = mid;
            return true;
        }
        if (order < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    *ret = lo;
    return false;
}

rcd_graph *rcd_graphs_find(const rcd_graphs *t, const char *name)
{
    size_t at = 0;
    return seek(t, name, &at) ? t->list[at] : NULL;
}

rcd_graph *rcd_graphs_at(const rcd_graphs *t, size_t i)
{
    return i < t->n ? t->list[i] : NULL;
}

size_t rcd_graphs_count(const rcd_graphs *t)
{
    return t->n;
}

size_t rcd_graphs_bytes(const rcd_graphs *t)
{
    return t->bytes;
}

rcd_status rcd_graphs_room(const rcd_graphs *t, const rcd_graph *g, struct rcd_error *err)
{
    const rcd_graph *old = rcd_graphs_find(t, g->name);
    size_t others = t->bytes - (old != NULL ? old->bytes : 0);
    if (old == NULL && t->n >= t->opts.max_graphs)
        return rcd_fail(err, RCD_EUNAVAILABLE, "there are %zu graphs already, as many as may be",
                        t->n);
    if (g->bytes > t->opts.max_bytes || others > t->opts.max_bytes - g->bytes)
        return rcd_fail(err, RCD_EUNAVAILABLE,
                        "graph '%s' takes %zu bytes; with the others that is more than the %zu "
                        "bytes for graphs",
                        g->name, g->bytes, t->opts.max_bytes);
    return RCD_OK;
}

rcd_status rcd_graphs_set(rcd_graphs *t, rcd_graph *g, struct rcd_error *err)
{
    size_t at = 0;
    if (seek(t, g->name, &at)) {
        t->bytes -= t->list[at]->bytes;
        rcd_graph_unref(t->list[at]);
    } else {
        if (t->n == t->cap) {
            size_t cap = 2 * t->cap + 16;
            rcd_graph **more = rcd_realloc(t->list, cap * sizeof(void *));
            if (more == NULL)
                return rcd_fail(err, RCD_ENOMEM, "no memory for another graph");
            t->list = more;
            t->cap = cap;
        }
        memmove(t->list + at + 1, t->list + at, (t->n - at) * sizeof(void *));
        t->n++;
    }
    t->list[at] = rcd_graph_ref(g);
    t->bytes += g->bytes;
    return RCD_OK;
}

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
    if (st != RCD_OK && fd >= 0)
        (void)unlinkat(t->dir, aside, 0);
    rcd_buf_done(&b);
    return st;
}

bool rcd_graphs_drop(rcd_graphs *t, const char *name)
{
    size_t at = 0;
    if (!seek(t, name, &at))
        return false;
    char file[RCD_GRAPH_NAME_MAX + 32];
    file_name(name, suffix, file);
    t->bytes -= t->list[at]->bytes;
    rcd_graph_unref(t->list[at]);
    memmove(t->list + at, t->list + at + 1, (t->n - at - 1) * sizeof(void *));
    t->n--;
    if (t->dir >= 0) {
        (void)unlinkat(t->dir, file, 0);
        (void)fsync(t->dir);
    }
    return true;
}

static void say(const rcd_graphs *t, int priority, const char *fmt, const char *a, const char *b)
{
    char text[1024];
    snprintf(text, sizeof text, fmt, a, b);
    if (t->opts.log != NULL)
        t->opts.log(t->opts.log_ctx, priority, text);
}

static rcd_status read_file(const rcd_graphs *t, const char *file, rcd_graph **ret,
                            struct rcd_error *err)
{
    struct stat is;
    int fd = openat(t->dir, file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || fstat(fd, &is) != 0 || !S_ISREG(is.st_mode)) {
        if (fd >= 0)
            close(fd);
        return rcd_fail(err, RCD_EIO, "%s cannot be opened", file);
    }
    char *data = rcd_alloc((size_t)is.st_size + 1);
    size_t len = 0;
    while (data != NULL && len < (size_t)is.st_size) {
        ssize_t k = read(fd, data + len, (size_t)is.st_size - len);
        if (k <= 0)
            break;
        len += (size_t)k;
    }
    close(fd);
    rcd_status st = data == NULL ? rcd_fail(err, RCD_ENOMEM, "no memory for %s", file)
                                 : rcd_graph_load(data, len, ret, err);
    rcd_free(data);
    return st;
}

/* A file that cannot be used is kept under another name, so that it is neither lost nor in the way. */
static rcd_status take_file(rcd_graphs *t, const char *file, struct rcd_error *err)
{
    rcd_graph *g = NULL;
    char wanted[RCD_GRAPH_NAME_MAX + 32] = "", other[400];
    rcd_status st = read_file(t, file, &g, err);
    if (st == RCD_OK) {
        file_name(g->name, suffix, wanted);
        st = strcmp(wanted, file) == 0
                 ? rcd_graphs_set(t, g, err)
                 : rcd_fail(err, RCD_EINVAL, "the file holds graph '%s'", g->name);
        rcd_graph_unref(g);
    }
    if (st == RCD_OK || st == RCD_ENOMEM)
        return st;
    snprintf(other, sizeof other, "%s.damaged-%llu", file, (unsigned long long)rcd_wall_ms());
    (void)renameat(t->dir, file, t->dir, other);
    say(t, LOG_ERR, "graph: %s; set aside as %s", err->text, other);
    return RCD_OK;
}

static rcd_status read_files(rcd_graphs *t, struct rcd_error *err)
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
        size_t len = strlen(e->d_name), end = sizeof suffix - 1;
        if (len > end && strcmp(e->d_name + len - end, suffix) == 0)
            st = take_file(t, e->d_name, err);
    }
    closedir(d);
    return st;
}

rcd_status rcd_graphs_new(const struct rcd_graphs_opts *opts, rcd_graphs **ret,
                          struct rcd_error *err)
{
    rcd_graphs *t = rcd_calloc(1, sizeof *t);
    if (t == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for graphs");
    t->opts = *opts;
    t->dir = -1;
    rcd_status st = RCD_OK;
    if (opts->dir != NULL) {
        if (mkdir(opts->dir, 0700) != 0 && errno != EEXIST)
            st = rcd_fail(err, RCD_EIO, "graphs: %s: %s", opts->dir, strerror(errno));
        else if ((t->dir = open(opts->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)) < 0)
            st = rcd_fail(err, RCD_EIO, "graphs: %s: %s", opts->dir, strerror(errno));
        if (st == RCD_OK)
            st = read_files(t, err);
    }
    t->opts.dir = NULL;
    if (st == RCD_OK)
        *ret = t;
    else
        rcd_graphs_free(t);
    return st;
}

rcd_graphs *rcd_graphs_free(rcd_graphs *t)
{
    if (t == NULL)
        return NULL;
    for (size_t i = 0; i < t->n; i++)
        rcd_graph_unref(t->list[i]);
    if (t->dir >= 0)
        close(t->dir);
    rcd_free(t->list);
    rcd_free(t);
    return NULL;
}
