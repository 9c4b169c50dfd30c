/* stack.c - rows of a loop, collected. */
#include "stack.h"

#include <string.h>

static rcd_status grow(const struct rcd_call *c, size_t r, struct rcd__stack *s, size_t row_bytes)
{
    size_t cap = s->cap > 0 ? 2 * s->cap : 8, bytes = 0;
    struct rcd_block *more =
        rcd_mul(cap, row_bytes, &bytes) ? rcd_block_new(c->x->pool, bytes) : NULL;
    if (more == NULL)
        return rcd__fail(c, r, RCD_ENOMEM,
                         "no memory for %zu rows of %zu bytes, or over the limit of the run", cap,
                         row_bytes);
    if (s->n > 0)
        rcd__copy(more->data, s->block->data, s->n * row_bytes);
    rcd_block_unref(s->block);
    s->block = more;
    s->cap = cap;
    return RCD_OK;
}

rcd_status rcd__stack_add(const struct rcd_call *c, size_t r, struct rcd__stack *s,
                          const struct rcd_tensor *row)
{
    const size_t bytes = row->n * rcd_dtype_size(row->dtype);
    if (s->like.dtype == RCD_NONE) {
        if (row->rank == RCD_MAX_RANK)
            return rcd__fail(c, r, RCD_EINVAL, "rows of %d dims cannot be stacked", row->rank);
        s->like = *row;
        s->like.block = NULL;
        s->like.data = NULL;
    }
    if (row->rank != s->like.rank ||
        memcmp(row->dims, s->like.dims, (size_t)row->rank * sizeof row->dims[0]) != 0) {
        char now[128], before[128];
        return rcd__fail(c, r, RCD_EINVAL, "iteration %zu gives a row of shape %s, those before %s",
                         s->n, rcd_shape_text(now, sizeof now, row->rank, row->dims),
                         rcd_shape_text(before, sizeof before, s->like.rank, s->like.dims));
    }
    rcd_status st = s->n == s->cap ? grow(c, r, s, bytes) : RCD_OK;
    if (st == RCD_OK)
        rcd__copy((char *)s->block->data + s->n++ * bytes, row->data, bytes);
    return st;
}

static void turn_round(struct rcd__stack *s)
{
    const size_t bytes = s->like.n * rcd_dtype_size(s->like.dtype);
    char *a = s->block->data, *b = a + (s->n - 1) * bytes;
    for (; a < b; a += bytes, b -= bytes) {
        for (size_t i = 0; i < bytes; i++) {
            char t = a[i];
            a[i] = b[i];
            b[i] = t;
        }
    }
}

rcd_status rcd__stack_out(const struct rcd_call *c, size_t r, struct rcd__stack *s, size_t i,
                          rcd_value_id id, bool reverse)
{
    struct rcd_tensor *out = rcd__out(c, i, r), made;
    int64_t dims[RCD_MAX_RANK] = {(int64_t)s->n};
    if (out == NULL)
        return RCD_OK;
    if (s->n == 0) {
        const struct rcd_onnx_value *v =
            id < c->run->plan->model->n_values ? &c->run->plan->model->values[id] : NULL;
        int rank = v != NULL && v->rank > 0 && v->rank < RCD_MAX_RANK ? v->rank : 0;
        for (int d = 0; d < rank; d++)
            dims[d + 1] = v->dims[d] > 0 ? v->dims[d] : 0;
        return rcd__new_out(c, i, r, c->run->plan->values[id].dtype, rank + 1, dims, &out);
    }
    if (reverse)
        turn_round(s);
    memcpy(dims + 1, s->like.dims, (size_t)s->like.rank * sizeof dims[0]);
    if (!rcd_tensor_shape(&made, s->like.dtype, s->like.rank + 1, dims))
        return rcd__fail(c, r, RCD_ETOOBIG, "%zu rows are too many", s->n);
    made.block = s->block;
    made.data = s->block->data;
    s->block = NULL;
    *out = made;
    return RCD_OK;
}

void rcd__stack_drop(struct rcd__stack *s)
{
    rcd_block_unref(s->block);
    s->block = NULL;
}
