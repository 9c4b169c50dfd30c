/* blame.c - a number that a request sent, and that a node deep in the plan cannot use: which input, which place.
 *
 * Whole numbers of a request (edges, pairs of nodes, the graph of each node) reach the node that uses them as an index
 * through moves alone: a row is picked, seen in another shape, spread, joined; or negative ones are counted from the end
 * (Where of a number and of it plus something). Only when a node has failed, its input is followed back through these, and
 * the number is looked for in the inputs that this ends at; one that was computed otherwise is nobody's. So nothing is done
 * for requests that are in order. A size that comes of the largest of such numbers is followed the same
 * way, through the maximum and what is added to it. */
#include "blame.h"

#include <string.h>

enum { MAX_STEPS = 256, ALL_ROWS = -1 };

/* One place of an input: the number that is looked for, or the largest. */
struct found {
    size_t input, at;
    int64_t value;
    bool is;
};

struct trace {
    const struct rcd_call *c;
    const struct rcd_infer *req;
    bool sizes;                 /* look for what makes a size: the largest */
    int64_t value, least, most; /* else: this one, */
    bool wrapped; /* or, behind a choice of number or number plus something, one outside */
    size_t steps;
    struct found found;
};

static const struct rcd_node *maker_in(const struct rcd_body *b, rcd_value_id id)
{
    for (size_t i = 0; i < b->n_nodes; i++) {
        const struct rcd_node *n = &b->nodes[i];
        for (size_t o = 0; o < n->n_out; o++) {
            if (n->out[o] == id)
                return n;
        }
        for (size_t k = 0; k < n->n_bodies; k++) {
            const struct rcd_node *inside = maker_in(&n->bodies[k], id);
            if (inside != NULL)
                return inside;
        }
    }
    return NULL;
}

static void look_in(struct trace *t, size_t input, int64_t row)
{
    const struct rcd_tensor *in = &t->req->in[input];
    if ((in->dtype != RCD_I64 && in->dtype != RCD_I32) || in->data == NULL)
        return; /* left out, or given by a graph, which has been checked */
    size_t from = 0, to = in->n;
    if (row != ALL_ROWS && in->rank > 0 && row < in->dims[0]) {
        from = (size_t)row * rcd__span(in->dims, 1, in->rank);
        to = from + rcd__span(in->dims, 1, in->rank);
    }
    for (size_t e = from; e < to; e++) {
        const int64_t v = rcd__int_at(in, e);
        const bool outside = t->wrapped && (v < t->least || v > t->most);
        if (t->sizes ? !t->found.is || v > t->found.value
                     : !t->found.is && (v == t->value || outside))
            t->found = (struct found){input, e, v, true};
    }
}

/* The row of its first input that a node takes, where it takes one alone. */
static int64_t row_of(const struct trace *t, const struct rcd_node *n, rcd_value_id id)
{
    static const char *const gather[] = {"Gather"}, *const split[] = {"Split"},
                             *const slice[] = {"Slice"};
    const struct rcd_plan_value *values = t->c->run->plan->values;
    const struct rcd_attr *axis = rcd_onnx_attr(n->src, "axis");
    const bool by_input = n->n_in > 1 && n->in[1] != RCD_NO_VALUE;
    const struct rcd_tensor *k = by_input ? values[n->in[1]].constant : NULL;
    const bool first = axis == NULL || axis->i == 0;
    if (rcd__is_op(n, gather, 1) && first && k != NULL && k->n == 1)
        return rcd__int_at(k, 0);
    for (size_t o = 0; rcd__is_op(n, split, 1) && first && o < n->n_out; o++) {
        if (n->out[o] == id && values[n->in[0]].rank > 0 &&
            values[n->in[0]].dims[0] == (int64_t)n->n_out)
            return (int64_t)o;
    }
    const struct rcd_tensor *to = n->n_in > 3 ? values[n->in[2]].constant : NULL,
                            *axes = n->n_in > 3 && n->in[3] != RCD_NO_VALUE
                                        ? values[n->in[3]].constant
                                        : NULL;
    if (rcd__is_op(n, slice, 1) && k != NULL && to != NULL && axes != NULL && k->n == 1 &&
        to->n == 1 && axes->n == 1 && rcd__int_at(axes, 0) == 0 &&
        rcd__int_at(to, 0) == rcd__int_at(k, 0) + 1 && rcd__int_at(k, 0) >= 0)
        return rcd__int_at(k, 0);
    return ALL_ROWS;
}

