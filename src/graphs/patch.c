/* patch.c - the next version of a graph from the last one and a change; the first one is a change to
 * nothing.
 *
 * First the nodes, with what is added and set: they have the ids that the rest of the change may use.
 * Then the nodes that stay, and the edges between them: those of the old version in their order, then
 * the added ones, each followed by its mirror image where the graph is undirected. Tensors of types
 * that nothing happens to are shared with the old version. */
#include "graphs_int.h"

#include <stdlib.h>
#include <string.h>

struct change {
    const rcd_graph *old; /* may be an empty one */
    const struct rcd_graph_parts *parts;
    bool first;       /* names are bare: all is added */
    rcd_graph *nodes; /* node tensors with all that is added */
    rcd_graph *g;     /* the new version */
};

/* ---- the parts of a change ------------------------------------------------------------------------ */

/* Tensor "verb.name" of the change, or NULL. */
static const struct rcd_tensor *part(const struct change *c, const char *verb, const char *name)
{
    const size_t len = strlen(verb);
    if (c->first && strcmp(verb, "add") != 0)
        return NULL;
    for (size_t i = 0; i < c->parts->n; i++) {
        const char *is = c->parts->tensors[i].name;
        bool hit = c->first ? strcmp(is, name) == 0
                            : strncmp(is, verb, len) == 0 && is[len] == '.' &&
                                  strcmp(is + len + 1, name) == 0;
        if (hit)
            return &c->parts->tensors[i].tensor;
    }
    return NULL;
}

static const struct rcd_tensor *part_of(const struct change *c, const char *verb, const char *type,
                                        const char *base)
{
    char name[2 * RCD_GRAPH_NAME_MAX];
    snprintf(name, sizeof name, "%s%s%s", type, type[0] != '\0' ? "." : "", base);
    return part(c, verb, name);
}

/* The name behind the verb of a part; NULL: the verb is not "add". */
static const char *added_name(const struct change *c, size_t i)
{
    const char *is = c->parts->tensors[i].name;
    if (c->first)
        return is;
    return strncmp(is, "add.", 4) == 0 ? is + 4 : NULL;
}

static void type_of(const char *name, char ret[RCD_GRAPH_NAME_MAX + 1])
{
    const char *base = NULL;
    size_t len = rcd__prefix(name, &base);
    snprintf(ret, RCD_GRAPH_NAME_MAX + 1, "%.*s", (int)len, name);
}

static rcd_status check_parts(const struct change *c, struct rcd_error *err)
{
    static const char *const verbs[] = {"add.", "remove.", "set."};
    for (size_t i = 0; i < c->parts->n; i++) {
        const char *is = c->parts->tensors[i].name;
        char quoted[64];
        (void)rcd_quote(quoted, sizeof quoted, is, strlen(is));
        if (is[0] == '\0' || strlen(is) > RCD_GRAPH_NAME_MAX)
            return rcd_fail(err, RCD_EINVAL, "tensor name '%s' has %zu bytes, want 1 to %d", quoted,
                            strlen(is), RCD_GRAPH_NAME_MAX);
        bool known = c->first;
        for (size_t v = 0; v < RCD_COUNT(verbs); v++)
            known = known || strncmp(is, verbs[v], strlen(verbs[v])) == 0;
        if (!known)
            return rcd_fail(err, RCD_EINVAL,
                            "'%s' is not known in a change (known: add.NAME, remove.edge_index, "
                            "remove.nodes, set.nodes, set.NAME)",
                            quoted);
    }
    return RCD_OK;
}

/* ---- nodes with what is added and set --------------------------------------------------------------- */

