/* incremental_rules.c - which operators compute each entry from that entry alone, and along which axis of
 * their output the entries then lie. What is not in the table depends on all of its inputs. */
#include "incremental.h"
#include "ops/sparse.h"

#include <string.h>

struct ask {
    const struct rcd_plan *p;
    const struct rcd_node *node;
    const struct rcd_tensor *const *in;
    const int *axis;
    const bool *fill;
    const struct rcd_tensor *out;
};

bool rcd__named(const struct rcd_node *node, const char *name)
{
    return strcmp(node->op->name, name) == 0;
}

static int64_t attr_int(const struct rcd_node *node, const char *name, int64_t def)
{
    const struct rcd_attr *a = rcd_onnx_attr(node->src, name);
    return a != NULL ? a->i : def;
}

static const struct rcd_tensor *constant_in(const struct ask *q, size_t j)
{
    if (j >= q->node->n_in || q->node->in[j] == RCD_NO_VALUE)
        return NULL;
    return q->p->values[q->node->in[j]].constant;
}

static bool others_constant(const struct ask *q)
{
    for (size_t j = 1; j < q->node->n_in; j++) {
        if (q->node->in[j] != RCD_NO_VALUE && constant_in(q, j) == NULL)
            return false;
    }
    return true;
}

/* Broadcasting from the right: all agree, and nobody else has the axis. */
static int each(const struct ask *q)
{
    int axis = -1;
    for (size_t j = 0; j < q->node->n_in; j++) {
        if (q->in[j] == NULL || q->axis[j] < 0)
            continue;
        int here = q->out->rank - (q->in[j]->rank - q->axis[j]);
        if (axis >= 0 && here != axis)
            return -1;
        axis = here;
    }
    for (size_t j = 0; axis >= 0 && j < q->node->n_in; j++) {
        if (q->in[j] == NULL || q->axis[j] >= 0 || q->fill[j])
            continue;
        int d = q->in[j]->rank - (q->out->rank - axis);
        if (d >= 0 && q->in[j]->dims[d] != 1)
            return -1;
    }
    return axis;
}

static int mat_mul(const struct ask *q)
{
    const int a = q->axis[0], rank = q->in[0]->rank;
    if (a >= 0 && a < rank - 2 && q->axis[1] == a && q->in[1]->rank == rank) /* a matrix each */
        return a;
    bool fits = a >= 0 && q->axis[1] < 0 && !q->fill[1] && a < rank - 1 && q->in[1]->rank <= 2;
    return fits ? a : -1;
}

static int gemm(const struct ask *q)
{
    const bool has_c = q->node->n_in > 2 && q->in[2] != NULL;
    if (q->axis[0] != 0 || q->axis[1] >= 0 || q->fill[1] || attr_int(q->node, "transA", 0) != 0)
        return -1;
    if (!has_c || q->fill[2])
        return 0;
    if (q->axis[2] >= 0)
        return q->in[2]->rank == 2 && q->axis[2] == 0 ? 0 : -1;
    return q->in[2]->rank < 2 || q->in[2]->dims[0] == 1 ? 0 : -1;
}

/* Along a row: entries on the first axis, the operator on another. */
static int norm(const struct ask *q)
{
    const bool named = rcd_onnx_attr(q->node->src, "axis") != NULL;
    const int64_t axis = attr_int(q->node, "axis", -1);
    if (q->axis[0] != 0 || q->in[0]->rank < 2 || (named && axis == 0) || axis == -q->in[0]->rank)
        return -1;
    for (size_t j = 1; j < q->node->n_in; j++) {
        if (q->in[j] != NULL && (q->axis[j] >= 0 || q->fill[j]))
            return -1;
    }
    return 0;
}

static int reduce(const struct ask *q)
{
    const struct rcd_attr *a = rcd_onnx_attr(q->node->src, "axes");
    const struct rcd_tensor *t = constant_in(q, 1);
    const size_t n = a != NULL ? a->n : t != NULL ? t->n : 0;
    const int rank = q->in[0]->rank;
    int axis = q->axis[0], before = 0;
    if (axis < 0 || n == 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int64_t x = a != NULL ? a->ints[i] : rcd__int_at(t, i);
        x += x < 0 ? rank : 0;
        if (x == axis)
            return -1;
        before += x < axis;
    }
    return attr_int(q->node, "keepdims", 1) != 0 ? axis : axis - before;
}

