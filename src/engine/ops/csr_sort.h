/* csr_sort.h - edges by the row they end in (csr_sort.c). */
#pragma once
#include "ops.h"

struct rcd__team;

/** The least and the greatest index as they stand: 0 and -1 of an empty list. int32 or int64. */
void rcd__index_range(struct rcd__team *team, const struct rcd_tensor *t, int64_t range[2]);

struct rcd__edge_sort {
    const struct rcd_tensor *dst, *src; /* int[n]; src: if col is asked for */
    int64_t rows, x_rows;               /* negative indices of dst and src count from these ends */
    int32_t *ptr;                       /* i32[rows + 1]: where a row begins */
    int32_t *edge, *col;                /* i32[n]: edges by row; where they start, or NULL */
};
/** Bytes that many edges go through; few need none, and many can do without. */
size_t rcd__sort_scratch(size_t n_edges);
/** Every index is within its rows. By all of the team (NULL: by the caller); the order is always the same.
 * @param scratch of rcd__sort_scratch bytes, for an int32 and more; or NULL */
void rcd__sort_edges(struct rcd__team *team, const struct rcd__edge_sort *s, void *scratch);
