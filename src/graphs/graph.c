/* graph.c - one version of a graph: its tensors, and who holds them. */
#include "graphs_int.h"

#include <string.h>

bool rcd_graph_name_ok(const char *name)
{
    size_t n = strlen(name);
    if (n == 0 || n > RCD_GRAPH_NAME_MAX || name[0] == '.')
        return false;
    return strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._:-") == n;
}

/* ---- names -------------------------------------------------------------------------------------- */

size_t rcd__prefix(const char *name, const char **ret_base)
{
    const char *dot = strrchr(name, '.');
    *ret_base = dot != NULL ? dot + 1 : name;
    return dot != NULL ? (size_t)(dot - name) : 0;
}

bool rcd__is_edge_name(const char *name)
{
    const char *base = NULL;
    (void)rcd__prefix(name, &base);
    return strncmp(base, "edge_", 5) == 0;
}

void rcd__name_in_type(const char *type, const char *base, char ret[RCD__NAME_IN_TYPE])
{
    snprintf(ret, RCD__NAME_IN_TYPE, "%s%s%s", type, type[0] != '\0' ? "." : "", base);
}

bool rcd_graph_name_of(const char *tensor, char ret_type[RCD_GRAPH_NAME_MAX + 1],
                       char ret_ends[2][RCD_GRAPH_NAME_MAX + 1])
{
    const char *base = NULL;
    const size_t len = rcd__prefix(tensor, &base);
    snprintf(ret_type, RCD_GRAPH_NAME_MAX + 1, "%.*s", (int)len, tensor);
    rcd__ends(ret_type, ret_ends);
    return rcd__is_edge_name(tensor);
}

void rcd__ends(const char *edge_type, char ret[2][RCD_GRAPH_NAME_MAX + 1])
{
    const char *last = strrchr(edge_type, '.');
    snprintf(ret[0], sizeof ret[0], "%.*s", (int)strcspn(edge_type, "."), edge_type);
    snprintf(ret[1], sizeof ret[1], "%s", last != NULL ? last + 1 : edge_type);
}

/* ---- tensors ------------------------------------------------------------------------------------ */

rcd_status rcd__graph_begin(const char *name, size_t cap, rcd_graph **ret, struct rcd_error *err)
{
    rcd_graph *g = rcd_calloc(1, sizeof *g);
    if (g != NULL) {
        g->refs = 1;
        pthread_mutex_init(&g->spectrum_lock, NULL);
        g->version = 1;
        g->changed_ms = rcd_wall_ms();
        g->nodes_told = -1;
        g->max_bytes = SIZE_MAX;
        snprintf(g->name, sizeof g->name, "%s", name);
        g->tensors = rcd_calloc(cap + 1, sizeof *g->tensors);
        g->blobs = rcd_calloc(cap + 1, sizeof(void *));
        g->deltas = rcd_calloc(cap + 1, sizeof *g->deltas);
        g->told = rcd_calloc(cap + 1, sizeof *g->told);
        if (g->tensors != NULL && g->blobs != NULL && g->deltas != NULL && g->told != NULL) {
            *ret = g;
            return RCD_OK;
        }
        rcd_graph_unref(g);
    }
    return rcd_fail(err, RCD_ENOMEM, "no memory for a graph");
}

size_t rcd__text_bytes(const struct rcd_tensor *t)
{
    size_t n = 0;
    for (size_t i = 0; t->dtype == RCD_BYTES && i < t->n; i++)
        n += ((const struct rcd_bytes *)t->data)[i].len;
    return n;
}

static size_t blob_head(void)
{
    return (sizeof(struct rcd__blob) + RCD_ALIGN - 1) & ~(size_t)(RCD_ALIGN - 1);
}

rcd_status rcd__graph_add(rcd_graph *g, const char *name, rcd_dtype t, int rank,
                          const int64_t *dims, size_t text, struct rcd_tensor **ret,
                          struct rcd_error *err)
{
    struct rcd_tensor *to = &g->tensors[g->n].tensor;
    size_t bytes = 0;
    if (!rcd_tensor_shape(to, t, rank, dims) || !rcd_mul(to->n, rcd_dtype_size(t), &bytes) ||
        !rcd_add(bytes, text, &bytes))
        return rcd_fail(err, RCD_EINVAL, "tensor '%s' is too large", name);
    if (bytes > g->max_bytes - g->bytes)
        return rcd_fail(err, RCD_ETOOBIG, "graph '%s' takes more than %zu bytes with tensor '%s'",
                        g->name, g->max_bytes, name);
    struct rcd__blob *blob = rcd_alloc_aligned(blob_head() + bytes);
    char *own = rcd_strdup(name);
    if (blob == NULL || own == NULL) {
        rcd_free(blob);
        rcd_free(own);
        return rcd_fail(err, RCD_ENOMEM, "no memory for tensor '%s' of %zu bytes", name, bytes);
    }
    *blob = (struct rcd__blob){.refs = 1, .bytes = bytes};
    to->data = (char *)blob + blob_head();
    g->tensors[g->n].name = own;
    g->blobs[g->n++] = blob;
    g->bytes += bytes;
    *ret = to;
    return RCD_OK;
}

