/* incremental_sparse.c - Spmm and Attend for the rows that can have changed: whose edges came or went, whose factors
 * or neighbours changed. Their edges are packed together, in their order, for the same kernel. */
#include "incremental.h"
#include "ops/sparse.h"
#include "team.h"

#include <string.h>

/* ---- while a binding is made ------------------------------------------------------------------------ */

static rcd_value_id in_id(const struct rcd_node *node, size_t j)
{
    return j < node->n_in ? node->in[j] : RCD_NO_VALUE;
}

/* NULL: none, or a constant. */
static struct rcd__ival *value_in(const struct rcd__live *l, const struct rcd_node *node, size_t j)
{
    const rcd_value_id id = in_id(node, j);
    return id != RCD_NO_VALUE && l->plan->values[id].constant == NULL ? rcd__ival(l, id) : NULL;
}

static const struct rcd_tensor *tensor_in(const struct rcd_run *run, const struct rcd_node *node,
                                          size_t j)
{
    const rcd_value_id id = in_id(node, j);
    if (id == RCD_NO_VALUE)
        return NULL;
    const struct rcd_plan_value *v = &run->plan->values[id];
    return v->constant != NULL ? v->constant : rcd__slot(run, v->slot, 0);
}

/* The entries that the result has a row for: known ones of that number, or new ones. */
static struct rcd__dom *result_dom(struct rcd__live *l, const struct rcd_node *node, size_t n)
{
    const struct rcd__ival *x = value_in(l, node, RCD__EDGES_X);
    const bool sum = node->op == &rcd__op_spmm;
    const struct rcd__ival *start = sum ? value_in(l, node, RCD__SPMM_START) : NULL;
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
    struct rcd__ival *v = value_in(l, node, j);
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

static bool readable(struct rcd__live *l, const struct rcd__ival *v, const struct rcd__dom *dom)
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
    const struct rcd__ival *x = value_in(l, node, RCD__EDGES_X);
    const bool sum = node->op == &rcd__op_spmm; /* Attend has no factors and no start of its own */
    const rcd_value_id w_id = sum ? in_id(node, RCD__SPMM_W) : RCD_NO_VALUE;
    const struct rcd__ival *w = sum ? value_in(l, node, RCD__SPMM_W) : NULL;
    const bool has_src = in_id(node, RCD__EDGES_SRC) != RCD_NO_VALUE;
    const struct rcd__ival *shape = value_in(l, node, RCD__EDGES_SHAPE);
    if (shape != NULL && shape->kind != RCD__WHOLE)
        l->why = "a shape that is not known";
    if (to == NULL || l->why != NULL || !need_index(l, run, node, RCD__EDGES_DST, to))
        return false;
    struct rcd__inv *dst = value_in(l, node, RCD__EDGES_DST)->inv;
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
        const struct rcd__inv *src = value_in(l, node, RCD__EDGES_SRC)->inv;
        if (src->dom != dst->dom) {
            l->why = "ends of edges in different lists";
            return false;
        }
        if (dst->cols == NULL)
            rcd__inv_mirror(dst, src);
    }
    const bool wc = w_id != RCD_NO_VALUE && w == NULL;
    const struct rcd__ival *start = sum ? value_in(l, node, RCD__SPMM_START) : NULL;
    if (wc || !readable(l, x, has_src ? x->dom : dst->dom) || !readable(l, w, dst->dom) ||
        !readable(l, start, to)) {
        l->why = l->why != NULL ? l->why : "constant factors of edges";
        return false;
    }
    return rcd__make_rows(l, node->out[0], out, to, 0);
}

/* ---- turns ------------------------------------------------------------------------------------------ */

struct some_rows {
    const struct rcd_kernels *kern;
    const struct rcd_spmm *all;
};

static void sum_some(void *ctx, size_t from, size_t to)
{
    const struct some_rows *s = ctx;
    struct rcd_spmm part = *s->all;
    part.row_begin = from;
    part.row_end = to;
    s->kern->spmm(&part);
}

struct ends {
    const struct rcd__inv *dst, *src; /* src NULL: edge e takes row e of x */
    const struct rcd__ival *x, *w;    /* w NULL: none */
    const struct rcd__ival *start, *shape, *out;
};

static bool spread(struct rcd__turn *t, struct rcd__list *rows, const struct ends *e,
                   const struct rcd__rows *edges)
{
    for (size_t i = 0; edges != NULL && i < edges->n; i++) {
        int32_t row = e->dst->target[edges->at[i]];
        if (row >= 0 && !rcd__list_add(t, rows, row))
            return false;
    }
    return true;
}

