/* test_config.c - model.json: what is read, what is refused, and with which words. */
#include "registry/registry_int.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(registry_config, .timeout = 400);

static struct rcd_arena arena;
static struct rcd_model_config config;
static struct rcd_error err;

static rcd_status read_text(const char *text)
{
    static const struct rcd__defaults defaults = {
        .max_rows = 64, .max_queue = 1024, .max_delay_us = 7};
    rcd_arena_init(&arena, 1 << 20);
    memset(&config, 0xff, sizeof config);
    return rcd__model_json(text, text != NULL ? strlen(text) : 0, "char-lstm", &defaults, &arena,
                           &config, &err);
}

Test(registry_config, without_a_file_all_defaults)
{
    static const char *const same[] = {NULL, "{}"};
    for (size_t i = 0; i < RCD_COUNT(same); i++) {
        cr_assert_eq(read_text(same[i]), RCD_OK);
        cr_expect_str_eq(config.description, "");
        cr_expect(config.max_rows == 64 && config.max_queue == 1024 && config.max_delay_us == 7);
        cr_expect(config.n_latest == 1 && !config.all_versions && config.n_specific == 0);
        cr_expect(config.weights == RCD_WEIGHTS_F32);
        cr_expect(config.n_states == 0 && config.n_time == 0 && config.n_warmup == 0);
        cr_expect(config.sessions.idle_ms == 3600000 && config.sessions.ring == 0);
        cr_expect(config.sessions.max_bytes == 256 << 20 && !config.sessions.carry);
        cr_expect(config.sessions.durable == RCD_DURABLE_PROCESS &&
                  config.sessions.overflow == RCD_OVERFLOW_REJECT);
        rcd_arena_done(&arena);
    }
}

Test(registry_config, everything)
{
    cr_assert_eq(
        read_text("{\"name\": \"char-lstm\", \"description\": \"a \\u00e4\","
                  "\"state\": [{\"input\": \"h0\", \"output\": \"hn\"},"
                  "            {\"output\": \"cn\", \"input\": \"c0\"}],"
                  "\"time\": {\"x\": 1, \"y\": 0},"
                  "\"batching\": {\"max_rows\": 8, \"max_delay_us\": 500, \"max_queue\": 2},"
                  "\"sessions\": {\"idle_timeout_s\": 60, \"max_bytes\": \"2M\", \"ring\": 4,"
                  "  \"overflow\": \"lru\", \"durable\": \"none\", \"reload\": \"carry\"},"
                  "\"versions\": {\"policy\": \"latest\", \"count\": 3},"
                  "\"warmup\": [{\"x\": {\"shape\": [1, 8, 64]}, \"n\": {\"shape\": []}}, {}]}"),
        RCD_OK, "%s", err.text);
    cr_expect_str_eq(config.description, "a \xc3\xa4");
    cr_assert_eq(config.n_states, 2);
    cr_expect_str_eq(config.state_inputs[1], "c0");
    cr_expect_str_eq(config.state_outputs[1], "cn");
    cr_assert_eq(config.n_time, 2);
    cr_expect_str_eq(config.time_names[0], "x");
    cr_expect(config.time_axes[0] == 1 && config.time_axes[1] == 0);
    cr_expect(config.max_rows == 8 && config.max_delay_us == 500 && config.max_queue == 2);
    cr_expect_eq(config.n_latest, 3);
    cr_expect(config.sessions.idle_ms == 60000 && config.sessions.max_bytes == 2 << 20);
    cr_expect(config.sessions.ring == 4 && config.sessions.carry);
    cr_expect(config.sessions.durable == RCD_DURABLE_NONE &&
              config.sessions.overflow == RCD_OVERFLOW_LRU);
    cr_assert_eq(config.n_warmup, 2);
    cr_expect_eq(config.warmup[0].n, 2);
    cr_expect_str_eq(config.warmup[0].names[0], "x");
    cr_expect(config.warmup[0].ranks[0] == 3 && config.warmup[0].dims[0][2] == 64);
    cr_expect(config.warmup[0].ranks[1] == 0);
    cr_expect_eq(config.warmup[1].n, 0);
    rcd_arena_done(&arena);
}

