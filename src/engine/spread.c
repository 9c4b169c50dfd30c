/* spread.c - an input with a row per edge that comes with one row alone: the same for all edges.
 *
 * Sizes of one name are equal in a request, which is what lets edges be sorted and fused before any request is seen. A
 * file that multiplies messages [E, C] by weights [E, 1] also runs with weights [1, 1], since ONNX broadcasts. Where that is
 * all that happens to an input - moves and row by row operators up to an operator that has a row per edge on its other side -
 * the one row is copied for every edge before the run: the same numbers meet, and the plan stays what it is. An input whose
 * rows are counted, summed or scattered is not such a one: with one row the file would mean something else, or nothing. */
#include "spread.h"

#include "bind_int.h"
#include "ops/ops.h"
#include "symbols.h"

#include <string.h>

/* ---- at load ------------------------------------------------------------------------------ */

/* Axis 0 of input i has the name of the second size of an int[2, edges]. */
static bool of_edges(const rcd_plan *p, size_t i)
{
    const struct rcd_onnx_value *values = p->model->values;
    const struct rcd_onnx_value *v = &values[p->main.inputs[i]];
    if (v->rank < 1 || v->dims[0] >= 0 || v->dim_names[0] == NULL)
        return false;
    for (size_t k = 0; k < p->main.n_inputs && k < RCD__NAMED_INPUTS; k++) {
        const struct rcd_onnx_value *u = &values[p->main.inputs[k]];
        if (k != i && (u->dtype == RCD_I64 || u->dtype == RCD_I32) && u->rank == 2 &&
            u->dims[0] == 2 && u->dims[1] < 0 && u->dim_names[1] != NULL &&
            strcmp(u->dim_names[1], v->dim_names[0]) == 0)
            return true;
    }
    return false;
}

typedef enum what {
    OTHER,
    ONE, /* has one row where the input has */
    SIZE /* whole numbers, among them how many rows the input has */
} what;

struct follow {
    const rcd_plan *p;
    struct rcd__symbols sym;
    rcd__term edges;
    uint8_t *of; /* per value: what it is */
};

static bool reads(const struct follow *f, const struct rcd_node *node)
{
    for (size_t i = 0; i < node->n_in; i++) {
        if (node->in[i] != RCD_NO_VALUE && f->of[node->in[i]] != OTHER)
            return true;
    }
    return false;
}

static bool body_reads(const struct follow *f, const struct rcd_body *b)
{
    for (size_t i = 0; i < b->n_outputs; i++) {
        if (f->of[b->outputs[i]] != OTHER)
            return true;
    }
    for (size_t i = 0; i < b->n_nodes; i++) {
        bool some = reads(f, &b->nodes[i]);
        for (size_t k = 0; !some && k < b->nodes[i].n_bodies; k++)
            some = body_reads(f, &b->nodes[i].bodies[k]);
        if (some)
            return true;
    }
    return false;
}

/* Does a side of an operator that broadcasts have a row per edge of its own, or none that an edge could have? */
static bool side(const struct follow *f, rcd_value_id id, int rank, bool *all)
{
    const struct rcd__fact *x = &f->sym.facts[id];
    if (f->of[id] != OTHER)
        return f->of[id] == ONE && x->rank == rank;
    if (x->rank < 0 || x->rank > rank)
        return false;
    if (x->rank < rank || rcd__term_is(&f->sym, x->dims[0], 1))
        return true;
    *all = true;
    return rcd__term_equal(x->dims[0], f->edges);
}

