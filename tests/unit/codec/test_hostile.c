/* test_hostile.c - broken and hostile bodies: an error or a clean request, never more memory than
 * granted. Meant for a build with sanitizers. Where a changed body is still taken, jansson must
 * take its JSON part too. */
#include "decoded.h"

#include <criterion/criterion.h>
#include <jansson.h>
#include <string.h>

TestSuite(hostile, .timeout = 400);

static const char sample_json[] =
    "{\"id\":\"r\\u00e9q-7\",\"parameters\":{\"sequence_id\":18446744073709551615,\"f\":-1.5e3,"
    "\"s\":\"a\\ud83d\\ude00\",\"sequence_start\":true},\"u\":[null,{\"a\":[1,2.5]},\"\xc3\xa9\"],"
    "\"inputs\":[{\"name\":\"x\",\"shape\":[2,3],\"datatype\":\"FP32\",\"data\":[[0.5,-1,2],[0.25,"
    "0,1e-3]]},"
    "{\"data\":[-128,127],\"name\":\"k\",\"datatype\":\"INT8\",\"shape\":[2]},"
    "{\"name\":\"t\",\"shape\":[2],\"datatype\":\"BYTES\",\"data\":[\"plain text here\",\"\\n\"]},"
    "{\"name\":\"h\",\"shape\":[3],\"datatype\":\"FP16\",\"data\":[1,0.1,65504]},"
    "{\"name\":\"d\",\"shape\":[1],\"datatype\":\"FP64\",\"data\":[0.30000000000000004]},"
    "{\"name\":\"l\",\"shape\":[2],\"datatype\":\"BOOL\",\"data\":[true,0]},"
    "{\"name\":\"b\",\"shape\":[2],\"datatype\":\"INT32\",\"parameters\":{\"binary_data_size\":8}},"
    "{\"name\":\"s\",\"shape\":[2],\"datatype\":\"BYTES\",\"parameters\":{\"binary_data_size\":10}}"
    ","
    "{\"name\":\"o\",\"shape\":[1],\"datatype\":\"BOOL\",\"parameters\":{\"binary_data_size\":1}}],"
    "\"outputs\":[{\"name\":\"y\",\"parameters\":{\"binary_data\":true,\"classification\":2}}]}";
static const char sample_blob[] = "\1\0\0\0\2\0\0\0\2\0\0\0hi\0\0\0\0\1";
enum {
    JSON_LEN = sizeof sample_json - 1,
    BLOB_LEN = sizeof sample_blob - 1,
    LEN = JSON_LEN + BLOB_LEN
};

static void sample(char *out)
{
    memcpy(out, sample_json, JSON_LEN);
    memcpy(out + JSON_LEN, sample_blob, BLOB_LEN);
}

/* Touch everything that the request points to. */
static uint64_t sum_of(const struct rcd_wire_request *r)
{
    uint64_t sum = r->id != NULL ? strlen(r->id) : 0;
    for (size_t i = 0; i < r->n_params; i++)
        sum += strlen(r->params[i].name) + (r->params[i].kind == RCD_PARAM_STRING
                                                ? (size_t)r->params[i].str[r->params[i].str_len]
                                                : 0);
    for (size_t i = 0; i < r->n_outputs; i++)
        sum += strlen(r->outputs[i].name);
    for (size_t i = 0; i < r->n_inputs; i++) {
        const struct rcd_tensor *t = &r->inputs[i].tensor;
        sum += strlen(r->inputs[i].name);
        for (size_t j = 0; j < t->n * rcd_dtype_size(t->dtype); j++)
            sum += ((const unsigned char *)t->data)[j];
        for (size_t j = 0; t->dtype == RCD_BYTES && j < t->n; j++) {
            const struct rcd_bytes *b = (const struct rcd_bytes *)t->data + j;
            for (size_t k = 0; k < b->len; k++)
                sum += (unsigned char)b->ptr[k];
        }
    }
    return sum;
}

static volatile uint64_t checksum; /* keeps the reads */

/* True when it was taken. */
static bool try_body(const char *body, size_t len, size_t json_len)
{
    struct decoded d = decode_bytes(body, len, json_len);
    bool taken = d.st == RCD_OK;
    if (taken) {
        checksum += sum_of(&d.req);
        json_error_t why;
        json_t *json = d.req.raw ? NULL
                                 : json_loadb(d.body, json_len == RCD_NO_JSON_LEN ? len : json_len,
                                              JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &why);
        if (json == NULL && !d.req.raw) /* in values that nobody looks at */
            cr_assert_eq(json_error_code(&why), json_error_numeric_overflow, "%s: %.*s", why.text,
                         (int)len, body);
        json_decref(json);
    } else {
        cr_assert(d.st == RCD_EINVAL || d.st == RCD_EUNSUPPORTED, "%d %s", (int)d.st, d.err.text);
        cr_assert(d.err.code == d.st && d.err.text[0] != '\0');
    }
    decoded_done(&d);
    return taken;
}

