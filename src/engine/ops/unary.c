/* unary.c - one input, one output, element by element. float32 runs on the kernels (the same bits on
 * every CPU level), float64 on the C library, integers where ONNX has them. */
#include "ops.h"

#include <math.h>
#include <string.h>

struct state {
    rcd_unary f;
    float alpha, beta;
};

static double f64_selu(double x, double alpha, double gamma)
{
    return gamma * (x > 0.0 ? x : alpha * expm1(x));
}

static double f64_value(const struct state *s, double x)
{
    double alpha = (double)s->alpha, beta = (double)s->beta;
    switch (s->f) {
    case RCD_UN_EXP:
        return exp(x);
    case RCD_UN_TANH:
        return tanh(x);
    case RCD_UN_SIGMOID:
        return 1.0 / (1.0 + exp(-x));
    case RCD_UN_RELU:
        return x < 0.0 ? 0.0 : x;
    case RCD_UN_LEAKY_RELU:
        return x < 0.0 ? alpha * x : x;
    case RCD_UN_THRESHOLDED:
        return x > alpha ? x : 0.0;
    case RCD_UN_ELU:
        return x < 0.0 ? alpha * expm1(x) : x;
    case RCD_UN_SELU:
        return f64_selu(x, alpha, beta);
    case RCD_UN_CELU:
        return fmax(0.0, x) + fmin(0.0, alpha * expm1(x / alpha));
    case RCD_UN_HARD_SIGMOID:
        return fmax(0.0, fmin(1.0, alpha * x + beta));
    case RCD_UN_HARD_SWISH:
        return x * fmax(0.0, fmin(1.0, x / 6.0 + 0.5));
    case RCD_UN_SOFTPLUS:
        return x > 0.0 ? x + log1p(exp(-x)) : log1p(exp(x));
    case RCD_UN_SOFTSIGN:
        return x / (1.0 + fabs(x));
    case RCD_UN_GELU:
        return 0.5 * x * (1.0 + erf(x * M_SQRT1_2));
    case RCD_UN_GELU_TANH:
        return 0.5 * x * (1.0 + tanh(sqrt(M_2_PI) * (x + 0.044715 * x * x * x)));
    case RCD_UN_SWISH:
        return x / (1.0 + exp(-alpha * x));
    case RCD_UN_MISH:
        return x * tanh(log1p(exp(x)));
    case RCD_UN_ERF:
        return erf(x);
    case RCD_UN_LOG:
        return log(x);
    case RCD_UN_SQRT:
        return sqrt(x);
    case RCD_UN_RECIPROCAL:
        return 1.0 / x;
    case RCD_UN_NEG:
        return -x;
    case RCD_UN_ABS:
        return fabs(x);
    default:
        RCD_ASSERT(!"an element function without a float64 form");
        return 0.0;
    }
}

#define INT_LOOP(S, T, U)                                                                          \
    case RCD_##S:                                                                                  \
        for (size_t i = 0; i < n; i++) {                                                           \
            T v = ((const T *)x)[i];                                                               \
            ((T *)y)[i] = f == RCD_UN_NEG    ? (T)((U)0 - (U)v)                                    \
                          : f == RCD_UN_RELU ? (v > 0 ? v : (T)0)                                  \
                                             : (v > 0 ? v : (T)((U)0 - (U)v));                     \
        }                                                                                          \
        break;
#define UINT_LOOP(S, T, U)                                                                         \
    case RCD_##S:                                                                                  \
        rcd__copy(y, x, n * sizeof(T)); /* Abs and Relu of what is never negative */               \
        break;

static void int_values(rcd_unary f, rcd_dtype t, size_t n, const void *x, void *y)
{
    switch (t) {
        RCD_EACH_SINT(INT_LOOP)
        RCD_EACH_UINT(UINT_LOOP)
    default:
        RCD_ASSERT(!"checked at load");
    }
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r);
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_like(c, r, x->dtype, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    if (x->dtype == RCD_F32) {
        c->kern->unary(s->f, x->n, x->data, out->data, s->alpha, s->beta);
    } else if (x->dtype == RCD_F64) {
        for (size_t i = 0; i < x->n; i++)
            ((double *)out->data)[i] = f64_value(s, ((const double *)x->data)[i]);
    } else {
        int_values(s->f, x->dtype, x->n, x->data, out->data);
    }
    return RCD_OK;
}

