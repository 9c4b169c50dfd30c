/* session_fetch.c - a session that may be on disk is read there by a helper thread first, so that neither the loop nor
 * a store's lock waits for the disk. What then needs it finds it in the kernel's cache. Those of one session go on in
 * the order in which they came. */
#include "sessions.h"

#include <string.h>
#include <uv.h>

struct rcd__fetch {
    uv_work_t work;
    struct rcd__fetch *next; /* in order of arrival */
    rcd_api *api;
    const char *model;
    struct rcd_session_id id; /* both in the request's memory */
    void (*go)(void *ctx);
    void *ctx;
    bool done;
    uint64_t since_ns;
};

static void run(uv_work_t *work)
{
    const struct rcd__fetch *f = work->data;
    rcd__stores_fetch(f->api->opts.stores, f->model, &f->id);
}

static bool same(const struct rcd__fetch *a, const struct rcd__fetch *b)
{
    return strcmp(a->model, b->model) == 0 && a->id.number == b->id.number &&
           (a->id.text == NULL) == (b->id.text == NULL) && a->id.len == b->id.len &&
           (a->id.text == NULL || memcmp(a->id.text, b->id.text, a->id.len) == 0);
}

static bool waits(const struct rcd_api *api, const struct rcd__fetch *f)
{
    for (const struct rcd__fetch *e = api->fetches; e != f; e = e->next) {
        if (same(e, f))
            return true;
    }
    return !f->done;
}

static void after(uv_work_t *work, int status)
{
    struct rcd__fetch *f = work->data;
    rcd_api *api = f->api;
    (void)status;
    f->done = true;
    for (struct rcd__fetch **at = &api->fetches; *at != NULL;) {
        f = *at;
        if (waits(api, f)) {
            at = &f->next;
            continue;
        }
        *at = f->next;
        api->pending--;
        f->go(f->ctx);
        rcd_free(f);
    }
}

uint64_t rcd__session_fetching_ms(const rcd_api *api, const char *model)
{
    const struct rcd__fetch *e = api->fetches;
    while (e != NULL && strcmp(e->model, model) != 0)
        e = e->next;
    return e != NULL ? (rcd_now_ns() - e->since_ns) / 1000000 : 0;
}

bool rcd__session_fetch(rcd_api *api, const char *model, const struct rcd_session_id *id,
                        void (*go)(void *ctx), void *ctx)
{
    struct rcd__fetch **at = &api->fetches;
    if (!rcd__stores_away(api->opts.stores, model, id))
        return false;
    struct rcd__fetch *f = rcd_alloc(sizeof *f);
    if (f == NULL)
        return false; /* the loop can wait, too */
    *f = (struct rcd__fetch){
        .api = api, .model = model, .id = *id, .go = go, .ctx = ctx, .since_ns = rcd_now_ns()};
    f->work.data = f;
    if (uv_queue_work(api->opts.loop, &f->work, run, after) != 0) {
        rcd_free(f);
        return false;
    }
    while (*at != NULL)
        at = &(*at)->next;
    *at = f;
    api->pending++;
    return true;
}
