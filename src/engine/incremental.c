/* incremental.c - a live binding: what it keeps, and its turns. */
#include "incremental.h"
#include "ops/product.h"
#include "ops/sparse.h"

#include <string.h>

enum { MOST_CHANGED = 4 }; /* one entry in so many: beyond that, all anew is cheaper */

/* ---- while a binding is made ---------------------------------------------------------------------- */

/* Which values somebody may read at rows of his own choice. */
static void mark_kept(struct rcd__live *l, const bool *is_fill)
{
    const rcd_plan *p = l->plan;
    for (size_t i = 0; i < p->main.n_nodes; i++) {
        const struct rcd_node *node = &p->main.nodes[i];
        for (size_t j = 0; l->done[i] && j < node->n_in; j++) {
            if (node->in[j] != RCD_NO_VALUE &&
                (l->keep_all || !rcd__reads_once(p, node, j, is_fill)))
                l->v[node->in[j]].keep = true;
        }
    }
}

static void mark_fills(const rcd_plan *p, bool *is_fill)
{
    for (size_t i = 0; i < p->main.n_nodes; i++) {
        const struct rcd_node *node = &p->main.nodes[i];
        const struct rcd_tensor *c =
            node->n_in > 0 && node->in[0] != RCD_NO_VALUE ? p->values[node->in[0]].constant : NULL;
        if (node->n_out > 0 && node->out[0] != RCD_NO_VALUE &&
            (rcd__named(node, "ConstantOfShape") ||
             (rcd__is_expand(node) && c != NULL && c->n == 1)))
            is_fill[node->out[0]] = true;
    }
}

static struct rcd__dom *group_dom(struct rcd__live *l, int group, size_t n)
{
    for (struct rcd__dom *d = l->doms; d != NULL; d = d->next) {
        if (d->group == group)
            return d;
    }
    struct rcd__dom *d = rcd__dom_new(l, n + n / 16 + 64, n);
    if (d != NULL)
        d->group = group;
    return d;
}

static void capture_inputs(struct rcd__live *l, const struct rcd_tensor *in)
{
    for (size_t i = 0; i < l->plan->n_inputs && l->why == NULL; i++) {
        const rcd_value_id id = l->plan->main.inputs[i];
        if (in[i].dtype == RCD_NONE)
            continue;
        if (l->entries[i].group < 0) {
            if (rcd__shape_alone(&in[i]))
                l->why = "an input without entries";
            else
                (void)rcd__make_whole(l, id, &in[i]);
            continue;
        }
        const int axis = l->entries[i].axis;
        struct rcd__dom *d =
            axis < in[i].rank ? group_dom(l, l->entries[i].group, (size_t)in[i].dims[axis]) : NULL;
        l->v[id].shape_alone = rcd__shape_alone(&in[i]);
        l->v[id].keep = l->v[id].keep && !l->v[id].shape_alone;
        if (d == NULL)
            l->why = "an input without entries";
        else if (rcd__make_rows(l, id, &in[i], d, axis) && d->n < 2)
            l->why = "hardly any entries"; /* too little to tell axes apart */
    }
}

struct rcd__live *rcd__live_new(const rcd_plan *p, const bool *done, const struct rcd_tensor *in,
                                const struct rcd_bound_entries *entries, const bool *wanted,
                                size_t max_bytes, bool keep_all, struct rcd__team *team)
{
    struct rcd__live *l = rcd_calloc(1, sizeof *l);
    bool *is_fill = rcd_calloc(p->n_values + 1, sizeof *is_fill);
    if (l != NULL) {
        l->plan = p;
        l->done = done;
        l->max_bytes = max_bytes;
        l->keep_all = keep_all;
        l->entries = entries;
        l->team = team;
        l->v = rcd_calloc(p->n_values + 1, sizeof *l->v);
        l->nodes = rcd_calloc(p->main.n_nodes + 1, sizeof *l->nodes);
    }
    if (l == NULL || is_fill == NULL || l->v == NULL || l->nodes == NULL) {
        rcd_free(is_fill);
        rcd__live_free(l);
        return NULL;
    }
    l->bytes = sizeof *l + p->n_values * sizeof *l->v + p->main.n_nodes * sizeof *l->nodes;
    mark_fills(p, is_fill);
    for (size_t v = 0; v < p->n_values; v++) {
        const struct rcd_plan_value *pv = &p->values[v];
        l->v[v].out = pv->constant == NULL && pv->slot != UINT32_MAX && wanted[pv->slot];
        l->v[v].keep = l->v[v].out;
    }
    mark_kept(l, is_fill);
    for (size_t i = 0; i < p->main.n_nodes; i++) {
        const struct rcd_node *node = &p->main.nodes[i];
        if (node->squeezed && node->n_out == 1 && node->out[0] != RCD_NO_VALUE)
            l->v[node->out[0]].sums_read = true;
    }
    rcd_free(is_fill);
    capture_inputs(l, in);
    return l;
}

