/* decimal_int.h - a JSON number taken apart in one pass, and the fast ways from there to bits.
 *
 * rcd__decimal looks at bytes without asking where the text ends: whoever calls it guarantees that
 * some byte at or after `p` cannot belong to a number (scan.c: the text's last byte is '}').
 *
 * rcd__decimal_f32 goes through double. With at most 19 digits the mantissa is exact, so its
 * conversion, the power of ten and the product together are off by 3 units in double's last place
 * at most. Rounding that to float is right unless a midpoint of two floats
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
extern const double rcd__scale10[41]; /* 10^-22 to 10^18, the nearest doubles */

static inline bool rcd__is_digit(char c)
{
    return (unsigned char)(c - '0') < 10;
}

/** The exponent behind 'e' at p - 1, added to *exp10; NULL without a digit. */
const char *rcd__decimal_exponent(const char *p, int64_t *exp10);

/* The digits that begin at p, eight bytes of text in one register: how many, and their value. No branch
 * depends on the text, because the number of digits is what a processor cannot guess. */
static inline unsigned rcd__digits_8(const char *p, uint64_t *ret)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t t;
    memcpy(&t, p, sizeof t);
    t ^= 0x3030303030303030u; /* digits are 0 to 9 now */
    /* a bit in the first byte above 9; what is carried goes to bytes behind it */
    uint64_t over = ((t + 0x7676767676767676u) | t) >> 7 & ones;
    uint64_t digits = (over - 1) & ~over; /* all bits in front of it */
    unsigned n = (unsigned)((digits & ones) * ones >> 56);
    t = (t & digits) << ((64 - 8 * n) & 63); /* zeros in front, and what follows is gone */
    t = t * 10 + (t >> 8);                   /* pairs */
    *ret = ((t & 0x000000ff000000ffu) * (100 + ((uint64_t)1000000 << 32)) +
            (t >> 16 & 0x000000ff000000ffu) * (1 + ((uint64_t)10000 << 32))) >>
           32;
    return n;
}

/* As rcd__digits_8, for sixteen bytes: their digits go on *m. */
static inline unsigned rcd__digits_16(const char *p, uint64_t *m)
{
    static const uint32_t tens[9] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    uint64_t a, b;
    unsigned na = rcd__digits_8(p, &a), nb = rcd__digits_8(p + 8, &b);
    const unsigned all = 0 - (na >> 3); /* all bits, if the first eight bytes are digits */
    nb &= all;
    b &= all; /* below 10^8 */
    *m = (*m * tens[na] + a) * tens[nb] + b;
    return na + nb;
}

/* More digits of *m behind the point; returns what follows them. */
static inline const char *rcd__fraction(const char *p, const char *end, uint64_t *m)
{
    if (__builtin_expect(end - p >= 16, 1)) {
        unsigned n = rcd__digits_16(p, m);
        p += n;
        if (__builtin_expect(n < 16, 1))
            return p;
    }
    for (; rcd__is_digit(*p); p++)
        *m = *m * 10 + (uint64_t)(*p - '0');
    return p;
}

/** Take apart the number at p; NULL when there is none (RFC 8259 grammar). A digit after a leading
 * 0 is left for the caller, who finds no comma there. Up to `end` bytes may be looked at in any case. */
static inline const char *rcd__decimal(const char *p, const char *end, struct rcd__decimal *d)
{
    d->at = p;
    d->negative = *p == '-';
    p += d->negative;
    uint64_t m = (uint64_t)(unsigned char)(*p - '0');
    size_t n = m != 0; /* a lone 0 does not count */
    if (m > 9)
        return NULL;
    for (p++; rcd__is_digit(*p) && m != 0; p++, n++)
        m = m * 10 + (uint64_t)(*p - '0');
    d->exp10 = 0;
    d->integer = true;
    if (*p == '.') {
        const char *fraction = ++p;
        p = rcd__fraction(p, end, &m);
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

/* m * 10^exp10, -22 <= exp10 <= 18: false where it is not certain which float is the nearest. */
static inline bool rcd__certain_f32(int64_t m, int64_t exp10, bool negative, float *ret)
{
    double v = (double)m * rcd__scale10[exp10 + 22];
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    uint64_t low = bits & 0x1fffffffu; /* what float has no room for; a midpoint: 0x10000000 */
    bits |= (uint64_t)negative << 63;
    memcpy(&v, &bits, sizeof v);
    *ret = (float)v;
    return low - (0x10000000u - 4) > 8;
}

static inline bool rcd__decimal_f32(const struct rcd__decimal *d, float *ret)
{
    if (d->n_digits <= RCD__EXACT_DIGITS && d->exp10 >= -22 && d->exp10 <= 18 &&
        d->mantissa <= INT64_MAX &&
        __builtin_expect(rcd__certain_f32((int64_t)d->mantissa, d->exp10, d->negative, ret), 1))
        return true;
    return rcd__decimal_f32_slow(d, ret);
}

/** A number as most of them are: one digit, the point, up to 18 digits, no exponent. Returns what follows
 * it, or NULL for any other text, and where the nearest float is not certain. */
static inline const char *rcd__common_f32(const char *p, const char *end, float *ret)
{
    bool negative = *p == '-';
    p += negative;
    uint64_t m = (uint64_t)(unsigned char)(*p - '0');
    if (__builtin_expect(m > 9 || p[1] != '.' || end - p < 18, 0))
        return NULL;
    unsigned n = rcd__digits_16(p + 2, &m);
    p += 2 + n;
    if (n >= 16) {
        for (; rcd__is_digit(*p) && n < RCD__EXACT_DIGITS; p++, n++)
            m = m * 10 + (uint64_t)(*p - '0');
    }
    if (__builtin_expect(n - 1 >= RCD__EXACT_DIGITS - 1 || (*p | 0x20) == 'e' || m > INT64_MAX, 0))
        return NULL;
    return __builtin_expect(rcd__certain_f32((int64_t)m, -(int64_t)n, negative, ret), 1) ? p : NULL;
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
