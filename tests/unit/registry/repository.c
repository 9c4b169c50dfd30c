/* repository.c - see repository.h. */
#include "repository.h"

#include <errno.h>
#include <ftw.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static rcd_status attach(void *ctx, const rcd_version *v, void **ret_user, struct rcd_error *err)
{
    struct site *s = ctx;
    if (s->refuse)
        return rcd_fail(err, RCD_EBUSY, "no room for %s", rcd_version_model(v));
    *ret_user = s;
    __atomic_fetch_add(&s->attached, 1, __ATOMIC_SEQ_CST);
    return RCD_OK;
}

static void detach(void *ctx, void *user)
{
    struct site *s = ctx;
    RCD_ASSERT(user == s);
    __atomic_fetch_add(&s->detached, 1, __ATOMIC_SEQ_CST);
}

static void keep_line(void *ctx, int priority, const char *text)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    struct site *s = ctx;
    pthread_mutex_lock(&lock);
    size_t at = strlen(s->log);
    snprintf(s->log + at, sizeof s->log - at, "%d %s\n", priority, text);
    pthread_mutex_unlock(&lock);
}

void site_start(struct site *s)
{
    site_start_threads(s, 1);
}

void site_start_threads(struct site *s, unsigned load_threads)
{
    struct rcd_error err;
    memset(s, 0, sizeof *s);
    snprintf(s->root, sizeof s->root, "/tmp/recurd-registry-XXXXXX");
    RCD_ASSERT(mkdtemp(s->root) != NULL);
    const struct rcd_registry_opts opts = {.root = s->root,
                                           .max_model_bytes = 4096,
                                           .max_run_bytes = 1 << 20,
                                           .default_max_rows = 64,
                                           .default_max_queue = 1024,
                                           .load_threads = load_threads,
                                           .ctx = s,
                                           .attach = attach,
                                           .detach = detach,
                                           .log = keep_line};
    RCD_ASSERT(rcd_registry_new(&opts, &s->r, &err) == RCD_OK);
}

static int remove_one(const char *path, const struct stat *sb, int kind, struct FTW *ftw)
{
    (void)sb;
    (void)kind;
    (void)ftw;
    return remove(path);
}

static void full_path(const struct site *s, const char *path, char out[512])
{
    snprintf(out, 512, "%s/%s", s->root, path);
}

void rm(const struct site *s, const char *path)
{
    char full[512];
    full_path(s, path, full);
    nftw(full, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

void site_end(struct site *s)
{
    s->r = rcd_registry_free(s->r);
    rm(s, "");
    RCD_ASSERT(fake_plans() == 0);
    RCD_ASSERT(s->attached == s->detached);
}

static void make_folders(char *full)
{
    for (char *slash = strchr(full + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(full, 0755);
        *slash = '/';
    }
}

void put(const struct site *s, const char *path, const char *text)
{
    char full[512];
    full_path(s, path, full);
    make_folders(full);
    unlink(full);
    FILE *f = fopen(full, "wx");
    RCD_ASSERT(f != NULL && fputs(text, f) >= 0 && fclose(f) == 0);
}

void link_to(const struct site *s, const char *target, const char *path)
{
    char full[512];
    full_path(s, path, full);
    make_folders(full);
    RCD_ASSERT(symlink(target, full) == 0);
}

size_t rescan(struct site *s)
{
    struct rcd_error err;
    size_t failed = 0;
    RCD_ASSERT(rcd_registry_rescan(s->r, &failed, &err) == RCD_OK);
    return failed;
}

const char *table(struct site *s)
{
    static char text[8192];
    struct rcd_arena arena;
    struct rcd_index_row *rows = NULL;
    size_t n = 0, at = 0;
    rcd_arena_init(&arena, 1 << 20);
    RCD_ASSERT(rcd_registry_index(s->r, &arena, &rows, &n) == RCD_OK);
    text[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        const struct rcd_index_row *r = &rows[i];
        at +=
            (size_t)snprintf(text + at, sizeof text - at, "%s%s%s%s %s", i > 0 ? "; " : "", r->name,
                             r->version != NULL ? " " : "", r->version != NULL ? r->version : "",
                             rcd_model_state_name(r->state));
        if (r->reason != NULL)
            at += (size_t)snprintf(text + at, sizeof text - at, "(%s)", r->reason);
    }
    rcd_arena_done(&arena);
    return text;
}

bool logged(const struct site *s, const char *text)
{
    return strstr(s->log, text) != NULL;
}

rcd_version *get(struct site *s, const char *name, const char *version, struct rcd_error *err)
{
    rcd_version *v = NULL;
    return rcd_registry_get(s->r, name, version, &v, err) == RCD_OK ? v : NULL;
}

const char *serving(struct site *s, const char *name)
{
    static char number[32];
    rcd_version *v = get(s, name, NULL, NULL);
    snprintf(number, sizeof number, "%s", v != NULL ? rcd_version_number(v) : "-");
    rcd_version_unref(v);
    return number;
}
