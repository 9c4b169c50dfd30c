/* check.c - the types of a graph from the names of its tensors, and whether all of it fits together. */
#include "graphs_int.h"

#include <string.h>
#include <xxhash.h>

static struct rcd__group *group(rcd_graph *g, const char *name, size_t len, bool edges)
{
    for (size_t i = 0; i < g->n_groups; i++) {
        struct rcd__group *k = &g->groups[i];
        if (k->is.edges == edges && strlen(k->name) == len && strncmp(k->name, name, len) == 0)
            return k;
    }
    struct rcd__group *k = &g->groups[g->n_groups++];
    k->is = (struct rcd_graph_group){.edges = edges, .n = -1};
    snprintf(k->name, sizeof k->name, "%.*s", (int)len, name);
    return k;
}

/* Entries of a tensor: columns of edge_index, rows of all others. */
static rcd_status entries(const struct rcd_graph_tensor *t, int64_t *ret, struct rcd_error *err)
{
    const char *base = NULL;
    (void)rcd__prefix(t->name, &base);
    char shape[128];
    if (strcmp(base, "edge_index") == 0) {
        *ret = t->tensor.dims[1];
        if (t->tensor.rank == 2 && t->tensor.dims[0] == 2 && t->tensor.dtype == RCD_I64)
            return RCD_OK;
        return rcd_fail(err, RCD_EINVAL, "'%s' is %s %s, want INT64 [2,edges]", t->name,
                        rcd_dtype_name(t->tensor.dtype),
                        rcd_shape_text(shape, sizeof shape, t->tensor.rank, t->tensor.dims));
    }
    if (t->tensor.rank < 1)
        return rcd_fail(err, RCD_EINVAL, "'%s' has no dimensions, want a row per %s", t->name,
                        rcd__is_edge_name(t->name) ? "edge" : "node");
    *ret = t->tensor.dims[0];
    return RCD_OK;
}

static rcd_status find_groups(rcd_graph *g, struct rcd_error *err)
{
    for (size_t i = 0; i < g->n; i++) {
        const char *base = NULL, *name = g->tensors[i].name;
        size_t len = rcd__prefix(name, &base);
        for (size_t k = 0; k < i; k++) {
            if (strcmp(g->tensors[k].name, name) == 0)
                return rcd_fail(err, RCD_EINVAL, "tensor '%s' is given twice", name);
        }
        struct rcd__group *k = group(g, name, len, rcd__is_edge_name(name));
        int64_t n = 0;
        rcd_status st = entries(&g->tensors[i], &n, err);
        if (st != RCD_OK)
            return st;
        if (!k->is.edges && n > RCD_GRAPH_NODES_MAX)
            return rcd_fail(err, RCD_EINVAL, "'%s' has %lld rows, want at most %lld", name,
                            (long long)n, (long long)RCD_GRAPH_NODES_MAX);
        if (k->is.n >= 0 && k->is.n != n)
            return rcd_fail(err, RCD_EINVAL, "'%s' has %lld %s, want %lld as the tensors before it",
                            name, (long long)n, k->is.edges ? "edges" : "rows", (long long)k->is.n);
        k->is.n = n;
        if (strcmp(base, "id") == 0 &&
            (g->tensors[i].tensor.rank != 1 ||
             (g->tensors[i].tensor.dtype != RCD_I64 && g->tensors[i].tensor.dtype != RCD_BYTES)))
            return rcd_fail(err, RCD_EINVAL, "'%s' must be INT64 or BYTES [nodes]", name);
    }
    return RCD_OK;
}

/* ---- edges --------------------------------------------------------------------------------------- */

