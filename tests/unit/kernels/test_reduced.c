/* test_reduced.c - products over bf16 and int8 weights against their definition (kernels_reduced.h) written
 * out in plain C, bit by bit, on every set of kernels that the machine has; and the gates that follow. */
#include "recurd/kernels_reduced.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TestSuite(reduced, .timeout = 400);

enum { MAX_ROWS = 14, GUARD = 8 };
static const float sentinel = 12345.0f;

static float noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed / 2147483648.0f;
}

static void *aligned(size_t bytes)
{
    return aligned_alloc(64, bytes / 64 * 64 + 64);
}

static float *random_floats(size_t n, uint32_t *seed)
{
    float *p = aligned(n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = noise(seed);
    return p;
}

/* ---- the definitions ---------------------------------------------------------------------------- */

static float round_to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    uint32_t low = bits & 0xffff, up = bits & 0xffff0000;
    if (low > 0x8000 || (low == 0x8000 && (up & 0x10000) != 0))
        up += 0x10000;
    memcpy(&x, &up, sizeof x);
    return x;
}

static float bf16_element(const float *a, const float *b, size_t k, size_t step, float start)
{
    for (size_t i = 0; i < k; i++)
        start = fmaf(a[i], round_to_bf16(b[i * step]), start);
    return start;
}

static float int8_element(const float *a, const float *b, size_t k, size_t step, float start)
{
    float top = 0.0f, column_top = 0.0f;
    bool finite = true;
    for (size_t i = 0; i < k; i++) {
        finite = finite && isfinite(a[i]) && isfinite(b[i * step]);
        top = fmaxf(top, fabsf(a[i]));
        column_top = fmaxf(column_top, fabsf(b[i * step]));
    }
    if (!finite)
        return NAN;
    float scale = column_top < 0x1p-100f ? 0.0f : column_top / 127.0f;
    float s = top < 0x1p-100f ? 0.0f : top / 8191.0f;
    int64_t upper = 0, lower = 0;
    for (size_t i = 0; i < k && s > 0.0f; i++) {
        /* the fma's one rounding to a whole number, in exact arithmetic */
        float inv = 8191.0f / top;
        int64_t u = (int64_t)nearbyint((double)a[i] * (double)inv) + 8192;
        int64_t q = scale > 0.0f ? (int64_t)rintf(b[i * step] / scale) : 0;
        upper += ((u >> 7) - 64) * q;
        lower += (u & 127) * q;
    }
    return fmaf(fmaf((float)upper, 128.0f, (float)lower), s * scale, start);
}

static float element(rcd_weights how, const float *a, const float *b, size_t k, size_t step,
                     float start)
{
    return how == RCD_WEIGHTS_BF16 ? bf16_element(a, b, k, step, start)
                                   : int8_element(a, b, k, step, start);
}

/* ---- products ------------------------------------------------------------------------------------ */

static bool equal(const void *a, const void *b, size_t bytes)
{
    return memcmp(a, b, bytes) == 0;
}

static bool same_bits(float x, float y)
{
    return (isnan(x) && isnan(y)) || equal(&x, &y, sizeof x);
}

struct matrix {
    size_t k, n;
    float *b; /* f32[k][n] */
    struct rcd_packed packed;
    void *mem;
};

static struct matrix matrix_of(float *b, size_t k, size_t n, size_t width, rcd_weights how)
{
    struct matrix m = {.k = k, .n = n, .b = b};
    size_t bytes = 0;
    cr_assert(rcd_packed_bytes(k, n, &bytes));
    struct rcd_packed f32 = {.data = aligned(bytes)};
    rcd_pack(&f32, b, n, 1, k, n, width);
    cr_assert(rcd_reduced_bytes(k, f32.padded, how, &bytes));
    m.mem = aligned(bytes);
    rcd_reduce(&m.packed, &f32, how, m.mem);
    free(f32.data);
    return m;
}

