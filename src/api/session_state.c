/* session_state.c - the state of a session: read, set, export, import, fork, snapshots, rewind. */
#include "sessions.h"

#include <stdio.h>
#include <string.h>

enum { MAX_DEPTH = 100, MAX_INPUTS = 1024 };

/* ---- reading and setting -------------------------------------------------------------------------- */

rcd_status rcd__read_states(rcd_api *api, const struct rcd__store *store, struct rcd_arena *arena,
                            const char *body, size_t len, size_t json_len,
                            const struct rcd_tensor ***ret, struct rcd_error *err)
{
    struct rcd_wire_request wire;
    size_t n = 0;
    const struct rcd_state_shape *shapes = rcd_sessions_states(store->sessions, &n);
    const struct rcd_wire_limits limits = {.max_depth = MAX_DEPTH,
                                           .max_inputs = MAX_INPUTS,
                                           .max_string_bytes = api->opts.max_body_bytes};
    rcd_status st = rcd_wire_decode(arena, body, len, json_len, &limits, &wire, err);
    if (st != RCD_OK)
        return st;
    *ret = rcd_arena_calloc(arena, n, sizeof(**ret));
    if (*ret == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the states");
    for (size_t i = 0; i < wire.n_inputs; i++) {
        size_t s = 0;
        char quoted[80];
        const char *name = wire.inputs[i].name;
        while (s < n && strcmp(shapes[s].name, name) != 0)
            s++;
        if (s == n)
            return rcd_fail(err, RCD_EINVAL, "model '%s' has no state '%s'", store->model,
                            rcd_quote(quoted, sizeof quoted, name, strlen(name)));
        (*ret)[s] = &wire.inputs[i].tensor;
    }
    return RCD_OK;
}

static rcd_status put_state(struct rcd__session_path *p, rcd_http_req *req, struct rcd_buf *b,
                            size_t *ret_json_len, struct rcd_error *err)
{
    char *bytes = NULL, number[24];
    size_t n = 0, at = 0;
    uint64_t steps = 0;
    const char *binary = rcd_http_query(req, "binary");
    const struct rcd_state_shape *shapes = rcd_sessions_states(p->store->sessions, &n);
    struct rcd_wire_result *results = rcd_arena_calloc(rcd_http_arena(req), n, sizeof *results);
    struct rcd_tensor *tensors = rcd_arena_calloc(rcd_http_arena(req), n, sizeof *tensors);
    if (results == NULL || tensors == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the states");
    rcd_status st = rcd_session_state(p->store->sessions, &p->id, &bytes, &steps, err);
    if (st != RCD_OK)
        return st;
    for (size_t i = 0; i < n; i++) {
        RCD_ASSERT(rcd_tensor_shape(&tensors[i], shapes[i].dtype, shapes[i].rank, shapes[i].dims));
        tensors[i].data = bytes + at;
        at += tensors[i].n * rcd_dtype_size(tensors[i].dtype);
        results[i] =
            (struct rcd_wire_result){.name = shapes[i].name,
                                     .tensor = &tensors[i],
                                     .binary = binary != NULL && strcmp(binary, "true") == 0};
    }
    snprintf(number, sizeof number, "%llu", (unsigned long long)p->store->number);
    const struct rcd_param step = {.name = "step", .kind = RCD_PARAM_UINT, .u = steps};
    const struct rcd_wire_answer answer = {.model_name = p->store->model,
                                           .model_version = number,
                                           .n_params = 1,
                                           .params = &step,
                                           .n_results = n,
                                           .results = results};
    st = rcd_wire_encode(&answer, b, ret_json_len, err);
    rcd_free(bytes);
    return st;
}

void rcd__session_state_get(void *ctx, rcd_http_req *req)
{
    struct rcd__session_path p;
    struct rcd_error err;
    struct rcd_buf b;
    size_t json_len = 0;
    char text[24];
    if (!rcd__session_path(ctx, req, &p))
        return;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    if (put_state(&p, req, &b, &json_len, &err) != RCD_OK) {
        rcd_buf_done(&b);
        rcd__answer_error(req, &err);
    } else {
        snprintf(text, sizeof text, "%zu", json_len);
        const struct rcd_http_header length = {"Inference-Header-Content-Length", text};
        rcd_http_respond(req, 200, json_len > 0 ? "application/octet-stream" : "application/json",
                         &length, json_len > 0 ? 1 : 0, &b);
    }
    rcd__session_path_done(&p);
}

void rcd__session_state_put(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    struct rcd__session_path p;
    struct rcd_error err;
    size_t len = 0, json_len = RCD_NO_JSON_LEN;
    const char *header = rcd_http_header(req, "Inference-Header-Content-Length");
    const struct rcd_tensor **states = NULL;
    struct rcd_arena arena; /* a request's own is small */
    if (!rcd__session_path(api, req, &p))
        return;
    const char *body = rcd_http_body(req, &len);
    rcd_status st = RCD_OK;
    rcd_arena_init(&arena, 4 * api->opts.max_body_bytes + (1u << 20));
    if (header != NULL && !rcd__parse_length(header, &json_len))
        st = rcd_fail(&err, RCD_EINVAL, "Inference-Header-Content-Length is not a number of bytes");
    if (st == RCD_OK)
        st = rcd__read_states(api, p.store, &arena, body, len, json_len, &states, &err);
    if (st == RCD_OK)
        st = rcd_session_set(p.store->sessions, &p.id, (const struct rcd_tensor *const *)states,
                             &err);
    if (st == RCD_OK)
        rcd__answer_session(req, 200, p.store, &p.id);
    else
        rcd__answer_error(req, &err);
    rcd_arena_done(&arena);
    rcd__session_path_done(&p);
}

/* ---- the portable form ------------------------------------------------------------------------------ */

void rcd__session_export(void *ctx, rcd_http_req *req)
{
    struct rcd__session_path p;
    struct rcd_error err;
    struct rcd_buf b;
    if (!rcd__session_path(ctx, req, &p))
        return;
    rcd_buf_init(&b, SIZE_MAX / 2);
    if (rcd_session_export(p.store->sessions, &p.id, &b, &err) == RCD_OK) {
        rcd_http_respond(req, 200, "application/octet-stream", NULL, 0, &b);
    } else {
        rcd_buf_done(&b);
        rcd__answer_error(req, &err);
    }
    rcd__session_path_done(&p);
}

void rcd__session_import(void *ctx, rcd_http_req *req)
{
    struct rcd__session_path p;
    struct rcd_error err;
    size_t len = 0;
    unsigned retry_after_s = 0;
    const char *carry = rcd_http_query(req, "carry");
    if (!rcd__session_path(ctx, req, &p))
        return;
    const char *body = rcd_http_body(req, &len);
    if (rcd_session_import(p.store->sessions, &p.id, body, len,
                           carry != NULL && strcmp(carry, "true") == 0, &retry_after_s,
                           &err) == RCD_OK)
        rcd__answer_session(req, 201, p.store, &p.id);
    else
        rcd__answer_refused(req, &err, retry_after_s);
    rcd__session_path_done(&p);
}

/* ---- fork, snapshots, rewind --------------------------------------------------------------------------- */

/* The body's only member `key`, or NULL when it is not there. */
static rcd_status only_member(const rcd_http_req *req, const char *key, json_t **ret_body,
                              json_t **ret, struct rcd_error *err)
{
    rcd_status st = rcd__session_body(req, ret_body, err);
    if (st != RCD_OK)
        return st;
    *ret = json_object_get(*ret_body, key);
    if (json_object_size(*ret_body) > (*ret != NULL ? 1 : 0))
        return rcd_fail(err, RCD_EINVAL, "the body has members that are not known (known: %s)",
                        key);
    return RCD_OK;
}

void rcd__session_fork(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    struct rcd__session_path p;
    struct rcd_error err;
    struct rcd_session_id to;
    json_t *body = NULL, *id = NULL;
    char made[24];
    unsigned retry_after_s = 0;
    if (!rcd__session_path(api, req, &p))
        return;
    rcd_status st = only_member(req, "id", &body, &id, &err);
    if (st == RCD_OK && id != NULL) {
        st = rcd__session_id_of(req, id, &to, &err);
    } else if (st == RCD_OK) {
        st = rcd__session_id_make(made, &err);
        to = (struct rcd_session_id){.text = made, .len = strlen(made)};
    }
    if (st == RCD_OK)
        st = rcd_session_fork(p.store->sessions, &p.id, &to, &retry_after_s, &err);
    if (st == RCD_OK)
        rcd__answer_session(req, 201, p.store, &to);
    else
        rcd__answer_refused(req, &err, retry_after_s);
    json_decref(body);
    rcd__session_path_done(&p);
}

void rcd__snapshot_make(void *ctx, rcd_http_req *req)
{
    struct rcd__session_path p;
    struct rcd_error err;
    json_t *body = NULL, *name = NULL;
    uint64_t steps = 0;
    if (!rcd__session_path(ctx, req, &p))
        return;
    rcd_status st = only_member(req, "name", &body, &name, &err);
    if (st == RCD_OK && !json_is_string(name))
        st = rcd_fail(&err, RCD_EINVAL, "'name' must be a string");
    if (st == RCD_OK)
        st = rcd_session_snapshot(p.store->sessions, &p.id, json_string_value(name),
                                  json_string_length(name), &steps, &err);
    if (st == RCD_OK)
        rcd__answer_json(req, 201,
                         json_pack("{s:O, s:I}", "name", name, "steps", (json_int_t)steps));
    else
        rcd__answer_error(req, &err);
    json_decref(body);
    rcd__session_path_done(&p);
}

void rcd__snapshot_list(void *ctx, rcd_http_req *req)
{
    struct rcd__session_path p;
    struct rcd_session_info info;
    struct rcd_error err;
    struct rcd_buf b;
    if (!rcd__session_path(ctx, req, &p))
        return;
    if (rcd_session_describe(p.store->sessions, &p.id, &info, &err) == RCD_OK) {
        rcd_buf_init(&b, RCD__ANSWER_MAX);
        (void)rcd_buf_puts(&b, "{\"snapshots\":");
        rcd__put_snapshots(&b, p.store, &info);
        (void)rcd_buf_puts(&b, "}");
        rcd__answer(req, 200, &b);
    } else {
        rcd__answer_error(req, &err);
    }
    rcd__session_path_done(&p);
}

void rcd__snapshot_drop(void *ctx, rcd_http_req *req)
{
    struct rcd__session_path p;
    struct rcd_error err;
    const char *name = rcd_http_segment(req, "snapshot");
    if (!rcd__session_path(ctx, req, &p))
        return;
    if (rcd_session_forget(p.store->sessions, &p.id, name, strlen(name), &err) == RCD_OK)
        rcd__answer_session(req, 200, p.store, &p.id);
    else
        rcd__answer_error(req, &err);
    rcd__session_path_done(&p);
}

static rcd_status rewind_to(const struct rcd__session_path *p, const json_t *body,
                            struct rcd_error *err)
{
    const json_t *name = json_object_get(body, "snapshot"), *back = json_object_get(body, "steps");
    if (json_object_size(body) != 1 || (name == NULL) == (back == NULL))
        return rcd_fail(err, RCD_EINVAL, "want {\"snapshot\": name} or {\"steps\": number}");
    if (name != NULL && json_is_string(name))
        return rcd_session_rewind(p->store->sessions, &p->id, json_string_value(name),
                                  json_string_length(name), 0, err);
    if (back == NULL || !json_is_integer(back) || json_integer_value(back) < 1)
        return rcd_fail(err, RCD_EINVAL, "'snapshot' must be a string, 'steps' a number from 1");
    return rcd_session_rewind(p->store->sessions, &p->id, NULL, 0,
                              (uint64_t)json_integer_value(back), err);
}

void rcd__session_rewind(void *ctx, rcd_http_req *req)
{
    struct rcd__session_path p;
    struct rcd_error err;
    json_t *body = NULL;
    if (!rcd__session_path(ctx, req, &p))
        return;
    rcd_status st = rcd__body_object(req, &body, &err);
    if (st == RCD_OK)
        st = rewind_to(&p, body, &err);
    if (st == RCD_OK)
        rcd__answer_session(req, 200, p.store, &p.id);
    else
        rcd__answer_error(req, &err);
    json_decref(body);
    rcd__session_path_done(&p);
}