/* Which operator is which function, and the attributes that become alpha and beta. */
static const struct row {
    const char *name;
    rcd_unary f;
    unsigned types;
    const char *alpha, *beta;
    float alpha_def, beta_def;
} rows[] = {
    {"Exp", RCD_UN_EXP, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Tanh", RCD_UN_TANH, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Sigmoid", RCD_UN_SIGMOID, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Relu", RCD_UN_RELU, RCD_TS_FLOAT | RCD_TS_SINT, NULL, NULL, 0, 0},
    {"LeakyRelu", RCD_UN_LEAKY_RELU, RCD_TS_FLOAT, "alpha", NULL, 0.01f, 0},
    {"ThresholdedRelu", RCD_UN_THRESHOLDED, RCD_TS_FLOAT, "alpha", NULL, 1.0f, 0},
    {"Elu", RCD_UN_ELU, RCD_TS_FLOAT, "alpha", NULL, 1.0f, 0},
    {"Selu", RCD_UN_SELU, RCD_TS_FLOAT, "alpha", "gamma", 1.67326319217681884765625f,
     1.05070102214813232421875f},
    {"Celu", RCD_UN_CELU, RCD_TS_FLOAT, "alpha", NULL, 1.0f, 0},
    {"HardSigmoid", RCD_UN_HARD_SIGMOID, RCD_TS_FLOAT, "alpha", "beta", 0.2f, 0.5f},
    {"HardSwish", RCD_UN_HARD_SWISH, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Softplus", RCD_UN_SOFTPLUS, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Softsign", RCD_UN_SOFTSIGN, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Swish", RCD_UN_SWISH, RCD_TS_FLOAT, "alpha", NULL, 1.0f, 0},
    {"Mish", RCD_UN_MISH, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Erf", RCD_UN_ERF, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Log", RCD_UN_LOG, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Sqrt", RCD_UN_SQRT, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Reciprocal", RCD_UN_RECIPROCAL, RCD_TS_FLOAT, NULL, NULL, 0, 0},
    {"Neg", RCD_UN_NEG, RCD_TS_FLOAT | RCD_TS_SINT, NULL, NULL, 0, 0},
    {"Abs", RCD_UN_ABS, RCD_TS_NUM, NULL, NULL, 0, 0},
    {"Gelu", RCD_UN_GELU, RCD_TS_FLOAT, NULL, NULL, 0, 0},
};

static rcd_status check(struct rcd_check *k)
{
    const struct row *row = rows;
    while (strcmp(row->name, k->src->op_type) != 0)
        row++;
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    s->f = row->f;
    rcd_status st = rcd__check_arity(k, 1, 1, 1, 1);
    if (st == RCD_OK)
        st = rcd__check_type(k, 0, row->types);
    if (st == RCD_OK && row->alpha != NULL)
        st = rcd__attr_float(k, row->alpha, row->alpha_def, &s->alpha);
    if (st == RCD_OK && row->beta != NULL)
        st = rcd__attr_float(k, row->beta, row->beta_def, &s->beta);
    if (st == RCD_OK && row->f == RCD_UN_GELU) {
        const char *form = NULL;
        st = rcd__attr_string(k, "approximate", "none", &form);
        if (st == RCD_OK && strcmp(form, "tanh") == 0)
            s->f = RCD_UN_GELU_TANH;
        else if (st == RCD_OK && strcmp(form, "none") != 0)
            return rcd__refuse(k, "approximate is '%s', want 'none' or 'tanh'", form);
    }
    if (st == RCD_OK) {
        k->node->state = s;
        rcd__set_out(k, 0, rcd__in_type(k, 0));
    }
    return st;
}

bool rcd__unary_of(const struct rcd_node *node, rcd_unary *ret_f, float *ret_alpha, float *ret_beta)
{
    if (node->op->run != run)
        return false;
    const struct state *s = node->state;
    *ret_f = s->f;
    *ret_alpha = s->alpha;
    *ret_beta = s->beta;
    return true;
}

static const struct rcd_op ops[] = {
    {.name = "Exp", .since = 6, .check = check, .run = run},
    {.name = "Tanh", .since = 6, .check = check, .run = run},
    {.name = "Sigmoid", .since = 6, .check = check, .run = run},
    {.name = "Relu", .since = 6, .check = check, .run = run},
    {.name = "LeakyRelu", .since = 6, .check = check, .run = run},
    {.name = "ThresholdedRelu", .since = 10, .check = check, .run = run},
    {.name = "Elu", .since = 6, .check = check, .run = run},
    {.name = "Selu", .since = 6, .check = check, .run = run},
    {.name = "Celu", .since = 12, .check = check, .run = run},
    {.name = "HardSigmoid", .since = 6, .check = check, .run = run},
    {.name = "HardSwish", .since = 14, .check = check, .run = run},
    {.name = "Softplus", .since = 1, .check = check, .run = run},
    {.name = "Softsign", .since = 1, .check = check, .run = run},
    {.name = "Swish", .since = 24, .check = check, .run = run},
    {.name = "Mish", .since = 18, .check = check, .run = run},
    {.name = "Erf", .since = 9, .check = check, .run = run},
    {.name = "Log", .since = 6, .check = check, .run = run},
    {.name = "Sqrt", .since = 6, .check = check, .run = run},
    {.name = "Reciprocal", .since = 6, .check = check, .run = run},
    {.name = "Neg", .since = 6, .check = check, .run = run},
    {.name = "Abs", .since = 6, .check = check, .run = run},
    {.name = "Gelu", .since = 20, .check = check, .run = run},
};
RCD_OP_LIST(unary, ops);
