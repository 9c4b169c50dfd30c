/* fuse_mean.c - a sum over edges divided by how many there are: a mean.
 *
 *   n = Spmm(ones by dst)                   how many edges end in a row
 *   y = Spmm(...) / Clip(n, min 1)          Max(n, 1) in the words of the other exporter
 *
 * The sorted edges tell how many there are, so the division is done while the sum is in registers, and the count is not
 * made. What others still read of the two sums stays. */
#include "fuse.h"

#include <string.h>

struct means {
    const struct rcd__rewrite *w;
    uint32_t *maker; /* per value, among the nodes as they are now */
};

static const struct rcd_node *maker(const struct means *m, rcd_value_id id)
{
    const bool none = id == RCD_NO_VALUE || m->maker[id] == UINT32_MAX;
    return none ? NULL : &m->w->p->main.nodes[m->maker[id]];
}

static const struct rcd_node *made_by(const struct means *m, rcd_value_id id, const char *op)
{
    const struct rcd_node *n = maker(m, id);
    bool is = n != NULL && n->op->domain == NULL && strcmp(n->op->name, op) == 0;
    return is ? n : NULL;
}

/* A plain sum that starts from zeros. */
static const struct rcd_node *sum_of(const struct means *m, rcd_value_id id)
{
    const struct rcd_node *n = maker(m, id);
    if (n == NULL || n->op != &rcd__op_spmm)
        return NULL;
    const struct rcd__spmm_state *s = n->state;
    return s->how == RCD_SPMM_SUM && n->in[RCD__SPMM_START] == RCD_NO_VALUE ? n : NULL;
}

static bool is_one(const struct means *m, rcd_value_id id)
{
    const struct rcd_tensor *c = id != RCD_NO_VALUE ? m->w->p->values[id].constant : NULL;
    return c != NULL && c->dtype == RCD_F32 && c->n == 1 && *(const float *)c->data == 1.0f;
}

static bool all_ones(const struct means *m, rcd_value_id id)
{
    const struct rcd_node *n = made_by(m, id, "Expand");
    if (n != NULL)
        return is_one(m, n->in[0]);
    n = made_by(m, id, "ConstantOfShape");
    const struct rcd_attr *v = n != NULL ? rcd_onnx_attr(n->src, "value") : NULL;
    return v != NULL && v->type == RCD_ATTR_TENSOR && v->t->dtype == RCD_F32 && v->t->n == 1 &&
           *(const float *)v->t->data == 1.0f;
}

/* What is at least 1: the value without that, or RCD_NO_VALUE. */
static rcd_value_id at_least_one(const struct means *m, rcd_value_id id)
{
    const struct rcd_node *n = made_by(m, id, "Max");
    if (n != NULL && n->n_in == 2)
        return is_one(m, n->in[1]) ? n->in[0] : is_one(m, n->in[0]) ? n->in[1] : RCD_NO_VALUE;
    n = made_by(m, id, "Clip");
    if (n == NULL || (n->n_in > 2 && n->in[2] != RCD_NO_VALUE) ||
        rcd_onnx_attr(n->src, "max") != NULL)
        return RCD_NO_VALUE;
    const struct rcd_attr *min = rcd_onnx_attr(n->src, "min");
    bool one = n->n_in > 1 ? is_one(m, n->in[1]) : min != NULL && min->f == 1.0f;
    return one ? n->in[0] : RCD_NO_VALUE;
}

/* Do two shapes begin with the same number of rows? */
static bool same_rows(const struct means *m, rcd_value_id a, rcd_value_id b)
{
    const struct rcd__fact *x = rcd__fuse_fact(m->w, a), *y = rcd__fuse_fact(m->w, b);
    if (x->n_val > 0 && y->n_val > 0 && rcd__term_equal(x->val[0], y->val[0]))
        return true;
    const struct rcd_node *p = made_by(m, a, "Concat"), *q = made_by(m, b, "Concat");
    const rcd_value_id from = p != NULL ? p->in[0] : a, to = q != NULL ? q->in[0] : b;
    return from == to && rcd__fuse_fact(m->w, from)->n_val == 1;
}

/* Is it, for each row of `sum`, how many edges end there, at least 1? */
static bool counts(const struct means *m, rcd_value_id id, const struct rcd_node *sum)
{
    const struct rcd_node *n = made_by(m, id, "Expand");
    if (n != NULL && n->in[1] == sum->in[RCD__EDGES_SHAPE])
        id = n->in[0]; /* to the size of the sums: division does that by itself */
    const struct rcd__fact *f = rcd__fuse_fact(m->w, id), *to = rcd__fuse_fact(m->w, sum->out[0]);
    bool column = f->rank > 1 && f->rank == to->rank;
    for (int d = 1; column && d < f->rank; d++)
        column = rcd__fuse_is_one(m->w, f->dims[d]);
    if (!column)
        return false;
    while ((n = made_by(m, id, "Reshape")) != NULL || (n = made_by(m, id, "Unsqueeze")) != NULL)
        id = n->in[0];
    const struct rcd_node *count = sum_of(m, at_least_one(m, id));
    return count != NULL && count->in[RCD__EDGES_DST] == sum->in[RCD__EDGES_DST] &&
           count->in[RCD__EDGES_SRC] == RCD_NO_VALUE && count->in[RCD__SPMM_W] == RCD_NO_VALUE &&
           rcd__fuse_fact(m->w, count->out[0])->rank == 1 && all_ones(m, count->in[RCD__EDGES_X]) &&
           same_rows(m, sum->in[RCD__EDGES_SHAPE], count->in[RCD__EDGES_SHAPE]);
}

static bool take(const struct means *m, struct rcd_node *div)
{
    if (div->op->domain != NULL || strcmp(div->op->name, "Div") != 0)
        return true;
    const struct rcd_node *sum = sum_of(m, div->in[0]);
    if (sum == NULL || !counts(m, div->in[1], sum))
        return true;
    struct rcd__spmm_state *state = rcd_arena_calloc(&m->w->p->arena, 1, sizeof *state);
    rcd_value_id *in = rcd__fuse_ids(m->w, sum->n_in);
    if (state == NULL || in == NULL)
        return false;
    *state = *(const struct rcd__spmm_state *)sum->state;
    state->how = RCD_SPMM_MEAN;
    memcpy(in, sum->in, sum->n_in * sizeof *in);
    *div = (struct rcd_node){.op = sum->op,
                             .src = div->src,
                             .n_in = sum->n_in,
                             .n_out = div->n_out,
                             .in = in,
                             .out = div->out,
                             .state = state};
    return true;
}

bool rcd__fuse_means(struct rcd__rewrite *w)
{
    struct rcd_body *main = &w->p->main;
    struct means m = {w, rcd_calloc(w->p->n_values, sizeof *m.maker)};
    bool room = m.maker != NULL;
    for (size_t v = 0; room && v < w->p->n_values; v++)
        m.maker[v] = UINT32_MAX;
    for (size_t i = 0; room && i < main->n_nodes; i++) {
        for (size_t o = 0; o < main->nodes[i].n_out; o++) {
            if (main->nodes[i].out[o] != RCD_NO_VALUE)
                m.maker[main->nodes[i].out[o]] = (uint32_t)i;
        }
    }
    for (size_t i = 0; room && i < main->n_nodes; i++)
        room = take(&m, &main->nodes[i]);
    rcd_free(m.maker);
    return room;
}
