/* incremental_ends.h - rows of results and the edges that end in them: what sparse products and attention share when
 * only some rows are made anew. Nothing outside these three files includes it. */
#pragma once
#include "incremental.h"
#include "ops/sparse.h"

/** NULL: none, or a constant. */
struct rcd__ival *rcd__value_in(const struct rcd__live *l, const struct rcd_node *node, size_t j);
/** Can rows of `dom` be read from v (NULL: yes)? Else l->why is set. */
bool rcd__readable(struct rcd__live *l, const struct rcd__ival *v, const struct rcd__dom *dom);

struct rcd__ends {
    const struct rcd__inv *dst, *src; /* src NULL: edge e takes row e of x */
    const struct rcd__ival *x, *w;    /* w NULL: none */
    const struct rcd__ival *start, *shape, *out;
    const struct rcd_tensor
        *first; /* what sums start from, where that is a constant; NULL: it is none */
};

/** Is the result as large as it was taken to be? Else t->why is set. */
bool rcd__ends_fit(struct rcd__turn *t, const struct rcd__ends *e, const struct rcd_node *node);
/** Adds the rows in which these edges end. False: t->why is set. */
bool rcd__ends_spread(struct rcd__turn *t, struct rcd__marks *rows, const struct rcd__ends *e,
                      const struct rcd__rows *edges);
/** Adds the rows that have an edge from one of these. False: t->why is set. */
bool rcd__ends_reached(struct rcd__turn *t, struct rcd__marks *rows, const struct rcd__ends *e,
                       const struct rcd__rows *from);
/** Rows that can have changed by their edges, factors, neighbours or start; NULL: none, or t->why is set. */
const struct rcd__rows *rcd__ends_dirty(struct rcd__turn *t, const struct rcd__ends *e);
/** How many edges the rows have. */
size_t rcd__ends_count(const struct rcd__ends *e, const struct rcd__rows *rows);
/** The first n edges of a row: where they start, and which they are; either may be NULL. */
void rcd__ends_row(const struct rcd__ends *e, const struct rcd__inv_row *row, size_t n,
                   int32_t *col, int32_t *edge);
/** The store, or one row of a fill. NULL: t->why is set. */
const float *rcd__numbers(struct rcd__turn *t, const struct rcd__ival *v, size_t row);
/** For rcd_bound_effort_of: so many rows were made. */
void rcd__count_rows(struct rcd__turn *t, size_t n);
/** The sums of these rows, and the products joined to them (incremental_chain.c). False: t->why is set. */
bool rcd__turn_chain_rows(struct rcd__turn *t, const struct rcd_node *node,
                          const struct rcd__ends *e, const struct rcd__rows *rows);
