/* kernels.h - plain numeric loops, one set per CPU level, chosen once at start.
 *
 * The promise of every kernel here (design.md, idea 4): an output element is ONE sequential
 * fused-multiply-add chain over its inner dimension, started from its bias (or from what the
 * output row already holds), so its bits depend neither on the other rows, nor on the chunking,
 * nor on the CPU level. Non-linearities run the same operations in the same order on every level.
 * Sums along the vectorised dimension use one fixed tree of 16 lanes.
 *
 * Kernels take pointers, sizes and rows; they do not allocate, cannot fail and do not read or
 * write past the ends given. Threading: re-entrant; inputs may be shared, outputs may not. */
#pragma once
#include "recurd/base.h"

typedef enum rcd_cpu_level {
    RCD_CPU_C = 0, /* plain C with fmaf: the definition of correct */
    RCD_CPU_NEON,
    RCD_CPU_AVX2, /* AVX2 + FMA */
    RCD_CPU_AVX512,
    RCD_CPU_MAX
} rcd_cpu_level;

/* ---- packed weights -------------------------------------------------------------------- */

/** How constant weights are stored (model.json "weights"); kernels_reduced.h says what is computed. */
typedef enum rcd_weights {
    RCD_WEIGHTS_F32 = 0,
    RCD_WEIGHTS_BF16,
    RCD_WEIGHTS_INT8,
    RCD_WEIGHTS_MAX
} rcd_weights;

/** A constant matrix B f32[k][n] in panels of `width` columns: panel p holds f32[k][w] with
 * w = min(width, padded - p * width). Columns are padded with zeros to a multiple of 16.
 * The layout is the same on every CPU level. */
struct rcd_packed {
    size_t k;      /* inner dimension */
    size_t n;      /* columns that mean something */
    size_t padded; /* n rounded up to 16 */
    size_t width;  /* 64, or 48 for three-gate groups */
    bool finite;   /* known: no infinity, no NaN (rcd_packed_look) */
    float *data;   /* RCD_ALIGN-aligned; owned by whoever called the allocation */
    /* Set by rcd_reduce instead of data (kernels_reduced.h); f32: data alone counts. */
    rcd_weights weights;
    const void
        *low; /* bf16: u32[panels][pairs of rows][w]; int8: i8[panels][fours of rows][w][4] */
    const float *scale;  /* int8: f32[padded] */
    const int32_t *sums; /* int8: i32[padded], the sum of each column */
};

enum { RCD_LANES = 16 }; /* units in a gate group, floats in a logical vector */

/** Bytes for `data` of a k x n matrix with panels of `width`; false on overflow. */
bool rcd_packed_bytes(size_t k, size_t n, size_t *ret_bytes);

/** Fill p->data (allocated by the caller; p->k, n, padded, width set by this call) from
 * b[i * row_stride + j * col_stride], i < k, j < n. */
void rcd_pack(struct rcd_packed *p, const float *b, size_t row_stride, size_t col_stride, size_t k,
              size_t n, size_t width);

/** Sets p->finite, so that products may pass over zeros on the left. f32 only. */
void rcd_packed_look(struct rcd_packed *p);

/** Recurrent weights with interleaved gates. Column order of the result: for every group of 16
 * units: gate 0 of the 16, gate 1 of the 16, ...; hidden padded to 16 with zeros. So
 * n = padded = gates * round_up(hidden, 16), width = gates * 16 (4 gates: 64; 3: 48; 2: 32; 1: 16).
 * @param w      f32[n_rows][k] row-major, ONNX form: gate g of unit u is row map[g] * hidden + u.
 * @param map    which ONNX gate block stands at place g of a group; f.e. LSTM {0,1,2,3}. */
void rcd_pack_gates(struct rcd_packed *p, const float *w, size_t gates, const uint8_t *map,
                    size_t hidden, size_t k);
bool rcd_packed_gates_bytes(size_t gates, size_t hidden, size_t k, size_t *ret_bytes);
/** The same interleaving for a bias: b f32[..][hidden] blocks, sum of two blocks where `b2` is not
 * NULL; out f32[gates * round_up(hidden,16)], zero padded. */
void rcd_pack_gate_bias(float *out, const float *b, const float *b2, size_t gates,
                        const uint8_t *map, size_t hidden);

/* ---- elementwise functions --------------------------------------------------------------- */

