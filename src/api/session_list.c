/* session_list.c - GET .../sessions: pages of sessions, filtered. A page looks at so many and no more, so
 * that a filter that finds nothing among a million does not hold the loop. */
#include "sessions.h"

#include <stdlib.h>
#include <string.h>

enum { PAGE_DEFAULT = 100, PAGE_MAX = 10000, LOOK_AT = 20000 };

struct list {
    uint64_t limit, idle_over_s, at_store;
    struct rcd_session_cursor at;
    const char *prefix, *status, *version;
};

/* Where a page ended: the store's number and a place in it; "n7" and "t6162" are ids on disk. */
static void put_cursor(const struct list *l, struct rcd_buf *b)
{
    (void)rcd_buf_printf(b, "%llu.", (unsigned long long)l->at_store);
    if (!l->at.on_disk)
        (void)rcd_buf_printf(b, "%u", l->at.at);
    else if (l->at.id.text == NULL)
        (void)rcd_buf_printf(b, "n%llu", (unsigned long long)l->at.id.number);
    else
        (void)rcd_buf_puts(b, "t");
    for (size_t i = 0; l->at.on_disk && l->at.id.text != NULL && i < l->at.id.len; i++)
        (void)rcd_buf_printf(b, "%02x", (unsigned char)l->at.text[i]);
}

static bool read_text(const char *hex, struct rcd_session_cursor *c)
{
    size_t len = strlen(hex);
    if (len == 0 || len > 2 * sizeof c->text || strspn(hex, "0123456789abcdef") != len || len % 2)
        return false;
    for (size_t i = 0; i < len / 2; i++) {
        const char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        c->text[i] = (char)strtoul(pair, NULL, 16);
    }
    c->id = (struct rcd_session_id){.text = c->text, .len = len / 2};
    return true;
}

static bool read_cursor(const char *text, struct list *l)
{
    char *end = NULL;
    l->at_store = strtoull(text, &end, 10);
    if (end == text || *end != '.')
        return false;
    const char *place = end + 1;
    l->at.on_disk = *place == 'n' || *place == 't';
    if (*place == 't')
        return read_text(place + 1, &l->at);
    const char *digits = place + l->at.on_disk;
    uint64_t number = strtoull(digits, &end, 10);
    if (digits[0] < '0' || digits[0] > '9' || *end != '\0')
        return false;
    if (l->at.on_disk)
        l->at.id.number = number;
    else
        l->at.at = (uint32_t)number;
    return l->at.on_disk || number <= UINT32_MAX;
}

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
    if (after != NULL && !read_cursor(after, l))
        return rcd_fail(err, RCD_EINVAL, "after: not a cursor that a list gave as \"next\"");
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
    snprintf(version, sizeof version, "%llu", rcd__store_number(store));
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

/* Those of one store; true: the page ends here, and the cursor stands before what comes next. */
static bool put_store(const struct rcd__store *store, struct list *l, size_t *n, size_t *left,
                      struct rcd_buf *b)
{
    for (bool end = false;;) {
        struct rcd_session_info info;
        struct rcd_session_cursor before = l->at;
        if (!rcd_session_next(store->sessions, &l->at, left, &info, &end))
            return !end;
        if (!wanted(l, store, &info))
            continue;
        if (*n == l->limit) {
            l->at = before;
            return true;
        }
        (void)rcd_buf_puts(b, (*n)++ > 0 ? "," : "");
        rcd__put_session(b, store, &info);
    }
}

static void put_list(rcd_api *api, const char *model, struct list *l, struct rcd_buf *b)
{
    struct rcd__store *store = NULL;
    size_t total = 0, n = 0, left = LOOK_AT;
    bool more = false;
    for (size_t i = 0; (store = rcd__store_at(api->opts.stores, model, i)) != NULL; i++)
        total += rcd_sessions_live(store->sessions);
    (void)rcd_buf_puts(b, "{\"sessions\":[");
    while (!more && (store = rcd__store_at(api->opts.stores, model, l->at_store)) != NULL) {
        more = put_store(store, l, &n, &left, b);
        if (!more) {
            l->at_store++;
            l->at = (struct rcd_session_cursor){.at = 0};
        }
    }
    (void)rcd_buf_printf(b, "],\"total\":%zu", total);
    if (more) {
        (void)rcd_buf_puts(b, ",\"next\":\"");
        put_cursor(l, b);
        (void)rcd_buf_puts(b, "\"");
    }
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
