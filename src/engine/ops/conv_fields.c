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
    const size_t positions =
        (size_t)(g->d[d].pad + g->d[d].in + g->d[d].end); /* of numbers below 2^31 */
    return rcd_mul(positions, g->in_per, ret_n) && *ret_n < SIZE_MAX / sizeof(float);
}

const float *rcd__conv_turn(const struct rcd__conv *g, const float *x, float *room)
{
    const int d = RCD__SPATIAL - 1;
    const size_t n = g->in_per, in = (size_t)g->d[d].in, pad = (size_t)g->d[d].pad;
    const size_t end = (size_t)g->d[d].end;
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
    const int64_t n = g->d[d].kernel, step = g->d[d].dilation, in = line != NULL ? g->d[d].in : 0;
    for (int64_t i = 0; i < n; i++, from += step)
        row[i] = from >= 0 && from < in ? line[from] : 0.0f;
}

void rcd__conv_field(const struct rcd__conv *g, const float *x, size_t at, float *row)
{
    const int64_t o[RCD__SPATIAL] = {(int64_t)at / (g->d[1].out * g->d[2].out),
                                     (int64_t)at / g->d[2].out % g->d[1].out,
                                     (int64_t)at % g->d[2].out};
    for (size_t ch = 0; ch < g->in_per; ch++, x += g->d[0].in * g->d[1].in * g->d[2].in) {
        for (int64_t i = 0; i < g->d[0].kernel; i++) {
            int64_t a = o[0] * g->d[0].stride + i * g->d[0].dilation - g->d[0].pad;
            for (int64_t j = 0; j < g->d[1].kernel; j++) {
                int64_t b = o[1] * g->d[1].stride + j * g->d[1].dilation - g->d[1].pad;
                bool in = a >= 0 && a < g->d[0].in && b >= 0 && b < g->d[1].in;
                field_line(g, in ? x + (a * g->d[1].in + b) * g->d[2].in : NULL,
                           o[2] * g->d[2].stride - g->d[2].pad, row);
                row += g->d[2].kernel;
            }
        }
    }
}
