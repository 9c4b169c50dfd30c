/* events.c - GET .../sessions/events: what happens to a model's sessions, as server-sent events. The stores
 * keep the last events in a ring; every 100 ms the streams get what is new. */
#include "sessions.h"

#include <string.h>

enum { BUFFERED = 1 << 20, HEARTBEAT_TICKS = 150 };

struct rcd__listener_of_events {
    struct rcd__listener_of_events *next;
    rcd_api *api;
    rcd_http_stream *stream; /* NULL: it is over */
    char model[72];
    uint64_t seen;
    unsigned ticks;
};

static void on_closed(void *ctx)
{
    struct rcd__listener_of_events *l = ctx;
    struct rcd__listener_of_events **link = &l->api->listeners;
    while (*link != l)
        link = &(*link)->next;
    *link = l->next;
    rcd_free(l);
}

static void send_event(struct rcd__listener_of_events *l, const struct rcd__event *e)
{
    struct rcd_buf b;
    struct rcd_session_id id = {
        .text = e->id_len > 0 ? e->id : NULL, .len = e->id_len, .number = e->id_number};
    rcd_buf_init(&b, 4096);
    (void)rcd_buf_printf(&b,
                         "event: %s\nid: %llu\ndata: {\"model\":", rcd_session_event_name(e->kind),
                         (unsigned long long)e->number);
    rcd__put_text(&b, e->model);
    (void)rcd_buf_printf(&b, ",\"version\":\"%s\",\"id\":", e->version);
    rcd__put_session_id(&b, &id);
    (void)rcd_buf_printf(&b, ",\"steps\":%llu,\"reason\":\"%s\",\"time_ms\":%llu}\n\n",
                         (unsigned long long)e->steps, e->reason, (unsigned long long)e->time_ms);
    if (!b.failed)
        (void)rcd_http_stream_write(l->stream, b.data, b.len); /* a slow client is cut */
    rcd_buf_done(&b);
}

void rcd__events_pump(rcd_api *api)
{
    uint64_t last =
        api->listeners != NULL ? rcd__event_ring_last(rcd__stores_events(api->opts.stores)) : 0;
    for (struct rcd__listener_of_events *l = api->listeners; l != NULL; l = l->next) {
        struct rcd__event e;
        bool sent = false;
        while (l->seen < last &&
               rcd__event_ring_get(rcd__stores_events(api->opts.stores), l->seen, &e)) {
            l->seen = e.number;
            if (strcmp(e.model, l->model) == 0) {
                send_event(l, &e);
                sent = true;
            }
        }
        l->ticks = sent ? 0 : l->ticks + 1;
        if (l->ticks >= HEARTBEAT_TICKS) {
            l->ticks = 0;
            (void)rcd_http_stream_write(l->stream, ":\n\n", 3);
        }
    }
}

void rcd__session_events(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    struct rcd__session_path p;
    if (!rcd__session_path(api, req, &p))
        return;
    struct rcd__listener_of_events *l = rcd_calloc(1, sizeof *l);
    if (l == NULL) {
        rcd_http_respond_error(req, RCD_ENOMEM, "no memory for a stream", 1);
    } else {
        l->api = api;
        l->seen = rcd__event_ring_last(rcd__stores_events(api->opts.stores));
        snprintf(l->model, sizeof l->model, "%s", p.store->model);
        l->stream = rcd_http_stream_begin(req, "text/event-stream", BUFFERED, on_closed, l);
        if (l->stream == NULL) {
            rcd_free(l);
        } else {
            l->next = api->listeners;
            api->listeners = l;
            (void)rcd_http_stream_write(l->stream, ":\n\n", 3); /* the head goes out at once */
        }
    }
    rcd__session_path_done(&p);
}
