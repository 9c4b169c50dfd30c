/* run_cases.c - runs ONNX test folders (model.onnx, test_data_set_N/{input,output}_M.pb) on the engine.
 *
 *   run_cases [--list FILE] [--tolerance T] [--weights f32|bf16|int8] [--plans yes] ROOT [NAME...]
 *
 * For every folder: the expected outputs within the tolerance, which is relative to the largest absolute
 * value of the output (absolute where that is below 1); all data sets of a model in ONE batch give the
 * bits of each alone; every CPU level gives the bits of plain C. --list names the folders, one a line;
 * a line "NAME refused TEXT" expects the loader or engine to refuse the model with that text. */
#include "recurd/engine.h"
#include "recurd/engine_bind.h"
#include "recurd/engine_report.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_SETS = 8, MAX_IO = 64 };
static const size_t run_bytes = (size_t)1 << 30;

struct file {
    char *data;
    size_t len;
};

static bool read_file(const char *path, struct file *f)
{
    *f = (struct file){NULL, 0};
    FILE *in = fopen(path, "rb");
    if (in == NULL)
        return false;
    fseek(in, 0, SEEK_END);
    long size = ftell(in);
    rewind(in);
    f->data = malloc((size_t)size + 1);
    f->len = fread(f->data, 1, (size_t)size, in);
    fclose(in);
    return true;
}

struct set {
    struct rcd_tensor in[MAX_IO], want[MAX_IO];
    size_t n_in, n_want;
};

struct test {
    const char *name;
    char dir[4096];
    struct rcd_arena arena;
    struct set sets[MAX_SETS];
    size_t n_sets;
    double tolerance;
    char why[512];
};

static bool load_tensors(struct test *t, size_t set, const char *kind, struct rcd_tensor *out,
                         size_t *n, const char **names)
{
    for (*n = 0; *n < MAX_IO; (*n)++) {
        char path[4200];
        struct file f;
        struct rcd_error err;
        snprintf(path, sizeof path, "%s/test_data_set_%zu/%s_%zu.pb", t->dir, set, kind, *n);
        if (!read_file(path, &f))
            break;
        rcd_status st = rcd_onnx_tensor_load(&t->arena, f.data, f.len, &out[*n], &names[*n], &err);
        free(f.data);
        if (st != RCD_OK) {
            snprintf(t->why, sizeof t->why, "%s_%zu: %s", kind, *n, err.text);
            return false;
        }
    }
    return true;
}

static size_t place(const struct rcd_io *ios, size_t n, const char *name, size_t fallback)
{
    for (size_t i = 0; name != NULL && name[0] != '\0' && i < n; i++) {
        if (strcmp(ios[i].name, name) == 0)
            return i;
    }
    return fallback;
}

static bool load_sets(struct test *t, const rcd_plan *p)
{
    size_t n_in = 0, n_out = 0;
    const struct rcd_io *ins = rcd_plan_inputs(p, &n_in), *outs = rcd_plan_outputs(p, &n_out);
    for (t->n_sets = 0; t->n_sets < MAX_SETS; t->n_sets++) {
        struct set *s = &t->sets[t->n_sets];
        struct rcd_tensor tmp[MAX_IO];
        const char *names[MAX_IO] = {NULL};
        size_t n = 0;
        memset(s, 0, sizeof *s);
        if (!load_tensors(t, t->n_sets, "input", tmp, &n, names))
            return false;
        for (size_t i = 0; i < n; i++)
            s->in[place(ins, n_in, names[i], i)] = tmp[i];
        s->n_in = n;
        if (!load_tensors(t, t->n_sets, "output", tmp, &s->n_want, names))
            return false;
        if (s->n_want == 0)
            break;
        for (size_t i = 0; i < s->n_want; i++)
            s->want[place(outs, n_out, names[i], i)] = tmp[i];
    }
    if (t->n_sets == 0)
        snprintf(t->why, sizeof t->why, "no test data");
    return t->n_sets > 0;
}

static double value(const struct rcd_tensor *t, size_t i)
{
    switch (t->dtype) {
    case RCD_F32:
        return (double)((const float *)t->data)[i];
    case RCD_F64:
        return ((const double *)t->data)[i];
    case RCD_F16:
        return (double)rcd_f16_to_f32(((const uint16_t *)t->data)[i]);
    case RCD_BF16:
        return (double)rcd_bf16_to_f32(((const uint16_t *)t->data)[i]);
    default:
        return 0.0;
    }
}

