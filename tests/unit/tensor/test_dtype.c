/* test_dtype.c - the element type table and the counting of shapes. */
#include "recurd/tensor.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(tensor, .timeout = 400);

Test(tensor, dtype_names_and_sizes)
{
    static const struct {
        rcd_dtype t;
        const char *name;
        size_t size;
        int32_t onnx;
    } want[] = {
        {RCD_BOOL, "BOOL", 1, 9},   {RCD_U8, "UINT8", 1, 2},
        {RCD_U16, "UINT16", 2, 4},  {RCD_U32, "UINT32", 4, 12},
        {RCD_U64, "UINT64", 8, 13}, {RCD_I8, "INT8", 1, 3},
        {RCD_I16, "INT16", 2, 5},   {RCD_I32, "INT32", 4, 6},
        {RCD_I64, "INT64", 8, 7},   {RCD_F16, "FP16", 2, 10},
        {RCD_BF16, "BF16", 2, 16},  {RCD_F32, "FP32", 4, 1},
        {RCD_F64, "FP64", 8, 11},   {RCD_BYTES, "BYTES", sizeof(struct rcd_bytes), 8},
    };
    for (size_t i = 0; i < RCD_COUNT(want); i++) {
        cr_assert_str_eq(rcd_dtype_name(want[i].t), want[i].name);
        cr_assert_eq(rcd_dtype_size(want[i].t), want[i].size, "%s", want[i].name);
        cr_assert_eq(rcd_dtype_parse(want[i].name, strlen(want[i].name)), want[i].t);
        cr_assert_eq(rcd_dtype_to_onnx(want[i].t), want[i].onnx, "%s", want[i].name);
        cr_assert_eq(rcd_dtype_from_onnx(want[i].onnx), want[i].t, "%s", want[i].name);
    }
    cr_assert_eq(RCD_COUNT(want), (size_t)RCD_DTYPE_MAX - 1);
}

Test(tensor, dtype_unknown)
{
    cr_assert_eq(rcd_dtype_size(RCD_NONE), 0);
    cr_assert_eq(rcd_dtype_size((rcd_dtype)77), 0);
    cr_assert_str_eq(rcd_dtype_name((rcd_dtype)-1), "NONE");
    cr_assert_eq(rcd_dtype_parse("FP3", 3), RCD_NONE);
    cr_assert_eq(rcd_dtype_parse("fp32", 4), RCD_NONE);
    cr_assert_eq(rcd_dtype_parse("NONE", 4), RCD_NONE);
    cr_assert_eq(rcd_dtype_parse("FP32x", 4), RCD_F32, "the length counts, not a terminator");
    cr_assert_eq(rcd_dtype_parse("", 0), RCD_NONE);
    static const int32_t no_such[] = {0, 14, 15, 17, 18, 21, 22, 23, 255, -1, INT32_MIN, INT32_MAX};
    for (size_t i = 0; i < RCD_COUNT(no_such); i++)
        cr_assert_eq(rcd_dtype_from_onnx(no_such[i]), RCD_NONE, "%d", no_such[i]);
    cr_assert_str_eq(rcd_dtype_onnx_name(RCD_BF16), "bfloat16");
}

Test(tensor, shape_count)
{
    size_t n = 7, bytes = 7;
    cr_assert(rcd_shape_count(RCD_F32, 0, NULL, &n, &bytes));
    cr_assert(n == 1 && bytes == 4);
    cr_assert(rcd_shape_count(RCD_I64, 3, (int64_t[]){2, 3, 4}, &n, &bytes));
    cr_assert(n == 24 && bytes == 192);
    cr_assert(rcd_shape_count(RCD_I64, 3, (int64_t[]){2, 0, 4}, &n, NULL));
    cr_assert(n == 0);
    cr_assert(rcd_shape_count(RCD_NONE, 1, (int64_t[]){5}, &n, &bytes));
    cr_assert(n == 5 && bytes == 0);
    cr_assert(rcd_shape_count(RCD_U8, 1, (int64_t[]){(int64_t)1 << 47}, &n, &bytes));
    n = 7;
    cr_assert_not(rcd_shape_count(RCD_U8, 1, (int64_t[]){((int64_t)1 << 47) + 1}, &n, &bytes));
    cr_assert_not(rcd_shape_count(RCD_U16, 1, (int64_t[]){((int64_t)1 << 46) + 1}, &n, &bytes));
    cr_assert_not(rcd_shape_count(RCD_U8, -1, NULL, &n, &bytes));
    cr_assert_not(rcd_shape_count(RCD_U8, 9, (int64_t[]){1, 1, 1, 1, 1, 1, 1, 1, 1}, &n, &bytes));
    cr_assert_eq(n, 7, "untouched on failure");
}

/* 0, 1, 2^31 +- 1, 2^32 +- 1, 2^63 - 1 and negatives in every place of a shape of three. */
Test(tensor, shape_count_extremes)
{
    static const int64_t dims[] = {0,          1,          2,         2147483647, 2147483649,
                                   4294967295, 4294967297, INT64_MAX, -1,         INT64_MIN};
    enum { N = sizeof dims / sizeof dims[0] };
    for (size_t k = 0; k < (size_t)N * N * N; k++) {
        int64_t d[3] = {dims[k % N], dims[k / N % N], dims[k / N / N]};
        bool fits = true, empty = false;
        long double product = 4;
        for (int i = 0; i < 3; i++) {
            fits = fits && d[i] >= 0;
            empty = empty || d[i] == 0;
            product *= d[i] > 0 ? (long double)d[i] : 1;
        }
        fits = fits && product <= 0x1p47L;
        size_t n = 0, bytes = 0;
        cr_assert_eq(rcd_shape_count(RCD_F32, 3, d, &n, &bytes), fits, "%zu", k);
        if (fits)
            cr_assert_eq((long double)bytes, empty ? 0 : product, "%zu", k);
    }
}

Test(tensor, shape_text)
{
    char out[40];
    cr_assert_str_eq(rcd_shape_text(out, sizeof out, 3, (int64_t[]){2, 3, -1}), "[2,3,-1]");
    cr_assert_str_eq(rcd_shape_text(out, sizeof out, 1, (int64_t[]){7}), "[7]");
    cr_assert_str_eq(rcd_shape_text(out, sizeof out, 0, NULL), "[]");
    cr_assert_str_eq(rcd_shape_text(out, sizeof out, -1, NULL), "[?]");
    cr_assert_str_eq(rcd_shape_text(out, 6, 2, (int64_t[]){1234, 5678}), "[1234");
    cr_assert_str_eq(rcd_shape_text(out, 4, 2, (int64_t[]){1234, 5678}), "[12");
    cr_assert_str_eq(rcd_shape_text(out, 1, 2, (int64_t[]){1234, 5678}), "");
}
