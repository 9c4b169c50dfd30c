/* graph_bindings.h - results of models on graphs that are kept (graph_bindings.c), and who listens to their
 * changes (graph_events.c). Everything runs on the loop unless it says otherwise. */
#pragma once
#include "graphs.h"

#include <uv.h>

enum { RCD__MAX_FIXED = 64, RCD__MAX_LATER = 32 };

struct rcd__binding {
    struct rcd__binding *next;
    uv_work_t work;
    rcd_api *api;
    rcd_graph *graph; /* the version that `bound` is of, or will be when it is made */
    rcd_plan *plan;
    uint64_t fixed; /* bit per input of the plan */
    uint64_t sized; /* features that come with requests, with a row for each node or edge */
    rcd_bound *bound;
    bool making, stale; /* stale: goes as soon as it is made */
    bool follow;        /* the graph changes, or somebody listens: keep what updates need */
    bool anew;          /* this step cannot start from the one before */
    unsigned unread, listeners;
    uint64_t used_ns;
    struct rcd__infer *waits;         /* in the order of arrival */
    rcd_graph *later[RCD__MAX_LATER]; /* versions that come next */
    bool skips[RCD__MAX_LATER];       /* there are others before it that are passed over */
    size_t n_later;
    /* of the step that runs */
    rcd_bound *old, *before; /* taken by the step; kept for comparing while somebody listens */
    rcd_exec *exec;
    size_t may_bytes;
    bool stepped, followed; /* from a version before; only rows that can have changed */
    struct rcd_tensor in[RCD__MAX_FIXED];
    struct rcd_bound_entries entries[RCD__MAX_FIXED];
    struct rcd_error err;
};

/** The binding of this version, made or on its way; begun if there is none. NULL: no memory. */
struct rcd__binding *rcd__binding_of(rcd_api *api, rcd_graph *g, rcd_plan *plan, uint64_t fixed,
                                     uint64_t sized);
/** The node or edge type of a tensor or an input, by its name, as its place among rcd_graph_groups; -1: none. */
int rcd__binding_group(const rcd_graph *g, const char *tensor);
/** The shape (no data) of features with a row for each node or edge of the graph; false: graph and file do not tell it. */
bool rcd__binding_shape(const rcd_graph *g, const struct rcd_io *io, struct rcd_tensor *ret);
/** Which inputs of the plan come from the graph when a request gives none. */
uint64_t rcd__binding_inputs(const rcd_graph *g, const rcd_plan *plan, const char **ret_missing);

/* ---- graph_binding_step.c ---- */
/** Make b->bound of b->graph, from b->old where it can be; b->err says how it went. Threading: a helper thread, while the
 * loop leaves the binding alone. */
void rcd__binding_step(uv_work_t *work);

/* ---- graph_events.c ---- */
/** A step is done: b->bound is new, b->before what it was (NULL: not known). */
void rcd__graph_predictions(rcd_api *api, struct rcd__binding *b);
/** The binding goes; its streams, if there still are any, say nothing more. */
void rcd__graph_streams_forget(rcd_api *api, const struct rcd__binding *b);
/** Streams of the graph (or of this binding alone) end. */
void rcd__graph_streams_end(rcd_api *api, const char *graph, const struct rcd__binding *of,
                            const char *reason);
