/* simplify_sizes.c - a node whose output is made of known terms becomes a constant or a Sizes node. */
#include "ops/sizes.h"
#include "rewrite.h"

#include <string.h>

struct build {
    const struct rcd__symbols *sym;
    struct rcd__sizes *s;
    rcd_value_id in[RCD__MAX_PARTS * RCD__MAX_SIZES];
    size_t n_in;
};

static bool add_term(struct build *b, size_t e, rcd__term t)
{
    if (t == RCD__NO_TERM)
        return false;
    const struct rcd__term_info *info = &b->sym->terms[t];
    if (info->is_number)
        return !__builtin_add_overflow(b->s->elements[e].number, info->number,
                                       &b->s->elements[e].number);
    if (info->origin == RCD_NO_VALUE)
        return add_term(b, e, info->a) && add_term(b, e, info->b);
    if (b->s->elements[e].n_parts == RCD__MAX_PARTS)
        return false;
    size_t i = 0;
    while (i < b->n_in && b->in[i] != info->origin)
        i++;
    if (i == b->n_in)
        b->in[b->n_in++] = info->origin;
    b->s->elements[e].parts[b->s->elements[e].n_parts++] =
        (struct rcd__size_part){.in = (uint32_t)i, .axis = info->axis};
    return true;
}

static bool make_constant(struct rcd__rewrite *w, rcd_value_id id, const struct rcd__sizes *s)
{
    struct rcd_arena *a = &w->p->arena;
    struct rcd_tensor *t = rcd_arena_calloc(a, 1, sizeof *t);
    const int64_t n = (int64_t)s->n;
    if (t == NULL || !rcd_tensor_shape(t, s->dtype, s->rank, &n))
        return false;
    t->data = rcd_arena_alloc_aligned(a, s->n * rcd_dtype_size(s->dtype));
    if (t->data == NULL)
        return false;
    for (size_t i = 0; i < s->n; i++) {
        if (s->dtype == RCD_I64)
            ((int64_t *)t->data)[i] = s->elements[i].number;
        else
            ((int32_t *)t->data)[i] = (int32_t)s->elements[i].number;
    }
    w->p->values[id].constant = t;
    w->p->values[id].rank = t->rank;
    memcpy(w->p->values[id].dims, t->dims, sizeof t->dims);
    return true;
}

rcd_status rcd__simplify_sizes(struct rcd__rewrite *w, struct rcd_node *node, bool *ret_constant)
{
    *ret_constant = false;
    if (node->n_out != 1 || node->op == &rcd__op_sizes)
        return RCD_OK;
    rcd_value_id id = node->out[0];
    const struct rcd__fact *f = &w->sym.facts[id];
    rcd_dtype t = w->p->values[id].dtype;
    if (f->n_val < 1 || f->rank < 0 || f->rank > 1 || (t != RCD_I64 && t != RCD_I32))
        return RCD_OK;
    struct rcd__sizes s = {.dtype = t, .rank = f->rank, .n = (size_t)f->n_val};
    struct build b = {.sym = &w->sym, .s = &s};
    for (size_t e = 0; e < s.n; e++) {
        if (!add_term(&b, e, f->val[e]))
            return RCD_OK;
    }
    if (b.n_in == 0) {
        *ret_constant = true;
        return make_constant(w, id, &s) ? RCD_OK
                                        : rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
    }
    rcd_value_id *in = rcd_arena_calloc(&w->p->arena, b.n_in, sizeof *in);
    struct rcd__sizes *state = rcd_arena_calloc(&w->p->arena, 1, sizeof *state);
    if (in == NULL || state == NULL)
        return rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
    memcpy(in, b.in, b.n_in * sizeof *in);
    *state = s;
    *node = (struct rcd_node){.op = &rcd__op_sizes,
                              .src = node->src,
                              .n_in = b.n_in,
                              .n_out = 1,
                              .in = in,
                              .out = node->out,
                              .state = state};
    return RCD_OK;
}
