/* arithmetic.c - Add, Sub, Mul, Div, Mod, Pow, PRelu, And, Or, Xor: two inputs, numpy broadcasting.
 * Integers wrap as two's complement; division by an integer zero fails the request. */
#include "dots.h"

#include <math.h>

#define ADD(S, T, U) RCD_INNER2(add_##S, T, T, (U)x + (U)y)
#define SUB(S, T, U) RCD_INNER2(sub_##S, T, T, (U)x - (U)y)
#define DIV_SINT(S, T, U) RCD_INNER2(div_##S, T, T, y == -1 ? (T)((U)0 - (U)x) : x / y)
#define DIV_PLAIN(S, T, U) RCD_INNER2(div_##S, T, T, x / y)
/* ONNX Mod, fmod = 0: the sign of the divisor (Python's %) */
#define MOD_SINT(S, T, U)                                                                          \
    RCD_INNER2(mod_##S, T, T,                                                                      \
               y == -1 ? 0 : (x % y != 0 && ((x < 0) != (y < 0)) ? x % y + y : x % y))
#define MOD_UINT(S, T, U) RCD_INNER2(mod_##S, T, T, x % y)
#define FMOD_SINT(S, T, U) RCD_INNER2(fmod_##S, T, T, y == -1 ? 0 : x % y)
#define FMOD_UINT(S, T, U) RCD_INNER2(fmod_##S, T, T, x % y)

RCD_EACH_NUM(ADD)
RCD_EACH_NUM(SUB)
/* products are taken in a type that cannot overflow: 16-bit operands would promote to int */
RCD_INNER2(mul_I8, int8_t, int8_t, x *y)
RCD_INNER2(mul_I16, int16_t, int16_t, x *y)
RCD_INNER2(mul_U8, uint8_t, uint8_t, x *y)
RCD_INNER2(mul_U16, uint16_t, uint16_t, (unsigned)x *y)
RCD_INNER2(mul_I32, int32_t, int32_t, (uint32_t)x *(uint32_t)y)
RCD_INNER2(mul_I64, int64_t, int64_t, (uint64_t)x *(uint64_t)y)
RCD_INNER2(mul_U32, uint32_t, uint32_t, x *y)
RCD_INNER2(mul_U64, uint64_t, uint64_t, x *y)
RCD_INNER2(mul_F32, float, float, x *y)
RCD_INNER2(mul_F64, double, double, x *y)
RCD_EACH_SINT(DIV_SINT)
RCD_EACH_UINT(DIV_PLAIN)
RCD_EACH_FLOAT(DIV_PLAIN)
RCD_EACH_SINT(MOD_SINT)
RCD_EACH_UINT(MOD_UINT)
RCD_EACH_SINT(FMOD_SINT)
RCD_EACH_UINT(FMOD_UINT)
RCD_INNER2(fmod_F32, float, float, fmodf(x, y))
RCD_INNER2(fmod_F64, double, double, fmod(x, y))
RCD_INNER2(prelu_F32, float, float, x < 0.0f ? x * y : x)
RCD_INNER2(prelu_F64, double, double, x < 0.0 ? x * y : x)
RCD_INNER2(and_BOOL, uint8_t, uint8_t, x &y)
RCD_INNER2(or_BOOL, uint8_t, uint8_t, x | y)
RCD_INNER2(xor_BOOL, uint8_t, uint8_t, x ^ y)

