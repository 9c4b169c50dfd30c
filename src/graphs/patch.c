/* patch.c - the next version of a graph from the last one and a change; the first one is a change to
 * nothing.
 *
 * First the nodes, with what is added and set: they have the ids that the rest of the change may use.
 * Then the nodes that stay, and the edges between them: those of the old version in their order, then
 * the added ones, each followed by its mirror image where the graph is undirected. Tensors of types
 * that nothing happens to are shared with the old version. */
#include "patch.h"

#include <stdlib.h>
#include <string.h>

/* ---- the parts of a change ------------------------------------------------------------------------ */

/* Tensor "verb.name" of the change, or NULL. */
const struct rcd_tensor *rcd__part(const struct change *c, const char *verb, const char *name)
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

const struct rcd_tensor *rcd__part_of(const struct change *c, const char *verb, const char *type,
                                      const char *base)
{
    char name[RCD__NAME_IN_TYPE];
    rcd__name_in_type(type, base, name);
    return rcd__part(c, verb, name);
}

/* The name behind the verb of a part; NULL: the verb is not "add". */
const char *rcd__added_name(const struct change *c, size_t i)
{
    const char *is = c->parts->tensors[i].name;
    if (c->first)
        return is;
    return strncmp(is, "add.", 4) == 0 ? is + 4 : NULL;
}

void rcd__type_of(const char *name, char ret[RCD_GRAPH_NAME_MAX + 1])
{
    const char *base = NULL;
    size_t len = rcd__prefix(name, &base);
    snprintf(ret, RCD_GRAPH_NAME_MAX + 1, "%.*s", (int)len, name);
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
    if (!fits || like->rank < 1) {
        char got[96], want[96];
        const struct rcd_tensor *is = b != NULL ? b : like;
        dims[0] = is->rank > 0 ? is->dims[0] : 1;
        return rcd_fail(
            err, RCD_EINVAL, "'add.%s' is %s %s, want %s %s: rows like those of '%s'", name,
            rcd_dtype_name(is->dtype), rcd_shape_text(got, sizeof got, is->rank, is->dims),
            rcd_dtype_name(like->dtype), rcd_shape_text(want, sizeof want, like->rank, dims), name);
    }
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
    rcd__type_of(name, type);
    const struct rcd_tensor *rows = rcd__part(c, "set", name),
                            *who = rcd__part_of(c, "set", type, "nodes");
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
    if (!fits) {
        char got[96], want[96];
        int64_t dims[RCD_MAX_RANK];
        memcpy(dims, to->dims, sizeof dims);
        dims[0] = (int64_t)who->n;
        return rcd_fail(
            err, RCD_EINVAL, "'set.%s' is %s %s, want %s %s: a row for each of 'set.nodes'", name,
            rcd_dtype_name(rows->dtype), rcd_shape_text(got, sizeof got, rows->rank, rows->dims),
            rcd_dtype_name(to->dtype), rcd_shape_text(want, sizeof want, to->rank, dims));
    }
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
        const struct rcd_tensor *add = rcd__part(c, "add", name);
        bool same = add == NULL && rcd__part(c, "set", name) == NULL;
        st = same ? rcd__graph_share(c->nodes, c->old, i, err)
                  : joined(c->nodes, name, &c->old->tensors[i].tensor, add, err);
    }
    for (size_t i = 0; st == RCD_OK && i < c->parts->n; i++) {
        const char *name = rcd__added_name(c, i);
        if (name == NULL || rcd__is_edge_name(name) || rcd_graph_tensor(c->nodes, name) != NULL)
            continue;
        st = rcd__graph_copy(c->nodes, name, &c->parts->tensors[i].tensor, err);
    }
    if (st == RCD_OK)
        st = rcd__graph_finish(c->nodes, c->old, err);
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
rcd_status rcd__node_map(const struct change *c, const char *type, int64_t **ret,
                         struct rcd_error *err)
{
    *ret = NULL;
    const struct rcd_tensor *who = rcd__part_of(c, "remove", type, "nodes");
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

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* What became of a node tensor none of whose rows went: rows that were set, rows that were added. */
static rcd_status note_rows(const struct change *c, const struct rcd_graph_tensor *t,
                            struct rcd_error *err)
{
    char type[RCD_GRAPH_NAME_MAX + 1];
    rcd__type_of(t->name, type);
    const struct rcd_tensor *old = rcd_graph_tensor(c->old, t->name);
    const struct rcd_tensor *who =
        rcd__part(c, "set", t->name) != NULL ? rcd__part_of(c, "set", type, "nodes") : NULL;
    struct rcd_graph_delta d = {.other = old == NULL};
    if (old != NULL)
        d.n_added = (size_t)(t->tensor.dims[0] - old->dims[0]);
    int64_t *at = who != NULL ? rcd_alloc((who->n + 1) * sizeof *at) : NULL;
    rcd_status st = RCD_OK;
    if (who != NULL)
        st = at != NULL ? rcd_graph_find(c->nodes, type, who, at, err)
                        : rcd_fail(err, RCD_ENOMEM, "no memory for a change");
    if (st == RCD_OK && who != NULL && old != NULL) {
        qsort(at, who->n, sizeof *at, by_number);
        for (size_t i = 0; i < who->n; i++) {
            if (at[i] < old->dims[0] && (d.n_changed == 0 || at[d.n_changed - 1] != at[i]))
                at[d.n_changed++] = at[i];
        }
        d.changed = at;
    }
    if (st == RCD_OK)
        st = rcd__graph_note(c->g, c->g->n - 1, &d, err);
    rcd_free(at);
    return st;
}

static rcd_status keep_nodes(struct change *c, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && i < c->nodes->n; i++) {
        const struct rcd_graph_tensor *t = &c->nodes->tensors[i];
        char type[RCD_GRAPH_NAME_MAX + 1];
        int64_t *map = NULL;
        rcd__type_of(t->name, type);
        st = rcd__node_map(c, type, &map, err);
        if (st != RCD_OK)
            return st;
        if (map == NULL) {
            st = rcd__graph_share(c->g, c->nodes, i, err);
            if (st == RCD_OK)
                st = note_rows(c, t, err);
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

/* ---- versions --------------------------------------------------------------------------------------- */

static rcd_status next(struct change *c, rcd_graph **ret, struct rcd_error *err)
{
    const size_t cap = c->old->n + c->parts->n;
    rcd_status st = rcd__check_parts(c, err);
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
        st = rcd__all_edges(c, err);
    if (st == RCD_OK && c->g->n > RCD_GRAPH_TENSORS_MAX)
        st = rcd_fail(err, RCD_EINVAL, "%zu tensors, at most %d", c->g->n, RCD_GRAPH_TENSORS_MAX);
    if (st == RCD_OK)
        st = rcd__graph_finish(c->g, c->nodes, err);
    if (st == RCD_OK)
        st = rcd__check_nodes_told(c, err);
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