static void multiply(const struct rcd_kernels *k, const struct matrix *m, size_t rows,
                     const float *a, const float *bias, bool accumulate, float *out)
{
    const float *ar[MAX_ROWS];
    float *cr[MAX_ROWS];
    for (size_t r = 0; r < rows; r++) {
        ar[r] = a + r * m->k;
        cr[r] = out + r * (m->n + GUARD);
        for (size_t g = 0; g < GUARD; g++)
            cr[r][m->n + g] = sentinel;
    }
    struct rcd_gemm g = {.rows = rows,
                         .a = ar,
                         .c = cr,
                         .b = &m->packed,
                         .bias = bias,
                         .accumulate = accumulate,
                         .scratch = aligned(rcd_gemm_scratch(&m->packed, rows))};
    rcd_gemm_any(k, &g);
    free(g.scratch);
    for (size_t r = 0; r < rows; r++) {
        for (size_t i = 0; i < GUARD; i++)
            cr_assert(cr[r][m->n + i] == sentinel, "row %zu written past its end on %s", r,
                      k->name);
    }
}

static void check_rows(const struct matrix *m, rcd_weights how, size_t rows, const float *a,
                       uint32_t seed)
{
    size_t ld = m->n + GUARD;
    float *bias = random_floats(m->packed.padded, &seed), *held = random_floats(rows * ld, &seed);
    float *out = aligned(rows * ld * sizeof *out);
    const struct rcd_kernels *k;
    for (size_t set = 0; (k = rcd_kernels_variant(set)) != NULL; set++) {
        for (int accumulate = 0; accumulate < 2; accumulate++) {
            memcpy(out, held, rows * ld * sizeof *out);
            multiply(k, m, rows, a, bias, accumulate == 1, out);
            for (size_t r = 0; r < rows; r++) {
                for (size_t j = 0; j < m->n; j++) {
                    float start = accumulate == 1 ? held[r * ld + j] : bias[j];
                    float want = element(how, a + r * m->k, m->b + j, m->k, m->n, start);
                    cr_assert(same_bits(out[r * ld + j], want),
                              "%s on set %zu (%s): %zu x %zu x %zu at %zu,%zu: %a, want %a",
                              rcd_weights_name(how), set, k->name, rows, m->k, m->n, r, j,
                              (double)out[r * ld + j], (double)want);
                }
            }
        }
    }
    free(bias), free(held), free(out);
}

Test(reduced, products_are_what_the_header_says)
{
    static const size_t ks[] = {0, 1, 2, 3, 4, 7, 64, 129}, ns[] = {1, 15, 16, 17, 48, 64, 65, 130};
    static const size_t widths[] = {16, 32, 48, 64};
    uint32_t seed = 1;
    for (int how = RCD_WEIGHTS_BF16; how < RCD_WEIGHTS_MAX; how++) {
        for (size_t i = 0; i < RCD_COUNT(ks) * RCD_COUNT(ns); i++) {
            size_t k = ks[i % RCD_COUNT(ks)], n = ns[i / RCD_COUNT(ks)];
            float *b = random_floats(k * n, &seed), *a = random_floats(MAX_ROWS * k, &seed);
            struct matrix m = matrix_of(b, k, n, widths[i % 4], (rcd_weights)how);
            for (size_t rows = 1; rows <= MAX_ROWS; rows += rows < 7 ? 1 : 7)
                check_rows(&m, (rcd_weights)how, rows, a, seed++);
            free(a), free(b), free(m.mem);
        }
    }
}

