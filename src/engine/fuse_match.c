/* fuse_match.c - what exporters of graph layers write for a sum over edges (fuse_sparse.c), seen by sizes. */
#include "fuse.h"

#include <string.h>

bool rcd__fuse_is_column(const struct rcd__rewrite *w, rcd_value_id id, rcd__term edges)
{
    const struct rcd__fact *f = rcd__fuse_fact(w, id);
    bool is = f->rank >= 1 && rcd__term_equal(f->dims[0], edges);
    for (int d = 1; is && d < f->rank; d++)
        is = rcd__fuse_is_one(w, f->dims[d]);
    return is;
}

/* The int[E] from which the indices of a scatter were spread over the channels. */
static bool index_base(const struct rcd__rewrite *w, rcd_value_id id, rcd__term edges,
                       rcd_value_id *ret)
{
    for (int hops = 0; hops < 8; hops++) {
        const struct rcd__fact *f = rcd__fuse_fact(w, id);
        if (f->rank == 1 && rcd__term_equal(f->dims[0], edges)) {
            *ret = id;
            return true;
        }
        const struct rcd_node *n = rcd__maker(w, id);
        static const char *const moves[] = {"Expand", "Reshape", "Unsqueeze", "Tile"};
        bool move = false;
        for (size_t i = 0; n != NULL && i < RCD_COUNT(moves); i++)
            move = move || rcd__made_by(w, id, moves[i]) != NULL;
        if (!move || !rcd__fuse_is_column(w, n->in[0], edges))
            return false;
        const struct rcd__fact *from = rcd__fuse_fact(w, n->in[0]);
        bool spread = strcmp(n->op->name, "Expand") == 0 || strcmp(n->op->name, "Tile") == 0;
        if (spread && from->rank != f->rank)
            return false;
        id = n->in[0];
    }
    return false;
}

static bool all_zero(const struct rcd_tensor *t)
{
    if (t->dtype != RCD_F32)
        return false;
    for (size_t i = 0; i < t->n; i++) {
        float v = ((const float *)t->data)[i];
        if (v != 0 || __builtin_signbit(v))
            return false;
    }
    return true;
}

bool rcd__fuse_zeros(const struct rcd__rewrite *w, rcd_value_id id, rcd_value_id *ret_shape)
{
    const struct rcd_node *n = rcd__made_by(w, id, "ConstantOfShape");
    if (n != NULL) {
        const struct rcd_attr *v = rcd_onnx_attr(n->src, "value");
        *ret_shape = n->in[0];
        return v == NULL || (v->type == RCD_ATTR_TENSOR && all_zero(v->t));
    }
    n = rcd__made_by(w, id, "Expand");
    if (n == NULL)
        return false;
    const struct rcd_tensor *c = w->p->values[n->in[0]].constant;
    *ret_shape = n->in[1];
    return c != NULL && c->n == 1 && all_zero(c) && rcd__fuse_fact(w, n->in[1])->n_val >= c->rank;
}

bool rcd__fuse_rows_of(const struct rcd__rewrite *w, rcd_value_id id, rcd__term edges,
                       rcd_value_id *ret_x, rcd_value_id *ret_src)
{
    const struct rcd_node *n = rcd__made_by(w, id, "Gather");
    if (n == NULL)
        return false;
    const struct rcd_attr *a = rcd_onnx_attr(n->src, "axis");
    const struct rcd__fact *x = rcd__fuse_fact(w, n->in[0]), *i = rcd__fuse_fact(w, n->in[1]);
    int64_t axis = a != NULL ? a->i : 0;
    if (x->rank < 1 || (axis != 0 && axis != -x->rank) || i->rank != 1 ||
        !rcd__term_equal(i->dims[0], edges))
        return false;
    *ret_x = n->in[0];
    *ret_src = n->in[1];
    return true;
}

bool rcd__fuse_is_factor(const struct rcd__rewrite *w, rcd_value_id id, const struct rcd__fact *u)
{
    const struct rcd__fact *f = rcd__fuse_fact(w, id);
    if (f->rank != u->rank || !rcd__term_equal(f->dims[0], u->dims[0]))
        return false;
    int d = 1;
    while (d < f->rank && rcd__term_equal(f->dims[d], u->dims[d]) &&
           !rcd__fuse_is_one(w, f->dims[d]))
        d++;
    while (d < f->rank && rcd__fuse_is_one(w, f->dims[d]))
        d++;
    return d == f->rank;
}

bool rcd__fuse_alike(const struct rcd__rewrite *w, const struct rcd_node *n, size_t *ret)
{
    static const char *const names[] = {"Add", "Sub", "Mul", "Div"};
    rcd_unary u;
    float a = 0, b = 0;
    bool binary = false;
    if (n == NULL || n->n_out != 1 || w->p->values[n->out[0]].dtype != RCD_F32)
        return false;
    *ret = 0;
    if (rcd__unary_of(n, &u, &a, &b))
        return true;
    for (size_t i = 0; n->op->domain == NULL && i < RCD_COUNT(names); i++)
        binary = binary || strcmp(n->op->name, names[i]) == 0;
    for (size_t i = 0; binary && i < 2; i++) {
        const struct rcd__fact *c = rcd__fuse_fact(w, n->in[1 - i]);
        const struct rcd__fact *f = rcd__fuse_fact(w, n->out[0]);
        *ret = i;
        if (rcd__same_shape(&w->sym, n->in[i], n->out[0]) && c->rank >= 0 &&
            (c->rank < f->rank || rcd__fuse_is_one(w, c->dims[0])))
            return true;
    }
    return false;
}

