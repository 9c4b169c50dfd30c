/* file.c - a version, or a change, as bytes: a head with a checksum over all that follows, then tensor by
 * tensor. */
#include "graphs_int.h"

#include <string.h>
#include <xxhash.h>

static const char magic[8] = "RCDGRPH1";
static const char change_magic[8] = "RCDGRCH1";

struct head {
    char magic[8];
    uint64_t len; /* of what follows the head */
    uint64_t sum; /* XXH3 of it */
};

struct about {
    uint64_t version, changed_ms;
    int64_t nodes_told;
    uint32_t undirected, n_tensors, name_len, spare;
};

struct tensor_head {
    uint32_t name_len, dtype, rank, spare;
    int64_t dims[RCD_MAX_RANK];
    uint64_t bytes;
};

static rcd_status put_tensor(const struct rcd_graph_tensor *t, struct rcd_buf *out)
{
    const struct rcd_tensor *x = &t->tensor;
    struct tensor_head h = {.name_len = (uint32_t)strlen(t->name),
                            .dtype = (uint32_t)x->dtype,
                            .rank = (uint32_t)x->rank,
                            .bytes = x->n * rcd_dtype_size(x->dtype)};
    memcpy(h.dims, x->dims, (size_t)x->rank * sizeof *h.dims);
    if (x->dtype == RCD_BYTES)
        h.bytes = rcd__text_bytes(x) + x->n * sizeof(uint32_t);
    rcd_buf_append(out, &h, sizeof h);
    rcd_buf_append(out, t->name, h.name_len);
    if (x->dtype != RCD_BYTES)
        return rcd_buf_append(out, x->data, h.bytes);
    for (size_t i = 0; i < x->n; i++) {
        const struct rcd_bytes *b = &((const struct rcd_bytes *)x->data)[i];
        const uint32_t len = (uint32_t)b->len;
        rcd_buf_append(out, &len, sizeof len);
        rcd_buf_append(out, b->ptr, b->len);
    }
    return out->failed ? RCD_ENOMEM : RCD_OK;
}

static rcd_status put_all(const char what[8], const struct about *about, const char *name,
                          const struct rcd_graph_tensor *tensors, struct rcd_buf *out)
{
    struct about a = *about;
    struct head h = {.len = 0};
    memcpy(h.magic, what, sizeof h.magic);
    a.name_len = (uint32_t)strlen(name);
    const size_t at = out->len;
    rcd_buf_append(out, &h, sizeof h);
    rcd_buf_append(out, &a, sizeof a);
    rcd_buf_append(out, name, a.name_len);
    for (size_t i = 0; i < a.n_tensors; i++)
        (void)put_tensor(&tensors[i], out);
    if (out->failed)
        return RCD_ENOMEM;
    h.len = out->len - at - sizeof h;
    h.sum = XXH3_64bits(out->data + at + sizeof h, h.len);
    memcpy(out->data + at, &h, sizeof h);
    return RCD_OK;
}

rcd_status rcd_graph_save(const rcd_graph *g, struct rcd_buf *out)
{
    const struct about a = {.version = g->version,
                            .changed_ms = g->changed_ms,
                            .nodes_told = g->nodes_told,
                            .undirected = g->undirected,
                            .n_tensors = (uint32_t)g->n};
    return put_all(magic, &a, g->name, g->tensors, out);
}

rcd_status rcd__change_save(const rcd_graph *g, const struct rcd_graph_parts *parts,
                            struct rcd_buf *out)
{
    const struct about a = {.version = g->version,
                            .changed_ms = g->changed_ms,
                            .nodes_told = parts->nodes,
                            .n_tensors = (uint32_t)parts->n};
    return put_all(change_magic, &a, g->name, parts->tensors, out);
}

/* ---- back --------------------------------------------------------------------------------------- */

struct reader {
    const char *at, *end;
};

static bool take(struct reader *r, void *to, size_t n)
{
    if ((size_t)(r->end - r->at) < n)
        return false;
    if (n > 0)
        memcpy(to, r->at, n);
    r->at += n;
    return true;
}

static rcd_status damaged(struct rcd_error *err)
{
    return rcd_fail(err, RCD_EINVAL, "the file of a graph is damaged");
}

/* Texts of `bytes` bytes, their lengths included: there is room for these, whatever the lengths say. */
static rcd_status get_texts(struct reader *r, size_t bytes, struct rcd_tensor *to,
                            struct rcd_error *err)
{
    struct reader own = {r->at, r->at + bytes};
    char *text = (char *)to->data + to->n * sizeof(struct rcd_bytes);
    for (size_t i = 0; i < to->n; i++) {
        uint32_t len = 0;
        if (!take(&own, &len, sizeof len) || !take(&own, text, len))
            return damaged(err);
        ((struct rcd_bytes *)to->data)[i] = (struct rcd_bytes){text, len};
        text += len;
    }
    r->at = own.end;
    return own.at == own.end ? RCD_OK : damaged(err);
}

