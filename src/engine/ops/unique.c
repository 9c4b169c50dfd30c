/* unique.c - Unique: the different elements, or the different slices along an axis, in order of value or
 * of their first place; a NaN equals a NaN and comes last. */
#include "ops.h"

#include <string.h>

struct state {
    int64_t axis, sorted;
    bool has_axis;
};

/* The things that are compared: thing i has `n` elements, element k at (k / inner * count + i) * inner + k % inner. */
struct things {
    const struct rcd_tensor *x;
    size_t count, n, inner;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    s->has_axis = rcd__attr_has(k, "axis");
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 4);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", 0, &s->axis);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "sorted", 1, &s->sorted);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_TS_NUM | RCD_T(RCD_BOOL));
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    for (size_t i = 1; i < 4; i++)
        rcd__set_out(k, i, RCD_I64);
    return st;
}

#define COMPARE(S, T, U)                                                                           \
    case RCD_##S: {                                                                                \
        const T p = ((const T *)t->x->data)[at + a * t->inner];                                    \
        const T q = ((const T *)t->x->data)[at + b * t->inner];                                    \
        if (p < q || (q != q && p == p))                                                           \
            return -1;                                                                             \
        if (p > q || (p != p && q == q))                                                           \
            return 1;                                                                              \
        break;                                                                                     \
    }

static int compare(const struct things *t, size_t a, size_t b)
{
    for (size_t k = 0; k < t->n; k++) {
        const size_t at = k / t->inner * t->count * t->inner + k % t->inner;
        switch (t->x->dtype) {
            RCD_EACH_NUM(COMPARE)
            COMPARE(BOOL, uint8_t, uint8_t)
        default:
            RCD_ASSERT(!"checked at load");
        }
    }
    return 0;
}

/* Merge sort from the bottom up: stable, so equal things stay in the order of their places. */
static size_t *sort(const struct things *t, size_t *a, size_t *b)
{
    for (size_t i = 0; i < t->count; i++)
        a[i] = i;
    for (size_t run = 1; run < t->count; run *= 2) {
        for (size_t from = 0; from < t->count; from += 2 * run) {
            size_t mid = from + run < t->count ? from + run : t->count;
            size_t end = from + 2 * run < t->count ? from + 2 * run : t->count;
            size_t i = from, j = mid;
            for (size_t o = from; o < end; o++)
                b[o] = j == end || (i < mid && compare(t, a[i], a[j]) <= 0) ? a[i++] : a[j++];
        }
        size_t *swap = a;
        a = b;
        b = swap;
    }
    return a;
}

/* first[i]: the first thing that equals thing i. */
static void find_first(const struct things *t, const size_t *order, size_t *first)
{
    size_t lead = 0;
    for (size_t i = 0; i < t->count; i++) {
        if (i == 0 || compare(t, order[i - 1], order[i]) != 0)
            lead = order[i];
        first[order[i]] = lead;
    }
}

static void copy_things(const struct things *t, const size_t *which, size_t n,
                        const struct rcd_tensor *out)
{
    const size_t elem = rcd_dtype_size(t->x->dtype), bytes = t->inner * elem;
    const size_t outer = t->inner > 0 ? t->n / t->inner : 0;
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < n; i++)
            rcd__copy((char *)out->data + (o * n + i) * bytes,
                      (const char *)t->x->data + (o * t->count + which[i]) * bytes, bytes);
    }
}

static rcd_status outputs(const struct rcd_call *c, size_t r, const struct things *t,
                          const size_t *first, const size_t *which, size_t n, int axis, bool flat)
{
    int64_t dims[RCD_MAX_RANK] = {(int64_t)n};
    const int64_t many = (int64_t)n, all = (int64_t)t->count;
    if (!flat) {
        memcpy(dims, t->x->dims, sizeof dims);
        dims[axis] = (int64_t)n;
    }
    struct rcd_tensor *y = NULL, *at = NULL, *inverse = NULL, *counts = NULL;
    rcd_status st = rcd__new_out(c, 0, r, t->x->dtype, flat ? 1 : t->x->rank, dims, &y);
    if (st == RCD_OK)
        st = rcd__new_out(c, 1, r, RCD_I64, 1, &many, &at);
    if (st == RCD_OK)
        st = rcd__new_out(c, 2, r, RCD_I64, 1, &all, &inverse);
    if (st == RCD_OK)
        st = rcd__new_out(c, 3, r, RCD_I64, 1, &many, &counts);
    int64_t *place = rcd__scratch(c, r, (t->count + 1) * sizeof *place);
    if (st != RCD_OK || place == NULL)
        return st != RCD_OK ? st : RCD_ENOMEM;
    if (y != NULL)
        copy_things(t, which, n, y);
    for (size_t i = 0; i < n; i++) {
        place[which[i]] = (int64_t)i;
        if (at != NULL)
            ((int64_t *)at->data)[i] = (int64_t)which[i];
        if (counts != NULL)
            ((int64_t *)counts->data)[i] = 0;
    }
    for (size_t i = 0; i < t->count; i++) {
        if (inverse != NULL)
            ((int64_t *)inverse->data)[i] = place[first[i]];
        if (counts != NULL)
            ((int64_t *)counts->data)[place[first[i]]]++;
    }
    return RCD_OK;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    int axis = 0;
    rcd_status st = s->has_axis ? rcd__axis(c, r, s->axis, x->rank, &axis) : RCD_OK;
    if (st != RCD_OK)
        return st;
    struct things t = {.x = x, .count = x->n, .n = 1, .inner = 1};
    if (s->has_axis) {
        t.count = (size_t)x->dims[axis];
        t.inner = rcd__span(x->dims, axis + 1, x->rank);
        t.n = rcd__span(x->dims, 0, axis) * t.inner;
    }
    size_t *mem = rcd__scratch(c, r, (4 * t.count + 1) * sizeof *mem);
    if (mem == NULL)
        return RCD_ENOMEM;
    size_t *order = sort(&t, mem, mem + t.count), *first = mem + 2 * t.count,
           *which = mem + 3 * t.count;
    find_first(&t, order, first);
    size_t n = 0;
    for (size_t i = 0; i < t.count; i++) { /* leaders: by value, or by place */
        const size_t at = s->sorted != 0 ? order[i] : i;
        if (first[at] == at)
            which[n++] = at;
    }
    return outputs(c, r, &t, first, which, n, axis, !s->has_axis);
}

static const struct rcd_op ops[] = {{.name = "Unique", .since = 11, .check = check, .run = run}};
RCD_OP_LIST(unique, ops);
