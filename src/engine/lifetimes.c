/* lifetimes.c - who reads what, for how long.
 *
 * Backwards over each body: a node none of whose outputs is read is removed. Forwards: every value made
 * at run time gets a slot, and each node the list of slots that it is the last to read. A value that a
 * nested body reads counts as read by the node that holds the body. */
#include "plan_int.h"

#include <string.h>

#define FOREVER UINT32_MAX /* outputs of a body: whoever runs the body drops them */

struct walk {
    rcd_plan *p;
    uint32_t *uses; /* per value: readers left (backward pass) */
    uint32_t *last; /* per value: index of the last reading node in the owning body, + 1 */
    const struct rcd_body **owner; /* per value: the body that makes it */
    uint32_t *drops;               /* scratch for one node's list */
    size_t *n_drops;
};

static void count_uses(const struct walk *w, const struct rcd_node *node, int by)
{
    for (size_t i = 0; i < node->n_in; i++) {
        if (node->in[i] != RCD_NO_VALUE)
            w->uses[node->in[i]] += (uint32_t)by;
    }
    for (size_t b = 0; b < node->n_bodies; b++) {
        const struct rcd_body *body = &node->bodies[b];
        for (size_t i = 0; i < body->n_nodes; i++)
            count_uses(w, &body->nodes[i], by);
        for (size_t i = 0; i < body->n_outputs; i++)
            w->uses[body->outputs[i]] += (uint32_t)by;
    }
}

/* Innermost bodies first: what they no longer need, outer nodes may not need either. */
static void prune(const struct walk *w, struct rcd_body *body)
{
    for (size_t i = body->n_nodes; i-- > 0;) {
        struct rcd_node *node = &body->nodes[i];
        bool read = false;
        for (size_t o = 0; o < node->n_out; o++)
            read = read || (node->out[o] != RCD_NO_VALUE && w->uses[node->out[o]] > 0);
        if (!read) {
            count_uses(w, node, -1);
            node->op = NULL; /* removed below */
            continue;
        }
        for (size_t b = 0; b < node->n_bodies; b++)
            prune(w, &node->bodies[b]);
    }
    size_t kept = 0;
    for (size_t i = 0; i < body->n_nodes; i++) {
        if (body->nodes[i].op != NULL)
            body->nodes[kept++] = body->nodes[i];
    }
    body->n_nodes = kept;
}

static void give_slot(const struct walk *w, const struct rcd_body *owner, rcd_value_id id)
{
    struct rcd_plan_value *v = &w->p->values[id];
    if (v->constant != NULL)
        return;
    if (v->slot == UINT32_MAX)
        v->slot = (uint32_t)w->p->n_slots++;
    w->owner[id] = owner;
}

typedef void visit_fn(const struct walk *w, const struct rcd_body *body, rcd_value_id id,
                      uint32_t at);

/* Every value that a node reads, in its nested bodies too, if `body` owns it. */
static void each_read(const struct walk *w, const struct rcd_body *body,
                      const struct rcd_node *node, uint32_t at, visit_fn *visit)
{
    for (size_t i = 0; i < node->n_in; i++) {
        if (node->in[i] != RCD_NO_VALUE)
            visit(w, body, node->in[i], at);
    }
    for (size_t b = 0; b < node->n_bodies; b++) {
        const struct rcd_body *inner = &node->bodies[b];
        for (size_t i = 0; i < inner->n_nodes; i++)
            each_read(w, body, &inner->nodes[i], at, visit);
        for (size_t i = 0; i < inner->n_outputs; i++)
            visit(w, body, inner->outputs[i], at);
    }
}

static void mark_read(const struct walk *w, const struct rcd_body *body, rcd_value_id id,
                      uint32_t at)
{
    if (w->owner[id] == body && w->last[id] != FOREVER)
        w->last[id] = at;
}

