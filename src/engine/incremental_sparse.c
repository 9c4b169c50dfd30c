/* incremental_sparse.c - Spmm for the rows that can have changed: whose edges came or went, whose factors or
 * neighbours changed. Their edges are packed together, in their order, for the same kernel. Attend (incremental_attend.c)
 * finds and packs its rows with the same functions. */
#include "incremental_ends.h"
#include "team.h"

#include <string.h>

/* ---- while a binding is made ------------------------------------------------------------------------ */

struct rcd__ival *rcd__value_in(const struct rcd__live *l, const struct rcd_node *node, size_t j)
{
    const rcd_value_id id = rcd__in_id(node, j);
    return id != RCD_NO_VALUE && l->plan->values[id].constant == NULL ? rcd__ival(l, id) : NULL;
}

static const struct rcd_tensor *tensor_in(const struct rcd_run *run, const struct rcd_node *node,
                                          size_t j)
{
    const rcd_value_id id = rcd__in_id(node, j);
    return id != RCD_NO_VALUE ? rcd__tensor_of(run, id) : NULL;
}

/* The entries that the result has a row for: known ones of that number, or new ones. */
static struct rcd__dom *result_dom(struct rcd__live *l, const struct rcd_node *node, size_t n)
{
    const struct rcd__ival *x = rcd__value_in(l, node, RCD__EDGES_X);
    const bool sum = node->op == &rcd__op_spmm;
    const struct rcd__ival *start = sum ? rcd__value_in(l, node, RCD__SPMM_START) : NULL;
    if (x != NULL && x->kind == RCD__ROWS && x->dom->n == n &&
        rcd__in_id(node, RCD__EDGES_SRC) != RCD_NO_VALUE)
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
    const rcd_value_id w_id = sum ? rcd__in_id(node, RCD__SPMM_W) : RCD_NO_VALUE;
    const struct rcd__ival *w = sum ? rcd__value_in(l, node, RCD__SPMM_W) : NULL;
    const bool has_src = rcd__in_id(node, RCD__EDGES_SRC) != RCD_NO_VALUE;
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
        const struct rcd__inv *src = rcd__value_in(l, node, RCD__EDGES_SRC)->inv;
        if (src->dom != dst->dom) {
            l->why = "ends of edges in different lists";
            return false;
        }
        if (dst->cols == NULL)
            rcd__inv_mirror(dst, src);
    }
    const bool wc = w_id != RCD_NO_VALUE && w == NULL;
    const struct rcd__ival *start = sum ? rcd__value_in(l, node, RCD__SPMM_START) : NULL;
    if (wc || !rcd__readable(l, x, has_src ? x->dom : dst->dom) || !rcd__readable(l, w, dst->dom) ||
        !rcd__readable(l, start, to)) {
        l->why = l->why != NULL ? l->why : "constant factors of edges";
        return false;
    }
    return rcd__make_rows(l, node->out[0], out, to, 0);
}

/* ---- turns ------------------------------------------------------------------------------------------ */

bool rcd__ends_spread(struct rcd__turn *t, struct rcd__list *rows, const struct rcd__ends *e,
                      const struct rcd__rows *edges)
{
    for (size_t i = 0; edges != NULL && i < edges->n; i++) {
        int32_t row = e->dst->target[edges->at[i]];
        if (row >= 0 && !rcd__list_add(t, rows, row))
            return false;
    }
    return true;
}

bool rcd__ends_reached(struct rcd__turn *t, struct rcd__list *rows, const struct rcd__ends *e,
                       const struct rcd__rows *from)
{
    for (size_t i = 0; from != NULL && i < from->n; i++) {
        const struct rcd__inv_row *r = &e->src->row[from->at[i]];
        const struct rcd__pair *p = e->src->pool + r->begin;
        for (size_t k = 0; k < r->len; k++) {
            if (!rcd__list_add(t, rows, e->dst->target[p[k].slot]))
                return false;
        }
    }
    return true;
}

