/* recurrent.h - what RNN, GRU and LSTM share: attributes, weights in panels, and the walk over time.
 * A cell brings its packing and its step. */
#pragma once
#include "ops.h"

struct rcd_act {
    rcd_unary f;
    float alpha, beta;
};

enum { CELL_MAX_ACTS = 3, CELL_MAX_DIRS = 2 };

/* Inputs by place; the same for all three operators, GRU and RNN end at initial_h. */
enum { IN_X, IN_W, IN_R, IN_B, IN_LENS, IN_H, IN_C, IN_P };

/** Weights of one direction, packed for the kernels. */
struct rcd_cell_weights {
    struct rcd_packed w;  /* input projection, k = input size */
    struct rcd_packed r;  /* recurrence */
    struct rcd_packed r2; /* GRU where its third gate has a product of its own */
    float *bias;          /* start of the projection's chain */
    float *bias2;         /* GRU, linear_before_reset: bias inside the reset product */
    const float *peep;    /* LSTM: f32[3][hidden], gates i o f, or NULL */
};

struct rcd_cell_spec;

/** One time step for n sequences; arrays have n entries. */
struct rcd_cell_step {
    const struct rcd_call *call;
    const struct rcd_cell_spec *spec;
    const struct rcd_cell_weights *w;
    int dir;
    size_t n;
    float *const *pre; /* projection rows: f32[gates * padded hidden]; may be overwritten */
    const float *const
        *x; /* not NULL (only if spec->takes_inputs): inputs, and no projection rows */
    const float *const *h_in;
    float *const *h_out;
    float *const *c;           /* LSTM: updated in place */
    float *const *tmp;         /* spec->tmp_floats floats for each sequence */
    float **aux[2];            /* room for row pointers */
    size_t unit_from, unit_to; /* both 0: all; else only if spec->splits */
    void *scratch;             /* of a product of n rows */
};

struct rcd_cell_spec {
    size_t gates, n_acts;
    size_t hidden, padded; /* padded to 16 */
    int n_dirs;
    bool reverse;     /* direction = "reverse" */
    bool batch_first; /* layout = 1 */
    bool has_clip, input_forget, linear_before_reset;
    bool plain; /* default activations, no clip, no extras: the fused kernels */
    float clip;
    struct rcd_act act[CELL_MAX_DIRS][CELL_MAX_ACTS];
    bool has_c;
    size_t tmp_floats;
    /** Bytes for the packed weights of one direction over `input` features; false on overflow. */
    bool (*bytes)(const struct rcd_cell_spec *s, size_t input, size_t *ret);
    /** Fill `w` using `mem` (of that size). W f32[gates*hidden][input], R f32[gates*hidden][hidden], B
     * f32[2*gates*hidden] or NULL, P f32[3*hidden] or NULL. */
    void (*pack)(const struct rcd_cell_spec *s, struct rcd_cell_weights *w, float *mem,
                 const float *W, const float *R, const float *B, const float *P, size_t input);
    void (*step)(const struct rcd_cell_step *s);
    /** May a step over these weights be done by several threads, each for some of the units? NULL: no. */
    bool (*splits)(const struct rcd_cell_spec *s, const struct rcd_cell_weights *w);
    /** Can a step over these weights do the projection of its inputs as well? NULL: no. */
    bool (*takes_inputs)(const struct rcd_cell_spec *s, const struct rcd_cell_weights *w);
    /* packed at load when the weights are constants */
    bool packed;
    size_t input;
    struct rcd_cell_weights weights[CELL_MAX_DIRS];
};

/** Read the attributes that the three share, check types, pack constant weights. The cell has set gates,
 * n_acts, has_c, plain (as far as it knows), bytes, pack and step before. */
RCD_MUST_CHECK rcd_status rcd__cell_check(struct rcd_check *k, struct rcd_cell_spec *s,
                                          const char *const *default_acts);
/** Second part, once every attribute of the cell itself is known. */
RCD_MUST_CHECK rcd_status rcd__cell_pack(struct rcd_check *k, struct rcd_cell_spec *s);
/** run_all of all three. */
void rcd__cell_run(struct rcd_call *c);

/** c (padded rows) = the product of a with b: from `bias`, or on top of what c holds where that is
 * NULL. */
static inline void rcd__cell_product(const struct rcd_cell_step *s, const float *const *a,
                                     float *const *c, const struct rcd_packed *b, const float *bias)
{
    struct rcd_gemm g = {.rows = s->n,
                         .a = a,
                         .c = c,
                         .b = b,
                         .bias = bias,
                         .accumulate = bias == NULL,
                         .c_padded = true,
                         .scratch = s->scratch};
    rcd_gemm_any(s->call->kern, &g);
}

/** x[0..n) = f(x) with the activation, for the cells' general path. */
static inline void rcd__act_apply(const struct rcd_call *c, const struct rcd_act *a, size_t n,
                                  float *x)
{
    c->kern->unary(a->f, n, x, x, a->alpha, a->beta);
}
/** Clamp where the node has a clip. */
static inline void rcd__clip_apply(const struct rcd_cell_step *s, size_t n, float *x)
{
    if (s->spec->has_clip)
        s->call->kern->unary(RCD_UN_CLIP, n, x, x, -s->spec->clip, s->spec->clip);
}
