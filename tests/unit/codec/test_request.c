/* test_request.c - the infer object: members, parameters, names, strict JSON. */
#include "decoded.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(request, .timeout = 400);

#define X1 "{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]}"
#define IN(members) "{\"inputs\":[{" members "}]}"
#define WITH(members) "{" members ",\"inputs\":[" X1 "]}"
#define PARAMS(members) WITH("\"parameters\":{" members "}")
#define OUT(members) "{\"inputs\":[" X1 "],\"outputs\":[{" members "}]}"

Test(request, all_members)
{
    struct decoded d = decode_text(
        " {\"id\":\"rq-\\u0000\\n7\", \"model_name\":\"m\", "
        "\"extra\":[{\"a\":[null,true,-0.5e-3]}],"
        "\"parameters\":{\"sequence_id\":18446744073709551615,\"neg\":-9223372036854775808,"
        "\"priority\":-0,\"f\":1.5e3,\"s\":\"a\\u0000\\ud83d\\ude00\",\"sequence_start\":true,"
        "\"binary_data_output\":true},"
        "\"inputs\":[{\"datatype\":\"FP32\",\"name\":\"x\",\"data\":[0.5, -1 ,2,0.25,0,7],"
        "\"shape\":[1,2,3],\"parameters\":{\"custom\":\"v\"}}],"
        "\"outputs\":[{\"name\":\"y\",\"parameters\":{\"binary_data\":true,\"classification\":3,"
        "\"other\":1}},{\"name\":\"z\"},{\"name\":\"w\",\"parameters\":{\"binary_data\":false}}]}"
        "\r\n\t ");
    cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
    const struct rcd_wire_request *r = &d.req;
    cr_assert_eq(r->id_len, 6);
    cr_assert_eq(memcmp(r->id, "rq-\0\n7", 7), 0);
    cr_assert_eq(r->n_params, 7);
    cr_assert_str_eq(r->params[0].name, "sequence_id");
    cr_assert(r->params[0].kind == RCD_PARAM_UINT && r->params[0].u == UINT64_MAX);
    cr_assert(r->params[1].kind == RCD_PARAM_INT && r->params[1].i == INT64_MIN);
    cr_assert(r->params[2].kind == RCD_PARAM_UINT && r->params[2].u == 0);
    cr_assert(r->params[3].kind == RCD_PARAM_DOUBLE && r->params[3].d == 1500.0);
    cr_assert(r->params[4].kind == RCD_PARAM_STRING && r->params[4].str_len == 6);
    cr_assert_eq(memcmp(r->params[4].str, "a\0\xf0\x9f\x98\x80", 7), 0);
    cr_assert(r->params[5].kind == RCD_PARAM_BOOL && r->params[5].b);
    cr_assert(r->binary_output && !r->raw && r->outputs_given);
    cr_assert_eq(r->n_inputs, 1);
    const struct rcd_tensor *t = &r->inputs[0].tensor;
    static const float want[] = {0.5f, -1, 2, 0.25f, 0, 7};
    cr_assert(t->dtype == RCD_F32 && t->rank == 3 && t->n == 6 && t->block == NULL);
    cr_assert(t->dims[0] == 1 && t->dims[1] == 2 && t->dims[2] == 3);
    cr_assert_arr_eq(t->data, want, sizeof want);
    cr_assert_eq(r->n_outputs, 3);
    cr_assert(r->outputs[0].form == RCD_FORM_BINARY && r->outputs[0].classification == 3);
    cr_assert(r->outputs[1].form == RCD_FORM_DEFAULT && r->outputs[1].classification == 0);
    cr_assert(r->outputs[2].form == RCD_FORM_JSON);
    cr_assert_str_eq(r->outputs[2].name, "w");
    decoded_done(&d);
}

Test(request, small_forms)
{
    struct decoded d = decode_text("{\"inputs\":[],\"id\":\"\",\"outputs\":[]}");
    cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
    cr_assert(d.req.id == NULL && d.req.id_len == 0 && d.req.n_inputs == 0);
    cr_assert(d.req.outputs_given && d.req.n_outputs == 0 && !d.req.binary_output);
    decoded_done(&d);
    d = decode_text("{\"\\u0069nputs\":[{\"na\\u006de\":\"\\u0078\",\"shape\":[ ],"
                    "\"datatype\":\"FP\\u00332\",\"data\":[ [ 5 ] ]}]}");
    cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
    cr_assert(!d.req.outputs_given && d.req.n_params == 0 && d.req.n_inputs == 1);
    cr_assert_str_eq(d.req.inputs[0].name, "x");
    cr_assert(d.req.inputs[0].tensor.rank == 0 && d.req.inputs[0].tensor.n == 1);
    cr_assert_eq(*(float *)d.req.inputs[0].tensor.data, 5.0f);
    decoded_done(&d);
}

