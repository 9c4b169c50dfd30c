/* symbols_ops.c - what each operator does to sizes. An operator that is not listed leaves its outputs
 * unknown, which is always right. */
#include "symbols.h"

#include <string.h>

struct at {
    struct rcd__symbols *s;
    const struct rcd_node *node;
    const struct rcd_onnx_node *src;
};

static const struct rcd__fact unknown = {.rank = -1, .n_val = -1};

static const struct rcd__fact *in(const struct at *k, size_t i)
{
    if (i >= k->node->n_in || k->node->in[i] == RCD_NO_VALUE)
        return &unknown;
    return &k->s->facts[k->node->in[i]];
}

static struct rcd__fact *out(const struct at *k)
{
    return &k->s->facts[k->node->out[0]];
}

static int64_t attr(const struct at *k, const char *name, int64_t def)
{
    const struct rcd_attr *a = rcd_onnx_attr(k->src, name);
    return a != NULL && a->type == RCD_ATTR_INT ? a->i : def;
}

static bool number(const struct at *k, rcd__term t, int64_t *ret)
{
    if (t == RCD__NO_TERM || !k->s->terms[t].is_number)
        return false;
    *ret = k->s->terms[t].number;
    return true;
}

/* Constant integers from an attribute (older opsets) or from input i. -1: not known. */
static int numbers(const struct at *k, const char *name, size_t i, int64_t ret[RCD_MAX_RANK])
{
    const struct rcd_attr *a = name != NULL ? rcd_onnx_attr(k->src, name) : NULL;
    if (a != NULL && a->type == RCD_ATTR_INTS && a->n <= RCD_MAX_RANK) {
        memcpy(ret, a->ints, a->n * sizeof *ret);
        return (int)a->n;
    }
    const struct rcd__fact *f = in(k, i);
    for (int e = 0; e < f->n_val; e++) {
        if (!number(k, f->val[e], &ret[e]))
            return -1;
    }
    return f->n_val;
}

static bool axis_of(int64_t axis, int rank, int *ret)
{
    if (rank < 0 || axis < -rank || axis >= rank)
        return false;
    *ret = (int)(axis < 0 ? axis + rank : axis);
    return true;
}

static void same(const struct at *k)
{
    *out(k) = *in(k, 0);
    out(k)->n_val = -1;
}

/* Identity, Cast between integers: the elements stay, too. */
static void same_value(const struct at *k)
{
    rcd_dtype t = k->s->p->values[k->node->out[0]].dtype;
    *out(k) = *in(k, 0);
    if (t != RCD_I64 && t != RCD_I32 && strcmp(k->src->op_type, "Identity") != 0)
        out(k)->n_val = -1;
}

static rcd__term broadcast(const struct at *k, rcd__term a, rcd__term b)
{
    if (rcd__term_equal(a, b) || rcd__term_is(k->s, b, 1))
        return a;
    if (rcd__term_is(k->s, a, 1))
        return b;
    int64_t n = 0;
    if (number(k, a, &n))
        return a; /* a number over 1 wins against 1 and against itself, else the run fails */
    return number(k, b, &n) ? b : RCD__NO_TERM;
}

static void broadcast_into(const struct at *k, struct rcd__fact *f, const rcd__term *dims, int rank)
{
    if (f->rank < 0 || rank < 0) {
        f->rank = -1;
        return;
    }
    rcd__term both[RCD_MAX_RANK];
    int most = f->rank > rank ? f->rank : rank;
    for (int d = 0; d < most; d++) {
        int a = d - (most - f->rank), b = d - (most - rank);
        both[d] = a < 0 ? dims[b] : b < 0 ? f->dims[a] : broadcast(k, f->dims[a], dims[b]);
    }
    f->rank = most;
    memcpy(f->dims, both, sizeof both);
}

