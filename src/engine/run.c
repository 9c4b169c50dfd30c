/* run.c - a list of requests through a plan in lockstep.
 *
 * The table of values is [slot][request]. Each node sees the requests that are still alive; one that
 * fails keeps its error, leaves the list, and its values are dropped at the end. Blocks go back to the
 * worker's pool as soon as their last reader has run, so a run in steady state allocates nothing. */
#include "bind_int.h"
#include "blame.h"
#include "ops/product.h"
#include "spread.h"
#include "team.h"

#include <string.h>
#include <sys/mman.h>

/* ---- the worker's memory ------------------------------------------------------------------ */

/* Scratch is one reserved range of addresses: it never moves, so pointers into it stay good while it
 * grows, and pages cost memory only once touched. */
rcd_exec *rcd_exec_new(size_t max_live_bytes, size_t max_idle_bytes)
{
    rcd_exec *x = rcd_calloc(1, sizeof *x);
    if (x == NULL)
        return NULL;
    x->scratch.cap = max_live_bytes;
    x->scratch_keep = max_idle_bytes;
    void *range = mmap(NULL, max_live_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    x->scratch.data = range != MAP_FAILED ? range : NULL;
    x->pool = rcd_pool_new(max_live_bytes, max_idle_bytes);
    if (x->pool == NULL || x->scratch.data == NULL)
        return rcd_exec_free(x);
    return x;
}

rcd_exec *rcd_exec_free(rcd_exec *x)
{
    if (x != NULL) {
        rcd__team_free(x->team);
        rcd_pool_free(x->pool);
        if (x->scratch.data != NULL)
            munmap(x->scratch.data, x->scratch.cap);
        rcd_free(x);
    }
    return NULL;
}

rcd_status rcd_exec_set_threads(rcd_exec *x, unsigned threads, struct rcd_error *err)
{
    x->team = rcd__team_free(x->team);
    if (threads > 1)
        x->team = rcd__team_new(threads - 1);
    return threads > 1 && x->team == NULL ? rcd_fail(err, RCD_ENOMEM, "no memory for threads")
                                          : RCD_OK;
}

static void *scratch_take(rcd_exec *x, size_t bytes)
{
    size_t end = 0;
    if (!rcd_add(bytes, RCD_ALIGN - 1, &end))
        return NULL;
    end &= ~(size_t)(RCD_ALIGN - 1);
    if (!rcd_add(end, x->scratch.used, &end) || end > x->scratch.cap)
        return NULL;
    void *p = x->scratch.data + x->scratch.used;
    x->scratch.used = end;
    if (end > x->scratch.peak)
        x->scratch.peak = end;
    return p;
}

/* After a run that needed much, give the pages back. */
static void scratch_trim(rcd_exec *x)
{
    RCD_ASSERT(x->scratch.used == 0);
    if (x->scratch.peak > x->scratch_keep)
        madvise(x->scratch.data, x->scratch.peak, MADV_DONTNEED);
    x->scratch.peak = 0;
}

void *rcd__scratch_try(const struct rcd_call *c, size_t bytes)
{
    return scratch_take(c->x, bytes);
}

void *rcd__scratch(const struct rcd_call *c, size_t r, size_t bytes)
{
    void *p = scratch_take(c->x, bytes);
    if (p == NULL)
        rcd__fail(c, r, RCD_ENOMEM, "needs %zu bytes of scratch memory, limit %zu", bytes,
                  c->x->scratch.cap);
    return p;
}

/* ---- failing ------------------------------------------------------------------------------ */

rcd_status rcd__fail(const struct rcd_call *c, size_t r, rcd_status code, const char *fmt, ...)
{
    char why[RCD_ERROR_TEXT], name[64];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof why, fmt, args);
    va_end(args);
    const struct rcd_onnx_node *src = c->node->src;
    rcd_quote(name, sizeof name, src->name, strlen(src->name));
    c->run->n_failed++;
    return rcd_fail(&c->run->reqs[c->req[r]]->err, code, "node '%s' (%s): %s", name, src->op_type,
                    why);
}

static void fail_rest(struct rcd_run *run, size_t n, const uint32_t *req, rcd_status code,
                      const char *text)
{
    for (size_t r = 0; r < n; r++) {
        rcd_fail(&run->reqs[req[r]]->err, code, "%s", text);
        run->n_failed++;
    }
}

