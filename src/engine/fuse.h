/* fuse.h - what the files that find graph layers share. */
#pragma once
#include "ops/sparse.h"
#include "rewrite.h"

/** A scatter that is a sum (or greatest, least value) over edges. */
enum { RCD__SUM_HOPS = 4 };
struct rcd__sum {
    rcd_value_id dst, src, x, w, shape, start; /* as in ops/sparse.h; RCD_NO_VALUE: none */
    rcd_spmm_reduce how;
    bool flat; /* rows of x are seen as [width] before they are summed */
    /* What is done to the gathered rows of x, alike for all edges, the last of it first. Done before they are gathered it
     * has the same bits. */
    size_t n_hops;
    const struct rcd_node *hops[RCD__SUM_HOPS];
};

/** A sum whose factors are a softmax over the edges of a row. */
struct rcd__attention {
    struct rcd__attend_state state;
    rcd_value_id leaves[RCD__EDGE_LEAVES];
    size_t n_leaves;
};

/** Where edges end and start, for a program over them. */
struct rcd__edge_ends {
    rcd__term edges, rows, x_rows; /* sizes */
    rcd_value_id dst, src;
};

static inline const struct rcd__fact *rcd__fuse_fact(const struct rcd__rewrite *w, rcd_value_id id)
{
    return &w->sym.facts[id];
}

static inline bool rcd__fuse_is_one(const struct rcd__rewrite *w, rcd__term t)
{
    return rcd__term_is(&w->sym, t, 1);
}

/** Is it [E, 1, ..., 1] with the given E? */
bool rcd__fuse_is_column(const struct rcd__rewrite *w, rcd_value_id id, rcd__term edges);
/** Is it a Gather of rows by an int[E]? Then of what and by what. */
bool rcd__fuse_rows_of(const struct rcd__rewrite *w, rcd_value_id id, rcd__term edges,
                       rcd_value_id *ret_x, rcd_value_id *ret_src);
/** Does a node do to each row of one of its inputs what it does to all of them? Then to which input. */
bool rcd__fuse_alike(const struct rcd__rewrite *w, const struct rcd_node *n, size_t *ret);
/** Elements of a row, if they are a known number; else 0. */
size_t rcd__fuse_row_width(const struct rcd__rewrite *w, const struct rcd__fact *f);
/** The rows f32[E, groups, ...] of which `u` f32[E, width] is a view; `u` itself if it is none. */
rcd_value_id rcd__fuse_unflat(const struct rcd__rewrite *w, rcd_value_id u);
/** Is the node a scatter that Spmm can do (fuse_match.c)? */
bool rcd__fuse_scatter(const struct rcd__rewrite *w, const struct rcd_node *n, struct rcd__sum *m);
/** The same along an inner axis, for each of what lies before it: one that SpmmEach can do (fuse_each.c)? */
bool rcd__fuse_each(const struct rcd__rewrite *w, const struct rcd_node *n, struct rcd__sum *m,
                    int *ret_axis);
/** What a scatter does with what goes to the same place. False: something else. */
bool rcd__fuse_reduction(const struct rcd_node *n, rcd_spmm_reduce *ret);
/** Zeros of a shape that is a value: that shape. False: they are something else. */
bool rcd__fuse_zeros(const struct rcd__rewrite *w, rcd_value_id id, rcd_value_id *ret_shape);
/** The sum of rows `u` as they were made, one for each edge, instead of rows of nodes. */
void rcd__sum_as_made(struct rcd__sum *m, rcd_value_id u);
/** NULL: no memory. All RCD_NO_VALUE. */
rcd_value_id *rcd__fuse_ids(const struct rcd__rewrite *w, size_t n);

/** The value without the Unsqueeze, Squeeze and Reshape that leave its first axis as it is. */
rcd_value_id rcd__fuse_peel(const struct rcd__rewrite *w, rcd_value_id id, rcd__term edges);
/** The operations that make f32[E, ...] `id` out of rows of the edges' ends and of their own
 * (fuse_edges.c), as the program `ret` of an attention, whose leaves it shares. False: sizes are not known. */
bool rcd__fuse_program(const struct rcd__rewrite *w, const struct rcd__edge_ends *ends,
                       rcd_value_id id, struct rcd__attention *a, struct rcd__edge_program *ret);
/** What f32[E, ...] `id` reads of the nodes where its edges start: rows of ret_x by ret_src, which is not ends->dst. False:
 * nothing that can be seen. */
bool rcd__fuse_starts(const struct rcd__rewrite *w, const struct rcd__edge_ends *ends,
                      rcd_value_id id, rcd_value_id *ret_x, rcd_value_id *ret_src);
/** Are a sum's factors a softmax over the edges of its rows (fuse_attention.c)? Rows that are made for each edge get the
 * nodes where edges start as their x and src in *m. */
bool rcd__fuse_attention(const struct rcd__rewrite *w, const struct rcd_node *scatter,
                         struct rcd__sum *m, struct rcd__attention *ret);
/** One factor per edge and group: the leading sizes of the rows `u`, then ones. */
bool rcd__fuse_is_factor(const struct rcd__rewrite *w, rcd_value_id id, const struct rcd__fact *u);
/** Warns of sums that are probably not what the network means (fuse_warn.c), once of each kind: *told, 0 before the first.
 * False: no memory. */
RCD_MUST_CHECK bool rcd__fuse_warn(struct rcd__rewrite *w, struct rcd_node *scatter,
                                   const struct rcd__sum *m, unsigned *told);
/** The same of the scatters that are not fused: one warning at most. */
RCD_MUST_CHECK bool rcd__fuse_warn_others(struct rcd__rewrite *w, unsigned *told);
/** A sum divided by the number of its edges becomes a mean (fuse_mean.c). False: no memory. */
RCD_MUST_CHECK bool rcd__fuse_means(struct rcd__rewrite *w);
/** Bias, ReLU and a flat view right behind a sum become part of it (fuse_epilogue.c). False: no
 * memory. */
RCD_MUST_CHECK bool rcd__fuse_row_ends(struct rcd__rewrite *w);
/** Sums go where rows are narrower, and products of rows are joined to the sums (fuse_order.c). False: no memory. */
RCD_MUST_CHECK bool rcd__fuse_order(struct rcd__rewrite *w);

/** Who reads the values of the plan, per value: how many times, and a node of the main body that does (UINT32_MAX:
 * somebody else); nodes that nobody reads do not count. To be counted anew when nodes have moved. rcd__readers_free in any case. */
struct rcd__readers {
    uint32_t *n, *by;
};
RCD_MUST_CHECK bool rcd__readers_new(const struct rcd__rewrite *w, struct rcd__readers *ret);
void rcd__readers_count(const struct rcd__rewrite *w, const struct rcd__readers *r);
void rcd__readers_free(struct rcd__readers *r);
/** The node at `from` goes to `to`; those between move up. */
void rcd__node_move(struct rcd_body *main, size_t from, size_t to);
