/* incremental_sparse.c - Spmm: which rows can have changed, as their edges came or went, or their factors or neighbours
 * changed. incremental_chain.c makes them anew. Attend (incremental_attend.c) finds its rows with the same functions. */
#include "incremental_ends.h"

#include <string.h>

/* ---- while a binding is made ------------------------------------------------------------------------ */

static rcd_value_id in_id(const struct rcd_node *node, size_t j)
{
    return j < node->n_in ? node->in[j] : RCD_NO_VALUE;
}

struct rcd__ival *rcd__value_in(const struct rcd__live *l, const struct rcd_node *node, size_t j)
{
    const rcd_value_id id = in_id(node, j);
    return id != RCD_NO_VALUE && l->plan->values[id].constant == NULL ? rcd__ival(l, id) : NULL;
}

static const struct rcd_tensor *tensor_in(const struct rcd_run *run, const struct rcd_node *node,
                                          size_t j)
{
    const rcd_value_id id = in_id(node, j);
    return id != RCD_NO_VALUE ? rcd__tensor_of(run, id) : NULL;
}

/* The entries that the result has a row for: known ones of that number, or new ones. */
static struct rcd__dom *result_dom(struct rcd__live *l, const struct rcd_node *node, size_t n)
{
    const struct rcd__ival *x = rcd__value_in(l, node, RCD__EDGES_X);
    const bool sum = node->op == &rcd__op_spmm;
    const struct rcd__ival *start = sum ? rcd__value_in(l, node, RCD__SPMM_START) : NULL;
    if (x != NULL && x->kind == RCD__ROWS && x->dom->n == n &&
        in_id(node, RCD__EDGES_SRC) != RCD_NO_VALUE)
        return x->dom;
    if (start != NULL && start->kind == RCD__ROWS && start->dom->n == n)
        return start->dom;
    for (struct rcd__dom *d = l->doms; d != NULL; d = d->next) {
        if (d->n == n && d->group >= -1 && d->of == NULL && rcd__dom_dense(d))
            return d;
    }
    return rcd__dom_new(l, n + 64, n);
}

static bool need_index(struct rcd__live *l, const struct rcd_run *run, const struct rcd_node *node,
                       size_t j, struct rcd__dom *over)
{
    struct rcd__ival *v = rcd__value_in(l, node, j);
    if (v == NULL || v->kind != RCD__ROWS || v->same || !rcd__dom_dense(over)) {
        l->why = "edges that are not rows of indices";
        return false;
    }
    if (v->inv == NULL)
        v->inv = rcd__inv_new(l, v->dom, over, tensor_in(run, node, j));
    if (v->inv != NULL && v->inv->over != over)
        l->why = "one index into two kinds of entries";
    return l->why == NULL;
}

bool rcd__readable(struct rcd__live *l, const struct rcd__ival *v, const struct rcd__dom *dom)
{
    bool ok = v == NULL || v->kind == RCD__FILL ||
              (v->kind == RCD__ROWS && v->dom == dom && v->axis == 0 && v->store != NULL);
    if (!ok)
        l->why = "rows of a sparse product that were not kept";
    return ok;
}

