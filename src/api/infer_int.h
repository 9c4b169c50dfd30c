/* infer_int.h - one inference request on its way through the scheduler. */
#pragma once
#include "api_int.h"
#include "graphs.h"
#include "stores.h"

/* An output that goes into the answer, in the order of the answer. */
struct rcd__asked {
    size_t index; /* of the plan's outputs */
    bool binary;
    uint64_t classification;
};

/** A request's session. */
struct rcd__sequence {
    bool given, start, end, entered;
    struct rcd_session_id id; /* text in the request's memory */
    struct rcd__store *store;
    struct rcd_session_ref ref;
    uint32_t use;
    struct rcd_session_turn turn;
};

/** A request's graph. */
struct rcd__on_graph {
    const char *name; /* parameter "graph", in the request's memory; NULL: none */
    uint64_t version; /* the one that is wanted; 0: the newest */
    rcd_graph *graph; /* a reference */
    uint64_t fixed;   /* bit per input that comes from it */
    uint64_t sized;   /* ... that the request brings, with a row for each of its nodes or edges */
    rcd_bound *bound; /* a reference */
    const char
        *type; /* of the nodes asked for, in the request's memory; NULL: the only one there is */
    size_t n_rows;  /* nodes of that type */
    int64_t *nodes; /* those asked for; NULL: all */
    size_t n_nodes;
    struct rcd__infer *next; /* waits for the same binding */
    void (*go)(struct rcd__infer *x, const struct rcd_error *err);
};

struct rcd__infer {
    struct rcd_job job; /* first: the scheduler's callbacks get its address */
    rcd_api *api;
    struct rcd__infer *next_spare, *next_arrived;
    rcd_http_req *req;
    rcd_version *version;   /* a reference */
    struct rcd_arena arena; /* decoded request, classification; one thread at a time */
    struct rcd_buf inflated, out;
    rcd_coding coding_in, coding_out; /* coding_out: wanted, then what `out` really is in */
    size_t json_len;                  /* of the request's header, or RCD_NO_JSON_LEN */
    size_t answer_json_len;           /* 0: no blobs */
    struct rcd_wire_request wire;
    struct rcd__asked *asked;
    size_t n_asked;
    rcd_nonfinite nonfinite;
    uint64_t timeout_ns;          /* for the wait in the queue; 0: none */
    bool graph_inside;            /* the request brings a graph: rows count its nodes and edges */
    struct rcd__objects *objects; /* the request is of the form in graph_objects.h; else NULL */
    const struct rcd_tensor *batch_ptr, *targets; /* given beside the model's inputs; NULL: not */
    bool decoded;                                 /* on the loop, when it came */
    bool apart;  /* a helper thread had a part of it: it is suspended */
    bool timing; /* tell times in the answer */
    struct rcd__sequence seq;
    struct rcd__on_graph on_graph;
};

/* infer.c: a request that is made, or has failed, goes to the scheduler, or is answered. */
void rcd__infer_submit(struct rcd__infer *x, const struct rcd_error *failed);
/* infer_arrive.c, from the request's handler: it is held and submitted by rcd__infer_settle. False: it has to
 * be submitted now. */
RCD_MUST_CHECK bool rcd__infer_arrive(struct rcd__infer *x);
/* infer_inputs.c: bytes -> job.infer, rows and the fields above. RCD_EINVAL and kin. */
RCD_MUST_CHECK rcd_status rcd__infer_decode(struct rcd__infer *x, struct rcd_error *err);
/* graph_inside.c: what a graph in the request brings beside the model's inputs (batch_ptr, targets, nodes).
 * False: the model has an input of that name, or the name means nothing here. */
bool rcd__graph_beside(struct rcd__infer *x, const struct rcd_wire_input *given);
/* After all inputs are there: `batch` from `batch_ptr`, the rows that are asked for. RCD_EINVAL. */
RCD_MUST_CHECK rcd_status rcd__graph_inside(struct rcd__infer *x, struct rcd_tensor *in,
                                            struct rcd_error *err);
/* The same in two: reading the body (any thread), and then what it is for (loop, with states). */
RCD_MUST_CHECK rcd_status rcd__infer_read(struct rcd__infer *x, struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__infer_take(struct rcd__infer *x, struct rcd_error *err);
/* infer_read.c: a large body is read on a helper thread, then `go` is called on the loop with what became of it.
 * False: it is small. Threading: loop. */
typedef void rcd__infer_go(struct rcd__infer *x, const struct rcd_error *err);
RCD_MUST_CHECK bool rcd__infer_read_apart(struct rcd__infer *x, rcd__infer_go *go);
/* infer_params.c: the request's parameters. */
RCD_MUST_CHECK rcd_status rcd__infer_params(struct rcd__infer *x, struct rcd_error *err);
/* sequence.c: find the session's store, and with it the version that runs the request. RCD_EINVAL,
 * RCD_ECONFLICT. */
RCD_MUST_CHECK rcd_status rcd__sequence_find(struct rcd__infer *x, struct rcd_error *err);
/* After the inputs are known. RCD_EINVAL, RCD_EUNAVAILABLE and kin. */
RCD_MUST_CHECK rcd_status rcd__sequence_enter(struct rcd__infer *x, unsigned *retry_after_s,
                                              struct rcd_error *err);
void rcd__sequence_leave(struct rcd__infer *x);
RCD_MUST_CHECK rcd_status rcd__sequence_begin(struct rcd__infer *x, struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__sequence_commit(struct rcd__infer *x, bool *later,
                                               struct rcd_error *err);
/* Is output `at` of the plan a state? */
bool rcd__is_state_output(const rcd_plan *plan, size_t at);
/* infer_answer.c: job.infer.out -> x->out. */
RCD_MUST_CHECK rcd_status rcd__infer_encode(struct rcd__infer *x, struct rcd_error *err);
/* infer_inputs.c: the shape of a tensor that comes as `len` bytes alone. RCD_EINVAL. */
RCD_MUST_CHECK rcd_status rcd__raw_shape(const struct rcd_io *io, size_t len,
                                         int64_t dims[RCD_MAX_RANK], struct rcd_error *err);
