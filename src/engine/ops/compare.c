/* compare.c - Equal, Less, LessOrEqual, Greater, GreaterOrEqual, Not. */
#include "ops.h"

#include <string.h>

#define EQ(S, T, U) RCD_INNER2(eq_##S, T, uint8_t, x == y)
#define LT(S, T, U) RCD_INNER2(lt_##S, T, uint8_t, x < y)
#define LE(S, T, U) RCD_INNER2(le_##S, T, uint8_t, x <= y)
#define GT(S, T, U) RCD_INNER2(gt_##S, T, uint8_t, x > y)
#define GE(S, T, U) RCD_INNER2(ge_##S, T, uint8_t, x >= y)
RCD_EACH_NUM(EQ)
RCD_EACH_NUM(LT)
RCD_EACH_NUM(LE)
RCD_EACH_NUM(GT)
RCD_EACH_NUM(GE)
RCD_INNER2(eq_BOOL, uint8_t, uint8_t, x == y)
RCD_INNER2(eq_BYTES, struct rcd_bytes, uint8_t,
           x.len == y.len && (x.len == 0 || memcmp(x.ptr, y.ptr, x.len) == 0))

#define ENTRY(S, T, U) [RCD_##S] = NAME(S),
static rcd__inner2 *const eq_table[RCD_DTYPE_MAX] = {
#define NAME(S) eq_##S
    RCD_EACH_NUM(ENTRY)[RCD_BOOL] = eq_BOOL,
    [RCD_BYTES] = eq_BYTES,
#undef NAME
};
static rcd__inner2 *const lt_table[RCD_DTYPE_MAX] = {
#define NAME(S) lt_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};
static rcd__inner2 *const le_table[RCD_DTYPE_MAX] = {
#define NAME(S) le_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};
static rcd__inner2 *const gt_table[RCD_DTYPE_MAX] = {
#define NAME(S) gt_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};
static rcd__inner2 *const ge_table[RCD_DTYPE_MAX] = {
#define NAME(S) ge_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};

struct state {
    rcd__inner2 *f;
};

static rcd_status check_table(struct rcd_check *k, rcd__inner2 *const *table)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd__set_out(k, 0, RCD_BOOL);
    return rcd__binary_check(k, table, &s->f);
}

#define CHECK(name)                                                                                \
    static rcd_status check_##name(struct rcd_check *k)                                            \
    {                                                                                              \
        return check_table(k, name##_table);                                                       \
    }
CHECK(eq)
CHECK(lt)
CHECK(le)
CHECK(gt)
CHECK(ge)

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    return rcd__binary(c, r, RCD_BOOL, s->f);
}

static rcd_status check_not(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_T(RCD_BOOL));
    if (st == RCD_OK)
        rcd__set_out(k, 0, RCD_BOOL);
    return st;
}

static rcd_status run_not(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, RCD_BOOL, &out);
    const uint8_t *from = x->data;
    for (size_t i = 0; st == RCD_OK && out != NULL && i < x->n; i++)
        ((uint8_t *)out->data)[i] = from[i] == 0;
    return st;
}

static const struct rcd_op ops[] = {
    {.name = "Equal", .since = 7, .check = check_eq, .run = run},
    {.name = "Less", .since = 7, .check = check_lt, .run = run},
    {.name = "LessOrEqual", .since = 12, .check = check_le, .run = run},
    {.name = "Greater", .since = 7, .check = check_gt, .run = run},
    {.name = "GreaterOrEqual", .since = 12, .check = check_ge, .run = run},
    {.name = "Not", .since = 1, .check = check_not, .run = run_not},
};
RCD_OP_LIST(compare, ops);