/* ---- outputs ------------------------------------------------------------------------------ */

rcd_status rcd__new_out(const struct rcd_call *c, size_t i, size_t r, rcd_dtype t, int rank,
                        const int64_t *dims, struct rcd_tensor **ret)
{
    *ret = rcd__out(c, i, r);
    if (*ret == NULL)
        return RCD_OK;
    struct rcd_error err;
    rcd_status st = rcd_tensor_new(*ret, c->x->pool, t, rank, dims, &err);
    if (st != RCD_OK)
        return rcd__fail_size(c, r, st, rank, dims, err.text);
    return RCD_OK;
}

bool rcd__out_kept(const struct rcd_call *c, size_t i)
{
    const struct rcd__making *m = c->run->making;
    const rcd_value_id id = c->node->out[i];
    return m != NULL && id != RCD_NO_VALUE &&
           (m->live != NULL || m->keep[c->run->plan->values[id].slot]);
}

rcd_status rcd__alias_out(const struct rcd_call *c, size_t i, size_t r,
                          const struct rcd_tensor *src, int rank, const int64_t *dims)
{
    struct rcd_tensor *out = rcd__out(c, i, r);
    if (out == NULL)
        return RCD_OK;
    struct rcd_tensor view = {.dtype = RCD_NONE};
    if (!rcd_tensor_shape(&view, src->dtype, rank, dims) || view.n != src->n) {
        char from[128], to[128];
        return rcd__fail(c, r, RCD_EINVAL, "cannot see shape %s as %s",
                         rcd_shape_text(from, sizeof from, src->rank, src->dims),
                         rcd_shape_text(to, sizeof to, rank, dims));
    }
    view.data = src->data;
    view.block = rcd_block_ref(src->block);
    *out = view;
    return RCD_OK;
}

/* ---- nodes -------------------------------------------------------------------------------- */

static size_t compact(const struct rcd_run *run, size_t n, uint32_t *live)
{
    size_t kept = 0;
    for (size_t r = 0; r < n; r++) {
        if (run->reqs[live[r]]->err.code == RCD_OK)
            live[kept++] = live[r];
    }
    return kept;
}

/* Is it done with the node before? To a live binding each node tells what it does to entries: it does without the values
 * between a sum and its products alone, which incremental.c tells it the sizes of. */
static bool is_joined(const struct rcd_run *run, const struct rcd_node *node)
{
    const bool live = run->making != NULL && run->making->live != NULL;
    return run->joins && node->joined && (!live || rcd__row_product_of(node) != NULL);
}

size_t rcd__joined(const struct rcd_call *c)
{
    const struct rcd_body *main = &c->run->plan->main;
    if (!c->run->joins || c->node < main->nodes || c->node >= main->nodes + main->n_nodes)
        return 0;
    const struct rcd_node *end = main->nodes + main->n_nodes;
    size_t n = 0;
    while (n < RCD__JOINED && c->node + n + 1 < end && is_joined(c->run, &c->node[n + 1]))
        n++;
    return n;
}

static void run_node(struct rcd_run *run, const struct rcd_node *node, size_t n,
                     const uint32_t *live)
{
    struct rcd_call c = {
        .run = run, .node = node, .kern = run->plan->kernels, .x = run->x, .n = n, .req = live};
    size_t mark = run->x->scratch.used;
    if (is_joined(run, node)) {
        ; /* done with the node before */
    } else if (node->op->run_all != NULL) {
        node->op->run_all(&c);
    } else {
        for (size_t r = 0; r < n; r++) {
            rcd_status st = node->op->run(&c, r);
            RCD_ASSERT(st == RCD_OK || run->reqs[live[r]]->err.code != RCD_OK);
            run->x->scratch.used = mark;
        }
    }
    run->x->scratch.used = mark;
    if (run->making != NULL && run->making->live != NULL && node >= run->plan->main.nodes &&
        node < run->plan->main.nodes + run->plan->main.n_nodes && run->n_failed == 0)
        rcd__live_ran(run->making->live, run, (size_t)(node - run->plan->main.nodes));
    for (size_t d = 0; d < node->n_drop; d++) {
        if (run->making != NULL && run->making->keep[node->drop[d]])
            continue;
        for (size_t r = 0; r < n; r++)
            rcd_tensor_drop(rcd__slot(run, node->drop[d], live[r]));
    }
}

