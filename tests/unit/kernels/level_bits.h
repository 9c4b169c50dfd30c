/* level_bits.h - what tests of all CPU levels share: numbers from a seed, memory as kernels want it. */
#pragma once
#include <criterion/criterion.h>
#include <stdint.h>
#include <stdlib.h>

enum { MAX_ROWS = 19, GUARD = 8 };
static const float sentinel = 12345.0f;

static inline float noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(int32_t)*seed / 2147483648.0f;
}

static inline float *random_floats(size_t n, uint32_t *seed)
{
    float *p = aligned_alloc(64, (n * sizeof *p + 127) / 64 * 64);
    for (size_t i = 0; i < n; i++)
        p[i] = noise(seed);
    return p;
}
