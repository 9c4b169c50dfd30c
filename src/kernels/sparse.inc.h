/* sparse.inc.h - sums (or greatest, least values) over the edges that end in a row, in edge order.
 *
 * A block of columns stays in registers while the edges of a row go by, so each source row is read once
 * and each result written once; the rows to come are asked for ahead of time. Lanes past the end of a
 * row may hold what follows it in memory: they are never stored. */

enum { AHEAD = 8, SPMM_BLOCK = VF_LANES == 16 ? 16 : 8 }; /* edges; vectors of a block */

INLINE vf spmm_load(const float *p, const float *end, size_t n)
{
    return n >= VF_LANES || p + VF_LANES <= end ? v_load(p) : v_loadn(p, n);
}

INLINE vf spmm_step(rcd_spmm_reduce how, vf w, vf x, vf acc)
{
    if (how == RCD_SPMM_SUM)
        return v_fma(w, x, acc);
    x = w * x;
    vi take = how == RCD_SPMM_MAX ? (vi)(x > acc) : (vi)(x < acc);
    return v_select(take | (vi)(x != x), x, acc);
}

/* Columns [at, at + n) of group g; n fills nv vectors but for the end of the last. */
INLINE void spmm_block(const struct rcd_spmm *s, size_t g, size_t at, size_t n, size_t nv,
                       rcd_spmm_reduce how)
{
    const size_t width = s->groups * s->chan, last = n - (nv - 1) * VF_LANES;
    const float *end = s->x + s->x_rows * width;
    const int32_t n_edges = s->ptr[s->row_end];
    for (size_t i = s->row_begin; i < s->row_end; i++) {
        float *y = s->y + i * width + at;
        vf acc[SPMM_BLOCK];
#pragma GCC unroll 16
        for (size_t v = 0; v < nv; v++)
            acc[v] = !s->accumulate ? (vf){0}
                     : v + 1 == nv  ? v_loadn(y + v * VF_LANES, last)
                                    : v_load(y + v * VF_LANES);
        for (int32_t e = s->ptr[i]; e < s->ptr[i + 1]; e++) {
            const float *p = s->x + (size_t)s->col[e] * width + at;
            int32_t ahead = e + AHEAD < n_edges ? e + AHEAD : n_edges - 1;
            const float *next = s->x + (size_t)s->col[ahead] * width + at;
#pragma GCC unroll 16
            for (size_t v = 0; v < nv; v += 16 / VF_LANES)
                __builtin_prefetch(next + v * VF_LANES, 0, 2);
            vf w = s->w != NULL ? v_set1(s->w[(size_t)s->edge[e] * s->groups + g]) : v_set1(1);
#pragma GCC unroll 16
            for (size_t v = 0; v + 1 < nv; v++)
                acc[v] = spmm_step(how, w, v_load(p + v * VF_LANES), acc[v]);
            const size_t v = nv - 1;
            acc[v] = spmm_step(how, w, spmm_load(p + v * VF_LANES, end, last), acc[v]);
        }
#pragma GCC unroll 16
        for (size_t v = 0; v + 1 < nv; v++)
            v_store(y + v * VF_LANES, acc[v]);
        v_storen(y + (nv - 1) * VF_LANES, acc[nv - 1], last);
    }
}

#define SPMM_SIZE(NV)                                                                              \
    case NV:                                                                                       \
        spmm_block(s, g, at, n, NV, how);                                                          \
        break;

INLINE void spmm_columns(const struct rcd_spmm *s, rcd_spmm_reduce how)
{
    for (size_t g = 0; g < s->groups; g++) {
        for (size_t c = 0; c < s->chan;) {
            size_t nv = (s->chan - c + VF_LANES - 1) / VF_LANES;
            nv = nv >= SPMM_BLOCK ? SPMM_BLOCK : nv >= 8 ? 8 : nv >= 4 ? 4 : nv;
            size_t at = g * s->chan + c, n = s->chan - c;
            n = n < nv * VF_LANES ? n : nv * VF_LANES;
            switch (nv) {
                SPMM_SIZE(1)
                SPMM_SIZE(2)
                SPMM_SIZE(3)
                SPMM_SIZE(4)
                SPMM_SIZE(8)
#if VF_LANES == 16
                SPMM_SIZE(16)
#endif
            }
            c += n;
        }
    }
}

static void spmm(const struct rcd_spmm *s)
{
    if (s->row_begin >= s->row_end)
        return;
    if (s->how == RCD_SPMM_SUM)
        spmm_columns(s, RCD_SPMM_SUM);
    else if (s->how == RCD_SPMM_MAX)
        spmm_columns(s, RCD_SPMM_MAX);
    else
        spmm_columns(s, RCD_SPMM_MIN);
}