Test(registry_config, weights)
{
    static const char *const texts[] = {"{\"weights\": \"f32\"}", "{\"weights\": \"bf16\"}",
                                        "{\"weights\": \"int8\"}"};
    for (int how = 0; how < RCD_WEIGHTS_MAX; how++) {
        cr_assert_eq(read_text(texts[how]), RCD_OK, "%s", err.text);
        cr_expect_eq((int)config.weights, how);
        rcd_arena_done(&arena);
    }
}

Test(registry_config, version_policies)
{
    cr_assert_eq(read_text("{\"versions\": {\"policy\": \"all\"}}"), RCD_OK);
    cr_expect(config.all_versions && config.n_latest == 0);
    rcd_arena_done(&arena);
    cr_assert_eq(read_text("{\"versions\": {\"versions\": [3, 1], \"policy\": \"specific\"}}"),
                 RCD_OK);
    cr_expect(config.n_specific == 2 && config.specific[0] == 3 && config.n_latest == 0);
    rcd_arena_done(&arena);
    cr_assert_eq(read_text("{\"versions\": {\"count\": 2}}"), RCD_OK);
    cr_expect_eq(config.n_latest, 2);
    rcd_arena_done(&arena);
}

Test(registry_config, other_servers_words)
{
    cr_assert_eq(read_text("{\"name\": \"char-lstm\", \"max_batch_size\": 16}"), RCD_OK);
    cr_expect_eq(config.max_rows, 16);
    rcd_arena_done(&arena);
    cr_assert_eq(read_text("{\"max_batch_size\": 0}"), RCD_OK);
    cr_expect_eq(config.max_rows, 64);
    rcd_arena_done(&arena);
    cr_assert_eq(read_text("{\"batching\": {\"max_rows\": 8}, \"max_batch_size\": 16}"), RCD_OK);
    cr_expect_eq(config.max_rows, 8);
    rcd_arena_done(&arena);
}

