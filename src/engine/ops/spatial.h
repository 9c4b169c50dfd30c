/* spatial.h - windows that move over spatial dims: the attributes that Conv and the pools share, and the sizes that follow. */
#pragma once
#include "ops.h"

enum { RCD__SPATIAL = 3 };

/** Attributes of a node; a list that was left out has n 0. */
struct rcd__spatial {
    enum rcd__auto_pad { RCD__NOTSET, RCD__SAME_UPPER, RCD__SAME_LOWER, RCD__VALID } auto_pad;
    const int64_t *kernel, *strides, *dilations, *pads;
    size_t n_kernel, n_strides, n_dilations, n_pads;
};

/** One spatial dim of a call. */
struct rcd__dim {
    int64_t in, out, kernel, stride, dilation;
    int64_t pad, end; /* places before the first element and behind the last */
};

/** A dim that is not there: one element, one place. */
struct rcd__dim rcd__dim_none(void);

/** Reads the attributes; strides and dilations from 1, pads from 0. */
rcd_status rcd__spatial_read(struct rcd_check *k, struct rcd__spatial *s);

/** auto_pad, kernel_shape and so on: each of v[n] from `least` to INT32_MAX, or the node is refused. */
rcd_status rcd__spatial_range(struct rcd_check *k, const char *name, const int64_t *v, size_t n,
                              int64_t least);

/** Stride, dilation, pads and out of dim i of n from in and kernel; `up`: a last window may reach past the end. */
rcd_status rcd__spatial_size(const struct rcd_call *c, size_t r, const struct rcd__spatial *s,
                             int i, int n, bool up, struct rcd__dim *d);
