/* steps.inc.h - one time step of LSTM, GRU and RNN (body.inc.h). A tile of gate pre-activations goes
 * from the product through its non-linearities while it is in the first-level cache. */

/* Rows of a tile buffer, filled from the projection rows at `from`. */
INLINE void fill_tiles(float (*buf)[MAX_WIDTH], size_t rows, const float *const *pre, size_t from,
                       size_t w)
{
    for (size_t r = 0; r < rows; r++)
        memcpy(buf[r], pre[r] + from, w * sizeof(float));
}

#define TILE_POINTERS(buf)                                                                         \
    {                                                                                              \
        buf[0], buf[1], buf[2], buf[3], buf[4], buf[5]                                             \
    }

static void lstm_step(const struct rcd_lstm_step *s)
{
    float buf[MAX_ROWS][MAX_WIDTH];
    float *const tiles[MAX_ROWS] = TILE_POINTERS(buf);
    for (size_t u0 = 0; u0 < s->hidden; u0 += RCD_LANES) {
        const float *panel = s->r->data + u0 * 4 * s->r->k;
        for (size_t row = 0; row < s->rows; row += MAX_ROWS) {
            size_t rows = s->rows - row < MAX_ROWS ? s->rows - row : MAX_ROWS;
            fill_tiles(buf, rows, s->pre + row, 4 * u0, MAX_WIDTH);
            panel_rows(rows, s->r->k, s->h_in + row, panel, MAX_WIDTH, tiles);
            for (size_t r = 0; r < rows; r++) {
                for (size_t v = 0; v < RCD_LANES && u0 + v < s->hidden; v += VF_LANES) {
                    size_t left = s->hidden - u0 - v;
                    vf i = v_sigmoid(v_load(buf[r] + v));
                    vf o = v_sigmoid(v_load(buf[r] + RCD_LANES + v));
                    vf f = v_sigmoid(v_load(buf[r] + 2 * RCD_LANES + v));
                    vf g = v_tanh(v_load(buf[r] + 3 * RCD_LANES + v));
                    vf c = v_fma(f, v_loadn(s->c_in[row + r] + u0 + v, left), i * g);
                    v_storen(s->c_out[row + r] + u0 + v, c, left);
                    v_storen(s->h_out[row + r] + u0 + v, o * v_tanh(c), left);
                }
            }
        }
    }
}

static void gru_blend(float *h_out, const float *h_in, vf z, vf n, size_t left)
{
    v_storen(h_out, v_fma(z, v_loadn(h_in, left) - n, n), left);
}

/* linear_before_reset: the three gates of a group are one panel. */
static void gru_step_linear(const struct rcd_gru_step *s)
{
    enum { WIDTH = 3 * RCD_LANES };
    float buf[MAX_ROWS][MAX_WIDTH];
    float *const tiles[MAX_ROWS] = TILE_POINTERS(buf);
    for (size_t u0 = 0; u0 < s->hidden; u0 += RCD_LANES) {
        const float *panel = s->r->data + u0 * 3 * s->r->k;
        for (size_t row = 0; row < s->rows; row += MAX_ROWS) {
            size_t rows = s->rows - row < MAX_ROWS ? s->rows - row : MAX_ROWS;
            fill_tiles(buf, rows, s->pre + row, 3 * u0, 2 * RCD_LANES);
            for (size_t r = 0; r < rows; r++)
                memcpy(buf[r] + 2 * RCD_LANES, s->rb_h + u0, RCD_LANES * sizeof(float));
            panel_rows(rows, s->r->k, s->h_in + row, panel, WIDTH, tiles);
            for (size_t r = 0; r < rows; r++) {
                const float *pre_h = s->pre[row + r] + 3 * u0 + 2 * RCD_LANES;
                for (size_t v = 0; v < RCD_LANES && u0 + v < s->hidden; v += VF_LANES) {
                    vf z = v_sigmoid(v_load(buf[r] + v));
                    vf reset = v_sigmoid(v_load(buf[r] + RCD_LANES + v));
                    vf n =
                        v_tanh(v_fma(reset, v_load(buf[r] + 2 * RCD_LANES + v), v_load(pre_h + v)));
                    gru_blend(s->h_out[row + r] + u0 + v, s->h_in[row + r] + u0 + v, z, n,
                              s->hidden - u0 - v);
                }
            }
        }
    }
}

