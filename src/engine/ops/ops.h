/* ops.h - the lists of operators, one per file, and the loops that they share. */
#pragma once
#include "../engine_int.h"

#define RCD_OP_LISTS(X)                                                                            \
    X(argminmax)                                                                                   \
    X(arithmetic)                                                                                  \
    X(cast)                                                                                        \
    X(clip)                                                                                        \
    X(compare)                                                                                     \
    X(concat)                                                                                      \
    X(conv)                                                                                        \
    X(cumsum)                                                                                      \
    X(einsum)                                                                                      \
    X(fill)                                                                                        \
    X(gather)                                                                                      \
    X(gemm)                                                                                        \
    X(gru)                                                                                         \
    X(if)                                                                                          \
    X(loop)                                                                                        \
    X(lstm)                                                                                        \
    X(matmul)                                                                                      \
    X(nonzero)                                                                                     \
    X(norm)                                                                                        \
    X(pad)                                                                                         \
    X(pool)                                                                                        \
    X(reduce)                                                                                      \
    X(reshape)                                                                                     \
    X(reverse)                                                                                     \
    X(rnn)                                                                                         \
    X(rounding)                                                                                    \
    X(scan)                                                                                        \
    X(scatter)                                                                                     \
    X(sequence)                                                                                    \
    X(sequence_map)                                                                                \
    X(slice)                                                                                       \
    X(softmax)                                                                                     \
    X(split)                                                                                       \
    X(tile)                                                                                        \
    X(topk)                                                                                        \
    X(transpose)                                                                                   \
    X(trig)                                                                                        \
    X(unary)                                                                                       \
    X(unique)                                                                                      \
    X(variadic)                                                                                    \
    X(where)

#define X(name) extern const struct rcd_op_list rcd__ops_##name;
RCD_OP_LISTS(X)
#undef X

#define RCD_OP_LIST(name, array)                                                                   \
    const struct rcd_op_list rcd__ops_##name = {.ops = (array), .n = RCD_COUNT(array)}

/** o[i] = f(a[i or 0], b[i or 0]) for i < n; walk_x false: that side has one element. */
typedef void rcd__inner2(void *o, const void *a, const void *b, size_t n, bool walk_a, bool walk_b);

/** Output 0 of request r = f over the broadcast inputs 0 and 1; element size of the inputs from their
 * types. */
rcd_status rcd__binary(const struct rcd_call *c, size_t r, rcd_dtype out_type, rcd__inner2 *f);
/** The same over given tensors into `out`, which has the broadcast shape. */
void rcd__loop2(const struct rcd_bcast *b, const struct rcd_tensor *x, const struct rcd_tensor *y,
                const struct rcd_tensor *out, rcd__inner2 *f);

/** check of an operator that is one of `table` (by element type) over two inputs of equal types:
 * refuses a type that the table lacks, else *ret is the inner loop. */
RCD_MUST_CHECK rcd_status rcd__binary_check(struct rcd_check *k, rcd__inner2 *const *table,
                                            rcd__inner2 **ret);

/** Body of an inner2 function: x and y are the operands, EXPR the result. */
#define RCD_INNER2(name, T, TO, EXPR)                                                              \
    static void name(void *po, const void *pa, const void *pb, size_t n, bool walk_a, bool walk_b) \
    {                                                                                              \
        TO *restrict o = po;                                                                       \
        const T *a = pa, *b = pb;                                                                  \
        if (walk_a && walk_b) {                                                                    \
            for (size_t i = 0; i < n; i++) {                                                       \
                const T x = a[i], y = b[i];                                                        \
                o[i] = (TO)(EXPR);                                                                 \
            }                                                                                      \
        } else if (walk_a) {                                                                       \
            const T y = b[0];                                                                      \
            for (size_t i = 0; i < n; i++) {                                                       \
                const T x = a[i];                                                                  \
                o[i] = (TO)(EXPR);                                                                 \
            }                                                                                      \
        } else {                                                                                   \
            const T x = a[0];                                                                      \
            for (size_t i = 0; i < n; i++) {                                                       \
                const T y = b[i];                                                                  \
                o[i] = (TO)(EXPR);                                                                 \
            }                                                                                      \
        }                                                                                          \
    }

/** X(dtype suffix, C type, type for wrapping arithmetic) over integer and float types. */
#define RCD_EACH_SINT(X)                                                                           \
    X(I8, int8_t, uint8_t)                                                                         \
    X(I16, int16_t, uint16_t)                                                                      \
    X(I32, int32_t, uint32_t)                                                                      \
    X(I64, int64_t, uint64_t)
#define RCD_EACH_UINT(X)                                                                           \
    X(U8, uint8_t, uint8_t)                                                                        \
    X(U16, uint16_t, uint16_t)                                                                     \
    X(U32, uint32_t, uint32_t)                                                                     \
    X(U64, uint64_t, uint64_t)
#define RCD_EACH_FLOAT(X)                                                                          \
    X(F32, float, float)                                                                           \
    X(F64, double, double)
#define RCD_EACH_NUM(X) RCD_EACH_SINT(X) RCD_EACH_UINT(X) RCD_EACH_FLOAT(X)

/** Output 0 with the shape of input 0, type t. */
rcd_status rcd__new_like(const struct rcd_call *c, size_t r, rcd_dtype t, struct rcd_tensor **ret);
/** Output 0: how many elements input 0 has (Size; SequenceLength). */
rcd_status rcd__run_size(struct rcd_call *c, size_t r);
/** Copy `bytes` where dst may be NULL for 0 bytes. */
void rcd__copy(void *dst, const void *src, size_t bytes);
/** Is a checked node one of unary.c's? Then what it computes. */
bool rcd__unary_of(const struct rcd_node *node, rcd_unary *ret_f, float *ret_alpha,
                   float *ret_beta);