static void elementwise(const struct at *k)
{
    struct rcd__fact f = *in(k, 0);
    for (size_t i = 1; i < k->node->n_in; i++)
        broadcast_into(k, &f, in(k, i)->dims, in(k, i)->rank);
    f.n_val = -1;
    *out(k) = f;
}

/* Add, Sub, Mul, Equal over known elements. */
static void arithmetic(const struct at *k)
{
    elementwise(k);
    const struct rcd__fact *a = in(k, 0), *b = in(k, 1);
    if (a->n_val < 0 || b->n_val < 0 || (a->n_val != b->n_val && a->n_val != 1 && b->n_val != 1))
        return;
    struct rcd__fact *o = out(k);
    const char *op = k->src->op_type;
    int n = a->n_val > b->n_val ? a->n_val : b->n_val;
    for (int i = 0; i < n; i++) {
        rcd__term x = a->val[a->n_val == 1 ? 0 : i], y = b->val[b->n_val == 1 ? 0 : i];
        int64_t p = 0, q = 0, r = 0;
        bool known = number(k, x, &p) && number(k, y, &q);
        rcd__term t = RCD__NO_TERM;
        if (strcmp(op, "Add") == 0)
            t = rcd__term_sum(k->s, x, y);
        else if (strcmp(op, "Equal") == 0 && known)
            t = rcd__term_number(k->s, p == q);
        else if (strcmp(op, "Sub") == 0 && known && !__builtin_sub_overflow(p, q, &r))
            t = rcd__term_number(k->s, r);
        else if (strcmp(op, "Mul") == 0 && known && !__builtin_mul_overflow(p, q, &r))
            t = rcd__term_number(k->s, r);
        else if (strcmp(op, "Mul") == 0 && rcd__term_is(k->s, y, 1))
            t = x;
        else if (strcmp(op, "Mul") == 0 && rcd__term_is(k->s, x, 1))
            t = y;
        if (t == RCD__NO_TERM)
            return;
        o->val[i] = t;
    }
    o->n_val = n;
}

static void matmul(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0), *b = in(k, 1);
    if (a->rank < 1 || b->rank != 2)
        return;
    struct rcd__fact f = *a;
    f.dims[f.rank - 1] = b->dims[1];
    f.n_val = -1;
    *out(k) = f;
}

static void gemm(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0), *b = in(k, 1);
    if (a->rank != 2 || b->rank != 2)
        return;
    struct rcd__fact f = {.rank = 2, .n_val = -1};
    f.dims[0] = a->dims[attr(k, "transA", 0) != 0 ? 1 : 0];
    f.dims[1] = b->dims[attr(k, "transB", 0) != 0 ? 0 : 1];
    *out(k) = f;
}

static void shape(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0);
    struct rcd__fact f = {.rank = 1, .n_val = -1, .dims = {RCD__NO_TERM}};
    if (a->rank >= 0) {
        int64_t from = attr(k, "start", 0), to = attr(k, "end", a->rank), r = a->rank;
        from = from < 0 ? from + r : from;
        to = to < 0 ? to + r : to;
        from = from < 0 ? 0 : from > r ? r : from;
        to = to < from ? from : to > r ? r : to;
        f.n_val = (int)(to - from);
        memcpy(f.val, a->dims + from, (size_t)f.n_val * sizeof *f.val);
        f.dims[0] = rcd__term_number(k->s, f.n_val);
    }
    *out(k) = f;
}

static void size(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0);
    struct rcd__fact f = {.rank = 0, .n_val = -1};
    if (a->rank == 1 || a->rank == 0) {
        f.n_val = 1;
        f.val[0] = a->rank == 1 ? a->dims[0] : rcd__term_number(k->s, 1);
    }
    *out(k) = f;
}

