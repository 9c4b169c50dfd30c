/* kernels_reduced.h - constant weights at half or quarter size: how they are made and what a product
 * over them is, to the bit and alike on every CPU level.
 *
 * bf16. A weight is its f32 value rounded to bf16 (nearest, ties to even). The product is the f32 chain
 * over the widened weights: an output has the bits of the f32 kernels over rounded weights.
 *
 * int8. Of a column j of weights: scale[j] = largest |w| / 127, q = w / scale[j] rounded to nearest even.
 * Of a row of the left side, when it runs: s = largest |a| / 8191, u = a * (8191 / largest |a|) rounded to
 * nearest even by one fma, 14 bits with the sign: their error, 2^-14 of the largest, drowns in that of the
 * weights, which 7 bits would not. The sum of u * q over the row is an exact integer, so its order does
 * not matter; as 128 * A + B, A from the upper 7 bits and B from the lower, it is rounded to f32 (A, B,
 * then fma(A, 128, B)), and c = fma(sum, s * scale[j], start), start being the bias or what c held.
 * A row without an absolute value of 2^-100 counts as zeros; one with an infinity or a NaN gives NaN. So
 * does a column of weights with one.
 *
 * A row is quantised for itself, so what it gives depends neither on the batch nor on the chunking. */
#pragma once
#include "recurd/kernels.h"

enum {
    RCD_INT8_LEVELS = 8191,   /* |u| */
    RCD_INT8_MIDDLE = 8192,   /* added to u to make two unsigned planes of 7 bits */
    RCD_INT8_MAX_K = 1 << 17, /* inner dimension whose sums fit 32 bits: 127 * 127 * k < 2^31 */
};
#define RCD_INT8_TINY 0x1p-100f

/** "bf16" -> RCD_WEIGHTS_BF16; RCD_WEIGHTS_MAX when unknown. Threading: any thread. */
rcd_weights rcd_weights_parse(const char *name);
const char *rcd_weights_name(rcd_weights w);

/** Bytes for rcd_reduce of a k x padded matrix; false on overflow, and for int8 with k over
 * RCD_INT8_MAX_K. `how` is not f32. */
RCD_MUST_CHECK bool rcd_reduced_bytes(size_t k, size_t padded, rcd_weights how, size_t *ret_bytes);
/** *ret: the matrix `f32` (packed, whatever its panels) with weights stored as `how` says.
 * @param mem  [kept] rcd_reduced_bytes() bytes, RCD_ALIGN-aligned; lives as long as *ret. */
void rcd_reduce(struct rcd_packed *ret, const struct rcd_packed *f32, rcd_weights how, void *mem);

/** Bytes of scratch that a product of `rows` rows with `b` needs; 0 unless int8. */
size_t rcd_gemm_scratch(const struct rcd_packed *b, size_t rows);
/** The product with weights of any kind. */
static inline void rcd_gemm_any(const struct rcd_kernels *k, const struct rcd_gemm *g)
{
    if (g->b->weights == RCD_WEIGHTS_F32)
        k->gemm(g);
    else if (g->b->weights == RCD_WEIGHTS_BF16)
        k->gemm_bf16(g);
    else
        k->gemm_int8(g);
}
