/* apart.c - see apart.h. */
#include "apart.h"

#include <string.h>

static void run(uv_work_t *work)
{
    struct rcd__apart *a = work->data;
    a->run(a);
}

static bool waits(const struct rcd_api *api, const struct rcd__apart *a)
{
    for (const struct rcd__apart *e = api->aparts; e != a; e = e->next) {
        if (e->run == a->run && strcmp(e->model, a->model) == 0 && a->behind(a, e))
            return true;
    }
    return !a->done;
}

static void after(uv_work_t *work, int status)
{
    struct rcd__apart *a = work->data;
    rcd_api *api = a->api;
    (void)status;
    a->done = true;
    for (struct rcd__apart **at = &api->aparts; *at != NULL;) {
        a = *at;
        if (waits(api, a)) {
            at = &a->next;
            continue;
        }
        *at = a->next;
        api->pending--;
        a->go(a); /* may begin others: they stand at the end */
    }
}

bool rcd__apart_begin(rcd_api *api, struct rcd__apart *a)
{
    struct rcd__apart **at = &api->aparts;
    a->api = api;
    a->work.data = a;
    a->since_ns = rcd_now_ns();
    if (uv_queue_work(api->opts.loop, &a->work, run, after) != 0)
        return false;
    while (*at != NULL)
        at = &(*at)->next;
    *at = a;
    api->pending++;
    return true;
}

uint64_t rcd__apart_ms(const rcd_api *api, const char *model)
{
    const struct rcd__apart *a = api->aparts;
    while (a != NULL && strcmp(a->model, model) != 0)
        a = a->next;
    return a != NULL ? (rcd_now_ns() - a->since_ns) / 1000000 : 0;
}
