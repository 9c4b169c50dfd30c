/* fuse_sparse.c - Gather, times a factor per edge, scattered with a sum: one sparse product.
 *
 * What exporters of graph layers write (shapes by symbols.h):
 *
 *   m   = Gather(x, src)                       [E, ...]  rows of the nodes where edges start
 *   u   = Mul(m, w)                            w [E, 1] or one factor per group of channels
 *   i   = Expand(Reshape(dst, [-1, 1]), ...)   the row where each edge ends, for every channel
 *   y   = ScatterElements(zeros, i, u, axis 0, reduction add | max | min)
 *
 * becomes Csr(dst) and CsrCols(src), once for all layers that use the same edges, and Spmm. What is done to the gathered
 * rows alike for all edges (a factor, a function) is done to the rows of x instead, once for each node. Without a Gather the
 * updates themselves are the rows (degrees, sums of attention). A pattern that cannot be proved from
 * sizes stays as the file says. */
#include "fuse.h"

#include <string.h>

/* What one Csr or CsrCols made, for the layers that come later. */
struct made {
    const struct rcd_op *op;
    rcd_value_id from[2];
    const rcd_value_id *out;
};

struct fuse {
    struct rcd__rewrite *w;
    struct rcd_node *nodes;
    size_t n;
    struct made *made;
    size_t n_made;
    unsigned told; /* of fuse_warn.c */
};

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

/* Zeros of a shape that is a value: that shape. */
static bool zeros_of_shape(const struct rcd__rewrite *w, rcd_value_id id, rcd_value_id *ret_shape)
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

/* One factor per edge and group: the leading sizes of the updates, then ones. */
static bool is_factor(const struct rcd__rewrite *w, rcd_value_id id, const struct rcd__fact *u)
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

/* Does a node do to each row of one of its inputs what it does to all? Then which. */
static bool alike_for_all(const struct rcd__rewrite *w, const struct rcd_node *n, size_t *ret)
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
        if (m->n_hops == RCD__SUM_HOPS || !alike_for_all(w, n, &i))
            return false;
        m->hops[m->n_hops] = n;
        id = n->in[i];
    }
}

static void match_updates(const struct rcd__rewrite *w, rcd_value_id u, struct rcd__sum *m)
{
    const struct rcd__fact *f = rcd__fuse_fact(w, u);
    m->w = RCD_NO_VALUE;
    if (match_rows(w, u, f->dims[0], m))
        return;
    const struct rcd_node *mul = rcd__made_by(w, u, "Mul");
    for (size_t i = 0; mul != NULL && i < 2; i++) {
        if (!rcd__same_shape(&w->sym, mul->in[i], u) || !is_factor(w, mul->in[1 - i], f) ||
            !match_rows(w, mul->in[i], f->dims[0], m))
            continue;
        m->w = mul->in[1 - i];
        return;
    }
    rcd__sum_as_made(m, u);
}

void rcd__sum_as_made(struct rcd__sum *m, rcd_value_id u)
{
    m->x = u;
    m->src = RCD_NO_VALUE;
    m->n_hops = 0;
}

static bool match_reduction(const struct rcd_node *n, rcd_spmm_reduce *ret)
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
        !match_reduction(n, &m->how))
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
    if (!zeros_of_shape(w, n->in[0], &m->shape)) {
        m->shape = RCD_NO_VALUE;
        m->start = n->in[0];
    }
    match_updates(w, n->in[2], m);
    return true;
}

/* ---- putting it in --------------------------------------------------------------------------- */

rcd_value_id *rcd__fuse_ids(const struct rcd__rewrite *w, size_t n)
{
    rcd_value_id *v = rcd_arena_calloc(&w->p->arena, n, sizeof *v);
    for (size_t i = 0; v != NULL && i < n; i++)
        v[i] = RCD_NO_VALUE;
    return v;
}