static void follow(struct trace *t, rcd_value_id id, int64_t row)
{
    static const char *const moves[] = {"Gather",   "Reshape",  "Unsqueeze", "Squeeze",  "Flatten",
                                        "Identity", "Cast",     "Expand",    "Tile",     "Slice",
                                        "Split",    "Compress", "GatherND",  "Transpose"};
    static const char *const joins[] = {"Concat"}, *const choices[] = {"Where"};
    static const char *const plus[] = {"Add"};
    static const char *const greatest[] = {"Where", "Add",       "Sub",   "Mul",
                                           "Max",   "ReduceMax", "Range", "ConstantOfShape"};
    const rcd_plan *p = t->c->run->plan;
    if (id == RCD_NO_VALUE || p->values[id].constant != NULL || t->steps++ >= MAX_STEPS)
        return;
    for (size_t i = 0; i < p->n_inputs; i++) {
        if (p->main.inputs[i] == id)
            look_in(t, i, row);
    }
    const struct rcd_node *n = maker_in(&p->main, id);
    if (n == NULL)
        return;
    if (rcd__is_op(n, moves, RCD_COUNT(moves))) {
        const int64_t picked = row_of(t, n, id);
        follow(t, n->in[0], picked != ALL_ROWS ? picked : row);
    } else if (rcd__is_op(n, joins, RCD_COUNT(joins)) || (t->wrapped && rcd__is_op(n, plus, 1)) ||
               (t->sizes && rcd__is_op(n, greatest, RCD_COUNT(greatest)))) {
        for (size_t i = 0; i < n->n_in; i++)
            follow(t, n->in[i], row);
    } else if (rcd__is_op(n, choices, 1)) {
        const bool before = t->wrapped;
        t->wrapped = true;
        for (size_t i = 1; i < n->n_in; i++)
            follow(t, n->in[i], row);
        t->wrapped = before;
    }
}

/* "edge_index[0][3]" */
static void place_text(const struct trace *t, char *ret, size_t cap)
{
    const struct rcd_tensor *in = &t->req->in[t->found.input];
    const char *name = t->c->run->plan->inputs[t->found.input].name;
    size_t rest = t->found.at, each = in->n;
    rcd_quote(ret, cap, name, strlen(name));
    for (int d = 0; d < in->rank; d++) {
        const size_t used = strlen(ret);
        each /= (size_t)in->dims[d];
        snprintf(ret + used, cap - used, "[%zu]", rest / each);
        rest %= each;
    }
}

static struct trace begin(const struct rcd_call *c, size_t r)
{
    return (struct trace){.c = c, .req = c->run->reqs[c->req[r]]};
}

static void node_text(const struct rcd_call *c, char *ret, size_t cap)
{
    char name[64];
    const struct rcd_onnx_node *src = c->node->src;
    rcd_quote(name, sizeof name, src->name, strlen(src->name));
    snprintf(ret, cap, "node '%s' (%s)", name, src->op_type);
}

rcd_status rcd__fail_index(const struct rcd_call *c, size_t r, const struct rcd_tensor *idx,
                           size_t at, int64_t least, int64_t most)
{
    struct trace t = begin(c, r);
    char place[160], node[128];
    t.value = rcd__int_at(idx, at);
    t.least = least;
    t.most = most;
    for (size_t i = 0; i < c->node->n_in && !t.found.is; i++) {
        if (rcd__in(c, i, r) == idx)
            follow(&t, c->node->in[i], ALL_ROWS);
    }
    if (!t.found.is)
        return rcd__fail(c, r, RCD_EINVAL, "index %zu is %lld, want %lld to %lld", at,
                         (long long)t.value, (long long)least, (long long)most);
    place_text(&t, place, sizeof place);
    node_text(c, node, sizeof node);
    c->run->n_failed++;
    return rcd_fail(&c->run->reqs[c->req[r]]->err, RCD_EINVAL,
                    "%s is %lld, want %lld to %lld (an index of %s)", place,
                    (long long)t.found.value, (long long)least, (long long)most, node);
}

rcd_status rcd__fail_size(const struct rcd_call *c, size_t r, rcd_status code, int rank,
                          const int64_t *dims, const char *text)
{
    struct trace t = begin(c, r);
    char place[160], node[128];
    bool comes_of_it = false;
    t.sizes = true;
    for (size_t i = 0; i < c->node->n_in; i++)
        follow(&t, c->node->in[i], ALL_ROWS);
    for (int d = 0; t.found.is && d < rank; d++) /* as many rows, or one more: they begin with 0 */
        comes_of_it = comes_of_it || dims[d] == t.found.value || dims[d] - 1 == t.found.value ||
                      dims[d] - 2 == t.found.value;
    if (!comes_of_it)
        return rcd__fail(c, r, code, "%s", text);
    place_text(&t, place, sizeof place);
    node_text(c, node, sizeof node);
    c->run->n_failed++;
    return rcd_fail(&c->run->reqs[c->req[r]]->err, RCD_EINVAL,
                    "%s is %lld, which is too large: %s: %s; a run has %zu bytes", place,
                    (long long)t.found.value, node, text, c->x->scratch.cap);
}
