/* test_functions.c - accuracy and special values of exp, tanh and sigmoid on every CPU level. */
#include "recurd/kernels.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TestSuite(functions, .timeout = 400);

static double exact(rcd_unary f, double x)
{
    return f == RCD_UN_EXP ? exp(x) : f == RCD_UN_TANH ? tanh(x) : 1.0 / (1.0 + exp(-x));
}

/* Distance in units of the last place of the exact value's float. */
static double ulps(float got, double want)
{
    float near = (float)want;
    if (isinf(near) || isinf(got))
        return near == got ? 0.0 : 1e9;
    double unit = (double)nextafterf(fabsf(near), INFINITY) - (double)fabsf(near);
    return fabs((double)got - want) / unit;
}

static void sweep(rcd_unary f, float low, float high, double limit)
{
    enum { N = 200003 };
    static float x[N], y[N];
    for (int i = 0; i < N; i++)
        x[i] = low + (high - low) * (float)i / (float)(N - 1);
    for (int level = 0; level < RCD_CPU_MAX; level++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
        if (k == NULL)
            continue;
        k->unary(f, N, x, y, 0.0f, 0.0f);
        double worst = 0.0;
        for (int i = 0; i < N; i++) {
            double d = ulps(y[i], exact(f, (double)x[i]));
            worst = d > worst ? d : worst;
        }
        cr_expect(worst <= limit, "%s: %f ulp in [%g, %g] on %s", f == RCD_UN_EXP ? "exp" : "f",
                  worst, (double)low, (double)high, k->name);
    }
}

Test(functions, exp_within_two_ulp)
{
    sweep(RCD_UN_EXP, -104.0f, 88.8f, 2.0);
    sweep(RCD_UN_EXP, -1.0f, 1.0f, 2.0);
}

Test(functions, tanh_within_two_ulp)
{
    sweep(RCD_UN_TANH, -10.0f, 10.0f, 2.0);
    sweep(RCD_UN_TANH, -0.7f, 0.7f, 2.0);
    sweep(RCD_UN_TANH, 0.0f, 1e-3f, 2.0);
}

Test(functions, sigmoid_within_two_ulp)
{
    sweep(RCD_UN_SIGMOID, -100.0f, 100.0f, 2.0);
    sweep(RCD_UN_SIGMOID, -2.0f, 2.0f, 2.0);
}

Test(functions, special_values)
{
    const float in[] = {NAN, INFINITY, -INFINITY, 0.0f, -0.0f, 1e-40f, 1000.0f, -1000.0f};
    const struct {
        rcd_unary f;
        float want[8];
    } rows[] = {
        {RCD_UN_EXP, {NAN, INFINITY, 0.0f, 1.0f, 1.0f, 1.0f, INFINITY, 0.0f}},
        {RCD_UN_TANH, {NAN, 1.0f, -1.0f, 0.0f, -0.0f, 1e-40f, 1.0f, -1.0f}},
        {RCD_UN_SIGMOID, {NAN, 1.0f, 0.0f, 0.5f, 0.5f, 0.5f, 1.0f, 0.0f}},
        {RCD_UN_RELU, {NAN, INFINITY, 0.0f, 0.0f, -0.0f, 1e-40f, 1000.0f, 0.0f}},
    };
    for (int level = 0; level < RCD_CPU_MAX; level++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
        for (size_t r = 0; k != NULL && r < RCD_COUNT(rows); r++) {
            float out[8];
            k->unary(rows[r].f, 8, in, out, 0.0f, 0.0f);
            for (int i = 0; i < 8; i++) {
                bool same = memcmp(&out[i], &rows[r].want[i], sizeof out[i]) == 0 ||
                            (isnan(out[i]) && isnan(rows[r].want[i]));
                cr_expect(same, "function %d of %g is %g on %s", (int)rows[r].f, (double)in[i],
                          (double)out[i], k->name);
            }
        }
    }
}

/* Lane l of 16 takes elements l, l + 16, ...; then the lanes fold 8, 4, 2, 1. */
static float sum_by_definition(size_t n, const float *x)
{
    float lanes[RCD_LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lanes[i % RCD_LANES] += x[i];
    for (size_t step = RCD_LANES / 2; step > 0; step /= 2) {
        for (size_t l = 0; l < step; l++)
            lanes[l] += lanes[l + step];
    }
    return lanes[0];
}

Test(functions, sums_are_the_tree_of_16_lanes)
{
    float x[50];
    for (int i = 0; i < 50; i++)
        x[i] = i % 7 == 3 ? -0.0f : (float)(i * 37 % 23 - 11) / 7.0f;
    for (int level = 0; level < RCD_CPU_MAX; level++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
        for (size_t from = 0; k != NULL && from < 4; from++) {
            for (size_t n = 0; from + n <= 50; n++) {
                const float got = k->sum(n, x + from), want = sum_by_definition(n, x + from);
                cr_expect(memcmp(&got, &want, sizeof got) == 0, "%zu from %zu: %a, want %a on %s",
                          n, from, (double)got, (double)want, k->name);
            }
        }
        for (size_t n = 0; k != NULL && n <= 50; n++) {
            float got[51];
            const size_t rows = n > 0 ? 50 / n : 50;
            got[rows] = 12345.0f;
            k->sums(rows, n, x, got);
            cr_expect(got[rows] == 12345.0f);
            for (size_t r = 0; r < rows; r++) {
                const float want = sum_by_definition(n, x + r * n);
                cr_expect(memcmp(&got[r], &want, sizeof want) == 0, "row %zu of %zu on %s", r, n,
                          k->name);
            }
        }
    }
}
