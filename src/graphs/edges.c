/* edges.c - the edges of the next version: those of the old one that stay, in their order, then the added
 * ones, each followed by its mirror image where the graph is undirected. */
#include "patch.h"

#include <stdlib.h>
#include <string.h>

struct added {   /* a new edge */
    size_t from; /* column of the change */
    int64_t ends[2];
};

struct edge_list {
    char type[RCD_GRAPH_NAME_MAX + 1];
    const struct rcd_tensor *old, *add; /* edge_index; NULL: none */
    int64_t *add_ends[2];               /* as indices */
    int64_t *removed;                   /* pairs in order */
    size_t n_removed;
    bool *hit;
    int64_t *gone; /* positions in the old list, ascending */
    size_t n_gone;
    struct added *list;
    size_t n_list;
    bool renumbered;
};

static void list_done(struct edge_list *l)
{
    rcd_free(l->add_ends[0]);
    rcd_free(l->add_ends[1]);
    rcd_free(l->removed);
    rcd_free(l->hit);
    rcd_free(l->gone);
    rcd_free(l->list);
}

static size_t n_old_edges(const struct edge_list *l)
{
    return l->old != NULL ? (size_t)l->old->dims[1] : 0;
}

static size_t n_new_edges(const struct edge_list *l)
{
    return n_old_edges(l) - l->n_gone + l->n_list;
}

