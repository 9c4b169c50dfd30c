/* incremental_lists.c - nodes that choose, join and look up entries, in a turn. */
#include "incremental.h"

#include <string.h>

/* ---- rows by indices --------------------------------------------------------------------------------------- */

bool rcd__turn_pick(struct rcd__turn *t, const struct rcd_node *node)
{
    const struct rcd__ival *from = rcd__turn_in(t, node, 0), *by = rcd__turn_in(t, node, 1);
    struct rcd__ival *v = rcd__turn_out(t, node);
    const struct rcd__inv *inv = by->inv;
    const struct rcd__rows *rows = by->dirty;
    if (from->dirty != NULL && from->dirty->all) {
        rows = rcd__rows_all(t, v->dom);
    } else if (from->dirty != NULL) {
        struct rcd__list slots = {.n = 0};
        for (size_t i = 0; i < from->dirty->n; i++) {
            const struct rcd__inv_row *r = &inv->row[from->dirty->at[i]];
            for (size_t k = 0; k < r->len; k++) {
                if (!rcd__list_add(t, &slots, inv->pool[r->begin + k].slot))
                    return false;
            }
        }
        rows = rcd__rows_join(t, v->dom, rows, rcd__rows_of(t, v->dom, slots.at, slots.n));
    }
    struct rcd_tensor fresh;
    if (rows == NULL || !rcd__packed(t, v, rows->n, &fresh))
        return t->why == NULL;
    int32_t *at = rcd_arena_alloc(&t->arena, rows->n * sizeof *at);
    if (at == NULL)
        return rcd__turn_give_up(t, "no memory");
    for (size_t i = 0; i < rows->n; i++)
        at[i] = inv->target[rows->at[i]];
    rcd__rows_copy(fresh.data, rows->n, NULL, from->store->data, from->dom->cap, at, rows->n,
                   v->outer, v->inner);
    return rcd__give(t, v, rows, &fresh);
}

static const struct rcd__rows *present(struct rcd__turn *t, const struct rcd__dom *d,
                                       const struct rcd__rows *rows)
{
    return rows != NULL ? rcd__rows_of(t, d, rows->at, rows->n) : NULL;
}

bool rcd__turn_choose(struct rcd__turn *t, const struct rcd_node *node)
{
    const struct rcd__ival *from = rcd__turn_in(t, node, 0);
    struct rcd__ival *v = rcd__turn_out(t, node);
    const struct rcd__rows *rows =
        rcd__rows_join(t, v->dom, present(t, v->dom, from->dirty),
                       rcd__rows_of(t, v->dom, v->dom->added, v->dom->n_added));
    struct rcd_tensor fresh;
    if (rows == NULL || !rcd__packed(t, v, rows->n, &fresh))
        return t->why == NULL;
    rcd__rows_copy(fresh.data, rows->n, NULL, from->store->data, from->dom->cap, rows->at, rows->n,
                   v->outer, v->inner);
    return rcd__give(t, v, rows, &fresh);
}

bool rcd__turn_merge(struct rcd__turn *t, const struct rcd_node *node)
{
    const struct rcd__ival *from = rcd__turn_in(t, node, 0), *some = rcd__turn_in(t, node, 2);
    struct rcd__ival *v = rcd__turn_out(t, node);
    /* all of those that were chosen are not all there are */
    const struct rcd__rows *rows =
        rcd__rows_join(t, v->dom, from->dirty, present(t, v->dom, some->dirty));
    rows = rcd__rows_join(t, v->dom, rows,
                          rcd__rows_of(t, v->dom, some->dom->removed, some->dom->n_removed));
    struct rcd_tensor fresh;
    if (rows == NULL || !rcd__packed(t, v, rows->n, &fresh))
        return t->why == NULL;
    for (size_t i = 0; i < rows->n; i++) {
        const struct rcd__ival *is = rcd__dom_has(some->dom, (size_t)rows->at[i]) ? some : from;
        const int32_t to = (int32_t)i;
        rcd__rows_copy(fresh.data, rows->n, &to, is->store->data, is->dom->cap, &rows->at[i], 1,
                       v->outer, v->inner);
    }
    return rcd__give(t, v, rows, &fresh);
}

/* ---- entries that are chosen, and lists behind each other ------------------------------------------------------ */

static bool put(struct rcd__turn *t, struct rcd__dom *d, struct rcd__list *list, int32_t slot,
                bool is)
{
    rcd__dom_put(d, (size_t)slot, is);
    return rcd__list_add(t, list, slot);
}

