/* gates.inc.h - the non-linearities of LSTM and GRU steps: for 16 units of some rows, which steps.inc.h calls behind
 * the f32 product of a tile, and over whole rows, for steps whose products are done.
 *
 * Not the public element functions: sigma(x) = 1 / gate and tanh(x) = num / den share a division where they are
 * multiplied, so an LSTM unit takes three divisions and not seven. A gate that is open is exactly 1, so a cell that only
 * remembers keeps its bits. */

/* Their chains of dependent operations are long, so R vectors go through them side by side, operation by operation: the
 * processor does not look far enough ahead to find the next vector's by itself. */
enum { GATE_ROWS = MAX_ROWS == 1 ? 1 : VF_LANES == 16 ? 6 : 3 }; /* what the registers hold */

#define EACH(r) _Pragma("GCC unroll 8") for (int r = 0; r < R; r++)

/* 1 + exp(-x), so that 1 / gate is sigma(x): beyond |x| = 20 less than 1e-15 off, and above 0. One scaling
 * suffices where nothing below the normal range counts. NaN passes. */
INLINE void gates(const int R, const vf *x, vf *gate)
{
    const vf magic =
        v_set1(12583039.0f); /* 1.5 * 2^23 + 127: the sum's last bits are an exponent */
    vf c[GATE_ROWS], t[GATE_ROWS], p[GATE_ROWS];
    EACH(r) c[r] = v_max(v_set1(-87.0f), v_min(v_set1(87.0f), x[r]));
    EACH(r) t[r] = v_fma(c[r], v_set1(-1.44269504088896341f), magic);
    EACH(r) gate[r] = (vf)((vi)t[r] << 23);
    EACH(r) c[r] = v_fma(t[r] - magic, v_set1(0.69314718f), c[r]);
    EACH(r) p[r] = v_fma(v_set1(1.3836842581446645e-3f), c[r], v_set1(-8.374817322298868e-3f));
    EACH(r) p[r] = v_fma(p[r], c[r], v_set1(4.16682257112248e-2f));
    EACH(r) p[r] = v_fma(p[r], c[r], v_set1(-0.1666642015188325f));
    EACH(r) p[r] = v_fma(p[r], c[r], v_set1(0.49999992078821903f));
    EACH(r) p[r] = v_fma(p[r], c[r], v_set1(-1.0f));
    EACH(r) p[r] = v_fma(p[r], c[r], v_set1(1.0f));
    EACH(r) gate[r] = v_fma(p[r], gate[r], v_set1(1.0f));
}

/* tanh(x) = num / den, so that a division can be shared: m / (m + 2) with m = exp(2x) - 1 = 2^n (exp(2y) - 1) + 2^n - 1,
 * and exp(2y) - 1 = 2y + y y q(y), as accurate near zero as elsewhere. NaN passes. */
INLINE void tanh_ratios(const int R, const vf *x, vf *num, vf *den)
{
    const vf magic = v_set1(12583039.0f);
    vf c[GATE_ROWS], t[GATE_ROWS], q[GATE_ROWS], s[GATE_ROWS];
    EACH(r) c[r] = v_max(v_set1(-10.0f), v_min(v_set1(10.0f), x[r]));
    EACH(r) t[r] = v_fma(c[r], v_set1(2.88539008177792681f), magic);
    EACH(r) s[r] = (vf)((vi)t[r] << 23);
    EACH(r) c[r] = v_fma(t[r] - magic, v_set1(-0.34657359f), c[r]);
    EACH(r) q[r] = v_fma(v_set1(8.884797526130729e-2f), c[r], v_set1(0.2677328605311298f));
    EACH(r) q[r] = v_fma(q[r], c[r], v_set1(0.6666752654072897f));
    EACH(r) q[r] = v_fma(q[r], c[r], v_set1(1.3333234117223007f));
    EACH(r) q[r] = v_fma(q[r], c[r], v_set1(1.9999999252825398f));
    EACH(r) q[r] = v_fma(c[r] * c[r], q[r], c[r] * 2.0f);
    EACH(r) num[r] = v_fma(q[r], s[r], s[r] - 1.0f);
    EACH(r) den[r] = num[r] + 2.0f;
}

INLINE void sigmoids(const int R, const vf *x, vf *y)
{
    gates(R, x, y);
    EACH(r) y[r] = 1.0f / y[r];
}

/* sigma(gate) * tanh(x), gates as `gates` has them */
INLINE void gated_tanhs(const int R, const vf *gate, const vf *x, vf *y)
{
    vf num[GATE_ROWS], den[GATE_ROWS];
    tanh_ratios(R, x, num, den);
    EACH(r) y[r] = num[r] / (gate[r] * den[r]);
}

