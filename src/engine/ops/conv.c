/* conv.c - Conv over 1 to 3 spatial dims: groups, strides, dilations, pads, auto_pad.
 *
 * Each output position is a row of its receptive field (conv_fields.c); rows go through the packed weights as one
 * product, a block of positions at a time, and the result is turned into channels-first order. */
#include "conv.h"

#include <string.h>

enum { PANEL = 64, BLOCK_ROWS = 192 };

struct state {
    int64_t group;
    struct rcd__spatial at;
    struct rcd_packed *packed; /* one per group, constant weights */
    float *bias;               /* per group padded to its panel width, or NULL */
};

/* The weights of a group; those of windows go kernel first, through `room` f32[out_per][field]. */
static void pack_group(const struct rcd_tensor *w, size_t group, size_t out_per, float *room,
                       struct rcd_packed *p)
{
    const size_t field = rcd__span(w->dims, 1, w->rank);
    const float *from = (const float *)w->data + group * out_per * field;
    if (room != NULL) {
        const size_t in_per = (size_t)w->dims[1], kernel = (size_t)w->dims[2];
        for (size_t m = 0; m < out_per; m++) {
            for (size_t ch = 0; ch < in_per; ch++) {
                for (size_t i = 0; i < kernel; i++)
                    room[m * field + i * in_per + ch] = from[m * field + ch * kernel + i];
            }
        }
        from = room;
    }
    rcd_pack(p, from, 1, field, field, out_per, PANEL);
}

static bool windows(const struct state *s, const struct rcd_tensor *w)
{
    return rcd__conv_windows(w->rank - 2, s->at.n_dilations > 0 ? s->at.dilations[0] : 1);
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
    float *room = windows(s, w) ? rcd_alloc(bytes) : NULL;
    if (windows(s, w) && room == NULL)
        return RCD_ENOMEM;
    rcd_weights how = RCD_WEIGHTS_F32;
    rcd_status st = rcd__weights_of(k, field, &how);
    for (size_t g = 0; st == RCD_OK && g < groups; g++) {
        s->packed[g].data = rcd__weights_new(k, how, bytes);
        if (s->packed[g].data == NULL) {
            st = RCD_ENOMEM;
            break;
        }
        pack_group(w, g, out_per, room, &s->packed[g]);
        st = rcd__weights_keep(k, how, &s->packed[g]);
        if (b != NULL)
            memcpy(s->bias + g * padded, (const float *)b->data + g * out_per,
                   out_per * sizeof *s->bias);
    }
    rcd_free(room);
    return st;
}

static rcd_status read_attrs(struct rcd_check *k, struct state *s)
{
    rcd_status st = rcd__attr_int(k, "group", 1, &s->group);
    if (st == RCD_OK)
        st = rcd__spatial_read(k, &s->at);
    if (st == RCD_OK && s->group < 1)
        return rcd__refuse(k, "group is %lld", (long long)s->group);
    return st;
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
    if (w->rank < 3 || w->rank > 2 + RCD__SPATIAL || w->dims[0] % s->group != 0)
        return rcd__refuse(k, "weights of rank %d with %lld groups are not run", w->rank,
                           (long long)s->group);
    if (b != NULL && b->n != (size_t)w->dims[0])
        return rcd__refuse(k, "bias has %zu elements, want %lld", b->n, (long long)w->dims[0]);
    k->node->packed = 1u << 1;
    return pack(k, s, w, b);
}

static rcd_status measure(const struct rcd_call *c, size_t r, struct rcd__conv *g)
{
    const struct state *s = c->node->state;
    const struct rcd__spatial *at = &s->at;
    const struct rcd_tensor *x = rcd__in(c, 0, r), *w = rcd__in(c, 1, r), *b = rcd__in(c, 2, r);
    char tx[128], tw[128];
    bool fits = x->rank == w->rank && x->rank >= 3 && x->rank <= 2 + RCD__SPATIAL &&
                x->dims[1] == w->dims[1] * s->group && w->dims[0] % s->group == 0 &&
                (b == NULL || b->n == (size_t)w->dims[0]);
    size_t n = fits ? (size_t)x->rank - 2 : 0;
    fits = fits && (at->n_strides == 0 || at->n_strides == n) &&
           (at->n_dilations == 0 || at->n_dilations == n) &&
           (at->n_pads == 0 || at->n_pads == 2 * n) && (at->n_kernel == 0 || at->n_kernel == n);
    for (size_t i = 0; fits && i < at->n_kernel; i++)
        fits = at->kernel[i] == w->dims[2 + i];
    if (!fits)
        return rcd__fail(c, r, RCD_EINVAL, "input %s and weights %s do not fit (group %lld)",
                         rcd_shape_text(tx, sizeof tx, x->rank, x->dims),
                         rcd_shape_text(tw, sizeof tw, w->rank, w->dims), (long long)s->group);
    *g = (struct rcd__conv){.dims = (int)n, .batch = (size_t)x->dims[0], .positions = 1};
    g->channels = (size_t)x->dims[1];
    g->maps = (size_t)w->dims[0];
    g->group = (size_t)s->group;
    g->in_per = g->channels / g->group;
    g->out_per = g->maps / g->group;
    g->field = g->maps > 0 ? w->n / g->maps : 0;
    rcd_status st = RCD_OK;
    for (int d = 0, i = g->dims - RCD__SPATIAL; d < RCD__SPATIAL && st == RCD_OK; d++, i++) {
        g->d[d] = rcd__dim_none();
        if (i < 0)
            continue;
        g->d[d].in = x->dims[2 + i];
        g->d[d].kernel = w->dims[2 + i];
        st = rcd__spatial_size(c, r, at, i, g->dims, false, &g->d[d]);
        g->positions *= (size_t)g->d[d].out;
    }
    return st;
}

