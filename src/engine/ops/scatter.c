/* scatter.c - ScatterElements, Scatter, ScatterND and GatherND, executed as the file says: without a
 * reduction duplicate indices leave the last one (as ONNX Runtime does), in index order. */
#include "ops.h"

#include <string.h>

enum reduction { NONE, ADD, MUL, MIN, MAX };

struct state {
    int64_t axis, batch_dims;
    enum reduction reduction;
};

/* x[i] = v is a ScatterND that overwrites, and rightly so; but exporters write sums (index_add, index_put with
 * accumulate, all sums below opset 16) as a scatter that overwrites, then Add. */
static bool sum_was_meant(const struct rcd_check *k, const struct state *s)
{
    const struct rcd_onnx_graph *g = &k->plan->model->graph;
    if (strcmp(k->src->op_type, "ScatterND") != 0)
        return s->axis == 0 || s->axis < -1; /* along the last axis: a one-hot row */
    for (size_t i = 0; i < g->n_nodes; i++) {
        const struct rcd_onnx_node *n = &g->nodes[i];
        for (size_t d = 0; n->n_in == 2 && strcmp(n->op_type, "Add") == 0 && d < 2; d++) {
            if (n->in[d] == k->node->out[0])
                return true;
        }
    }
    return false;
}

static rcd_status read_reduction(struct rcd_check *k, struct state *s)
{
    static const char *const names[] = {"none", "add", "mul", "min", "max"};
    size_t i = 0;
    rcd_status st = rcd__attr_choice(k, "reduction", names, RCD_COUNT(names), &i);
    if (st != RCD_OK)
        return st;
    s->reduction = (enum reduction)i;
    if (s->reduction != NONE) {
        st = rcd__check_type(k, 0, RCD_TS_NUM);
        return st;
    }
    if (!rcd__has_in(k, 1) || !k->plan->values[k->node->in[1]].asked || !sum_was_meant(k, s))
        return RCD_OK;
    return rcd__warn(k, "scatters by indices of the request without a reduction: of duplicates "
                        "(two edges into one node) "
                        "only the last stays; if sums were meant, use scatter_add (not index_add, "
                        "not index_put) and "
                        "export with opset_version=18");
}

static rcd_status start(struct rcd_check *k, size_t n_in, struct state **ret)
{
    *ret = rcd__state_new(k, sizeof **ret);
    if (*ret == NULL)
        return RCD_ENOMEM;
    k->node->state = *ret;
    rcd_status st = rcd__check_arity(k, n_in, n_in, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 1, RCD_TS_INDEX);
    if (st == RCD_OK)
        st = rcd__check_same(k, 0, 2);
    rcd__set_out(k, 0, rcd__in_type(k, 0));
    return st;
}

static rcd_status check_elements(struct rcd_check *k)
{
    struct state *s = NULL;
    rcd_status st = start(k, 3, &s);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "axis", 0, &s->axis);
    return st == RCD_OK ? read_reduction(k, s) : st;
}

static rcd_status check_nd(struct rcd_check *k)
{
    struct state *s = NULL;
    rcd_status st = start(k, 3, &s);
    return st == RCD_OK ? read_reduction(k, s) : st;
}

static rcd_status check_gather_nd(struct rcd_check *k)
{
    struct state *s = NULL;
    rcd_status st = start(k, 2, &s);
    return st == RCD_OK ? rcd__attr_int(k, "batch_dims", 0, &s->batch_dims) : st;
}

/* products of integers in a type that cannot overflow */
#define PRODUCT_I8(v) (v)
#define PRODUCT_I16(v) (v)
#define PRODUCT_U8(v) (v)
#define PRODUCT_U16(v) ((unsigned)(v))
#define PRODUCT_I32(v) ((uint32_t)(v))
#define PRODUCT_U32(v) (v)
#define PRODUCT_I64(v) ((uint64_t)(v))
#define PRODUCT_U64(v) (v)
#define PRODUCT_F32(v) (v)
#define PRODUCT_F64(v) (v)
#define COMBINE(S, T, U)                                                                           \
    case RCD_##S:                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                           \
            T a = ((T *)to)[i], b = ((const T *)from)[i];                                          \
            ((T *)to)[i] = how == ADD   ? (T)((U)a + (U)b)                                         \
                           : how == MUL ? (T)(PRODUCT_##S(a) * PRODUCT_##S(b))                     \
                           : how == MIN ? (b < a || b != b ? b : a)                                \
                                        : (b > a || b != b ? b : a);                               \
        }                                                                                          \
        break;

static void combine(enum reduction how, rcd_dtype t, size_t n, void *to, const void *from)
{
    if (how == NONE) {
        rcd__copy(to, from, n * rcd_dtype_size(t));
        return;
    }
    switch (t) {
        RCD_EACH_NUM(COMBINE)
    default:
        RCD_ASSERT(!"checked at load");
    }
}

