/* session_state.c - the state of a session: read, set, export, import, fork, snapshots, rewind. */
#include "session_call.h"

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

static rcd_status run_get(struct rcd__session_call *c, struct rcd_error *err)
{
    char *bytes = NULL, number[24];
    size_t n = 0, at = 0;
    uint64_t steps = 0;
    const char *binary = rcd_http_query(c->req, "binary");
    const struct rcd_state_shape *shapes = rcd_sessions_states(c->p.store->sessions, &n);
    struct rcd_wire_result *results = rcd_arena_calloc(&c->arena, n, sizeof *results);
    struct rcd_tensor *tensors = rcd_arena_calloc(&c->arena, n, sizeof *tensors);
    if (results == NULL || tensors == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the states");
    rcd_status st = rcd_session_state(c->p.store->sessions, &c->p.id, &bytes, &steps, err);
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
    snprintf(number, sizeof number, "%llu", rcd__store_number(c->p.store));
    const struct rcd_param step = {.name = "step", .kind = RCD_PARAM_UINT, .u = steps};
    const struct rcd_wire_answer answer = {.model_name = c->p.store->model,
                                           .model_version = number,
                                           .n_params = 1,
                                           .params = &step,
                                           .n_results = n,
                                           .results = results};
    st = rcd_wire_encode(&answer, &c->body, &c->json_len, err);
    c->binary = c->json_len > 0;
    rcd_free(bytes);
    return st;
}

void rcd__session_state_get(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_get);
}

static rcd_status run_put(struct rcd__session_call *c, struct rcd_error *err)
{
    size_t len = 0, json_len = RCD_NO_JSON_LEN;
    const char *header = rcd_http_header(c->req, "Inference-Header-Content-Length");
    const char *body = rcd_http_body(c->req, &len);
    const struct rcd_tensor **states = NULL;
    if (header != NULL && !rcd__parse_length(header, &json_len))
        return rcd_fail(err, RCD_EINVAL,
                        "Inference-Header-Content-Length is not a number of bytes");
    rcd_status st =
        rcd__read_states(c->api, c->p.store, &c->arena, body, len, json_len, &states, err);
    if (st == RCD_OK)
        st = rcd_session_set(c->p.store->sessions, &c->p.id,
                             (const struct rcd_tensor *const *)states, err);
    return st == RCD_OK ? rcd__call_session(c, 200, &c->p.id, err) : st;
}

void rcd__session_state_put(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_put);
}

/* ---- the portable form ------------------------------------------------------------------------------ */

static rcd_status run_export(struct rcd__session_call *c, struct rcd_error *err)
{
    rcd_buf_init(&c->body, SIZE_MAX / 2);
    c->binary = true;
    return rcd_session_export(c->p.store->sessions, &c->p.id, &c->body, err);
}

void rcd__session_export(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_export);
}

static rcd_status run_import(struct rcd__session_call *c, struct rcd_error *err)
{
    size_t len = 0;
    const char *carry = rcd_http_query(c->req, "carry"), *body = rcd_http_body(c->req, &len);
    rcd_status st =
        rcd_session_import(c->p.store->sessions, &c->p.id, body, len,
                           carry != NULL && strcmp(carry, "true") == 0, &c->retry_after_s, err);
    return st == RCD_OK ? rcd__call_session(c, 201, &c->p.id, err) : st;
}

void rcd__session_import(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_import);
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

static rcd_status run_fork(struct rcd__session_call *c, struct rcd_error *err)
{
    struct rcd_session_id to = {.text = NULL};
    json_t *body = NULL, *id = NULL;
    char made[24];
    rcd_status st = only_member(c->req, "id", &body, &id, err);
    if (st == RCD_OK && id != NULL) {
        st = rcd__session_id_of(c->req, id, &to, err);
    } else if (st == RCD_OK) {
        st = rcd__session_id_make(made, err);
        to = (struct rcd_session_id){.text = made, .len = strlen(made)};
    }
    if (st == RCD_OK)
        st = rcd__session_id_free(c->api, c->p.store->model, &to, err);
    if (st == RCD_OK)
        st = rcd_session_fork(c->p.store->sessions, &c->p.id, &to, &c->retry_after_s, err);
    if (st == RCD_OK)
        st = rcd__call_session(c, 201, &to, err);
    json_decref(body);
    return st;
}

void rcd__session_fork(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_fork);
}

static rcd_status run_snapshot(struct rcd__session_call *c, struct rcd_error *err)
{
    json_t *body = NULL, *name = NULL;
    uint64_t steps = 0;
    rcd_status st = only_member(c->req, "name", &body, &name, err);
    if (st == RCD_OK && !json_is_string(name))
        st = rcd_fail(err, RCD_EINVAL, "'name' must be a string");
    if (st == RCD_OK)
        st = rcd_session_snapshot(c->p.store->sessions, &c->p.id, json_string_value(name),
                                  json_string_length(name), &steps, err);
    if (st == RCD_OK) {
        c->status = 201;
        (void)rcd_buf_puts(&c->body, "{\"name\":");
        (void)rcd_json_string(&c->body, json_string_value(name), json_string_length(name));
        (void)rcd_buf_printf(&c->body, ",\"steps\":%llu}", (unsigned long long)steps);
    }
    json_decref(body);
    return st;
}

void rcd__snapshot_make(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_snapshot);
}

static rcd_status run_snapshots(struct rcd__session_call *c, struct rcd_error *err)
{
    struct rcd_session_info info;
    rcd_status st = rcd_session_describe(c->p.store->sessions, &c->p.id, &info, err);
    if (st != RCD_OK)
        return st;
    (void)rcd_buf_puts(&c->body, "{\"snapshots\":");
    rcd__put_snapshots(&c->body, c->p.store, &info);
    (void)rcd_buf_puts(&c->body, "}");
    return RCD_OK;
}

void rcd__snapshot_list(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_snapshots);
}

static rcd_status run_forget(struct rcd__session_call *c, struct rcd_error *err)
{
    const char *name = rcd_http_segment(c->req, "snapshot");
    rcd_status st = rcd_session_forget(c->p.store->sessions, &c->p.id, name, strlen(name), err);
    return st == RCD_OK ? rcd__call_session(c, 200, &c->p.id, err) : st;
}

void rcd__snapshot_drop(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_forget);
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

static rcd_status run_rewind(struct rcd__session_call *c, struct rcd_error *err)
{
    json_t *body = NULL;
    rcd_status st = rcd__body_object(c->req, &body, err);
    if (st == RCD_OK)
        st = rewind_to(&c->p, body, err);
    json_decref(body);
    return st == RCD_OK ? rcd__call_session(c, 200, &c->p.id, err) : st;
}

void rcd__session_rewind(void *ctx, rcd_http_req *req)
{
    rcd__session_call(ctx, req, run_rewind);
}
