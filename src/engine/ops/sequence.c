/* sequence.c - lists of tensors: SequenceEmpty, Construct, At, Insert, Erase, Length, ConcatFromSequence and
 * SplitToSequence. What PyTorch's scripted loops make of Python lists.
 *
 * A list is a tensor of type RCD_SEQ whose elements are tensors, each with a reference to its block;
 * a changed list is a new one that shares the elements. */
#include "list.h"

#include <string.h>

struct state {
    int64_t axis, flag; /* new_axis, keepdims */
};

static struct state *state_of(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    k->node->state = s;
    return s;
}

/* A position in a list: -n .. n - 1, or n as well where something is inserted. */
static rcd_status position(const struct rcd_call *c, size_t r, size_t i, size_t n, size_t end,
                           size_t *ret)
{
    const struct rcd_tensor *t = rcd__in(c, i, r);
    if (t == NULL)
        return RCD_OK; /* the default is there already */
    if (t->n != 1)
        return rcd__fail(c, r, RCD_EINVAL, "the position has %zu elements, want 1", t->n);
    int64_t at = rcd__int_at(t, 0);
    if (at < -(int64_t)n || at >= (int64_t)end)
        return rcd__fail(c, r, RCD_EINVAL, "position %lld in a sequence of %zu tensors",
                         (long long)at, n);
    *ret = (size_t)(at < 0 ? at + (int64_t)n : at);
    return RCD_OK;
}

/* ---- making and taking apart --------------------------------------------------------------- */

static rcd_status check_empty(struct rcd_check *k)
{
    int64_t type = 1;
    rcd_status st = rcd__check_arity(k, 0, 0, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "dtype", 1, &type);
    rcd_dtype t = type > 0 && type < INT32_MAX ? rcd_dtype_from_onnx((int32_t)type) : RCD_NONE;
    if (st == RCD_OK && t == RCD_NONE)
        return rcd__refuse(k, "dtype %lld is not known", (long long)type);
    rcd__set_out_list(k, 0, t);
    return st;
}

static rcd_status run_empty(struct rcd_call *c, size_t r)
{
    struct rcd_tensor *out = NULL;
    return rcd__list_new(c, r, 0, 0, &out) ? RCD_OK : RCD_ENOMEM;
}

static rcd_status check_construct(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 1, SIZE_MAX, 1, 1);
    for (size_t i = 0; st == RCD_OK && i < k->node->n_in; i++) {
        if (!rcd__has_in(k, i))
            return rcd__refuse(k, "input %zu is left out", i);
        st = rcd__list_unwanted(k, i);
        if (st == RCD_OK)
            st = rcd__check_same(k, 0, i);
    }
    rcd__set_out_list(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status run_construct(struct rcd_call *c, size_t r)
{
    struct rcd_tensor *out = NULL;
    if (!rcd__list_new(c, r, 0, c->node->n_in, &out))
        return RCD_ENOMEM;
    for (size_t i = 0; i < c->node->n_in; i++)
        rcd__list_put(out, i, rcd__in(c, i, r));
    return RCD_OK;
}

static rcd_status check_at(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 2, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__list_want(k, 0);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_TS_INDEX);
    rcd__set_out(k, 0, rcd__list_type(k, 0));
    return st;
}

static rcd_status run_at(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *list = rcd__in(c, 0, r);
    size_t at = 0;
    rcd_status st = position(c, r, 1, list->n, list->n, &at);
    if (st == RCD_OK)
        *rcd__out(c, 0, r) = rcd__share(rcd__list_at(list, at));
    return st;
}

static rcd_status check_insert(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 2, 3, 1, 1);
    if (st == RCD_OK)
        st = rcd__list_want(k, 0);
    if (st == RCD_OK)
        st = rcd__list_unwanted(k, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 2, RCD_TS_INDEX);
    if (st == RCD_OK && rcd__in_type(k, 1) != rcd__list_type(k, 0))
        return rcd__refuse(k, "a tensor of %s for a sequence of %s",
                           rcd_dtype_onnx_name(rcd__in_type(k, 1)),
                           rcd_dtype_onnx_name(rcd__list_type(k, 0)));
    rcd__set_out_list(k, 0, rcd__list_type(k, 0));
    return st;
}

