/* data.c - "data" arrays into tensors: no tree, no memory per element.
 *
 * Arrays may be nested in any way; only the leaves count (wire.md 5.2), so brackets need no stack.
 * One walk is compiled per kind of leaf. Before memory is taken, the shape's element count is held
 * against the bytes that are left: n leaves need 2n - 1 of them at least (3n - 1 for strings), so a
 * short body cannot ask for a large tensor. */
#include "codec_int.h"

#include "decimal_int.h"

#include <math.h>
#include <string.h>

struct sink {
    struct rcd__scan *s;
    rcd_dtype dtype;
    void *data;
    size_t max; /* elements of the shape */
    rcd_status st;
};

/* Reads the element at p into data[i]; returns what follows it, NULL after an error (k->st). */
typedef const char *leaf_fn(struct sink *k, const char *p, size_t i);

/* ---- messages ---- */

static const char *fail_leaf(struct sink *k, const char *p, size_t i, const char *why)
{
    char found[RCD__SNIPPET];
    k->st = rcd__scan_fail(k->s, p, "data[%zu] is %s; %s %s", i, rcd__scan_snippet(k->s, p, found),
                           rcd_dtype_name(k->dtype), why);
    return NULL;
}

static const char *const number_ranges[RCD_DTYPE_MAX] = {
    [RCD_BOOL] = "takes true, false, 1 or 0",
    [RCD_U8] = "takes integers from 0 to 255",
    [RCD_U16] = "takes integers from 0 to 65535",
    [RCD_U32] = "takes integers from 0 to 4294967295",
    [RCD_U64] = "takes integers from 0 to 18446744073709551615",
    [RCD_I8] = "takes integers from -128 to 127",
    [RCD_I16] = "takes integers from -32768 to 32767",
    [RCD_I32] = "takes integers from -2147483648 to 2147483647",
    [RCD_I64] = "takes integers from -9223372036854775808 to 9223372036854775807",
    [RCD_F16] = "takes numbers from -65504 to 65504",
    [RCD_BF16] = "takes numbers up to 3.39e+38",
    [RCD_F32] = "takes numbers up to 3.4028235e+38",
    [RCD_F64] = "takes numbers up to 1.797693134862315e+308",
    [RCD_BYTES] = "takes strings",
};

static const char *bad_leaf(struct sink *k, const char *p, size_t i)
{
    return fail_leaf(k, p, i, number_ranges[k->dtype]);
}

/* ---- leaves ---- */

static inline const char *leaf_f32(struct sink *k, const char *p, size_t i)
{
    struct rcd__decimal d;
    const char *common = rcd__common_f32(p, k->s->end, (float *)k->data + i);
    if (__builtin_expect(common != NULL, 1))
        return common;
    const char *end = rcd__decimal(p, k->s->end, &d);
    if (__builtin_expect(end == NULL || !rcd__decimal_f32(&d, (float *)k->data + i), 0))
        return bad_leaf(k, p, i);
    return end;
}

static inline const char *leaf_f64(struct sink *k, const char *p, size_t i)
{
    struct rcd__decimal d;
    const char *end = rcd__decimal(p, k->s->end, &d);
    if (__builtin_expect(end == NULL || !rcd__decimal_f64(&d, (double *)k->data + i), 0))
        return bad_leaf(k, p, i);
    return end;
}

/* To float with the last bit set when anything was cut ("to odd"), so that the rounding to half
 * width that follows is the only one. |d| is below FLT_MAX here. */
