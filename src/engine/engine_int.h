/* engine_int.h - inside the engine: plans, nodes, operators and the run's call object.
 *
 * An operator is one struct rcd_op. `check` runs once at load: it reads attributes, refuses what the
 * operator does not do, sets the element types of its outputs, and packs constant weights into the
 * node's state. `run` computes one request; operators that gain from seeing all requests together
 * (products with constant weights, recurrent cells) have `run_all` instead. Requests have shapes of
 * their own, so output shapes are made while running, from the worker's pool. */
#pragma once
#include "choice.h"
#include "recurd/engine.h"

struct rcd__making;
struct rcd_check;
struct rcd_call;
struct rcd_node;

struct rcd_op {
    const char *name;
    int since, until; /* opsets of the default domain in which this entry holds; until 0: open */
    rcd_status (*check)(struct rcd_check *k);
    rcd_status (*run)(struct rcd_call *c, size_t r);
    void (*run_all)(struct rcd_call *c);
    bool impure;        /* not folded even when all inputs are constant */
    const char *domain; /* NULL: the default domain */
    bool compound;      /* takes and makes lists of tensors, too */
};

/** A list of operators, one per file of ops/. */
struct rcd_op_list {
    const struct rcd_op *ops;
    size_t n;
};
/** The operator for a node, or NULL; *ret_known: the name exists in another version or domain. */
const struct rcd_op *rcd__op_find(const char *domain, const char *name, int opset, bool *ret_known);

/** What the plan knows of a value before any request. */
struct rcd_plan_value {
    rcd_dtype dtype;
    rcd_dtype elem; /* of a list's tensors (dtype RCD_SEQ) */
    bool asked;     /* whole numbers of a request, moved about at most: edge_index and its rows */
    int rank;       /* -1: not known */
    int64_t dims[RCD_MAX_RANK];        /* -1: not known; valid where rank >= 0 */
    const struct rcd_tensor *constant; /* file constant or folded; NULL: made at run time */
    uint32_t slot;                     /* place in the run's table; UINT32_MAX for constants */
};

/** Nodes of the main graph or of a body of If, Loop, Scan or SequenceMap. */
struct rcd_body {
    size_t n_nodes;
    struct rcd_node *nodes;
    size_t n_inputs, n_outputs;
    const rcd_value_id *inputs, *outputs;
    const bool *own_output; /* made inside, not an outer value or a constant */
};

struct rcd_node {
    const struct rcd_op *op;
    const struct rcd_onnx_node *src;
    size_t n_in, n_out;
    const rcd_value_id *in, *out;
    void *state;         /* operator's own, in the plan's arena */
    rcd_weights weights; /* of the operator's constant weights; f32 also where it has none */
    uint32_t packed;     /* bit i: of the constant input i only sizes are read when the node runs */
    size_t n_bodies;     /* subgraphs in the order the operator asked for them */
    struct rcd_body *bodies;
    bool joined; /* the node before may do this one, too (fuse_order.c, fuse_dots.c) */
    bool
        squeezed; /* one sparse product alone reads what this one makes: zeros may be left out (fuse_order.c) */
    size_t n_drop; /* slots whose last reader is this node */
    const uint32_t *drop;
};

/** Is it one of these operators of ONNX's own domain (ops/table.c)? */
bool rcd__is_op(const struct rcd_node *node, const char *const *names, size_t n);

/** Inputs up to here may not disagree about sizes of one name. */
enum { RCD__NAMED_INPUTS = 64 };

struct rcd_plan {
    unsigned refs; /* atomic */
    rcd_onnx_model *model;
    const struct rcd_kernels *kernels;
    struct rcd_arena arena; /* states, packed weights, folded constants */
    rcd_exec *fold_exec;    /* runs constant nodes while the plan is made; NULL afterwards */
    rcd_weights weights;
    size_t forgotten_bytes;         /* of constants, see forget.c */
    size_t stored_bytes, f32_bytes; /* of packed weights: as stored, as they would be in f32 */
    size_t n_values, n_slots;
    struct rcd_plan_value *values;
    struct rcd_body main;
    size_t n_inputs, n_outputs;
    struct rcd_io *inputs, *outputs;
    int *state_output;       /* per input: output index or -1 */
    int *output_rows;        /* per output: input index or -1 */
    int *time_in, *time_out; /* per input, output: time axis or -1 */
    bool *spreads;           /* per input: one row may stand for all edges (spread.c) */
    bool steps;              /* proved: may be run in pieces along them */
    bool sums_edges;         /* has nodes over the edges of a graph */
    size_t n_warnings;
    const char **warnings;
};

/* ---- load time ------------------------------------------------------------------------- */

