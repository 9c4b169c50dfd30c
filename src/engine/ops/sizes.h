/* sizes.h - the state of Sizes (sizes.c). */
#pragma once
#include "ops.h"

extern const struct rcd_op rcd__op_sizes;

enum { RCD__MAX_PARTS = 8, RCD__MAX_SIZES = 8 };

struct rcd__size_part {
    uint32_t in; /* input of the node */
    int axis;
};
struct rcd__sizes {
    rcd_dtype dtype; /* RCD_I64 or RCD_I32 */
    int rank;        /* 0 or 1 */
    size_t n;
    struct {
        int64_t number;
        size_t n_parts;
        struct rcd__size_part parts[RCD__MAX_PARTS];
    } elements[RCD__MAX_SIZES];
};