static float to_odd(double d)
{
    float f = (float)d;
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    if ((double)f == d)
        return f;
    if (fabs((double)f) > fabs(d))
        bits--; /* towards zero */
    bits |= 1;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline const char *leaf_half(struct sink *k, const char *p, size_t i)
{
    /* From here on the nearest half-width number is infinity. */
    double too_large = k->dtype == RCD_F16 ? 65520.0 : 0x1.ffp127;
    struct rcd__decimal d;
    double v = 0;
    const char *end = rcd__decimal(p, k->s->end, &d);
    if (end == NULL || !rcd__decimal_f64(&d, &v) || fabs(v) >= too_large)
        return bad_leaf(k, p, i);
    float f = to_odd(v);
    ((uint16_t *)k->data)[i] = k->dtype == RCD_F16 ? rcd_f32_to_f16(f) : rcd_f32_to_bf16(f);
    return end;
}

static inline const char *leaf_int(struct sink *k, const char *p, size_t i, size_t bytes,
                                   bool is_signed)
{
    uint64_t top = UINT64_MAX >> (64 - 8 * bytes + (is_signed ? 1 : 0));
    struct rcd__decimal d;
    uint64_t v = 0;
    const char *end = rcd__decimal(p, k->s->end, &d);
    if (end == NULL)
        return bad_leaf(k, p, i);
    if (!d.integer)
        return fail_leaf(k, p, i, "takes integers, without fraction and exponent");
    uint64_t limit = !d.negative ? top : is_signed ? top + 1 : 0;
    if (!rcd__decimal_u64(&d, &v) || v > limit)
        return bad_leaf(k, p, i);
    if (d.negative)
        v = 0 - v;
    memcpy((char *)k->data + i * bytes, &v, bytes); /* little-endian */
    return end;
}

#define LEAF_INT(name, bytes, is_signed)                                                           \
    static inline const char *name(struct sink *k, const char *p, size_t i)                        \
    {                                                                                              \
        return leaf_int(k, p, i, bytes, is_signed);                                                \
    }
LEAF_INT(leaf_u8, 1, false)
LEAF_INT(leaf_u16, 2, false)
LEAF_INT(leaf_u32, 4, false)
LEAF_INT(leaf_u64, 8, false)
LEAF_INT(leaf_i8, 1, true)
LEAF_INT(leaf_i16, 2, true)
LEAF_INT(leaf_i32, 4, true)
LEAF_INT(leaf_i64, 8, true)

static inline const char *leaf_bool(struct sink *k, const char *p, size_t i)
{
    uint8_t *out = (uint8_t *)k->data + i;
    k->s->p = p;
    if (*p == 't' || *p == 'f') {
        *out = *p == 't';
        return rcd__scan_word(k->s, *out != 0 ? "true" : "false") ? k->s->p : bad_leaf(k, p, i);
    }
    struct rcd__decimal d;
    const char *end = rcd__decimal(p, k->s->end, &d);
    if (end == NULL || !d.integer || d.n_digits > 1 || d.mantissa > 1 || d.negative)
        return bad_leaf(k, p, i);
    *out = (uint8_t)d.mantissa;
    return end;
}

static inline const char *leaf_bytes(struct sink *k, const char *p, size_t i)
{
    struct rcd__scan *s = k->s;
    struct rcd__text t;
    if (*p != '"')
        return bad_leaf(k, p, i);
    s->p = p;
    k->st = rcd__scan_text(s, &t);
    if (k->st != RCD_OK)
        return NULL;
    if (t.len > s->max_string) {
        k->st =
            rcd__scan_fail(s, p, "data[%zu] has %zu bytes; at most %zu", i, t.len, s->max_string);
        return NULL;
    }
    const char *at = t.at;
    if (t.raw != t.len) {
        char *copy = rcd_arena_alloc(s->arena, t.len);
        if (copy == NULL) {
            k->st = rcd__scan_no_memory(s, "a string", t.len);
            return NULL;
        }
        rcd__text_decode(&t, copy);
        at = copy;
    }
    ((struct rcd_bytes *)k->data)[i] = (struct rcd_bytes){.ptr = at, .len = t.len};
    return s->p;
}

/* ---- the walk ---- */

static inline const char *blanks(const char *p)
{
    while (__builtin_expect((unsigned char)*p <= ' ', 0) &&
           (*p == ' ' || *p == '\n' || *p == '\r' || *p == '\t'))
        p++;
    return p;
}

static rcd_status wrong_count(struct sink *k, const char *p, const char *how, size_t n)
{
    return rcd__scan_fail(k->s, p, "data has %s %zu elements, the shape makes %zu", how, n, k->max);
}

/* Behind an element or an array: passes a comma, or closing brackets. NULL after an error, or with
 * k->st RCD_OK at the end of data. */
static inline const char *walk_on(struct sink *k, const char *p, size_t outside)
{
    struct rcd__scan *s = k->s;
    for (;;) {
        p = blanks(p);
        if (*p == ',')
            return blanks(p + 1);
        s->p = p;
        if (*p != ']') {
            k->st = rcd__scan_unexpected(s, "',' or ']' in data");
            return NULL;
        }
        s->p = ++p;
        if (--s->depth == outside)
            return NULL;
    }
}

static inline __attribute__((always_inline)) rcd_status walk(struct sink *k, leaf_fn *leaf)
{
    struct rcd__scan *s = k->s;
    const size_t outside = s->depth;
    const char *p = s->p;
    size_t n = 0;
    while (p != NULL) { /* p is where a value must be */
        if (__builtin_expect(*p == '[', 0)) {
            s->p = p;
            k->st = rcd__scan_open(s, '[', "data");
            if (k->st != RCD_OK)
                break;
            p = blanks(p + 1);
            if (*p != ']')
                continue;
        } else {
            if (n == k->max && *p != ']' && *p != ',')
                return wrong_count(k, p, "more than", n);
            p = leaf(k, p, n);
            if (p == NULL)
                break;
            n++;
        }
        p = walk_on(k, p, outside);
    }
    if (k->st == RCD_OK && n != k->max)
        return wrong_count(k, s->p - 1, "only", n);
    return k->st;
}

static rcd_status walk_ints(struct sink *k)
{
    switch (k->dtype) {
    case RCD_U8:
        return walk(k, leaf_u8);
    case RCD_U16:
        return walk(k, leaf_u16);
    case RCD_U32:
        return walk(k, leaf_u32);
    case RCD_U64:
        return walk(k, leaf_u64);
    case RCD_I8:
        return walk(k, leaf_i8);
    case RCD_I16:
        return walk(k, leaf_i16);
    case RCD_I32:
        return walk(k, leaf_i32);
    default:
        return walk(k, leaf_i64);
    }
}

static rcd_status walk_any(struct sink *k)
{
    switch (k->dtype) {
    case RCD_F32:
        return walk(k, leaf_f32);
    case RCD_F64:
        return walk(k, leaf_f64);
    case RCD_F16:
    case RCD_BF16:
        return walk(k, leaf_half);
    case RCD_BOOL:
        return walk(k, leaf_bool);
    case RCD_BYTES:
        return walk(k, leaf_bytes);
    default:
        return walk_ints(k);
    }
}

rcd_status rcd__scan_data(struct rcd__scan *s, struct rcd_tensor *t)
{
    if (rcd__scan_peek(s) != '[')
        return rcd__scan_unexpected(s, "an array for data");
    size_t left = (size_t)(s->end - s->p);
    if (t->n > left / (t->dtype == RCD_BYTES ? 3 : 2)) {
        char shape[64];
        return rcd__scan_fail(s, s->p, "shape %s makes %zu elements; %zu bytes cannot hold them",
                              rcd_shape_text(shape, sizeof shape, t->rank, t->dims), t->n, left);
    }
    size_t bytes = t->n * rcd_dtype_size(t->dtype);
    struct sink k = {.s = s, .dtype = t->dtype, .max = t->n};
    k.data = rcd_arena_alloc_aligned(s->arena, bytes);
    if (k.data == NULL)
        return rcd__scan_no_memory(s, "a tensor", bytes);
    t->data = k.data;
    return walk_any(&k);
}
