/* infer_read.c - large bodies for models with states, on registered graphs, and graphs as JSON objects. What they are
 * for must be known on the loop, but reading them there would hold everybody. So a helper thread reads the
 * body, and the request counts as arrived when it has been read; large ones of one model keep their order. */
#include "infer_int.h"

#include <string.h>
#include <uv.h>

enum { LARGE = 128 << 10, LARGE_PACKED = 16 << 10 };

struct rcd__reading {
    uv_work_t work;
    struct rcd__reading *next; /* in order of arrival */
    struct rcd__infer *x;
    rcd__infer_go *go;
    bool read;
    uint64_t since_ns;
    struct rcd_error err;
};

static void run(uv_work_t *work)
{
    struct rcd__reading *r = work->data;
    r->err.code = rcd__infer_read(r->x, &r->err);
}

static bool waits(const struct rcd_api *api, const struct rcd__reading *r)
{
    const char *model = rcd_version_model(r->x->version);
    for (const struct rcd__reading *e = api->readings; e != r; e = e->next) {
        if (strcmp(rcd_version_model(e->x->version), model) == 0)
            return true;
    }
    return !r->read;
}

static void after(uv_work_t *work, int status)
{
    struct rcd__reading *r = work->data;
    rcd_api *api = r->x->api;
    (void)status;
    r->read = true;
    for (struct rcd__reading **at = &api->readings; *at != NULL;) {
        r = *at;
        if (waits(api, r)) {
            at = &r->next;
            continue;
        }
        *at = r->next;
        api->pending--;
        r->go(r->x, &r->err);
        rcd_free(r);
    }
}

uint64_t rcd__infer_reading_ms(const rcd_api *api, const char *model)
{
    const struct rcd__reading *e = api->readings;
    while (e != NULL && strcmp(rcd_version_model(e->x->version), model) != 0)
        e = e->next;
    return e != NULL ? (rcd_now_ns() - e->since_ns) / 1000000 : 0;
}

bool rcd__infer_read_apart(struct rcd__infer *x, rcd__infer_go *go)
{
    size_t len = 0;
    struct rcd__reading **at = &x->api->readings;
    (void)rcd_http_body(x->req, &len);
    if (len <= (x->coding_in != RCD_CODING_IDENTITY ? (size_t)LARGE_PACKED : (size_t)LARGE))
        return false;
    struct rcd__reading *r = rcd_calloc(1, sizeof *r);
    if (r == NULL)
        return false; /* the loop can do it, too */
    r->work.data = r;
    r->x = x;
    r->since_ns = rcd_now_ns();
    r->go = go;
    if (uv_queue_work(x->api->opts.loop, &r->work, run, after) != 0) {
        rcd_free(r);
        return false;
    }
    while (*at != NULL)
        at = &(*at)->next;
    *at = r;
    x->api->pending++;
    return true;
}
