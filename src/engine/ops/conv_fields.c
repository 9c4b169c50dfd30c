/* conv_fields.c - the receptive fields of a convolution's output positions. */
#include "conv.h"

#include <string.h>

bool rcd__conv_windows(int dims, int64_t dilation)
{
    return dims == 1 && dilation == 1;
}

bool rcd__conv_turned(const struct rcd__conv *g, size_t *ret_n)
{
    const int d = RCD__SPATIAL - 1;
    const size_t positions = (size_t)(g->pad[d] + g->in[d] + g->end[d]); /* of numbers below 2^31 */
    return rcd_mul(positions, g->in_per, ret_n) && *ret_n < SIZE_MAX / sizeof(float);
}

const float *rcd__conv_turn(const struct rcd__conv *g, const float *x, float *room)
{
    const int d = RCD__SPATIAL - 1;
    const size_t n = g->in_per, in = (size_t)g->in[d], pad = (size_t)g->pad[d];
    const size_t end = (size_t)g->end[d];
    if (n == 1 && pad == 0 && end == 0)
        return x;
    memset(room, 0, pad * n * sizeof *room);
    float *to = room + pad * n;
    for (size_t ch = 0; ch < n; ch++) {
        for (size_t i = 0; i < in; i++)
            to[i * n + ch] = x[ch * in + i];
    }
    memset(to + in * n, 0, end * n * sizeof *room);
    return room;
}

/* The innermost dim of a field: kernel elements of `line` from `from` on, zeros outside; NULL: all outside. */
static void field_line(const struct rcd__conv *g, const float *line, int64_t from, float *row)
{
    const int d = RCD__SPATIAL - 1;
    const int64_t n = g->kernel[d], step = g->dilation[d], in = line != NULL ? g->in[d] : 0;
    for (int64_t i = 0; i < n; i++, from += step)
        row[i] = from >= 0 && from < in ? line[from] : 0.0f;
}

void rcd__conv_field(const struct rcd__conv *g, const float *x, size_t at, float *row)
{
    const int64_t o[RCD__SPATIAL] = {(int64_t)at / (g->out[1] * g->out[2]),
                                     (int64_t)at / g->out[2] % g->out[1], (int64_t)at % g->out[2]};
    for (size_t ch = 0; ch < g->in_per; ch++, x += g->in[0] * g->in[1] * g->in[2]) {
        for (int64_t i = 0; i < g->kernel[0]; i++) {
            int64_t a = o[0] * g->stride[0] + i * g->dilation[0] - g->pad[0];
            for (int64_t j = 0; j < g->kernel[1]; j++) {
                int64_t b = o[1] * g->stride[1] + j * g->dilation[1] - g->pad[1];
                bool in = a >= 0 && a < g->in[0] && b >= 0 && b < g->in[1];
                field_line(g, in ? x + (a * g->in[1] + b) * g->in[2] : NULL,
                           o[2] * g->stride[2] - g->pad[2], row);
                row += g->kernel[2];
            }
        }
    }
}
