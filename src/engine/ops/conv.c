/* conv.c - Conv over 1 to 3 spatial dims: groups, strides, dilations, pads, auto_pad.
 *
 * Each output position is a row of its receptive field; rows go through the packed weights as one
 * product, a block of positions at a time, and the result is turned into channels-first order. */
#include "ops.h"

#include <string.h>

enum { SPATIAL = 3, PANEL = 64, BLOCK_ROWS = 192 };
enum auto_pad { NOTSET, SAME_UPPER, SAME_LOWER, VALID };

struct state {
    enum auto_pad auto_pad;
    int64_t group;
    const int64_t *kernel, *strides, *dilations, *pads;
    size_t n_kernel, n_strides, n_dilations, n_pads;
    struct rcd_packed *packed; /* one per group, constant weights */
    float *bias;               /* per group padded to its panel width, or NULL */
};

/* Sizes of one call, spatial dims filled to three with ones. */
struct geometry {
    int dims;
    size_t batch, channels, maps, group, in_per, out_per, field;
    int64_t in[SPATIAL], out[SPATIAL], kernel[SPATIAL], stride[SPATIAL], dilation[SPATIAL];
    int64_t pad[SPATIAL];
    size_t positions;
};

static void pack_group(const struct rcd_tensor *w, size_t group, size_t out_per,
                       struct rcd_packed *p)
{
    size_t field = w->n / (size_t)w->dims[0];
    rcd_pack(p, (const float *)w->data + group * out_per * field, 1, field, field, out_per, PANEL);
}

static rcd_status pack(struct rcd_check *k, struct state *s, const struct rcd_tensor *w,
                       const struct rcd_tensor *b)
{
    size_t groups = (size_t)s->group, out_per = (size_t)w->dims[0] / groups, bytes = 0;
    size_t field = w->dims[0] > 0 ? w->n / (size_t)w->dims[0] : 0;
    s->packed = rcd__state_new(k, groups * sizeof *s->packed);
    if (s->packed == NULL)
        return RCD_ENOMEM;
    if (!rcd_packed_bytes(field, out_per, &bytes))
        return rcd__refuse(k, "the weights are too large");
    size_t padded = (out_per + RCD_LANES - 1) / RCD_LANES * RCD_LANES;
    if (b != NULL) {
        s->bias = rcd__state_new(k, groups * padded * sizeof *s->bias);
        if (s->bias == NULL)
            return RCD_ENOMEM;
    }
    rcd_weights how = RCD_WEIGHTS_F32;
    rcd_status st = rcd__weights_of(k, field, &how);
    for (size_t g = 0; st == RCD_OK && g < groups; g++) {
        s->packed[g].data = rcd__weights_new(k, how, bytes);
        if (s->packed[g].data == NULL)
            return RCD_ENOMEM;
        pack_group(w, g, out_per, &s->packed[g]);
        st = rcd__weights_keep(k, how, &s->packed[g]);
        if (b != NULL)
            memcpy(s->bias + g * padded, (const float *)b->data + g * out_per,
                   out_per * sizeof *s->bias);
    }
    return st;
}

static rcd_status read_attrs(struct rcd_check *k, struct state *s)
{
    static const char *const names[] = {"NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"};
    const char *mode = NULL;
    rcd_status st = rcd__attr_string(k, "auto_pad", "NOTSET", &mode);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "group", 1, &s->group);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "kernel_shape", &s->kernel, &s->n_kernel);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "strides", &s->strides, &s->n_strides);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "dilations", &s->dilations, &s->n_dilations);
    if (st == RCD_OK)
        st = rcd__attr_ints(k, "pads", &s->pads, &s->n_pads);
    if (st != RCD_OK)
        return st;
    size_t m = 0;
    while (m < RCD_COUNT(names) && strcmp(names[m], mode) != 0)
        m++;
    if (m == RCD_COUNT(names))
        return rcd__refuse(k, "auto_pad '%s' is not known", mode);
    s->auto_pad = (enum auto_pad)m;
    if (s->group < 1)
        return rcd__refuse(k, "group is %lld", (long long)s->group);
    for (size_t i = 0; i < s->n_strides; i++) {
        if (s->strides[i] < 1 || s->strides[i] > INT32_MAX)
            return rcd__refuse(k, "stride %zu is %lld", i, (long long)s->strides[i]);
    }
    for (size_t i = 0; i < s->n_dilations; i++) {
        if (s->dilations[i] < 1 || s->dilations[i] > INT32_MAX)
            return rcd__refuse(k, "dilation %zu is %lld", i, (long long)s->dilations[i]);
    }
    for (size_t i = 0; i < s->n_pads; i++) {
        if (s->pads[i] < 0 || s->pads[i] > INT32_MAX)
            return rcd__refuse(k, "pad %zu is %lld", i, (long long)s->pads[i]);
    }
    return RCD_OK;
}