/* The paper's form: r * h must be whole before the candidate's product. */
static void gru_step_paper(const struct rcd_gru_step *s)
{
    float buf[MAX_ROWS][MAX_WIDTH];
    float *const tiles[MAX_ROWS] = TILE_POINTERS(buf);
    for (size_t u0 = 0; u0 < s->hidden; u0 += RCD_LANES) {
        for (size_t row = 0; row < s->rows; row += MAX_ROWS) {
            size_t rows = s->rows - row < MAX_ROWS ? s->rows - row : MAX_ROWS;
            fill_tiles(buf, rows, s->pre + row, 3 * u0, 2 * RCD_LANES);
            panel_rows(rows, s->r->k, s->h_in + row, s->r->data + u0 * 2 * s->r->k, 2 * RCD_LANES,
                       tiles);
            for (size_t r = 0; r < rows; r++) {
                for (size_t v = 0; v < RCD_LANES && u0 + v < s->hidden; v += VF_LANES) {
                    vf reset = v_sigmoid(v_load(buf[r] + RCD_LANES + v));
                    vf h = v_loadn(s->h_in[row + r] + u0 + v, s->hidden - u0 - v);
                    v_store(s->zs[row + r] + u0 + v, v_sigmoid(v_load(buf[r] + v)));
                    v_store(s->rh[row + r] + u0 + v, reset * h);
                }
            }
        }
    }
    for (size_t u0 = 0; u0 < s->hidden; u0 += RCD_LANES) {
        for (size_t row = 0; row < s->rows; row += MAX_ROWS) {
            size_t rows = s->rows - row < MAX_ROWS ? s->rows - row : MAX_ROWS;
            fill_tiles(buf, rows, s->pre + row, 3 * u0 + 2 * RCD_LANES, RCD_LANES);
            panel_rows(rows, s->r_h->k, (const float *const *)s->rh + row,
                       s->r_h->data + u0 * s->r_h->k, RCD_LANES, tiles);
            for (size_t r = 0; r < rows; r++) {
                for (size_t v = 0; v < RCD_LANES && u0 + v < s->hidden; v += VF_LANES)
                    gru_blend(s->h_out[row + r] + u0 + v, s->h_in[row + r] + u0 + v,
                              v_load(s->zs[row + r] + u0 + v), v_tanh(v_load(buf[r] + v)),
                              s->hidden - u0 - v);
            }
        }
    }
}

static void gru_step(const struct rcd_gru_step *s)
{
    if (s->linear_before_reset)
        gru_step_linear(s);
    else
        gru_step_paper(s);
}

static void rnn_step(const struct rcd_rnn_step *s)
{
    float buf[MAX_ROWS][MAX_WIDTH];
    float *const tiles[MAX_ROWS] = TILE_POINTERS(buf);
    for (size_t col = 0; col < s->r->padded; col += s->r->width) {
        size_t w = rcd__panel_width(s->r, col);
        size_t keep = s->hidden - col < w ? s->hidden - col : w;
        for (size_t row = 0; row < s->rows; row += MAX_ROWS) {
            size_t rows = s->rows - row < MAX_ROWS ? s->rows - row : MAX_ROWS;
            fill_tiles(buf, rows, s->pre + row, col, w);
            panel_rows(rows, s->r->k, s->h_in + row, s->r->data + col * s->r->k, w, tiles);
            for (size_t r = 0; r < rows; r++)
                unary(s->act, keep, buf[r], s->h_out[row + r] + col, s->alpha, s->beta);
        }
    }
}
