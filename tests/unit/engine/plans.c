/* plans.c - see plans.h. */
#include "plans.h"
#include "recurd/engine_report.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct pb graph_of_edges(void)
{
    static const int64_t zero[] = {0}, one[] = {1}, column[] = {-1, 1};
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INIT, mk_i64("zero", "", zero, 1));
    pb_msg(&g, G_INIT, mk_i64("one", "", one, 1));
    pb_msg(&g, G_INIT, mk_i64("column", "2", column, 2));
    pb_msg(&g, G_NODE, mk_node("Gather", "src", "edge_index,zero", "src"));
    pb_msg(&g, G_NODE, mk_node("Gather", "dst", "edge_index,one", "dst"));
    return g;
}

rcd_plan *plan_from(struct pb model, rcd_cpu_level level)
{
    rcd_onnx_model *m = load_ok(model);
    rcd_plan *p = NULL;
    struct rcd_error err = {.text = ""};
    const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(level)};
    cr_assert(rcd_plan_new(&m, &opts, &p, &err) == RCD_OK, "%s", err.text);
    return p;
}

rcd_plan *plan_of_golden(const char *name)
{
    char path[512];
    const char *root = getenv("TEST_SOURCE_ROOT");
    snprintf(path, sizeof path, "%s/tests/golden/nets/%s/model.onnx", root != NULL ? root : ".",
             name);
    FILE *f = fopen(path, "rb");
    cr_assert(f != NULL, "%s", path);
    static char bytes[1 << 18];
    const size_t n = fread(bytes, 1, sizeof bytes, f);
    cr_assert(fclose(f) == 0 && n > 0 && n < sizeof bytes);
    const struct rcd_onnx_source src = {
        .bytes = bytes, .len = n, .dir_fd = -1, .max_bytes = 1 << 20};
    const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(RCD_CPU_C)};
    rcd_onnx_model *m = NULL;
    rcd_plan *p = NULL;
    struct rcd_error err = {.text = ""};
    cr_assert(rcd_onnx_load(&src, &m, &err) == RCD_OK &&
                  rcd_plan_new(&m, &opts, &p, &err) == RCD_OK,
              "%s: %s", name, err.text);
    return p;
}

size_t lines_with(const rcd_plan *p, const char *word)
{
    struct rcd_buf b;
    size_t n = 0;
    rcd_buf_init(&b, 1 << 20);
    cr_assert(rcd_plan_report(p, &b) == RCD_OK && rcd_buf_append(&b, "", 1) == RCD_OK);
    for (const char *at = b.data; (at = strstr(at, word)) != NULL; at++)
        n++;
    rcd_buf_done(&b);
    return n;
}