static rcd_status check(struct rcd_check *k)
{
    struct state *s = rcd__state_new(k, sizeof *s);
    if (s == NULL)
        return RCD_ENOMEM;
    k->node->state = s;
    rcd_status st = rcd__check_arity(k, 2, 3, 1, 1);
    if (st == RCD_OK)
        st = read_attrs(k, s);
    for (size_t i = 0; st == RCD_OK && i < 3; i++)
        st = rcd__check_type(k, i, RCD_T(RCD_F32));
    rcd__set_out(k, 0, RCD_F32);
    const struct rcd_tensor *w = rcd__in_const(k, 1), *b = rcd__in_const(k, 2);
    if (st != RCD_OK || w == NULL || (rcd__has_in(k, 2) && b == NULL))
        return st;
    if (w->rank < 3 || w->rank > 2 + SPATIAL || w->dims[0] % s->group != 0)
        return rcd__refuse(k, "weights of rank %d with %lld groups are not run", w->rank,
                           (long long)s->group);
    if (b != NULL && b->n != (size_t)w->dims[0])
        return rcd__refuse(k, "bias has %zu elements, want %lld", b->n, (long long)w->dims[0]);
    k->node->packed = 1u << 1;
    return pack(k, s, w, b);
}

/* Sizes of one spatial dim: pads and output. */
static rcd_status one_dim(const struct rcd_call *c, size_t r, const struct state *s,
                          struct geometry *g, int d, int n_dims)
{
    size_t i = (size_t)d;
    int64_t reach = (g->kernel[d] - 1) * g->dilation[d] + 1, end = 0;
    if (s->auto_pad == SAME_UPPER || s->auto_pad == SAME_LOWER) {
        int64_t out = (g->in[d] + g->stride[d] - 1) / g->stride[d];
        int64_t total = (out - 1) * g->stride[d] + reach - g->in[d];
        total = total > 0 ? total : 0;
        g->pad[d] = s->auto_pad == SAME_UPPER ? total / 2 : total - total / 2;
        end = total - g->pad[d];
    } else if (s->auto_pad == NOTSET && s->n_pads > 0) {
        g->pad[d] = s->pads[i];
        end = s->pads[i + (size_t)n_dims];
    }
    int64_t room = g->in[d] + g->pad[d] + end - reach;
    if (room < 0)
        return rcd__fail(c, r, RCD_EINVAL,
                         "spatial dim %d: %lld elements are fewer than the kernel's %lld", d,
                         (long long)(g->in[d] + g->pad[d] + end), (long long)reach);
    g->out[d] = room / g->stride[d] + 1;
    g->positions *= (size_t)g->out[d];
    return RCD_OK;
}

