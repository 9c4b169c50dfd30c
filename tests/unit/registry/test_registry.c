/* test_registry.c - life of models: load, swap, fail, unload, rescan, states, reasons. */
#include "repository.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

TestSuite(registry, .timeout = 400);

static struct site site;
static struct rcd_error err;

static rcd_status load(const char *name)
{
    return rcd_registry_load(site.r, name, NULL, NULL, 0, &err);
}

static rcd_status unload(const char *name)
{
    return rcd_registry_unload(site.r, name, &err);
}

Test(registry, a_version_with_everything)
{
    site_start(&site);
    put(&site, "m/model.json",
        "{\"description\": \"d\", \"batching\": {\"max_rows\": 8},"
        "\"state\": [{\"input\": \"h\", \"output\": \"hn\"}],"
        "\"time\": {\"x\": 1, \"y\": 1}}");
    put(&site, "m/12/model.onnx", "good 3400000");
    put(&site, "m/12/labels.txt", "cat\ndog\n");
    cr_expect_not(rcd_registry_ready(site.r), "not scanned yet");
    cr_expect_null(get(&site, "m", NULL, &err));
    cr_expect_eq(err.code, RCD_EUNAVAILABLE);
    cr_expect_eq(rescan(&site), 0);
    cr_expect(rcd_registry_ready(site.r));
    rcd_version *v = get(&site, "m", "12", &err);
    cr_assert_not_null(v);
    cr_expect_str_eq(rcd_version_model(v), "m");
    cr_expect_str_eq(rcd_version_number(v), "12");
    cr_expect_not_null(rcd_version_plan(v));
    cr_expect_eq(rcd_version_user(v), &site);
    const struct rcd_model_config *c = rcd_version_config(v);
    cr_expect(c->max_rows == 8 && c->max_queue == 1024 && c->n_states == 1);
    size_t n = 0;
    const char *const *labels = rcd_version_labels(v, &n);
    cr_expect(n == 2 && strcmp(labels[1], "dog") == 0);
    cr_expect(rcd_version_load_seconds(v) > 0.0);
    rcd_version_unref(v);
    cr_expect(logged(&site, "6 loaded m version 12 in "));
    cr_expect(logged(&site, " ms: 3.4 MB weights\n"));
    cr_expect_eq(site.attached, 1);
    site_end(&site);
}

Test(registry, unknown_things_are_named)
{
    site_start(&site);
    put(&site, "m/1/model.onnx", "good");
    rescan(&site);
    cr_expect_null(get(&site, "x", NULL, &err));
    cr_expect_str_eq(err.text, "there is no model 'x'");
    cr_expect_null(get(&site, "m", "7", &err));
    cr_expect_str_eq(err.text, "model 'm' has no version '7'");
    cr_expect_eq(load("x"), RCD_ENOTFOUND);
    cr_expect(strncmp(err.text, "there is no model 'x' in the repository: ", 41) == 0, "%s",
              err.text);
    site_end(&site);
}

Test(registry, policies)
{
    site_start(&site);
    for (int i = 1; i <= 10; i++) {
        char path[64];
        snprintf(path, sizeof path, "m/%d/model.onnx", i);
        put(&site, path, "good");
    }
    rescan(&site);
    cr_expect_str_eq(table(&site), "m 10 READY"); /* by number, not by text */
    put(&site, "m/model.json", "{\"versions\": {\"policy\": \"latest\", \"count\": 2}}");
    rescan(&site);
    cr_expect_str_eq(table(&site), "m 9 READY; m 10 READY");
    put(&site, "m/model.json", "{\"versions\": {\"policy\": \"specific\", \"versions\": [2, 4]}}");
    cr_expect_eq(rescan(&site), 0);
    cr_expect_str_eq(table(&site), "m 2 READY; m 4 READY; m 9 UNAVAILABLE(unloaded); m 10 "
                                   "UNAVAILABLE(unloaded)");
    cr_expect_str_eq(serving(&site, "m"), "4");
    rm(&site, "m/9");
    rescan(&site);
    cr_expect_str_eq(table(&site), "m 2 READY; m 4 READY; m 10 UNAVAILABLE(unloaded)");
    put(&site, "m/model.json", "{\"versions\": {\"policy\": \"specific\", \"versions\": [4, 77]}}");
    cr_expect_eq(rescan(&site), 1);
    cr_expect(strstr(table(&site), "there is no version 77, which m/model.json asks for") != NULL);
    cr_expect_str_eq(serving(&site, "m"), "4");
    put(&site, "m/model.json", "{\"versions\": {\"policy\": \"all\"}}");
    cr_expect_eq(rescan(&site), 0);
    cr_expect_str_eq(serving(&site, "m"), "10");
    site_end(&site);
}

