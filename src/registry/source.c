/* source.c - what there is to load: a model's folder, or the files and the configuration of a load
 * call. Only looks and reads model.json; loading comes later, version by version. */
#include "registry_int.h"

#include <stdlib.h>
#include <string.h>

enum { PATH_CAP = RCD__NAME_MAX + 64 };

static int highest_first(const void *a, const void *b)
{
    uint64_t x = ((const struct rcd__found *)a)->number, y = ((const struct rcd__found *)b)->number;
    return x < y ? 1 : x > y ? -1 : 0;
}

static rcd_status copy_config(struct rcd__source *src, const char *config, struct rcd_error *err)
{
    src->config = config;
    src->config_len = strlen(config);
    src->config_from = "the configuration of the load call";
    if (src->config_len > RCD__JSON_MAX)
        return rcd_fail(err, RCD_ETOOBIG, "the configuration has %zu bytes, limit %d",
                        src->config_len, RCD__JSON_MAX);
    return RCD_OK;
}

void rcd__source_done(struct rcd__source *src)
{
    rcd_free(src->read_config);
    src->read_config = NULL;
}

/* ---- a folder ---------------------------------------------------------------------------------- */

/* The version folders among `names`. A file with such a name is no version. A folder whose parts
 * cannot be looked at is one: loading it will say why it cannot. */
static rcd_status find_versions(int root, const char *model, const char **names, size_t n,
                                struct rcd_arena *arena, struct rcd__source *src,
                                struct rcd_error *err)
{
    src->found = rcd_arena_calloc(arena, n, sizeof *src->found);
    if (src->found == NULL)
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory for its versions", model);
    for (size_t i = 0; i < n; i++) {
        struct rcd__found f = {.number = 0};
        char path[PATH_CAP];
        if (!rcd__version_parse(names[i], &f.number))
            continue;
        snprintf(path, sizeof path, "%s/%s/model.onnx", model, names[i]);
        if (rcd__look_at(root, path, &f.onnx, NULL) == RCD_EINVAL)
            continue;
        snprintf(path, sizeof path, "%s/%s/labels.txt", model, names[i]);
        if (rcd__look_at(root, path, &f.labels, NULL) != RCD_OK)
            f.labels.there = false;
        src->found[src->n_found++] = f;
    }
    if (src->n_found > 0)
        qsort(src->found, src->n_found, sizeof *src->found, highest_first);
    return RCD_OK;
}

rcd_status rcd__source_folder(int root, const char *model, const char *config,
                              struct rcd_arena *arena, struct rcd__source *ret,
                              struct rcd_error *err)
{
    struct rcd__source src = {.model = model, .root = root, .given = config != NULL};
    const char **names = NULL;
    size_t n = 0;
    char path[PATH_CAP];
    rcd_status st = rcd__list(root, model, arena, &names, &n, err);
    if (st == RCD_EINVAL) /* a file is no model */
        return rcd_fail(err, RCD_ENOTFOUND, "%s is not a folder", model);
    if (st == RCD_OK)
        st = find_versions(root, model, names, n, arena, &src, err);
    if (st != RCD_OK)
        return st;
    snprintf(path, sizeof path, "%s/model.json", model);
    src.config_from = rcd_arena_strndup(arena, path, strlen(path));
    if (src.config_from == NULL)
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory", model);
    st = rcd__look_at(root, path, &src.config_ident, err);
    if (st == RCD_OK && config != NULL) {
        st = copy_config(&src, config, err);
    } else if (st == RCD_OK && src.config_ident.there) {
        st = rcd__read_file(root, path, RCD__JSON_MAX, &src.read_config, &src.config_len, err);
        src.config = src.read_config;
        if (st == RCD_ENOTFOUND) /* just now it was: not the same as a model that is gone */
            st = rcd_fail(err, RCD_EIO, "%s changed while it was read", path);
    }
    if (st == RCD_OK && src.n_found == 0 && !src.config_ident.there)
        st = rcd_fail(err, RCD_ENOTFOUND, "%s holds neither version folders nor model.json", model);
    if (st == RCD_OK)
        *ret = src;
    else
        rcd__source_done(&src);
    return st;
}

bool rcd__is_model(int root, const char *model, struct rcd_arena *arena)
{
    const char **names = NULL;
    size_t n = 0;
    uint64_t number = 0;
    if (rcd__list(root, model, arena, &names, &n, NULL) != RCD_OK)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (strcmp(names[i], "model.json") == 0 || rcd__version_parse(names[i], &number))
            return true;
    }
    return false;
}

/* ---- a load call's files --------------------------------------------------------------------------- */

static struct rcd__found *found_of(struct rcd__source *src, uint64_t number)
{
    size_t i = 0;
    while (i < src->n_found && src->found[i].number != number)
        i++;
    if (i == src->n_found)
        src->found[src->n_found++] = (struct rcd__found){.number = number};
    return &src->found[i];
}

static rcd_status place_file(struct rcd__source *src, const struct rcd_load_file *file,
                             struct rcd_error *err)
{
    char number[24], path[128];
    uint64_t id = 0;
    const char *slash = strchr(file->path, '/');
    size_t len = slash != NULL ? (size_t)(slash - file->path) : 0;
    rcd_quote(path, sizeof path, file->path, strlen(file->path));
    if (len > 0 && len < sizeof number) {
        memcpy(number, file->path, len);
        number[len] = '\0';
        if (rcd__version_parse(number, &id)) {
            struct rcd__found *f = found_of(src, id);
            const struct rcd_load_file **place = strcmp(slash, "/model.onnx") == 0 ? &f->onnx_file
                                                 : strcmp(slash, "/labels.txt") == 0
                                                     ? &f->labels_file
                                                     : NULL;
            if (place != NULL && *place != NULL)
                return rcd_fail(err, RCD_EINVAL, "file '%s' is given twice", path);
            if (place != NULL) {
                *place = file;
                return RCD_OK;
            }
        }
    }
    return rcd_fail(err, RCD_EINVAL, "file '%s': want VERSION/model.onnx or VERSION/labels.txt",
                    path);
}

rcd_status rcd__source_memory(const char *model, const char *config,
                              const struct rcd_load_file *files, size_t n_files,
                              struct rcd_arena *arena, struct rcd__source *ret,
                              struct rcd_error *err)
{
    struct rcd__source src = {.model = model, .root = -1, .from_memory = true, .given = true};
    if (config == NULL)
        return rcd_fail(err, RCD_EINVAL, "files were given without a configuration ('config')");
    src.found = rcd_arena_calloc(arena, n_files, sizeof *src.found);
    if (src.found == NULL)
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory for its versions", model);
    rcd_status st = copy_config(&src, config, err);
    for (size_t i = 0; i < n_files && st == RCD_OK; i++)
        st = place_file(&src, &files[i], err);
    if (st != RCD_OK)
        return st;
    qsort(src.found, src.n_found, sizeof *src.found, highest_first);
    *ret = src;
    return RCD_OK;
}
