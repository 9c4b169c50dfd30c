/* engine_bind.h - a plan with some inputs fixed: everything that depends on them alone has been run.
 *
 * What a registered graph is to the engine. A model whose inputs all come from the graph is then a
 * look-up; a model that takes more (pairs of nodes, features of this moment, a session's state) runs
 * only the nodes that see what is new. A live binding also keeps what it needs to follow changes of
 * its inputs: only the rows that can have changed are computed anew. */
#pragma once
#include "recurd/engine.h"

/** Immutable for its holders, reference-counted; its memory is its own. Keeps a reference to its plan. */
typedef struct rcd_bound rcd_bound;

/** Run all that depends on the given inputs alone.
 * @param in      [borrowed for the call] one per plan input; RCD_NONE: stays open (a state input, too); no data
 *                but elements: stays open, but will have this shape (what reads the shape alone is run)
 * @param cancel  may be NULL; polled between nodes: RCD_ECANCELLED
 * RCD_EINVAL: an input does not fit the model, or an operator refuses it; RCD_ENOMEM.
 * Threading: the exec's thread. */
RCD_MUST_CHECK rcd_status rcd_bound_new(rcd_exec *x, rcd_plan *p, const struct rcd_tensor *in,
                                        const volatile bool *cancel, rcd_bound **ret,
                                        struct rcd_error *err);

/** Where an input's entries (nodes, edges) lie. Inputs of one group have the same entries and change
 * together. */
struct rcd_bound_entries {
    int group; /* -1: the input is one whole */
    int axis;  /* along which the entries lie: 1 of an i64[2][edges] */
};
/** The same, and keep what rcd_bound_update needs, where the model can be followed at all and that takes
 * at most max_bytes. @param entries [borrowed] one per plan input; of open ones it means nothing */
RCD_MUST_CHECK rcd_status rcd_bound_new_live(rcd_exec *x, rcd_plan *p, const struct rcd_tensor *in,
                                             const struct rcd_bound_entries *entries,
                                             size_t max_bytes, const volatile bool *cancel,
                                             rcd_bound **ret, struct rcd_error *err);
/** NULL: it is live. Else why it is not. [static text] */
const char *rcd_bound_not_live(const rcd_bound *b);

/** How an input differs from the one that the older binding saw. First the removed entries go, then
 * the added ones come at the end. All zero: the same tensor. */
struct rcd_input_delta {
    bool other; /* anything may differ; the rest means nothing */
    size_t n_removed;
    const int64_t *removed; /* positions in the old tensor, ascending */
    size_t n_added;
    const void *added; /* their values, packed as a tensor of n_added entries */
    size_t n_changed;
    const int64_t *changed; /* positions in the new tensor with other values, ascending; not the
                               added ones */
    const void *values;     /* theirs, packed as a tensor of n_changed entries */
};

/** What rcd_bound_new would make of the changed inputs, to the last bit, computing only rows that can
 * have changed. Takes over the caller's reference to `old`, whatever happens: when it is the only
 * one, memory is changed in place.
 * @param in      one per plan input: shapes of the new ones; data is not looked at
 * @param deltas  one per plan input; those of open inputs mean nothing, of those whose shape alone is fixed only which
 *                entries come and go
 * RCD_OK with *ret NULL: all anew is cheaper, or the binding is not live; err->text says why.
 * Errors and threading: as rcd_bound_new. One update of a binding at a time. */
RCD_MUST_CHECK rcd_status rcd_bound_update(rcd_exec *x, rcd_bound *old, const struct rcd_tensor *in,
                                           const struct rcd_input_delta *deltas,
                                           const volatile bool *cancel, rcd_bound **ret,
                                           struct rcd_error *err);
/** After an update: which rows (along axis 0) of output o have other bits than before or are new,
 * ascending. False: not known (not made by an update, or not rows): any may have. */
bool rcd_bound_changed(const rcd_bound *b, size_t o, const int32_t **ret_rows, size_t *ret_n);
/** What the update computed anew: rows of operators that go row by row, edges added up, and rows of each
 * sparse product in the order of the plan. */
enum { RCD_BOUND_PRODUCTS = 16 };
struct rcd_bound_effort {
    size_t rows, edges, n_products; /* all of them; products[] has the first ones */
    size_t products[RCD_BOUND_PRODUCTS];
};
struct rcd_bound_effort rcd_bound_effort_of(const rcd_bound *b);

rcd_bound *rcd_bound_ref(rcd_bound *b);   /* Threading: any thread */
rcd_bound *rcd_bound_unref(rcd_bound *b); /* NULL is fine; returns NULL. Threading: any thread */

/** Bytes that it holds. */
size_t rcd_bound_bytes(const rcd_bound *b);
/** Is input i of the plan fixed? */
bool rcd_bound_fixes(const rcd_bound *b, size_t i);
/** The shape of input i that it was made with: a fixed one, or one of which the shape alone is. dtype RCD_NONE: it was left
 * out. [borrowed] lives with the binding */
const struct rcd_tensor *rcd_bound_shape(const rcd_bound *b, size_t i);
/** Have these inputs the shapes (or are left out) of those that it was made with? [borrowed] one per plan input. */
bool rcd_bound_has_shapes(const rcd_bound *b, const struct rcd_tensor *in);
/** Output o, or NULL while it depends on an open input. [borrowed] lives with the binding. */
const struct rcd_tensor *rcd_bound_output(const rcd_bound *b, size_t o);
