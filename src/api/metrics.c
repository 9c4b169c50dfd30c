/* metrics.c - GET /metrics. Label sets are closed: models and versions come from the registry, HTTP
 * codes from our own answers. The samples of one family must stand together, so the versions'
 * counters are copied first and walked once per family. */
#include "metrics.h"
#include "api_int.h"
#include "graphs.h"
#include "stores.h"

#include <stdio.h>

struct scrape {
    struct rcd_prom prom;
    struct rcd__metrics_row *rows;
    size_t n;
    double time_bounds[RCD_TIME_BUCKETS], batch_bounds[RCD_BATCH_BUCKETS];
};

static void put_build(rcd_api *api, struct rcd_prom *p)
{
    const struct rcd_label labels[] = {{"version", api->opts.version},
                                       {"simd", api->opts.cpu_level}};
    rcd_prom_family(p, "recurd_build_info", "gauge", "Version and kernels of the daemon.");
    rcd_prom_sample_u64(p, "recurd_build_info", labels, 2, 1);
}

static void put_states(rcd_api *api, rcd_http_req *req, struct rcd_prom *p)
{
    struct rcd_index_row *rows = NULL;
    size_t n = 0;
    uint64_t counts[RCD_MODEL_UNAVAILABLE + 1] = {0};
    if (rcd_registry_index(api->opts.registry, rcd_http_arena(req), &rows, &n) != RCD_OK)
        n = 0;
    for (size_t i = 0; i < n; i++)
        counts[rows[i].state]++;
    rcd_prom_family(p, "recurd_models", "gauge", "Versions of models by state.");
    for (size_t s = 0; s < RCD_COUNT(counts); s++) {
        const struct rcd_label label = {"state", rcd_model_state_name((rcd_model_state)s)};
        rcd_prom_sample_u64(p, "recurd_models", &label, 1, counts[s]);
    }
}

static void put_http(rcd_api *api, struct rcd_prom *p)
{
    rcd_prom_family(p, "recurd_http_requests_total", "counter",
                    "HTTP requests that are over, by status; 499: the client left first.");
    for (int code = 0; code < RCD__HTTP_CODES; code++) {
        char text[12];
        const struct rcd_label label = {"code", text};
        if (api->answers[code] == 0)
            continue;
        snprintf(text, sizeof(text), "%d", code);
        rcd_prom_sample_u64(p, "recurd_http_requests_total", &label, 1, api->answers[code]);
    }
    if (api->http != NULL) {
        rcd_prom_family(p, "recurd_http_connections", "gauge", "Open HTTP connections.");
        rcd_prom_sample_u64(p, "recurd_http_connections", NULL, 0, rcd_http_connections(api->http));
        rcd_prom_family(p, "recurd_http_active_requests", "gauge",
                        "HTTP requests that are not answered yet.");
        rcd_prom_sample_u64(p, "recurd_http_active_requests", NULL, 0, rcd_http_active(api->http));
    }
    rcd_prom_family(p, "recurd_client_aborts_total", "counter",
                    "Requests whose client left before the answer was sent.");
    rcd_prom_sample_u64(p, "recurd_client_aborts_total", NULL, 0, api->client_aborts);
}

/* ---- per version ------------------------------------------------------------------------------ */

static void put_models(struct scrape *c)
{
    struct rcd_prom *p = &c->prom;
    rcd_prom_family(p, "recurd_model_load_seconds", "gauge", "Time the version took to load.");
    for (size_t i = 0; i < c->n; i++)
        rcd_prom_sample(p, "recurd_model_load_seconds", c->rows[i].labels, 2,
                        rcd_version_load_seconds(c->rows[i].v));
    rcd_prom_family(p, "recurd_model_weights_bytes", "gauge", "Weights and constants in memory.");
    for (size_t i = 0; i < c->n; i++)
        rcd_prom_sample_u64(p, "recurd_model_weights_bytes", c->rows[i].labels, 2,
                            rcd_plan_bytes(rcd_version_plan(c->rows[i].v)));
    rcd_prom_family(p, "recurd_queue_depth", "gauge", "Requests that wait for a worker.");
    for (size_t i = 0; i < c->n; i++)
        rcd_prom_sample_u64(p, "recurd_queue_depth", c->rows[i].labels, 2, c->rows[i].s.waiting);
    rcd_prom_family(p, "recurd_running_requests", "gauge", "Requests in a running batch.");
    for (size_t i = 0; i < c->n; i++)
        rcd_prom_sample_u64(p, "recurd_running_requests", c->rows[i].labels, 2,
                            c->rows[i].s.running);
    rcd_prom_family(p, "recurd_rows_total", "counter", "Batch rows inferred.");
    for (size_t i = 0; i < c->n; i++)
        rcd_prom_sample_u64(p, "recurd_rows_total", c->rows[i].labels, 2,
                            c->rows[i].s.inference_count);
    rcd_prom_family(p, "recurd_executions_total", "counter", "Runs of the model.");
    for (size_t i = 0; i < c->n; i++)
        rcd_prom_sample_u64(p, "recurd_executions_total", c->rows[i].labels, 2,
                            c->rows[i].s.execution_count);
}

static void put_labelled(struct scrape *c, const char *name, struct rcd__metrics_row *r,
                         const char *label, const char *value, uint64_t n)
{
    r->labels[2] = (struct rcd_label){label, value};
    rcd_prom_sample_u64(&c->prom, name, r->labels, 3, n);
}

