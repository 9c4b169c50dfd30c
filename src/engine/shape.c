/* shape.c - axes, index tensors and numpy broadcasting, shared by the operators. */
#include "blame.h"

#include <string.h>

rcd_status rcd__axis(const struct rcd_call *c, size_t r, int64_t axis, int rank, int *ret)
{
    int64_t at = axis < 0 ? axis + rank : axis;
    if (at < 0 || at >= rank)
        return rcd__fail(c, r, RCD_EINVAL, "axis %lld is outside rank %d", (long long)axis, rank);
    *ret = (int)at;
    return RCD_OK;
}

int64_t rcd__int_at(const struct rcd_tensor *t, size_t i)
{
    switch (t->dtype) {
    case RCD_I64:
        return ((const int64_t *)t->data)[i];
    case RCD_I32:
        return ((const int32_t *)t->data)[i];
    case RCD_I16:
        return ((const int16_t *)t->data)[i];
    case RCD_I8:
        return ((const int8_t *)t->data)[i];
    case RCD_U8:
        return ((const uint8_t *)t->data)[i];
    case RCD_U16:
        return ((const uint16_t *)t->data)[i];
    case RCD_U32:
        return ((const uint32_t *)t->data)[i];
    default:
        RCD_ASSERT(t->dtype == RCD_U64 || t->dtype == RCD_BOOL);
        return t->dtype == RCD_BOOL ? ((const uint8_t *)t->data)[i]
                                    : (int64_t)((const uint64_t *)t->data)[i];
    }
}

rcd_status rcd__index_at(const struct rcd_call *c, size_t r, const struct rcd_tensor *idx, size_t i,
                         int64_t size, size_t *ret)
{
    int64_t v = rcd__int_at(idx, i);
    if (v < -size || v >= size)
        return rcd__fail_index(c, r, idx, i, -size, size - 1);
    *ret = (size_t)(v < 0 ? v + size : v);
    return RCD_OK;
}

size_t rcd__span(const int64_t *dims, int from, int to)
{
    size_t n = 1;
    for (int d = from; d < to; d++)
        n *= (size_t)dims[d];
    return n;
}

static rcd_status broadcast_dims(const struct rcd_call *c, size_t r, size_t n,
                                 const struct rcd_tensor *const *t, struct rcd_bcast *b)
{
    b->out_rank = 0;
    for (size_t i = 0; i < n; i++)
        b->out_rank = t[i]->rank > b->out_rank ? t[i]->rank : b->out_rank;
    for (int d = 0; d < b->out_rank; d++) {
        int64_t size = 1;
        for (size_t i = 0; i < n; i++) {
            int at = d - (b->out_rank - t[i]->rank);
            int64_t dim = at >= 0 ? t[i]->dims[at] : 1;
            if (dim == 1 || dim == size)
                continue;
            if (size != 1) {
                char one[128], two[128];
                return rcd__fail(c, r, RCD_EINVAL, "shapes %s and %s do not broadcast",
                                 rcd_shape_text(one, sizeof one, t[0]->rank, t[0]->dims),
                                 rcd_shape_text(two, sizeof two, t[i]->rank, t[i]->dims));
            }
            size = dim;
        }
        b->out_dims[d] = size;
    }
    return RCD_OK;
}

rcd_status rcd__broadcast(const struct rcd_call *c, size_t r, size_t n,
                          const struct rcd_tensor *const *t, struct rcd_bcast *ret)
{
    memset(ret, 0, sizeof *ret);
    rcd_status st = broadcast_dims(c, r, n, t, ret);
    if (st != RCD_OK)
        return st;
    /* From the last dim outwards: a dim joins the one inside it when every input steps over both with
     * one stride (or over neither). */
    int64_t step[3] = {1, 1, 1};
    int k = RCD_MAX_RANK;
    int64_t dims[RCD_MAX_RANK], stride[3][RCD_MAX_RANK];
    for (int d = ret->out_rank - 1; d >= 0; d--) {
        if (ret->out_dims[d] == 1)
            continue; /* every input has size 1 here: nothing to walk */
        int64_t s[3] = {0, 0, 0};
        bool joins = k < RCD_MAX_RANK;
        for (size_t i = 0; i < n; i++) {
            int at = d - (ret->out_rank - t[i]->rank);
            bool walks = at >= 0 && t[i]->dims[at] != 1;
            s[i] = walks ? step[i] : 0;
            if (walks)
                step[i] *= t[i]->dims[at];
            joins = joins && s[i] == stride[i][k] * dims[k];
        }
        if (joins) {
            dims[k] *= ret->out_dims[d];
            continue;
        }
        k--;
        dims[k] = ret->out_dims[d];
        for (size_t i = 0; i < n; i++)
            stride[i][k] = s[i];
    }
    if (k == RCD_MAX_RANK) { /* a single element */
        ret->rank = 1;
        ret->dims[0] = 1;
        return RCD_OK;
    }
    ret->rank = RCD_MAX_RANK - k;
    for (int d = 0; d < ret->rank; d++) {
        ret->dims[d] = dims[k + d];
        for (size_t i = 0; i < n; i++)
            ret->stride[i][d] = stride[i][k + d];
    }
    return RCD_OK;
}
