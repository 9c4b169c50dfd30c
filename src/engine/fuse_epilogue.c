/* fuse_epilogue.c - what stands right behind a sum over edges and concerns a row by itself: the view of
 * heads as one row, the bias, ReLU. They are done while the row is still in registers. */
#include "fuse.h"

#include <string.h>

struct ends {
    const struct rcd__rewrite *w;
    struct rcd__readers r;
};

static void count(const struct rcd__readers *r, const struct rcd_node *node, uint32_t at)
{
    for (size_t i = 0; i < node->n_in; i++) {
        if (node->in[i] != RCD_NO_VALUE) {
            r->n[node->in[i]]++;
            r->by[node->in[i]] = at;
        }
    }
    for (size_t b = 0; b < node->n_bodies; b++) {
        const struct rcd_body *body = &node->bodies[b];
        for (size_t i = 0; i < body->n_nodes; i++)
            count(r, &body->nodes[i], UINT32_MAX);
        for (size_t i = 0; i < body->n_outputs; i++) {
            r->n[body->outputs[i]]++;
            r->by[body->outputs[i]] = UINT32_MAX;
        }
    }
}

void rcd__readers_count(const struct rcd__rewrite *w, const struct rcd__readers *r)
{
    const struct rcd_body *main = &w->p->main;
    memset(r->n, 0, w->cap_values * sizeof *r->n);
    for (size_t i = 0; i < main->n_outputs; i++) {
        r->n[main->outputs[i]]++;
        r->by[main->outputs[i]] = UINT32_MAX;
    }
    for (size_t i = main->n_nodes; i-- > 0;) {
        const struct rcd_node *node = &main->nodes[i];
        bool read = false; /* else it will be removed (lifetimes.c) */
        for (size_t o = 0; o < node->n_out; o++)
            read = read || (node->out[o] != RCD_NO_VALUE && r->n[node->out[o]] > 0);
        if (read)
            count(r, node, (uint32_t)i);
    }
}

bool rcd__readers_new(const struct rcd__rewrite *w, struct rcd__readers *ret)
{
    ret->n = rcd_calloc(w->cap_values, sizeof *ret->n);
    ret->by = rcd_calloc(w->cap_values, sizeof *ret->by);
    if (ret->n == NULL || ret->by == NULL)
        return false;
    rcd__readers_count(w, ret);
    return true;
}

void rcd__readers_free(struct rcd__readers *r)
{
    rcd_free(r->n);
    rcd_free(r->by);
}

void rcd__node_move(struct rcd_body *main, size_t from, size_t to)
{
    const struct rcd_node n = main->nodes[from];
    if (from < to)
        memmove(main->nodes + from, main->nodes + from + 1, (to - from) * sizeof n);
    else
        memmove(main->nodes + to + 1, main->nodes + to, (from - to) * sizeof n);
    main->nodes[to] = n;
}

size_t rcd__fuse_row_width(const struct rcd__rewrite *w, const struct rcd__fact *f)
{
    size_t width = 1;
    for (int d = 1; d < f->rank; d++) {
        const rcd__term t = f->dims[d];
        if (t == RCD__NO_TERM || !w->sym.terms[t].is_number || w->sym.terms[t].number < 1 ||
            w->sym.terms[t].number > 1 << 20 || width > 1 << 20)
            return 0;
        width *= (size_t)w->sym.terms[t].number;
    }
    return width;
}

static bool is_flat_view(const struct ends *e, const struct rcd_node *n, const struct rcd__fact *f)
{
    const struct rcd__fact *to = rcd__fuse_fact(e->w, n->out[0]);
    return strcmp(n->op->name, "Reshape") == 0 && f->rank > 2 && to->rank == 2 &&
           rcd__term_equal(to->dims[0], f->dims[0]) && rcd__fuse_row_width(e->w, f) > 0 &&
           rcd__fuse_row_width(e->w, to) == rcd__fuse_row_width(e->w, f);
}

/* The constant that is added to every row of [rows, width], else RCD_NO_VALUE. */
static rcd_value_id bias_of(const struct ends *e, const struct rcd_node *n, rcd_value_id sum,
                            size_t width)
{
    if (strcmp(n->op->name, "Add") != 0 || width == 0)
        return RCD_NO_VALUE;
    const rcd_value_id b = n->in[0] == sum ? n->in[1] : n->in[0];
    const struct rcd_tensor *c = e->w->p->values[b].constant;
    bool row = c != NULL && c->dtype == RCD_F32 && c->n == width &&
               (c->rank == 1 || (c->rank == 2 && c->dims[0] == 1));
    return row ? b : RCD_NO_VALUE;
}

/* Take the only reader of a sum into it. */
static bool take(const struct ends *e, struct rcd_node *sum, const struct rcd_node *n)
{
    struct rcd__row_end *end = sum->state;
    rcd_value_id *in = (rcd_value_id *)(uintptr_t)sum->in; /* made by fuse_sparse.c */
    const struct rcd__fact *f = rcd__fuse_fact(e->w, sum->out[0]);
    const rcd_value_id out = sum->out[0];
    if (n->op->domain != NULL || n->n_out != 1 || end->relu || f->rank < 2)
        return false;
    if (strcmp(n->op->name, "Relu") == 0) {
        end->relu = true;
        return true;
    }
    if (in[RCD__EDGES_BIAS] != RCD_NO_VALUE)
        return false;
    if (is_flat_view(e, n, f)) {
        end->flat = true;
        return true;
    }
    const rcd_value_id bias =
        f->rank == 2 ? bias_of(e, n, out, rcd__fuse_row_width(e->w, f)) : RCD_NO_VALUE;
    if (bias == RCD_NO_VALUE)
        return false;
    in[RCD__EDGES_BIAS] = bias;
    return true;
}

static void take_readers(const struct ends *e, struct rcd_body *main)
{
    for (size_t i = 0; i < main->n_nodes; i++) {
        struct rcd_node *sum = &main->nodes[i];
        if (sum->op == NULL || (sum->op != &rcd__op_spmm && sum->op != &rcd__op_attend) ||
            sum->in[RCD__EDGES_SHAPE] == RCD_NO_VALUE)
            continue;
        for (;;) {
            const rcd_value_id out = sum->out[0];
            if (e->r.n[out] != 1 || e->r.by[out] == UINT32_MAX)
                break;
            struct rcd_node *n = &main->nodes[e->r.by[out]];
            if (n->op == NULL || !take(e, sum, n))
                break;
            sum->out = n->out;
            n->op = NULL; /* removed below */
        }
    }
}

bool rcd__fuse_row_ends(struct rcd__rewrite *w)
{
    struct rcd_body *main = &w->p->main;
    struct ends e = {.w = w};
    const bool room = rcd__readers_new(w, &e.r);
    if (room) {
        take_readers(&e, main);
        size_t kept = 0;
        for (size_t i = 0; i < main->n_nodes; i++) {
            if (main->nodes[i].op != NULL)
                main->nodes[kept++] = main->nodes[i];
        }
        main->n_nodes = kept;
    }
    rcd__readers_free(&e.r);
    return room;
}
