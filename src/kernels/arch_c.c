/* arch_c.c - the kernels in plain C with fmaf: the definition of correct, on any CPU; so simple rather than blocked. */
#include "kernels_int.h"

#include <math.h>

#define VF_LANES 4
#define KERNELS_SIMPLE 1
#define KERNELS_LEVEL RCD_CPU_C
#define KERNELS_NAME "c"
#define v_fma(a, b, c) fma_lanes((a), (b), (c))

typedef float fma_lane4 __attribute__((vector_size(16)));

static inline fma_lane4 fma_lanes(fma_lane4 a, fma_lane4 b, fma_lane4 c)
{
    fma_lane4 y;
    for (int l = 0; l < 4; l++)
        y[l] = fmaf(a[l], b[l], c[l]);
    return y;
}
#include "body.inc.h"

const struct rcd_kernels *rcd__kernels_c(void)
{
    return &kernels;
}