Test(registry, a_bad_new_version_leaves_the_old_one)
{
    site_start(&site);
    put(&site, "m/1/model.onnx", "good");
    rescan(&site);
    put(&site, "m/2/model.onnx", "wrong node 'n' (Foo): no such operator");
    cr_expect_eq(rescan(&site), 1);
    cr_expect_str_eq(table(&site),
                     "m 1 READY; m 2 UNAVAILABLE(m/2/model.onnx: node 'n' (Foo): no such "
                     "operator)");
    cr_expect_str_eq(serving(&site, "m"), "1");
    cr_expect(rcd_registry_ready(site.r));
    cr_expect(
        logged(&site, "3 m version 2 was not loaded, the model goes on serving what it has: m/2/"));
    site.log[0] = '\0';
    cr_expect_eq(rescan(&site), 1, "the failure is remembered");
    cr_expect_str_eq(site.log, "", "but not told again");
    cr_expect_null(get(&site, "m", "2", &err));
    cr_expect(strstr(err.text, "no such operator") != NULL);
    cr_expect_eq(load("m"), RCD_EMODEL);
    cr_expect_str_eq(err.text, "m/2/model.onnx: node 'n' (Foo): no such operator");
    cr_expect_str_eq(serving(&site, "m"), "1");
    put(&site, "m/2/model.onnx", "good");
    cr_expect_eq(rescan(&site), 0);
    cr_expect_str_eq(table(&site), "m 1 UNAVAILABLE(unloaded); m 2 READY");
    put(&site, "m/2/model.onnx", "odd shapes"); /* the same version, made worse */
    cr_expect_eq(rescan(&site), 1);
    cr_expect(strstr(table(&site), "m 2 READY(m/2/model.onnx: shapes)") != NULL, "%s",
              table(&site));
    cr_expect_eq(rescan(&site), 1);
    site_end(&site);
}

Test(registry, the_latest_that_loads_serves_after_a_restart_too)
{
    site_start(&site);
    put(&site, "m/1/model.onnx", "good");
    put(&site, "m/2/model.onnx", "good");
    put(&site, "m/3/model.onnx", "wrong thing");
    cr_expect_eq(rescan(&site), 1);
    cr_expect_str_eq(table(&site), "m 2 READY; m 3 UNAVAILABLE(m/3/model.onnx: thing)");
    cr_expect(rcd_registry_ready(site.r));
    site_end(&site);
}

Test(registry, a_bad_model_json_changes_nothing)
{
    site_start(&site);
    put(&site, "m/1/model.onnx", "good");
    rescan(&site);
    put(&site, "m/model.json", "{\"batchin\": {}}");
    cr_expect_eq(rescan(&site), 1);
    cr_expect_str_eq(table(&site),
                     "m 1 READY(m/model.json: unknown key 'batchin'; is 'batching' meant?)");
    cr_expect(logged(&site, "3 m goes on serving what it has: m/model.json: unknown key"));
    site.log[0] = '\0';
    rescan(&site);
    cr_expect_str_eq(site.log, "");
    cr_expect_eq(load("m"), RCD_EMODEL);
    rm(&site, "m/model.json");
    cr_expect_eq(rescan(&site), 0);
    cr_expect_str_eq(table(&site), "m 1 READY");
    put(&site, "n/model.json", "{");
    cr_expect_eq(rescan(&site), 1);
    cr_expect(strstr(table(&site), "n UNAVAILABLE(n/model.json: line 1, column 1: ") != NULL);
    put(&site, "n/model.json", "{}");
    cr_expect_eq(rescan(&site), 1);
    cr_expect(strstr(table(&site), "n UNAVAILABLE(n holds no version folder)") != NULL);
    cr_expect_not(rcd_registry_ready(site.r));
    site_end(&site);
}

Test(registry, names_in_model_json_are_checked_against_the_model)
{
    static const struct {
        const char *json, *why;
    } list[] = {
        {"{\"time\": {\"z\": 1}}", "m/1/model.onnx: time: the model has no input or output 'z'"},
        {"{\"time\": {\"x\": 3}}", "m/1/model.onnx: time: 'x' has rank 3, no axis 3"},
        {"{\"state\": [{\"input\": \"a\", \"output\": \"b\"}]}", "state: no such pair"},
        {"{\"warmup\": [{\"q\": {\"shape\": [1]}}]}", "warm-up 1 of 1: the model has no input 'q'"},
        {"{\"warmup\": [{\"x\": {\"shape\": [1]}}]}", "warm-up 1 of 1: input 'x' has rank 1"},
        {"{\"warmup\": [{\"x\": {\"shape\": [1,9,2]}}]}", "warm-up 1 of 1: input 'h' is missing"},
        {"{\"warmup\": [{\"x\": {\"shape\": [99999,99999,99999]}}]}", "is over 1048576 bytes"},
    };
    site_start(&site);
    put(&site, "m/1/model.onnx", "good");
    for (size_t i = 0; i < RCD_COUNT(list); i++) {
        put(&site, "m/model.json", list[i].json);
        cr_expect_eq(load("m"), i < 3 || i == 3 || i == 6 ? RCD_EMODEL : RCD_EINVAL, "%s",
                     list[i].json);
        cr_expect(strstr(err.text, list[i].why) != NULL, "%s", err.text);
    }
    site_end(&site);
}

