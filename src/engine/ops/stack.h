/* stack.h - tensors of one shape that come one after the other and become one tensor: what Loop and Scan
 * collect. Grows by doubling in the worker's pool, so a loop in steady state allocates nothing. */
#pragma once
#include "ops.h"

struct rcd__stack {
    struct rcd_tensor like; /* shape and type of one row; RCD_NONE before the first */
    struct rcd_block *block;
    size_t n, cap; /* rows */
};

/** Add a row; its bytes are copied. Fails request r when its shape is another one than before, naming both. */
RCD_MUST_CHECK rcd_status rcd__stack_add(const struct rcd_call *c, size_t r, struct rcd__stack *s,
                                         const struct rcd_tensor *row);
/** The rows along a new axis 0 become output i; the last row comes first when `reverse`. Without rows the shape is
 * that of `id`, a body's output, as the file declares it, with zeros where it does not. Takes the block. */
rcd_status rcd__stack_out(const struct rcd_call *c, size_t r, struct rcd__stack *s, size_t i,
                          rcd_value_id id, bool reverse);
void rcd__stack_drop(struct rcd__stack *s);
