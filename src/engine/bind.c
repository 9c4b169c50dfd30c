/* bind.c - a plan with some inputs fixed: run once what depends on them alone, keep what the rest of
 * the plan reads and the outputs that are known already.
 *
 * A later run finds the kept values in its slots, borrowed, and passes over the nodes that are done
 * (run.c). So nothing else in the engine knows of bindings, and a batch may mix requests with
 * different ones. */
#include "incremental.h"
#include "ops/sizes.h"
#include "spread.h"

#include <string.h>

/* ---- what is fixed ------------------------------------------------------------------------ */

struct marks {
    const rcd_plan *p;
    bool *fixed; /* per value */
    bool *sized; /* per value: an open input whose shape is known */
    bool *keep;  /* per slot: read by a node that is not done, or an output */
};

static bool body_fixed(const struct marks *m, const struct rcd_body *body);

/* Is of input i no more read than its shape, and that known? */
static bool only_sized(const struct marks *m, const struct rcd_node *node, rcd_value_id id)
{
    return m->sized[id] && (node->op == &rcd__op_sizes || strcmp(node->op->name, "Shape") == 0 ||
                            strcmp(node->op->name, "Size") == 0);
}

/* Values made inside a body count as fixed while the body is looked at; if a node there is open, so is
 * the node that holds the body. */
static bool node_fixed(const struct marks *m, const struct rcd_node *node)
{
    for (size_t i = 0; i < node->n_in; i++) {
        rcd_value_id id = node->in[i];
        if (id != RCD_NO_VALUE && m->p->values[id].constant == NULL && !m->fixed[id] &&
            !only_sized(m, node, id))
            return false;
    }
    for (size_t o = 0; o < node->n_out; o++) { /* lists are not kept */
        if (node->out[o] != RCD_NO_VALUE && m->p->values[node->out[o]].dtype == RCD_SEQ)
            return false;
    }
    for (size_t b = 0; b < node->n_bodies; b++) {
        for (size_t i = 0; i < node->bodies[b].n_inputs; i++)
            m->fixed[node->bodies[b].inputs[i]] = true; /* all that goes in is fixed */
        if (!body_fixed(m, &node->bodies[b]))
            return false;
    }
    for (size_t o = 0; o < node->n_out; o++) {
        if (node->out[o] != RCD_NO_VALUE)
            m->fixed[node->out[o]] = true;
    }
    return true;
}

static bool body_fixed(const struct marks *m, const struct rcd_body *body)
{
    for (size_t i = 0; i < body->n_nodes; i++) {
        if (!node_fixed(m, &body->nodes[i]))
            return false;
    }
    for (size_t i = 0; i < body->n_outputs; i++) {
        rcd_value_id id = body->outputs[i];
        if (m->p->values[id].constant == NULL && !m->fixed[id])
            return false;
    }
    return true;
}

static void keep_value(const struct marks *m, rcd_value_id id)
{
    if (id != RCD_NO_VALUE && m->p->values[id].constant == NULL && m->fixed[id])
        m->keep[m->p->values[id].slot] = true;
}

static void keep_reads(const struct marks *m, const struct rcd_node *node)
{
    for (size_t i = 0; i < node->n_in; i++)
        keep_value(m, node->in[i]);
    for (size_t b = 0; b < node->n_bodies; b++) {
        const struct rcd_body *body = &node->bodies[b];
        for (size_t i = 0; i < body->n_nodes; i++)
            keep_reads(m, &body->nodes[i]);
        for (size_t i = 0; i < body->n_outputs; i++)
            keep_value(m, body->outputs[i]);
    }
}

static void mark(const struct marks *m, bool *done)
{
    const rcd_plan *p = m->p;
    for (size_t i = 0; i < p->main.n_nodes; i++)
        done[i] = node_fixed(m, &p->main.nodes[i]);
    for (size_t i = 0; i < p->main.n_nodes; i++) {
        if (!done[i])
            keep_reads(m, &p->main.nodes[i]);
    }
    for (size_t i = 0; i < p->main.n_outputs; i++)
        keep_value(m, p->main.outputs[i]);
}

/* ---- making it ---------------------------------------------------------------------------- */