const struct rcd__rows *rcd__ends_dirty(struct rcd__turn *t, const struct rcd__ends *e)
{
    const struct rcd__ival *const fills[] = {e->x, e->w, e->start};
    for (size_t i = 0; i < RCD_COUNT(fills); i++) {
        if (fills[i] != NULL &&
            (fills[i]->changed || (fills[i]->dirty != NULL && fills[i]->dirty->all)))
            return rcd__rows_all(t, e->out->dom);
    }
    struct rcd__list rows = {.n = 0};
    for (size_t i = 0; i < e->dst->n_touched; i++) {
        if (!rcd__list_add(t, &rows, e->dst->touched[i]))
            return NULL;
    }
    const bool ok = (e->w == NULL || rcd__ends_spread(t, &rows, e, e->w->dirty)) &&
                    (e->src != NULL ? rcd__ends_reached(t, &rows, e, e->x->dirty)
                                    : rcd__ends_spread(t, &rows, e, e->x->dirty));
    for (size_t i = 0; ok && e->src != NULL && i < e->src->n_moved; i++) {
        if (e->dst->target[e->src->moved[i]] >= 0 &&
            !rcd__list_add(t, &rows, e->dst->target[e->src->moved[i]]))
            return NULL;
    }
    for (size_t i = 0; ok && i < e->out->dom->n_added; i++) {
        if (!rcd__list_add(t, &rows, e->out->dom->added[i]))
            return NULL;
    }
    if (!ok)
        return NULL;
    const struct rcd__rows *r = rcd__rows_of(t, e->out->dom, rows.at, rows.n);
    return e->start != NULL && e->start->kind == RCD__ROWS
               ? rcd__rows_join(t, e->out->dom, r, e->start->dirty)
               : r;
}

/* Beyond this part of all edges, all rows are made: nothing need be packed or compared. */
enum { MOST_NUM = 2, MOST_DEN = 3 };

enum {
    PARALLEL_ROWS = 64
}; /* fewer than in a full run: the rows are few, and often the large ones */

const struct rcd__rows *rcd__ends_or_all(struct rcd__turn *t, const struct rcd__ends *e,
                                         const struct rcd__rows *rows, size_t *ret_edges)
{
    size_t n = 0;
    for (size_t i = 0; i < rows->n; i++)
        n += e->dst->row[rows->at[i]].len;
    if (!rows->all && MOST_DEN * n > MOST_NUM * e->dst->n_live && e->out->store != NULL) {
        rows = rcd__rows_all(t, e->out->dom);
        n = e->dst->n_live;
    }
    *ret_edges = n;
    return rows;
}

bool rcd__ends_pack(struct rcd__turn *t, const struct rcd__ends *e, const struct rcd__rows *rows,
                    size_t n, struct rcd_spmm *s)
{
    int32_t *ptr = rcd_arena_alloc(&t->arena, (rows->n + 1 + 2 * n) * sizeof *ptr);
    if (ptr == NULL) {
        t->why = "no memory";
        return false;
    }
    int32_t *col = ptr + rows->n + 1, *edge = col + n, at = 0;
    const bool mirrored = e->src != NULL && e->dst->cols == e->src;
    const bool one_x = e->x->kind == RCD__FILL, one_w = e->w != NULL && e->w->kind == RCD__FILL;
    for (size_t i = 0; i < rows->n; i++) {
        const struct rcd__inv_row *r = &e->dst->row[rows->at[i]];
        const struct rcd__pair *p = e->dst->pool + r->begin;
        ptr[i] = at;
        for (size_t k = 0; k < r->len; k++, at++) {
            edge[at] = one_w ? 0 : p[k].slot;
            col[at] = one_x            ? 0
                      : e->src == NULL ? p[k].slot
                      : mirrored       ? p[k].col
                                       : e->src->target[p[k].slot];
        }
    }
    ptr[rows->n] = at;
    s->ptr = ptr;
    s->col = col;
    s->edge = edge;
    s->n_edges = n;
    return true;
}

