/* move.h - copying elements of any size between strided places: what Transpose, Slice, Pad, Tile and
 * Expand have in common. */
#pragma once
#include "ops.h"

/** Copy a box: out is written densely in order; element (i0, i1, ...) comes from
 * in + sum(i_d * stride[d]) elements. dims[rank]; rank may be 0 (one element). */
void rcd__gather_box(void *out, const void *in, size_t elem, int rank, const int64_t *dims,
                     const int64_t *stride);
/** Dense row-major strides of a shape, in elements. */
void rcd__strides(int rank, const int64_t *dims, int64_t *ret);
/** n times the element `value`; out and value do not overlap. */
void rcd__repeat(void *out, size_t n, size_t elem, const void *value);
