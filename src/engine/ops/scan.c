/* scan.c - Scan (opset 9 and later): the body runs once for each step along the scan axis, for all requests
 * together; shorter ones drop out. */
#include "move.h"
#include "stack.h"

#include <string.h>

struct state {
    struct rcd_body *body;
    size_t n_states, n_scans, n_rows; /* carried values, scan inputs, scan outputs */
    const int64_t *in_axes, *out_axes, *in_turned, *out_turned; /* NULL: zeros */
};

struct work {
    struct rcd_call *c;
    const struct state *s;
    int64_t *steps;             /* per request */
    struct rcd_tensor *carried; /* [n][n_states] */
    struct rcd_tensor *scans;   /* [n][n_scans], the scan axis first */
    struct rcd__stack *stacks;  /* [n][n_rows] */
    uint32_t *req;
    size_t *who;
};

static rcd_status axes(struct rcd_check *k, const char *name, size_t want, const int64_t **ret)
{
    size_t n = 0;
    rcd_status st = rcd__attr_ints(k, name, ret, &n);
    if (st == RCD_OK && *ret != NULL && n != want)
        return rcd__refuse(k, "%s has %zu numbers, want %zu", name, n, want);
    return st;
}

static rcd_status check_outputs(struct rcd_check *k, const struct state *s, const rcd_value_id *in)
{
    for (size_t i = 0; i < s->body->n_outputs; i++) {
        rcd_value_id out = s->body->outputs[i];
        if (i < s->n_states && !rcd__fits(k, out, in[i]))
            return rcd__refuse(k, "state %zu goes in as %s and comes out as %s", i,
                               rcd_dtype_onnx_name(k->plan->values[in[i]].dtype),
                               rcd_dtype_onnx_name(k->plan->values[out].dtype));
        if (k->plan->values[out].dtype == RCD_SEQ)
            return rcd__refuse(k, "output %zu of the body is a sequence", i);
        if (rcd__has_out(k, i))
            rcd__like(k, k->node->out[i], out);
    }
    return RCD_OK;
}

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    const rcd_value_id *in = NULL;
    size_t n = 0;
    int64_t scans = 0;
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 1, SIZE_MAX, 1, SIZE_MAX);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "num_scan_inputs", 0, &scans);
    if (st == RCD_OK)
        st = rcd__body_inputs(k, "body", &in, &n);
    if (st != RCD_OK)
        return st;
    if (scans < 1 || (uint64_t)scans > k->node->n_in || n != k->node->n_in)
        return rcd__refuse(k, "%lld scan inputs, %zu inputs and %zu of the body", (long long)scans,
                           k->node->n_in, n);
    s->n_scans = (size_t)scans;
    s->n_states = n - s->n_scans;
    for (size_t i = 0; i < n; i++) {
        if (!rcd__has_in(k, i) || rcd__in_type(k, i) == RCD_SEQ)
            return rcd__refuse(k, "input %zu must be a tensor", i);
        rcd__like(k, in[i], k->node->in[i]);
    }
    st = rcd__check_body(k, "body", &s->body);
    if (st != RCD_OK)
        return st;
    if (s->body->n_outputs < s->n_states || k->node->n_out > s->body->n_outputs)
        return rcd__refuse(k, "the body has %zu outputs, the node %zu and %zu states",
                           s->body->n_outputs, k->node->n_out, s->n_states);
    s->n_rows = s->body->n_outputs - s->n_states;
    st = axes(k, "scan_input_axes", s->n_scans, &s->in_axes);
    if (st == RCD_OK)
        st = axes(k, "scan_input_directions", s->n_scans, &s->in_turned);
    if (st == RCD_OK)
        st = axes(k, "scan_output_axes", s->n_rows, &s->out_axes);
    if (st == RCD_OK)
        st = axes(k, "scan_output_directions", s->n_rows, &s->out_turned);
    return st == RCD_OK ? check_outputs(k, s, in) : st;
}

