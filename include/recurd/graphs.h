/* graphs.h - graphs that the server keeps: named tensors of nodes and edges, in versions.
 *
 * Roles come from names. "edge_index" i64[2][edges] (row 0: where an edge starts, row 1: where it ends)
 * and everything else that begins with "edge_" belong to edges; all other tensors have a row per
 * node; "id" names the nodes (INT64 or BYTES, unique). Several types: "paper.x", "author.id",
 * "author.writes.paper.edge_index" (source type, relation, target type).
 *
 * A version is immutable: who holds one keeps it, whatever becomes of the graph. A change makes a new
 * version that shares the tensors it leaves alone. */
#pragma once
#include "recurd/base.h"
#include "recurd/tensor.h"

enum {
    RCD_GRAPH_NAME_MAX = 128,
    RCD_GRAPH_TENSORS_MAX = 64,
    RCD_GRAPH_NODES_MAX = INT32_MAX /* of a type; indices are below */
};

typedef struct rcd_graph rcd_graph; /* one version of one graph; reference-counted */

struct rcd_graph_tensor {
    const char *name;
    struct rcd_tensor tensor;
};

/** What a graph is made of, or what a change brings. */
struct rcd_graph_parts {
    const char *name; /* of the graph */
    size_t n;
    const struct rcd_graph_tensor *tensors; /* [borrowed] copied */
    bool undirected;                        /* each edge counts in both directions: its mirror image
                                               follows it; a loop has none; both ends of one type */
    uint64_t version;                       /* of the first version */
    int64_t nodes;                          /* of graphs without a node tensor (else as many as its
                                               rows); -1: not told */
    size_t max_bytes;                       /* of the graph; RCD_ETOOBIG */
};

/** What the name of a tensor says: its type ("" without one) and whether it belongs to edges; of edges the types of the nodes
 * at their ends. A type longer than a name may be is cut. */
bool rcd_graph_name_of(const char *tensor, char ret_type[RCD_GRAPH_NAME_MAX + 1],
                       char ret_ends[2][RCD_GRAPH_NAME_MAX + 1]);

/** Letters, digits and . _ - : up to RCD_GRAPH_NAME_MAX. */
bool rcd_graph_name_ok(const char *name);

/** The first version of a graph. edge_index may be INT32 or, with ids, BYTES. RCD_EINVAL names tensor, edge and
 * value; RCD_ETOOBIG; RCD_ENOMEM. Threading: any thread (all functions on one version). */
RCD_MUST_CHECK rcd_status rcd_graph_new(const struct rcd_graph_parts *parts, rcd_graph **ret,
                                        struct rcd_error *err);
/** The next version. Tensors of a change:
 *   add.NAME           rows (edge_index: columns) at the end; nodes of a type need all its tensors,
 *                      edges too
 *   remove.edge_index  every edge from [0][k] to [1][k]; RCD_EINVAL when there is none
 *   remove.nodes       INT64 indices, or ids: the nodes and their edges; later nodes move down
 *   set.nodes, set.x   rows of node tensors that get new values
 * A part that would change nothing (edges' rows without edges, a type that is not there) is RCD_EINVAL;
 * with a type: add.paper.x, remove.paper.nodes, set.paper.nodes. Indices are those of the old graph
 * with the added nodes behind it; nodes are removed last. Errors as rcd_graph_new. */
RCD_MUST_CHECK rcd_status rcd_graph_patch(const rcd_graph *old, const struct rcd_graph_parts *parts,
                                          rcd_graph **ret, struct rcd_error *err);
/** How a tensor differs from that of the version before: entries (columns of edge_index, rows of all
 * others) first go, then come at the end. */
struct rcd_graph_delta {
    bool other; /* anything may differ; the rest means nothing */
    size_t n_removed;
    const int64_t *removed; /* positions before, ascending */
    size_t n_added;
    size_t n_changed;
    const int64_t *changed; /* positions now, ascending; not the added ones */
};
/** Of tensor i; `other` for what was not made by rcd_graph_patch from version g - 1. [borrowed] */
struct rcd_graph_delta rcd_graph_delta_of(const rcd_graph *g, size_t i);
rcd_graph *rcd_graph_ref(rcd_graph *g);
rcd_graph *rcd_graph_unref(rcd_graph *g); /* NULL is fine; returns NULL */