/* Row `row` of an edge_index that a client gave, as indices. */
static rcd_status ends_of(const struct change *c, const char *type, const struct rcd_tensor *t,
                          int row, const char *what, int64_t **ret, struct rcd_error *err)
{
    char ends[2][RCD_GRAPH_NAME_MAX + 1];
    rcd__ends(type, ends);
    bool plain = t->dtype == RCD_I64 || t->dtype == RCD_I32;
    if (t->rank != 2 || t->dims[0] != 2 || (!plain && t->dtype != RCD_BYTES)) {
        char shape[128];
        return rcd_fail(err, RCD_EINVAL, "'%s' is %s %s, want INT64 or BYTES [2,edges]", what,
                        rcd_dtype_name(t->dtype),
                        rcd_shape_text(shape, sizeof shape, t->rank, t->dims));
    }
    const size_t n = (size_t)t->dims[1];
    *ret = rcd_alloc((n + 1) * sizeof **ret);
    if (*ret == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu edges", n);
    struct rcd_tensor one = {.dtype = t->dtype, .rank = 1, .dims = {(int64_t)n}, .n = n};
    one.data = (char *)t->data + (size_t)row * n * rcd_dtype_size(t->dtype);
    if (t->dtype == RCD_BYTES) {
        rcd_status st = rcd_graph_find(c->nodes, ends[row], &one, *ret, err);
        for (size_t e = 0; st != RCD_OK && e < n; e++) { /* the first that is not there: where */
            one.n = 1;
            one.dims[0] = 1;
            one.data = (char *)t->data + ((size_t)row * n + e) * rcd_dtype_size(t->dtype);
            if (rcd_graph_find(c->nodes, ends[row], &one, *ret, err) != RCD_OK)
                return rcd_error_prefix(err, st, "%s[%d][%zu]: ", what, row, e);
        }
        return st;
    }
    for (size_t e = 0; e < n; e++)
        (*ret)[e] =
            t->dtype == RCD_I64 ? ((const int64_t *)one.data)[e] : ((const int32_t *)one.data)[e];
    return RCD_OK;
}

static int by_pair(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    if (x[0] != y[0])
        return x[0] < y[0] ? -1 : 1;
    return x[1] < y[1] ? -1 : x[1] > y[1];
}

static rcd_status read_removed(const struct change *c, struct edge_list *l, struct rcd_error *err)
{
    const struct rcd_tensor *t = rcd__part_of(c, "remove", l->type, "edge_index");
    int64_t *ends[2] = {NULL, NULL};
    if (t == NULL)
        return RCD_OK;
    char name[RCD__NAME_IN_TYPE], what[RCD__NAME_IN_TYPE + 8];
    rcd__name_in_type(l->type, "edge_index", name);
    snprintf(what, sizeof what, "remove.%s", name);
    rcd_status st = ends_of(c, l->type, t, 0, what, &ends[0], err);
    if (st == RCD_OK)
        st = ends_of(c, l->type, t, 1, what, &ends[1], err);
    if (st == RCD_OK) {
        l->n_removed = (size_t)t->dims[1];
        l->removed = rcd_alloc((2 * l->n_removed + 1) * sizeof *l->removed);
        l->hit = rcd_calloc(l->n_removed + 1, sizeof *l->hit);
        if (l->removed == NULL || l->hit == NULL)
            st = rcd_fail(err, RCD_ENOMEM, "no memory for a change");
    }
    for (size_t i = 0; st == RCD_OK && i < l->n_removed; i++) {
        l->removed[2 * i] = ends[0][i];
        l->removed[2 * i + 1] = ends[1][i];
    }
    if (st == RCD_OK)
        qsort(l->removed, l->n_removed, 2 * sizeof *l->removed, by_pair);
    rcd_free(ends[0]);
    rcd_free(ends[1]);
    return st;
}

static bool is_removed(struct edge_list *l, int64_t a, int64_t b)
{
    const int64_t pair[2] = {a, b};
    if (l->n_removed == 0)
        return false;
    int64_t *at = bsearch(pair, l->removed, l->n_removed, sizeof pair, by_pair);
    if (at == NULL)
        return false;
    while (at > l->removed && by_pair(at - 2, pair) == 0)
        at -= 2;
    for (; at < l->removed + 2 * l->n_removed && by_pair(at, pair) == 0; at += 2)
        l->hit[(size_t)(at - l->removed) / 2] = true;
    return true;
}

static rcd_status all_hit(const struct change *c, const struct edge_list *l, struct rcd_error *err)
{
    for (size_t i = 0; i < l->n_removed; i++) {
        if (!l->hit[i])
            return rcd_fail(err, RCD_EINVAL, "graph '%s' has no edge%s%s from %lld to %lld",
                            c->old->name, l->type[0] != '\0' ? " " : "", l->type,
                            (long long)l->removed[2 * i], (long long)l->removed[2 * i + 1]);
    }
    return RCD_OK;
}

/* ---- which go, which come -------------------------------------------------------------------------- */

enum { FILTER_BITS = 1 << 16 };

/* Where an edge that goes may start: most edges are passed over by one look. */
static void filter_put(uint64_t *filter, int64_t node)
{
    const size_t bit = (size_t)node % FILTER_BITS;
    filter[bit / 64] |= UINT64_C(1) << (bit % 64);
}

static bool filter_has(const uint64_t *filter, int64_t node)
{
    const size_t bit = (size_t)node % FILTER_BITS;
    return (filter[bit / 64] >> (bit % 64) & 1) != 0;
}

static bool goes(struct edge_list *l, int64_t from, int64_t to, int64_t *const map[2],
                 const int64_t n[2], bool both)
{
    bool gone = is_removed(l, from, to);
    gone = (both && is_removed(l, to, from)) || gone; /* both are hit */
    return gone || (map[0] != NULL && from < n[0] && map[0][from] < 0) ||
           (map[1] != NULL && to < n[1] && map[1][to] < 0);
}

static rcd_status find_gone(const struct change *c, struct edge_list *l, int64_t *const map[2],
                            const int64_t n[2], struct rcd_error *err)
{
    const size_t n_old = n_old_edges(l);
    const bool both = c->g->undirected, all = map[0] != NULL || map[1] != NULL;
    l->renumbered = all;
    if (l->n_removed == 0 && !all)
        return RCD_OK;
    uint64_t *filter = rcd_calloc(FILTER_BITS / 64, sizeof *filter);
    size_t cap = 64;
    l->gone = rcd_alloc(cap * sizeof *l->gone);
    bool room = filter != NULL && l->gone != NULL;
    for (size_t i = 0; room && i < 2 * l->n_removed; i++) {
        if (i % 2 == 0 || both)
            filter_put(filter, l->removed[i]);
    }
    const int64_t *ends = l->old != NULL ? l->old->data : NULL;
    for (size_t e = 0; room && e < n_old; e++) {
        if ((!all && !filter_has(filter, ends[e])) ||
            !goes(l, ends[e], ends[n_old + e], map, n, both))
            continue;
        if (l->n_gone == cap) {
            int64_t *more = rcd_realloc(l->gone, 2 * cap * sizeof *more);
            room = more != NULL;
            l->gone = room ? more : l->gone;
            cap *= 2;
        }
        if (room)
            l->gone[l->n_gone++] = (int64_t)e;
    }
    rcd_free(filter);
    return room ? all_hit(c, l, err) : rcd_fail(err, RCD_ENOMEM, "no memory for a change");
}

/* An added edge in the new numbering, unless one of its ends goes. */
static void put(struct edge_list *l, size_t from, int64_t a, int64_t b, int64_t *const map[2],
                const int64_t n[2])
{
    struct added e = {from, {a, b}};
    for (int i = 0; i < 2; i++) {
        if (map[i] == NULL || e.ends[i] < 0 || e.ends[i] >= n[i])
            continue;
        e.ends[i] = map[i][e.ends[i]];
        if (e.ends[i] < 0)
            return;
    }
    l->list[l->n_list++] = e;
}

/* Every added edge ends in a node, and who sent it is told which one does not. */
static rcd_status check_added(const struct change *c, const struct edge_list *l, const char *name,
                              const int64_t n[2], struct rcd_error *err)
{
    char ends[2][RCD_GRAPH_NAME_MAX + 1];
    rcd__ends(l->type, ends);
    for (int r = 0; l->add != NULL && r < 2; r++) {
        const bool plain = ends[r][0] == '\0';
        const int64_t most =
            n[r] < 0 && plain ? c->g->nodes_told : n[r]; /* -1: as many as edges say */
        for (size_t e = 0; e < (size_t)l->add->dims[1]; e++) {
            const int64_t v = l->add_ends[r][e];
            if (v >= 0 && (most < 0 || v < most))
                continue;
            char nodes[48] = "nodes count from 0";
            if (v >= 0)
                snprintf(nodes, sizeof nodes, "there are %lld nodes", (long long)most);
            return rcd_fail(err, RCD_EINVAL, "%s%s[%d][%zu] is %lld, but %s%s%s",
                            c->first ? "" : "add.", name, r, e, (long long)v, nodes,
                            plain ? "" : " of type ", ends[r]);
        }
    }
    return RCD_OK;
}

static rcd_status list_added(const struct change *c, struct edge_list *l, int64_t *const map[2],
                             const int64_t n[2], struct rcd_error *err)
{
    const size_t n_add = l->add != NULL ? (size_t)l->add->dims[1] : 0;
    const bool both = c->g->undirected;
    l->list = rcd_alloc((2 * n_add + 1) * sizeof *l->list);
    if (l->list == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a change");
    for (size_t e = 0; e < n_add; e++) {
        const int64_t a = l->add_ends[0][e], b = l->add_ends[1][e];
        put(l, e, a, b, map, n);
        if (both && a != b)
            put(l, e, b, a, map, n);
    }
    return RCD_OK;
}

/* ---- the next version's tensors ---------------------------------------------------------------------- */

/* Rows of the old list that stay, run by run. */
static void copy_kept(const struct edge_list *l, char *to, const char *from, size_t row)
{
    size_t at = 0;
    for (size_t i = 0; i <= l->n_gone; i++) {
        const size_t end = i < l->n_gone ? (size_t)l->gone[i] : n_old_edges(l);
        if (end > at && row > 0)
            memcpy(to, from + at * row, (end - at) * row);
        to += (end - at) * row;
        at = end + 1;
    }
}

static rcd_status put_index(const struct change *c, const struct edge_list *l, const char *name,
                            int64_t *const map[2], struct rcd_error *err)
{
    const size_t n_old = n_old_edges(l), kept = n_old - l->n_gone, n = n_new_edges(l);
    const int64_t dims[2] = {2, (int64_t)n};
    struct rcd_tensor *to = NULL;
    rcd_status st = rcd__graph_add(c->g, name, RCD_I64, 2, dims, 0, &to, err);
    for (size_t r = 0; st == RCD_OK && r < 2; r++) {
        int64_t *out = (int64_t *)to->data + r * n;
        if (l->old != NULL)
            copy_kept(l, (char *)out, (const char *)((const int64_t *)l->old->data + r * n_old),
                      sizeof *out);
        for (size_t e = 0; map[r] != NULL && e < kept; e++)
            out[e] = map[r][out[e]];
        for (size_t e = 0; e < l->n_list; e++)
            out[kept + e] = l->list[e].ends[r];
    }
    return st;
}

static rcd_status put_rows(const struct change *c, const struct edge_list *l, const char *name,
                           const struct rcd_tensor *old, const struct rcd_tensor *add,
                           struct rcd_error *err)
{
    const struct rcd_tensor *like = old != NULL ? old : add;
    char got[96], want[96];
    if (like->rank < 1 || like->dtype == RCD_BYTES)
        return rcd_fail(err, RCD_EINVAL, "'%s' is %s %s, want a row of numbers for every edge",
                        name, rcd_dtype_name(like->dtype),
                        rcd_shape_text(got, sizeof got, like->rank, like->dims));
    if (add == NULL && l->add != NULL)
        return rcd_fail(err, RCD_EINVAL, "'add.%s' is missing: the edges have one", name);
    if (add != NULL && (l->add == NULL || (old == NULL && l->old != NULL)))
        return rcd_fail(err, RCD_EINVAL, "'add.%s' is for edges that %s", name,
                        l->add == NULL ? "are not added" : "have none of it so far");
    int64_t rows[RCD_MAX_RANK];
    memcpy(rows, like->dims, sizeof rows);
    rows[0] = l->add != NULL ? l->add->dims[1] : 0;
    if (add != NULL && (add->dtype != like->dtype || add->rank != like->rank ||
                        memcmp(add->dims, rows, (size_t)add->rank * sizeof *rows) != 0))
        return rcd_fail(err, RCD_EINVAL, "'%s%s' is %s %s, want %s %s: a row for every edge",
                        c->first ? "" : "add.", name, rcd_dtype_name(add->dtype),
                        rcd_shape_text(got, sizeof got, add->rank, add->dims),
                        rcd_dtype_name(like->dtype),
                        rcd_shape_text(want, sizeof want, like->rank, rows));
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, like->dims, sizeof dims);
    dims[0] = (int64_t)n_new_edges(l);
    size_t row = 1;
    for (int d = 1; d < like->rank; d++)
        row *= (size_t)like->dims[d];
    struct rcd_tensor *to = NULL;
    rcd_status st = rcd__graph_add(c->g, name, like->dtype, like->rank, dims, 0, &to, err);
    if (st == RCD_OK && old != NULL)
        copy_kept(l, to->data, old->data, row * rcd_dtype_size(like->dtype));
    const size_t kept = n_old_edges(l) - l->n_gone;
    for (size_t e = 0; st == RCD_OK && e < l->n_list; e++)
        rcd__copy_rows(to, kept + e, add, l->list[e].from, 1, row, NULL);
    return st;
}

static rcd_status note(const struct change *c, const struct edge_list *l, struct rcd_error *err)
{
    const struct rcd_graph_delta d = {.other = l->renumbered || l->old == NULL,
                                      .n_removed = l->n_gone,
                                      .removed = l->gone,
                                      .n_added = l->n_list};
    return rcd__graph_note(c->g, c->g->n - 1, &d, err);
}

static rcd_status put_tensors(struct change *c, struct edge_list *l, int64_t *const map[2],
                              struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    char type[RCD_GRAPH_NAME_MAX + 1];
    const char *base = NULL;
    const bool same = l->n_gone == 0 && l->n_list == 0 && !l->renumbered;
    for (size_t i = 0; st == RCD_OK && i < c->old->n; i++) {
        const char *name = c->old->tensors[i].name;
        rcd__type_of(name, type);
        (void)rcd__prefix(name, &base);
        if (!rcd__is_edge_name(name) || strcmp(type, l->type) != 0)
            continue;
        if (same)
            st = rcd__graph_share(c->g, c->old, i, err);
        else if (strcmp(base, "edge_index") == 0)
            st = put_index(c, l, name, map, err);
        else
            st = put_rows(c, l, name, &c->old->tensors[i].tensor, rcd__part(c, "add", name), err);
        if (st == RCD_OK)
            st = note(c, l, err);
    }
    for (size_t i = 0; st == RCD_OK && i < c->parts->n; i++) {
        const char *name = rcd__added_name(c, i);
        if (name == NULL || !rcd__is_edge_name(name) || rcd_graph_tensor(c->g, name) != NULL)
            continue;
        rcd__type_of(name, type);
        (void)rcd__prefix(name, &base);
        if (strcmp(type, l->type) != 0)
            continue;
        st = strcmp(base, "edge_index") == 0
                 ? put_index(c, l, name, map, err)
                 : put_rows(c, l, name, NULL, &c->parts->tensors[i].tensor, err);
    }
    return st;
}

static rcd_status keep_edges(struct change *c, const char *type, struct rcd_error *err)
{
    char ends[2][RCD_GRAPH_NAME_MAX + 1], name[RCD__NAME_IN_TYPE], what[RCD__NAME_IN_TYPE + 8];
    struct edge_list l = {.old = NULL};
    snprintf(l.type, sizeof l.type, "%s", type);
    rcd__name_in_type(type, "edge_index", name);
    snprintf(what, sizeof what, "%s%s", c->first ? "" : "add.", name);
    rcd__ends(type, ends);
    l.old = rcd_graph_tensor(c->old, name);
    l.add = rcd__part(c, "add", name);
    rcd_status st = RCD_OK;
    if (l.old == NULL && l.add == NULL)
        return rcd_fail(err, RCD_EINVAL, "'%s' is missing", name);
    int64_t *map[2] = {NULL, NULL}, n[2];
    for (int i = 0; st == RCD_OK && i < 2; i++) {
        n[i] = rcd_graph_nodes(c->nodes, ends[i]);
        st = rcd__node_map(c, ends[i], &map[i], err);
        if (st == RCD_OK && l.add != NULL)
            st = ends_of(c, type, l.add, i, what, &l.add_ends[i], err);
    }
    if (st == RCD_OK)
        st = check_added(c, &l, name, n, err);
    if (st == RCD_OK)
        st = read_removed(c, &l, err);
    if (st == RCD_OK)
        st = find_gone(c, &l, map, n, err);
    if (st == RCD_OK)
        st = list_added(c, &l, map, n, err);
    if (st == RCD_OK)
        st = put_tensors(c, &l, map, err);
    rcd_free(map[0]);
    rcd_free(map[1]);
    list_done(&l);
    return st;
}

/* Tensors of the old version, then those of the change without its verb, which each of them has (parts.c). */
static const char *name_at(const struct change *c, size_t i)
{
    if (i < c->old->n)
        return c->old->tensors[i].name;
    const char *name = c->parts->tensors[i - c->old->n].name;
    return c->first ? name : name + strcspn(name, ".") + 1;
}

rcd_status rcd__all_edges(struct change *c, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    char type[RCD_GRAPH_NAME_MAX + 1], other[RCD_GRAPH_NAME_MAX + 1];
    for (size_t i = 0; st == RCD_OK && i < c->old->n + c->parts->n; i++) {
        const char *name = name_at(c, i);
        if (!rcd__is_edge_name(name))
            continue;
        rcd__type_of(name, type);
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++) {
            rcd__type_of(name_at(c, k), other);
            seen = rcd__is_edge_name(name_at(c, k)) && strcmp(type, other) == 0;
        }
        if (!seen)
            st = keep_edges(c, type, err);
    }
    return st;
}
