/* loop.c - Loop: the body runs for all requests together, iteration by iteration; those whose condition
 * is false or whose trips are used up drop out, as in If. */
#include "stack.h"

#include <string.h>

/* A condition that never becomes false ends here and not with the watchdog. */
enum { LOOP_MAX_TRIPS = 100 * 1000 * 1000 };

struct state {
    struct rcd_body *body;
    size_t n_carried, n_scans;
};

/* One request on its way. */
struct lane {
    size_t r; /* position in the call */
    int64_t trips;
    bool on;
};

struct work {
    struct rcd_call *c;
    const struct state *s;
    size_t n;
    struct lane *lanes;
    struct rcd_tensor *carried; /* [n][n_carried] */
    struct rcd__stack *stacks;  /* [n][n_scans] */
    uint32_t *req;              /* of the lanes that run now */
    size_t *lane_of;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    const rcd_value_id *in = NULL;
    size_t n = 0;
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 0, SIZE_MAX, 0, SIZE_MAX);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_T(RCD_I64));
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_T(RCD_BOOL));
    if (st == RCD_OK)
        st = rcd__body_inputs(k, "body", &in, &n);
    if (st != RCD_OK)
        return st;
    s->n_carried = k->node->n_in > 2 ? k->node->n_in - 2 : 0;
    if (n != s->n_carried + 2)
        return rcd__refuse(k, "the body has %zu inputs, want %zu", n, s->n_carried + 2);
    k->plan->values[in[0]].dtype = RCD_I64;
    k->plan->values[in[1]].dtype = RCD_BOOL;
    for (size_t i = 0; i < s->n_carried; i++) {
        if (!rcd__has_in(k, i + 2))
            return rcd__refuse(k, "carried value %zu is left out", i);
        rcd__like(k, in[i + 2], k->node->in[i + 2]);
    }
    st = rcd__check_body(k, "body", &s->body);
    if (st != RCD_OK)
        return st;
    if (s->body->n_outputs < s->n_carried + 1 || k->node->n_out > s->body->n_outputs - 1)
        return rcd__refuse(k, "the body has %zu outputs, the node %zu and %zu carried values",
                           s->body->n_outputs, k->node->n_out, s->n_carried);
    s->n_scans = s->body->n_outputs - 1 - s->n_carried;
    if (k->plan->values[s->body->outputs[0]].dtype != RCD_BOOL)
        return rcd__refuse(k, "the body's condition is no bool");
    for (size_t i = 0; i < s->body->n_outputs - 1; i++) {
        rcd_value_id out = s->body->outputs[i + 1];
        if (i < s->n_carried && !rcd__fits(k, out, in[i + 2]))
            return rcd__refuse(k, "carried value %zu goes in as %s and comes out as %s", i,
                               rcd_dtype_onnx_name(k->plan->values[in[i + 2]].dtype),
                               rcd_dtype_onnx_name(k->plan->values[out].dtype));
        if (i >= s->n_carried && k->plan->values[out].dtype == RCD_SEQ)
            return rcd__refuse(k, "scan output %zu is a sequence", i - s->n_carried);
        if (rcd__has_out(k, i))
            rcd__like(k, k->node->out[i], out);
    }
    return RCD_OK;
}

/* A scalar, or [1] where the body's input is declared so. */
static rcd_status set_scalar(const struct work *w, size_t r, rcd_value_id id, rcd_dtype t,
                             int64_t v)
{
    const rcd_plan *p = w->c->run->plan;
    const int64_t one = 1;
    const int rank = id < p->model->n_values && p->model->values[id].rank == 1;
    struct rcd_tensor *slot = rcd__slot(w->c->run, p->values[id].slot, w->c->req[r]);
    struct rcd_error err;
    if (rcd_tensor_new(slot, w->c->x->pool, t, rank, &one, &err) != RCD_OK)
        return rcd__fail(w->c, r, RCD_ENOMEM, "%s", err.text);
    if (t == RCD_I64)
        *(int64_t *)slot->data = v;
    else
        *(uint8_t *)slot->data = v != 0;
    return RCD_OK;
}

static void drop_inputs(const struct work *w, size_t r)
{
    const struct rcd_body *b = w->s->body;
    for (size_t i = 0; i < b->n_inputs; i++)
        rcd_tensor_drop(
            rcd__slot(w->c->run, w->c->run->plan->values[b->inputs[i]].slot, w->c->req[r]));
}

static bool truth(const struct work *w, size_t r, const struct rcd_tensor *t, bool *ret)
{
    if (t->n != 1)
        rcd__fail(w->c, r, RCD_EINVAL, "the condition has %zu elements, want 1", t->n);
    else
        *ret = *(const uint8_t *)t->data != 0;
    return t->n == 1;
}

static void begin(const struct work *w, struct lane *l)
{
    const struct rcd_tensor *m = rcd__in(w->c, 0, l->r), *cond = rcd__in(w->c, 1, l->r);
    l->trips = INT64_MAX;
    l->on = true;
    if (m != NULL && m->n != 1) {
        rcd__fail(w->c, l->r, RCD_EINVAL, "the trip count has %zu elements, want 1", m->n);
        return;
    }
    if (m != NULL)
        l->trips = rcd__int_at(m, 0);
    if (cond != NULL && !truth(w, l->r, cond, &l->on))
        return;
    for (size_t i = 0; i < w->s->n_carried; i++)
        w->carried[l->r * w->s->n_carried + i] = rcd__share(rcd__in(w->c, i + 2, l->r));
}