static rcd_status joined(rcd_graph *g, const char *name, const struct rcd_tensor *a,
                         const struct rcd_tensor *b, struct rcd_error *err)
{
    const struct rcd_tensor *like = a != NULL ? a : b;
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, like->dims, sizeof dims);
    bool fits = a == NULL || b == NULL || (a->dtype == b->dtype && a->rank == b->rank);
    for (int d = 1; fits && a != NULL && b != NULL && d < a->rank; d++)
        fits = a->dims[d] == b->dims[d];
    if (!fits || like->rank < 1)
        return rcd_fail(err, RCD_EINVAL,
                        "the rows that are added to '%s' have another shape or type", name);
    dims[0] = (a != NULL ? a->dims[0] : 0) + (b != NULL ? b->dims[0] : 0);
    struct rcd_tensor *to = NULL;
    size_t text = (a != NULL ? rcd__text_bytes(a) : 0) + (b != NULL ? rcd__text_bytes(b) : 0);
    rcd_status st = rcd__graph_add(g, name, like->dtype, like->rank, dims, text, &to, err);
    if (st != RCD_OK)
        return st;
    char *at = (char *)to->data + to->n * rcd_dtype_size(to->dtype);
    if (a != NULL)
        rcd__copy_rows(to, 0, a, 0, a->n, 1, &at);
    if (b != NULL)
        rcd__copy_rows(to, a != NULL ? a->n : 0, b, 0, b->n, 1, &at);
    return RCD_OK;
}

static rcd_status set_rows(const struct change *c, const char *name, struct rcd_tensor *to,
                           struct rcd_error *err)
{
    char type[RCD_GRAPH_NAME_MAX + 1];
    type_of(name, type);
    const struct rcd_tensor *rows = part(c, "set", name), *who = part_of(c, "set", type, "nodes");
    const char *base = NULL;
    (void)rcd__prefix(name, &base);
    if (rows == NULL)
        return RCD_OK;
    if (who == NULL)
        return rcd_fail(err, RCD_EINVAL, "'set.%s' needs 'set.nodes' beside it", name);
    if (strcmp(base, "id") == 0 || to->dtype == RCD_BYTES)
        return rcd_fail(err, RCD_EINVAL, "'%s' cannot be set: remove the node and add it anew",
                        name);
    bool fits = rows->dtype == to->dtype && rows->rank == to->rank && rows->rank >= 1 &&
                rows->dims[0] == (int64_t)who->n;
    for (int d = 1; fits && d < to->rank; d++)
        fits = rows->dims[d] == to->dims[d];
    if (!fits)
        return rcd_fail(err, RCD_EINVAL, "'set.%s' does not have %zu rows like those of '%s'", name,
                        who->n, name);
    int64_t *at = rcd_alloc((who->n + 1) * sizeof *at);
    if (at == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a change");
    rcd_status st = rcd_graph_find(c->nodes, type, who, at, err);
    const size_t row = who->n > 0 ? rows->n / who->n : 0;
    for (size_t i = 0; st == RCD_OK && i < who->n; i++)
        rcd__copy_rows(to, (size_t)at[i], rows, i, 1, row, NULL);
    rcd_free(at);
    return st;
}

static rcd_status make_nodes(struct change *c, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && i < c->old->n; i++) {
        const char *name = c->old->tensors[i].name;
        if (rcd__is_edge_name(name))
            continue;
        const struct rcd_tensor *add = part(c, "add", name);
        bool same = add == NULL && part(c, "set", name) == NULL;
        st = same ? rcd__graph_share(c->nodes, c->old, i, err)
                  : joined(c->nodes, name, &c->old->tensors[i].tensor, add, err);
    }
    for (size_t i = 0; st == RCD_OK && i < c->parts->n; i++) {
        const char *name = added_name(c, i);
        if (name == NULL || rcd__is_edge_name(name) || rcd_graph_tensor(c->nodes, name) != NULL)
            continue;
        st = rcd__graph_copy(c->nodes, name, &c->parts->tensors[i].tensor, err);
    }
    if (st == RCD_OK)
        st = rcd__graph_finish(c->nodes, err);
    for (size_t i = 0; st == RCD_OK && i < c->nodes->n; i++)
        st = set_rows(c, c->nodes->tensors[i].name, &c->nodes->tensors[i].tensor, err);
    for (size_t i = 0; st == RCD_OK && !c->first && i < c->parts->n; i++) {
        const char *name = c->parts->tensors[i].name, *base = NULL;
        (void)rcd__prefix(name, &base);
        if (strncmp(name, "set.", 4) == 0 && strcmp(base, "nodes") != 0 &&
            rcd_graph_tensor(c->nodes, name + 4) == NULL)
            st = rcd_fail(err, RCD_EINVAL, "graph '%s' has no node tensor '%s'", c->old->name,
                          name + 4);
    }
    return st;
}