enum { RCD_MAX_ATTRS = 64, RCD_MAX_BODIES = 4 };

struct rcd_check {
    rcd_plan *plan;
    struct rcd_node *node;
    const struct rcd_onnx_node *src;
    int opset;
    uint64_t attrs_seen; /* bit per attribute that check has read */
    struct rcd_error *err;
};

/** Attribute getters: mark the attribute as known. A wrong type is an error; a missing one gives the
 * default. Attributes that no getter asked for refuse the model after check. */
RCD_MUST_CHECK rcd_status rcd__attr_int(struct rcd_check *k, const char *name, int64_t def,
                                        int64_t *ret);
RCD_MUST_CHECK rcd_status rcd__attr_float(struct rcd_check *k, const char *name, float def,
                                          float *ret);
RCD_MUST_CHECK rcd_status rcd__attr_string(struct rcd_check *k, const char *name, const char *def,
                                           const char **ret);
/** Which of n names the attribute is; the first when absent. Another one is refused. */
RCD_MUST_CHECK rcd_status rcd__attr_choice(struct rcd_check *k, const char *name,
                                           const char *const *names, size_t n, size_t *ret);
/** NULL and 0 when absent; *ret_n tells the count; *ret stays valid with the plan. */
RCD_MUST_CHECK rcd_status rcd__attr_ints(struct rcd_check *k, const char *name, const int64_t **ret,
                                         size_t *ret_n);
RCD_MUST_CHECK rcd_status rcd__attr_floats(struct rcd_check *k, const char *name, const float **ret,
                                           size_t *ret_n);
RCD_MUST_CHECK rcd_status rcd__attr_strings(struct rcd_check *k, const char *name,
                                            const struct rcd_bytes **ret, size_t *ret_n);
/** The attribute itself (any type), or NULL; marks it as known. */
const struct rcd_attr *rcd__attr_any(struct rcd_check *k, const char *name);
bool rcd__attr_has(const struct rcd_check *k, const char *name);

/** Refuse with the node's name, operator and reason in front: RCD_EMODEL. */
rcd_status rcd__refuse(struct rcd_check *k, const char *fmt, ...) RCD_PRINTF(2, 3);
/** The check of operators that only fusion puts into a plan: refuses the file that names one. */
RCD_MUST_CHECK rcd_status rcd__check_fused(struct rcd_check *k);

/** Number of inputs given must lie in [min, max]; inputs < min must not be left out. Outputs too. */
RCD_MUST_CHECK rcd_status rcd__check_arity(struct rcd_check *k, size_t in_min, size_t in_max,
                                           size_t out_min, size_t out_max);
bool rcd__has_in(const struct rcd_check *k, size_t i);
bool rcd__has_out(const struct rcd_check *k, size_t i);
rcd_dtype rcd__in_type(const struct rcd_check *k, size_t i); /* RCD_NONE when left out */
/** Value of input i known at load, else NULL. */
const struct rcd_tensor *rcd__in_const(const struct rcd_check *k, size_t i);
/** Element type of output i; does nothing when it is left out. */
void rcd__set_out(struct rcd_check *k, size_t i, rcd_dtype t);

/** Sets of element types, as bits 1 << dtype. */
#define RCD_T(t) (1u << (t))
enum {
    RCD_TS_FLOAT = RCD_T(RCD_F32) | RCD_T(RCD_F64),
    RCD_TS_HALF = RCD_T(RCD_F16) | RCD_T(RCD_BF16),
    RCD_TS_SINT = RCD_T(RCD_I8) | RCD_T(RCD_I16) | RCD_T(RCD_I32) | RCD_T(RCD_I64),
    RCD_TS_UINT = RCD_T(RCD_U8) | RCD_T(RCD_U16) | RCD_T(RCD_U32) | RCD_T(RCD_U64),
    RCD_TS_INT = RCD_TS_SINT | RCD_TS_UINT,
    RCD_TS_NUM = RCD_TS_FLOAT | RCD_TS_INT,
    RCD_TS_INDEX = RCD_T(RCD_I32) | RCD_T(RCD_I64),
    RCD_TS_ALL = RCD_TS_NUM | RCD_TS_HALF | RCD_T(RCD_BOOL) | RCD_T(RCD_BYTES),
};
/** Input i (if given) must have one of the types. */
RCD_MUST_CHECK rcd_status rcd__check_type(struct rcd_check *k, size_t i, unsigned types);
/** Inputs i and j (if given) must have equal types. */
RCD_MUST_CHECK rcd_status rcd__check_same(struct rcd_check *k, size_t i, size_t j);

