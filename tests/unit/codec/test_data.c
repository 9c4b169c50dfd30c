/* test_data.c - "data" arrays of every datatype: values, ranges, counts, nesting. */
#include "decoded.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(data, .timeout = 400);

static bool data_refused(const char *dtype, const char *shape, const char *data, const char *want)
{
    struct decoded d = decode_data(dtype, shape, data);
    bool ok = d.st == RCD_EINVAL && strstr(d.err.text, want) != NULL &&
              strstr(d.err.text, "inputs[0] 'x': ") == d.err.text;
    if (!ok)
        fprintf(stderr, "%s %s %s: status %d, message '%s', want '%s'\n", dtype, shape, data,
                (int)d.st, d.err.text, want);
    decoded_done(&d);
    return ok;
}

static bool data_is(const char *dtype, const char *shape, const char *data, const void *want,
                    size_t bytes)
{
    struct decoded d = decode_data(dtype, shape, data);
    const struct rcd_tensor *t = &d.req.inputs[0].tensor;
    bool ok = d.st == RCD_OK && t->data != NULL && ((uintptr_t)t->data & (RCD_ALIGN - 1)) == 0 &&
              t->n * rcd_dtype_size(t->dtype) == bytes && memcmp(t->data, want, bytes) == 0;
    if (!ok)
        fprintf(stderr, "%s %s %s: '%s'\n", dtype, shape, data, d.err.text);
    decoded_done(&d);
    return ok;
}

#define IS(dtype, shape, data, type, ...)                                                          \
    cr_expect(data_is(dtype, shape, data, (type[]){__VA_ARGS__}, sizeof((type[]){__VA_ARGS__})))

Test(data, every_type)
{
    IS("BOOL", "[4]", "[true,false,1,0]", uint8_t, 1, 0, 1, 0);
    IS("UINT8", "[3]", "[0,255,-0]", uint8_t, 0, 255, 0);
    IS("UINT16", "[2]", "[0,65535]", uint16_t, 0, 65535);
    IS("UINT32", "[2]", "[0,4294967295]", uint32_t, 0, UINT32_MAX);
    IS("UINT64", "[4]", "[0,18446744073709551615,9999999999999999999,10000000000000000000]",
       uint64_t, 0, UINT64_MAX, 9999999999999999999u, 10000000000000000000u);
    IS("INT8", "[3]", "[-128,127,-0]", int8_t, -128, 127, 0);
    IS("INT16", "[2]", "[-32768,32767]", int16_t, INT16_MIN, INT16_MAX);
    IS("INT32", "[2]", "[-2147483648,2147483647]", int32_t, INT32_MIN, INT32_MAX);
    IS("INT64", "[3]", "[-9223372036854775808,9223372036854775807,-1]", int64_t, INT64_MIN,
       INT64_MAX, -1);
    IS("FP32", "[4]", "[1,-0.0,3.4028235e38,1e-45]", float, 1, -0.0f, 3.4028235e38f, 1e-45f);
    IS("FP64", "[3]", "[0.1,-1.7976931348623157E+308,5e-324]", double, 0.1, -1.7976931348623157e308,
       5e-324);
    IS("FP16", "[8]", "[1,-2,65504,65519.99,6e-8,1e-9,-0.0,0.333251953125]", uint16_t, 0x3c00,
       0xc000, 0x7bff, 0x7bff, 0x0001, 0, 0x8000, 0x3555);
    IS("BF16", "[4]", "[1,-2,3.3895314e38,0.1]", uint16_t, 0x3f80, 0xc000, 0x7f7f, 0x3dcd);
}

/* 1 + 2^-11 lies in the middle of two half-width numbers: to even. The next text is a hair above,
 * less than a float can tell: rounding twice would miss it. */
Test(data, half_width_rounds_once)
{
    IS("FP16", "[3]", "[1.00048828125,1.00048828125001,1.00146484375]", uint16_t, 0x3c00, 0x3c01,
       0x3c02);
    IS("BF16", "[2]", "[1.00390625,1.003906250000001]", uint16_t, 0x3f80, 0x3f81);
}