static int arg_max(const struct ask *q)
{
    int64_t x = attr_int(q->node, "axis", 0);
    x += x < 0 ? q->in[0]->rank : 0;
    if (q->axis[0] < 0 || x == q->axis[0])
        return -1;
    return q->axis[0] - (attr_int(q->node, "keepdims", 1) == 0 && x < q->axis[0]);
}

static int transpose(const struct ask *q)
{
    const struct rcd_attr *perm = rcd_onnx_attr(q->node->src, "perm");
    if (q->axis[0] < 0)
        return -1;
    if (perm == NULL)
        return q->in[0]->rank - 1 - q->axis[0];
    for (size_t i = 0; i < perm->n; i++) {
        if (perm->ints[i] == q->axis[0])
            return (int)i;
    }
    return -1;
}

/* The same elements under another shape: what lies before and behind the entries stays as large. */
static int view(const struct ask *q)
{
    const struct rcd_tensor *x = q->in[0], *y = q->out;
    const int a = q->axis[0];
    if (a < 0 || x->dims[a] < 2) /* a single entry could lie along several axes */
        return -1;
    const size_t before = rcd__span(x->dims, 0, a), behind = rcd__span(x->dims, a + 1, x->rank);
    for (int b = 0; b < y->rank; b++) {
        if (y->dims[b] == x->dims[a] && rcd__span(y->dims, 0, b) == before &&
            rcd__span(y->dims, b + 1, y->rank) == behind)
            return b;
    }
    return -1;
}

static int gather(const struct ask *q)
{
    const struct rcd_tensor *x = q->in[0], *i = q->in[1];
    int64_t axis = attr_int(q->node, "axis", 0);
    axis += axis < 0 ? x->rank : 0;
    if (q->fill[0] || q->fill[1] || (q->axis[0] >= 0 && q->axis[1] >= 0))
        return -1;
    if (q->axis[1] >= 0)
        return (int)axis + q->axis[1];
    if (axis == q->axis[0])
        return -1;
    return q->axis[0] < axis ? q->axis[0] : q->axis[0] + i->rank - 1;
}

static int concat(const struct ask *q)
{
    int axis = -1;
    for (size_t j = 0; j < q->node->n_in; j++) {
        if (q->axis[j] < 0 ? !q->fill[j] : axis >= 0 && q->axis[j] != axis)
            return -1;
        axis = q->axis[j] >= 0 ? q->axis[j] : axis;
    }
    int64_t along = attr_int(q->node, "axis", 0);
    return along + (along < 0 ? q->out->rank : 0) != axis ? axis : -1;
}

static int slice(const struct ask *q)
{
    const struct rcd_tensor *axes = constant_in(q, 3), *starts = constant_in(q, 1);
    if (q->axis[0] < 0 || starts == NULL || !others_constant(q))
        return -1;
    for (size_t i = 0; i < starts->n; i++) {
        int64_t x = axes != NULL ? rcd__int_at(axes, i) : (int64_t)i;
        if (x + (x < 0 ? q->in[0]->rank : 0) == q->axis[0])
            return -1;
    }
    return q->axis[0];
}

static int split(const struct ask *q)
{
    int64_t x = attr_int(q->node, "axis", 0);
    x += x < 0 ? q->in[0]->rank : 0;
    return q->axis[0] >= 0 && x != q->axis[0] && others_constant(q) ? q->axis[0] : -1;
}

static int tile(const struct ask *q)
{
    const struct rcd_tensor *times = constant_in(q, 1);
    if (q->axis[0] < 0 || times == NULL || (size_t)q->axis[0] >= times->n ||
        rcd__int_at(times, (size_t)q->axis[0]) != 1)
        return -1;
    return q->axis[0];
}

static int expand(const struct ask *q)
{
    const struct rcd_tensor *shape = constant_in(q, 1);
    const int axis = q->out->rank - (q->in[0]->rank - q->axis[0]);
    if (q->axis[0] < 0 || q->axis[1] >= 0 || q->fill[1])
        return -1;
    const int at = shape != NULL ? axis - (q->out->rank - (int)shape->n) : -1;
    return at >= 0 && rcd__int_at(shape, (size_t)at) != 1 ? -1 : axis;
}

static int batch_norm(const struct ask *q)
{
    return q->axis[0] == 0 && q->in[0]->rank >= 2 && others_constant(q) ? 0 : -1;
}