#define ENTRY(S, T, U) [RCD_##S] = NAME(S),
static rcd__inner2 *const add_table[RCD_DTYPE_MAX] = {
#define NAME(S) add_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};
static rcd__inner2 *const sub_table[RCD_DTYPE_MAX] = {
#define NAME(S) sub_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};
static rcd__inner2 *const mul_table[RCD_DTYPE_MAX] = {
#define NAME(S) mul_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};
static rcd__inner2 *const div_table[RCD_DTYPE_MAX] = {
#define NAME(S) div_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};
static rcd__inner2 *const mod_table[RCD_DTYPE_MAX] = {
#define NAME(S) mod_##S
    RCD_EACH_SINT(ENTRY) RCD_EACH_UINT(ENTRY)
#undef NAME
};
static rcd__inner2 *const fmod_table[RCD_DTYPE_MAX] = {
#define NAME(S) fmod_##S
    RCD_EACH_NUM(ENTRY)
#undef NAME
};
static rcd__inner2 *const prelu_table[RCD_DTYPE_MAX] = {
    [RCD_F32] = prelu_F32, [RCD_F64] = prelu_F64};
static rcd__inner2 *const and_table[RCD_DTYPE_MAX] = {[RCD_BOOL] = and_BOOL};
static rcd__inner2 *const or_table[RCD_DTYPE_MAX] = {[RCD_BOOL] = or_BOOL};
static rcd__inner2 *const xor_table[RCD_DTYPE_MAX] = {[RCD_BOOL] = xor_BOOL};

struct state {
    rcd__inner2 *f;
    bool divides; /* an integer zero on the right is an error */
};

static rcd_status check_table(struct rcd_check *k, rcd__inner2 *const *table, bool divides)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__binary_check(k, table, &s->f);
    s->divides = divides && (RCD_T(rcd__in_type(k, 0)) & RCD_TS_INT) != 0;
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

#define CHECK(name, table, divides)                                                                \
    static rcd_status check_##name(struct rcd_check *k)                                            \
    {                                                                                              \
        return check_table(k, table, divides);                                                     \
    }
CHECK(add, add_table, false)
CHECK(sub, sub_table, false)
CHECK(mul, mul_table, false)
CHECK(div, div_table, true)
CHECK(and, and_table, false)
CHECK(or, or_table, false)
CHECK(xor, xor_table, false)
CHECK(prelu, prelu_table, false)

static rcd_status check_mod(struct rcd_check *k)
{
    int64_t fmod_wanted = 0;
    rcd_status st = rcd__attr_int(k, "fmod", 0, &fmod_wanted);
    return st == RCD_OK ? check_table(k, fmod_wanted != 0 ? fmod_table : mod_table, true) : st;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *y = rcd__in(c, 1, r);
    for (size_t i = 0; s->divides && i < y->n; i++) {
        if (rcd__int_at(y, i) == 0)
            return rcd__fail(c, r, RCD_EINVAL, "integer division by zero (element %zu)", i);
    }
    return rcd__binary(c, r, y->dtype, s->f);
}

static rcd_status run_mul(struct rcd_call *c, size_t r)
{
    return rcd__joined(c) > 0 ? rcd__dots_run(c, r) : run(c, r);
}

/* ---- Pow: base and exponent may have different types; the result has the base's ---------------- */

static double number_at(const struct rcd_tensor *t, size_t i)
{
    if (t->dtype == RCD_F32)
        return (double)((const float *)t->data)[i];
    if (t->dtype == RCD_F64)
        return ((const double *)t->data)[i];
    return (double)rcd__int_at(t, i);
}

static int64_t int_pow(int64_t x, int64_t y)
{
    if (y < 0)
        return x == 1 ? 1 : x == -1 ? (y % 2 == 0 ? 1 : -1) : 0;
    uint64_t result = 1, base = (uint64_t)x;
    for (; y > 0; y >>= 1, base *= base)
        result *= (y & 1) != 0 ? base : 1;
    return (int64_t)result;
}

static void pow_at(const struct rcd_tensor *x, size_t i, const struct rcd_tensor *y, size_t j,
                   const struct rcd_tensor *out, size_t o)
{
    bool whole = (RCD_T(x->dtype) & RCD_TS_INT) != 0 && (RCD_T(y->dtype) & RCD_TS_INT) != 0;
    if (whole) {
        int64_t v = int_pow(rcd__int_at(x, i), rcd__int_at(y, j));
        if (out->dtype == RCD_I64)
            ((int64_t *)out->data)[o] = v;
        else
            ((int32_t *)out->data)[o] = (int32_t)(uint32_t)(uint64_t)v;
        return;
    }
    double b = number_at(x, i), e = number_at(y, j);
    double v = e == 2.0 ? b * b : pow(b, e);
    switch (out->dtype) {
    case RCD_F32:
        ((float *)out->data)[o] = (float)v;
        break;
    case RCD_F64:
        ((double *)out->data)[o] = v;
        break;
    default: /* int32, int64: towards zero, saturating, NaN gives 0 */
        if (out->dtype == RCD_I64)
            ((int64_t *)out->data)[o] = !(v > -0x1p63) ? (v == v ? INT64_MIN : 0)
                                        : v >= 0x1p63  ? INT64_MAX
                                                       : (int64_t)v;
        else
            ((int32_t *)out->data)[o] = !(v > -0x1p31) ? (v == v ? INT32_MIN : 0)
                                        : v >= 0x1p31  ? INT32_MAX
                                                       : (int32_t)v;
    }
}

static rcd_status check_pow(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_TS_FLOAT | RCD_TS_INDEX);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_TS_NUM);
    if (st == RCD_OK)
        rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status run_pow(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *t[2] = {rcd__in(c, 0, r), rcd__in(c, 1, r)};
    struct rcd_bcast b;
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__broadcast(c, r, 2, t, &b);
    if (st == RCD_OK)
        st = rcd__new_out(c, 0, r, t[0]->dtype, b.out_rank, b.out_dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    if (t[0]->dtype == RCD_F32 && t[1]->n == 1 && number_at(t[1], 0) == 2.0) {
        const float *x = t[0]->data; /* spectra, variances: the common case; as rounded as pow_at */
        float *y = out->data;
        for (size_t o = 0; o < out->n; o++)
            y[o] = x[o] * x[o];
        return RCD_OK;
    }
    int64_t at[RCD_MAX_RANK] = {0}, i = 0, j = 0;
    for (size_t o = 0; o < out->n; o++) {
        pow_at(t[0], (size_t)i, t[1], (size_t)j, out, o);
        for (int d = b.rank - 1; d >= 0; d--) {
            i += b.stride[0][d];
            j += b.stride[1][d];
            if (++at[d] < b.dims[d])
                break;
            i -= b.stride[0][d] * b.dims[d];
            j -= b.stride[1][d] * b.dims[d];
            at[d] = 0;
        }
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "Add", .since = 7, .check = check_add, .run = run},
    {.name = "Sub", .since = 7, .check = check_sub, .run = run},
    {.name = "Mul", .since = 7, .check = check_mul, .run = run_mul},
    {.name = "Div", .since = 7, .check = check_div, .run = run},
    {.name = "Mod", .since = 10, .check = check_mod, .run = run},
    {.name = "And", .since = 7, .check = check_and, .run = run},
    {.name = "Or", .since = 7, .check = check_or, .run = run},
    {.name = "Xor", .since = 7, .check = check_xor, .run = run},
    {.name = "PRelu", .since = 7, .check = check_prelu, .run = run},
    {.name = "Pow", .since = 7, .check = check_pow, .run = run_pow},
};
RCD_OP_LIST(arithmetic, ops);