static void gather(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0), *i = in(k, 1);
    int axis = 0;
    if (!axis_of(attr(k, "axis", 0), a->rank, &axis) || i->rank < 0 ||
        a->rank - 1 + i->rank > RCD_MAX_RANK)
        return;
    struct rcd__fact f = {.rank = 0, .n_val = -1};
    for (int d = 0; d < axis; d++)
        f.dims[f.rank++] = a->dims[d];
    for (int d = 0; d < i->rank; d++)
        f.dims[f.rank++] = i->dims[d];
    for (int d = axis + 1; d < a->rank; d++)
        f.dims[f.rank++] = a->dims[d];
    for (int e = 0; a->n_val >= 0 && a->rank == 1 && e < i->n_val; e++) {
        int64_t at = 0;
        if (!number(k, i->val[e], &at) || at < -a->n_val || at >= a->n_val)
            break;
        f.val[e] = a->val[at < 0 ? at + a->n_val : at];
        if (e + 1 == i->n_val)
            f.n_val = i->n_val;
    }
    *out(k) = f;
}

static void slice(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0);
    int64_t starts[RCD_MAX_RANK], axes[RCD_MAX_RANK], steps[RCD_MAX_RANK], ends[RCD_MAX_RANK];
    bool old = rcd_onnx_attr(k->src, "starts") != NULL;
    int n = numbers(k, "starts", 1, starts), n_axes = numbers(k, "axes", 3, axes);
    int n_steps = old ? -1 : numbers(k, NULL, 4, steps);
    bool has_axes = rcd_onnx_attr(k->src, "axes") != NULL || in(k, 3) != &unknown;
    bool has_steps = !old && in(k, 4) != &unknown;
    if (a->rank < 0 || n < 0 || (has_axes && n_axes != n) || (has_steps && n_steps != n))
        return;
    const struct rcd__fact *e = in(k, 2);
    if (old ? numbers(k, "ends", 2, ends) != n : e->n_val != n)
        return;
    struct rcd__fact f = *a;
    f.n_val = -1;
    for (int i = 0; i < n; i++) {
        int axis = 0;
        if (!axis_of(has_axes ? axes[i] : i, a->rank, &axis))
            return;
        int64_t len = 0, end = 0;
        bool known_end = old || number(k, e->val[i], &end);
        end = old ? ends[i] : end;
        if (has_steps && steps[i] != 1) {
            f.dims[axis] = RCD__NO_TERM;
        } else if (starts[i] == 0 && (known_end ? end == INT64_MAX || end == INT32_MAX
                                                : rcd__term_equal(e->val[i], a->dims[axis]))) {
            continue; /* all of it */
        } else if (number(k, a->dims[axis], &len) && known_end) {
            int64_t from = starts[i] < 0 ? starts[i] + len : starts[i];
            int64_t to = end < 0 ? end + len : end;
            from = from < 0 ? 0 : from > len ? len : from;
            to = to < from ? from : to > len ? len : to;
            f.dims[axis] = rcd__term_number(k->s, to - from);
            if (a->n_val >= 0 && a->rank == 1 && n == 1) {
                f.n_val = (int)(to - from);
                memcpy(f.val, a->val + from, (size_t)f.n_val * sizeof *f.val);
            }
        } else {
            f.dims[axis] = RCD__NO_TERM;
        }
    }
    *out(k) = f;
}

static void concat(const struct at *k)
{
    struct rcd__fact f = *in(k, 0);
    int axis = 0;
    if (!axis_of(attr(k, "axis", 0), f.rank, &axis))
        return;
    for (size_t i = 1; i < k->node->n_in; i++) {
        const struct rcd__fact *b = in(k, i);
        if (b->rank != f.rank) {
            return;
        }
        f.dims[axis] = rcd__term_sum(k->s, f.dims[axis], b->dims[axis]);
        bool fits = f.n_val >= 0 && b->n_val >= 0 && f.n_val + b->n_val <= RCD__MAX_ELEMENTS;
        for (int e = 0; fits && e < b->n_val; e++)
            f.val[f.n_val + e] = b->val[e];
        f.n_val = fits ? f.n_val + b->n_val : -1;
    }
    *out(k) = f;
}

