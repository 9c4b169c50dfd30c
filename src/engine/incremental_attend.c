/* incremental_attend.c - Attend for the rows that can have changed: as for a sparse product, and those whose scores
 * have other numbers at an end of an edge or on it. */
#include "incremental_ends.h"
#include "team.h"

/* ---- while a binding is made ------------------------------------------------------------------------ */

/* Of both programs. */
static bool each_leaf(const struct rcd__attend_state *state, rcd__edge_leaf_fn *f, void *ctx)
{
    return rcd__edge_leaves(&state->program, f, ctx) &&
           (state->values.width == 0 || rcd__edge_leaves(&state->values, f, ctx));
}

struct attend_capture {
    struct rcd__live *l;
    const struct rcd_node *node;
    const struct rcd__dom *to, *from, *edges;
};

static bool leaf_kept(void *ctx, const struct rcd__edge_step *step, const struct rcd__edge_arg *arg)
{
    (void)step;
    const struct attend_capture *c = ctx;
    const struct rcd__ival *v = rcd__value_in(c->l, c->node, RCD__ATTEND_LEAVES + arg->i);
    const struct rcd__dom *dom = arg->from == RCD__FROM_SRC   ? c->from
                                 : arg->from == RCD__FROM_DST ? c->to
                                                              : c->edges;
    if (arg->from == RCD__FROM_UNIFORM
            ? v == NULL
            : v != NULL && v->kind == RCD__ROWS && rcd__readable(c->l, v, dom))
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
                               .from = rcd__value_in(l, node, RCD__EDGES_X)->dom,
                               .edges = rcd__value_in(l, node, RCD__EDGES_DST)->inv->dom};
    return each_leaf(state, leaf_kept, &c);
}

/* ---- turns ------------------------------------------------------------------------------------------ */

struct attend_turn {
    struct rcd__turn *t;
    const struct rcd_node *node;
    const struct rcd__ends *e;
    const struct rcd__rows *rows;
    struct rcd__edge_inputs in;
};

static bool leaf_dirty(void *ctx, const struct rcd__edge_step *step,
                       const struct rcd__edge_arg *arg)
{
    (void)step;
    struct attend_turn *a = ctx;
    if (arg->from == RCD__FROM_UNIFORM)
        return true;
    const struct rcd__ival *v = rcd__value_in(a->t->live, a->node, RCD__ATTEND_LEAVES + arg->i);
    const struct rcd__dom *dom = a->e->out->dom;
    struct rcd__marks rows = {.dom = dom};
    if (v->changed || (v->dirty != NULL && v->dirty->all)) {
        a->rows = rcd__rows_all(a->t, dom);
        return a->t->why == NULL;
    }
    const struct rcd__rows *more = v->dirty;
    if (arg->from != RCD__FROM_DST) {
        if (arg->from == RCD__FROM_SRC ? !rcd__ends_reached(a->t, &rows, a->e, v->dirty)
                                       : !rcd__ends_spread(a->t, &rows, a->e, v->dirty))
            return false;
        more = rcd__rows_marked(a->t, &rows);
    }
    a->rows = rcd__rows_join(a->t, dom, a->rows, more);
    return a->t->why == NULL;
}

static bool leaf_data(void *ctx, const struct rcd__edge_step *step, const struct rcd__edge_arg *arg)
{
    (void)step;
    struct attend_turn *a = ctx;
    const rcd_value_id id = a->node->in[RCD__ATTEND_LEAVES + arg->i];
    if (arg->from == RCD__FROM_UNIFORM) {
        a->in.leaves[arg->i] = a->t->live->plan->values[id].constant->data;
        return true;
    }
    const struct rcd__ival *v = rcd__ival(a->t->live, id);
    a->in.leaves[arg->i] = (const float *)(const void *)v->store->data;
    a->in.strides[arg->i] = v->inner / sizeof(float);
    return true;
}

/* Beyond this part of all edges, all rows are made: nothing need be compared. */
enum { MOST_NUM = 2, MOST_DEN = 3 };

static bool rows_or_all(struct attend_turn *a, size_t *ret_edges)
{
    *ret_edges = rcd__ends_count(a->e, a->rows);
    if (!a->rows->all && MOST_DEN * *ret_edges > MOST_NUM * a->e->dst->n_live &&
        a->e->out->store != NULL) {
        a->rows = rcd__rows_all(a->t, a->e->out->dom);
        *ret_edges = a->e->dst->n_live;
    }
    return a->rows != NULL;
}

/* The n edges of the rows, in their order. */
static bool pack(const struct attend_turn *a, size_t n, struct rcd__edges *ret)
{
    const struct rcd__rows *rows = a->rows;
    int32_t *ptr = rcd_arena_alloc(&a->t->arena, (rows->n + 1 + 2 * n) * sizeof *ptr);
    if (ptr == NULL)
        return rcd__turn_give_up(a->t, "no memory");
    int32_t *col = ptr + rows->n + 1, *edge = col + n;
    size_t at = 0;
    for (size_t i = 0; i < rows->n; i++) {
        const struct rcd__inv_row *r = &a->e->dst->row[rows->at[i]];
        ptr[i] = (int32_t)at;
        rcd__ends_row(a->e, r, r->len, col + at, edge + at);
        at += r->len;
    }
    ptr[rows->n] = (int32_t)at;
    *ret = (struct rcd__edges){.ptr = ptr, .edge = edge, .col = col, .rows = rows->n, .n = n};
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
    struct rcd__edges edges;
    if (!rcd__packed(t, out, a->rows->n, &fresh) || !pack(a, n_edges, &edges))
        return false;
    (void)each_leaf(state, leaf_data, a);
    struct rcd__attend_work w = {
        .kern = t->run.plan->kernels,
        .state = state,
        .e = &edges,
        .ids = a->rows->at,
        .in = a->in,
        .sum = {.x = rcd__numbers(t, a->e->x, width),
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
    const struct rcd__ends e = {.dst = rcd__value_in(l, node, RCD__EDGES_DST)->inv,
                                .src = rcd__value_in(l, node, RCD__EDGES_SRC)->inv,
                                .x = rcd__value_in(l, node, RCD__EDGES_X),
                                .shape = rcd__value_in(l, node, RCD__EDGES_SHAPE),
                                .out = rcd__ival(l, node->out[0])};
    if (!rcd__ends_fit(t, &e, node))
        return false;
    struct attend_turn a = {.t = t, .node = node, .e = &e, .rows = rcd__ends_dirty(t, &e)};
    if (t->why != NULL || !each_leaf(state, leaf_dirty, &a))
        return false;
    if (a.rows == NULL) {
        rcd__count_rows(t, 0);
        return true;
    }
    size_t n = 0;
    if (!rows_or_all(&a, &n))
        return false;
    rcd__count_rows(t, a.rows->n);
    t->effort.edges += n;
    return attend(&a, n);
}