const char *rcd_graph_name(const rcd_graph *g);
uint64_t rcd_graph_version(const rcd_graph *g);
bool rcd_graph_undirected(const rcd_graph *g);
uint64_t rcd_graph_changed_ms(const rcd_graph *g); /* wall clock of this version */
size_t rcd_graph_bytes(const rcd_graph *g);
const struct rcd_graph_tensor *rcd_graph_tensors(const rcd_graph *g, size_t *ret_n);
const struct rcd_tensor *rcd_graph_tensor(const rcd_graph *g, const char *name); /* NULL: none */

/** Node and edge types. */
struct rcd_graph_group {
    const char *name; /* "" for the only type; "author.writes.paper" */
    bool edges;
    int64_t n;
};
const struct rcd_graph_group *rcd_graph_groups(const rcd_graph *g, size_t *ret_n);
/** Nodes of a type; -1: there is none. */
int64_t rcd_graph_nodes(const rcd_graph *g, const char *type);
/** Nodes by id (BYTES, or INT64 where the graph has ids of that type) or by index, as indices.
 * RCD_EINVAL names what is not there. */
RCD_MUST_CHECK rcd_status rcd_graph_find(const rcd_graph *g, const char *type,
                                         const struct rcd_tensor *who, int64_t *ret_index,
                                         struct rcd_error *err);

/** The version as bytes with a checksum, and back. RCD_EINVAL: damaged. */
rcd_status rcd_graph_save(const rcd_graph *g, struct rcd_buf *out);
RCD_MUST_CHECK rcd_status rcd_graph_load(const void *bytes, size_t len, rcd_graph **ret,
                                         struct rcd_error *err);

/* ---- the table of graphs ----------------------------------------------------------------------- */

typedef struct rcd_graphs rcd_graphs;
struct rcd_graphs_opts {
    size_t max_graphs, max_bytes;
    const char *dir; /* where files are kept; NULL: nowhere. Made when it is not there */
    void (*log)(void *ctx, int priority, const char *text);
    void *log_ctx;
};
/** Reads the files that are there; a damaged one is renamed and reported. RCD_EIO, RCD_ENOMEM.
 * Threading: one thread at a time, but for rcd_graphs_write. */
RCD_MUST_CHECK rcd_status rcd_graphs_new(const struct rcd_graphs_opts *opts, rcd_graphs **ret,
                                         struct rcd_error *err);
rcd_graphs *rcd_graphs_free(rcd_graphs *t); /* NULL is fine; returns NULL */
/** The newest version, [borrowed]; NULL: none. */
rcd_graph *rcd_graphs_find(const rcd_graphs *t, const char *name);
/** In the order of names. */
rcd_graph *rcd_graphs_at(const rcd_graphs *t, size_t i);
size_t rcd_graphs_count(const rcd_graphs *t);
size_t rcd_graphs_bytes(const rcd_graphs *t);
/** Is there room for `g` beside, or in the place of, the graph of its name? RCD_EUNAVAILABLE. */
RCD_MUST_CHECK rcd_status rcd_graphs_room(const rcd_graphs *t, const rcd_graph *g,
                                          struct rcd_error *err);
/** Make it durable: file aside, sync, rename. RCD_EIO, RCD_ENOSPC where the disk has no room; the old
 * file is left. Nothing to do without a directory. Threading: any thread, one call per name. */
RCD_MUST_CHECK rcd_status rcd_graphs_write(const rcd_graphs *t, const rcd_graph *g,
                                           struct rcd_error *err);
/** Make version g durable by the change that made it from the version before: appended and synced; or
 * all of it, when the changes have grown large. Errors and threading as rcd_graphs_write. */
RCD_MUST_CHECK rcd_status rcd_graphs_append(const rcd_graphs *t, const rcd_graph *g,
                                            const struct rcd_graph_parts *parts,
                                            struct rcd_error *err);
/** The newest version of its name from now on; takes a reference. RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd_graphs_set(rcd_graphs *t, rcd_graph *g, struct rcd_error *err);
/** Forget a graph and its file. False: there is none. */
bool rcd_graphs_drop(rcd_graphs *t, const char *name);
