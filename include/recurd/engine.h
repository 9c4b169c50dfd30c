/* engine.h - a checked, packed plan made from an ONNX graph, and its run over a list of requests
 * in lockstep: node by node every operator sees all requests, each with shapes of its own. */
#pragma once
#include "recurd/base.h"
#include "recurd/kernels_reduced.h"
#include "recurd/onnx.h"
#include "recurd/tensor.h"

/** Immutable after rcd_plan_new; reference-counted; shared by all workers. */
typedef struct rcd_plan rcd_plan;

/** A model input or output as a client sees it. */
struct rcd_io {
    const char *name;
    rcd_dtype dtype;
    int rank;                            /* -1: any */
    int64_t dims[RCD_MAX_RANK];          /* -1: variable */
    const char *dim_names[RCD_MAX_RANK]; /* "batch", or NULL; equal names must have equal sizes
                                            within one request */
    bool optional;                       /* a state input: zeros where left out */
};

struct rcd_plan_opts {
    const struct rcd_kernels *kernels; /* [borrowed] outlives the plan */
    size_t n_states;                   /* pairs: input name, output name */
    const char *const *state_inputs, *const *state_outputs;
    size_t n_time; /* axes of time by tensor name; 0: taken from the names of dimensions */
    const char *const *time_names;
    const int *time_axes;
    rcd_weights weights; /* how constant weights of products, recurrent cells and convolutions are
                            stored; 0: f32 */
};

/** Check every operator, fold constants, pack weights. Takes *model (NULLed) on success.
 * RCD_EMODEL names node, operator and reason. Threading: any thread. */
RCD_MUST_CHECK rcd_status rcd_plan_new(rcd_onnx_model **model, const struct rcd_plan_opts *opts,
                                       rcd_plan **ret_plan, struct rcd_error *err);
rcd_plan *rcd_plan_ref(rcd_plan *p);   /* Threading: any thread */
rcd_plan *rcd_plan_unref(rcd_plan *p); /* NULL is fine; returns NULL. Threading: any thread */

const struct rcd_io *rcd_plan_inputs(const rcd_plan *p, size_t *ret_n);
const struct rcd_io *rcd_plan_outputs(const rcd_plan *p, size_t *ret_n);
size_t rcd_plan_bytes(const rcd_plan *p); /* weights and constants */
rcd_weights rcd_plan_weights(const rcd_plan *p);
/** Bytes of the packed weights as they are stored, and in *ret_f32 what they would take as f32. */
size_t rcd_plan_weight_bytes(const rcd_plan *p, size_t *ret_f32);
/** Index of the output that carries on state input i of rcd_plan_inputs, or -1. */
int rcd_plan_state_output(const rcd_plan *p, size_t input);
/** Index of an input along whose first axis the rows of an output lie (as many of them in every request), or -1: none
 * is known. The first such input. */
int rcd_plan_output_rows(const rcd_plan *p, size_t output);
/** What was warned about at load, one line each (f.e. scatter without reduction). */
const char *const *rcd_plan_warnings(const rcd_plan *p, size_t *ret_n);

/** One request of a batch. The caller fills in[] and wanted[]; the run fills out[] and err. */
struct rcd_infer {
    const struct rcd_tensor *in; /* [borrowed] one per plan input; RCD_NONE: left out */
    const struct rcd_bound
        *bound;             /* [borrowed] inputs fixed by engine_bind.h, left out of in[]; NULL:
                                      none. Outputs that it knows come borrowed from it */
    struct rcd_tensor *out; /* [caller's array] one per plan output; RCD_NONE at start */
    const bool *wanted;     /* one per plan output; NULL: all */
    struct rcd_error err;   /* code RCD_OK when out[] is good */
};

/** What a thread needs to run plans: its pool and scratch. Threading: one thread at a time. */
typedef struct rcd_exec rcd_exec;
RCD_MUST_CHECK rcd_exec *rcd_exec_new(size_t max_live_bytes, size_t max_idle_bytes);
rcd_exec *rcd_exec_free(rcd_exec *x);
/** Threads that one run may use, the caller's included; at first 1. More pay for one large piece of
 * work at a time, such as a whole graph; the bits are the same. RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd_exec_set_threads(rcd_exec *x, unsigned threads,
                                               struct rcd_error *err);

/** Check one request's inputs against the plan (presence, dtype, rank, sizes):
 * RCD_EINVAL naming input, expectation and what came. Threading: any thread. */
RCD_MUST_CHECK rcd_status rcd_plan_check_inputs(const rcd_plan *p, const struct rcd_infer *req,
                                                struct rcd_error *err);

/** Run n requests: in lockstep, or one by one where the model sums over edges and that has been
 * faster. A request that fails has its err set and drops out, the others go on; every answer has the
 * bits it would have alone. `cancel` (may be NULL) is polled between nodes: when it becomes true the
 * rest fails with RCD_ECANCELLED.
 * Threading: the exec's thread; several execs may run one plan at the same time. */
void rcd_exec_run(rcd_exec *x, const rcd_plan *p, size_t n, struct rcd_infer *const *reqs,
                  const volatile bool *cancel);
/** Give the outputs' blocks back. Threading: the exec's thread. */
void rcd_infer_drop(struct rcd_infer *req, size_t n_outputs);