static rcd_status get_tensor(struct reader *r, rcd_graph *g, struct rcd_error *err)
{
    struct tensor_head h;
    char name[RCD_GRAPH_NAME_MAX + 1] = "";
    if (!take(r, &h, sizeof h) || h.name_len > RCD_GRAPH_NAME_MAX || !take(r, name, h.name_len) ||
        h.rank > RCD_MAX_RANK || h.dtype == RCD_NONE || h.dtype >= RCD_DTYPE_MAX ||
        h.bytes > (size_t)(r->end - r->at))
        return damaged(err);
    struct rcd_tensor shape, *to = NULL;
    if (!rcd_tensor_shape(&shape, (rcd_dtype)h.dtype, (int)h.rank, h.dims))
        return damaged(err);
    const bool texts = h.dtype == RCD_BYTES;
    if (texts ? h.bytes / sizeof(uint32_t) < shape.n
              : h.bytes != shape.n * rcd_dtype_size(shape.dtype))
        return damaged(err);
    rcd_status st = rcd__graph_add(g, name, shape.dtype, shape.rank, shape.dims,
                                   texts ? h.bytes - shape.n * sizeof(uint32_t) : 0, &to, err);
    if (st != RCD_OK)
        return st;
    if (texts)
        return get_texts(r, h.bytes, to, err);
    return take(r, to->data, h.bytes) ? RCD_OK : damaged(err);
}

/* Tensors of a version or of a change, not looked at yet. */
static rcd_status get_all(const char what[8], const void *bytes, size_t len, rcd_graph **ret,
                          struct rcd_error *err)
{
    struct reader r = {bytes, (const char *)bytes + len};
    struct head h;
    struct about a;
    char name[RCD_GRAPH_NAME_MAX + 1] = "";
    if (!take(&r, &h, sizeof h) || memcmp(h.magic, what, sizeof h.magic) != 0 ||
        h.len != (size_t)(r.end - r.at) || XXH3_64bits(r.at, h.len) != h.sum ||
        !take(&r, &a, sizeof a) || a.name_len > RCD_GRAPH_NAME_MAX || !take(&r, name, a.name_len) ||
        a.n_tensors > 4 * RCD_GRAPH_TENSORS_MAX || !rcd_graph_name_ok(name))
        return damaged(err);
    rcd_graph *g = NULL;
    rcd_status st = rcd__graph_begin(name, a.n_tensors, &g, err);
    if (st != RCD_OK)
        return st;
    g->version = a.version;
    g->changed_ms = a.changed_ms;
    g->undirected = a.undirected != 0;
    g->nodes_told = a.nodes_told;
    for (uint32_t i = 0; st == RCD_OK && i < a.n_tensors; i++)
        st = get_tensor(&r, g, err);
    if (st == RCD_OK && r.at != r.end)
        st = damaged(err);
    if (st == RCD_OK)
        *ret = g;
    else
        rcd_graph_unref(g);
    return st;
}

rcd_status rcd_graph_load(const void *bytes, size_t len, rcd_graph **ret, struct rcd_error *err)
{
    rcd_graph *g = NULL;
    rcd_status st = get_all(magic, bytes, len, &g, err);
    if (st == RCD_OK)
        st = rcd__graph_finish(g, NULL, err);
    if (st == RCD_OK)
        *ret = g;
    else
        rcd_graph_unref(g);
    return st;
}

size_t rcd__change_bytes(const void *bytes, size_t len)
{
    struct head h;
    if (len < sizeof h)
        return SIZE_MAX;
    memcpy(&h, bytes, sizeof h);
    return h.len < SIZE_MAX / 2 ? sizeof h + (size_t)h.len : SIZE_MAX;
}

rcd_status rcd__change_load(const void *bytes, size_t len, rcd_graph *old, rcd_graph **ret,
                            struct rcd_error *err)
{
    rcd_graph *c = NULL;
    rcd_status st = get_all(change_magic, bytes, len, &c, err);
    if (st != RCD_OK)
        return st;
    const struct rcd_graph_parts parts = {.name = c->name,
                                          .n = c->n,
                                          .tensors = c->tensors,
                                          .nodes = c->nodes_told,
                                          .max_bytes = SIZE_MAX};
    if (c->version <= old->version) /* the file has it already */
        *ret = rcd_graph_ref(old);
    else if (c->version != old->version + 1 || strcmp(c->name, old->name) != 0)
        st = rcd_fail(err, RCD_EINVAL, "a change to version %llu follows version %llu",
                      (unsigned long long)c->version, (unsigned long long)old->version);
    else
        st = rcd_graph_patch(old, &parts, ret, err);
    if (st == RCD_OK && *ret != old)
        (*ret)->changed_ms = c->changed_ms;
    rcd_graph_unref(c);
    return st;
}