/* Rows of nodes by an end of the edges, as they are or with something done to all of them alike. */
static bool match_rows(const struct rcd__rewrite *w, rcd_value_id id, rcd__term edges,
                       struct rcd__sum *m)
{
    for (m->n_hops = 0;; m->n_hops++) {
        const struct rcd_node *n = rcd__maker(w, id);
        size_t i = 0;
        if (rcd__fuse_rows_of(w, id, edges, &m->x, &m->src))
            return true;
        if (m->n_hops == RCD__SUM_HOPS || !rcd__fuse_alike(w, n, &i))
            return false;
        m->hops[m->n_hops] = n;
        id = n->in[i];
    }
}

static bool match_factors(const struct rcd__rewrite *w, rcd_value_id u, struct rcd__sum *m)
{
    const struct rcd__fact *f = rcd__fuse_fact(w, u);
    m->w = RCD_NO_VALUE;
    if (match_rows(w, u, f->dims[0], m))
        return true;
    const struct rcd_node *mul = rcd__made_by(w, u, "Mul");
    for (size_t i = 0; mul != NULL && i < 2; i++) {
        if (!rcd__same_shape(&w->sym, mul->in[i], u) ||
            !rcd__fuse_is_factor(w, mul->in[1 - i], f) || !match_rows(w, mul->in[i], f->dims[0], m))
            continue;
        m->w = mul->in[1 - i];
        return true;
    }
    return false;
}

static void match_updates(const struct rcd__rewrite *w, rcd_value_id u, struct rcd__sum *m)
{
    const rcd_value_id rows = m->start == RCD_NO_VALUE ? rcd__fuse_unflat(w, u) : u;
    m->flat = false;
    if (match_factors(w, u, m))
        return;
    if (rows != u && match_factors(w, rows, m))
        m->flat = true;
    else
        rcd__sum_as_made(m, u);
}

void rcd__sum_as_made(struct rcd__sum *m, rcd_value_id u)
{
    m->x = u;
    m->src = RCD_NO_VALUE;
    m->n_hops = 0;
    m->flat = false;
}

bool rcd__fuse_reduction(const struct rcd_node *n, rcd_spmm_reduce *ret)
{
    const struct rcd_attr *a = rcd_onnx_attr(n->src, "reduction");
    static const char *const names[] = {"add", "max", "min"};
    static const rcd_spmm_reduce how[] = {RCD_SPMM_SUM, RCD_SPMM_MAX, RCD_SPMM_MIN};
    for (size_t i = 0; a != NULL && a->type == RCD_ATTR_STRING && i < RCD_COUNT(names); i++) {
        if (strcmp(a->s.ptr, names[i]) == 0) {
            *ret = how[i];
            return true;
        }
    }
    return false;
}

bool rcd__fuse_scatter(const struct rcd__rewrite *w, const struct rcd_node *n, struct rcd__sum *m)
{
    bool elements = n->op->domain == NULL && strcmp(n->op->name, "ScatterElements") == 0;
    bool nd = n->op->domain == NULL && strcmp(n->op->name, "ScatterND") == 0;
    if ((!elements && !nd) || w->p->values[n->in[0]].dtype != RCD_F32 ||
        !rcd__fuse_reduction(n, &m->how))
        return false;
    const struct rcd__fact *data = rcd__fuse_fact(w, n->in[0]), *u = rcd__fuse_fact(w, n->in[2]);
    const struct rcd__fact *idx = rcd__fuse_fact(w, n->in[1]);
    const struct rcd_attr *axis = rcd_onnx_attr(n->src, "axis");
    if (data->rank < 1 || u->rank != data->rank || u->dims[0] == RCD__NO_TERM ||
        (elements && axis != NULL && axis->i != 0 && axis->i != -data->rank))
        return false;
    for (int d = 1; d < data->rank; d++) {
        if (!rcd__term_equal(data->dims[d], u->dims[d]))
            return false;
    }
    if (elements ? !rcd__same_shape(&w->sym, n->in[1], n->in[2])
                 : idx->rank != 2 || !rcd__fuse_is_column(w, n->in[1], u->dims[0]))
        return false;
    if (!index_base(w, n->in[1], u->dims[0], &m->dst))
        return false;
    m->start = m->shape = RCD_NO_VALUE;
    if (!rcd__fuse_zeros(w, n->in[0], &m->shape)) {
        m->shape = RCD_NO_VALUE;
        m->start = n->in[0];
    }
    match_updates(w, n->in[2], m);
    return true;
}