static rcd_status run_elements(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *idx = rcd__in(c, 1, r), *u = rcd__in(c, 2, r);
    int axis = 0;
    rcd_status st = rcd__axis(c, r, s->axis, x->rank, &axis);
    if (st != RCD_OK)
        return st;
    bool fits = idx->rank == x->rank && u->rank == x->rank;
    for (int d = 0; fits && d < x->rank; d++)
        fits = idx->dims[d] == u->dims[d] && (d == axis || idx->dims[d] <= x->dims[d]);
    if (!fits)
        return rcd__fail(c, r, RCD_EINVAL, "indices and updates do not fit the data's shape");
    struct rcd_tensor *out = NULL;
    st = rcd__new_like(c, r, x->dtype, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    size_t elem = rcd_dtype_size(x->dtype);
    rcd__copy(out->data, x->data, x->n * elem);
    int64_t at[RCD_MAX_RANK] = {0};
    for (size_t i = 0; i < idx->n; i++) {
        size_t where = 0, to = 0;
        st = rcd__index_at(c, r, idx, i, x->dims[axis], &where);
        if (st != RCD_OK)
            return st;
        for (int d = 0; d < x->rank; d++)
            to = to * (size_t)x->dims[d] + (d == axis ? where : (size_t)at[d]);
        combine(s->reduction, x->dtype, 1, (char *)out->data + to * elem,
                (const char *)u->data + i * elem);
        for (int d = idx->rank - 1; d >= 0 && ++at[d] == idx->dims[d]; d--)
            at[d] = 0;
    }
    return RCD_OK;
}

/* Element offset that a tuple of `depth` indices names, starting at dim `first`. */
static rcd_status tuple(const struct rcd_call *c, size_t r, const struct rcd_tensor *idx, size_t at,
                        const struct rcd_tensor *x, int first, int depth, size_t *ret)
{
    size_t to = 0;
    for (int d = 0; d < depth; d++) {
        size_t where = 0;
        rcd_status st = rcd__index_at(c, r, idx, at + (size_t)d, x->dims[first + d], &where);
        if (st != RCD_OK)
            return st;
        to = to * (size_t)x->dims[first + d] + where;
    }
    *ret = to * rcd__span(x->dims, first + depth, x->rank);
    return RCD_OK;
}

static rcd_status run_nd(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *idx = rcd__in(c, 1, r), *u = rcd__in(c, 2, r);
    int64_t depth = idx->rank > 0 ? idx->dims[idx->rank - 1] : -1;
    if (depth < 0 || depth > x->rank)
        return rcd__fail(c, r, RCD_EINVAL, "index tuples of %lld for rank %d", (long long)depth,
                         x->rank);
    size_t tuples = rcd__span(idx->dims, 0, idx->rank - 1);
    size_t n = rcd__span(x->dims, (int)depth, x->rank), elem = rcd_dtype_size(x->dtype);
    if (u->n != tuples * n)
        return rcd__fail(c, r, RCD_EINVAL, "updates have %zu elements, want %zu", u->n, tuples * n);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, x->dtype, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    rcd__copy(out->data, x->data, x->n * elem);
    for (size_t i = 0; i < tuples && st == RCD_OK; i++) {
        size_t to = 0;
        st = tuple(c, r, idx, i * (size_t)depth, x, 0, (int)depth, &to);
        if (st == RCD_OK)
            combine(s->reduction, x->dtype, n, (char *)out->data + to * elem,
                    (const char *)u->data + i * n * elem);
    }
    return st;
}

static rcd_status run_gather_nd(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *idx = rcd__in(c, 1, r);
    int64_t depth = idx->rank > 0 ? idx->dims[idx->rank - 1] : -1, b = s->batch_dims;
    bool fits = depth >= 1 && b >= 0 && b < idx->rank && b + depth <= x->rank;
    for (int d = 0; fits && d < b; d++)
        fits = x->dims[d] == idx->dims[d];
    if (!fits)
        return rcd__fail(c, r, RCD_EINVAL, "index tuples of %lld with %lld batch dims for rank %d",
                         (long long)depth, (long long)b, x->rank);
    int64_t dims[2 * RCD_MAX_RANK];
    int rank = 0;
    for (int d = 0; d < idx->rank - 1; d++)
        dims[rank++] = idx->dims[d];
    for (int d = (int)(b + depth); d < x->rank; d++)
        dims[rank++] = x->dims[d];
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, x->dtype, rank, dims, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    size_t tuples = rcd__span(idx->dims, 0, idx->rank - 1);
    size_t n = rcd__span(x->dims, (int)(b + depth), x->rank), elem = rcd_dtype_size(x->dtype);
    size_t batches = rcd__span(x->dims, 0, (int)b), batch = rcd__span(x->dims, (int)b, x->rank);
    for (size_t i = 0; i < tuples && st == RCD_OK; i++) {
        size_t from = 0;
        st = tuple(c, r, idx, i * (size_t)depth, x, (int)b, (int)depth, &from);
        from += i / (tuples / batches) * batch;
        if (st == RCD_OK)
            memcpy((char *)out->data + i * n * elem, (const char *)x->data + from * elem, n * elem);
    }
    return st;
}

static const struct rcd_op ops[] = {
    {.name = "Scatter", .since = 9, .until = 10, .check = check_elements, .run = run_elements},
    {.name = "ScatterElements", .since = 11, .check = check_elements, .run = run_elements},
    {.name = "ScatterND", .since = 11, .check = check_nd, .run = run_nd},
    {.name = "GatherND", .since = 11, .check = check_gather_nd, .run = run_gather_nd},
};
RCD_OP_LIST(scatter, ops);
