/* rewrite.c - the passes over a checked plan, one after the other, and what they share. */
#include "rewrite.h"
#include "spread.h"

#include <string.h>

rcd_value_id rcd__new_value(struct rcd__rewrite *w, rcd_dtype t)
{
    RCD_ASSERT(w->p->n_values < w->cap_values);
    rcd_value_id id = (rcd_value_id)w->p->n_values++;
    w->p->values[id] = (struct rcd_plan_value){.dtype = t, .rank = -1, .slot = UINT32_MAX};
    return id;
}

static bool has_room(struct rcd__rewrite *w, size_t more)
{
    rcd_plan *p = w->p;
    struct rcd_plan_value *values = p->values;
    if (more > 0) {
        values = rcd_arena_calloc(&p->arena, p->n_values + more, sizeof *values);
        if (values == NULL)
            return false;
        memcpy(values, p->values, p->n_values * sizeof *values);
    }
    p->values = values;
    w->cap_values = p->n_values + more;
    return true;
}

static void note_makers(struct rcd__rewrite *w)
{
    const struct rcd_body *main = &w->p->main;
    for (size_t v = 0; v < w->p->n_values; v++)
        w->maker[v] = UINT32_MAX;
    for (size_t i = 0; i < main->n_nodes; i++) {
        for (size_t o = 0; o < main->nodes[i].n_out; o++) {
            if (main->nodes[i].out[o] != RCD_NO_VALUE)
                w->maker[main->nodes[i].out[o]] = (uint32_t)i;
        }
    }
}

static rcd_status simplify(struct rcd__rewrite *w, struct rcd__joins *joins)
{
    bool room = rcd__symbols_init(&w->sym, w->p);
    w->sym.joins = joins;
    w->n_picks = 0;
    for (size_t v = 0; v < w->p->n_values; v++) {
        w->alias[v] = (rcd_value_id)v;
        w->maker[v] = UINT32_MAX;
    }
    return room ? rcd__plan_simplify(w) : rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
}

/* Which input's rows an output has. */
static bool note_output_rows(const struct rcd__rewrite *w)
{
    const struct rcd_body *main = &w->p->main;
    const struct rcd__fact *facts = w->sym.facts;
    int *rows = w->p->output_rows = rcd_arena_calloc(&w->p->arena, main->n_outputs, sizeof *rows);
    for (size_t o = 0; rows != NULL && o < main->n_outputs; o++) {
        const struct rcd__fact *y = &facts[main->outputs[o]];
        rows[o] = -1;
        for (size_t i = 0; i < main->n_inputs && y->rank > 0 && rows[o] < 0; i++) {
            const struct rcd__fact *x = &facts[main->inputs[i]];
            if (x->rank > 0 && rcd__term_equal(x->dims[0], y->dims[0]))
                rows[o] = (int)i;
        }
    }
    return rows != NULL || main->n_outputs == 0;
}

enum { PASSES = 4 };

/* Once more when sizes of inputs turned out to be the same ones: then more is known, perhaps of others, too. */
static rcd_status simplify_and_join(struct rcd__rewrite *w)
{
    for (int pass = 1;; pass++) {
        struct rcd__joins joins = {.n = 0};
        rcd_status st = simplify(w, &joins);
        w->sym.joins = NULL;
        if (st != RCD_OK || joins.n == 0 || pass == PASSES)
            return st;
        rcd__symbols_done(&w->sym);
        w->sym = (struct rcd__symbols){.p = w->p};
        if (!rcd__joins_rename(w->p, &joins))
            return rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
    }
}

/* Makes values whose sizes and makers are known to what follows. */
static rcd_status gathered(struct rcd__rewrite *w)
{
    const size_t n = rcd__fuse_gathered_count(w), all = w->p->n_values + n;
    if (n == 0)
        return RCD_OK;
    struct rcd__fact *facts = rcd_realloc(w->sym.facts, all * sizeof *facts);
    w->sym.facts = facts != NULL ? facts : w->sym.facts;
    uint32_t *maker = rcd_realloc(w->maker, all * sizeof *maker);
    w->maker = maker != NULL ? maker : w->maker;
    if (facts == NULL || maker == NULL || !has_room(w, n))
        return rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
    rcd_status st = rcd__fuse_gathered(w, n);
    w->sym.n_facts = w->p->n_values;
    if (st == RCD_OK)
        note_makers(w);
    return st;
}

rcd_status rcd__plan_rewrite(rcd_plan *p, struct rcd_error *err)
{
    struct rcd__rewrite w = {.p = p, .sym = {.p = p}, .err = err};
    const size_t n = p->main.n_nodes;
    struct rcd_node *before = rcd_calloc(n + 1, sizeof *before); /* that the file has */
    w.alias = rcd_calloc(p->n_values, sizeof *w.alias);
    w.maker = rcd_calloc(p->n_values, sizeof *w.maker);
    bool room = before != NULL && w.alias != NULL && w.maker != NULL;
    if (room && n > 0)
        memcpy(before, p->main.nodes, n * sizeof *before);
    rcd_status st =
        room ? simplify_and_join(&w) : rcd_fail(err, RCD_ENOMEM, "no memory for a plan");
    if (st == RCD_OK && (!note_output_rows(&w) || !rcd__spread_find(p, before, n)))
        st = rcd_fail(err, RCD_ENOMEM, "no memory for a plan");
    if (st == RCD_OK) {
        note_makers(&w);
        st = gathered(&w);
    }
    if (st == RCD_OK) {
        st = has_room(&w, rcd__fused_values(&w))
                 ? rcd__plan_fuse_sparse(&w)
                 : rcd_fail(err, RCD_ENOMEM, "no memory for a plan");
    }
    if (st == RCD_OK && !rcd__fuse_dots(&w))
        st = rcd_fail(err, RCD_ENOMEM, "no memory for a plan");
    rcd__symbols_done(&w.sym);
    rcd_free(before);
    rcd_free(w.alias);
    rcd_free(w.maker);
    return st;
}
