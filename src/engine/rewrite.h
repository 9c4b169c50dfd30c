/* rewrite.h - the passes that change a checked plan before its lifetimes are planned. Nodes of the main
 * body only; nested bodies see the changes as new names of the values they read. */
#pragma once
#include "plan_int.h"
#include "symbols.h"

/** Row `index` of a value along an axis, and the value that is made of it. */
struct rcd__pick {
    rcd_value_id of, made;
    int64_t axis, index;
};
enum { RCD__PICKS = 32 }; /* networks have two for each kind of edge */

struct rcd__rewrite {
    rcd_plan *p;
    struct rcd__symbols sym;
    rcd_value_id *alias; /* per value: the value that stands for it, itself where none does */
    uint32_t *maker;     /* per value: index of the main node that makes it, or UINT32_MAX */
    size_t cap_values;   /* room in p->values, for values of fused nodes */
    struct rcd__pick picks[RCD__PICKS];
    size_t n_picks;
    struct rcd_error *err;
};

/** The node that makes a value, or NULL. */
static inline const struct rcd_node *rcd__maker(const struct rcd__rewrite *w, rcd_value_id id)
{
    return id == RCD_NO_VALUE || w->maker[id] == UINT32_MAX ? NULL
                                                            : &w->p->main.nodes[w->maker[id]];
}
/** Is the value made by an operator of that name (of the default domain)? Its node, or NULL. */
const struct rcd_node *rcd__made_by(const struct rcd__rewrite *w, rcd_value_id id, const char *op);
/** A new value for a fused node; RCD_NO_VALUE: no room (a bug) */
rcd_value_id rcd__new_value(struct rcd__rewrite *w, rcd_dtype t);

/** Merge nodes that compute the same, take out nodes that change nothing, take the branch of an If
 * whose condition is known (simplify.c). */
RCD_MUST_CHECK rcd_status rcd__plan_simplify(struct rcd__rewrite *w);
/** A node that computes known sizes: a Sizes node instead, or its output a constant
 * (simplify_sizes.c). */
RCD_MUST_CHECK rcd_status rcd__simplify_sizes(struct rcd__rewrite *w, struct rcd_node *node,
                                              bool *ret_constant);
/** The value that is the same row of the same tensor, taken before; RCD_NO_VALUE: none (simplify_picks.c).
 * nodes: those so far, that w->maker counts. */
rcd_value_id rcd__simplify_pick(struct rcd__rewrite *w, const struct rcd_node *nodes,
                                const struct rcd_node *node);
/** Products of rows that were gathered for the edges of a sum: how many, each of which makes a value; and the product before
 * the Gather (fuse_gathered.c). */
size_t rcd__fuse_gathered_count(const struct rcd__rewrite *w);
RCD_MUST_CHECK rcd_status rcd__fuse_gathered(struct rcd__rewrite *w, size_t count);
/** Values that rcd__plan_fuse_sparse may make, at most. */
size_t rcd__fused_values(const struct rcd__rewrite *w);
/** Gather, scale and scatter become sparse products (fuse_sparse.c). */
RCD_MUST_CHECK rcd_status rcd__plan_fuse_sparse(struct rcd__rewrite *w);
/** Sums of products with a constant row are joined to the products (fuse_dots.c). False: no memory. */
RCD_MUST_CHECK bool rcd__fuse_dots(struct rcd__rewrite *w);
