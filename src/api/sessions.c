/* sessions.c - sessions as resources: create, describe, end. */
#include "sessions.h"

#include <string.h>

/* ---- create ------------------------------------------------------------------------------------- */

static int append(const char *bytes, size_t len, void *buf)
{
    return rcd_buf_append(buf, bytes, len) == RCD_OK ? 0 : -1;
}

static rcd_status read_inputs(rcd_api *api, const struct rcd__store *store, rcd_http_req *req,
                              json_t *inputs, const struct rcd_tensor ***ret, struct rcd_error *err)
{
    *ret = NULL;
    if (inputs == NULL)
        return RCD_OK;
    struct rcd_buf text;
    rcd_buf_init(&text, api->opts.max_body_bytes + 64);
    (void)rcd_buf_puts(&text, "{\"inputs\":");
    if (json_dump_callback(inputs, append, &text, JSON_COMPACT | JSON_ENCODE_ANY) != 0)
        text.failed = true;
    (void)rcd_buf_puts(&text, "}");
    char *body = text.failed ? NULL : rcd_arena_strndup(rcd_http_arena(req), text.data, text.len);
    size_t len = text.len;
    rcd_buf_done(&text);
    if (body == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the initial states");
    return rcd__read_states(api, store, rcd_http_arena(req), body, len, RCD_NO_JSON_LEN, ret, err);
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

/* An id that another version's store has is taken, too. */
static rcd_status check_free(rcd_api *api, const char *model, const struct rcd_session_id *id,
                             struct rcd_error *err)
{
    const struct rcd__store *other = rcd__store_with(api->opts.stores, model, id);
    if (other == NULL)
        return RCD_OK;
    return rcd_fail(err, RCD_ECONFLICT, "model '%s' has a session of this id already", model);
}

void rcd__session_create(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    struct rcd__session_path p;
    struct rcd_error err;
    json_t *body = NULL;
    char made[24];
    unsigned retry_after_s = 0;
    const struct rcd_tensor **states = NULL;
    if (!rcd__session_path(api, req, &p))
        return;
    rcd_status st = rcd__session_body(req, &body, &err);
    if (st == RCD_OK)
        st = read_create(req, body, &p.id, made, &err);
    if (st == RCD_OK)
        st = check_free(api, p.store->model, &p.id, &err);
    if (st == RCD_OK)
        st = read_inputs(api, p.store, req, json_object_get(body, "inputs"), &states, &err);
    if (st == RCD_OK)
        st = rcd_session_create(p.store->sessions, &p.id, (const struct rcd_tensor *const *)states,
                                &retry_after_s, &err);
    if (st == RCD_OK)
        rcd__answer_session(req, 201, p.store, &p.id);
    else
        rcd__answer_refused(req, &err, retry_after_s);
    json_decref(body);
    rcd__session_path_done(&p);
}

/* ---- one --------------------------------------------------------------------------------------------- */

void rcd__session_describe(void *ctx, rcd_http_req *req)
{
    struct rcd__session_path p;
    if (!rcd__session_path(ctx, req, &p))
        return;
    rcd__answer_session(req, 200, p.store, &p.id);
    rcd__session_path_done(&p);
}

void rcd__session_end(void *ctx, rcd_http_req *req)
{
    struct rcd__session_path p;
    struct rcd_error err;
    struct rcd_buf b;
    if (!rcd__session_path(ctx, req, &p))
        return;
    if (rcd_session_end(p.store->sessions, &p.id, &err) == RCD_OK) {
        rcd_buf_init(&b, RCD__ANSWER_MAX);
        (void)rcd_buf_puts(&b, "{\"id\":");
        rcd__put_session_id(&b, &p.id);
        (void)rcd_buf_puts(&b, ",\"ended\":true}");
        rcd__answer(req, 200, &b);
    } else {
        rcd__answer_error(req, &err);
    }
    rcd__session_path_done(&p);
}
