/* test_encode.c - answers: exact text, blobs, and what JSON cannot carry. Jansson, which shares no
 * code with the encoder, reads everything back. */
#include "recurd/codec.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

TestSuite(encode, .timeout = 400);

static struct rcd_tensor vec(rcd_dtype dtype, const void *data, int64_t n)
{
    struct rcd_tensor t;
    cr_assert(rcd_tensor_shape(&t, dtype, 1, &n));
    t.data = (void *)(uintptr_t)data;
    return t;
}

static struct rcd_wire_answer answer_of(const struct rcd_wire_result *results, size_t n)
{
    return (struct rcd_wire_answer){
        .model_name = "m", .model_version = "1", .n_results = n, .results = results};
}

/* Encoded text with a NUL behind it; to be freed. The JSON part is checked with jansson. */
static char *encode(const struct rcd_wire_answer *a, size_t *ret_json_len, size_t *ret_len)
{
    struct rcd_buf out;
    struct rcd_error err = {.text = ""};
    rcd_buf_init(&out, 1 << 20);
    cr_assert_eq(rcd_wire_encode(a, &out, ret_json_len, &err), RCD_OK, "%s", err.text);
    *ret_len = out.len;
    json_error_t why;
    json_t *json =
        json_loadb(out.data, *ret_json_len != 0 ? *ret_json_len : out.len,
                   JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why);
    cr_assert(json != NULL, "%s: %.*s", why.text, (int)out.len, out.data);
    json_decref(json);
    cr_assert_eq(rcd_buf_append(&out, "", 1), RCD_OK);
    return out.data;
}

static void data_is(rcd_dtype dtype, const void *data, int64_t n, const char *want)
{
    struct rcd_tensor t = vec(dtype, data, n);
    struct rcd_wire_result r = {.name = "y", .tensor = &t};
    struct rcd_wire_answer a = answer_of(&r, 1);
    size_t json_len = 1, len = 0;
    char *text = encode(&a, &json_len, &len);
    const char *at = strstr(text, "\"data\":");
    cr_assert(at != NULL && json_len == 0);
    cr_assert_str_eq(at, want);
    cr_assert(strstr(text, "parameters") == NULL);
    rcd_free(text);
}

Test(encode, whole_answer)
{
    struct rcd_tensor y = vec(RCD_F32, (float[]){0.1f, 0.9f, 0.2f, 0.8f}, 4);
    cr_assert(rcd_tensor_shape(&y, RCD_F32, 3, (int64_t[]){1, 2, 2}));
    y.data = (float[]){0.1f, 0.9f, 0.2f, 0.8f};
    struct rcd_wire_result r = {.name = "y\"\n", .tensor = &y};
    static const struct rcd_param params[] = {
        {.name = "s", .kind = RCD_PARAM_STRING, .str = "a\0\"", .str_len = 3},
        {.name = "i", .kind = RCD_PARAM_INT, .i = INT64_MIN},
        {.name = "u", .kind = RCD_PARAM_UINT, .u = UINT64_MAX},
        {.name = "d", .kind = RCD_PARAM_DOUBLE, .d = 0.1},
        {.name = "t", .kind = RCD_PARAM_BOOL, .b = true},
        {.name = "f", .kind = RCD_PARAM_BOOL}};
    struct rcd_wire_answer a = answer_of(&r, 1);
    a.id = "rq\0\x1f";
    a.id_len = 4;
    a.model_version = "3";
    a.params = params;
    a.n_params = RCD_COUNT(params);
    size_t json_len = 1, len = 0;
    char *text = encode(&a, &json_len, &len);
    cr_assert_str_eq(text,
                     "{\"id\":\"rq\\u0000\\u001f\",\"model_name\":\"m\",\"model_version\":\"3\","
                     "\"parameters\":{\"s\":\"a\\u0000\\\"\",\"i\":-9223372036854775808,"
                     "\"u\":18446744073709551615,\"d\":0.1,\"t\":true,\"f\":false},"
                     "\"outputs\":[{\"name\":\"y\\\"\\n\",\"datatype\":\"FP32\","
                     "\"shape\":[1,2,2],\"data\":[0.1,0.9,0.2,0.8]}]}");
    cr_assert_eq(json_len, 0);
    rcd_free(text);
    a = answer_of(NULL, 0);
    a.model_version = NULL;
    a.id = "";
    text = encode(&a, &json_len, &len);
    cr_assert_str_eq(text, "{\"model_name\":\"m\",\"outputs\":[]}");
    rcd_free(text);
}

