/* metrics_triton.c - the counters that Triton calls nv_inference_*, for dashboards and autoscalers that
 * know them. Times are sums in microseconds. Switched on by metrics.triton_names. */
#include "metrics.h"

struct family {
    const char *name, *help;
    uint64_t (*value)(const struct rcd_queue_stats *s);
};

static uint64_t success(const struct rcd_queue_stats *s)
{
    return s->success.count;
}

static uint64_t rows(const struct rcd_queue_stats *s)
{
    return s->inference_count;
}

static uint64_t runs(const struct rcd_queue_stats *s)
{
    return s->execution_count;
}

static uint64_t total_us(const struct rcd_queue_stats *s)
{
    return s->success.ns / 1000;
}

static uint64_t queue_us(const struct rcd_queue_stats *s)
{
    return s->queue.ns / 1000;
}

static uint64_t input_us(const struct rcd_queue_stats *s)
{
    return s->input.ns / 1000;
}

static uint64_t infer_us(const struct rcd_queue_stats *s)
{
    return s->infer.ns / 1000;
}

static uint64_t output_us(const struct rcd_queue_stats *s)
{
    return s->output.ns / 1000;
}

static const struct family counters[] = {
    {"nv_inference_request_success", "Requests that succeeded.", success},
    {"nv_inference_count", "Rows that were inferred.", rows},
    {"nv_inference_exec_count", "Runs of the model.", runs},
    {"nv_inference_request_duration_us", "Time of requests, end to end.", total_us},
    {"nv_inference_queue_duration_us", "Time of requests in the queue.", queue_us},
    {"nv_inference_compute_input_duration_us", "Time to read inputs.", input_us},
    {"nv_inference_compute_infer_duration_us", "Time to run the model.", infer_us},
    {"nv_inference_compute_output_duration_us", "Time to write outputs.", output_us},
};

/* The machine's; where they cannot be known there are none. */
static void machine(struct rcd_prom *p, struct rcd_machine_use *before)
{
    struct rcd_machine_use m;
    if (!rcd_machine_use(&m))
        return;
    const uint64_t busy = m.busy_ticks - before->busy_ticks, all = m.all_ticks - before->all_ticks;
    *before = m;
    rcd_prom_family(p, "nv_cpu_utilization", "gauge",
                    "Share of the processors' time in use since this was last asked.");
    rcd_prom_sample(p, "nv_cpu_utilization", NULL, 0, all > 0 ? (double)busy / (double)all : 0);
    rcd_prom_family(p, "nv_cpu_memory_total_bytes", "gauge", "Memory of the machine.");
    rcd_prom_sample_u64(p, "nv_cpu_memory_total_bytes", NULL, 0, m.memory_total);
    rcd_prom_family(p, "nv_cpu_memory_used_bytes", "gauge", "Memory of the machine in use.");
    rcd_prom_sample_u64(p, "nv_cpu_memory_used_bytes", NULL, 0, m.memory_used);
}

void rcd__metrics_triton(struct rcd_prom *p, struct rcd__metrics_row *list, size_t n,
                         struct rcd_machine_use *before)
{
    for (size_t f = 0; f < RCD_COUNT(counters); f++) {
        rcd_prom_family(p, counters[f].name, "counter", counters[f].help);
        for (size_t i = 0; i < n; i++)
            rcd_prom_sample_u64(p, counters[f].name, list[i].labels, 2,
                                counters[f].value(&list[i].s));
    }
    rcd_prom_family(p, "nv_inference_request_failure", "counter", "Requests that failed.");
    for (size_t i = 0; i < n; i++) {
        const struct rcd_queue_stats *s = &list[i].s;
        const uint64_t refused = s->rejected + s->expired, told = refused + s->cancelled;
        const struct {
            const char *reason;
            uint64_t n;
        } why[] = {{"REJECTED", refused},
                   {"CANCELED", s->cancelled},
                   {"OTHER", s->fail.count > told ? s->fail.count - told : 0}};
        for (size_t k = 0; k < RCD_COUNT(why); k++) {
            list[i].labels[2] = (struct rcd_label){"reason", why[k].reason};
            rcd_prom_sample_u64(p, "nv_inference_request_failure", list[i].labels, 3, why[k].n);
        }
    }
    rcd_prom_family(p, "nv_inference_pending_request_count", "gauge",
                    "Requests that wait for the model.");
    for (size_t i = 0; i < n; i++)
        rcd_prom_sample_u64(p, "nv_inference_pending_request_count", list[i].labels, 2,
                            list[i].s.waiting);
    rcd_prom_family(p, "nv_model_load_duration_secs", "gauge", "Time the version took to load.");
    for (size_t i = 0; i < n; i++)
        rcd_prom_sample(p, "nv_model_load_duration_secs", list[i].labels, 2,
                        rcd_version_load_seconds(list[i].v));
    machine(p, before);
}
