/* symbols_ops.c - what each operator does to sizes. An operator that is not listed leaves its outputs
 * unknown, which is always right. */
#include "symbols_rules.h"

static void same(const struct rcd__rule *k)
{
    *rcd__rule_out(k) = *rcd__rule_in(k, 0);
    rcd__rule_out(k)->n_val = -1;
}

/* Identity, Cast between integers: the elements stay, too. */
static void same_value(const struct rcd__rule *k)
{
    rcd_dtype t = k->s->p->values[k->node->out[0]].dtype;
    *rcd__rule_out(k) = *rcd__rule_in(k, 0);
    if (t != RCD_I64 && t != RCD_I32 && strcmp(k->src->op_type, "Identity") != 0)
        rcd__rule_out(k)->n_val = -1;
}

static rcd__term broadcast(const struct rcd__rule *k, rcd__term a, rcd__term b)
{
    if (rcd__term_equal(a, b) || rcd__term_is(k->s, b, 1))
        return a;
    if (rcd__term_is(k->s, a, 1))
        return b;
    int64_t n = 0;
    if (rcd__rule_number(k, a, &n))
        return a; /* a number over 1 wins against 1 and against itself, else the run fails */
    return rcd__rule_number(k, b, &n) ? b : RCD__NO_TERM;
}

static void broadcast_into(const struct rcd__rule *k, struct rcd__fact *f, const rcd__term *dims,
                           int rank)
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

static void elementwise(const struct rcd__rule *k)
{
    struct rcd__fact f = *rcd__rule_in(k, 0);
    for (size_t i = 1; i < k->node->n_in; i++)
        broadcast_into(k, &f, rcd__rule_in(k, i)->dims, rcd__rule_in(k, i)->rank);
    f.n_val = -1;
    *rcd__rule_out(k) = f;
}

/* Add, Sub, Mul, Equal over known elements. */
static void arithmetic(const struct rcd__rule *k)
{
    elementwise(k);
    const struct rcd__fact *a = rcd__rule_in(k, 0), *b = rcd__rule_in(k, 1);
    if (a->n_val < 0 || b->n_val < 0 || (a->n_val != b->n_val && a->n_val != 1 && b->n_val != 1))
        return;
    struct rcd__fact *o = rcd__rule_out(k);
    const char *op = k->src->op_type;
    int n = a->n_val > b->n_val ? a->n_val : b->n_val;
    for (int i = 0; i < n; i++) {
        rcd__term x = a->val[a->n_val == 1 ? 0 : i], y = b->val[b->n_val == 1 ? 0 : i];
        int64_t p = 0, q = 0, r = 0;
        bool known = rcd__rule_number(k, x, &p) && rcd__rule_number(k, y, &q);
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

static void matmul(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0), *b = rcd__rule_in(k, 1);
    if (a->rank < 1 || b->rank != 2)
        return;
    struct rcd__fact f = *a;
    f.dims[f.rank - 1] = b->dims[1];
    f.n_val = -1;
    *rcd__rule_out(k) = f;
}

static void gemm(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0), *b = rcd__rule_in(k, 1);
    if (a->rank != 2 || b->rank != 2)
        return;
    struct rcd__fact f = {.rank = 2, .n_val = -1};
    f.dims[0] = a->dims[rcd__rule_attr(k, "transA", 0) != 0 ? 1 : 0];
    f.dims[1] = b->dims[rcd__rule_attr(k, "transB", 0) != 0 ? 0 : 1];
    *rcd__rule_out(k) = f;
}

static void shape(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0);
    struct rcd__fact f = {.rank = 1, .n_val = -1, .dims = {RCD__NO_TERM}};
    if (a->rank >= 0) {
        int64_t from = rcd__rule_attr(k, "start", 0), to = rcd__rule_attr(k, "end", a->rank),
                r = a->rank;
        from = from < 0 ? from + r : from;
        to = to < 0 ? to + r : to;
        from = from < 0 ? 0 : from > r ? r : from;
        to = to < from ? from : to > r ? r : to;
        f.n_val = (int)(to - from);
        memcpy(f.val, a->dims + from, (size_t)f.n_val * sizeof *f.val);
        f.dims[0] = rcd__term_number(k->s, f.n_val);
    }
    *rcd__rule_out(k) = f;
}

static void size(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0);
    struct rcd__fact f = {.rank = 0, .n_val = -1};
    if (a->rank == 1 || a->rank == 0) {
        f.n_val = 1;
        f.val[0] = a->rank == 1 ? a->dims[0] : rcd__term_number(k->s, 1);
    }
    *rcd__rule_out(k) = f;
}

static void gather(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0), *i = rcd__rule_in(k, 1);
    int axis = 0;
    if (!rcd__rule_axis(rcd__rule_attr(k, "axis", 0), a->rank, &axis) || i->rank < 0 ||
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
        if (!rcd__rule_number(k, i->val[e], &at) || at < -a->n_val || at >= a->n_val)
            break;
        f.val[e] = a->val[at < 0 ? at + a->n_val : at];
        if (e + 1 == i->n_val)
            f.n_val = i->n_val;
    }
    *rcd__rule_out(k) = f;
}

