/* steps.inc.h - one time step of LSTM, GRU and RNN (body.inc.h). A tile of gate pre-activations goes through its
 * non-linearities (gates.inc.h) as soon as its chains are done, from the first-level cache. */

/* What a step does from which unit to which. */
INLINE size_t unit_end(size_t hidden, size_t unit_to)
{
    return unit_to != 0 && unit_to < hidden ? unit_to : hidden;
}

INLINE size_t padded_units(size_t units)
{
    return (units + RCD_LANES - 1) / RCD_LANES * RCD_LANES;
}

/* ---- LSTM ------------------------------------------------------------------------------------------ */

INLINE void lstm_start(const void *what, const struct patch *p, const float **from, float **to)
{
    const struct rcd_lstm_step *s = what;
    (void)to;
    for (size_t r = 0; r < p->rows; r++)
        from[r] = s->pre[p->row + r] + p->col;
}

INLINE void lstm_finish(const void *what, const struct patch *p, float *const *tile)
{
    const struct rcd_lstm_step *s = what;
    const struct units part = {.pre = (const float *const *)tile,
                               .c_in = s->c_in + p->row,
                               .c_out = s->c_out + p->row,
                               .h_out = s->h_out + p->row,
                               .u = p->col / 4,
                               .n = s->hidden - p->col / 4};
    lstm_units_each(&part, p->rows);
}

INLINE void lstm_touch(const void *what, const struct patch *p)
{
    const struct rcd_lstm_step *s = what;
    for (size_t r = p->row; r < p->row + p->rows; r++) {
        touch_floats(s->pre[r] + p->col, p->w);
        touch_floats_to_write(s->c_in[r] + p->col / 4, RCD_LANES);
        touch_floats_to_write(s->h_out[r] + p->col / 4, RCD_LANES);
    }
}

/* With the inputs' part of the chains. */
INLINE void lstm_whole_start(const void *what, const struct patch *p, const float **from,
                             float **to)
{
    const struct rcd_lstm_step *s = what;
    (void)to;
    for (size_t r = 0; r < p->rows; r++)
        from[r] = s->bias + p->col;
}

INLINE void lstm_whole_touch(const void *what, const struct patch *p)
{
    const struct rcd_lstm_step *s = what;
    for (size_t r = p->row; r < p->row + p->rows; r++) {
        touch_floats_to_write(s->c_in[r] + p->col / 4, RCD_LANES);
        touch_floats_to_write(s->h_out[r] + p->col / 4, RCD_LANES);
    }
}

static void lstm_step(const struct rcd_lstm_step *s)
{
    size_t end = padded_units(unit_end(s->hidden, s->unit_to));
    if (s->x != NULL) {
        sweep_both((struct factors){s->w, s->x}, s->r, 4 * s->unit_from, 4 * end, s->rows, s->h_in,
                   (struct patch_work){lstm_whole_touch, lstm_whole_start, lstm_finish}, s);
        return;
    }
    sweep(s->r, 4 * s->unit_from, 4 * end, s->rows, s->h_in,
          (struct patch_work){lstm_touch, lstm_start, lstm_finish}, s);
}

/* ---- GRU ------------------------------------------------------------------------------------------- */

/* linear_before_reset: the three gates of a group are one panel; the candidate's chain starts from rb_h. */
INLINE void gru_linear_start(const void *what, const struct patch *p, const float **from,
                             float **to)
{
    const struct rcd_gru_step *s = what;
    for (size_t r = 0; r < p->rows; r++) {
        memcpy(to[r], s->pre[p->row + r] + p->col, 2 * RCD_LANES * sizeof(float));
        memcpy(to[r] + 2 * RCD_LANES, s->rb_h + p->col / 3, RCD_LANES * sizeof(float));
        from[r] = to[r];
    }
}

INLINE void gru_linear_finish(const void *what, const struct patch *p, float *const *tile)
{
    const struct rcd_gru_step *s = what;
    const struct units part = {.pre = s->pre + p->row,
                               .pre_at = p->col,
                               .rec = (const float *const *)tile,
                               .h_in = s->h_in + p->row,
                               .h_out = s->h_out + p->row,
                               .u = p->col / 3,
                               .n = s->hidden - p->col / 3};
    gru_linear_units_each(&part, p->rows);
}