/* Of a node that reads how many rows there are: where it only says how wide rows of edges become, one and all are the same. */
static bool size_goes_on(const struct follow *f, const struct rcd_node *node, uint8_t *ret)
{
    static const char *const moves[] = {"Gather",  "Concat", "Unsqueeze", "Squeeze",
                                        "Reshape", "Slice",  "Cast",      "Identity"};
    static const char *const shape[] = {"Shape"}, *const expand[] = {"Expand"};
    const bool first = node->n_in > 0 && f->of[node->in[0]] == ONE;
    *ret = SIZE;
    if (node->n_out != 1 || node->n_bodies > 0)
        return false;
    if (rcd__is_op(node, expand, 1)) {
        const struct rcd__fact *from = &f->sym.facts[node->in[0]],
                               *to = &f->sym.facts[node->out[0]];
        *ret = OTHER;
        return f->of[node->in[0]] == OTHER && from->rank > 0 && from->rank == to->rank &&
               rcd__term_equal(from->dims[0], f->edges);
    }
    return first ? rcd__is_op(node, shape, 1) : rcd__is_op(node, moves, RCD_COUNT(moves));
}

/* Of a node that reads the rows: *ret OTHER, they have met all edges; ONE: the result has one row, too. False: neither is
 * sure. */
static bool rows_go_on(const struct follow *f, const struct rcd_node *node, uint8_t *ret)
{
    static const char *const meets[] = {"Add", "Sub", "Mul", "Div", "Pow", "Max", "Min", "Sum"};
    static const char *const rows[] = {"Reshape",   "Unsqueeze",  "Squeeze",   "Cast",
                                       "Identity",  "Flatten",    "MatMul",    "Gemm",
                                       "ReduceSum", "ReduceMean", "LeakyRelu", "Clip"};
    static const char *const product[] = {"MatMul"};
    float a = 0, b = 0;
    rcd_unary u;
    *ret = ONE;
    if (node->n_out != 1 || node->n_bodies > 0)
        return false;
    const struct rcd__fact *out = &f->sym.facts[node->out[0]];
    if (out->rank < 1 || !rcd__term_equal(out->dims[0], f->edges))
        return false;
    if (rcd__is_op(node, meets, RCD_COUNT(meets)) ||
        (rcd__is_op(node, product, 1) && out->rank > 2)) {
        bool sure = true, all = false;
        for (size_t i = 0; sure && i < node->n_in; i++)
            sure = side(f, node->in[i], out->rank, &all);
        *ret = all ? OTHER : ONE;
        return sure;
    }
    if (!rcd__is_op(node, rows, RCD_COUNT(rows)) && !rcd__unary_of(node, &u, &a, &b))
        return false;
    for (size_t i = 1; i < node->n_in; i++) { /* what it does to rows is the same for all of them */
        const rcd_value_id id = node->in[i];
        if (id != RCD_NO_VALUE && f->p->values[id].constant == NULL)
            return false;
    }
    return node->n_in > 0 && f->of[node->in[0]] == ONE;
}

static bool may_spread(struct follow *f, const struct rcd_node *nodes, size_t n, size_t input)
{
    const rcd_plan *p = f->p;
    const rcd_value_id id = p->main.inputs[input];
    bool met = false;
    memset(f->of, OTHER, p->n_values * sizeof *f->of);
    f->of[id] = ONE;
    f->edges = f->sym.facts[id].dims[0];
    for (size_t i = 0; i < n; i++) {
        uint8_t out = OTHER;
        for (size_t k = 0; k < nodes[i].n_bodies; k++) {
            if (body_reads(f, &nodes[i].bodies[k]))
                return false;
        }
        if (!reads(f, &nodes[i]))
            continue;
        const bool rows = rows_go_on(f, &nodes[i], &out);
        if (!rows && !size_goes_on(f, &nodes[i], &out))
            return false;
        met = met || (rows && out == OTHER);
        f->of[nodes[i].out[0]] = out;
    }
    for (size_t o = 0; o < p->main.n_outputs; o++) {
        if (f->of[p->main.outputs[o]] != OTHER)
            return false;
    }
    return met;
}