/** Zeroed memory that lives with the plan; NULL sets err to RCD_ENOMEM. */
void *rcd__state_new(struct rcd_check *k, size_t bytes);
void *rcd__plan_alloc(struct rcd_check *k, size_t bytes); /* aligned, undefined */

/** Output i is a list of tensors of type `elem`. */
void rcd__set_out_list(struct rcd_check *k, size_t i, rcd_dtype elem);
/** Type of a value as that of another one, with unknown rank. */
void rcd__like(struct rcd_check *k, rcd_value_id id, rcd_value_id other);
/** May a value of type `got` stand where one of type `want` is declared? */
bool rcd__fits(const struct rcd_check *k, rcd_value_id got, rcd_value_id want);
/** Inputs of the graph in an attribute, whose types are to be set before rcd__check_body. */
RCD_MUST_CHECK rcd_status rcd__body_inputs(struct rcd_check *k, const char *attr,
                                           const rcd_value_id **ret, size_t *ret_n);

/** How this node stores weights that are multiplied over `inner` rows; warns where they stay f32. */
RCD_MUST_CHECK rcd_status rcd__weights_of(struct rcd_check *k, size_t inner, rcd_weights *ret);
/** Memory to pack f32 weights into; for rcd__weights_keep. NULL sets err. */
float *rcd__weights_new(struct rcd_check *k, rcd_weights how, size_t bytes);
/** Make *p (its data from rcd__weights_new) what the plan keeps, and free what it does not. */
RCD_MUST_CHECK rcd_status rcd__weights_keep(struct rcd_check *k, rcd_weights how,
                                            struct rcd_packed *p);
/** The same for one of several matrices in a piece of memory, which stays with the caller. */
RCD_MUST_CHECK rcd_status rcd__weights_reduce(struct rcd_check *k, rcd_weights how,
                                              struct rcd_packed *p);

/** Build the plan of a subgraph attribute; the operator runs it with rcd__run_body. */
RCD_MUST_CHECK rcd_status rcd__check_body(struct rcd_check *k, const char *attr,
                                          struct rcd_body **ret_body);
/** A line for rcd_plan_warnings: node and operator are put in front. */
rcd_status rcd__warn(struct rcd_check *k, const char *fmt, ...) RCD_PRINTF(2, 3);

/* ---- run time ---------------------------------------------------------------------------- */

/** A worker's bump memory: taken while a node runs, released by setting `used` back. */
struct rcd_scratch {
    char *data; /* a reserved range that never moves */
    size_t cap, used, peak;
};

enum { RCD__LOCKSTEP_PLANS = 16, RCD__LOCKSTEP_SIZES = 8 };

struct rcd_exec {
    rcd_pool *pool;
    struct rcd_scratch scratch;
    struct rcd__team *team; /* NULL: none helps */
    size_t scratch_keep;    /* pages beyond this go back after a run */
    struct rcd__lockstep {
        const rcd_plan *plan; /* never followed: another plan may have come at its address */
        struct rcd__choice_of of[RCD__LOCKSTEP_SIZES];
    } lockstep[RCD__LOCKSTEP_PLANS]; /* see lockstep.c */
};

/** One run: the table of values and the requests. */
struct rcd_run {
    rcd_exec *x;
    const rcd_plan *plan;
    size_t n;                 /* requests; row length of slots */
    struct rcd_tensor *slots; /* [plan->n_slots][n] */
    struct rcd_infer *const *reqs;
    const volatile bool *cancel;
    size_t n_failed; /* grows whenever a request fails */
    bool bound;      /* some request has a binding */
    bool joins;      /* joined nodes are done with the node before */
    const struct rcd_block
        *squeezed; /* the value whose rows are without zeros; NULL: none (ops/chain.c) */
    const struct rcd__making *making; /* a binding is being made; else NULL */
};

/** rcd_exec_run, in lockstep in any case. run.c */
void rcd__run_lockstep(rcd_exec *x, const rcd_plan *p, size_t n, struct rcd_infer *const *reqs,
                       const volatile bool *cancel);

/** What an operator sees: the node and the requests that are still alive. Position r runs over
 * 0..n-1; req[r] is the request's index in the run. */
struct rcd_call {
    struct rcd_run *run;
    const struct rcd_node *node;
    const struct rcd_kernels *kern;
    rcd_exec *x;
    size_t n;
    const uint32_t *req;
};

static inline struct rcd_tensor *rcd__slot(const struct rcd_run *run, uint32_t slot, uint32_t req)
{
    return &run->slots[(size_t)slot * run->n + req];
}

/** Input i of request r; NULL when it was left out. */
static inline const struct rcd_tensor *rcd__in(const struct rcd_call *c, size_t i, size_t r)
{
    if (i >= c->node->n_in || c->node->in[i] == RCD_NO_VALUE)
        return NULL;
    const struct rcd_plan_value *v = &c->run->plan->values[c->node->in[i]];
    return v->constant != NULL ? v->constant : rcd__slot(c->run, v->slot, c->req[r]);
}

