/* codec.c - what a number costs on its way in and out: rcd_wire_decode and rcd_wire_encode over whole
 * infer bodies, against jansson (parse, walk, free; build, dump, free), in one run, interleaved, medians.
 * Also the memory that a decoded tensor takes, and how often memory was asked for. */
#include "recurd/codec.h"
#include "rig/median.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 9, FLOAT_SHORTEST = 0, DOUBLE_17 = 1 };
static const double round_s = 0.03;
static size_t n_allocations, n_bytes;
static double checksum;

/* The link sends malloc and kin of our libraries here (meson.build). */
void *__real_malloc(size_t n);                  // NOLINT(bugprone-reserved-identifier)
void *__real_realloc(void *p, size_t n);        // NOLINT(bugprone-reserved-identifier)
void *__real_aligned_alloc(size_t a, size_t n); // NOLINT(bugprone-reserved-identifier)
void *__wrap_malloc(size_t n);                  // NOLINT(bugprone-reserved-identifier)
void *__wrap_realloc(void *p, size_t n);        // NOLINT(bugprone-reserved-identifier)
void *__wrap_aligned_alloc(size_t a, size_t n); // NOLINT(bugprone-reserved-identifier)

static void count(size_t n)
{
    n_allocations++;
    n_bytes += n;
}

void *__wrap_malloc(size_t n) // NOLINT(bugprone-reserved-identifier)
{
    count(n);
    return __real_malloc(n);
}

void *__wrap_realloc(void *p, size_t n) // NOLINT(bugprone-reserved-identifier)
{
    count(n);
    return __real_realloc(p, n);
}

void *__wrap_aligned_alloc(size_t a, size_t n) // NOLINT(bugprone-reserved-identifier)
{
    count(n);
    return __real_aligned_alloc(a, n);
}

struct body {
    char *text;
    size_t len, n;
    float *values;
    const char *what;
};

/* Values like those of a network's inputs: uniform in -1 to 1, by a generator that is always the same. */
static void body_make(struct body *b, size_t n, int kind)
{
    uint64_t seed = 88172645463325252u;
    size_t room = 256 + 32 * n;
    *b = (struct body){.n = n, .what = kind == DOUBLE_17 ? "17 digits" : "shortest"};
    b->text = malloc(room);
    b->values = malloc(n * sizeof *b->values);
    if (b->text == NULL || b->values == NULL)
        exit(1);
    char *p = b->text;
    p += snprintf(
        p, 256, "{\"inputs\":[{\"name\":\"x\",\"shape\":[%zu],\"datatype\":\"FP32\",\"data\":[", n);
    for (size_t i = 0; i < n; i++) {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        double v = (double)(seed >> 11) * 0x1p-52 - 1.0;
        b->values[i] = (float)v;
        if (i > 0)
            *p++ = ',';
        p += kind == DOUBLE_17 ? (size_t)snprintf(p, 32, "%.17g", v)
                               : rcd_f32_print(p, b->values[i]);
    }
    p += snprintf(p, 8, "]}]}");
    b->len = (size_t)(p - b->text);
}

/* ---- the ways ---------------------------------------------------------------------------------- */

static void decode(const struct body *b)
{
    const struct rcd_wire_limits limits = {
        .max_depth = 32, .max_inputs = 16, .max_string_bytes = 1 << 16};
    struct rcd_arena arena;
    struct rcd_wire_request r;
    struct rcd_error err;
    rcd_arena_init(&arena, 64 + 16 * b->n + (1 << 20));
    if (rcd_wire_decode(&arena, b->text, b->len, RCD_NO_JSON_LEN, &limits, &r, &err) != RCD_OK) {
        fprintf(stderr, "codec: %s\n", err.text);
        exit(1);
    }
    const float *x = r.inputs[0].tensor.data;
    if (memcmp(x, b->values, b->n * sizeof *x) != 0) {
        fputs("codec: what was read is not what was written\n", stderr);
        exit(1);
    }
    checksum += (double)x[b->n / 2];
    rcd_arena_done(&arena);
}

