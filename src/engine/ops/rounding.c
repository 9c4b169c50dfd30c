/* rounding.c - Floor, Ceil, Round (half to even), Sign, IsNaN, IsInf. */
#include "ops.h"

#include <math.h>
#include <string.h>

enum kind { FLOOR, CEIL, ROUND, SIGN, IS_NAN, IS_INF };

struct state {
    enum kind kind;
    int64_t positive, negative; /* IsInf: which infinities count */
};

static double value(const struct state *s, double x)
{
    switch (s->kind) {
    case FLOOR:
        return floor(x);
    case CEIL:
        return ceil(x);
    case ROUND:
        return rint(x); /* the daemon never leaves round-to-nearest-even */
    case SIGN:
        return x > 0.0 ? 1.0 : x < 0.0 ? -1.0 : x;
    case IS_NAN:
        return isnan(x) ? 1.0 : 0.0;
    default:
        return isinf(x) && (x > 0.0 ? s->positive : s->negative) != 0 ? 1.0 : 0.0;
    }
}

static const struct {
    const char *name;
    enum kind kind;
    unsigned types;
} rows[] = {
    {"Floor", FLOOR, RCD_TS_FLOAT},  {"Ceil", CEIL, RCD_TS_FLOAT},
    {"Round", ROUND, RCD_TS_FLOAT},  {"Sign", SIGN, RCD_TS_NUM},
    {"IsNaN", IS_NAN, RCD_TS_FLOAT}, {"IsInf", IS_INF, RCD_TS_FLOAT},
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    size_t row = 0;
    while (strcmp(rows[row].name, k->src->op_type) != 0)
        row++;
    s->kind = rows[row].kind;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, rows[row].types);
    if (st == RCD_OK && s->kind == IS_INF)
        st = rcd__attr_int(k, "detect_positive", 1, &s->positive);
    if (st == RCD_OK && s->kind == IS_INF)
        st = rcd__attr_int(k, "detect_negative", 1, &s->negative);
    rcd__set_out(k, 0, s->kind >= IS_NAN ? RCD_BOOL : rcd__in_type(k, 0));
    return st;
}

#define SINT_SIGN(S, T, U)                                                                         \
    case RCD_##S: {                                                                                \
        T v = ((const T *)x->data)[i];                                                             \
        ((T *)out->data)[i] = (T)((v > 0) - (v < 0));                                              \
        break;                                                                                     \
    }
#define UINT_SIGN(S, T, U)                                                                         \
    case RCD_##S:                                                                                  \
        ((T *)out->data)[i] = ((const T *)x->data)[i] != 0;                                        \
        break;

static void int_sign(const struct rcd_tensor *x, const struct rcd_tensor *out, size_t i)
{
    switch (x->dtype) {
        RCD_EACH_SINT(SINT_SIGN)
        RCD_EACH_UINT(UINT_SIGN)
    default:
        RCD_ASSERT(!"checked at load");
    }
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, s->kind >= IS_NAN ? RCD_BOOL : x->dtype, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    for (size_t i = 0; i < x->n; i++) {
        if (x->dtype != RCD_F32 && x->dtype != RCD_F64) {
            int_sign(x, out, i);
            continue;
        }
        double v = value(s, x->dtype == RCD_F32 ? (double)((const float *)x->data)[i]
                                                : ((const double *)x->data)[i]);
        if (out->dtype == RCD_BOOL)
            ((uint8_t *)out->data)[i] = v != 0.0;
        else if (out->dtype == RCD_F32)
            ((float *)out->data)[i] = (float)v;
        else
            ((double *)out->data)[i] = v;
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "Floor", .since = 6, .check = check, .run = run},
    {.name = "Ceil", .since = 6, .check = check, .run = run},
    {.name = "Round", .since = 11, .check = check, .run = run},
    {.name = "Sign", .since = 9, .check = check, .run = run},
    {.name = "IsNaN", .since = 9, .check = check, .run = run},
    {.name = "IsInf", .since = 10, .check = check, .run = run},
};
RCD_OP_LIST(rounding, ops);
