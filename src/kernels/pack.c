/* pack.c - weights into panels; the layout is the same on every CPU level. */
#include "recurd/kernels.h"

#include <math.h>
#include <string.h>

static size_t round_up(size_t n)
{
    return (n + RCD_LANES - 1) / RCD_LANES * RCD_LANES;
}

bool rcd_packed_bytes(size_t k, size_t n, size_t *ret_bytes)
{
    size_t padded = 0;
    return rcd_add(n, RCD_LANES - 1, &padded) && rcd_mul(round_up(n), k, &padded) &&
           rcd_mul(padded, sizeof(float), ret_bytes);
}

bool rcd_packed_gates_bytes(size_t gates, size_t hidden, size_t k, size_t *ret_bytes)
{
    size_t n = 0;
    return rcd_add(hidden, RCD_LANES - 1, &n) && rcd_mul(round_up(hidden), gates, &n) &&
           rcd_packed_bytes(k, n, ret_bytes);
}

void rcd_pack(struct rcd_packed *p, const float *b, size_t row_stride, size_t col_stride, size_t k,
              size_t n, size_t width)
{
    p->k = k;
    p->n = n;
    p->padded = round_up(n);
    p->width = width;
    p->weights = RCD_WEIGHTS_F32;
    p->finite = false;
    for (size_t col = 0; col < p->padded; col += width) {
        size_t w = p->padded - col < width ? p->padded - col : width;
        const size_t real = n - col < w ? n - col : w; /* the rest are zeros */
        float *panel = p->data + col * k;
        for (size_t i = 0; i < k; i++) {
            const float *row = b + i * row_stride + col * col_stride;
            if (col_stride == 1)
                memcpy(panel + i * w, row, real * sizeof *row);
            for (size_t j = 0; col_stride != 1 && j < real; j++)
                panel[i * w + j] = row[j * col_stride];
            memset(panel + i * w + real, 0, (w - real) * sizeof *row);
        }
    }
}

typedef float four __attribute__((vector_size(16)));

/* 4 x 4 elements of rows `stride_in` apart, to rows `stride_out` apart. */
static void turn_4x4(float *to, size_t stride_out, const float *from, size_t stride_in)
{
    four in[4], out[4];
    for (size_t r = 0; r < 4; r++)
        memcpy(&in[r], from + r * stride_in, sizeof in[r]);
    const four a = __builtin_shufflevector(in[0], in[1], 0, 4, 1, 5);
    const four b = __builtin_shufflevector(in[2], in[3], 0, 4, 1, 5);
    const four c = __builtin_shufflevector(in[0], in[1], 2, 6, 3, 7);
    const four d = __builtin_shufflevector(in[2], in[3], 2, 6, 3, 7);
    out[0] = __builtin_shufflevector(a, b, 0, 1, 4, 5);
    out[1] = __builtin_shufflevector(a, b, 2, 3, 6, 7);
    out[2] = __builtin_shufflevector(c, d, 0, 1, 4, 5);
    out[3] = __builtin_shufflevector(c, d, 2, 3, 6, 7);
    for (size_t r = 0; r < 4; r++)
        memcpy(to + r * stride_out, &out[r], sizeof out[r]);
}

/* f32[n][k] to RCD_LANES columns, of which n hold something, of rows `stride` apart. */
static void turn(float *to, size_t stride, const float *from, size_t n, size_t k)
{
    size_t i = 0;
    for (; n == RCD_LANES && i + 4 <= k; i += 4) {
        for (size_t u = 0; u < RCD_LANES; u += 4)
            turn_4x4(to + i * stride + u, stride, from + u * k + i, k);
    }
    for (; i < k; i++) {
        for (size_t u = 0; u < RCD_LANES; u++)
            to[i * stride + u] = u < n ? from[u * k + i] : 0.0f;
    }
}

void rcd_packed_look(struct rcd_packed *p)
{
    p->finite = true;
    for (size_t i = 0; i < p->k * p->padded; i++)
        p->finite = p->finite && isfinite(p->data[i]);
}

void rcd_pack_gates(struct rcd_packed *p, const float *w, size_t gates, const uint8_t *map,
                    size_t hidden, size_t k)
{
    p->k = k;
    p->padded = gates * round_up(hidden);
    p->n = p->padded;
    p->width = gates * RCD_LANES;
    p->weights = RCD_WEIGHTS_F32;
    p->finite = false;
    for (size_t u0 = 0; u0 < hidden; u0 += RCD_LANES) {
        size_t n = hidden - u0 < RCD_LANES ? hidden - u0 : RCD_LANES;
        for (size_t g = 0; g < gates; g++)
            turn(p->data + u0 * gates * k + g * RCD_LANES, p->width, w + (map[g] * hidden + u0) * k,
                 n, k);
    }
}

void rcd_pack_gate_bias(float *out, const float *b, const float *b2, size_t gates,
                        const uint8_t *map, size_t hidden)
{
    for (size_t u = 0; u < round_up(hidden); u++) {
        float *group = out + u / RCD_LANES * gates * RCD_LANES + u % RCD_LANES;
        for (size_t g = 0; g < gates; g++) {
            size_t at = map[g] * hidden + u;
            group[g * RCD_LANES] = u >= hidden ? 0.0f : b2 != NULL ? b[at] + b2[at] : b[at];
        }
    }
}
