/* trial.c - see trial.h. Whole numbers that a model takes (tokens, indices, lengths) have no range in the
 * file: ranges are found by trying, all inputs together downwards, then each by itself upwards. */
#include "trial.h"

#include "recurd/engine_steps.h"

#include <math.h>
#include <string.h>

enum { OPEN_SIZE = 8, RANGE_MAX = 1 << 16, RANGE_SEEDS = 8, TIMED_NS = 20 * 1000 * 1000 };

/* ---- inputs ----------------------------------------------------------------------------------------- */

static uint32_t draw(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 32);
}

/* Mean 0, variance 1: the sum of twelve uniform numbers. */
static double draw_normal(uint64_t *state)
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++)
        sum += (double)draw(state) / 4294967296.0;
    return sum;
}

static void fill(struct rcd_tensor *t, int64_t below, uint64_t seed)
{
    const size_t size = rcd_dtype_size(t->dtype);
    uint64_t state = seed * 2654435761u + 1;
    (void)draw(&state);
    for (size_t i = 0; i < t->n; i++) {
        char *to = (char *)t->data + i * size;
        if (t->dtype == RCD_F32) {
            float f = (float)draw_normal(&state);
            memcpy(to, &f, size);
        } else if (t->dtype == RCD_F64) {
            double d = draw_normal(&state);
            memcpy(to, &d, size);
        } else if (t->dtype == RCD_F16 || t->dtype == RCD_BF16) {
            float f = (float)draw_normal(&state);
            uint16_t h = t->dtype == RCD_F16 ? rcd_f32_to_f16(f) : rcd_f32_to_bf16(f);
            memcpy(to, &h, size);
        } else {
            int64_t n = (int64_t)draw(&state) % (t->dtype == RCD_BOOL ? 2 : below);
            memcpy(to, &n, size); /* little-endian, as all that recurd runs on */
        }
    }
}

static const int64_t *warmup_dims(const rcd_version *v, const char *input, int rank)
{
    const struct rcd_model_config *c = rcd_version_config(v);
    for (size_t i = 0; c->n_warmup > 0 && i < c->warmup[0].n; i++) {
        if (strcmp(c->warmup[0].names[i], input) == 0 && c->warmup[0].ranks[i] == rank)
            return c->warmup[0].dims[i];
    }
    return NULL;
}

static bool is_batch(const char *name)
{
    return name != NULL && strstr(name, "batch") != NULL;
}

static rcd_status make_one(const rcd_version *v, size_t at, int64_t below, int64_t steps,
                           uint64_t seed, struct rcd_tensor *t, struct rcd_error *err)
{
    const rcd_plan *p = rcd_version_plan(v);
    size_t n_in = 0, n = 0, bytes = 0;
    const struct rcd_io *io = &rcd_plan_inputs(p, &n_in)[at];
    int64_t dims[RCD_MAX_RANK] = {OPEN_SIZE};
    int rank = io->rank < 0 ? 1 : io->rank;
    const int64_t *warm = warmup_dims(v, io->name, rank);
    if (io->dtype == RCD_BYTES)
        return rcd_fail(err, RCD_EUNSUPPORTED, "input '%s' takes texts", io->name);
    for (int d = 0; d < io->rank; d++) {
        dims[d] = io->dims[d] >= 0                  ? io->dims[d]
                  : d == rcd_plan_input_time(p, at) ? steps
                  : warm != NULL                    ? warm[d]
                  : is_batch(io->dim_names[d])      ? 1
                                                    : OPEN_SIZE;
    }
    if (!rcd_shape_count(io->dtype, rank, dims, &n, &bytes) ||
        !rcd_tensor_shape(t, io->dtype, rank, dims) ||
        (t->data = rcd_calloc(1, bytes + 1)) == NULL) {
        t->dtype = RCD_NONE;
        return rcd_fail(err, RCD_ENOMEM, "no memory for input '%s'", io->name);
    }
    fill(t, below, seed * 64 + at);
    return RCD_OK;
}

