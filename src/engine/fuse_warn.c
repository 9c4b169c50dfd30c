/* fuse_warn.c - sums over edges, and other scatters and picks, that exporters write otherwise than the network means: run as
 * the file says, told at load.
 *
 * - A maximum that starts from zeros: the older exporter cannot leave the start out, so rows whose values are all
 *   below 0 become 0.
 * - As many rows as the example had: the number of graphs of a pooling (or of nodes) was a number in Python; of sums, and of
 *   scatters that are none that fuse_sparse.c knows (counts, products, places in a dense batch).
 * - Where the graphs of the example began: picked from a list in the file. */
#include "fuse.h"

#include <string.h>

/* Where values come from that were picked, spread or measured by a greatest or least one. */
static const struct rcd_node *origin(const struct rcd__rewrite *w, rcd_value_id id)
{
    static const char *const moves[] = {"Expand",    "Gather",    "Reshape", "Unsqueeze",
                                        "ReduceMin", "ReduceMax", "Identity"};
    for (int hops = 0; hops < 8; hops++) {
        const struct rcd_node *n = rcd__maker(w, id), *add = rcd__made_by(w, id, "Add");
        bool move = false;
        for (size_t i = 0; n != NULL && i < RCD_COUNT(moves); i++)
            move = move || rcd__made_by(w, id, moves[i]) != NULL;
        if (add != NULL && w->p->values[add->in[0]].constant != NULL)
            id = add->in[1]; /* torch.full adds its value to zeros */
        else if (move)
            id = n->in[0];
        else
            return n;
    }
    return NULL;
}

/* Numbers of the file (a start of its own), or, for a maximum, values that are never below 0? */
static bool may_start_from_zero(const struct rcd__rewrite *w, const struct rcd__sum *m)
{
    static const char *const positive[] = {"Relu", "Sigmoid", "Softmax", "Exp", "Abs", "Softplus"};
    const struct rcd_node *n = origin(w, m->n_hops > 0 ? m->hops[0]->out[0] : m->x);
    if (n == NULL)
        return w->p->values[m->x].constant != NULL;
    bool may = n->op->domain == NULL && strcmp(n->op->name, "ConstantOfShape") == 0;
    for (size_t i = 0; m->how == RCD_SPMM_MAX && n->op->domain == NULL && i < RCD_COUNT(positive);
         i++)
        may = may || strcmp(n->op->name, positive[i]) == 0;
    return may;
}

/* Is it only taken from what it was made of, as in a softmax? Then any number does that is near enough. */
static bool only_shifts(const struct rcd__rewrite *w, rcd_value_id id, int hops)
{
    bool read = false;
    for (size_t i = 0; hops < 4 && i < w->p->main.n_nodes; i++) {
        const struct rcd_node *n = &w->p->main.nodes[i];
        for (size_t d = 0; d < n->n_in; d++) {
            if (n->in[d] != id)
                continue;
            const char *op = n->op->domain == NULL ? n->op->name : "";
            const bool on = strcmp(op, "ScatterElements") == 0 || strcmp(op, "Gather") == 0;
            if (d == 0 && on ? !only_shifts(w, n->out[0], hops + 1)
                             : d != 1 || strcmp(op, "Sub") != 0)
                return false;
            read = true;
        }
    }
    return read;
}

static bool starts_from_zero(const struct rcd__rewrite *w, const struct rcd__sum *m)
{
    if (m->shape != RCD_NO_VALUE)
        return true;
    const struct rcd_tensor *t = w->p->values[m->start].constant;
    for (size_t i = 0; t != NULL && i < t->n; i++) {
        if (((const float *)t->data)[i] != 0)
            return false;
    }
    return t != NULL;
}

/* Has an input that many rows always? Else it is a model for one graph. */
static bool input_has_rows(const struct rcd__rewrite *w, int64_t rows)
{
    const struct rcd_onnx_graph *g = &w->p->model->graph;
    for (size_t i = 0; i < g->n_inputs; i++) {
        const struct rcd_plan_value *v = &w->p->values[g->inputs[i]];
        if (v->rank >= 1 && v->dims[0] == rows)
            return true;
    }
    return false;
}

static bool is_number(const struct rcd__rewrite *w, rcd__term t)
{
    return t != RCD__NO_TERM && w->sym.terms[t].is_number;
}

/* A number of rows that neither the nodes nor an input has. */
static bool rows_of_example(const struct rcd__rewrite *w, const struct rcd_node *scatter,
                            const struct rcd__sum *m, int64_t *ret)
{
    const rcd__term rows = rcd__fuse_fact(w, scatter->in[0])->dims[0];
    const struct rcd__fact *u = rcd__fuse_fact(w, scatter->in[2]), *x = rcd__fuse_fact(w, m->x);
    if (!is_number(w, rows) || is_number(w, u->dims[0]) || !w->p->values[m->dst].asked)
        return false;
    *ret = w->sym.terms[rows].number;
    return !(x->rank >= 1 && rcd__term_equal(x->dims[0], rows)) && !input_has_rows(w, *ret);
}