static void set_lists(struct rcd__dom *d, const struct rcd__list *added,
                      const struct rcd__list *removed)
{
    d->turned = true;
    d->added = added->at;
    d->n_added = added->n;
    d->removed = removed->at;
    d->n_removed = removed->n;
}

bool rcd__turn_filter(struct rcd__turn *t, const struct rcd_node *node)
{
    const struct rcd__ival *mask = rcd__turn_in(t, node, 0);
    struct rcd__ival *v = rcd__turn_out(t, node);
    struct rcd__dom *d = v->dom;
    struct rcd__list added = {.n = 0}, removed = {.n = 0};
    struct rcd_tensor now;
    if (mask->dirty != NULL && !rcd__take(t, mask, mask->dirty, &now))
        return false;
    for (size_t i = 0; i < d->of->n_removed; i++) {
        if (rcd__dom_has(d, (size_t)d->of->removed[i]) &&
            !put(t, d, &removed, d->of->removed[i], false))
            return false;
    }
    for (size_t i = 0; mask->dirty != NULL && i < mask->dirty->n; i++) {
        const int32_t slot = mask->dirty->at[i];
        const bool is = ((const char *)now.data)[i] != 0;
        if (is != rcd__dom_has(d, (size_t)slot) && !put(t, d, is ? &added : &removed, slot, is))
            return false;
    }
    set_lists(d, &added, &removed);
    v->dirty = rcd__rows_of(t, d, added.at, added.n);
    return t->why == NULL;
}

static bool chain_dom(struct rcd__turn *t, struct rcd__dom *d)
{
    struct rcd__list added = {.n = 0}, removed = {.n = 0};
    if (d->turned)
        return true;
    for (size_t i = 0; i < d->n_parts; i++) {
        const struct rcd__dom *p = d->parts[i];
        const int32_t base = (int32_t)d->base[i];
        for (size_t k = 0; k < p->n_removed; k++) {
            if (!put(t, d, &removed, base + p->removed[k], false))
                return false;
        }
        for (size_t k = 0; k < p->n_added; k++) {
            if (!put(t, d, &added, base + p->added[k], true))
                return false;
        }
    }
    set_lists(d, &added, &removed);
    return true;
}

bool rcd__turn_chain(struct rcd__turn *t, const struct rcd_node *node)
{
    struct rcd__ival *v = rcd__turn_out(t, node);
    struct rcd__dom *d = v->dom;
    const struct rcd__rows *of[4] = {NULL};
    struct rcd__list slots = {.n = 0};
    if (!chain_dom(t, d))
        return false;
    for (size_t j = 0; j < d->n_parts; j++) {
        const struct rcd__ival *p = rcd__turn_in(t, node, j);
        if (p->kind == RCD__FILL && (size_t)p->t.dims[v->axis] != d->parts[j]->n)
            return rcd__turn_give_up(t, "a fill of another size");
        of[j] = p->kind == RCD__ROWS ? p->dirty
                : p->changed
                    ? rcd__rows_all(t, d->parts[j])
                    : rcd__rows_of(t, d->parts[j], d->parts[j]->added, d->parts[j]->n_added);
        for (size_t i = 0; of[j] != NULL && i < of[j]->n; i++) {
            if (!rcd__list_add(t, &slots, (int32_t)d->base[j] + of[j]->at[i]))
                return false;
        }
    }
    const struct rcd__rows *rows = rcd__rows_of(t, d, slots.at, slots.n);
    struct rcd_tensor fresh;
    if (rows == NULL || !rcd__packed(t, v, rows->n, &fresh))
        return t->why == NULL;
    RCD_ASSERT(rows->n == slots.n); /* each part ascends, and the next lies behind it */
    char *to = fresh.data;
    for (size_t j = 0; j < d->n_parts; j++) {
        const struct rcd__ival *p = rcd__turn_in(t, node, j);
        const size_t n = of[j] != NULL ? of[j]->n : 0, size = rcd_dtype_size(v->t.dtype);
        struct rcd_tensor part;
        if (n > 0 && p->kind == RCD__ROWS && !rcd__take(t, p, of[j], &part))
            return false;
        for (size_t o = 0; n > 0 && o < v->outer; o++) {
            char *at = to + o * rows->n * v->inner;
            if (p->kind == RCD__FILL)
                rcd__repeat(at, n * v->inner / size, size, p->element);
            else
                memcpy(at, (const char *)part.data + o * n * v->inner, n * v->inner);
        }
        to += n * v->inner;
    }
    return rcd__give(t, v, rows, &fresh);
}
