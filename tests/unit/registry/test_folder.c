/* test_folder.c - hostile names, links and files in the repository. */
#include "repository.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(registry_folder, .timeout = 400);

static struct site site;

Test(registry_folder, only_models_are_taken)
{
    site_start(&site);
    put(&site, "good/1/model.onnx", "good");
    put(&site, "README.md", "not a model");
    put(&site, "no_model/train.py", "nor this");
    put(&site, ".hidden/1/model.onnx", "good");
    put(&site, "stats/1/model.onnx", "good");
    put(&site, "white space/1/model.onnx", "good");
    put(&site, "new\nline/1/model.onnx", "good");
    put(&site, "good/01/model.onnx", "wrong leading zero");
    put(&site, "good/v2/model.onnx", "wrong no number");
    put(&site, "good/-3/model.onnx", "wrong sign");
    put(&site, "good/7", "a file with the name of a version");
    cr_expect_eq(rescan(&site), 0);
    cr_expect_str_eq(table(&site), "good 1 READY");
    cr_expect(
        logged(&site, "4 'stats' in the model repository is left out: this name is reserved"));
    cr_expect(logged(&site, "4 'new\\x0aline' in the"));
    cr_expect(logged(&site, "'white space'"));
    cr_expect_not(logged(&site, "hidden"));
    site.log[0] = '\0';
    rescan(&site);
    cr_expect_str_eq(site.log, "", "said again: %s", site.log);
    site_end(&site);
}

Test(registry_folder, names_from_callers)
{
    static const char *const names[] = {"../site", "..",    ".",      "",       "a/b",
                                        "/etc",    "stats", "good/1", "good\n", "../../etc/passwd"};
    struct rcd_error err;
    site_start(&site);
    put(&site, "good/1/model.onnx", "good");
    rescan(&site);
    for (size_t i = 0; i < RCD_COUNT(names); i++) {
        cr_expect_eq(rcd_registry_load(site.r, names[i], NULL, NULL, 0, &err), RCD_EINVAL);
        cr_expect_eq(rcd_registry_unload(site.r, names[i], &err), RCD_ENOTFOUND);
        cr_expect_null(get(&site, names[i], NULL, &err));
        cr_expect_eq(err.code, RCD_ENOTFOUND);
        cr_expect_null(strchr(err.text, '\n'));
    }
    static const char *const versions[] = {"", "0", "01", "../1", "1/../1", "-1", "latest", "2"};
    for (size_t i = 0; i < RCD_COUNT(versions); i++) {
        cr_expect_null(get(&site, "good", versions[i], &err), "%s", versions[i]);
        cr_expect_eq(err.code, RCD_ENOTFOUND);
    }
    site_end(&site);
}

Test(registry_folder, links_inside_are_followed)
{
    site_start(&site);
    put(&site, "..2026_11/model.onnx", "good"); /* as Kubernetes mounts a ConfigMap */
    put(&site, "..2026_11/model.json", "{\"description\": \"linked\"}");
    link_to(&site, "..2026_11", "..data");
    link_to(&site, "../../..data/model.onnx", "m/1/model.onnx");
    link_to(&site, "../..data/model.json", "m/model.json");
    link_to(&site, "m", "again");
    put(&site, "n/store/model.onnx", "good");
    link_to(&site, "store", "n/5");
    cr_expect_eq(rescan(&site), 0, "%s", site.log);
    cr_expect_str_eq(table(&site), "again 1 READY; m 1 READY; n 5 READY");
    rcd_version *v = get(&site, "m", "1", NULL);
    cr_expect_str_eq(rcd_version_config(v)->description, "linked");
    rcd_version_unref(v);
    put(&site, "..2026_12/model.onnx", "good"); /* the swap that Kubernetes does */
    put(&site, "..2026_12/model.json", "{\"description\": \"next\"}");
    rm(&site, "..data");
    link_to(&site, "..2026_12", "..data");
    cr_expect_eq(rescan(&site), 0);
    v = get(&site, "m", "1", NULL);
    cr_expect_str_eq(rcd_version_config(v)->description, "next");
    rcd_version_unref(v);
    site_end(&site);
}

