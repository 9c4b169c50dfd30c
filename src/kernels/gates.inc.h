/* gates.inc.h - the non-linearities of LSTM and GRU steps whose products are done (body.inc.h). The same
 * operations as in steps.inc.h, which has them fused behind the f32 product. */

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
        vf i = v_sigmoid(v_load(pre)), o = v_sigmoid(v_load(pre + RCD_LANES));
        vf f = v_sigmoid(v_load(pre + 2 * RCD_LANES)), g = v_tanh(v_load(pre + 3 * RCD_LANES));
        vf c = v_fma(f, v_loadn(s->c[r] + u + v, left), i * g);
        v_storen(s->c[r] + u + v, c, left);
        v_storen(s->h_out[r] + u + v, o * v_tanh(c), left);
    }
}

static void gru_linear_gates(const struct rcd_gates *s)
{
    EACH_VECTOR(s, r, u, v, left)
    {
        const float *rec = s->rec[r] + 3 * u + v;
        vf z = v_sigmoid(v_load(rec)), reset = v_sigmoid(v_load(rec + RCD_LANES));
        vf n = v_tanh(v_fma(reset, v_load(rec + 2 * RCD_LANES),
                            v_load(s->pre[r] + 3 * u + 2 * RCD_LANES + v)));
        vf h = v_loadn(s->h_in[r] + u + v, left);
        v_storen(s->h_out[r] + u + v, v_fma(z, h - n, n), left);
    }
}

static void gru_reset(const struct rcd_gates *s)
{
    EACH_VECTOR(s, r, u, v, left)
    {
        const float *rec = s->rec[r] + 2 * u + v;
        v_store(s->zs[r] + u + v, v_sigmoid(v_load(rec)));
        v_store(s->rh[r] + u + v,
                v_sigmoid(v_load(rec + RCD_LANES)) * v_loadn(s->h_in[r] + u + v, left));
    }
}

static void gru_blend_rows(const struct rcd_gates *s)
{
    EACH_VECTOR(s, r, u, v, left)
    {
        vf n = v_tanh(v_load(s->rec[r] + u + v)), h = v_loadn(s->h_in[r] + u + v, left);
        v_storen(s->h_out[r] + u + v, v_fma(v_load(s->zs[r] + u + v), h - n, n), left);
    }
}
