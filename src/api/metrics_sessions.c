/* metrics_sessions.c - what /metrics says of sessions: one family after the other over all stores. */
#include "recurd/obs.h"
#include "stores.h"

#include <stdio.h>

typedef void put_store(struct rcd_prom *p, const char *family, struct rcd_label *labels,
                       const struct rcd_sessions_stats *s);

static void put_family(rcd_api *api, struct rcd_prom *p, const char *family, const char *type,
                       const char *help, put_store *put)
{
    struct rcd__store *store = NULL;
    rcd_prom_family(p, family, type, help);
    for (size_t i = 0; (store = rcd__store_at(api->opts.stores, NULL, i)) != NULL; i++) {
        struct rcd_sessions_stats s;
        char number[24];
        snprintf(number, sizeof number, "%llu", rcd__store_number(store));
        struct rcd_label labels[3] = {{"model", store->model}, {"version", number}};
        rcd_sessions_stats(store->sessions, &s);
        put(p, family, labels, &s);
    }
}

static void put_status(struct rcd_prom *p, const char *family, struct rcd_label *labels,
                       const struct rcd_sessions_stats *s)
{
    labels[2] = (struct rcd_label){"status", "idle"};
    rcd_prom_sample_u64(p, family, labels, 3, s->idle);
    labels[2].value = "busy";
    rcd_prom_sample_u64(p, family, labels, 3, s->busy);
    labels[2].value = "spilled";
    rcd_prom_sample_u64(p, family, labels, 3, s->spilled);
}

static void put_created(struct rcd_prom *p, const char *family, struct rcd_label *labels,
                        const struct rcd_sessions_stats *s)
{
    rcd_prom_sample_u64(p, family, labels, 2, s->created);
}

static void put_ended(struct rcd_prom *p, const char *family, struct rcd_label *labels,
                      const struct rcd_sessions_stats *s)
{
    static const rcd_session_event_kind kinds[] = {RCD_SESSION_ENDED, RCD_SESSION_EXPIRED,
                                                   RCD_SESSION_EVICTED};
    for (size_t k = 0; k < RCD_COUNT(kinds); k++) {
        labels[2] = (struct rcd_label){"reason", rcd_session_event_name(kinds[k])};
        rcd_prom_sample_u64(p, family, labels, 3, s->ended[kinds[k]]);
    }
}

static void put_steps(struct rcd_prom *p, const char *family, struct rcd_label *labels,
                      const struct rcd_sessions_stats *s)
{
    rcd_prom_sample_u64(p, family, labels, 2, s->steps);
}

static void put_bytes(struct rcd_prom *p, const char *family, struct rcd_label *labels,
                      const struct rcd_sessions_stats *s)
{
    rcd_prom_sample_u64(p, family, labels, 2, s->bytes);
}

static void put_syncs(struct rcd_prom *p, const char *family, struct rcd_label *labels,
                      const struct rcd_sessions_stats *s)
{
    double bounds[RCD_SYNC_BUCKETS];
    for (size_t i = 0; i < RCD_SYNC_BUCKETS; i++)
        bounds[i] = (double)rcd_sync_bounds_ns[i] / 1e9;
    rcd_prom_histogram(p, family, labels, 2, bounds, s->sync_buckets, RCD_SYNC_BUCKETS,
                       (double)s->sync_ns / 1e9);
}

void rcd__metrics_sessions(rcd_api *api, struct rcd_prom *p)
{
    put_family(api, p, "recurd_sessions", "gauge", "Sessions that live, by what they do.",
               put_status);
    put_family(api, p, "recurd_session_bytes", "gauge",
               "Memory of sessions: states, bookkeeping, stored answers.", put_bytes);
    put_family(api, p, "recurd_sessions_created_total", "counter", "Sessions that began.",
               put_created);
    put_family(api, p, "recurd_sessions_ended_total", "counter", "Sessions that ended, by reason.",
               put_ended);
    put_family(api, p, "recurd_session_steps_total", "counter",
               "Requests of sessions that succeeded.", put_steps);
    put_family(api, p, "recurd_store_commit_seconds", "histogram",
               "Transactions of sessions whose durability is commit.", put_syncs);
}
