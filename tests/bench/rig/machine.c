/* machine.c - what this machine can do at best (machine.h). */
#include "machine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const double round_ns = 20e6;
static volatile float sink;

/* Runs of CHAINS independent chains, LOOPS multiply-adds each. */
enum { CHAINS = 12, LOOPS = 1000 };

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float fma_avx512(void)
{
    __m512 acc[CHAINS], a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.25f);
    for (int c = 0; c < CHAINS; c++)
        acc[c] = _mm512_set1_ps((float)c);
    for (int i = 0; i < LOOPS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            acc[c] = _mm512_fmadd_ps(acc[c], a, b);
    }
    float sum = 0;
    for (int c = 0; c < CHAINS; c++)
        sum += _mm512_reduce_add_ps(acc[c]);
    return sum;
}

__attribute__((target("avx2,fma"))) static float fma_avx2(void)
{
    __m256 acc[CHAINS], a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.25f);
    for (int c = 0; c < CHAINS; c++)
        acc[c] = _mm256_set1_ps((float)c);
    for (int i = 0; i < LOOPS; i++) {
#pragma GCC unroll 12
        for (int c = 0; c < CHAINS; c++)
            acc[c] = _mm256_fmadd_ps(acc[c], a, b);
    }
    float sum = 0;
    for (int c = 0; c < CHAINS; c++)
        sum += _mm256_cvtss_f32(acc[c]);
    return sum;
}

__attribute__((target("avx512f"))) static float read_avx512(const char *p, size_t n)
{
    __m512i acc[4] = {_mm512_setzero_si512()};
    for (size_t i = 0; i < n; i += 256) {
#pragma GCC unroll 4
        for (int v = 0; v < 4; v++)
            acc[v] = _mm512_or_si512(acc[v], _mm512_load_si512(p + i + 64 * v));
    }
    return (float)_mm512_reduce_or_epi32(
        _mm512_or_si512(_mm512_or_si512(acc[0], acc[1]), _mm512_or_si512(acc[2], acc[3])));
}
#endif

typedef float lanes4 __attribute__((vector_size(16)));

/* Where there is no wider form. */
static float fma_plain(void)
{
    lanes4 acc[CHAINS] = {{1}}, a = {0.5f, 0.5f, 0.5f, 0.5f}, b = {0.25f};
    for (int i = 0; i < LOOPS; i++) {
        for (int c = 0; c < CHAINS; c++)
            for (int l = 0; l < 4; l++)
                acc[c][l] = __builtin_fmaf(acc[c][l], a[l], b[l]);
    }
    return acc[0][0] + acc[CHAINS - 1][3];
}

static float read_plain(const char *p, size_t n)
{
    lanes4 acc[4] = {{0}};
    for (size_t i = 0; i < n; i += 64) {
        for (int v = 0; v < 4; v++)
            acc[v] += *(const lanes4 *)(const void *)(p + i + 16 * v);
    }
    return acc[0][0] + acc[1][0] + acc[2][0] + acc[3][0];
}

uint64_t rig_cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double rig_fma_gflops(rcd_cpu_level level)
{
    double lanes = level == RCD_CPU_AVX512 ? 16 : level == RCD_CPU_AVX2 ? 8 : 4;
    float (*once)(void) = fma_plain;
#if defined(__x86_64__)
    if (level >= RCD_CPU_AVX2)
        once = level == RCD_CPU_AVX512 ? fma_avx512 : fma_avx2;
#endif
    size_t n = 0;
    uint64_t start = rig_cpu_ns(), now = start;
    for (; (double)(now - start) < round_ns; now = rig_cpu_ns()) {
        for (int i = 0; i < 20; i++, n++)
            sink = once();
    }
    return 2.0 * lanes * CHAINS * LOOPS * (double)n / (double)(now - start);
}

double rig_read_gbs(rcd_cpu_level level, size_t bytes)
{
    static char *data;
    static size_t have;
    if (bytes > have) {
        have = bytes;
        data = mmap(NULL, have, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (data == MAP_FAILED)
            exit(1);
        madvise(data, have, MADV_HUGEPAGE);
        memset(data, 1, have);
    }
    size_t n = 0;
    float (*once)(const char *, size_t) = read_plain;
#if defined(__x86_64__)
    if (level == RCD_CPU_AVX512)
        once = read_avx512;
#endif
    sink = once(data, bytes);
    uint64_t start = rig_cpu_ns(), now = start;
    for (; (double)(now - start) < round_ns; now = rig_cpu_ns(), n++)
        sink = once(data, bytes);
    return (double)bytes * (double)n / (double)(now - start);
}
