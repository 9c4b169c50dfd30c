/* conv.h - the sizes of a convolution, and the receptive fields of its output positions (conv.c, conv_fields.c). */
#ifndef RCD_ENGINE_OPS_CONV_H
#define RCD_ENGINE_OPS_CONV_H

#include "spatial.h"

/** Sizes of one call. Fewer spatial dims than three are the last ones, the first are 1. */
struct rcd__conv {
    int dims;
    size_t batch, channels, maps, group, in_per, out_per;
    size_t field; /* elements of a receptive field, in_per * kernel */
    struct rcd__dim d[RCD__SPATIAL];
    size_t positions;
};

/** One spatial dim without gaps: an image turned to f32[position][channel] has each field in one piece, and those of
 * neighbours overlap. Fields, and the rows of packed weights, are then f32[kernel][in_per]; else f32[in_per][kernel...]. */
bool rcd__conv_windows(int dims, int64_t dilation);

/** Elements of the image that rcd__conv_turn makes; false: too many. */
bool rcd__conv_turned(const struct rcd__conv *g, size_t *ret_n);

/** The image x f32[in_per][in] as f32[pad + in + end][in_per]: in `room`, or x itself where that is the same. */
const float *rcd__conv_turn(const struct rcd__conv *g, const float *x, float *room);

/** The field of output position `at` of x f32[in_per][in...]: f32[in_per][kernel...], zeros outside. */
void rcd__conv_field(const struct rcd__conv *g, const float *x, size_t at, float *row);

#endif
