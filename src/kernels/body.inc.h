/* body.inc.h - the kernels, written once over a native vector `vf` of VF_LANES floats and compiled for
 * each CPU level by arch_*.c, which define VF_LANES, KERNELS_NAME, KERNELS_LEVEL, STRIP_VECTORS and
 * v_fma(a, b, c) = a * b + c with one rounding.
 *
 * Everything is lane by lane with IEEE operations in a fixed order, so the vector's width never shows.
 * Sums along a row keep 16 logical lanes whatever the native width. */
#include "kernels_int.h"

#include <math.h>
#include <string.h>

typedef float vf __attribute__((vector_size(VF_LANES * 4)));
typedef int32_t vi __attribute__((vector_size(VF_LANES * 4)));
typedef float vf_mem __attribute__((vector_size(VF_LANES * 4), aligned(4), may_alias));

enum { PER16 = RCD_LANES / VF_LANES, MAX_ROWS = 6, MAX_WIDTH = 64 };

#define INLINE static inline __attribute__((always_inline))

INLINE vf v_load(const float *p)
{
    return *(const vf_mem *)p;
}

INLINE void v_store(float *p, vf v)
{
    *(vf_mem *)p = v;
}

INLINE vf v_loadn(const float *p, size_t n)
{
    vf v = {0};
    if (n >= VF_LANES)
        return v_load(p);
    memcpy(&v, p, n * sizeof *p);
    return v;
}

INLINE void v_storen(float *p, vf v, size_t n)
{
    if (n >= VF_LANES)
        v_store(p, v);
    else
        memcpy(p, &v, n * sizeof *p);
}

INLINE vf v_set1(float x)
{
    return x - (vf){0}; /* keeps the sign of zero, unlike an addition */
}

INLINE vf v_select(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

INLINE vf v_abs(vf x)
{
    return (vf)((vi)x & 0x7fffffff);
}

#include "functions.inc.h"
#include "product.inc.h"
#include "rows.inc.h"
#include "sparse.inc.h"
#include "steps.inc.h"

static const struct rcd_kernels kernels = {
    .level = KERNELS_LEVEL,
    .name = KERNELS_NAME,
    .gemm = gemm,
    .lstm_step = lstm_step,
    .gru_step = gru_step,
    .rnn_step = rnn_step,
    .unary = unary,
    .sum = row_sum,
    .max = row_max,
    .softmax = softmax,
    .layer_norm = layer_norm,
    .axpy = axpy,
    .spmm = spmm,
};
