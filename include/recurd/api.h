/* api.h - the HTTP surface: endpoints of the Open Inference Protocol, metrics, and the hooks that the
 * HTTP server calls. Translates between http/, codec/, registry/ and sched/. */
#pragma once
#include "recurd/base.h"
#include "recurd/graphs.h"
#include "recurd/http.h"
#include "recurd/registry.h"
#include "recurd/sched.h"

struct uv_loop_s;

typedef struct rcd_api rcd_api;
typedef struct rcd_stores rcd_stores; /* the sessions of all models */

struct rcd_stores_opts {
    rcd_sched *sched;      /* [borrowed] */
    const char *state_dir; /* [copied] NULL or "": no session survives the process... */
    const char
        *runtime_dir; /* [copied] ...but here, in memory that outlives it; NULL or "": none */
    size_t max_bytes; /* of all sessions' states */
    void (*log)(void *ctx, int priority, const char *text);
    void *log_ctx;
};
/** RCD_ENOMEM, RCD_EIO (the directory, or another daemon uses it). */
RCD_MUST_CHECK rcd_status rcd_stores_new(const struct rcd_stores_opts *opts, rcd_stores **ret,
                                         struct rcd_error *err);
/** After the registry and the api. NULL is fine; returns NULL. */
rcd_stores *rcd_stores_free(rcd_stores *s);

/** Where the daemon is in its life; api answers health and admission by it. */
typedef enum rcd_life { RCD_LIFE_STARTING, RCD_LIFE_READY, RCD_LIFE_DRAINING } rcd_life;

struct rcd_api_opts {
    struct uv_loop_s *loop;      /* [borrowed] load and unload run on its helper threads */
    rcd_registry *registry;      /* [borrowed] */
    rcd_sched *sched;            /* [borrowed] */
    rcd_stores *stores;          /* [borrowed] */
    const char *version;         /* of the daemon */
    const char *cpu_level;       /* for recurd_build_info */
    bool control;                /* load and unload over HTTP are allowed */
    bool triton_metrics;         /* nv_inference_*, too */
    bool strict_ready;           /* ready only when every model on disk is */
    rcd_graphs *graphs;          /* [borrowed] */
    size_t max_graph_bytes;      /* of one graph */
    size_t max_spectral_nodes;   /* of graphs whose eigenvectors a model asks for */
    size_t max_binding_bytes;    /* kept results of models on graphs */
    uint64_t binding_idle_ns;    /* unused ones go after so long */
    unsigned run_threads;        /* of a run on a graph */
    size_t max_run_bytes;        /* memory of a run on a graph */
    size_t max_body_bytes;       /* limit of inflated bodies and of decoded requests */
    uint64_t request_timeout_ns; /* default deadline; 0: none */
    bool access_log;
    void (*log)(void *ctx, int priority, const char *request_id, const char *text);
    void *log_ctx;
};

/** Threading: loop thread for all calls unless said. */
RCD_MUST_CHECK rcd_status rcd_api_new(const struct rcd_api_opts *opts, rcd_api **ret,
                                      struct rcd_error *err);
/** All requests must be over. NULL is fine; returns NULL. */
rcd_api *rcd_api_free(rcd_api *api);

/** The route table; ctx of its handlers and of the two hooks is the rcd_api. */
const struct rcd_route *rcd_api_routes(size_t *ret_n);
/** struct rcd_http_opts.admit, .settle and .finished. */
rcd_status rcd_api_admit(void *api, rcd_http_req *req, unsigned *retry_after_s,
                         struct rcd_error *err);
void rcd_api_settle(void *api);
void rcd_api_finished(void *api, const rcd_http_req *req, int http_status, uint64_t total_ns,
                      bool client_gone);
/** The server whose connections /metrics reports; set once after both exist. */
void rcd_api_set_http(rcd_api *api, rcd_http *http);
void rcd_api_set_life(rcd_api *api, rcd_life life);
/** House-keeping of sessions, every 100 ms or so. */
void rcd_api_tick(rcd_api *api);
/** Lateness of the loop's timer, seconds, for recurd_loop_lag_seconds. */
void rcd_api_note_loop_lag(rcd_api *api, double seconds);
/** The options that SIGHUP can change. */
void rcd_api_set_access_log(rcd_api *api, bool on);
void rcd_api_set_strict_ready(rcd_api *api, bool on);
/** Admin calls (load, unload, inference requests) that are not answered yet. */
size_t rcd_api_pending(const rcd_api *api);

/** struct rcd_registry_opts.attach and .detach: give a version its queue and its sessions. ctx is the
 * rcd_stores. Threading: any thread. */
rcd_status rcd_api_attach(void *stores, const rcd_version *v, void **ret_user,
                          struct rcd_error *err);
void rcd_api_detach(void *stores, void *user);
/** .needed: a version whose sessions wait in the state directory. */
bool rcd_api_needed(void *stores, const char *model, uint64_t number);
