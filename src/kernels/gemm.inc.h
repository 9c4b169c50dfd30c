/* gemm.inc.h - products of rows and a packed matrix, all zeros counted (body.inc.h). */

static const float zeros[MAX_WIDTH];

INLINE size_t gemm_keep(const struct rcd_gemm *g, const struct patch *p)
{
    return g->c_padded || p->col + p->w <= g->b->n ? p->w : g->b->n - p->col;
}

INLINE void gemm_start(const void *what, const struct patch *p, const float **from, float **to)
{
    const struct rcd_gemm *g = what;
    const size_t keep = gemm_keep(g, p);
    for (size_t r = 0; r < p->rows; r++) {
        float *c = g->c[p->row + r] + p->col;
        if (g->accumulate && keep < p->w) { /* nothing is read past the end of a row */
            memset(to[r] + keep, 0, (p->w - keep) * sizeof(float));
            memcpy(to[r], c, keep * sizeof(float));
            from[r] = to[r];
            continue;
        }
        from[r] = g->accumulate ? c : g->bias != NULL ? g->bias + p->col : zeros;
        if (keep == p->w)
            to[r] = c;
    }
}

INLINE void gemm_finish(const void *what, const struct patch *p, float *const *tile)
{
    const struct rcd_gemm *g = what;
    const size_t keep = gemm_keep(g, p);
    for (size_t r = 0; keep < p->w && r < p->rows; r++)
        memcpy(g->c[p->row + r] + p->col, tile[r], keep * sizeof(float));
}

INLINE void gemm_touch(const void *what, const struct patch *p)
{
    const struct rcd_gemm *g = what;
    for (size_t r = 0; r < p->rows; r++)
        touch_floats_to_write(g->c[p->row + r] + p->col, p->w);
}

/* Columns [begin, end) of all rows. */
static void gemm_sweep(const struct rcd_gemm *g, size_t begin, size_t end)
{
    const struct patch_work work = {gemm_touch, gemm_start, gemm_finish};
    sweep(g->b, begin, end, g->rows, g->a, work, g);
}
