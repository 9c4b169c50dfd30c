/* registry.c - the registry as its callers see it: load and unload of whole models. */
#include "registry_int.h"

#include <string.h>
#include <unistd.h>

rcd_status rcd_registry_new(const struct rcd_registry_opts *opts, rcd_registry **ret,
                            struct rcd_error *err)
{
    rcd_registry *r = rcd_calloc(1, sizeof *r);
    char *root = rcd_strdup(opts->root);
    if (r == NULL || root == NULL) {
        rcd_free(r);
        rcd_free(root);
        return rcd_fail(err, RCD_ENOMEM, "no memory for the model registry");
    }
    r->opts = *opts;
    r->opts.root = root;
    pthread_mutex_init(&r->work, NULL);
    pthread_mutex_init(&r->lock, NULL);
    *ret = r;
    return RCD_OK;
}

rcd_registry *rcd_registry_free(rcd_registry *r)
{
    if (r == NULL)
        return NULL;
    while (r->n > 0)
        rcd__drop_entry(r, r->entries[r->n - 1]);
    rcd_free(r->entries);
    pthread_mutex_destroy(&r->work);
    pthread_mutex_destroy(&r->lock);
    char *root = NULL;
    memcpy(&root, &r->opts.root, sizeof root); /* const in the options, ours here */
    rcd_free(root);
    rcd_free(r);
    return NULL;
}

/* ---- load and unload ------------------------------------------------------------------------------ */

static void set_flags(rcd_registry *r, struct rcd__entry *e, bool by_hand, bool given)
{
    pthread_mutex_lock(&r->lock);
    e->by_hand = by_hand;
    e->given = given;
    pthread_mutex_unlock(&r->lock);
}

static rcd_status load_source(rcd_registry *r, const struct rcd__source *src, struct rcd_error *err)
{
    bool known = rcd__find(r, src->model) != NULL;
    struct rcd__entry *e = rcd__enter(r, src->model);
    if (e == NULL)
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory for a model", src->model);
    rcd_status st = rcd__apply(r, e, src, true, err);
    if (st == RCD_OK)
        set_flags(r, e, false, src->given);
    else if (!known && src->from_memory && rcd__n_loaded(e) == 0)
        rcd__drop_entry(r, e);
    else if (rcd__n_loaded(e) > 0)
        set_flags(r, e, false, e->given);
    return st;
}

rcd_status rcd_registry_load(rcd_registry *r, const char *name, const char *config_json,
                             const struct rcd_load_file *files, size_t n_files,
                             struct rcd_error *err)
{
    char quoted[128];
    struct rcd_error why = {.code = RCD_OK};
    struct rcd_arena arena;
    struct rcd__source src = {.model = name};
    const char *fault = rcd__name_fault(name);
    int root = -1;
    if (fault != NULL)
        return rcd_fail(err, RCD_EINVAL, "model '%s': %s",
                        rcd_quote(quoted, sizeof quoted, name, strlen(name)), fault);
    pthread_mutex_lock(&r->work);
    rcd_arena_init(&arena, RCD__SCAN_ARENA);
    rcd_status st = RCD_OK;
    if (n_files > 0) {
        st = rcd__source_memory(name, config_json, files, n_files, &arena, &src, &why);
    } else {
        st = rcd__open_root(r->opts.root, &root, &why);
        if (st == RCD_OK)
            st = rcd__source_folder(root, name, config_json, &arena, &src, &why);
        if (st == RCD_ENOTFOUND)
            rcd_error_prefix(&why, st, "there is no model '%s' in the repository: ", name);
    }
    if (st == RCD_OK)
        st = load_source(r, &src, &why);
    rcd__source_done(&src);
    rcd_arena_done(&arena);
    if (root >= 0)
        close(root);
    pthread_mutex_unlock(&r->work);
    return st == RCD_OK ? RCD_OK : rcd_fail(err, st, "%s", why.text);
}

rcd_status rcd_registry_unload(rcd_registry *r, const char *name, struct rcd_error *err)
{
    char quoted[128];
    pthread_mutex_lock(&r->work);
    struct rcd__entry *e = rcd__find(r, name);
    if (e != NULL) {
        set_flags(r, e, true, false);
        rcd__set_reason(r, e, "");
        rcd__take_down(r, e);
    }
    pthread_mutex_unlock(&r->work);
    if (e == NULL)
        return rcd_fail(err, RCD_ENOTFOUND, "there is no model '%s'",
                        rcd_quote(quoted, sizeof quoted, name, strlen(name)));
    return RCD_OK;
}