/* Axis `from` of x moves to place `to`; the same data where nothing has to move. */
static rcd_status move_axis(const struct rcd_call *c, size_t r, const struct rcd_tensor *x,
                            int from, int to, struct rcd_tensor *ret)
{
    if (from == to) {
        *ret = rcd__share(x);
        return RCD_OK;
    }
    int64_t strides[RCD_MAX_RANK], dims[RCD_MAX_RANK], step[RCD_MAX_RANK];
    rcd__strides(x->rank, x->dims, strides);
    for (int d = 0, other = 0; d < x->rank; d++) {
        other += other == from;
        int at = d == to ? from : other++;
        dims[d] = x->dims[at];
        step[d] = strides[at];
    }
    struct rcd_error err;
    if (rcd_tensor_new(ret, c->x->pool, x->dtype, x->rank, dims, &err) != RCD_OK)
        return rcd__fail(c, r, RCD_ENOMEM, "%s", err.text);
    rcd__gather_box(ret->data, x->data, rcd_dtype_size(x->dtype), x->rank, dims, step);
    return RCD_OK;
}

static void begin(const struct work *w, size_t r)
{
    const struct state *s = w->s;
    w->steps[r] = -1;
    for (size_t i = 0; i < s->n_states; i++)
        w->carried[r * s->n_states + i] = rcd__share(rcd__in(w->c, i, r));
    for (size_t i = 0; i < s->n_scans; i++) {
        const struct rcd_tensor *x = rcd__in(w->c, s->n_states + i, r);
        struct rcd_tensor *to = &w->scans[r * s->n_scans + i];
        int axis = 0;
        if (rcd__axis(w->c, r, s->in_axes != NULL ? s->in_axes[i] : 0, x->rank, &axis) != RCD_OK ||
            move_axis(w->c, r, x, axis, 0, to) != RCD_OK)
            return;
        if (w->steps[r] >= 0 && to->dims[0] != w->steps[r]) {
            rcd__fail(w->c, r, RCD_EINVAL, "scan input %zu has %lld steps, those before %lld", i,
                      (long long)to->dims[0], (long long)w->steps[r]);
            return;
        }
        w->steps[r] = to->dims[0];
    }
}

static void enter(const struct work *w, size_t r, int64_t step)
{
    const struct state *s = w->s;
    const rcd_plan *p = w->c->run->plan;
    for (size_t i = 0; i < s->body->n_inputs; i++) {
        struct rcd_tensor *slot =
            rcd__slot(w->c->run, p->values[s->body->inputs[i]].slot, w->c->req[r]);
        if (i < s->n_states) {
            *slot = w->carried[r * s->n_states + i];
            w->carried[r * s->n_states + i] = (struct rcd_tensor){.dtype = RCD_NONE};
            continue;
        }
        const size_t k = i - s->n_states;
        const struct rcd_tensor *x = &w->scans[r * s->n_scans + k];
        const int64_t at =
            s->in_turned != NULL && s->in_turned[k] != 0 ? w->steps[r] - 1 - step : step;
        struct rcd_tensor row = {.dtype = RCD_NONE};
        bool fits = rcd_tensor_shape(&row, x->dtype, x->rank - 1, x->dims + 1);
        RCD_ASSERT(fits); /* a part of what fits */
        row.data = (char *)x->data + (size_t)at * row.n * rcd_dtype_size(x->dtype);
        row.block = rcd_block_ref(x->block);
        *slot = row;
    }
}

static void leave(const struct work *w, size_t r)
{
    const struct state *s = w->s;
    const uint32_t req = w->c->req[r];
    for (size_t i = 0; i < s->n_states; i++)
        w->carried[r * s->n_states + i] = rcd__body_output(w->c->run, s->body, i, req);
    for (size_t i = 0; i < s->n_rows && rcd__alive(w->c, r); i++) {
        if (rcd__out(w->c, s->n_states + i, r) == NULL)
            continue;
        struct rcd_tensor row = rcd__body_output(w->c->run, s->body, s->n_states + i, req);
        if (rcd__stack_add(w->c, r, &w->stacks[r * s->n_rows + i], &row) != RCD_OK)
            w->steps[r] = 0;
        rcd_tensor_drop(&row);
    }
    rcd__body_done(w->c->run, s->body, req);
    for (size_t i = 0; i < s->body->n_inputs; i++)
        rcd_tensor_drop(
            rcd__slot(w->c->run, w->c->run->plan->values[s->body->inputs[i]].slot, req));
}

