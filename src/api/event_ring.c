/* event_ring.c - the last events of all sessions, numbered, for the streams that tell them. */
#include "stores.h"

#include <string.h>

enum { EVENTS = 4096 };

bool rcd__event_ring_init(struct rcd__event_ring *r)
{
    *r = (struct rcd__event_ring){.events = rcd_calloc(EVENTS, sizeof *r->events)};
    pthread_mutex_init(&r->lock, NULL);
    return r->events != NULL;
}

void rcd__event_ring_done(struct rcd__event_ring *r)
{
    pthread_mutex_destroy(&r->lock);
    rcd_free(r->events);
}

void rcd__event_ring_put(struct rcd__event_ring *r, const char *model, uint64_t version,
                         const struct rcd_session_event *e)
{
    pthread_mutex_lock(&r->lock);
    struct rcd__event *to = &r->events[r->n++ % EVENTS];
    *to = (struct rcd__event){.kind = e->kind,
                              .reason = e->reason,
                              .steps = e->steps,
                              .time_ms = rcd_wall_ms(),
                              .number = r->n,
                              .id_number = e->id.number};
    snprintf(to->model, sizeof to->model, "%s", model);
    snprintf(to->version, sizeof to->version, "%llu", (unsigned long long)version);
    if (e->id.text != NULL) {
        memcpy(to->id, e->id.text, e->id.len);
        to->id_len = e->id.len;
    }
    pthread_mutex_unlock(&r->lock);
}

bool rcd__event_ring_get(struct rcd__event_ring *r, uint64_t after, struct rcd__event *ret)
{
    pthread_mutex_lock(&r->lock);
    uint64_t oldest = r->n > EVENTS ? r->n - EVENTS : 0;
    bool found = after < r->n;
    if (found)
        *ret = r->events[(after < oldest ? oldest : after) % EVENTS];
    pthread_mutex_unlock(&r->lock);
    return found;
}

uint64_t rcd__event_ring_last(struct rcd__event_ring *r)
{
    pthread_mutex_lock(&r->lock);
    uint64_t n = r->n;
    pthread_mutex_unlock(&r->lock);
    return n;
}
