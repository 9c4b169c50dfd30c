/* recurrent_check.c - attributes of RNN, GRU and LSTM, and the packing of constant weights.
 *
 * activation_alpha and activation_beta are consumed in order by the functions that use one (as ONNX
 * Runtime does), not by position. Affine, ScaledTanh and ThresholdedRelu without explicit values are
 * refused: the specification and ONNX Runtime disagree on their defaults. */
#include "recurrent.h"

#include <string.h>
#include <strings.h>

static const struct act_row {
    const char *name;
    rcd_unary f;
    bool uses_alpha, uses_beta, explicit_only;
    float alpha, beta;
} act_rows[] = {
    {"Sigmoid", RCD_UN_SIGMOID, false, false, false, 0, 0},
    {"Tanh", RCD_UN_TANH, false, false, false, 0, 0},
    {"Relu", RCD_UN_RELU, false, false, false, 0, 0},
    {"Affine", RCD_UN_AFFINE, true, true, true, 0, 0},
    {"LeakyRelu", RCD_UN_LEAKY_RELU, true, false, false, 0.01f, 0},
    {"ThresholdedRelu", RCD_UN_THRESHOLDED, true, false, true, 0, 0},
    {"ScaledTanh", RCD_UN_SCALED_TANH, true, true, true, 0, 0},
    {"HardSigmoid", RCD_UN_HARD_SIGMOID, true, true, false, 0.2f, 0.5f},
    {"Elu", RCD_UN_ELU, true, false, false, 1.0f, 0},
    {"Softsign", RCD_UN_SOFTSIGN, false, false, false, 0, 0},
    {"Softplus", RCD_UN_SOFTPLUS, false, false, false, 0, 0},
};

struct act_values {
    const float *alpha, *beta;
    size_t n_alpha, n_beta, at_alpha, at_beta;
};

static rcd_status read_act(struct rcd_check *k, const char *name, struct act_values *v,
                           struct rcd_act *ret)
{
    const struct act_row *row = NULL;
    for (size_t i = 0; i < RCD_COUNT(act_rows); i++) {
        if (strcasecmp(act_rows[i].name, name) == 0)
            row = &act_rows[i];
    }
    if (row == NULL)
        return rcd__refuse(k, "activation '%s' is not known", name);
    *ret = (struct rcd_act){.f = row->f, .alpha = row->alpha, .beta = row->beta};
    bool missing = false;
    if (row->uses_alpha) {
        missing = v->at_alpha >= v->n_alpha;
        if (!missing)
            ret->alpha = v->alpha[v->at_alpha++];
    }
    if (row->uses_beta) {
        missing = missing || v->at_beta >= v->n_beta;
        if (v->at_beta < v->n_beta)
            ret->beta = v->beta[v->at_beta++];
    }
    if (missing && row->explicit_only)
        return rcd__refuse(k, "activation '%s' needs explicit activation_alpha%s", row->name,
                           row->uses_beta ? " and activation_beta" : "");
    return RCD_OK;
}

static rcd_status read_acts(struct rcd_check *k, struct rcd_cell_spec *s,
                            const char *const *default_acts)
{
    struct act_values v = {.alpha = NULL};
    const struct rcd_bytes *names = NULL;
    size_t n_names = 0;
    rcd_status st = rcd__attr_strings(k, "activations", &names, &n_names);
    if (st == RCD_OK)
        st = rcd__attr_floats(k, "activation_alpha", &v.alpha, &v.n_alpha);
    if (st == RCD_OK)
        st = rcd__attr_floats(k, "activation_beta", &v.beta, &v.n_beta);
    size_t want = s->n_acts * (size_t)s->n_dirs;
    if (st == RCD_OK && n_names != 0 && n_names != want)
        return rcd__refuse(k, "%zu activations, want %zu", n_names, want);
    for (size_t i = 0; st == RCD_OK && i < want; i++) {
        struct rcd_act *a = &s->act[i / s->n_acts][i % s->n_acts];
        const char *def = default_acts[i % s->n_acts];
        st = read_act(k, n_names != 0 ? names[i].ptr : def, &v, a);
        if (st == RCD_OK && (n_names != 0 && strcasecmp(names[i].ptr, def) != 0))
            s->plain = false;
    }
    return st;
}

