/* engine_bind.h - a plan with some inputs fixed: everything that depends on them alone has been run.
 *
 * What a registered graph is to the engine. A model whose inputs all come from the graph is then a
 * look-up; a model that takes more (pairs of nodes, features of this moment, a session's state) runs
 * only the nodes that see what is new. */
#pragma once
#include "recurd/engine.h"

/** Immutable, reference-counted; its memory is its own. Keeps a reference to its plan. */
typedef struct rcd_bound rcd_bound;

/** Run all that depends on the given inputs alone.
 * @param in      [borrowed for the call] one per plan input; RCD_NONE: stays open (a state input, too)
 * @param cancel  may be NULL; polled between nodes: RCD_ECANCELLED
 * RCD_EINVAL: an input does not fit the model, or an operator refuses it; RCD_ENOMEM.
 * Threading: the exec's thread. */
RCD_MUST_CHECK rcd_status rcd_bound_new(rcd_exec *x, rcd_plan *p, const struct rcd_tensor *in,
                                        const volatile bool *cancel, rcd_bound **ret,
                                        struct rcd_error *err);

/** How an input differs from the one that an older binding saw. Entries are nodes or edges: they lie
 * along axis 1 of an i64[2][edges], else along axis 0. First the removed entries go, then the added
 * ones come at the end. All zero: the same tensor. */
struct rcd_input_delta {
    bool other; /* anything may differ; the rest means nothing */
    size_t n_removed;
    const int64_t *removed; /* positions in the old tensor, ascending */
    size_t n_added;
    size_t n_changed;
    const int64_t *changed; /* positions in the new tensor with other values, ascending; not the
                               added ones */
};

/** What rcd_bound_new would make of the same inputs, to the last bit, from an older binding of the
 * same inputs: only what can have changed is computed, unless all anew is cheaper.
 * @param deltas  one per plan input; those of open inputs mean nothing
 * Errors and threading: as rcd_bound_new. */
RCD_MUST_CHECK rcd_status rcd_bound_update(rcd_exec *x, const rcd_bound *old,
                                           const struct rcd_tensor *in,
                                           const struct rcd_input_delta *deltas,
                                           const volatile bool *cancel, rcd_bound **ret,
                                           struct rcd_error *err);

rcd_bound *rcd_bound_ref(rcd_bound *b);   /* Threading: any thread */
rcd_bound *rcd_bound_unref(rcd_bound *b); /* NULL is fine; returns NULL. Threading: any thread */

/** Bytes that it holds. */
size_t rcd_bound_bytes(const rcd_bound *b);
/** Is input i of the plan fixed? */
bool rcd_bound_fixes(const rcd_bound *b, size_t i);
/** Output o, or NULL while it depends on an open input. [borrowed] lives with the binding. */
const struct rcd_tensor *rcd_bound_output(const rcd_bound *b, size_t o);
