/* incremental_sorted.c - sorted edges that requests read: a binding that waits for features has them for the sums to come.
 * A live one keeps lists that a change alters in the time of a row (incremental_index.c); for each version Csr, CsrCols and
 * CsrFactors are written out of these, row by row, which is one pass over memory where sorting anew takes many. */
#include "incremental_ends.h"
#include "ops/csr_sort.h"
#include "team.h"

#include <string.h>

enum { SOME_ROWS = 4096 };

static const struct rcd_node *csr_of(const struct rcd__live *l, const struct rcd_node *node)
{
    const struct rcd_node *n = node;
    while (n->op != &rcd__op_csr || (n != node && n->out[RCD__CSR_EDGE] != node->in[0])) {
        RCD_ASSERT(n > l->plan->main.nodes); /* a node reads what one before it made */
        n--;
    }
    return n;
}

/* Rows of indices where the edges end. */
static struct rcd__ival *ends_of(const struct rcd__live *l, const struct rcd_node *node)
{
    return rcd__value_in(l, csr_of(l, node), 0);
}

static bool wanted(const struct rcd__live *l, const struct rcd_node *node)
{
    bool out = false;
    for (size_t o = 0; o < node->n_out; o++)
        out = out ||
              (node->out[o] != RCD_NO_VALUE && rcd__ival(l, node->out[o])->kind == RCD__SORTED);
    return out;
}

/* f for each node whose sorted edges requests read, while it returns true. */
typedef bool visit_fn(void *ctx, struct rcd__live *l, const struct rcd_node *node);
static void each_sorted(struct rcd__live *l, visit_fn *f, void *ctx)
{
    for (size_t i = 0; i < l->plan->main.n_nodes; i++) {
        const struct rcd_node *node = &l->plan->main.nodes[i];
        if (l->done[i] && l->nodes[i].how == RCD__DO_INDEX && wanted(l, node) && !f(ctx, l, node))
            return;
    }
}

/* ---- while a binding is made ------------------------------------------------------------------------ */

/* Are the group's entries edges? */
static bool are_edges(const struct rcd__live *l, int group)
{
    bool edges = false;
    for (size_t i = 0; i < l->plan->n_inputs; i++)
        edges = edges || (l->entries[i].group == group && l->entries[i].axis == 1);
    return edges;
}

/* Entries that indices below n may be of. Only how many there are is asked of them; an index beyond means a full run. */
static struct rcd__dom *pointed_to(const struct rcd__live *l, int64_t n)
{
    struct rcd__dom *least = NULL;
    for (struct rcd__dom *d = l->doms; d != NULL; d = d->next) {
        if (d->group >= 0 && !are_edges(l, d->group) && rcd__dom_dense(d) && (int64_t)d->n >= n &&
            (least == NULL || d->n < least->n))
            least = d;
    }
    return least;
}

/* The lists of an end of edges, made if no sum or look-up did. */
static bool need_lists(struct rcd__live *l, rcd_value_id id, struct rcd__ival *v,
                       const struct rcd_tensor *slots)
{
    const struct rcd_tensor *t = v != NULL ? &slots[l->plan->values[id].slot] : NULL;
    if (t == NULL || v->kind != RCD__ROWS || v->same || t->n == 0) {
        l->why = "sorted edges that are not rows of indices";
        return false;
    }
    if (v->inv != NULL)
        return true;
    int64_t range[2];
    rcd__index_range(l->team, t, range);
    struct rcd__dom *over = pointed_to(l, range[1] + 1);
    if (over == NULL)
        l->why = "edges between what is not counted";
    else
        v->inv = rcd__inv_new(l, v->dom, over, t);
    return l->why == NULL;
}

static bool prepare_cols(struct rcd__live *l, const struct rcd_node *node,
                         const struct rcd_tensor *slots)
{
    struct rcd__inv *dst = ends_of(l, node)->inv;
    struct rcd__ival *src = rcd__value_in(l, node, 1);
    if (!need_lists(l, node->in[1], src, slots))
        return false;
    if (dst == NULL || src->dom != dst->dom) {
        l->why = "ends of edges in different lists";
        return false;
    }
    if (dst->cols == NULL)
        rcd__inv_mirror(dst, src->inv);
    return true;
}

static bool prepare_factors(struct rcd__live *l, const struct rcd_node *node)
{
    struct rcd__inv *dst = ends_of(l, node)->inv;
    const struct rcd__ival *w = rcd__value_in(l, node, 1);
    if (w == NULL || dst == NULL || !rcd__readable(l, w, dst->dom)) {
        l->why = l->why != NULL ? l->why : "constant factors of edges";
        return false;
    }
    if (w->kind == RCD__ROWS && w->inner == sizeof(float) && dst->factors == NULL)
        rcd__inv_mirror_factors(l, dst, w);
    return true;
}