static rcd_status run_insert(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *list = rcd__in(c, 0, r);
    struct rcd_tensor *out = NULL;
    size_t at = list->n;
    rcd_status st = position(c, r, 2, list->n, list->n + 1, &at);
    if (st != RCD_OK)
        return st;
    if (!rcd__list_new(c, r, 0, list->n + 1, &out))
        return RCD_ENOMEM;
    for (size_t i = 0; i < list->n; i++)
        rcd__list_put(out, i + (i >= at), rcd__list_at(list, i));
    rcd__list_put(out, at, rcd__in(c, 1, r));
    return RCD_OK;
}

static rcd_status check_erase(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 1, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__list_want(k, 0);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_TS_INDEX);
    rcd__set_out_list(k, 0, rcd__list_type(k, 0));
    return st;
}

static rcd_status run_erase(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *list = rcd__in(c, 0, r);
    struct rcd_tensor *out = NULL;
    if (list->n == 0)
        return rcd__fail(c, r, RCD_EINVAL, "the sequence is empty");
    size_t at = list->n - 1;
    rcd_status st = position(c, r, 1, list->n, list->n, &at);
    if (st != RCD_OK)
        return st;
    if (!rcd__list_new(c, r, 0, list->n - 1, &out))
        return RCD_ENOMEM;
    for (size_t i = 0; i < out->n; i++)
        rcd__list_put(out, i, rcd__list_at(list, i + (i >= at)));
    return RCD_OK;
}

static rcd_status check_length(struct rcd_check *k)
{
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    rcd__set_out(k, 0, RCD_I64);
    return st == RCD_OK ? rcd__list_want(k, 0) : st;
}

/* ---- joining and splitting ----------------------------------------------------------------- */

static rcd_status check_join(struct rcd_check *k)
{
    struct state *s = state_of(k);
    if (s == NULL)
        return RCD_ENOMEM;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", 0, &s->axis);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "new_axis", 0, &s->flag);
    if (st == RCD_OK)
        st = rcd__list_want(k, 0);
    rcd__set_out(k, 0, rcd__list_type(k, 0));
    return st;
}

static rcd_status run_join(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *list = rcd__in(c, 0, r);
    if (list->n == 0)
        return rcd__fail(c, r, RCD_EINVAL, "the sequence is empty: its shape is not known");
    const struct rcd_tensor *first = rcd__list_at(list, 0);
    const int rank = first->rank + (s->flag != 0);
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, rank, &axis);
    if (st != RCD_OK)
        return st;
    int64_t dims[RCD_MAX_RANK + 1], total = 0;
    for (size_t i = 0; i < list->n; i++) {
        const struct rcd_tensor *t = rcd__list_at(list, i);
        bool fits = t->rank == first->rank;
        for (int d = 0; fits && d < t->rank; d++)
            fits = t->dims[d] == first->dims[d] || (d == axis && s->flag == 0);
        if (!fits) {
            char a[128], b[128];
            return rcd__fail(c, r, RCD_EINVAL, "tensor %zu has shape %s, the first %s", i,
                             rcd_shape_text(a, sizeof a, t->rank, t->dims),
                             rcd_shape_text(b, sizeof b, first->rank, first->dims));
        }
        total += s->flag != 0 ? 1 : t->dims[axis];
    }
    for (int d = 0; d < rank && d <= RCD_MAX_RANK; d++)
        dims[d] = d == axis ? total : first->dims[s->flag != 0 && d > axis ? d - 1 : d];
    struct rcd_tensor *out = NULL;
    st = rcd__new_out(c, 0, r, first->dtype, rank, dims, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    const size_t outer = rcd__span(dims, 0, axis), elem = rcd_dtype_size(first->dtype);
    char *to = out->data;
    for (size_t o = 0; o < outer; o++) {
        for (size_t i = 0; i < list->n; i++) {
            const struct rcd_tensor *t = rcd__list_at(list, i);
            const size_t bytes = t->n / outer * elem;
            rcd__copy(to, (const char *)t->data + o * bytes, bytes);
            to += bytes;
        }
    }
    return RCD_OK;
}

