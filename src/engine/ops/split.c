/* split.c - Split: sizes as attribute (opset < 13) or input, num_outputs (18), or equal parts. */
#include "ops.h"

#include <string.h>

struct state {
    int64_t axis;
    const int64_t *sizes;
    size_t n_sizes;
};

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    bool input = k->opset >= 13;
    int64_t parts = 0;
    rcd_status st = rcd__check_arity(k, 1, input ? 2 : 1, 1, SIZE_MAX);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", 0, &s->axis);
    if (st == RCD_OK && !input)
        st = rcd__attr_ints(k, "split", &s->sizes, &s->n_sizes);
    if (st == RCD_OK && k->opset >= 18)
        st = rcd__attr_int(k, "num_outputs", 0, &parts);
    if (st == RCD_OK && parts != 0 && (size_t)parts != k->node->n_out)
        return rcd__refuse(k, "num_outputs is %lld, the node has %zu", (long long)parts,
                           k->node->n_out);
    if (st == RCD_OK && s->sizes != NULL && s->n_sizes != k->node->n_out)
        return rcd__refuse(k, "split has %zu sizes for %zu outputs", s->n_sizes, k->node->n_out);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_T(RCD_I64));
    for (size_t i = 0; st == RCD_OK && i < k->node->n_out; i++)
        rcd__set_out(k, i, rcd__in_type(k, 0));
    return st;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *sizes = rcd__in(c, 1, r);
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, x->rank, &axis);
    if (st != RCD_OK)
        return st;
    size_t parts = c->node->n_out;
    if (sizes != NULL && sizes->n != parts)
        return rcd__fail(c, r, RCD_EINVAL, "%zu sizes for %zu outputs", sizes->n, parts);
    int64_t total = x->dims[axis], left = total;
    int64_t even = (total + (int64_t)parts - 1) / (int64_t)parts; /* the last may be smaller */
    size_t elem = rcd_dtype_size(x->dtype), outer = rcd__span(x->dims, 0, axis);
    size_t inner = rcd__span(x->dims, axis + 1, x->rank) * elem;
    for (size_t i = 0; i < parts; i++) {
        int64_t size = sizes != NULL      ? rcd__int_at(sizes, i)
                       : s->sizes != NULL ? s->sizes[i]
                                          : even;
        if (sizes == NULL && s->sizes == NULL && size > left)
            size = left;
        if (size < 0 || size > left || (i + 1 == parts && size != left))
            return rcd__fail(c, r, RCD_EINVAL, "part %zu has size %lld, %lld of %lld are left", i,
                             (long long)size, (long long)left, (long long)total);
        int64_t dims[RCD_MAX_RANK];
        memcpy(dims, x->dims, sizeof dims);
        dims[axis] = size;
        struct rcd_tensor *out = NULL;
        st = rcd__new_out(c, i, r, x->dtype, x->rank, dims, &out);
        if (st != RCD_OK)
            return st;
        const char *from = (const char *)x->data + (size_t)(total - left) * inner;
        for (size_t o = 0; out != NULL && o < outer; o++)
            rcd__copy((char *)out->data + o * (size_t)size * inner,
                      from + o * (size_t)total * inner, (size_t)size * inner);
        left -= size;
    }
    return RCD_OK;
}

static const struct rcd_op ops[] = {{.name = "Split", .since = 2, .check = check, .run = run}};
RCD_OP_LIST(split, ops);
