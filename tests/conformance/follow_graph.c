/* follow_graph.c - see follow_graph.h. */
#include "follow_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t state = 1;
void follow_seed(uint64_t seed)
{
    state = seed | 1;
}

size_t follow_below(size_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return n > 0 ? (size_t)(state >> 11) % n : 0;
}

/* ---- a graph ------------------------------------------------------------------------------------------ */

static size_t row_bytes(const struct input *in)
{
    return in->width * rcd_dtype_size(in->dtype);
}

static void random_row(const struct input *in, char *to)
{
    for (size_t k = 0; k < in->width; k++) {
        if (in->dtype == RCD_F32)
            ((float *)(void *)to)[k] = ((float)follow_below(2001) - 1000) / 500;
        else
            ((int64_t *)(void *)to)[k] = (int64_t)follow_below(3);
    }
}

bool follow_setup(struct graph *g, const rcd_plan *p, char *why, size_t cap)
{
    const struct rcd_io *io = rcd_plan_inputs(p, &g->n_in);
    if (g->n_in > MAX_IO)
        return false;
    for (size_t i = 0; i < g->n_in; i++) {
        struct input *in = &g->in[i];
        const char *name = io[i].name;
        in->dtype = io[i].dtype;
        in->width = 1;
        if (strcmp(name, "pairs") == 0) {
            in->role = OPEN;
        } else if (strcmp(name, "edge_index") == 0) {
            in->role = EDGE_INDEX;
        } else if (strncmp(name, "edge_", 5) == 0) {
            in->role = EDGE_ROWS;
            in->width = io[i].rank == 2 ? (size_t)io[i].dims[1] : 1;
        } else if (strcmp(name, "x") == 0 || strcmp(name, "h") == 0 || strcmp(name, "batch") == 0) {
            in->role = NODE_ROWS;
            in->width = io[i].rank == 2 ? (size_t)io[i].dims[1] : 1;
        } else {
            snprintf(why, cap, "input '%s' is not known here", name);
            return false;
        }
        in->rows = calloc((size_t)MAX_EDGES * MAX_WIDTH, 8);
    }
    return true;
}

void follow_new_nodes(struct graph *g, size_t n)
{
    for (size_t k = 0; k < n; k++, g->n_nodes++) {
        for (size_t i = 0; i < g->n_in; i++) {
            if (g->in[i].role == NODE_ROWS)
                random_row(&g->in[i], g->in[i].rows + g->n_nodes * row_bytes(&g->in[i]));
        }
    }
}

/* Half of the edges lie around a few nodes. */
static int64_t some_end(const struct graph *g)
{
    return (int64_t)(follow_below(2) ? follow_below(g->n_nodes)
                                     : follow_below(g->n_nodes < 3 ? g->n_nodes : 3));
}

void follow_new_edges(struct graph *g, size_t n)
{
    for (size_t k = 0; k < n; k++, g->n_edges++) {
        g->ends[0][g->n_edges] = some_end(g);
        g->ends[1][g->n_edges] = follow_below(8) ? some_end(g) : g->ends[0][g->n_edges];
        for (size_t i = 0; i < g->n_in; i++) {
            if (g->in[i].role == EDGE_ROWS)
                random_row(&g->in[i], g->in[i].rows + g->n_edges * row_bytes(&g->in[i]));
        }
    }
}

void follow_tensors(const struct graph *g, const rcd_plan *p, struct rcd_tensor *ret,
                    int64_t *index)
{
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(p, &n);
    for (size_t i = 0; i < g->n_in; i++) {
        const struct input *in = &g->in[i];
        int64_t dims[2] = {2, (int64_t)g->n_edges};
        int rank = 2;
        if (in->role != EDGE_INDEX) {
            rank = io[i].rank;
            dims[0] = (int64_t)(in->role == NODE_ROWS ? g->n_nodes : g->n_edges);
            dims[1] = (int64_t)in->width;
        }
        ret[i] = (struct rcd_tensor){.dtype = RCD_NONE};
        if (in->role == OPEN || !rcd_tensor_shape(&ret[i], in->dtype, rank, dims))
            continue;
        ret[i].data = in->role == EDGE_INDEX ? (void *)index : in->rows;
    }
    for (size_t e = 0; e < g->n_edges; e++) {
        index[e] = g->ends[0][e];
        index[g->n_edges + e] = g->ends[1][e];
    }
}

/* ---- a change ----------------------------------------------------------------------------------------- */

