/* steps.c - a request as a cursor over time.
 *
 * A piece is a request of its own: inputs with a time axis are cut (a view where the axis is the
 * outermost that is larger than 1, else a copy), the states are what the piece before left, everything
 * else is given whole. Outputs with a time axis are put together, of others the last piece's count.
 * Between pieces all memory is the heap's, because blocks never leave their worker; the outputs of the
 * last piece that need no putting together are handed on as they are. */
#include "bind_int.h"
#include "recurd/engine_steps.h"

#include <string.h>

struct part { /* what a piece leaves behind: a state, or an output so far */
    void *data;
    size_t cap;
};

struct rcd_stepper {
    const rcd_plan *plan;
    struct rcd_infer *whole;
    size_t max_bytes, used;
    int64_t total, at, len;
    bool first;
    struct rcd_infer piece;
    struct rcd_tensor *in, *out; /* of the piece */
    bool *wanted;
    struct part *cuts;   /* per input: copied slice */
    struct part *states; /* per input */
    struct part *sums;   /* per output */
};

static bool wants(const struct rcd_infer *req, size_t o)
{
    return req->wanted == NULL || req->wanted[o];
}

int64_t rcd_plan_steps(const rcd_plan *p, const struct rcd_infer *req)
{
    int64_t steps = 0;
    for (size_t i = 0; p->steps && i < p->n_inputs; i++) {
        int axis = p->time_in[i];
        const struct rcd_tensor *t = &req->in[i];
        if (axis >= 0 && req->bound != NULL && rcd_bound_fixes(req->bound, i))
            return 0; /* cannot be cut */
        if (axis < 0 || t->dtype == RCD_NONE)
            continue;
        if (axis >= t->rank || (steps != 0 && t->dims[axis] != steps))
            return 0;
        steps = t->dims[axis];
    }
    return steps;
}

/* ---- life ---------------------------------------------------------------------------------- */

