/* statistics.c - GET .../stats: counters of the READY versions since each was loaded. Every key is
 * always there: perf_analyzer reads them without checks. */
#include "api_int.h"
#include "stores.h"

#include <inttypes.h>

static void put_phase(struct rcd_buf *b, const char *before, const struct rcd_phase_stats *p)
{
    (void)rcd_buf_printf(b, "%s{\"count\":%" PRIu64 ",\"ns\":%" PRIu64 "}", before, p->count,
                         p->ns);
}

static void put_batches(struct rcd_buf *b, const struct rcd_queue_stats *s)
{
    const char *sep = "";
    for (size_t i = 0; i < RCD_BATCH_STATS_MAX; i++) {
        const struct rcd_batch_stats *r = &s->batches[i];
        if (r->count == 0)
            continue;
        (void)rcd_buf_printf(
            b,
            "%s{\"batch_size\":%zu,\"compute_input\":{\"count\":%" PRIu64 ",\"ns\":%" PRIu64
            "},\"compute_infer\":{\"count\":%" PRIu64 ",\"ns\":%" PRIu64
            "},\"compute_output\":{\"count\":%" PRIu64 ",\"ns\":%" PRIu64 "}}",
            sep, i + 1, r->count, r->input_ns, r->count, r->infer_ns, r->count, r->output_ns);
        sep = ",";
    }
}

static void put_version(struct rcd_buf *b, const rcd_version *v)
{
    struct rcd_queue_stats s = {.inference_count = 0};
    const struct rcd_phase_stats none = {.count = 0};
    rcd_queue_stats(rcd__served(v)->queue, &s);
    (void)rcd_buf_puts(b, "{\"name\":");
    rcd__put_text(b, rcd_version_model(v));
    (void)rcd_buf_puts(b, ",\"version\":");
    rcd__put_text(b, rcd_version_number(v));
    (void)rcd_buf_printf(b,
                         ",\"last_inference\":%" PRIu64 ",\"inference_count\":%" PRIu64
                         ",\"execution_count\":%" PRIu64 ",\"inference_stats\":{",
                         s.last_inference_ms, s.inference_count, s.execution_count);
    put_phase(b, "\"success\":", &s.success);
    put_phase(b, ",\"fail\":", &s.fail);
    put_phase(b, ",\"queue\":", &s.queue);
    put_phase(b, ",\"compute_input\":", &s.input);
    put_phase(b, ",\"compute_infer\":", &s.infer);
    put_phase(b, ",\"compute_output\":", &s.output);
    put_phase(b, ",\"cache_hit\":", &none);
    put_phase(b, ",\"cache_miss\":", &none);
    (void)rcd_buf_puts(b, "},\"response_stats\":{},\"batch_stats\":[");
    put_batches(b, &s);
    (void)rcd_buf_printf(b, "],\"memory_usage\":[{\"type\":\"CPU\",\"id\":0,\"byte_size\":%zu}]}",
                         rcd_plan_bytes(rcd_version_plan(v)));
}

void rcd__statistics(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    const char *model = rcd_http_segment(req, "model");
    rcd_version **list = NULL, *one = NULL;
    size_t n = 0;
    if (model != NULL) {
        one = rcd__version_of(api, req);
        if (one == NULL)
            return;
    }
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    if (rcd_http_segment(req, "version") != NULL) {
        list = &one;
        n = 1;
    } else {
        rcd_version_unref(one);
        if (rcd__versions_ready(api, model, rcd_http_arena(req), &list, &n) != RCD_OK)
            b.failed = true;
    }
    (void)rcd_buf_puts(&b, "{\"model_stats\":[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            (void)rcd_buf_puts(&b, ",");
        put_version(&b, list[i]);
    }
    (void)rcd_buf_puts(&b, "]}");
    rcd__versions_unref(list, n);
    rcd__answer(req, 200, &b);
}
