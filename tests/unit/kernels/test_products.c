/* test_products.c - products: every CPU level, every batch and every chunking of the inner dimension gives the same
 * bits, zeros passed over or not, and nothing is written past an output. */
#include "level_bits.h"
#include "recurd/kernels.h"

#include <math.h>
#include <string.h>

TestSuite(products, .timeout = 400);

enum { MANY_ROWS = 200 };

static void product(const struct rcd_kernels *k, size_t rows, const float *a, size_t lda,
                    const struct rcd_packed *b, const float *bias, bool accumulate, float *out)
{
    const float *ar[MANY_ROWS];
    float *cr[MANY_ROWS];
    for (size_t r = 0; r < rows; r++) {
        ar[r] = a + r * lda;
        cr[r] = out + r * (b->n + GUARD);
        for (size_t g = 0; g < GUARD; g++)
            cr[r][b->n + g] = sentinel;
    }
    struct rcd_gemm g = {
        .rows = rows, .a = ar, .c = cr, .b = b, .bias = bias, .accumulate = accumulate};
    k->gemm(&g);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < GUARD; i++)
            cr_assert(cr[r][b->n + i] == sentinel, "row %zu written past its end on %s", r,
                      k->name);
    }
}

static void check_product(size_t rows, size_t k, size_t n, uint32_t seed)
{
    float *a = random_floats(rows * k + 1, &seed), *b = random_floats(k * n + 1, &seed);
    size_t bytes = 0, out_floats = rows * (n + GUARD);
    cr_assert(rcd_packed_bytes(k, n, &bytes));
    struct rcd_packed p = {.data = aligned_alloc(64, bytes / 64 * 64 + 64)};
    rcd_pack(&p, b, n, 1, k, n, 64);
    float *bias = random_floats(p.padded, &seed);
    float *ref = calloc(out_floats + 1, sizeof *ref), *out = calloc(out_floats + 1, sizeof *out);
    product(rcd_kernels_for(RCD_CPU_C), rows, a, k, &p, bias, false, ref);
    for (size_t r = 0; r < rows; r++) {
        for (size_t j = 0; j < n; j++) {
            double sum = (double)bias[j];
            for (size_t i = 0; i < k; i++)
                sum += (double)a[r * k + i] * (double)b[i * n + j];
            cr_assert(fabs((double)ref[r * (n + GUARD) + j] - sum) < 1e-5 * (double)(k + 1),
                      "%zu x %zu x %zu at %zu,%zu", rows, k, n, r, j);
        }
    }
    for (int level = 0; level < RCD_CPU_MAX; level++) {
        const struct rcd_kernels *kern = rcd_kernels_for((rcd_cpu_level)level);
        if (kern == NULL)
            continue;
        product(kern, rows, a, k, &p, bias, false, out);
        cr_assert(memcmp(ref, out, out_floats * sizeof *out) == 0,
                  "%s differs from c at %zu x %zu x %zu", kern->name, rows, k, n);
        for (size_t r = 0; r < rows; r++) {
            product(kern, 1, a + r * k, k, &p, bias, false, out);
            cr_assert(memcmp(ref + r * (n + GUARD), out, n * sizeof *out) == 0,
                      "row %zu alone differs on %s", r, kern->name);
        }
    }
    free(a), free(b), free(bias), free(ref), free(out), free(p.data);
}

Test(products, products_agree)
{
    static const size_t ks[] = {0, 1, 7, 64, 129}, ns[] = {1, 15, 16, 17, 48, 64, 65, 130};
    uint32_t seed = 1;
    for (size_t rows = 1; rows <= MAX_ROWS; rows += rows < 7 ? 1 : 6) {
        for (size_t i = 0; i < RCD_COUNT(ks); i++) {
            for (size_t j = 0; j < RCD_COUNT(ns); j++)
                check_product(rows, ks[i], ns[j], seed++);
        }
    }
}

/* Larger than the second level, and in parts. */
Test(products, large_products_agree)
{
    uint32_t seed = 5;
    for (size_t rows = 1; rows <= MAX_ROWS; rows += 6) {
        check_product(rows, 1030, 130, seed++);
        check_product(rows, 510, 300, seed++);
    }
    for (size_t rows = 2; rows <= 8; rows++)
        check_product(rows, 510, 300, seed++);
}

/* The first `full` rows and every third one are full, the others have an element in 16 that is not zero; of one the chains underflow to -0
 * before zeros follow. */
