/* fuse_edges.c - the operations on edges that lie between Gather and a sum, as a program that runs over
 * some edges at a time (ops/edge_program.c). Walks back from the result: what is computed edge by edge
 * becomes a step; what is gathered by an end of the edge is read there; whatever else has a row for
 * every edge stays a value of its own that the program reads. */
#include "fuse.h"

#include <string.h>

struct compile {
    const struct rcd__rewrite *w;
    const struct rcd__edge_ends *ends;
    struct rcd__attention *a;
    struct rcd__edge_program *p;
    rcd_value_id made[RCD__EDGE_STEPS]; /* the value that each step makes */
};

/* Numbers behind the first axis of f32[E, ...]; false: not such a value, or not known. */
static bool row_of(const struct compile *c, rcd_value_id id, int64_t *dims, size_t *ret_width)
{
    const struct rcd__fact *f = rcd__fuse_fact(c->w, id);
    if (f->rank < 1 || c->w->p->values[id].dtype != RCD_F32 ||
        !rcd__term_equal(f->dims[0], c->ends->edges))
        return false;
    size_t width = 1;
    for (int d = 1; d < f->rank; d++) {
        if (f->dims[d] == RCD__NO_TERM || !c->w->sym.terms[f->dims[d]].is_number)
            return false;
        dims[d - 1] = c->w->sym.terms[f->dims[d]].number;
        if (dims[d - 1] < 1 || dims[d - 1] > 1 << 16 || width > 1 << 16)
            return false;
        width *= (size_t)dims[d - 1];
    }
    *ret_width = width;
    return true;
}

static bool is_move(const struct rcd__rewrite *w, rcd_value_id id)
{
    return rcd__made_by(w, id, "Reshape") != NULL || rcd__made_by(w, id, "Unsqueeze") != NULL ||
           rcd__made_by(w, id, "Squeeze") != NULL;
}

rcd_value_id rcd__fuse_peel(const struct rcd__rewrite *w, rcd_value_id id, rcd__term edges)
{
    while (is_move(w, id)) {
        const rcd_value_id in = rcd__maker(w, id)->in[0];
        const struct rcd__fact *f = rcd__fuse_fact(w, in);
        if (f->rank < 1 || !rcd__term_equal(f->dims[0], edges))
            break;
        id = in;
    }
    return id;
}

rcd_value_id rcd__fuse_unflat(const struct rcd__rewrite *w, rcd_value_id u)
{
    const struct rcd__fact *f = rcd__fuse_fact(w, u);
    if (f->rank != 2)
        return u;
    const rcd_value_id v = rcd__fuse_peel(w, u, f->dims[0]);
    const size_t width = rcd__fuse_row_width(w, f);
    return width > 0 && rcd__fuse_row_width(w, rcd__fuse_fact(w, v)) == width ? v : u;
}

static bool leaf(struct compile *c, rcd_value_id id, rcd__edge_from from, bool single,
                 struct rcd__edge_arg *ret)
{
    size_t i = 0;
    while (i < c->a->n_leaves && c->a->leaves[i] != id)
        i++;
    if (i == RCD__EDGE_LEAVES)
        return false;
    c->a->leaves[i] = id;
    c->a->n_leaves += i == c->a->n_leaves;
    *ret = (struct rcd__edge_arg){from, (uint32_t)i, single};
    return true;
}

static bool value(struct compile *c, rcd_value_id id, struct rcd__edge_arg *ret);

/* One side of an operation whose result is row[n] per edge. */
static bool operand(struct compile *c, rcd_value_id id, const int64_t *row, int n, size_t width,
                    struct rcd__edge_arg *ret)
{
    const struct rcd__fact *f = rcd__fuse_fact(c->w, id);
    int64_t dims[RCD_MAX_RANK];
    size_t own = 0;
    if (f->rank == n + 1 && row_of(c, id, dims, &own)) {
        if (own != 1 && memcmp(dims, row, (size_t)n * sizeof *dims) != 0)
            return false;
        if (!value(c, id, ret))
            return false;
        ret->single = own == 1 && width != 1;
        return true;
    }
    if (f->rank < 0 || f->rank > n + 1 || c->w->p->values[id].dtype != RCD_F32 ||
        (f->rank == n + 1 && !rcd__fuse_is_one(c->w, f->dims[0])))
        return false;
    bool same = true;
    own = 1;
    for (int d = f->rank == n + 1 ? 1 : 0; d < f->rank; d++) {
        const rcd__term t = f->dims[d];
        if (t == RCD__NO_TERM || !c->w->sym.terms[t].is_number)
            return false;
        const int64_t size = c->w->sym.terms[t].number;
        same = same && size == row[n - f->rank + d];
        own = size < 1 || size > 1 << 16 ? 0 : own * (size_t)size;
    }
    if (own != 1 && (!same || own != width))
        return false;
    return leaf(c, id, RCD__FROM_UNIFORM, own == 1 && width != 1, ret);
}

static bool binary_of(const struct rcd_node *n, rcd_edge_op *ret)
{
    static const char *const names[] = {"Add", "Sub", "Mul", "Div"};
    static const rcd_edge_op ops[] = {RCD_EDGE_ADD, RCD_EDGE_SUB, RCD_EDGE_MUL, RCD_EDGE_DIV};
    for (size_t i = 0; n->op->domain == NULL && i < RCD_COUNT(names); i++) {
        if (strcmp(n->op->name, names[i]) == 0) {
            *ret = ops[i];
            return true;
        }
    }
    return false;
}

