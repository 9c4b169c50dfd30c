/* symbols_join.c - inputs whose sizes must be one size although the file does not say so.
 *
 * torch.onnx.export names each axis as it is told: edge_index [2, a] and edge_attr [b, 4] may come with two names, or with
 * names of the exporter's own. Two sizes become one (the inputs get one name for it, and requests in which they differ are
 * refused) where they meet
 *
 *   - beside the axis of a Concat: a run with others fails;
 *   - edge by edge: rows that were gathered by a row of an int[2, a] and rows of an input of b rows;
 *   - as the indices of a scatter that are spread over what it adds.
 *
 * In the last two, one row could also mean "the same for all". Nobody who has edges means that; other operators keep it. */
#include "symbols.h"

#include <string.h>

static bool is_input(const struct rcd_plan *p, rcd_value_id id, size_t *ret)
{
    for (size_t i = 0; i < p->main.n_inputs && i < RCD__NAMED_INPUTS; i++) {
        if (p->main.inputs[i] == id) {
            *ret = i;
            return true;
        }
    }
    return false;
}

/* The axis of an input that a term is; false: it is something else. */
static bool open_axis(const struct rcd__symbols *s, rcd__term t, struct rcd__axis *ret)
{
    if (t == RCD__NO_TERM || s->terms[t].is_number || s->terms[t].origin == RCD_NO_VALUE)
        return false;
    *ret = (struct rcd__axis){.axis = s->terms[t].axis};
    return is_input(s->p, s->terms[t].origin, &ret->input);
}

/* Axis 1 of an int[2, edges]. */
static bool of_edges(const struct rcd__symbols *s, const struct rcd__axis *a)
{
    const struct rcd_plan_value *v = &s->p->values[s->p->main.inputs[a->input]];
    return a->axis == 1 && v->rank == 2 && v->dims[0] == 2 &&
           (v->dtype == RCD_I64 || v->dtype == RCD_I32);
}

static bool is_index(const struct rcd__symbols *s, const struct rcd__axis *a)
{
    const struct rcd_plan_value *v = &s->p->values[s->p->main.inputs[a->input]];
    return v->dtype == RCD_I64 || v->dtype == RCD_I32;
}

void rcd__symbols_join(struct rcd__symbols *s, rcd__term a, rcd__term b, rcd__join_why why)
{
    struct rcd__axis x, y;
    if (s->joins == NULL || s->joins->n == RCD__JOINS || rcd__term_equal(a, b) ||
        !open_axis(s, a, &x) || !open_axis(s, b, &y))
        return;
    if ((why == RCD__JOIN_ROWS && !of_edges(s, &x) && !of_edges(s, &y)) ||
        (why == RCD__JOIN_INDEX && !is_index(s, &x) && !is_index(s, &y)))
        return;
    s->joins->pairs[s->joins->n][0] = x;
    s->joins->pairs[s->joins->n++][1] = y;
}

/* Axes that have one of the two names, or are one of the two axes, get the first one's name. */
static void rename_axes(rcd_plan *p, const struct rcd__axis pair[2], const char *name)
{
    struct rcd_onnx_value *values = p->model->values;
    const char *old[2];
    for (size_t k = 0; k < 2; k++)
        old[k] = values[p->main.inputs[pair[k].input]].dim_names[pair[k].axis];
    for (size_t i = 0; i < p->main.n_inputs; i++) {
        struct rcd_onnx_value *v = &values[p->main.inputs[i]];
        for (int d = 0; d < v->rank; d++) {
            for (size_t k = 0; k < 2; k++) {
                const bool it = pair[k].input == i && pair[k].axis == d;
                const bool alike = old[k] != NULL && v->dims[d] < 0 && v->dim_names[d] != NULL &&
                                   strcmp(v->dim_names[d], old[k]) == 0;
                if (it || alike)
                    v->dim_names[d] = name;
            }
        }
    }
}

/* A name of its own for a size that has none. */
static const char *new_name(rcd_plan *p, const struct rcd__axis *a)
{
    const char *input = p->model->values[p->main.inputs[a->input]].name;
    const size_t cap = strlen(input) + 32;
    char *name = rcd_arena_alloc(&p->arena, cap);
    if (name != NULL)
        snprintf(name, cap, "%s axis %d", input, a->axis);
    return name;
}

bool rcd__joins_rename(rcd_plan *p, const struct rcd__joins *joins)
{
    for (size_t i = 0; i < joins->n; i++) {
        const struct rcd__axis *a = &joins->pairs[i][0];
        const char *name = p->model->values[p->main.inputs[a->input]].dim_names[a->axis];
        name = name != NULL ? name : new_name(p, a);
        if (name == NULL)
            return false;
        rename_axes(p, joins->pairs[i], name);
    }
    return true;
}