Test(request, key_order_does_not_matter)
{
    static const char *const members[] = {"\"name\":\"x\"", "\"shape\":[2]",
                                          "\"datatype\":\"INT8\"", "\"data\":[[-7],8]"};
    for (int order = 0; order < 256; order++) {
        int at[4] = {order & 3, order >> 2 & 3, order >> 4 & 3, order >> 6};
        if ((1 << at[0] | 1 << at[1] | 1 << at[2] | 1 << at[3]) != 15)
            continue;
        char body[200];
        snprintf(body, sizeof body, "{\"inputs\":[{%s,%s,%s,%s}]}", members[at[0]], members[at[1]],
                 members[at[2]], members[at[3]]);
        struct decoded d = decode_text(body);
        cr_assert_eq(d.st, RCD_OK, "%s: %s", body, d.err.text);
        cr_assert_arr_eq(d.req.inputs[0].tensor.data, ((int8_t[]){-7, 8}), 2);
        decoded_done(&d);
    }
}

Test(request, data_first_in_many_inputs)
{
    static const char body[] =
        "{\"inputs\":[{\"data\":[1],\"name\":\"a\",\"shape\":[1],\"datatype\":\"INT8\"},"
        "{\"data\":[[2]],\"name\":\"b\",\"shape\":[1],\"datatype\":\"INT8\"},"
        "{\"shape\":[1],\"data\":[3],\"name\":\"c\",\"datatype\":\"INT8\"},"
        "{\"data\":[4],\"name\":\"d\",\"shape\":[1],\"datatype\":\"INT8\",\"u\":[[]]},"
        "{\"data\":[5],\"name\":\"e\",\"shape\":[1],\"datatype\":\"INT8\"}]}";
    struct decoded d = decode_text(body);
    cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
    for (size_t i = 0; i < 5; i++)
        cr_assert_eq(*(int8_t *)d.req.inputs[i].tensor.data, (int8_t)(i + 1));
    decoded_done(&d);
}