Test(encode, every_type)
{
    data_is(RCD_BOOL, (uint8_t[]){1, 0}, 2, "\"data\":[true,false]}]}");
    data_is(RCD_U8, (uint8_t[]){0, 255}, 2, "\"data\":[0,255]}]}");
    data_is(RCD_U16, (uint16_t[]){9, 65535}, 2, "\"data\":[9,65535]}]}");
    data_is(RCD_U32, (uint32_t[]){10, UINT32_MAX}, 2, "\"data\":[10,4294967295]}]}");
    data_is(RCD_U64, (uint64_t[]){100, UINT64_MAX}, 2, "\"data\":[100,18446744073709551615]}]}");
    data_is(RCD_I8, (int8_t[]){-128, 127}, 2, "\"data\":[-128,127]}]}");
    data_is(RCD_I16, (int16_t[]){INT16_MIN, 99}, 2, "\"data\":[-32768,99]}]}");
    data_is(RCD_I32, (int32_t[]){INT32_MIN, -1}, 2, "\"data\":[-2147483648,-1]}]}");
    data_is(RCD_I64, (int64_t[]){INT64_MIN, INT64_MAX}, 2,
            "\"data\":[-9223372036854775808,9223372036854775807]}]}");
    data_is(RCD_F32, (float[]){0, -0.0f, 1, 1e20f, 1e-7f, 16777216, 3.4028235e38f, 1e-45f}, 8,
            "\"data\":[0,-0.0,1,1e+20,1e-07,16777216,3.4028235e+38,1e-45]}]}");
    data_is(RCD_F64, (double[]){0.1, -0.0, 5e-324, 9007199254740993.0, 0x1p63, -0x1p64}, 6,
            "\"data\":[0.1,-0.0,5e-324,9007199254740992,9.223372036854776e+18,"
            "-1.8446744073709552e+19]}]}");
    data_is(RCD_F16, (uint16_t[]){0x3c00, 0x7bff, 0x0001, 0x8000}, 4,
            "\"data\":[1,65504,5.9604645e-08,-0.0]}]}");
    data_is(RCD_BF16, (uint16_t[]){0x3f80, 0x3dcd}, 2, "\"data\":[1,0.100097656]}]}");
    data_is(RCD_BYTES, (struct rcd_bytes[]){{"a\0\"", 3}, {NULL, 0}, {"\xc3\xa9", 2}}, 3,
            "\"data\":[\"a\\u0000\\\"\",\"\",\"\xc3\xa9\"]}]}");
    data_is(RCD_F32, NULL, 0, "\"data\":[]}]}");
    data_is(RCD_BYTES, NULL, 0, "\"data\":[]}]}");
}

Test(encode, blobs)
{
    struct rcd_tensor s = vec(RCD_F32, (float[]){1}, 1), k = vec(RCD_I64, (int64_t[]){5}, 1),
                      b = vec(RCD_BYTES, (struct rcd_bytes[]){{"hi", 2}, {"\xff", 1}, {"", 0}}, 3),
                      e = vec(RCD_U8, NULL, 0);
    struct rcd_wire_result r[] = {
        {"s", &s, true}, {"k", &k, false}, {"b", &b, true}, {"e", &e, true}};
    struct rcd_wire_answer a = answer_of(r, 4);
    size_t json_len = 0, len = 0;
    char *text = encode(&a, &json_len, &len);
    static const char json[] = "{\"model_name\":\"m\",\"model_version\":\"1\",\"outputs\":["
                               "{\"name\":\"s\",\"datatype\":\"FP32\",\"shape\":[1],\"parameters\":"
                               "{\"binary_data_size\":4}},"
                               "{\"name\":\"k\",\"datatype\":\"INT64\",\"shape\":[1],\"data\":[5]},"
                               "{\"name\":\"b\",\"datatype\":\"BYTES\",\"shape\":[3],"
                               "\"parameters\":{\"binary_data_size\":15}},"
                               "{\"name\":\"e\",\"datatype\":\"UINT8\",\"shape\":[0],"
                               "\"parameters\":{\"binary_data_size\":0}}]}";
    cr_assert_eq(json_len, sizeof json - 1);
    cr_assert_eq(len, json_len + 19);
    cr_assert_eq(memcmp(text, json, json_len), 0, "%s", text);
    cr_assert_arr_eq(text + json_len, "\0\0\x80\x3f\2\0\0\0hi\1\0\0\0\xff\0\0\0", 19);
    rcd_free(text);
    a = answer_of(r + 3, 1); /* nothing but an empty blob: no header */
    text = encode(&a, &json_len, &len);
    cr_assert_eq(json_len, 0);
    rcd_free(text);
}

