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
        (void)rcd__fuse_alike(f->w, hop, &i);
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

/* axis 0: Spmm; else SpmmEach. */
static bool put_spmm(struct fuse *f, const struct rcd__sum *m, int axis,
                     const struct rcd_node *scatter)
{
    struct rcd__each_state *each = rcd_arena_calloc(&f->w->p->arena, 1, sizeof *each);
    struct rcd__spmm_state *state = &each->sum;
    rcd_value_id *in = rcd__fuse_ids(f->w, RCD__SPMM_INS);
    if (each == NULL || in == NULL || !put_edges(f, m, scatter, in))
        return false;
    each->axis = axis;
    if (m->w != RCD_NO_VALUE) {
        const rcd_value_id *sorted =
            make(f, &rcd__op_csr_factors, in[RCD__EDGES_EDGE], m->w, scatter->src);
        if (sorted == NULL)
            return false;
        in[RCD__SPMM_SORTED] = sorted[0];
    }
    state->how = m->how;
    state->end.flat = m->flat;
    in[RCD__SPMM_W] = m->w;
    in[RCD__SPMM_START] = m->start;
    f->nodes[f->n++] = (struct rcd_node){.op = axis == 0 ? &rcd__op_spmm : &rcd__op_spmm_each,
                                         .src = scatter->src,
                                         .n_in = RCD__SPMM_INS,
                                         .n_out = scatter->n_out,
                                         .in = in,
                                         .out = scatter->out,
                                         .state = each};
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
    state->end.flat = m->flat;
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
    int axis = 0;
    if (rcd__fuse_each(f->w, node, &m, &axis))
        return put_spmm(f, &m, axis, node);
    if (!rcd__fuse_scatter(f->w, node, &m)) {
        f->nodes[f->n++] = *node;
        return true;
    }
    if (!rcd__fuse_warn(f->w, node, &m, &f->told))
        return false;
    return rcd__fuse_attention(f->w, node, &m, &a) ? put_attend(f, &m, &a, node)
                                                   : put_spmm(f, &m, 0, node);
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
    int axis = 0;
    for (size_t i = 0; i < w->p->main.n_nodes; i++) {
        const struct rcd_node *node = &w->p->main.nodes[i];
        const bool sum = rcd__fuse_scatter(w, node, &m) || rcd__fuse_each(w, node, &m, &axis);
        n += sum ? NEW_VALUES : 0;
    }
    return n;
}

rcd_status rcd__plan_fuse_sparse(struct rcd__rewrite *w)
{
    struct rcd_body *main = &w->p->main;
    const size_t most = rcd__fused_values(w) / NEW_VALUES;
    struct fuse f = {.w = w};
    if (!rcd__fuse_warn_others(w, &f.told))
        return rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
    if (most == 0)
        return RCD_OK;
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