static rcd_bound *bound_new(rcd_plan *p, const struct rcd_tensor *in, const rcd_bound *like)
{
    size_t bytes = sizeof(rcd_bound) + (2 * p->n_inputs + p->n_slots) * sizeof(struct rcd_tensor) +
                   p->n_slots * sizeof(void *) + p->n_outputs * sizeof(struct rcd__changed) +
                   p->main.n_nodes + p->n_slots;
    rcd_bound *b = rcd_calloc(1, bytes);
    if (b == NULL)
        return NULL;
    b->refs = 1;
    b->plan = rcd_plan_ref(p);
    b->bytes = bytes;
    b->in = (struct rcd_tensor *)(void *)(b + 1);
    b->shapes = b->in + p->n_inputs;
    b->values = b->shapes + p->n_inputs;
    b->stores = (struct rcd__rowstore **)(void *)(b->values + p->n_slots);
    b->changed = (struct rcd__changed *)(void *)(b->stores + p->n_slots);
    b->done = (bool *)(void *)(b->changed + p->n_outputs);
    b->keep = b->done + p->main.n_nodes;
    b->not_live = "made without what updates need";
    const struct rcd_infer seen = {.in = in};
    for (size_t i = 0; i < p->n_inputs; i++) {
        const bool sized =
            like != NULL ? like->shapes[i].dtype != RCD_NONE : rcd__shape_alone(&in[i]);
        struct rcd_tensor *t = sized ? &b->shapes[i] : &b->in[i];
        *t = in[i];
        t->block = NULL;
        t->data = NULL; /* only the shape is kept: of one row for all edges what becomes of it */
        if (t == &b->in[i] && rcd__spread_one(p, &seen, i))
            t->dims[0] = rcd__named_size(p, &seen, p->inputs[i].dim_names[0]);
    }
    return b;
}

/* The kept values move from the worker's blocks into one piece of memory of the binding's own. */
static rcd_status copy_values(rcd_bound *b, const struct rcd_tensor *slots, const bool *keep,
                              struct rcd_error *err)
{
    size_t total = 0;
    for (size_t s = 0; s < b->plan->n_slots; s++) {
        if (!keep[s] || slots[s].dtype == RCD_NONE)
            continue;
        size_t bytes = slots[s].n * rcd_dtype_size(slots[s].dtype);
        total += (bytes + RCD_ALIGN - 1) & ~(size_t)(RCD_ALIGN - 1);
    }
    b->data = rcd_alloc_aligned(total);
    if (b->data == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory to keep %zu bytes of results", total);
    char *to = b->data;
    for (size_t s = 0; s < b->plan->n_slots; s++) {
        if (!keep[s] || slots[s].dtype == RCD_NONE)
            continue;
        size_t bytes = slots[s].n * rcd_dtype_size(slots[s].dtype);
        if (bytes > 0)
            memcpy(to, slots[s].data, bytes);
        b->values[s] = slots[s];
        b->values[s].block = NULL;
        b->values[s].data = to;
        to += (bytes + RCD_ALIGN - 1) & ~(size_t)(RCD_ALIGN - 1);
    }
    b->bytes += total;
    return RCD_OK;
}

static rcd_status take_values(rcd_bound *b, const struct rcd_tensor *slots, const bool *keep,
                              struct rcd_error *err)
{
    if (b->live == NULL)
        return copy_values(b, slots, keep, err);
    rcd__sorted_prepare(b->live, slots);
    rcd_status st = rcd__bound_publish(b, b->live, NULL, err);
    if (b->live != NULL || st != RCD_OK)
        return st;
    return copy_values(b, slots, keep, err); /* the model cannot be followed */
}

rcd_status rcd__bound_begin(rcd_plan *p, const struct rcd_tensor *in, const rcd_bound *like,
                            rcd_bound **ret, struct rcd_error *err)
{
    const struct rcd_infer seen = {.in = in};
    rcd_status named = rcd__check_names(p, &seen, err);
    if (named != RCD_OK)
        return named;
    rcd_bound *b = bound_new(p, in, like);
    struct marks m = {.p = p,
                      .fixed = rcd_calloc(p->n_values, sizeof *m.fixed),
                      .sized = rcd_calloc(p->n_values, sizeof *m.sized)};
    if (b == NULL || m.fixed == NULL || m.sized == NULL) {
        rcd_free(m.fixed);
        rcd_free(m.sized);
        rcd_bound_unref(b);
        return rcd_fail(err, RCD_ENOMEM, "no memory to fix inputs of a plan of %zu values",
                        p->n_values);
    }
    m.keep = b->keep;
    for (size_t i = 0; i < p->n_inputs; i++)
        m.fixed[p->main.inputs[i]] = b->in[i].dtype != RCD_NONE;
    for (size_t i = 0; i < p->n_inputs; i++)
        m.sized[p->main.inputs[i]] = b->shapes[i].dtype != RCD_NONE;
    mark(&m, b->done);
    rcd_free(m.fixed);
    rcd_free(m.sized);
    *ret = b;
    return RCD_OK;
}

static rcd_status check_inputs(const rcd_plan *p, const struct rcd_tensor *in,
                               struct rcd_error *err)
{
    for (size_t i = 0; i < p->n_inputs; i++) {
        rcd_status st =
            in[i].dtype != RCD_NONE ? rcd__check_input(&p->inputs[i], &in[i], err) : RCD_OK;
        if (st != RCD_OK)
            return st;
        if (in[i].dtype == RCD_BYTES) /* its texts would have to be kept, too */
            return rcd_fail(err, RCD_EUNSUPPORTED, "input '%s': a BYTES input cannot be fixed",
                            p->inputs[i].name);
    }
    return RCD_OK;
}

static rcd_status make(rcd_exec *x, rcd_bound *b, const struct rcd_tensor *in,
                       const volatile bool *cancel, rcd_bound **ret, struct rcd_error *err)
{
    struct rcd_infer req = {.in = in, .err = {.code = RCD_OK}};
    struct rcd__making making = {
        .done = b->done, .keep = b->keep, .bound = b, .take = take_values, .live = b->live};
    rcd_status st = rcd__exec_bind(x, b->plan, &req, &making, cancel);
    if (st == RCD_OK) {
        *ret = b;
        return RCD_OK;
    }
    *err = req.err;
    rcd_bound_unref(b);
    return st;
}

rcd_status rcd_bound_new(rcd_exec *x, rcd_plan *p, const struct rcd_tensor *in,
                         const volatile bool *cancel, rcd_bound **ret, struct rcd_error *err)
{
    rcd_bound *b = NULL;
    rcd_status st = check_inputs(p, in, err);
    if (st == RCD_OK)
        st = rcd__bound_begin(p, in, NULL, &b, err);
    return st == RCD_OK ? make(x, b, in, cancel, ret, err) : st;
}

rcd_status rcd_bound_new_live(rcd_exec *x, rcd_plan *p, const struct rcd_tensor *in,
                              const struct rcd_bound_entries *entries, size_t max_bytes,
                              const volatile bool *cancel, rcd_bound **ret, struct rcd_error *err)
{
    rcd_status st = check_inputs(p, in, err);
    for (int keep_all = 0; st == RCD_OK && keep_all < 2; keep_all++) {
        rcd_bound *b = NULL;
        st = rcd__bound_begin(p, in, NULL, &b, err);
        if (st != RCD_OK)
            break;
        if (rcd__spread_some(p, in))
            b->not_live = "one row for all edges";
        else
            b->live =
                rcd__live_new(p, b->done, in, entries, b->keep, max_bytes, keep_all != 0, x->team);
        st = make(x, b, in, cancel, ret, err);
        if (st != RCD_OK || !(*ret)->wants_all || keep_all)
            break;
        *ret = rcd_bound_unref(*ret);
    }
    return st;
}

/* ---- use ----------------------------------------------------------------------------------- */

rcd_bound *rcd_bound_ref(rcd_bound *b)
{
    __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED); /* the caller holds one already */
    return b;
}