/* The requests for which node i of the main body has not been run when their inputs were bound. */
static const uint32_t *still_open(const struct rcd_run *run, size_t i, size_t n,
                                  const uint32_t *live, uint32_t *some, size_t *ret_n)
{
    *ret_n = 0;
    for (size_t r = 0; r < n; r++) {
        const struct rcd_bound *b = run->reqs[live[r]]->bound;
        bool skip = run->making != NULL ? !run->making->done[i] : b != NULL && b->done[i];
        if (!skip)
            some[(*ret_n)++] = live[r];
    }
    return some;
}

void rcd__run_body(struct rcd_run *run, const struct rcd_body *body, size_t n, const uint32_t *req)
{
    size_t mark = run->x->scratch.used;
    uint32_t *live = scratch_take(run->x, n * sizeof *live);
    if (live == NULL) {
        fail_rest(run, n, req, RCD_ENOMEM, "no scratch memory for the list of requests");
        return;
    }
    memcpy(live, req, n * sizeof *live);
    uint32_t *some = NULL;
    if (body == &run->plan->main && (run->bound || run->making != NULL)) {
        some = scratch_take(run->x, n * sizeof *some);
        if (some == NULL) {
            fail_rest(run, n, req, RCD_ENOMEM, "no scratch memory for the list of requests");
            return;
        }
    }
    size_t failed = run->n_failed;
    for (size_t i = 0; i < body->n_nodes && n > 0; i++) {
        if (run->cancel != NULL && *run->cancel) {
            fail_rest(run, n, live, RCD_ECANCELLED, "cancelled while running");
            break;
        }
        size_t n_some = n;
        const uint32_t *open = some != NULL ? still_open(run, i, n, live, some, &n_some) : live;
        if (n_some > 0)
            run_node(run, &body->nodes[i], n_some, open);
        if (run->n_failed != failed) {
            failed = run->n_failed;
            n = compact(run, n, live);
        }
    }
    run->x->scratch.used = mark;
}

struct rcd_tensor rcd__body_output(const struct rcd_run *run, const struct rcd_body *body, size_t i,
                                   uint32_t req)
{
    const struct rcd_plan_value *v = &run->plan->values[body->outputs[i]];
    struct rcd_tensor t = v->constant != NULL ? *v->constant : *rcd__slot(run, v->slot, req);
    t.block = v->constant != NULL ? NULL : rcd_block_ref(t.block);
    return t;
}

void rcd__body_done(struct rcd_run *run, const struct rcd_body *body, uint32_t req)
{
    for (size_t i = 0; i < body->n_outputs; i++) {
        if (body->own_output[i])
            rcd_tensor_drop(rcd__slot(run, run->plan->values[body->outputs[i]].slot, req));
    }
}

/* ---- a run -------------------------------------------------------------------------------- */

/* A state that was left out starts at zero; sizes that the file leaves open are taken from inputs that
 * use the same name for them, else 1. */
static rcd_status zero_state(struct rcd_run *run, const struct rcd_io *io, struct rcd_infer *req,
                             struct rcd_tensor *ret)
{
    int64_t dims[RCD_MAX_RANK];
    for (int d = 0; d < io->rank; d++)
        dims[d] =
            io->dims[d] >= 0 ? io->dims[d] : rcd__named_size(run->plan, req, io->dim_names[d]);
    rcd_status st = rcd_tensor_new(ret, run->x->pool, io->dtype, io->rank, dims, &req->err);
    if (st == RCD_OK)
        memset(ret->data, 0, ret->n * rcd_dtype_size(ret->dtype));
    return st;
}

