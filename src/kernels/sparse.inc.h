/* sparse.inc.h - sums (or greatest, least values) over the edges that end in a row, in edge order.
 *
 * A block of columns stays in registers while the edges of a row go by, so each source row is read once
 * and each result written once; all lines of the rows to come are asked for ahead of time. Lanes past the end of a row
 * may hold what follows it in memory: they are never stored. */

enum {
    AHEAD = 8,
    SPMM_BLOCK = MAX_ROWS == 1    ? 1
                 : VF_LANES == 16 ? 16
                                  : 8
}; /* edges; vectors of a block */

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

/* The number of edges as the chain 1 + 1 + ... would make it. */
INLINE float spmm_count(const struct rcd_spmm *s, size_t row)
{
    const int32_t n = s->ptr[row + 1] - s->ptr[row], most = 1 << 24;
    return n < 1 ? 1.0f : (float)(n < most ? n : most);
}

/* How the factors of an edge meet the columns of a block. */
enum spmm_factors {
    FACTOR_ONE,    /* one for the whole block, or none */
    FACTOR_GROUPS, /* a group is whole vectors */
    FACTOR_SPREAD  /* vectors hold parts of groups: lanes take the factor of theirs */
};

INLINE vf spmm_end(const struct rcd_spmm *s, vf sum, size_t at, size_t n)
{
    if (s->bias != NULL)
        sum = sum + v_loadn(s->bias + at, n);
    return s->relu ? v_select(sum < 0.0f, v_set1(0.0f), sum) : sum;
}

/* Columns [at, at + n) of a row of all groups; n fills nv vectors but for the end of the last. */
INLINE void spmm_block(const struct rcd_spmm *s, size_t at, size_t n, size_t nv,
                       rcd_spmm_reduce how, enum spmm_factors factors)
{
    const size_t width = s->groups * s->chan, last = n - (nv - 1) * VF_LANES, g0 = at / s->chan;
    const float *end = s->x + s->x_rows * width;
    size_t group[SPMM_BLOCK]; /* of a vector's first lane */
    vi lane[SPMM_BLOCK];      /* groups further on */
    for (size_t v = 0; v < nv; v++) {
        group[v] = (at + v * VF_LANES) / s->chan;
        lane[v] = (vi){0};
        for (size_t l = 0; factors == FACTOR_SPREAD && l < VF_LANES; l++)
            lane[v][l] = (int32_t)((at + v * VF_LANES + l) / s->chan - group[v]);
    }
    for (size_t k = s->row_begin; k < s->row_end; k++) {
        const size_t i = s->rows != NULL ? (size_t)s->rows[k] : k;
        float *y = s->y + i * width + at;
        vf acc[SPMM_BLOCK];
#pragma GCC unroll 16
        for (size_t v = 0; v < nv; v++)
            acc[v] = !s->accumulate ? (vf){0}
                     : v + 1 == nv  ? v_loadn(y + v * VF_LANES, last)
                                    : v_load(y + v * VF_LANES);
        for (size_t e = (size_t)s->ptr[i]; e < (size_t)s->ptr[i + 1]; e++) {
            const float *p = s->x + (size_t)s->col[e] * width + at;
            size_t ahead = e + AHEAD < s->n_edges ? e + AHEAD : s->n_edges - 1;
            const float *next = s->x + (size_t)s->col[ahead] * width + at;
#pragma GCC unroll 16
            for (size_t v = 0; v < nv; v += 16 / VF_LANES)
                __builtin_prefetch(next + v * VF_LANES, 0, 3);
            const float *we = s->w;
            if (we != NULL)
                we += (s->edge != NULL ? (size_t)s->edge[e] : e - s->w_first) * s->groups;
            const vf one = we != NULL && factors == FACTOR_ONE ? v_set1(we[g0]) : v_set1(1);
#pragma GCC unroll 16
            for (size_t v = 0; v < nv; v++) {
                const vf w = factors == FACTOR_ONE ? one
                             : factors == FACTOR_GROUPS
                                 ? v_set1(we[group[v]])
                                 : v_permute(v_loadn(we + group[v], s->groups - group[v]), lane[v]);
                const vf x =
                    v + 1 == nv ? spmm_load(p + v * VF_LANES, end, last) : v_load(p + v * VF_LANES);
                acc[v] = spmm_step(how, w, x, acc[v]);
            }
        }
        if (s->how == RCD_SPMM_MEAN) {
            const vf by = v_set1(spmm_count(s, i));
#pragma GCC unroll 16
            for (size_t v = 0; v < nv; v++)
                acc[v] = acc[v] / by;
        }
#pragma GCC unroll 16
        for (size_t v = 0; v + 1 < nv; v++)
            v_store(y + v * VF_LANES, spmm_end(s, acc[v], at + v * VF_LANES, VF_LANES));
        const size_t v = nv - 1;
        v_storen(y + v * VF_LANES, spmm_end(s, acc[v], at + v * VF_LANES, last), last);
    }
}

#define SPMM_SIZE(NV)                                                                              \
    case NV:                                                                                       \
        spmm_block(s, at, n, NV, how, factors);                                                    \
        break;

