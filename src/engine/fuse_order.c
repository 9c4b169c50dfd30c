/* fuse_order.c - sparse products and the products of rows beside them.
 *
 * Which goes first: y = A (x W) is (A x) W, up to rounding. Sums over edges read the rows of all neighbours, so they are
 * taken where rows are narrower: of x, unless W makes them narrower (rows as wide are summed first, too, since the
 * product is then done with the sum); its bias and ReLU go to the product. Decided here, once, for all that a plan does:
 * full runs, batches and updates have the same bits.
 *
 * What goes together: a product whose rows are the sums alone stands right behind the sum and is *joined*: a run may do
 * both, some rows at a time (ops/chain.c), and the sums are never made as a whole. */
#include "fuse.h"
#include "ops/product.h"

#include <string.h>

struct order {
    struct rcd__rewrite *w;
    struct rcd__readers readers;
};

static bool is_known(const struct order *o, rcd_value_id id)
{
    return id < o->w->sym.n_facts; /* else made by fusion: its sizes were not looked at */
}

/* Rank 2 with rows of so many. */
static bool has_width(const struct order *o, rcd_value_id id, size_t width)
{
    if (!is_known(o, id))
        return false;
    const struct rcd__fact *f = rcd__fuse_fact(o->w, id);
    return f->rank == 2 && rcd__term_is(&o->w->sym, f->dims[1], (int64_t)width);
}

/* The only node that reads a value, and nobody outside does; or NULL. */
static struct rcd_node *only_reader(const struct order *o, rcd_value_id id)
{
    return o->readers.n[id] == 1 && o->readers.by[id] != UINT32_MAX
               ? &o->w->p->main.nodes[o->readers.by[id]]
               : NULL;
}

/* ---- which goes first ------------------------------------------------------------------------------- */

/* The MatMul that makes the sum's x, for it alone, no narrower than what goes in. */
static struct rcd_node *wide_product(const struct order *o, const struct rcd_node *sum)
{
    struct rcd_body *main = &o->w->p->main;
    const struct rcd__spmm_state *s = sum->state;
    const rcd_value_id x = sum->in[RCD__EDGES_X], w = sum->in[RCD__SPMM_W];
    if (s->how != RCD_SPMM_SUM || s->end.flat || sum->in[RCD__EDGES_SRC] == RCD_NO_VALUE ||
        sum->in[RCD__EDGES_SHAPE] == RCD_NO_VALUE || o->readers.n[x] != 1 || !is_known(o, x))
        return NULL;
    if (w != RCD_NO_VALUE &&
        (!is_known(o, w) || !rcd__fuse_is_column(o->w, w, rcd__fuse_fact(o->w, w)->dims[0])))
        return NULL; /* factors that differ along a row */
    size_t i = 0;
    while (i < main->n_nodes && (main->nodes[i].n_out != 1 || main->nodes[i].out[0] != x))
        i++;
    if (i == main->n_nodes)
        return NULL;
    const struct rcd__row_product *p = rcd__row_product_of(&main->nodes[i]);
    const bool no_c = main->nodes[i].n_in < 3 || main->nodes[i].in[2] == RCD_NO_VALUE;
    const bool fits = p != NULL && no_c && !p->relu && p->b.k <= p->b.n &&
                      has_width(o, x, p->b.n) && has_width(o, main->nodes[i].in[0], p->b.k) &&
                      has_width(o, sum->out[0], p->b.n);
    return fits ? &main->nodes[i] : NULL;
}

/* The product's state with the end of the sum's rows. */
static struct rcd__row_product *with_end(const struct order *o, const struct rcd_node *product,
                                         const struct rcd_node *sum)
{
    struct rcd_arena *a = &o->w->p->arena;
    const struct rcd__spmm_state *s = sum->state;
    struct rcd__row_product *p = rcd_arena_calloc(a, 1, sizeof *p);
    if (p == NULL)
        return NULL;
    *p = *rcd__row_product_of(product);
    p->relu = s->end.relu;
    p->bias = NULL;
    if (sum->in[RCD__EDGES_BIAS] == RCD_NO_VALUE)
        return p;
    float *bias = rcd_arena_alloc_aligned(a, p->b.padded * sizeof *bias);
    if (bias == NULL)
        return NULL;
    memset(bias, 0, p->b.padded * sizeof *bias);
    memcpy(bias, o->w->p->values[sum->in[RCD__EDGES_BIAS]].constant->data, p->b.n * sizeof *bias);
    p->bias = bias;
    return p;
}