static void bind_inputs(struct rcd_run *run)
{
    const rcd_plan *p = run->plan;
    for (uint32_t r = 0; r < run->n; r++) {
        const struct rcd_bound *b = run->reqs[r]->bound;
        for (size_t s = 0; b != NULL && s < p->n_slots; s++)
            *rcd__slot(run, (uint32_t)s, r) = b->values[s];
        for (size_t i = 0; i < p->n_inputs; i++) {
            if ((b != NULL && rcd_bound_fixes(b, i)) ||
                (run->making != NULL && run->reqs[r]->in[i].dtype == RCD_NONE))
                continue;
            uint32_t slot = p->values[p->main.inputs[i]].slot;
            struct rcd_tensor *to = rcd__slot(run, slot, r);
            if (run->reqs[r]->in[i].dtype != RCD_NONE) {
                *to = run->reqs[r]->in[i];
                to->block = NULL; /* borrowed from the request */
                if (!rcd__spread_one(p, run->reqs[r], i) ||
                    rcd__spread_input(run, run->reqs[r], i, to) == RCD_OK)
                    continue;
                run->n_failed++;
                break;
            } else if (zero_state(run, &p->inputs[i], run->reqs[r], to) != RCD_OK) {
                run->n_failed++;
                break;
            }
        }
    }
}

static void hand_out(struct rcd_run *run)
{
    const rcd_plan *p = run->plan;
    for (uint32_t r = 0; r < run->n; r++) {
        struct rcd_infer *req = run->reqs[r];
        for (size_t o = 0; o < p->n_outputs && req->err.code == RCD_OK; o++) {
            if (req->wanted != NULL && !req->wanted[o])
                continue;
            req->out[o] = rcd__body_output(run, &p->main, o, r);
        }
        rcd__body_done(run, &p->main, r);
    }
    for (size_t s = 0; run->n_failed > 0 && s < p->n_slots * run->n; s++)
        rcd_tensor_drop(&run->slots[s]);
}

/* The table of values and the list of all requests; false: no memory, and every request says so. */
static bool set_up(struct rcd_run *run, uint32_t **ret_all)
{
    size_t cells = 0, bytes = 0;
    if (!rcd_mul(run->plan->n_slots, run->n, &cells) || !rcd_mul(cells, sizeof *run->slots, &bytes))
        bytes = SIZE_MAX;
    for (size_t r = 0; r < run->n; r++) {
        run->reqs[r]->err.code = RCD_OK;
        run->bound = run->bound || run->reqs[r]->bound != NULL;
    }
    run->slots = scratch_take(run->x, bytes);
    uint32_t *all = scratch_take(run->x, run->n * sizeof *all);
    if (run->slots == NULL || all == NULL) {
        for (size_t r = 0; r < run->n; r++)
            rcd_fail(&run->reqs[r]->err, RCD_ENOMEM, "no memory for a batch of %zu requests",
                     run->n);
        return false;
    }
    for (uint32_t r = 0; r < run->n; r++)
        all[r] = r;
    memset(run->slots, 0, bytes);
    bind_inputs(run);
    *ret_all = all;
    return true;
}

static void tear_down(rcd_exec *x)
{
    x->scratch.used = 0;
    scratch_trim(x);
}

void rcd__run_lockstep(rcd_exec *x, const rcd_plan *p, size_t n, struct rcd_infer *const *reqs,
                       const volatile bool *cancel)
{
    struct rcd_run run = {
        .x = x, .plan = p, .n = n, .reqs = reqs, .cancel = cancel, .joins = n == 1};
    uint32_t *all = NULL;
    if (set_up(&run, &all)) {
        if (run.n_failed > 0)
            n = compact(&run, n, all);
        rcd__run_body(&run, &p->main, n, all);
        hand_out(&run);
    }
    tear_down(x);
}

rcd_status rcd__exec_bind(rcd_exec *x, const rcd_plan *p, struct rcd_infer *req,
                          const struct rcd__making *making, const volatile bool *cancel)
{
    struct rcd_infer *const reqs[] = {req};
    struct rcd_run run = {.x = x,
                          .plan = p,
                          .n = 1,
                          .reqs = reqs,
                          .cancel = cancel,
                          .making = making,
                          .joins = making->live == NULL || rcd__live_joins(making->live)};
    uint32_t *all = NULL;
    if (set_up(&run, &all)) {
        rcd__run_body(&run, &p->main, 1, all);
        if (req->err.code == RCD_OK)
            req->err.code = making->take(making->bound, run.slots, making->keep, &req->err);
        for (size_t s = 0; s < p->n_slots; s++)
            rcd_tensor_drop(&run.slots[s]);
    }
    tear_down(x);
    return req->err.code;
}

void rcd_infer_drop(struct rcd_infer *req, size_t n_outputs)
{
    for (size_t o = 0; o < n_outputs; o++)
        rcd_tensor_drop(&req->out[o]);
}
