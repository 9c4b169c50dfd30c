/* repository.c - load and unload over HTTP. The registry's calls block, so they run on a helper
 * thread of the loop; the answer goes out when they are over. */
#include "api_int.h"

#include <string.h>
#include <uv.h>

struct control {
    uv_work_t work;
    rcd_api *api;
    rcd_http_req *req;
    const char *model; /* lives as long as req */
    bool unload;
    json_t *body; /* owns `config` and the files' paths */
    const char *config;
    struct rcd_load_file *files;
    size_t n_files;
    struct rcd_arena arena; /* the files */
    struct rcd_error err;
};

static void control_free(struct control *c)
{
    json_decref(c->body);
    rcd_arena_done(&c->arena);
    rcd_free(c);
}

static rcd_status read_load(struct control *c, const char *key, const json_t *value,
                            struct rcd_error *err)
{
    if (!json_is_string(value))
        return rcd_fail(err, RCD_EINVAL, "must be a string");
    if (strcmp(key, "config") == 0) {
        c->config = json_string_value(value);
        return RCD_OK;
    }
    if (strncmp(key, "file:", 5) != 0)
        return rcd_fail(err, RCD_EINVAL, "is not known (known: config, file:PATH)");
    struct rcd_load_file *f = &c->files[c->n_files];
    f->path = key + 5;
    rcd_status st = rcd__base64(&c->arena, json_string_value(value), json_string_length(value),
                                &f->bytes, &f->len, err);
    if (st == RCD_OK)
        c->n_files++;
    return st;
}

static rcd_status read_unload(const char *key, const json_t *value, struct rcd_error *err)
{
    if (strcmp(key, "unload_dependents") != 0)
        return rcd_fail(err, RCD_EINVAL, "is not known (known: unload_dependents)");
    if (!json_is_boolean(value))
        return rcd_fail(err, RCD_EINVAL, "must be true or false");
    return RCD_OK;
}

static rcd_status read_body(struct control *c, struct rcd_error *err)
{
    rcd_status st = rcd__body_object(c->req, &c->body, err);
    if (st != RCD_OK)
        return st;
    const char *key;
    json_t *value;
    char quoted[80];
    json_object_foreach(c->body, key, value)
    {
        if (strcmp(key, "parameters") != 0)
            return rcd_fail(err, RCD_EINVAL, "'%s' is not known (known: parameters)",
                            rcd_quote(quoted, sizeof(quoted), key, strlen(key)));
        if (!json_is_object(value))
            return rcd_fail(err, RCD_EINVAL, "'parameters' must be an object");
    }
    json_t *params = json_object_get(c->body, "parameters");
    c->files = rcd_arena_calloc(&c->arena, json_object_size(params) + 1, sizeof(*c->files));
    if (c->files == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the list of files");
    json_object_foreach(params, key, value)
    {
        st = c->unload ? read_unload(key, value, err) : read_load(c, key, value, err);
        if (st != RCD_OK)
            return rcd_error_prefix(
                err, st, "parameter '%s': ", rcd_quote(quoted, sizeof(quoted), key, strlen(key)));
    }
    if (c->n_files > 0 && c->config == NULL)
        return rcd_fail(err, RCD_EINVAL, "files need the parameter 'config' beside them");
    return RCD_OK;
}

/* On a helper thread. */
static void run(uv_work_t *work)
{
    struct control *c = work->data;
    rcd_registry *r = c->api->opts.registry;
    c->err.code = c->unload
                      ? rcd_registry_unload(r, c->model, &c->err)
                      : rcd_registry_load(r, c->model, c->config, c->files, c->n_files, &c->err);
}

static void after(uv_work_t *work, int status)
{
    struct control *c = work->data;
    c->api->pending--;
    if (status != 0)
        rcd_fail(&c->err, RCD_EUNAVAILABLE, "the server is stopping");
    if (c->err.code != RCD_OK)
        rcd__answer_error(c->req, &c->err);
    else
        rcd_http_respond(c->req, 200, NULL, NULL, 0, NULL);
    control_free(c);
}

static void start(rcd_api *api, rcd_http_req *req, bool unload)
{
    if (!api->opts.control) {
        rcd_http_respond_error(req, RCD_ECONFLICT,
                               "loading and unloading over HTTP is switched off in the "
                               "configuration of this server",
                               0);
        return;
    }
    if (api->life == RCD_LIFE_DRAINING) {
        rcd_http_respond_error(req, RCD_EUNAVAILABLE, "the server is draining", 1);
        return;
    }
    struct control *c = rcd_calloc(1, sizeof(*c));
    if (c == NULL) {
        rcd_http_respond_error(req, RCD_ENOMEM, "no memory for the request", 1);
        return;
    }
    *c = (struct control){.api = api, .req = req, .unload = unload};
    c->model = rcd_http_segment(req, "model");
    c->work.data = c;
    rcd_arena_init(&c->arena, api->opts.max_body_bytes + (1u << 20));
    struct rcd_error err = {.code = RCD_OK};
    rcd_status st = read_body(c, &err);
    if (st == RCD_OK && uv_queue_work(api->opts.loop, &c->work, run, after) != 0)
        st = rcd_fail(&err, RCD_EUNAVAILABLE, "no helper thread for the request");
    if (st != RCD_OK) {
        rcd__answer_error(req, &err);
        control_free(c);
        return;
    }
    api->pending++;
}

void rcd__load(void *ctx, rcd_http_req *req)
{
    start(ctx, req, false);
}

void rcd__unload(void *ctx, rcd_http_req *req)
{
    start(ctx, req, true);
}
