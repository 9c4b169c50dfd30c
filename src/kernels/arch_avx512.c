/* arch_avx512.c - the kernels on 512-bit registers: a strip is a whole panel of 64 columns. */
#include "kernels_int.h"
#if defined(__AVX512F__)
#include <immintrin.h>

#define VF_LANES 16
#define KERNELS_LEVEL RCD_CPU_AVX512
#define KERNELS_NAME "avx512"
#define v_fma(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define v_min(a, b) ((vf)_mm512_min_ps((__m512)(a), (__m512)(b)))
#define v_max(a, b) ((vf)_mm512_max_ps((__m512)(a), (__m512)(b)))
#define v_scale(p, n) ((vf)_mm512_scalef_ps((__m512)(p), (__m512)(n)))
#define v_nonzero(x) ((unsigned)_mm512_cmp_ps_mask((__m512)(x), _mm512_setzero_ps(), _CMP_NEQ_UQ))
#define v_positions(x, base, at) positions((__m512)(x), base, at)
#define v_not_zero_bits(x) _mm512_test_epi32_mask((__m512i)(x), (__m512i)(x))
#define v_squeeze(m, x) ((vf)_mm512_maskz_compress_ps((__mmask16)(m), (__m512)(x)))
#define v_expand(m, p) ((vf)_mm512_maskz_expandloadu_ps((__mmask16)(m), (p)))
#define v_load_part(p, n) ((vf)_mm512_maskz_loadu_ps((__mmask16)((1u << (n)) - 1), (p)))
#define v_store_part(p, v, n) _mm512_mask_storeu_ps((p), (__mmask16)((1u << (n)) - 1), (__m512)(v))
#define v_every(p, step)                                                                           \
    ((vf)_mm512_i32gather_ps(_mm512_mullo_epi32(_mm512_set1_epi32((int)(step)), LANE_NUMBERS),     \
                             (p), 4))
#define v_permute(x, at) ((vf)_mm512_permutexvar_ps((__m512i)(at), (__m512)(x)))
#define LANE_NUMBERS _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
/* Unsigned times signed bytes: pairs in 16 bits (exact for 7-bit planes), then pairs of those. */
#define v_dot4(acc, u, s)                                                                          \
    ((acc) + (vi)_mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)(u), (__m512i)(s)),               \
                                   _mm512_set1_epi16(1)))

static inline unsigned positions(__m512 x, uint32_t base, uint32_t *at)
{
    const __mmask16 is = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NEQ_UQ);
    const __m512i all = _mm512_add_epi32(_mm512_set1_epi32((int)base), LANE_NUMBERS);
    _mm512_storeu_si512(at, _mm512_maskz_compress_epi32(is, all));
    return (unsigned)__builtin_popcount(is);
}

#include "body.inc.h"

#define KERNELS_SET kernels_vnni
#define KERNELS_INT8 rcd__gemm_int8_vnni
#include "set.inc.h"

const struct rcd_kernels *rcd__kernels_avx512(void)
{
    return &kernels;
}

const struct rcd_kernels *rcd__kernels_avx512_vnni(void)
{
    return &kernels_vnni;
}
#else
const struct rcd_kernels *rcd__kernels_avx512(void)
{
    return NULL;
}

const struct rcd_kernels *rcd__kernels_avx512_vnni(void)
{
    return NULL;
}
#endif
