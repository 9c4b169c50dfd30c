/* print_metrics.c - one family of each kind and the process metrics, for promtool to judge. */
#include "recurd/obs.h"

int main(void)
{
    static const double bounds[] = {0.001, 0.5, 0};
    static const uint64_t counts[] = {2, 0, 5};
    const struct rcd_label labels[] = {{"model", "a \"quoted\\name\"\n"}, {"stage", "queue"}};
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 16);
    struct rcd_prom p = {.out = &b};
    rcd_prom_family(&p, "recurd_build_info", "gauge", "Version of the program.");
    rcd_prom_sample(&p, "recurd_build_info", labels, 1, 1);
    rcd_prom_family(&p, "recurd_requests_total", "counter", "Requests answered.");
    rcd_prom_sample_u64(&p, "recurd_requests_total", labels, 2, 3);
    rcd_prom_family(&p, "recurd_wait_seconds", "histogram", "Time in the queue.");
    rcd_prom_histogram(&p, "recurd_wait_seconds", labels, 2, bounds, counts, 3, 1e-9);
    rcd_prom_process(&p);
    int failed = b.failed || fwrite(b.data, 1, b.len, stdout) != b.len || fflush(stdout) != 0;
    rcd_buf_done(&b);
    return failed;
}