static const struct {
    const char *body, *want;
} wrong[] = {
    /* the object */
    {"", "not a JSON object"},
    {"  ", "not a JSON object"},
    {"[]", "not a JSON object"},
    {"}", "an object for the request"},
    {"\"}", "an object for the request"},
    {"\xef\xbb\xbf{\"inputs\":[]}", "found \\xef"},
    {"{\"inputs\":[]}{}", "nothing behind"},
    {"{\"inputs\":[]} }", "nothing behind"},
    {"{\"inputs\":[]}\v}", "nothing behind"},
    {"{\"inputs\":[}", "found }"},
    {"{\"inputs\":[],}", "a key in quotes"},
    {"{\"inputs\":[],,\"id\":\"\"}", "a key in quotes"},
    {"{,\"inputs\":[]}", "a key in quotes"},
    {"{\"inputs\" []}", "':'"},
    {"{inputs:[]}", "a key in quotes"},
    {"{\"inputs\":[] \"id\":\"\"}", "',' or '}'"},
    {"{\"inputs\":[],\"inputs\":[]}", "'inputs' is there twice"},
    {"{\"inputs\":[],\"\\u0069d\":\"a\",\"id\":\"a\"}", "'id' is there twice"},
    {"{\"inputs\":{}}", "an array for 'inputs'"},
    {"{\"inputs\":null}", "an array for 'inputs'"},
    {"{\"inputs\":[],\"outputs\":{}}", "an array for 'outputs'"},
    {"{\"inputs\":[" X1 ",]}", "an object for an input"},
    {"{\"inputs\":[" X1 " " X1 "]}", "',' or ']'"},
    {"{\"inputs\":[" X1 "," X1 "]}", "input 'x' is there twice"},
    {"{\"inputs\":[],\"id\":7}", "a string for 'id'"},
    {"{\"inputs\":[],\"id\":null}", "a string for 'id'"},
    /* values of keys that nobody knows must still be JSON */
    {WITH("\"u\":tru"), "a JSON value"},
    {WITH("\"u\":True"), "a JSON value"},
    {WITH("\"u\":NaN"), "a JSON value"},
    {WITH("\"u\":-Infinity"), "a number"},
    {WITH("\"u\":+1"), "a JSON value"},
    {WITH("\"u\":.5"), "a JSON value"},
    {WITH("\"u\":1."), "a number"},
    {WITH("\"u\":01"), "',' or '}'"},
    {WITH("\"u\":-"), "a number"},
    {WITH("\"u\":1e"), "a number"},
    {WITH("\"u\":1e+"), "a number"},
    {WITH("\"u\":0x10"), "',' or '}'"},
    {WITH("\"u\":[1,]"), "a JSON value"},
    {WITH("\"u\":[1 2]"), "',' or ']'"},
    {WITH("\"u\":{\"a\":1,}"), "a key in quotes"},
    {WITH("\"u\":{\"a\"}"), "':'"},
    {WITH("\"u\":'a'"), "a JSON value"},
    {WITH("\"u\":/* c */1"), "a JSON value"},
    {WITH("\"u\":"), "a JSON value"},
    {WITH("\"u\":\"\t\""), "control byte 0x09"},
    {WITH("\"u\":\"\\x41\""), "wrong escape"},
    {WITH("\"u\":\"\\u12g4\""), "wrong escape"},
    {WITH("\"u\":\"\\ud800\""), "wrong escape"},
    {WITH("\"u\":\"\\ud800\\u0041\""), "wrong escape"},
    {WITH("\"u\":\"\\udc00\\ud800\""), "wrong escape"},
    {WITH("\"u\":\"\\udfff\""), "wrong escape"},
    {WITH("\"u\":\"\x80\""), "not UTF-8"},
    {WITH("\"u\":\"\xc0\xaf\""), "not UTF-8"},
    {WITH("\"u\":\"\xe0\x80\x80\""), "not UTF-8"},
    {WITH("\"u\":\"\xed\xa0\x80\""), "not UTF-8"},
    {WITH("\"u\":\"\xf4\x90\x80\x80\""), "not UTF-8"},
    {WITH("\"u\":\"\xf8\x88\x80\x80\x80\""), "not UTF-8"},
    {WITH("\"u\":\"\xe2\x82\""), "not UTF-8"},
    {WITH("\"u\":\"open}"), "found inputs"}, /* its end is the next key's quote */
    {"{\"inputs\":[],\"u\":\"open}", "no end"},
    {"{\"inputs\":[],\"u\":\"open\\\"}", "no end"},
    /* parameters */
    {PARAMS("\"a\":1,\"a\":2"), "parameter 'a' is there twice"},
    {PARAMS("\"a\":null"), "parameter 'a': want a string, a number, true or false"},
    {PARAMS("\"a\":[1]"), "a string, a number, true or false"},
    {PARAMS("\"a\":{}"), "a string, a number, true or false"},
    {PARAMS("\"a\":18446744073709551616"), "an integer from -9223372036854775808"},
    {PARAMS("\"a\":100000000000000000000000"), "an integer from -9223372036854775808"},
    {PARAMS("\"a\":-9223372036854775809"), "an integer from -9223372036854775808"},
    {PARAMS("\"a\":1e999"), "a number up to"},
    {PARAMS("\"a\":-1.5e400"), "a number up to"},
    {PARAMS("\"triton_x\":1"), "names with 'triton_' are reserved"},
    {PARAMS("\"\":1"), "is empty"},
    {PARAMS("\"a\\u0000b\":1"), "U+0000"},
    {PARAMS("\"binary_data_output\":1"), "must be true or false"},
    {WITH("\"parameters\":[]"), "an object for 'parameters'"},
    /* inputs */
    {"{\"inputs\":[1]}", "inputs[0] want an object for an input"},
    {IN("\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]"), "inputs[0] 'name' is missing"},
    {IN("\"name\":\"x\",\"datatype\":\"FP32\",\"data\":[1]"), "'x': 'shape' is missing"},
    {IN("\"name\":\"x\",\"shape\":[1],\"data\":[1]"), "'datatype' is missing"},
    {IN("\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\""), "neither 'data' nor"},
    {IN("\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1],"
        "\"parameters\":{\"binary_data_size\":4}"),
     "both 'data' and 'binary_data_size'"},
    {IN("\"name\":\"\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]"), "'name' is empty"},
    {IN("\"name\":\"a\\u0000\",\"shape\":[1],\"datatype\":\"FP32\",\"data\":[1]"), "U+0000"},
    {IN("\"name\":1"), "a string for 'name'"},
    {IN("\"name\":\"x\",\"name\":\"y\""), "'name' is there twice"},
    {IN("\"name\":\"x\",\"shape\":[-1]"), "'x': want an integer from 0 to"},
    {IN("\"name\":\"x\",\"shape\":[1.0]"), "a dimension of 'shape', found 1.0"},
    {IN("\"name\":\"x\",\"shape\":[9223372036854775808]"), "an integer from 0 to"},
    {IN("\"name\":\"x\",\"shape\":\"[1]\""), "an array for 'shape'"},
    {IN("\"shape\":[1,1,1,1,1,1,1,1,1]"), "more than 8 dimensions"},
    {IN("\"datatype\":\"fp32\""), "unknown datatype \"fp32\""},
    {IN("\"datatype\":\"NONE\""), "unknown datatype"},
    {IN("\"datatype\":32"), "a string for 'datatype'"},
    {IN("\"name\":\"x\",\"data\":7"), "an array for 'data'"},
    {IN("\"name\":\"x\",\"parameters\":{\"binary_data_size\":-4}"), "binary_data_size"},
    {IN("\"name\":\"x\",\"parameters\":{\"binary_data_size\":\"4\"}"), "binary_data_size"},
    {IN("\"parameters\":{\"binary_data_size\":4,\"binary_data_size\":4}"), "twice"},
    {IN("\"parameters\":{\"other\":[]}"), "a string, a number, true or false"},
    /* outputs */
    {OUT("\"parameters\":{}"), "outputs[0] 'name' is missing"},
    {OUT("\"name\":\"y\"},{\"name\":\"y\""), "output 'y' is there twice"},
    {OUT("\"name\":\"y\",\"parameters\":{\"binary_data\":1}"), "true or false for binary_data"},
    {OUT("\"name\":\"y\",\"parameters\":{\"classification\":-1}"), "classification"},
    {OUT("\"name\":\"y\",\"parameters\":{\"classification\":\"2\"}"), "classification"},
};