/* Sums at their largest: nothing may saturate or wrap. */
Test(reduced, the_largest_sums_are_exact)
{
    enum { K = 5000, N = 20, ROWS = 4 };
    float *b = aligned(K * N * sizeof *b), *a = aligned(ROWS * K * sizeof *a);
    for (size_t i = 0; i < K * N; i++)
        b[i] = i % N % 2 == 0 ? 3.0f : -3.0f;
    for (size_t i = 0; i < ROWS * K; i++)
        a[i] = i / K == 0 ? 5.0f : i / K == 1 ? -5.0f : i % 2 == 0 ? 5.0f : -4.99f;
    struct matrix m = matrix_of(b, K, N, 64, RCD_WEIGHTS_INT8);
    check_rows(&m, RCD_WEIGHTS_INT8, ROWS, a, 3);
    free(a), free(b), free(m.mem);
    size_t bytes = 0;
    cr_assert(rcd_reduced_bytes(RCD_INT8_MAX_K, 16, RCD_WEIGHTS_INT8, &bytes));
    cr_assert_not(rcd_reduced_bytes(RCD_INT8_MAX_K + 1, 16, RCD_WEIGHTS_INT8, &bytes));
    cr_assert(rcd_reduced_bytes(RCD_INT8_MAX_K + 1, 16, RCD_WEIGHTS_BF16, &bytes));
}

Test(reduced, odd_values)
{
    enum { K = 9, N = 18, ROWS = 8 };
    uint32_t seed = 5;
    float *b = random_floats(K * N, &seed), *a = random_floats(ROWS * K, &seed);
    for (size_t i = 0; i < K; i++) {
        a[0 * K + i] = 0.0f;
        a[1 * K + i] *= 0x1p-110f; /* counts as zeros */
        a[2 * K + i] *= 0x1p-90f;
        a[3 * K + i] *= 0x1p+120f;
        b[i * N + 3] = 0.0f;
        b[i * N + 4] *= 0x1p-120f;
        b[i * N + 5] *= 0x1p-90f;
    }
    a[4 * K + 2] = INFINITY;
    a[5 * K + 8] = NAN;
    a[6 * K + 1] = -INFINITY;
    b[2 * N + 7] = NAN;
    b[3 * N + 8] = INFINITY;
    struct matrix m = matrix_of(b, K, N, 64, RCD_WEIGHTS_INT8);
    check_rows(&m, RCD_WEIGHTS_INT8, ROWS, a, 7);
    free(m.mem);
    b[2 * N + 7] = 0x1p-130f; /* subnormal, also as bf16 */
    m = matrix_of(b, K, N, 64, RCD_WEIGHTS_BF16);
    check_rows(&m, RCD_WEIGHTS_BF16, ROWS, a, 9);
    free(a), free(b), free(m.mem);
}

Test(reduced, a_row_alone_has_the_bits_of_the_batch)
{
    enum { K = 70, N = 80 };
    uint32_t seed = 11;
    float *b = random_floats(K * N, &seed), *a = random_floats(MAX_ROWS * K, &seed);
    static float all[MAX_ROWS * (N + GUARD)], one[N + GUARD];
    for (int how = RCD_WEIGHTS_BF16; how < RCD_WEIGHTS_MAX; how++) {
        struct matrix m = matrix_of(b, K, N, 64, (rcd_weights)how);
        const struct rcd_kernels *k;
        for (size_t set = 0; (k = rcd_kernels_variant(set)) != NULL; set++) {
            multiply(k, &m, MAX_ROWS, a, NULL, false, all);
            for (size_t r = 0; r < MAX_ROWS; r++) {
                multiply(k, &m, 1, a + r * K, NULL, false, one);
                cr_assert(equal(one, all + r * (N + GUARD), sizeof one), "row %zu on %s", r,
                          k->name);
            }
        }
        free(m.mem);
    }
    free(a), free(b);
}