static rcd_status check_edges(rcd_graph *g, struct rcd__group *k, struct rcd_error *err)
{
    char name[RCD__NAME_IN_TYPE], ends[2][RCD_GRAPH_NAME_MAX + 1];
    rcd__name_in_type(k->name, "edge_index", name);
    const struct rcd_tensor *index = rcd_graph_tensor(g, name);
    if (index == NULL)
        return rcd_fail(err, RCD_EINVAL, "'%s' is missing", name);
    rcd__ends(k->name, ends);
    /* those of the version before have been looked at, and nodes do not get fewer */
    size_t at = 0;
    while (&g->tensors[at].tensor != index)
        at++;
    const struct rcd_graph_delta d = rcd_graph_delta_of(g, at);
    const int64_t known = d.other ? 0 : k->is.n - (int64_t)d.n_added;
    for (int64_t row = 0; row < 2; row++) {
        struct rcd__group *nodes = group(g, ends[row], strlen(ends[row]), false);
        const int64_t *to = (const int64_t *)index->data + row * k->is.n;
        const int64_t n = nodes->is.n; /* -1: a type without tensors, see settle_nodes */
        for (int64_t e = known; e < k->is.n; e++) {
            if (n < 0 && to[e] >= RCD_GRAPH_NODES_MAX)
                return rcd_fail(
                    err, RCD_EINVAL,
                    "%s[%lld][%lld] is %lld, but a node's index is below %lld: numbers like this "
                    "are ids, see the tensor 'id'",
                    name, (long long)row, (long long)e, (long long)to[e],
                    (long long)RCD_GRAPH_NODES_MAX);
            if (to[e] < 0 || (n >= 0 && to[e] >= n))
                return rcd_fail(err, RCD_EINVAL,
                                "%s[%lld][%lld] is %lld, but graph '%s' has %lld nodes%s%s", name,
                                (long long)row, (long long)e, (long long)to[e], g->name,
                                (long long)n, ends[row][0] != '\0' ? " of type " : "", ends[row]);
        }
    }
    return RCD_OK;
}

/* Types without tensors: the largest index that some edge has. */
static rcd_status settle_nodes(rcd_graph *g, struct rcd_error *err)
{
    for (size_t i = 0; i < g->n_groups; i++) {
        struct rcd__group *k = &g->groups[i];
        if (k->is.edges || k->is.n >= 0)
            continue;
        int64_t n = 0, last = 0, side = 0;
        const char *from = ""; /* where the largest index stands */
        for (size_t t = 0; t < g->n; t++) {
            const char *base = NULL, *name = g->tensors[t].name;
            char ends[2][RCD_GRAPH_NAME_MAX + 1], type[RCD_GRAPH_NAME_MAX + 1];
            (void)rcd__prefix(name, &base);
            (void)rcd_graph_name_of(name, type, ends);
            const struct rcd_tensor *x = &g->tensors[t].tensor;
            for (int64_t row = 0; strcmp(base, "edge_index") == 0 && row < 2; row++) {
                const int64_t *to = (const int64_t *)x->data + row * x->dims[1];
                for (int64_t e = 0; strcmp(ends[row], k->name) == 0 && e < x->dims[1]; e++) {
                    if (to[e] < n)
                        continue;
                    n = to[e] + 1;
                    last = e;
                    side = row;
                    from = name;
                }
            }
        }
        if (g->nodes_told >= 0 && k->name[0] == '\0') {
            if (n > g->nodes_told)
                return rcd_fail(err, RCD_EINVAL, "%s[%lld][%lld] is %lld, but 'nodes' is %lld",
                                from, (long long)side, (long long)last, (long long)n - 1,
                                (long long)g->nodes_told);
            n = g->nodes_told;
        }
        k->is.n = n;
    }
    return RCD_OK;
}

/* ---- ids ----------------------------------------------------------------------------------------- */

static uint64_t hash_id(const struct rcd_tensor *t, size_t i)
{
    if (t->dtype == RCD_I64)
        return XXH3_64bits((const int64_t *)t->data + i, sizeof(int64_t));
    const struct rcd_bytes *b = &((const struct rcd_bytes *)t->data)[i];
    return XXH3_64bits(b->ptr, b->len);
}

