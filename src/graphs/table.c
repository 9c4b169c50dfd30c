/* table.c - the newest version of every graph by name. */
#include "graphs_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

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

bool rcd_graphs_drop(rcd_graphs *t, const char *name)
{
    size_t at = 0;
    if (!seek(t, name, &at))
        return false;
    rcd__files_drop(t, name); /* first: the name may be the graph's own */
    t->bytes -= t->list[at]->bytes;
    rcd_graph_unref(t->list[at]);
    memmove(t->list + at, t->list + at + 1, (t->n - at - 1) * sizeof(void *));
    t->n--;
    return true;
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
            st = rcd__files_read(t, err);
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