rcd_status rcd__graph_share(rcd_graph *g, const rcd_graph *from, size_t i, struct rcd_error *err)
{
    char *own = rcd_strdup(from->tensors[i].name);
    if (own == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a graph");
    if (from->blobs[i]->bytes > g->max_bytes - g->bytes) {
        rcd_free(own);
        return rcd_fail(err, RCD_ETOOBIG, "graph '%s' takes more than %zu bytes", g->name,
                        g->max_bytes);
    }
    __atomic_add_fetch(&from->blobs[i]->refs, 1, __ATOMIC_RELAXED);
    g->tensors[g->n] = (struct rcd_graph_tensor){own, from->tensors[i].tensor};
    g->blobs[g->n++] = from->blobs[i];
    g->bytes += from->blobs[i]->bytes;
    return RCD_OK;
}

static int64_t *copy_positions(const int64_t *from, size_t n)
{
    int64_t *own = rcd_alloc((n + 1) * sizeof *own);
    if (own != NULL && n > 0)
        memcpy(own, from, n * sizeof *own);
    return own;
}

rcd_status rcd__graph_note(rcd_graph *g, size_t i, const struct rcd_graph_delta *d,
                           struct rcd_error *err)
{
    g->deltas[i] = *d;
    g->told[i] = true;
    g->deltas[i].removed = copy_positions(d->removed, d->n_removed);
    g->deltas[i].changed = copy_positions(d->changed, d->n_changed);
    if (g->deltas[i].removed == NULL || g->deltas[i].changed == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a change");
    return RCD_OK;
}

struct rcd_graph_delta rcd_graph_delta_of(const rcd_graph *g, size_t i)
{
    return g->told[i] ? g->deltas[i] : (struct rcd_graph_delta){.other = true};
}

void rcd__copy_rows(struct rcd_tensor *to, size_t at, const struct rcd_tensor *from, size_t from_at,
                    size_t n, size_t row, char **text)
{
    const size_t elem = rcd_dtype_size(to->dtype);
    if (to->dtype != RCD_BYTES) {
        if (n * row > 0)
            memcpy((char *)to->data + at * row * elem,
                   (const char *)from->data + from_at * row * elem, n * row * elem);
        return;
    }
    for (size_t i = 0; i < n * row; i++) {
        const struct rcd_bytes *b = &((const struct rcd_bytes *)from->data)[from_at * row + i];
        if (b->len > 0)
            memcpy(*text, b->ptr, b->len);
        ((struct rcd_bytes *)to->data)[at * row + i] = (struct rcd_bytes){*text, b->len};
        *text += b->len;
    }
}

rcd_status rcd__graph_copy(rcd_graph *g, const char *name, const struct rcd_tensor *t,
                           struct rcd_error *err)
{
    struct rcd_tensor *to = NULL;
    rcd_status st =
        rcd__graph_add(g, name, t->dtype, t->rank, t->dims, rcd__text_bytes(t), &to, err);
    if (st != RCD_OK)
        return st;
    char *text = (char *)to->data + to->n * rcd_dtype_size(to->dtype);
    rcd__copy_rows(to, 0, t, 0, t->n, 1, &text);
    return RCD_OK;
}

/* ---- who holds it -------------------------------------------------------------------------------- */

rcd_graph *rcd_graph_ref(rcd_graph *g)
{
    __atomic_add_fetch(&g->refs, 1, __ATOMIC_RELAXED); /* the caller holds one already */
    return g;
}

static void free_held(const void *held)
{
    union {
        const void *c;
        void *p;
    } u = {.c = held};
    rcd_free_large(u.p);
}

static void blob_unref(struct rcd__blob *b)
{
    if (b != NULL && __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) == 0)
        rcd_free_large(b);
}

rcd_graph *rcd_graph_unref(rcd_graph *g)
{
    /* acq_rel: the last holder must see all others' use before it frees */
    if (g == NULL || __atomic_sub_fetch(&g->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return NULL;
    for (size_t i = 0; i < g->n; i++) {
        free_held(g->tensors[i].name);
        free_held(g->deltas[i].removed);
        free_held(g->deltas[i].changed);
        blob_unref(g->blobs[i]);
    }
    for (size_t i = 0; i < g->n_groups; i++)
        blob_unref(g->groups[i].ids_blob);
    rcd_free(g->tensors);
    rcd_free(g->blobs);
    rcd_free(g->deltas);
    rcd_free(g->told);
    rcd_free(g->groups);
    rcd_free(g->listed);
    rcd_free_large(g->spectrum);
    pthread_mutex_destroy(&g->spectrum_lock);
    rcd_free(g);
    return NULL;
}

/* ---- what it says of itself ------------------------------------------------------------------------ */

const char *rcd_graph_name(const rcd_graph *g)
{
    return g->name;
}

uint64_t rcd_graph_version(const rcd_graph *g)
{
    return g->version;
}

bool rcd_graph_undirected(const rcd_graph *g)
{
    return g->undirected;
}

uint64_t rcd_graph_changed_ms(const rcd_graph *g)
{
    return g->changed_ms;
}

size_t rcd_graph_bytes(const rcd_graph *g)
{
    return g->bytes;
}

const struct rcd_graph_tensor *rcd_graph_tensors(const rcd_graph *g, size_t *ret_n)
{
    *ret_n = g->n;
    return g->tensors;
}

const struct rcd_tensor *rcd_graph_tensor(const rcd_graph *g, const char *name)
{
    for (size_t i = 0; i < g->n; i++) {
        if (strcmp(g->tensors[i].name, name) == 0)
            return &g->tensors[i].tensor;
    }
    return NULL;
}

const struct rcd_graph_group *rcd_graph_groups(const rcd_graph *g, size_t *ret_n)
{
    *ret_n = g->n_groups;
    return g->listed;
}

int64_t rcd_graph_nodes(const rcd_graph *g, const char *type)
{
    for (size_t i = 0; i < g->n_groups; i++) {
        if (!g->listed[i].edges && strcmp(g->listed[i].name, type) == 0)
            return g->listed[i].n;
    }
    return -1;
}
