/* graph_run.c - a graph model on a graph in files, again and again, for graph.py: reads lines from
 * standard input, answers each with milliseconds.
 *
 * usage: graph_run MODEL.onnx NODES FEATURES X.f32 EDGES EDGE_INDEX.i64 THREADS
 * first: "ready" and the peak memory in bytes, before the graph is read
 * lines: "all" - everything is new; "kept" - edge_index and the shape of x are bound, x is new; "bytes" - peak memory in
 * bytes; "save FILE" - the first output of the last run. */
#include "model_file.h"
#include "recurd/engine_bind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* VmHWM; what getrusage says includes the parent before exec. */
static size_t peak_bytes(void)
{
    char line[256];
    size_t kb = 0;
    FILE *f = fopen("/proc/self/status", "r");
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
        if (strncmp(line, "VmHWM:", 6) == 0)
            kb = strtoul(line + 6, NULL, 10);
    }
    if (f != NULL)
        fclose(f);
    return kb * 1024;
}

static int64_t number(const char *text)
{
    return strtoll(text, NULL, 10);
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    size_t n = 0;
    const int64_t xd[2] = {number(argv[2]), number(argv[3])}, ed[2] = {2, number(argv[5])};
    struct rcd_error err = {.code = RCD_OK};
    rcd_plan *p = rig_load(argv[1]);
    const size_t base = peak_bytes();
    struct rcd_tensor in[2], open[2], fixed[2], out[4];
    if (!rcd_tensor_shape(&in[0], RCD_F32, 2, xd) || !rcd_tensor_shape(&in[1], RCD_I64, 2, ed))
        return 2;
    in[0].data = rig_read(argv[4], &n);
    in[1].data = rig_read(argv[6], &n);
    in[0].block = in[1].block = NULL;
    open[0] = fixed[0] = in[0];
    fixed[1] = in[1];
    fixed[0].data = NULL; /* its shape alone */
    open[1].dtype = RCD_NONE;
    rcd_exec *x = rcd_exec_new((size_t)1 << 33, (size_t)1 << 30);
    if (x == NULL || rcd_exec_set_threads(x, (unsigned)number(argv[7]), &err) != RCD_OK)
        rig_die("exec", &err);
    rcd_bound *b = NULL;
    char line[4200];
    printf("ready %zu\n", base);
    while (fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        bool kept = strcmp(line, "kept") == 0, save = strncmp(line, "save ", 5) == 0;
        if (strcmp(line, "bytes") == 0) {
            printf("%zu\n", peak_bytes());
            continue;
        }
        if (kept && b == NULL && rcd_bound_new(x, p, fixed, NULL, &b, &err) != RCD_OK)
            rig_die("bind", &err);
        memset(out, 0, sizeof out);
        struct rcd_infer req = {.in = kept ? open : in, .bound = kept ? b : NULL, .out = out};
        struct rcd_infer *const list[] = {&req};
        uint64_t t = rcd_now_ns();
        rcd_exec_run(x, p, 1, list, NULL);
        t = rcd_now_ns() - t;
        if (req.err.code != RCD_OK)
            rig_die("run", &req.err);
        if (save)
            rig_save(line + 5, &out[0]);
        printf("%.4f\n", (double)t / 1e6);
        rcd_infer_drop(&req, 1);
    }
    rcd_bound_unref(b);
    rcd_exec_free(x);
    rcd_plan_unref(p);
    return 0;
}
