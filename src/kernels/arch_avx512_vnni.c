/* arch_avx512_vnni.c - the product over int8 weights where AVX-512 can sum four products of bytes at once.
 * Everything else of such a machine is in arch_avx512.c. */
#include "kernels_int.h"
#if defined(__AVX512VNNI__)
#include <immintrin.h>

#define VF_LANES 16
#define v_fma(a, b, c) ((vf)_mm512_fmadd_ps((__m512)(a), (__m512)(b), (__m512)(c)))
#define v_dot4(acc, u, s) ((vi)_mm512_dpbusd_epi32((__m512i)(acc), (__m512i)(u), (__m512i)(s)))
#include "vectors.inc.h"

#include "int8.inc.h"

void rcd__gemm_int8_vnni(const struct rcd_gemm *g)
{
    gemm_int8(g);
}
#else
void rcd__gemm_int8_vnni(const struct rcd_gemm *g)
{
    (void)g;
    RCD_ASSERT(!"chosen only where the machine has it");
}
#endif
