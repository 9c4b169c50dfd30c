/* sequence.c - an inference request that belongs to a session: find it, enter it in the order of arrival,
 * give the run its state, keep what the run made of it. find, enter and leave run on the loop, begin and
 * commit on the worker that runs the request. */
#include "infer_int.h"

#include <string.h>

bool rcd__is_state_output(const rcd_plan *plan, size_t at)
{
    size_t n = 0;
    rcd_plan_inputs(plan, &n);
    for (size_t i = 0; i < n; i++) {
        if (rcd_plan_state_output(plan, i) == (int)at)
            return true;
    }
    return false;
}

/* ---- on the loop -------------------------------------------------------------------------------- */

rcd_status rcd__sequence_find(struct rcd__infer *x, struct rcd_error *err)
{
    const char *model = rcd_version_model(x->version);
    const char *wanted = rcd_http_segment(x->req, "version");
    if (rcd__served(x->version)->store == NULL)
        return rcd_fail(err, RCD_EINVAL,
                        "model '%s' keeps no state: model.json has no \"state\"; send the request "
                        "without 'sequence_id'",
                        model);
    const bool alone = __atomic_load_n(&rcd__served(x->version)->store->alone, __ATOMIC_RELAXED);
    struct rcd__store *store =
        alone && wanted == NULL ? NULL : rcd__store_with(x->api->opts.stores, model, &x->seq.id);
    if (store != NULL && store == rcd__served(x->version)->store) {
        store = wanted == NULL || store->version == NULL ? rcd__store_of(x->version) : store;
    } else if (store == NULL) {
        store = rcd__store_of(x->version);
    }
    x->seq.store = store;
    if (store->version == NULL) /* found in a file a moment ago */
        rcd__store_pin(store, x->api->opts.registry);
    if (store->version == NULL && store != rcd__served(x->version)->store)
        return rcd_fail(err, RCD_EUNAVAILABLE,
                        "the session belongs to version %llu of model '%s', which is not loaded",
                        rcd__store_number(store), model);
    rcd_version *runs = store->version;
    if (runs == NULL || runs == x->version)
        return RCD_OK;
    if (wanted != NULL && strcmp(wanted, rcd_version_number(runs)) != 0)
        return rcd_fail(err, RCD_ECONFLICT,
                        "the session belongs to version %s of model '%s', not to %s",
                        rcd_version_number(runs), model, wanted);
    rcd_version_ref(runs);
    rcd_version_unref(x->version);
    x->version = runs;
    return RCD_OK;
}

static rcd_status check_inputs(const struct rcd__infer *x, struct rcd_error *err)
{
    size_t n = 0;
    const rcd_plan *plan = rcd_version_plan(x->version);
    const struct rcd_io *io = rcd_plan_inputs(plan, &n);
    for (size_t i = 0; i < n && !x->seq.start; i++) {
        if (rcd_plan_state_output(plan, i) >= 0 && x->job.infer.in[i].dtype != RCD_NONE)
            return rcd_fail(
                err, RCD_EINVAL,
                "input '%s' is a state, which the server keeps for the session: give it "
                "with sequence_start only, or set it by PUT .../state",
                io[i].name);
    }
    if (x->job.rows > 1 && x->on_graph.graph == NULL && !x->graph_inside)
        return rcd_fail(err, RCD_EINVAL, "a request of a session has batch size 1, not %zu",
                        x->job.rows);
    return RCD_OK;
}

/* A size of the state that has the name of an axis of input k against what the graph has there. */
static rcd_status check_size(const struct rcd__infer *x, const struct rcd_io *state,
                             const int64_t *dims, const char *name, int64_t size,
                             struct rcd_error *err)
{
    for (int e = 0; name != NULL && e < state->rank; e++) {
        const char *mine = state->dim_names[e];
        if (mine != NULL && strcmp(mine, name) == 0 && dims[e] != size)
            return rcd_fail(err, RCD_ECONFLICT,
                            "the sessions of model '%s' keep a state '%s' of %lld nodes, but graph "
                            "'%s' version %llu "
                            "has %lld (the \"shape\" of a state stands in model.json)",
                            rcd_version_model(x->version), state->name, (long long)dims[e],
                            rcd_graph_name(x->on_graph.graph),
                            (unsigned long long)rcd_graph_version(x->on_graph.graph),
                            (long long)size);
    }
    return RCD_OK;
}

