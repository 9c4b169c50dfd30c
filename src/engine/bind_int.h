/* bind_int.h - a binding as the run sees it. */
#pragma once
#include "engine_int.h"
#include "recurd/engine_bind.h"

struct rcd__live;
struct rcd__rowstore;

struct rcd_bound {
    unsigned refs; /* atomic */
    rcd_plan *plan;
    size_t bytes;
    struct rcd_tensor *in;     /* per input: shape of a fixed one (no data), RCD_NONE: open */
    struct rcd_tensor *shapes; /* per input: of an open one whose shape is known, else RCD_NONE */
    struct rcd_tensor *values; /* per slot: kept value, RCD_NONE: none */
    bool *done;                /* per node of the main body */
    bool *keep;                /* per slot */
    void *data;                /* of the values; NULL: they have stores */
    struct rcd__rowstore *
        *stores; /* per slot; references; until a value is there, memory that it may take */
    struct rcd__live *live; /* what updates need; moves to the next binding */
    const char *not_live;
    bool wants_all; /* it would be live if every value were kept */
    struct rcd__changed {
        bool known;
        size_t n;
        int32_t *rows;
    } * changed; /* per output, after an update */
    struct rcd_bound_effort effort;
};

/** While a binding is made: the run does the nodes that are to be done, and hands over. */
struct rcd__making {
    const bool *done; /* per node of the main body: run it */
    const bool *keep; /* per slot: do not drop it */
    rcd_bound *bound;
    rcd_status (*take)(rcd_bound *b, const struct rcd_tensor *slots, const bool *keep,
                       struct rcd_error *err);
    struct rcd__live *live; /* is told of every node that has run; may be NULL */
};

/** Is an input's shape fixed, but nothing in it? */
static inline bool rcd__shape_alone(const struct rcd_tensor *t)
{
    return t->dtype != RCD_NONE && t->data == NULL && t->n > 0;
}

struct rcd__team;
/** A new binding without values, and what of the plan it does and keeps (bind.c). `like`: one of other versions of the
 * same inputs, of which in[] has the shapes; NULL: where an input has no data, its shape alone is fixed. */
RCD_MUST_CHECK rcd_status rcd__bound_begin(rcd_plan *p, const struct rcd_tensor *in,
                                           const rcd_bound *like, rcd_bound **ret,
                                           struct rcd_error *err);
/** The values that a live binding gives out (bind_live.c); RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd__bound_publish(rcd_bound *b, struct rcd__live *l,
                                             struct rcd__team *team, struct rcd_error *err);
/** Memory for a value that a binding gives out: as much as the one before had there, if it is large enough. In b->values. */
RCD_MUST_CHECK rcd_status rcd__bound_value(rcd_bound *b, uint32_t slot,
                                           const struct rcd_tensor *shape, struct rcd_error *err);
void rcd__bound_drop_live(rcd_bound *b);
/** Node i has run (incremental.c). */
void rcd__live_ran(struct rcd__live *l, const struct rcd_run *run, size_t i);
/** May products be done with the sums before them while it is made? What lies between is kept nowhere then. */
bool rcd__live_joins(const struct rcd__live *l);

/** Run for one request the nodes that `making` names (run.c). The error is in req->err, too. */
RCD_MUST_CHECK rcd_status rcd__exec_bind(rcd_exec *x, const rcd_plan *p, struct rcd_infer *req,
                                         const struct rcd__making *making,
                                         const volatile bool *cancel);
/** Sizes of the same name are equal in all inputs that are there (plan_io.c), but for one row that stands for all edges
 * (spread.c): RCD_EINVAL. */
RCD_MUST_CHECK rcd_status rcd__check_names(const rcd_plan *p, const struct rcd_infer *req,
                                           struct rcd_error *err);
/** One input against its description (plan_io.c): RCD_EINVAL. */
RCD_MUST_CHECK rcd_status rcd__check_input(const struct rcd_io *io, const struct rcd_tensor *t,
                                           struct rcd_error *err);