bool rcd__spread_find(rcd_plan *p, const struct rcd_node *nodes, size_t n)
{
    struct follow f = {.p = p, .of = NULL};
    bool some = false, room = true;
    p->spreads = rcd_arena_calloc(&p->arena, p->main.n_inputs, sizeof *p->spreads);
    for (size_t i = 0; p->spreads != NULL && i < p->main.n_inputs && i < RCD__NAMED_INPUTS; i++)
        some = some || of_edges(p, i);
    if (p->spreads == NULL || !some)
        return p->spreads != NULL;
    f.of = rcd_calloc(p->n_values, sizeof *f.of);
    room = rcd__symbols_init(&f.sym, p) && f.of != NULL;
    for (size_t i = 0; room && i < n; i++)
        rcd__symbols_node(&f.sym, &nodes[i]);
    room = room && !f.sym.no_memory;
    for (size_t i = 0; room && i < p->main.n_inputs && i < RCD__NAMED_INPUTS; i++)
        p->spreads[i] = of_edges(p, i) && may_spread(&f, nodes, n, i);
    rcd__symbols_done(&f.sym);
    rcd_free(f.of);
    return room;
}

/* ---- in a run ----------------------------------------------------------------------------- */

bool rcd__spread_one(const rcd_plan *p, const struct rcd_infer *req, size_t i)
{
    const struct rcd_tensor *t = &req->in[i];
    return p->spreads[i] && t->dtype != RCD_NONE && t->rank > 0 && t->dims[0] == 1 &&
           (req->bound == NULL || !rcd_bound_fixes(req->bound, i));
}

int64_t rcd__named_size(const rcd_plan *p, const struct rcd_infer *req, const char *name)
{
    for (size_t i = 0; name != NULL && i < p->n_inputs; i++) {
        const bool fixed = req->bound != NULL && rcd_bound_fixes(req->bound, i);
        const struct rcd_tensor *in = fixed ? &req->bound->in[i] : &req->in[i];
        const bool one = rcd__spread_one(p, req, i);
        for (int d = 0; in->dtype != RCD_NONE && d < p->inputs[i].rank; d++) {
            const char *other = p->inputs[i].dim_names[d];
            if (other != NULL && strcmp(other, name) == 0 && !(one && d == 0))
                return in->dims[d];
        }
    }
    return 1;
}

bool rcd__spread_some(const rcd_plan *p, const struct rcd_tensor *in)
{
    const struct rcd_infer seen = {.in = in};
    bool some = false;
    for (size_t i = 0; i < p->n_inputs; i++)
        some = some || (rcd__spread_one(p, &seen, i) &&
                        rcd__named_size(p, &seen, p->inputs[i].dim_names[0]) != 1);
    return some;
}

rcd_status rcd__spread_input(struct rcd_run *run, struct rcd_infer *req, size_t i,
                             struct rcd_tensor *t)
{
    const rcd_plan *p = run->plan;
    const int64_t n = rcd__named_size(p, req, p->inputs[i].dim_names[0]);
    int64_t dims[RCD_MAX_RANK];
    if (n == 1)
        return RCD_OK;
    memcpy(dims, t->dims, sizeof dims);
    dims[0] = n;
    struct rcd_tensor all = {.dtype = RCD_NONE};
    if (t->data == NULL && t->n > 0) { /* a shape alone, for a binding */
        if (!rcd_tensor_shape(&all, t->dtype, t->rank, dims))
            return rcd_fail(&req->err, RCD_EINVAL, "input '%s': one row for %lld edges is too much",
                            p->inputs[i].name, (long long)n);
        *t = all;
        return RCD_OK;
    }
    rcd_status st = rcd_tensor_new(&all, run->x->pool, t->dtype, t->rank, dims, &req->err);
    if (st != RCD_OK)
        return st;
    const size_t row = t->n * rcd_dtype_size(t->dtype);
    for (int64_t e = 0; row > 0 && e < n; e++)
        memcpy((char *)all.data + (size_t)e * row, t->data, row);
    *t = all;
    return RCD_OK;
}
