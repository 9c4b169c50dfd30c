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
/* Unsigned times signed bytes: pairs in 16 bits (exact for 7-bit planes), then pairs of those. */
#define v_dot4(acc, u, s)                                                                          \
    ((acc) + (vi)_mm512_madd_epi16(_mm512_maddubs_epi16((__m512i)(u), (__m512i)(s)),               \
                                   _mm512_set1_epi16(1)))
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
