/* follow_cases.c - bindings that follow changes of a graph: after every random change the binding is, bit for
 * bit, what the same graph gives afresh, whoever still holds the one before keeps its bits, and the rows
 * that are told to have changed are those that have.
 *
 *   follow_cases [--seed N] [--rounds N] --list FILE ROOT
 *
 * FILE has a model folder of ROOT a line; "NAME follows" expects most changes to be followed, "NAME anew
 * TEXT" expects that the binding is not live, for that reason. Each is run with features in the binding, then with bindings
 * that wait for them, which may be live in both cases. Graphs have duplicates, self-loops, isolated
 * nodes, no edges. Inputs by name: x, h, batch have a row for each node, edge_* one for each edge, pairs stay
 * open. */
#include "follow_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PAIRS = 7 };
static const size_t run_bytes = (size_t)1 << 30;

/* Bindings wait for features of nodes: their shape alone is fixed. */
static bool waits_for_features;

static bool is_sized(const struct graph *g, size_t i)
{
    return waits_for_features && g->in[i].role == NODE_ROWS && g->in[i].dtype == RCD_F32;
}

/* ---- comparing ------------------------------------------------------------------------------------------ */

static bool same(const struct rcd_tensor *a, const struct rcd_tensor *b)
{
    return a->rank == b->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) == 0 &&
           (a->n == 0 || memcmp(a->data, b->data, a->n * rcd_dtype_size(a->dtype)) == 0);
}

/* A request: pairs, and features where the binding waits for them. */
struct request {
    int64_t pairs[2 * PAIRS];
    struct rcd_tensor in[MAX_IO];
};

static void request_free(struct request *r)
{
    for (size_t i = 0; i < MAX_IO; i++) {
        if (r->in[i].data != r->pairs)
            free(r->in[i].data);
    }
}

static void request_new(struct request *r, const rcd_plan *p, const struct graph *g)
{
    static int64_t index[2 * MAX_EDGES];
    const int64_t dims[2] = {2, PAIRS};
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(p, &n);
    struct rcd_tensor all[MAX_IO];
    memset(r, 0, sizeof *r);
    for (size_t k = 0; k < RCD_COUNT(r->pairs); k++)
        r->pairs[k] = (int64_t)follow_below(g->n_nodes);
    follow_tensors(g, p, all, index);
    for (size_t i = 0; i < n; i++) {
        if (g->in[i].role == OPEN && rcd_tensor_shape(&r->in[i], io[i].dtype, 2, dims))
            r->in[i].data = r->pairs;
        if (!is_sized(g, i))
            continue;
        const size_t bytes = all[i].n * rcd_dtype_size(all[i].dtype);
        r->in[i] = all[i];
        r->in[i].data = malloc(bytes + 1);
        memcpy(r->in[i].data, all[i].data, bytes);
    }
}

/* Outputs of the request over both bindings. */
static bool same_answers(rcd_exec *x, const rcd_plan *p, const struct request *r, rcd_bound *a,
                         rcd_bound *b)
{
    size_t n_out = 0;
    struct rcd_tensor out[2][MAX_IO];
    (void)rcd_plan_outputs(p, &n_out);
    memset(out, 0, sizeof out);
    struct rcd_infer reqs[2] = {{.in = r->in, .out = out[0], .bound = a},
                                {.in = r->in, .out = out[1], .bound = b}};
    struct rcd_infer *const list[] = {&reqs[0], &reqs[1]};
    rcd_exec_run(x, p, 2, list, NULL);
    bool ok = reqs[0].err.code == RCD_OK && reqs[1].err.code == RCD_OK;
    for (size_t o = 0; ok && o < n_out; o++)
        ok = same(&out[0][o], &out[1][o]);
    rcd_infer_drop(&reqs[0], n_out);
    rcd_infer_drop(&reqs[1], n_out);
    return ok;
}

static bool told_right(const rcd_bound *b, size_t o, const struct rcd_tensor *old)
{
    const struct rcd_tensor *new = rcd_bound_output(b, o);
    const int32_t *rows = NULL;
    size_t n = 0, at = 0;
    if (new == NULL || !rcd_bound_changed(b, o, &rows, &n))
        return true;
    const size_t size =
        new->n / (size_t)(new->dims[0] > 0 ? new->dims[0] : 1) * rcd_dtype_size(new->dtype);
    for (int64_t r = 0; r < new->dims[0]; r++) {
        const bool differs =
            r >= old->dims[0] || memcmp((const char *)new->data + (size_t)r *size,
                                        (const char *)old->data + (size_t)r * size, size) != 0;
        const bool told = at < n && rows[at] == r;
        at += told;
        if (differs != told)
            return false;
    }
    return at == n;
}

/* ---- one model -------------------------------------------------------------------------------------------- */

struct tally {
    size_t followed, anew;
    char why[512], live[400]; /* why it failed; why it is not live, or was made anew, at first */
};

static bool fail(struct tally *t, const char *what, size_t round)
{
    snprintf(t->why, sizeof t->why, "change %zu: %.400s", round, what);
    return false;
}

