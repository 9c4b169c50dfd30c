/* reduced.inc.h - what the products over reduced weights share: tiles that start from a bias or from
 * what the output holds, and go back to it (bf16.inc.h, int8.inc.h). */
#pragma once

/* Rows and vectors of a tile; how far ahead a stream of weights is asked for: a page, because the
 * processor's own prefetching ends with each. */
enum {
    REDUCED_ROWS = MAX_ROWS == 1 ? 1 : 6,
    REDUCED_VECTORS = MAX_ROWS == 1   ? 1
                      : VF_LANES == 8 ? 2
                                      : 4,
    REDUCED_AHEAD = 4096
};

/* The lines of NV vectors. Of 16 rows the first block waits for memory too, and for the others a few
 * instructions more are lost in the products. */
INLINE void reduced_ask(const int NV, const void *weights)
{
#pragma GCC unroll 4
    for (int v = 0; v < NV; v += 16 / VF_LANES)
        __builtin_prefetch((const char *)weights + REDUCED_AHEAD + v * VF_LANES * 4);
}

/* Columns [col, col + w) of a panel; keep: those that the output row has. */
struct reduced_panel {
    size_t col, w, keep;
};

INLINE struct reduced_panel reduced_panel_at(const struct rcd_gemm *g, size_t col)
{
    const struct rcd_packed *b = g->b;
    size_t w = rcd__panel_width(b, col);
    return (struct reduced_panel){col, w, g->c_padded || col + w <= b->n ? w : b->n - col};
}

INLINE void reduced_start(const struct rcd_gemm *g, struct reduced_panel p, size_t row, size_t rows,
                          float (*buf)[MAX_WIDTH])
{
    for (size_t r = 0; r < rows; r++) {
        if (g->accumulate) {
            memset(buf[r] + p.keep, 0, (p.w - p.keep) * sizeof(float));
            memcpy(buf[r], g->c[row + r] + p.col, p.keep * sizeof(float));
        } else if (g->bias != NULL) {
            memcpy(buf[r], g->bias + p.col, p.w * sizeof(float));
        } else {
            memset(buf[r], 0, p.w * sizeof(float));
        }
    }
}

INLINE void reduced_finish(const struct rcd_gemm *g, struct reduced_panel p, size_t row,
                           size_t rows, float (*buf)[MAX_WIDTH])
{
    for (size_t r = 0; r < rows; r++)
        memcpy(g->c[row + r] + p.col, buf[r], p.keep * sizeof(float));
}
