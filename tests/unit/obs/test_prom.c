/* test_prom.c - the Prometheus text, byte by byte. */
#include "recurd/obs.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

TestSuite(obs, .timeout = 400);

static char *taken(struct rcd_buf *b)
{
    cr_assert(b->failed == false);
    char *text = rcd_strndup(b->data, b->len);
    rcd_buf_done(b);
    cr_assert(text != NULL);
    return text;
}

Test(obs, samples)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 16);
    struct rcd_prom p = {.out = &b};
    const struct rcd_label labels[] = {{"model", "a\"b\\c\nd"}, {"code", "200"}};
    rcd_prom_family(&p, "recurd_requests_total", "counter", "Requests answered.");
    rcd_prom_sample_u64(&p, "recurd_requests_total", labels, 2, UINT64_MAX);
    rcd_prom_sample(&p, "recurd_requests_total", NULL, 0, 0.1);
    rcd_prom_sample(&p, "recurd_requests_total", labels + 1, 1, NAN);
    rcd_prom_sample(&p, "recurd_requests_total", labels + 1, 1, -INFINITY);
    char *text = taken(&b);
    cr_expect(eq(str, text,
                 "# HELP recurd_requests_total Requests answered.\n"
                 "# TYPE recurd_requests_total counter\n"
                 "recurd_requests_total{model=\"a\\\"b\\\\c\\nd\",code=\"200\"} "
                 "18446744073709551615\n"
                 "recurd_requests_total 0.1\n"
                 "recurd_requests_total{code=\"200\"} NaN\n"
                 "recurd_requests_total{code=\"200\"} -Inf\n"));
    rcd_free(text);
}

Test(obs, doubles_read_back)
{
    static const double values[] = {0.0, 1e-4, 1.0 / 3.0, 1e22, 5e-324, 1.7976931348623157e308};
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 16);
    struct rcd_prom p = {.out = &b};
    for (size_t i = 0; i < RCD_COUNT(values); i++)
        rcd_prom_sample(&p, "x", NULL, 0, values[i]);
    char *text = taken(&b), *at = text;
    for (size_t i = 0; i < RCD_COUNT(values); i++) {
        cr_expect(strtod(at + 2, &at) == values[i]);
        at++;
    }
    rcd_free(text);
}

Test(obs, histogram_is_cumulative)
{
    static const double bounds[] = {0.001, 0.5, 0};
    static const uint64_t counts[] = {2, 0, 5};
    const struct rcd_label label = {"stage", "queue"};
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 16);
    struct rcd_prom p = {.out = &b};
    rcd_prom_histogram(&p, "t_seconds", &label, 1, bounds, counts, 3, 2.5);
    rcd_prom_histogram(&p, "t_seconds", NULL, 0, bounds, counts, 1, 2.5);
    char *text = taken(&b);
    cr_expect(eq(str, text,
                 "t_seconds_bucket{stage=\"queue\",le=\"0.001\"} 2\n"
                 "t_seconds_bucket{stage=\"queue\",le=\"0.5\"} 2\n"
                 "t_seconds_bucket{stage=\"queue\",le=\"+Inf\"} 7\n"
                 "t_seconds_sum{stage=\"queue\"} 2.5\n"
                 "t_seconds_count{stage=\"queue\"} 7\n"
                 "t_seconds_bucket{le=\"+Inf\"} 2\n"
                 "t_seconds_sum 2.5\n"
                 "t_seconds_count 2\n"));
    rcd_free(text);
}

Test(obs, a_family_stops_growing)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 20);
    struct rcd_prom p = {.out = &b, .max_series = 3};
    rcd_prom_family(&p, "a", "gauge", "A.");
    for (int i = 0; i < 5; i++)
        rcd_prom_sample(&p, "a", NULL, 0, i);
    rcd_prom_family(&p, "b", "gauge", "B.");
    rcd_prom_sample(&p, "b", NULL, 0, 7);
    cr_expect(eq(sz, p.dropped, 2));
    char *text = taken(&b);
    cr_expect(strstr(text, "a 3\n") == NULL && strstr(text, "b 7\n") != NULL);
    rcd_free(text);
}

static double value_of(const char *text, const char *name)
{
    char line[128];
    snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(text, line);
    return at != NULL ? strtod(at + strlen(line), NULL) : NAN;
}

static double open_fds(void)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 16);
    struct rcd_prom p = {.out = &b};
    rcd_prom_process(&p);
    char *text = taken(&b);
    double n = value_of(text, "process_open_fds");
    rcd_free(text);
    return n;
}

Test(obs, open_descriptors_are_counted)
{
    double before = open_fds(), unused = 0;
    for (int fd = 0; fd < 256; fd++)
        unused += fcntl(fd, F_GETFD) == -1;
    cr_expect(before == 256 - unused, "%g", before);
    int fd = open("/dev/null", O_RDONLY);
    cr_expect(fd >= 0 && open_fds() == before + 1);
    close(fd);
}

Test(obs, process_metrics_are_plausible)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 16);
    struct rcd_prom p = {.out = &b};
    rcd_prom_process(&p);
    char *text = taken(&b);
    cr_expect(value_of(text, "process_cpu_seconds_total") >= 0.0);
    cr_expect(value_of(text, "process_threads") >= 1.0);
    cr_expect(value_of(text, "process_open_fds") >= 3.0);
    cr_expect(value_of(text, "process_max_fds") >= value_of(text, "process_open_fds"));
    double resident = value_of(text, "process_resident_memory_bytes");
    cr_expect(resident > 1e5 && resident < value_of(text, "process_virtual_memory_bytes"));
    double age = (double)time(NULL) - value_of(text, "process_start_time_seconds");
    cr_expect(age > -2.0 && age < 60.0, "started %g s ago", age);
    rcd_free(text);
}