static rcd_status read_direction(struct rcd_check *k, struct rcd_cell_spec *s)
{
    const char *text = NULL;
    rcd_status st = rcd__attr_string(k, "direction", "forward", &text);
    if (st != RCD_OK)
        return st;
    s->n_dirs = strcasecmp(text, "bidirectional") == 0 ? 2 : 1;
    s->reverse = strcasecmp(text, "reverse") == 0;
    if (s->n_dirs == 1 && !s->reverse && strcasecmp(text, "forward") != 0)
        return rcd__refuse(k, "direction is '%s'", text);
    return RCD_OK;
}

rcd_status rcd__cell_check(struct rcd_check *k, struct rcd_cell_spec *s,
                           const char *const *default_acts)
{
    size_t max_in = s->has_c ? 8 : 6;
    int64_t hidden = 0, layout = 0;
    rcd_status st = rcd__check_arity(k, 3, max_in, 0, s->has_c ? 3 : 2);
    if (st == RCD_OK)
        st = read_direction(k, s);
    if (st == RCD_OK)
        st = read_acts(k, s, default_acts);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "hidden_size", 0, &hidden);
    if (st == RCD_OK)
        st = rcd__attr_int(k, "layout", 0, &layout);
    if (st == RCD_OK && rcd__attr_has(k, "clip")) {
        s->has_clip = true;
        s->plain = false;
        st = rcd__attr_float(k, "clip", 0.0f, &s->clip);
    }
    const struct rcd_tensor *r = rcd__in_const(k, IN_R);
    if (st == RCD_OK && hidden == 0 && r != NULL && r->rank == 3)
        hidden = r->dims[2]; /* the attribute may be left out: R says it */
    if (st == RCD_OK && (hidden < 1 || hidden > 1 << 16))
        return rcd__refuse(k, "hidden_size is %lld, want 1 to 65536", (long long)hidden);
    if (st == RCD_OK && layout != 0 && layout != 1)
        return rcd__refuse(k, "layout is %lld, want 0 or 1", (long long)layout);
    for (size_t i = 0; st == RCD_OK && i < max_in; i++)
        st = rcd__check_type(k, i, i == IN_LENS ? RCD_T(RCD_I32) : RCD_T(RCD_F32));
    s->hidden = (size_t)hidden;
    s->padded = (s->hidden + RCD_LANES - 1) / RCD_LANES * RCD_LANES;
    s->batch_first = layout == 1;
    for (size_t i = 0; st == RCD_OK && i < k->node->n_out; i++)
        rcd__set_out(k, i, RCD_F32);
    return st;
}

static bool has_shape(const struct rcd_tensor *t, int rank, int64_t a, int64_t b, int64_t c)
{
    return t->rank == rank && t->dims[0] == a && t->dims[1] == b && (rank < 3 || t->dims[2] == c);
}

static rcd_status check_weights(struct rcd_check *k, const struct rcd_cell_spec *s,
                                const struct rcd_tensor *w, const struct rcd_tensor *r,
                                const struct rcd_tensor *b, const struct rcd_tensor *p)
{
    int64_t d = s->n_dirs, gh = (int64_t)(s->gates * s->hidden), h = (int64_t)s->hidden;
    char text[128];
    if (w->rank != 3 || !has_shape(w, 3, d, gh, w->dims[2]))
        return rcd__refuse(k, "W has shape %s, want [%lld,%lld,input]",
                           rcd_shape_text(text, sizeof text, w->rank, w->dims), (long long)d,
                           (long long)gh);
    if (!has_shape(r, 3, d, gh, h))
        return rcd__refuse(k, "R has shape %s, want [%lld,%lld,%lld]",
                           rcd_shape_text(text, sizeof text, r->rank, r->dims), (long long)d,
                           (long long)gh, (long long)h);
    if (b != NULL && !has_shape(b, 2, d, 2 * gh, 0))
        return rcd__refuse(k, "B has shape %s, want [%lld,%lld]",
                           rcd_shape_text(text, sizeof text, b->rank, b->dims), (long long)d,
                           (long long)(2 * gh));
    if (p != NULL && !has_shape(p, 2, d, 3 * h, 0))
        return rcd__refuse(k, "P has shape %s, want [%lld,%lld]",
                           rcd_shape_text(text, sizeof text, p->rank, p->dims), (long long)d,
                           (long long)(3 * h));
    return RCD_OK;
}

