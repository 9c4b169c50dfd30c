/* variadic.c - Sum, Mean, Min, Max over any number of inputs, from left to right; NaN wins in Min and
 * Max. */
#include "ops.h"

#include <string.h>

#define ADD(S, T, U) RCD_INNER2(add_##S, T, T, (U)x + (U)y)
#define MIN_INT(S, T, U) RCD_INNER2(min_##S, T, T, y < x ? y : x)
#define MAX_INT(S, T, U) RCD_INNER2(max_##S, T, T, y > x ? y : x)
#define MIN_FLOAT(S, T, U) RCD_INNER2(min_##S, T, T, y < x || y != y ? y : x)
#define MAX_FLOAT(S, T, U) RCD_INNER2(max_##S, T, T, y > x || y != y ? y : x)
RCD_EACH_FLOAT(ADD)
RCD_EACH_SINT(MIN_INT)
RCD_EACH_UINT(MIN_INT)
RCD_EACH_FLOAT(MIN_FLOAT)
RCD_EACH_SINT(MAX_INT)
RCD_EACH_UINT(MAX_INT)
RCD_EACH_FLOAT(MAX_FLOAT)

#define ENTRY(S, T, U) [RCD_##S] = NAME(S),
static rcd__inner2 *const add_table[RCD_DTYPE_MAX] = {
#define NAME(S) add_##S
    RCD_EACH_FLOAT(ENTRY)
#undef NAME
};
static rcd__inner2 *const min_table[RCD_DTYPE_MAX] = {
#define NAME(S) min_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};
static rcd__inner2 *const max_table[RCD_DTYPE_MAX] = {
#define NAME(S) max_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};

struct state {
    rcd__inner2 *f;
    bool mean;
};

static rcd_status check_table(struct rcd_check *k, rcd__inner2 *const *table)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    s->mean = strcmp(k->src->op_type, "Mean") == 0;
    rcd_status st = rcd__check_arity(k, 1, SIZE_MAX, 1, 1);
    for (size_t i = 0; st == RCD_OK && i < k->node->n_in; i++) {
        if (!rcd__has_in(k, i))
            return rcd__refuse(k, "input %zu is left out", i);
        st = rcd__check_same(k, 0, i);
    }
    rcd_dtype t = rcd__in_type(k, 0);
    if (st == RCD_OK && table[t] == NULL)
        return rcd__refuse(k, "element type %s is not run here", rcd_dtype_onnx_name(t));
    s->f = table[t];
    rcd__set_out(k, 0, t);
    return st;
}

static rcd_status check_sum(struct rcd_check *k)
{
    return check_table(k, add_table);
}

static rcd_status check_min(struct rcd_check *k)
{
    return check_table(k, min_table);
}

static rcd_status check_max(struct rcd_check *k)
{
    return check_table(k, max_table);
}

static void divide(const struct rcd_tensor *t, size_t by)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->dtype == RCD_F32)
            ((float *)t->data)[i] /= (float)by;
        else
            ((double *)t->data)[i] /= (double)by;
    }
}

/* acc = f(acc, y); the accumulator is replaced, it may grow by broadcasting. */
static rcd_status fold(const struct rcd_call *c, size_t r, rcd__inner2 *f, struct rcd_tensor *acc,
                       const struct rcd_tensor *y)
{
    const struct rcd_tensor *t[2] = {acc, y};
    struct rcd_bcast b;
    struct rcd_tensor next = {.dtype = RCD_NONE};
    struct rcd_error err;
    rcd_status st = rcd__broadcast(c, r, 2, t, &b);
    if (st != RCD_OK)
        return st;
    st = rcd_tensor_new(&next, c->x->pool, acc->dtype, b.out_rank, b.out_dims, &err);
    if (st != RCD_OK)
        return rcd__fail(c, r, st, "%s", err.text);
    rcd__loop2(&b, acc, y, &next, f);
    rcd_tensor_drop(acc);
    *acc = next;
    return RCD_OK;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    struct rcd_tensor acc = *rcd__in(c, 0, r);
    struct rcd_tensor *out = rcd__out(c, 0, r);
    acc.block = rcd_block_ref(acc.block);
    rcd_status st = RCD_OK;
    for (size_t i = 1; st == RCD_OK && i < c->node->n_in; i++)
        st = fold(c, r, s->f, &acc, rcd__in(c, i, r));
    if (st == RCD_OK && s->mean && c->node->n_in > 1)
        divide(&acc, c->node->n_in);
    if (st != RCD_OK || out == NULL)
        rcd_tensor_drop(&acc);
    else
        *out = acc;
    return st;
}

static const struct rcd_op ops[] = {
    {.name = "Sum", .since = 6, .check = check_sum, .run = run},
    {.name = "Mean", .since = 6, .check = check_sum, .run = run},
    {.name = "Min", .since = 6, .check = check_min, .run = run},
    {.name = "Max", .since = 6, .check = check_max, .run = run},
};
RCD_OP_LIST(variadic, ops);
