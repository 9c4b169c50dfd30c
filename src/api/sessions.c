/* sessions.c - sessions as resources: create, describe, end. */
#include "session_call.h"

#include <string.h>

/* ---- create ------------------------------------------------------------------------------------- */

static int append(const char *bytes, size_t len, void *buf)
{
    return rcd_buf_append(buf, bytes, len) == RCD_OK ? 0 : -1;
}

static rcd_status read_inputs(struct rcd__session_call *c, json_t *inputs,
                              const struct rcd_tensor ***ret, struct rcd_error *err)
{
    *ret = NULL;
    if (inputs == NULL)
        return RCD_OK;
    struct rcd_buf text;
    rcd_buf_init(&text, c->api->opts.max_body_bytes + 64);
    (void)rcd_buf_puts(&text, "{\"inputs\":");
    if (json_dump_callback(inputs, append, &text, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        text.failed = true;
    (void)rcd_buf_puts(&text, "}");
    char *body = text.failed ? NULL : rcd_arena_strndup(&c->arena, text.data, text.len);
    size_t len = text.len;
    rcd_buf_done(&text);
    if (body == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the initial states");
    return rcd__read_states(c->api, c->p.store, &c->arena, body, len, RCD_NO_JSON_LEN, ret, err);
}

static rcd_status read_create(const rcd_http_req *req, json_t *body, struct rcd_session_id *id,
                              char made[24], struct rcd_error *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        char quoted[80];
        if (strcmp(key, "id") != 0 && strcmp(key, "inputs") != 0)
            return rcd_fail(err, RCD_EINVAL, "'%s' is not known (known: id, inputs)",
                            rcd_quote(quoted, sizeof quoted, key, strlen(key)));
    }
    value = json_object_get(body, "id");
    if (value != NULL)
        return rcd__session_id_of(req, value, id, err);
    rcd_status st = rcd__session_id_make(made, err);
    *id = (struct rcd_session_id){.text = made, .len = strlen(made)};
    return st;
}

rcd_status rcd__session_id_free(const rcd_api *api, const char *model,
                                const struct rcd_session_id *id, struct rcd_error *err)
{
    rcd__stores_fetch(api->opts.stores, model, id); /* asking needs the stores' lock */
    if (!rcd__stores_have(api->opts.stores, model, id))
        return RCD_OK;
    return rcd_fail(err, RCD_ECONFLICT, "model '%s' has a session of this id already", model);
}

static rcd_status run_create(struct rcd__session_call *c, struct rcd_error *err)
{
    json_t *body = NULL;
    char made[24];
    const struct rcd_tensor **states = NULL;
    rcd_status st = rcd__session_body(c->req, &body, err);
    if (st == RCD_OK)
        st = read_create(c->req, body, &c->p.id, made, err);
    if (st == RCD_OK)
        st = rcd__session_id_free(c->api, c->p.store->model, &c->p.id, err);
    if (st == RCD_OK)
        st = read_inputs(c, json_object_get(body, "inputs"), &states, err);
    if (st == RCD_OK)
        st = rcd_session_create(c->p.store->sessions, &c->p.id,
                                (const struct rcd_tensor *const *)states, &c->retry_after_s, err);
    if (st == RCD_OK)
        st = rcd__call_session(c, 201, &c->p.id, err);
    json_decref(body);
    return st;
}

void rcd__session_create(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_create);
}

/* ---- one --------------------------------------------------------------------------------------------- */

static rcd_status run_describe(struct rcd__session_call *c, struct rcd_error *err)
{
    return rcd__call_session(c, 200, &c->p.id, err);
}

void rcd__session_describe(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_describe);
}

static rcd_status run_end(struct rcd__session_call *c, struct rcd_error *err)
{
    rcd_status st = rcd_session_end(c->p.store->sessions, &c->p.id, err);
    (void)rcd_buf_puts(&c->body, "{\"id\":");
    rcd__put_session_id(&c->body, &c->p.id);
    (void)rcd_buf_puts(&c->body, ",\"ended\":true}");
    return st;
}

void rcd__session_end(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_end);
}
