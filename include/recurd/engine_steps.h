/* engine_steps.h - one request through time in pieces: a long sequence need not be run in one go when
 * the model's state and time axes are known. The bits are those of one run (design.md, idea 4). */
#pragma once
#include "recurd/engine.h"

/** Time axis of input i; -1: it has none. */
int rcd_plan_input_time(const rcd_plan *p, size_t input);

/** Does running in pieces give the same bits as one run? Tried with pseudo-random inputs of `steps`
 * time steps; open sizes other than time are 1. RCD_OK: the plan may be cut from now on.
 * RCD_EMODEL: it gives other values (not causal, or an axis is named wrongly); RCD_EUNSUPPORTED: it has
 * no state or no time axis, or the trial could not be run. Before the plan is shared only.
 * Threading: one thread, the exec's. */
RCD_MUST_CHECK rcd_status rcd_plan_prove_steps(rcd_plan *p, rcd_exec *x, int64_t steps,
                                               struct rcd_error *err);

/** Time steps of a request; 0: it can only be run whole. Threading: any thread. */
int64_t rcd_plan_steps(const rcd_plan *p, const struct rcd_infer *req);

/** A request on its way through time. It owns the states and outputs so far, in memory of the heap:
 * pieces may run on different threads, one after the other. */
typedef struct rcd_stepper rcd_stepper;

/** `whole` [borrowed] must stay; its in[] are read, its out[] are filled at the end. At most max_bytes
 * of outputs and states. RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd_stepper_new(const rcd_plan *p, struct rcd_infer *whole,
                                          size_t max_bytes, rcd_stepper **ret,
                                          struct rcd_error *err);
/** The outputs of `whole` that were not dropped are invalid after it. NULL is fine; returns NULL. */
rcd_stepper *rcd_stepper_free(rcd_stepper *s);
/** Time steps that are not done yet. */
int64_t rcd_stepper_left(const rcd_stepper *s);
/** The next piece of at most `steps` time steps, to be given to rcd_exec_run. RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd_stepper_next(rcd_stepper *s, int64_t steps, struct rcd_infer **ret,
                                           struct rcd_error *err);
/** The piece has run: keep what it gave and give its blocks back. After the last piece whole->out is
 * filled; drop it (rcd_infer_drop) on this thread. The piece's own error, RCD_ENOMEM, or RCD_EINTERNAL
 * when an output does not grow with time as it should. Threading: the exec's thread. */
RCD_MUST_CHECK rcd_status rcd_stepper_take(rcd_stepper *s, struct rcd_error *err);
