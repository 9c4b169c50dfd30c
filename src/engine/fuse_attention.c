/* fuse_attention.c - the softmax over the edges of a row, as exporters write it:
 *
 *   m     = Gather(ScatterElements(start, dst, a, max), dst)     the greatest of the row
 *   p     = Exp(a - m)
 *   alpha = p / Gather(ScatterElements(zeros, dst, p, add) + eps, dst)
 *   y     = the sum of alpha * Gather(x, src)                    (fuse_sparse.c)
 *
 * or of alpha times rows that are made for each edge, of its ends and of what it has itself.
 *
 * ONNX has no maximum that leaves its start out, so exporters first scatter something small into zeros: the least of all a,
 * or the least float; or they start from -inf and take 0 where that is left. Other ways to stay in range (the greatest of
 * all a) are part of p, and only the division is fused. */
#include "fuse.h"

#include <float.h>
#include <math.h>
#include <string.h>

struct look {
    const struct rcd__rewrite *w;
    const struct rcd__sum *m;
    rcd__term edges;
};

static rcd_value_id peel(const struct look *l, rcd_value_id id)
{
    return rcd__fuse_peel(l->w, id, l->edges);
}

/* The one number of a constant, or of a constant that was spread. */
static bool one_number(const struct rcd__rewrite *w, rcd_value_id id, float *ret)
{
    const struct rcd_node *n = rcd__made_by(w, id, "Expand");
    if (n != NULL)
        id = n->in[0];
    n = rcd__made_by(w, id, "ConstantOfShape");
    const struct rcd_attr *a = n != NULL ? rcd_onnx_attr(n->src, "value") : NULL;
    const struct rcd_tensor *c = n == NULL ? w->p->values[id].constant
                                 : a != NULL && a->type == RCD_ATTR_TENSOR ? a->t
                                                                           : NULL;
    if (c == NULL || c->dtype != RCD_F32 || c->n < 1)
        return false;
    const float *v = c->data;
    for (size_t i = 1; i < c->n; i++) {
        if (v[i] != v[0])
            return false;
    }
    *ret = v[0];
    return true;
}

/* A value of which each row is gathered by dst: that value. */
static bool by_dst(const struct look *l, rcd_value_id id, rcd_value_id *ret)
{
    rcd_value_id by = 0;
    return rcd__fuse_rows_of(l->w, peel(l, id), l->edges, ret, &by) && by == l->m->dst;
}

/* Is it the sum (or greatest) of `of` over the edges of each row? */
static bool over_rows(const struct look *l, rcd_value_id id, rcd_value_id of, rcd_spmm_reduce how,
                      struct rcd__sum *ret)
{
    const struct rcd_node *n = rcd__maker(l->w, id);
    if (n == NULL || !rcd__fuse_scatter(l->w, n, ret))
        return false;
    if (ret->n_hops > 0 || ret->flat)
        rcd__sum_as_made(ret, n->in[2]);
    return ret->how == how && ret->dst == l->m->dst && ret->src == RCD_NO_VALUE &&
           ret->w == RCD_NO_VALUE && peel(l, ret->x) == peel(l, of);
}

/* Surely not above any of a: the least of all, spread. */
static bool least_of_all(const struct look *l, rcd_value_id id, rcd_value_id a)
{
    for (int hops = 0; hops < 4; hops++) {
        const struct rcd_node *n = rcd__made_by(l->w, id, "ReduceMin");
        if (n != NULL)
            return peel(l, n->in[0]) == peel(l, a) && rcd__fuse_fact(l->w, id)->rank <= 1;
        n = rcd__made_by(l->w, id, "Add");
        float zero = 1;
        if (n != NULL && one_number(l->w, n->in[0], &zero) && zero == 0) {
            id = n->in[1];
        } else if (n != NULL && one_number(l->w, n->in[1], &zero) && zero == 0) {
            id = n->in[0];
        } else {
            n = rcd__made_by(l->w, id, "Expand");
            n = n != NULL ? n : rcd__made_by(l->w, id, "Reshape");
            if (n == NULL)
                return false;
            id = n->in[0];
        }
    }
    return false;
}

/* What the greatest of a row starts from. */
static bool floor_of(const struct look *l, const struct rcd__sum *max, rcd_value_id a, float *ret)
{
    if (max->start == RCD_NO_VALUE) {
        *ret = 0;
        return true;
    }
    const struct rcd_node *n = rcd__maker(l->w, max->start);
    struct rcd__sum least;
    if (n == NULL)
        return one_number(l->w, max->start, ret);
    if (!rcd__fuse_scatter(l->w, n, &least))
        return one_number(l->w, max->start, ret);
    if (least.how == RCD_SPMM_SUM || least.dst != l->m->dst || least.src != RCD_NO_VALUE ||
        least.w != RCD_NO_VALUE || least.start != RCD_NO_VALUE)
        return false;
    if (one_number(l->w, least.x, ret)) {
        const bool number = least.how == RCD_SPMM_MAX ? *ret > 0 : *ret < 0;
        *ret = number ? *ret : 0;
        return true;
    }
    *ret = least.how == RCD_SPMM_MAX ? 0 : -INFINITY; /* what is not above any a leaves the zero */
    return least_of_all(l, least.x, a);
}

