/* fuse_dots.c - rows times a constant row, then summed along the last axis: the scores of attention's heads (GAT), dot
 * products with a query.
 *
 *   p = Mul(x, w)                 w a constant of the last sizes of x
 *   s = ReduceSum(p, axis -1)
 *
 * The sum stands right behind the product and is *joined* (as in fuse_order.c): a run may do both, some rows at a time
 * (ops/dots.c), and the products, as large as x itself, are never made as a whole. */
#include "fuse.h"
#include "ops/dots.h"

#include <string.h>

static bool named(const struct rcd_node *n, const char *name)
{
    return n->op->domain == NULL && n->n_out == 1 && strcmp(n->op->name, name) == 0;
}

/* Along the last axis of its input alone? */
static bool sums_last(const struct rcd__rewrite *w, const struct rcd_node *n, int rank)
{
    const struct rcd_attr *a = rcd_onnx_attr(n->src, "axes");
    int64_t axis = 0;
    if (a != NULL) {
        if (a->type != RCD_ATTR_INTS || a->n != 1)
            return false;
        axis = a->ints[0];
    } else {
        const struct rcd_tensor *t =
            n->n_in > 1 && n->in[1] != RCD_NO_VALUE ? w->p->values[n->in[1]].constant : NULL;
        if (t == NULL || t->n != 1)
            return false;
        axis = rcd__int_at(t, 0);
    }
    return axis == -1 || axis == rank - 1;
}

/* Is c, but for leading ones, of the last sizes of x, so that it meets every row of as many elements alike? */
static bool is_row_of(const struct rcd__rewrite *w, const struct rcd_tensor *c,
                      const struct rcd__fact *x)
{
    if (c->dtype != RCD_F32 || c->n < 1 || c->n > RCD__DOTS_ROW || c->rank < 1 || c->rank > x->rank)
        return false;
    bool ones = false;
    for (int d = 1; d <= c->rank; d++) {
        const int64_t size = c->dims[c->rank - d];
        const bool same = rcd__term_is(&w->sym, x->dims[x->rank - d], size);
        ones = ones || !same;
        if ((ones && size != 1) || (d == 1 && !same))
            return false;
    }
    return true;
}

static bool is_dot(const struct rcd__rewrite *w, const struct rcd_node *mul,
                   const struct rcd_node *sum)
{
    const size_t known = w->sym.n_facts;
    if (!named(mul, "Mul") || !named(sum, "ReduceSum") || sum->in[0] != mul->out[0] ||
        mul->in[0] >= known || mul->in[1] >= known)
        return false;
    for (size_t i = 0; i < 2; i++) {
        const struct rcd_tensor *c = w->p->values[mul->in[i]].constant;
        const rcd_value_id other = mul->in[1 - i];
        const struct rcd__fact *x = rcd__fuse_fact(w, other);
        if (c != NULL && w->p->values[other].constant == NULL && x->rank >= 2 &&
            is_row_of(w, c, x) && sums_last(w, sum, x->rank))
            return true;
    }
    return false;
}

bool rcd__fuse_dots(struct rcd__rewrite *w)
{
    struct rcd_body *main = &w->p->main;
    struct rcd__readers r;
    const bool room = rcd__readers_new(w, &r);
    for (size_t i = 0; room && i < main->n_nodes; i++) {
        if (!named(&main->nodes[i], "Mul"))
            continue;
        const rcd_value_id p = main->nodes[i].out[0];
        if (r.n[p] != 1 || r.by[p] == UINT32_MAX ||
            !is_dot(w, &main->nodes[i], &main->nodes[r.by[p]]))
            continue;
        main->nodes[r.by[p]].joined = true;
        rcd__node_move(main, r.by[p], i + 1); /* what else it reads is constant */
        rcd__readers_count(w, &r);
    }
    rcd__readers_free(&r);
    return room;
}
