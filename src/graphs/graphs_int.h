/* graphs_int.h - inside the store of graphs. */
#pragma once
#include "recurd/graphs.h"

#include <pthread.h>

/** Data of a tensor, shared by versions. */
struct rcd__blob {
    unsigned refs; /* atomic */
    size_t bytes;
};

struct rcd__group {
    struct rcd_graph_group is; /* first: rcd_graph_groups gives them out */
    char name[RCD_GRAPH_NAME_MAX + 1];
    uint32_t *ids;              /* open hash of the "id" tensor's rows + 1; 0: free; NULL: no ids */
    size_t n_ids;               /* places, a power of two */
    struct rcd__blob *ids_blob; /* that holds them; shared by versions with the same ids */
};

/** Eigenvectors of the Laplacian (spectrum.c). */
struct rcd__spectrum {
    size_t n, k;
    float *basis, *values; /* f32[n][k], f32[k]; behind this struct */
};

struct rcd_graph {
    unsigned refs; /* atomic */
    char name[RCD_GRAPH_NAME_MAX + 1];
    uint64_t version, changed_ms;
    bool undirected;
    int64_t nodes_told;
    size_t bytes, max_bytes;
    size_t n, n_groups;
    struct rcd_graph_tensor *tensors; /* names and blobs are held */
    struct rcd__blob **blobs;
    struct rcd_graph_delta *deltas; /* per tensor; positions are held. `told`: it is known */
    bool *told;
    struct rcd_graph_group *listed; /* groups[].is, for the outside */
    struct rcd__group *groups;
    pthread_mutex_t spectrum_lock;  /* guards spectrum; nothing is taken under it */
    struct rcd__spectrum *spectrum; /* NULL until somebody asks */
};

/** An empty version with room for tensors; RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd__graph_begin(const char *name, size_t cap, rcd_graph **ret,
                                           struct rcd_error *err);
/** A tensor with data of its own, undefined; BYTES: `text` bytes behind the elements.
 * RCD_ETOOBIG beyond g->max_bytes. */
RCD_MUST_CHECK rcd_status rcd__graph_add(rcd_graph *g, const char *name, rcd_dtype t, int rank,
                                         const int64_t *dims, size_t text, struct rcd_tensor **ret,
                                         struct rcd_error *err);
/** The same tensor as another version has. */
RCD_MUST_CHECK rcd_status rcd__graph_share(rcd_graph *g, const rcd_graph *from, size_t i,
                                           struct rcd_error *err);
/** Tensor i differs so from the version before; positions are copied. */
RCD_MUST_CHECK rcd_status rcd__graph_note(rcd_graph *g, size_t i, const struct rcd_graph_delta *d,
                                          struct rcd_error *err);
/** A copy; BYTES with their texts. */
RCD_MUST_CHECK rcd_status rcd__graph_copy(rcd_graph *g, const char *name,
                                          const struct rcd_tensor *t, struct rcd_error *err);
/** Find the types, check every size, index and id. `like`: a version that may have the same ids; or NULL.
 * RCD_EINVAL. */
RCD_MUST_CHECK rcd_status rcd__graph_finish(rcd_graph *g, const rcd_graph *like,
                                            struct rcd_error *err);

/** "author.writes.paper.edge_index" -> 19 ("author.writes.paper"), base "edge_index". */
size_t rcd__prefix(const char *name, const char **ret_base);
bool rcd__is_edge_name(const char *name);
/** And back: "id" of type "" or "paper" -> "id", "paper.id". */
enum { RCD__NAME_IN_TYPE = 2 * RCD_GRAPH_NAME_MAX };
void rcd__name_in_type(const char *type, const char *base, char ret[RCD__NAME_IN_TYPE]);
/** The node types at the ends of an edge type, cut out into ret[0] (source) and ret[1]. */
void rcd__ends(const char *edge_type, char ret[2][RCD_GRAPH_NAME_MAX + 1]);
size_t rcd__text_bytes(const struct rcd_tensor *t); /* of a BYTES tensor; else 0 */
/** Element copy within BYTES tensors moves the texts to `text` (advanced); else plain bytes. */
void rcd__copy_rows(struct rcd_tensor *to, size_t at, const struct rcd_tensor *from, size_t from_at,
                    size_t n, size_t row, char **text);

/* ---- file.c ---- */
/** A change that made version g, as bytes with a checksum; and what it makes of the version before (a later
 * one stays). RCD_EINVAL: damaged, or it does not follow. */
rcd_status rcd__change_save(const rcd_graph *g, const struct rcd_graph_parts *parts,
                            struct rcd_buf *out);
RCD_MUST_CHECK rcd_status rcd__change_load(const void *bytes, size_t len, rcd_graph *old,
                                           rcd_graph **ret, struct rcd_error *err);
/** Bytes of the change that begins here, as its head says; SIZE_MAX: the head is not whole. */
size_t rcd__change_bytes(const void *bytes, size_t len);

/* ---- files.c ---- */
struct rcd_graphs {
    struct rcd_graphs_opts opts;
    int dir; /* -1: none */
    size_t n, cap, bytes;
    rcd_graph **list; /* by name */
};
/** Read what the directory holds into the table. */
RCD_MUST_CHECK rcd_status rcd__files_read(rcd_graphs *t, struct rcd_error *err);
void rcd__files_drop(const rcd_graphs *t, const char *name);