bool rcd__live_joins(const struct rcd__live *l)
{
    return !l->keep_all;
}

/* Sums that were not made as a whole, nor some of the products behind them: their sizes, from the last product's, stand
 * for them. */
static void set_sizes(const struct rcd_run *run, const struct rcd_node *sum)
{
    size_t n = 1;
    while (n < RCD__JOINED && rcd__tensor_of(run, sum[n].out[0])->dtype == RCD_NONE)
        n++;
    int64_t dims[2] = {rcd__tensor_of(run, sum[n].out[0])->dims[0], 0};
    for (size_t i = 0; i < n; i++) {
        struct rcd_tensor *t = rcd__slot(run, run->plan->values[sum[i].out[0]].slot, 0);
        dims[1] = (int64_t)rcd__row_product_of(&sum[i + 1])->b.k;
        RCD_ASSERT(rcd_tensor_shape(t, RCD_F32, 2, dims));
        t->block = NULL;
        t->data = NULL;
    }
}

void rcd__live_ran(struct rcd__live *l, const struct rcd_run *run, size_t i)
{
    const struct rcd_node *node = &run->plan->main.nodes[i];
    if (node->op == &rcd__op_spmm && node->out[0] != RCD_NO_VALUE &&
        rcd__tensor_of(run, node->out[0])->dtype == RCD_NONE)
        set_sizes(run, node);
    rcd__capture(l, run, i);
}

void rcd__live_free(struct rcd__live *l)
{
    if (l == NULL)
        return;
    for (size_t v = 0; l->v != NULL && v < l->plan->n_values; v++) {
        rcd__rowstore_unref(l->v[v].store);
        rcd__inv_free(l->v[v].inv);
    }
    for (struct rcd__dom *d = l->doms, *next; d != NULL; d = next) {
        next = d->next;
        rcd__dom_free(d);
    }
    rcd_free(l->v);
    rcd_free(l->nodes);
    rcd_free(l);
}

/* ---- a turn: inputs --------------------------------------------------------------------------------- */

/* Entries of an input go and come; once for all inputs of the group. */
static bool turn_dom(struct rcd__turn *t, struct rcd__dom *d, const struct rcd_input_delta *delta)
{
    struct rcd__list added = {.n = 0}, removed = {.n = 0};
    if (d->turned)
        return delta->n_removed == d->n_removed && delta->n_added == d->n_added
                   ? true
                   : rcd__turn_give_up(t, "inputs of one group change differently");
    if (delta->n_removed > 0 && d->indexed)
        return rcd__turn_give_up(t, "entries go that others point to");
    if (delta->n_added > d->cap - d->high)
        return rcd__turn_give_up(t, "no room for more entries");
    if ((delta->n_added + delta->n_removed + delta->n_changed) > d->n / MOST_CHANGED + 16)
        return rcd__turn_give_up(t, "much has changed");
    for (size_t i = delta->n_removed; i-- > 0;) {
        if (delta->removed[i] < 0 || (size_t)delta->removed[i] >= d->n)
            return rcd__turn_give_up(t, "an entry that is not there");
        const size_t slot = rcd__dom_at(d, (size_t)delta->removed[i]);
        rcd__dom_put(d, slot, false);
        if (!rcd__list_add(t, &removed, (int32_t)slot))
            return false;
    }
    for (size_t i = 0; i < delta->n_added; i++) {
        const size_t slot = d->high;
        rcd__dom_put(d, slot, true);
        if (!rcd__list_add(t, &added, (int32_t)slot))
            return false;
    }
    d->turned = true;
    d->added = added.at;
    d->n_added = added.n;
    d->removed = removed.at;
    d->n_removed = removed.n;
    return true;
}

