/* session_path.c - ids of sessions in paths, bodies and answers. */
#include "sessions.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

/* Digits are the number; quotes make a string of what is inside; everything else is the string itself. */
static rcd_status parse(const char *text, struct rcd_session_id *ret, struct rcd_error *err)
{
    size_t len = strlen(text);
    *ret = (struct rcd_session_id){.text = text, .len = len};
    if (len > 2 && text[0] == '"' && text[len - 1] == '"') {
        *ret = (struct rcd_session_id){.text = text + 1, .len = len - 2};
    } else if (strspn(text, "0123456789") == len && text[0] != '0') {
        errno = 0;
        uint64_t number = strtoull(text, NULL, 10);
        if (errno == 0)
            *ret = (struct rcd_session_id){.number = number};
    }
    if (ret->text != NULL && (ret->len == 0 || ret->len > RCD_SESSION_ID_MAX))
        return rcd_fail(err, RCD_EINVAL, "a session's id has 1 to %d bytes, not %zu",
                        RCD_SESSION_ID_MAX, ret->len);
    return RCD_OK;
}

rcd_status rcd__session_id_in_path(const rcd_http_req *req, struct rcd_session_id *ret,
                                   bool *ret_given, struct rcd_error *err)
{
    const char *text = rcd_http_segment(req, "session");
    *ret_given = text != NULL;
    return text != NULL ? parse(text, ret, err) : RCD_OK;
}

static rcd_status find(rcd_api *api, rcd_http_req *req, struct rcd__session_path *p,
                       struct rcd_error *err)
{
    const char *model = rcd_version_model(p->version);
    bool given = false;
    if (rcd__served(p->version)->store == NULL)
        return rcd_fail(err, RCD_EINVAL, "model '%s' keeps no state: model.json has no \"state\"",
                        model);
    rcd_status st = rcd__session_id_in_path(req, &p->id, &given, err);
    if (st != RCD_OK)
        return st;
    p->store = given ? rcd__store_with(api->opts.stores, model, &p->id) : NULL;
    if (p->store == NULL || p->store == rcd__served(p->version)->store)
        p->store = rcd__store_of(p->version);
    return RCD_OK;
}

bool rcd__session_path(rcd_api *api, rcd_http_req *req, struct rcd__session_path *ret)
{
    struct rcd_error err;
    *ret = (struct rcd__session_path){.version = rcd__version_of(api, req)};
    if (ret->version == NULL)
        return false;
    if (find(api, req, ret, &err) == RCD_OK)
        return true;
    rcd__answer_error(req, &err);
    rcd__session_path_done(ret);
    return false;
}

void rcd__session_path_done(struct rcd__session_path *p)
{
    rcd_version_unref(p->version);
}

/* jansson's whole numbers end at 2^63-1: the digits are read again where they stand in the body. */
static bool big_number(const rcd_http_req *req, uint64_t *ret)
{
    size_t len = 0;
    const char *body = rcd_http_body(req, &len), *key = memmem(body, len, "\"id\"", 4);
    const char *end = body + len, *p = key != NULL ? key + 4 : end;
    while (p < end && strchr(" \t\r\n:", *p) != NULL)
        p++;
    const char *from = p;
    for (*ret = 0; p < end && *p >= '0' && *p <= '9'; p++) {
        if (__builtin_mul_overflow(*ret, 10u, ret) ||
            __builtin_add_overflow(*ret, (uint64_t)(*p - '0'), ret))
            return false;
    }
    return p > from && (p == end || strchr(" \t\r\n,}", *p) != NULL);
}

rcd_status rcd__session_body(const rcd_http_req *req, json_t **ret, struct rcd_error *err)
{
    size_t len = 0;
    const char *body = rcd_http_body(req, &len);
    rcd_status st = rcd__body_object(req, ret, err);
    if (st == RCD_OK || len == 0)
        return st;
    json_t *tree = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
    if (!json_is_object(tree)) {
        json_decref(tree);
        return st;
    }
    *ret = tree;
    return RCD_OK;
}