/* False: no memory. */
static bool narrow_first(const struct order *o, size_t at)
{
    struct rcd_body *main = &o->w->p->main;
    struct rcd_node *sum = &main->nodes[at], *product = wide_product(o, sum);
    bool known = false;
    const struct rcd_op *matmul = rcd__op_find("", "MatMul", 13, &known);
    if (product == NULL || matmul == NULL)
        return true;
    struct rcd__row_product *p = with_end(o, product, sum);
    rcd_value_id *in = rcd__fuse_ids(o->w, product->n_in), *between = rcd__fuse_ids(o->w, 1);
    if (p == NULL || in == NULL || between == NULL)
        return false;
    between[0] = rcd__new_value(o->w, RCD_F32);
    memcpy(in, product->in, product->n_in * sizeof *in);
    in[0] = between[0];
    struct rcd__spmm_state *s = sum->state;
    rcd_value_id *sum_in = (rcd_value_id *)(uintptr_t)sum->in; /* made by fuse_sparse.c */
    sum_in[RCD__EDGES_X] = product->in[0];
    sum_in[RCD__EDGES_BIAS] = RCD_NO_VALUE;
    s->end = (struct rcd__row_end){.width = p->b.k};
    product->out = sum->out;
    sum->out = between;
    product->in = in;
    product->state = p;
    product->op = matmul; /* Gemm's state is another one */
    product->n_in = 2;
    rcd__node_move(main, (size_t)(product - main->nodes), at);
    return true;
}

/* ---- what goes together ------------------------------------------------------------------------------- */

static void join(const struct order *o, size_t at)
{
    struct rcd_body *main = &o->w->p->main;
    const struct rcd_node *sum = &main->nodes[at];
    const struct rcd__spmm_state *s = sum->state;
    rcd_value_id out = sum->out[0];
    size_t width = s->end.width;
    if (s->end.flat || sum->in[RCD__EDGES_SHAPE] == RCD_NO_VALUE)
        return;
    for (size_t i = 1; i <= RCD__JOINED; i++) {
        struct rcd_node *n = only_reader(o, out);
        const struct rcd__row_product *p = n != NULL ? rcd__row_product_of(n) : NULL;
        if (p == NULL || n->in[0] != out ||
            (width > 0 ? p->b.k != width : !has_width(o, out, p->b.k)))
            return;
        n->joined = true;
        width = p->b.n;
        out = n->out[0];
        rcd__node_move(main, (size_t)(n - main->nodes), at + i);
        rcd__readers_count(o->w, &o->readers);
    }
}

/* Behind a ReLU about half of a row is zero, which the sums of the next layer need not read. */
static void may_squeeze(const struct order *o, const struct rcd_node *sum)
{
    const struct rcd__spmm_state *s = sum->state;
    const rcd_value_id x = sum->in[RCD__EDGES_X], w = sum->in[RCD__SPMM_W];
    if (s->how != RCD_SPMM_SUM || s->end.flat || sum->in[RCD__EDGES_SRC] == RCD_NO_VALUE ||
        sum->in[RCD__SPMM_START] != RCD_NO_VALUE || o->readers.n[x] != 1 ||
        (w != RCD_NO_VALUE &&
         (!is_known(o, w) || !rcd__fuse_is_column(o->w, w, rcd__fuse_fact(o->w, w)->dims[0]))))
        return;
    struct rcd_body *main = &o->w->p->main;
    for (size_t i = 0; i < main->n_nodes; i++) {
        struct rcd_node *n = &main->nodes[i];
        if (n->joined && n->n_out == 1 && n->out[0] == x)
            n->squeezed = rcd__row_product_of(n) != NULL && rcd__row_product_of(n)->relu;
    }
}

/* A sum that somebody reads: one whose mean is made instead (fuse_mean.c) stands there until lifetimes.c. */
static bool is_sum(const struct order *o, size_t at)
{
    const struct rcd_node *n = &o->w->p->main.nodes[at];
    return n->op == &rcd__op_spmm && o->readers.n[n->out[0]] > 0;
}

bool rcd__fuse_order(struct rcd__rewrite *w)
{
    struct rcd_body *main = &w->p->main;
    struct order o = {.w = w};
    bool room = rcd__readers_new(w, &o.readers);
    for (size_t i = 0; room && i < main->n_nodes; i++) {
        if (!is_sum(&o, i))
            continue;
        room = narrow_first(&o, i);
        rcd__readers_count(w, &o.readers);
    }
    for (size_t i = 0; room && i < main->n_nodes; i++) {
        if (is_sum(&o, i))
            join(&o, i);
    }
    for (size_t i = 0; room && i < main->n_nodes; i++) {
        if (is_sum(&o, i))
            may_squeeze(&o, &main->nodes[i]);
    }
    rcd__readers_free(&o.readers);
    return room;
}
