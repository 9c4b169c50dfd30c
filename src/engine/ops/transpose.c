/* transpose.c - Transpose. */
#include "move.h"

struct state {
    const int64_t *perm; /* NULL: reverse the dims */
    size_t n;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "perm", &s->perm, &s->n);
    if (st != RCD_OK)
        return st;
    uint32_t seen = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (s->perm[i] < 0 || (size_t)s->perm[i] >= s->n || s->n > RCD_MAX_RANK ||
            (seen & (1u << s->perm[i])) != 0)
            return rcd__refuse(k, "perm is no permutation of %zu axes", s->n);
        seen |= 1u << s->perm[i];
    }
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return RCD_OK;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    if (s->perm != NULL && s->n != (size_t)x->rank)
        return rcd__fail(c, r, RCD_EINVAL, "perm has %zu axes, the input %d", s->n, x->rank);
    int64_t strides[RCD_MAX_RANK], dims[RCD_MAX_RANK], from[RCD_MAX_RANK];
    rcd__strides(x->rank, x->dims, strides);
    int last = -1;
    bool moves = false; /* do two axes of more than one element change their order? */
    for (int d = 0; d < x->rank; d++) {
        int at = s->perm != NULL ? (int)s->perm[d] : x->rank - 1 - d;
        dims[d] = x->dims[at];
        from[d] = strides[at];
        if (x->dims[at] != 1) {
            moves = moves || at < last;
            last = at;
        }
    }
    if (!moves)
        return rcd__alias_out(c, 0, r, x, x->rank, dims);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, x->dtype, x->rank, dims, &out);
    if (st == RCD_OK && out != NULL)
        rcd__gather_box(out->data, x->data, rcd_dtype_size(x->dtype), x->rank, dims, from);
    return st;
}

static const struct rcd_op ops[] = {{.name = "Transpose", .since = 1, .check = check, .run = run}};
RCD_OP_LIST(transpose, ops);
