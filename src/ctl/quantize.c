/* quantize.c - the command `quantize --report`: what bf16 and int8 weights do to each model of a folder:
 * size, speed, loss of accuracy. No server takes part; the engine runs here, on this machine's kernels.
 *
 * A model is loaded once for each kind, with its own model.json in which only "weights" differs. */
#include "ctl_int.h"
#include "recurd/codec.h"
#include "trial.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { RUNS = 24, STEPS = 64, ROUNDS = 7, PATH_BYTES = 4096 };
static const size_t run_bytes = (size_t)1 << 32, model_bytes = (size_t)1 << 40;

struct report {
    const struct ctl_args *args;
    const char *root; /* of the models */
    rcd_registry *models;
    rcd_exec *exec;
    json_t *rows;             /* for --json */
    struct rcd_arena request; /* of -f */
    struct rcd_wire_request wire;
    int status;
};

/* ---- loading ---------------------------------------------------------------------------------------- */

/* The model's own model.json, or {}, with "weights" set. */
static char *config_with(const struct report *r, const char *model, rcd_weights how,
                         struct rcd_error *err)
{
    char path[PATH_BYTES];
    json_error_t bad;
    snprintf(path, sizeof path, "%s/%s/model.json", r->root, model);
    json_t *config = access(path, F_OK) == 0 ? json_load_file(path, JSON_REJECT_DUPLICATES, &bad)
                                             : json_object();
    char *text = NULL;
    if (json_is_object(config) &&
        json_object_set_new(config, "weights", json_string(rcd_weights_name(how))) == 0)
        text = json_dumps(config, JSON_COMPACT);
    if (text == NULL)
        rcd_fail(err, RCD_EMODEL, "%s: is not a JSON object", path);
    json_decref(config);
    return text;
}

static rcd_status load(const struct report *r, const char *model, rcd_weights how,
                       rcd_version **ret, struct rcd_error *err)
{
    char *config = config_with(r, model, how, err);
    if (config == NULL)
        return RCD_EMODEL;
    rcd_status st = rcd_registry_load(r->models, model, config, NULL, 0, err);
    free(config);
    return st == RCD_OK ? rcd_registry_get(r->models, model, NULL, ret, err) : st;
}

/* ---- inputs ----------------------------------------------------------------------------------------- */

