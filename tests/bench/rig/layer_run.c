/* layer_run.c - the engine on a model whose inputs have the sizes "batch" and "time", for peers_kernels.py: reads
 * lines from standard input, answers each with a line.
 *
 * usage: layer_run MODEL.onnx THREADS
 * lines: "size BATCH TIME" - inputs of that size, filled from a fixed seed; "run N" - milliseconds of the
 * clock, and of CPU time, for N runs; "save FILE" - the first output of one run; "feed I FILE" - input I from a file of its size. */
#include "model_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_IO = 4 };

struct rig {
    rcd_plan *plan;
    rcd_exec *x;
    struct rcd_tensor in[MAX_IO], out[MAX_IO];
    size_t n_in, n_out;
};

static void size_inputs(struct rig *g, int64_t batch, int64_t time)
{
    const struct rcd_io *io = rcd_plan_inputs(g->plan, &g->n_in);
    uint32_t seed = 1;
    for (size_t i = 0; i < g->n_in; i++) {
        int64_t dims[RCD_MAX_RANK];
        for (int d = 0; d < io[i].rank; d++)
            dims[d] = io[i].dims[d] >= 0                        ? io[i].dims[d]
                      : strcmp(io[i].dim_names[d], "time") == 0 ? time
                                                                : batch;
        rcd_free(g->in[i].data);
        if (!rcd_tensor_shape(&g->in[i], RCD_F32, io[i].rank, dims))
            rig_die("size", NULL);
        float *data = rcd_alloc_aligned(g->in[i].n * sizeof *data);
        for (size_t j = 0; data != NULL && j < g->in[i].n; j++) {
            seed = seed * 1664525u + 1013904223u;
            data[j] = (float)(int32_t)seed / 2147483648.0f;
        }
        g->in[i].data = data;
        g->in[i].block = NULL;
    }
}

static void run_once(struct rig *g, const char *save)
{
    memset(g->out, 0, sizeof g->out);
    struct rcd_infer req = {.in = g->in, .out = g->out};
    struct rcd_infer *const list[] = {&req};
    rcd_exec_run(g->x, g->plan, 1, list, NULL);
    if (req.err.code != RCD_OK)
        rig_die("run", &req.err);
    if (save != NULL)
        rig_save(save, &g->out[0]);
    rcd_infer_drop(&req, g->n_out);
}

static void feed(struct rig *g, size_t i, const char *path)
{
    size_t n = 0;
    void *data = rig_read(path, &n);
    if (i >= g->n_in || n != g->in[i].n * sizeof(float))
        rig_die(path, NULL);
    memcpy(g->in[i].data, data, n);
    rcd_free(data);
}

static double cpu_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static void time_runs(struct rig *g, long n)
{
    uint64_t start = rcd_now_ns();
    double cpu = cpu_ms();
    for (long i = 0; i < n; i++)
        run_once(g, NULL);
    cpu = cpu_ms() - cpu;
    printf("%.6f %.6f\n", (double)(rcd_now_ns() - start) / 1e6, cpu);
}

static void obey(struct rig *g, const char *line)
{
    char path[4096];
    long a = 0, b = 0;
    if (sscanf(line, "size %ld %ld", &a, &b) == 2) {
        size_inputs(g, a, b);
        puts("ok");
    } else if (sscanf(line, "feed %ld %4095s", &a, path) == 2) {
        feed(g, (size_t)a, path);
        puts("ok");
    } else if (sscanf(line, "save %4095s", path) == 1) {
        run_once(g, path);
        puts("ok");
    } else if (sscanf(line, "run %ld", &a) == 1) {
        time_runs(g, a);
    } else {
        rig_die(line, NULL);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    struct rcd_error err = {.code = RCD_OK};
    struct rig g = {.plan = rig_load(argv[1])};
    rcd_plan_outputs(g.plan, &g.n_out);
    rcd_plan_inputs(g.plan, &g.n_in);
    if (g.n_in > MAX_IO || g.n_out > MAX_IO)
        rig_die("more inputs or outputs than this rig has room for", NULL);
    g.x = rcd_exec_new((size_t)1 << 33, (size_t)1 << 30);
    if (g.x == NULL ||
        rcd_exec_set_threads(g.x, (unsigned)strtoul(argv[2], NULL, 10), &err) != RCD_OK)
        rig_die("exec", &err);
    char line[4200];
    puts("ready");
    while (fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL)
        obey(&g, line);
    for (size_t i = 0; i < g.n_in; i++)
        rcd_free(g.in[i].data);
    rcd_exec_free(g.x);
    rcd_plan_unref(g.plan);
    return 0;
}
