/* test_hostile.c - broken and hostile files: an error or a clean load, never more than the memory
 * and stack that were granted. Meant for a build with sanitizers. */
#include "onnx/onnx_int.h"

#include "model_bytes.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/resource.h>

TestSuite(hostile, .timeout = 400);

static rcd_status try_load(const void *bytes, size_t len, size_t max_bytes, struct rcd_error *err)
{
    const struct rcd_onnx_source src = {bytes, len, -1, max_bytes};
    rcd_onnx_model *m = NULL;
    rcd_status st = rcd_onnx_load(&src, &m, err);
    cr_assert_eq(st == RCD_OK, m != NULL);
    cr_assert(st == RCD_OK || (err->code == st && err->text[0] != '\0'));
    rcd_onnx_free(m);
    return st;
}

/* In an allocation of exactly its size, so that the sanitizer sees a read past the end. */
static rcd_status try_copy(const void *bytes, size_t len)
{
    struct rcd_error err;
    void *copy = rcd_alloc(len);
    if (len > 0)
        memcpy(copy, bytes, len);
    rcd_status st = try_load(copy, len, 1 << 24, &err);
    rcd_free(copy);
    return st;
}

Test(hostile, truncated_at_every_byte)
{
    struct pb m = sample_model();
    size_t loaded = 0;
    for (size_t len = 0; len < m.len; len++) {
        rcd_status st = try_copy(m.data, len);
        cr_assert(st == RCD_OK || st == RCD_EMODEL);
        loaded += st == RCD_OK;
    }
    cr_assert_leq(loaded, 5, "a cut model loads only where a top-level field ends: %zu", loaded);
    cr_assert_eq(try_copy(m.data, m.len), RCD_OK);
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
    struct pb m = sample_model();
    uint64_t state = 20261123;
    uint8_t *copy = rcd_alloc(m.len);
    size_t loaded = 0;
    for (int round = 0; round < 20000; round++) {
        memcpy(copy, m.data, m.len);
        for (uint64_t n = 1 + next(&state) % 4; n > 0; n--) {
            uint8_t *at = &copy[next(&state) % m.len];
            uint64_t r = next(&state);
            *at = (uint8_t)(r % 2 != 0 ? r >> 8 : *at ^ 1u << (r >> 8) % 8);
        }
        struct rcd_error err;
        rcd_status st = try_load(copy, m.len, 1 << 24, &err);
        cr_assert(st == RCD_OK || st == RCD_EMODEL, "round %d: %s", round, err.text);
        loaded += st == RCD_OK;
    }
    rcd_free(copy);
    cr_assert(loaded > 100 && loaded < 15000, "%zu", loaded);
}

Test(hostile, memory_fails_at_every_allocation)
{
    struct pb m = sample_model();
    bool done = false;
    size_t k = 0;
    for (; !done; k++) {
        struct rcd_error err = {RCD_OK, ""};
        const struct rcd_onnx_source src = {m.data, m.len, -1, 1 << 24};
        rcd_onnx_model *model = NULL;
        rcd_fault_after(k);
        rcd_status st = rcd_onnx_load(&src, &model, &err);
        done = !rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        cr_assert_eq(st, done ? RCD_OK : RCD_ENOMEM, "k = %zu: %s", k, err.text);
        rcd_onnx_free(model);
    }
    cr_assert_gt(k, 100);
}

Test(hostile, memory_limit_at_every_size)
{
    struct pb m = sample_model();
    struct rcd_error err = {RCD_OK, ""};
    size_t max = 0;
    for (; try_load(m.data, m.len, max, &err) != RCD_OK; max += 64) {
        cr_assert_eq(err.code, RCD_EMODEL, "%zu: %s", max, err.text);
        cr_assert(strstr(err.text, "more than the limit of") != NULL, "%zu: %s", max, err.text);
    }
    cr_assert(max > 4096 && max < 65536, "%zu", max);
}

/* GraphProto > NodeProto > AttributeProto > GraphProto ... */
static struct pb nested(int levels)
{
    struct pb g = mk_graph("g");
    for (int i = 0; i < levels; i++) {
        struct pb n = mk_node("If", NULL, NULL, NULL), outer = mk_graph("g");
        add_attr_graph(&n, "then_branch", g);
        pb_msg(&outer, G_NODE, n);
        g = outer;
    }
    return mk_model(8, 17, g);
}

