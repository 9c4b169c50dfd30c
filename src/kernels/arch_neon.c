/* arch_neon.c - the kernels on 128-bit registers of AArch64: 32 of them hold six rows by 16 columns. */
#include "kernels_int.h"
#if defined(__aarch64__)
#include <arm_neon.h>

#define VF_LANES 4
#define KERNELS_LEVEL RCD_CPU_NEON
#define KERNELS_NAME "neon"
#define v_fma(a, b, c) ((vf)vfmaq_f32((float32x4_t)(c), (float32x4_t)(a), (float32x4_t)(b)))
#include "body.inc.h"

const struct rcd_kernels *rcd__kernels_neon(void)
{
    return &kernels;
}
#else
const struct rcd_kernels *rcd__kernels_neon(void)
{
    return NULL;
}
#endif
