/* cast.c - Cast and CastLike between all types that recurd has, except text.
 *
 * Floats to integers go towards zero; what does not fit saturates and NaN gives 0, on every CPU alike
 * (ONNX leaves both undefined). Integers wrap as two's complement. */
#include "ops.h"

#include <math.h>
#include <string.h>

struct state {
    rcd_dtype to;
};

static rcd_status finish(struct rcd_check *k, rcd_dtype to)
{
    rcd_dtype from = rcd__in_type(k, 0);
    if (to == RCD_NONE || (to != from && (to == RCD_BYTES || from == RCD_BYTES)))
        return rcd__refuse(k, "a cast from %s to %s is not run", rcd_dtype_onnx_name(from),
                           to == RCD_NONE ? "a type that recurd has not" : rcd_dtype_onnx_name(to));
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    s->to = to;
    k->node->state = s;
    rcd__set_out(k, 0, to);
    return RCD_OK;
}

/* `saturate` and `round_mode` only matter for 8-bit floats, which recurd has not. */
static rcd_status skip_float8(struct rcd_check *k)
{
    int64_t saturate = 0;
    const char *mode = NULL;
    rcd_status st = rcd__attr_int(k, "saturate", 1, &saturate);
    return st == RCD_OK ? rcd__attr_string(k, "round_mode", "up", &mode) : st;
}

static rcd_status check_cast(struct rcd_check *k)
{
    int64_t to = 0;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "to", 0, &to);
    if (st == RCD_OK)
        st = skip_float8(k);
    return st == RCD_OK ? finish(k, rcd_dtype_from_onnx((int32_t)to)) : st;
}

static rcd_status check_castlike(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = skip_float8(k);
    return st == RCD_OK ? finish(k, rcd__in_type(k, 1)) : st;
}

/* Every value passes through one of three wide forms, chosen by the source. */
struct wide {
    enum { IS_FLOAT, IS_SIGNED, IS_UNSIGNED } kind;
    double f;
    int64_t i;
    uint64_t u;
};

static struct wide widen(const struct rcd_tensor *t, size_t i)
{
    struct wide w = {.kind = IS_FLOAT};
    switch (t->dtype) {
    case RCD_F32:
        w.f = (double)((const float *)t->data)[i];
        break;
    case RCD_F64:
        w.f = ((const double *)t->data)[i];
        break;
    case RCD_F16:
        w.f = (double)rcd_f16_to_f32(((const uint16_t *)t->data)[i]);
        break;
    case RCD_BF16:
        w.f = (double)rcd_bf16_to_f32(((const uint16_t *)t->data)[i]);
        break;
    case RCD_U64:
        w.kind = IS_UNSIGNED;
        w.u = ((const uint64_t *)t->data)[i];
        break;
    default:
        w.kind = IS_SIGNED;
        w.i = rcd__int_at(t, i);
    }
    return w;
}

static double as_double(const struct wide *w)
{
    return w->kind == IS_FLOAT ? w->f : w->kind == IS_SIGNED ? (double)w->i : (double)w->u;
}

static float as_float(const struct wide *w)
{
    return w->kind == IS_FLOAT ? (float)w->f : w->kind == IS_SIGNED ? (float)w->i : (float)w->u;
}

/* The integer modulo 2^64, after saturating a float to [low, high]. */
static uint64_t as_bits(const struct wide *w, double low, double high)
{
    if (w->kind != IS_FLOAT)
        return w->kind == IS_SIGNED ? (uint64_t)w->i : w->u;
    if (isnan(w->f))
        return 0;
    double v = w->f < low ? low : w->f > high ? high : w->f;
    if (v >= 0x1p64)
        return UINT64_MAX;
    if (v >= 0x1p63)
        return high > 0x1.8p63 ? (uint64_t)v : (uint64_t)INT64_MAX;
    return (uint64_t)(int64_t)v;
}

static void store(const struct rcd_tensor *out, size_t i, const struct wide *w)
{
    switch (out->dtype) {
    case RCD_F32:
        ((float *)out->data)[i] = as_float(w);
        break;
    case RCD_F64:
        ((double *)out->data)[i] = as_double(w);
        break;
    case RCD_F16:
        ((uint16_t *)out->data)[i] = rcd_f32_to_f16(as_float(w));
        break;
    case RCD_BF16:
        ((uint16_t *)out->data)[i] = rcd_f32_to_bf16(as_float(w));
        break;
    case RCD_BOOL:
        ((uint8_t *)out->data)[i] = w->kind == IS_FLOAT ? w->f != 0.0 : (w->i | (int64_t)w->u) != 0;
        break;
    case RCD_I8:
        ((int8_t *)out->data)[i] = (int8_t)as_bits(w, INT8_MIN, INT8_MAX);
        break;
    case RCD_U8:
        ((uint8_t *)out->data)[i] = (uint8_t)as_bits(w, 0, UINT8_MAX);
        break;
    case RCD_I16:
        ((int16_t *)out->data)[i] = (int16_t)as_bits(w, INT16_MIN, INT16_MAX);
        break;
    case RCD_U16:
        ((uint16_t *)out->data)[i] = (uint16_t)as_bits(w, 0, UINT16_MAX);
        break;
    case RCD_I32:
        ((int32_t *)out->data)[i] = (int32_t)as_bits(w, INT32_MIN, INT32_MAX);
        break;
    case RCD_U32:
        ((uint32_t *)out->data)[i] = (uint32_t)as_bits(w, 0, UINT32_MAX);
        break;
    case RCD_I64:
        ((int64_t *)out->data)[i] = (int64_t)as_bits(w, -0x1p63, 0x1p63);
        break;
    default:
        RCD_ASSERT(out->dtype == RCD_U64);
        ((uint64_t *)out->data)[i] = as_bits(w, 0, 0x1p64);
    }
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    if (x->dtype == s->to)
        return rcd__alias_out(c, 0, r, x, x->rank, x->dims);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, s->to, &out);
    for (size_t i = 0; st == RCD_OK && out != NULL && i < x->n; i++) {
        struct wide w = widen(x, i);
        store(out, i, &w);
    }
    return st;
}

static const struct rcd_op ops[] = {
    {.name = "Cast", .since = 6, .check = check_cast, .run = run},
    {.name = "CastLike", .since = 15, .check = check_castlike, .run = run},
};
RCD_OP_LIST(cast, ops);
