/* steps_proof.c - which axes are time, and the proof at load that cutting along them is exact.
 *
 * The axes come from model.json ("time") or from the names that exporters write. A name is only a
 * claim: a bidirectional layer has a "time" axis too and still cannot be cut. So the plan is run once
 * whole and once in uneven pieces, and every bit is compared. */
#include "plan_int.h"
#include "recurd/engine_steps.h"

#include <string.h>
#include <strings.h>

static bool says_time(const char *name)
{
    static const char *const words[] = {"time",      "t",          "steps",           "seq",
                                        "seq_len",   "sequence",   "sequence_length", "length",
                                        "n_steps",   "time_steps", "timesteps",       "timestep",
                                        "num_steps", "seq_length", "time_step"};
    for (size_t i = 0; name != NULL && i < RCD_COUNT(words); i++) {
        if (strcasecmp(name, words[i]) == 0)
            return true;
    }
    return false;
}

static bool is_state_output(const rcd_plan *p, size_t o)
{
    for (size_t i = 0; i < p->n_inputs; i++) {
        if (p->state_output[i] == (int)o)
            return true;
    }
    return false;
}

static int axis_of(const struct rcd_io *io, const struct rcd_plan_opts *opts)
{
    for (size_t t = 0; t < opts->n_time; t++) {
        if (strcmp(opts->time_names[t], io->name) == 0)
            return opts->time_axes[t];
    }
    for (int d = 0; opts->n_time == 0 && d < io->rank; d++) {
        if (io->dims[d] < 0 && says_time(io->dim_names[d]))
            return d;
    }
    return -1;
}

