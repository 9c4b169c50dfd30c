/* left.inc.h - products whose left rows allow a shorter way than the sweep of gemm.inc.h, to the same bits.
 *
 * Rows of mostly zeros (bags of words, one-hot inputs) multiply only what is not zero. A step with x = 0 leaves
 * its chain as it is when the right side is finite, but for the sign of a zero: +0 added to -0 is +0. So a
 * chain that ends in -0 is done in full. And a right side of 16 columns leaves a tile of six rows waiting for
 * its own multiply-adds on wide registers: twelve rows then go together. */

enum {
    FEW_K = 128,     /* from here on looking for zeros pays */
    FEW_PART = 8,    /* a row with at most an eighth of its elements not zero has few, */
    FEW_MAX = 1024,  /* and at most so many */
    FEW_AHEAD = 512, /* floats that are asked for ahead of the search */
    FEW_ROWS = 48    /* are looked at together: they stay near */
};

INLINE size_t few_most(size_t k)
{
    return k / FEW_PART < FEW_MAX ? k / FEW_PART : FEW_MAX;
}

/* Positions of the elements that are not zero; more than `most`: there are more. `at` has room for
 * most + 2 VF_LANES. Rows usually follow each other in memory, and are asked for that way. */
INLINE size_t few_find(const float *a, size_t k, size_t most, uint32_t *at)
{
    size_t n = 0, i = 0;
    for (; i + VF_LANES <= k && n <= most; i += VF_LANES) {
        __builtin_prefetch(a + i + FEW_AHEAD, 0, 3);
        n += v_positions(v_load(a + i), (uint32_t)i, at + n);
    }
    if (i < k && n <= most)
        n += v_positions(v_loadn(a + i, k - i), (uint32_t)i, at + n);
    return n;
}

/* Columns [col, col + 16 S) of a row; false: a chain ended in -0. */
INLINE bool few_panel(const struct rcd_gemm *g, size_t r, size_t col, const int S,
                      const uint32_t *at, size_t n)
{
    const int NV = S * PER16;
    const float *b = g->b->data + col * g->b->k, *a = g->a[r];
    vf acc[STRIP_MAX];
    vi minus = {0};
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++)
        acc[v] = g->bias != NULL ? v_load(g->bias + col + v * VF_LANES) : v_set1(0.0f);
    for (size_t i = 0; i < n; i++) {
        const float *row = b + at[i] * (size_t)(S * RCD_LANES);
        const vf x = v_set1(a[at[i]]);
#pragma GCC unroll 16
        for (int v = 0; v < NV; v++)
            acc[v] = v_fma(x, v_load(row + v * VF_LANES), acc[v]);
    }
    const size_t keep = g->c_padded ? g->b->padded : g->b->n;
#pragma GCC unroll 16
    for (int v = 0; v < NV; v++) {
        const size_t c = col + (size_t)v * VF_LANES;
        minus |= (vi)((vi)acc[v] == (vi)v_set1(-0.0f));
        if (c < keep)
            v_storen(g->c[r] + c, acc[v], keep - c);
    }
    return v_nonzero((vf)minus) == 0; /* all bits set are a NaN */
}

static bool few_row(const struct rcd_gemm *g, size_t r, size_t begin, size_t end,
                    const uint32_t *at, size_t n)
{
    bool ok = true;
    for (size_t col = begin, w = 0; ok && col < end; col += w) {
        w = rcd__panel_width(g->b, col);
        switch (w / RCD_LANES) {
        case 1:
            ok = few_panel(g, r, col, 1, at, n);
            break;
        case 2:
            ok = few_panel(g, r, col, 2, at, n);
            break;
        case 3:
            ok = few_panel(g, r, col, 3, at, n);
            break;
        default:
            ok = few_panel(g, r, col, 4, at, n);
        }
    }
    return ok;
}

#if VF_LANES == 16
enum { NARROW_ROWS = 12, NARROW_STEPS = 16 /* a cache line of each row */ };