/** Output i of request r (RCD_NONE on entry); NULL when nobody wants it. */
static inline struct rcd_tensor *rcd__out(const struct rcd_call *c, size_t i, size_t r)
{
    if (i >= c->node->n_out || c->node->out[i] == RCD_NO_VALUE)
        return NULL;
    const struct rcd_plan_value *v = &c->run->plan->values[c->node->out[i]];
    return rcd__slot(c->run, v->slot, c->req[r]);
}

/** Fail request r: node and operator are put in front of the message. Returns code. */
rcd_status rcd__fail(const struct rcd_call *c, size_t r, rcd_status code, const char *fmt, ...)
    RCD_PRINTF(4, 5);
static inline bool rcd__alive(const struct rcd_call *c, size_t r)
{
    return c->run->reqs[c->req[r]]->err.code == RCD_OK;
}

/** New output i of request r from the pool; on failure the request is failed. `out` may be NULL (not
 * wanted): then nothing happens and *ret stays NULL. */
RCD_MUST_CHECK rcd_status rcd__new_out(const struct rcd_call *c, size_t i, size_t r, rcd_dtype t,
                                       int rank, const int64_t *dims, struct rcd_tensor **ret);
/** Nodes right behind the call's own that are done with it in this run (fuse_order.c, fuse_dots.c). */
enum { RCD__JOINED = 2 };
size_t rcd__joined(const struct rcd_call *c);
/** Does a binding that is being made keep output i, or may it? Then it is as others read it. */
bool rcd__out_kept(const struct rcd_call *c, size_t i);
/** Output i of request r shares the data of `src` under another shape of as many elements. */
rcd_status rcd__alias_out(const struct rcd_call *c, size_t i, size_t r,
                          const struct rcd_tensor *src, int rank, const int64_t *dims);
/** A tensor or list once more, with a reference of its own. */
static inline struct rcd_tensor rcd__share(const struct rcd_tensor *t)
{
    struct rcd_tensor more = *t;
    more.block = rcd_block_ref(t->block);
    return more;
}
/** Memory for the duration of one node; NULL fails the request (the _try form leaves that to the
 * caller, for memory that belongs to the whole batch). */
void *rcd__scratch(const struct rcd_call *c, size_t r, size_t bytes);
void *rcd__scratch_try(const struct rcd_call *c, size_t bytes);

/** Run a body for the requests in `req`; its outputs are left in the slots of body->outputs. */
void rcd__run_body(struct rcd_run *run, const struct rcd_body *body, size_t n, const uint32_t *req);
/** Output i of a body that has run: a new reference (to a constant: none is needed). */
struct rcd_tensor rcd__body_output(const struct rcd_run *run, const struct rcd_body *body, size_t i,
                                   uint32_t req);
/** Drop the outputs that the body itself made, once they have been taken. */
void rcd__body_done(struct rcd_run *run, const struct rcd_body *body, uint32_t req);

/* ---- shapes ------------------------------------------------------------------------------- */

/** Axis in [-rank, rank) made non-negative; on failure fails the request. */
RCD_MUST_CHECK rcd_status rcd__axis(const struct rcd_call *c, size_t r, int64_t axis, int rank,
                                    int *ret);
/** Element i of an integer tensor (int32, int64, ...) as int64. */
int64_t rcd__int_at(const struct rcd_tensor *t, size_t i);
/** Element i of an index tensor into an axis of `size`, made non-negative; on failure fails the
 * request and names the index. */
RCD_MUST_CHECK rcd_status rcd__index_at(const struct rcd_call *c, size_t r,
                                        const struct rcd_tensor *idx, size_t i, int64_t size,
                                        size_t *ret);
/** Product of dims[from..to). */
size_t rcd__span(const int64_t *dims, int from, int to);

/** Loops of a broadcasting operator over up to 3 inputs: dims are merged where all inputs walk them
 * alike, strides are in elements, 0 along broadcast axes. */
struct rcd_bcast {
    int rank; /* of the loops; >= 1 */
    int64_t dims[RCD_MAX_RANK];
    int64_t stride[3][RCD_MAX_RANK];
    int out_rank;
    int64_t out_dims[RCD_MAX_RANK];
};
/** Fails the request with both shapes when they do not broadcast (numpy rules). */
RCD_MUST_CHECK rcd_status rcd__broadcast(const struct rcd_call *c, size_t r, size_t n,
                                         const struct rcd_tensor *const *t, struct rcd_bcast *ret);