struct preparing {
    const struct rcd_tensor *slots;
};

static bool prepare(void *ctx, struct rcd__live *l, const struct rcd_node *node)
{
    const struct rcd_tensor *slots = ((const struct preparing *)ctx)->slots;
    const struct rcd_node *csr = csr_of(l, node);
    for (size_t o = 0; o < RCD__CSR_OUTS; o++) { /* who reads the one reads the others, too */
        if (csr->out[o] == RCD_NO_VALUE || rcd__ival(l, csr->out[o])->kind != RCD__SORTED)
            l->why = "sorted edges of which requests read a part";
    }
    if (l->why != NULL || node == csr)
        return l->why == NULL && need_lists(l, node->in[0], rcd__value_in(l, node, 0), slots);
    return node->op == &rcd__op_csr_cols ? prepare_cols(l, node, slots) : prepare_factors(l, node);
}

void rcd__sorted_prepare(struct rcd__live *l, const struct rcd_tensor *slots)
{
    struct preparing p = {slots};
    if (l->why == NULL)
        each_sorted(l, prepare, &p);
}

/* ---- turns ------------------------------------------------------------------------------------------ */

void rcd__turn_sorted(const struct rcd__turn *t, const struct rcd_node *node)
{
    if (node->op != &rcd__op_csr_factors || !wanted(t->live, node))
        return;
    struct rcd__inv *dst = ends_of(t->live, node)->inv;
    if (dst->factors != NULL && dst->factors == rcd__value_in(t->live, node, 1))
        rcd__inv_factors_turn(dst);
}

/* ---- writing -------------------------------------------------------------------------------------------- */

struct writing {
    rcd_bound *b;
    const struct rcd__live *live;
    struct rcd__team *team;
    rcd_status st;
    struct rcd_error *err;
    const struct rcd__inv *dst;
    const struct rcd__ival *src, *w; /* of CsrCols, of CsrFactors */
    const int32_t *ptr;
    const int32_t *before; /* per 64 slots: how many entries lie before them */
    void *to;
};

static struct rcd_tensor *new_value(struct writing *w, rcd_value_id id, rcd_dtype type, int rank,
                                    const int64_t *dims)
{
    const uint32_t slot = w->b->plan->values[id].slot;
    struct rcd_tensor shape = {.dtype = RCD_NONE};
    RCD_ASSERT(rcd_tensor_shape(&shape, type, rank, dims)); /* as large as other values are */
    w->st = rcd__bound_value(w->b, slot, &shape, w->err);
    return w->st == RCD_OK ? &w->b->values[slot] : NULL;
}

/* The least and the greatest row that has entries: 0 and -1 of none. */
static bool write_range(struct writing *w, const struct rcd__inv *v, rcd_value_id id)
{
    const int64_t two = 2;
    if (id == RCD_NO_VALUE || rcd__ival(w->live, id)->kind != RCD__SORTED)
        return true;
    struct rcd_tensor *t = new_value(w, id, RCD_I64, 1, &two);
    if (t == NULL)
        return false;
    int64_t *range = t->data, least = 0, most = (int64_t)v->n_rows - 1;
    while (v->n_live > 0 && v->row[least].len == 0)
        least++;
    while (most >= 0 && v->row[most].len == 0)
        most--;
    range[0] = least;
    range[1] = most;
    return true;
}

static inline int32_t place_of(const struct writing *w, int32_t slot)
{
    if (w->before == NULL)
        return slot;
    const uint64_t below = w->dst->dom->alive[slot / 64] & ((UINT64_C(1) << (slot % 64)) - 1);
    return w->before[slot / 64] + (int32_t)__builtin_popcountll(below);
}

static void edges_some(void *ctx, size_t from, size_t to)
{
    const struct writing *w = ctx;
    for (size_t r = from; r < to; r++) {
        const struct rcd__pair *p = w->dst->pool + w->dst->row[r].begin;
        int32_t *edge = (int32_t *)w->to + w->ptr[r];
        for (size_t k = 0; k < w->dst->row[r].len; k++)
            edge[k] = place_of(w, p[k].slot);
    }
}

static void cols_some(void *ctx, size_t from, size_t to)
{
    const struct writing *w = ctx;
    const struct rcd__ends e = {.dst = w->dst, .src = w->src->inv, .x = w->src};
    for (size_t r = from; r < to; r++)
        rcd__ends_row(&e, &w->dst->row[r], w->dst->row[r].len, (int32_t *)w->to + w->ptr[r], NULL);
}