/* Outputs of a node over these inputs: one that is there, or a new node. NULL: no memory. */
static const rcd_value_id *make(struct fuse *f, const struct rcd_op *op, rcd_value_id a,
                                rcd_value_id b, const struct rcd_onnx_node *src)
{
    for (size_t i = 0; i < f->n_made; i++) {
        if (f->made[i].op == op && f->made[i].from[0] == a && f->made[i].from[1] == b)
            return f->made[i].out;
    }
    static const rcd_dtype csr[] = {RCD_I32, RCD_I32, RCD_I64}, cols[] = {RCD_I32, RCD_I64},
                           factors[] = {RCD_F32};
    const size_t n_out = op == &rcd__op_csr        ? RCD__CSR_OUTS
                         : op == &rcd__op_csr_cols ? RCD__COLS_OUTS
                                                   : 1;
    const rcd_dtype *types = op == &rcd__op_csr ? csr : op == &rcd__op_csr_cols ? cols : factors;
    rcd_value_id *in = rcd__fuse_ids(f->w, 2), *out = rcd__fuse_ids(f->w, n_out);
    if (in == NULL || out == NULL)
        return NULL;
    in[0] = a;
    in[1] = b;
    for (size_t i = 0; i < n_out; i++)
        out[i] = rcd__new_value(f->w, types[i]);
    f->nodes[f->n++] = (struct rcd_node){.op = op,
                                         .src = src,
                                         .n_in = b == RCD_NO_VALUE ? 1 : 2,
                                         .n_out = n_out,
                                         .in = in,
                                         .out = out};
    f->made[f->n_made++] = (struct made){op, {a, b}, out};
    return out;
}

/* What is done to the gathered rows, done to the rows. False: no memory. */
static bool put_hops(struct fuse *f, const struct rcd__sum *m, rcd_value_id *ret_x)
{
    *ret_x = m->x;
    for (size_t h = m->n_hops; h-- > 0;) {
        const struct rcd_node *hop = m->hops[h];
        size_t i = 0, known = 0;
        (void)alike_for_all(f->w, hop, &i);
        while (known < f->n_made &&
               (f->made[known].op != hop->op || f->made[known].from[0] != hop->out[0]))
            known++;
        if (known == f->n_made) {
            rcd_value_id *in = rcd__fuse_ids(f->w, hop->n_in), *out = rcd__fuse_ids(f->w, 1);
            if (in == NULL || out == NULL)
                return false;
            memcpy(in, hop->in, hop->n_in * sizeof *in);
            in[i] = *ret_x;
            out[0] = rcd__new_value(f->w, RCD_F32);
            f->nodes[f->n] = *hop;
            f->nodes[f->n].in = in;
            f->nodes[f->n++].out = out;
            f->made[f->n_made++] = (struct made){hop->op, {hop->out[0], RCD_NO_VALUE}, out};
        }
        *ret_x = f->made[known].out[0];
    }
    return true;
}

static bool put_edges(struct fuse *f, const struct rcd__sum *m, const struct rcd_node *scatter,
                      rcd_value_id *in)
{
    const rcd_value_id *csr = make(f, &rcd__op_csr, m->dst, RCD_NO_VALUE, scatter->src);
    if (csr == NULL)
        return false;
    f->w->p->sums_edges = true;
    if (m->src != RCD_NO_VALUE) {
        const rcd_value_id *cols =
            make(f, &rcd__op_csr_cols, csr[RCD__CSR_EDGE], m->src, scatter->src);
        if (cols == NULL)
            return false;
        in[RCD__EDGES_COL] = cols[RCD__COLS_COL];
        in[RCD__EDGES_SRC_RANGE] = cols[RCD__COLS_RANGE];
    }
    in[RCD__EDGES_PTR] = csr[RCD__CSR_PTR];
    in[RCD__EDGES_EDGE] = csr[RCD__CSR_EDGE];
    in[RCD__EDGES_DST_RANGE] = csr[RCD__CSR_RANGE];
    in[RCD__EDGES_DST] = m->dst;
    in[RCD__EDGES_SRC] = m->src;
    in[RCD__EDGES_SHAPE] = m->shape;
    return put_hops(f, m, &in[RCD__EDGES_X]);
}

