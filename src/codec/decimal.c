/* decimal.c - the rarer ways from a taken-apart JSON number to bits. */
#include "recurd/codec.h"

#include "decimal_int.h"

#include <float.h>

_Static_assert(FLT_EVAL_METHOD == 0, "double arithmetic rounds to double");

__extension__ typedef unsigned __int128 u128;

const double rcd__power10[23] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                 1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

const double rcd__scale10[41] = {
    1e-22, 1e-21, 1e-20, 1e-19, 1e-18, 1e-17, 1e-16, 1e-15, 1e-14, 1e-13, 1e-12, 1e-11, 1e-10, 1e-9,
    1e-8,  1e-7,  1e-6,  1e-5,  1e-4,  1e-3,  1e-2,  1e-1,  1e0,   1e1,   1e2,   1e3,   1e4,   1e5,
    1e6,   1e7,   1e8,   1e9,   1e10,  1e11,  1e12,  1e13,  1e14,  1e15,  1e16,  1e17,  1e18};

const char *rcd__decimal_exponent(const char *p, int64_t *exp10)
{
    bool negative = *p == '-';
    if (*p == '-' || *p == '+')
        p++;
    if (!rcd__is_digit(*p))
        return NULL;
    int64_t e = 0;
    for (; rcd__is_digit(*p); p++)
        e = e < RCD__EXP_MAX ? e * 10 + (*p - '0') : e;
    *exp10 += negative ? -e : e;
    return p;
}

/* Is the value at least 1? Only asked of numbers that <charconv> found out of range, to tell too
 * large from too small. */
static bool is_large(const struct rcd__decimal *d)
{
    const char *p = d->at + d->negative;
    const char *first = NULL; /* first digit that is not 0 */
    const char *point = NULL;
    for (; p < d->end && (rcd__is_digit(*p) || *p == '.'); p++) {
        if (*p == '.')
            point = p;
        else if (*p != '0' && first == NULL)
            first = p;
    }
    if (first == NULL)
        return false;
    const char *last = p; /* behind the mantissa; exp10 counts from its last digit */
    int64_t digits = last - first - (point != NULL && point > first);
    return digits + d->exp10 > 0;
}

bool rcd__decimal_f32_slow(const struct rcd__decimal *d, float *ret)
{
    if (rcd__text_to_f32(d->at, d->end, ret) == 0)
        return true;
    *ret = d->negative ? -0.0f : 0.0f;
    return !is_large(d);
}

/* 64-bit integer with a sticky last bit, times 2^exp2. The conversion to double is the one rounding:
 * 64 significant bits (63 after a division) leave the sticky bit well below the rounding bit. */
static double scaled(uint64_t q, int exp2)
{
    uint64_t bits = (uint64_t)(1023 + exp2) << 52;
    double power;
    memcpy(&power, &bits, sizeof power);
    return (double)q * power;
}

/* mantissa * 10^exp10 for |exp10| <= 27, where 5^|exp10| fits 64 bits: exact integer arithmetic.
 * It covers doubles of 16 and 17 digits, as Python prints them, in a third of the time of the
 * general algorithm. */
static double by_integers(uint64_t m, int exp10)
{
    uint64_t five = 1;
    for (int i = exp10 < 0 ? -exp10 : exp10; i > 0; i--)
        five *= 5;
    int a = __builtin_clzll(m);
    if (exp10 < 0) {
        int b = __builtin_clzll(five);
        u128 n = (u128)(m << a) << 63; /* < 2^127, so the quotient by 2^63..2^64 fits 64 bits */
        uint64_t divisor = five << b;
        uint64_t q = (uint64_t)(n / divisor);
        return scaled(q | ((u128)q * divisor != n), b - a - 63 + exp10);
    }
    u128 n = (u128)(m << a) * five;
    uint64_t high = (uint64_t)(n >> 64), low = (uint64_t)n;
    if (high == 0)
        return scaled(low, exp10 - a);
    int c = __builtin_clzll(high);
    if (c > 0) {
        high = high << c | low >> (64 - c);
        low <<= c;
    }
    return scaled(high | (low != 0), 64 - c + exp10 - a);
}

bool rcd__decimal_f64_slow(const struct rcd__decimal *d, double *ret)
{
    if (d->n_digits <= RCD__EXACT_DIGITS && d->mantissa != 0 && d->exp10 >= -27 && d->exp10 <= 27) {
        double v = by_integers(d->mantissa, (int)d->exp10);
        *ret = d->negative ? -v : v;
        return true;
    }
    if (rcd__text_to_f64(d->at, d->end, ret) == 0)
        return true;
    *ret = d->negative ? -0.0 : 0.0;
    return !is_large(d);
}

bool rcd__decimal_u64(const struct rcd__decimal *d, uint64_t *ret)
{
    *ret = d->mantissa;
    if (d->n_digits <= RCD__EXACT_DIGITS)
        return true;
    if (d->n_digits > RCD__EXACT_DIGITS + 1)
        return false;
    uint64_t m = 0;
    for (const char *p = d->end - d->n_digits; p < d->end; p++)
        if (__builtin_mul_overflow(m, (uint64_t)10, &m) ||
            __builtin_add_overflow(m, (uint64_t)(*p - '0'), &m))
            return false;
    return true;
}

size_t rcd_f32_print(char *out, float v)
{
    return rcd__f32_to_text(out, v);
}

size_t rcd_f64_print(char *out, double v)
{
    return rcd__f64_to_text(out, v);
}
