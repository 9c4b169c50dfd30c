/* fuse_each.c - one graph for each of several inputs: x [B, N, F], summed over the same edges for each of B (static graphs of
 * PyTorch Geometric, batches of time series, stacks of ARMAConv).
 *
 *   m   = Gather(x, src, axis a)               [..., E, F]  a > 0
 *   u   = Mul(m, w)                            w [E, 1]: one factor per edge
 *   i   = Expand(Reshape(dst, [1, -1, 1]), ...)
 *   y   = ScatterElements(zeros, i, u, axis a, reduction add | max | min)
 *
 * becomes SpmmEach over the edges that Csr has sorted once. Without a Gather the updates themselves are the rows. */
#include "fuse.h"

#include <string.h>

/* Which axis is the edges', if all others are 1; -1: they are not, or nobody knows. */
static int line_axis(const struct rcd__rewrite *w, rcd_value_id id, rcd__term edges)
{
    const struct rcd__fact *f = rcd__fuse_fact(w, id);
    int axis = -1;
    for (int d = 0; d < f->rank; d++) {
        if (axis < 0 && rcd__term_equal(f->dims[d], edges))
            axis = d;
        else if (!rcd__fuse_is_one(w, f->dims[d]))
            return -1;
    }
    return axis;
}

/* The int[E] from which the indices of a scatter along an axis were spread over all others. */
static bool index_base(const struct rcd__rewrite *w, rcd_value_id id, int axis, rcd__term edges,
                       rcd_value_id *ret)
{
    static const char *const spreads[] = {"Expand", "Tile"}, *const views[] = {"Reshape",
                                                                               "Unsqueeze"};
    for (int hops = 0; hops < 8; hops++) {
        const struct rcd__fact *f = rcd__fuse_fact(w, id);
        if (f->rank == 1 && rcd__term_equal(f->dims[0], edges)) {
            *ret = id;
            return true;
        }
        const struct rcd_node *n = NULL;
        bool spread = false;
        for (size_t i = 0; n == NULL && i < RCD_COUNT(spreads); i++)
            n = rcd__made_by(w, id, spreads[i]);
        spread = n != NULL;
        for (size_t i = 0; n == NULL && i < RCD_COUNT(views); i++)
            n = rcd__made_by(w, id, views[i]);
        const int at = n != NULL ? line_axis(w, n->in[0], edges) : -1;
        if (at < 0 || (spread && (at != axis || rcd__fuse_fact(w, n->in[0])->rank != f->rank)))
            return false;
        id = n->in[0];
    }
    return false;
}

/* One factor per edge, spread over all else. */
static bool is_factor(const struct rcd__rewrite *w, rcd_value_id id, int axis,
                      const struct rcd__fact *u)
{
    const struct rcd__fact *f = rcd__fuse_fact(w, id);
    const int at = line_axis(w, id, u->dims[axis]);
    return at >= 0 && f->rank <= u->rank && at + u->rank - f->rank == axis &&
           w->p->values[id].dtype == RCD_F32;
}

static bool rows_of(const struct rcd__rewrite *w, rcd_value_id id, int axis, rcd__term edges,
                    struct rcd__sum *m)
{
    const struct rcd_node *n = rcd__made_by(w, id, "Gather");
    if (n == NULL)
        return false;
    const struct rcd_attr *a = rcd_onnx_attr(n->src, "axis");
    const struct rcd__fact *x = rcd__fuse_fact(w, n->in[0]), *i = rcd__fuse_fact(w, n->in[1]);
    const int64_t along = a != NULL ? a->i : 0;
    if (along + (along < 0 ? x->rank : 0) != axis || i->rank != 1 ||
        !rcd__term_equal(i->dims[0], edges))
        return false;
    m->x = n->in[0];
    m->src = n->in[1];
    return true;
}

static void match_updates(const struct rcd__rewrite *w, rcd_value_id u, int axis,
                          struct rcd__sum *m)
{
    const struct rcd__fact *f = rcd__fuse_fact(w, u);
    const rcd__term edges = f->dims[axis];
    const struct rcd_node *mul = rcd__made_by(w, u, "Mul");
    rcd__sum_as_made(m, u);
    m->w = RCD_NO_VALUE;
    if (rows_of(w, u, axis, edges, m))
        return;
    for (size_t i = 0; mul != NULL && i < 2; i++) {
        if (!rcd__same_shape(&w->sym, mul->in[i], u) || !is_factor(w, mul->in[1 - i], axis, f))
            continue;
        m->w = mul->in[1 - i];
        if (!rows_of(w, mul->in[i], axis, edges, m))
            m->x = mul->in[i];
        return;
    }
}

bool rcd__fuse_each(const struct rcd__rewrite *w, const struct rcd_node *n, struct rcd__sum *m,
                    int *ret_axis)
{
    if (n->op->domain != NULL || strcmp(n->op->name, "ScatterElements") != 0 ||
        w->p->values[n->in[0]].dtype != RCD_F32 || !rcd__fuse_reduction(n, &m->how))
        return false;
    const struct rcd__fact *data = rcd__fuse_fact(w, n->in[0]), *u = rcd__fuse_fact(w, n->in[2]);
    const struct rcd_attr *a = rcd_onnx_attr(n->src, "axis");
    const int axis = a != NULL ? (int)(a->i + (a->i < 0 ? data->rank : 0)) : 0;
    if (data->rank < 2 || u->rank != data->rank || axis < 1 || axis >= data->rank ||
        !rcd__same_shape(&w->sym, n->in[1], n->in[2]))
        return false;
    for (int d = 0; d < data->rank; d++) {
        if (d != axis && !rcd__term_equal(data->dims[d], u->dims[d]))
            return false;
    }
    m->start = RCD_NO_VALUE;
    if (!rcd__fuse_zeros(w, n->in[0], &m->shape) ||
        !index_base(w, n->in[1], axis, u->dims[axis], &m->dst))
        return false;
    match_updates(w, n->in[2], axis, m);
    *ret_axis = axis;
    return true;
}