static void rows_out(const struct work *w, size_t r, size_t i)
{
    const struct state *s = w->s;
    const size_t o = s->n_states + i;
    bool turned = s->out_turned != NULL && s->out_turned[i] != 0;
    struct rcd_tensor *out = rcd__out(w->c, o, r), moved;
    int axis = 0;
    if (rcd__stack_out(w->c, r, &w->stacks[r * s->n_rows + i], o, s->body->outputs[o], turned) !=
            RCD_OK ||
        out == NULL || s->out_axes == NULL)
        return;
    if (rcd__axis(w->c, r, s->out_axes[i], out->rank, &axis) == RCD_OK &&
        move_axis(w->c, r, out, 0, axis, &moved) == RCD_OK) {
        rcd_tensor_drop(out);
        *out = moved;
    }
}

static void finish(const struct work *w, size_t r)
{
    const struct state *s = w->s;
    for (size_t i = 0; i < s->n_states; i++) {
        struct rcd_tensor *from = &w->carried[r * s->n_states + i], *to = rcd__out(w->c, i, r);
        if (to != NULL && rcd__alive(w->c, r))
            *to = *from;
        else
            rcd_tensor_drop(from);
    }
    for (size_t i = 0; i < s->n_scans; i++)
        rcd_tensor_drop(&w->scans[r * s->n_scans + i]);
    for (size_t i = 0; i < s->n_rows; i++) {
        if (rcd__alive(w->c, r))
            rows_out(w, r, i);
        rcd__stack_drop(&w->stacks[r * s->n_rows + i]);
    }
}

static bool cancelled(const struct rcd_call *c)
{
    return c->run->cancel != NULL && *c->run->cancel;
}

static void iterate(const struct work *w)
{
    for (int64_t step = 0;; step++) {
        size_t m = 0;
        for (size_t r = 0; r < w->c->n; r++) {
            if (!rcd__alive(w->c, r) || step >= w->steps[r])
                continue;
            if (cancelled(w->c)) { /* the body may have no node that would look */
                rcd__fail(w->c, r, RCD_ECANCELLED, "cancelled while running");
                continue;
            }
            enter(w, r, step);
            w->who[m] = r;
            w->req[m++] = w->c->req[r];
        }
        if (m == 0)
            return;
        rcd__run_body(w->c->run, w->s->body, m, w->req);
        for (size_t i = 0; i < m; i++) {
            if (rcd__alive(w->c, w->who[i]))
                leave(w, w->who[i]);
        }
    }
}

static void run_all(struct rcd_call *c)
{
    const struct state *s = c->node->state;
    const size_t n = c->n, tensors = n * (s->n_states + s->n_scans + 1);
    struct work w = {.c = c, .s = s};
    w.steps = rcd__scratch_try(c, n * sizeof *w.steps);
    w.carried = rcd__scratch_try(c, tensors * sizeof *w.carried);
    w.stacks = rcd__scratch_try(c, n * (s->n_rows + 1) * sizeof *w.stacks);
    w.req = rcd__scratch_try(c, n * sizeof *w.req);
    w.who = rcd__scratch_try(c, n * sizeof *w.who);
    if (w.steps == NULL || w.carried == NULL || w.stacks == NULL || w.req == NULL ||
        w.who == NULL) {
        for (size_t r = 0; r < n; r++)
            rcd__fail(c, r, RCD_ENOMEM, "no scratch memory for %zu requests", n);
        return;
    }
    w.scans = w.carried + n * s->n_states;
    memset(w.carried, 0, tensors * sizeof *w.carried);
    memset(w.stacks, 0, n * (s->n_rows + 1) * sizeof *w.stacks);
    for (size_t r = 0; r < n; r++)
        begin(&w, r);
    iterate(&w);
    for (size_t r = 0; r < n; r++)
        finish(&w, r);
}

static const struct rcd_op ops[] = {
    {.name = "Scan", .since = 9, .check = check, .run_all = run_all, .compound = true}};
RCD_OP_LIST(scan, ops);
