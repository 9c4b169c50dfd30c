/* bind_live.c - a binding that follows changes of its inputs: what it gives out after a turn. */
#include "incremental.h"
#include "spread.h"

#include <string.h>

void rcd__bound_drop_live(rcd_bound *b)
{
    rcd__live_free(b->live);
    b->live = NULL;
    for (size_t s = 0; s < b->plan->n_slots; s++)
        rcd__rowstore_unref(b->stores[s]);
    for (size_t o = 0; o < b->plan->n_outputs; o++)
        rcd_free(b->changed[o].rows);
}

/* ---- giving out --------------------------------------------------------------------------------------- */

enum {
    MORE_ROOM = 64
}; /* one byte for so many, so that the next version's value may take its memory */

rcd_status rcd__bound_value(rcd_bound *b, uint32_t slot, const struct rcd_tensor *shape,
                            struct rcd_error *err)
{
    const size_t bytes = shape->n * rcd_dtype_size(shape->dtype);
    if (b->stores[slot] == NULL || b->stores[slot]->bytes < bytes) {
        rcd__rowstore_unref(b->stores[slot]);
        b->stores[slot] = rcd__rowstore_new(bytes + bytes / MORE_ROOM);
    }
    if (b->stores[slot] == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory to keep %zu bytes of results", bytes);
    b->bytes += b->stores[slot]->bytes;
    b->values[slot] = *shape;
    b->values[slot].block = NULL;
    b->values[slot].data = b->stores[slot]->data;
    return RCD_OK;
}

static rcd_status publish_slot(rcd_bound *b, struct rcd__live *l, rcd_value_id id,
                               struct rcd_error *err)
{
    const struct rcd__ival *v = rcd__ival(l, id);
    const uint32_t slot = l->plan->values[id].slot;
    struct rcd_tensor t = v->t;
    if (v->kind == RCD__ROWS)
        t.dims[v->axis] = (int64_t)v->dom->n;
    t.n = rcd__span(t.dims, 0, t.rank);
    if (v->kind == RCD__WHOLE ||
        (v->kind == RCD__ROWS && v->outer == 1 && rcd__dom_dense(v->dom))) {
        rcd__rowstore_unref(b->stores[slot]);
        __atomic_add_fetch(&v->store->refs, 1, __ATOMIC_RELAXED);
        b->stores[slot] = v->store;
        b->values[slot] = t;
        b->values[slot].block = NULL;
        b->values[slot].data = v->store->data;
        return RCD_OK;
    }
    rcd_status st = rcd__bound_value(b, slot, &t, err);
    if (st == RCD_OK && v->kind == RCD__FILL)
        rcd__repeat(b->values[slot].data, t.n, rcd_dtype_size(t.dtype), v->element);
    else if (st == RCD_OK)
        rcd__rows_pack(v, b->values[slot].data);
    return st;
}

rcd_status rcd__bound_publish(rcd_bound *b, struct rcd__live *l, struct rcd__team *team,
                              struct rcd_error *err)
{
    const rcd_plan *p = l->plan;
    for (size_t v = 0; v < p->n_values && l->why == NULL; v++) {
        const struct rcd__ival *x = rcd__ival(l, (rcd_value_id)v);
        if (x->out &&
            (x->kind == RCD__NOTHING || x->same || (x->kind == RCD__ROWS && x->store == NULL)) &&
            p->values[v].slot != UINT32_MAX && b->keep[p->values[v].slot])
            l->why = "a value that requests read";
    }
    if (l->why != NULL) {
        b->not_live = l->why;
        b->wants_all = !l->keep_all && strstr(l->why, "not kept") != NULL;
        rcd__live_free(l);
        b->live = NULL;
        return RCD_OK;
    }
    rcd_status st = RCD_OK;
    for (size_t v = 0; v < p->n_values && st == RCD_OK; v++) {
        const struct rcd__ival *x = rcd__ival(l, (rcd_value_id)v);
        if (x->out && x->kind != RCD__SORTED)
            st = publish_slot(b, l, (rcd_value_id)v, err);
    }
    if (st == RCD_OK)
        st = rcd__sorted_publish(b, l, team, err);
    b->live = l;
    b->not_live = NULL;
    b->bytes += l->bytes;
    l->done = b->done;
    l->entries = NULL;
    l->team = NULL;
    return st;
}

/* ---- updates -------------------------------------------------------------------------------------------- */

static void note_changed(rcd_bound *b, const struct rcd__live *l)
{
    for (size_t o = 0; o < b->plan->n_outputs; o++) {
        const rcd_value_id id = b->plan->main.outputs[o];
        const struct rcd__ival *v = rcd__ival(l, id);
        struct rcd__changed *c = &b->changed[o];
        if (b->plan->values[id].constant != NULL) {
            c->known = true;
            continue;
        }
        if (v->kind != RCD__ROWS || v->axis != 0 || !rcd__dom_dense(v->dom)) {
            c->known = v->kind == RCD__WHOLE && !v->changed;
            continue;
        }
        const size_t n = v->dirty != NULL ? v->dirty->n : 0;
        c->rows = rcd_alloc((n + 1) * sizeof *c->rows);
        if (c->rows == NULL)
            continue;
        if (n > 0)
            memcpy(c->rows, v->dirty->at, n * sizeof *c->rows);
        c->n = n;
        c->known = true;
    }
}

/* What only the older binding has, and nobody else has that. */
static void take_memory(rcd_bound *b, rcd_bound *old)
{
    /* acquire: others' use is over */
    for (size_t s = 0; s < b->plan->n_slots && __atomic_load_n(&old->refs, __ATOMIC_ACQUIRE) == 1;
         s++) {
        if (old->stores[s] == NULL || __atomic_load_n(&old->stores[s]->refs, __ATOMIC_ACQUIRE) > 1)
            continue;
        b->stores[s] = old->stores[s];
        old->stores[s] = NULL;
    }
}

rcd_status rcd_bound_update(rcd_exec *x, rcd_bound *old, const struct rcd_tensor *in,
                            const struct rcd_input_delta *deltas, const volatile bool *cancel,
                            rcd_bound **ret, struct rcd_error *err)
{
    struct rcd__live *l = old->live;
    rcd_bound *b = NULL;
    *ret = NULL;
    if (l == NULL || rcd__spread_some(old->plan, in)) {
        rcd_fail(err, RCD_OK, "%s", l == NULL ? old->not_live : "one row for all edges");
        rcd_bound_unref(old);
        return RCD_OK;
    }
    rcd_status st = rcd__bound_begin(old->plan, in, old, &b, err);
    old->live = NULL; /* only an update looks at it */
    if (st == RCD_OK)
        take_memory(b, old);
    rcd_bound_unref(old);
    if (st != RCD_OK) {
        rcd__live_free(l);
        return st;
    }
    l->done = b->done;
    struct rcd__turn t = {.live = l, .x = x};
    if (!rcd__live_turn(&t, deltas, cancel)) {
        rcd_fail(err, RCD_OK, "%s", t.why);
        rcd__turn_done(&t);
        rcd__live_free(l);
        rcd_bound_unref(b);
        if (cancel != NULL && *cancel)
            return rcd_fail(err, RCD_ECANCELLED, "cancelled while running");
        return RCD_OK;
    }
    note_changed(b, l);
    b->effort = t.effort;
    rcd__turn_done(&t);
    st = rcd__bound_publish(b, l, x->team, err);
    if (st != RCD_OK) {
        rcd_bound_unref(b);
        return st;
    }
    *ret = b;
    return RCD_OK;
}

bool rcd_bound_changed(const rcd_bound *b, size_t o, const int32_t **ret_rows, size_t *ret_n)
{
    *ret_rows = b->changed[o].rows;
    *ret_n = b->changed[o].n;
    return b->changed[o].known;
}

struct rcd_bound_effort rcd_bound_effort_of(const rcd_bound *b)
{
    return b->effort;
}

const char *rcd_bound_not_live(const rcd_bound *b)
{
    return b->not_live;
}
