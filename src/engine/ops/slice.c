/* slice.c - Slice: starts, ends, axes, steps as attributes (opset < 10) or inputs. */
#include "move.h"

#include <string.h>

struct state {
    bool inputs;
    const int64_t *starts, *ends, *axes;
    size_t n, n_axes;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    s->inputs = k->opset >= 10;
    rcd_status st = rcd__check_arity(k, s->inputs ? 3 : 1, s->inputs ? 5 : 1, 1, 1);
    for (size_t i = 1; st == RCD_OK && i < 5; i++)
        st = rcd__check_type(k, i, RCD_TS_INDEX);
    size_t n_ends = 0;
    if (st == RCD_OK && !s->inputs) {
        st = rcd__attr_ints(k, "starts", &s->starts, &s->n);
        if (st == RCD_OK)
            st = rcd__attr_ints(k, "ends", &s->ends, &n_ends);
        if (st == RCD_OK)
            st = rcd__attr_ints(k, "axes", &s->axes, &s->n_axes);
        if (st == RCD_OK &&
            (s->starts == NULL || n_ends != s->n || (s->axes != NULL && s->n_axes != s->n)))
            return rcd__refuse(k, "starts, ends and axes must have equal lengths");
    }
    if (st == RCD_OK)
        rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

struct range {
    int64_t start, end, axis, step;
};

static rcd_status range_at(const struct rcd_call *c, size_t r, size_t i, struct range *ret)
{
    const struct state *s = c->node->state;
    *ret = (struct range){.axis = (int64_t)i, .step = 1};
    if (!s->inputs) {
        ret->start = s->starts[i];
        ret->end = s->ends[i];
        if (s->axes != NULL)
            ret->axis = s->axes[i];
        return RCD_OK;
    }
    const struct rcd_tensor *starts = rcd__in(c, 1, r), *ends = rcd__in(c, 2, r);
    const struct rcd_tensor *axes = rcd__in(c, 3, r), *steps = rcd__in(c, 4, r);
    if (ends->n != starts->n || (axes != NULL && axes->n != starts->n) ||
        (steps != NULL && steps->n != starts->n))
        return rcd__fail(c, r, RCD_EINVAL, "starts, ends, axes and steps differ in length");
    ret->start = rcd__int_at(starts, i);
    ret->end = rcd__int_at(ends, i);
    if (axes != NULL)
        ret->axis = rcd__int_at(axes, i);
    if (steps != NULL)
        ret->step = rcd__int_at(steps, i);
    if (ret->step == 0 || ret->step == INT64_MIN)
        return rcd__fail(c, r, RCD_EINVAL, "step %zu is %lld", i, (long long)ret->step);
    return RCD_OK;
}

static int64_t clamp(int64_t v, int64_t low, int64_t high)
{
    return v < low ? low : v > high ? high : v;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    size_t n = s->inputs ? rcd__in(c, 1, r)->n : s->n;
    int64_t dims[RCD_MAX_RANK], stride[RCD_MAX_RANK], offset = 0;
    memcpy(dims, x->dims, sizeof dims);
    rcd__strides(x->rank, x->dims, stride);
    bool whole = true;
    uint32_t seen = 0;
    for (size_t i = 0; i < n; i++) {
        struct range g;
        int axis = 0;
        rcd_status st = range_at(c, r, i, &g);
        if (st == RCD_OK)
            st = rcd__axis(c, r, g.axis, x->rank, &axis);
        if (st != RCD_OK)
            return st;
        if ((seen & (1u << axis)) != 0)
            return rcd__fail(c, r, RCD_EINVAL, "axis %d is sliced twice", axis);
        seen |= 1u << axis;
        int64_t size = x->dims[axis];
        int64_t start = g.start < 0 ? clamp(g.start, -size, 0) + size : g.start;
        int64_t end = g.end < 0 ? clamp(g.end, -size - 1, 0) + size : g.end;
        if (g.step > 0) {
            start = clamp(start, 0, size);
            end = clamp(end, start, size);
            dims[axis] = (end - start + g.step - 1) / g.step;
        } else {
            start = clamp(start, -1, size - 1);
            end = clamp(end, -1, start);
            dims[axis] = (start - end - g.step - 1) / -g.step;
        }
        if (dims[axis] > 0)
            offset += start * stride[axis];
        whole = whole && dims[axis] == size && g.step > 0;
        stride[axis] *= dims[axis] > 1 ? g.step : 1;
    }
    if (whole)
        return rcd__alias_out(c, 0, r, x, x->rank, dims);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, x->dtype, x->rank, dims, &out);
    size_t size = rcd_dtype_size(x->dtype);
    if (st == RCD_OK && out != NULL && out->n > 0)
        rcd__gather_box(out->data, (const char *)x->data + offset * (int64_t)size, size, x->rank,
                        dims, stride);
    return st;
}

static const struct rcd_op ops[] = {{.name = "Slice", .since = 1, .check = check, .run = run}};
RCD_OP_LIST(slice, ops);
