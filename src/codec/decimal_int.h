/* decimal_int.h - a JSON number taken apart in one pass, and the fast ways from there to bits.
 *
 * rcd__decimal looks at bytes without asking where the text ends: whoever calls it guarantees that
 * some byte at or after `p` cannot belong to a number (scan.c: the text's last byte is '}').
 *
 * rcd__decimal_f32 goes through double. With at most 19 digits the mantissa is exact, powers of ten
 * to 10^22 are exact doubles, so conversion and division (or product) together are off by 2 units
 * in double's last place at most. Rounding that to float is right unless a midpoint of two floats
 * lies as near; then, and for longer numbers, <charconv> decides (Clinger 1990, and the usual
 * argument against double rounding). */
#pragma once
#include "number_int.h"
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct rcd__decimal {
    const char *at;    /* first byte */
    const char *end;   /* behind the last */
    uint64_t mantissa; /* all digits; only right if n_digits <= 19 */
    int64_t exp10;     /* value = mantissa * 10^exp10 */
    size_t n_digits;   /* of the mantissa, without a lone 0 before the point */
    bool negative;
    bool integer; /* neither fraction nor exponent */
};

enum { RCD__EXACT_DIGITS = 19 };
#define RCD__EXP_MAX 1000000000 /* written exponents saturate here: the value is 0 or too large */

extern const double rcd__power10[23];

static inline bool rcd__is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/** The exponent behind 'e' at p - 1, added to *exp10; NULL without a digit. */
const char *rcd__decimal_exponent(const char *p, int64_t *exp10);

/** Take apart the number at p; NULL when there is none (RFC 8259 grammar). A digit after a leading
 * 0 is left for the caller, who finds no comma there. */
static inline const char *rcd__decimal(const char *p, struct rcd__decimal *d)
{
    d->at = p;
    d->negative = *p == '-';
    p += d->negative;
    const char *digits = p;
    uint64_t m = 0;
    size_t n = 0;
    if (*p == '0') {
        p++;
    } else {
        for (; rcd__is_digit(*p); p++)
            m = m * 10 + (uint64_t)(*p - '0');
        if (p == digits)
            return NULL;
        n = (size_t)(p - digits);
    }
    d->exp10 = 0;
    d->integer = true;
    if (*p == '.') {
        const char *fraction = ++p;
        for (; rcd__is_digit(*p); p++)
            m = m * 10 + (uint64_t)(*p - '0');
        if (p == fraction)
            return NULL;
        n += (size_t)(p - fraction);
        d->exp10 = -(int64_t)(p - fraction);
        d->integer = false;
    }
    if (__builtin_expect(*p == 'e' || *p == 'E', 0)) {
        p = rcd__decimal_exponent(p + 1, &d->exp10);
        d->integer = false;
    }
    d->mantissa = m;
    d->n_digits = n;
    d->end = p;
    return p;
}

/** Nearest value; false when it is too large. Too small becomes zero with its sign. */
bool rcd__decimal_f32_slow(const struct rcd__decimal *d, float *ret);
bool rcd__decimal_f64_slow(const struct rcd__decimal *d, double *ret);

static inline bool rcd__decimal_f32(const struct rcd__decimal *d, float *ret)
{
    if (d->n_digits <= RCD__EXACT_DIGITS && d->exp10 >= -22 && d->exp10 <= 18 &&
        d->mantissa <= INT64_MAX) {
        double v = (double)(int64_t)d->mantissa;
        v = d->exp10 < 0 ? v / rcd__power10[-d->exp10] : v * rcd__power10[d->exp10];
        uint64_t bits;
        memcpy(&bits, &v, sizeof bits);
        uint64_t low = bits & 0x1fffffffu; /* what float has no room for; a midpoint: 0x10000000 */
        if (__builtin_expect(low - (0x10000000u - 4) > 8, 1)) {
            *ret = (float)(d->negative ? -v : v);
            return true;
        }
    }
    return rcd__decimal_f32_slow(d, ret);
}

static inline bool rcd__decimal_f64(const struct rcd__decimal *d, double *ret)
{
    if (d->n_digits <= RCD__EXACT_DIGITS && d->mantissa <= (uint64_t)1 << 53 && d->exp10 >= -22 &&
        d->exp10 <= 22) { /* both operands exact: one rounding */
        double v = (double)(int64_t)d->mantissa;
        v = d->exp10 < 0 ? v / rcd__power10[-d->exp10] : v * rcd__power10[d->exp10];
        *ret = d->negative ? -v : v;
        return true;
    }
    return rcd__decimal_f64_slow(d, ret);
}

/** Magnitude of an integer (d->integer); false when it is over 2^64 - 1. */
bool rcd__decimal_u64(const struct rcd__decimal *d, uint64_t *ret);