/* ---- nodes that go ----------------------------------------------------------------------------------- */

/* New index per old one, -1 for those that go; *ret NULL: none goes. */
static rcd_status node_map(const struct change *c, const char *type, int64_t **ret,
                           struct rcd_error *err)
{
    *ret = NULL;
    const struct rcd_tensor *who = part_of(c, "remove", type, "nodes");
    if (who == NULL || who->n == 0)
        return RCD_OK;
    int64_t n = rcd_graph_nodes(c->nodes, type);
    if (n < 0)
        return rcd_fail(err, RCD_EINVAL,
                        "nodes of type '%s' have no tensor, so none can be removed", type);
    int64_t *map = rcd_calloc((size_t)n + 1, sizeof *map);
    int64_t *gone = rcd_alloc((who->n + 1) * sizeof *gone);
    rcd_status st = map != NULL && gone != NULL
                        ? rcd_graph_find(c->nodes, type, who, gone, err)
                        : rcd_fail(err, RCD_ENOMEM, "no memory for a change");
    for (size_t i = 0; st == RCD_OK && i < who->n; i++)
        map[gone[i]] = -1;
    for (int64_t i = 0, at = 0; st == RCD_OK && i < n; i++) {
        if (map[i] == 0)
            map[i] = at++;
    }
    rcd_free(gone);
    if (st != RCD_OK) {
        rcd_free(map);
        return st;
    }
    *ret = map;
    return RCD_OK;
}

static rcd_status keep_nodes(struct change *c, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && i < c->nodes->n; i++) {
        const struct rcd_graph_tensor *t = &c->nodes->tensors[i];
        char type[RCD_GRAPH_NAME_MAX + 1];
        int64_t *map = NULL;
        type_of(t->name, type);
        st = node_map(c, type, &map, err);
        if (st != RCD_OK)
            return st;
        if (map == NULL) {
            st = rcd__graph_share(c->g, c->nodes, i, err);
            continue;
        }
        int64_t dims[RCD_MAX_RANK];
        memcpy(dims, t->tensor.dims, sizeof dims);
        dims[0] = 0;
        for (int64_t r = 0; r < t->tensor.dims[0]; r++)
            dims[0] += map[r] >= 0;
        struct rcd_tensor *to = NULL;
        st = rcd__graph_add(c->g, t->name, t->tensor.dtype, t->tensor.rank, dims,
                            rcd__text_bytes(&t->tensor), &to, err);
        if (st == RCD_OK) {
            char *text = (char *)to->data + to->n * rcd_dtype_size(to->dtype);
            const size_t row = t->tensor.n / (size_t)t->tensor.dims[0];
            for (int64_t r = 0; r < t->tensor.dims[0]; r++) {
                if (map[r] >= 0)
                    rcd__copy_rows(to, (size_t)map[r], &t->tensor, (size_t)r, 1, row, &text);
            }
        }
        rcd_free(map);
    }
    return st;
}

/* ---- edges -------------------------------------------------------------------------------------------- */

struct entry { /* of the new list: where it comes from */
    int64_t from;
    bool added, mirror;
    int64_t ends[2];
};

struct edge_list {
    char type[RCD_GRAPH_NAME_MAX + 1];
    const struct rcd_tensor *old, *add; /* edge_index; NULL: none */
    int64_t *add_ends[2];               /* as indices */
    int64_t *removed;                   /* pairs in order */
    size_t n_removed;
    bool *hit;
    struct entry *list;
    size_t n;
    bool changed;
};