/* The same of a scatter that is no sum of rows that are known to be as many as its indices: a count of nodes (whole
 * numbers), a product, rows of another input, the places of nodes in a dense batch. */
static bool other_rows_of_example(const struct rcd__rewrite *w, const struct rcd_node *n,
                                  int64_t *ret)
{
    const bool plain = n->op->domain == NULL, nd = plain && strcmp(n->op->name, "ScatterND") == 0;
    if (!nd && (!plain || strcmp(n->op->name, "ScatterElements") != 0))
        return false;
    const struct rcd__fact *data = rcd__fuse_fact(w, n->in[0]), *u = rcd__fuse_fact(w, n->in[2]);
    const struct rcd_attr *how = rcd_onnx_attr(n->src, "reduction"),
                          *axis = rcd_onnx_attr(n->src, "axis");
    const bool sums =
        how != NULL && how->type == RCD_ATTR_STRING && strcmp(how->s.ptr, "none") != 0;
    if (data->rank < 1 || !is_number(w, data->dims[0]) || (u->rank > 0 && is_number(w, u->dims[0])))
        return false;
    if (nd ? u->rank != data->rank
           : !sums || !w->p->values[n->in[1]].asked ||
                 (axis != NULL && axis->i != 0 && axis->i != -data->rank))
        return false;
    *ret = w->sym.terms[data->dims[0]].number;
    return *ret > 0 && !input_has_rows(w, *ret);
}

/* Where the graphs of a batch begin, as the example had them: Gather([0, 4, 9], batch). */
static bool starts_of_example(const struct rcd__rewrite *w, const struct rcd_node *n, size_t *ret)
{
    if (n->op->domain != NULL || strcmp(n->op->name, "Gather") != 0)
        return false;
    const struct rcd_tensor *c = w->p->values[n->in[0]].constant;
    if (c == NULL || c->dtype != RCD_I64 || c->rank != 1 || c->n < 2 ||
        !w->p->values[n->in[1]].asked)
        return false;
    const int64_t *at = c->data;
    /* all 0: so the older exporter writes the start of a sum over a batch that it has folded */
    bool rise = at[0] == 0 && (at[c->n - 1] > (int64_t)c->n || at[c->n - 1] == 0);
    for (size_t i = 1; i < c->n; i++)
        rise = rise && at[i] >= at[i - 1];
    *ret = c->n;
    return rise;
}

static rcd_status warn_of_rows(struct rcd_check *k, int64_t rows)
{
    return rcd__warn(k,
                     "always makes %lld row%s, which looks like the number of graphs (or nodes) "
                     "of the example at export; "
                     "if it varies, export with clients/python/recurd_export.py",
                     (long long)rows, rows == 1 ? "" : "s");
}

enum { ZERO = 1, ROWS = 2 };

bool rcd__fuse_warn_others(struct rcd__rewrite *w, unsigned *told)
{
    struct rcd__sum m;
    for (size_t i = 0; i < w->p->main.n_nodes; i++) {
        struct rcd_node *n = &w->p->main.nodes[i];
        int64_t rows = 0;
        size_t graphs = 0;
        struct rcd_check k = {.plan = w->p, .node = n, .src = n->src, .err = w->err};
        if (starts_of_example(w, n, &graphs)) {
            *told |= ROWS;
            return rcd__warn(&k,
                             "picks from %zu numbers of the file, which look like where the graphs "
                             "of the example began; if it is so, export with "
                             "clients/python/recurd_export.py",
                             graphs) == RCD_OK;
        }
        if (!other_rows_of_example(w, n, &rows) || rcd__fuse_scatter(w, n, &m))
            continue;
        *told |= ROWS;
        return warn_of_rows(&k, rows) == RCD_OK;
    }
    return true;
}

bool rcd__fuse_warn(struct rcd__rewrite *w, struct rcd_node *scatter, const struct rcd__sum *m,
                    unsigned *told)
{
    struct rcd_check k = {.plan = w->p, .node = scatter, .src = scatter->src, .err = w->err};
    int64_t rows = 0;
    rcd_status st = RCD_OK;
    if ((*told & ZERO) == 0 && m->how != RCD_SPMM_SUM && starts_from_zero(w, m) &&
        !may_start_from_zero(w, m) && !only_shifts(w, scatter->out[0], 0)) {
        *told |= ZERO;
        st = rcd__warn(&k,
                       "takes the %s of 0 and what the edges bring, so rows with values only %s 0 "
                       "become 0; if 0 was not meant, export with dynamo=True or with "
                       "clients/python/recurd_export.py",
                       m->how == RCD_SPMM_MAX ? "maximum" : "minimum",
                       m->how == RCD_SPMM_MAX ? "below" : "above");
    }
    if (st == RCD_OK && (*told & ROWS) == 0 && rows_of_example(w, scatter, m, &rows)) {
        *told |= ROWS;
        st = warn_of_rows(&k, rows);
    }
    return st == RCD_OK;
}
