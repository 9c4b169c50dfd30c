/* graphs.h - what the endpoints of graphs and inference on them share. */
#pragma once
#include "api_int.h"
#include "recurd/engine_bind.h"
#include "recurd/graphs.h"

struct rcd__infer;
struct rcd_prom;

void rcd__metrics_graphs(const rcd_api *api, struct rcd_prom *p);
/** A new version is the newest one: what is kept and used goes on to it. */
void rcd__graph_changed(rcd_api *api, rcd_graph *g);
/** The graph goes. */
void rcd__graph_forget(rcd_api *api, const char *name);

/* ---- graph_infer.c, graph_bindings.c: a request whose inputs come from a graph --------------------------------------- */

/** After the parameters: find the graph. RCD_ENOTFOUND, RCD_ECONFLICT. */
RCD_MUST_CHECK rcd_status rcd__graph_find(struct rcd__infer *x, struct rcd_error *err);
/** The type of the nodes that a request asks for. */
const char *rcd__graph_node_type(const struct rcd__infer *x);
/** Nodes of a type by id or index, as indices in the request's memory. RCD_EINVAL, RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd__graph_nodes(struct rcd__infer *x, const char *type,
                                           const struct rcd_tensor *who, int64_t **ret,
                                           struct rcd_error *err);
/** After the inputs: which come from the graph, which nodes are asked for. RCD_EINVAL. */
RCD_MUST_CHECK rcd_status rcd__graph_inputs(struct rcd__infer *x, struct rcd_tensor *in,
                                            struct rcd_error *err);
/** Is the binding there? Else it is being made, and `go` is called on the loop when it is, or when it
 * could not be made (then with an error). */
RCD_MUST_CHECK bool rcd__graph_bind(struct rcd__infer *x,
                                    void (*go)(struct rcd__infer *x, const struct rcd_error *err));
/** Of an output, the rows of the nodes that were asked for, in place of all. RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd__graph_rows(struct rcd__infer *x, size_t output,
                                          const struct rcd_tensor **t, struct rcd_error *err);
void rcd__graph_release(struct rcd__infer *x);

/* ---- graph_derive.c: inputs that follow from a graph ------------------------------------------------- */

struct rcd__derived {
    struct rcd_tensor basis, values, batch; /* data of their own; NULL where not made */
};
/** Is this one, for this graph? */
bool rcd__graph_derives(const rcd_graph *g, const char *input);
/** The fixed inputs of `in` that are RCD_NONE; data live in `d`. May take long: not on the loop. Errors as
 * rcd_graph_spectrum. */
RCD_MUST_CHECK rcd_status rcd__graph_derive(rcd_graph *g, const rcd_plan *plan, uint64_t fixed,
                                            size_t max_nodes, struct rcd_tensor *in,
                                            struct rcd__derived *d, struct rcd_error *err);
void rcd__derived_done(struct rcd__derived *d);

/** Bindings that are kept; a list of the api's. */
struct rcd__binding;
void rcd__bindings_free(rcd_api *api);
/** Send what waits in the streams of predictions; end those whose model is gone. */
void rcd__graph_events_pump(rcd_api *api);
/** Let go what is idle or over the limit. */
void rcd__bindings_tidy(rcd_api *api, uint64_t now_ns);
