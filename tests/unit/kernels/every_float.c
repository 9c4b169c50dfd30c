/* every_float.c - how far exp, tanh and sigmoid are from the truth, over float32 inputs in the order of their bits; the
 * element functions, and the forms that recurrent steps use. Every CPU level must give the same bits.
 *
 * usage: every_float [STRIDE [PART OF]]: every STRIDE-th input; 1 (some minutes) is all 2^32; of these part PART (0 on)
 * of OF, for several processes. Prints the worst of each function; fails beyond two units in the last place; 2.6 and
 * 3.3 for the forms within steps, which share divisions (a gate is farthest off at -16.6, where it is 6e-8). */
#include "recurd/kernels.h"
#include "truth.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 1 << 14,
    ROWS = 64,
    C_SHARE = 61
}; /* plain C takes every 61st block: its fmaf may be a call */
/* Beyond this a gate is within 1e-8 of 0 or 1, and smaller errors than that are not seen in a state. */
static const float gate_range = 20.0f;

typedef void evaluate(const struct rcd_kernels *k, size_t n, const float *x, float *y);

static void eval_exp(const struct rcd_kernels *k, size_t n, const float *x, float *y)
{
    k->unary(RCD_UN_EXP, n, x, y, 0, 0);
}

static void eval_tanh(const struct rcd_kernels *k, size_t n, const float *x, float *y)
{
    k->unary(RCD_UN_TANH, n, x, y, 0, 0);
}

static void eval_sigmoid(const struct rcd_kernels *k, size_t n, const float *x, float *y)
{
    k->unary(RCD_UN_SIGMOID, n, x, y, 0, 0);
}

/* Steps of a GRU whose recurrent weights are zero: h' = z * 1 + (1 - z) * 0 shows z, and with z as good as zero
 * h' = tanh(x). */
static void eval_gru(const struct rcd_kernels *k, size_t n, const float *x, float *y, bool show_z)
{
    static float zeros[RCD_LANES * 3 * RCD_LANES], ones[RCD_LANES], pre[ROWS][3 * RCD_LANES];
    const struct rcd_packed r = {.k = RCD_LANES,
                                 .n = 3 * RCD_LANES,
                                 .padded = 3 * RCD_LANES,
                                 .width = 3 * RCD_LANES,
                                 .data = zeros};
    const float *pre_row[ROWS], *h[ROWS];
    float *out[ROWS];
    for (size_t i = 0; i < RCD_LANES; i++)
        ones[i] = 1.0f;
    for (size_t at = 0; at < n; at += RCD_LANES * ROWS) {
        for (size_t row = 0; row < ROWS; row++) {
            const float *from = x + at + row * RCD_LANES;
            for (size_t i = 0; i < RCD_LANES; i++) {
                pre[row][i] = show_z ? from[i] : -50.0f;
                pre[row][2 * RCD_LANES + i] = show_z ? 0.0f : from[i];
            }
            pre_row[row] = pre[row];
            h[row] = show_z ? ones : zeros;
            out[row] = y + at + row * RCD_LANES;
        }
        const struct rcd_gru_step s = {.rows = ROWS,
                                       .hidden = RCD_LANES,
                                       .pre = pre_row,
                                       .h_in = h,
                                       .h_out = out,
                                       .linear_before_reset = true,
                                       .r = &r,
                                       .rb_h = zeros};
        k->gru_step(&s);
    }
}

static void eval_gate(const struct rcd_kernels *k, size_t n, const float *x, float *y)
{
    eval_gru(k, n, x, y, true);
}

static void eval_gate_tanh(const struct rcd_kernels *k, size_t n, const float *x, float *y)
{
    eval_gru(k, n, x, y, false);
}

static struct function {
    const char *name;
    evaluate *eval;
    void (*exact)(size_t n, const float *x, double *y);
    bool gate;
    double limit; /* units in the last place */
    double worst;
    float worst_at;
} functions[] = {
    {.name = "exp", .eval = eval_exp, .exact = truth_exp, .limit = 2.0},
    {.name = "tanh", .eval = eval_tanh, .exact = truth_tanh, .limit = 2.0},
    {.name = "sigmoid", .eval = eval_sigmoid, .exact = truth_sigmoid, .limit = 2.0},
    {.name = "tanh of a step", .eval = eval_gate_tanh, .exact = truth_tanh, .limit = 2.6},
    {.name = "gate of a step",
     .eval = eval_gate,
     .exact = truth_sigmoid,
     .gate = true,
     .limit = 3.3},
};

static double ulps(float got, double want)
{
    float near = (float)want;
    if (isnan(want) || isnan(got))
        return isnan(want) && isnan(got) ? 0.0 : 1e9;
    if (isinf(near) || isinf(got))
        return near == got ? 0.0 : 1e9;
    double unit = (double)nextafterf(fabsf(near), INFINITY) - (double)fabsf(near);
    return fabs((double)got - want) / unit;
}