bool rcd__capture_spmm(struct rcd__live *l, const struct rcd_run *run, const struct rcd_node *node)
{
    const struct rcd_tensor *out = tensor_in(run, node, RCD__EDGES_X); /* for its presence */
    if (node->n_out < 1 || node->out[0] == RCD_NO_VALUE || out == NULL)
        return false;
    out = rcd__slot(run, run->plan->values[node->out[0]].slot, 0);
    struct rcd__dom *to = result_dom(l, node, (size_t)out->dims[0]);
    const struct rcd__ival *x = rcd__value_in(l, node, RCD__EDGES_X);
    const bool sum = node->op == &rcd__op_spmm; /* Attend has no factors and no start of its own */
    const rcd_value_id w_id = sum ? in_id(node, RCD__SPMM_W) : RCD_NO_VALUE;
    const struct rcd__ival *w = sum ? rcd__value_in(l, node, RCD__SPMM_W) : NULL;
    const bool has_src = in_id(node, RCD__EDGES_SRC) != RCD_NO_VALUE;
    const struct rcd__ival *shape = rcd__value_in(l, node, RCD__EDGES_SHAPE);
    if (shape != NULL && shape->kind != RCD__WHOLE)
        l->why = "a shape that is not known";
    if (to == NULL || l->why != NULL || !need_index(l, run, node, RCD__EDGES_DST, to))
        return false;
    struct rcd__inv *dst = rcd__value_in(l, node, RCD__EDGES_DST)->inv;
    if (x == NULL && w_id == RCD_NO_VALUE) {
        l->why = "a sparse product of a constant";
        return false;
    }
    if (has_src) {
        if (x == NULL || x->kind != RCD__ROWS ||
            !need_index(l, run, node, RCD__EDGES_SRC, x->dom)) {
            l->why = l->why != NULL ? l->why : "a sparse product of a fill";
            return false;
        }
        struct rcd__inv *src = rcd__value_in(l, node, RCD__EDGES_SRC)->inv;
        if (src->dom != dst->dom) {
            l->why = "ends of edges in different lists";
            return false;
        }
        if (dst->cols == NULL)
            rcd__inv_mirror(dst, src);
        if (src->cols == NULL)
            rcd__inv_mirror(src, dst);
    }
    const bool wc = w_id != RCD_NO_VALUE && w == NULL;
    const struct rcd__ival *start = sum ? rcd__value_in(l, node, RCD__SPMM_START) : NULL;
    if (wc || !rcd__readable(l, x, has_src ? x->dom : dst->dom) || !rcd__readable(l, w, dst->dom) ||
        !rcd__readable(l, start, to)) {
        l->why = l->why != NULL ? l->why : "constant factors of edges";
        return false;
    }
    if (w != NULL && w->kind == RCD__ROWS && w->outer == 1 && w->inner == sizeof(float) &&
        dst->factors == NULL)
        rcd__inv_mirror_factors(l, dst, w);
    return rcd__make_rows(l, node->out[0], out, to, 0);
}

/* ---- turns ------------------------------------------------------------------------------------------ */

bool rcd__ends_spread(struct rcd__turn *t, struct rcd__marks *rows, const struct rcd__ends *e,
                      const struct rcd__rows *edges)
{
    if (edges == NULL)
        return true;
    bool ok = rcd__marks_expect(t, rows, edges->n);
    for (size_t i = 0; ok && i < edges->n; i++) {
        const int32_t row = e->dst->target[edges->at[i]];
        ok = row < 0 || rcd__marks_add(t, rows, row);
    }
    return ok;
}

bool rcd__ends_reached(struct rcd__turn *t, struct rcd__marks *rows, const struct rcd__ends *e,
                       const struct rcd__rows *from)
{
    size_t n = 0;
    for (size_t i = 0; from != NULL && i < from->n; i++)
        n += e->src->row[from->at[i]].len;
    bool ok = rcd__marks_expect(t, rows, n);
    const bool mirrored = e->src->cols == e->dst;
    for (size_t i = 0; ok && from != NULL && i < from->n; i++) {
        const struct rcd__inv_row *r = &e->src->row[from->at[i]];
        const struct rcd__pair *p = e->src->pool + r->begin;
        for (size_t k = 0; ok && k < r->len; k++)
            ok = rcd__marks_add(t, rows, mirrored ? p[k].col : e->dst->target[p[k].slot]);
    }
    return ok;
}

static bool add_all(struct rcd__turn *t, struct rcd__marks *rows, const int32_t *at, size_t n)
{
    bool ok = rcd__marks_expect(t, rows, n);
    for (size_t i = 0; ok && i < n; i++)
        ok = rcd__marks_add(t, rows, at[i]);
    return ok;
}

const struct rcd__rows *rcd__ends_dirty(struct rcd__turn *t, const struct rcd__ends *e)
{
    const struct rcd__ival *const fills[] = {e->x, e->w, e->start};
    for (size_t i = 0; i < RCD_COUNT(fills); i++) {
        if (fills[i] != NULL &&
            (fills[i]->changed || (fills[i]->dirty != NULL && fills[i]->dirty->all)))
            return rcd__rows_all(t, e->out->dom);
    }
    struct rcd__marks rows = {.dom = e->out->dom};
    bool ok = add_all(t, &rows, e->dst->touched, e->dst->n_touched) &&
              (e->w == NULL || rcd__ends_spread(t, &rows, e, e->w->dirty)) &&
              (e->src != NULL ? rcd__ends_reached(t, &rows, e, e->x->dirty)
                              : rcd__ends_spread(t, &rows, e, e->x->dirty));
    for (size_t i = 0; ok && e->src != NULL && i < e->src->n_moved; i++) {
        const int32_t row = e->dst->target[e->src->moved[i]];
        ok = row < 0 || rcd__marks_add(t, &rows, row);
    }
    if (!ok || !add_all(t, &rows, e->out->dom->added, e->out->dom->n_added))
        return NULL;
    const struct rcd__rows *r = rcd__rows_marked(t, &rows);
    return e->start != NULL && e->start->kind == RCD__ROWS
               ? rcd__rows_join(t, e->out->dom, r, e->start->dirty)
               : r;
}

