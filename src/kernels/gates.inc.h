/* gates.inc.h - the non-linearities of LSTM and GRU steps: as functions of vectors, which steps.inc.h calls behind
 * the f32 product of a tile, and over whole rows, for steps whose products are done.
 *
 * Not the public element functions: sigma(x) = 1 / v_gate(x) and tanh(x) = num / den share a division where they are
 * multiplied, so an LSTM unit takes three divisions and not seven. A gate that is open is exactly 1, so a cell that
 * only remembers keeps its bits. */

INLINE vf step_sigmoid(vf x)
{
    return 1.0f / v_gate(x);
}

INLINE vf step_tanh(vf x)
{
    struct v_ratio t = v_tanh_ratio(x);
    return t.num / t.den;
}

/* sigma(gate) * tanh(x) */
INLINE vf gated_tanh(vf gate, vf x)
{
    struct v_ratio t = v_tanh_ratio(x);
    return t.num / (v_gate(gate) * t.den);
}

/* c' = f c + i g; gates before their non-linearities. */
INLINE vf lstm_cell(vf i, vf f, vf g, vf c)
{
    return v_fma(step_sigmoid(f), c, gated_tanh(i, g));
}

/* linear_before_reset: n = tanh(pre + r * rec) */
INLINE vf gru_candidate(vf reset, vf rec, vf pre)
{
    return step_tanh(v_fma(step_sigmoid(reset), rec, pre));
}

/* h' = n + z (h - n) */
INLINE vf gru_mix(vf z, vf h, vf n)
{
    return v_fma(z, h - n, n);
}

#define EACH_VECTOR(s, r, u, v, left)                                                              \
    for (size_t r = 0; r < (s)->rows; r++)                                                         \
        for (size_t u = 0; u < (s)->hidden; u += RCD_LANES)                                        \
            for (size_t v = 0, left = (s)->hidden - u; v < RCD_LANES && u + v < (s)->hidden;       \
                 v += VF_LANES, left = (s)->hidden - u - v)

static void lstm_gates(const struct rcd_gates *s)
{
    EACH_VECTOR(s, r, u, v, left)
    {
        const float *pre = s->pre[r] + 4 * u + v;
        vf c = lstm_cell(v_load(pre), v_load(pre + 2 * RCD_LANES), v_load(pre + 3 * RCD_LANES),
                         v_loadn(s->c[r] + u + v, left));
        v_storen(s->c[r] + u + v, c, left);
        v_storen(s->h_out[r] + u + v, gated_tanh(v_load(pre + RCD_LANES), c), left);
    }
}

static void gru_linear_gates(const struct rcd_gates *s)
{
    EACH_VECTOR(s, r, u, v, left)
    {
        const float *rec = s->rec[r] + 3 * u + v;
        vf n = gru_candidate(v_load(rec + RCD_LANES), v_load(rec + 2 * RCD_LANES),
                             v_load(s->pre[r] + 3 * u + 2 * RCD_LANES + v));
        vf h = v_loadn(s->h_in[r] + u + v, left);
        v_storen(s->h_out[r] + u + v, gru_mix(step_sigmoid(v_load(rec)), h, n), left);
    }
}

static void gru_reset(const struct rcd_gates *s)
{
    EACH_VECTOR(s, r, u, v, left)
    {
        const float *rec = s->rec[r] + 2 * u + v;
        v_store(s->zs[r] + u + v, step_sigmoid(v_load(rec)));
        v_store(s->rh[r] + u + v,
                step_sigmoid(v_load(rec + RCD_LANES)) * v_loadn(s->h_in[r] + u + v, left));
    }
}

static void gru_blend_rows(const struct rcd_gates *s)
{
    EACH_VECTOR(s, r, u, v, left)
    {
        vf n = step_tanh(v_load(s->rec[r] + u + v)), h = v_loadn(s->h_in[r] + u + v, left);
        v_storen(s->h_out[r] + u + v, gru_mix(v_load(s->zs[r] + u + v), h, n), left);
    }
}
