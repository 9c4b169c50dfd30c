/* binary.c - packed little-endian bytes (wire.md 6) to tensors.
 *
 * The bytes are used where they are if they are aligned for the element type; the rest of recurd
 * asks inputs for no more. Blobs follow a JSON text of any length, so half of them are not. */
#include "codec_int.h"

#include <string.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "tensors are used as they come off the wire: little-endian only"
#endif

enum { LENGTH = 4 }; /* bytes of the length in front of a BYTES element */

static size_t read_length(const char *at)
{
    uint32_t len;
    memcpy(&len, at, sizeof len);
    return len;
}

static rcd_status split_strings(struct rcd_arena *arena, struct rcd_tensor *t, const char *bytes,
                                size_t len, struct rcd_error *err)
{
    if (t->n > len / LENGTH)
        return rcd_fail(err, RCD_EINVAL, "%zu BYTES elements do not fit %zu bytes", t->n, len);
    struct rcd_bytes *out = rcd_arena_alloc_aligned(arena, t->n * sizeof *out);
    if (out == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu BYTES elements", t->n);
    t->data = out;
    size_t at = 0;
    for (size_t i = 0; i < t->n; i++) {
        if (len - at < LENGTH)
            return rcd_fail(err, RCD_EINVAL, "the blob of %zu bytes ends before element %zu of %zu",
                            len, i, t->n);
        size_t n = read_length(bytes + at);
        at += LENGTH;
        if (n > len - at)
            return rcd_fail(err, RCD_EINVAL, "element %zu says %zu bytes, %zu are left", i, n,
                            len - at);
        out[i] = (struct rcd_bytes){.ptr = bytes + at, .len = n};
        at += n;
    }
    if (at != len)
        return rcd_fail(err, RCD_EINVAL, "%zu bytes are left behind the last of %zu elements",
                        len - at, t->n);
    return RCD_OK;
}

static rcd_status check_bools(const char *bytes, size_t n, struct rcd_error *err)
{
    unsigned char all = 0;
    for (size_t i = 0; i < n; i++)
        all |= (unsigned char)bytes[i];
    if (all <= 1)
        return RCD_OK;
    size_t i = 0;
    while ((unsigned char)bytes[i] <= 1)
        i++;
    return rcd_fail(err, RCD_EINVAL, "byte %zu is %d; BOOL takes 0 and 1", i,
                    (unsigned char)bytes[i]);
}

rcd_status rcd_wire_tensor(struct rcd_arena *arena, rcd_dtype dtype, int rank, const int64_t *dims,
                           const char *bytes, size_t len, struct rcd_tensor *ret,
                           struct rcd_error *err)
{
    struct rcd_tensor t = {.dtype = RCD_NONE};
    char shape[96];
    if (rank < 0 || rank > RCD_MAX_RANK)
        return rcd_fail(err, RCD_EINVAL, "rank %d; at most %d", rank, RCD_MAX_RANK);
    rcd_shape_text(shape, sizeof shape, rank, dims);
    size_t elt = rcd_dtype_size(dtype);
    if (elt == 0 || !rcd_tensor_shape(&t, dtype, rank, dims))
        return rcd_fail(err, RCD_EINVAL, "no tensor of %s with shape %s", rcd_dtype_name(dtype),
                        shape);
    rcd_status st = RCD_OK;
    if (dtype == RCD_BYTES) {
        st = split_strings(arena, &t, bytes, len, err);
    } else if (t.n * elt != len) {
        st = rcd_fail(err, RCD_EINVAL, "shape %s of %s takes %zu bytes, there are %zu", shape,
                      rcd_dtype_name(dtype), t.n * elt, len);
    } else if (dtype == RCD_BOOL) {
        st = check_bools(bytes, len, err);
    }
    if (st != RCD_OK)
        return st;
    if (t.data == NULL && len > 0 && ((uintptr_t)bytes & (elt - 1)) == 0) {
        t.data = (void *)(uintptr_t)bytes; /* inputs are only read */
    } else if (t.data == NULL) {
        t.data = rcd_arena_alloc_aligned(arena, len);
        if (t.data == NULL)
            return rcd_fail(err, RCD_ENOMEM, "no memory for %zu bytes of a tensor", len);
        if (len > 0)
            memcpy(t.data, bytes, len);
    }
    *ret = t;
    return RCD_OK;
}