rcd_status rcd__session_id_of(const rcd_http_req *req, const json_t *v, struct rcd_session_id *ret,
                              struct rcd_error *err)
{
    uint64_t number = 0;
    if (json_is_real(v) && big_number(req, &number) && number > 0) {
        *ret = (struct rcd_session_id){.number = number};
        return RCD_OK;
    }
    if (json_is_integer(v) && json_integer_value(v) > 0) {
        *ret = (struct rcd_session_id){.number = (uint64_t)json_integer_value(v)};
        return RCD_OK;
    }
    size_t len = json_string_length(v);
    if (!json_is_string(v) || len == 0 || len > RCD_SESSION_ID_MAX)
        return rcd_fail(err, RCD_EINVAL,
                        "'id' must be a whole number from 1 to 2^64-1 or a string of 1 to %d bytes",
                        RCD_SESSION_ID_MAX);
    *ret = (struct rcd_session_id){.text = json_string_value(v), .len = len};
    return RCD_OK;
}

rcd_status rcd__session_id_make(char out[24], struct rcd_error *err)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    unsigned char random[22];
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        return rcd_fail(err, RCD_EIO, "no random numbers for an id: %s", strerror(errno));
    for (size_t i = 0; i < sizeof random; i++)
        out[i] = digits[random[i] & 63];
    out[sizeof random] = '\0';
    return RCD_OK;
}

void rcd__put_session_id(struct rcd_buf *b, const struct rcd_session_id *id)
{
    if (id->text != NULL)
        (void)rcd_json_string(b, id->text, id->len);
    else
        (void)rcd_buf_printf(b, "%llu", (unsigned long long)id->number);
}

void rcd__put_snapshots(struct rcd_buf *b, const struct rcd__store *store,
                        const struct rcd_session_info *info)
{
    size_t n = 0;
    struct rcd_snapshot_info *list = rcd_calloc((size_t)info->n_snapshots + 1, sizeof *list);
    if (list == NULL)
        b->failed = true;
    else if (!info->spilled && rcd_session_snapshots(store->sessions, &info->id, list,
                                                     info->n_snapshots, &n, NULL) != RCD_OK)
        n = 0; /* it ended just now */
    (void)rcd_buf_puts(b, "[");
    for (size_t i = 0; list != NULL && i < n && i < info->n_snapshots; i++) {
        (void)rcd_buf_puts(b, i > 0 ? ",{\"name\":" : "{\"name\":");
        rcd__put_text(b, list[i].name);
        (void)rcd_buf_printf(b, ",\"steps\":%llu}", (unsigned long long)list[i].steps);
    }
    (void)rcd_buf_puts(b, "]");
    rcd_free(list);
}

void rcd__put_session(struct rcd_buf *b, const struct rcd__store *store,
                      const struct rcd_session_info *info)
{
    uint64_t now = rcd_wall_ms();
    (void)rcd_buf_puts(b, "{\"id\":");
    rcd__put_session_id(b, &info->id);
    (void)rcd_buf_puts(b, ",\"model\":");
    rcd__put_text(b, store->model);
    (void)rcd_buf_printf(
        b,
        ",\"version\":\"%llu\",\"steps\":%llu,\"status\":\"%s\",\"created_ms\":%llu,\"last_access_"
        "ms\":%llu,"
        "\"age_s\":%llu,\"idle_s\":%llu,\"bytes\":%zu,\"queued\":%u,\"ring\":%u,\"durable\":\"%s\","
        "\"snapshots\":",
        rcd__store_number(store), (unsigned long long)info->steps,
        info->spilled      ? "spilled"
        : info->queued > 0 ? "busy"
                           : "idle",
        (unsigned long long)info->created_ms, (unsigned long long)info->last_ms,
        (unsigned long long)(now > info->created_ms ? (now - info->created_ms) / 1000 : 0),
        (unsigned long long)(info->queued == 0 && now > info->last_ms ? (now - info->last_ms) / 1000
                                                                      : 0),
        info->bytes, info->queued, info->ring,
        rcd_durable_name(rcd_sessions_durable(store->sessions)));
    rcd__put_snapshots(b, store, info);
    (void)rcd_buf_puts(b, "}");
}

void rcd__answer_refused(rcd_http_req *req, const struct rcd_error *err, unsigned retry_after_s)
{
    if (retry_after_s > 0)
        rcd_http_respond_error(req, err->code, err->text, retry_after_s);
    else
        rcd__answer_error(req, err);
}