Test(hostile, truncated_at_every_byte)
{
    char body[LEN];
    sample(body);
    cr_assert(try_body(body, LEN, JSON_LEN));
    for (size_t len = 0; len < LEN; len++) {
        cr_assert(!try_body(body, len, JSON_LEN), "%zu bytes", len);
        cr_assert(!try_body(body, len, RCD_NO_JSON_LEN), "%zu bytes", len);
        if (len > 0 && len != JSON_LEN)
            cr_assert(!try_body(body, LEN, len), "JSON of %zu bytes", len);
    }
}

/* Cut, but with the last bracket in place, so that the text gets past the first check. */
Test(hostile, truncated_and_closed)
{
    char body[JSON_LEN + 1];
    for (size_t len = 0; len < JSON_LEN - 1; len++) {
        memcpy(body, sample_json, len);
        body[len] = '}';
        /* before its inputs begin, what is there may be a request without any */
        bool whole = len < (size_t)(strstr(sample_json, "\"inputs\"") - sample_json);
        cr_assert(whole || !try_body(body, len + 1, RCD_NO_JSON_LEN), "%.*s", (int)len + 1, body);
    }
}

static uint64_t next(uint64_t *state) /* xorshift64 */
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

Test(hostile, random_changes)
{
    static const char likely[] = "\"\\[]{},:0129-+.eEtfnu \n\x80\xc3\xff";
    char body[LEN + 40];
    uint64_t state = 20261123;
    size_t taken = 0;
    for (int round = 0; round < 20000; round++) {
        sample(body);
        size_t json = JSON_LEN, len = LEN;
        for (uint64_t n = 1 + next(&state) % 3; n > 0; n--) {
            uint64_t r = next(&state);
            size_t at = next(&state) % len, cut = 1 + r % 9;
            switch (r >> 8 & 3) {
            case 0: /* another byte */
                body[at] = (char)(r >> 16);
                break;
            case 1: /* one that means something */
                body[at] = likely[(r >> 16) % (sizeof likely - 1)];
                break;
            case 2: /* take some out */
                if (at + cut < json) {
                    memmove(body + at, body + at + cut, len - at - cut);
                    json -= cut;
                    len -= cut;
                }
                break;
            default: /* say some twice */
                if (at + cut < json && len + cut <= sizeof body) {
                    memmove(body + at + cut, body + at, len - at);
                    json += cut;
                    len += cut;
                }
            }
        }
        taken += try_body(body, len, round % 8 == 0 ? next(&state) % (len + 2) : json);
    }
    cr_assert(taken > 400 && taken < 15000, "%zu", taken);
}

Test(hostile, memory_fails_at_every_allocation)
{
    char body[LEN];
    sample(body);
    for (size_t k = 0;; k++) {
        struct rcd_arena arena;
        struct rcd_wire_request req;
        struct rcd_error err;
        rcd_arena_init(&arena, 1 << 20);
        rcd_fault_after(k);
        rcd_status st = rcd_wire_decode(&arena, body, LEN, JSON_LEN, &test_limits, &req, &err);
        bool hit = rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        rcd_arena_done(&arena);
        cr_assert_eq(st, hit ? RCD_ENOMEM : RCD_OK);
        if (!hit) {
            cr_assert_gt(k, 0);
            break;
        }
    }
}

/* The arena takes few and large pieces from malloc; its limit fails at every piece instead. */
Test(hostile, every_arena_limit)
{
    char body[LEN];
    sample(body);
    struct rcd_arena arena;
    struct rcd_wire_request req;
    struct rcd_error err;
    rcd_status st = RCD_ENOMEM;
    size_t limit = 0;
    for (; st != RCD_OK && limit < 1 << 16; limit += 16) {
        rcd_arena_init(&arena, limit);
        st = rcd_wire_decode(&arena, body, LEN, JSON_LEN, &test_limits, &req, &err);
        cr_assert(st == RCD_OK || (st == RCD_ENOMEM && strstr(err.text, "no memory") != NULL), "%s",
                  err.text);
        rcd_arena_done(&arena);
    }
    cr_assert(limit > 1000 && limit < 1 << 16, "%zu", limit);
}

Test(hostile, brackets_and_keys_take_no_memory)
{
    enum { N = 300000 };
    static const char *const pieces[] = {"[],", "{\"a\":1},", "\"k\":0,", "1e9,"};
    for (size_t i = 0; i < RCD_COUNT(pieces); i++) {
        struct rcd_buf b;
        rcd_buf_init(&b, (size_t)1 << 23);
        bool object = pieces[i][0] == '"';
        rcd_buf_puts(&b, object ? "{\"u\":{" : "{\"u\":[");
        while (b.len < N)
            rcd_buf_puts(&b, pieces[i]);
        b.len--;
        rcd_buf_puts(&b, object ? "},\"inputs\":[]}" : "],\"inputs\":[]}");
        struct decoded d = decode_bytes(b.data, b.len, RCD_NO_JSON_LEN);
        cr_assert_eq(d.st, RCD_OK, "%s", d.err.text);
        cr_assert_eq(d.arena.used, 0);
        decoded_done(&d);
        rcd_buf_done(&b);
    }
}
