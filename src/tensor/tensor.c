/* tensor.c - tensors: a type, a shape, and data that lies in a block or is borrowed. */
#include "recurd/tensor.h"

#include <string.h>

bool rcd_tensor_shape(struct rcd_tensor *t, rcd_dtype dtype, int rank, const int64_t *dims)
{
    size_t n = 0;
    if (!rcd_shape_count(dtype, rank, dims, &n, NULL))
        return false;
    struct rcd_tensor made = {.dtype = dtype, .rank = rank, .n = n};
    if (rank > 0)
        memcpy(made.dims, dims, (size_t)rank * sizeof *dims); /* dims may be t->dims */
    *t = made;
    return true;
}

rcd_status rcd_tensor_new(struct rcd_tensor *t, rcd_pool *pool, rcd_dtype dtype, int rank,
                          const int64_t *dims, struct rcd_error *err)
{
    char shape[RCD_MAX_RANK * 22];
    struct rcd_tensor made;
    if (!rcd_tensor_shape(&made, dtype, rank, dims))
        return rcd_fail(err, RCD_ETOOBIG, "%s tensor of rank %d, shape %s: not a possible shape",
                        rcd_dtype_onnx_name(dtype), rank,
                        rank >= 0 && rank <= RCD_MAX_RANK
                            ? rcd_shape_text(shape, sizeof shape, rank, dims)
                            : "(over the rank limit of 8)");
    size_t bytes = made.n * rcd_dtype_size(dtype);
    made.block = rcd_block_new(pool, bytes);
    if (made.block == NULL)
        return rcd_fail(err, RCD_ENOMEM,
                        "%s tensor %s needs %zu bytes: no memory, or over the limit of the run "
                        "(%zu bytes in use)",
                        rcd_dtype_onnx_name(dtype), rcd_shape_text(shape, sizeof shape, rank, dims),
                        bytes, rcd_pool_live_bytes(pool));
    made.data = made.block->data;
    *t = made;
    return RCD_OK;
}

void rcd_tensor_drop(struct rcd_tensor *t)
{
    if (t->dtype == RCD_SEQ && t->block != NULL && t->block->refs == 1) {
        struct rcd_tensor *element = t->data;
        for (size_t i = 0; i < t->n; i++) /* no lists of lists: one level */
            rcd_block_unref(element[i].block);
    }
    rcd_block_unref(t->block);
    *t = (struct rcd_tensor){.dtype = RCD_NONE};
}