/* Where(m == -inf, 0, m), m the greatest of each row, from -inf on (clients/python/recurd_export.py): m. */
static bool without_empty(const struct look *l, rcd_value_id *id)
{
    const struct rcd_node *where = rcd__made_by(l->w, *id, "Where");
    const struct rcd_node *same = where != NULL ? rcd__made_by(l->w, where->in[0], "Equal") : NULL;
    float least = 0, zero = 1;
    if (same == NULL || same->in[0] != where->in[2] || !one_number(l->w, same->in[1], &least) ||
        least != -INFINITY || !one_number(l->w, where->in[1], &zero) || zero != 0)
        return false;
    *id = where->in[2];
    return true;
}

/* p = Exp(a - the greatest a of the row): a. */
static bool shifted(const struct look *l, rcd_value_id p, rcd_value_id *ret_a, float *ret_floor)
{
    const struct rcd_node *e = rcd__made_by(l->w, p, "Exp");
    const struct rcd_node *sub = e != NULL ? rcd__made_by(l->w, peel(l, e->in[0]), "Sub") : NULL;
    rcd_value_id most = 0;
    struct rcd__sum max;
    if (sub == NULL || !by_dst(l, sub->in[1], &most))
        return false;
    const bool empty = without_empty(l, &most);
    if (!over_rows(l, most, sub->in[0], RCD_SPMM_MAX, &max) ||
        !floor_of(l, &max, sub->in[0], ret_floor) || (empty && *ret_floor != -INFINITY))
        return false;
    if (empty) /* where all are -inf exp(a - 0) is 0, and so it is with this */
        *ret_floor = -FLT_MAX;
    *ret_a = sub->in[0];
    return true;
}

/* Are these factors a softmax? Then of which scores. */
static bool softmax(const struct look *l, rcd_value_id factors, struct rcd__attention *ret,
                    rcd_value_id *ret_scores)
{
    const struct rcd__rewrite *w = l->w;
    const struct rcd_node *div = rcd__made_by(w, peel(l, factors), "Div");
    rcd_value_id all = 0;
    if (div == NULL || !by_dst(l, div->in[1], &all))
        return false;
    const rcd_value_id p = peel(l, div->in[0]);
    struct rcd__sum sum;
    *ret = (struct rcd__attention){.n_leaves = 0};
    const struct rcd_node *add = rcd__made_by(w, all, "Add");
    if (add != NULL && one_number(w, add->in[1], &ret->state.eps))
        all = add->in[0];
    else if (add != NULL && one_number(w, add->in[0], &ret->state.eps))
        all = add->in[1];
    if (!over_rows(l, all, p, RCD_SPMM_SUM, &sum) || sum.start != RCD_NO_VALUE)
        return false;
    *ret_scores = p;
    ret->state.raw = !shifted(l, p, ret_scores, &ret->state.floor);
    return true;
}

/* Rows that are made for each edge, times a softmax: x and src become what they or the scores read of the nodes where edges
 * start. */
static bool of_made_rows(const struct look *l, struct rcd__edge_ends *ends, struct rcd__sum *m,
                         struct rcd__attention *ret)
{
    const struct rcd__rewrite *w = l->w;
    const rcd_value_id u = rcd__fuse_unflat(w, m->x);
    const struct rcd_node *mul = rcd__made_by(w, u, "Mul");
    for (size_t i = 0; mul != NULL && i < 2; i++) {
        const rcd_value_id rows = mul->in[i], factors = mul->in[1 - i];
        rcd_value_id scores = 0;
        if (!rcd__same_shape(&w->sym, rows, u) ||
            !rcd__fuse_is_factor(w, factors, rcd__fuse_fact(w, u)) ||
            !softmax(l, factors, ret, &scores))
            continue;
        struct rcd__sum starts = *m;
        if (!rcd__fuse_starts(w, ends, rows, &starts.x, &starts.src) &&
            !rcd__fuse_starts(w, ends, scores, &starts.x, &starts.src))
            return false;
        ends->src = starts.src;
        ends->x_rows = rcd__fuse_fact(w, starts.x)->dims[0];
        if (!rcd__fuse_program(w, ends, scores, ret, &ret->state.program) ||
            !rcd__fuse_program(w, ends, rows, ret, &ret->state.values))
            return false;
        const struct rcd__edge_program *p = &ret->state.values;
        if (p->n == 0 &&
            p->only.from == RCD__FROM_SRC) { /* they are rows of nodes, seen otherwise */
            starts.x = ret->leaves[p->only.i];
            ret->state.values.width = 0;
        }
        starts.flat = u != m->x;
        *m = starts;
        return true;
    }
    return false;
}

bool rcd__fuse_attention(const struct rcd__rewrite *w, const struct rcd_node *scatter,
                         struct rcd__sum *m, struct rcd__attention *ret)
{
    if (m->how != RCD_SPMM_SUM || m->start != RCD_NO_VALUE)
        return false;
    struct rcd__edge_ends ends = {
        .rows = rcd__fuse_fact(w, scatter->out[0])->dims[0], .dst = m->dst, .src = m->src};
    if (m->w == RCD_NO_VALUE && m->src == RCD_NO_VALUE) {
        ends.edges = rcd__fuse_fact(w, m->x)->dims[0];
        const struct look l = {w, m, ends.edges};
        return of_made_rows(&l, &ends, m, ret);
    }
    if (m->w == RCD_NO_VALUE || m->src == RCD_NO_VALUE)
        return false;
    rcd_value_id scores = 0;
    ends.edges = rcd__fuse_fact(w, m->w)->dims[0];
    ends.x_rows = rcd__fuse_fact(w, m->x)->dims[0];
    const struct look l = {w, m, ends.edges};
    return softmax(&l, m->w, ret, &scores) &&
           rcd__fuse_program(w, &ends, scores, ret, &ret->state.program);
}
