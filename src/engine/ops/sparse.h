/* sparse.h - the operators that fusion puts into a plan; no file can name them. */
#pragma once
#include "ops.h"

/** Csr: edges by the row they end in, in their order. In: dst int[E].
 * Out: ptr i32[rows + 1] (rows: as far as dst reaches), edge i32[E], range i64[2] of dst. */
extern const struct rcd_op rcd__op_csr;
enum { RCD__CSR_PTR, RCD__CSR_EDGE, RCD__CSR_RANGE, RCD__CSR_OUTS };

/** CsrCols: where the sorted edges start. In: edge (of Csr), src int[E].
 * Out: col i32[E], range i64[2] of src. */
extern const struct rcd_op rcd__op_csr_cols;
enum { RCD__COLS_COL, RCD__COLS_RANGE, RCD__COLS_OUTS };

/** Spmm: what Gather, Mul, Expand and ScatterElements say together. Float32. */
extern const struct rcd_op rcd__op_spmm;
enum {
    RCD__SPMM_PTR, /* outputs of Csr */
    RCD__SPMM_EDGE,
    RCD__SPMM_DST_RANGE,
    RCD__SPMM_COL, /* outputs of CsrCols; none: edge e takes row e of x */
    RCD__SPMM_SRC_RANGE,
    RCD__SPMM_X,
    RCD__SPMM_W,     /* [E, ...]: one factor per edge, or per edge and group; or none */
    RCD__SPMM_SHAPE, /* int64: of the result, which starts from zeros; or none */
    RCD__SPMM_START, /* what the result starts from; or none */
    RCD__SPMM_DST,   /* the indices as they came: those that count from the end */
    RCD__SPMM_SRC,
    RCD__SPMM_INS
};
struct rcd__spmm_state {
    rcd_spmm_reduce how;
};