const float *rcd__numbers(struct rcd__turn *t, const struct rcd__ival *v, size_t row)
{
    if (v->kind == RCD__ROWS)
        return v->store->data;
    float *one = rcd_arena_alloc_aligned(&t->arena, row * sizeof *one + 64);
    if (one == NULL)
        t->why = "no memory";
    else
        rcd__fill(one, v->element, sizeof *one, row);
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
    if (n != (int64_t)d->n)
        t->why = "a result of another size";
    if (e->x->kind == RCD__FILL && e->src == NULL && e->x->t.dims[0] != (int64_t)e->dst->dom->n)
        t->why = "a fill of another size";
    if (e->w != NULL && e->w->kind == RCD__FILL && e->w->t.dims[0] != (int64_t)e->dst->dom->n)
        t->why = "a fill of another size";
    return t->why == NULL;
}

static bool multiply(struct rcd__turn *t, const struct rcd_node *node, const struct rcd__ends *e,
                     const struct rcd__rows *rows, size_t n_edges)
{
    struct rcd__ival *out = rcd__ival(t->live, node->out[0]);
    const struct rcd__spmm_state *state = node->state;
    const size_t width = out->inner / sizeof(float);
    struct rcd_spmm s = {.how = state->how, .groups = 1, .chan = width, .relu = state->end.relu};
    if (node->in[RCD__EDGES_BIAS] != RCD_NO_VALUE) /* a constant (fuse_epilogue.c) */
        s.bias = t->live->plan->values[node->in[RCD__EDGES_BIAS]].constant->data;
    struct rcd_tensor fresh = {.dtype = RCD_NONE};
    const bool in_place = rows->all && out->store != NULL && !out->out && rcd__dom_dense(out->dom);
    if (in_place) {
        fresh = out->t;
        fresh.dims[0] = (int64_t)rows->n;
        fresh.n = rcd__span(fresh.dims, 0, fresh.rank);
        fresh.data = rcd__writable(t, out);
        if (fresh.data == NULL)
            return false;
    } else if (!rcd__packed(t, out, rows->n, &fresh)) {
        return false;
    }
    s.y = fresh.data;
    s.x_rows = e->x->kind == RCD__FILL ? 1 : e->x->dom->cap;
    if (e->w != NULL) {
        s.groups = rcd__span(e->w->t.dims, 1, e->w->t.rank);
        if (s.groups == 0 || width % s.groups != 0) {
            t->why = "factors of another size";
            return false;
        }
        s.chan = width / s.groups;
        s.w = rcd__numbers(t, e->w, s.groups);
    }
    s.x = rcd__numbers(t, e->x, width);
    struct rcd_tensor start;
    if (e->start != NULL && e->start->kind == RCD__ROWS) {
        if (!rcd__take(t, e->start, rows, &start))
            return false;
        memcpy(fresh.data, start.data, fresh.n * sizeof(float));
        s.accumulate = true;
    } else if (e->start != NULL) {
        rcd__fill(fresh.data, e->start->element, sizeof(float), fresh.n);
        s.accumulate = true;
    }
    if (t->why != NULL || !rcd__ends_pack(t, e, rows, n_edges, &s))
        return false;
    s.row_end = rows->n;
    if (width > 0)
        rcd__spmm_rows(t->run.plan->kernels, t->x->team, &s, PARALLEL_ROWS);
    return rcd__give(t, out, rows, &fresh);
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
    const struct rcd__ends e = {.dst = rcd__value_in(l, node, RCD__EDGES_DST)->inv,
                                .src = src != NULL ? src->inv : NULL,
                                .x = rcd__value_in(l, node, RCD__EDGES_X),
                                .w = rcd__value_in(l, node, RCD__SPMM_W),
                                .start = rcd__value_in(l, node, RCD__SPMM_START),
                                .shape = rcd__value_in(l, node, RCD__EDGES_SHAPE),
                                .out = rcd__ival(l, node->out[0])};
    if (!rcd__ends_fit(t, &e, node))
        return false;
    const struct rcd__rows *rows = rcd__ends_dirty(t, &e);
    if (t->why != NULL || rows == NULL) {
        rcd__count_rows(t, 0);
        return t->why == NULL;
    }
    size_t n = 0;
    rows = rcd__ends_or_all(t, &e, rows, &n);
    if (rows == NULL)
        return false;
    rcd__count_rows(t, rows->n);
    t->effort.edges += n;
    return multiply(t, node, &e, rows, n);
}
