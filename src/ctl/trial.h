/* trial.h - a model's plans run over the same inputs: made-up ones, or those of a request. */
#pragma once
#include "recurd/engine.h"
#include "recurd/registry.h"

/** Inputs of one run; release with rcd__inputs_done. */
struct ctl_inputs {
    size_t n;
    struct rcd_tensor *in; /* [n] */
    bool owned;            /* their data, too */
};

/** What made-up inputs look like: whole numbers are drawn below these, by input. */
struct ctl_ranges {
    int64_t *below; /* [inputs] */
};

/** Differences of one plan's outputs from another's, over all runs so far. */
struct ctl_loss {
    size_t runs;
    double largest;      /* absolute difference */
    double sum2, whole2; /* sums of squares: of the differences, of what is wanted */
    size_t rows, agree;  /* rows of outputs of which the largest element could be, is the same */
};

/** Inputs made from `seed`: floats of mean 0 and variance 1, whole numbers below the ranges; sizes as the
 * model or its warm-up says, else 8, of time axes `steps`. States are left out. RCD_EUNSUPPORTED for
 * texts, RCD_ENOMEM. Threading: one thread (all of this header). */
RCD_MUST_CHECK rcd_status rcd__inputs_make(const rcd_version *v, const struct ctl_ranges *ranges,
                                           int64_t steps, uint64_t seed, struct ctl_inputs *ret,
                                           struct rcd_error *err);
void rcd__inputs_done(struct ctl_inputs *i);
/** The largest ranges that the model takes, by trying. RCD_EUNSUPPORTED: it takes none; err says why. */
RCD_MUST_CHECK rcd_status rcd__ranges_find(const rcd_version *v, rcd_exec *x, int64_t steps,
                                           struct ctl_ranges *ret, struct rcd_error *err);
void rcd__ranges_done(struct ctl_ranges *r);

/** Does the plan run on these inputs? */
RCD_MUST_CHECK rcd_status rcd__inputs_run(const rcd_plan *p, rcd_exec *x,
                                          const struct ctl_inputs *i, struct rcd_error *err);
/** Run both and add what they differ by to *loss. */
RCD_MUST_CHECK rcd_status rcd__compare(const rcd_plan *p, const rcd_plan *q, rcd_exec *x,
                                       const struct ctl_inputs *i, struct ctl_loss *loss,
                                       struct rcd_error *err);
/** Seconds of one run. */
double rcd__inputs_time(const rcd_plan *p, rcd_exec *x, const struct ctl_inputs *i);