/* h' = sigma(o) tanh(c'), c' = sigma(f) c + sigma(i) tanh(g); gates before their non-linearities, c to c'. */
INLINE void lstm_cells(const int R, const vf *i, const vf *o, const vf *f, const vf *g, vf *c,
                       vf *h)
{
    vf a[GATE_ROWS], b[GATE_ROWS], open[GATE_ROWS];
    gates(R, i, a);
    gated_tanhs(R, a, g, a);
    sigmoids(R, f, b);
    gates(R, o, open); /* while the divisions are under way */
    EACH(r) c[r] = v_fma(b[r], c[r], a[r]);
    gated_tanhs(R, open, c, h);
}

/* h' = n + z (h - n) */
INLINE vf gru_mix(vf z, vf h, vf n)
{
    return v_fma(z, h - n, n);
}

/* linear_before_reset: h' = n + sigma(z) (h - n), n = tanh(pre + sigma(reset) rec) */
INLINE void gru_cells(const int R, const vf *z, const vf *reset, const vf *rec, const vf *pre,
                      vf *h)
{
    vf a[GATE_ROWS], n[GATE_ROWS], den[GATE_ROWS];
    sigmoids(R, reset, a);
    EACH(r) a[r] = v_fma(a[r], rec[r], pre[r]);
    tanh_ratios(R, a, n, den);
    EACH(r) n[r] = n[r] / den[r];
    sigmoids(R, z, a);
    EACH(r) h[r] = gru_mix(a[r], h[r], n[r]);
}

/* What the non-linearities of 16 units take and leave: rows, and where in them. */
struct units {
    const float *const *pre; /* from pre_at on: gates of LSTM in places i o f c; of GRU z r h */
    const float *const *rec; /* GRU, from rec_at on: z r h, or z r, or h */
    const float *const *h_in;
    float *const *h_out;
    const float *const *c_in;
    float *const *c_out;
    float *const *zs;
    float *const *rh;
    size_t pre_at, rec_at, u; /* u: the first unit */
    size_t n;                 /* units that there are */
};

/* Rows [from, from + R). n: s->n, or the constant 16 where it is not less. */
typedef void units_rows(const int R, const struct units *s, size_t from, const size_t n);

/* One vector of each row, at `at` floats. */
INLINE void take(const int R, const float *const *rows, size_t at, vf *x)
{
    EACH(r) x[r] = v_load(rows[r] + at);
}

INLINE void take_units(const int R, const float *const *rows, size_t at, size_t n, vf *x)
{
    EACH(r) x[r] = v_loadn(rows[r] + at, n);
}

INLINE void put_units(const int R, float *const *rows, size_t at, size_t n, const vf *x)
{
    EACH(r) v_storen(rows[r] + at, x[r], n);
}

INLINE void lstm_units(const int R, const struct units *s, size_t from, const size_t n)
{
    for (size_t v = 0; v < RCD_LANES && v < n; v += VF_LANES) {
        vf i[GATE_ROWS], o[GATE_ROWS], f[GATE_ROWS], g[GATE_ROWS], c[GATE_ROWS], h[GATE_ROWS];
        take(R, s->pre + from, s->pre_at + v, i);
        take(R, s->pre + from, s->pre_at + RCD_LANES + v, o);
        take(R, s->pre + from, s->pre_at + 2 * RCD_LANES + v, f);
        take(R, s->pre + from, s->pre_at + 3 * RCD_LANES + v, g);
        take_units(R, s->c_in + from, s->u + v, n - v, c);
        lstm_cells(R, i, o, f, g, c, h);
        put_units(R, s->c_out + from, s->u + v, n - v, c);
        put_units(R, s->h_out + from, s->u + v, n - v, h);
    }
}

INLINE void gru_linear_units(const int R, const struct units *s, size_t from, const size_t n)
{
    for (size_t v = 0; v < RCD_LANES && v < n; v += VF_LANES) {
        vf z[GATE_ROWS], reset[GATE_ROWS], rec[GATE_ROWS], pre[GATE_ROWS], h[GATE_ROWS];
        take(R, s->rec + from, s->rec_at + v, z);
        take(R, s->rec + from, s->rec_at + RCD_LANES + v, reset);
        take(R, s->rec + from, s->rec_at + 2 * RCD_LANES + v, rec);
        take(R, s->pre + from, s->pre_at + 2 * RCD_LANES + v, pre);
        take_units(R, s->h_in + from, s->u + v, n - v, h);
        gru_cells(R, z, reset, rec, pre, h);
        put_units(R, s->h_out + from, s->u + v, n - v, h);
    }
}

