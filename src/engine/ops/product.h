/* product.h - matrix products: packing a right side, one product, the rows of a batch. */
#pragma once
#include "ops.h"

/** A matrix anywhere in memory; steps in elements. */
struct rcd_matrix {
    const void *data;
    size_t rows, cols, row_step, col_step;
};

/** Rows times a constant right side. All that MatMul keeps, and the first that Gemm does. */
struct rcd__row_product {
    bool packed; /* the right side is a constant, in b */
    bool alone;  /* and the node computes rows of b.n, each from a row of b.k, from nothing else */
    bool relu;   /* what is below zero becomes zero (fuse_order.c) */
    struct rcd_packed b;
    const float *bias; /* f32[padded], where chains start, or NULL: 0 */
};
/** What a node does, if that is a product of rows with f32 weights alone; else NULL. */
const struct rcd__row_product *rcd__row_product_of(const struct rcd_node *node);

/** Up to RCD__SOME_ROWS rows, f32[n][b.k] to f32[n][b.n], by this thread alone. */
enum { RCD__SOME_ROWS = 48 };
void rcd__row_product_some(const struct rcd_kernels *kern, const struct rcd__row_product *p,
                           size_t n, const float *from, float *to);

/** Input 0 must have a type that has products, input 1 the same; output 0 gets it. */
RCD_MUST_CHECK rcd_status rcd__product_types(struct rcd_check *k);

/** Pack a constant float32 right side of rank 1 (a column) or 2 into the plan's memory, stored as the
 * plan stores weights. */
RCD_MUST_CHECK rcd_status rcd__pack_right(struct rcd_check *k, const struct rcd_tensor *b,
                                          bool trans, struct rcd_packed *ret);

/** out[a.rows][b.cols] = a b, dense, element type t. Fails the request for want of memory. */
RCD_MUST_CHECK rcd_status rcd__product(const struct rcd_call *c, size_t r, rcd_dtype t,
                                       const struct rcd_matrix *a, const struct rcd_matrix *b,
                                       void *out);

/** Rows of several requests on their way through one packed right side. */
struct rcd_rows {
    const float **a;
    float **c;
    size_t n;
    void *scratch; /* of the product */
};
/** Room for n rows that go through `b`; false: every request that is alive has failed. */
RCD_MUST_CHECK bool rcd__rows_take(const struct rcd_call *c, size_t n, const struct rcd_packed *b,
                                   struct rcd_rows *ret);
/** n rows of k floats at `a` with their results of `cols` floats at `c`. */
void rcd__rows_add(struct rcd_rows *rows, const float *a, float *c, size_t n, size_t k,
                   size_t cols);
void rcd__rows_multiply(const struct rcd_call *c, const struct rcd_rows *rows,
                        const struct rcd_packed *b, const float *bias, bool accumulate);