Test(reduced, sizes_and_names)
{
    size_t bf16 = 0, int8 = 0;
    cr_assert(rcd_reduced_bytes(256, 1024, RCD_WEIGHTS_BF16, &bf16));
    cr_assert(rcd_reduced_bytes(256, 1024, RCD_WEIGHTS_INT8, &int8));
    cr_assert(bf16 == 256 * 1024 * 2);
    cr_assert(int8 == 256 * 1024 + 8 * 1024);
    cr_assert_not(rcd_reduced_bytes(SIZE_MAX / 2, 1024, RCD_WEIGHTS_BF16, &bf16));
    for (int how = 0; how < RCD_WEIGHTS_MAX; how++)
        cr_assert((int)rcd_weights_parse(rcd_weights_name((rcd_weights)how)) == how);
    cr_assert(rcd_weights_parse("fp4") == RCD_WEIGHTS_MAX);
}

/* ---- gates ---------------------------------------------------------------------------------------- */

/* Rows of a step: pre-activations, states, results; f32 weights, so that the fused step is the judge. */
enum { H = 37, PADDED = 48, STEP_ROWS = 5 };
struct step {
    struct rcd_packed r, r_h;
    const float *pre[STEP_ROWS], *h[STEP_ROWS], *rec[STEP_ROWS];
    float *in[2][STEP_ROWS], *sum[STEP_ROWS], *c[2][STEP_ROWS], *out[2][STEP_ROWS], *zs[STEP_ROWS],
        *rh[STEP_ROWS];
    float *rb;
};

static void rows_of(float **rows, size_t n, uint32_t *seed)
{
    for (size_t r = 0; r < STEP_ROWS; r++)
        rows[r] = random_floats(n, seed);
}

static void step_init(struct step *s, size_t gates, size_t first)
{
    static const uint8_t map[4] = {0, 1, 2, 3};
    uint32_t seed = 17;
    float *w = random_floats(4 * H * H, &seed);
    s->r.data = aligned(4 * PADDED * H * sizeof(float));
    s->r_h.data = aligned(4 * PADDED * H * sizeof(float));
    rcd_pack_gates(&s->r, w, first, map, H, H);
    rcd_pack_gates(&s->r_h, w + 2 * H * H, 1, map, H, H);
    rows_of(s->in[0], gates * PADDED, &seed);
    rows_of(s->in[1], H, &seed);
    rows_of(s->c[0], PADDED, &seed);
    rows_of(s->c[1], PADDED, &seed);
    rows_of(s->out[0], PADDED, &seed);
    rows_of(s->out[1], PADDED, &seed);
    rows_of(s->zs, PADDED, &seed);
    rows_of(s->rh, PADDED, &seed);
    rows_of(s->sum, 4 * PADDED, &seed);
    s->rb = random_floats(PADDED, &seed);
    for (size_t r = 0; r < STEP_ROWS; r++) {
        memcpy(s->c[1][r], s->c[0][r], H * sizeof(float));
        s->pre[r] = s->in[0][r];
        s->h[r] = s->in[1][r];
        s->rec[r] = s->sum[r];
    }
    free(w);
}

static void step_done(struct step *s)
{
    for (size_t r = 0; r < STEP_ROWS; r++) {
        free(s->in[0][r]), free(s->in[1][r]), free(s->sum[r]), free(s->c[0][r]), free(s->c[1][r]);
        free(s->out[0][r]), free(s->out[1][r]), free(s->zs[r]), free(s->rh[r]);
    }
    free(s->rb), free(s->r.data), free(s->r_h.data);
}

static void add_product(const struct rcd_kernels *k, const float *const *a,
                        const struct rcd_packed *b, float *const *c)
{
    struct rcd_gemm g = {
        .rows = STEP_ROWS, .a = a, .c = c, .b = b, .accumulate = true, .c_padded = true};
    rcd_gemm_any(k, &g);
}

static void compare(const struct step *s, const char *what, const char *set)
{
    for (size_t r = 0; r < STEP_ROWS; r++) {
        cr_assert(equal(s->out[0][r], s->out[1][r], H * sizeof(float)), "%s h on %s", what, set);
        cr_assert(equal(s->c[0][r], s->c[1][r], H * sizeof(float)), "%s c on %s", what, set);
    }
}