/* Twelve rows by 16 columns, while the next twelve are brought near. */
static void narrow_tile(const struct rcd_gemm *g, size_t row, const float *const *next)
{
    const float *const *a = g->a + row, *b = g->b->data;
    const size_t k = g->b->k, keep = g->c_padded ? (size_t)RCD_LANES : g->b->n;
    vf acc[NARROW_ROWS];
#pragma GCC unroll 12
    for (int r = 0; r < NARROW_ROWS; r++)
        acc[r] = g->accumulate     ? v_loadn(g->c[row + (size_t)r], keep)
                 : g->bias != NULL ? v_load(g->bias)
                                   : v_set1(0.0f);
    for (size_t i = 0; i < k;) {
        const size_t end = k - i < NARROW_STEPS ? k : i + NARROW_STEPS;
#pragma GCC unroll 12
        for (int r = 0; r < NARROW_ROWS; r++)
            __builtin_prefetch(next[r] + i, 0, 2);
        for (; i < end; i++) {
            const vf col = v_load(b + i * VF_LANES);
#pragma GCC unroll 12
            for (int r = 0; r < NARROW_ROWS; r++)
                acc[r] = v_fma(v_set1(a[r][i]), col, acc[r]);
        }
    }
#pragma GCC unroll 12
    for (int r = 0; r < NARROW_ROWS; r++)
        v_storen(g->c[row + (size_t)r], acc[r], keep);
}

/* Rows done; the rest are for the sweep. */
static size_t narrow(const struct rcd_gemm *g)
{
    size_t r = 0;
    for (; r + NARROW_ROWS <= g->rows; r += NARROW_ROWS)
        narrow_tile(g, r, g->a + (r + 2 * NARROW_ROWS <= g->rows ? r + NARROW_ROWS : r));
    return r;
}
#else
INLINE size_t narrow(const struct rcd_gemm *g)
{
    (void)g;
    return 0;
}
#endif

/* Columns [begin, end) of all rows, zeros or not. */
static void gemm_full(const struct rcd_gemm *g, size_t begin, size_t end)
{
    struct rcd_gemm rest = *g;
    const size_t done = g->b->padded == RCD_LANES ? narrow(g) : 0;
    rest.rows -= done;
    rest.a += done;
    rest.c += done;
    if (rest.rows > 0)
        gemm_sweep(&rest, begin, end);
}

/* After rows that all had many, the first of the next ones stands for them: looking for zeros in each would read the
 * beginning of every row twice from memory. */
static bool is_dense(const struct rcd_gemm *g, size_t r)
{
    const size_t k = g->b->k, most = few_most(k);
    uint32_t at[FEW_MAX + 2 * VF_LANES];
    return few_find(g->a[r], k, most, at) > most;
}

/* Some rows: those that have many, or must be done in full, are gathered for the sweep. False: all must, and
 * nothing is done yet. */
static bool few_rows(const struct rcd_gemm *g, size_t from, size_t rows, size_t begin, size_t end)
{
    const size_t k = g->b->k, most = few_most(k);
    uint32_t at[FEW_MAX + 2 * VF_LANES];
    const float *a[FEW_ROWS];
    float *c[FEW_ROWS];
    struct rcd_gemm full = *g;
    full.a = a;
    full.c = c;
    full.rows = 0;
    for (size_t r = from; r < from + rows; r++) {
        const size_t n = few_find(g->a[r], k, most, at);
        if (n > most || !few_row(g, r, begin, end, at, n)) {
            a[full.rows] = g->a[r];
            c[full.rows++] = g->c[r];
        }
    }
    if (full.rows == rows)
        return false;
    if (full.rows > 0)
        gemm_full(&full, begin, end);
    return true;
}

static void gemm(const struct rcd_gemm *g)
{
    const size_t end = g->col_to != 0 ? g->col_to : g->b->padded;
    struct rcd_gemm dense = *g;
    dense.rows = 0;
    if (!g->b->finite || g->accumulate || g->b->k < FEW_K) {
        gemm_full(g, g->col_from, end);
        return;
    }
    bool was_dense = false;
    for (size_t r = 0, rows = 0; r < g->rows; r += rows) {
        rows = g->rows - r < FEW_ROWS ? g->rows - r : FEW_ROWS;
        const bool done = !(was_dense && is_dense(g, r)) && few_rows(g, r, rows, g->col_from, end);
        was_dense = !done;
        dense.rows += done ? 0 : rows; /* they go on together */
        const bool last = done || r + rows == g->rows || g->b->padded <= MAX_WIDTH;
        if (last && dense.rows > 0) {
            gemm_full(&dense, g->col_from, end);
            dense.rows = 0;
        }
        if (dense.rows == 0) {
            dense.a = g->a + r + rows;
            dense.c = g->c + r + rows;
        }
    }
}
