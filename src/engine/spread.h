/* spread.h - inputs of which one row may stand for a row per edge. */
#pragma once
#include "engine_int.h"

/** Note in p->spreads which inputs those are: `nodes` as the file has them, before anything is merged, names of sizes as they
 * are after (symbols_join.c). False: no memory. */
RCD_MUST_CHECK bool rcd__spread_find(rcd_plan *p, const struct rcd_node *nodes, size_t n);

/** Does the request give one row of such an input? What a binding fixes has a row for each. */
bool rcd__spread_one(const rcd_plan *p, const struct rcd_infer *req, size_t i);
/** Is there one among all of a plan's inputs, with more edges or none? */
bool rcd__spread_some(const rcd_plan *p, const struct rcd_tensor *in);
/** The size that the request's inputs, bound ones too, have by that name; 1 where none has it. */
int64_t rcd__named_size(const rcd_plan *p, const struct rcd_infer *req, const char *name);

/** Input i of a request, one row in *t: from the pool, with as many as there are edges. Fails the request. */
RCD_MUST_CHECK rcd_status rcd__spread_input(struct rcd_run *run, struct rcd_infer *req, size_t i,
                                            struct rcd_tensor *t);
