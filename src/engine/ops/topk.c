/* topk.c - TopK: k as attribute (opset < 10) or input; ties by lower index; always sorted (what
 * sorted = 0 allows). */
#include "ops.h"

#include <stdlib.h>
#include <string.h>

struct state {
    int64_t axis, largest, k;
    bool k_input;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    s->k_input = k->opset >= 10;
    s->largest = 1;
    int64_t sorted = 1;
    rcd_status st = rcd__check_arity(k, s->k_input ? 2 : 1, s->k_input ? 2 : 1, 1, 2);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", -1, &s->axis);
    if (st == RCD_OK && !s->k_input)
        st = rcd__attr_int(k, "k", 0, &s->k);
    if (st == RCD_OK && k->opset >= 11)
        st = rcd__attr_int(k, "largest", 1, &s->largest);
    if (st == RCD_OK && k->opset >= 11)
        st = rcd__attr_int(k, "sorted", 1, &sorted);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, RCD_TS_NUM);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_T(RCD_I64));
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    rcd__set_out(k, 1, RCD_I64);
    return st;
}

/* One element as its rank key: doubles hold every type but 64-bit integers exactly. */
struct item {
    double f;
    int64_t i;
    uint64_t u;
    int64_t at;
};

static int ascending(const void *pa, const void *pb)
{
    const struct item *a = pa, *b = pb;
    if (a->f != b->f)
        return a->f < b->f || b->f != b->f ? (a->f != a->f ? (b->f != b->f ? 0 : 1) : -1) : 1;
    if (a->i != b->i)
        return a->i < b->i ? -1 : 1;
    if (a->u != b->u)
        return a->u < b->u ? -1 : 1;
    return a->at < b->at ? -1 : 1;
}

/* Largest first; NaN counts as larger than all; equal ones still by lower index. */
static int descending(const void *pa, const void *pb)
{
    const struct item *a = pa, *b = pb;
    bool na = a->f != a->f, nb = b->f != b->f;
    if (na != nb)
        return na ? -1 : 1;
    if (!na && a->f != b->f)
        return a->f > b->f ? -1 : 1;
    if (a->i != b->i)
        return a->i > b->i ? -1 : 1;
    if (a->u != b->u)
        return a->u > b->u ? -1 : 1;
    return a->at < b->at ? -1 : 1;
}

static void read_item(const struct rcd_tensor *x, size_t from, struct item *ret)
{
    *ret = (struct item){.f = 0.0};
    if (x->dtype == RCD_F32)
        ret->f = (double)((const float *)x->data)[from];
    else if (x->dtype == RCD_F64)
        ret->f = ((const double *)x->data)[from];
    else if (x->dtype == RCD_U64)
        ret->u = ((const uint64_t *)x->data)[from];
    else
        ret->i = rcd__int_at(x, from);
}

/* Elements from + i * step, i < n, best first. */
static void order_items(const struct rcd_tensor *x, size_t from, size_t n, size_t step,
                        bool largest, struct item *items)
{
    for (size_t i = 0; i < n; i++) {
        read_item(x, from + i * step, &items[i]);
        items[i].at = (int64_t)i;
    }
    qsort(items, n, sizeof *items, largest ? descending : ascending);
}

/* ---- float32: one number for a value and its place, so that numbers alone are compared ------------------ */

enum { FEW = 48 }; /* are sorted by insertion */

/* In the order of values; -0 as 0, NaN above all. */
static uint32_t in_order(float f)
{
    uint32_t bits = 0;
    f = f + 0.0f; /* -0 becomes 0 */
    memcpy(&bits, &f, sizeof bits);
    if (f != f)
        return UINT32_MAX;
    return bits >> 31 != 0 ? ~bits : bits | 1u << 31;
}

static int lower(const void *pa, const void *pb)
{
    const uint64_t a = *(const uint64_t *)pa, b = *(const uint64_t *)pb;
    return (a > b) - (a < b);
}

static void sort_keys(uint64_t *keys, size_t n)
{
    if (n > FEW) {
        qsort(keys, n, sizeof *keys, lower);
        return;
    }
    for (size_t i = 1; i < n; i++) {
        const uint64_t key = keys[i];
        size_t at = i;
        for (; at > 0 && keys[at - 1] > key; at--)
            keys[at] = keys[at - 1];
        keys[at] = key;
    }
}

/* The places of x[i * step], i < n, best first. */
static void order_f32(const float *x, size_t n, size_t step, bool largest, uint64_t *keys)
{
    for (size_t i = 0; i < n; i++) {
        const uint32_t key = in_order(x[i * step]);
        keys[i] = (uint64_t)(largest ? ~key : key) << 32 | i;
    }
    sort_keys(keys, n);
}

static rcd_status outputs(const struct rcd_call *c, size_t r, const struct rcd_tensor *x, int axis,
                          int64_t k, struct rcd_tensor **values, struct rcd_tensor **indices)
{
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, x->dims, sizeof dims);
    dims[axis] = k;
    rcd_status st = rcd__new_out(c, 0, r, x->dtype, x->rank, dims, values);
    return st == RCD_OK ? rcd__new_out(c, 1, r, RCD_I64, x->rank, dims, indices) : st;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *kt = rcd__in(c, 1, r);
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, x->rank, &axis);
    if (st != RCD_OK)
        return st;
    if (kt != NULL && kt->n != 1)
        return rcd__fail(c, r, RCD_EINVAL, "K has %zu elements, want 1", kt->n);
    int64_t k = s->k_input ? rcd__int_at(kt, 0) : s->k;
    if (k < 0 || k > x->dims[axis])
        return rcd__fail(c, r, RCD_EINVAL, "k is %lld, axis %d has %lld elements", (long long)k,
                         axis, (long long)x->dims[axis]);
    struct rcd_tensor *values = NULL, *indices = NULL;
    st = outputs(c, r, x, axis, k, &values, &indices);
    if (st != RCD_OK)
        return st;
    size_t n = (size_t)x->dims[axis], inner = rcd__span(x->dims, axis + 1, x->rank);
    const bool keyed = x->dtype == RCD_F32 && n <= UINT32_MAX;
    struct item *items = NULL;
    uint64_t *keys = NULL;
    void *room = rcd__scratch(c, r, n * (keyed ? sizeof *keys : sizeof *items));
    if (room == NULL)
        return RCD_ENOMEM;
    if (keyed)
        keys = room;
    else
        items = room;
    size_t elem = rcd_dtype_size(x->dtype), rows = n > 0 ? x->n / n : 0;
    for (size_t o = 0; o < rows; o++) {
        size_t from = o / inner * n * inner + o % inner;
        size_t to = o / inner * (size_t)k * inner + o % inner;
        if (keyed)
            order_f32((const float *)x->data + from, n, inner, s->largest != 0, keys);
        else
            order_items(x, from, n, inner, s->largest != 0, items);
        for (size_t i = 0; i < (size_t)k; i++) {
            const int64_t place = keyed ? (int64_t)(keys[i] & UINT32_MAX) : items[i].at;
            if (values != NULL)
                memcpy((char *)values->data + (to + i * inner) * elem,
                       (const char *)x->data + (from + (size_t)place * inner) * elem, elem);
            if (indices != NULL)
                ((int64_t *)indices->data)[to + i * inner] = place;
        }
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {{.name = "TopK", .since = 1, .check = check, .run = run}};
RCD_OP_LIST(topk, ops);