static void put_outcomes(struct scrape *c)
{
    rcd_prom_family(&c->prom, "recurd_requests_total", "counter",
                    "Inference requests that left the queue, by outcome.");
    for (size_t i = 0; i < c->n; i++) {
        struct rcd__metrics_row *r = &c->rows[i];
        put_labelled(c, "recurd_requests_total", r, "outcome", "success", r->s.success.count);
        put_labelled(c, "recurd_requests_total", r, "outcome", "failure", r->s.fail.count);
    }
    rcd_prom_family(&c->prom, "recurd_rejected_total", "counter",
                    "Inference requests that were not run: queue full, out of time, client left.");
    for (size_t i = 0; i < c->n; i++) {
        struct rcd__metrics_row *r = &c->rows[i];
        put_labelled(c, "recurd_rejected_total", r, "reason", "queue_full", r->s.rejected);
        put_labelled(c, "recurd_rejected_total", r, "reason", "deadline", r->s.expired);
        put_labelled(c, "recurd_rejected_total", r, "reason", "client_gone", r->s.cancelled);
    }
}

static void put_times(struct scrape *c)
{
    rcd_prom_family(&c->prom, "recurd_request_duration_seconds", "histogram",
                    "Time of successful inference requests by stage, from submit to encoded.");
    for (size_t i = 0; i < c->n; i++) {
        struct rcd__metrics_row *r = &c->rows[i];
        const struct {
            const char *name;
            const struct rcd_phase_stats *p;
        } stages[] = {{"queue", &r->s.queue},
                      {"input", &r->s.input},
                      {"infer", &r->s.infer},
                      {"output", &r->s.output},
                      {"total", &r->s.success}};
        for (size_t k = 0; k < RCD_COUNT(stages); k++) {
            r->labels[2] = (struct rcd_label){"stage", stages[k].name};
            rcd_prom_histogram(&c->prom, "recurd_request_duration_seconds", r->labels, 3,
                               c->time_bounds, stages[k].p->buckets, RCD_TIME_BUCKETS,
                               (double)stages[k].p->ns / 1e9);
        }
    }
    rcd_prom_family(&c->prom, "recurd_batch_rows", "histogram", "Rows per run of the model.");
    for (size_t i = 0; i < c->n; i++)
        rcd_prom_histogram(&c->prom, "recurd_batch_rows", c->rows[i].labels, 2, c->batch_bounds,
                           c->rows[i].s.batch_rows_buckets, RCD_BATCH_BUCKETS,
                           (double)c->rows[i].s.inference_count);
    rcd_prom_family(&c->prom, "recurd_steps_per_run", "histogram",
                    "Time steps per run of a model that may be run in pieces.");
    for (size_t i = 0; i < c->n; i++)
        rcd_prom_histogram(&c->prom, "recurd_steps_per_run", c->rows[i].labels, 2, c->batch_bounds,
                           c->rows[i].s.run_steps_buckets, RCD_BATCH_BUCKETS,
                           (double)c->rows[i].s.run_steps);
}

static void put_loop(rcd_api *api, struct scrape *c)
{
    rcd_prom_family(&c->prom, "recurd_loop_lag_seconds", "histogram",
                    "Lateness of the event loop's timer.");
    rcd_prom_histogram(&c->prom, "recurd_loop_lag_seconds", NULL, 0, c->time_bounds,
                       api->lag_counts, RCD_TIME_BUCKETS, api->lag_sum);
    rcd_prom_process(&c->prom);
    api->dropped_series += c->prom.dropped;
    rcd_prom_family(&c->prom, "recurd_metrics_dropped_series_total", "counter",
                    "Series left out of answers because a family had too many.");
    rcd_prom_sample_u64(&c->prom, "recurd_metrics_dropped_series_total", NULL, 0,
                        api->dropped_series);
}

void rcd__metrics(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    struct scrape c = {.n = 0};
    struct rcd_buf b;
    rcd_version **list = NULL;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    c.prom.out = &b;
    if (rcd__versions_ready(api, NULL, rcd_http_arena(req), &list, &c.n) != RCD_OK)
        b.failed = true;
    c.rows = rcd_arena_calloc(rcd_http_arena(req), c.n + 1, sizeof(*c.rows));
    for (size_t i = 0; c.rows != NULL && i < c.n; i++) {
        c.rows[i].v = list[i];
        c.rows[i].labels[0] = (struct rcd_label){"model", rcd_version_model(list[i])};
        c.rows[i].labels[1] = (struct rcd_label){"version", rcd_version_number(list[i])};
        rcd_queue_stats(rcd__served(list[i])->queue, &c.rows[i].s);
    }
    for (size_t i = 0; i < RCD_TIME_BUCKETS; i++)
        c.time_bounds[i] = (double)rcd_time_bounds_ns[i] / 1e9;
    for (size_t i = 0; i < RCD_BATCH_BUCKETS; i++)
        c.batch_bounds[i] = rcd_batch_bounds[i];
    if (c.rows != NULL) {
        put_build(api, &c.prom);
        put_states(api, req, &c.prom);
        put_models(&c);
        put_outcomes(&c);
        put_times(&c);
        if (api->opts.triton_metrics)
            rcd__metrics_triton(&c.prom, c.rows, c.n, &api->machine_before);
    } else {
        b.failed = true;
    }
    rcd__metrics_sessions(api, &c.prom);
    rcd__metrics_graphs(api, &c.prom);
    put_http(api, &c.prom);
    put_loop(api, &c);
    rcd__versions_unref(list, c.n);
    if (b.failed) {
        rcd__answer(req, 200, &b);
        return;
    }
    rcd_http_respond(req, 200, "text/plain; version=0.0.4; charset=utf-8", NULL, 0, &b);
}