Test(encode, the_example_of_the_protocol_has_132_bytes_of_json)
{
    struct rcd_tensor s = vec(RCD_F32, (float[]){1}, 1);
    struct rcd_wire_result r = {"s", &s, true};
    struct rcd_wire_answer a = {
        .model_name = "sum3", .model_version = "1", .n_results = 1, .results = &r};
    size_t json_len = 0, len = 0;
    rcd_free(encode(&a, &json_len, &len));
    cr_assert(json_len == 132 && len == 136);
}

static rcd_status try_encode(const struct rcd_tensor *t, rcd_nonfinite policy, size_t max,
                             struct rcd_buf *out, struct rcd_error *err)
{
    struct rcd_wire_result r = {.name = "y", .tensor = t};
    struct rcd_wire_answer a = answer_of(&r, 1);
    size_t json_len = 0;
    a.nonfinite = policy;
    rcd_buf_init(out, max);
    rcd_buf_puts(out, "before");
    rcd_status st = rcd_wire_encode(&a, out, &json_len, err);
    cr_assert(st == RCD_OK || out->len == 6, "cut back on failure");
    return st;
}

Test(encode, values_that_json_cannot_carry)
{
    struct rcd_buf out;
    struct rcd_error err;
    struct rcd_tensor t = vec(RCD_F32, (float[]){1, NAN, INFINITY, -INFINITY}, 4);
    cr_assert_eq(try_encode(&t, RCD_NONFINITE_REFUSE, 1000, &out, &err), RCD_EINVAL);
    cr_assert(strstr(err.text, "output 'y': element 1 is not finite") != NULL, "%s", err.text);
    cr_assert(strstr(err.text, "binary_data") != NULL);
    rcd_buf_done(&out);
    cr_assert_eq(try_encode(&t, RCD_NONFINITE_NULL, 1000, &out, &err), RCD_OK);
    cr_assert(memmem(out.data, out.len, "[1,null,null,null]", 18) != NULL);
    rcd_buf_done(&out);
    cr_assert_eq(try_encode(&t, RCD_NONFINITE_STRING, 1000, &out, &err), RCD_OK);
    cr_assert(memmem(out.data, out.len, "[1,\"NaN\",\"Infinity\",\"-Infinity\"]", 32) != NULL);
    rcd_buf_done(&out);
    const rcd_dtype others[] = {RCD_F64, RCD_F16, RCD_BF16};
    for (size_t i = 0; i < RCD_COUNT(others); i++) {
        t = vec(others[i],
                others[i] == RCD_F64   ? (const void *)(double[]){-INFINITY}
                : others[i] == RCD_F16 ? (const void *)(uint16_t[]){0xfc00}
                                       : (const void *)(uint16_t[]){0xff80},
                1);
        cr_assert_eq(try_encode(&t, RCD_NONFINITE_REFUSE, 1000, &out, &err), RCD_EINVAL);
        rcd_buf_done(&out);
        cr_assert_eq(try_encode(&t, RCD_NONFINITE_STRING, 1000, &out, &err), RCD_OK);
        cr_assert(memmem(out.data, out.len, "[\"-Infinity\"]", 13) != NULL);
        rcd_buf_done(&out);
    }
    t = vec(RCD_BYTES, (struct rcd_bytes[]){{"ok", 2}, {"\xc3", 1}}, 2);
    cr_assert_eq(try_encode(&t, RCD_NONFINITE_REFUSE, 1000, &out, &err), RCD_EINVAL);
    cr_assert(strstr(err.text, "element 1 is not UTF-8") != NULL, "%s", err.text);
    rcd_buf_done(&out);
    struct rcd_param p = {.name = "p", .kind = RCD_PARAM_DOUBLE, .d = NAN};
    struct rcd_wire_answer a = answer_of(NULL, 0);
    size_t json_len = 0;
    a.params = &p;
    a.n_params = 1;
    rcd_buf_init(&out, 1000);
    cr_assert_eq(rcd_wire_encode(&a, &out, &json_len, &err), RCD_EINVAL);
    rcd_buf_done(&out);
}