static bool equal_bytes(const struct rcd_tensor *a, const struct rcd_tensor *b)
{
    if (a->dtype != b->dtype || a->rank != b->rank ||
        memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) != 0)
        return false;
    if (a->dtype != RCD_BYTES)
        return a->n == 0 || memcmp(a->data, b->data, a->n * rcd_dtype_size(a->dtype)) == 0;
    const struct rcd_bytes *x = a->data, *y = b->data;
    for (size_t i = 0; i < a->n; i++) {
        if (x[i].len != y[i].len || memcmp(x[i].ptr, y[i].ptr, x[i].len) != 0)
            return false;
    }
    return true;
}

static rcd_weights weights;

static bool close_enough(struct test *t, size_t set, size_t o, const struct rcd_tensor *got,
                         const struct rcd_tensor *want)
{
    char a[128], b[128];
    if (got->dtype != want->dtype || got->rank != want->rank ||
        memcmp(got->dims, want->dims, (size_t)got->rank * sizeof got->dims[0]) != 0) {
        snprintf(t->why, sizeof t->why, "set %zu output %zu: %s %s, want %s %s", set, o,
                 rcd_dtype_name(got->dtype), rcd_shape_text(a, sizeof a, got->rank, got->dims),
                 rcd_dtype_name(want->dtype), rcd_shape_text(b, sizeof b, want->rank, want->dims));
        return false;
    }
    bool is_float = got->dtype == RCD_F32 || got->dtype == RCD_F64 || got->dtype == RCD_F16 ||
                    got->dtype == RCD_BF16;
    if (!is_float) {
        /* of a number that was rounded otherwise, a whole number may be another one */
        if (weights != RCD_WEIGHTS_F32 || equal_bytes(got, want))
            return true;
        snprintf(t->why, sizeof t->why, "set %zu output %zu differs", set, o);
        return false;
    }
    double scale = 1.0;
    for (size_t i = 0; i < want->n; i++) {
        double w = fabs(value(want, i));
        if (isfinite(w) && w > scale)
            scale = w;
    }
    for (size_t i = 0; i < want->n; i++) {
        double g = value(got, i), w = value(want, i);
        if ((isnan(g) && isnan(w)) || g == w || fabs(g - w) <= t->tolerance * scale)
            continue;
        snprintf(t->why, sizeof t->why, "set %zu output %zu[%zu]: %.9g, want %.9g (scale %g)", set,
                 o, i, g, w, scale);
        return false;
    }
    return true;
}

static bool run_batch(struct test *t, rcd_exec *x, const rcd_plan *p, size_t first, size_t n,
                      struct rcd_infer *reqs, size_t n_out)
{
    struct rcd_infer *list[MAX_SETS];
    for (size_t i = 0; i < n; i++) {
        memset(reqs[i].out, 0, n_out * sizeof *reqs[i].out);
        reqs[i].in = t->sets[first + i].in;
        reqs[i].wanted = NULL;
        list[i] = &reqs[i];
        struct rcd_error err;
        if (rcd_plan_check_inputs(p, &reqs[i], &err) != RCD_OK) {
            snprintf(t->why, sizeof t->why, "%s", err.text);
            return false;
        }
    }
    rcd_exec_run(x, p, n, list, NULL);
    for (size_t i = 0; i < n; i++) {
        if (reqs[i].err.code != RCD_OK) {
            snprintf(t->why, sizeof t->why, "%s", reqs[i].err.text);
            return false;
        }
    }
    return true;
}

/* Alone against the files, then all sets in one batch against alone, bit for bit. `ref` holds plain C's
 * answers: filled at the first level, compared at the others. */
static bool run_level(struct test *t, const rcd_plan *p, struct rcd_tensor (*ref)[MAX_IO],
                      bool first_level)
{
    size_t n_out = 0;
    (void)rcd_plan_outputs(p, &n_out);
    static struct rcd_tensor outs[MAX_SETS][MAX_IO], single[MAX_IO];
    struct rcd_infer reqs[MAX_SETS], alone = {.out = single};
    rcd_exec *x = rcd_exec_new(run_bytes, run_bytes / 8);
    bool ok = x != NULL;
    for (size_t i = 0; i < MAX_SETS; i++)
        reqs[i] = (struct rcd_infer){.out = outs[i]};
    ok = ok && run_batch(t, x, p, 0, t->n_sets, reqs, n_out);
    for (size_t s = 0; ok && s < t->n_sets; s++) {
        ok = run_batch(t, x, p, s, 1, &alone, n_out);
        for (size_t o = 0; ok && o < n_out; o++) {
            const struct rcd_tensor *want = &t->sets[s].want[o];
            if (want->dtype != RCD_NONE)
                ok = close_enough(t, s, o, &single[o], want);
            if (ok && !equal_bytes(&single[o], &outs[s][o])) {
                snprintf(t->why, sizeof t->why, "set %zu output %zu: other bits in a batch", s, o);
                ok = false;
            }
            if (ok && first_level && single[o].dtype != RCD_BYTES) {
                ref[s][o] = single[o];
                size_t bytes = single[o].n * rcd_dtype_size(single[o].dtype);
                ref[s][o].data = rcd_arena_alloc(&t->arena, bytes);
                memcpy(ref[s][o].data, single[o].data, bytes);
            } else if (ok && single[o].dtype != RCD_BYTES && !equal_bytes(&single[o], &ref[s][o])) {
                snprintf(t->why, sizeof t->why, "set %zu output %zu: other bits than plain C", s,
                         o);
                ok = false;
            }
        }
        rcd_infer_drop(&alone, n_out);
    }
    for (size_t s = 0; x != NULL && s < t->n_sets; s++)
        rcd_infer_drop(&reqs[s], n_out);
    rcd_exec_free(x);
    return ok;
}