Test(data, values_out_of_range)
{
    static const struct {
        const char *dtype, *data, *want;
    } cases[] = {
        {"INT8", "[300]", "data[0] is 300; INT8 takes integers from -128 to 127"},
        {"INT8", "[128]", "INT8 takes"},
        {"INT8", "[-129]", "data[0] is -129"},
        {"UINT8", "[256]", "from 0 to 255"},
        {"UINT8", "[-1]", "data[0] is -1; UINT8 takes integers from 0 to 255"},
        {"INT16", "[32768]", "from -32768 to 32767"},
        {"INT16", "[-32769]", "from -32768 to 32767"},
        {"UINT16", "[65536]", "from 0 to 65535"},
        {"INT32", "[2147483648]", "from -2147483648 to 2147483647"},
        {"INT32", "[-2147483649]", "data[0] is -2147483649"},
        {"UINT32", "[4294967296]", "from 0 to 4294967295"},
        {"INT64", "[9223372036854775808]", "data[0] is 9223372036854775808"},
        {"INT64", "[-9223372036854775809]", "data[0] is -9223372036854775809"},
        {"UINT64", "[18446744073709551616]", "data[0] is 18446744073709551616"},
        {"UINT64", "[99999999999999999999]", "from 0 to 18446744073709551615"},
        {"UINT64", "[100000000000000000000]", "from 0 to 18446744073709551615"},
        {"INT32", "[1.0]", "data[0] is 1.0; INT32 takes integers, without fraction"},
        {"INT32", "[1e3]", "takes integers, without fraction and exponent"},
        {"INT32", "[true]", "data[0] is true; INT32 takes integers"},
        {"INT32", "[\"1\"]", "data[0] is \"1\"; INT32"},
        {"FP32", "[1e999]", "data[0] is 1e999; FP32 takes numbers up to"},
        {"FP32", "[-3.5e38]", "data[0] is -3.5e38"},
        {"FP32", "[1e99999999999999999999]", "FP32 takes numbers"},
        {"FP64", "[1e309]", "data[0] is 1e309; FP64"},
        {"FP16", "[65520]", "data[0] is 65520; FP16 takes numbers from -65504"},
        {"BF16", "[3.4e38]", "data[0] is 3.4e38; BF16"},
        {"FP32", "[NaN]", "data[0] is NaN; FP32 takes numbers"},
        {"FP32", "[-Infinity]", "data[0] is -Infinity"},
        {"FP32", "[Infinity]", "data[0] is Infinity"},
        {"FP32", "[null]", "data[0] is null"},
        {"FP32", "[\"1.5\"]", "data[0] is \"1.5\""},
        {"FP32", "[{}]", "data[0] is {"},
        {"FP32", "[+1]", "data[0] is +1"},
        {"FP32", "[.5]", "data[0] is .5"},
        {"FP32", "[5.]", "data[0] is 5."},
        {"FP32", "[1e]", "data[0] is 1e"},
        {"FP32", "[-]", "data[0] is -"},
        {"FP32", "[01]", "',' or ']' in data, found 1"},
        {"FP32", "[0x1]", "',' or ']' in data, found x1"},
        {"FP32", "[1,]", "data[1] is ]"},
        {"FP32", "[,1]", "data[0] is ,"},
        {"FP32", "[1 1]", "',' or ']' in data"},
        {"FP32", "[1}", "',' or ']' in data, found }"},
        {"FP32", "[}", "data[0] is }"},
        {"BOOL", "[2]", "data[0] is 2; BOOL takes true, false, 1 or 0"},
        {"BOOL", "[-0]", "BOOL takes"},
        {"BOOL", "[1.0]", "BOOL takes"},
        {"BOOL", "[tru]", "data[0] is tru"},
        {"BOOL", "[True]", "data[0] is True"},
        {"BOOL", "[falsey]", "',' or ']' in data, found y"},
        {"BYTES", "[1]", "data[0] is 1; BYTES takes strings"},
        {"BYTES", "[\"\\ud800\"]", "wrong escape"},
        {"BYTES", "[\"\xff\"]", "not UTF-8"},
    };
    for (size_t i = 0; i < RCD_COUNT(cases); i++)
        cr_expect(data_refused(cases[i].dtype, "[1]", cases[i].data, cases[i].want), "case %zu", i);
    cr_expect(data_refused("FP32", "[2,2]", "[[1,2],[3,1e40]]", "data[3] is 1e40"));
}

Test(data, counts_and_nesting)
{
    IS("INT32", "[2,3]", "[[1,2,3],[4,5,6]]", int32_t, 1, 2, 3, 4, 5, 6);
    IS("INT32", "[2,3]", "[1,2,3,4,5,6]", int32_t, 1, 2, 3, 4, 5, 6);
    IS("INT32", "[2,3]", "[ [ [1] ] , [[2,3],[ ]] ,4\n,[[[5]],6] ]", int32_t, 1, 2, 3, 4, 5, 6);
    IS("INT32", "[]", "[7]", int32_t, 7);
    IS("INT32", "[1,1,1,1,1,1,1,1]", "[[7]]", int32_t, 7);
    static const char *const empty[] = {"[]", "[[],[]]", " [ [ ] ] "};
    for (size_t i = 0; i < RCD_COUNT(empty); i++)
        for (int far = 0; far < 2; far++)
            cr_expect(data_is("FP32", far != 0 ? "[100000000,0]" : "[2,0,3]", empty[i], "", 0));
    cr_expect(data_refused("INT32", "[3]", "[1,2]", "data has only 2 elements, the shape makes 3"));
    cr_expect(data_refused("INT32", "[3]", "[]  ,\"a\":1", "data has only 0 elements"));
    cr_expect(data_refused("INT32", "[2]", "[1,2,3]", "data has more than 2 elements"));
    cr_expect(data_refused("INT32", "[0]", "[1]", "data has more than 0 elements"));
    cr_expect(data_refused("INT32", "[]", "[]", "only 0 elements, the shape makes 1"));
    cr_expect(data_refused("INT32", "[2]", "[[1,2]", "',' or ']' in data"));
    cr_expect(data_refused("INT32", "[1]", "7", "an array for data"));
    cr_expect(data_refused("INT32", "[1]", "{}", "an array for data"));
}

