/* test_definitions.c - Conv, Pad and TopK against their definitions, written out one element at a time: every form of
 * an attribute, weights that are known at load and such as come with the request. */
#include "plans.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

TestSuite(engine_definitions, .timeout = 400);

enum { MOST = 4096 };

/* Not more than 15 bits of a value, so that sums of a few are exact however they are ordered. */
static float some_value(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)((int)(*state >> 24) - 128) / 16.0f;
}

static void some_values(float *to, size_t n, unsigned seed)
{
    for (size_t i = 0; i < n; i++)
        to[i] = some_value(&seed);
}

static const char *shape_text(char *to, size_t room, int rank, const int64_t *dims)
{
    size_t at = 0;
    to[0] = '\0';
    for (int d = 0; d < rank; d++)
        at += (size_t)snprintf(to + at, room - at, "%s%lld", d > 0 ? "," : "", (long long)dims[d]);
    return to;
}

static rcd_exec *exec; /* one for all cases of a test: its memory is not clean */

/* Runs the plan on inputs; the first output. */
static struct rcd_tensor run_plan(rcd_plan *p, struct rcd_tensor *in, struct rcd_tensor *out)
{
    exec = exec != NULL ? exec : rcd_exec_new(1 << 26, 1 << 26);
    struct rcd_infer req = {.in = in, .out = out};
    struct rcd_infer *const list[] = {&req};
    rcd_exec_run(exec, p, 1, list, NULL);
    cr_assert(req.err.code == RCD_OK, "%s", req.err.text);
    rcd_plan_unref(p);
    return out[0];
}

static void drop(struct rcd_tensor *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rcd_tensor_drop(&out[i]);
}

/* ---- Conv ----------------------------------------------------------------------------------------- */

struct conv {
    int dims;
    int64_t batch, in_per, maps, group, size[3], kernel[3], stride[3], dilation[3], pads[6];
};

static const struct conv convs[] = {
    {1, 1, 1, 5, 1, {12}, {4}, {4}, {1}, {0, 0}},
    {1, 2, 3, 5, 1, {11}, {3}, {1}, {1}, {0, 0}},
    {1, 2, 3, 4, 2, {11}, {3}, {2}, {1}, {2, 1}},
    {1, 1, 1, 2, 1, {5}, {3}, {1}, {1}, {4, 0}}, /* fields of zeros alone */
    {1, 1, 2, 3, 1, {9}, {3}, {1}, {2}, {0, 2}},
    {1, 1, 2, 3, 1, {9}, {2}, {3}, {4}, {1, 1}},
    {1, 1, 2, 17, 1, {300}, {5}, {1}, {1}, {2, 2}}, /* more positions than are done together */
    {2, 2, 2, 3, 1, {5, 6}, {2, 3}, {1, 2}, {1, 1}, {1, 0, 0, 2}},
    {2, 1, 1, 2, 2, {6, 5}, {2, 2}, {2, 1}, {2, 3}, {0, 1, 1, 0}},
    {3, 1, 2, 2, 1, {3, 4, 5}, {2, 1, 3}, {1, 1, 2}, {1, 1, 1}, {0, 1, 0, 1, 0, 1}},
};

/* y[b][m] at output position o. */
static float conv_at(const struct conv *c, const float *x, const float *w, const float *bias,
                     int64_t b, int64_t m, const int64_t *o)
{
    const int64_t channels = c->in_per * c->group, g = m / (c->maps / c->group);
    float sum = bias[m];
    int64_t size[3] = {1, 1, 1}, kernel[3] = {1, 1, 1};
    for (int d = 0; d < c->dims; d++) {
        size[d] = c->size[d];
        kernel[d] = c->kernel[d];
    }
    for (int64_t ch = 0; ch < c->in_per; ch++) {
        for (int64_t k = 0; k < kernel[0] * kernel[1] * kernel[2]; k++) {
            const int64_t at[3] = {k / (kernel[1] * kernel[2]), k / kernel[2] % kernel[1],
                                   k % kernel[2]};
            int64_t from = b * channels + g * c->in_per + ch;
            bool in = true;
            for (int d = 0; d < 3; d++) {
                const bool real = d < c->dims;
                const int64_t i =
                    real ? o[d] * c->stride[d] + at[d] * c->dilation[d] - c->pads[d] : 0;
                in = in && i >= 0 && i < size[d];
                from = from * size[d] + i;
            }
            if (in)
                sum += x[from] * w[(m * c->in_per + ch) * kernel[0] * kernel[1] * kernel[2] + k];
        }
    }
    return sum;
}

