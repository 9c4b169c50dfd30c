/* incremental_capture.c - while a binding is made: what each node does to entries, from the sizes and
 * values that it really has. A guess from equal sizes (which domain a fill or a result belongs to) is
 * checked in every turn; one that fails means a full run. */
#include "incremental.h"
#include "ops/sparse.h"

#include <string.h>

enum { MAX_IN = 64 };

struct look {
    struct rcd__live *l;
    const struct rcd_run *run;
    const struct rcd_node *node;
    struct rcd__inode *is;
    const struct rcd_tensor *in[MAX_IN];
    struct rcd__ival *v[MAX_IN]; /* NULL: a constant, or none */
    int axis[MAX_IN];
    bool fill[MAX_IN];
    struct rcd__dom *dom; /* of all rows; NULL: there are none, or they differ */
    bool rows, fills, mixed;
};

static bool wanted(const struct look *k, size_t o)
{
    return o < k->node->n_out && k->node->out[o] != RCD_NO_VALUE;
}

static void look_at_inputs(struct look *k)
{
    for (size_t j = 0; j < k->node->n_in; j++) {
        const rcd_value_id id = k->node->in[j];
        k->axis[j] = -1;
        if (id == RCD_NO_VALUE)
            continue;
        k->in[j] = rcd__tensor_of(k->run, id);
        if (k->run->plan->values[id].constant != NULL)
            continue;
        struct rcd__ival *v = k->v[j] = rcd__ival(k->l, id);
        if (v->kind == RCD__FILL)
            k->fill[j] = k->fills = true;
        if (v->kind != RCD__ROWS)
            continue;
        k->axis[j] = v->axis;
        k->mixed = k->mixed || (k->rows && v->dom != k->dom);
        k->dom = v->dom;
        k->rows = true;
    }
}

static bool make_rows(struct look *k, enum rcd__how how, struct rcd__dom *dom, int axis)
{
    k->is->how = how;
    k->is->axis = axis;
    k->is->dom = dom;
    for (size_t o = 0; o < k->node->n_out; o++) {
        if (wanted(k, o) && !rcd__make_rows(k->l, k->node->out[o],
                                            rcd__tensor_of(k->run, k->node->out[o]), dom, axis))
            break;
    }
    return true;
}

static void make_whole(struct look *k, enum rcd__how how)
{
    k->is->how = how;
    for (size_t j = 0; how == RCD__DO_WHOLE && j < k->node->n_in; j++) {
        const struct rcd__ival *v = k->v[j];
        if (v != NULL && (v->kind == RCD__NOTHING || (v->kind == RCD__ROWS && v->store == NULL)))
            k->l->why = "a value is read as a whole that was not kept";
    }
    if (k->node->n_bodies > 0)
        k->l->why = "a node with bodies";
    for (size_t o = 0; o < k->node->n_out && k->l->why == NULL; o++) {
        if (wanted(k, o) &&
            !rcd__make_whole(k->l, k->node->out[o], rcd__tensor_of(k->run, k->node->out[o])))
            break;
    }
}

/* ---- fills --------------------------------------------------------------------------------------- */

static bool one_element(const struct look *k, size_t j)
{
    return k->in[j] != NULL && k->axis[j] < 0 && k->in[j]->n == 1;
}

static bool make_fill(struct look *k)
{
    const struct rcd_node *node = k->node;
    bool spread = rcd__named(node, "ConstantOfShape") ||
                  (rcd__is_expand(node) && one_element(k, 0) && !k->rows);
    bool same = !spread && k->fills && !k->rows && rcd__is_each(node);
    for (size_t j = 0; same && j < node->n_in; j++)
        same = k->in[j] == NULL || k->fill[j] || one_element(k, j) || rcd__is_view(node);
    const struct rcd_tensor *t = wanted(k, 0) ? rcd__tensor_of(k->run, node->out[0]) : NULL;
    if ((!spread && !same) || t == NULL || t->n == 0 || t->dtype == RCD_BYTES)
        return false;
    struct rcd__ival *v = rcd__ival(k->l, node->out[0]);
    k->is->how = RCD__DO_FILL;
    v->kind = RCD__FILL;
    v->t = *t;
    v->t.data = NULL;
    v->t.block = NULL;
    memcpy(v->element, t->data, rcd_dtype_size(t->dtype));
    return true;
}

/* ---- domains by size ------------------------------------------------------------------------------ */

static struct rcd__dom *dense_of(struct rcd__live *l, size_t n)
{
    for (struct rcd__dom *d = l->doms; d != NULL; d = d->next) {
        if (d->group >= 0 && d->n == n && rcd__dom_dense(d))
            return d;
    }
    return NULL;
}