/* Some inputs of set s fixed, run beside a request that has nothing fixed: the bits of both stay. */
static bool run_fixed(struct test *t, rcd_exec *x, rcd_plan *p, struct rcd_tensor (*ref)[MAX_IO],
                      size_t s, uint64_t fixed)
{
    size_t n_in = 0, n_out = 0;
    (void)rcd_plan_inputs(p, &n_in);
    (void)rcd_plan_outputs(p, &n_out);
    static struct rcd_tensor given[MAX_IO], open[MAX_IO], out[2][MAX_IO];
    for (size_t i = 0; i < n_in; i++) {
        bool fix = (fixed >> i & 1) != 0;
        given[i] = fix ? t->sets[s].in[i] : (struct rcd_tensor){.dtype = RCD_NONE};
        open[i] = fix ? (struct rcd_tensor){.dtype = RCD_NONE} : t->sets[s].in[i];
        if (fix && given[i].dtype == RCD_BYTES)
            return true;
    }
    memset(out, 0, sizeof out);
    rcd_bound *b = NULL;
    struct rcd_error err;
    if (rcd_bound_new(x, p, given, NULL, &b, &err) != RCD_OK) {
        snprintf(t->why, sizeof t->why, "inputs %llx fixed: %s", (unsigned long long)fixed,
                 err.text);
        return false;
    }
    struct rcd_infer reqs[2] = {{.in = t->sets[0].in, .out = out[0]},
                                {.in = open, .out = out[1], .bound = b}};
    struct rcd_infer *const list[] = {&reqs[0], &reqs[1]};
    bool ok = rcd_plan_check_inputs(p, &reqs[1], &err) == RCD_OK;
    if (ok)
        rcd_exec_run(x, p, 2, list, NULL);
    for (int r = 0; ok && r < 2; r++) {
        ok = reqs[r].err.code == RCD_OK;
        for (size_t o = 0; ok && o < n_out; o++) {
            const struct rcd_tensor *known = rcd_bound_output(b, o), *want = &ref[r ? s : 0][o];
            ok = out[r][o].dtype == RCD_BYTES ||
                 (equal_bytes(&out[r][o], want) &&
                  (r == 0 || known == NULL || equal_bytes(known, want)));
        }
    }
    if (!ok)
        snprintf(t->why, sizeof t->why, "set %zu, inputs %llx fixed: other bits or %s", s,
                 (unsigned long long)fixed, reqs[1].err.code != RCD_OK ? reqs[1].err.text : "-");
    rcd_infer_drop(&reqs[0], n_out);
    rcd_infer_drop(&reqs[1], n_out);
    rcd_bound_unref(b);
    return ok;
}

static bool run_all_fixed(struct test *t, rcd_plan *p, struct rcd_tensor (*ref)[MAX_IO])
{
    size_t n_in = 0;
    (void)rcd_plan_inputs(p, &n_in);
    uint64_t all = (UINT64_C(1) << n_in) - 1;
    rcd_exec *x = rcd_exec_new(run_bytes, run_bytes / 8);
    bool ok = x != NULL;
    for (size_t s = 0; ok && s < t->n_sets; s++) {
        ok = run_fixed(t, x, p, ref, s, all);
        for (size_t i = 0; ok && i < n_in; i++)
            ok = run_fixed(t, x, p, ref, s, UINT64_C(1) << i) &&
                 run_fixed(t, x, p, ref, s, all & ~(UINT64_C(1) << i));
    }
    rcd_exec_free(x);
    return ok;
}