static void check_conv(const struct conv *c, bool known)
{
    float *x = calloc(3 * (size_t)MOST, sizeof *x), *w = x + MOST, *bias = w + MOST;
    int64_t xd[5] = {c->batch, c->in_per * c->group}, wd[5] = {c->maps, c->in_per};
    size_t nx = (size_t)(xd[0] * xd[1]), nw = (size_t)(wd[0] * wd[1]);
    for (int d = 0; d < c->dims; d++) {
        nx *= (size_t)(xd[2 + d] = c->size[d]);
        nw *= (size_t)(wd[2 + d] = c->kernel[d]);
    }
    cr_assert(nx <= MOST && nw <= MOST);
    some_values(x, nx, 1);
    some_values(w, nw, 2);
    some_values(bias, (size_t)c->maps, 3);
    struct pb n = mk_node("Conv", "conv", "x,w,b", "y"), g = mk_graph("g");
    add_attr_int(&n, "group", c->group);
    add_attr_ints(&n, "kernel_shape", c->kernel, (size_t)c->dims);
    add_attr_ints(&n, "strides", c->stride, (size_t)c->dims);
    add_attr_ints(&n, "dilations", c->dilation, (size_t)c->dims);
    add_attr_ints(&n, "pads", c->pads, 2 * (size_t)c->dims);
    char text[96];
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    if (known) {
        pb_msg(&g, G_INIT, mk_f32("w", shape_text(text, sizeof text, 2 + c->dims, wd), w, nw));
        pb_msg(&g, G_INIT,
               mk_f32("b", shape_text(text, sizeof text, 1, wd), bias, (size_t)c->maps));
    } else {
        pb_msg(&g, G_INPUT, mk_info("w", T_FLOAT, NULL));
        pb_msg(&g, G_INPUT, mk_info("b", T_FLOAT, NULL));
    }
    pb_msg(&g, G_NODE, n);
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
    struct rcd_tensor in[3], out[1] = {{.dtype = RCD_NONE}};
    cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 2 + c->dims, xd) &&
              rcd_tensor_shape(&in[1], RCD_F32, 2 + c->dims, wd) &&
              rcd_tensor_shape(&in[2], RCD_F32, 1, wd));
    in[0].data = x;
    in[1].data = w;
    in[2].data = bias;
    struct rcd_tensor y = run_plan(plan_from(mk_model(8, 17, g), RCD_CPU_C), in, out);
    int64_t each = 1;
    for (int d = 0; d < c->dims; d++)
        each *= y.dims[2 + d];
    cr_assert(y.rank == 2 + c->dims && y.dims[0] == c->batch && y.dims[1] == c->maps && each > 0);
    for (int64_t i = 0; i < (int64_t)y.n; i++) {
        int64_t o[3] = {0};
        for (int d = c->dims - 1, rest = (int)(i % each); d >= 0; d--) {
            o[d] = rest % y.dims[2 + d];
            rest /= (int)y.dims[2 + d];
        }
        const float want = conv_at(c, x, w, bias, i / each / c->maps, i / each % c->maps, o);
        cr_assert(((float *)y.data)[i] == want, "case %d, element %d: %g, want %g",
                  (int)(c - convs), (int)i, (double)((float *)y.data)[i], (double)want);
    }
    drop(out, 1);
    free(x);
}

Test(engine_definitions, convolutions)
{
    for (size_t i = 0; i < RCD_COUNT(convs); i++) {
        check_conv(&convs[i], true);
        check_conv(&convs[i], false);
    }
}

/* Weights of a request with no maps, and with kernels of no elements. */
Test(engine_definitions, convolution_of_nothing)
{
    const int64_t weights[2][3] = {{0, 2, 3}, {4, 2, 0}};
    for (int i = 0; i < 2; i++) {
        const int64_t xd[3] = {1, 2, 5};
        float x[10] = {0}, none[1];
        struct pb g = mk_graph("g");
        pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
        pb_msg(&g, G_INPUT, mk_info("w", T_FLOAT, NULL));
        pb_msg(&g, G_NODE, mk_node("Conv", "conv", "x,w", "y"));
        pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
        struct rcd_tensor in[2], out[1] = {{.dtype = RCD_NONE}};
        cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 3, xd) &&
                  rcd_tensor_shape(&in[1], RCD_F32, 3, weights[i]));
        in[0].data = x;
        in[1].data = none;
        struct rcd_tensor y = run_plan(plan_from(mk_model(8, 17, g), RCD_CPU_C), in, out);
        cr_assert(y.dims[1] == weights[i][0]);
        for (size_t j = 0; j < y.n; j++)
            cr_assert(((float *)y.data)[j] == 0.0f);
        drop(out, 1);
    }
}

/* ---- Pad ------------------------------------------------------------------------------------------ */

struct pad {
    const char *mode;
    int64_t dims[2], pads[4]; /* begins, then ends */
};

static const struct pad pads[] = {
    {"constant", {3, 4}, {1, 2, 0, 3}},  {"constant", {3, 4}, {-1, 2, 1, -3}},
    {"constant", {3, 4}, {0, -4, 0, 6}}, {"constant", {2, 3}, {0, 5, 0, -8}},
    {"constant", {0, 3}, {2, 1, 0, 0}},  {"edge", {3, 4}, {2, 3, 1, 0}},
    {"edge", {2, 3}, {0, -1, 0, 2}},     {"reflect", {3, 4}, {2, 3, 1, 2}},
    {"reflect", {3, 4}, {0, 0, 0, 3}},   {"wrap", {3, 4}, {1, 5, 4, 0}},
    {"wrap", {2, 3}, {-1, 2, 0, -1}},
};

