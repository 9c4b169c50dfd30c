/* wiring.c - the configuration's values become the modules' options. Nothing else reads it. */
#include "daemon_int.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#ifndef RCD_VERSION
#error "the build gives RCD_VERSION"
#endif

static void log_line(void *ctx, int priority, const char *text)
{
    (void)ctx;
    rcd_log((rcd_log_level)priority, NULL, NULL, "%s", text);
}

static void log_request(void *ctx, int priority, const char *request_id, const char *text)
{
    (void)ctx;
    rcd_log((rcd_log_level)priority, request_id, NULL, "%s", text);
}

rcd_status rcd__wire_kernels(struct rcd_daemon *d, struct rcd_error *err)
{
    bool automatic = d->cfg.engine_cpu_level == 0;
    rcd_cpu_level level =
        automatic ? rcd_cpu_best(RCD_CPU_AVX512) : (rcd_cpu_level)(d->cfg.engine_cpu_level - 1);
    d->kernels = rcd_kernels_for(level);
    if (d->kernels == NULL)
        return rcd_fail(err, RCD_EINVAL, "engine.cpu_level: this machine has no %s, at most %s",
                        rcd_cpu_level_name(level),
                        rcd_cpu_level_name(rcd_cpu_best(RCD_CPU_AVX512)));
    return RCD_OK;
}

static unsigned workers(const struct rcd_config *cfg)
{
    cpu_set_t set;
    if (cfg->engine_workers > 0)
        return (unsigned)cfg->engine_workers;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? (unsigned)CPU_COUNT(&set) : 1;
}

rcd_status rcd__wire_registry(struct rcd_daemon *d, bool serve, struct rcd_error *err)
{
    const struct rcd_registry_opts opts = {
        .root = d->cfg.models_dir,
        .kernels = d->kernels,
        .max_model_bytes = d->cfg.models_max_bytes,
        .max_run_bytes = d->cfg.engine_max_run_memory,
        .default_max_rows = d->cfg.batching_max_rows,
        .default_max_queue = d->cfg.batching_max_queue,
        .default_max_delay_us = d->cfg.batching_max_delay_us,
        .load_threads = workers(&d->cfg),
        .ctx = d->stores,
        .attach = serve ? rcd_api_attach : NULL,
        .detach = serve ? rcd_api_detach : NULL,
        .needed = serve ? rcd_api_needed : NULL,
        .log = log_line,
    };
    return rcd_registry_new(&opts, &d->registry, err);
}

/* What the option says, else a folder in the first of those that systemd made. */
static void directory(char *out, size_t bytes, const char *option, const char *variable)
{
    const char *given = getenv(variable); /* several are separated by colons */
    out[0] = '\0';
    if (option[0] != '\0')
        snprintf(out, bytes, "%s", option);
    else if (given != NULL && given[0] != '\0')
        snprintf(out, bytes, "%.*s/sessions", (int)strcspn(given, ":"), given);
}

static rcd_status wire_stores(struct rcd_daemon *d, struct rcd_error *err)
{
    char dir[4096], runtime[4096];
    directory(dir, sizeof dir, d->cfg.state_dir, "STATE_DIRECTORY");
    directory(runtime, sizeof runtime, d->cfg.state_runtime_dir, "RUNTIME_DIRECTORY");
    const struct rcd_stores_opts opts = {.sched = d->sched,
                                         .state_dir = dir,
                                         .runtime_dir = runtime,
                                         .max_bytes = d->cfg.sessions_max_bytes,
                                         .log = log_line};
    rcd_status st = rcd_stores_new(&opts, &d->stores, err);
    char graphs[4200];
    snprintf(graphs, sizeof graphs, "%s/graphs", dir);
    const struct rcd_graphs_opts kept = {.max_graphs = d->cfg.graphs_max_graphs,
                                         .max_bytes = d->cfg.graphs_max_bytes,
                                         .dir = dir[0] != '\0' ? graphs : NULL,
                                         .log = log_line};
    return st == RCD_OK ? rcd_graphs_new(&kept, &d->graphs, err) : st;
}