static void unsqueeze(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0);
    int64_t axes[RCD_MAX_RANK];
    int n = numbers(k, "axes", 1, axes);
    if (a->rank < 0 || n < 0 || a->rank + n > RCD_MAX_RANK)
        return;
    struct rcd__fact f = {.rank = a->rank + n, .n_val = a->rank == 0 && n == 1 ? a->n_val : -1};
    memcpy(f.val, a->val, sizeof f.val);
    bool is_new[RCD_MAX_RANK] = {false};
    for (int i = 0; i < n; i++) {
        int axis = 0;
        if (!axis_of(axes[i], f.rank, &axis))
            return;
        is_new[axis] = true;
    }
    for (int d = 0, from = 0; d < f.rank; d++)
        f.dims[d] = is_new[d] ? rcd__term_number(k->s, 1) : a->dims[from++];
    *out(k) = f;
}

static void squeeze(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0);
    int64_t axes[RCD_MAX_RANK];
    int n = numbers(k, "axes", 1, axes);
    bool all = rcd_onnx_attr(k->src, "axes") == NULL && in(k, 1) == &unknown;
    if (a->rank < 0 || (n < 0 && !all))
        return;
    struct rcd__fact f = {.rank = 0, .n_val = a->n_val};
    memcpy(f.val, a->val, sizeof f.val);
    for (int d = 0; d < a->rank; d++) {
        int64_t len = 0;
        bool gone = false;
        if (all && !number(k, a->dims[d], &len))
            return; /* it may be 1 or not */
        for (int i = 0; !all && i < n; i++)
            gone = gone || axes[i] == d || axes[i] == d - a->rank;
        if (!(all ? len == 1 : gone))
            f.dims[f.rank++] = a->dims[d];
    }
    *out(k) = f;
}

/* The size that -1 stands for: what is left of the old sizes when those that are written are gone. */
static rcd__term inferred(const struct at *k, const struct rcd__fact *a, const rcd__term *to,
                          int rank, int hole)
{
    bool used[RCD_MAX_RANK] = {false};
    int64_t have = 1, want = 1, n = 0;
    rcd__term left = RCD__NO_TERM;
    int n_left = 0;
    for (int d = 0; d < rank; d++) {
        if (d == hole || (number(k, to[d], &n) && !__builtin_mul_overflow(want, n, &want)))
            continue;
        int i = 0;
        while (i < a->rank && (used[i] || !rcd__term_equal(a->dims[i], to[d])))
            i++;
        if (i == a->rank)
            return RCD__NO_TERM;
        used[i] = true;
    }
    for (int i = 0; i < a->rank; i++) {
        if (used[i] || (number(k, a->dims[i], &n) && !__builtin_mul_overflow(have, n, &have)))
            continue;
        left = a->dims[i];
        n_left++;
    }
    if (n_left == 0 && want > 0 && have % want == 0)
        return rcd__term_number(k->s, have / want);
    return n_left == 1 && have == want ? left : RCD__NO_TERM;
}

static void reshape(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0), *to = in(k, 1);
    if (to->n_val < 0 || to->n_val > RCD_MAX_RANK)
        return;
    bool zero = attr(k, "allowzero", 0) != 0;
    struct rcd__fact f = {.rank = to->n_val, .n_val = to->n_val <= 1 ? a->n_val : -1};
    memcpy(f.val, a->val, sizeof f.val);
    int hole = -1;
    for (int d = 0; d < f.rank; d++) {
        f.dims[d] = to->val[d];
        if (rcd__term_is(k->s, to->val[d], 0) && !zero)
            f.dims[d] = d < a->rank ? a->dims[d] : RCD__NO_TERM;
        else if (rcd__term_is(k->s, to->val[d], -1))
            hole = d;
    }
    if (hole >= 0)
        f.dims[hole] = a->rank >= 0 ? inferred(k, a, f.dims, f.rank, hole) : RCD__NO_TERM;
    *out(k) = f;
}