static rcd_bound *fresh(rcd_exec *x, rcd_plan *p, const struct graph *g,
                        const struct rcd_bound_entries *entries, struct tally *t)
{
    static int64_t index[2 * MAX_EDGES];
    struct rcd_tensor in[MAX_IO];
    struct rcd_error err = {.text = ""};
    rcd_bound *b = NULL;
    follow_tensors(g, p, in, index);
    for (size_t i = 0; i < g->n_in; i++)
        in[i].data = is_sized(g, i) ? NULL : in[i].data;
    rcd_status st = entries != NULL
                        ? rcd_bound_new_live(x, p, in, entries, run_bytes, NULL, &b, &err)
                        : rcd_bound_new(x, p, in, NULL, &b, &err);
    if (st != RCD_OK)
        snprintf(t->why, sizeof t->why, "%s", err.text);
    return b;
}

static bool one_round(rcd_exec *x, rcd_plan *p, struct graph *g,
                      const struct rcd_bound_entries *entries, rcd_bound **b, size_t round,
                      struct tally *t)
{
    static int64_t index[2 * MAX_EDGES];
    struct change c;
    struct rcd_input_delta deltas[MAX_IO];
    struct rcd_tensor in[MAX_IO], kept[MAX_IO];
    size_t n_out = 0;
    (void)rcd_plan_outputs(p, &n_out);
    rcd_bound *held = follow_below(2) ? rcd_bound_ref(*b) : NULL, *new = NULL;
    rcd_bound *before = waits_for_features && held != NULL ? fresh(x, p, g, NULL, t) : NULL;
    struct request old, now;
    request_new(&old, p, g);
    for (size_t o = 0; o < n_out; o++) {
        const struct rcd_tensor *y = rcd_bound_output(*b, o);
        kept[o].data = NULL;
        if (y == NULL)
            continue;
        kept[o] = *y;
        kept[o].data = malloc(y->n * 8 + 1);
        memcpy(kept[o].data, y->data, y->n * rcd_dtype_size(y->dtype));
    }
    follow_make_change(g, &c);
    follow_deltas_of(g, &c, deltas);
    follow_tensors(g, p, in, index);
    for (size_t i = 0; i < g->n_in; i++)
        in[i].data = NULL; /* an update must not look */
    struct rcd_error err = {.text = ""};
    bool ok = rcd_bound_update(x, *b, in, deltas, NULL, &new, &err) == RCD_OK;
    *b = NULL;
    if (!ok)
        fail(t, err.text, round);
    t->followed += new != NULL;
    t->anew += new == NULL;
    if (ok && new == NULL) {
        if (t->live[0] == '\0')
            snprintf(t->live, sizeof t->live, "%s", err.text);
        new = fresh(x, p, g, entries, t);
        ok = new != NULL;
    }
    rcd_bound *want = ok ? fresh(x, p, g, NULL, t) : NULL;
    ok = ok && want != NULL;
    for (size_t o = 0; o < n_out; o++) {
        const struct rcd_tensor *a = ok ? rcd_bound_output(new, o) : NULL;
        if (ok && (a == NULL) != (rcd_bound_output(want, o) == NULL))
            ok = fail(t, "it does not know what one made afresh does", round);
        if (ok && a != NULL && !same(a, rcd_bound_output(want, o)))
            ok = fail(t, "other bits than afresh", round);
        if (ok && a != NULL && !told_right(new, o, &kept[o]))
            ok = fail(t, "the rows that changed are not those that were told", round);
        if (ok && held != NULL && kept[o].data != NULL &&
            !same(rcd_bound_output(held, o), &kept[o]))
            ok = fail(t, "the binding before has changed", round);
        free(kept[o].data);
    }
    request_new(&now, p, g);
    if (ok && g->n_nodes > 0 && !same_answers(x, p, &now, new, want))
        ok = fail(t, "other answers than afresh", round);
    if (ok && before != NULL && g->n_nodes > 0 && !same_answers(x, p, &old, held, before))
        ok = fail(t, "the binding before gives other answers", round);
    request_free(&old);
    request_free(&now);
    rcd_bound_unref(before);
    rcd_bound_unref(want);
    rcd_bound_unref(held);
    *b = new;
    return ok;
}

static bool run_graph(rcd_exec *x, rcd_plan *p, size_t nodes, size_t edges, size_t rounds,
                      struct tally *t)
{
    static struct graph g;
    struct rcd_bound_entries entries[MAX_IO];
    memset(&g, 0, sizeof g);
    bool ok = follow_setup(&g, p, t->why, sizeof t->why);
    for (size_t i = 0; ok && i < g.n_in; i++)
        entries[i] = (struct rcd_bound_entries){.group = g.in[i].role == NODE_ROWS ? 0 : 1,
                                                .axis = g.in[i].role == EDGE_INDEX ? 1 : 0};
    rcd_bound *b = NULL;
    if (ok) {
        follow_new_nodes(&g, nodes);
        follow_new_edges(&g, edges);
        b = fresh(x, p, &g, entries, t);
        ok = b != NULL;
    }
    if (ok && rcd_bound_not_live(b) != NULL && t->live[0] == '\0')
        snprintf(t->live, sizeof t->live, "%s", rcd_bound_not_live(b));
    for (size_t i = 0; ok && i < rounds; i++)
        ok = one_round(x, p, &g, entries, &b, i, t);
    rcd_bound_unref(b);
    for (size_t i = 0; i < g.n_in; i++)
        free(g.in[i].rows);
    return ok;
}

