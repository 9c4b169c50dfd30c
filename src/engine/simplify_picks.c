/* simplify_picks.c - one row of a tensor, taken in one of two ways: `edge_index[0]` is a Gather with a constant,
 * `source, target = edge_index` and `unbind` are a Split and Squeezes. Layers of one network may use both; what is
 * sorted for one should serve the other. */
#include "rewrite.h"

#include <string.h>

static bool named(const struct rcd_node *node, const char *name)
{
    return node != NULL && node->op->domain == NULL && strcmp(node->op->name, name) == 0;
}

static bool number(const struct rcd__rewrite *w, rcd__term t, int64_t *ret)
{
    bool is = t != RCD__NO_TERM && w->sym.terms[t].is_number;
    if (is)
        *ret = w->sym.terms[t].number;
    return is;
}

static bool axis_of(const struct rcd_node *node, int rank, int64_t *ret)
{
    const struct rcd_attr *a = rcd_onnx_attr(node->src, "axis");
    *ret = a != NULL ? a->i : 0;
    *ret += *ret < 0 ? rank : 0;
    return rank > 0 && *ret >= 0 && *ret < rank;
}

static bool gathered(const struct rcd__rewrite *w, const struct rcd_node *n, struct rcd__pick *ret)
{
    const struct rcd__fact *x = &w->sym.facts[n->in[0]], *i = &w->sym.facts[n->in[1]];
    int64_t size = 0;
    if (i->rank != 0 || i->n_val != 1 || !number(w, i->val[0], &ret->index) ||
        !axis_of(n, x->rank, &ret->axis))
        return false;
    if (ret->index < 0 && number(w, x->dims[ret->axis], &size))
        ret->index += size;
    ret->of = n->in[0];
    return ret->index >= 0;
}

/* `split` made the input of the Squeeze `n`. */
static bool squeezed(const struct rcd__rewrite *w, const struct rcd_node *split,
                     const struct rcd_node *n, struct rcd__pick *ret)
{
    const struct rcd__fact *x = &w->sym.facts[split->in[0]], *in = &w->sym.facts[n->in[0]],
                           *out = &w->sym.facts[n->out[0]];
    int64_t size = 0;
    if (!axis_of(split, x->rank, &ret->axis) || out->rank != in->rank - 1)
        return false;
    ret->of = split->in[0];
    ret->index = 0;
    for (size_t i = 0; i < split->n_out; i++) {
        if (split->out[i] == RCD_NO_VALUE ||
            !number(w, w->sym.facts[split->out[i]].dims[ret->axis], &size))
            return false;
        if (split->out[i] == n->in[0])
            break;
        ret->index += size;
    }
    /* the axis that went is the one that was cut: the only one of size 1, or it is said */
    const struct rcd_attr *a = rcd_onnx_attr(n->src, "axes");
    const struct rcd_tensor *t =
        n->n_in > 1 && n->in[1] != RCD_NO_VALUE ? w->p->values[n->in[1]].constant : NULL;
    int64_t gone = a != NULL && a->n == 1   ? a->ints[0]
                   : t != NULL && t->n == 1 ? rcd__int_at(t, 0)
                                            : -RCD_MAX_RANK - 1;
    return size == 1 && gone + (gone < 0 ? in->rank : 0) == ret->axis;
}

rcd_value_id rcd__simplify_pick(struct rcd__rewrite *w, const struct rcd_node *nodes,
                                const struct rcd_node *node)
{
    struct rcd__pick pick = {.of = RCD_NO_VALUE};
    if (node->n_out != 1 || node->n_in < 1 || node->in[0] == RCD_NO_VALUE)
        return RCD_NO_VALUE;
    const uint32_t m = w->maker[node->in[0]];
    const bool is = named(node, "Gather")
                        ? gathered(w, node, &pick)
                        : named(node, "Squeeze") && m != UINT32_MAX && named(&nodes[m], "Split") &&
                              squeezed(w, &nodes[m], node, &pick);
    if (!is)
        return RCD_NO_VALUE;
    for (size_t i = 0; i < w->n_picks; i++) {
        const struct rcd__pick *p = &w->picks[i];
        if (p->of == pick.of && p->axis == pick.axis && p->index == pick.index)
            return p->made;
    }
    if (w->n_picks < RCD__PICKS) {
        pick.made = node->out[0];
        w->picks[w->n_picks++] = pick;
    }
    return RCD_NO_VALUE;
}