rcd_status rcd__inputs_make(const rcd_version *v, const struct ctl_ranges *ranges, int64_t steps,
                            uint64_t seed, struct ctl_inputs *ret, struct rcd_error *err)
{
    struct ctl_inputs made = {.owned = true};
    const struct rcd_io *io = rcd_plan_inputs(rcd_version_plan(v), &made.n);
    made.in = rcd_calloc(made.n, sizeof *made.in);
    if (made.in == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu inputs", made.n);
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && i < made.n; i++) {
        if (!io[i].optional) /* a state starts at zero by itself */
            st = make_one(v, i, ranges->below[i], steps, seed, &made.in[i], err);
    }
    if (st == RCD_OK)
        *ret = made;
    else
        rcd__inputs_done(&made);
    return st;
}

void rcd__inputs_done(struct ctl_inputs *i)
{
    for (size_t k = 0; i->owned && i->in != NULL && k < i->n; k++)
        rcd_free(i->in[k].data);
    rcd_free(i->in);
    *i = (struct ctl_inputs){.n = 0};
}

/* ---- runs --------------------------------------------------------------------------------------------- */

/* Outputs go to `out`, to be given back with rcd_infer_drop. */
static rcd_status run(const rcd_plan *p, rcd_exec *x, const struct ctl_inputs *i,
                      struct rcd_infer *req, struct rcd_error *err)
{
    struct rcd_infer *const list[] = {req};
    req->in = i->in;
    rcd_status st = rcd_plan_check_inputs(p, req, err);
    if (st != RCD_OK)
        return st;
    rcd_exec_run(x, p, 1, list, NULL);
    return req->err.code == RCD_OK ? RCD_OK : rcd_fail(err, req->err.code, "%s", req->err.text);
}

static struct rcd_tensor *outputs_new(const rcd_plan *p, size_t *ret_n, struct rcd_error *err)
{
    (void)rcd_plan_outputs(p, ret_n);
    struct rcd_tensor *out = rcd_calloc(*ret_n, sizeof *out);
    if (out == NULL)
        rcd_fail(err, RCD_ENOMEM, "no memory for %zu outputs", *ret_n);
    return out;
}

rcd_status rcd__inputs_run(const rcd_plan *p, rcd_exec *x, const struct ctl_inputs *i,
                           struct rcd_error *err)
{
    size_t n = 0;
    struct rcd_infer req = {.out = outputs_new(p, &n, err)};
    if (req.out == NULL)
        return RCD_ENOMEM;
    rcd_status st = run(p, x, i, &req, err);
    rcd_infer_drop(&req, n);
    rcd_free(req.out);
    return st;
}

double rcd__inputs_time(const rcd_plan *p, rcd_exec *x, const struct ctl_inputs *i)
{
    size_t n = 0;
    struct rcd_error err;
    /* brings back what other plans pushed out of the caches */
    (void)!rcd__inputs_run(p, x, i, &err);
    uint64_t start = rcd_now_ns(), now = start;
    for (; now - start < TIMED_NS && rcd__inputs_run(p, x, i, &err) == RCD_OK; n++)
        now = rcd_now_ns();
    return n > 0 ? (double)(now - start) / 1e9 / (double)n : NAN;
}

/* ---- ranges ------------------------------------------------------------------------------------------- */

static rcd_status fits(const rcd_version *v, rcd_exec *x, int64_t steps,
                       const struct ctl_ranges *ranges, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    for (uint64_t seed = 0; st == RCD_OK && seed < RANGE_SEEDS; seed++) {
        struct ctl_inputs i;
        st = rcd__inputs_make(v, ranges, steps, seed, &i, err);
        if (st != RCD_OK)
            break;
        st = rcd__inputs_run(rcd_version_plan(v), x, &i, err);
        rcd__inputs_done(&i);
    }
    return st;
}

static bool is_whole(const struct rcd_io *io)
{
    return !io->optional && io->dtype != RCD_F32 && io->dtype != RCD_F64 && io->dtype != RCD_F16 &&
           io->dtype != RCD_BF16 && io->dtype != RCD_BOOL && io->dtype != RCD_BYTES;
}