rcd_bound *rcd_bound_unref(rcd_bound *b)
{
    /* acq_rel: the last holder must see all others' use before it frees */
    if (b != NULL && __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        rcd__bound_drop_live(b);
        rcd_plan_unref(b->plan);
        rcd_free_large(b->data);
        rcd_free(b);
    }
    return NULL;
}

size_t rcd_bound_bytes(const rcd_bound *b)
{
    return b->bytes;
}

bool rcd_bound_fixes(const rcd_bound *b, size_t i)
{
    return b->in[i].dtype != RCD_NONE;
}

const struct rcd_tensor *rcd_bound_shape(const rcd_bound *b, size_t i)
{
    return rcd_bound_fixes(b, i) ? &b->in[i] : &b->shapes[i];
}

bool rcd_bound_has_shapes(const rcd_bound *b, const struct rcd_tensor *in)
{
    for (size_t i = 0; i < b->plan->n_inputs; i++) {
        const struct rcd_tensor *had = rcd_bound_shape(b, i);
        if (had->dtype != in[i].dtype)
            return false;
        if (had->dtype != RCD_NONE &&
            (had->rank != in[i].rank ||
             memcmp(had->dims, in[i].dims, (size_t)had->rank * sizeof *had->dims) != 0))
            return false;
    }
    return true;
}

const struct rcd_tensor *rcd_bound_output(const rcd_bound *b, size_t o)
{
    const struct rcd_plan_value *v = &b->plan->values[b->plan->main.outputs[o]];
    if (v->constant != NULL)
        return v->constant;
    return b->values[v->slot].dtype != RCD_NONE ? &b->values[v->slot] : NULL;
}