Test(data, impossible_shapes_take_no_memory)
{
    static const char *const shapes[] = {
        "[1000]",
        "[2147483648,2147483648]",
        "[9223372036854775807]",
        "[4294967296,4294967296]",
        "[9223372036854775807,9223372036854775807]",
        "[9223372036854775807,0,9223372036854775807]",
        "[65536,65536,65536,65536]",
        "[2147483649,4294967297,2]",
    };
    for (size_t i = 0; i < RCD_COUNT(shapes); i++) {
        static const char *const dtypes[] = {"BOOL", "FP64", "BYTES"};
        for (size_t j = 0; j < RCD_COUNT(dtypes); j++) {
            struct decoded d = decode_data(dtypes[j], shapes[i], "[1]");
            cr_assert_eq(d.st, RCD_EINVAL, "%s", shapes[i]);
            cr_assert(strstr(d.err.text, "too large") != NULL ||
                          strstr(d.err.text, "cannot hold") != NULL,
                      "%s", d.err.text);
            cr_assert_lt(d.arena.used, 2048);
            decoded_done(&d);
        }
    }
}

Test(data, memory_follows_the_body)
{
    enum { N = 100000 };
    char *text = rcd_alloc(2 * N + 2);
    for (size_t i = 0; i < N; i++)
        memcpy(text + 2 * i, i == 0 ? "[1" : ",1", 2);
    memcpy(text + 2 * N, "]", 2);
    struct decoded d = decode_data("FP32", "[100000]", text);
    cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
    cr_assert_lt(d.arena.used, 4 * N + 2048);
    decoded_done(&d);
    rcd_free(text);
}

Test(data, strings)
{
    struct decoded d = decode_data(
        "BYTES", "[2,3]",
        "[[\"plain text that is longer than eight\",\"\",\"a\\u0000b\"],[\"\xc3\xa9\xe2\x82\xac\","
        "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u00e9\\u20AC\\ud83d\\ude00 and more plain "
        "text\",\"1234567\\t\"]]");
    cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
    static const struct {
        const char *text;
        size_t len;
    } want[] = {{"plain text that is longer than eight", 36},
                {"", 0},
                {"a\0b", 3},
                {"\xc3\xa9\xe2\x82\xac", 5},
                {"\"\\/\b\f\n\r\t\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80 and more plain text", 37},
                {"1234567\t", 8}};
    const struct rcd_bytes *got = d.req.inputs[0].tensor.data;
    cr_assert_eq(d.req.inputs[0].tensor.n, RCD_COUNT(want));
    for (size_t i = 0; i < RCD_COUNT(want); i++) {
        cr_assert_eq(got[i].len, want[i].len, "%zu: %zu", i, got[i].len);
        cr_assert_eq(memcmp(got[i].ptr, want[i].text, want[i].len), 0, "%zu", i);
    }
    cr_assert(got[0].ptr > d.body && got[0].ptr < d.body + 200, "used where it stands");
    decoded_done(&d);
}

/* Each byte value at each place of a string: the fast path of eight bytes must see what the slow
 * one sees. */
Test(data, every_byte_at_every_place)
{
    for (int c = 0; c < 256; c++) {
        for (int at = 0; at < 18; at++) {
            char body[] = "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"BYTES\","
                          "\"data\":[\"abcdefghijklmnopqr\"]}]}";
            *(strstr(body, "abc") + at) = (char)c;
            struct decoded d = decode_bytes(body, sizeof body - 1, RCD_NO_JSON_LEN);
            bool plain = c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
            bool escape = c == '\\' && (at == 0 || at == 4 || at == 12 || at == 16);
            cr_assert_eq(d.st == RCD_OK, plain || escape || (c == '"' && at == 18), "%d at %d: %s",
                         c, at, d.err.text);
            decoded_done(&d);
        }
    }
}