static void check_zeros(size_t rows, size_t full, size_t k, size_t n, uint32_t seed)
{
    float *a = random_floats(rows * k, &seed), *b = random_floats(k * n, &seed);
    size_t bytes = 0, out_floats = rows * (n + GUARD);
    cr_assert(rcd_packed_bytes(k, n, &bytes));
    struct rcd_packed p = {.data = aligned_alloc(64, bytes / 64 * 64 + 64)};
    for (size_t i = 0; i < rows * k; i++) {
        const size_t r = i / k;
        if (r >= full && r % 3 != 0 && ((i % k) * 7 + r) % 16 != 0)
            a[i] = (i & 1) != 0 ? -0.0f : 0.0f;
        if (r == full + 1)
            a[i] = i % k == k / 2 ? -1e-30f : 0.0f;
    }
    for (size_t j = 0; j < n; j++)
        b[k / 2 * n + j] = j % 2 == 0 ? 1e-30f : -1e-30f;
    rcd_pack(&p, b, n, 1, k, n, 64);
    float *ref = calloc(out_floats + 1, sizeof *ref), *out = calloc(out_floats + 1, sizeof *out);
    for (int with_bias = 0; with_bias < 2; with_bias++) {
        float *bias = with_bias ? random_floats(p.padded, &seed) : NULL;
        p.finite = false;
        product(rcd_kernels_for(RCD_CPU_C), rows, a, k, &p, bias, false, ref);
        rcd_packed_look(&p);
        cr_assert(p.finite);
        for (size_t i = 0; rcd_kernels_variant(i) != NULL; i++) {
            const struct rcd_kernels *kern = rcd_kernels_variant(i);
            product(kern, rows, a, k, &p, bias, false, out);
            cr_assert(memcmp(ref, out, out_floats * sizeof *out) == 0,
                      "passing over zeros shows on %s at %zu x %zu x %zu", kern->name, rows, k, n);
        }
        free(bias);
    }
    free(a), free(b), free(ref), free(out), free(p.data);
}

Test(products, zeros_on_the_left_may_be_passed_over)
{
    static const size_t ks[] = {128, 131, 700}, ns[] = {7, 16, 33, 48, 130};
    uint32_t seed = 1;
    for (size_t i = 0; i < RCD_COUNT(ks); i++) {
        for (size_t j = 0; j < RCD_COUNT(ns); j++) {
            check_zeros(MAX_ROWS, 0, ks[i], ns[j], seed++);
            check_zeros(4, 0, ks[i], ns[j], seed++);
        }
    }
}

/* Rows are looked at 48 at a time, and where all were full only the first of the next 48. */
Test(products, zeros_after_full_rows)
{
    static const size_t full[] = {48, 95, 96, 97};
    uint32_t seed = 1;
    for (size_t i = 0; i < RCD_COUNT(full); i++) {
        check_zeros(MANY_ROWS, full[i], 131, 16, seed++);
        check_zeros(MANY_ROWS, full[i], 200, 130, seed++);
    }
}

Test(products, infinite_weights_are_seen)
{
    float b[4] = {1, 2, INFINITY, 4}, data[16 * 4] __attribute__((aligned(64)));
    struct rcd_packed p = {.data = data};
    rcd_pack(&p, b, 1, 1, 4, 1, 64);
    rcd_packed_look(&p);
    cr_assert(!p.finite, "0 times infinity is not 0");
    data[2 * 16] = 3;
    rcd_packed_look(&p);
    cr_assert(p.finite);
}

Test(products, a_chain_in_two_parts_is_the_chain)
{
    enum { K = 37, K1 = 14, N = 33 };
    uint32_t seed = 7;
    float *a = random_floats(K, &seed), *b = random_floats(K * N, &seed);
    struct rcd_packed whole = {.data = aligned_alloc(64, 64 * 1024)};
    struct rcd_packed one = {.data = aligned_alloc(64, 64 * 1024)};
    struct rcd_packed two = {.data = aligned_alloc(64, 64 * 1024)};
    rcd_pack(&whole, b, N, 1, K, N, 64);
    rcd_pack(&one, b, N, 1, K1, N, 64);
    rcd_pack(&two, b + K1 * N, N, 1, K - K1, N, 64);
    for (int level = 0; level < RCD_CPU_MAX; level++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
        float want[N + GUARD], got[N + GUARD];
        if (k == NULL)
            continue;
        product(k, 1, a, K, &whole, NULL, false, want);
        product(k, 1, a, K1, &one, NULL, false, got);
        product(k, 1, a + K1, K - K1, &two, NULL, true, got);
        cr_assert(memcmp(want, got, sizeof got) == 0, "chunks differ on %s", k->name);
    }
    free(a), free(b), free(whole.data), free(one.data), free(two.data);
}
