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

/** CsrFactors: factors of edges in the order of the sorted edges. In: edge (of Csr), w f32[E, ...].
 * Out: the same size; nothing is in it where the edges were not sorted. */
extern const struct rcd_op rcd__op_csr_factors;

/** What Spmm and Attend read first. */
enum {
    RCD__EDGES_PTR, /* outputs of Csr */
    RCD__EDGES_EDGE,
    RCD__EDGES_DST_RANGE,
    RCD__EDGES_COL, /* outputs of CsrCols; none: edge e takes row e of x */
    RCD__EDGES_SRC_RANGE,
    RCD__EDGES_DST, /* the indices as they came: those that count from the end */
    RCD__EDGES_SRC,
    RCD__EDGES_X,
    RCD__EDGES_SHAPE, /* int64: of the result, which starts from zeros; or none */
    RCD__EDGES_BIAS,  /* f32 of a row's width, added at the end; or none */
    RCD__EDGES_INS
};

/** What happens to a row when its sum is there. */
struct rcd__row_end {
    bool relu;
    bool flat;    /* the result is [rows, width] whatever SHAPE says of the width */
    size_t width; /* of a row, whatever SHAPE says; 0: as it says (fuse_order.c) */
};

/** Spmm: what Gather, Mul, Expand and ScatterElements say together. Float32. */
extern const struct rcd_op rcd__op_spmm;
enum {
    RCD__SPMM_W =
        RCD__EDGES_INS, /* [E, ...]: one factor per edge, or per edge and group; or none */
    RCD__SPMM_SORTED,   /* output of CsrFactors */
    RCD__SPMM_START,    /* what the result starts from; or none */
    RCD__SPMM_INS
};
struct rcd__spmm_state {
    struct rcd__row_end end; /* first: fuse_epilogue.c */
    rcd_spmm_reduce how;
};

/** SpmmEach: Spmm along an inner axis, for each of what lies before it. Inputs as Spmm's; SHAPE is there, START is not, one
 * factor per edge. */
extern const struct rcd_op rcd__op_spmm_each;
struct rcd__each_state {
    struct rcd__spmm_state sum; /* without a row end */
    int axis;                   /* of the rows, in X and in the result */
};

/** Where a step of an edge program takes floats from. */
typedef enum rcd__edge_from {
    RCD__FROM_STEP,   /* an earlier step */
    RCD__FROM_SRC,    /* row of the node where the edge starts */
    RCD__FROM_DST,    /* ... where it ends */
    RCD__FROM_EDGE,   /* the edge's own row */
    RCD__FROM_UNIFORM /* alike for all edges */
} rcd__edge_from;

struct rcd__edge_arg {
    rcd__edge_from from;
    uint32_t i; /* a step's number, or the node's input */
    bool single;
};

struct rcd__edge_step {
    rcd_edge_op op;
    size_t width, inner;
    struct rcd__edge_arg a, b;
    rcd_unary f;
    float alpha, beta;
};

enum { RCD__EDGE_STEPS = 12, RCD__EDGE_LEAVES = 16 };

/** Operations between rows of an edge's ends and its own, edge by edge (fuse_edges.c). The last step
 * is the result. A program of no steps is a row of the edge's own: `only`. */
struct rcd__edge_program {
    size_t n, width; /* of the result */
    struct rcd__edge_step steps[RCD__EDGE_STEPS];
    struct rcd__edge_arg only;
};

/** Attend: y[i] = sum over the edges of row i of softmax(program) * x[col], in one pass over the row.
 * Groups: the program's width; X is f32[rows, groups, ...]. With a second program the rows that are summed are made by it,
 * edge by edge, and X is one of the things that it or the first one reads where edges start. */
extern const struct rcd_op rcd__op_attend;
enum { RCD__ATTEND_LEAVES = RCD__EDGES_INS }; /* what the program reads, up to RCD__EDGE_LEAVES */
struct rcd__attend_state {
    struct rcd__row_end end; /* first: fuse_epilogue.c */
    struct rcd__edge_program program;
    struct rcd__edge_program values; /* width 0: none, rows of X */
    float floor, eps;
    bool raw; /* the program's result is already positive: only the division */
};

