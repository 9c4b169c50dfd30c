/* stress_registry.c - the registry under ThreadSanitizer: threads that look up, hold and list while
 * models are loaded, swapped and unloaded by two others. A plain program, because criterion does not
 * run under ThreadSanitizer.
 *
 *   stress_registry [rounds]     exit status 0: every reference was good, every hook was called */
#include "../unit/registry/repository.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static struct site site;
static atomic_bool stop;
static size_t rounds = 200;

static void *look_up(void *arg)
{
    static const char *const versions[] = {NULL, "1", "2"};
    size_t *n = arg;
    for (size_t i = 0; !atomic_load(&stop); i++) {
        rcd_version *v = get(&site, i % 2 == 0 ? "a" : "b", versions[i % 3], NULL);
        if (v == NULL)
            continue;
        size_t labels = 0;
        rcd_version *w = rcd_version_ref(v);
        RCD_ASSERT(rcd_version_user(v) == &site);
        RCD_ASSERT(strcmp(rcd_version_labels(v, &labels)[0], rcd_version_number(v)) == 0);
        rcd_version_unref(v);
        RCD_ASSERT(rcd_plan_bytes(rcd_version_plan(w)) == 1000);
        rcd_version_unref(w);
        (*n)++;
    }
    return NULL;
}

static void *list(void *arg)
{
    while (!atomic_load(&stop)) {
        struct rcd_arena arena;
        struct rcd_index_row *rows = NULL;
        size_t n = 0;
        rcd_arena_init(&arena, 1 << 20);
        RCD_ASSERT(rcd_registry_index(site.r, &arena, &rows, &n) == RCD_OK);
        RCD_ASSERT(n >= 1);
        rcd_registry_ready(site.r);
        rcd_arena_done(&arena);
    }
    return arg;
}

static void *load_and_unload(void *arg)
{
    struct rcd_error err;
    for (size_t i = 0; i < rounds; i++) {
        rcd_status st = i % 3 == 0 ? rcd_registry_unload(site.r, "b", &err)
                                   : rcd_registry_load(site.r, "b", NULL, NULL, 0, &err);
        RCD_ASSERT(st == RCD_OK);
    }
    return arg;
}

int main(int argc, char **argv)
{
    pthread_t threads[4];
    size_t n[2] = {0, 0};
    if (argc > 1)
        rounds = strtoul(argv[1], NULL, 10);
    site_start_threads(&site, 4);
    for (char path[] = "c0/1/model.onnx"; path[1] <= '9'; path[1]++)
        put(&site, path, path[1] % 3 == 0 ? "wrong x" : "good");
    put(&site, "a/1/model.onnx", "good");
    put(&site, "a/1/labels.txt", "1");
    put(&site, "b/1/model.onnx", "good");
    put(&site, "b/1/labels.txt", "1");
    rescan(&site);
    pthread_create(&threads[0], NULL, look_up, &n[0]);
    pthread_create(&threads[1], NULL, look_up, &n[1]);
    pthread_create(&threads[2], NULL, list, NULL);
    pthread_create(&threads[3], NULL, load_and_unload, NULL);
    for (size_t i = 0; i < rounds; i++) {
        if (i % 4 == 1)
            put(&site, "a/2/labels.txt", "2");
        if (i % 4 == 2)
            put(&site, "a/2/model.onnx", i % 8 == 2 ? "good" : "wrong x");
        if (i % 4 == 3)
            rm(&site, "a/2");
        rescan(&site);
    }
    pthread_join(threads[3], NULL);
    atomic_store(&stop, true);
    for (size_t i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    site_end(&site); /* asserts that every attach had its detach */
    printf("%zu rounds, %zu and %zu look-ups, %d versions\n", rounds, n[0], n[1], site.attached);
    return n[0] > 0 && n[1] > 0 ? 0 : 1;
}
