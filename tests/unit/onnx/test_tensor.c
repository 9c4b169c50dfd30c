/* test_tensor.c - every form of tensor data, and rcd_onnx_tensor_load. */
#include "model_bytes.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TestSuite(onnx_tensor, .timeout = 400);

static struct rcd_arena arena;

static void load(struct pb p, struct rcd_tensor *t)
{
    struct rcd_error err = {RCD_OK, ""};
    if (arena.max == 0)
        rcd_arena_init(&arena, 1 << 20);
    cr_assert_eq(rcd_onnx_tensor_load(&arena, p.data, p.len, t, NULL, &err), RCD_OK, "%s",
                 err.text);
    cr_assert_eq((uintptr_t)t->data % RCD_ALIGN, 0);
    cr_assert_null(t->block);
}

static void refused(struct pb p, const char *text)
{
    struct rcd_error err = {RCD_OK, ""};
    struct rcd_tensor t = {.n = 77};
    if (arena.max == 0)
        rcd_arena_init(&arena, 1 << 20);
    cr_assert_eq(rcd_onnx_tensor_load(&arena, p.data, p.len, &t, NULL, &err), RCD_EMODEL);
    cr_assert(strstr(err.text, text) != NULL, "want '%s', got '%s'", text, err.text);
    cr_assert_eq(t.n, 77);
}

Test(onnx_tensor, raw_data_of_every_type)
{
    static const uint8_t bytes[48] = {1, 0, 2, 0, 0, 1, 5, 0, 9, 9, 9, 9};
    for (int type = 1; type <= 16; type++) {
        rcd_dtype dtype = rcd_dtype_from_onnx(type);
        if (dtype == RCD_NONE || dtype == RCD_BYTES)
            continue;
        struct pb p = mk_tensor("t", type, "2,3");
        pb_bytes(&p, 9, bytes, 6 * rcd_dtype_size(dtype));
        struct rcd_tensor t;
        load(p, &t);
        cr_assert(t.dtype == dtype && t.rank == 2 && t.dims[1] == 3 && t.n == 6);
        if (dtype == RCD_BOOL)
            cr_assert_arr_eq(t.data, ((const uint8_t[]){1, 0, 1, 0, 0, 1}), 6, "2 becomes 1");
        else
            cr_assert_arr_eq(t.data, bytes, 6 * rcd_dtype_size(dtype));
    }
    rcd_arena_done(&arena);
}

Test(onnx_tensor, typed_fields)
{
    struct rcd_tensor t;
    struct pb p = mk_tensor("t", T_FLOAT, "3");
    static const float f[] = {1.5f, -0.0f, INFINITY};
    pb_bytes(&p, 4, f, sizeof f); /* packed */
    load(p, &t);
    cr_assert_arr_eq(t.data, f, sizeof f);
    p = mk_tensor("t", T_FLOAT, "3");
    for (size_t i = 0; i < 3; i++)
        pb_float(&p, 4, f[i]); /* not packed */
    load(p, &t);
    cr_assert_arr_eq(t.data, f, sizeof f);

    static const double d[] = {1e300, -2};
    p = mk_tensor("t", 11, "2");
    pb_bytes(&p, 10, d, sizeof d);
    load(p, &t);
    cr_assert(t.dtype == RCD_F64 && ((const double *)t.data)[0] == 1e300);

    p = mk_tensor("t", T_I64, "2");
    pb_packed(&p, 7, (int64_t[]){INT64_MIN, INT64_MAX}, 2);
    load(p, &t);
    cr_assert_eq(((const int64_t *)t.data)[0], INT64_MIN);
    cr_assert_eq(((const int64_t *)t.data)[1], INT64_MAX);

    p = mk_tensor("t", 13, "1");
    pb_packed(&p, 11, (int64_t[]){-1}, 1);
    load(p, &t);
    cr_assert_eq(((const uint64_t *)t.data)[0], UINT64_MAX);
    p = mk_tensor("t", 12, "2");
    pb_packed(&p, 11, (int64_t[]){UINT32_MAX, 1}, 2);
    load(p, &t);
    cr_assert_eq(((const uint32_t *)t.data)[0], UINT32_MAX);
    rcd_arena_done(&arena);
}

/* Small types and the halves travel in int32_data. */
Test(onnx_tensor, int32_data)
{
    static const struct {
        int type;
        int64_t low, high;
        uint8_t bytes[8]; /* low, high as they lie in memory */
    } cases[] = {
        {T_BOOL, 0, 1, {0, 1}},
        {T_U8, 0, 255, {0, 255}},
        {T_I8, -128, 127, {0x80, 0x7f}},
        {4, 0, 65535, {0, 0, 0xff, 0xff}},
        {5, -32768, 32767, {0, 0x80, 0xff, 0x7f}},
        {T_I32, INT32_MIN, INT32_MAX, {0, 0, 0, 0x80, 0xff, 0xff, 0xff, 0x7f}},
        {10, 0, 0x3c00, {0, 0, 0, 0x3c}},
        {16, 0, 0x3f80, {0, 0, 0x80, 0x3f}},
    };
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct pb p = mk_tensor("t", cases[i].type, "2");
        struct rcd_tensor t;
        pb_packed(&p, 5, (int64_t[]){cases[i].low, cases[i].high}, 2);
        load(p, &t);
        cr_assert_arr_eq(t.data, cases[i].bytes, 2 * rcd_dtype_size(t.dtype), "type %d",
                         cases[i].type);
        if (cases[i].type == T_I32)
            continue;
        int64_t limit = cases[i].type == 10 || cases[i].type == 16 ? 65535 : cases[i].high;
        p = mk_tensor("t", cases[i].type, "2");
        pb_packed(&p, 5, (int64_t[]){0, limit + 1}, 2);
        refused(p, "element 1 is");
        p = mk_tensor("t", cases[i].type, "2");
        pb_packed(&p, 5, (int64_t[]){cases[i].low - 1, 0}, 2);
        refused(p, "element 0 is");
    }
    rcd_arena_done(&arena);
}