INLINE void gru_linear_touch(const void *what, const struct patch *p)
{
    const struct rcd_gru_step *s = what;
    for (size_t r = p->row; r < p->row + p->rows; r++) {
        touch_floats(s->pre[r] + p->col, p->w);
        touch_floats_to_write(s->h_out[r] + p->col / 3, RCD_LANES);
    }
}

/* The paper's form: r * h must be whole before the candidate's product. */
INLINE void gru_gates_start(const void *what, const struct patch *p, const float **from, float **to)
{
    const struct rcd_gru_step *s = what;
    (void)to;
    for (size_t r = 0; r < p->rows; r++)
        from[r] = s->pre[p->row + r] + p->col / 2 * 3;
}

INLINE void gru_gates_finish(const void *what, const struct patch *p, float *const *tile)
{
    const struct rcd_gru_step *s = what;
    const struct units part = {.rec = (const float *const *)tile,
                               .h_in = s->h_in + p->row,
                               .zs = s->zs + p->row,
                               .rh = s->rh + p->row,
                               .u = p->col / 2,
                               .n = s->hidden - p->col / 2};
    gru_reset_units_each(&part, p->rows);
}

INLINE void gru_gates_touch(const void *what, const struct patch *p)
{
    const struct rcd_gru_step *s = what;
    for (size_t r = p->row; r < p->row + p->rows; r++)
        touch_floats(s->pre[r] + p->col / 2 * 3, p->w);
}

INLINE void gru_candidate_start(const void *what, const struct patch *p, const float **from,
                                float **to)
{
    const struct rcd_gru_step *s = what;
    (void)to;
    for (size_t r = 0; r < p->rows; r++)
        from[r] = s->pre[p->row + r] + 3 * p->col + 2 * RCD_LANES;
}

INLINE void gru_candidate_finish(const void *what, const struct patch *p, float *const *tile)
{
    const struct rcd_gru_step *s = what;
    const struct units part = {.rec = (const float *const *)tile,
                               .h_in = s->h_in + p->row,
                               .h_out = s->h_out + p->row,
                               .zs = s->zs + p->row,
                               .u = p->col,
                               .n = s->hidden - p->col};
    gru_blend_units_each(&part, p->rows);
}

INLINE void gru_candidate_touch(const void *what, const struct patch *p)
{
    const struct rcd_gru_step *s = what;
    for (size_t r = p->row; r < p->row + p->rows; r++) {
        touch_floats(s->pre[r] + 3 * p->col + 2 * RCD_LANES, RCD_LANES);
        touch_floats_to_write(s->h_out[r] + p->col, RCD_LANES);
    }
}

static void gru_step(const struct rcd_gru_step *s)
{
    size_t end = padded_units(unit_end(s->hidden, s->unit_to));
    if (s->linear_before_reset) {
        sweep(s->r, 3 * s->unit_from, 3 * end, s->rows, s->h_in,
              (struct patch_work){gru_linear_touch, gru_linear_start, gru_linear_finish}, s);
        return;
    }
    sweep(s->r, 0, s->r->padded, s->rows, s->h_in,
          (struct patch_work){gru_gates_touch, gru_gates_start, gru_gates_finish}, s);
    sweep(s->r_h, 0, s->r_h->padded, s->rows, (const float *const *)s->rh,
          (struct patch_work){gru_candidate_touch, gru_candidate_start, gru_candidate_finish}, s);
}

/* ---- RNN ------------------------------------------------------------------------------------------- */

INLINE void rnn_start(const void *what, const struct patch *p, const float **from, float **to)
{
    const struct rcd_rnn_step *s = what;
    (void)to;
    for (size_t r = 0; r < p->rows; r++)
        from[r] = s->pre[p->row + r] + p->col;
}

INLINE void rnn_finish(const void *what, const struct patch *p, float *const *tile)
{
    const struct rcd_rnn_step *s = what;
    const size_t keep = s->hidden - p->col < p->w ? s->hidden - p->col : p->w;
    for (size_t r = 0; r < p->rows; r++)
        unary(s->act, keep, tile[r], s->h_out[p->row + r] + p->col, s->alpha, s->beta);
}

INLINE void rnn_touch(const void *what, const struct patch *p)
{
    const struct rcd_rnn_step *s = what;
    for (size_t r = p->row; r < p->row + p->rows; r++)
        touch_floats(s->pre[r] + p->col, p->w);
}

static void rnn_step(const struct rcd_rnn_step *s)
{
    sweep(s->r, 0, s->r->padded, s->rows, s->h_in,
          (struct patch_work){rnn_touch, rnn_start, rnn_finish}, s);
}