static bool turn_input(struct rcd__turn *t, size_t i, const struct rcd_input_delta *delta)
{
    struct rcd__ival *v = rcd__ival(t->live, t->live->plan->main.inputs[i]);
    const bool any = delta->other || delta->n_removed + delta->n_added + delta->n_changed > 0;
    if (v->kind == RCD__NOTHING || (v->kind != RCD__ROWS && !any))
        return true;
    if (delta->other || v->kind != RCD__ROWS)
        return rcd__turn_give_up(t, "an input is another one");
    if (!turn_dom(t, v->dom, delta))
        return false;
    const size_t n = delta->n_changed + delta->n_added;
    if (n == 0 || v->shape_alone)
        return true;
    struct rcd__list slots = {.n = 0};
    for (size_t k = 0; k < delta->n_changed; k++) {
        if (delta->changed[k] < 0 || (size_t)delta->changed[k] >= v->dom->n ||
            !rcd__list_add(t, &slots, (int32_t)rcd__dom_at(v->dom, (size_t)delta->changed[k])))
            return t->why == NULL ? rcd__turn_give_up(t, "an entry that is not there") : false;
    }
    for (size_t k = 0; k < delta->n_added; k++) {
        if (!rcd__list_add(t, &slots, v->dom->added[k]))
            return false;
    }
    const struct rcd__rows *rows = rcd__rows_of(t, v->dom, slots.at, slots.n);
    struct rcd_tensor fresh;
    if (rows == NULL || rows->n != n || !rcd__packed(t, v, n, &fresh))
        return t->why == NULL ? rcd__turn_give_up(t, "an entry changes twice") : false;
    const size_t first = delta->n_changed; /* changed ones ascend, added ones lie behind all */
    for (size_t o = 0; o < v->outer; o++) {
        char *to = (char *)fresh.data + o * n * v->inner;
        if (first > 0)
            memcpy(to, (const char *)delta->values + o * first * v->inner, first * v->inner);
        if (n > first)
            memcpy(to + first * v->inner, (const char *)delta->added + o * (n - first) * v->inner,
                   (n - first) * v->inner);
    }
    return rcd__give(t, v, rows, &fresh);
}

/* ---- a turn ------------------------------------------------------------------------------------------- */

static void index_turn(struct rcd__turn *t, rcd_value_id id)
{
    const rcd_plan *p = t->live->plan;
    if (id == RCD_NO_VALUE || p->values[id].constant != NULL)
        return;
    const struct rcd__ival *v = rcd__ival(t->live, id);
    if (v->inv != NULL)
        rcd__inv_turn(t, v);
    for (size_t k = 0; v->inv != NULL && t->why == NULL && k < p->n_values; k++) {
        const struct rcd__inv *other = t->live->v[k].inv;
        if (other != NULL && other->cols != NULL && (other == v->inv || other->cols == v->inv))
            rcd__inv_mirror_turn(other);
    }
}

static bool begin(struct rcd__turn *t)
{
    const rcd_plan *p = t->live->plan;
    rcd_arena_init(&t->arena, SIZE_MAX / 2);
    t->reqs[0] = &t->req;
    t->run = (struct rcd_run){.x = t->x, .plan = p, .n = 1, .reqs = t->reqs};
    t->run.slots = rcd_arena_calloc(&t->arena, p->n_slots + 1, sizeof *t->run.slots);
    return t->run.slots != NULL ? true : rcd__turn_give_up(t, "no memory");
}

void rcd__turn_done(struct rcd__turn *t)
{
    struct rcd__live *l = t->live;
    for (size_t v = 0; v < l->plan->n_values; v++) {
        struct rcd__ival *x = &l->v[v];
        rcd_tensor_drop(&x->fresh);
        x->dirty = NULL;
        x->changed = x->resized = false;
        if (x->inv != NULL) {
            x->inv->touched = x->inv->moved = NULL;
            x->inv->n_touched = x->inv->n_moved = 0;
            x->inv->factors_turned = false;
        }
    }
    for (struct rcd__dom *d = l->doms; d != NULL; d = d->next) {
        d->turned = false;
        d->added = d->removed = NULL;
        d->n_added = d->n_removed = 0;
    }
    rcd_arena_done(&t->arena);
    t->x->scratch.used = 0;
}

bool rcd__live_turn(struct rcd__turn *t, const struct rcd_input_delta *deltas,
                    const volatile bool *cancel)
{
    const rcd_plan *p = t->live->plan;
    if (!begin(t))
        return false;
    for (size_t i = 0; i < p->n_inputs && t->why == NULL; i++) {
        if (turn_input(t, i, &deltas[i]))
            index_turn(t, p->main.inputs[i]);
    }
    for (size_t i = 0; i < p->main.n_nodes && t->why == NULL; i++) {
        const struct rcd_node *node = &p->main.nodes[i];
        if (!t->live->done[i])
            continue;
        if (t->n_joined > 0) {
            t->n_joined--;
            continue;
        }
        if (cancel != NULL && *cancel)
            return rcd__turn_give_up(t, "cancelled");
        if (!rcd__turn_node(t, node, &t->live->nodes[i]))
            break;
        for (size_t o = 0; o < node->n_out && t->why == NULL; o++)
            index_turn(t, node->out[o]);
    }
    return t->why == NULL;
}