/* Columns [from, to). */
INLINE void spmm_columns(const struct rcd_spmm *s, size_t from, size_t to, rcd_spmm_reduce how,
                         enum spmm_factors factors)
{
    for (size_t at = from; at < to;) {
        size_t nv = (to - at + VF_LANES - 1) / VF_LANES, n = to - at;
        nv = nv >= SPMM_BLOCK ? SPMM_BLOCK : nv >= 8 ? 8 : nv >= 4 ? 4 : nv;
        n = n < nv * VF_LANES ? n : nv * VF_LANES;
        switch (nv) {
            SPMM_SIZE(1)
#ifndef KERNELS_SIMPLE
            SPMM_SIZE(2)
            SPMM_SIZE(3)
            SPMM_SIZE(4)
            SPMM_SIZE(8)
#endif
#if VF_LANES == 16
            SPMM_SIZE(16)
#endif
        }
        at += n;
    }
}

INLINE void spmm_groups(const struct rcd_spmm *s, rcd_spmm_reduce how)
{
    for (size_t g = 0; g < s->groups; g++)
        spmm_columns(s, g * s->chan, (g + 1) * s->chan, how, FACTOR_ONE);
}

#ifdef v_expand
/* A row without its zeros: a mask of 16 bits for each vector, then what is not zero. Behind a ReLU that is about half, and
 * sums over a large graph wait for little but the lines of rows. The chains are the same: zeros are put back. */
static void squeeze(size_t rows, size_t n, const float *x, float *to)
{
    const size_t nv = n / VF_LANES;
    for (size_t i = 0; i < rows; i++) {
        float *row = to + i * (n + RCD_SQUEEZED_MORE), *p = row + nv / 2;
        for (size_t v = 0; v < nv; v++) {
            const vf all = v_load(x + i * n + v * VF_LANES);
            const uint16_t mask = v_not_zero_bits(all);
            memcpy((char *)row + v * sizeof mask, &mask, sizeof mask);
            v_store(p, v_squeeze(mask, all)); /* ends inside the row */
            p += __builtin_popcount(mask);
        }
    }
}

INLINE void spmm_squeezed(const struct rcd_spmm *s, size_t nv)
{
    for (size_t k = s->row_begin; k < s->row_end; k++) {
        const size_t i = s->rows != NULL ? (size_t)s->rows[k] : k;
        vf acc[SPMM_BLOCK];
#pragma GCC unroll 16
        for (size_t v = 0; v < nv; v++)
            acc[v] = (vf){0};
        for (size_t e = (size_t)s->ptr[i]; e < (size_t)s->ptr[i + 1]; e++) {
            const float *row = s->x + (size_t)s->col[e] * s->squeezed, *p = row + nv / 2;
            const size_t ahead = e + AHEAD < s->n_edges ? e + AHEAD : s->n_edges - 1;
            const float *next = s->x + (size_t)s->col[ahead] * s->squeezed;
#pragma GCC unroll 16
            for (size_t v = 0; v <= nv / 2; v++) /* the masks and half of a row */
                __builtin_prefetch(next + v * VF_LANES, 0, 3);
            const float *we = s->w;
            if (we != NULL)
                we += s->edge != NULL ? (size_t)s->edge[e] : e - s->w_first;
            const vf one = v_set1(we != NULL ? *we : 1.0f);
#pragma GCC unroll 16
            for (size_t v = 0; v < nv; v++) {
                uint16_t mask;
                memcpy(&mask, (const char *)row + v * sizeof mask, sizeof mask);
                acc[v] = v_fma(one, v_expand(mask, p), acc[v]);
                p += __builtin_popcount(mask);
            }
        }
        float *y = s->y + i * nv * VF_LANES;
#pragma GCC unroll 16
        for (size_t v = 0; v < nv; v++)
            v_store(y + v * VF_LANES, spmm_end(s, acc[v], v * VF_LANES, VF_LANES));
    }
}
#endif

static void spmm(const struct rcd_spmm *s)
{
#ifdef v_expand
    if (s->squeezed != 0) {
        if (s->chan == RCD_SQUEEZED)
            spmm_squeezed(s, RCD_SQUEEZED / VF_LANES);
        else
            spmm_squeezed(s, RCD_SQUEEZED / 2 / VF_LANES);
        return;
    }
#endif
    const size_t width = s->groups * s->chan;
    const bool one = s->groups == 1 || s->w == NULL;
    if (s->row_begin >= s->row_end || width == 0)
        return;
    const bool sum = s->how == RCD_SPMM_SUM || s->how == RCD_SPMM_MEAN;
    if (sum && one)
        spmm_columns(s, 0, width, RCD_SPMM_SUM, FACTOR_ONE);
    else if (sum && s->chan % VF_LANES == 0)
        spmm_columns(s, 0, width, RCD_SPMM_SUM, FACTOR_GROUPS);
    else if (sum)
        spmm_columns(s, 0, width, RCD_SPMM_SUM, FACTOR_SPREAD);
    else if (s->how == RCD_SPMM_MAX)
        spmm_groups(s, RCD_SPMM_MAX);
    else
        spmm_groups(s, RCD_SPMM_MIN);
}