static void list_done(struct edge_list *l)
{
    rcd_free(l->add_ends[0]);
    rcd_free(l->add_ends[1]);
    rcd_free(l->removed);
    rcd_free(l->hit);
    rcd_free(l->list);
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
        return st == RCD_OK ? st : rcd_error_prefix(err, st, "%s[%d]: ", what, row);
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
    const struct rcd_tensor *t = part_of(c, "remove", l->type, "edge_index");
    int64_t *ends[2] = {NULL, NULL};
    if (t == NULL)
        return RCD_OK;
    rcd_status st = ends_of(c, l->type, t, 0, "remove.edge_index", &ends[0], err);
    if (st == RCD_OK)
        st = ends_of(c, l->type, t, 1, "remove.edge_index", &ends[1], err);
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
            return rcd_fail(err, RCD_EINVAL, "graph '%s' has no edge from %lld to %lld",
                            c->old->name, (long long)l->removed[2 * i],
                            (long long)l->removed[2 * i + 1]);
    }
    return RCD_OK;
}

/* An entry with its ends in the new numbering, unless one of them goes. */
static void put(struct edge_list *l, struct entry e, int64_t *const map[2], const int64_t n[2])
{
    for (int i = 0; i < 2; i++) {
        int64_t at = e.ends[i];
        bool known = map[i] != NULL && at >= 0 && at < n[i];
        e.ends[i] = known ? map[i][at] : at;
        if (known && e.ends[i] < 0) {
            l->changed = true;
            return;
        }
        l->changed = l->changed || e.ends[i] != at;
    }
    l->list[l->n++] = e;
}

static rcd_status list_edges(const struct change *c, struct edge_list *l, int64_t *const map[2],
                             const int64_t n[2], struct rcd_error *err)
{
    const int64_t n_old = l->old != NULL ? l->old->dims[1] : 0;
    const int64_t n_add = l->add != NULL ? l->add->dims[1] : 0;
    const bool both = c->g->undirected;
    l->list = rcd_alloc(((size_t)n_old + (size_t)n_add * (both ? 2 : 1) + 1) * sizeof *l->list);
    if (l->list == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a change");
    for (int64_t e = 0; e < n_old; e++) {
        const int64_t *ends = l->old->data;
        const int64_t a = ends[e], b = ends[n_old + e];
        bool gone = is_removed(l, a, b);
        if (both && is_removed(l, b, a))
            gone = true;
        l->changed = l->changed || gone;
        if (!gone)
            put(l, (struct entry){.from = e, .ends = {a, b}}, map, n);
    }
    for (int64_t e = 0; e < n_add; e++) {
        const int64_t a = l->add_ends[0][e], b = l->add_ends[1][e];
        l->changed = true;
        put(l, (struct entry){.from = e, .added = true, .ends = {a, b}}, map, n);
        if (both && a != b)
            put(l, (struct entry){.from = e, .added = true, .mirror = true, .ends = {b, a}}, map,
                n);
    }
    return all_hit(c, l, err);
}

static rcd_status put_index(const struct change *c, const struct edge_list *l, const char *name,
                            struct rcd_error *err)
{
    const int64_t dims[2] = {2, (int64_t)l->n};
    struct rcd_tensor *to = NULL;
    rcd_status st = rcd__graph_add(c->g, name, RCD_I64, 2, dims, 0, &to, err);
    for (size_t e = 0; st == RCD_OK && e < l->n; e++) {
        ((int64_t *)to->data)[e] = l->list[e].ends[0];
        ((int64_t *)to->data)[l->n + e] = l->list[e].ends[1];
    }
    return st;
}

static rcd_status put_rows(const struct change *c, const struct edge_list *l, const char *name,
                           const struct rcd_tensor *old, const struct rcd_tensor *add,
                           struct rcd_error *err)
{
    const struct rcd_tensor *like = old != NULL ? old : add;
    bool fits = like->rank >= 1 && like->dtype != RCD_BYTES;
    fits = fits && (add == NULL) == (l->add == NULL) && (old == NULL) == (l->old == NULL);
    fits = fits && (add == NULL || add->dims[0] == l->add->dims[1]);
    fits = fits &&
           (old == NULL || add == NULL || (old->dtype == add->dtype && old->rank == add->rank));
    for (int d = 1; fits && old != NULL && add != NULL && d < old->rank; d++)
        fits = old->dims[d] == add->dims[d];
    if (!fits)
        return rcd_fail(err, RCD_EINVAL, "'%s' must have a row of the same kind for every edge",
                        name);
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, like->dims, sizeof dims);
    dims[0] = (int64_t)l->n;
    size_t row = 1;
    for (int d = 1; d < like->rank; d++)
        row *= (size_t)like->dims[d];
    struct rcd_tensor *to = NULL;
    rcd_status st = rcd__graph_add(c->g, name, like->dtype, like->rank, dims, 0, &to, err);
    for (size_t e = 0; st == RCD_OK && e < l->n; e++)
        rcd__copy_rows(to, e, l->list[e].added ? add : old, (size_t)l->list[e].from, 1, row, NULL);
    return st;
}