static bool put_spmm(struct fuse *f, const struct rcd__sum *m, const struct rcd_node *scatter)
{
    struct rcd__spmm_state *state = rcd_arena_calloc(&f->w->p->arena, 1, sizeof *state);
    rcd_value_id *in = rcd__fuse_ids(f->w, RCD__SPMM_INS);
    if (state == NULL || in == NULL || !put_edges(f, m, scatter, in))
        return false;
    if (m->w != RCD_NO_VALUE) {
        const rcd_value_id *sorted =
            make(f, &rcd__op_csr_factors, in[RCD__EDGES_EDGE], m->w, scatter->src);
        if (sorted == NULL)
            return false;
        in[RCD__SPMM_SORTED] = sorted[0];
    }
    state->how = m->how;
    in[RCD__SPMM_W] = m->w;
    in[RCD__SPMM_START] = m->start;
    f->nodes[f->n++] = (struct rcd_node){.op = &rcd__op_spmm,
                                         .src = scatter->src,
                                         .n_in = RCD__SPMM_INS,
                                         .n_out = scatter->n_out,
                                         .in = in,
                                         .out = scatter->out,
                                         .state = state};
    return true;
}

static bool put_attend(struct fuse *f, const struct rcd__sum *m, const struct rcd__attention *a,
                       const struct rcd_node *scatter)
{
    struct rcd__attend_state *state = rcd_arena_calloc(&f->w->p->arena, 1, sizeof *state);
    rcd_value_id *in = rcd__fuse_ids(f->w, RCD__ATTEND_LEAVES + a->n_leaves);
    if (state == NULL || in == NULL || !put_edges(f, m, scatter, in))
        return false;
    *state = a->state;
    for (size_t i = 0; i < a->n_leaves; i++)
        in[RCD__ATTEND_LEAVES + i] = a->leaves[i];
    f->nodes[f->n++] = (struct rcd_node){.op = &rcd__op_attend,
                                         .src = scatter->src,
                                         .n_in = RCD__ATTEND_LEAVES + a->n_leaves,
                                         .n_out = scatter->n_out,
                                         .in = in,
                                         .out = scatter->out,
                                         .state = state};
    return true;
}

static bool put(struct fuse *f, struct rcd_node *node)
{
    struct rcd__sum m;
    struct rcd__attention a;
    if (!rcd__fuse_scatter(f->w, node, &m)) {
        f->nodes[f->n++] = *node;
        return true;
    }
    if (!rcd__fuse_warn(f->w, node, &m, &f->told))
        return false;
    return rcd__fuse_attention(f->w, node, &m, &a) ? put_attend(f, &m, &a, node)
                                                   : put_spmm(f, &m, node);
}

enum {
    NEW_VALUES = RCD__CSR_OUTS + RCD__COLS_OUTS + 2 +
                 RCD__SUM_HOPS, /* factors; what fuse_order.c puts between */
    NEW_NODES = 3 + RCD__SUM_HOPS
};

size_t rcd__fused_values(const struct rcd__rewrite *w)
{
    size_t n = 0;
    struct rcd__sum m;
    for (size_t i = 0; i < w->p->main.n_nodes; i++)
        n += rcd__fuse_scatter(w, &w->p->main.nodes[i], &m) ? NEW_VALUES : 0;
    return n;
}

rcd_status rcd__plan_fuse_sparse(struct rcd__rewrite *w)
{
    struct rcd_body *main = &w->p->main;
    const size_t most = rcd__fused_values(w) / NEW_VALUES;
    if (most == 0)
        return RCD_OK;
    struct fuse f = {.w = w};
    f.nodes = rcd_arena_calloc(&w->p->arena, main->n_nodes + NEW_NODES * most, sizeof *f.nodes);
    f.made = rcd_arena_calloc(&w->p->arena, NEW_NODES * most, sizeof *f.made);
    bool room = f.nodes != NULL && f.made != NULL;
    for (size_t i = 0; room && i < main->n_nodes; i++)
        room = put(&f, &main->nodes[i]);
    if (room) {
        main->nodes = f.nodes;
        main->n_nodes = f.n;
        room = rcd__fuse_means(w) && rcd__fuse_row_ends(w) && rcd__fuse_order(w);
    }
    return room ? RCD_OK : rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
}