/* An answer fits exactly when its bytes do, whatever room the groups of numbers ask for. */
Test(encode, the_limit_is_exact)
{
    static float values[1500];
    for (size_t i = 0; i < RCD_COUNT(values); i++)
        values[i] = i % 7 == 0 ? -1.17549435e-38f : (float)i / 16;
    struct rcd_buf out;
    struct rcd_error err;
    for (size_t n = 1; n <= RCD_COUNT(values); n = n * 3 + 1) {
        struct rcd_tensor t = vec(RCD_F32, values, (int64_t)n);
        cr_assert_eq(try_encode(&t, RCD_NONFINITE_REFUSE, 1 << 20, &out, &err), RCD_OK);
        size_t full = out.len;
        char *want = out.data;
        struct rcd_buf tight;
        cr_assert_eq(try_encode(&t, RCD_NONFINITE_REFUSE, full, &tight, &err), RCD_OK, "%zu", n);
        cr_assert(tight.len == full && memcmp(tight.data, want, full) == 0);
        rcd_buf_done(&tight);
        for (size_t less = 1; less < full - 6; less = less * 2 + 1) {
            cr_assert_eq(try_encode(&t, RCD_NONFINITE_REFUSE, full - less, &tight, &err),
                         RCD_ETOOBIG);
            cr_assert(strstr(err.text, "over the limit of") != NULL);
            rcd_buf_done(&tight);
        }
        rcd_buf_done(&out);
    }
}

/* The floats whose text is written furthest: the room of each one holds it, all groups full of them. */
Test(encode, floats_at_their_longest)
{
    static const float longest[] = {-1.17549435e-38f, -16777216.0f, -8388607.5f, -0.0011000001f};
    static const char *const texts[] = {"-1.1754944e-38", "-16777216", "-8388607.5",
                                        "-0.0011000001"};
    static float values[1100];
    for (size_t i = 0; i < RCD_COUNT(longest); i++) {
        char want[16 * RCD_COUNT(values)];
        size_t one = strlen(texts[i]), len = 0;
        for (size_t k = 0; k < RCD_COUNT(values); k++) {
            values[k] = longest[i];
            memcpy(want + len, texts[i], one);
            len += one;
            want[len++] = k + 1 < RCD_COUNT(values) ? ',' : ']';
        }
        struct rcd_tensor t = vec(RCD_F32, values, RCD_COUNT(values));
        struct rcd_buf out;
        struct rcd_error err;
        cr_assert_eq(try_encode(&t, RCD_NONFINITE_REFUSE, 1 << 20, &out, &err), RCD_OK);
        cr_assert(memmem(out.data, out.len, want, len) != NULL, "%s", texts[i]);
        rcd_buf_done(&out);
    }
}

Test(encode, memory_fails_at_every_allocation)
{
    static float values[20000];
    struct rcd_tensor t = vec(RCD_F32, values, 20000);
    struct rcd_buf out;
    struct rcd_error err;
    for (size_t k = 0;; k++) {
        struct rcd_wire_result r[] = {{"y", &t, false}, {"z", &t, true}};
        struct rcd_wire_answer a = answer_of(r, 2);
        size_t json_len = 0;
        rcd_buf_init(&out, 1 << 20);
        rcd_fault_after(k);
        rcd_status st = rcd_wire_encode(&a, &out, &json_len, &err);
        bool hit = rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        cr_assert_eq(st, hit ? RCD_ENOMEM : RCD_OK, "%zu: %d", k, (int)st);
        cr_assert(!hit || out.len == 0);
        rcd_buf_done(&out);
        if (!hit) {
            cr_assert_gt(k, 1);
            break;
        }
    }
}

Test(encode, strings)
{
    static const struct {
        const char *text;
        size_t len;
        const char *want;
    } cases[] = {
        {"", 0, "\"\""},
        {"plain \x7f", 7, "\"plain \x7f\""},
        {"\"\\/\b\f\n\r\t\0\x1f", 10, "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\""},
        {"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", 9, "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\""},
        {"a\xff"
         "b\xc3",
         4,
         "\"a\xef\xbf\xbd"
         "b\xef\xbf\xbd\""},
        {"a\xe2\x82\xac", 3, "\"a\xef\xbf\xbd\xef\xbf\xbd\""}, /* its last byte is not ours */
        {"\xed\xa0\x80", 3, "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\""},
    };
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct rcd_buf out;
        rcd_buf_init(&out, 1000);
        cr_assert_eq(rcd_json_string(&out, cases[i].text, cases[i].len), RCD_OK);
        cr_assert(out.len == strlen(cases[i].want) && memcmp(out.data, cases[i].want, out.len) == 0,
                  "%zu: %.*s", i, (int)out.len, out.data);
        rcd_buf_done(&out);
    }
    struct rcd_buf small;
    rcd_buf_init(&small, 3);
    cr_assert_eq(rcd_json_string(&small, "ab", 2), RCD_ETOOBIG);
    rcd_buf_done(&small);
}