Test(registry_config, refused_with_words)
{
    static const struct {
        const char *text, *why;
    } table[] = {
        {"", "line 1, column 0: "},
        {"[]", "is a list, want an object"},
        {"3", "is an integer, want an object"},
        {"{\"batching\": {}, \"batching\": {}}", "duplicate object key"},
        {"{\"batchng\": {}}", "unknown key 'batchng'; is 'batching' meant?"},
        {"{\"colour\": 1}", "unknown key 'colour'"},
        {"{\"a\\u0001\": 1}", "unknown key 'a\\x01'"},
        {"{\"batching\": {\"max_row\": 1}}",
         "unknown key 'max_row' in batching; is 'max_rows' meant?"},
        {"{\"batching\": 3}", "batching: is an integer, want an object"},
        {"{\"batching\": {\"max_rows\": \"8\"}}",
         "batching.max_rows: is a text, want an integer from 1 to 65536"},
        {"{\"batching\": {\"max_rows\": 0}}", "batching.max_rows: is 0, want 1 to 65536"},
        {"{\"batching\": {\"max_rows\": 65537}}", "is 65537"},
        {"{\"batching\": {\"max_rows\": 1.5}}", "is a number with a fraction"},
        {"{\"batching\": {\"max_delay_us\": -1}}", "batching.max_delay_us: is -1"},
        {"{\"batching\": {\"max_queue\": null}}", "batching.max_queue: is null"},
        {"{\"batching\": {\"max_queue\": 99999999999999999999}}", "too big integer"},
        {"{\"name\": \"other\"}", "name: must be the name of the model's folder, \"char-lstm\""},
        {"{\"name\": 3}", "name: must be"},
        {"{\"max_batch_size\": -1}", "max_batch_size: is -1"},
        {"{\"description\": {}}", "description: is an object, want a text"},
        {"{\"state\": {}}", "state: is an object, want a list"},
        {"{\"state\": [3]}", "state: member 0 is an integer"},
        {"{\"state\": [{\"input\": \"h\"}]}", "state[0].output: is missing"},
        {"{\"state\": [{\"input\": 1, \"output\": \"h\"}]}",
         "state[0].input: is an integer, want a text"},
        {"{\"state\": [{\"in\": \"h\"}]}", "unknown key 'in' in state"},
        {"{\"state\": [{\"inputs\": \"h\"}]}", "is 'input' meant?"},
        {"{\"time\": [1]}", "time: is a list"},
        {"{\"time\": {\"x\": 8}}", "time.x: is 8, want 0 to 7"},
        {"{\"time\": {\"x\": true}}", "time.x: is true or false"},
        {"{\"weights\": \"fp4\"}", "weights: is 'fp4', want \"f32\", \"bf16\" or \"int8\""},
        {"{\"weights\": 8}", "weights: is an integer, want \"f32\""},
        {"{\"sessions\": {\"idle_timeout_s\": 0}}", "sessions.idle_timeout_s: is 0"},
        {"{\"sessions\": {\"max_bytes\": \"256MB\"}}",
         "sessions.max_bytes: want a number of bytes"},
        {"{\"sessions\": {\"overflow\": \"drop\"}}",
         "sessions.overflow: is 'drop', want \"reject\", \"lru\" or \"spill\""},
        {"{\"sessions\": {\"durable\": 1}}", "sessions.durable: is an integer, want \"none\""},
        {"{\"sessions\": {\"timeout\": 1}}", "unknown key 'timeout' in sessions"},
        {"{\"versions\": {\"policy\": \"newest\"}}", "versions.policy: is 'newest'"},
        {"{\"versions\": {\"policy\": \"all\", \"count\": 2}}", "versions.count: goes with"},
        {"{\"versions\": {\"versions\": [1]}}", "versions.versions: goes with"},
        {"{\"versions\": {\"policy\": \"specific\"}}", "needs \"versions\""},
        {"{\"versions\": {\"policy\": \"specific\", \"versions\": [0]}}",
         "versions.versions[0]: is 0"},
        {"{\"warmup\": {}}", "warmup: is an object, want a list"},
        {"{\"warmup\": [3]}", "warmup[0]: is an integer"},
        {"{\"warmup\": [{\"x\": [1]}]}", "warmup[0].x: want {\"shape\": [sizes]}"},
        {"{\"warmup\": [{}, {\"x\": {\"shape\": [1,2,3,4,5,6,7,8,9]}}]}",
         "warmup[1].x: has rank 9, limit 8"},
        {"{\"warmup\": [{\"x\": {\"shape\": [-1]}}]}", "warmup[0].x: is -1"},
        {"{\"warmup\": [{\"x\": {\"shape\": [1], \"data\": 0}}]}", "warmup[0].x: want"},
    };
    for (size_t i = 0; i < RCD_COUNT(table); i++) {
        cr_expect_eq(read_text(table[i].text), RCD_EMODEL, "%s", table[i].text);
        cr_expect(strstr(err.text, table[i].why) != NULL, "%s: '%s', want '%s'", table[i].text,
                  err.text, table[i].why);
        rcd_arena_done(&arena);
    }
}

Test(registry_config, labels)
{
    const char *const *labels = NULL;
    size_t n = 0;
    rcd_arena_init(&arena, 1 << 16);
    static const char text[] = "cat\r\ndog\n\nb\xc3\xa4r";
    cr_assert_eq(rcd__labels(text, sizeof text - 1, &arena, &labels, &n, &err), RCD_OK);
    cr_assert_eq(n, 4);
    cr_expect_str_eq(labels[0], "cat");
    cr_expect_str_eq(labels[2], "");
    cr_expect_str_eq(labels[3], "b\xc3\xa4r");
    cr_assert_eq(rcd__labels("a\n", 2, &arena, &labels, &n, &err), RCD_OK);
    cr_expect_eq(n, 1);
    cr_assert_eq(rcd__labels("", 0, &arena, &labels, &n, &err), RCD_OK);
    cr_expect_eq(n, 0);
    static const char *const bad[] = {"\xff",     "\xc0\x80",         "\xed\xa0\x80",
                                      "\xe4\xbd", "\xf5\x80\x80\x80", "\x80"};
    for (size_t i = 0; i < RCD_COUNT(bad); i++) {
        char line[16];
        snprintf(line, sizeof line, "ok\n%s", bad[i]);
        cr_expect_eq(rcd__labels(line, strlen(line), &arena, &labels, &n, &err), RCD_EMODEL, "%zu",
                     i);
        cr_expect_str_eq(err.text, "line 2 is not UTF-8 text");
    }
    cr_expect_eq(rcd__labels("a\0b", 3, &arena, &labels, &n, &err), RCD_EMODEL);
    rcd_arena_done(&arena);
}
