/* version.c - one loaded version: how it is made, and its getters. Immutable once it is published;
 * whoever holds a reference may go on using it after it was replaced or unloaded, so the owner's hook
 * (`detach`) is called when the last reference falls, not when the version leaves the table. */
#include "registry_int.h"

#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include <xxhash.h>

struct rcd_version {
    atomic_uint refs;
    struct rcd_arena arena; /* holds the strings, the configuration, the labels */
    const char *model, *number;
    struct rcd_model_config config;
    rcd_plan *plan;
    const char *const *labels;
    size_t n_labels;
    double load_seconds;
    uint64_t fingerprint;
    bool attached;
    void *user;
    void (*detach)(void *ctx, void *user);
    void *ctx;
};

rcd_version *rcd_version_ref(rcd_version *v)
{
    atomic_fetch_add_explicit(&v->refs, 1, memory_order_relaxed);
    return v;
}

rcd_version *rcd_version_unref(rcd_version *v)
{
    /* acq_rel: whoever frees sees all that the other holders did */
    if (v == NULL || atomic_fetch_sub_explicit(&v->refs, 1, memory_order_acq_rel) != 1)
        return NULL;
    if (v->attached && v->detach != NULL)
        v->detach(v->ctx, v->user);
    rcd_plan_unref(v->plan);
    rcd_arena_done(&v->arena);
    rcd_free(v);
    return NULL;
}

/* ---- making one ---------------------------------------------------------------------------- */

/* The file's bytes: borrowed from the load call, or read into *ret_owned. */
static rcd_status file_bytes(const struct rcd__recipe *r, const struct rcd_load_file *given,
                             const char *name, size_t max, char **ret_owned, const void **ret,
                             size_t *ret_len, struct rcd_error *err)
{
    if (given != NULL) {
        if (given->len > max)
            return rcd_fail(err, RCD_EMODEL, "%s/%llu/%s has %zu bytes, limit %zu", r->model,
                            (unsigned long long)r->number, name, given->len, max);
        *ret = given->bytes;
        *ret_len = given->len;
        return RCD_OK;
    }
    if (r->root < 0)
        return rcd_fail(err, RCD_ENOTFOUND, "%s/%llu/%s was not given", r->model,
                        (unsigned long long)r->number, name);
    char path[RCD__NAME_MAX + 64];
    snprintf(path, sizeof path, "%s/%llu/%s", r->model, (unsigned long long)r->number, name);
    rcd_status st = rcd__read_file(r->root, path, max, ret_owned, ret_len, err);
    if (st == RCD_OK)
        *ret = *ret_owned;
    return st;
}

static rcd_status make_plan(rcd_version *v, const struct rcd_registry_opts *opts,
                            const struct rcd__recipe *r, const void *bytes, size_t len,
                            struct rcd_error *err)
{
    char path[RCD__NAME_MAX + 32];
    int dir = -1;
    rcd_status st = RCD_OK;
    rcd_onnx_model *model = NULL;
    snprintf(path, sizeof path, "%s/%llu", r->model, (unsigned long long)r->number);
    if (r->root >= 0 && r->onnx == NULL)
        st = rcd__open_folder(r->root, path, &dir, err);
    if (st != RCD_OK)
        return st;
    const struct rcd_onnx_source src = {
        .bytes = bytes, .len = len, .dir_fd = dir, .max_bytes = opts->max_model_bytes};
    const struct rcd_plan_opts plan_opts = {.kernels = opts->kernels,
                                            .n_states = v->config.n_states,
                                            .state_inputs = v->config.state_inputs,
                                            .state_outputs = v->config.state_outputs,
                                            .n_time = v->config.n_time,
                                            .time_names = v->config.time_names,
                                            .time_axes = v->config.time_axes,
                                            .weights = v->config.weights};
    st = rcd_onnx_load(&src, &model, err);
    if (dir >= 0)
        close(dir);
    if (st == RCD_OK)
        st = rcd_plan_new(&model, &plan_opts, &v->plan, err);
    rcd_onnx_free(model);
    return st;
}

static rcd_status load_model(rcd_version *v, const struct rcd_registry_opts *opts,
                             const struct rcd__recipe *r, struct rcd_error *err)
{
    char *owned = NULL;
    const void *bytes = NULL;
    size_t len = 0;
    rcd_status st =
        file_bytes(r, r->onnx, "model.onnx", opts->max_model_bytes, &owned, &bytes, &len, err);
    if (st == RCD_ENOTFOUND)
        err->code = st = RCD_EMODEL;
    if (st != RCD_OK)
        return st;
    struct rcd_error warning;
    v->fingerprint = XXH3_64bits(bytes, len);
    st = make_plan(v, opts, r, bytes, len, err);
    rcd_free(owned);
    if (st == RCD_OK)
        st = rcd__warm_up(v->plan, &v->config, opts->max_run_bytes, &warning, err);
    if (st != RCD_OK)
        return rcd_error_prefix(err, st, "%s/%s/model.onnx: ", v->model, v->number);
    if (warning.code != RCD_OK)
        rcd__say(opts, LOG_WARNING,
                 "%s/%s/model.onnx: the warm-up with guessed shapes failed, give \"warmup\" "
                 "in model.json: %s",
                 v->model, v->number, warning.text);
    return RCD_OK;
}

