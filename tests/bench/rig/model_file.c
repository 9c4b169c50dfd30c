/* model_file.c - files and plans for the rigs (model_file.h). */
#include "model_file.h"

#include <stdio.h>
#include <stdlib.h>

void rig_die(const char *what, const struct rcd_error *err)
{
    fprintf(stderr, "rig: %s: %s\n", what, err != NULL ? err->text : "");
    exit(1);
}

void *rig_read(const char *path, size_t *ret_n)
{
    FILE *f = fopen(path, "rb");
    if (f == NULL || fseek(f, 0, SEEK_END) != 0)
        rig_die(path, NULL);
    long n = ftell(f);
    rewind(f);
    void *data = rcd_alloc_aligned((size_t)n + 1);
    if (data == NULL || fread(data, 1, (size_t)n, f) != (size_t)n)
        rig_die(path, NULL);
    fclose(f);
    *ret_n = (size_t)n;
    return data;
}

rcd_plan *rig_load(const char *path)
{
    struct rcd_error err = {.code = RCD_OK};
    size_t n = 0;
    void *bytes = rig_read(path, &n);
    const struct rcd_onnx_source src = {
        .bytes = bytes, .len = n, .dir_fd = -1, .max_bytes = (size_t)1 << 32};
    rcd_onnx_model *m = NULL;
    rcd_plan *p = NULL;
    if (rcd_onnx_load(&src, &m, &err) != RCD_OK)
        rig_die(path, &err);
    const struct rcd_plan_opts opts = {.kernels = rcd_kernels_for(rcd_cpu_best(RCD_CPU_AVX512))};
    if (rcd_plan_new(&m, &opts, &p, &err) != RCD_OK)
        rig_die(path, &err);
    rcd_free(bytes);
    return p;
}

void rig_save(const char *path, const struct rcd_tensor *t)
{
    FILE *f = fopen(path, "wb");
    if (f == NULL || fwrite(t->data, 4, t->n, f) != t->n || fclose(f) != 0)
        rig_die(path, NULL);
}
