/* warmup.c - a first run before a version may answer, so that no client pays for first-time work and a
 * model that cannot run at all is found at load.
 *
 * Without configured shapes every open size is guessed to be 1. The guess may be wrong (a model may
 * need two time steps), so its failure is only told. */
#include "recurd/engine_steps.h"
#include "registry_int.h"

#include <string.h>

enum { GUESS_MAX_BYTES = 64 << 20, RUN_BYTES = 1 << 30 };

struct first_run {
    const struct rcd_io *io;
    size_t n_in, n_out;
    struct rcd_tensor *in, *out;
};

static void release(struct first_run *f)
{
    for (size_t i = 0; f->in != NULL && i < f->n_in; i++)
        rcd_free(f->in[i].data);
    rcd_free(f->in);
    rcd_free(f->out);
}

static rcd_status zeros(const struct rcd_io *io, int rank, const int64_t *dims, size_t max_bytes,
                        struct rcd_tensor *t, struct rcd_error *err)
{
    size_t n = 0, bytes = 0;
    char shape[128];
    rcd_shape_text(shape, sizeof shape, rank, dims);
    if (!rcd_shape_count(io->dtype, rank, dims, &n, &bytes) || bytes > max_bytes)
        return rcd_fail(err, RCD_EMODEL, "input '%s' of shape %s is over %zu bytes", io->name,
                        shape, max_bytes);
    if (!rcd_tensor_shape(t, io->dtype, rank, dims) || (t->data = rcd_calloc(1, bytes)) == NULL) {
        t->dtype = RCD_NONE;
        return rcd_fail(err, RCD_ENOMEM, "no memory for input '%s' of shape %s", io->name, shape);
    }
    return RCD_OK;
}

static rcd_status guess(struct first_run *f, size_t i, struct rcd_error *err)
{
    const struct rcd_io *io = &f->io[i];
    int64_t dims[RCD_MAX_RANK] = {1};
    if (io->optional)
        return RCD_OK; /* a state: starts at zero by itself */
    for (int d = 0; d < io->rank; d++)
        dims[d] = io->dims[d] >= 0 ? io->dims[d] : 1;
    return zeros(io, io->rank >= 0 ? io->rank : 1, dims, GUESS_MAX_BYTES, &f->in[i], err);
}

static rcd_status fill(struct first_run *f, const struct rcd_warmup *w, size_t max_bytes,
                       struct rcd_error *err)
{
    for (size_t k = 0; k < w->n; k++) {
        size_t i = 0;
        while (i < f->n_in && strcmp(f->io[i].name, w->names[k]) != 0)
            i++;
        if (i == f->n_in) {
            char name[80];
            return rcd_fail(err, RCD_EMODEL, "the model has no input '%s'",
                            rcd_quote(name, sizeof name, w->names[k], strlen(w->names[k])));
        }
        rcd_status st = zeros(&f->io[i], w->ranks[k], w->dims[k], max_bytes, &f->in[i], err);
        if (st != RCD_OK)
            return st;
    }
    return RCD_OK;
}

/* One run; w NULL: guessed shapes. */
static rcd_status run_once(const rcd_plan *plan, rcd_exec *x, const struct rcd_warmup *w,
                           size_t max_bytes, struct rcd_error *err)
{
    struct first_run f = {.io = rcd_plan_inputs(plan, &f.n_in)};
    rcd_plan_outputs(plan, &f.n_out);
    f.in = rcd_calloc(f.n_in, sizeof *f.in);
    f.out = rcd_calloc(f.n_out, sizeof *f.out);
    if (f.in == NULL || f.out == NULL) {
        release(&f);
        return rcd_fail(err, RCD_ENOMEM, "no memory for a first run");
    }
    rcd_status st = RCD_OK;
    if (w != NULL)
        st = fill(&f, w, max_bytes, err);
    for (size_t i = 0; st == RCD_OK && w == NULL && i < f.n_in; i++)
        st = guess(&f, i, err);
    struct rcd_infer req = {.in = f.in, .out = f.out};
    if (st == RCD_OK)
        st = rcd_plan_check_inputs(plan, &req, err);
    if (st == RCD_OK) {
        struct rcd_infer *const list[] = {&req};
        rcd_exec_run(x, plan, 1, list, NULL);
        st = req.err.code;
        if (st != RCD_OK)
            rcd_fail(err, st, "%s", req.err.text);
        rcd_infer_drop(&req, f.n_out);
    }
    release(&f);
    return st;
}

static rcd_status check_time(const rcd_plan *plan, const struct rcd_model_config *c,
                             struct rcd_error *err)
{
    size_t n_in = 0, n_out = 0;
    const struct rcd_io *in = rcd_plan_inputs(plan, &n_in), *out = rcd_plan_outputs(plan, &n_out);
    for (size_t t = 0; t < c->n_time; t++) {
        const struct rcd_io *io = NULL;
        for (size_t i = 0; i < n_in + n_out; i++) {
            const struct rcd_io *one = i < n_in ? &in[i] : &out[i - n_in];
            if (strcmp(one->name, c->time_names[t]) == 0)
                io = one;
        }
        char name[80];
        rcd_quote(name, sizeof name, c->time_names[t], strlen(c->time_names[t]));
        if (io == NULL)
            return rcd_fail(err, RCD_EMODEL, "time: the model has no input or output '%s'", name);
        if (io->rank >= 0 && c->time_axes[t] >= io->rank)
            return rcd_fail(err, RCD_EMODEL, "time: '%s' has rank %d, no axis %d", name, io->rank,
                            c->time_axes[t]);
    }
    return RCD_OK;
}

/* May long sequences be run in pieces? Only a claim in model.json that proves wrong refuses the model. */
static rcd_status prove_time(rcd_plan *plan, rcd_exec *x, const struct rcd_model_config *config,
                             struct rcd_error *err)
{
    enum { TRIAL_STEPS = 7 };
    struct rcd_error why;
    if (rcd_plan_prove_steps(plan, x, TRIAL_STEPS, &why) == RCD_EMODEL && config->n_time > 0)
        return rcd_fail(err, RCD_EMODEL, "time: %s", why.text);
    return RCD_OK;
}

rcd_status rcd__warm_up(rcd_plan *plan, const struct rcd_model_config *config, size_t max_bytes,
                        struct rcd_error *ret_warning, struct rcd_error *err)
{
    ret_warning->code = RCD_OK;
    rcd_status st = check_time(plan, config, err);
    if (st != RCD_OK)
        return st;
    if (max_bytes == 0)
        max_bytes = RUN_BYTES;
    rcd_exec *x = rcd_exec_new(max_bytes, 0);
    if (x == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a first run (%zu bytes)", max_bytes);
    for (size_t i = 0; i < config->n_warmup && st == RCD_OK; i++) {
        st = run_once(plan, x, &config->warmup[i], max_bytes, err);
        if (st != RCD_OK)
            rcd_error_prefix(err, st, "warm-up %zu of %zu: ", i + 1, config->n_warmup);
    }
    if (config->n_warmup == 0) {
        ret_warning->code = run_once(plan, x, NULL, max_bytes, ret_warning);
        if (ret_warning->code == RCD_ENOMEM) { /* nor will it fit a client's request */
            st = rcd_fail(err, RCD_ENOMEM, "warm-up: %s", ret_warning->text);
            ret_warning->code = RCD_OK;
        }
    }
    if (st == RCD_OK)
        st = prove_time(plan, x, config, err);
    rcd_exec_free(x);
    return st;
}