static rcd_status put_tensors(struct change *c, struct edge_list *l, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    char type[RCD_GRAPH_NAME_MAX + 1];
    const char *base = NULL;
    for (size_t i = 0; st == RCD_OK && i < c->old->n; i++) {
        const char *name = c->old->tensors[i].name;
        type_of(name, type);
        (void)rcd__prefix(name, &base);
        if (!rcd__is_edge_name(name) || strcmp(type, l->type) != 0)
            continue;
        if (!l->changed)
            st = rcd__graph_share(c->g, c->old, i, err);
        else if (strcmp(base, "edge_index") == 0)
            st = put_index(c, l, name, err);
        else
            st = put_rows(c, l, name, &c->old->tensors[i].tensor, part(c, "add", name), err);
    }
    for (size_t i = 0; st == RCD_OK && i < c->parts->n; i++) {
        const char *name = added_name(c, i);
        if (name == NULL || !rcd__is_edge_name(name) || rcd_graph_tensor(c->g, name) != NULL)
            continue;
        type_of(name, type);
        (void)rcd__prefix(name, &base);
        if (strcmp(type, l->type) != 0)
            continue;
        st = strcmp(base, "edge_index") == 0
                 ? put_index(c, l, name, err)
                 : put_rows(c, l, name, NULL, &c->parts->tensors[i].tensor, err);
    }
    return st;
}

static rcd_status keep_edges(struct change *c, const char *type, struct rcd_error *err)
{
    char ends[2][RCD_GRAPH_NAME_MAX + 1], name[2 * RCD_GRAPH_NAME_MAX];
    struct edge_list l = {.old = NULL};
    snprintf(l.type, sizeof l.type, "%s", type);
    snprintf(name, sizeof name, "%s%sedge_index", type, type[0] != '\0' ? "." : "");
    rcd__ends(type, ends);
    l.old = rcd_graph_tensor(c->old, name);
    l.add = part(c, "add", name);
    rcd_status st = RCD_OK;
    if (l.old == NULL && l.add == NULL)
        return rcd_fail(err, RCD_EINVAL, "'%s' is missing", name);
    int64_t *map[2] = {NULL, NULL}, n[2];
    for (int i = 0; st == RCD_OK && i < 2; i++) {
        n[i] = rcd_graph_nodes(c->nodes, ends[i]);
        st = node_map(c, ends[i], &map[i], err);
        if (st == RCD_OK && l.add != NULL)
            st = ends_of(c, type, l.add, i, name, &l.add_ends[i], err);
    }
    if (st == RCD_OK)
        st = read_removed(c, &l, err);
    if (st == RCD_OK)
        st = list_edges(c, &l, map, n, err);
    if (st == RCD_OK)
        st = put_tensors(c, &l, err);
    rcd_free(map[0]);
    rcd_free(map[1]);
    list_done(&l);
    return st;
}

