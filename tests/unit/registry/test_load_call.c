/* test_load_call.c - load calls that bring a configuration or files, and lack of memory in loads. */
#include "repository.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(registry_load, .timeout = 400);

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

Test(registry_load, a_configuration_of_the_call)
{
    site_start(&site);
    put(&site, "m/1/model.onnx", "good");
    put(&site, "m/model.json", "{\"batching\": {\"max_rows\": 3}}");
    rescan(&site);
    cr_expect_eq(rcd_registry_load(site.r, "m", "{\"max_batch_size\": 9}", NULL, 0, &err), RCD_OK);
    rcd_version *v = get(&site, "m", NULL, &err);
    cr_expect_eq(rcd_version_config(v)->max_rows, 9);
    rcd_version_unref(v);
    put(&site, "m/model.json", "{\"batching\": {\"max_rows\": 3}}");
    rescan(&site);
    v = get(&site, "m", NULL, &err);
    cr_expect_eq(rcd_version_config(v)->max_rows, 9, "a scan leaves it alone");
    rcd_version_unref(v);
    cr_expect_eq(rcd_registry_load(site.r, "m", "{\"nonsense\": 9}", NULL, 0, &err), RCD_EMODEL);
    cr_expect_str_eq(err.text, "the configuration of the load call: unknown key 'nonsense'");
    cr_expect_eq(load("m"), RCD_OK);
    v = get(&site, "m", NULL, &err);
    cr_expect_eq(rcd_version_config(v)->max_rows, 3);
    rcd_version_unref(v);
    site_end(&site);
}

static rcd_status give(const char *name, const char *config, const char *path, const char *bytes,
                       const char *path2, const char *bytes2)
{
    const struct rcd_load_file files[] = {{path, bytes, strlen(bytes)},
                                          {path2, bytes2, bytes2 != NULL ? strlen(bytes2) : 0}};
    return rcd_registry_load(site.r, name, config, files, path2 != NULL ? 2 : 1, &err);
}

Test(registry_load, files_of_the_call)
{
    site_start(&site);
    rescan(&site);
    cr_expect_eq(give("m", "{}", "3/model.onnx", "good", "3/labels.txt", "a\nb"), RCD_OK);
    rcd_version *v = get(&site, "m", "3", &err);
    cr_assert_not_null(v);
    size_t n = 0;
    rcd_version_labels(v, &n);
    cr_expect_eq(n, 2);
    rcd_version_unref(v);
    rescan(&site);
    cr_expect_str_eq(table(&site), "m 3 READY", "a scan leaves it alone");
    cr_expect_eq(give("m", "{}", "4/model.onnx", "wrong x", NULL, NULL), RCD_EMODEL);
    cr_expect_str_eq(serving(&site, "m"), "3");
    cr_expect_eq(give("m", "{}", "4/model.onnx", "good", NULL, NULL), RCD_OK);
    cr_expect_str_eq(table(&site), "m 4 READY");
    cr_expect_eq(give("n", "{}", "1/model.onnx", "wrong x", NULL, NULL), RCD_EMODEL);
    cr_expect_str_eq(table(&site), "m 4 READY", "a failure leaves no trace");
    cr_expect_eq(give("n", "{}", "1/model.onnx", "near", NULL, NULL), RCD_EMODEL);
    cr_expect_eq(give("n", "{}", "1/labels.txt", "x", NULL, NULL), RCD_EMODEL);
    cr_expect_str_eq(err.text, "n/1/model.onnx was not given");
    cr_expect_eq(unload("m"), RCD_OK);
    rescan(&site);
    cr_expect_str_eq(table(&site), "");
    site_end(&site);
}

Test(registry_load, files_of_the_call_in_odd_places)
{
    static const char *const paths[] = {"model.onnx",
                                        "1/weights.bin",
                                        "../1/model.onnx",
                                        "1/../model.onnx",
                                        "/1/model.onnx",
                                        "01/model.onnx",
                                        "1//model.onnx",
                                        "1/sub/model.onnx",
                                        "",
                                        "1/model.json",
                                        "99999999999999999999999999/model.onnx"};
    site_start(&site);
    for (size_t i = 0; i < RCD_COUNT(paths); i++) {
        cr_expect_eq(give("m", "{}", paths[i], "good", NULL, NULL), RCD_EINVAL, "%s", paths[i]);
        cr_expect(strstr(err.text, "want VERSION/model.onnx") != NULL);
    }
    cr_expect_eq(give("m", NULL, "1/model.onnx", "good", NULL, NULL), RCD_EINVAL);
    cr_expect_eq(give("m", "{}", "1/model.onnx", "good", "1/model.onnx", "good"), RCD_EINVAL);
    cr_expect_str_eq(err.text, "file '1/model.onnx' is given twice");
    cr_expect_eq(give("../m", "{}", "1/model.onnx", "good", NULL, NULL), RCD_EINVAL);
    site_end(&site);
}

Test(registry_load, external_data_from_the_folder_only)
{
    site_start(&site);
    put(&site, "m/1/model.onnx", "near");
    put(&site, "m/1/weights.bin", "w");
    cr_expect_eq(rescan(&site), 0);
    site_end(&site);
}

/* ---- lack of memory --------------------------------------------------------------------------------- */

Test(registry_load, failing_allocations)
{
    size_t k = 0;
    for (bool hit = true; hit; k++) {
        site_start(&site);
        put(&site, "m/model.json",
            "{\"description\": \"d\", \"time\": {\"x\": 1}, \"sessions\": {}, \"versions\": "
            "{\"policy\": \"all\"},"
            "\"state\": [{\"input\": \"h\", \"output\": \"hn\"}],"
            "\"warmup\": [{\"x\": {\"shape\": [1, 2, 2]}}]}");
        put(&site, "m/1/model.onnx", "good");
        put(&site, "m/1/labels.txt", "a\nb\n");
        put(&site, "m/2/model.onnx", "good");
        rcd_fault_after(k);
        size_t failed = 0;
        rcd_status st = rcd_registry_rescan(site.r, &failed, &err);
        hit = rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        cr_expect_eq(st != RCD_OK || failed > 0, hit, "allocation %zu", k);
        if (st != RCD_OK)
            cr_expect_eq(st, RCD_ENOMEM);
        cr_expect_eq(rescan(&site), 0, "lack of memory is not remembered, allocation %zu", k);
        cr_expect_str_eq(serving(&site, "m"), "2");
        site_end(&site);
    }
    cr_expect(k > 20, "only %zu allocations", k);
}

Test(registry_load, failing_allocations_of_a_load_call)
{
    const struct rcd_load_file files[] = {{"1/model.onnx", "good", 4}, {"1/labels.txt", "a", 1}};
    struct rcd_arena arena;
    struct rcd_index_row *rows = NULL;
    size_t n = 0;
    for (bool hit = true; hit;) {
        static size_t k;
        site_start(&site);
        rescan(&site);
        rcd_arena_init(&arena, 1 << 20);
        rcd_fault_after(k++);
        rcd_status st = rcd_registry_load(site.r, "m", "{}", files, 2, &err);
        if (st == RCD_OK)
            st = rcd_registry_index(site.r, &arena, &rows, &n);
        hit = rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        cr_expect_eq(st, hit ? RCD_ENOMEM : RCD_OK, "allocation %zu", k - 1);
        rcd_arena_done(&arena);
        site_end(&site);
    }
}