/* The carried values move into the body's inputs. */
static void enter(const struct work *w, const struct lane *l, int64_t trip)
{
    const struct rcd_body *b = w->s->body;
    rcd_status st = set_scalar(w, l->r, b->inputs[0], RCD_I64, trip);
    if (st == RCD_OK)
        st = set_scalar(w, l->r, b->inputs[1], RCD_BOOL, 1);
    for (size_t i = 0; st == RCD_OK && i < w->s->n_carried; i++) {
        struct rcd_tensor *from = &w->carried[l->r * w->s->n_carried + i];
        *rcd__slot(w->c->run, w->c->run->plan->values[b->inputs[i + 2]].slot, w->c->req[l->r]) =
            *from;
        *from = (struct rcd_tensor){.dtype = RCD_NONE};
    }
}

static void leave(const struct work *w, struct lane *l)
{
    const struct rcd_body *b = w->s->body;
    const uint32_t req = w->c->req[l->r];
    struct rcd_tensor cond = rcd__body_output(w->c->run, b, 0, req);
    (void)truth(w, l->r, &cond, &l->on);
    rcd_tensor_drop(&cond);
    for (size_t i = 0; i < w->s->n_carried; i++)
        w->carried[l->r * w->s->n_carried + i] = rcd__body_output(w->c->run, b, i + 1, req);
    for (size_t i = 0; i < w->s->n_scans && rcd__alive(w->c, l->r); i++) {
        if (rcd__out(w->c, w->s->n_carried + i, l->r) == NULL)
            continue;
        struct rcd_tensor row = rcd__body_output(w->c->run, b, w->s->n_carried + 1 + i, req);
        if (rcd__stack_add(w->c, l->r, &w->stacks[l->r * w->s->n_scans + i], &row) != RCD_OK)
            l->on = false;
        rcd_tensor_drop(&row);
    }
    rcd__body_done(w->c->run, b, req);
    drop_inputs(w, l->r);
}

static void finish(const struct work *w, size_t r)
{
    for (size_t i = 0; i < w->s->n_carried; i++) {
        struct rcd_tensor *from = &w->carried[r * w->s->n_carried + i], *to = rcd__out(w->c, i, r);
        if (to != NULL && rcd__alive(w->c, r))
            *to = *from;
        else
            rcd_tensor_drop(from);
    }
    for (size_t i = 0; i < w->s->n_scans; i++) {
        struct rcd__stack *s = &w->stacks[r * w->s->n_scans + i];
        if (rcd__alive(w->c, r))
            (void)rcd__stack_out(w->c, r, s, w->s->n_carried + i,
                                 w->s->body->outputs[w->s->n_carried + 1 + i], false);
        rcd__stack_drop(s);
    }
}

static bool cancelled(const struct rcd_call *c)
{
    return c->run->cancel != NULL && *c->run->cancel;
}

static void iterate(const struct work *w)
{
    for (int64_t trip = 0;; trip++) {
        size_t m = 0;
        for (size_t r = 0; r < w->n; r++) {
            struct lane *l = &w->lanes[r];
            if (!rcd__alive(w->c, r) || !l->on || trip >= l->trips)
                continue;
            if (trip == LOOP_MAX_TRIPS)
                rcd__fail(w->c, r, RCD_EINVAL, "still runs after %d iterations", LOOP_MAX_TRIPS);
            else if (cancelled(w->c)) /* the body may have no node that would look */
                rcd__fail(w->c, r, RCD_ECANCELLED, "cancelled while running");
            else
                enter(w, l, trip);
            if (!rcd__alive(w->c, r))
                continue;
            w->lane_of[m] = r;
            w->req[m++] = w->c->req[r];
        }
        if (m == 0)
            return;
        rcd__run_body(w->c->run, w->s->body, m, w->req);
        for (size_t i = 0; i < m; i++) {
            if (rcd__alive(w->c, w->lane_of[i]))
                leave(w, &w->lanes[w->lane_of[i]]);
        }
    }
}

static void run_all(struct rcd_call *c)
{
    const struct state *s = c->node->state;
    struct work w = {.c = c, .s = s, .n = c->n};
    w.lanes = rcd__scratch_try(c, c->n * sizeof *w.lanes);
    w.carried = rcd__scratch_try(c, c->n * (s->n_carried + 1) * sizeof *w.carried);
    w.stacks = rcd__scratch_try(c, c->n * (s->n_scans + 1) * sizeof *w.stacks);
    w.req = rcd__scratch_try(c, c->n * sizeof *w.req);
    w.lane_of = rcd__scratch_try(c, c->n * sizeof *w.lane_of);
    if (w.lanes == NULL || w.carried == NULL || w.stacks == NULL || w.req == NULL ||
        w.lane_of == NULL) {
        for (size_t r = 0; r < c->n; r++)
            rcd__fail(c, r, RCD_ENOMEM, "no scratch memory for %zu requests", c->n);
        return;
    }
    memset(w.carried, 0, c->n * (s->n_carried + 1) * sizeof *w.carried);
    memset(w.stacks, 0, c->n * (s->n_scans + 1) * sizeof *w.stacks);
    for (size_t r = 0; r < c->n; r++) {
        w.lanes[r] = (struct lane){.r = r};
        begin(&w, &w.lanes[r]);
    }
    iterate(&w);
    for (size_t r = 0; r < c->n; r++)
        finish(&w, r);
}

static const struct rcd_op ops[] = {
    {.name = "Loop", .since = 1, .check = check, .run_all = run_all, .compound = true}};
RCD_OP_LIST(loop, ops);
