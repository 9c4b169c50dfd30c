/* functions.inc.h - exp, tanh and sigmoid of a vector, and the element functions (body.inc.h).
 *
 * exp: x = n ln2 + r by Cody and Waite, a polynomial for exp(r) (coefficients as in the Cephes library,
 * S. Moshier), then two exact scalings so that results below the normal range round once. */

INLINE vf v_pow2(vi n)
{
    return (vf)((n + 127) << 23);
}

INLINE vf v_exp(vf x)
{
    const vf magic = v_set1(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    vf low = v_set1(-104.0f), high = v_set1(89.0f);
    vf c = v_select(x < low, low, v_select(x > high, high, x)); /* NaN passes */
    vf t = v_fma(c, v_set1(1.44269504088896341f), magic);
    vf n = t - magic;
    vf r = v_fma(n, v_set1(-0.693359375f), c);
    r = v_fma(n, v_set1(2.12194440e-4f), r);
    vf p = v_set1(1.9875691500e-4f);
    p = v_fma(p, r, v_set1(1.3981999507e-3f));
    p = v_fma(p, r, v_set1(8.3334519073e-3f));
    p = v_fma(p, r, v_set1(4.1665795894e-2f));
    p = v_fma(p, r, v_set1(1.6666665459e-1f));
    p = v_fma(p, r, v_set1(5.0000001201e-1f));
    p = v_fma(p, r * r, r) + 1.0f;
    vi i = (vi)t - (vi)magic;
    vi half = i >> 1;
    vf y = p * v_pow2(half) * v_pow2(i - half);
    return v_select(x == x, y, x);
}

INLINE vf v_sigmoid(vf x)
{
    vf e = v_exp(-v_abs(x));
    vf top = v_select(x < 0.0f, e, v_set1(1.0f));
    return v_select(x == x, top / (e + 1.0f), x);
}

INLINE vf v_tanh(vf x)
{
    vf a = v_abs(x), z = x * x;
    vf p = v_set1(-5.70498872745e-3f);
    p = v_fma(p, z, v_set1(2.06390887954e-2f));
    p = v_fma(p, z, v_set1(-5.37397155531e-2f));
    p = v_fma(p, z, v_set1(1.33314422036e-1f));
    p = v_fma(p, z, v_set1(-3.33332819422e-1f));
    vf small = v_fma(p * z, x, x);
    vf e = v_exp(a + a);
    vf big = 1.0f - 2.0f / (e + 1.0f);
    vi y = (vi)v_abs(v_select(a < 0.625f, small, big)) | ((vi)x & (int32_t)0x80000000);
    return v_select(x == x, (vf)y, x); /* odd, also at zero */
}

INLINE vf v_clamp(vf x, vf low, vf high)
{
    return v_select(x < low, low, v_select(x > high, high, x));
}

/* One element function over a vector; the switch is on a constant and disappears. */
INLINE vf v_unary(rcd_unary f, vf x, vf a, vf b)
{
    const vf zero = v_set1(0.0f), one = v_set1(1.0f);
    switch (f) {
    case RCD_UN_EXP:
        return v_exp(x);
    case RCD_UN_TANH:
        return v_tanh(x);
    case RCD_UN_SIGMOID:
        return v_sigmoid(x);
    case RCD_UN_RELU:
        return v_select(x < zero, zero, x);
    case RCD_UN_LEAKY_RELU:
        return v_select(x < zero, a * x, x);
    case RCD_UN_THRESHOLDED:
        return v_select(x > a, x, zero);
    case RCD_UN_HARD_SIGMOID:
        return v_clamp(v_fma(a, x, b), zero, one);
    case RCD_UN_HARD_SWISH:
        return x * v_clamp(v_fma(v_set1(1.0f / 6.0f), x, v_set1(0.5f)), zero, one);
    case RCD_UN_SOFTSIGN:
        return x / (one + v_abs(x));
    case RCD_UN_AFFINE:
        return v_fma(a, x, b);
    case RCD_UN_SCALED_TANH:
        return a * v_tanh(b * x);
    case RCD_UN_GELU_TANH: {
        vf inner = v_fma(v_set1(0.044715f) * x * x, x, x) * v_set1(0.797884560802865f);
        return v_set1(0.5f) * x * (one + v_tanh(inner));
    }
    case RCD_UN_SWISH:
        return x * v_sigmoid(a * x);
    case RCD_UN_RECIPROCAL:
        return one / x;
    case RCD_UN_NEG:
        return -x;
    case RCD_UN_ABS:
        return v_abs(x);
    default: /* RCD_UN_CLIP */
        return v_clamp(x, a, b);
    }
}

#define UNARY_LOOP(F)                                                                              \
    case F:                                                                                        \
        for (size_t i = 0; i < n; i += VF_LANES)                                                   \
            v_storen(y + i, v_unary(F, v_loadn(x + i, n - i), a, b), n - i);                       \
        break;

static void unary(rcd_unary f, size_t n, const float *x, float *y, float alpha, float beta)
{
    const vf a = v_set1(alpha), b = v_set1(beta);
    switch (f) {
        UNARY_LOOP(RCD_UN_EXP)
        UNARY_LOOP(RCD_UN_TANH)
        UNARY_LOOP(RCD_UN_SIGMOID)
        UNARY_LOOP(RCD_UN_RELU)
        UNARY_LOOP(RCD_UN_LEAKY_RELU)
        UNARY_LOOP(RCD_UN_THRESHOLDED)
        UNARY_LOOP(RCD_UN_HARD_SIGMOID)
        UNARY_LOOP(RCD_UN_HARD_SWISH)
        UNARY_LOOP(RCD_UN_SOFTSIGN)
        UNARY_LOOP(RCD_UN_AFFINE)
        UNARY_LOOP(RCD_UN_SCALED_TANH)
        UNARY_LOOP(RCD_UN_GELU_TANH)
        UNARY_LOOP(RCD_UN_SWISH)
        UNARY_LOOP(RCD_UN_RECIPROCAL)
        UNARY_LOOP(RCD_UN_NEG)
        UNARY_LOOP(RCD_UN_ABS)
        UNARY_LOOP(RCD_UN_CLIP)
    default:
        for (size_t i = 0; i < n; i++)
            y[i] = rcd__scalar_unary(f, x[i], alpha, beta);
    }
}