static bool range(struct look *k)
{
    const struct rcd_tensor *t = wanted(k, 0) ? rcd__tensor_of(k->run, k->node->out[0]) : NULL;
    if (!rcd__named(k->node, "Range") || t == NULL || t->dtype != RCD_I64 || t->n < 2 || k->rows)
        return false;
    struct rcd__dom *d = dense_of(k->l, t->n);
    if (d == NULL || rcd__int_at(k->in[0], 0) != 0 || rcd__int_at(k->in[2], 0) != 1 ||
        k->v[0] != NULL || k->v[2] != NULL)
        return false;
    d->indexed = true;
    return make_rows(k, RCD__DO_RANGE, d, 0);
}

/* ---- entries chosen from others -------------------------------------------------------------------- */

static bool filter(struct look *k)
{
    const struct rcd_tensor *mask = k->node->n_in > 0 ? k->in[0] : NULL;
    if (!rcd__named(k->node, "NonZero") || !k->rows || mask->rank != 1 || mask->dtype != RCD_BOOL)
        return false;
    struct rcd__dom *all = k->dom, *d = rcd__dom_new(k->l, all->cap, 0);
    if (d == NULL)
        return true;
    d->of = all;
    size_t p = 0;
    for (size_t slot = 0; slot < all->high; slot++) {
        if (rcd__dom_has(all, slot) && ((const char *)mask->data)[p++] != 0)
            rcd__dom_put(d, slot, true);
    }
    d->high = all->high;
    if (!wanted(k, 0))
        return true;
    rcd__ival(k->l, k->node->out[0])->same = true;
    return make_rows(k, RCD__DO_FILTER, d, 1);
}

/* Gather, or GatherND with one index each, by rows of indices. */
static bool pick(struct look *k)
{
    const bool nd = rcd__named(k->node, "GatherND");
    if ((!nd && !rcd__named(k->node, "Gather")) || k->axis[0] < 0 || k->axis[1] < 0)
        return false;
    const struct rcd_attr *a = rcd_onnx_attr(k->node->src, nd ? "batch_dims" : "axis");
    int64_t along = a != NULL ? a->i : 0;
    const struct rcd_tensor *x = k->in[0], *i = k->in[1];
    along += along < 0 ? x->rank : 0;
    struct rcd__ival *from = k->v[0], *by = k->v[1];
    if (along != k->axis[0] || rcd__span(i->dims, 0, i->rank) != by->dom->n ||
        (nd && (i->dims[i->rank - 1] != 1 || k->axis[1] == i->rank - 1)))
        return false;
    if (!from->same && from->store == NULL) {
        k->l->why = "rows are picked from a value that was not kept";
        return true;
    }
    const int axis = k->axis[0] + k->axis[1];
    if (by->same)
        return by->dom->of == from->dom && !from->same &&
               make_rows(k, RCD__DO_CHOOSE, by->dom, axis);
    if (!rcd__dom_dense(from->dom) || from->same)
        return false;
    if (by->inv == NULL)
        by->inv = rcd__inv_new(k->l, by->dom, from->dom, i);
    if (by->inv != NULL && by->inv->over != from->dom)
        k->l->why = "one index into two kinds of entries";
    return k->l->why != NULL || make_rows(k, RCD__DO_PICK, by->dom, axis);
}

/* ScatterND onto the rows that a filter chose, each once. */
static bool merge(struct look *k)
{
    const struct rcd_node *node = k->node;
    const struct rcd_attr *how = rcd_onnx_attr(node->src, "reduction");
    if (!rcd__named(node, "ScatterND") || node->n_in != 3 || k->axis[0] != 0 || k->axis[2] != 0 ||
        k->axis[1] != 0 || !k->v[1]->same || k->v[1]->dom->of != k->v[0]->dom ||
        k->v[2]->dom != k->v[1]->dom || (how != NULL && strcmp(how->s.ptr, "none") != 0) ||
        k->v[0]->store == NULL || k->v[2]->store == NULL || k->in[1]->rank != 2 ||
        k->in[1]->dims[1] != 1)
        return false;
    return make_rows(k, RCD__DO_MERGE, k->v[0]->dom, 0);
}

/* ---- one list behind another ------------------------------------------------------------------------ */

static bool part_fits(const struct look *k, size_t j, int axis, const struct rcd__dom *d)
{
    if (k->axis[j] == axis)
        return k->v[j]->dom == d && !k->v[j]->same;
    return k->fill[j] && (size_t)k->in[j]->dims[axis] == d->n;
}

static struct rcd__dom *known_chain(const struct look *k, int axis)
{
    for (struct rcd__dom *d = k->l->doms; d != NULL; d = d->next) {
        bool fits = d->n_parts == k->node->n_in;
        for (size_t j = 0; fits && j < d->n_parts; j++)
            fits = part_fits(k, j, axis, d->parts[j]);
        if (fits)
            return d;
    }
    return NULL;
}