/** y = f(x). alpha and beta as the ONNX operator of that name defines them. */
typedef enum rcd_unary {
    RCD_UN_EXP,
    RCD_UN_TANH,
    RCD_UN_SIGMOID,
    RCD_UN_RELU,
    RCD_UN_LEAKY_RELU,   /* alpha */
    RCD_UN_THRESHOLDED,  /* alpha */
    RCD_UN_ELU,          /* alpha */
    RCD_UN_SELU,         /* alpha, beta = gamma */
    RCD_UN_CELU,         /* alpha */
    RCD_UN_HARD_SIGMOID, /* alpha, beta */
    RCD_UN_HARD_SWISH,
    RCD_UN_SOFTPLUS,
    RCD_UN_SOFTSIGN,
    RCD_UN_AFFINE,      /* alpha * x + beta (one fma) */
    RCD_UN_SCALED_TANH, /* alpha * tanh(beta * x) */
    RCD_UN_GELU,        /* 0.5 x (1 + erf(x / sqrt 2)) */
    RCD_UN_GELU_TANH,   /* tanh approximation of ONNX Gelu */
    RCD_UN_SWISH,       /* x * sigmoid(alpha * x) */
    RCD_UN_MISH,
    RCD_UN_ERF,
    RCD_UN_LOG,
    RCD_UN_SQRT,
    RCD_UN_RECIPROCAL,
    RCD_UN_NEG,
    RCD_UN_ABS,
    RCD_UN_CLIP, /* clamp to [alpha, beta]; NaN passes */
    RCD_UN_MAX
} rcd_unary;

/* ---- descriptors --------------------------------------------------------------------------- */

/** c[r][0..n) = act(chain): the chain starts from bias[j] (or 0 when bias is NULL), or, when
 * `accumulate`, from c[r][j] itself; then k = 0,1,2,... in order. Rows are pointers, so rows of
 * several requests, of time steps, or looked-up embeddings take part without a copy.
 * c rows hold n floats when !c_padded (tail columns are not touched), else `padded` floats. */
struct rcd_gemm {
    size_t rows;
    const float *const *a; /* rows pointers to f32[k] */
    float *const *c;       /* rows pointers to f32[n] or f32[padded] */
    const struct rcd_packed *b;
    const float *bias; /* f32[padded] or NULL */
    bool accumulate;
    bool c_padded;
    size_t col_from, col_to; /* whole panels to do; both 0: all. f32 weights only */
    void *scratch; /* int8: rcd_gemm_scratch() bytes, RCD_ALIGN-aligned; else not looked at */
};

/** What follows the recurrent product of a step where that is a product of its own (reduced weights):
 * rows of pre-activations to the next hidden state. Groups of 16 units as in rcd_pack_gates; rows of
 * outputs may equal the rows of the same unit that go in. */
struct rcd_gates {
    size_t rows, hidden;
    const float *const *pre; /* LSTM: f32[4 * padded], i o f c. GRU: f32[3 * padded], z r h */
    const float *const
        *rec; /* GRU, linear_before_reset: f32[3 * padded]: z and r whole, of h the part
                                inside the reset. Otherwise gru_reset: f32[2 * padded], z r whole;
                                gru_blend: f32[padded], the candidate */
    const float *const *h_in;
    float *const *h_out;
    float *const *c;  /* LSTM: f32[hidden], updated in place */
    float *const *zs; /* gru_reset to gru_blend: f32[padded] */
    float *const *rh; /* gru_reset: r * h, f32[padded] */
};

/* A step may be done by several callers, each with units of its own: [unit_from, unit_to), from a multiple of
 * RCD_LANES to one or to `hidden`; both 0: all. */

/** One LSTM time step, default activations (ONNX LSTM, f = sigmoid, g = h = tanh; Hochreiter and
 * Schmidhuber 1997): gates in places i o f c of each group.
 * gate = chain from pre over R h; c' = fma(f, c, i * g); h' = o * tanh(c').
 * h_out rows must not overlap h_in rows (of any row); c_out may equal c_in. */
