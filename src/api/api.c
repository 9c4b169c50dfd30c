/* api.c - the route table and the life of an rcd_api. */
#include "api_int.h"
#include "graphs.h"
#include "stores.h"

#include <string.h>

/* With and without a version. */
#define MODEL(method, rest, handler, flags)                                                        \
    {method, "/v2/models/{model}" rest, handler, flags},                                           \
    {                                                                                              \
        method, "/v2/models/{model}/versions/{version}" rest, handler, flags                       \
    }

#define SESSIONS "/v2/models/{model}/sessions"
#define SESSION SESSIONS "/{session}"
#define GRAPH "/v2/graphs/{graph}"

#define SHARED_MEMORY(kind)                                                                        \
    {"GET", "/v2/" kind "sharedmemory/status", rcd__shm_status, 0},                                \
        {"GET", "/v2/" kind "sharedmemory/region/{region}/status", rcd__shm_status, 0},            \
        {"POST", "/v2/" kind "sharedmemory/region/{region}/register", rcd__shm_refuse, 0},         \
        {"POST", "/v2/" kind "sharedmemory/region/{region}/unregister", rcd__shm_refuse, 0},       \
    {                                                                                              \
        "POST", "/v2/" kind "sharedmemory/unregister", rcd__shm_refuse, 0                          \
    }

static const struct rcd_route routes[] = {
    {"GET", "/v2/health/live", rcd__live, 0},
    {"GET", "/v2/health/ready", rcd__ready, 0},
    {"GET", "/v2", rcd__server_metadata, 0},
    {"GET", "/v2/models/stats", rcd__statistics, 0},
    MODEL("GET", "", rcd__model_metadata, 0),
    MODEL("GET", "/ready", rcd__model_ready, 0),
    MODEL("GET", "/plan", rcd__model_plan, 0),
    MODEL("GET", "/config", rcd__model_config, 0),
    MODEL("GET", "/stats", rcd__statistics, 0),
    MODEL("POST", "/infer", rcd__infer, RCD_ROUTE_INFER),
    {"POST", SESSIONS, rcd__session_create, 0},
    {"GET", SESSIONS, rcd__session_list, 0},
    {"GET", SESSIONS "/events", rcd__session_events, 0},
    {"GET", SESSION, rcd__session_describe, 0},
    {"DELETE", SESSION, rcd__session_end, 0},
    {"GET", SESSION "/state", rcd__session_state_get, 0},
    {"PUT", SESSION "/state", rcd__session_state_put, 0},
    {"GET", SESSION "/export", rcd__session_export, 0},
    {"POST", SESSION "/import", rcd__session_import, 0},
    {"POST", SESSION "/fork", rcd__session_fork, 0},
    {"POST", SESSION "/rewind", rcd__session_rewind, 0},
    {"POST", SESSION "/snapshots", rcd__snapshot_make, 0},
    {"GET", SESSION "/snapshots", rcd__snapshot_list, 0},
    {"DELETE", SESSION "/snapshots/{snapshot}", rcd__snapshot_drop, 0},
    {"GET", "/v2/graphs", rcd__graph_list, 0},
    {"GET", GRAPH, rcd__graph_describe, 0},
    {"PUT", GRAPH, rcd__graph_put, 0},
    {"PATCH", GRAPH, rcd__graph_patch, 0},
    {"DELETE", GRAPH, rcd__graph_remove, 0},
    {"GET", GRAPH "/tensors", rcd__graph_read, 0},
    {"GET", GRAPH "/events", rcd__graph_events, 0},
    {"POST", "/v2/repository/index", rcd__index, 0},
    {"POST", "/v2/repository/models/{model}/load", rcd__load, RCD_ROUTE_ADMIN},
    {"POST", "/v2/repository/models/{model}/unload", rcd__unload, RCD_ROUTE_ADMIN},
    {"GET", "/v2/trace/setting", rcd__trace_get, 0},
    {"POST", "/v2/trace/setting", rcd__trace_set, RCD_ROUTE_ADMIN},
    {"GET", "/v2/models/{model}/trace/setting", rcd__trace_get, 0},
    {"POST", "/v2/models/{model}/trace/setting", rcd__trace_set, RCD_ROUTE_ADMIN},
    {"GET", "/v2/logging", rcd__logging_get, 0},
    {"POST", "/v2/logging", rcd__logging_set, RCD_ROUTE_ADMIN},
    SHARED_MEMORY("system"),
    SHARED_MEMORY("cuda"),
    {"GET", "/metrics", rcd__metrics, 0},
};

const struct rcd_route *rcd_api_routes(size_t *ret_n)
{
    *ret_n = RCD_COUNT(routes);
    return routes;
}

static void free_text(const char *text)
{
    union {
        const char *c;
        void *p;
    } u = {.c = text};
    rcd_free(u.p);
}

rcd_status rcd_api_new(const struct rcd_api_opts *opts, rcd_api **ret, struct rcd_error *err)
{
    rcd_api *api = rcd_calloc(1, sizeof(*api));
    *ret = NULL;
    if (api == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the API");
    api->opts = *opts;
    api->opts.version = rcd_strdup(opts->version != NULL ? opts->version : "");
    api->opts.cpu_level = rcd_strdup(opts->cpu_level != NULL ? opts->cpu_level : "");
    api->life = RCD_LIFE_STARTING;
    api->trace = (struct rcd__trace_settings){.rate = 1000, .count = -1};
    if (api->opts.version == NULL || api->opts.cpu_level == NULL) {
        rcd_api_free(api);
        return rcd_fail(err, RCD_ENOMEM, "no memory for the API");
    }
    *ret = api;
    return RCD_OK;
}

rcd_api *rcd_api_free(rcd_api *api)
{
    if (api == NULL)
        return NULL;
    RCD_ASSERT(api->pending == 0);
    rcd__bindings_free(api);
    rcd__infer_spare_free(api);
    if (api->opts.stores != NULL)
        rcd__stores_unpin(api->opts.stores);
    free_text(api->opts.version);
    free_text(api->opts.cpu_level);
    rcd_free(api);
    return NULL;
}

void rcd_api_set_http(rcd_api *api, rcd_http *http)
{
    api->http = http;
}

void rcd_api_set_life(rcd_api *api, rcd_life life)
{
    api->life = life;
}

void rcd_api_set_strict_ready(rcd_api *api, bool on)
{
    api->opts.strict_ready = on;
}

void rcd_api_set_access_log(rcd_api *api, bool on)
{
    api->opts.access_log = on;
}

size_t rcd_api_pending(const rcd_api *api)
{
    return api->pending;
}

void rcd_api_tick(rcd_api *api)
{
    rcd__stores_tick(api->opts.stores, api->opts.registry, api);
    rcd__bindings_tidy(api, rcd_now_ns());
    rcd__events_pump(api);
    rcd__graph_events_pump(api);
}

void rcd_api_note_loop_lag(rcd_api *api, double seconds)
{
    size_t b = 0;
    double s = seconds > 0 ? seconds : 0;
    while (b + 1 < RCD_TIME_BUCKETS && s * 1e9 > (double)rcd_time_bounds_ns[b])
        b++;
    api->lag_counts[b]++;
    api->lag_sum += s;
}