/* Group g of `to` from group `from`: 16 units, gates interleaved. */
static void copy_gates(float *to, size_t to_gates, const float *from, size_t from_gates,
                       size_t gate, size_t n)
{
    for (size_t u = 0; u < PADDED; u += RCD_LANES)
        memcpy(to + u * to_gates, from + u * from_gates + gate * RCD_LANES,
               n * RCD_LANES * sizeof *to);
}

Test(reduced, lstm_gates_are_those_of_the_fused_step)
{
    const struct rcd_kernels *k;
    for (size_t set = 0; (k = rcd_kernels_variant(set)) != NULL; set++) {
        static struct step s;
        step_init(&s, 4, 4);
        struct rcd_lstm_step fused = {.rows = STEP_ROWS,
                                      .hidden = H,
                                      .pre = s.pre,
                                      .h_in = s.h,
                                      .h_out = s.out[0],
                                      .c_in = (const float *const *)s.c[0],
                                      .c_out = s.c[0],
                                      .r = &s.r};
        k->lstm_step(&fused);
        for (size_t r = 0; r < STEP_ROWS; r++)
            memcpy(s.sum[r], s.pre[r], 4 * PADDED * sizeof(float));
        add_product(k, s.h, &s.r, s.sum);
        struct rcd_gates gates = {
            .rows = STEP_ROWS, .hidden = H, .pre = s.rec, .h_out = s.out[1], .c = s.c[1]};
        k->lstm_gates(&gates);
        compare(&s, "lstm", k->name);
        step_done(&s);
    }
}

static void fused_gru(const struct rcd_kernels *k, struct step *s, bool linear)
{
    struct rcd_gru_step fused = {.rows = STEP_ROWS,
                                 .hidden = H,
                                 .pre = s->pre,
                                 .h_in = s->h,
                                 .h_out = s->out[0],
                                 .linear_before_reset = linear,
                                 .r = &s->r,
                                 .rb_h = s->rb,
                                 .r_h = &s->r_h,
                                 .rh = s->rh,
                                 .zs = s->zs};
    k->gru_step(&fused);
}

Test(reduced, gru_gates_are_those_of_the_fused_steps)
{
    const struct rcd_kernels *k;
    for (size_t set = 0; (k = rcd_kernels_variant(set)) != NULL; set++) {
        static struct step s;
        step_init(&s, 3, 3);
        fused_gru(k, &s, true);
        for (size_t r = 0; r < STEP_ROWS; r++) {
            copy_gates(s.sum[r], 3, s.pre[r], 3, 0, 2);
            copy_gates(s.sum[r] + 2 * RCD_LANES, 3, s.rb, 1, 0, 1);
        }
        add_product(k, s.h, &s.r, s.sum);
        struct rcd_gates gates = {.rows = STEP_ROWS,
                                  .hidden = H,
                                  .pre = s.pre,
                                  .rec = s.rec,
                                  .h_in = s.h,
                                  .h_out = s.out[1],
                                  .zs = s.zs,
                                  .rh = s.rh};
        k->gru_linear_gates(&gates);
        compare(&s, "gru, linear", k->name);
        step_done(&s);

        step_init(&s, 3, 2);
        fused_gru(k, &s, false);
        for (size_t r = 0; r < STEP_ROWS; r++)
            copy_gates(s.sum[r], 2, s.pre[r], 3, 0, 2);
        add_product(k, s.h, &s.r, s.sum);
        gates.h_in = s.h;
        k->gru_reset(&gates);
        for (size_t r = 0; r < STEP_ROWS; r++)
            copy_gates(s.sum[r], 1, s.pre[r], 3, 2, 1);
        add_product(k, (const float *const *)s.rh, &s.r_h, s.sum);
        k->gru_blend(&gates);
        compare(&s, "gru", k->name);
        step_done(&s);
    }
}