rcd_status rcd__plan_time(rcd_plan *p, const struct rcd_plan_opts *opts, struct rcd_error *err)
{
    p->time_in = rcd_arena_calloc(&p->arena, p->n_inputs + 1, sizeof *p->time_in);
    p->time_out = rcd_arena_calloc(&p->arena, p->n_outputs + 1, sizeof *p->time_out);
    if (p->time_in == NULL || p->time_out == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a plan");
    for (size_t i = 0; i < p->n_inputs; i++)
        p->time_in[i] = p->state_output[i] >= 0 ? -1 : axis_of(&p->inputs[i], opts);
    for (size_t o = 0; o < p->n_outputs; o++)
        p->time_out[o] = is_state_output(p, o) ? -1 : axis_of(&p->outputs[o], opts);
    return RCD_OK;
}

int rcd_plan_input_time(const rcd_plan *p, size_t input)
{
    return p->time_in[input];
}

/* ---- the proof ----------------------------------------------------------------------------- */

struct trial {
    const rcd_plan *p;
    rcd_exec *x;
    struct rcd_tensor *in;
    struct rcd_tensor *whole, *pieces;
};

static void fill(struct rcd_tensor *t, uint64_t seed)
{
    size_t size = rcd_dtype_size(t->dtype);
    memset(t->data, 0, t->n * size);
    for (size_t k = 0; k < t->n; k++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        float f = (float)(int32_t)(seed >> 32) / 2147483648.0f;
        double d = (double)f;
        if (t->dtype == RCD_F32)
            memcpy((char *)t->data + k * size, &f, size);
        else if (t->dtype == RCD_F64)
            memcpy((char *)t->data + k * size, &d, size);
        else if (t->dtype != RCD_BYTES && t->dtype != RCD_F16 && t->dtype != RCD_BF16)
            ((unsigned char *)t->data)[k * size] = (unsigned char)(seed >> 63); /* 0 or 1 */
    }
}

/* Whole numbers that stand for the sequence's length, as sequence_lens does, would have to be cut too. */
static bool may_be_a_length(const rcd_plan *p, size_t i)
{
    const struct rcd_io *io = &p->inputs[i];
    bool whole_numbers = io->dtype == RCD_I32 || io->dtype == RCD_I64;
    return whole_numbers && io->rank == 1 && p->time_in[i] < 0;
}

static rcd_status make_input(struct trial *t, size_t i, int64_t steps, struct rcd_error *err)
{
    const struct rcd_io *io = &t->p->inputs[i];
    int64_t dims[RCD_MAX_RANK];
    if (t->p->state_output[i] >= 0)
        return RCD_OK; /* starts at zero by itself */
    if (io->rank < 0 || io->dtype == RCD_BYTES || may_be_a_length(t->p, i))
        return rcd_fail(err, RCD_EUNSUPPORTED, "input '%s' cannot be tried in pieces", io->name);
    for (int d = 0; d < io->rank; d++)
        dims[d] = d == t->p->time_in[i] ? steps : io->dims[d] >= 0 ? io->dims[d] : 1;
    size_t n = 0, bytes = 0;
    if (!rcd_shape_count(io->dtype, io->rank, dims, &n, &bytes) || bytes > (64u << 20) ||
        !rcd_tensor_shape(&t->in[i], io->dtype, io->rank, dims))
        return rcd_fail(err, RCD_EUNSUPPORTED, "input '%s' is too large for a trial", io->name);
    t->in[i].data = rcd_alloc_aligned(bytes + 1);
    if (t->in[i].data == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a trial run");
    fill(&t->in[i], i + 1);
    return RCD_OK;
}

/* The stepper's outputs live in the heap and its blocks in the pool: compare before both go. */
static rcd_status compare(const struct trial *t, struct rcd_error *err)
{
    for (size_t o = 0; o < t->p->n_outputs; o++) {
        const struct rcd_tensor *a = &t->whole[o], *b = &t->pieces[o];
        bool same = a->dtype == b->dtype && a->rank == b->rank && a->n == b->n &&
                    memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0 &&
                    (a->dtype == RCD_BYTES ||
                     memcmp(a->data, b->data, a->n * rcd_dtype_size(a->dtype)) == 0);
        if (!same)
            return rcd_fail(err, RCD_EMODEL,
                            "output '%s' differs when the sequence is run in pieces: the model is "
                            "not causal over time",
                            t->p->outputs[o].name);
    }
    return RCD_OK;
}

static rcd_status run_whole(struct trial *t, struct rcd_infer *req, struct rcd_error *err)
{
    struct rcd_infer *const list[] = {req};
    rcd_exec_run(t->x, t->p, 1, list, NULL);
    if (req->err.code != RCD_OK)
        return rcd_fail(err, RCD_EUNSUPPORTED, "%s", req->err.text);
    return RCD_OK;
}

static rcd_status run_pieces(struct trial *t, rcd_stepper *s, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    for (int64_t len = 1; st == RCD_OK && rcd_stepper_left(s) > 0; len++) {
        struct rcd_infer *piece = NULL;
        st = rcd_stepper_next(s, len, &piece, err);
        if (st != RCD_OK)
            return st;
        struct rcd_infer *const list[] = {piece};
        rcd_exec_run(t->x, t->p, 1, list, NULL);
        st = rcd_stepper_take(s, err);
    }
    return st == RCD_OK || st == RCD_ENOMEM ? st : rcd_error_prefix(err, RCD_EMODEL, "in pieces: ");
}

static rcd_status try_both(struct trial *t, rcd_plan *p, struct rcd_error *err)
{
    struct rcd_infer whole = {.in = t->in, .out = t->whole};
    struct rcd_infer pieces = {.in = t->in, .out = t->pieces};
    rcd_stepper *s = NULL;
    rcd_status st = run_whole(t, &whole, err);
    p->steps = true;
    if (st == RCD_OK && rcd_plan_steps(p, &pieces) == 0)
        st = rcd_fail(err, RCD_EUNSUPPORTED, "the model has no input with a time axis");
    if (st == RCD_OK)
        st = rcd_stepper_new(p, &pieces, SIZE_MAX, &s, err);
    if (st == RCD_OK)
        st = run_pieces(t, s, err);
    if (st == RCD_OK)
        st = compare(t, err);
    p->steps = st == RCD_OK;
    rcd_infer_drop(&whole, p->n_outputs);
    rcd_infer_drop(&pieces, p->n_outputs);
    rcd_stepper_free(s);
    return st;
}

rcd_status rcd_plan_prove_steps(rcd_plan *p, rcd_exec *x, int64_t steps, struct rcd_error *err)
{
    struct trial t = {.p = p, .x = x};
    bool stateful = false;
    for (size_t i = 0; i < p->n_inputs; i++)
        stateful = stateful || p->state_output[i] >= 0;
    if (!stateful)
        return rcd_fail(err, RCD_EUNSUPPORTED, "the model has no state");
    t.in = rcd_calloc(p->n_inputs + 2 * p->n_outputs, sizeof *t.in);
    if (t.in == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a trial run");
    t.whole = t.in + p->n_inputs;
    t.pieces = t.whole + p->n_outputs;
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && i < p->n_inputs; i++)
        st = make_input(&t, i, steps, err);
    if (st == RCD_OK)
        st = try_both(&t, p, err);
    for (size_t i = 0; i < p->n_inputs; i++)
        rcd_free(t.in[i].data);
    rcd_free(t.in);
    return st;
}
