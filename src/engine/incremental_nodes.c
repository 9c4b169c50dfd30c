/* incremental_nodes.c - one node in a turn: its output rows that can have changed, from its input rows. */
#include "incremental.h"

#include <string.h>

enum { MAX_IO = 64 };

/* Integer element i of an input that is known as a whole. */
static bool int_in(const struct rcd__turn *t, const struct rcd_node *node, size_t j, size_t i,
                   int64_t *ret)
{
    const struct rcd_tensor *c = t->live->plan->values[node->in[j]].constant;
    const struct rcd__ival *v = rcd__turn_in(t, node, j);
    if (c == NULL && (v == NULL || v->kind != RCD__WHOLE))
        return false;
    c = c != NULL ? c : &v->t;
    if (i >= c->n)
        return false;
    *ret = rcd__int_at(c, i);
    return true;
}

/* ---- running the operator --------------------------------------------------------------------------- */

/* On given inputs (RCD_NONE: a constant); outputs belong to the turn. */
static bool run_node(struct rcd__turn *t, const struct rcd_node *node, const struct rcd_tensor *in,
                     struct rcd_tensor *out)
{
    const uint32_t req = 0;
    struct rcd_call c = {
        .run = &t->run, .node = node, .kern = t->run.plan->kernels, .x = t->x, .n = 1, .req = &req};
    for (size_t j = 0; j < node->n_in; j++) {
        if (in[j].dtype == RCD_NONE)
            continue;
        struct rcd_tensor *slot = rcd__slot(&t->run, t->run.plan->values[node->in[j]].slot, 0);
        *slot = in[j];
        slot->block = NULL; /* the turn's */
    }
    const size_t mark = t->x->scratch.used;
    if (node->op->run_all != NULL)
        node->op->run_all(&c);
    else if (node->op->run(&c, 0) != RCD_OK)
        t->why = "a node failed";
    t->x->scratch.used = mark;
    for (size_t o = 0; o < node->n_out; o++) {
        out[o].dtype = RCD_NONE;
        if (node->out[o] == RCD_NO_VALUE)
            continue;
        struct rcd_tensor *slot = rcd__slot(&t->run, t->run.plan->values[node->out[o]].slot, 0);
        out[o] = *slot;
        *slot = (struct rcd_tensor){.dtype = RCD_NONE};
    }
    for (size_t j = 0; j < node->n_in; j++) {
        if (in[j].dtype != RCD_NONE)
            rcd__slot(&t->run, t->run.plan->values[node->in[j]].slot, 0)->dtype = RCD_NONE;
    }
    if (t->req.err.code != RCD_OK && t->why == NULL)
        t->why = "a node failed";
    return t->why == NULL;
}

/* ---- whole values ------------------------------------------------------------------------------------ */

static bool differs(const struct rcd__ival *v)
{
    return v->changed || v->resized || v->dirty != NULL ||
           (v->kind == RCD__ROWS && (v->dom->n_added > 0 || v->dom->n_removed > 0));
}

static bool any_differs(const struct rcd__turn *t, const struct rcd_node *node)
{
    for (size_t j = 0; j < node->n_in; j++) {
        const struct rcd__ival *v = rcd__turn_in(t, node, j);
        if (v != NULL && differs(v))
            return true;
    }
    return false;
}

static bool run_whole(struct rcd__turn *t, const struct rcd_node *node, bool sizes_only,
                      struct rcd_tensor *out)
{
    struct rcd_tensor in[MAX_IO];
    for (size_t j = 0; j < node->n_in; j++) {
        const struct rcd__ival *v = rcd__turn_in(t, node, j);
        in[j].dtype = RCD_NONE;
        if (v != NULL && !rcd__whole_of(t, v, sizes_only, &in[j]))
            return false;
    }
    return run_node(t, node, in, out);
}

static bool same_tensor(const struct rcd_tensor *a, const struct rcd_tensor *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0 &&
           memcmp(a->data, b->data, a->n * rcd_dtype_size(a->dtype)) == 0;
}

static bool turn_whole(struct rcd__turn *t, const struct rcd_node *node, bool sizes_only)
{
    struct rcd_tensor out[MAX_IO] = {{.dtype = RCD_NONE}};
    if (!any_differs(t, node))
        return true;
    if (!run_whole(t, node, sizes_only, out))
        return false;
    for (size_t o = 0; o < node->n_out; o++) {
        struct rcd__ival *v = rcd__turn_value(t, node->out[o]);
        if (v == NULL || same_tensor(&out[o], &v->t)) {
            rcd_tensor_drop(&out[o]);
            continue;
        }
        struct rcd__rowstore *old = v->store;
        t->live->bytes -= old->bytes;
        if (!rcd__make_whole(t->live, node->out[o], &out[o])) {
            v->store = old;
            return rcd__turn_give_up(t, t->live->why);
        }
        rcd__rowstore_unref(old);
        v->changed = true;
        rcd_tensor_drop(&out[o]);
    }
    return true;
}

/* ---- fills --------------------------------------------------------------------------------------------- */