static void factors_some(void *ctx, size_t from, size_t to)
{
    const struct writing *w = ctx;
    const size_t row = w->w->inner;
    for (size_t r = from; r < to; r++) {
        const struct rcd__inv_row *list = &w->dst->row[r];
        char *at = (char *)w->to + (size_t)w->ptr[r] * row;
        if (w->dst->factors == w->w)
            rcd__copy(at, w->dst->factor + list->begin, list->len * row);
        for (size_t k = 0; w->dst->factors != w->w && k < list->len; k++)
            memcpy(at + k * row,
                   (const char *)w->w->store->data +
                       (size_t)w->dst->pool[list->begin + k].slot * row,
                   row);
    }
}

static size_t rows_of(const struct writing *w)
{
    size_t n = w->dst->n_rows;
    while (n > 0 && w->dst->row[n - 1].len == 0)
        n--;
    return n;
}

static bool write_csr(struct writing *w, const struct rcd_node *node)
{
    const struct rcd__dom *d = w->dst->dom;
    const int64_t n = (int64_t)w->dst->n_live, n_ptr = (int64_t)rows_of(w) + 1;
    struct rcd_tensor *t = new_value(w, node->out[RCD__CSR_PTR], RCD_I32, 1, &n_ptr);
    if (t == NULL)
        return false;
    int32_t *ptr = t->data;
    ptr[0] = 0;
    for (int64_t r = 0; r + 1 < n_ptr; r++)
        ptr[r + 1] = ptr[r] + (int32_t)w->dst->row[r].len;
    t = new_value(w, node->out[RCD__CSR_EDGE], RCD_I32, 1, &n);
    int32_t *before = !rcd__dom_dense(d) ? rcd_alloc((d->cap / 64 + 1) * sizeof *before) : NULL;
    if (t == NULL || (before == NULL && !rcd__dom_dense(d))) {
        rcd_free(before);
        w->st = rcd_fail(w->err, RCD_ENOMEM, "no memory to keep %lld sorted edges", (long long)n);
        return false;
    }
    for (size_t i = 0, at = 0; before != NULL && i <= d->cap / 64; i++) {
        before[i] = (int32_t)at;
        at += (size_t)__builtin_popcountll(d->alive[i]);
    }
    w->ptr = ptr;
    w->before = before;
    w->to = t->data;
    rcd__team_run(w->team, (size_t)n_ptr - 1, SOME_ROWS, edges_some, w);
    rcd_free(before);
    return write_range(w, w->dst, node->out[RCD__CSR_RANGE]);
}

static bool write_cols(struct writing *w, const struct rcd_node *node)
{
    const int64_t n = (int64_t)w->dst->n_live;
    struct rcd_tensor *t = new_value(w, node->out[RCD__COLS_COL], RCD_I32, 1, &n);
    if (t == NULL)
        return false;
    w->src = rcd__value_in(w->live, node, 1);
    w->to = t->data;
    rcd__team_run(w->team, rows_of(w), SOME_ROWS, cols_some, w);
    return write_range(w, w->src->inv, node->out[RCD__COLS_RANGE]);
}

static bool write_factors(struct writing *w, const struct rcd_node *node)
{
    int64_t dims[RCD_MAX_RANK];
    w->w = rcd__value_in(w->live, node, 1);
    memcpy(dims, w->w->t.dims, sizeof dims);
    dims[0] = (int64_t)w->dst->n_live;
    struct rcd_tensor *t = new_value(w, node->out[0], RCD_F32, w->w->t.rank, dims);
    if (t == NULL)
        return false;
    w->to = t->data;
    if (w->w->kind == RCD__FILL)
        rcd__repeat(t->data, t->n, sizeof(float), w->w->element);
    else
        rcd__team_run(w->team, rows_of(w), SOME_ROWS, factors_some, w);
    return true;
}

static bool write_node(void *ctx, struct rcd__live *l, const struct rcd_node *node)
{
    struct writing *w = ctx;
    const rcd_value_id ptr = csr_of(l, node)->out[RCD__CSR_PTR];
    w->dst = ends_of(l, node)->inv;
    if (node->op == &rcd__op_csr)
        return write_csr(w, node);
    w->ptr = w->b->values[l->plan->values[ptr].slot].data;
    return node->op == &rcd__op_csr_cols ? write_cols(w, node) : write_factors(w, node);
}

rcd_status rcd__sorted_publish(rcd_bound *b, struct rcd__live *l, struct rcd__team *team,
                               struct rcd_error *err)
{
    struct writing w = {.b = b, .live = l, .team = team, .err = err};
    each_sorted(l, write_node, &w);
    return w.st;
}