Test(onnx_tensor, strings_scalars_and_empty)
{
    struct rcd_tensor t;
    struct rcd_error err;
    const char *name = NULL;
    struct pb p = mk_tensor("words", T_STRING, "2");
    pb_bytes(&p, 6, "a\0b", 3); /* strings are bytes */
    pb_str(&p, 6, "");
    load(p, &t);
    const struct rcd_bytes *s = t.data;
    cr_assert(s[0].len == 3 && memcmp(s[0].ptr, "a\0b", 4) == 0 && s[1].len == 0);
    cr_assert_eq(rcd_onnx_tensor_load(&arena, p.data, p.len, &t, &name, &err), RCD_OK);
    cr_assert_str_eq(name, "words");

    p = mk_f32("t", "", (const float[]){2.0f}, 1);
    load(p, &t);
    cr_assert(t.rank == 0 && t.n == 1 && *(const float *)t.data == 2.0f);
    p = mk_tensor("t", T_FLOAT, "0,3");
    load(p, &t);
    cr_assert(t.rank == 2 && t.n == 0 && t.data != NULL);
    p = mk_tensor("t", T_FLOAT, "0");
    pb_bytes(&p, 9, "", 0);
    load(p, &t);
    cr_assert_eq(t.n, 0);
    rcd_arena_done(&arena);
}

Test(onnx_tensor, refusals)
{
    struct pb p = mk_tensor("weight", T_FLOAT, "2,3");
    pb_bytes(&p, 9, "1234567890", 10);
    refused(p, "tensor 'weight': float32[2,3] needs 24 bytes, raw_data has 10");
    p = mk_tensor("t", T_FLOAT, "2");
    refused(p, "float32[2] needs 2 elements, the file has 0");
    pb_float(&p, 4, 1);
    pb_float(&p, 4, 1);
    pb_bytes(&p, 9, "12345678", 8);
    refused(p, "field of another type");
    p = mk_tensor("t", T_FLOAT, "1");
    pb_packed(&p, 7, (int64_t[]){1}, 1);
    refused(p, "field of another type");
    p = mk_tensor("t", T_STRING, "1");
    pb_bytes(&p, 9, "x", 1);
    refused(p, "a string tensor cannot have raw_data");
    p = mk_tensor("t", 12, "1");
    pb_packed(&p, 11, (int64_t[]){(int64_t)1 << 32}, 1);
    refused(p, "element 0 is 4294967296, not a value of uint32");
    refused(mk_tensor("t", T_FLOAT, "-1"), "shape [-1] is not possible");
    refused(mk_tensor("t", T_FLOAT, "4611686018427387904,4"), "is not possible");
    refused(mk_tensor("t", T_FLOAT, "4611686018427387904,4,0"), "is not possible");
    refused(mk_tensor("t", T_FLOAT, "1,1,1,1,1,1,1,1,1"), "rank 9 is over the limit of 8");
    refused(mk_tensor("t", T_FLOAT, "1000000"), "needs 1000000 elements");
    refused(mk_tensor("t", 0, "1"), "unknown element type 0");
    refused(mk_tensor("t", 1000, "1"), "unknown element type 1000");
    refused(mk_tensor("t", -3, "1"), "unknown element type -3");
    refused(mk_tensor("t", 14, "1"), "element type complex64 is not supported");
    refused(mk_tensor("t", 17, "1"), "element type float8e4m3fn is not supported");
    refused(mk_tensor("t", 22, "1"), "element type int4 is not supported");
    p = mk_tensor("t", T_FLOAT, "0");
    pb_str(&p, 3, "");
    refused(p, "segments are not supported");
    p = mk_tensor("t", T_FLOAT, "0");
    pb_int(&p, 14, 2);
    refused(p, "unknown data_location 2");
    p = mk_tensor("t", T_FLOAT, "1");
    pb_int(&p, 14, 1);
    refused(p, "external data without a location");
    p = mk_tensor("bad\nname", T_FLOAT, "1");
    refused(p, "tensor 'bad\\x0aname': ");
    rcd_arena_done(&arena);
}

Test(onnx_tensor, arena_limit)
{
    struct rcd_arena small;
    struct rcd_error err = {RCD_OK, ""};
    struct rcd_tensor t;
    static float zeros[1000];
    struct pb p = mk_f32("t", "1000", zeros, 1000);
    rcd_arena_init(&small, 6000);
    cr_assert_eq(rcd_onnx_tensor_load(&small, p.data, p.len, &t, NULL, &err), RCD_OK, "%s",
                 err.text);
    cr_assert_eq(rcd_onnx_tensor_load(&small, p.data, p.len, &t, NULL, &err), RCD_EMODEL);
    cr_assert(strstr(err.text, "the limit of 6000 bytes") != NULL, "%s", err.text);
    rcd_arena_done(&small);
}