/* Where padded place i of an axis of n comes from; -1: the constant. */
static int64_t pad_source(const char *mode, int64_t i, int64_t n)
{
    while ((i < 0 || i >= n) && strcmp(mode, "constant") != 0) {
        if (strcmp(mode, "edge") == 0)
            i = i < 0 ? 0 : n - 1;
        else if (strcmp(mode, "wrap") == 0)
            i += i < 0 ? n : -n;
        else
            i = i < 0 ? -i : 2 * (n - 1) - i;
    }
    return i < 0 || i >= n ? -1 : i;
}

Test(engine_definitions, pads)
{
    for (size_t i = 0; i < RCD_COUNT(pads); i++) {
        const struct pad *c = &pads[i];
        float x[16];
        const float fill = -7.5f;
        some_values(x, 16, 5);
        struct pb n = mk_node("Pad", "pad", "x,pads,fill", "y"), g = mk_graph("g");
        add_attr_str(&n, "mode", c->mode);
        pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
        pb_msg(&g, G_INIT, mk_i64("pads", "4", c->pads, 4));
        pb_msg(&g, G_INIT, mk_f32("fill", "", &fill, 1));
        pb_msg(&g, G_NODE, n);
        pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, NULL));
        struct rcd_tensor in[1], out[1] = {{.dtype = RCD_NONE}};
        cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 2, c->dims));
        in[0].data = x;
        struct rcd_tensor y = run_plan(plan_from(mk_model(9, 19, g), RCD_CPU_C), in, out);
        cr_assert(y.dims[0] == c->dims[0] + c->pads[0] + c->pads[2] &&
                  y.dims[1] == c->dims[1] + c->pads[1] + c->pads[3]);
        for (int64_t j = 0; j < (int64_t)y.n; j++) {
            const int64_t a = pad_source(c->mode, j / y.dims[1] - c->pads[0], c->dims[0]),
                          b = pad_source(c->mode, j % y.dims[1] - c->pads[1], c->dims[1]);
            const float want = a < 0 || b < 0 ? fill : x[a * c->dims[1] + b];
            cr_assert(((float *)y.data)[j] == want, "case %zu, element %d", i, (int)j);
        }
        drop(out, 1);
    }
}

/* ---- TopK ----------------------------------------------------------------------------------------- */

/* Does a stand before b? NaN above all, equal ones (0 and -0 are) by place. */
static bool stands_before(const float *x, int64_t a, int64_t b, bool largest)
{
    const bool na = isnan(x[a]), nb = isnan(x[b]);
    if (na != nb)
        return largest ? na : nb;
    if (!na && x[a] != x[b])
        return (x[a] > x[b]) == largest;
    return a < b;
}

static void check_topk(const float *x, int64_t n, int64_t k, bool largest)
{
    struct pb node = mk_node("TopK", "top", "x,k", "values,places"), g = mk_graph("g");
    add_attr_int(&node, "largest", largest);
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, NULL));
    pb_msg(&g, G_INIT, mk_i64("k", "1", &k, 1));
    pb_msg(&g, G_NODE, node);
    pb_msg(&g, G_OUTPUT, mk_info("places", T_I64, NULL));
    pb_msg(&g, G_OUTPUT, mk_info("values", T_FLOAT, NULL));
    struct rcd_tensor in[1], out[2] = {{.dtype = RCD_NONE}, {.dtype = RCD_NONE}};
    cr_assert(rcd_tensor_shape(&in[0], RCD_F32, 1, &n));
    in[0].data = (void *)(uintptr_t)x;
    run_plan(plan_from(mk_model(8, 17, g), RCD_CPU_C), in, out);
    const int64_t *places = out[0].data;
    cr_assert(out[0].n == (size_t)k && out[1].n == (size_t)k);
    for (int64_t i = 0; i < k; i++) {
        cr_assert(memcmp((float *)out[1].data + i, x + places[i], sizeof *x) == 0);
        cr_assert(i == 0 || stands_before(x, places[i - 1], places[i], largest));
        int64_t before = 0;
        for (int64_t j = 0; j < n; j++)
            before += stands_before(x, j, places[i], largest);
        cr_assert(before == i, "place %d of the best is %d, but %d stand before", (int)i,
                  (int)places[i], (int)before);
    }
    drop(out, 2);
}

Test(engine_definitions, topk)
{
    const float odd[] = {0.0f, -0.0f, 3, NAN, -INFINITY, INFINITY, 3, -NAN, 1e-45f, -1e-45f, -3, 0};
    float many[300];
    some_values(many, RCD_COUNT(many), 9); /* of 256 different ones */
    for (int largest = 0; largest < 2; largest++) {
        check_topk(odd, RCD_COUNT(odd), RCD_COUNT(odd), largest);
        check_topk(odd, RCD_COUNT(odd), 3, largest);
        check_topk(many, RCD_COUNT(many), RCD_COUNT(many), largest);
        check_topk(many, 48, 20, largest);
        check_topk(many, 49, 20, largest);
        check_topk(many, 1, 0, largest);
    }
}