size_t rcd__ends_count(const struct rcd__ends *e, const struct rcd__rows *rows)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->n; i++)
        n += e->dst->row[rows->at[i]].len;
    return n;
}

void rcd__ends_row(const struct rcd__ends *e, const struct rcd__inv_row *row, size_t n,
                   int32_t *col, int32_t *edge)
{
    const struct rcd__pair *p = e->dst->pool + row->begin;
    const bool one = e->x->kind == RCD__FILL, mirrored = e->src != NULL && e->dst->cols == e->src;
    for (size_t k = 0; edge != NULL && k < n; k++)
        edge[k] = p[k].slot;
    if (col == NULL)
        return;
    if (one) {
        memset(col, 0, n * sizeof *col);
    } else if (mirrored) {
        for (size_t k = 0; k < n; k++)
            col[k] = p[k].col;
    } else {
        for (size_t k = 0; k < n; k++)
            col[k] = e->src == NULL ? p[k].slot : e->src->target[p[k].slot];
    }
}

const float *rcd__numbers(struct rcd__turn *t, const struct rcd__ival *v, size_t row)
{
    if (v->kind == RCD__ROWS)
        return v->store->data;
    float *one = rcd_arena_alloc_aligned(&t->arena, row * sizeof *one + 64);
    if (one == NULL)
        t->why = "no memory";
    else
        rcd__repeat(one, row, sizeof *one, v->element);
    return one;
}

bool rcd__ends_fit(struct rcd__turn *t, const struct rcd__ends *e, const struct rcd_node *node)
{
    struct rcd__dom *d = e->out->dom;
    int64_t n = (int64_t)d->n;
    if (node->in[RCD__EDGES_SHAPE] != RCD_NO_VALUE) {
        const struct rcd_tensor *c = t->live->plan->values[node->in[RCD__EDGES_SHAPE]].constant;
        n = rcd__int_at(c != NULL ? c : &e->shape->t, 0);
    }
    if (e->first != NULL)
        n = e->first->dims[0];
    if (n != (int64_t)d->n || (e->first != NULL && !rcd__dom_dense(d)))
        t->why = "a result of another size";
    if (e->x->kind == RCD__FILL && e->src == NULL && e->x->t.dims[0] != (int64_t)e->dst->dom->n)
        t->why = "a fill of another size";
    if (e->w != NULL && e->w->kind == RCD__FILL && e->w->t.dims[0] != (int64_t)e->dst->dom->n)
        t->why = "a fill of another size";
    return t->why == NULL;
}

void rcd__count_rows(struct rcd__turn *t, size_t n)
{
    if (t->effort.n_products < RCD_BOUND_PRODUCTS)
        t->effort.products[t->effort.n_products] = n;
    t->effort.n_products++;
}

bool rcd__turn_spmm(struct rcd__turn *t, const struct rcd_node *node)
{
    const struct rcd__live *l = t->live;
    const struct rcd__ival *src = rcd__value_in(l, node, RCD__EDGES_SRC);
    struct rcd__inv *dst = rcd__value_in(l, node, RCD__EDGES_DST)->inv;
    struct rcd__ends e = {.dst = dst,
                          .src = src != NULL ? src->inv : NULL,
                          .x = rcd__value_in(l, node, RCD__EDGES_X),
                          .w = rcd__value_in(l, node, RCD__SPMM_W),
                          .start = rcd__value_in(l, node, RCD__SPMM_START),
                          .shape = rcd__value_in(l, node, RCD__EDGES_SHAPE),
                          .out = rcd__ival(l, node->out[0])};
    const rcd_value_id start = in_id(node, RCD__SPMM_START);
    e.first = start != RCD_NO_VALUE ? l->plan->values[start].constant : NULL;
    if (!rcd__ends_fit(t, &e, node))
        return false;
    if (e.w != NULL && e.w == dst->factors) /* it had its turn: this node reads it */
        rcd__inv_factors_turn(dst);
    const struct rcd__rows *rows = rcd__ends_dirty(t, &e);
    rcd__count_rows(t, rows != NULL ? rows->n : 0);
    if (t->why != NULL || rows == NULL)
        return t->why == NULL;
    return rcd__turn_chain_rows(t, node, &e, rows);
}