Test(request, wrong_bodies)
{
    for (size_t i = 0; i < RCD_COUNT(wrong); i++)
        cr_expect(refused(wrong[i].body, strlen(wrong[i].body), RCD_NO_JSON_LEN, wrong[i].want),
                  "case %zu", i);
}

Test(request, nul_bytes_are_not_blanks)
{
    static const char inside[] = "{\"inputs\":\0[]}", string[] = "{\"inputs\":[],\"u\":\"\0\"}";
    cr_assert(refused(inside, sizeof inside - 1, RCD_NO_JSON_LEN, "an array for 'inputs'"));
    cr_assert(refused(string, sizeof string - 1, RCD_NO_JSON_LEN, "control byte 0x00"));
}

Test(request, shared_memory_is_not_supported)
{
    static const char *const bodies[] = {
        IN("\"name\":\"x\",\"parameters\":{\"shared_memory_region\":\"r\"}"),
        OUT("\"name\":\"y\",\"parameters\":{\"shared_memory_region\":\"r\"}")};
    for (size_t i = 0; i < RCD_COUNT(bodies); i++) {
        struct decoded d = decode_text(bodies[i]);
        cr_assert_eq(d.st, RCD_EUNSUPPORTED);
        cr_assert(strstr(d.err.text, "shared memory") != NULL);
        decoded_done(&d);
    }
}

static struct decoded nested(int depth, bool skipped)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 20);
    rcd_buf_puts(&b, skipped ? "{\"u\":"
                             : "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"FP32\","
                               "\"data\":");
    for (int i = 0; i < depth; i++)
        rcd_buf_puts(&b, "[");
    rcd_buf_puts(&b, "1");
    for (int i = 0; i < depth; i++)
        rcd_buf_puts(&b, "]");
    rcd_buf_puts(&b, skipped ? ",\"inputs\":[]}" : "}]}");
    cr_assert(!b.failed);
    struct decoded d = decode_bytes(b.data, b.len, RCD_NO_JSON_LEN);
    rcd_buf_done(&b);
    return d;
}

Test(request, depth_is_limited)
{
    for (int skipped = 0; skipped < 2; skipped++) {
        int outside = skipped != 0 ? 1 : 3; /* brackets around: {, or {[{ */
        struct decoded d = nested(100 - outside, skipped != 0);
        cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
        decoded_done(&d);
        for (int more = 1; more < 20000; more *= 10) {
            d = nested(100 - outside + more, skipped != 0);
            cr_assert_eq(d.st, RCD_EINVAL);
            cr_assert(strstr(d.err.text, "nested deeper than 100") != NULL, "%s", d.err.text);
            decoded_done(&d);
        }
    }
}