static rcd_status measure(const struct rcd_call *c, size_t r, struct geometry *g)
{
    const struct state *s = c->node->state;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *w = rcd__in(c, 1, r), *b = rcd__in(c, 2, r);
    char tx[128], tw[128];
    bool fits = x->rank == w->rank && x->rank >= 3 && x->rank <= 2 + SPATIAL &&
                x->dims[1] == w->dims[1] * s->group && w->dims[0] % s->group == 0 &&
                (b == NULL || b->n == (size_t)w->dims[0]);
    size_t n = fits ? (size_t)x->rank - 2 : 0;
    fits = fits && (s->n_strides == 0 || s->n_strides == n) &&
           (s->n_dilations == 0 || s->n_dilations == n) && (s->n_pads == 0 || s->n_pads == 2 * n) &&
           (s->n_kernel == 0 || s->n_kernel == n);
    for (size_t i = 0; fits && i < s->n_kernel; i++)
        fits = s->kernel[i] == w->dims[2 + i];
    if (!fits)
        return rcd__fail(c, r, RCD_EINVAL, "input %s and weights %s do not fit (group %lld)",
                         rcd_shape_text(tx, sizeof tx, x->rank, x->dims),
                         rcd_shape_text(tw, sizeof tw, w->rank, w->dims), (long long)s->group);
    *g = (struct geometry){.dims = (int)n, .batch = (size_t)x->dims[0], .positions = 1};
    g->channels = (size_t)x->dims[1];
    g->maps = (size_t)w->dims[0];
    g->group = (size_t)s->group;
    g->in_per = g->channels / g->group;
    g->out_per = g->maps / g->group;
    g->field = g->maps > 0 ? w->n / g->maps : 0;
    for (int d = 0; d < SPATIAL; d++) {
        bool real = d < g->dims;
        g->in[d] = real ? x->dims[2 + d] : 1;
        g->kernel[d] = real ? w->dims[2 + d] : 1;
        g->stride[d] = real && s->n_strides > 0 ? s->strides[d] : 1;
        g->dilation[d] = real && s->n_dilations > 0 ? s->dilations[d] : 1;
        g->out[d] = 1;
    }
    rcd_status st = RCD_OK;
    for (int d = 0; d < g->dims && st == RCD_OK; d++)
        st = one_dim(c, r, s, g, d, g->dims);
    return st;
}

/* The innermost dim of a field: kernel[2] elements of `line` from `from` on, zeros outside; NULL: all outside. */
static void field_line(const struct geometry *g, const float *line, int64_t from, float *row)
{
    const int64_t n = g->kernel[2], step = g->dilation[2];
    int64_t l = 0, end = 0; /* [l, end): inside */
    if (line != NULL) {
        l = from < 0 ? (-from + step - 1) / step : 0;
        end = from < g->in[2] ? (g->in[2] - from + step - 1) / step : 0;
        end = end < n ? end : n;
        l = l < end ? l : end;
    }
    memset(row, 0, (size_t)l * sizeof *row);
    if (step == 1 && end > l)
        memcpy(row + l, line + from + l, (size_t)(end - l) * sizeof *row);
    for (int64_t i = l; step != 1 && i < end; i++)
        row[i] = line[from + i * step];
    memset(row + end, 0, (size_t)(n - end) * sizeof *row);
}

/* The receptive field of output position `at`: f32[in_per][kernel...], zeros outside. */
static void field_row(const struct geometry *g, const float *x, size_t at, float *row)
{
    int64_t o[SPATIAL] = {(int64_t)at / (g->out[1] * g->out[2]),
                          (int64_t)at / g->out[2] % g->out[1], (int64_t)at % g->out[2]};
    for (size_t ch = 0; ch < g->in_per; ch++, x += g->in[0] * g->in[1] * g->in[2]) {
        for (int64_t i = 0; i < g->kernel[0]; i++) {
            int64_t a = o[0] * g->stride[0] + i * g->dilation[0] - g->pad[0];
            for (int64_t j = 0; j < g->kernel[1]; j++) {
                int64_t b = o[1] * g->stride[1] + j * g->dilation[1] - g->pad[1];
                bool in = a >= 0 && a < g->in[0] && b >= 0 && b < g->in[1];
                field_line(g, in ? x + (a * g->in[1] + b) * g->in[2] : NULL,
                           o[2] * g->stride[2] - g->pad[2], row);
                row += g->kernel[2];
            }
        }
    }
}

struct block {
    float *fields, *results;
    void *scratch; /* of the product */
    const float **a;
    float **c;
};

static rcd_status block_new(const struct rcd_call *c, size_t r, const struct geometry *g,
                            const struct rcd_packed *w, struct block *b)
{
    const size_t padded = w->padded;
    b->scratch = rcd__scratch(c, r, rcd_gemm_scratch(w, BLOCK_ROWS));
    b->fields = rcd__scratch(c, r, BLOCK_ROWS * g->field * sizeof(float));
    b->results = rcd__scratch(c, r, BLOCK_ROWS * padded * sizeof(float));
    b->a = rcd__scratch(c, r, BLOCK_ROWS * sizeof *b->a);
    b->c = rcd__scratch(c, r, BLOCK_ROWS * sizeof *b->c);
    if (b->fields == NULL || b->results == NULL || b->a == NULL || b->c == NULL ||
        b->scratch == NULL)
        return RCD_ENOMEM;
    for (size_t i = 0; i < BLOCK_ROWS; i++) {
        b->a[i] = b->fields + i * g->field;
        b->c[i] = b->results + i * padded;
    }
    return RCD_OK;
}

