/* product.inc.h - rows times packed panels (body.inc.h).
 *
 * A tile is up to six rows by one strip of a panel: STRIP_VECTORS native vectors wide, all
 * accumulators in registers. Every output is one chain over k, started from what `init` holds. */

/* R rows, NV vectors; b walks the panel with ldb floats a step. */
INLINE void tile(const int R, const int NV, size_t k, const float *const *a, const float *b,
                 size_t ldb, float *const *c, size_t at)
{
    vf acc[MAX_ROWS][STRIP_VECTORS];
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            acc[r][v] = v_load(c[r] + at + (size_t)v * VF_LANES);
    }
    for (size_t i = 0; i < k; i++, b += ldb) {
        vf w[STRIP_VECTORS];
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            w[v] = v_load(b + v * VF_LANES);
#pragma GCC unroll 6
        for (int r = 0; r < R; r++) {
            vf x = v_set1(a[r][i]);
#pragma GCC unroll 4
            for (int v = 0; v < NV; v++)
                acc[r][v] = v_fma(x, w[v], acc[r][v]);
        }
    }
#pragma GCC unroll 6
    for (int r = 0; r < R; r++) {
#pragma GCC unroll 4
        for (int v = 0; v < NV; v++)
            v_store(c[r] + at + (size_t)v * VF_LANES, acc[r][v]);
    }
}

#define TILE_ROWS(R)                                                                               \
    case R:                                                                                        \
        switch (nv) {                                                                              \
        case 1:                                                                                    \
            tile(R, 1, k, a, b, ldb, c, at);                                                       \
            break;                                                                                 \
        case 2:                                                                                    \
            tile(R, 2, k, a, b, ldb, c, at);                                                       \
            break;                                                                                 \
            TILE_WIDE(R)                                                                           \
        }                                                                                          \
        break;
#if STRIP_VECTORS == 4
#define TILE_WIDE(R)                                                                               \
    case 3:                                                                                        \
        tile(R, 3, k, a, b, ldb, c, at);                                                           \
        break;                                                                                     \
    default:                                                                                       \
        tile(R, 4, k, a, b, ldb, c, at);                                                           \
        break;
#else
#define TILE_WIDE(R)
#endif

static void strip(size_t rows, size_t nv, size_t k, const float *const *a, const float *b,
                  size_t ldb, float *const *c, size_t at)
{
    switch (rows) {
        TILE_ROWS(1)
        TILE_ROWS(2)
        TILE_ROWS(3)
        TILE_ROWS(4)
        TILE_ROWS(5)
        TILE_ROWS(6)
    default:
        break;
    }
}

/* rows <= 6: c[r][0..w) += a[r] times one panel of width w. */
static void panel_rows(size_t rows, size_t k, const float *const *a, const float *panel, size_t w,
                       float *const *c)
{
    for (size_t at = 0; at < w;) {
        size_t nv = (w - at) / VF_LANES;
        if (nv > STRIP_VECTORS)
            nv = STRIP_VECTORS;
        strip(rows, nv, k, a, panel + at, w, c, at);
        at += nv * VF_LANES;
    }
}

static void gemm(const struct rcd_gemm *g)
{
    const struct rcd_packed *b = g->b;
    float buf[MAX_ROWS][MAX_WIDTH];
    float *const tiles[MAX_ROWS] = {buf[0], buf[1], buf[2], buf[3], buf[4], buf[5]};
    for (size_t col = 0; col < b->padded; col += b->width) {
        size_t w = rcd__panel_width(b, col);
        size_t keep = g->c_padded || col + w <= b->n ? w : b->n - col;
        for (size_t row = 0; row < g->rows; row += MAX_ROWS) {
            size_t rows = g->rows - row < MAX_ROWS ? g->rows - row : MAX_ROWS;
            for (size_t r = 0; r < rows; r++) {
                if (g->accumulate) {
                    memset(buf[r] + keep, 0, (w - keep) * sizeof(float));
                    memcpy(buf[r], g->c[row + r] + col, keep * sizeof(float));
                } else if (g->bias != NULL) {
                    memcpy(buf[r], g->bias + col, w * sizeof(float));
                } else {
                    memset(buf[r], 0, w * sizeof(float));
                }
            }
            panel_rows(rows, b->k, g->a + row, b->data + col * b->k, w, tiles);
            for (size_t r = 0; r < rows; r++)
                memcpy(g->c[row + r] + col, buf[r], keep * sizeof(float));
        }
    }
}