/* Biases and peepholes follow the matrices in `mem`: they move to the plan's memory as they are. */
static rcd_status keep_rest(struct rcd_check *k, struct rcd_cell_weights *w, const char *mem,
                            size_t bytes)
{
    size_t at = (size_t)((const char *)w->bias - mem);
    float *rest = rcd__plan_alloc(k, bytes - at);
    if (rest == NULL)
        return RCD_ENOMEM;
    memcpy(rest, w->bias, bytes - at);
    if (w->bias2 != NULL)
        w->bias2 = rest + (w->bias2 - w->bias);
    if (w->peep != NULL)
        w->peep = rest + (w->peep - w->bias);
    w->bias = rest;
    return RCD_OK;
}

static rcd_status keep_weights(struct rcd_check *k, rcd_weights how, struct rcd_cell_weights *w,
                               float *mem, size_t bytes)
{
    rcd_status st = rcd__weights_reduce(k, how, &w->w);
    if (st == RCD_OK)
        st = rcd__weights_reduce(k, how, &w->r);
    if (st == RCD_OK && w->r2.padded > 0)
        st = rcd__weights_reduce(k, how, &w->r2);
    if (how == RCD_WEIGHTS_F32)
        return st;
    if (st == RCD_OK)
        st = keep_rest(k, w, (const char *)mem, bytes);
    rcd_free(mem);
    return st;
}

rcd_status rcd__cell_pack(struct rcd_check *k, struct rcd_cell_spec *s)
{
    const struct rcd_tensor *w = rcd__in_const(k, IN_W), *r = rcd__in_const(k, IN_R);
    const struct rcd_tensor *b = rcd__in_const(k, IN_B);
    const struct rcd_tensor *p = s->has_c ? rcd__in_const(k, IN_P) : NULL;
    bool known = w != NULL && r != NULL && (!rcd__has_in(k, IN_B) || b != NULL) &&
                 (!s->has_c || !rcd__has_in(k, IN_P) || p != NULL);
    k->node->state = s;
    if (!known)
        return RCD_OK; /* packed for every request as it runs */
    rcd_status st = check_weights(k, s, w, r, b, p);
    if (st != RCD_OK)
        return st;
    s->input = (size_t)w->dims[2];
    size_t gh = s->gates * s->hidden, bytes = 0;
    if (!s->bytes(s, s->input, &bytes))
        return rcd__refuse(k, "weights of %zu inputs and %zu units are too large", s->input,
                           s->hidden);
    rcd_weights how = RCD_WEIGHTS_F32;
    st = rcd__weights_of(k, s->input > s->hidden ? s->input : s->hidden, &how);
    for (int d = 0; st == RCD_OK && d < s->n_dirs; d++) {
        float *mem = rcd__weights_new(k, how, bytes);
        if (mem == NULL)
            return RCD_ENOMEM;
        size_t at = (size_t)d;
        s->pack(s, &s->weights[d], mem, (const float *)w->data + at * gh * s->input,
                (const float *)r->data + at * gh * s->hidden,
                b != NULL ? (const float *)b->data + at * 2 * gh : NULL,
                p != NULL ? (const float *)p->data + at * 3 * s->hidden : NULL, s->input);
        st = keep_weights(k, how, &s->weights[d], mem, bytes);
    }
    s->packed = st == RCD_OK;
    k->node->packed = 1u << IN_W | 1u << IN_R;
    return st;
}