static rcd_status wire_api(struct rcd_daemon *d, struct rcd_error *err)
{
    const struct rcd_api_opts opts = {
        .loop = &d->loop,
        .registry = d->registry,
        .sched = d->sched,
        .stores = d->stores,
        .graphs = d->graphs,
        .max_graph_bytes = d->cfg.graphs_max_bytes,
        .max_binding_bytes = d->cfg.graphs_max_results,
        .max_spectral_nodes = d->cfg.graphs_max_spectral_nodes,
        .binding_idle_ns = d->cfg.graphs_results_idle * 1000000u,
        .max_run_bytes = d->cfg.engine_max_run_memory,
        .run_threads = workers(&d->cfg),
        .version = RCD_VERSION,
        .cpu_level = d->kernels->name,
        .control = d->cfg.models_control != 2,
        .triton_metrics = d->cfg.metrics_triton_names,
        .strict_ready = d->cfg.models_strict_ready,
        .max_body_bytes = d->cfg.server_max_body,
        .request_timeout_ns = d->cfg.batching_request_timeout * 1000000u,
        .access_log = d->cfg.log_access_log,
        .log = log_request,
    };
    return rcd_api_new(&opts, &d->api, err);
}

/* "A,B , C": every address of a list listens. */
static rcd_status listen_all(rcd_http *http, const char *list, bool admin, const char *option,
                             struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    for (const char *p = list; st == RCD_OK && *p != '\0';) {
        char address[256];
        size_t n = strcspn(p, ",");
        const char *from = p + strspn(p, " "), *to = p + n;
        while (to > from && to[-1] == ' ')
            to--;
        if ((size_t)(to - from) >= sizeof address)
            return rcd_fail(err, RCD_EINVAL, "%s: an address is too long", option);
        memcpy(address, from, (size_t)(to - from));
        address[to - from] = '\0';
        if (to > from)
            st = rcd_http_listen(http, address, -1, admin, err);
        p += n + (p[n] == ',');
    }
    return st == RCD_OK ? RCD_OK : rcd_error_prefix(err, st, "%s: ", option);
}

static rcd_status wire_http(struct rcd_daemon *d, struct rcd_error *err)
{
    const struct rcd_config *cfg = &d->cfg;
    struct rcd_http_opts opts = {
        .loop = &d->loop,
        .limits = {.max_body_bytes = cfg->server_max_body,
                   .max_head_bytes = cfg->server_max_head,
                   .max_connections = (unsigned)cfg->server_max_connections,
                   .head_timeout_ms = (unsigned)cfg->server_head_timeout,
                   .body_timeout_ms = (unsigned)cfg->server_body_timeout,
                   .body_min_rate = (unsigned)cfg->server_body_min_rate,
                   .idle_timeout_ms = (unsigned)cfg->server_idle_timeout,
                   .allow_chunked = cfg->server_chunked},
        .ctx = d->api,
        .admit = rcd_api_admit,
        .settle = rcd_api_settle,
        .finished = rcd_api_finished,
        .log = log_line,
    };
    opts.routes = rcd_api_routes(&opts.n_routes);
    bool apart = cfg->server_admin_listen[0] != '\0';
    rcd_status st = rcd_http_new(&opts, &d->http, err);
    if (st == RCD_OK)
        st = listen_all(d->http, cfg->server_listen, !apart, "server.listen", err);
    if (st == RCD_OK)
        st = listen_all(d->http, cfg->server_admin_listen, true, "server.admin_listen", err);
    if (st == RCD_OK)
        st = listen_all(d->http, cfg->metrics_listen, false, "metrics.listen", err);
    return st;
}

rcd_status rcd__wire_server(struct rcd_daemon *d, struct rcd_error *err)
{
    const struct rcd_sched_opts opts = {
        .loop = &d->loop,
        .n_workers = workers(&d->cfg),
        .exec_live_bytes = d->cfg.engine_max_run_memory,
        .exec_idle_bytes = d->cfg.engine_idle_memory,
        .max_queued = d->cfg.batching_max_queued_total,
        .whole_requests = d->cfg.batching_mode == 1,
    };
    rcd_status st = rcd_sched_new(&opts, &d->sched, err);
    if (st == RCD_OK)
        st = wire_stores(d, err);
    if (st == RCD_OK)
        st = rcd__wire_registry(d, true, err);
    if (st == RCD_OK)
        st = wire_api(d, err);
    if (st == RCD_OK)
        st = wire_http(d, err);
    if (st == RCD_OK)
        rcd_api_set_http(d->api, d->http);
    return st;
}
