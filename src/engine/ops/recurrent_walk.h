/* recurrent_walk.h - lanes: sequences on their way through one direction of one recurrent layer. */
#pragma once
#include "recurrent.h"

struct rcd_lane {
    const float *x;    /* row of time 0 */
    size_t x_step;     /* floats between time steps */
    size_t len, steps; /* valid steps; steps of the tensor */
    float *y;          /* NULL when Y is not wanted */
    size_t y_step;
    const float *h;  /* first hidden state */
    float *h_buf[2]; /* where it goes when there is no Y */
    float *c;        /* updated in place */
    float *yh, *yc;  /* final states; yh NULL when not wanted */
};

struct rcd_layer {
    struct rcd_call *call;
    const struct rcd_cell_spec *spec;
    struct rcd_lane *lanes;
    size_t n_lanes;
    float *zeros;
};

/** Scratch for `count` things; NULL: no room. */
void *rcd__lane_take(const struct rcd_call *c, size_t count, size_t bytes);
/** All lanes through all their steps in direction `dir`; final states and zeros past the ends included. false: no
 * scratch memory. */
RCD_MUST_CHECK bool rcd__walk_time(const struct rcd_layer *l,
                                   const struct rcd_cell_weights *weights, int dir);