rcd_status rcd_stepper_new(const rcd_plan *p, struct rcd_infer *whole, size_t max_bytes,
                           rcd_stepper **ret, struct rcd_error *err)
{
    size_t n_in = p->n_inputs, n_out = p->n_outputs;
    rcd_stepper *s = rcd_calloc(1, sizeof *s + (n_in + n_out) * sizeof(struct rcd_tensor) +
                                       (2 * n_in + n_out) * sizeof(struct part) + n_out);
    if (s == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory to run a sequence in pieces");
    s->plan = p;
    s->whole = whole;
    s->max_bytes = max_bytes;
    s->total = rcd_plan_steps(p, whole);
    s->first = true;
    s->in = (struct rcd_tensor *)(void *)(s + 1);
    s->out = s->in + n_in;
    s->cuts = (struct part *)(void *)(s->out + n_out);
    s->states = s->cuts + n_in;
    s->sums = s->states + n_in;
    s->wanted = (bool *)(void *)(s->sums + n_out);
    for (size_t o = 0; o < n_out; o++)
        s->wanted[o] = wants(whole, o);
    for (size_t i = 0; i < n_in; i++) {
        if (p->state_output[i] >= 0)
            s->wanted[p->state_output[i]] = true;
    }
    s->piece =
        (struct rcd_infer){.in = s->in, .bound = whole->bound, .out = s->out, .wanted = s->wanted};
    RCD_ASSERT(s->total > 0);
    *ret = s;
    return RCD_OK;
}

rcd_stepper *rcd_stepper_free(rcd_stepper *s)
{
    if (s == NULL)
        return NULL;
    for (size_t i = 0; i < s->plan->n_inputs; i++) {
        rcd_free(s->cuts[i].data);
        rcd_free(s->states[i].data);
    }
    for (size_t o = 0; o < s->plan->n_outputs; o++)
        rcd_free(s->sums[o].data);
    rcd_free(s);
    return NULL;
}

int64_t rcd_stepper_left(const rcd_stepper *s)
{
    return s->total - s->at;
}

static rcd_status room(rcd_stepper *s, struct part *part, size_t bytes, struct rcd_error *err)
{
    if (bytes <= part->cap)
        return RCD_OK;
    size_t more = bytes - part->cap;
    if (more > s->max_bytes - s->used)
        return rcd_fail(err, RCD_ENOMEM, "the sequence's outputs take more than %zu bytes",
                        s->max_bytes);
    void *data = rcd_alloc_aligned(bytes);
    if (data == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu bytes of a sequence", bytes);
    if (part->data != NULL)
        memcpy(data, part->data, part->cap);
    rcd_free(part->data);
    s->used += more;
    *part = (struct part){data, bytes};
    return RCD_OK;
}

/* ---- cutting inputs -------------------------------------------------------------------------- */

/* Elements outside and inside an axis. */
static void around(const struct rcd_tensor *t, int axis, size_t *outer, size_t *inner)
{
    *outer = rcd__span(t->dims, 0, axis);
    *inner = rcd__span(t->dims, axis + 1, t->rank);
}

static rcd_status cut(rcd_stepper *s, size_t i, int axis, struct rcd_error *err)
{
    const struct rcd_tensor *t = &s->whole->in[i];
    struct rcd_tensor *to = &s->in[i];
    size_t outer = 0, inner = 0, size = rcd_dtype_size(t->dtype);
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, t->dims, sizeof dims);
    dims[axis] = s->len;
    RCD_ASSERT(
        rcd_tensor_shape(to, t->dtype, t->rank, dims)); /* smaller than what it is cut from */
    around(t, axis, &outer, &inner);
    size_t row = inner * size, from = (size_t)s->at * row, len = (size_t)s->len * row;
    char *all = t->data;
    if (outer == 1) {
        to->data = all + from;
        return RCD_OK;
    }
    rcd_status st = room(s, &s->cuts[i], outer * len, err);
    if (st != RCD_OK)
        return st;
    for (size_t o = 0; o < outer; o++)
        memcpy((char *)s->cuts[i].data + o * len, all + o * (size_t)s->total * row + from, len);
    to->data = s->cuts[i].data;
    return RCD_OK;
}

rcd_status rcd_stepper_next(rcd_stepper *s, int64_t steps, struct rcd_infer **ret,
                            struct rcd_error *err)
{
    int64_t left = rcd_stepper_left(s);
    s->len = steps < left ? steps : left;
    RCD_ASSERT(s->len > 0);
    for (size_t i = 0; i < s->plan->n_inputs; i++) {
        int axis = s->plan->time_in[i];
        bool carried = !s->first && s->plan->state_output[i] >= 0;
        if (carried)
            continue; /* rcd_stepper_take left it in in[i] */
        if (axis < 0 || s->whole->in[i].dtype == RCD_NONE) {
            s->in[i] = s->whole->in[i];
            s->in[i].block = NULL;
            continue;
        }
        rcd_status st = cut(s, i, axis, err);
        if (st != RCD_OK)
            return st;
    }
    *ret = &s->piece;
    return RCD_OK;
}

/* ---- keeping outputs --------------------------------------------------------------------------- */

static rcd_status append(rcd_stepper *s, size_t o, int axis, struct rcd_error *err)
{
    const struct rcd_tensor *t = &s->out[o];
    struct rcd_tensor whole = {.dtype = RCD_NONE};
    size_t outer = 0, inner = 0, size = rcd_dtype_size(t->dtype);
    int64_t dims[RCD_MAX_RANK];
    if (axis >= t->rank || t->dims[axis] != s->len)
        return rcd_fail(err, RCD_EINTERNAL, "output '%s' has no time step per input time step",
                        s->plan->outputs[o].name);
    memcpy(dims, t->dims, sizeof dims);
    dims[axis] = s->total;
    if (!rcd_tensor_shape(&whole, t->dtype, t->rank, dims))
        return rcd_fail(err, RCD_ENOMEM, "output '%s' is too large", s->plan->outputs[o].name);
    around(t, axis, &outer, &inner);
    size_t row = inner * size, len = (size_t)s->len * row;
    rcd_status st = room(s, &s->sums[o], whole.n * size, err);
    if (st != RCD_OK)
        return st;
    char *to = s->sums[o].data;
    for (size_t k = 0; k < outer; k++)
        memcpy(to + (k * (size_t)s->total + (size_t)s->at) * row, (char *)t->data + k * len, len);
    whole.data = to;
    s->whole->out[o] = whole;
    return RCD_OK;
}

static rcd_status keep_state(rcd_stepper *s, size_t i, struct rcd_error *err)
{
    const struct rcd_tensor *t = &s->out[s->plan->state_output[i]];
    size_t bytes = t->n * rcd_dtype_size(t->dtype);
    rcd_status st = room(s, &s->states[i], bytes, err);
    if (st != RCD_OK)
        return st;
    memcpy(s->states[i].data, t->data, bytes);
    s->in[i] = *t;
    s->in[i].data = s->states[i].data;
    s->in[i].block = NULL;
    return RCD_OK;
}

static rcd_status keep(rcd_stepper *s, struct rcd_error *err)
{
    bool last = s->at + s->len == s->total;
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && !last && i < s->plan->n_inputs; i++) {
        if (s->plan->state_output[i] >= 0)
            st = keep_state(s, i, err);
    }
    for (size_t o = 0; st == RCD_OK && o < s->plan->n_outputs; o++) {
        int axis = s->plan->time_out[o];
        if (axis >= 0 && wants(s->whole, o)) {
            st = append(s, o, axis, err);
        } else if (last && wants(s->whole, o)) {
            s->whole->out[o] = s->out[o]; /* its block goes along */
            s->out[o] = (struct rcd_tensor){.dtype = RCD_NONE};
        }
    }
    return st;
}

rcd_status rcd_stepper_take(rcd_stepper *s, struct rcd_error *err)
{
    rcd_status st = s->piece.err.code;
    if (st != RCD_OK)
        rcd_fail(err, st, "%s", s->piece.err.text);
    else
        st = keep(s, err);
    rcd_infer_drop(&s->piece, s->plan->n_outputs);
    if (st != RCD_OK)
        rcd_infer_drop(s->whole, s->plan->n_outputs);
    s->at += s->len;
    s->first = false;
    return st;
}
