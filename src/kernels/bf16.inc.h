/* bf16.inc.h - rows times panels of bf16 weights (body.inc.h): exactly the chain of product.inc.h over the
 * weights widened to f32, so the bits are those of an f32 model whose weights were rounded.
 *
 * A 32-bit word holds the weights of rows 2i (low half) and 2i + 1 (high half) of one column: a shift or
 * a mask widens a vector of them. AVX512_BF16's vdpbf16ps would sum a pair with roundings of its own and
 * without subnormals, which no other level could repeat at speed; at batch 1 memory is the limit anyway. */
#include "reduced.inc.h"

INLINE void bf16_tile(const int R, const int NV, size_t k, const float *const *a, const uint32_t *b,
                      size_t ldb, float (*c)[MAX_WIDTH], size_t at)
{
    vf acc[REDUCED_ROWS][REDUCED_VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            acc[r][v] = v_load(c[r] + at + (size_t)v * VF_LANES);
    }
    for (size_t i = 0; i < k; i += 2, b += ldb) {
        vi w[REDUCED_VECTORS];
        reduced_ask(NV, b);
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            w[v] = (vi)v_load((const float *)(const void *)(b + v * VF_LANES));
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
            vf x = v_set1(a[r][i]);
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                acc[r][v] = v_fma(x, (vf)(w[v] << 16), acc[r][v]);
        }
        if (i + 1 == k)
            break; /* an odd row more: its other half is nobody's */
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
            vf x = v_set1(a[r][i + 1]);
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                acc[r][v] = v_fma(x, (vf)(w[v] & (int32_t)0xffff0000), acc[r][v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            v_store(c[r] + at + (size_t)v * VF_LANES, acc[r][v]);
    }
}

#define BF16_TILE(R, NV)                                                                           \
    case NV:                                                                                       \
        if ((NV) <= REDUCED_VECTORS)                                                               \
            bf16_tile(R, NV, k, a, b, ldb, c, at);                                                 \
        break;
#define BF16_ROWS(R)                                                                               \
    case R:                                                                                        \
        switch (nv) {                                                                              \
            BF16_TILE(R, 1)                                                                        \
            BF16_TILE(R, 2)                                                                        \
            BF16_TILE(R, 3)                                                                        \
            BF16_TILE(R, 4)                                                                        \
        }                                                                                          \
        break;

static void bf16_strip(size_t rows, size_t nv, size_t k, const float *const *a, const uint32_t *b,
                       size_t ldb, float (*c)[MAX_WIDTH], size_t at)
{
    switch (rows) {
        BF16_ROWS(1)
#ifndef KERNELS_SIMPLE
        BF16_ROWS(2)
        BF16_ROWS(3)
        BF16_ROWS(4)
        BF16_ROWS(5)
        BF16_ROWS(6)
#endif
    default:
        break;
    }
}

static void gemm_bf16(const struct rcd_gemm *g)
{
    const struct rcd_packed *b = g->b;
    const size_t pairs = (b->k + 1) / 2;
    float buf[REDUCED_ROWS][MAX_WIDTH];
    for (size_t col = 0; col < b->padded; col += b->width) {
        const struct reduced_panel p = reduced_panel_at(g, col);
        const uint32_t *panel = (const uint32_t *)b->low + col * pairs;
        for (size_t row = 0; row < g->rows; row += REDUCED_ROWS) {
            size_t rows = g->rows - row < REDUCED_ROWS ? g->rows - row : REDUCED_ROWS;
            reduced_start(g, p, row, rows, buf);
            for (size_t at = 0; at < p.w;) {
                size_t nv = (p.w - at) / VF_LANES;
                if (nv > REDUCED_VECTORS)
                    nv = REDUCED_VECTORS;
                bf16_strip(rows, nv, b->k, g->a + row, panel + at, p.w, buf, at);
                at += nv * VF_LANES;
            }
            reduced_finish(g, p, row, rows, buf);
        }
    }
}
