/* functions.inc.h - exp, tanh and sigmoid of a vector, and the element functions (body.inc.h).
 *
 * exp: x = n ln2 + r by Cody and Waite, a minimax polynomial for exp(r), then exact scalings so that results below
 * the normal range round once. tests/unit/kernels/every_float.c says how far they are off over all inputs. */

/* exp(sign * r), |r| <= ln2 / 2; sign is 1 or -1, a constant. */
INLINE vf v_exp_poly(vf r, const float sign)
{
    vf p = v_set1(1.3836842581446645e-3f);
    p = v_fma(p, r, v_set1(8.374817322298868e-3f * sign));
    p = v_fma(p, r, v_set1(4.16682257112248e-2f));
    p = v_fma(p, r, v_set1(0.1666642015188325f * sign));
    p = v_fma(p, r, v_set1(0.49999992078821903f));
    p = v_fma(p, r, v_set1(1.0f * sign));
    return v_fma(p, r, v_set1(1.0f));
}

INLINE vf v_exp(vf x)
{
    const vf magic = v_set1(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    vf c = v_max(v_set1(-104.0f), v_min(v_set1(89.0f), x)); /* NaN passes */
    vf t = v_fma(c, v_set1(1.44269504088896341f), magic);
    vf n = t - magic;
    vf r = v_fma(n, v_set1(-0.693359375f), c);
    r = v_fma(n, v_set1(2.12194440e-4f), r);
    return v_scale(v_exp_poly(r, 1.0f), n);
}

/* e / (1 + e) or 1 / (1 + e), e = exp(-|x|), as what it is less than e or 1: the sum's rounding then counts less. */
INLINE vf v_sigmoid(vf x)
{
    vf e = v_exp(-v_abs(x));
    vf top = v_select(x < 0.0f, e, v_set1(1.0f));
    return v_select(x == x, v_fma(-top, e / (e + 1.0f), top), x);
}

/* tanh(x) = num / den. With m = exp(-2|x|) - 1 = 2^n (exp(r) - 1) + 2^n - 1 it is
 * -m / (2 + m); r = -2y, and exp(-2y) - 1 = -2y + y y q(y) is as accurate near zero as elsewhere. 1 <= den <= 2. */
struct v_ratio {
    vf num, den;
};

INLINE struct v_ratio v_tanh_ratio(vf x)
{
    const vf magic =
        v_set1(12583039.0f); /* 1.5 * 2^23 + 127: the sum's last bits are an exponent */
    vf a = v_min(v_set1(10.0f), v_abs(x)); /* NaN passes */
    vf t = v_fma(a, v_set1(-2.88539008177792681f), magic);
    vf y = v_fma(t - magic, v_set1(0.34657359f), a);
    vf q = v_set1(8.884797526130729e-2f);
    q = v_fma(q, y, v_set1(-0.2677328605311298f));
    q = v_fma(q, y, v_set1(0.6666752654072897f));
    q = v_fma(q, y, v_set1(-1.3333234117223007f));
    q = v_fma(q, y, v_set1(1.9999999252825398f));
    q = v_fma(y * y, q, y * -2.0f);
    vf s = (vf)((vi)t << 23);
    vf m = v_fma(q, s, s - 1.0f);
    vi num = ((vi)m & 0x7fffffff) | ((vi)x & (int32_t)0x80000000); /* odd, also at zero */
    return (struct v_ratio){(vf)num, m + 2.0f};
}

/* Near zero a polynomial; else the quotient, less what the rounding of den added to it. Steps do without either. */
INLINE vf v_tanh(vf x)
{
    struct v_ratio t = v_tanh_ratio(x);
    vf y = t.num / t.den, lost = (2.0f - t.den) - v_abs(t.num);
    y = v_fma(y * lost, v_fma(t.den, v_set1(0.5f), v_set1(-1.5f)),
              y); /* 1.5 - den / 2 is about 1 / den */
    vf z = x * x;
    vf p = v_set1(-5.70498872745e-3f);
    p = v_fma(p, z, v_set1(2.06390887954e-2f));
    p = v_fma(p, z, v_set1(-5.37397155531e-2f));
    p = v_fma(p, z, v_set1(1.33314422036e-1f));
    p = v_fma(p, z, v_set1(-3.33332819422e-1f));
    y = v_select(v_abs(x) < 0.625f, v_fma(p * z, x, x), y);
    return (vf)(((vi)y & 0x7fffffff) | ((vi)x & (int32_t)0x80000000)); /* odd, also at zero */
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