/* The tensors of -f by the names of the model's inputs. */
static rcd_status inputs_given(const struct report *r, const rcd_plan *p, struct ctl_inputs *ret,
                               struct rcd_error *err)
{
    const struct rcd_io *io = rcd_plan_inputs(p, &ret->n);
    ret->in = rcd_calloc(ret->n, sizeof *ret->in);
    if (ret->in == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu inputs", ret->n);
    for (size_t k = 0; k < r->wire.n_inputs; k++) {
        size_t i = 0;
        while (i < ret->n && strcmp(io[i].name, r->wire.inputs[k].name) != 0)
            i++;
        if (i == ret->n)
            return rcd_fail(err, RCD_EINVAL, "%s: the model has no input '%s'",
                            r->args->request_file, r->wire.inputs[k].name);
        ret->in[i] = r->wire.inputs[k].tensor;
    }
    return RCD_OK;
}

static int read_request(struct report *r, struct rcd_buf *body)
{
    static const struct rcd_wire_limits limits = {
        .max_depth = 64, .max_inputs = 1024, .max_string_bytes = 1 << 20};
    struct rcd_error err;
    int status = rcd__read_whole(r->args->request_file, body);
    if (status == CTL_OK && rcd_wire_decode(&r->request, body->data, body->len, RCD_NO_JSON_LEN,
                                            &limits, &r->wire, &err) != RCD_OK)
        status = rcd__complain(CTL_USAGE, "%s: %s", r->args->request_file, err.text);
    return status;
}

/* ---- one model --------------------------------------------------------------------------------------- */

struct compared {
    rcd_version *v[RCD_WEIGHTS_MAX];
    struct ctl_loss loss[RCD_WEIGHTS_MAX];
    double seconds[RCD_WEIGHTS_MAX];
};

static rcd_status compare_given(const struct report *r, struct compared *c, struct ctl_inputs *step,
                                struct rcd_error *err)
{
    const rcd_plan *f32 = rcd_version_plan(c->v[RCD_WEIGHTS_F32]);
    rcd_status st = inputs_given(r, f32, step, err);
    for (int how = RCD_WEIGHTS_BF16; st == RCD_OK && how < RCD_WEIGHTS_MAX; how++)
        st = rcd__compare(f32, rcd_version_plan(c->v[how]), r->exec, step, &c->loss[how], err);
    return st;
}

/* Made-up inputs; *step is what is timed: one time step where the model has time. */
static rcd_status compare_made(const struct report *r, struct compared *c, struct ctl_inputs *step,
                               struct rcd_error *err)
{
    const rcd_version *v = c->v[RCD_WEIGHTS_F32];
    const rcd_plan *f32 = rcd_version_plan(v);
    struct ctl_ranges ranges;
    struct rcd_error why;
    rcd_status st = rcd__ranges_find(v, r->exec, STEPS, &ranges, err);
    if (st != RCD_OK)
        return rcd_error_prefix(err, st, "it does not run with made-up inputs, give -f: ");
    for (uint64_t seed = 0; st == RCD_OK && seed < RUNS; seed++) {
        struct ctl_inputs i;
        st = rcd__inputs_make(v, &ranges, STEPS, seed, &i, err);
        if (st != RCD_OK)
            break;
        /* a draw that the ranges did not meet may be refused: then it is left out */
        for (int how = RCD_WEIGHTS_BF16; how < RCD_WEIGHTS_MAX; how++)
            (void)!rcd__compare(f32, rcd_version_plan(c->v[how]), r->exec, &i, &c->loss[how], &why);
        rcd__inputs_done(&i);
    }
    if (st == RCD_OK)
        st = rcd__inputs_make(v, &ranges, 1, 0, step, err);
    if (st == RCD_OK && rcd__inputs_run(f32, r->exec, step, &why) != RCD_OK) {
        rcd__inputs_done(step); /* one step is too few for it */
        st = rcd__inputs_make(v, &ranges, STEPS, 0, step, err);
    }
    rcd__ranges_done(&ranges);
    return st;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void time_all(const struct report *r, struct compared *c, const struct ctl_inputs *step)
{
    double took[RCD_WEIGHTS_MAX][ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        for (int how = 0; how < RCD_WEIGHTS_MAX; how++)
            took[how][round] = rcd__inputs_time(rcd_version_plan(c->v[how]), r->exec, step);
    }
    for (int how = 0; how < RCD_WEIGHTS_MAX; how++) {
        qsort(took[how], ROUNDS, sizeof took[how][0], ascending);
        c->seconds[how] = took[how][ROUNDS / 2];
    }
}

/* JSON has no NaN. */
static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static void tell(const struct report *r, const char *model, const struct compared *c)
{
    size_t f32_bytes = 0;
    for (int how = 0; how < RCD_WEIGHTS_MAX; how++) {
        const struct ctl_loss *l = &c->loss[how];
        const double mb =
            (double)rcd_plan_weight_bytes(rcd_version_plan(c->v[how]), &f32_bytes) / 1e6;
        const double speed = c->seconds[RCD_WEIGHTS_F32] / c->seconds[how];
        const double rms = l->whole2 > 0.0 ? sqrt(l->sum2 / l->whole2) : 0.0;
        const char *kind = rcd_weights_name((rcd_weights)how);
        if (r->args->json) {
            json_t *row =
                json_pack("{s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I}", "model", model,
                          "version", rcd_version_number(c->v[how]), "weights", kind, "megabytes",
                          number(mb), "step_us", number(1e6 * c->seconds[how]), "speed",
                          number(speed), "largest_difference", number(l->largest), "relative_rms",
                          number(rms), "argmax_rows", (json_int_t)l->rows, "argmax_equal",
                          (json_int_t)l->agree, "runs", (json_int_t)l->runs);
            json_array_append_new(r->rows, row);
            continue;
        }
        printf("%-20s %-7s %-7s %9.3f %8.2f x", how == 0 ? model : "",
               how == 0 ? rcd_version_number(c->v[how]) : "", kind, mb, speed);
        if (how == 0)
            printf(" %11.1f us\n", 1e6 * c->seconds[how]);
        else if (l->rows > 0)
            printf(" %11.1f us %11.2e %9.3f %% %8.2f %% of %zu\n", 1e6 * c->seconds[how],
                   l->largest, 100.0 * rms, 100.0 * (double)l->agree / (double)l->rows, l->rows);
        else
            printf(" %11.1f us %11.2e %9.3f %%        -\n", 1e6 * c->seconds[how], l->largest,
                   100.0 * rms);
    }
}

static void one_model(struct report *r, const char *model)
{
    struct compared c = {.v = {NULL}};
    struct ctl_inputs step = {.n = 0};
    struct rcd_error err;
    rcd_status st = RCD_OK;
    for (int how = 0; st == RCD_OK && how < RCD_WEIGHTS_MAX; how++)
        st = load(r, model, (rcd_weights)how, &c.v[how], &err);
    if (st == RCD_OK)
        st = r->args->request_file != NULL ? compare_given(r, &c, &step, &err)
                                           : compare_made(r, &c, &step, &err);
    if (st == RCD_OK) {
        time_all(r, &c, &step);
        tell(r, model, &c);
    } else {
        r->status = rcd__complain(CTL_REFUSED, "%s: %s", model, err.text);
    }
    rcd__inputs_done(&step);
    for (int how = 0; how < RCD_WEIGHTS_MAX; how++)
        rcd_version_unref(c.v[how]);
    (void)!rcd_registry_unload(r->models, model, &err);
}

/* ---- the folder ---------------------------------------------------------------------------------------- */

/* Does the folder hold a version, so that it is a model and not a folder of models? */
static bool is_model(const char *path)
{
    DIR *d = opendir(path);
    bool found = false;
    for (const struct dirent *e; d != NULL && !found && (e = readdir(d)) != NULL;) {
        char file[PATH_BYTES];
        size_t n = strlen(e->d_name);
        snprintf(file, sizeof file, "%s/%s/model.onnx", path, e->d_name);
        found = strspn(e->d_name, "0123456789") == n && access(file, R_OK) == 0;
    }
    if (d != NULL)
        closedir(d);
    return found;
}

static void all_models(struct report *r)
{
    struct rcd_arena arena;
    struct rcd_index_row *rows = NULL;
    size_t n = 0;
    rcd_arena_init(&arena, model_bytes);
    if (rcd_registry_index(r->models, &arena, &rows, &n) != RCD_OK)
        r->status = rcd__complain(CTL_REFUSED, "%s: no memory for a list of models", r->root);
    else if (n == 0)
        r->status = rcd__complain(CTL_REFUSED, "%s: there is no model in it", r->root);
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || strcmp(rows[i].name, rows[i - 1].name) != 0)
            one_model(r, rows[i].name);
    }
    rcd_arena_done(&arena);
}

