/* dots.h - products with a constant row that are summed at once. */
#pragma once
#include "ops.h"

enum { RCD__DOTS_ROW = 1 << 14 }; /* floats of such a row, at most */

/** For a Mul (fuse_dots.c): also what the ReduceSum right behind it makes, with the same kernels and so the same bits.
 * Fails the request. */
RCD_MUST_CHECK rcd_status rcd__dots_run(struct rcd_call *c, size_t r);
/** The output of a reduction of a tensor of x's shape, whatever input 0 is. *ret NULL: nobody wants it. */
RCD_MUST_CHECK rcd_status rcd__reduce_out(const struct rcd_call *c, size_t r,
                                          const struct rcd_tensor *x, struct rcd_tensor **ret);