static bool same_id(const struct rcd_tensor *a, size_t i, const struct rcd_tensor *b, size_t j)
{
    if (a->dtype == RCD_I64)
        return ((const int64_t *)a->data)[i] == ((const int64_t *)b->data)[j];
    const struct rcd_bytes *x = &((const struct rcd_bytes *)a->data)[i];
    const struct rcd_bytes *y = &((const struct rcd_bytes *)b->data)[j];
    return x->len == y->len && memcmp(x->ptr, y->ptr, x->len) == 0;
}

static const struct rcd_tensor *ids_of(const rcd_graph *g, const char *type)
{
    char name[RCD__NAME_IN_TYPE];
    rcd__name_in_type(type, "id", name);
    return rcd_graph_tensor(g, name);
}

/* The table of another version over the same ids. */
static bool share_ids(const rcd_graph *like, struct rcd__group *k, const struct rcd_tensor *ids)
{
    const struct rcd_tensor *theirs = like != NULL ? ids_of(like, k->name) : NULL;
    if (theirs == NULL || theirs->data != ids->data)
        return false;
    for (size_t i = 0; i < like->n_groups; i++) {
        const struct rcd__group *from = &like->groups[i];
        if (from->is.edges || strcmp(from->name, k->name) != 0 || from->ids == NULL)
            continue;
        __atomic_add_fetch(&from->ids_blob->refs, 1, __ATOMIC_RELAXED);
        k->ids_blob = from->ids_blob;
        k->ids = from->ids;
        k->n_ids = from->n_ids;
        return true;
    }
    return false;
}