struct rcd_lstm_step {
    size_t rows, hidden;
    const float *const *pre;  /* f32[4 * round_up(hidden,16)], input projection + biases */
    const float *const *h_in; /* f32[hidden] */
    float *const *h_out;
    const float *const *c_in; /* f32[hidden] */
    float *const *c_out;
    const struct rcd_packed *r; /* 4-gate groups, k = hidden */
    size_t unit_from, unit_to;
    /* Not NULL: the inputs, whose projection is done here and not read from pre */
    const float *const *x;      /* f32[w->k] */
    const struct rcd_packed *w; /* 4-gate groups, f32 */
    const float *bias;          /* f32[4 * round_up(hidden,16)] */
};

/** One GRU step, default activations (f = sigmoid, g = tanh; Cho et al. 2014): gates z r h.
 * linear_before_reset: n = tanh(pre_h + r * (chain from rb_h over R_h h)).
 * otherwise:           n = tanh(chain from pre_h over R_h (r * h)); needs `rh` scratch rows.
 * h' = fma(z, h - n, n). */
struct rcd_gru_step {
    size_t rows, hidden;
    const float *const *pre; /* f32[3 * round_up(hidden,16)] */
    const float *const *h_in;
    float *const *h_out;
    bool linear_before_reset;
    const struct rcd_packed *r;   /* lbr: 3-gate groups z r h; else 2-gate groups z r */
    const float *rb_h;            /* lbr: f32[round_up(hidden,16)] */
    const struct rcd_packed *r_h; /* !lbr: 1-gate groups */
    float *const *rh;             /* !lbr: scratch, rows x f32[round_up(hidden,16)] */
    float *const *zs;             /* !lbr: scratch, rows x f32[round_up(hidden,16)] */
    size_t unit_from, unit_to;    /* lbr only; else 0 */
};

/** h_out = f(chain from pre over R h), f = tanh or ReLU: ONNX RNN (Elman). */
struct rcd_rnn_step {
    size_t rows, hidden;
    const float *const *pre; /* f32[round_up(hidden,16)] */
    const float *const *h_in;
    float *const *h_out;
    const struct rcd_packed *r; /* 1-gate groups: width 16; or packed with width 64 */
    rcd_unary act;
    float alpha, beta;
};

typedef enum rcd_spmm_reduce {
    RCD_SPMM_SUM,
    RCD_SPMM_MAX,
    RCD_SPMM_MIN,
    RCD_SPMM_MEAN /* the sum divided by the edges of the row, by 1 where there are none */
} rcd_spmm_reduce;

enum { RCD_SQUEEZED = 256, RCD_SQUEEZED_MORE = 32 };

/** Sparse times dense by rows: y[i][g][c] = chain over the edges e in [ptr[i], ptr[i+1]), in order, of
 * w[edge[e]][g] * x[col[e]][g][c]. The chain starts from 0, or from y itself when `accumulate`; then
 * the bias is added, then what is below zero becomes zero. Max and min: of the products; a NaN is
 * taken, and stays. */
struct rcd_spmm {
    size_t row_begin, row_end; /* rows of y to do: these, or rows[row_begin..row_end) of a list */
    const int32_t *rows;       /* NULL: no list */
    const int32_t *ptr;        /* i32[rows of y + 1] */
    const int32_t *col;        /* i32[n_edges]: rows of x */
    const int32_t *edge;       /* i32[n_edges]: rows of w; NULL: edge e has row e - w_first */
    size_t n_edges, w_first;
    const float *w; /* f32[][groups], or NULL: 1 */
    size_t groups, chan;
    const float *x; /* f32[x_rows][groups][chan] */
    size_t x_rows;
    size_t squeezed; /* x has rows of so many floats, as `squeeze` makes them; 0: it is as above */
    float *y;        /* f32[rows][groups][chan] */
    const float *bias; /* f32[groups][chan] or NULL */
    bool accumulate, relu;
    rcd_spmm_reduce how;
};

typedef enum rcd_edge_op {
    RCD_EDGE_ADD,
    RCD_EDGE_SUB,
    RCD_EDGE_MUL,
    RCD_EDGE_DIV,
    RCD_EDGE_SUMS, /* sums of rows of a along its last axis: the kernels' tree of 16 lanes */
    RCD_EDGE_UNARY /* of a */
} rcd_edge_op;

/** One side of an edge step: edge t has the floats from base + at[t] * stride, or base + t * stride
 * without `at`. */
struct rcd_edge_side {
    const float *base;
    const int32_t *at;
    size_t stride; /* floats; 0: all edges alike */
    bool single;   /* one float stands for the whole width */
};