/* An input whose content says how large the output is. */
static bool is_shape(const struct rcd_node *node, size_t j)
{
    return j == 1 && (rcd__is_view(node) || rcd__is_expand(node));
}

/* Values that happened to have one element when the binding was made need not have one now. */
static bool still_single(struct rcd__turn *t, const struct rcd_node *node)
{
    for (size_t j = 0; j < node->n_in; j++) {
        const struct rcd__ival *v = rcd__turn_in(t, node, j);
        if (v != NULL && v->kind == RCD__WHOLE && v->t.n != 1 && !is_shape(node, j))
            return rcd__turn_give_up(t, "a single element is not single any more");
    }
    return true;
}

static bool turn_fill(struct rcd__turn *t, const struct rcd_node *node)
{
    struct rcd__ival *v = rcd__turn_out(t, node);
    if (!any_differs(t, node))
        return true;
    const bool spread = rcd__is_expand(node), shape_only = rcd__named(node, "ConstantOfShape");
    const size_t from = spread ? 1 : 0;
    if (!shape_only && !still_single(t, node))
        return false;
    if (!spread && !shape_only) {
        struct rcd_tensor out[MAX_IO] = {{.dtype = RCD_NONE}};
        if (!run_whole(t, node, false, out))
            return false;
        const size_t size = rcd_dtype_size(out[0].dtype);
        v->resized = out[0].rank != v->t.rank ||
                     memcmp(out[0].dims, v->t.dims, (size_t)v->t.rank * sizeof *v->t.dims) != 0;
        v->changed = out[0].n > 0 && memcmp(out[0].data, v->element, size) != 0;
        if (out[0].n > 0)
            memcpy(v->element, out[0].data, size);
        memcpy(v->t.dims, out[0].dims, sizeof v->t.dims);
        v->t.rank = out[0].rank;
        v->t.n = out[0].n;
        rcd_tensor_drop(&out[0]);
        return true;
    }
    const struct rcd__ival *element = spread ? rcd__turn_in(t, node, 0) : NULL;
    if (element != NULL && element->changed) {
        const char *now = element->kind == RCD__FILL ? element->element : element->t.data;
        memcpy(v->element, now, rcd_dtype_size(v->t.dtype));
        v->changed = true;
    }
    for (int d = 0; d < v->t.rank; d++) {
        int64_t n = 0;
        if (!int_in(t, node, from, (size_t)d, &n) || n < 0)
            return rcd__turn_give_up(t, "a shape that is not known");
        n = spread && n < 1 ? 1 : n;
        v->resized = v->resized || n != v->t.dims[d];
        v->t.dims[d] = n;
    }
    v->t.n = rcd__span(v->t.dims, 0, v->t.rank);
    return true;
}

static bool turn_range(struct rcd__turn *t, const struct rcd_node *node)
{
    struct rcd__ival *v = rcd__turn_out(t, node);
    int64_t n = 0;
    if (!int_in(t, node, 1, 0, &n) || n != (int64_t)v->dom->n)
        return rcd__turn_give_up(t, "a range of another size");
    const struct rcd__rows *rows = rcd__rows_of(t, v->dom, v->dom->added, v->dom->n_added);
    struct rcd_tensor fresh;
    if (rows == NULL || !rcd__packed(t, v, rows->n, &fresh))
        return t->why == NULL;
    for (size_t i = 0; i < rows->n; i++)
        ((int64_t *)fresh.data)[i] = rows->at[i];
    return rcd__give(t, v, rows, &fresh);
}

/* ---- row by row ------------------------------------------------------------------------------------------ */

/* Which rows: those of all inputs, or all when something else has changed. */
static const struct rcd__rows *rows_of_inputs(struct rcd__turn *t, const struct rcd_node *node,
                                              const struct rcd__dom *dom)
{
    const struct rcd__rows *rows = NULL;
    for (size_t j = 0; j < node->n_in && t->why == NULL; j++) {
        const struct rcd__ival *v = rcd__turn_in(t, node, j);
        if (v == NULL || is_shape(node, j))
            continue;
        if (v->kind != RCD__ROWS && v->changed)
            return rcd__rows_all(t, dom);
        if (v->kind == RCD__ROWS)
            rows = rcd__rows_join(t, dom, rows, v->dirty);
    }
    return rows;
}

/* Expand's shape for fewer entries. */
static bool shape_for(struct rcd__turn *t, const struct rcd__inode *is, const struct rcd__ival *v,
                      size_t n, int out_rank, struct rcd_tensor *ret)
{
    const int at = is->axis - (out_rank - (int)v->t.n);
    if (v->kind != RCD__WHOLE || v->t.dtype != RCD_I64 || !rcd__whole_of(t, v, false, ret))
        return t->why == NULL ? rcd__turn_give_up(t, "a shape that is not known") : false;
    int64_t *own = rcd_arena_alloc(&t->arena, (v->t.n + 1) * sizeof *own);
    if (own == NULL)
        return rcd__turn_give_up(t, "no memory");
    memcpy(own, v->t.data, v->t.n * sizeof *own);
    if (at >= 0 && own[at] != 1 && own[at] != (int64_t)is->dom->n)
        return rcd__turn_give_up(t, "a shape of another size");
    if (at >= 0)
        own[at] = (int64_t)n;
    ret->data = own;
    return true;
}