rcd_status rcd__ranges_find(const rcd_version *v, rcd_exec *x, int64_t steps,
                            struct ctl_ranges *ret, struct rcd_error *err)
{
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(rcd_version_plan(v), &n);
    struct ctl_ranges r = {.below = rcd_calloc(n, sizeof *r.below)};
    if (r.below == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu ranges", n);
    rcd_status st = RCD_EUNSUPPORTED;
    for (int64_t below = RANGE_MAX; st != RCD_OK && below > 0; below /= 2) {
        for (size_t i = 0; i < n; i++)
            r.below[i] = io[i].dtype == RCD_I8 || io[i].dtype == RCD_U8
                             ? (below < 128 ? below : 127)
                             : below;
        st = fits(v, x, steps, &r, err);
    }
    for (size_t i = 0; st == RCD_OK && i < n; i++) {
        while (is_whole(&io[i]) && r.below[i] < RANGE_MAX && rcd_dtype_size(io[i].dtype) > 1) {
            struct rcd_error why;
            r.below[i] *= 2;
            if (fits(v, x, steps, &r, &why) != RCD_OK) {
                r.below[i] /= 2;
                break;
            }
        }
    }
    if (st == RCD_OK)
        *ret = r;
    else
        rcd__ranges_done(&r);
    return st;
}

void rcd__ranges_done(struct ctl_ranges *r)
{
    rcd_free(r->below);
    r->below = NULL;
}

/* ---- differences -------------------------------------------------------------------------------------- */

static bool is_state(const rcd_plan *p, size_t output)
{
    size_t n = 0;
    (void)rcd_plan_inputs(p, &n);
    for (size_t i = 0; i < n; i++) {
        if (rcd_plan_state_output(p, i) == (int)output)
            return true;
    }
    return false;
}

static size_t largest_of(const float *x, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

static void add_loss(const struct rcd_tensor *a, const struct rcd_tensor *b, bool state,
                     struct ctl_loss *loss)
{
    const float *x = a->data, *y = b->data;
    for (size_t i = 0; i < a->n; i++) {
        double d = fabs((double)y[i] - (double)x[i]);
        if (!isfinite(x[i]) && !isfinite(y[i]))
            continue;
        loss->largest = d > loss->largest || isnan(d) ? d : loss->largest;
        loss->sum2 += d * d;
        loss->whole2 += (double)x[i] * (double)x[i];
    }
    size_t width = a->rank > 0 ? (size_t)a->dims[a->rank - 1] : 0;
    for (size_t at = 0; !state && width > 1 && at < a->n; at += width) {
        loss->rows++;
        loss->agree += largest_of(x + at, width) == largest_of(y + at, width);
    }
}

rcd_status rcd__compare(const rcd_plan *p, const rcd_plan *q, rcd_exec *x,
                        const struct ctl_inputs *i, struct ctl_loss *loss, struct rcd_error *err)
{
    size_t n = 0;
    struct rcd_infer want = {.out = outputs_new(p, &n, err)};
    struct rcd_infer got = {.out = outputs_new(q, &n, err)};
    rcd_status st = want.out != NULL && got.out != NULL ? RCD_OK : RCD_ENOMEM;
    if (st == RCD_OK)
        st = run(p, x, i, &want, err);
    if (st == RCD_OK)
        st = run(q, x, i, &got, err);
    for (size_t o = 0; st == RCD_OK && o < n; o++) {
        if (want.out[o].dtype == RCD_F32 && got.out[o].n == want.out[o].n)
            add_loss(&want.out[o], &got.out[o], is_state(p, o), loss);
    }
    loss->runs += st == RCD_OK;
    if (want.out != NULL)
        rcd_infer_drop(&want, n);
    if (got.out != NULL)
        rcd_infer_drop(&got, n);
    rcd_free(want.out);
    rcd_free(got.out);
    return st;
}
