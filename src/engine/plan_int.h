/* plan_int.h - the steps of making a plan, one file each. */
#pragma once
#include "engine_int.h"

/** Check and fold the nodes of a graph (plan.c). */
RCD_MUST_CHECK rcd_status rcd__plan_body(rcd_plan *p, const struct rcd_onnx_graph *g,
                                         struct rcd_body *body, struct rcd_error *err);
/** Run a node whose inputs are all known; its outputs become constants of the plan (fold.c). */
RCD_MUST_CHECK rcd_status rcd__plan_fold(rcd_plan *p, const struct rcd_node *node,
                                         struct rcd_error *err);
/** Simplify and fuse (rewrite.c). */
RCD_MUST_CHECK rcd_status rcd__plan_rewrite(rcd_plan *p, struct rcd_error *err);
/** Remove nodes that nobody reads, give slots, note last readers (lifetimes.c). */
RCD_MUST_CHECK rcd_status rcd__plan_lifetimes(rcd_plan *p, struct rcd_error *err);
/** Give back the memory of constants that nobody reads when the plan runs (forget.c). */
RCD_MUST_CHECK rcd_status rcd__plan_forget(rcd_plan *p, struct rcd_error *err);
/** Find the time axes (steps_proof.c). */
RCD_MUST_CHECK rcd_status rcd__plan_time(rcd_plan *p, const struct rcd_plan_opts *opts,
                                         struct rcd_error *err);
/** Describe inputs and outputs, pair the states (plan_io.c). */
RCD_MUST_CHECK rcd_status rcd__plan_io(rcd_plan *p, const struct rcd_plan_opts *opts,
                                       struct rcd_error *err);
