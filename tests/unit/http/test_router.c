#include "http/http_int.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(http_router, .timeout = 400);

static void nothing(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    (void)req;
}

static const struct rcd_route routes[] = {
    {"GET", "/v2", nothing, 0},
    {"GET", "/v2/models/{model}", nothing, 0},
    {"GET", "/v2/models/stats", nothing, 0},
    {"POST", "/v2/models/{model}/infer", nothing, RCD_ROUTE_INFER},
    {"POST", "/v2/models/{model}/versions/{version}/infer", nothing, RCD_ROUTE_INFER},
    {"GET", "/v2/logging", nothing, 0},
    {"POST", "/v2/logging", nothing, 0},
    {"GET", "/", nothing, 0},
};

struct found {
    const struct rcd_route *route;
    rcd_status why;
    char allow[128], scratch[512];
    struct rcd__path path;
};

static struct rcd__router *router(void)
{
    struct rcd__router *r = NULL;
    struct rcd_error err;
    cr_assert_eq(rcd__router_new(routes, RCD_COUNT(routes), &r, &err), RCD_OK);
    return r;
}

static void find(struct rcd__router *r, const char *method, const char *path, struct found *f)
{
    memset(f, 0, sizeof *f);
    cr_assert_eq(rcd__path_split(path, f->scratch, &f->path, NULL), RCD_OK, "%s", path);
    f->route = rcd__router_find(r, method, &f->path, &f->why, f->allow, sizeof f->allow);
}

Test(http_router, finds_routes)
{
    static const struct {
        const char *method, *path, *pattern;
    } cases[] = {
        {"GET", "/v2", "/v2"},
        {"GET", "/v2/", "/v2"},
        {"HEAD", "/v2", "/v2"},
        {"GET", "/", "/"},
        {"GET", "/v2/models/a", "/v2/models/{model}"},
        {"GET", "/v2/models/stats", "/v2/models/stats"},
        {"GET", "/v2/models/%73tats", "/v2/models/stats"},
        {"GET", "/%76%32/models/a%2Fb", "/v2/models/{model}"},
        {"POST", "/v2/models/a/infer", "/v2/models/{model}/infer"},
        {"POST", "/v2/models/a/versions/3/infer", "/v2/models/{model}/versions/{version}/infer"},
    };
    struct rcd__router *r = router();
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct found f;
        find(r, cases[i].method, cases[i].path, &f);
        cr_assert_not_null(f.route, "%s", cases[i].path);
        cr_assert_str_eq(f.route->pattern, cases[i].pattern);
    }
    rcd__router_free(r);
}

Test(http_router, tells_unknown_path_from_wrong_method)
{
    struct rcd__router *r = router();
    struct found f;
    static const char *const unknown[] = {"/v3",   "/v2/models",     "/v2/models/",
                                          "/v2//", "/v2/models//",   "//v2",
                                          "/V2",   "/v2/models/a/x", "/v2/models//infer"};
    for (size_t i = 0; i < RCD_COUNT(unknown); i++) {
        find(r, "GET", unknown[i], &f);
        cr_assert_null(f.route, "%s", unknown[i]);
        cr_assert_eq(f.why, RCD_ENOTFOUND, "%s", unknown[i]);
    }
    find(r, "DELETE", "/v2/logging", &f);
    cr_assert_null(f.route);
    cr_assert_eq(f.why, RCD_EMETHOD);
    cr_assert_str_eq(f.allow, "GET, HEAD, POST");
    find(r, "HEAD", "/v2/models/a/infer", &f);
    cr_assert_eq(f.why, RCD_EMETHOD);
    cr_assert_str_eq(f.allow, "POST");
    rcd__router_free(r);
}

Test(http_router, segments_are_decoded_after_the_cut)
{
    struct rcd__router *r = router();
    struct found f;
    find(r, "POST", "/v2/models/a%2Fb%20c%25/versions/1/infer", &f);
    cr_assert_str_eq(rcd__router_segment(r, f.route, &f.path, "model"), "a/b c%");
    cr_assert_str_eq(rcd__router_segment(r, f.route, &f.path, "version"), "1");
    cr_assert_null(rcd__router_segment(r, f.route, &f.path, "versio"));
    cr_assert_null(rcd__router_segment(r, f.route, &f.path, "versions"));
    cr_assert_null(rcd__router_segment(r, f.route, &f.path, ""));
    find(r, "GET", "/v2/models/\xc3\xa4", &f);
    cr_assert_str_eq(rcd__router_segment(r, f.route, &f.path, "model"), "\xc3\xa4");
    rcd__router_free(r);
}

Test(http_router, bad_paths_are_refused)
{
    static const struct {
        const char *path;
        rcd_status want;
    } cases[] = {
        {"", RCD_EINVAL},
        {"v2", RCD_EINVAL},
        {"*", RCD_EINVAL},
        {"/a%00", RCD_EINVAL},
        {"/a%0A", RCD_EINVAL},
        {"/%7F", RCD_EINVAL},
        {"/a\x01", RCD_EINVAL},
        {"/a%", RCD_EINVAL},
        {"/a%4", RCD_EINVAL},
        {"/a%4/b", RCD_EINVAL},
        {"/a%g1", RCD_EINVAL},
        {"/a%1g", RCD_EINVAL},
        {"/%%41", RCD_EINVAL},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16", RCD_OK},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/", RCD_OK},
        {"/1/2/3/4/5/6/7/8/9/10/11/12/13/14/15/16/17", RCD_ENOTFOUND},
    };
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct rcd__path path;
        struct rcd_error err = {.code = RCD_OK};
        size_t len = strlen(cases[i].path) + 1;
        char *scratch = malloc(len); /* exact, for the sanitizer to watch */
        cr_assert_eq(rcd__path_split(cases[i].path, scratch, &path, &err), cases[i].want, "%s",
                     cases[i].path);
        cr_assert(cases[i].want == RCD_OK || err.text[0] != '\0');
        free(scratch);
    }
}

Test(http_router, table_faults_are_reported)
{
    static const struct rcd_route twice[] = {{"GET", "/a/{x}", nothing, 0},
                                             {"GET", "/a/{y}", nothing, 0}};
    static const struct rcd_route bad[] = {{"GET", "a", nothing, 0}};
    struct rcd__router *r = NULL;
    struct rcd_error err;
    cr_assert_eq(rcd__router_new(twice, 2, &r, &err), RCD_EINVAL);
    cr_assert_not_null(strstr(err.text, "/a/{y}"));
    cr_assert_eq(rcd__router_new(bad, 1, &r, &err), RCD_EINVAL);
    cr_assert_null(r);
}

Test(http_router, survives_failing_allocations)
{
    for (size_t k = 0;; k++) {
        struct rcd__router *r = NULL;
        struct rcd_error err;
        rcd_fault_after(k);
        rcd_status st = rcd__router_new(routes, RCD_COUNT(routes), &r, &err);
        bool hit = rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        rcd__router_free(r);
        if (!hit) {
            cr_assert_eq(st, RCD_OK);
            cr_assert_gt(k, RCD_COUNT(routes));
            break;
        }
        cr_assert_eq(st, RCD_ENOMEM);
    }
}
