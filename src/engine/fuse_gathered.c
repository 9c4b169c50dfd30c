/* fuse_gathered.c - a product of rows that were gathered for each edge: of the rows, before they are gathered.
 *
 *   m = Gather(x, src)                  [E, k]
 *   u = MatMul(m, W), Gemm(m, W, b)     [E, n]
 *
 * becomes Gather(x W, src): the same bits, since the bits of a row of a product do not depend on the rows beside it, and a
 * product for each node instead of each edge (GeneralConv). Only where rows of as many edges are summed, as then there is
 * an edge or more for most nodes; who reads five rows of a million has a product of five. */
#include "fuse.h"
#include "ops/product.h"

#include <string.h>

static bool are_summed(const struct rcd__rewrite *w, rcd__term edges)
{
    struct rcd__sum m;
    for (size_t i = 0; i < w->p->main.n_nodes; i++) {
        const struct rcd_node *n = &w->p->main.nodes[i];
        if (rcd__fuse_scatter(w, n, &m) &&
            rcd__term_equal(rcd__fuse_fact(w, n->in[2])->dims[0], edges))
            return true;
    }
    return false;
}

static bool of_gathered(const struct rcd__rewrite *w, const struct rcd_node *n, rcd_value_id *ret_x,
                        rcd_value_id *ret_src)
{
    if (n->n_out != 1 || rcd__row_product_of(n) == NULL)
        return false;
    const struct rcd__fact *f = rcd__fuse_fact(w, n->out[0]);
    return f->rank == 2 && rcd__fuse_rows_of(w, n->in[0], f->dims[0], ret_x, ret_src) &&
           w->p->values[*ret_x].constant == NULL && rcd__fuse_fact(w, *ret_x)->rank == 2 &&
           are_summed(w, f->dims[0]);
}

size_t rcd__fuse_gathered_count(const struct rcd__rewrite *w)
{
    rcd_value_id x = 0, src = 0;
    size_t n = 0;
    for (size_t i = 0; i < w->p->main.n_nodes; i++)
        n += of_gathered(w, &w->p->main.nodes[i], &x, &src);
    return n;
}

/* The product of all rows of x, and the Gather of it. False: no memory. */
static bool put(struct rcd__rewrite *w, const struct rcd_node *product, rcd_value_id x,
                rcd_value_id src, struct rcd_node *to)
{
    const struct rcd_node *gather = rcd__made_by(w, product->in[0], "Gather");
    rcd_value_id *in = rcd__fuse_ids(w, product->n_in), *out = rcd__fuse_ids(w, 1),
                 *ends = rcd__fuse_ids(w, 2);
    if (in == NULL || out == NULL || ends == NULL)
        return false;
    out[0] = rcd__new_value(w, RCD_F32);
    struct rcd__fact *f = &w->sym.facts[out[0]];
    *f = *rcd__fuse_fact(w, product->out[0]);
    f->dims[0] = rcd__fuse_fact(w, x)->dims[0];
    memcpy(in, product->in, product->n_in * sizeof *in);
    in[0] = x;
    ends[0] = out[0];
    ends[1] = src;
    to[0] = *product;
    to[0].in = in;
    to[0].out = out;
    to[1] = *gather;
    to[1].in = ends;
    to[1].out = product->out;
    return true;
}

rcd_status rcd__fuse_gathered(struct rcd__rewrite *w, size_t count)
{
    struct rcd_body *main = &w->p->main;
    struct rcd_node *nodes = rcd_arena_calloc(&w->p->arena, main->n_nodes + count, sizeof *nodes);
    size_t n = 0;
    bool room = nodes != NULL;
    for (size_t i = 0; room && i < main->n_nodes; i++) {
        rcd_value_id x = 0, src = 0;
        if (!of_gathered(w, &main->nodes[i], &x, &src)) {
            nodes[n++] = main->nodes[i];
            continue;
        }
        room = put(w, &main->nodes[i], x, src, nodes + n);
        n += 2;
    }
    if (!room)
        return rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
    main->nodes = nodes;
    main->n_nodes = n;
    return RCD_OK;
}