static void add_drop(const struct walk *w, const struct rcd_body *body, rcd_value_id id,
                     uint32_t at)
{
    if (w->owner[id] == body && w->last[id] == at) {
        w->drops[(*w->n_drops)++] = w->p->values[id].slot;
        w->last[id] = FOREVER; /* listed once */
    }
}

static rcd_status note_drops(const struct walk *w, struct rcd_body *body, uint32_t i,
                             struct rcd_error *err)
{
    struct rcd_node *node = &body->nodes[i];
    *w->n_drops = 0;
    each_read(w, body, node, i + 1, add_drop);
    for (size_t o = 0; o < node->n_out; o++) {
        if (node->out[o] != RCD_NO_VALUE)
            add_drop(w, body, node->out[o], i + 1);
    }
    uint32_t *drop = rcd_arena_calloc(&w->p->arena, *w->n_drops, sizeof *drop);
    if (drop == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a plan");
    memcpy(drop, w->drops, *w->n_drops * sizeof *drop);
    node->drop = drop;
    node->n_drop = *w->n_drops;
    return RCD_OK;
}

static rcd_status plan_drops(const struct walk *w, struct rcd_body *body, struct rcd_error *err)
{
    for (size_t i = 0; i < body->n_inputs; i++)
        give_slot(w, body, body->inputs[i]);
    for (uint32_t i = 0; i < body->n_nodes; i++) {
        struct rcd_node *node = &body->nodes[i];
        for (size_t o = 0; o < node->n_out; o++) {
            if (node->out[o] == RCD_NO_VALUE)
                continue;
            give_slot(w, body, node->out[o]);
            w->last[node->out[o]] = i + 1; /* unread: dropped where it is made */
        }
    }
    bool *own = rcd_arena_calloc(&w->p->arena, body->n_outputs, sizeof *own);
    if (own == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a plan");
    body->own_output = own;
    for (size_t i = 0; i < body->n_outputs; i++) {
        own[i] = w->owner[body->outputs[i]] == body;
        if (own[i])
            w->last[body->outputs[i]] = FOREVER;
    }
    for (uint32_t i = 0; i < body->n_nodes; i++) {
        struct rcd_node *node = &body->nodes[i];
        for (size_t b = 0; b < node->n_bodies; b++) {
            rcd_status st = plan_drops(w, &node->bodies[b], err);
            if (st != RCD_OK)
                return st;
        }
        each_read(w, body, node, i + 1, mark_read);
    }
    for (uint32_t i = 0; i < body->n_nodes; i++) {
        rcd_status st = note_drops(w, body, i, err);
        if (st != RCD_OK)
            return st;
    }
    return RCD_OK;
}

rcd_status rcd__plan_lifetimes(rcd_plan *p, struct rcd_error *err)
{
    size_t n_drops = 0;
    struct walk w = {.p = p, .n_drops = &n_drops};
    w.uses = rcd_calloc(p->n_values, sizeof *w.uses);
    w.last = rcd_calloc(p->n_values, sizeof *w.last);
    w.drops = rcd_calloc(p->n_values, sizeof *w.drops);
    w.owner = rcd_calloc(p->n_values, sizeof *w.owner);
    rcd_status st = RCD_ENOMEM;
    if (w.uses == NULL || w.last == NULL || w.drops == NULL || w.owner == NULL) {
        rcd_fail(err, RCD_ENOMEM, "no memory for a plan of %zu values", p->n_values);
    } else {
        for (size_t i = 0; i < p->main.n_nodes; i++)
            count_uses(&w, &p->main.nodes[i], 1);
        for (size_t i = 0; i < p->main.n_outputs; i++)
            w.uses[p->main.outputs[i]]++;
        prune(&w, &p->main);
        st = plan_drops(&w, &p->main, err);
    }
    rcd_free(w.uses);
    rcd_free(w.last);
    rcd_free(w.drops);
    rcd_free(w.owner);
    return st;
}