/** The sorted edges of request r. */
struct rcd__edges {
    const int32_t *ptr, *edge, *col;
    size_t rows, n; /* rows that have edges, edges */
    bool again;     /* sorted anew: what was kept in sorted order does not fit */
};

/** Check the indices against `rows` of the result and `x_rows`, and give the edges: Csr's, or sorted
 * again in scratch where indices count from the end. Fails the request. */
RCD_MUST_CHECK rcd_status rcd__take_edges(struct rcd_call *c, size_t r, int64_t rows,
                                          int64_t x_rows, struct rcd__edges *ret);
/** The result's output from SHAPE and the row end's flags; zeros where no edge ends (what lies beyond
 * `edges->rows` is finished here). *ret NULL: nobody wants it. */
RCD_MUST_CHECK rcd_status rcd__rows_new(struct rcd_call *c, size_t r,
                                        const struct rcd__row_end *end, struct rcd_tensor **ret);
/** Rows [from, out's) have no edges: zeros, then the row end. */
void rcd__rows_rest(struct rcd_call *c, size_t r, const struct rcd__row_end *end, size_t from,
                    const struct rcd_tensor *out);
/** n such rows. */
void rcd__rows_end(float *y, size_t n, size_t width, const float *bias, bool relu);

/** The sums `sum` (y: not set) of `rows` rows with the n > 0 products joined to them (chain.c). */
RCD_MUST_CHECK rcd_status rcd__chain_run(struct rcd_call *c, size_t r, size_t rows,
                                         const struct rcd_spmm *sum, size_t n);

/** Sums of one number an edge (degrees.c). False: these are others, and nothing is done. */
bool rcd__degrees(const struct rcd_call *c, const struct rcd_spmm *s);

struct rcd__team;
/** Rows [0, s->row_end) of a sparse product, `chunk` at a time, by all of the team. */
void rcd__spmm_rows(const struct rcd_kernels *kern, struct rcd__team *team,
                    const struct rcd_spmm *s, size_t chunk);

/** What a program reads from outside: f(ctx, step, arg) for each, in order; step NULL: `only`. Stops at the
 * first false, and returns it. */
typedef bool rcd__edge_leaf_fn(void *ctx, const struct rcd__edge_step *step,
                               const struct rcd__edge_arg *arg);
bool rcd__edge_leaves(const struct rcd__edge_program *p, rcd__edge_leaf_fn *f, void *ctx);
/** Scratch floats that one thread needs for `n` edges at a time. */
size_t rcd__edge_program_floats(const struct rcd__edge_program *p, size_t n);
/** Run a program over sorted edges [from, from + n): y f32[n][width], or NULL to have the result in
 * scratch. Returns the result. `dst` i32[n]: the rows where they end. */
struct rcd__edge_inputs {
    const float *leaves[RCD__EDGE_LEAVES]; /* data of the node's inputs */
    size_t strides[RCD__EDGE_LEAVES];      /* floats of a row */
    const int32_t *edge, *col;
};
const float *rcd__edge_program_run(const struct rcd_kernels *k, const struct rcd__edge_program *p,
                                   const struct rcd__edge_inputs *in, size_t from, size_t n,
                                   const int32_t *dst, float *scratch);

/** Attend over some rows. */
struct rcd__attend_work {
    const struct rcd_kernels *kern;
    const struct rcd__attend_state *state;
    const struct rcd__edges *e;
    const int32_t *ids; /* i32[e->rows]: what the rows are called in the program; NULL: 0, 1, ... */
    struct rcd_spmm sum;        /* x, x_rows, groups, chan, y, bias, relu */
    struct rcd__edge_inputs in; /* leaves, strides */
    size_t block_edges; /* set by rcd__attend_floats: the most edges that are done together */
};
/** Floats of scratch. */
size_t rcd__attend_floats(struct rcd__attend_work *w, const struct rcd__team *team);
/** After rcd__attend_floats. */
void rcd__attend_rows(const struct rcd__attend_work *w, struct rcd__team *team, float *scratch);
