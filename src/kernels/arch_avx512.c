/* arch_avx512.c - the kernels on 512-bit registers: a strip is a whole panel of 64 columns. */
#include "kernels_int.h"
#if defined(__AVX512F__)
#include <immintrin.h>

#define VF_LANES 16
#define STRIP_VECTORS 4
#define KERNELS_LEVEL RCD_CPU_AVX512
#define KERNELS_NAME "avx512"
#define v_fma(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#include "body.inc.h"

const struct rcd_kernels *rcd__kernels_avx512(void)
{
    return &kernels;
}
#else
const struct rcd_kernels *rcd__kernels_avx512(void)
{
    return NULL;
}
#endif