/* Rows that have an edge from one of these. */
static bool reached(struct rcd__turn *t, struct rcd__list *rows, const struct ends *e,
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

static const struct rcd__rows *dirty_rows(struct rcd__turn *t, const struct ends *e)
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
    const bool ok =
        (e->w == NULL || spread(t, &rows, e, e->w->dirty)) &&
        (e->src != NULL ? reached(t, &rows, e, e->x->dirty) : spread(t, &rows, e, e->x->dirty));
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

static const struct rcd__rows *or_all(struct rcd__turn *t, const struct ends *e,
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

static bool pack_edges(struct rcd__turn *t, const struct ends *e, const struct rcd__rows *rows,
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

/* The numbers of one row of a fill, or the store. */
static const float *numbers(struct rcd__turn *t, const struct rcd__ival *v, size_t row)
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

static bool result_fits(struct rcd__turn *t, const struct ends *e, const struct rcd_node *node)
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

static bool multiply(struct rcd__turn *t, const struct rcd_node *node, const struct ends *e,
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
        s.w = numbers(t, e->w, s.groups);
    }
    s.x = numbers(t, e->x, width);
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
    if (t->why != NULL || !pack_edges(t, e, rows, n_edges, &s))
        return false;
    s.row_end = rows->n;
    struct some_rows some = {t->run.plan->kernels, &s};
    if (width > 0)
        rcd__team_run(t->x->team, rows->n, 64, sum_some, &some);
    return rcd__give(t, out, rows, &fresh);
}

static void product_rows(struct rcd__turn *t, size_t n)
{
    if (t->effort.n_products < RCD_BOUND_PRODUCTS)
        t->effort.products[t->effort.n_products] = n;
    t->effort.n_products++;
}

bool rcd__turn_spmm(struct rcd__turn *t, const struct rcd_node *node)
{
    const struct rcd__live *l = t->live;
    const struct rcd__ival *src = value_in(l, node, RCD__EDGES_SRC);
    const struct ends e = {.dst = value_in(l, node, RCD__EDGES_DST)->inv,
                           .src = src != NULL ? src->inv : NULL,
                           .x = value_in(l, node, RCD__EDGES_X),
                           .w = value_in(l, node, RCD__SPMM_W),
                           .start = value_in(l, node, RCD__SPMM_START),
                           .shape = value_in(l, node, RCD__EDGES_SHAPE),
                           .out = rcd__ival(l, node->out[0])};
    if (!result_fits(t, &e, node))
        return false;
    const struct rcd__rows *rows = dirty_rows(t, &e);
    if (t->why != NULL || rows == NULL) {
        product_rows(t, 0);
        return t->why == NULL;
    }
    size_t n = 0;
    rows = or_all(t, &e, rows, &n);
    if (rows == NULL)
        return false;
    product_rows(t, rows->n);
    t->effort.edges += n;
    return multiply(t, node, &e, rows, n);
}

/* ---- attention -------------------------------------------------------------------------------------- */

/* What each leaf of the program is read by: f(from, i) for all of them. */
typedef bool leaf_fn(void *ctx, rcd__edge_from from, size_t i);

static bool each_leaf(const struct rcd__edge_program *p, leaf_fn *f, void *ctx)
{
    if (p->n == 0)
        return f(ctx, p->only.from, p->only.i);
    for (size_t s = 0; s < p->n; s++) {
        const struct rcd__edge_step *step = &p->steps[s];
        const bool two = step->op != RCD_EDGE_UNARY && step->op != RCD_EDGE_SUMS;
        if ((step->a.from != RCD__FROM_STEP && !f(ctx, step->a.from, step->a.i)) ||
            (two && step->b.from != RCD__FROM_STEP && !f(ctx, step->b.from, step->b.i)))
            return false;
    }
    return true;
}

struct attend_capture {
    struct rcd__live *l;
    const struct rcd_node *node;
    const struct rcd__dom *to, *from, *edges;
};

static bool leaf_kept(void *ctx, rcd__edge_from from, size_t i)
{
    const struct attend_capture *c = ctx;
    const struct rcd__ival *v = value_in(c->l, c->node, RCD__ATTEND_LEAVES + i);
    const struct rcd__dom *dom = from == RCD__FROM_SRC   ? c->from
                                 : from == RCD__FROM_DST ? c->to
                                                         : c->edges;
    if (from == RCD__FROM_UNIFORM ? v == NULL
                                  : v != NULL && v->kind == RCD__ROWS && readable(c->l, v, dom))
        return true;
    c->l->why = "scores of attention that are not rows";
    return false;
}

bool rcd__capture_attend(struct rcd__live *l, const struct rcd_run *run,
                         const struct rcd_node *node)
{
    if (!rcd__capture_spmm(l, run, node))
        return false;
    const struct rcd__attend_state *state = node->state;
    struct attend_capture c = {.l = l,
                               .node = node,
                               .to = rcd__ival(l, node->out[0])->dom,
                               .from = value_in(l, node, RCD__EDGES_X)->dom,
                               .edges = value_in(l, node, RCD__EDGES_DST)->inv->dom};
    return each_leaf(&state->program, leaf_kept, &c);
}

struct attend_turn {
    struct rcd__turn *t;
    const struct rcd_node *node;
    const struct ends *e;
    const struct rcd__rows *rows;
    struct rcd__edge_inputs in;
};

static bool leaf_dirty(void *ctx, rcd__edge_from from, size_t i)
{
    struct attend_turn *a = ctx;
    if (from == RCD__FROM_UNIFORM)
        return true;
    const struct rcd__ival *v = value_in(a->t->live, a->node, RCD__ATTEND_LEAVES + i);
    const struct rcd__dom *dom = a->e->out->dom;
    struct rcd__list rows = {.n = 0};
    if (v->changed || (v->dirty != NULL && v->dirty->all)) {
        a->rows = rcd__rows_all(a->t, dom);
        return a->t->why == NULL;
    }
    const struct rcd__rows *more = v->dirty;
    if (from != RCD__FROM_DST) {
        if (from == RCD__FROM_SRC ? !reached(a->t, &rows, a->e, v->dirty)
                                  : !spread(a->t, &rows, a->e, v->dirty))
            return false;
        more = rcd__rows_of(a->t, dom, rows.at, rows.n);
    }
    a->rows = rcd__rows_join(a->t, dom, a->rows, more);
    return a->t->why == NULL;
}

static bool leaf_data(void *ctx, rcd__edge_from from, size_t i)
{
    struct attend_turn *a = ctx;
    const rcd_value_id id = a->node->in[RCD__ATTEND_LEAVES + i];
    if (from == RCD__FROM_UNIFORM) {
        a->in.leaves[i] = a->t->live->plan->values[id].constant->data;
        return true;
    }
    const struct rcd__ival *v = rcd__ival(a->t->live, id);
    a->in.leaves[i] = (const float *)(const void *)v->store->data;
    a->in.strides[i] = v->inner / sizeof(float);
    return true;
}

static bool attend(struct attend_turn *a, size_t n_edges)
{
    struct rcd__turn *t = a->t;
    const struct rcd__attend_state *state = a->node->state;
    struct rcd__ival *out = rcd__ival(t->live, a->node->out[0]);
    const size_t width = out->inner / sizeof(float);
    const rcd_value_id bias = a->node->in[RCD__EDGES_BIAS];
    struct rcd_tensor fresh;
    struct rcd_spmm packed = {.groups = 1};
    if (!rcd__packed(t, out, a->rows->n, &fresh) || !pack_edges(t, a->e, a->rows, n_edges, &packed))
        return false;
    const struct rcd__edges edges = {.ptr = packed.ptr,
                                     .edge = packed.edge,
                                     .col = packed.col,
                                     .rows = a->rows->n,
                                     .n = n_edges};
    (void)each_leaf(&state->program, leaf_data, a);
    const struct rcd__attend_work w = {
        .kern = t->run.plan->kernels,
        .state = state,
        .e = &edges,
        .ids = a->rows->at,
        .in = a->in,
        .sum = {.x = numbers(t, a->e->x, width),
                .x_rows = a->e->x->dom->cap,
                .groups = state->program.width,
                .chan = width / state->program.width,
                .y = fresh.data,
                .relu = state->end.relu,
                .bias = bias != RCD_NO_VALUE ? t->live->plan->values[bias].constant->data : NULL}};
    float *scratch =
        rcd_arena_alloc_aligned(&t->arena, rcd__attend_floats(&w, t->x->team) * sizeof *scratch);
    if (scratch == NULL)
        return rcd__turn_give_up(t, "no memory");
    rcd__attend_rows(&w, t->x->team, scratch);
    return rcd__give(t, out, a->rows, &fresh);
}

bool rcd__turn_attend(struct rcd__turn *t, const struct rcd_node *node)
{
    const struct rcd__live *l = t->live;
    const struct rcd__attend_state *state = node->state;
    const struct ends e = {.dst = value_in(l, node, RCD__EDGES_DST)->inv,
                           .src = value_in(l, node, RCD__EDGES_SRC)->inv,
                           .x = value_in(l, node, RCD__EDGES_X),
                           .shape = value_in(l, node, RCD__EDGES_SHAPE),
                           .out = rcd__ival(l, node->out[0])};
    if (!result_fits(t, &e, node))
        return false;
    struct attend_turn a = {.t = t, .node = node, .e = &e, .rows = dirty_rows(t, &e)};
    if (t->why != NULL || !each_leaf(&state->program, leaf_dirty, &a))
        return false;
    if (a.rows == NULL) {
        product_rows(t, 0);
        return true;
    }
    size_t n = 0;
    a.rows = or_all(t, &e, a.rows, &n);
    if (a.rows == NULL)
        return false;
    product_rows(t, a.rows->n);
    t->effort.edges += n;
    return attend(&a, n);
}