static rcd_status load_plan(const char *dir, const struct rcd_kernels *kernels, rcd_plan **ret,
                            struct rcd_error *err)
{
    char path[4200];
    struct file f;
    snprintf(path, sizeof path, "%s/model.onnx", dir);
    if (!read_file(path, &f))
        return rcd_fail(err, RCD_EIO, "cannot read %s", path);
    struct rcd_onnx_source src = {
        .bytes = f.data, .len = f.len, .dir_fd = -1, .max_bytes = run_bytes};
    rcd_onnx_model *model = NULL;
    rcd_status st = rcd_onnx_load(&src, &model, err);
    free(f.data);
    struct rcd_plan_opts opts = {.kernels = kernels, .weights = weights};
    if (st == RCD_OK)
        st = rcd_plan_new(&model, &opts, ret, err);
    rcd_onnx_free(model);
    return st;
}

static bool run_test(struct test *t, const char *refused)
{
    static struct rcd_tensor ref[MAX_SETS][MAX_IO];
    bool first = true, ok = true;
    const struct rcd_kernels *kernels;
    for (size_t set = 0; ok && (kernels = rcd_kernels_variant(set)) != NULL; set++) {
        struct rcd_error err;
        rcd_plan *p = NULL;
        if (load_plan(t->dir, kernels, &p, &err) != RCD_OK) {
            snprintf(t->why, sizeof t->why, "%s", err.text);
            return refused != NULL && strstr(err.text, refused) != NULL;
        }
        ok = first ? load_sets(t, p) : true;
        ok = ok && run_level(t, p, ref, first);
        ok = ok && (!first || run_all_fixed(t, p, ref));
        if (!ok && !first) {
            size_t n = strlen(t->why);
            snprintf(t->why + n, sizeof t->why - n, " [kernels %zu, %s]", set, kernels->name);
        }
        first = false;
        rcd_plan_unref(p);
    }
    if (refused != NULL) {
        snprintf(t->why, sizeof t->why, "was expected to be refused with \"%s\"", refused);
        return false;
    }
    return ok;
}

static void print_plan(const char *dir)
{
    rcd_plan *p = NULL;
    struct rcd_error err;
    struct rcd_buf text;
    rcd_buf_init(&text, run_bytes);
    if (load_plan(dir, rcd_kernels_for(RCD_CPU_C), &p, &err) != RCD_OK)
        printf("%s: %s\n", dir, err.text);
    else if (rcd_plan_report(p, &text) == RCD_OK)
        printf("%s: %.*s", dir, (int)text.len, text.data);
    rcd_buf_done(&text);
    rcd_plan_unref(p);
}

static size_t passed, failed;
static bool show_plans;

static void run_named(const char *root, const char *line, double tolerance)
{
    static struct test t;
    char name[256];
    const char *refused = NULL;
    snprintf(name, sizeof name, "%s", line);
    name[strcspn(name, " \n")] = '\0';
    const char *mark = strstr(line, " refused ");
    char text[256];
    if (mark != NULL) {
        snprintf(text, sizeof text, "%s", mark + strlen(" refused "));
        text[strcspn(text, "\n")] = '\0';
        refused = text;
    }
    if (name[0] == '\0' || name[0] == '#')
        return;
    memset(&t, 0, sizeof t);
    t.name = name;
    t.tolerance = tolerance;
    snprintf(t.dir, sizeof t.dir, "%s/%s", root, name);
    rcd_arena_init(&t.arena, run_bytes);
    if (show_plans)
        print_plan(t.dir);
    if (run_test(&t, refused)) {
        passed++;
    } else {
        failed++;
        printf("FAIL %s: %s\n", name, t.why);
    }
    rcd_arena_done(&t.arena);
}

int main(int argc, char **argv)
{
    const char *list = NULL;
    double tolerance = 1e-5;
    int at = 1;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--list") == 0)
            list = argv[at + 1];
        else if (strcmp(argv[at], "--tolerance") == 0)
            tolerance = strtod(argv[at + 1], NULL);
        else if (strcmp(argv[at], "--weights") == 0)
            weights = rcd_weights_parse(argv[at + 1]);
        else if (strcmp(argv[at], "--plans") == 0)
            show_plans = strcmp(argv[at + 1], "yes") == 0;
    }
    if (at >= argc || weights == RCD_WEIGHTS_MAX) {
        fprintf(stderr,
                "usage: run_cases [--list FILE] [--tolerance T] [--weights W] ROOT [NAME...]\n");
        return 2;
    }
    const char *root = argv[at++];
    for (; at < argc; at++)
        run_named(root, argv[at], tolerance);
    FILE *in = list != NULL ? fopen(list, "r") : NULL;
    char line[1024];
    while (in != NULL && fgets(line, sizeof line, in) != NULL)
        run_named(root, line, tolerance);
    if (in != NULL)
        fclose(in);
    printf("%zu passed, %zu failed\n", passed, failed);
    return failed == 0 && passed > 0 ? 0 : 1;
}