static void encode(const struct body *b)
{
    const int64_t dims[1] = {(int64_t)b->n};
    struct rcd_tensor t = {.dtype = RCD_NONE};
    struct rcd_buf out;
    size_t json_len = 0;
    struct rcd_error err;
    if (!rcd_tensor_shape(&t, RCD_F32, 1, dims))
        exit(1);
    t.data = b->values;
    const struct rcd_wire_result result = {.name = "y", .tensor = &t};
    const struct rcd_wire_answer answer = {
        .model_name = "m", .model_version = "1", .n_results = 1, .results = &result};
    rcd_buf_init(&out, 1024 + 32 * b->n);
    if (rcd_wire_encode(&answer, &out, &json_len, &err) != RCD_OK)
        exit(1);
    checksum += (double)out.len;
    rcd_buf_done(&out);
}

static void jansson_in(const struct body *b)
{
    json_error_t err;
    json_t *tree = json_loadb(b->text, b->len, 0, &err);
    const json_t *data =
        json_object_get(json_array_get(json_object_get(tree, "inputs"), 0), "data");
    float last = 0;
    for (size_t i = 0; i < json_array_size(data); i++)
        last = (float)json_number_value(json_array_get(data, i));
    checksum += (double)last;
    json_decref(tree);
}

static void jansson_out(const struct body *b)
{
    json_t *data = json_array();
    for (size_t i = 0; i < b->n; i++)
        json_array_append_new(data, json_real((double)b->values[i]));
    char *text = json_dumps(data, JSON_COMPACT | JSON_REAL_PRECISION(9));
    checksum += text != NULL ? (double)text[0] : 0;
    free(text);
    json_decref(data);
}

/* ---- measuring --------------------------------------------------------------------------------- */

typedef void way(const struct body *b);

static double ns_per_number(way *f, const struct body *b)
{
    size_t times = 0;
    uint64_t from = rcd_now_ns(), now = from;
    for (; now - from < (uint64_t)(round_s * 1e9); now = rcd_now_ns(), times++)
        f(b);
    return (double)(now - from) / (double)times / (double)b->n;
}

static void measure(const struct body *b)
{
    static way *const ways[4] = {decode, jansson_in, encode, jansson_out};
    double ns[4][ROUNDS], mid[4];
    size_t asked[4], bytes[4];
    for (size_t w = 0; w < 4; w++) {
        n_allocations = n_bytes = 0;
        ways[w](b);
        asked[w] = n_allocations;
        bytes[w] = n_bytes;
    }
    for (size_t r = 0; r < ROUNDS; r++)
        for (size_t w = 0; w < 4; w++)
            ns[w][r] = ns_per_number(ways[w], b);
    for (size_t w = 0; w < 4; w++)
        mid[w] = rig_median(ns[w], ROUNDS);
    double text = (double)b->len / (double)b->n;
    printf("%8zu %-9s %7.1f x %7.1f %8.0f %7.1f x %7.1f %8zu %8.2f %8zu\n", b->n, b->what,
           mid[1] / mid[0], mid[0], 1e3 * text / mid[0], mid[3] / mid[2], mid[2], asked[0],
           (double)bytes[0] / (4.0 * (double)b->n), asked[2]);
}

/* codec [NUMBERS]: bodies of one size only */
int main(int argc, char **argv)
{
    size_t sizes[] = {64, 1024, 16384, 2000000}, n_sizes = RCD_COUNT(sizes);
    if (argc > 1) {
        sizes[0] = strtoul(argv[1], NULL, 10);
        n_sizes = 1;
    }
    printf("%8s %-9s %9s %7s %8s %9s %7s %8s %8s %8s\n", "numbers", "text", "in: jans.", "ns",
           "MB/s", "out:jans.", "ns", "mallocs", "bytes/4n", "mallocs");
    for (size_t i = 0; i < n_sizes; i++) {
        for (int kind = FLOAT_SHORTEST; kind <= DOUBLE_17; kind++) {
            struct body b;
            body_make(&b, sizes[i], kind);
            measure(&b);
            free(b.text);
            free(b.values);
        }
    }
    return isfinite(checksum) ? 0 : 1;
}
