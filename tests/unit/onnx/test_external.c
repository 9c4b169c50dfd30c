/* test_external.c - tensor data in files beside the model, and paths that must not be followed. */
#include "model_bytes.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(external, .timeout = 400);

static char base[64]; /* base/model/ is the model's folder, base/secret lies outside */
static int dir_fd = -1;

static void write_file(const char *path, const void *data, size_t len)
{
    char full[128];
    snprintf(full, sizeof full, "%s/%s", base, path);
    int fd = open(full, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    cr_assert_geq(fd, 0, "%s", full);
    cr_assert_eq(write(fd, data, len), (ssize_t)len);
    close(fd);
}

static const char *at(char *out, const char *path)
{
    snprintf(out, 128, "%s/%s", base, path);
    return out;
}

static const float weights[4] = {1, 2, 3, 4};

static void begin(void)
{
    char path[128], other[128];
    const char *tmp = getenv("TMPDIR");
    snprintf(base, sizeof base, "%.40s/recurd-XXXXXX", tmp != NULL ? tmp : "/tmp");
    cr_assert_not_null(mkdtemp(base));
    cr_assert_eq(mkdir(at(path, "model"), 0700), 0);
    cr_assert_eq(mkdir(at(path, "model/sub"), 0700), 0);
    write_file("secret", weights, sizeof weights);
    write_file("model/w.bin", weights, sizeof weights);
    write_file("model/sub/w.bin", weights, sizeof weights);
    cr_assert_eq(symlink("w.bin", at(path, "model/link")), 0);
    cr_assert_eq(symlink("../secret", at(path, "model/out")), 0);
    cr_assert_eq(symlink("sub", at(path, "model/dirlink")), 0);
    cr_assert_eq(link(at(other, "secret"), at(path, "model/hard")), 0);
    cr_assert_eq(mkfifo(at(path, "model/fifo"), 0600), 0);
    dir_fd = open(at(path, "model"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    cr_assert_geq(dir_fd, 0);
}

static void end(void)
{
    static const char *const files[] = {"model/fifo",  "model/hard", "model/dirlink",
                                        "model/out",   "model/link", "model/sub/w.bin",
                                        "model/w.bin", "secret"};
    char path[128];
    close(dir_fd);
    for (size_t i = 0; i < RCD_COUNT(files); i++)
        unlink(at(path, files[i]));
    rmdir(at(path, "model/sub"));
    rmdir(at(path, "model"));
    rmdir(base);
}

static void entry(struct pb *t, const char *key, const char *value)
{
    struct pb e = {0};
    pb_str(&e, 1, key);
    pb_str(&e, 2, value);
    pb_msg(t, 13, e);
}

static struct pb tensor(const char *location, const char *offset, const char *length)
{
    struct pb t = mk_tensor("w", T_FLOAT, "2");
    pb_int(&t, 14, 1);
    if (location != NULL)
        entry(&t, "location", location);
    if (offset != NULL)
        entry(&t, "offset", offset);
    if (length != NULL)
        entry(&t, "length", length);
    entry(&t, "checksum", "ignored");
    return t;
}

static rcd_status load(struct pb t, int fd, rcd_onnx_model **ret, struct rcd_error *err)
{
    struct pb g = mk_graph("g");
    pb_msg(&g, G_INIT, t);
    pb_msg(&g, G_OUTPUT, mk_info("w", T_FLOAT, "2"));
    struct pb m = mk_model(8, 17, g);
    const struct rcd_onnx_source src = {m.data, m.len, fd, 1 << 20};
    *err = (struct rcd_error){RCD_OK, ""};
    return rcd_onnx_load(&src, ret, err);
}

static uint64_t good(struct pb t, float first)
{
    rcd_onnx_model *m = NULL;
    struct rcd_error err;
    cr_assert_eq(load(t, dir_fd, &m, &err), RCD_OK, "%s", err.text);
    const struct rcd_tensor *w = m->values[m->graph.outputs[0]].constant;
    cr_assert_eq((uintptr_t)w->data % RCD_ALIGN, 0);
    cr_assert_eq(((const float *)w->data)[0], first);
    uint64_t print = m->fingerprint;
    rcd_onnx_free(m);
    return print;
}

static void bad(struct pb t, rcd_status want, const char *text)
{
    rcd_onnx_model *m = NULL;
    struct rcd_error err;
    rcd_status st = load(t, dir_fd, &m, &err);
    cr_assert_eq(st, want, "want %s, got %d %s", text, (int)st, err.text);
    cr_assert(strstr(err.text, text) != NULL, "want '%s', got '%s'", text, err.text);
    cr_assert(strstr(err.text, "tensor 'w': ") != NULL);
}

Test(external, good_files, .init = begin, .fini = end)
{
    good(tensor("w.bin", NULL, "8"), 1);
    good(tensor("w.bin", "8", "8"), 3);
    good(tensor("w.bin", "4", NULL), 2);
    good(tensor("./sub/../w.bin", "0", "8"), 1);
    uint64_t before = good(tensor("sub/w.bin", "0", "8"), 1);
    write_file("model/sub/w.bin", (const float[]){1, 9}, 8);
    cr_assert_neq(before, good(tensor("sub/w.bin", "0", "8"), 1), "the data count");
}

Test(external, hostile_paths, .init = begin, .fini = end)
{
    char path[128];
    bad(tensor("../secret", NULL, "8"), RCD_EMODEL, "outside the model's folder");
    bad(tensor("sub/../../secret", NULL, "8"), RCD_EMODEL, "outside the model's folder");
    bad(tensor(at(path, "model/w.bin"), NULL, "8"), RCD_EMODEL, "outside the model's folder");
    bad(tensor("/dev/zero", NULL, "8"), RCD_EMODEL, "outside the model's folder");
    bad(tensor("/proc/self/fd/0", NULL, "8"), RCD_EMODEL, "outside the model's folder");
    bad(tensor("link", NULL, "8"), RCD_EMODEL, "behind a link");
    bad(tensor("out", NULL, "8"), RCD_EMODEL, "behind a link");
    bad(tensor("dirlink/w.bin", NULL, "8"), RCD_EMODEL, "behind a link");
    bad(tensor("hard", NULL, "8"), RCD_EMODEL, "has 2 hard links, not one");
    bad(tensor("fifo", NULL, "8"), RCD_EMODEL, "is not a regular file");
    bad(tensor("sub", NULL, "8"), RCD_EMODEL, "is not a regular file");
    bad(tensor(".", NULL, "8"), RCD_EMODEL, "is not a regular file");
    bad(tensor("absent", NULL, "8"), RCD_EIO, "No such file");
    bad(tensor("w.bin/x", NULL, "8"), RCD_EIO, "Not a directory");
    bad(tensor("", NULL, "8"), RCD_EMODEL, "without a location");
    bad(tensor(NULL, NULL, "8"), RCD_EMODEL, "without a location");
}

Test(external, ranges, .init = begin, .fini = end)
{
    bad(tensor("w.bin", "9", "8"), RCD_EMODEL, "has 16 bytes, the tensor needs 8 from 9 on");
    bad(tensor("w.bin", "17", NULL), RCD_EMODEL, "has 16 bytes");
    bad(tensor("w.bin", "9223372036854775000", "8"), RCD_EMODEL, "has 16 bytes");
    bad(tensor("w.bin", "18446744073709551612", "8"), RCD_EMODEL, "is not a number of bytes");
    bad(tensor("w.bin", "-4", "8"), RCD_EMODEL, "is not a number of bytes");
    bad(tensor("w.bin", "", "8"), RCD_EMODEL, "is not a number of bytes");
    bad(tensor("w.bin", "0x4", "8"), RCD_EMODEL, "is not a number of bytes");
    bad(tensor("w.bin", "0", "7"), RCD_EMODEL, "length 7, the tensor needs 8");
    bad(tensor("w.bin", "0", "16"), RCD_EMODEL, "length 16, the tensor needs 8");
    struct pb t = tensor("w.bin", "0", "8");
    entry(&t, "offset", "8");
    bad(t, RCD_EMODEL, "'8' is given twice");
    t = tensor("w.bin", "0", "8");
    entry(&t, "location", "sub/w.bin");
    bad(t, RCD_EMODEL, "is given twice");
    t = tensor("w.bin", "0", "8");
    pb_bytes(&t, 9, weights, 8);
    bad(t, RCD_EMODEL, "data both in the file and external");
}

Test(external, no_folder, .init = begin, .fini = end)
{
    rcd_onnx_model *m = NULL;
    struct rcd_error err;
    cr_assert_eq(load(tensor("w.bin", NULL, "8"), -1, &m, &err), RCD_EMODEL);
    cr_assert(strstr(err.text, "external data ('w.bin') is not allowed here") != NULL);
}
