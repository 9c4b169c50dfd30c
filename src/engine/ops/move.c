/* move.c - the strided copy. The innermost run is a memcpy where it is dense, else a loop for the
 * element's size. */
#include "move.h"

#include <string.h>

void rcd__strides(int rank, const int64_t *dims, int64_t *ret)
{
    int64_t step = 1;
    for (int d = rank - 1; d >= 0; d--) {
        ret[d] = step;
        step *= dims[d];
    }
}

#define RUN(T)                                                                                     \
    for (size_t i = 0; i < n; i++)                                                                 \
    ((T *)out)[i] = ((const T *)in)[(int64_t)i * stride]

static void run(void *out, const void *in, size_t elem, size_t n, int64_t stride)
{
    if (stride == 1) {
        memcpy(out, in, n * elem);
        return;
    }
    switch (elem) {
    case 1:
        RUN(uint8_t);
        break;
    case 2:
        RUN(uint16_t);
        break;
    case 4:
        RUN(uint32_t);
        break;
    case 8:
        RUN(uint64_t);
        break;
    default:
        RCD_ASSERT(elem == sizeof(struct rcd_bytes));
        RUN(struct rcd_bytes);
    }
}

void rcd__gather_box(void *out, const void *in, size_t elem, int rank, const int64_t *dims,
                     const int64_t *stride)
{
    /* merge dims that one stride walks */
    int64_t d_[RCD_MAX_RANK], s_[RCD_MAX_RANK];
    int k = 0;
    for (int d = 0; d < rank; d++) {
        if (dims[d] == 0)
            return;
        if (dims[d] == 1)
            continue;
        if (k > 0 && s_[k - 1] == stride[d] * dims[d]) {
            d_[k - 1] *= dims[d];
            s_[k - 1] = stride[d];
        } else {
            d_[k] = dims[d];
            s_[k++] = stride[d];
        }
    }
    if (k == 0) {
        memcpy(out, in, elem);
        return;
    }
    size_t n = (size_t)d_[k - 1];
    int64_t at[RCD_MAX_RANK] = {0};
    char *o = out;
    const char *p = in;
    for (;;) {
        run(o, p, elem, n, s_[k - 1]);
        o += n * elem;
        int d = k - 2;
        for (; d >= 0; d--) {
            p += s_[d] * (int64_t)elem;
            if (++at[d] < d_[d])
                break;
            p -= s_[d] * d_[d] * (int64_t)elem;
            at[d] = 0;
        }
        if (d < 0)
            return;
    }
}

void rcd__repeat(void *out, size_t n, size_t elem, const void *value)
{
    enum { NEAR = 1 << 14 }; /* bytes that are copied again and again: from the first-level cache */
    if (n == 0)
        return;
    memcpy(out, value, elem);
    for (size_t have = 1, more = 1; have < n; have += more) {
        more = have * elem < NEAR ? have : more;
        more = n - have < more ? n - have : more;
        memcpy((char *)out + have * elem, out, more * elem);
    }
}
