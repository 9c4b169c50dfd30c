/* vectors.inc.h - the native vector `vf` of VF_LANES floats that the kernels are written over, its loads
 * and stores (body.inc.h). */
#include "kernels_int.h"

#include <math.h>
#include <string.h>

typedef float vf __attribute__((vector_size(VF_LANES * 4)));
typedef int32_t vi __attribute__((vector_size(VF_LANES * 4)));
typedef float vf_mem __attribute__((vector_size(VF_LANES * 4), aligned(4), may_alias));

/* KERNELS_SIMPLE: one row at a time everywhere; code that is small and easy to check. */
#ifdef KERNELS_SIMPLE
enum { MAX_ROWS = 1 };
#else
enum { MAX_ROWS = VF_LANES == 16 ? 8 : 6 };
#endif
enum { PER16 = RCD_LANES / VF_LANES, MAX_WIDTH = 64 };

#define INLINE static inline __attribute__((always_inline))

INLINE vf v_load(const float *p)
{
    return *(const vf_mem *)p;
}

INLINE void v_store(float *p, vf v)
{
    *(vf_mem *)p = v;
}

/* The first n < VF_LANES lanes; the others are zero, and stay as they are in memory. */
#ifndef v_load_part
INLINE vf v_load_part(const float *p, size_t n)
{
    vf v = {0};
    memcpy(&v, p, n * sizeof *p);
    return v;
}

INLINE void v_store_part(float *p, vf v, size_t n)
{
    memcpy(p, &v, n * sizeof *p);
}
#endif

INLINE vf v_loadn(const float *p, size_t n)
{
    return n >= VF_LANES ? v_load(p) : v_load_part(p, n);
}

INLINE void v_storen(float *p, vf v, size_t n)
{
    if (n >= VF_LANES)
        v_store(p, v);
    else
        v_store_part(p, v, n);
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

/* a < b ? a : b, and so b where one is NaN. */
#ifndef v_min
INLINE vf v_min(vf a, vf b)
{
    return v_select(a < b, a, b);
}

INLINE vf v_max(vf a, vf b)
{
    return v_select(a > b, a, b);
}
#endif

/* Lane i is p[i * step]. */
#ifndef v_every
INLINE vf v_every(const float *p, size_t step)
{
    vf v = {0};
    for (size_t i = 0; i < VF_LANES; i++)
        v[i] = p[i * step];
    return v;
}
#endif

/* Lane i is lane at[i] of x, 0 <= at[i] < VF_LANES. */
#ifndef v_permute
INLINE vf v_permute(vf x, vi at)
{
    vf v = {0};
    for (size_t i = 0; i < VF_LANES; i++)
        v[i] = x[at[i]];
    return v;
}
#endif

/* Bit i: lane i is not zero (a NaN is not). */
#ifndef v_nonzero
INLINE unsigned v_nonzero(vf x)
{
    unsigned is = 0;
    for (int i = 0; i < VF_LANES; i++)
        is |= (unsigned)(x[i] != 0.0f) << i;
    return is;
}
#endif

/* base + i of the lanes i that are not zero, from `at` on, where VF_LANES numbers may be written: how many. */
#ifndef v_positions
INLINE unsigned v_positions(vf x, uint32_t base, uint32_t *at)
{
    unsigned n = 0;
    for (unsigned is = v_nonzero(x); is != 0; is &= is - 1)
        at[n++] = base + (unsigned)__builtin_ctz(is);
    return n;
}
#endif

/* p * 2^n with one rounding; n a whole number in [-150, 128]. */
#ifndef v_scale
INLINE vf v_scale(vf p, vf n)
{
    vi i =
        (vi)(n + 12582912.0f) - (vi)v_set1(12582912.0f); /* 1.5 * 2^23: the sum's last bits are n */
    vi half = i >> 1;
    return p * (vf)((half + 127) << 23) * (vf)((i - half + 127) << 23);
}
#endif
