/* kernels_int.h - the kernel sets that the level files export, and what they share. */
#pragma once
#include "recurd/kernels_reduced.h"

/** NULL where the build has no such level. Threading: any thread. */
const struct rcd_kernels *rcd__kernels_c(void);
const struct rcd_kernels *rcd__kernels_neon(void);
const struct rcd_kernels *rcd__kernels_avx2(void);
const struct rcd_kernels *rcd__kernels_avx512(void);
const struct rcd_kernels *
rcd__kernels_avx512_vnni(void); /* for machines that have AVX512_VNNI, too */
/** gemm_int8 with VNNI. */
void rcd__gemm_int8_vnni(const struct rcd_gemm *g);

/** Functions without a vector form: double precision from the C library, rounded once; the same code
 * on every level. */
float rcd__scalar_unary(rcd_unary f, float x, float alpha, float beta);

/** Panels of a packed matrix: panel p starts at column p * width. */
static inline size_t rcd__panel_width(const struct rcd_packed *b, size_t col)
{
    return b->padded - col < b->width ? b->padded - col : b->width;
}