static const char *const each_names[] = {
    "Add",      "Sub",   "Mul",      "Div",      "Pow",     "Mod",        "Min",
    "Max",      "Sum",   "Mean",     "And",      "Or",      "Xor",        "Not",
    "Equal",    "Less",  "Greater",  "Where",    "Neg",     "Abs",        "Relu",
    "PRelu",    "Elu",   "Selu",     "Celu",     "Sigmoid", "HardSwish",  "HardSigmoid",
    "Tanh",     "Exp",   "Log",      "Sqrt",     "Erf",     "Gelu",       "LeakyRelu",
    "Softplus", "Mish",  "Softsign", "Sign",     "Floor",   "Reciprocal", "ThresholdedRelu",
    "Ceil",     "Round", "Sin",      "Cos",      "Tan",     "Asin",       "LessOrEqual",
    "Acos",     "Atan",  "Sinh",     "Cosh",     "Clip",    "Cast",       "GreaterOrEqual",
    "IsNaN",    "IsInf", "CastLike", "Identity", "Asinh",   "Acosh",      "Atanh",
};

typedef int rule(const struct ask *q);
static const struct {
    const char *name;
    rule *rule;
} rules[] = {
    {"MatMul", mat_mul},
    {"Gemm", gemm},
    {"Softmax", norm},
    {"LogSoftmax", norm},
    {"LayerNormalization", norm},
    {"BatchNormalization", batch_norm},
    {"ReduceSum", reduce},
    {"ReduceMean", reduce},
    {"ReduceMax", reduce},
    {"ReduceMin", reduce},
    {"ReduceProd", reduce},
    {"ReduceL1", reduce},
    {"ReduceL2", reduce},
    {"ReduceLogSumExp", reduce},
    {"ReduceSumSquare", reduce},
    {"ArgMax", arg_max},
    {"ArgMin", arg_max},
    {"Transpose", transpose},
    {"Reshape", view},
    {"Squeeze", view},
    {"Unsqueeze", view},
    {"Flatten", view},
    {"Gather", gather},
    {"Concat", concat},
    {"Slice", slice},
    {"Split", split},
    {"Tile", tile},
    {"Expand", expand},
};

static rule *rule_of(const struct rcd_node *node)
{
    if (node->op->domain != NULL && strcmp(node->op->domain, "recurd.fused") == 0)
        return NULL;
    for (size_t i = 0; i < RCD_COUNT(each_names); i++) {
        if (strcmp(each_names[i], node->op->name) == 0)
            return each;
    }
    for (size_t i = 0; i < RCD_COUNT(rules); i++) {
        if (strcmp(rules[i].name, node->op->name) == 0)
            return rules[i].rule;
    }
    return NULL;
}

int rcd__row_axis(const struct rcd_plan *p, const struct rcd_node *node,
                  const struct rcd_tensor *const *in, const int *axis, const bool *fill,
                  const struct rcd_tensor *out)
{
    const struct ask q = {p, node, in, axis, fill, out};
    rule *r = rule_of(node);
    if (r == NULL || node->n_bodies > 0)
        return -1;
    for (size_t j = 0; j < node->n_in; j++) {
        if (in[j] == NULL && j == 0)
            return -1;
    }
    int a = r(&q);
    return a >= 0 && a < out->rank ? a : -1;
}

/* Where the entries lie in an element-by-element operator over fills alone, any output will do. */
bool rcd__is_each(const struct rcd_node *node)
{
    rule *r = rule_of(node);
    return r == each || r == view || r == transpose;
}

bool rcd__is_view(const struct rcd_node *node)
{
    return rule_of(node) == view;
}

bool rcd__is_expand(const struct rcd_node *node)
{
    return rule_of(node) == expand;
}

bool rcd__reads_once(const struct rcd_plan *p, const struct rcd_node *node, size_t j,
                     const bool *is_fill)
{
    rule *r = rule_of(node);
    if (node->op == &rcd__op_spmm || node->op == &rcd__op_attend)
        return j == RCD__EDGES_DST || j == RCD__EDGES_SRC;
    if (r == NULL) {
        const bool index = rcd__named(node, "GatherND") || rcd__named(node, "ScatterND");
        return rcd__named(node, "NonZero") || rcd__named(node, "Sizes") ||
               node->op == &rcd__op_csr || node->op == &rcd__op_csr_cols ||
               node->op == &rcd__op_csr_factors || (index && j == 1);
    }
    if (r == gather && j == 1) /* an index is kept of it */
        return true;
    const bool shape = r == view || r == expand || r == reduce;
    if (shape && j == 1)
        return false;
    for (size_t k = 0; k < node->n_in; k++) {
        const rcd_value_id id = node->in[k];
        if (k == j || id == RCD_NO_VALUE || p->values[id].constant != NULL || id == node->in[j] ||
            is_fill[id] || (shape && k == 1))
            continue;
        return false;
    }
    return true;
}