Test(hostile, nesting)
{
    struct rcd_error err;
    const struct rlimit small = {256 << 10, 256 << 10};
    struct pb deep = nested(300), most = nested(20);
    setrlimit(RLIMIT_STACK, &small);
    cr_assert_eq(try_load(deep.data, deep.len, 1 << 24, &err), RCD_EMODEL);
    cr_assert(strstr(err.text, "nested more than 64 deep") != NULL, "%s", err.text);
    rcd_onnx_free(load_ok(most));
    load_refused(nested(21), "nested more than 64 deep");
}

Test(hostile, many_small_parts)
{
    struct rcd_error err;
    struct pb m = {0}, g = {0};
    for (int i = 0; i < 1000001; i++)
        pb_bytes(&g, G_NODE, "", 0);
    m = mk_model(8, 17, g);
    load_refused(m, "more than 1000000 nodes");

    g = (struct pb){0};
    for (int i = 0; i < 4000001; i++)
        pb_bytes(&g, G_INFO, "", 0);
    load_refused(mk_model(8, 17, g), "more than 4000000 parts");

    /* protobuf-c keeps fields that it does not know: 2 bytes become 100 */
    m = (struct pb){0};
    for (int i = 0; i < 1000000; i++)
        pb_bytes(&m, 30, "", 0);
    cr_assert_eq(try_load(m.data, m.len, 4 << 20, &err), RCD_EMODEL);
    cr_assert(strstr(err.text, "more than the limit of 4194304 bytes") != NULL, "%s", err.text);
}

Test(hostile, wire)
{
    static const struct {
        const char *bytes;
        size_t len;
        const char *text;
    } cases[] = {
        {"\x08", 1, "a broken number at byte 1"},
        {"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 12, "a broken number"},
        {"\x0b\x0c", 2, "a field of unknown wire type at byte 0"},
        {"\x00\x00", 2, "a broken field key"},
        {"\xff\xff\xff\xff\xff\x01", 6, "a broken field key"},
        {"\x12\x05\x61", 3, "a length that passes the end"},
        {"\x12\xff\xff\xff\xff\xff\xff", 7, "a broken length"},
        {"\x0d\x01\x01", 3, "a number that passes the end"},
        {"\x09\x01\x01\x01\x01\x01\x01\x01", 8, "a number that passes the end"},
        {"\x3a\x00\x3a\x00", 4, "ModelProto.graph is there twice, at byte 4"},
        {"\x12\x02"
         "a\0",
         4, "ModelProto.producer_name is not UTF-8 text, at byte 2"},
        {"\x12\x02\xc3\x28", 4, "is not UTF-8 text"},
        {"\x08\x08\x3a\x03\x12\x05\x61", 7, "a length that passes the end at byte 6"},
        {"\x0d\x08\x00\x00\x00\x3a\x00", 7, "a field has the wrong wire type"},
    };
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct rcd_error err = {RCD_OK, ""};
        cr_assert_eq(try_load(cases[i].bytes, cases[i].len, 1 << 20, &err), RCD_EMODEL, "%zu", i);
        cr_assert(strstr(err.text, cases[i].text) != NULL, "want '%s', got '%s'", cases[i].text,
                  err.text);
    }
    struct pb m = sample_model();
    char name[3000];
    memset(name, 'n', sizeof name);
    pb_bytes(&m, 2, name, sizeof name);
    load_refused(m, "ModelProto.producer_name has 3000 bytes, the limit is 2048");
}

Test(hostile, utf8)
{
    static const struct {
        const char *text;
        bool good;
    } cases[] = {
        {"", true},
        {"abc", true},
        {"\xc3\xa9", true},
        {"\xe2\x82\xac", true},
        {"\xf0\x9f\x98\x80", true},
        {"\x80", false},
        {"\xc0\x80", false},
        {"\xc1\xbf", false},
        {"\xe0\x80\x80", false},
        {"\xed\xa0\x80", false},
        {"\xc3", false},
        {"\xe2\x82", false},
        {"\xf0\x80\x80\x80", false},
        {"\xf4\x90\x80\x80", false},
        {"\xf5\x80\x80\x80", false},
        {"\xff", false},
        {"a\xc3"
         "b",
         false},
    };
    for (size_t i = 0; i < RCD_COUNT(cases); i++)
        cr_assert_eq(rcd__onnx_utf8((const uint8_t *)cases[i].text, strlen(cases[i].text)),
                     cases[i].good, "%zu", i);
    cr_assert_not(rcd__onnx_utf8((const uint8_t *)"", 1), "no zero bytes");
}

/* A description for people may hold any bytes. */
Test(hostile, unreadable_doc_is_dropped)
{
    struct pb m = sample_model();
    pb_bytes(&m, 6, "\xff\xfe", 2);
    rcd_onnx_model *model = load_ok(m);
    cr_assert_str_eq(model->doc, "");
    rcd_onnx_free(model);
}
