/* symbols_arith.c - the sizes of what is combined element by element, spread, or multiplied; and the elements of small
 * integer tensors that are computed so. */
#include "symbols_rules.h"

static rcd__term broadcast(const struct rcd__rule *k, rcd__term a, rcd__term b)
{
    if (rcd__term_equal(a, b) || rcd__term_is(k->s, b, 1))
        return a;
    if (rcd__term_is(k->s, a, 1))
        return b;
    int64_t n = 0;
    rcd__symbols_join(k->s, a, b, RCD__JOIN_ROWS);
    if (rcd__rule_number(k, a, &n))
        return a; /* a number over 1 wins against 1 and against itself, else the run fails */
    return rcd__rule_number(k, b, &n) ? b : RCD__NO_TERM;
}

static void broadcast_into(const struct rcd__rule *k, struct rcd__fact *f, const rcd__term *dims,
                           int rank)
{
    if (f->rank < 0 || rank < 0) {
        f->rank = -1;
        return;
    }
    rcd__term both[RCD_MAX_RANK];
    int most = f->rank > rank ? f->rank : rank;
    for (int d = 0; d < most; d++) {
        int a = d - (most - f->rank), b = d - (most - rank);
        both[d] = a < 0 ? dims[b] : b < 0 ? f->dims[a] : broadcast(k, f->dims[a], dims[b]);
    }
    f->rank = most;
    memcpy(f->dims, both, sizeof both);
}

void rcd__rule_elementwise(const struct rcd__rule *k)
{
    struct rcd__fact f = *rcd__rule_in(k, 0);
    for (size_t i = 1; i < k->node->n_in; i++)
        broadcast_into(k, &f, rcd__rule_in(k, i)->dims, rcd__rule_in(k, i)->rank);
    f.n_val = -1;
    *rcd__rule_out(k) = f;
}

/* A small multiple of a size: as a sum, which is what joining it with itself makes. */
static rcd__term times(const struct rcd__rule *k, rcd__term t, rcd__term by)
{
    int64_t n = 0;
    if (!rcd__rule_number(k, by, &n) || n < 1 || n > 4)
        return RCD__NO_TERM;
    rcd__term sum = t;
    for (int64_t i = 1; i < n; i++)
        sum = rcd__term_sum(k->s, sum, t);
    return sum;
}

/* Add, Sub, Mul, Div, Equal over known elements. */
void rcd__rule_arithmetic(const struct rcd__rule *k)
{
    rcd__rule_elementwise(k);
    const struct rcd__fact *a = rcd__rule_in(k, 0), *b = rcd__rule_in(k, 1);
    if (a->n_val < 0 || b->n_val < 0 || (a->n_val != b->n_val && a->n_val != 1 && b->n_val != 1))
        return;
    struct rcd__fact *o = rcd__rule_out(k);
    const char *op = k->src->op_type;
    int n = a->n_val > b->n_val ? a->n_val : b->n_val;
    for (int i = 0; i < n; i++) {
        rcd__term x = a->val[a->n_val == 1 ? 0 : i], y = b->val[b->n_val == 1 ? 0 : i];
        int64_t p = 0, q = 0, r = 0;
        bool known = rcd__rule_number(k, x, &p) && rcd__rule_number(k, y, &q);
        rcd__term t = RCD__NO_TERM;
        if (strcmp(op, "Add") == 0)
            t = rcd__term_sum(k->s, x, y);
        else if (strcmp(op, "Equal") == 0 && known)
            t = rcd__term_number(k->s, p == q);
        else if (strcmp(op, "Sub") == 0 && known && !__builtin_sub_overflow(p, q, &r))
            t = rcd__term_number(k->s, r);
        else if (strcmp(op, "Mul") == 0 && known && !__builtin_mul_overflow(p, q, &r))
            t = rcd__term_number(k->s, r);
        else if (strcmp(op, "Mul") == 0)
            t = rcd__rule_number(k, x, &p) ? times(k, y, x) : times(k, x, y);
        else if (strcmp(op, "Div") == 0 && known && p >= 0 && q > 0)
            t = rcd__term_number(k->s, p / q);
        if (t == RCD__NO_TERM)
            return;
        o->val[i] = t;
    }
    o->n_val = n;
}

void rcd__rule_matmul(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0), *b = rcd__rule_in(k, 1);
    if (a->rank < 1 || b->rank < 2 || (b->rank > 2 && b->rank != a->rank))
        return;
    struct rcd__fact f = *a;
    for (int d = 0; d < b->rank - 2; d++)
        f.dims[d] = broadcast(k, a->dims[d], b->dims[d]);
    f.dims[f.rank - 1] = b->dims[b->rank - 1];
    f.n_val = -1;
    *rcd__rule_out(k) = f;
}

void rcd__rule_gemm(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0), *b = rcd__rule_in(k, 1);
    if (a->rank != 2 || b->rank != 2)
        return;
    struct rcd__fact f = {.rank = 2, .n_val = -1};
    f.dims[0] = a->dims[rcd__rule_attr(k, "transA", 0) != 0 ? 1 : 0];
    f.dims[1] = b->dims[rcd__rule_attr(k, "transB", 0) != 0 ? 0 : 1];
    *rcd__rule_out(k) = f;
}

void rcd__rule_expand(const struct rcd__rule *k)
{
    struct rcd__fact f = *rcd__rule_in(k, 0);
    const struct rcd__fact *to = rcd__rule_in(k, 1);
    f.spread = f.rank > 0 && f.rank == to->n_val && !rcd__term_equal(f.dims[0], to->val[0]);
    f.spread_a = f.dims[0];
    f.spread_b = to->val[0];
    broadcast_into(k, &f, to->val, to->n_val);
    f.n_val = -1;
    *rcd__rule_out(k) = f;
}