struct block {
    size_t rows;    /* of the memory here: output positions done together */
    bool windows;   /* fields are found in the image turned to rows of channels, */
    float *turned;  /* made here; */
    float *fields;  /* else they are copied here: f32[rows][field] */
    float *results; /* f32[rows][padded] */
    void *scratch;  /* of the product */
    const float **a;
    float **c;
};

static rcd_status block_new(const struct rcd_call *c, size_t r, const struct rcd__conv *g,
                            const struct rcd_packed *w, bool windows, struct block *b)
{
    const size_t padded = w->padded;
    size_t own = 0;
    *b = (struct block){.windows = windows};
    b->rows = g->positions < BLOCK_ROWS ? g->positions : BLOCK_ROWS;
    if (windows && !rcd__conv_turned(g, &own))
        return rcd__fail(c, r, RCD_EINVAL, "%zu channels with their pads are too large", g->in_per);
    if (!windows)
        own = b->rows * g->field;
    float *image = rcd__scratch(c, r, own * sizeof *image);
    b->turned = b->fields = image;
    b->scratch = rcd__scratch(c, r, rcd_gemm_scratch(w, b->rows));
    b->results = rcd__scratch(c, r, b->rows * padded * sizeof(float));
    b->a = rcd__scratch(c, r, b->rows * sizeof *b->a);
    b->c = rcd__scratch(c, r, b->rows * sizeof *b->c);
    if (image == NULL || b->results == NULL || b->a == NULL || b->c == NULL || b->scratch == NULL)
        return RCD_ENOMEM;
    for (size_t i = 0; i < b->rows; i++) {
        b->a[i] = b->fields + i * g->field;
        b->c[i] = b->results + i * padded;
    }
    return RCD_OK;
}

/* The fields of output positions [from, from + n). */
static void block_fields(const struct rcd__conv *g, const struct block *b, const float *x,
                         size_t from, size_t n)
{
    const size_t step = (size_t)g->d[RCD__SPATIAL - 1].stride * g->in_per;
    for (size_t i = 0; i < n; i++) {
        if (b->windows)
            b->a[i] = x + (from + i) * step;
        else
            rcd__conv_field(g, x, from + i, b->fields + i * g->field);
    }
}

/* One image, one group: x f32[in_per][in...] -> o f32[out_per][out...]. */
static void one_group(const struct rcd_call *c, const struct rcd__conv *g, const struct block *b,
                      const struct rcd_packed *w, const float *bias, const float *x, float *o)
{
    if (b->windows)
        x = rcd__conv_turn(g, x, b->turned);
    for (size_t from = 0; from < g->positions; from += b->rows) {
        size_t n = g->positions - from < b->rows ? g->positions - from : b->rows;
        block_fields(g, b, x, from, n);
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
static rcd_status pack_now(const struct rcd_call *c, size_t r, const struct rcd__conv *g,
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
    float *room = NULL;
    if (windows(c->node->state, w) && (room = rcd__scratch(c, r, bytes)) == NULL)
        return RCD_ENOMEM;
    if (b != NULL)
        memset(*ret_bias, 0, g->group * padded * sizeof **ret_bias);
    for (size_t i = 0; i < g->group; i++) {
        (*ret)[i].data = rcd__scratch(c, r, bytes);
        if ((*ret)[i].data == NULL)
            return RCD_ENOMEM;
        pack_group(w, i, g->out_per, room, &(*ret)[i]);
        if (b != NULL)
            memcpy(*ret_bias + i * padded, (const float *)b->data + i * g->out_per,
                   g->out_per * sizeof **ret_bias);
    }
    return RCD_OK;
}

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct state *s = c->node->state;
    struct rcd__conv g = {.dims = 0};
    struct rcd_packed *packed = s->packed;
    float *bias = s->bias;
    rcd_status st = measure(c, r, &g);
    if (st == RCD_OK && packed == NULL)
        st = pack_now(c, r, &g, &packed, &bias);
    if (st != RCD_OK)
        return st;
    int64_t dims[2 + RCD__SPATIAL] = {(int64_t)g.batch, (int64_t)g.maps};
    for (int i = 0; i < g.dims; i++)
        dims[2 + i] = g.d[RCD__SPATIAL - g.dims + i].out;
    struct rcd_tensor *out = NULL;
    st = rcd__new_out(c, 0, r, RCD_F32, 2 + g.dims, dims, &out);
    if (st != RCD_OK || out == NULL || out->n == 0)
        return st;
    size_t padded = (g.out_per + RCD_LANES - 1) / RCD_LANES * RCD_LANES;
    struct block b;
    st = block_new(c, r, &g, &packed[0], windows(s, rcd__in(c, 1, r)), &b);
    if (st != RCD_OK)
        return st;
    size_t image = (size_t)(g.d[0].in * g.d[1].in * g.d[2].in);
    const float *x = rcd__in(c, 0, r)->data;
    for (size_t i = 0; i < g.batch * g.group; i++)
        one_group(c, &g, &b, &packed[i % g.group],
                  bias != NULL ? bias + i % g.group * padded : NULL, x + i * g.in_per * image,
                  (float *)out->data + i * g.out_per * g.positions);
    return RCD_OK;
}

static const struct rcd_op ops[] = {{.name = "Conv", .since = 1, .check = check, .run = run}};
RCD_OP_LIST(conv, ops);
