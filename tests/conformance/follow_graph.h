/* follow_graph.h - a graph that changes at random, as inputs of a model and as deltas. Duplicates, self-loops
 * and isolated nodes are there; half of the edges lie around three nodes. */
#pragma once
#include "recurd/engine_bind.h"

enum { MAX_NODES = 400, MAX_EDGES = 4000, MAX_IO = 8, MAX_WIDTH = 16 };
enum role { NODE_ROWS, EDGE_INDEX, EDGE_ROWS, OPEN };

struct input {
    enum role role;
    rcd_dtype dtype;
    size_t width;
    char *rows; /* of nodes or edges, packed */
};

struct graph {
    size_t n_in, n_nodes, n_edges;
    struct input in[MAX_IO];
    int64_t ends[2][MAX_EDGES];
};

struct change {
    size_t n_removed, n_new_edges, n_new_nodes, n_changed;
    int64_t removed[64], changed[64];
    bool nodes_go;
    int64_t added_index[2 * 64];
    char values[MAX_IO][64 * MAX_WIDTH * sizeof(double)];
};

void follow_seed(uint64_t seed);
size_t follow_below(size_t n);
/** Roles of a model's inputs by their names; false: there is another one, see `why`. Rows are the caller's
 * to free. */
bool follow_setup(struct graph *g, const rcd_plan *p, char *why, size_t cap);
void follow_new_nodes(struct graph *g, size_t n);
void follow_new_edges(struct graph *g, size_t n);
/** The model's inputs; `index` has room for 2 * MAX_EDGES. */
void follow_tensors(const struct graph *g, const rcd_plan *p, struct rcd_tensor *ret,
                    int64_t *index);
void follow_make_change(struct graph *g, struct change *c);
/** The last change as the engine wants it; pointers lead into g and c. */
void follow_deltas_of(const struct graph *g, struct change *c, struct rcd_input_delta *ret);
