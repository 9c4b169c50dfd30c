/* arch_avx2.c - the kernels on 256-bit registers: 16 of them hold six rows by 16 columns. */
#include "kernels_int.h"
#if defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>

#define VF_LANES 8
#define KERNELS_LEVEL RCD_CPU_AVX2
#define KERNELS_NAME "avx2"
#define v_fma(a, b, c) ((vf)_mm256_fmadd_ps((__m256)(a), (__m256)(b), (__m256)(c)))
#define v_min(a, b) ((vf)_mm256_min_ps((__m256)(a), (__m256)(b)))
#define v_max(a, b) ((vf)_mm256_max_ps((__m256)(a), (__m256)(b)))
#define v_nonzero(x)                                                                               \
    ((unsigned)_mm256_movemask_ps(_mm256_cmp_ps((__m256)(x), _mm256_setzero_ps(), _CMP_NEQ_UQ)))
#define v_first(n) _mm256_cmpgt_epi32(_mm256_set1_epi32((int)(n)), LANE_NUMBERS)
#define v_load_part(p, n) ((vf)_mm256_maskload_ps((p), v_first(n)))
#define v_store_part(p, v, n) _mm256_maskstore_ps((p), v_first(n), (__m256)(v))
#define v_every(p, step)                                                                           \
    ((vf)_mm256_i32gather_ps((p),                                                                  \
                             _mm256_mullo_epi32(_mm256_set1_epi32((int)(step)), LANE_NUMBERS), 4))
#define v_permute(x, at) ((vf)_mm256_permutevar8x32_ps((__m256)(x), (__m256i)(at)))
#define LANE_NUMBERS _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7)
/* Unsigned times signed bytes: pairs in 16 bits (exact for 7-bit planes), then pairs of those. */
#define v_dot4(acc, u, s)                                                                          \
    ((acc) + (vi)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)(u), (__m256i)(s)),               \
                                   _mm256_set1_epi16(1)))
#include "body.inc.h"

const struct rcd_kernels *rcd__kernels_avx2(void)
{
    return &kernels;
}
#else
const struct rcd_kernels *rcd__kernels_avx2(void)
{
    return NULL;
}
#endif