static rcd_status many(const char *list, const char *form, int n, struct rcd_error *err)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 20);
    rcd_buf_printf(&b, "{%s\"%s\":%c", strcmp(list, "inputs") != 0 ? "\"inputs\":[]," : "", list,
                   strcmp(list, "parameters") != 0 ? '[' : '{');
    for (int i = 0; i < n; i++) {
        rcd_buf_puts(&b, i > 0 ? "," : "");
        rcd_buf_printf(&b, form, i);
    }
    rcd_buf_printf(&b, "%c}", strcmp(list, "parameters") != 0 ? ']' : '}');
    cr_assert(!b.failed);
    struct decoded d = decode_bytes(b.data, b.len, RCD_NO_JSON_LEN);
    if (d.st == RCD_OK && strcmp(list, "inputs") == 0) {
        cr_assert_eq(d.req.n_inputs, (size_t)n);
        cr_assert_str_eq(d.req.inputs[n - 1].name, n == 64 ? "i63" : "i0");
    }
    *err = d.err;
    decoded_done(&d);
    rcd_buf_done(&b);
    return d.st;
}

Test(request, lists_are_limited)
{
    static const char input[] =
        "{\"name\":\"i%d\",\"shape\":[],\"datatype\":\"BOOL\",\"data\":[true]}";
    struct rcd_error err;
    cr_assert_eq(many("inputs", input, 64, &err), RCD_OK, "%s", err.text);
    cr_assert_eq(many("inputs", input, 65, &err), RCD_EINVAL);
    cr_assert(strstr(err.text, "more than 64 inputs") != NULL);
    cr_assert_eq(many("outputs", "{\"name\":\"o%d\"}", 64, &err), RCD_OK);
    cr_assert_eq(many("outputs", "{\"name\":\"o%d\"}", 65, &err), RCD_EINVAL);
    cr_assert(strstr(err.text, "more than 64 outputs") != NULL);
    cr_assert_eq(many("parameters", "\"p%d\":1", 256, &err), RCD_OK);
    cr_assert_eq(many("parameters", "\"p%d\":1", 257, &err), RCD_EINVAL);
    cr_assert(strstr(err.text, "more than 256 parameters") != NULL);
}

Test(request, strings_are_limited)
{
    static const char *const forms[] = {
        "{\"inputs\":[],\"id\":\"%s\"}", "{\"inputs\":[],\"parameters\":{\"%s\":1}}",
        "{\"inputs\":[],\"parameters\":{\"a\":\"%s\"}}",
        "{\"inputs\":[],\"outputs\":[{\"name\":\"%s\"}]}",
        "{\"inputs\":[{\"name\":\"x\",\"shape\":[1],\"datatype\":\"BYTES\",\"data\":[\"%s\"]}]}"};
    char text[1002], body[1200];
    for (size_t i = 0; i < RCD_COUNT(forms); i++) {
        memset(text, 'a', 1001);
        text[1000] = '\0';
        snprintf(body, sizeof body, forms[i], text);
        struct decoded d = decode_text(body);
        cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
        decoded_done(&d);
        text[1000] = 'a';
        text[1001] = '\0';
        snprintf(body, sizeof body, forms[i], text);
        cr_assert(refused(body, strlen(body), RCD_NO_JSON_LEN, "1001 bytes; at most 1000"));
    }
}

Test(request, no_body)
{
    struct rcd_arena arena;
    struct rcd_wire_request req;
    struct rcd_error err;
    rcd_arena_init(&arena, 1 << 20);
    cr_assert_eq(rcd_wire_decode(&arena, NULL, 0, RCD_NO_JSON_LEN, &test_limits, &req, &err),
                 RCD_EINVAL);
    cr_assert(strstr(err.text, "its 0 bytes") != NULL, "%s", err.text);
    cr_assert_eq(rcd_wire_decode(&arena, NULL, 0, 0, &test_limits, &req, &err), RCD_OK);
    cr_assert(req.raw && req.raw_len == 0);
    rcd_arena_done(&arena);
}

Test(request, failure_leaves_the_result_alone)
{
    struct rcd_arena arena;
    struct rcd_wire_request req, before;
    memset(&req, 0x5a, sizeof req);
    before = req;
    rcd_arena_init(&arena, 1 << 20);
    static const char body[] = "{\"id\":\"7\",\"inputs\":[" X1 "]";
    cr_assert_eq(
        rcd_wire_decode(&arena, body, strlen(body), RCD_NO_JSON_LEN, &test_limits, &req, NULL),
        RCD_EINVAL);
    cr_assert_arr_eq(&req, &before, sizeof req);
    rcd_arena_done(&arena);
}