static int run_report(struct report *r, const char *only)
{
    const struct rcd_registry_opts opts = {.root = r->root,
                                           .kernels = rcd_kernels_for(rcd_cpu_best(RCD_CPU_AVX512)),
                                           .max_model_bytes = model_bytes,
                                           .max_run_bytes = run_bytes,
                                           .default_max_rows = 64,
                                           .default_max_queue = 1024};
    struct rcd_error err;
    if (rcd_registry_new(&opts, &r->models, &err) != RCD_OK)
        return rcd__complain(CTL_REFUSED, "%s", err.text);
    r->exec = rcd_exec_new(run_bytes, run_bytes / 8);
    if (r->exec == NULL)
        return rcd__complain(CTL_REFUSED, "no memory");
    if (!r->args->json)
        printf("%-20s %-7s %-7s %9s %10s %14s %11s %11s %10s\n", "MODEL", "VERSION", "WEIGHTS",
               "MB", "SPEED", "STEP", "LARGEST", "RMS", "ARGMAX");
    if (only != NULL)
        one_model(r, only);
    else
        all_models(r);
    if (r->args->json) {
        json_dumpf(r->rows, stdout, JSON_INDENT(1) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    return r->status;
}

int rcd__command_quantize(const struct ctl_args *args)
{
    if (!args->report)
        return rcd__complain(CTL_USAGE, "quantize does --report, nothing else");
    struct report r = {.args = args};
    struct rcd_buf body;
    char *path = realpath(args->model, NULL), *slash = NULL;
    if (path == NULL)
        return rcd__complain(CTL_USAGE, "%s: %s", args->model, strerror(errno));
    r.rows = json_array();
    rcd_arena_init(&r.request, run_bytes);
    rcd_buf_init(&body, 0);
    const char *only = NULL;
    if (is_model(path) && (slash = strrchr(path, '/')) != path) {
        *slash = '\0';
        only = slash + 1;
    }
    r.root = path;
    int status = CTL_OK;
    if (args->request_file != NULL && only == NULL)
        status = rcd__complain(CTL_USAGE, "-f goes with the folder of one model");
    else if (args->request_file != NULL)
        status = read_request(&r, &body);
    if (status == CTL_OK)
        status = run_report(&r, only);
    rcd_exec_free(r.exec);
    rcd_registry_free(r.models);
    json_decref(r.rows);
    rcd_arena_done(&r.request);
    rcd_buf_done(&body);
    free(path);
    return status;
}