/* ReduceSum along the last axis: how many at a time, else 0. */
static size_t summed(const struct compile *c, const struct rcd_node *n)
{
    if (n->op->domain != NULL || strcmp(n->op->name, "ReduceSum") != 0)
        return 0;
    const struct rcd__fact *x = rcd__fuse_fact(c->w, n->in[0]);
    int64_t axis = 0, dims[RCD_MAX_RANK];
    size_t width = 0;
    const struct rcd_attr *a = rcd_onnx_attr(n->src, "axes");
    if (a != NULL && a->type == RCD_ATTR_INTS && a->n == 1) {
        axis = a->ints[0];
    } else {
        const struct rcd_tensor *t =
            n->n_in > 1 && n->in[1] != RCD_NO_VALUE ? c->w->p->values[n->in[1]].constant : NULL;
        if (t == NULL || t->n != 1)
            return 0;
        axis = rcd__int_at(t, 0);
    }
    if (x->rank < 2 || (axis != -1 && axis != x->rank - 1) || !row_of(c, n->in[0], dims, &width))
        return 0;
    return (size_t)dims[x->rank - 2];
}

/* The step for a node; false: none, and what it makes is read as a value. */
static bool step_of(struct compile *c, rcd_value_id id, const int64_t *row, size_t width,
                    struct rcd__edge_step *s)
{
    const struct rcd_node *n = rcd__maker(c->w, id);
    const int rank = rcd__fuse_fact(c->w, id)->rank - 1;
    *s = (struct rcd__edge_step){.width = width, .inner = 1};
    if (n == NULL || n->n_out != 1)
        return false;
    if (binary_of(n, &s->op))
        return operand(c, n->in[0], row, rank, width, &s->a) &&
               operand(c, n->in[1], row, rank, width, &s->b);
    if (rcd__unary_of(n, &s->f, &s->alpha, &s->beta)) {
        s->op = RCD_EDGE_UNARY;
        return value(c, n->in[0], &s->a);
    }
    s->inner = summed(c, n);
    s->op = RCD_EDGE_SUMS;
    return s->inner > 0 && value(c, n->in[0], &s->a);
}

static bool value(struct compile *c, rcd_value_id id, struct rcd__edge_arg *ret)
{
    struct rcd__edge_program *p = c->p;
    int64_t row[RCD_MAX_RANK];
    size_t width = 0;
    rcd_value_id x = 0, by = 0;
    id = rcd__fuse_peel(c->w, id, c->ends->edges);
    if (!row_of(c, id, row, &width))
        return false;
    for (size_t i = 0; i < p->n; i++) {
        if (c->made[i] == id) {
            *ret = (struct rcd__edge_arg){RCD__FROM_STEP, (uint32_t)i, false};
            return true;
        }
    }
    if (rcd__fuse_rows_of(c->w, id, c->ends->edges, &x, &by)) {
        const rcd__term rows = rcd__fuse_fact(c->w, x)->dims[0];
        if (by == c->ends->dst && rcd__term_equal(rows, c->ends->rows))
            return leaf(c, x, RCD__FROM_DST, false, ret);
        if (by == c->ends->src && rcd__term_equal(rows, c->ends->x_rows))
            return leaf(c, x, RCD__FROM_SRC, false, ret);
        return leaf(c, id, RCD__FROM_EDGE, false, ret);
    }
    const size_t n = p->n, n_leaves = c->a->n_leaves;
    struct rcd__edge_step s;
    if (step_of(c, id, row, width, &s) && p->n < RCD__EDGE_STEPS) {
        c->made[p->n] = id;
        p->steps[p->n] = s;
        *ret = (struct rcd__edge_arg){RCD__FROM_STEP, (uint32_t)p->n++, false};
        return true;
    }
    p->n = n;
    c->a->n_leaves = n_leaves;
    return leaf(c, id, RCD__FROM_EDGE, false, ret);
}

bool rcd__fuse_program(const struct rcd__rewrite *w, const struct rcd__edge_ends *ends,
                       rcd_value_id id, struct rcd__attention *a, struct rcd__edge_program *ret)
{
    struct compile c = {.w = w, .ends = ends, .a = a, .p = ret};
    struct rcd__edge_arg arg;
    int64_t row[RCD_MAX_RANK];
    ret->n = 0;
    if (!value(&c, id, &arg) || !row_of(&c, rcd__fuse_peel(w, id, ends->edges), row, &ret->width))
        return false;
    ret->only = arg;
    return arg.from == RCD__FROM_STEP ? arg.i + 1 == ret->n : ret->n == 0;
}

bool rcd__fuse_starts(const struct rcd__rewrite *w, const struct rcd__edge_ends *ends,
                      rcd_value_id id, rcd_value_id *ret_x, rcd_value_id *ret_src)
{
    enum { SEEN = 64 };
    rcd_value_id todo[SEEN] = {id};
    for (size_t i = 0, n = 1; i < n; i++) { /* the nearest first */
        const rcd_value_id at = rcd__fuse_peel(w, todo[i], ends->edges);
        const struct rcd__fact *f = rcd__fuse_fact(w, at);
        const struct rcd_node *node = rcd__maker(w, at);
        if (node == NULL || f->rank < 1 || !rcd__term_equal(f->dims[0], ends->edges))
            continue;
        if (rcd__fuse_rows_of(w, at, ends->edges, ret_x, ret_src)) {
            if (*ret_src != ends->dst)
                return true;
            continue;
        }
        for (size_t k = 0; k < node->n_in && n < SEEN; k++) {
            if (node->in[k] != RCD_NO_VALUE)
                todo[n++] = node->in[k];
        }
    }
    return false;
}