Test(registry_folder, links_that_lead_out_are_refused)
{
    struct site outside;
    char target[256];
    site_start(&outside);
    site_start(&site);
    put(&outside, "m/1/model.onnx", "good");
    put(&outside, "model.json", "{}");
    snprintf(target, sizeof target, "%s/m", outside.root);
    link_to(&site, target, "folder");
    snprintf(target, sizeof target, "%s/m/1", outside.root);
    link_to(&site, target, "version/1");
    snprintf(target, sizeof target, "%s/m/1/model.onnx", outside.root);
    link_to(&site, target, "file/1/model.onnx");
    snprintf(target, sizeof target, "../../../%.63s/m/1/model.onnx", outside.root + 5);
    link_to(&site, target, "dots/1/model.onnx");
    put(&site, "json/1/model.onnx", "good");
    snprintf(target, sizeof target, "%s/model.json", outside.root);
    link_to(&site, target, "json/model.json");
    put(&site, "labels/1/model.onnx", "good");
    link_to(&site, "/etc/passwd", "labels/1/labels.txt");
    link_to(&site, "1", "loop/1");
    link_to(&site, "nowhere", "dangling/1");
    cr_expect_eq(rescan(&site), 8);
    cr_expect_str_eq(table(&site),
                     "dangling 1 UNAVAILABLE(dangling/1/model.onnx is not there); "
                     "dots 1 UNAVAILABLE(dots/1/model.onnx leads out of the repository); "
                     "file 1 UNAVAILABLE(file/1/model.onnx leads out of the repository); "
                     "folder UNAVAILABLE(folder leads out of the repository); "
                     "json UNAVAILABLE(json/model.json leads out of the repository); "
                     "labels 1 UNAVAILABLE(labels/1/labels.txt leads out of the repository); "
                     "loop 1 UNAVAILABLE(loop/1/model.onnx: too many links); "
                     "version 1 UNAVAILABLE(version/1/model.onnx leads out of the repository)");
    cr_expect_not(rcd_registry_ready(site.r));
    struct rcd_error err;
    cr_expect_eq(rcd_registry_load(site.r, "folder", NULL, NULL, 0, &err), RCD_EMODEL);
    cr_expect_eq(site.attached, 0);
    site_end(&site);
    site_end(&outside);
}

Test(registry_folder, only_regular_files_of_a_bounded_size)
{
    char path[512], text[5000];
    site_start(&site);
    put(&site, "fifo/1/x", "");
    snprintf(path, sizeof path, "%s/fifo/1/model.onnx", site.root);
    cr_assert_eq(mkfifo(path, 0644), 0);
    put(&site, "dir/1/model.onnx/x", "");
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    put(&site, "large/1/model.onnx", text);
    cr_expect_eq(rescan(&site), 3);
    cr_expect_str_eq(table(&site),
                     "dir 1 UNAVAILABLE(dir/1/model.onnx is not a regular file); "
                     "fifo 1 UNAVAILABLE(fifo/1/model.onnx is not a regular file); "
                     "large 1 UNAVAILABLE(large/1/model.onnx has 4999 bytes, limit 4096)");
    site_end(&site);
}

Test(registry_folder, the_root)
{
    struct rcd_error err;
    site_start(&site);
    cr_expect_eq(rescan(&site), 0);
    cr_expect(logged(&site, "4 there is no model in /tmp/recurd-registry-"));
    cr_expect(rcd_registry_ready(site.r));
    site.log[0] = '\0';
    rescan(&site);
    cr_expect_str_eq(site.log, "");
    rm(&site, "");
    cr_expect_eq(rcd_registry_rescan(site.r, NULL, &err), RCD_EIO);
    cr_expect(strstr(err.text, "No such file or directory") != NULL, "%s", err.text);
    cr_expect_eq(rcd_registry_load(site.r, "m", NULL, NULL, 0, &err), RCD_EIO);
    site_end(&site);
}
