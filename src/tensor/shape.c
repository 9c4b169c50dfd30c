/* shape.c - counting elements and bytes of shapes that come from outside. */
#include "recurd/tensor.h"

/* 128 TiB: what a process can address. Sums of a few such sizes still fit a size_t by far. */
#define SHAPE_MAX_BYTES ((size_t)1 << 47)

bool rcd_shape_count(rcd_dtype t, int rank, const int64_t *dims, size_t *ret_n, size_t *ret_bytes)
{
    if (rank < 0 || rank > RCD_MAX_RANK)
        return false;
    /* The bound holds for the product of the dims that are not 0: so the answer does not depend
     * on the order of the dims, and the strides of an empty tensor cannot overflow either. */
    size_t bytes = rcd_dtype_size(t) != 0 ? rcd_dtype_size(t) : 1;
    size_t n = 1;
    bool empty = false;
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return false;
        if (dims[i] == 0) {
            empty = true;
            continue;
        }
        if (!rcd_mul(bytes, (size_t)dims[i], &bytes) || bytes > SHAPE_MAX_BYTES)
            return false;
        n *= (size_t)dims[i]; /* n <= bytes */
    }
    *ret_n = empty ? 0 : n;
    if (ret_bytes != NULL)
        *ret_bytes = empty ? 0 : n * rcd_dtype_size(t);
    return true;
}

char *rcd_shape_text(char *out, size_t cap, int rank, const int64_t *dims)
{
    RCD_ASSERT(cap > 0);
    size_t at = 0;
    int n = snprintf(out, cap, "%s", rank < 0 ? "[?]" : rank == 0 ? "[]" : "");
    for (int i = 0; i < rank && n >= 0; i++) {
        at += (size_t)n;
        if (at >= cap)
            break; /* cut, but terminated */
        n = snprintf(out + at, cap - at, "%s%lld%s", i == 0 ? "[" : ",", (long long)dims[i],
                     i == rank - 1 ? "]" : "");
    }
    return out;
}