static rcd_plan *load(const char *root, const char *name, struct tally *t)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/%s/model.onnx", root, name);
    FILE *f = fopen(path, "rb");
    struct rcd_error err = {.text = "cannot read it"};
    rcd_onnx_model *m = NULL;
    rcd_plan *p = NULL;
    char *bytes = malloc(1 << 22);
    struct rcd_onnx_source src = {.bytes = bytes, .dir_fd = -1, .max_bytes = run_bytes};
    src.len = f != NULL ? fread(bytes, 1, 1 << 22, f) : 0;
    if (f != NULL)
        fclose(f);
    const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(rcd_cpu_best(RCD_CPU_AVX512))};
    if (src.len == 0 || rcd_onnx_load(&src, &m, &err) != RCD_OK ||
        rcd_plan_new(&m, &opts, &p, &err) != RCD_OK)
        snprintf(t->why, sizeof t->why, "%s", err.text);
    rcd_onnx_free(m);
    free(bytes);
    return p;
}

/* "follows", or "anew TEXT". */
static bool run_model(const char *root, const char *name, const char *expect, size_t rounds)
{
    static const size_t sizes[][2] = {{40, 120}, {3, 0}, {300, 1500}, {8, 60}, {1, 2}};
    struct tally t = {.followed = 0};
    rcd_plan *p = load(root, name, &t);
    rcd_exec *x = rcd_exec_new(run_bytes, run_bytes / 8);
    struct rcd_error err;
    bool ok = p != NULL && x != NULL && rcd_exec_set_threads(x, 2, &err) == RCD_OK;
    for (size_t i = 0; ok && i < RCD_COUNT(sizes); i++)
        ok = run_graph(x, p, sizes[i][0], sizes[i][1], rounds, &t);
    if (ok && strncmp(expect, "follows", 7) == 0 && t.followed < t.anew)
        ok = fail(&t, t.live, 0);
    if (ok && !waits_for_features && strncmp(expect, "anew ", 5) == 0 &&
        (t.followed > 0 || strstr(t.live, expect + 5) == NULL))
        ok = fail(&t, t.live[0] != '\0' ? t.live : "it follows", 0);
    printf("%s %s: %zu followed, %zu anew (%s)%s%s\n", ok ? "ok  " : "FAIL", name, t.followed,
           t.anew, t.live, ok ? "" : ": ", t.why);
    rcd_exec_free(x);
    rcd_plan_unref(p);
    return ok;
}

/* Graphs in which a change reaches everything, and numbers of nodes, edges and loops are often the same by chance. */
static bool run_tiny(const char *root, const char *name)
{
    struct tally t = {.followed = 0};
    rcd_plan *p = load(root, name, &t);
    rcd_exec *x = rcd_exec_new(run_bytes, run_bytes / 8);
    bool ok = p != NULL && x != NULL;
    for (size_t i = 0; ok && i < (waits_for_features ? 60 : 150); i++)
        ok = run_graph(x, p, 2 + i % 2, i % 5, 4, &t);
    if (!ok)
        printf("FAIL %s, tiny graphs: %s\n", name, t.why);
    rcd_exec_free(x);
    rcd_plan_unref(p);
    return ok;
}

int main(int argc, char **argv)
{
    const char *list = NULL;
    size_t rounds = 60, failed = 0, n = 0;
    int at = 1;
    for (; at + 1 < argc && strncmp(argv[at], "--", 2) == 0; at += 2) {
        if (strcmp(argv[at], "--list") == 0)
            list = argv[at + 1];
        else if (strcmp(argv[at], "--rounds") == 0)
            rounds = strtoul(argv[at + 1], NULL, 10);
        else if (strcmp(argv[at], "--seed") == 0)
            follow_seed(strtoull(argv[at + 1], NULL, 10));
    }
    FILE *f = list != NULL && at + 1 == argc ? fopen(list, "r") : NULL;
    if (f == NULL)
        return 2;
    char line[512];
    for (int pass = 0; pass < 4; pass++) {
        const bool tiny = pass % 2 != 0;
        waits_for_features = pass >= 2;
        rewind(f);
        while (fgets(line, sizeof line, f) != NULL) {
            line[strcspn(line, "\n")] = '\0';
            char *expect = strchr(line, ' ');
            if (line[0] == '#' || expect == NULL)
                continue;
            *expect++ = '\0';
            failed +=
                tiny ? !run_tiny(argv[at], line)
                     : !run_model(argv[at], line, expect, rounds / (waits_for_features ? 3 : 1));
            n += !tiny;
        }
    }
    fclose(f);
    printf("%zu models, %zu failed\n", n, failed);
    return failed > 0 || n == 0;
}
