/* api_int.h - what the endpoint files share. All handlers run on the loop thread; `ctx` is the
 * rcd_api. */
#pragma once
#include "recurd/api.h"
#include "recurd/codec.h"
#include "recurd/obs.h"

#include <jansson.h>

enum { RCD__HTTP_CODES = 600, RCD__ANSWER_MAX = 64 << 20 };

/* What POST /v2/trace/setting may change. Tracing itself is off. */
struct rcd__trace_settings {
    uint64_t rate, log_frequency;
    int64_t count;
};

struct rcd__listener_of_events;

struct rcd_api {
    struct rcd__listener_of_events *listeners;
    struct rcd_api_opts opts; /* its two strings are owned */
    rcd_http *http;           /* [borrowed] */
    rcd_life life;
    size_t pending;
    struct rcd__trace_settings trace;
    uint64_t answers[RCD__HTTP_CODES]; /* by HTTP status */
    uint64_t client_aborts;
    uint64_t lag_counts[RCD_TIME_BUCKETS];
    double lag_sum;
    uint64_t dropped_series;
    struct rcd_machine_use machine_before; /* when metrics were last asked for */
    struct rcd__infer *spare;              /* infer.c: for the next requests */
    size_t n_spare;
    struct rcd__infer *arrived, *arrived_tail; /* infer_arrive.c: held, not yet submitted */
    struct rcd__apart *aparts;                 /* apart.c: in order of arrival */
    struct rcd__graph_change *graph_changes;   /* graphs.c: that run or wait for their turn */
    uint64_t graph_changes_done;
    struct rcd__binding *bindings; /* graph_infer.c */
    size_t n_bindings, binding_bytes;
    uint64_t binding_hits, binding_misses;
    uint64_t binding_followed, binding_anew;     /* after a change of the graph */
    struct rcd__graph_listener *graph_listeners; /* graph_events.c */
};

/* ---- answer.c ---- */
/* Send `body` (emptied) as JSON; a buffer that failed becomes the error it failed with. */
void rcd__answer(rcd_http_req *req, int status, struct rcd_buf *body);
/* The same for a jansson tree, which is taken; NULL: out of memory. */
void rcd__answer_json(rcd_http_req *req, int status, json_t *tree);
void rcd__answer_error(rcd_http_req *req, const struct rcd_error *err);
/* Append a JSON string. */
void rcd__put_text(struct rcd_buf *b, const char *text);
/* The request's JSON object, or a new empty one for an empty body: RCD_EINVAL, RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd__body_object(const rcd_http_req *req, json_t **ret,
                                           struct rcd_error *err);

/* ---- versions.c ---- */
/* The version that the path names, with a reference; NULL when an error was answered. */
RCD_MUST_CHECK rcd_version *rcd__version_of(rcd_api *api, rcd_http_req *req);
/* READY versions (of one model, or of all for NULL), each with a reference; array in `arena`. */
RCD_MUST_CHECK rcd_status rcd__versions_ready(rcd_api *api, const char *model,
                                              struct rcd_arena *arena, rcd_version ***ret,
                                              size_t *ret_n);
void rcd__versions_unref(rcd_version **list, size_t n);

/* ---- infer.c ---- */
void rcd__infer_spare_free(rcd_api *api);
/* infer_arrive.c: what was held is submitted. */
void rcd__infer_settle(rcd_api *api);
/* Strict decimal of an Inference-Header-Content-Length. */
bool rcd__parse_length(const char *text, size_t *ret);

/* ---- apart.c ---- */
/* How long a helper thread has been at the oldest request for a model, 0: there is none. Its session must not
 * expire meanwhile. Threading: loop. */
uint64_t rcd__apart_ms(const rcd_api *api, const char *model);

/* ---- session_fetch.c ---- */
/* Where the session is not in memory and may be on disk: read it on a helper thread, then call go(ctx) on the loop.
 * False: it is in memory or nowhere, nothing happens. Id and model stay where they are till then. Threading: loop. */
RCD_MUST_CHECK bool rcd__session_fetch(rcd_api *api, const char *model,
                                       const struct rcd_session_id *id, void (*go)(void *ctx),
                                       void *ctx);

/* ---- hooks.c ---- */
void rcd__log_access(rcd_api *api, const rcd_http_req *req, int status, uint64_t total_ns);

/* ---- base64.c ---- */
/* RFC 4648, padding needed, no white space; result in `arena`. RCD_EINVAL, RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd__base64(struct rcd_arena *arena, const char *text, size_t len,
                                      const void **ret, size_t *ret_len, struct rcd_error *err);

/* ---- events.c ---- */
/* Send what happened to the streams that listen. */
void rcd__events_pump(rcd_api *api);

/* ---- handlers ---- */
rcd_http_handler rcd__live, rcd__ready, rcd__model_ready;
rcd_http_handler rcd__server_metadata, rcd__model_metadata, rcd__model_config;
rcd_http_handler rcd__infer, rcd__statistics, rcd__metrics;
rcd_http_handler rcd__index, rcd__load, rcd__unload;
rcd_http_handler rcd__logging_get, rcd__logging_set, rcd__trace_get, rcd__trace_set;
rcd_http_handler rcd__shm_status, rcd__shm_refuse;
rcd_http_handler rcd__session_create, rcd__session_list, rcd__session_describe, rcd__session_end;
rcd_http_handler rcd__session_state_get, rcd__session_state_put, rcd__session_export;
rcd_http_handler rcd__session_import, rcd__session_fork, rcd__session_rewind, rcd__session_events;
rcd_http_handler rcd__model_plan;
rcd_http_handler rcd__graph_put, rcd__graph_patch, rcd__graph_describe, rcd__graph_list;
rcd_http_handler rcd__graph_read, rcd__graph_remove, rcd__graph_events;
rcd_http_handler rcd__snapshot_make, rcd__snapshot_list, rcd__snapshot_drop;
