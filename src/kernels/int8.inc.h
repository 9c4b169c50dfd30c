/* int8.inc.h - rows times panels of int8 weights (body.inc.h); kernels_reduced.h defines the result.
 *
 * A row becomes integers of 14 bits, split into two planes of 7, so that a byte of a plane times a weight
 * and the sum of two such products fit 16 bits: vpmaddubsw never saturates and the sums are exact in
 * whatever order. So VNNI, which sums four products at once, gives the same bits as plain C. A second
 * plane costs arithmetic only, and at batch 1 there is some to spare while memory delivers weights.
 *
 * A quantised row: its scale (f32) in the first 64 bytes, then the planes of upper and lower bits. */
#include "reduced.inc.h"

enum { INT8_ROWS = MAX_ROWS == 1 ? 1 : VF_LANES == 16 ? 3 : 2, ROW_HEAD = 64 };

typedef uint8_t vb __attribute__((vector_size(VF_LANES)));

/* acc + the four products of unsigned and signed bytes in each 32-bit lane. */
#ifndef v_dot4
INLINE vi v_dot4(vi acc, vi u, vi s)
{
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++)
        acc += (u << (24 - 8 * j) >> 24) * (s << (24 - 8 * j) >> 24); /* u < 128: no sign shows */
    return acc;
}
#endif

INLINE size_t int8_plane(size_t k)
{
    return (k + 63) / 64 * 64;
}

INLINE unsigned char *int8_row(const struct rcd_gemm *g, size_t r)
{
    return (unsigned char *)g->scratch + r * (ROW_HEAD + 2 * int8_plane(g->b->k));
}

/* Bits of the largest absolute value: the order of the bits is the order of the values, NaN last. */
static float largest(size_t n, const float *x)
{
    vi top = {0};
    for (size_t i = 0; i < n; i += VF_LANES) {
        vi bits = (vi)v_abs(v_loadn(x + i, n - i));
        vi more = bits > top;
        top = (more & bits) | (~more & top);
    }
    int32_t best = 0;
    for (int l = 0; l < VF_LANES; l++)
        best = top[l] > best ? top[l] : best;
    float y;
    memcpy(&y, &best, sizeof y);
    return y;
}

static void quantize_row(size_t k, const float *x, unsigned char *row)
{
    const float magic = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    const float max = largest(k, x);
    unsigned char *upper = row + ROW_HEAD, *lower = upper + int8_plane(k);
    float scale = max / (float)RCD_INT8_LEVELS;
    if (!(max >= RCD_INT8_TINY && max < INFINITY)) {
        scale = max < RCD_INT8_TINY ? 0.0f : NAN;
        memset(upper, RCD_INT8_MIDDLE >> 7, int8_plane(k));
        memset(lower, 0, int8_plane(k));
        memcpy(row, &scale, sizeof scale);
        return;
    }
    memcpy(row, &scale, sizeof scale);
    const vf inv = v_set1((float)RCD_INT8_LEVELS / max);
    const vf shift = v_set1(magic + (float)RCD_INT8_MIDDLE);
    for (size_t i = 0; i < k; i += VF_LANES) {
        vi u = (vi)v_fma(v_loadn(x + i, k - i), inv, shift) - (vi)v_set1(magic);
        vb hi = __builtin_convertvector(u >> 7, vb), lo = __builtin_convertvector(u & 127, vb);
        memcpy(upper + i, &hi, sizeof hi);
        memcpy(lower + i, &lo, sizeof lo);
    }
}

INLINE vi int8_four(const unsigned char *p)
{
    int32_t four;
    memcpy(&four, p, sizeof four);
    return four - (vi){0};
}