static rcd_status load_labels(rcd_version *v, const struct rcd__recipe *r, struct rcd_error *err)
{
    char *owned = NULL;
    const void *bytes = NULL;
    size_t len = 0;
    struct rcd_error why;
    rcd_status st =
        file_bytes(r, r->labels, "labels.txt", RCD__LABELS_MAX, &owned, &bytes, &len, &why);
    if (st == RCD_ENOTFOUND)
        return RCD_OK;
    if (st != RCD_OK)
        return rcd_fail(err, st, "%s", why.text);
    st = rcd__labels(bytes, len, &v->arena, &v->labels, &v->n_labels, err);
    rcd_free(owned);
    if (st != RCD_OK)
        return rcd_error_prefix(err, st, "%s/%s/labels.txt: ", v->model, v->number);
    return RCD_OK;
}

static rcd_status fill(rcd_version *v, const struct rcd_registry_opts *opts,
                       const struct rcd__recipe *r, struct rcd_error *err)
{
    char number[24];
    const struct rcd__defaults defaults = {.max_rows = opts->default_max_rows,
                                           .max_queue = opts->default_max_queue,
                                           .max_delay_us = opts->default_max_delay_us};
    snprintf(number, sizeof number, "%llu", (unsigned long long)r->number);
    v->model = rcd_arena_strndup(&v->arena, r->model, strlen(r->model));
    v->number = rcd_arena_strndup(&v->arena, number, strlen(number));
    if (v->model == NULL || v->number == NULL)
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory for a version", r->model);
    rcd_status st =
        rcd__model_json(r->config, r->config_len, r->model, &defaults, &v->arena, &v->config, err);
    if (st != RCD_OK)
        return rcd_error_prefix(err, st, "%s/model.json: ", r->model);
    st = load_model(v, opts, r, err);
    return st == RCD_OK ? load_labels(v, r, err) : st;
}

static void tell(const struct rcd_registry_opts *opts, const rcd_version *v)
{
    double bytes = (double)rcd_plan_bytes(v->plan);
    const char *unit = bytes >= 1e9 ? "GB" : bytes >= 1e6 ? "MB" : "kB";
    size_t n = 0;
    const char *const *warnings = rcd_plan_warnings(v->plan, &n);
    for (size_t i = 0; i < n; i++)
        rcd__say(opts, LOG_WARNING, "%s version %s: %s", v->model, v->number, warnings[i]);
    rcd__say(opts, LOG_INFO, "loaded %s version %s in %.0f ms: %.1f %s weights", v->model,
             v->number, 1e3 * v->load_seconds,
             bytes / (bytes >= 1e9   ? 1e9
                      : bytes >= 1e6 ? 1e6
                                     : 1e3),
             unit);
}

rcd_status rcd__version_new(const struct rcd_registry_opts *opts, const struct rcd__recipe *recipe,
                            rcd_version **ret, struct rcd_error *err)
{
    uint64_t from = rcd_now_ns();
    struct rcd_error why = {.code = RCD_OK}; /* err may be NULL, and prefixes need the text */
    rcd_version *v = rcd_calloc(1, sizeof *v);
    if (v == NULL)
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory for a version", recipe->model);
    atomic_init(&v->refs, 1);
    rcd_arena_init(&v->arena, RCD__VERSION_ARENA);
    v->detach = opts->detach;
    v->ctx = opts->ctx;
    rcd_status st = fill(v, opts, recipe, &why);
    v->load_seconds = (double)(rcd_now_ns() - from) / 1e9;
    if (st == RCD_OK && opts->attach != NULL) {
        st = opts->attach(opts->ctx, v, &v->user, &why);
        v->attached = st == RCD_OK;
        if (st != RCD_OK)
            rcd_error_prefix(&why, st, "%s version %s: ", v->model, v->number);
    }
    if (st != RCD_OK) {
        rcd_version_unref(v);
        return rcd_fail(err, st, "%s", why.text);
    }
    tell(opts, v);
    *ret = v;
    return RCD_OK;
}

/* ---- getters ------------------------------------------------------------------------------------ */

const char *rcd_version_model(const rcd_version *v)
{
    return v->model;
}

const char *rcd_version_number(const rcd_version *v)
{
    return v->number;
}

rcd_plan *rcd_version_plan(const rcd_version *v)
{
    return v->plan;
}

const struct rcd_model_config *rcd_version_config(const rcd_version *v)
{
    return &v->config;
}

void *rcd_version_user(const rcd_version *v)
{
    return v->user;
}

const char *const *rcd_version_labels(const rcd_version *v, size_t *ret_n)
{
    *ret_n = v->n_labels;
    return v->labels;
}

double rcd_version_load_seconds(const rcd_version *v)
{
    return v->load_seconds;
}

uint64_t rcd_version_fingerprint(const rcd_version *v)
{
    return v->fingerprint;
}