static void expand(const struct rcd__rule *k)
{
    struct rcd__fact f = *rcd__rule_in(k, 0);
    const struct rcd__fact *to = rcd__rule_in(k, 1);
    broadcast_into(k, &f, to->val, to->n_val);
    f.n_val = -1;
    *rcd__rule_out(k) = f;
}

static void constant_of_shape(const struct rcd__rule *k)
{
    const struct rcd__fact *to = rcd__rule_in(k, 0);
    struct rcd__fact f = {.rank = to->n_val, .n_val = -1};
    memcpy(f.dims, to->val, sizeof f.dims);
    *rcd__rule_out(k) = f;
}

static void range(const struct rcd__rule *k)
{
    const struct rcd__fact *from = rcd__rule_in(k, 0), *to = rcd__rule_in(k, 1),
                           *step = rcd__rule_in(k, 2);
    struct rcd__fact f = {.rank = 1, .n_val = -1, .dims = {RCD__NO_TERM}};
    if (from->n_val == 1 && to->n_val == 1 && step->n_val == 1 &&
        rcd__term_is(k->s, from->val[0], 0) && rcd__term_is(k->s, step->val[0], 1))
        f.dims[0] = to->val[0];
    *rcd__rule_out(k) = f;
}

static void tile(const struct rcd__rule *k)
{
    struct rcd__fact f = *rcd__rule_in(k, 0);
    int64_t times[RCD_MAX_RANK], n = 0;
    if (f.rank < 0 || rcd__rule_numbers(k, NULL, 1, times) != f.rank)
        return;
    for (int d = 0; d < f.rank; d++) {
        if (rcd__rule_number(k, f.dims[d], &n) && !__builtin_mul_overflow(n, times[d], &n))
            f.dims[d] = rcd__term_number(k->s, n);
        else if (times[d] != 1)
            f.dims[d] = RCD__NO_TERM;
    }
    f.n_val = -1;
    *rcd__rule_out(k) = f;
}

static void non_zero(const struct rcd__rule *k)
{
    struct rcd__fact f = {.rank = 2, .n_val = -1};
    f.dims[0] = rcd__rule_in(k, 0)->rank >= 0 ? rcd__term_number(k->s, rcd__rule_in(k, 0)->rank)
                                              : RCD__NO_TERM;
    f.dims[1] = rcd__term_fresh(k->s, k->node->out[0], 1);
    *rcd__rule_out(k) = f;
}

static void gather_nd(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0), *i = rcd__rule_in(k, 1);
    int64_t depth = 0;
    if (a->rank < 0 || i->rank < 1 || !rcd__rule_number(k, i->dims[i->rank - 1], &depth) ||
        depth < 1 || depth > a->rank || rcd__rule_attr(k, "batch_dims", 0) != 0 ||
        i->rank - 1 + a->rank - depth > RCD_MAX_RANK)
        return;
    struct rcd__fact f = {.rank = 0, .n_val = -1};
    for (int d = 0; d < i->rank - 1; d++)
        f.dims[f.rank++] = i->dims[d];
    for (int d = (int)depth; d < a->rank; d++)
        f.dims[f.rank++] = a->dims[d];
    *rcd__rule_out(k) = f;
}

static void like_second(const struct rcd__rule *k)
{
    *rcd__rule_out(k) = *rcd__rule_in(k, 1);
    rcd__rule_out(k)->n_val = -1;
}

static void reduce(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0);
    int64_t axes[RCD_MAX_RANK];
    int n = rcd__rule_numbers(k, "axes", 1, axes);
    bool all = rcd_onnx_attr(k->src, "axes") == NULL && rcd__rule_in(k, 1) == &rcd__unknown_fact;
    if (a->rank < 0 || (n < 0 && !all) || (n == 0 && !all) ||
        (all && rcd__rule_attr(k, "noop_with_empty_axes", 0) != 0))
        return;
    bool gone[RCD_MAX_RANK] = {false};
    for (int i = 0; !all && i < n; i++) {
        int axis = 0;
        if (!rcd__rule_axis(axes[i], a->rank, &axis))
            return;
        gone[axis] = true;
    }
    struct rcd__fact f = {.rank = 0, .n_val = -1};
    for (int d = 0; d < a->rank; d++) {
        if (!all && !gone[d])
            f.dims[f.rank++] = a->dims[d];
        else if (rcd__rule_attr(k, "keepdims", 1) != 0)
            f.dims[f.rank++] = rcd__term_number(k->s, 1);
    }
    *rcd__rule_out(k) = f;
}

static const struct {
    const char *name;
    void (*rule)(const struct rcd__rule *k);
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
    {"Slice", rcd__rule_slice},
    {"Concat", rcd__rule_concat},
    {"Unsqueeze", rcd__rule_unsqueeze},
    {"Squeeze", rcd__rule_squeeze},
    {"Reshape", rcd__rule_reshape},
    {"Transpose", rcd__rule_transpose},
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
    const struct rcd__rule k = {s, node, node->src};
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