/* R rows, NV vectors of columns; q: the quantised rows, b: the panel at the strip. */
INLINE void int8_tile(const int R, const int NV, const struct rcd_packed *w,
                      unsigned char *const *q, size_t col, size_t at, size_t width,
                      float (*c)[MAX_WIDTH])
{
    const size_t fours = (w->k + 3) / 4, plane = int8_plane(w->k);
    const int8_t *b = (const int8_t *)w->low + (col * fours + at) * 4;
    vi upper[INT8_ROWS][REDUCED_VECTORS] = {{{0}}}, lower[INT8_ROWS][REDUCED_VECTORS] = {{{0}}};
    for (size_t i = 0; i < fours; i++, b += 4 * width) {
        vi s[REDUCED_VECTORS];
        reduced_ask(NV, b);
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            s[v] = (vi)v_load((const float *)(const void *)(b + v * 4 * VF_LANES));
#pragma GCC unroll 3
        for (int r = 0; r < R; r++) {
            vi u = int8_four(q[r] + ROW_HEAD + 4 * i);
            vi l = int8_four(q[r] + ROW_HEAD + plane + 4 * i);
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++) {
                upper[r][v] = v_dot4(upper[r][v], u, s[v]);
                lower[r][v] = v_dot4(lower[r][v], l, s[v]);
            }
        }
    }
#pragma GCC unroll 3
    for (int r = 0; r < R; r++) {
        float row_scale;
        memcpy(&row_scale, q[r], sizeof row_scale);
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++) {
            size_t j = at + (size_t)v * VF_LANES;
            vi sums = (vi)v_load((const float *)(const void *)(w->sums + col + j));
            vf high = __builtin_convertvector(upper[r][v] - (RCD_INT8_MIDDLE >> 7) * sums, vf);
            vf value = v_fma(high, v_set1(128.0f), __builtin_convertvector(lower[r][v], vf));
            vf scale = v_set1(row_scale) * v_load(w->scale + col + j);
            v_store(c[r] + j, v_fma(value, scale, v_load(c[r] + j)));
        }
    }
}

#define INT8_TILE(R, NV)                                                                           \
    case NV:                                                                                       \
        if ((NV) <= REDUCED_VECTORS)                                                               \
            int8_tile(R, NV, w, q, col, at, width, c);                                             \
        break;
#define INT8_ROWS_OF(R)                                                                            \
    case R:                                                                                        \
        switch (nv) {                                                                              \
            INT8_TILE(R, 1)                                                                        \
            INT8_TILE(R, 2)                                                                        \
            INT8_TILE(R, 3)                                                                        \
            INT8_TILE(R, 4)                                                                        \
        }                                                                                          \
        break;

static void int8_strip(size_t rows, size_t nv, const struct rcd_packed *w, unsigned char *const *q,
                       size_t col, size_t at, size_t width, float (*c)[MAX_WIDTH])
{
    switch (rows) {
        INT8_ROWS_OF(1)
#ifndef KERNELS_SIMPLE
        INT8_ROWS_OF(2)
#endif
#if VF_LANES == 16
        INT8_ROWS_OF(3)
#endif
    default:
        break;
    }
}

static void gemm_int8(const struct rcd_gemm *g)
{
    const struct rcd_packed *b = g->b;
    float buf[REDUCED_ROWS][MAX_WIDTH];
    for (size_t r = 0; r < g->rows; r++)
        quantize_row(b->k, g->a[r], int8_row(g, r));
    for (size_t col = 0; col < b->padded; col += b->width) {
        const struct reduced_panel p = reduced_panel_at(g, col);
        for (size_t row = 0; row < g->rows; row += INT8_ROWS) {
            size_t rows = g->rows - row < INT8_ROWS ? g->rows - row : INT8_ROWS;
            unsigned char *q[INT8_ROWS];
            for (size_t r = 0; r < rows; r++)
                q[r] = int8_row(g, row + r);
            reduced_start(g, p, row, rows, buf);
            for (size_t at = 0; at < p.w;) {
                size_t nv = (p.w - at) / VF_LANES;
                if (nv > REDUCED_VECTORS)
                    nv = REDUCED_VECTORS;
                int8_strip(rows, nv, b, q, col, at, p.w, buf);
                at += nv * VF_LANES;
            }
            reduced_finish(g, p, row, rows, buf);
        }
    }
}
