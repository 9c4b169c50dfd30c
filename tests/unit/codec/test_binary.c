/* test_binary.c - blobs, their sizes, and the header that says where they begin. */
#include "decoded.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(binary, .timeout = 400);

/* JSON part and blob in one body; the JSON's length goes with it. */
struct body {
    char bytes[2000];
    size_t json, len;
};

static struct body join(const char *json, const void *blob, size_t blob_len)
{
    struct body b = {.json = strlen(json)};
    memcpy(b.bytes, json, b.json);
    if (blob_len > 0)
        memcpy(b.bytes + b.json, blob, blob_len);
    b.len = b.json + blob_len;
    return b;
}

#define IN(name, dtype, shape, size)                                                               \
    "{\"name\":\"" name "\",\"shape\":" shape ",\"datatype\":\"" dtype                             \
    "\",\"parameters\":{\"binary_data_size\":" size "}}"
#define ONE(dtype, shape, size) "{\"inputs\":[" IN("a", dtype, shape, size) "]}"

Test(binary, binary_and_json_inputs_mixed)
{
    static const char json[] = "{\"inputs\":[" IN(
        "a", "FP32", "[1,3]",
        "12") ","
              "{\"name\":\"k\",\"shape\":[1],\"datatype\":\"INT64\",\"data\":[5]}," IN(
                  "e", "INT32", "[0]", "0") "," IN("b", "UINT8", "[2]", "2") "]} ";
    static const char blob[] = "\0\0\x80\x3f\0\0\0\x40\0\0\x40\x40\x07\x08";
    struct body b = join(json, blob, 14);
    struct decoded d = decode_bytes(b.bytes, b.len, b.json);
    cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
    cr_assert_arr_eq(d.req.inputs[0].tensor.data, ((float[]){1, 2, 3}), 12);
    cr_assert_eq(*(int64_t *)d.req.inputs[1].tensor.data, 5);
    cr_assert(d.req.inputs[2].tensor.n == 0 && d.req.inputs[2].tensor.data != NULL);
    cr_assert_arr_eq(d.req.inputs[3].tensor.data, "\x07\x08", 2);
    decoded_done(&d);
}

Test(binary, every_type_and_every_alignment)
{
    static const char *const names[] = {"BOOL", "UINT8", "UINT16", "UINT32", "UINT64",
                                        "INT8", "INT16", "INT32",  "INT64",  "FP16",
                                        "BF16", "FP32",  "FP64"};
    static const char blob[32] = "\1\0\1\1\0\0\1\1\1\1\1\0\1\0\1\0\1\0\1\0\1\1\1\0\1\0\1\1\1\0\0";
    for (size_t i = 0; i < RCD_COUNT(names); i++) {
        size_t elt = rcd_dtype_size(rcd_dtype_parse(names[i], strlen(names[i])));
        for (int pad = 0; pad < 9; pad++) {
            char json[300];
            snprintf(json, sizeof json,
                     "%*s{\"inputs\":[{\"name\":\"a\",\"shape\":[4],\"datatype\":"
                     "\"%s\",\"parameters\":{\"binary_data_size\":%zu}}]}",
                     pad, "", names[i], 4 * elt);
            struct body b = join(json, blob, 4 * elt);
            struct decoded d = decode_bytes(b.bytes, b.len, b.json);
            cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
            const char *data = d.req.inputs[0].tensor.data, *at = d.body + b.json;
            cr_assert_arr_eq(data, blob, 4 * elt);
            cr_assert_eq((uintptr_t)data % elt, 0);
            cr_assert_eq(data == at, (uintptr_t)at % elt == 0, "borrowed if it can be");
            decoded_done(&d);
        }
    }
}

Test(binary, strings)
{
    struct body b = join(ONE("BYTES", "[2]", "10"), "\2\0\0\0hi\0\0\0\0", 10);
    struct decoded d = decode_bytes(b.bytes, b.len, b.json);
    cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
    const struct rcd_bytes *s = d.req.inputs[0].tensor.data;
    cr_assert(s[0].len == 2 && memcmp(s[0].ptr, "hi", 2) == 0 && s[1].len == 0);
    decoded_done(&d);
}

Test(binary, json_length)
{
    static const char plain[] = "{\"id\":\"\",\"inputs\":[{\"name\":\"a\",\"shape\":[1],"
                                "\"datatype\":\"FP32\",\"data\":[1]}]}";
    struct decoded d = decode_bytes(plain, strlen(plain), strlen(plain));
    cr_assert(d.st == RCD_OK && !d.req.raw, "JSON alone with the header, as the C++ client sends");
    decoded_done(&d);
    d = decode_bytes("\1\2\3", 3, 0);
    cr_assert(d.st == RCD_OK && d.req.raw && d.req.raw_len == 3 && d.req.raw_bytes == d.body);
    cr_assert(d.req.binary_output && d.req.n_inputs == 0 && d.req.id == NULL);
    decoded_done(&d);
    cr_assert(
        refused(plain, strlen(plain), strlen(plain) + 1, "Inference-Header-Content-Length is"));
    cr_assert(refused(plain, strlen(plain), SIZE_MAX - 1, "Inference-Header-Content-Length is"));
    cr_assert(refused(plain, strlen(plain), strlen(plain) - 1, "do not end with '}'"));
}

