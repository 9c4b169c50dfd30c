/* session_fetch.c - a session that may be on disk is read there by a helper thread first, so that neither the loop nor
 * a store's lock waits for the disk. What then needs it finds it in the kernel's cache. Those of one session go on in
 * the order in which they came. */
#include "apart.h"
#include "sessions.h"

#include <string.h>

struct fetch {
    struct rcd__apart apart;
    struct rcd_session_id id; /* its text in the request's memory */
    void (*go)(void *ctx);
    void *ctx;
};

static struct fetch *fetch_of(struct rcd__apart *a)
{
    return (struct fetch *)(void *)a;
}

static void run(struct rcd__apart *a)
{
    rcd__stores_fetch(a->api->opts.stores, a->model, &fetch_of(a)->id);
}

static bool behind(const struct rcd__apart *a, const struct rcd__apart *earlier)
{
    const struct rcd_session_id *x = &((const struct fetch *)(const void *)a)->id;
    const struct rcd_session_id *y = &((const struct fetch *)(const void *)earlier)->id;
    if (x->text == NULL || y->text == NULL)
        return x->text == y->text && x->number == y->number;
    return x->len == y->len && memcmp(x->text, y->text, x->len) == 0;
}

static void go_on(struct rcd__apart *a)
{
    struct fetch *f = fetch_of(a);
    f->go(f->ctx);
    rcd_free(f);
}

bool rcd__session_fetch(rcd_api *api, const char *model, const struct rcd_session_id *id,
                        void (*go)(void *ctx), void *ctx)
{
    if (!rcd__stores_away(api->opts.stores, model, id))
        return false;
    struct fetch *f = rcd_alloc(sizeof *f);
    if (f == NULL)
        return false; /* the loop can wait, too */
    *f = (struct fetch){.apart = {.model = model, .run = run, .behind = behind, .go = go_on},
                        .id = *id,
                        .go = go,
                        .ctx = ctx};
    if (rcd__apart_begin(api, &f->apart))
        return true;
    rcd_free(f);
    return false;
}