static void transpose(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0);
    const struct rcd_attr *perm = rcd_onnx_attr(k->src, "perm");
    if (a->rank < 0 || (perm != NULL && perm->n != (size_t)a->rank))
        return;
    struct rcd__fact f = {.rank = a->rank, .n_val = -1};
    for (int d = 0; d < a->rank; d++) {
        int64_t from = perm != NULL ? perm->ints[d] : a->rank - 1 - d;
        f.dims[d] = from >= 0 && from < a->rank ? a->dims[from] : RCD__NO_TERM;
    }
    *out(k) = f;
}

static void expand(const struct at *k)
{
    struct rcd__fact f = *in(k, 0);
    const struct rcd__fact *to = in(k, 1);
    broadcast_into(k, &f, to->val, to->n_val);
    f.n_val = -1;
    *out(k) = f;
}

static void constant_of_shape(const struct at *k)
{
    const struct rcd__fact *to = in(k, 0);
    struct rcd__fact f = {.rank = to->n_val, .n_val = -1};
    memcpy(f.dims, to->val, sizeof f.dims);
    *out(k) = f;
}

static void range(const struct at *k)
{
    const struct rcd__fact *from = in(k, 0), *to = in(k, 1), *step = in(k, 2);
    struct rcd__fact f = {.rank = 1, .n_val = -1, .dims = {RCD__NO_TERM}};
    if (from->n_val == 1 && to->n_val == 1 && step->n_val == 1 &&
        rcd__term_is(k->s, from->val[0], 0) && rcd__term_is(k->s, step->val[0], 1))
        f.dims[0] = to->val[0];
    *out(k) = f;
}

static void tile(const struct at *k)
{
    struct rcd__fact f = *in(k, 0);
    int64_t times[RCD_MAX_RANK], n = 0;
    if (f.rank < 0 || numbers(k, NULL, 1, times) != f.rank)
        return;
    for (int d = 0; d < f.rank; d++) {
        if (number(k, f.dims[d], &n) && !__builtin_mul_overflow(n, times[d], &n))
            f.dims[d] = rcd__term_number(k->s, n);
        else if (times[d] != 1)
            f.dims[d] = RCD__NO_TERM;
    }
    f.n_val = -1;
    *out(k) = f;
}

static void non_zero(const struct at *k)
{
    struct rcd__fact f = {.rank = 2, .n_val = -1};
    f.dims[0] = in(k, 0)->rank >= 0 ? rcd__term_number(k->s, in(k, 0)->rank) : RCD__NO_TERM;
    f.dims[1] = rcd__term_fresh(k->s, k->node->out[0], 1);
    *out(k) = f;
}

static void gather_nd(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0), *i = in(k, 1);
    int64_t depth = 0;
    if (a->rank < 0 || i->rank < 1 || !number(k, i->dims[i->rank - 1], &depth) || depth < 1 ||
        depth > a->rank || attr(k, "batch_dims", 0) != 0 ||
        i->rank - 1 + a->rank - depth > RCD_MAX_RANK)
        return;
    struct rcd__fact f = {.rank = 0, .n_val = -1};
    for (int d = 0; d < i->rank - 1; d++)
        f.dims[f.rank++] = i->dims[d];
    for (int d = (int)depth; d < a->rank; d++)
        f.dims[f.rank++] = a->dims[d];
    *out(k) = f;
}

static void like_second(const struct at *k)
{
    *out(k) = *in(k, 1);
    out(k)->n_val = -1;
}