/* A session is bound to a number of nodes; the graph's may have changed. */
static rcd_status check_nodes(const struct rcd__infer *x, struct rcd_error *err)
{
    size_t n = 0, n_states = 0, s = 0;
    const rcd_plan *plan = rcd_version_plan(x->version);
    const struct rcd_io *io = rcd_plan_inputs(plan, &n);
    const struct rcd_state_shape *states = rcd_sessions_states(x->seq.store->sessions, &n_states);
    const int64_t nodes = rcd_graph_nodes(x->on_graph.graph, "");
    rcd_status st = RCD_OK;
    for (size_t i = 0; i < n; i++) {
        if (rcd_plan_state_output(plan, i) < 0)
            continue;
        const int64_t *dims = states[s++].dims;
        for (size_t k = 0; st == RCD_OK && k < n; k++) {
            const bool fixed = (x->on_graph.fixed >> k & 1) != 0;
            const struct rcd_tensor *t =
                fixed ? rcd_graph_tensor(x->on_graph.graph, io[k].name) : NULL;
            for (int d = 0; st == RCD_OK && t != NULL && d < io[k].rank && d < t->rank; d++)
                st = check_size(x, &io[i], dims, io[k].dim_names[d], t->dims[d], err);
            if (st == RCD_OK && !fixed && nodes >= 0 && io[k].rank > 0 &&
                strcmp(io[k].name, "x") == 0)
                st = check_size(x, &io[i], dims, io[k].dim_names[0], nodes, err);
        }
    }
    return st;
}

static uint64_t hash_inputs(const struct rcd__infer *x)
{
    size_t n = 0;
    uint64_t hash = x->seq.start;
    rcd_plan_inputs(rcd_version_plan(x->version), &n);
    for (size_t i = 0; i < n; i++) {
        const struct rcd_tensor *t = &x->job.infer.in[i];
        hash =
            rcd_session_hash(hash ^ (uint64_t)t->dtype, t->dims, (size_t)t->rank * sizeof *t->dims);
        for (size_t k = 0; t->dtype == RCD_BYTES && k < t->n; k++) {
            const struct rcd_bytes *b = &((const struct rcd_bytes *)t->data)[k];
            hash = rcd_session_hash(hash, b->ptr, b->len);
        }
        if (t->dtype != RCD_BYTES && t->dtype != RCD_NONE)
            hash = rcd_session_hash(hash, t->data, t->n * rcd_dtype_size(t->dtype));
    }
    return hash;
}

rcd_status rcd__sequence_enter(struct rcd__infer *x, unsigned *retry_after_s, struct rcd_error *err)
{
    struct rcd__sequence *q = &x->seq;
    rcd_status st = check_inputs(x, err);
    if (st == RCD_OK && x->on_graph.graph != NULL)
        st = check_nodes(x, err);
    q->turn.start = q->start;
    q->turn.end = q->end;
    q->turn.row = UINT32_MAX;
    if (q->turn.step != 0)
        q->turn.input_hash = hash_inputs(x);
    if (st == RCD_OK && q->end && q->turn.step != 0 &&
        !rcd_session_known(q->store->sessions, &q->id)) {
        st = rcd_session_last(q->store->sessions, &q->id, &q->turn, err);
        if (st != RCD_ENOTFOUND)
            return st;
        st = RCD_OK;
    }
    if (st == RCD_OK)
        st = rcd_session_enter(q->store->sessions, &q->id, q->start ? RCD_SESSION_START : 0,
                               &q->ref, &q->use, retry_after_s, err);
    if (st != RCD_OK)
        return st;
    q->entered = true;
    void **user = rcd_session_user(q->store->sessions, q->use);
    if (*user == NULL) { /* alloc: the C library has some ready, but not for calloc */
        struct rcd_serial *serial = rcd_alloc(sizeof *serial);
        if (serial == NULL)
            return rcd_fail(err, RCD_ENOMEM, "no memory for a session's queue");
        *serial = (struct rcd_serial){0};
        *user = serial;
    }
    x->job.serial = *user;
    (void)rcd__store_of(x->version); /* keeps the version for the session */
    return RCD_OK;
}

void rcd__sequence_leave(struct rcd__infer *x)
{
    if (!x->seq.entered) {
        rcd_free(x->seq.turn.answer); /* of a session that is over */
        return;
    }
    rcd_session_drop(x->seq.store->sessions, &x->seq.turn);
    rcd_free(rcd_session_leave(x->seq.store->sessions, x->seq.use));
    x->seq.entered = false;
}

/* ---- stored answers: the outputs one after the other ------------------------------------------------ */

struct stored {
    uint32_t output, dtype, rank, spare;
    uint64_t bytes;
    int64_t dims[RCD_MAX_RANK];
};

static rcd_status store_answer(const struct rcd__infer *x, struct rcd_buf *b, struct rcd_error *err)
{
    for (size_t i = 0; i < x->n_asked; i++) {
        const struct rcd_tensor *t = &x->job.infer.out[x->asked[i].index];
        if (t->dtype == RCD_BYTES)
            return rcd_fail(err, RCD_EUNSUPPORTED,
                            "'step' is for models without BYTES outputs: an answer cannot be kept");
        struct stored head = {.output = (uint32_t)x->asked[i].index,
                              .dtype = (uint32_t)t->dtype,
                              .rank = (uint32_t)t->rank,
                              .bytes = t->n * rcd_dtype_size(t->dtype)};
        memcpy(head.dims, t->dims, sizeof head.dims);
        rcd_buf_append(b, &head, sizeof head);
        rcd_buf_append(b, t->data, head.bytes);
    }
    return b->failed ? rcd_fail(err, RCD_ENOMEM, "no memory to keep an answer for its repeat")
                     : RCD_OK;
}