static rcd_status check_split(struct rcd_check *k)
{
    struct state *s = state_of(k);
    if (s == NULL)
        return RCD_ENOMEM;
    rcd_status st = rcd__check_arity(k, 1, 2, 1, 1);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", 0, &s->axis);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "keepdims", 1, &s->flag);
    if (st == RCD_OK)
        st = rcd__list_unwanted(k, 0);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_TS_INDEX);
    rcd__set_out_list(k, 0, rcd__in_type(k, 0));
    return st;
}

/* Part `from`, `size` long, of axis `axis` of x as element i of the list. */
static rcd_status split_part(const struct rcd_call *c, size_t r, const struct rcd_tensor *x,
                             int axis, bool keep, int64_t from, int64_t size,
                             struct rcd_tensor *ret)
{
    int64_t dims[RCD_MAX_RANK];
    int rank = 0;
    for (int d = 0; d < x->rank; d++) {
        if (d != axis || keep)
            dims[rank++] = d == axis ? size : x->dims[d];
    }
    struct rcd_error err;
    if (rcd_tensor_new(ret, c->x->pool, x->dtype, rank, dims, &err) != RCD_OK)
        return rcd__fail(c, r, RCD_ENOMEM, "%s", err.text);
    const size_t outer = rcd__span(x->dims, 0, axis), whole = (size_t)x->dims[axis];
    const size_t inner = rcd__span(x->dims, axis + 1, x->rank) * rcd_dtype_size(x->dtype);
    for (size_t o = 0; o < outer && ret->n > 0; o++)
        rcd__copy((char *)ret->data + o * (size_t)size * inner,
                  (const char *)x->data + (o * whole + (size_t)from) * inner, (size_t)size * inner);
    return RCD_OK;
}

static rcd_status run_split(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *sizes = rcd__in(c, 1, r);
    struct rcd_tensor *out = NULL;
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, x->rank, &axis);
    if (st != RCD_OK)
        return st;
    const int64_t whole = x->dims[axis];
    int64_t step = sizes == NULL || sizes->n < 1 ? 1 : rcd__int_at(sizes, 0);
    const bool even = sizes == NULL || sizes->rank == 0;
    if (even && step < 1)
        return rcd__fail(c, r, RCD_EINVAL, "parts of size %lld", (long long)step);
    const size_t n = even ? (size_t)(whole / step + (whole % step != 0)) : sizes->n;
    if (!rcd__list_new(c, r, 0, n, &out))
        return RCD_ENOMEM;
    int64_t from = 0;
    for (size_t i = 0; i < n && st == RCD_OK; i++) {
        int64_t size = !even ? rcd__int_at(sizes, i) : step < whole - from ? step : whole - from;
        if (size < 0 || size > whole - from || (i + 1 == n && size != whole - from))
            return rcd__fail(c, r, RCD_EINVAL, "part %zu has size %lld, %lld of %lld are left", i,
                             (long long)size, (long long)(whole - from), (long long)whole);
        st = split_part(c, r, x, axis, s->flag != 0 || sizes != NULL, from, size,
                        (struct rcd_tensor *)out->data + i);
        from += size;
    }
    return st;
}

/* Lists are never folded: constants of a plan are tensors. */
static const struct rcd_op ops[] = {
    {.name = "SequenceEmpty",
     .since = 11,
     .check = check_empty,
     .run = run_empty,
     .compound = true,
     .impure = true},
    {.name = "SequenceConstruct",
     .since = 11,
     .check = check_construct,
     .run = run_construct,
     .compound = true,
     .impure = true},
    {.name = "SequenceAt", .since = 11, .check = check_at, .run = run_at, .compound = true},
    {.name = "SequenceInsert",
     .since = 11,
     .check = check_insert,
     .run = run_insert,
     .compound = true,
     .impure = true},
    {.name = "SequenceErase",
     .since = 11,
     .check = check_erase,
     .run = run_erase,
     .compound = true,
     .impure = true},
    {.name = "SequenceLength",
     .since = 11,
     .check = check_length,
     .run = rcd__run_size,
     .compound = true},
    {.name = "ConcatFromSequence",
     .since = 11,
     .check = check_join,
     .run = run_join,
     .compound = true},
    {.name = "SplitToSequence",
     .since = 11,
     .check = check_split,
     .run = run_split,
     .compound = true,
     .impure = true},
};
RCD_OP_LIST(sequence, ops);