/* The paper's form, first part: z, and r * h. */
INLINE void gru_reset_units(const int R, const struct units *s, size_t from, const size_t n)
{
    for (size_t v = 0; v < RCD_LANES && v < n; v += VF_LANES) {
        vf z[GATE_ROWS], reset[GATE_ROWS], h[GATE_ROWS];
        take(R, s->rec + from, s->rec_at + v, z);
        take(R, s->rec + from, s->rec_at + RCD_LANES + v, reset);
        take_units(R, s->h_in + from, s->u + v, n - v, h);
        sigmoids(R, z, z);
        sigmoids(R, reset, reset);
        EACH(r) reset[r] = reset[r] * h[r];
        put_units(R, s->zs + from, s->u + v, VF_LANES, z);
        put_units(R, s->rh + from, s->u + v, VF_LANES, reset);
    }
}

/* Second part: the candidate, and the mix. */
INLINE void gru_blend_units(const int R, const struct units *s, size_t from, const size_t n)
{
    for (size_t v = 0; v < RCD_LANES && v < n; v += VF_LANES) {
        vf x[GATE_ROWS], den[GATE_ROWS], z[GATE_ROWS], h[GATE_ROWS];
        take(R, s->rec + from, s->rec_at + v, x);
        take(R, (const float *const *)s->zs + from, s->u + v, z);
        take_units(R, s->h_in + from, s->u + v, n - v, h);
        tanh_ratios(R, x, x, den);
        EACH(r) x[r] = x[r] / den[r];
        EACH(r) h[r] = gru_mix(z[r], h[r], x[r]);
        put_units(R, s->h_out + from, s->u + v, n - v, h);
    }
}

#define UNITS_ROWS(R)                                                                              \
    case R:                                                                                        \
        if (s->n >= RCD_LANES)                                                                     \
            f(R, s, from, RCD_LANES);                                                              \
        else                                                                                       \
            f(R, s, from, s->n);                                                                   \
        break;

/* All rows, as many side by side as can be, and none alone if that can be helped. Two callers each: not inline. */
INLINE void units_each(units_rows *f, const struct units *s, size_t rows)
{
    for (size_t from = 0, some = 0; from < rows; from += some) {
        const size_t left = rows - from;
        some = left <= GATE_ROWS ? left : left < 2 * GATE_ROWS ? (left + 1) / 2 : GATE_ROWS;
        switch (some) {
            UNITS_ROWS(1)
#ifndef KERNELS_SIMPLE
            UNITS_ROWS(2)
            UNITS_ROWS(3)
#endif
#if VF_LANES == 16
            UNITS_ROWS(4)
            UNITS_ROWS(5)
            UNITS_ROWS(6)
#endif
        default:
            break;
        }
    }
}

static void lstm_units_each(const struct units *s, size_t rows)
{
    units_each(lstm_units, s, rows);
}

static void gru_linear_units_each(const struct units *s, size_t rows)
{
    units_each(gru_linear_units, s, rows);
}

static void gru_reset_units_each(const struct units *s, size_t rows)
{
    units_each(gru_reset_units, s, rows);
}

static void gru_blend_units_each(const struct units *s, size_t rows)
{
    units_each(gru_blend_units, s, rows);
}

/* ---- whole rows -------------------------------------------------------------------------------- */

INLINE void gates_each(void (*f)(const struct units *, size_t), const struct rcd_gates *s,
                       size_t pre_gates, size_t rec_gates)
{
    struct units part = {.pre = s->pre,
                         .rec = s->rec,
                         .h_in = s->h_in,
                         .h_out = s->h_out,
                         .c_in = (const float *const *)s->c,
                         .c_out = s->c,
                         .zs = s->zs,
                         .rh = s->rh};
    for (; part.u < s->hidden; part.u += RCD_LANES) {
        part.pre_at = pre_gates * part.u;
        part.rec_at = rec_gates * part.u;
        part.n = s->hidden - part.u;
        f(&part, s->rows);
    }
}

static void lstm_gates(const struct rcd_gates *s)
{
    gates_each(lstm_units_each, s, 4, 0);
}

static void gru_linear_gates(const struct rcd_gates *s)
{
    gates_each(gru_linear_units_each, s, 3, 3);
}

static void gru_reset(const struct rcd_gates *s)
{
    gates_each(gru_reset_units_each, s, 0, 2);
}

static void gru_blend_rows(const struct rcd_gates *s)
{
    gates_each(gru_blend_units_each, s, 0, 1);
}