static int by_number(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

static size_t choose(size_t n, size_t most, int64_t *ret)
{
    size_t k = n > 0 ? follow_below(most + 1) : 0, kept = 0;
    k = k < n ? k : n;
    for (size_t i = 0; i < k; i++)
        ret[i] = (int64_t)follow_below(n);
    qsort(ret, k, sizeof *ret, by_number);
    for (size_t i = 0; i < k; i++) {
        if (kept == 0 || ret[kept - 1] != ret[i])
            ret[kept++] = ret[i];
    }
    return kept;
}

static void drop_edge(struct graph *g, size_t at)
{
    const size_t behind = g->n_edges - at - 1;
    for (int r = 0; r < 2; r++)
        memmove(&g->ends[r][at], &g->ends[r][at + 1], behind * sizeof(int64_t));
    for (size_t i = 0; i < g->n_in; i++) {
        const size_t row = row_bytes(&g->in[i]);
        if (g->in[i].role == EDGE_ROWS)
            memmove(g->in[i].rows + at * row, g->in[i].rows + (at + 1) * row, behind * row);
    }
    g->n_edges--;
}

static void drop_node(struct graph *g, int64_t at)
{
    for (size_t e = g->n_edges; e-- > 0;) {
        if (g->ends[0][e] == at || g->ends[1][e] == at)
            drop_edge(g, e);
    }
    for (size_t e = 0; e < g->n_edges; e++) {
        g->ends[0][e] -= g->ends[0][e] > at;
        g->ends[1][e] -= g->ends[1][e] > at;
    }
    for (size_t i = 0; i < g->n_in; i++) {
        const size_t row = row_bytes(&g->in[i]);
        if (g->in[i].role == NODE_ROWS)
            memmove(g->in[i].rows + (size_t)at * row, g->in[i].rows + (size_t)(at + 1) * row,
                    (g->n_nodes - (size_t)at - 1) * row);
    }
    g->n_nodes--;
}

void follow_make_change(struct graph *g, struct change *c)
{
    memset(c, 0, sizeof *c);
    if (follow_below(12) == 0 && g->n_nodes > 4) {
        c->nodes_go = true;
        drop_node(g, (int64_t)follow_below(g->n_nodes));
        return;
    }
    if (follow_below(3) == 0 && g->n_nodes + 3 < MAX_NODES) {
        c->n_new_nodes = 1 + follow_below(2);
        follow_new_nodes(g, c->n_new_nodes);
    }
    if (follow_below(2)) {
        c->n_removed = choose(g->n_edges, 3, c->removed);
        for (size_t i = c->n_removed; i-- > 0;)
            drop_edge(g, (size_t)c->removed[i]);
    }
    if (follow_below(3) && g->n_edges + 4 < MAX_EDGES) {
        c->n_new_edges = 1 + follow_below(3);
        follow_new_edges(g, c->n_new_edges);
    }
    if (follow_below(3) == 0) {
        c->n_changed = choose(g->n_nodes - c->n_new_nodes, 3, c->changed);
        for (size_t i = 0; i < g->n_in; i++) {
            for (size_t k = 0; g->in[i].role == NODE_ROWS && k < c->n_changed; k++)
                random_row(&g->in[i], g->in[i].rows + (size_t)c->changed[k] * row_bytes(&g->in[i]));
        }
    }
}

void follow_deltas_of(const struct graph *g, struct change *c, struct rcd_input_delta *ret)
{
    const size_t first = g->n_edges - c->n_new_edges;
    for (size_t k = 0; k < c->n_new_edges; k++) {
        c->added_index[k] = g->ends[0][first + k];
        c->added_index[c->n_new_edges + k] = g->ends[1][first + k];
    }
    for (size_t i = 0; i < g->n_in; i++) {
        const struct input *in = &g->in[i];
        const size_t row = row_bytes(in);
        ret[i] = (struct rcd_input_delta){.other = c->nodes_go};
        if (in->role == EDGE_INDEX || in->role == EDGE_ROWS) {
            ret[i].n_removed = c->n_removed;
            ret[i].removed = c->removed;
            ret[i].n_added = c->n_new_edges;
            ret[i].added =
                in->role == EDGE_INDEX ? (const void *)c->added_index : in->rows + first * row;
        } else if (in->role == NODE_ROWS) {
            ret[i].n_added = c->n_new_nodes;
            ret[i].added = in->rows + (g->n_nodes - c->n_new_nodes) * row;
            ret[i].n_changed = c->n_changed;
            ret[i].changed = c->changed;
            for (size_t k = 0; k < c->n_changed; k++)
                memcpy(c->values[i] + k * row, in->rows + (size_t)c->changed[k] * row, row);
            ret[i].values = c->values[i];
        }
    }
}