static rcd_status index_ids(rcd_graph *g, struct rcd__group *k, const rcd_graph *like,
                            struct rcd_error *err)
{
    const struct rcd_tensor *ids = ids_of(g, k->name);
    if (ids == NULL || share_ids(like, k, ids))
        return RCD_OK;
    k->n_ids = 16;
    while (k->n_ids < 2 * ids->n)
        k->n_ids *= 2;
    if (ids->n >= UINT32_MAX / 4)
        return rcd_fail(err, RCD_ETOOBIG, "%zu ids", ids->n);
    k->ids_blob = rcd_calloc(1, sizeof *k->ids_blob + k->n_ids * sizeof *k->ids);
    if (k->ids_blob == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the ids of a graph");
    k->ids_blob->refs = 1;
    k->ids = (uint32_t *)(void *)(k->ids_blob + 1);
    for (size_t i = 0; i < ids->n; i++) {
        size_t at = hash_id(ids, i) & (k->n_ids - 1);
        for (; k->ids[at] != 0; at = (at + 1) & (k->n_ids - 1)) {
            if (!same_id(ids, k->ids[at] - 1, ids, i))
                continue;
            char quoted[64];
            if (ids->dtype == RCD_I64)
                return rcd_fail(err, RCD_EINVAL, "nodes %u and %zu have the same id %lld",
                                k->ids[at] - 1, i, (long long)((const int64_t *)ids->data)[i]);
            const struct rcd_bytes *b = &((const struct rcd_bytes *)ids->data)[i];
            return rcd_fail(err, RCD_EINVAL, "nodes %u and %zu have the same id '%s'",
                            k->ids[at] - 1, i, rcd_quote(quoted, sizeof quoted, b->ptr, b->len));
        }
        k->ids[at] = (uint32_t)i + 1;
    }
    return RCD_OK;
}

static const char *a_type(const rcd_graph *g)
{
    for (size_t i = 0; i < g->n_groups; i++) {
        if (!g->groups[i].is.edges)
            return g->groups[i].name;
    }
    return "TYPE";
}

rcd_status rcd_graph_find(const rcd_graph *g, const char *type, const struct rcd_tensor *who,
                          int64_t *ret_index, struct rcd_error *err)
{
    const struct rcd__group *k = NULL;
    for (size_t i = 0; i < g->n_groups; i++) {
        if (!g->groups[i].is.edges && strcmp(g->groups[i].name, type) == 0)
            k = &g->groups[i];
    }
    const struct rcd_tensor *ids = ids_of(g, type);
    if (k == NULL)
        return type[0] == '\0'
                   ? rcd_fail(err, RCD_EINVAL,
                              "the nodes of graph '%s' have types: say which, as in '%s.nodes'",
                              g->name, a_type(g))
                   : rcd_fail(err, RCD_EINVAL, "graph '%s' has no nodes of type '%s'", g->name,
                              type);
    if (who->dtype != RCD_I64 && who->dtype != RCD_I32 && who->dtype != RCD_BYTES)
        return rcd_fail(err, RCD_EINVAL, "nodes are named by INT64 or BYTES, not by %s",
                        rcd_dtype_name(who->dtype));
    if (who->dtype == RCD_BYTES && (ids == NULL || ids->dtype != RCD_BYTES))
        return rcd_fail(err, RCD_EINVAL, "the nodes of graph '%s' have no ids of type BYTES",
                        g->name);
    const bool by_id = ids != NULL && who->dtype == ids->dtype;
    for (size_t i = 0; i < who->n; i++) {
        int64_t at = -1;
        if (by_id) {
            size_t h = hash_id(who, i) & (k->n_ids - 1);
            while (k->ids[h] != 0 && !same_id(ids, k->ids[h] - 1, who, i))
                h = (h + 1) & (k->n_ids - 1);
            at = (int64_t)k->ids[h] - 1;
        } else {
            at = who->dtype == RCD_I64 ? ((const int64_t *)who->data)[i]
                                       : ((const int32_t *)who->data)[i];
            at = at < k->is.n ? at : -1;
        }
        if (at < 0 && who->dtype == RCD_BYTES) {
            const struct rcd_bytes *b = &((const struct rcd_bytes *)who->data)[i];
            char quoted[64];
            return rcd_fail(err, RCD_EINVAL, "graph '%s' has no node '%s'", g->name,
                            rcd_quote(quoted, sizeof quoted, b->ptr, b->len));
        }
        if (at < 0) {
            long long v = who->dtype == RCD_I64 ? (long long)((const int64_t *)who->data)[i]
                                                : (long long)((const int32_t *)who->data)[i];
            return rcd_fail(err, RCD_EINVAL, "graph '%s' has no node %lld (%lld nodes%s)", g->name,
                            v, (long long)k->is.n, by_id ? " with ids" : "");
        }
        ret_index[i] = at;
    }
    return RCD_OK;
}

/* ---- all of it -------------------------------------------------------------------------------------- */

rcd_status rcd__graph_finish(rcd_graph *g, const rcd_graph *like, struct rcd_error *err)
{
    /* each tensor has a type, and an edge type speaks of two more */
    g->groups = rcd_calloc(3 * g->n + 2, sizeof *g->groups);
    g->listed = rcd_calloc(3 * g->n + 2, sizeof *g->listed);
    if (g->groups == NULL || g->listed == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a graph");
    rcd_status st = find_groups(g, err);
    for (size_t i = 0, n = g->n_groups; st == RCD_OK && i < n; i++) {
        if (g->groups[i].is.edges)
            st = check_edges(g, &g->groups[i], err);
    }
    if (st == RCD_OK && g->nodes_told >= 0)
        (void)group(g, "", 0, false);
    if (st == RCD_OK)
        st = settle_nodes(g, err);
    for (size_t i = 0; st == RCD_OK && i < g->n_groups; i++) {
        if (!g->groups[i].is.edges)
            st = index_ids(g, &g->groups[i], like, err);
    }
    for (size_t i = 0; i < g->n_groups; i++) {
        g->groups[i].is.name = g->groups[i].name;
        g->listed[i] = g->groups[i].is;
    }
    return st;
}