/* One image, one group: x f32[in_per][in...] -> o f32[out_per][out...]. */
static void one_group(const struct rcd_call *c, const struct geometry *g, const struct block *b,
                      const struct rcd_packed *w, const float *bias, const float *x, float *o)
{
    for (size_t from = 0; from < g->positions; from += BLOCK_ROWS) {
        size_t n = g->positions - from < BLOCK_ROWS ? g->positions - from : BLOCK_ROWS;
        for (size_t i = 0; i < n; i++)
            field_row(g, x, from + i, b->fields + i * g->field);
        struct rcd_gemm product = {.rows = n,
                                   .a = b->a,
                                   .c = b->c,
                                   .b = w,
                                   .bias = bias,
                                   .c_padded = true,
                                   .scratch = b->scratch};
        rcd_gemm_any(c->kern, &product);
        for (size_t m = 0; m < g->out_per; m++) {
            for (size_t i = 0; i < n; i++)
                o[m * g->positions + from + i] = b->c[i][m];
        }
    }
}

/* Weights made at run time are packed in scratch. */
static rcd_status pack_now(const struct rcd_call *c, size_t r, const struct geometry *g,
                           struct rcd_packed **ret, float **ret_bias)
{
    const struct rcd_tensor *w = rcd__in(c, 1, r), *b = rcd__in(c, 2, r);
    size_t bytes = 0, padded = (g->out_per + RCD_LANES - 1) / RCD_LANES * RCD_LANES;
    *ret = rcd__scratch(c, r, g->group * sizeof **ret);
    *ret_bias = b != NULL ? rcd__scratch(c, r, g->group * padded * sizeof **ret_bias) : NULL;
    if (*ret == NULL || (b != NULL && *ret_bias == NULL))
        return RCD_ENOMEM;
    if (!rcd_packed_bytes(g->field, g->out_per, &bytes))
        return rcd__fail(c, r, RCD_EINVAL, "the weights are too large");
    if (b != NULL)
        memset(*ret_bias, 0, g->group * padded * sizeof **ret_bias);
    for (size_t i = 0; i < g->group; i++) {
        (*ret)[i].data = rcd__scratch(c, r, bytes);
        if ((*ret)[i].data == NULL)
            return RCD_ENOMEM;
        pack_group(w, i, g->out_per, &(*ret)[i]);
        if (b != NULL)
            memcpy(*ret_bias + i * padded, (const float *)b->data + i * g->out_per,
                   g->out_per * sizeof **ret_bias);
    }
    return RCD_OK;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    struct geometry g = {.dims = 0};
    struct rcd_packed *packed = s->packed;
    float *bias = s->bias;
    rcd_status st = measure(c, r, &g);
    if (st == RCD_OK && packed == NULL)
        st = pack_now(c, r, &g, &packed, &bias);
    if (st != RCD_OK)
        return st;
    int64_t dims[2 + SPATIAL] = {(int64_t)g.batch, (int64_t)g.maps, g.out[0], g.out[1], g.out[2]};
    struct rcd_tensor *out = NULL;
    st = rcd__new_out(c, 0, r, RCD_F32, 2 + g.dims, dims, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    size_t padded = (g.out_per + RCD_LANES - 1) / RCD_LANES * RCD_LANES;
    struct block b;
    st = block_new(c, r, &g, &packed[0], &b);
    if (st != RCD_OK)
        return st;
    size_t image = (size_t)(g.in[0] * g.in[1] * g.in[2]);
    const float *x = rcd__in(c, 0, r)->data;
    for (size_t i = 0; i < g.batch * g.group; i++)
        one_group(c, &g, &b, &packed[i % g.group],
                  bias != NULL ? bias + i % g.group * padded : NULL, x + i * g.in_per * image,
                  (float *)out->data + i * g.out_per * g.positions);
    return RCD_OK;
}

static const struct rcd_op ops[] = {{.name = "Conv", .since = 1, .check = check, .run = run}};
RCD_OP_LIST(conv, ops);
