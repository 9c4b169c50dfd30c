/* truth.c - exp(x) = 2^n exp(r) with Taylor's series in double precision, |r| <= ln2 / 2 (truth.h). */
#include "truth.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)
#define WIDE __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define WIDE
#endif

struct parts {
    double scale, less; /* exp(x) = scale * (1 + less) */
};

static inline __attribute__((always_inline)) struct parts split(double x)
{
    const double magic = 6755399441055744.0; /* 1.5 * 2^52: adding it rounds to an integer */
    x = x > 200.0 ? 200.0 : x;
    x = x < -200.0 ? -200.0 : x; /* NaN passes */
    const double t = x * 1.4426950408889634074 + magic, n = t - magic;
    const double r = (x - n * 6.93147180369123816490e-1) - n * 1.90821492927058770002e-10;
    int64_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits = (int64_t)((uint64_t)(bits + 1023) << 52);
    struct parts p;
    memcpy(&p.scale, &bits, sizeof bits);
    double sum = 1.0 / 14.0;
#pragma GCC unroll 16
    for (int i = 13; i > 1; i--)
        sum = (1.0 + r * sum) * (1.0 / i);
    p.less = r + r * r * sum;
    return p;
}

WIDE void truth_exp(size_t n, const float *x, double *y)
{
    for (size_t i = 0; i < n; i++) {
        struct parts p = split((double)x[i]);
        y[i] = p.scale + p.scale * p.less;
    }
}

/* m / (m + 2), m = exp(2x) - 1 */
WIDE void truth_tanh(size_t n, const float *x, double *y)
{
    for (size_t i = 0; i < n; i++) {
        struct parts p = split(2.0 * (double)x[i]);
        const double m = p.scale * p.less + (p.scale - 1.0);
        y[i] = m / (m + 2.0);
    }
}

WIDE void truth_sigmoid(size_t n, const float *x, double *y)
{
    for (size_t i = 0; i < n; i++) {
        struct parts p = split(-(double)x[i]);
        y[i] = 1.0 / (1.0 + (p.scale + p.scale * p.less));
    }
}