/* The same for many, quickly; where one of the two is no number, or `near` an infinity, less than zero. */
static void ulps_of(size_t n, const float *got, const double *want, double *ret)
{
    for (size_t i = 0; i < n; i++) {
        const float near = (float)want[i];
        uint32_t bits;
        memcpy(&bits, &near, sizeof bits);
        bits = bits >> 23 & 255;
        const uint64_t unit = (uint64_t)(1023 + 150 - (bits > 1 ? bits : 1)) << 52;
        double per_unit; /* 2^(150 - exponent) */
        memcpy(&per_unit, &unit, sizeof unit);
        const double off = fabs((double)got[i] - want[i]) * per_unit;
        ret[i] = bits != 255 && off <= 1e9 ? off : -1.0;
    }
}

/* false: another level gave other bits. */
static bool check_block(struct function *f, const float *x, bool with_c)
{
    static float y[BLOCK], other[BLOCK];
    rcd_cpu_level best = rcd_cpu_best(RCD_CPU_AVX512);
    f->eval(rcd_kernels_for(best), BLOCK, x, y);
    for (int level = with_c ? RCD_CPU_C : RCD_CPU_C + 1; level < (int)best; level++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
        if (k == NULL)
            continue;
        f->eval(k, BLOCK, x, other);
        for (size_t i = 0; memcmp(y, other, sizeof y) != 0 && i < BLOCK; i++) {
            if (memcmp(&y[i], &other[i], sizeof y[i]) != 0 && !(isnan(y[i]) && isnan(other[i]))) {
                printf("%s of %a is %a, on %s %a\n", f->name, (double)x[i], (double)y[i], k->name,
                       (double)other[i]);
                return false;
            }
        }
    }
    static double want[BLOCK], off[BLOCK];
    f->exact(BLOCK, x, want);
    ulps_of(BLOCK, y, want, off);
    for (size_t i = 0; i < BLOCK; i++) {
        bool far_out = f->gate && fabsf(x[i]) > gate_range;
        double d = off[i] < 0.0 ? ulps(y[i], want[i]) : off[i];
        if (far_out)
            d = fabs((double)y[i] - want[i]) > 1e-8 ? 1e9 : 0.0;
        if (d > f->worst) {
            f->worst = d;
            f->worst_at = x[i];
        }
    }
    return true;
}

/* What the truth is held against: the C library, here and there. */
static bool truth_holds(const struct function *f, double (*libm)(double))
{
    enum { SOME = 1 << 14 };
    static float x[SOME];
    static double y[SOME];
    for (uint32_t i = 0; i < SOME; i++) {
        const uint32_t bits = i * 262139u;
        memcpy(&x[i], &bits, sizeof bits);
    }
    f->exact(SOME, x, y);
    for (size_t i = 0; i < SOME; i++) {
        const double want = libm((double)x[i]);
        if (fabs((double)x[i]) < 100.0 && !(fabs(y[i] - want) <= 2e-15 * want) &&
            !(fabs(y[i] - want) <= -2e-15 * want)) {
            printf("truth of %s at %a\n", f->name, (double)x[i]);
            return false;
        }
        if (isnan(x[i]) && !isnan(y[i]))
            return false;
    }
    return true;
}

static double sigmoid(double x)
{
    return 1.0 / (1.0 + exp(-x));
}

int main(int argc, char **argv)
{
    uint64_t stride = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    uint64_t part = argc > 3 ? strtoull(argv[2], NULL, 10) : 0;
    uint64_t of = argc > 3 ? strtoull(argv[3], NULL, 10) : 1;
    if (stride == 0 || part >= of)
        return 2;
    static float x[BLOCK];
    bool good = truth_holds(&functions[0], exp) && truth_holds(&functions[1], tanh) &&
                truth_holds(&functions[2], sigmoid);
    uint64_t bits = 0;
    for (size_t block = 0; bits < (uint64_t)1 << 32 && good; block++) {
        for (size_t i = 0; i < BLOCK; i++, bits += stride) {
            uint32_t b = (uint32_t)bits;
            memcpy(&x[i], &b, sizeof b);
        }
        for (size_t f = 0; f < RCD_COUNT(functions) && good && block % of == part; f++)
            good = check_block(&functions[f], x, block / of % C_SHARE == 0);
    }
    for (size_t f = 0; f < RCD_COUNT(functions); f++) {
        printf("%-15s at most %.3f ulp off, at %a\n", functions[f].name, functions[f].worst,
               (double)functions[f].worst_at);
        good = good && functions[f].worst <= functions[f].limit;
    }
    return good ? 0 : 1;
}
