/* symbols_ops.c - what each operator does to sizes. An operator that is not listed leaves its outputs
 * unknown, which is always right. */
#include "ops/sizes.h"
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

/* Indices that were spread over what is scattered come one for each of its rows. */
static void scatter(const struct rcd__rule *k)
{
    const struct rcd__fact *index = rcd__rule_in(k, 1);
    same(k);
    if (index->rank > 0 && index->spread)
        rcd__symbols_join(k->s, index->spread_a, index->spread_b, RCD__JOIN_INDEX);
}

static void constant_of_shape(const struct rcd__rule *k)
{
    const struct rcd__fact *to = rcd__rule_in(k, 0);
    struct rcd__fact f = {.rank = to->n_val, .n_val = -1};
    memcpy(f.dims, to->val, sizeof f.dims);
    *rcd__rule_out(k) = f;
}

static void top_k(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0), *n = rcd__rule_in(k, 1);
    int axis = 0;
    if (!rcd__rule_axis(rcd__rule_attr(k, "axis", -1), a->rank, &axis))
        return;
    for (size_t o = 0; o < k->node->n_out; o++) {
        if (k->node->out[o] == RCD_NO_VALUE)
            continue;
        struct rcd__fact *f = &k->s->facts[k->node->out[o]];
        *f = *a;
        f->n_val = -1;
        f->dims[axis] = n->n_val == 1 ? n->val[0] : RCD__NO_TERM;
    }
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
    {"Sin", same},
    {"Cos", same},
    {"Tan", same},
    {"Asin", same},
    {"Acos", same},
    {"Atan", same},
    {"Sinh", same},
    {"Cosh", same},
    {"Asinh", same},
    {"Acosh", same},
    {"Atanh", same},
    {"CumSum", same},
    {"IsNaN", same},
    {"IsInf", same},
    {"Clip", same},
    {"LayerNormalization", same},
    {"BatchNormalization", same},
    {"InstanceNormalization", same},
    {"GroupNormalization", same},
    {"ScatterElements", scatter},
    {"ScatterND", scatter},
    {"Scatter", scatter},
    {"ThresholdedRelu", same},
    {"Add", rcd__rule_arithmetic},
    {"Sub", rcd__rule_arithmetic},
    {"Mul", rcd__rule_arithmetic},
    {"Equal", rcd__rule_arithmetic},
    {"Div", rcd__rule_arithmetic},
    {"Pow", rcd__rule_elementwise},
    {"Less", rcd__rule_elementwise},
    {"Greater", rcd__rule_elementwise},
    {"LessOrEqual", rcd__rule_elementwise},
    {"GreaterOrEqual", rcd__rule_elementwise},
    {"And", rcd__rule_elementwise},
    {"Or", rcd__rule_elementwise},
    {"Xor", rcd__rule_elementwise},
    {"Min", rcd__rule_elementwise},
    {"Max", rcd__rule_elementwise},
    {"Sum", rcd__rule_elementwise},
    {"Mean", rcd__rule_elementwise},
    {"Where", rcd__rule_elementwise},
    {"Mod", rcd__rule_elementwise},
    {"PRelu", rcd__rule_elementwise},
    {"MatMul", rcd__rule_matmul},
    {"Gemm", rcd__rule_gemm},
    {"Shape", shape},
    {"Size", size},
    {"Gather", gather},
    {"Slice", rcd__rule_slice},
    {"Split", rcd__rule_split},
    {"Concat", rcd__rule_concat},
    {"Unsqueeze", rcd__rule_unsqueeze},
    {"Squeeze", rcd__rule_squeeze},
    {"Reshape", rcd__rule_reshape},
    {"Transpose", rcd__rule_transpose},
    {"Expand", rcd__rule_expand},
    {"ConstantOfShape", constant_of_shape},
    {"Range", range},
    {"TopK", top_k},
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

/* How many elements a small integer tensor has may be known although they are not: a shape made of one still has a
 * rank, and its other sizes. */
static void count_elements(struct rcd__symbols *s, rcd_value_id id)
{
    struct rcd__fact *f = &s->facts[id];
    const rcd_dtype t = s->p->values[id].dtype;
    int64_t n = 1;
    if (f->n_val >= 0 || f->rank < 0 || f->rank > 1 || (t != RCD_I64 && t != RCD_I32))
        return;
    if (f->rank == 1 && (f->dims[0] == RCD__NO_TERM || !s->terms[f->dims[0]].is_number))
        return;
    n = f->rank == 1 ? s->terms[f->dims[0]].number : 1;
    if (n < 0 || n > RCD__MAX_ELEMENTS)
        return;
    f->n_val = (int)n;
    for (int i = 0; i < f->n_val; i++)
        f->val[i] = RCD__NO_TERM;
}

/* What an earlier pass made of known sizes. */
static void sizes(struct rcd__symbols *s, const struct rcd_node *node)
{
    const struct rcd__sizes *z = node->state;
    struct rcd__fact f = {.rank = z->rank, .n_val = (int)z->n};
    for (size_t e = 0; e < z->n; e++) {
        rcd__term t = rcd__term_number(s, z->elements[e].number);
        for (size_t i = 0; i < z->elements[e].n_parts; i++) {
            const struct rcd__size_part *part = &z->elements[e].parts[i];
            t = rcd__term_sum(s, t, s->facts[node->in[part->in]].dims[part->axis]);
        }
        f.val[e] = t;
    }
    f.dims[0] = f.n_val > 0 ? rcd__term_number(s, f.n_val) : RCD__NO_TERM;
    s->facts[node->out[0]] = f;
}

void rcd__symbols_node(struct rcd__symbols *s, const struct rcd_node *node)
{
    if (node->op == &rcd__op_sizes) {
        sizes(s, node);
        return;
    }
    const struct rcd__rule k = {s, node, node->src};
    if (node->n_out == 0 || node->out[0] == RCD_NO_VALUE || node->op->domain != NULL ||
        node->src->domain[0] != '\0')
        return;
    for (size_t i = 0; i < RCD_COUNT(rules); i++) {
        if (strcmp(rules[i].name, node->op->name) == 0) {
            rules[i].rule(&k);
            for (size_t o = 0; o < node->n_out; o++) {
                if (node->out[o] != RCD_NO_VALUE)
                    count_elements(s, node->out[o]);
            }
            return;
        }
    }
}