static struct rcd__dom *new_chain(struct look *k, int axis)
{
    struct rcd__dom *parts[4];
    size_t cap = 0;
    for (size_t j = 0; j < k->node->n_in; j++) {
        parts[j] = k->axis[j] == axis ? k->v[j]->dom
                   : k->fill[j]       ? dense_of(k->l, (size_t)k->in[j]->dims[axis])
                                      : NULL;
        if (parts[j] == NULL)
            return NULL;
        cap += (parts[j]->cap + 63) / 64 * 64;
    }
    struct rcd__dom *d = rcd__dom_new(k->l, cap, 0);
    for (size_t j = 0, base = 0; d != NULL && j < k->node->n_in; j++) {
        d->parts[d->n_parts] = parts[j];
        d->base[d->n_parts++] = base;
        for (size_t slot = 0; slot < parts[j]->high; slot++) {
            if (rcd__dom_has(parts[j], slot))
                rcd__dom_put(d, base + slot, true);
        }
        base += (parts[j]->cap + 63) / 64 * 64;
    }
    if (d != NULL)
        d->high = cap;
    return d;
}

static bool chain(struct look *k)
{
    const struct rcd_attr *a = rcd_onnx_attr(k->node->src, "axis");
    if (!rcd__named(k->node, "Concat") || !k->rows || a == NULL || k->node->n_in > 4)
        return false;
    const int axis = (int)(a->i + (a->i < 0 ? k->in[0]->rank : 0));
    for (size_t j = 0; j < k->node->n_in; j++) {
        bool part = k->axis[j] == axis ? !k->v[j]->same : k->fill[j];
        if (!part)
            return false;
    }
    struct rcd__dom *d = known_chain(k, axis);
    if (d == NULL)
        d = new_chain(k, axis);
    return d != NULL && make_rows(k, RCD__DO_CHAIN, d, axis);
}

/* ---- the rest ----------------------------------------------------------------------------------------- */

static bool index_node(struct look *k)
{
    if (k->node->op != &rcd__op_csr && k->node->op != &rcd__op_csr_cols &&
        k->node->op != &rcd__op_csr_factors)
        return false;
    k->is->how = RCD__DO_INDEX;
    for (size_t o = 0; o < k->node->n_out; o++) {
        if (wanted(k, o) && rcd__ival(k->l, k->node->out[o])->out)
            rcd__ival(k->l, k->node->out[o])->kind = RCD__SORTED;
    }
    return true;
}

static bool by_rows(struct look *k)
{
    const struct rcd_tensor *t = wanted(k, 0) ? rcd__tensor_of(k->run, k->node->out[0]) : NULL;
    if (!k->rows || k->mixed || t == NULL)
        return false;
    int axis = rcd__row_axis(k->run->plan, k->node, k->in, k->axis, k->fill, t);
    if (axis < 0 || (size_t)t->dims[axis] != k->dom->n)
        return false;
    bool same = k->v[0] != NULL && k->v[0]->same;
    for (size_t j = 1; j < k->node->n_in; j++) {
        if (k->v[j] != NULL && k->v[j]->same)
            return false;
    }
    if (same) {
        if (!rcd__is_view(k->node) && !rcd__named(k->node, "Transpose"))
            return false;
        rcd__ival(k->l, k->node->out[0])->same = true;
    }
    return make_rows(k, same || rcd__is_view(k->node) ? RCD__DO_VIEW : RCD__DO_ROWS, k->dom, axis);
}

void rcd__capture(struct rcd__live *l, const struct rcd_run *run, size_t i)
{
    struct look k = {.l = l, .run = run, .node = &run->plan->main.nodes[i], .is = &l->nodes[i]};
    if (l->why != NULL)
        return;
    if (k.node->n_in > MAX_IN) {
        l->why = "a node with many inputs";
        return;
    }
    look_at_inputs(&k);
    if (index_node(&k))
        return;
    if (k.node->op == &rcd__op_spmm) {
        k.is->how = RCD__DO_SPMM;
        (void)rcd__capture_spmm(l, run, k.node);
        return;
    }
    if (k.node->op == &rcd__op_attend) {
        k.is->how = RCD__DO_ATTEND;
        (void)rcd__capture_attend(l, run, k.node);
        return;
    }
    if (rcd__named(k.node, "Sizes") || rcd__named(k.node, "Shape")) {
        make_whole(&k, RCD__DO_SIZES);
        return;
    }
    if (make_fill(&k) || range(&k) || filter(&k) || pick(&k) || merge(&k) || chain(&k) ||
        by_rows(&k))
        return;
    make_whole(&k, RCD__DO_WHOLE);
}