Test(registry, warm_up)
{
    site_start(&site);
    put(&site, "m/1/model.onnx", "good");
    rescan(&site);
    cr_expect_eq(fake_runs(), 1);
    struct rcd_tensor x = fake_last_x();
    cr_expect(x.rank == 3 && x.dims[0] == 1 && x.dims[1] == 1 && x.dims[2] == 2);
    put(&site, "n/1/model.onnx", "long"); /* the guess of one time step is wrong */
    cr_expect_eq(rescan(&site), 0);
    cr_expect(logged(&site, "4 n/1/model.onnx: the warm-up with guessed shapes failed"));
    cr_expect_str_eq(serving(&site, "n"), "1");
    put(&site, "n/model.json",
        "{\"state\": [{\"input\": \"h\", \"output\": \"hn\"}],"
        "\"warmup\": [{\"x\": {\"shape\": [1,5,2]}}, {\"x\": {\"shape\": [1,1,2]}}]}");
    cr_expect_eq(rescan(&site), 1);
    cr_expect(strstr(table(&site), "warm-up 2 of 2: node 'c' (Conv): too short") != NULL);
    put(&site, "w/1/model.onnx", "warn");
    rescan(&site);
    cr_expect(logged(&site, "4 w version 1: node 'n': something to know"));
    site_end(&site);
}

Test(registry, changes_are_found_and_only_they)
{
    site_start(&site);
    put(&site, "a/1/model.onnx", "good");
    put(&site, "b/1/model.onnx", "good");
    rescan(&site);
    cr_expect_eq(site.attached, 2);
    rescan(&site);
    cr_expect_eq(site.attached, 2);
    put(&site, "a/1/model.onnx", "good"); /* the same bytes in a new file */
    rescan(&site);
    cr_expect_eq(site.attached, 3);
    put(&site, "a/1/labels.txt", "one\n");
    rescan(&site);
    cr_expect_eq(site.attached, 4);
    put(&site, "a/1/other.txt", "not watched");
    rescan(&site);
    cr_expect_eq(site.attached, 4);
    put(&site, "b/model.json", "{}");
    rescan(&site);
    cr_expect_eq(site.attached, 5);
    rm(&site, "a");
    rescan(&site);
    cr_expect_str_eq(table(&site), "b 1 READY");
    cr_expect(logged(&site, "6 unloaded a version 1"));
    cr_expect_null(get(&site, "a", NULL, &err));
    cr_expect_eq(site.detached, 4);
    site_end(&site);
}

Test(registry, unloaded_by_hand_stays_so)
{
    site_start(&site);
    put(&site, "m/1/model.onnx", "good");
    put(&site, "bad/1/model.onnx", "wrong x");
    rescan(&site);
    cr_expect_not(rcd_registry_ready(site.r));
    cr_expect_eq(unload("bad"), RCD_OK);
    cr_expect(rcd_registry_ready(site.r), "what was unloaded by hand does not count");
    cr_expect_eq(unload("m"), RCD_OK);
    cr_expect_null(get(&site, "m", NULL, &err));
    cr_expect_str_eq(err.text, "model 'm' is not loaded: unloaded");
    cr_expect_eq(err.code, RCD_ENOTFOUND);
    put(&site, "m/1/model.onnx", "good");
    rescan(&site);
    cr_expect(strstr(table(&site), "m 1 UNAVAILABLE(unloaded)") != NULL);
    cr_expect_eq(unload("m"), RCD_OK, "again");
    cr_expect_eq(load("m"), RCD_OK);
    cr_expect_str_eq(serving(&site, "m"), "1");
    put(&site, "m/2/model.onnx", "good");
    rescan(&site);
    cr_expect_str_eq(serving(&site, "m"), "2");
    cr_expect_eq(unload("nothing"), RCD_ENOTFOUND);
    site_end(&site);
}

Test(registry, load_takes_what_came_since_the_scan)
{
    site_start(&site);
    rescan(&site);
    put(&site, "new/1/model.onnx", "good");
    put(&site, "folder/x", "no model");
    cr_expect_str_eq(table(&site), "new UNKNOWN");
    cr_expect_eq(load("new"), RCD_OK);
    cr_expect_str_eq(table(&site), "new 1 READY");
    cr_expect_eq(load("new"), RCD_OK);
    cr_expect_eq(site.attached, 2, "an explicit load always loads");
    site_end(&site);
}