static bool fill_for(struct rcd__turn *t, const struct rcd__inode *is, const struct rcd__ival *v,
                     size_t n, int out_rank, struct rcd_tensor *ret)
{
    const int d = is->axis - (out_rank - v->t.rank);
    struct rcd__ival small = *v;
    if (d >= 0 && small.t.dims[d] != 1) {
        if (small.t.dims[d] != (int64_t)is->dom->n)
            return rcd__turn_give_up(t, "a fill of another size");
        small.t.dims[d] = (int64_t)n;
    }
    small.t.n = rcd__span(small.t.dims, 0, small.t.rank);
    return rcd__whole_of(t, &small, false, ret);
}

static bool turn_rows(struct rcd__turn *t, const struct rcd_node *node, const struct rcd__inode *is)
{
    const struct rcd__rows *rows = rows_of_inputs(t, node, is->dom);
    struct rcd_tensor in[MAX_IO], out[MAX_IO];
    if (rows == NULL || t->why != NULL)
        return t->why == NULL;
    t->effort.rows += rows->n;
    int rank = 0;
    for (size_t o = 0; o < node->n_out && rank == 0; o++)
        rank = node->out[o] != RCD_NO_VALUE ? rcd__ival(t->live, node->out[o])->t.rank : 0;
    for (size_t j = 0; j < node->n_in; j++) {
        const struct rcd__ival *v = rcd__turn_in(t, node, j);
        in[j].dtype = RCD_NONE;
        if (v == NULL)
            continue;
        const bool ok = v->kind == RCD__ROWS   ? rcd__take(t, v, rows, &in[j])
                        : is_shape(node, j)    ? shape_for(t, is, v, rows->n, rank, &in[j])
                        : v->kind == RCD__FILL ? fill_for(t, is, v, rows->n, rank, &in[j])
                                               : rcd__whole_of(t, v, false, &in[j]);
        if (!ok)
            return false;
    }
    if (!run_node(t, node, in, out))
        return false;
    for (size_t o = 0; o < node->n_out; o++) {
        struct rcd__ival *v = rcd__turn_value(t, node->out[o]);
        if (v == NULL)
            continue;
        if (out[o].rank != v->t.rank || out[o].dims[v->axis] != (int64_t)rows->n)
            return rcd__turn_give_up(t, "rows of another shape");
        if (!rcd__give(t, v, rows, &out[o]))
            return false;
    }
    return true;
}

static bool turn_view(struct rcd__turn *t, const struct rcd_node *node)
{
    const struct rcd__ival *from = rcd__turn_in(t, node, 0);
    struct rcd__ival *v = rcd__turn_out(t, node);
    for (int d = 0; rcd__named(node, "Reshape") && d < v->t.rank; d++) {
        int64_t n = 0;
        if (!int_in(t, node, 1, (size_t)d, &n))
            return rcd__turn_give_up(t, "a shape that is not known");
        if (n > 0 && n != (d == v->axis ? (int64_t)v->dom->n : v->t.dims[d]))
            return rcd__turn_give_up(t, "a shape of another size");
    }
    if (from->dirty == NULL)
        return true;
    if (from->same) {
        v->dirty = from->dirty;
        return true;
    }
    struct rcd_tensor fresh = v->t, rows;
    if (!rcd__take(t, from, from->dirty, &rows))
        return false;
    fresh.dims[v->axis] = (int64_t)from->dirty->n;
    fresh.n = rcd__span(fresh.dims, 0, fresh.rank);
    fresh.data = rows.data;
    fresh.block = NULL; /* of the other value */
    return rcd__give(t, v, from->dirty, &fresh);
}

bool rcd__turn_node(struct rcd__turn *t, const struct rcd_node *node, struct rcd__inode *is)
{
    switch (is->how) {
    case RCD__DO_WHOLE:
        return turn_whole(t, node, false);
    case RCD__DO_SIZES:
        return turn_whole(t, node, true);
    case RCD__DO_ROWS:
        return turn_rows(t, node, is);
    case RCD__DO_VIEW:
        return turn_view(t, node);
    case RCD__DO_FILL:
        return turn_fill(t, node);
    case RCD__DO_RANGE:
        return turn_range(t, node);
    case RCD__DO_PICK:
        return rcd__turn_pick(t, node);
    case RCD__DO_CHOOSE:
        return rcd__turn_choose(t, node);
    case RCD__DO_FILTER:
        return rcd__turn_filter(t, node);
    case RCD__DO_CHAIN:
        return rcd__turn_chain(t, node);
    case RCD__DO_MERGE:
        return rcd__turn_merge(t, node);
    case RCD__DO_INDEX:
        rcd__turn_sorted(t, node);
        return true;
    case RCD__DO_SPMM:
        return rcd__turn_spmm(t, node);
    case RCD__DO_ATTEND:
        return rcd__turn_attend(t, node);
    }
    return false;
}