static rcd_status load_answer(struct rcd__infer *x, struct rcd_error *err)
{
    const struct rcd_session_turn *turn = &x->seq.turn;
    for (size_t at = 0; at + sizeof(struct stored) <= turn->answer_len;) {
        struct stored head;
        memcpy(&head, turn->answer + at, sizeof head);
        at += sizeof head;
        struct rcd_tensor *t = &x->job.infer.out[head.output];
        void *data = rcd_arena_alloc_aligned(&x->arena, head.bytes);
        if (data == NULL || !rcd_tensor_shape(t, (rcd_dtype)head.dtype, (int)head.rank, head.dims))
            return rcd_fail(err, RCD_ENOMEM, "no memory for a stored answer");
        memcpy(data, turn->answer + at, head.bytes);
        t->data = data;
        at += head.bytes;
    }
    for (size_t i = 0; i < x->n_asked; i++) {
        size_t n = 0, o = x->asked[i].index;
        if (x->job.infer.out[o].dtype == RCD_NONE)
            return rcd_fail(err, RCD_ECONFLICT,
                            "step %llu was done without output '%s': a repeat can ask for what was "
                            "asked then",
                            (unsigned long long)turn->step,
                            rcd_plan_outputs(rcd_version_plan(x->version), &n)[o].name);
    }
    return RCD_OK;
}

/* ---- on the worker ------------------------------------------------------------------------------------- */

rcd_status rcd__sequence_begin(struct rcd__infer *x, struct rcd_error *err)
{
    struct rcd__sequence *q = &x->seq;
    rcd_status st = RCD_OK;
    if (!q->turn.repeated) {
        st = rcd_session_begin(q->store->sessions, q->ref, &q->turn, err);
        if (st == RCD_EGONE) { /* perhaps by the request that this one repeats */
            rcd_status last = rcd_session_last(q->store->sessions, &q->id, &q->turn, err);
            st = last != RCD_ENOTFOUND ? last : st;
        }
    }
    if (st == RCD_OK && q->turn.repeated) {
        x->job.answered = true;
        q->turn.steps = q->turn.step;
        return load_answer(x, err);
    }
    if (st != RCD_OK || q->turn.state == NULL)
        return st;
    const rcd_plan *plan = rcd_version_plan(x->version);
    size_t n = 0, n_states = 0, at = 0, s = 0;
    rcd_plan_inputs(plan, &n);
    const struct rcd_state_shape *shapes = rcd_sessions_states(q->store->sessions, &n_states);
    struct rcd_tensor *in = rcd_arena_calloc(&x->arena, n, sizeof *in);
    if (in == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the request");
    memcpy(in, x->job.infer.in, n * sizeof *in);
    for (size_t i = 0; i < n; i++) {
        if (rcd_plan_state_output(plan, i) < 0)
            continue;
        const struct rcd_state_shape *shape = &shapes[s++];
        RCD_ASSERT(rcd_tensor_shape(&in[i], shape->dtype, shape->rank, shape->dims));
        union {
            const char *c;
            void *p;
        } data = {.c = q->turn.state + at};
        in[i].data = data.p; /* read only: the row is held until the commit */
        at += in[i].n * rcd_dtype_size(in[i].dtype);
    }
    x->job.infer.in = in;
    return RCD_OK;
}

void rcd__sequence_committed(void *request, const struct rcd_error *err)
{
    struct rcd__infer *x = request;
    if (err->code != RCD_OK)
        x->job.err = *err;
    rcd_job_finish(&x->job);
}

rcd_status rcd__sequence_commit(struct rcd__infer *x, bool *later, struct rcd_error *err)
{
    struct rcd__sequence *q = &x->seq;
    const rcd_plan *plan = rcd_version_plan(x->version);
    size_t n = 0, s = 0;
    *later = false;
    if (x->job.answered)
        return RCD_OK;
    rcd_plan_inputs(plan, &n);
    const struct rcd_tensor **states = rcd_arena_calloc(&x->arena, n, sizeof(*states));
    if (states == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the request");
    for (size_t i = 0; i < n; i++) {
        int o = rcd_plan_state_output(plan, i);
        if (o >= 0)
            states[s++] = &x->job.infer.out[o];
    }
    struct rcd_buf answer;
    rcd_buf_init(&answer, x->out.max);
    rcd_status st = RCD_OK;
    if (q->turn.step != 0)
        st = store_answer(x, &answer, err);
    if (st == RCD_OK)
        st = rcd_session_commit(q->store->sessions, q->ref, &q->turn,
                                (const struct rcd_tensor *const *)states, answer.data, answer.len,
                                x, later, err);
    rcd_buf_done(&answer);
    return st;
}