Test(registry, a_refusal_by_the_owner)
{
    site_start(&site);
    put(&site, "m/1/model.onnx", "good");
    site.refuse = true;
    cr_expect_eq(rescan(&site), 1);
    cr_expect_str_eq(table(&site), "m 1 UNAVAILABLE(m version 1: no room for m)");
    site_end(&site);
}

static void *load_in_thread(void *unused)
{
    struct rcd_error e;
    RCD_ASSERT(rcd_registry_load(site.r, "m", NULL, NULL, 0, &e) == RCD_OK);
    return unused;
}

Test(registry, loading_is_a_state)
{
    pthread_t thread;
    site_start(&site);
    rescan(&site);
    put(&site, "m/1/model.onnx", "gate");
    pthread_create(&thread, NULL, load_in_thread, NULL);
    while (!fake_gate_reached())
        usleep(1000);
    cr_expect_str_eq(table(&site), "m 1 LOADING");
    cr_expect_null(get(&site, "m", NULL, &err));
    cr_expect_eq(err.code, RCD_EUNAVAILABLE);
    cr_expect_str_eq(err.text, "model 'm' is loading");
    cr_expect_null(get(&site, "m", "1", &err));
    cr_expect_eq(err.code, RCD_EUNAVAILABLE);
    fake_gate_open();
    pthread_join(thread, NULL);
    cr_expect_str_eq(table(&site), "m 1 READY");
    site_end(&site);
}

static void *scan_in_thread(void *ret_failed)
{
    size_t *failed = ret_failed;
    *failed = rescan(&site);
    return NULL;
}

Test(registry, the_first_scan_loads_beside_a_slow_model)
{
    pthread_t thread;
    size_t failed = 0;
    site_start_threads(&site, 2);
    put(&site, "a/1/model.onnx", "good");
    put(&site, "m/1/model.onnx", "gate");
    put(&site, "o/1/model.onnx", "odd but the largest file");
    put(&site, "z/1/model.onnx", "good");
    pthread_create(&thread, NULL, scan_in_thread, &failed);
    while (strcmp(serving(&site, "a"), "1") != 0 || strcmp(serving(&site, "z"), "1") != 0)
        usleep(1000);
    cr_expect_null(get(&site, "m", NULL, &err));
    cr_expect_eq(err.code, RCD_EUNAVAILABLE);
    cr_expect_not(rcd_registry_ready(site.r));
    fake_gate_open();
    pthread_join(thread, NULL);
    cr_expect_eq(failed, 1);
    cr_expect_str_eq(table(&site), "a 1 READY; m 1 READY; o 1 UNAVAILABLE("
                                   "o/1/model.onnx: but the largest file); z 1 READY");
    site_end(&site);
}

/* ---- swaps while others look up and use ---------------------------------------------------------- */

static atomic_bool stop;

static void *use(void *arg)
{
    size_t *n = arg;
    while (!atomic_load(&stop)) {
        rcd_version *v = get(&site, "m", NULL, NULL);
        RCD_ASSERT(v != NULL); /* there is never a moment without an answer */
        size_t labels = 0;
        const char *const *l = rcd_version_labels(v, &labels);
        RCD_ASSERT(labels == 1 && strcmp(l[0], rcd_version_number(v)) == 0);
        RCD_ASSERT(rcd_plan_bytes(rcd_version_plan(v)) == 1000);
        rcd_version_unref(v);
        (*n)++;
    }
    return NULL;
}

Test(registry, swap_under_references)
{
    pthread_t threads[2];
    size_t n[2] = {0, 0};
    site_start(&site);
    put(&site, "m/1/model.onnx", "good");
    put(&site, "m/1/labels.txt", "1");
    rescan(&site);
    rcd_version *first = get(&site, "m", NULL, NULL);
    for (size_t i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, use, &n[i]);
    for (int i = 0; i < 100; i++) {
        if (i % 3 == 0) {
            put(&site, "m/2/labels.txt", "2");
            put(&site, "m/2/model.onnx", "good");
        } else if (i % 3 == 1) {
            rm(&site, "m/2");
        } else {
            put(&site, "m/1/model.onnx", "good");
        }
        rescan(&site);
        if (i % 10 == 0)
            cr_expect_eq(load("m"), RCD_OK);
    }
    atomic_store(&stop, true);
    for (size_t i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    cr_expect(n[0] > 0 && n[1] > 0);
    cr_expect_str_eq(rcd_version_number(first), "1");
    site.r = rcd_registry_free(site.r);
    cr_expect_eq(site.detached, site.attached - 1, "one is still held");
    rcd_version_unref(first);
    site_end(&site);
}
