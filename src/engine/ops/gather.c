/* gather.c - Gather (embeddings are this one) and GatherElements. Negative indices count from the end;
 * an index outside fails the request and is named. */
#include "../team.h"
#include "ops.h"

#include <string.h>

struct state {
    int64_t axis;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", 0, &s->axis);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_TS_INDEX);
    if (st == RCD_OK)
        rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

/* Words by int64 indices, what exporters do with the ends of edges, by all threads. */
struct words {
    const int64_t *at;
    const char *from;
    char *to;
    size_t n, outer, size, bytes; /* indices, pieces of `size` words, bytes of a word: 4 or 8 */
    unsigned outside;             /* atomic: an index is out of range */
};

static inline void copy_words(const struct words *w, size_t bytes, size_t begin, size_t end)
{
    for (size_t o = 0; o < w->outer; o++) {
        const char *from = w->from + o * w->size * bytes;
        char *to = w->to + o * w->n * bytes;
        for (size_t i = begin; i < end; i++) {
            const size_t k = (size_t)(w->at[i] < 0 ? w->at[i] + (int64_t)w->size : w->at[i]);
            memcpy(to + i * bytes, from + k * bytes, bytes);
        }
    }
}

static void words_some(void *ctx, size_t begin, size_t end)
{
    struct words *w = ctx;
    bool outside = false;
    for (size_t i = begin; i < end; i++)
        outside |= w->at[i] < -(int64_t)w->size || w->at[i] >= (int64_t)w->size;
    if (outside)
        __atomic_store_n(&w->outside, 1, __ATOMIC_RELAXED); /* read when all threads are done */
    else if (w->bytes == 4)
        copy_words(w, 4, begin, end);
    else
        copy_words(w, 8, begin, end);
}

enum { SOME_WORDS = 1 << 14 };

/* False: these are no words, or an index is out of range. */
static bool gather_words(const struct rcd_call *c, const struct rcd_tensor *x,
                         const struct rcd_tensor *idx, size_t outer, size_t size, size_t bytes,
                         void *out)
{
    struct words w = {idx->data, x->data, out, idx->n, outer, size, bytes, 0};
    if (idx->dtype != RCD_I64 || (bytes != 4 && bytes != 8))
        return false;
    rcd__team_run(c->x->team, idx->n, SOME_WORDS, words_some, &w);
    return w.outside == 0;
}

enum { LARGE_PIECE = 1 << 14, MOST_PIECES = 8 };

/* One large piece of not many, such as a row of edge_index, is seen where it is: it keeps little more alive than itself. */
static bool is_view(const struct rcd_tensor *x, const struct rcd_tensor *idx, size_t outer,
                    size_t size, size_t bytes)
{
    return idx->n == 1 && outer == 1 && size <= MOST_PIECES && bytes >= LARGE_PIECE &&
           x->dtype != RCD_BYTES && x->dtype != RCD_SEQ;
}

static rcd_status run_gather(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *idx = rcd__in(c, 1, r);
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, x->rank, &axis);
    if (st != RCD_OK)
        return st;
    int64_t dims[2 * RCD_MAX_RANK];
    int rank = 0;
    for (int d = 0; d < axis; d++)
        dims[rank++] = x->dims[d];
    for (int d = 0; d < idx->rank; d++)
        dims[rank++] = idx->dims[d];
    for (int d = axis + 1; d < x->rank; d++)
        dims[rank++] = x->dims[d];
    struct rcd_tensor *out = NULL;
    size_t outer = rcd__span(x->dims, 0, axis), size = (size_t)x->dims[axis], only = 0;
    size_t bytes = rcd__span(x->dims, axis + 1, x->rank) * rcd_dtype_size(x->dtype);
    if (is_view(x, idx, outer, size, bytes)) {
        struct rcd_tensor piece = *x;
        st = rcd__index_at(c, r, idx, 0, (int64_t)size, &only);
        piece.data = (char *)x->data + only * bytes;
        piece.n = x->n / size;
        return st == RCD_OK ? rcd__alias_out(c, 0, r, &piece, rank, dims) : st;
    }
    st = rcd__new_out(c, 0, r, x->dtype, rank, dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    if (gather_words(c, x, idx, outer, size, bytes, out->data))
        return RCD_OK;
    for (size_t i = 0; i < idx->n; i++) {
        size_t at = 0;
        st = rcd__index_at(c, r, idx, i, (int64_t)size, &at);
        if (st != RCD_OK)
            return st;
        for (size_t o = 0; o < outer; o++)
            rcd__copy((char *)out->data + (o * idx->n + i) * bytes,
                      (const char *)x->data + (o * size + at) * bytes, bytes);
    }
    return RCD_OK;
}

static rcd_status run_elements(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *idx = rcd__in(c, 1, r);
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, x->rank, &axis);
    if (st != RCD_OK)
        return st;
    bool fits = idx->rank == x->rank;
    for (int d = 0; fits && d < x->rank; d++)
        fits = d == axis || idx->dims[d] <= x->dims[d];
    if (!fits)
        return rcd__fail(c, r, RCD_EINVAL, "indices do not fit the data's shape");
    struct rcd_tensor *out = NULL;
    st = rcd__new_out(c, 0, r, x->dtype, idx->rank, idx->dims, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    size_t elem = rcd_dtype_size(x->dtype);
    int64_t at[RCD_MAX_RANK] = {0};
    for (size_t i = 0; i < idx->n; i++) {
        size_t place = 0, from = 0;
        st = rcd__index_at(c, r, idx, i, x->dims[axis], &place);
        if (st != RCD_OK)
            return st;
        for (int d = 0; d < x->rank; d++)
            from = from * (size_t)x->dims[d] + (d == axis ? place : (size_t)at[d]);
        memcpy((char *)out->data + i * elem, (const char *)x->data + from * elem, elem);
        for (int d = idx->rank - 1; d >= 0 && ++at[d] == idx->dims[d]; d--)
            at[d] = 0;
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {
    {.name = "Gather", .since = 1, .check = check, .run = run_gather},
    {.name = "GatherElements", .since = 11, .check = check, .run = run_elements},
};
RCD_OP_LIST(gather, ops);