static void reduce(const struct at *k)
{
    const struct rcd__fact *a = in(k, 0);
    int64_t axes[RCD_MAX_RANK];
    int n = numbers(k, "axes", 1, axes);
    bool all = rcd_onnx_attr(k->src, "axes") == NULL && in(k, 1) == &unknown;
    if (a->rank < 0 || (n < 0 && !all) || (n == 0 && !all) ||
        (all && attr(k, "noop_with_empty_axes", 0) != 0))
        return;
    bool gone[RCD_MAX_RANK] = {false};
    for (int i = 0; !all && i < n; i++) {
        int axis = 0;
        if (!axis_of(axes[i], a->rank, &axis))
            return;
        gone[axis] = true;
    }
    struct rcd__fact f = {.rank = 0, .n_val = -1};
    for (int d = 0; d < a->rank; d++) {
        if (!all && !gone[d])
            f.dims[f.rank++] = a->dims[d];
        else if (attr(k, "keepdims", 1) != 0)
            f.dims[f.rank++] = rcd__term_number(k->s, 1);
    }
    *out(k) = f;
}

static const struct {
    const char *name;
    void (*rule)(const struct at *k);
} rules[] = {
    {"Abs", same},
    {"Cast", same_value},
    {"Ceil", same},
    {"Celu", same},
    {"Dropout", same},
    {"Elu", same},
    {"Erf", same},
    {"Exp", same},
    {"Floor", same},
    {"Gelu", same},
    {"HardSigmoid", same},
    {"HardSwish", same},
    {"Identity", same_value},
    {"LeakyRelu", same},
    {"Log", same},
    {"LogSoftmax", same},
    {"Mish", same},
    {"Neg", same},
    {"Not", same},
    {"Reciprocal", same},
    {"Relu", same},
    {"Round", same},
    {"Selu", same},
    {"Sigmoid", same},
    {"Sign", same},
    {"Softmax", same},
    {"Softplus", same},
    {"Softsign", same},
    {"Sqrt", same},
    {"Tanh", same},
    {"CumSum", same},
    {"IsNaN", same},
    {"IsInf", same},
    {"Clip", same},
    {"LayerNormalization", same},
    {"BatchNormalization", same},
    {"ScatterElements", same},
    {"ScatterND", same},
    {"Scatter", same},
    {"ThresholdedRelu", same},
    {"Add", arithmetic},
    {"Sub", arithmetic},
    {"Mul", arithmetic},
    {"Equal", arithmetic},
    {"Div", elementwise},
    {"Pow", elementwise},
    {"Less", elementwise},
    {"Greater", elementwise},
    {"LessOrEqual", elementwise},
    {"GreaterOrEqual", elementwise},
    {"And", elementwise},
    {"Or", elementwise},
    {"Xor", elementwise},
    {"Min", elementwise},
    {"Max", elementwise},
    {"Sum", elementwise},
    {"Mean", elementwise},
    {"Where", elementwise},
    {"Mod", elementwise},
    {"PRelu", elementwise},
    {"MatMul", matmul},
    {"Gemm", gemm},
    {"Shape", shape},
    {"Size", size},
    {"Gather", gather},
    {"Slice", slice},
    {"Concat", concat},
    {"Unsqueeze", unsqueeze},
    {"Squeeze", squeeze},
    {"Reshape", reshape},
    {"Transpose", transpose},
    {"Expand", expand},
    {"ConstantOfShape", constant_of_shape},
    {"Range", range},
    {"Tile", tile},
    {"NonZero", non_zero},
    {"GatherND", gather_nd},
    {"GatherElements", like_second},
    {"ReduceMean", reduce},
    {"ReduceSum", reduce},
    {"ReduceMax", reduce},
    {"ReduceMin", reduce},
    {"ReduceProd", reduce},
    {"ReduceL1", reduce},
    {"ReduceL2", reduce},
    {"ReduceSumSquare", reduce},
    {"ReduceLogSumExp", reduce},
};

void rcd__symbols_node(struct rcd__symbols *s, const struct rcd_node *node)
{
    const struct at k = {s, node, node->src};
    if (node->n_out == 0 || node->out[0] == RCD_NO_VALUE || node->op->domain != NULL ||
        node->src->domain[0] != '\0')
        return;
    for (size_t i = 0; i < RCD_COUNT(rules); i++) {
        if (strcmp(rules[i].name, node->op->name) == 0) {
            rules[i].rule(&k);
            return;
        }
    }
}
