/* scalar.c - element functions that no recurrent step needs: computed in double by the C library and
 * rounded once, so that they are accurate and the same on every CPU level. */
#include "kernels_int.h"

#include <math.h>

float rcd__scalar_unary(rcd_unary f, float x, float alpha, float beta)
{
    double v = (double)x, a = (double)alpha, b = (double)beta;
    switch (f) {
    case RCD_UN_ELU:
        return x < 0.0f ? (float)(a * expm1(v)) : x;
    case RCD_UN_SELU:
        return (float)(b * (v > 0.0 ? v : a * expm1(v)));
    case RCD_UN_CELU:
        return x < 0.0f ? (float)(a * expm1(v / a)) : x;
    case RCD_UN_SOFTPLUS:
        return (float)(v > 0.0 ? v + log1p(exp(-v)) : log1p(exp(v)));
    case RCD_UN_GELU:
        return (float)(0.5 * v * (1.0 + erf(v * M_SQRT1_2)));
    case RCD_UN_MISH:
        return (float)(v * tanh(v > 30.0 ? v : log1p(exp(v))));
    case RCD_UN_ERF:
        return (float)erf(v);
    case RCD_UN_LOG:
        return (float)log(v);
    case RCD_UN_SQRT:
        return sqrtf(x);
    default:
        RCD_ASSERT(!"an element function without a scalar form");
        return 0.0f;
    }
}