/** One operation over some edges: y[t][0..width) = a op b, element by element. SUMS: y[t][j] = sum of
 * the j-th `inner` floats of a. */
struct rcd_edge_step {
    rcd_edge_op op;
    size_t n, width, inner;
    struct rcd_edge_side a, b;
    float *y; /* f32[n][width] */
    rcd_unary f;
    float alpha, beta;
};

/** Softmax over the edges of each row, for each group by itself, in edge order:
 * y = exp(a - m) / (chain of sums + eps), m the greatest a (at least `floor`; a NaN is taken).
 * raw: y = a / (chain of sums + eps). y may be a. */
struct rcd_edge_softmax {
    size_t rows, groups;
    const int32_t *ptr; /* i32[rows + 1]: row i has the edges from ptr[i] - ptr[0] on */
    const float *a;     /* f32[edges][groups] */
    float *y;
    float *sums; /* scratch f32[edges][groups] */
    float floor, eps;
    bool raw;
};

/** The kernels of one CPU level. */
struct rcd_kernels {
    rcd_cpu_level level;
    const char *name; /* "avx512" */
    void (*gemm)(const struct rcd_gemm *g);
    void (*lstm_step)(const struct rcd_lstm_step *s);
    void (*gru_step)(const struct rcd_gru_step *s);
    void (*rnn_step)(const struct rcd_rnn_step *s);
    /** y[i] = f(x[i]); y may be x. At most 2 ulp for exp, tanh, sigmoid, log, erf. */
    void (*unary)(rcd_unary f, size_t n, const float *x, float *y, float alpha, float beta);
    /** Fixed 16-lane tree: lane l adds x[l], x[l+16], ... in order, then lanes fold 8, 4, 2, 1. */
    float (*sum)(size_t n, const float *x);
    /** y[r] = sum(n, x + r * n), r < rows. */
    void (*sums)(size_t rows, size_t n, const float *x, float *y);
    float (*max)(size_t n, const float *x); /* NaN if any is NaN; -inf for n = 0 */
    /** Stable softmax (or log of it) over one contiguous row; y may be x. */
    void (*softmax)(size_t n, const float *x, float *y, bool log);
    /** ONNX LayerNormalization-17 over one row: y = (x - mean) / sqrt(var + eps) * scale + bias;
     * scale, bias f32[n] or NULL; mean and inv_std may be NULL. */
    void (*layer_norm)(size_t n, const float *x, const float *scale, const float *bias, float eps,
                       float *y, float *mean, float *inv_std);
    /** y += a * x with one fma per element. */
    void (*axpy)(size_t n, float a, const float *x, float *y);
    void (*spmm)(const struct rcd_spmm *s);
    /** Rows of n floats without those whose bits are all zero: what a sum of x with `squeezed` reads (RCD_SPMM_SUM, one
     * group, not `accumulate`). n: RCD_SQUEEZED or half of it; `to`: rows of n + RCD_SQUEEZED_MORE floats, of which what
     * is behind the last that is not zero is never read. NULL: this level has none. */
    void (*squeeze)(size_t rows, size_t n, const float *x, float *to);
    void (*edge_step)(const struct rcd_edge_step *s);
    void (*edge_softmax)(const struct rcd_edge_softmax *s);
    /** gemm over bf16 and int8 weights (kernels_reduced.h). */
    void (*gemm_bf16)(const struct rcd_gemm *g);
    void (*gemm_int8)(const struct rcd_gemm *g);
    /** The non-linearities of a step, as in lstm_step and gru_step. */
    void (*lstm_gates)(const struct rcd_gates *s);
    void (*gru_linear_gates)(const struct rcd_gates *s);
    void (*gru_reset)(const struct rcd_gates *s);
    void (*gru_blend)(const struct rcd_gates *s);
};

/** Best level of this machine, at most `limit`. Threading: any thread. */
rcd_cpu_level rcd_cpu_best(rcd_cpu_level limit);
/** Kernels of a level; NULL where this machine or build does not have it. Threading: any. */
const struct rcd_kernels *rcd_kernels_for(rcd_cpu_level level);
/** Every set that this machine can run, plain C first, variants of a level included (AVX-512 with and
 * without VNNI): for tests. NULL past the last. Threading: any. */
const struct rcd_kernels *rcd_kernels_variant(size_t i);
const char *rcd_cpu_level_name(rcd_cpu_level level);