/* Each edge type once: those of the old version, then those that a change speaks of. */
static rcd_status all_edges(struct change *c, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    char type[RCD_GRAPH_NAME_MAX + 1], other[RCD_GRAPH_NAME_MAX + 1];
    const size_t n_old = c->old->n;
    for (size_t i = 0; st == RCD_OK && i < n_old + c->parts->n; i++) {
        const char *name = i < n_old ? c->old->tensors[i].name : c->parts->tensors[i - n_old].name;
        if (i >= n_old && !c->first)
            name += strcspn(name, ".") + 1;
        if (!rcd__is_edge_name(name))
            continue;
        type_of(name, type);
        bool seen = false;
        for (size_t k = 0; k < i && !seen; k++) {
            const char *before =
                k < n_old ? c->old->tensors[k].name : c->parts->tensors[k - n_old].name;
            if (k >= n_old && !c->first)
                before += strcspn(before, ".") + 1;
            type_of(before, other);
            seen = rcd__is_edge_name(before) && strcmp(type, other) == 0;
        }
        if (!seen)
            st = keep_edges(c, type, err);
    }
    return st;
}

/* ---- versions --------------------------------------------------------------------------------------- */

static rcd_status next(struct change *c, rcd_graph **ret, struct rcd_error *err)
{
    const size_t cap = c->old->n + c->parts->n;
    rcd_status st = check_parts(c, err);
    if (st == RCD_OK && cap > RCD_GRAPH_TENSORS_MAX + c->parts->n)
        st = rcd_fail(err, RCD_EINVAL, "more than %d tensors", RCD_GRAPH_TENSORS_MAX);
    if (st == RCD_OK)
        st = rcd__graph_begin(c->old->name, cap, &c->nodes, err);
    if (st == RCD_OK)
        st = rcd__graph_begin(c->old->name, cap, &c->g, err);
    if (st == RCD_OK) {
        c->nodes->max_bytes = c->g->max_bytes = c->parts->max_bytes;
        c->g->undirected = c->first ? c->parts->undirected : c->old->undirected;
        c->g->nodes_told = c->parts->nodes >= 0 ? c->parts->nodes : c->old->nodes_told;
        c->g->version = c->old->version + 1;
        st = make_nodes(c, err);
    }
    if (st == RCD_OK)
        st = keep_nodes(c, err);
    if (st == RCD_OK)
        st = all_edges(c, err);
    if (st == RCD_OK && c->g->n > RCD_GRAPH_TENSORS_MAX)
        st = rcd_fail(err, RCD_EINVAL, "%zu tensors, at most %d", c->g->n, RCD_GRAPH_TENSORS_MAX);
    if (st == RCD_OK)
        st = rcd__graph_finish(c->g, err);
    rcd_graph_unref(c->nodes);
    if (st == RCD_OK)
        *ret = c->g;
    else
        rcd_graph_unref(c->g);
    return st;
}

rcd_status rcd_graph_new(const struct rcd_graph_parts *parts, rcd_graph **ret,
                         struct rcd_error *err)
{
    char quoted[64];
    if (!rcd_graph_name_ok(parts->name))
        return rcd_fail(
            err, RCD_EINVAL, "graph name '%s': want up to %d letters, digits and . _ - :",
            rcd_quote(quoted, sizeof quoted, parts->name, strlen(parts->name)), RCD_GRAPH_NAME_MAX);
    if (parts->n == 0 && parts->nodes < 0)
        return rcd_fail(err, RCD_EINVAL, "a graph needs tensors");
    rcd_graph *none = NULL;
    rcd_status st = rcd__graph_begin(parts->name, 0, &none, err);
    if (st != RCD_OK)
        return st;
    none->version = parts->version - 1;
    struct change c = {.old = none, .parts = parts, .first = true};
    st = next(&c, ret, err);
    rcd_graph_unref(none);
    return st;
}

rcd_status rcd_graph_patch(const rcd_graph *old, const struct rcd_graph_parts *parts,
                           rcd_graph **ret, struct rcd_error *err)
{
    struct change c = {.old = old, .parts = parts};
    return next(&c, ret, err);
}
