/* sessions.c - sessions as resources: create, list, describe, end. */
#include "sessions.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_DEFAULT = 100, PAGE_MAX = 10000 };

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

/* ---- list ------------------------------------------------------------------------------------------ */

struct list {
    uint64_t limit, idle_over_s, at_store, at;
    const char *prefix, *status, *version;
};

static rcd_status read_uint(const rcd_http_req *req, const char *name, uint64_t max, uint64_t *ret,
                            struct rcd_error *err)
{
    const char *text = rcd_http_query(req, name);
    char quoted[80], *end = NULL;
    if (text == NULL)
        return RCD_OK;
    *ret = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || *ret > max)
        return rcd_fail(err, RCD_EINVAL, "%s=%s: want a number up to %llu", name,
                        rcd_quote(quoted, sizeof quoted, text, strlen(text)),
                        (unsigned long long)max);
    return RCD_OK;
}

static rcd_status read_list(const rcd_http_req *req, struct list *l, struct rcd_error *err)
{
    const char *after = rcd_http_query(req, "after");
    *l = (struct list){.limit = PAGE_DEFAULT,
                       .prefix = rcd_http_query(req, "prefix"),
                       .status = rcd_http_query(req, "status"),
                       .version = rcd_http_query(req, "version")};
    char *end = NULL;
    if (after != NULL) {
        l->at_store = strtoull(after, &end, 10);
        l->at = *end == '.' ? strtoull(end + 1, &end, 10) : 0;
        if (*end != '\0' || l->at > UINT32_MAX)
            return rcd_fail(err, RCD_EINVAL, "after: not a cursor that a list gave as \"next\"");
    }
    if (l->status != NULL && strcmp(l->status, "idle") != 0 && strcmp(l->status, "busy") != 0 &&
        strcmp(l->status, "spilled") != 0)
        return rcd_fail(err, RCD_EINVAL, "status: want idle, busy or spilled");
    rcd_status st = read_uint(req, "limit", PAGE_MAX, &l->limit, err);
    return st == RCD_OK ? read_uint(req, "idle_over_s", UINT32_MAX, &l->idle_over_s, err) : st;
}

static bool wanted(const struct list *l, const struct rcd__store *store,
                   const struct rcd_session_info *i)
{
    uint64_t now = rcd_wall_ms();
    char version[24];
    snprintf(version, sizeof version, "%llu", (unsigned long long)store->number);
    if (l->status != NULL && strcmp(l->status, i->spilled      ? "spilled"
                                               : i->queued > 0 ? "busy"
                                                               : "idle") != 0)
        return false;
    if (l->idle_over_s > 0 && (i->queued > 0 || now < i->last_ms + l->idle_over_s * 1000))
        return false;
    if (l->version != NULL && strcmp(l->version, version) != 0)
        return false;
    size_t n = l->prefix != NULL ? strlen(l->prefix) : 0;
    return n == 0 ||
           (i->id.text != NULL && i->id.len >= n && memcmp(i->id.text, l->prefix, n) == 0);
}

static void put_list(rcd_api *api, const char *model, struct list *l, struct rcd_buf *b)
{
    struct rcd__store *store = NULL;
    size_t total = 0, n = 0;
    bool more = false;
    for (size_t i = 0; (store = rcd__store_at(api->opts.stores, model, i)) != NULL; i++)
        total += rcd_sessions_live(store->sessions);
    (void)rcd_buf_puts(b, "{\"sessions\":[");
    for (; !more && (store = rcd__store_at(api->opts.stores, model, l->at_store)) != NULL;
         l->at_store++, l->at = 0) {
        struct rcd_session_info info;
        for (uint32_t at = (uint32_t)l->at; rcd_session_next(store->sessions, &at, &info);) {
            if (info.id.text != NULL)
                info.id.text = info.text;
            if (!wanted(l, store, &info))
                continue;
            more = n == l->limit;
            if (more) {
                l->at = at - 1;
                break;
            }
            (void)rcd_buf_puts(b, n++ > 0 ? "," : "");
            rcd__put_session(b, store, &info);
        }
        if (more)
            break;
    }
    (void)rcd_buf_printf(b, "],\"total\":%zu", total);
    if (more)
        (void)rcd_buf_printf(b, ",\"next\":\"%llu.%llu\"", (unsigned long long)l->at_store,
                             (unsigned long long)l->at);
    (void)rcd_buf_puts(b, "}");
}

void rcd__session_list(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    struct rcd__session_path p;
    struct list l;
    struct rcd_error err;
    struct rcd_buf b;
    if (!rcd__session_path(api, req, &p))
        return;
    if (read_list(req, &l, &err) == RCD_OK) {
        rcd_buf_init(&b, RCD__ANSWER_MAX);
        put_list(api, p.store->model, &l, &b);
        rcd__answer(req, 200, &b);
    } else {
        rcd__answer_error(req, &err);
    }
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
