/* tensor.h - datatypes, dense row-major tensors, and the reference-counted blocks that hold them. */
#pragma once
#include "recurd/base.h"

/** ONNX and Open Inference Protocol element types. */
typedef enum rcd_dtype {
    RCD_NONE = 0, /* no tensor: an input that was left out */
    RCD_BOOL,     /* 1 byte, 0 or 1 */
    RCD_U8,
    RCD_U16,
    RCD_U32,
    RCD_U64,
    RCD_I8,
    RCD_I16,
    RCD_I32,
    RCD_I64,
    RCD_F16,
    RCD_BF16,
    RCD_F32,
    RCD_F64,
    RCD_BYTES, /* elements are struct rcd_bytes */
    RCD_DTYPE_MAX,
    RCD_SEQ, /* a list of tensors, only while a model runs: rank 1, elements are struct rcd_tensor */
} rcd_dtype;

enum { RCD_MAX_RANK = 8 };

/** One element of a BYTES (ONNX string) tensor; the bytes belong to whoever made the tensor and
 * outlive it (request arena or model). */
struct rcd_bytes {
    const char *ptr;
    size_t len;
};

/** Bytes per element; 0 for RCD_NONE. Threading: any thread (all of this header's getters). */
size_t rcd_dtype_size(rcd_dtype t);
/** "FP32", "INT64", "BYTES" ...: the protocol's name (wire.md 5.3); "NONE" for RCD_NONE. */
const char *rcd_dtype_name(rcd_dtype t);
/** From the protocol's name; RCD_NONE when unknown. */
rcd_dtype rcd_dtype_parse(const char *name, size_t len);
/** From and to ONNX TensorProto.DataType; RCD_NONE / 0 when recurd has no such type. */
rcd_dtype rcd_dtype_from_onnx(int32_t data_type);
int32_t rcd_dtype_to_onnx(rcd_dtype t);
/** "float32", "int64" ...: ONNX's words, for messages about models. */
const char *rcd_dtype_onnx_name(rcd_dtype t);

/* ---- blocks: memory of tensors made while running -------------------------------------- */

/** Worker-local pool of blocks: freed blocks wait in size classes for the next node, so that a
 * run in steady state never calls malloc. No lock: one thread. */
typedef struct rcd_pool rcd_pool;

/** Data of one or several tensors; the last unref gives it back to its pool. */
struct rcd_block {
    rcd_pool *pool;
    struct rcd_block *next; /* free list */
    uint32_t refs;
    uint32_t size_class;
    size_t bytes; /* usable bytes at `data` */
    void *data;   /* RCD_ALIGN-aligned */
};

/** @param max_live_bytes   limit on blocks handed out at one time: a run that wants more fails.
 *  @param max_idle_bytes   freed blocks kept beyond this go back to the system. Fewer are kept when a block of a new
 *                          size is made: together with those handed out no more than were ever handed out at one time,
 *                          and 32 MiB.
 *  Threading: each pool and its blocks belong to one thread. */
RCD_MUST_CHECK rcd_pool *rcd_pool_new(size_t max_live_bytes, size_t max_idle_bytes);
rcd_pool *rcd_pool_free(rcd_pool *pool); /* all blocks must be back */
/** NULL when memory or the limit is exhausted. refs = 1; contents undefined. */
RCD_MUST_CHECK struct rcd_block *rcd_block_new(rcd_pool *pool, size_t bytes);
static inline struct rcd_block *rcd_block_ref(struct rcd_block *b)
{
    if (b != NULL)
        b->refs++;
    return b;
}
void rcd_block_unref(struct rcd_block *b); /* NULL is fine */
size_t rcd_pool_live_bytes(const rcd_pool *pool);

/* ---- tensors ----------------------------------------------------------------------------- */

/** Dense, row-major, packed. `block` NULL means that `data` is borrowed (request, constant). */
struct rcd_tensor {
    rcd_dtype dtype;
    int32_t rank;
    int64_t dims[RCD_MAX_RANK];
    size_t n; /* elements: product of dims, 1 for rank 0 */
    void *data;
    struct rcd_block *block;
};

/** Product of dims into *ret_n and bytes into *ret_bytes; false on a negative dim, a rank over
 * RCD_MAX_RANK, or overflow beyond 2^47 bytes. ret_bytes may be NULL. */
bool rcd_shape_count(rcd_dtype t, int rank, const int64_t *dims, size_t *ret_n, size_t *ret_bytes);

/** "[2,3,-1]" for messages; returns out. */
char *rcd_shape_text(char *out, size_t cap, int rank, const int64_t *dims);

/** Set dtype and shape; data stays NULL. False as rcd_shape_count. */
bool rcd_tensor_shape(struct rcd_tensor *t, rcd_dtype dtype, int rank, const int64_t *dims);

/** A tensor over a new block of `pool`; RCD_ENOMEM (naming bytes) when it does not fit.
 * Threading: the pool's thread. */
RCD_MUST_CHECK rcd_status rcd_tensor_new(struct rcd_tensor *t, rcd_pool *pool, rcd_dtype dtype,
                                         int rank, const int64_t *dims, struct rcd_error *err);
/** Drop the reference to the block, with the last one of a list those of its elements, and become
 * RCD_NONE. Threading: the pool's thread. */
void rcd_tensor_drop(struct rcd_tensor *t);

/* ---- half-width floats --------------------------------------------------------------------- */
float rcd_f16_to_f32(uint16_t h);
uint16_t rcd_f32_to_f16(float f); /* round to nearest even */
static inline float rcd_bf16_to_f32(uint16_t h)
{
    union {
        uint32_t u;
        float f;
    } x = {.u = (uint32_t)h << 16};
    return x.f;
}
uint16_t rcd_f32_to_bf16(float f); /* round to nearest even, NaN stays NaN */
