/* versions.c - from paths to versions of models. */
#include "api_int.h"

#include <string.h>

rcd_version *rcd__version_of(rcd_api *api, rcd_http_req *req)
{
    rcd_version *v = NULL;
    struct rcd_error err = {.code = RCD_OK};
    rcd_status st = rcd_registry_get(api->opts.registry, rcd_http_segment(req, "model"),
                                     rcd_http_segment(req, "version"), &v, &err);
    if (st == RCD_OK)
        return v;
    rcd__answer_error(req, &err);
    return NULL;
}

rcd_status rcd__versions_ready(rcd_api *api, const char *model, struct rcd_arena *arena,
                               rcd_version ***ret, size_t *ret_n)
{
    struct rcd_index_row *rows = NULL;
    size_t n_rows = 0, n = 0;
    *ret = NULL;
    *ret_n = 0;
    rcd_status st = rcd_registry_index(api->opts.registry, arena, &rows, &n_rows);
    if (st != RCD_OK)
        return st;
    rcd_version **list = rcd_arena_calloc(arena, n_rows, sizeof(rcd_version *));
    if (list == NULL)
        return RCD_ENOMEM;
    for (size_t i = 0; i < n_rows; i++) {
        if (rows[i].state != RCD_MODEL_READY || rows[i].version == NULL)
            continue;
        if (model != NULL && strcmp(model, rows[i].name) != 0)
            continue;
        /* May have been unloaded since the index was made. */
        if (rcd_registry_get(api->opts.registry, rows[i].name, rows[i].version, &list[n], NULL) ==
            RCD_OK)
            n++;
    }
    *ret = list;
    *ret_n = n;
    return RCD_OK;
}

void rcd__versions_unref(rcd_version **list, size_t n)
{
    for (size_t i = 0; i < n; i++)
        rcd_version_unref(list[i]);
}