static const struct {
    const char *json;
    const char *blob;
    size_t blob_len;
    const char *want;
} wrong[] = {
    {ONE("FP32", "[3]", "12"), "12345678901", 11, "binary_data_size is 12, but 11 bytes are left"},
    {ONE("FP32", "[3]", "12"), "1234567890123", 13, "1 bytes at the end of the body"},
    {ONE("FP32", "[3]", "13"), "1234567890123", 13,
     "shape [3] of FP32 takes 12 bytes, there are 13"},
    {ONE("FP32", "[3]", "11"), "12345678901", 11, "'a': shape [3] of FP32 takes 12 bytes"},
    {ONE("FP32", "[0]", "4"), "1234", 4, "takes 0 bytes"},
    {ONE("FP32", "[4611686018427387904]", "0"), "", 0, "too large"},
    {ONE("UINT8", "[9223372036854775807,2]", "4"), "1234", 4, "too large"},
    {ONE("FP32", "[1]", "18446744073709551614"), "1234", 4,
     "binary_data_size is 18446744073709551614"},
    {ONE("FP32", "[1]", "18446744073709551615"), "1234", 4, "binary_data_size"},
    {ONE("FP32", "[1]", "18446744073709551616"), "1234", 4, "binary_data_size"},
    {"{\"inputs\":[]}", "x", 1, "1 bytes at the end"},
    {ONE("BOOL", "[3]", "3"), "\0\1\2", 3, "byte 2 is 2; BOOL takes 0 and 1"},
    {ONE("BOOL", "[2]", "2"), "\xff\1", 2, "byte 0 is 255"},
    {ONE("BOOL", "[2]", "2"), "\0\2", 2, "byte 1 is 2"},
    {ONE("BYTES", "[1]", "6"), "\3\0\0\0hi", 6, "element 0 says 3 bytes, 2 are left"},
    {ONE("BYTES", "[2]", "7"), "\2\0\0\0hi\0", 7, "do not fit 7 bytes"},
    {ONE("BYTES", "[2]", "9"), "\1\0\0\0a\4\0\0\0", 9, "element 1 says 4 bytes, 0 are left"},
    {ONE("BYTES", "[2]", "8"), "\1\0\0\0abcd", 8, "ends before element 1"},
    {ONE("BYTES", "[1]", "7"), "\2\0\0\0hi!", 7, "1 bytes are left behind the last of 1"},
    {ONE("BYTES", "[1]", "5"), "\xff\xff\xff\xff!", 5, "says 4294967295 bytes"},
    {ONE("BYTES", "[1]", "3"), "\0\0\0", 3, "do not fit 3 bytes"},
    {ONE("BYTES", "[0]", "4"), "\0\0\0\0", 4, "4 bytes are left"},
    {ONE("BYTES", "[1099511627776]", "4"), "\0\0\0\0", 4, "do not fit 4 bytes"},
};

Test(binary, wrong_blobs)
{
    for (size_t i = 0; i < RCD_COUNT(wrong); i++) {
        struct body b = join(wrong[i].json, wrong[i].blob, wrong[i].blob_len);
        cr_expect(refused(b.bytes, b.len, b.json, wrong[i].want), "case %zu", i);
    }
    static const char no_header[] = ONE("FP32", "[1]", "4");
    cr_expect(refused(no_header, sizeof no_header - 1, RCD_NO_JSON_LEN,
                      "Inference-Header-Content-Length"));
}

Test(binary, raw_tensors)
{
    struct rcd_arena arena;
    struct rcd_error err;
    struct rcd_tensor t;
    int64_t dims[] = {2, -1, 1, 1, 1, 1, 1, 1, 1};
    rcd_arena_init(&arena, 4096);
    cr_assert_eq(rcd_wire_tensor(&arena, RCD_U8, 1, dims, "\1\2", 2, &t, &err), RCD_OK);
    cr_assert(t.n == 2 && t.dtype == RCD_U8 && ((uint8_t *)t.data)[1] == 2);
    cr_assert_eq(rcd_wire_tensor(&arena, RCD_U8, 2, dims, "\1\2", 2, &t, &err), RCD_EINVAL);
    cr_assert_eq(rcd_wire_tensor(&arena, RCD_U8, 9, dims, "\1\2", 2, &t, &err), RCD_EINVAL);
    cr_assert_eq(rcd_wire_tensor(&arena, RCD_U8, -1, dims, "\1\2", 2, &t, &err), RCD_EINVAL);
    cr_assert_eq(rcd_wire_tensor(&arena, RCD_NONE, 1, dims, "\1\2", 2, &t, &err), RCD_EINVAL);
    cr_assert_eq(rcd_wire_tensor(&arena, RCD_U8, 0, NULL, "\1", 1, &t, &err), RCD_OK);
    cr_assert_eq(t.n, 1);
    rcd_arena_done(&arena);
}

Test(binary, arena_limit)
{
    static _Alignas(16) char bytes[8193];
    struct rcd_arena arena;
    struct rcd_error err;
    struct rcd_tensor t;
    rcd_arena_init(&arena, 4096);
    cr_assert_eq(rcd_wire_tensor(&arena, RCD_F32, 1, (int64_t[]){2048}, bytes + 1, 8192, &t, &err),
                 RCD_ENOMEM);
    cr_assert_eq(rcd_wire_tensor(&arena, RCD_F32, 1, (int64_t[]){2048}, bytes, 8192, &t, &err),
                 RCD_OK, "borrowed: no memory needed");
    cr_assert_eq(rcd_wire_tensor(&arena, RCD_BYTES, 1, (int64_t[]){2048}, bytes, 8192, &t, &err),
                 RCD_ENOMEM);
    rcd_arena_done(&arena);
}
