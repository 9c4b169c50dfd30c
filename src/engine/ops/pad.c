/* pad.c - Pad: constant, reflect, edge, wrap; pads and value as attributes (opset < 11) or inputs.
 * Negative pads crop. */
#include "move.h"

#include <string.h>

enum mode { CONSTANT, REFLECT, EDGE, WRAP };

struct state {
    enum mode mode;
    bool inputs;
    const int64_t *pads;
    size_t n_pads;
    float value;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    s->inputs = k->opset >= 11;
    static const char *const names[] = {"constant", "reflect", "edge", "wrap"};
    size_t m = 0;
    rcd_status st = rcd__check_arity(k, s->inputs ? 2 : 1, s->inputs ? 4 : 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_choice(k, "mode", names, RCD_COUNT(names), &m);
    if (st == RCD_OK && !s->inputs)
        st = rcd__attr_ints(k, "pads", &s->pads, &s->n_pads);
    if (st == RCD_OK && !s->inputs)
        st = rcd__attr_float(k, "value", 0.0f, &s->value);
    if (st != RCD_OK)
        return st;
    s->mode = (enum mode)m;
    if (!s->inputs && (s->pads == NULL || rcd__in_type(k, 0) != RCD_F32))
        return rcd__refuse(k, "wants attribute 'pads' and float32 before opset 11");
    st = rcd__check_type(k, 1, RCD_T(RCD_I64));
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 2);
    if (st == RCD_OK)
        st = rcd__check_type(k, 3, RCD_TS_INDEX);
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status read_pads(const struct rcd_call *c, size_t r, int rank, int64_t *begin,
                            int64_t *end)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *pads = rcd__in(c, 1, r), *axes = rcd__in(c, 3, r);
    size_t n = s->inputs ? pads->n : s->n_pads, per_axis = axes != NULL ? axes->n : (size_t)rank;
    memset(begin, 0, RCD_MAX_RANK * sizeof *begin);
    memset(end, 0, RCD_MAX_RANK * sizeof *end);
    if (n != 2 * per_axis)
        return rcd__fail(c, r, RCD_EINVAL, "%zu pads for %zu axes", n, per_axis);
    for (size_t i = 0; i < per_axis; i++) {
        int axis = (int)i;
        if (axes != NULL) {
            rcd_status st = rcd__axis(c, r, rcd__int_at(axes, i), rank, &axis);
            if (st != RCD_OK)
                return st;
        }
        begin[axis] = s->inputs ? rcd__int_at(pads, i) : s->pads[i];
        end[axis] = s->inputs ? rcd__int_at(pads, per_axis + i) : s->pads[per_axis + i];
    }
    return RCD_OK;
}

/* Source place of padded place i along an axis of n elements; -1: the constant. */
static int64_t source(enum mode mode, int64_t i, int64_t n)
{
    if (i >= 0 && i < n)
        return i;
    switch (mode) {
    case EDGE:
        return i < 0 ? 0 : n - 1;
    case WRAP:
        return ((i % n) + n) % n;
    case REFLECT: {
        int64_t period = 2 * (n - 1);
        if (period == 0)
            return 0;
        int64_t at = ((i % period) + period) % period;
        return at < n ? at : period - at;
    }
    default:
        return -1;
    }
}

/* The last axis of a tensor. */
struct line {
    enum mode mode;
    int64_t n, begin; /* elements, and places before the first (fewer than none: it begins later) */
    int64_t padded;
    size_t elem;
    const void *fill;
};

/* x: NULL where all is the constant. */
static void pad_line(const struct line *l, const char *x, char *out)
{
    int64_t from = l->begin > 0 ? l->begin : 0, to = l->begin + l->n; /* [from, to) is a copy */
    from = from < l->padded ? from : l->padded;
    to = to < l->padded ? to : l->padded;
    to = x == NULL || to < from ? from : to;
    if (to > from)
        memcpy(out + from * (int64_t)l->elem, x + (from - l->begin) * (int64_t)l->elem,
               (size_t)(to - from) * l->elem);
    if (l->mode == CONSTANT) {
        rcd__repeat(out, (size_t)from, l->elem, l->fill);
        rcd__repeat(out + to * (int64_t)l->elem, (size_t)(l->padded - to), l->elem, l->fill);
        return;
    }
    for (int64_t i = from == 0 ? to : 0; i < l->padded; i = i + 1 == from ? to : i + 1)
        memcpy(out + i * (int64_t)l->elem,
               x + source(l->mode, i - l->begin, l->n) * (int64_t)l->elem, l->elem);
}

static rcd_status shape_of(const struct rcd_call *c, size_t r, const struct rcd_tensor *x,
                           const int64_t *begin, const int64_t *end, int64_t *dims)
{
    const struct state *s = c->node->state;
    for (int d = 0; d < x->rank; d++) {
        if (__builtin_add_overflow(x->dims[d], begin[d], &dims[d]) ||
            __builtin_add_overflow(dims[d], end[d], &dims[d]) || dims[d] < 0)
            return rcd__fail(c, r, RCD_EINVAL, "axis %d: pads %lld and %lld for %lld elements", d,
                             (long long)begin[d], (long long)end[d], (long long)x->dims[d]);
        if (x->dims[d] == 0 && dims[d] > 0 && s->mode != CONSTANT)
            return rcd__fail(c, r, RCD_EINVAL, "axis %d has no elements to pad from", d);
    }
    return RCD_OK;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *value = rcd__in(c, 2, r);
    int64_t begin[RCD_MAX_RANK], end[RCD_MAX_RANK], dims[RCD_MAX_RANK];
    rcd_status st = read_pads(c, r, x->rank, begin, end);
    if (st == RCD_OK)
        st = shape_of(c, r, x, begin, end, dims);
    struct rcd_tensor *out = NULL;
    if (st == RCD_OK)
        st = rcd__new_out(c, 0, r, x->dtype, x->rank, dims, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    size_t elem = rcd_dtype_size(x->dtype);
    static const struct rcd_bytes empty;
    char zero[sizeof empty] = {0};
    const void *fill = value != NULL && value->n == 1 ? value->data : zero;
    if (!s->inputs)
        fill = &s->value;
    if (x->rank == 0) {
        memcpy(out->data, x->data, elem);
        return RCD_OK;
    }
    const int last = x->rank - 1;
    struct line line = {s->mode, x->dims[last], begin[last], dims[last], elem, fill};
    int64_t at[RCD_MAX_RANK] = {0};
    for (size_t o = 0; o < out->n; o += (size_t)dims[last]) {
        int64_t from = 0;
        for (int d = 0; d < last && from >= 0; d++) {
            int64_t i = source(s->mode, at[d] - begin[d], x->dims[d]);
            from = i < 0 ? -1 : from * x->dims[d] + i;
        }
        pad_line(&line, from < 0 ? NULL : (const char *)x->data + from * line.n * (int64_t)elem,
                 (char *)out->data + o * elem);
        for (int d = last - 1; d >= 0 && ++at[d] == dims[d]; d--)
            at[d] = 0;
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {{.name = "Pad", .since = 2, .check = check, .run = run}};
RCD_OP_LIST(pad, ops);
