/* symbols.c - terms and what is known of inputs and constants. */
#include "symbols.h"

#include <string.h>

static rcd__term term_new(struct rcd__symbols *s, struct rcd__term_info info)
{
    if (s->n_terms == s->cap_terms) {
        size_t cap = s->cap_terms * 2 + 256;
        struct rcd__term_info *more = rcd_realloc(s->terms, cap * sizeof *more);
        if (more == NULL) {
            s->no_memory = true;
            return RCD__NO_TERM;
        }
        s->terms = more;
        s->cap_terms = cap;
    }
    s->terms[s->n_terms] = info;
    return (rcd__term)s->n_terms++;
}

rcd__term rcd__term_fresh(struct rcd__symbols *s, rcd_value_id origin, int axis)
{
    return term_new(s, (struct rcd__term_info){
                           .a = RCD__NO_TERM, .b = RCD__NO_TERM, .origin = origin, .axis = axis});
}

/* A number or a sum: one term for equal ones. */
static rcd__term term_once(struct rcd__symbols *s, struct rcd__term_info info)
{
    const uint64_t parts[] = {(uint64_t)info.number, info.is_number, info.a, info.b};
    const uint64_t key = rcd__key(0, parts, sizeof parts);
    uint32_t at = UINT32_MAX, i = 0;
    while ((i = rcd__buckets_find(&s->index, key, &at)) != UINT32_MAX) {
        const struct rcd__term_info *t = &s->terms[i];
        if (t->is_number == info.is_number && t->number == info.number && t->a == info.a &&
            t->b == info.b)
            return i;
    }
    rcd__term t = term_new(s, info);
    if (t != RCD__NO_TERM && !rcd__buckets_add(&s->index, key, t)) {
        s->no_memory = true;
        return RCD__NO_TERM;
    }
    return t;
}

rcd__term rcd__term_number(struct rcd__symbols *s, int64_t n)
{
    return term_once(s, (struct rcd__term_info){.number = n,
                                                .is_number = true,
                                                .a = RCD__NO_TERM,
                                                .b = RCD__NO_TERM,
                                                .origin = RCD_NO_VALUE});
}

rcd__term rcd__term_sum(struct rcd__symbols *s, rcd__term a, rcd__term b)
{
    if (a == RCD__NO_TERM || b == RCD__NO_TERM)
        return RCD__NO_TERM;
    int64_t total = 0;
    if (s->terms[a].is_number && s->terms[b].is_number)
        return __builtin_add_overflow(s->terms[a].number, s->terms[b].number, &total)
                   ? RCD__NO_TERM
                   : rcd__term_number(s, total);
    if (rcd__term_is(s, a, 0))
        return b;
    if (rcd__term_is(s, b, 0))
        return a;
    return term_once(
        s, (struct rcd__term_info){.a = a < b ? a : b, .b = a < b ? b : a, .origin = RCD_NO_VALUE});
}

void rcd__fact_of_constant(struct rcd__symbols *s, rcd_value_id id)
{
    const struct rcd_tensor *c = s->p->values[id].constant;
    struct rcd__fact *f = &s->facts[id];
    f->rank = c->rank;
    for (int d = 0; d < c->rank; d++)
        f->dims[d] = rcd__term_number(s, c->dims[d]);
    bool whole = c->dtype == RCD_I64 || c->dtype == RCD_I32 || c->dtype == RCD_BOOL;
    f->n_val = whole && c->rank <= 1 && c->n <= RCD__MAX_ELEMENTS ? (int)c->n : -1;
    for (int i = 0; i < f->n_val; i++)
        f->val[i] = rcd__term_number(s, c->dtype == RCD_BOOL ? ((const uint8_t *)c->data)[i] != 0
                                                             : rcd__int_at(c, (size_t)i));
}

/* Sizes of inputs with the same name are equal: rcd_plan_check_inputs refuses others. */
static rcd__term named_before(const struct rcd__symbols *s, size_t input, int axis)
{
    const struct rcd_onnx_value *v = &s->p->model->values[s->p->main.inputs[input]];
    const char *name = v->dim_names[axis];
    for (size_t i = 0; name != NULL && i <= input && i < RCD__NAMED_INPUTS; i++) {
        const rcd_value_id id = s->p->main.inputs[i];
        const struct rcd_onnx_value *u = &s->p->model->values[id];
        for (int d = 0; d < u->rank && (i < input || d < axis); d++) {
            if (u->dims[d] < 0 && u->dim_names[d] != NULL && strcmp(u->dim_names[d], name) == 0)
                return s->facts[id].dims[d];
        }
    }
    return RCD__NO_TERM;
}

bool rcd__symbols_init(struct rcd__symbols *s, const rcd_plan *p)
{
    *s = (struct rcd__symbols){.p = p};
    s->facts = rcd_calloc(p->n_values, sizeof *s->facts);
    if (s->facts == NULL)
        return false;
    s->n_facts = p->n_values;
    for (size_t i = 0; i < p->n_values; i++) {
        s->facts[i].rank = s->facts[i].n_val = -1;
        if (p->values[i].constant != NULL)
            rcd__fact_of_constant(s, (rcd_value_id)i);
    }
    for (size_t i = 0; i < p->main.n_inputs; i++) {
        const rcd_value_id id = p->main.inputs[i];
        const struct rcd_plan_value *v = &p->values[id];
        struct rcd__fact *f = &s->facts[id];
        f->rank = v->rank;
        for (int d = 0; d < v->rank; d++) {
            f->dims[d] = v->dims[d] >= 0 ? rcd__term_number(s, v->dims[d]) : named_before(s, i, d);
            if (f->dims[d] == RCD__NO_TERM)
                f->dims[d] = rcd__term_fresh(s, id, d);
        }
    }
    return !s->no_memory;
}

void rcd__symbols_done(struct rcd__symbols *s)
{
    rcd_free(s->facts);
    rcd_free(s->terms);
    rcd__buckets_done(&s->index);
}

bool rcd__same_shape(const struct rcd__symbols *s, rcd_value_id a, rcd_value_id b)
{
    const struct rcd__fact *x = &s->facts[a], *y = &s->facts[b];
    bool same = x->rank >= 0 && x->rank == y->rank;
    for (int d = 0; same && d < x->rank; d++)
        same = rcd__term_equal(x->dims[d], y->dims[d]);
    return same;
}
