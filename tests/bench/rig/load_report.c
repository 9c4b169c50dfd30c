/* load_report.c - all latencies kept, sorted at the end; one line of JSON. */
#include "load.h"

#include <math.h>
#include <stdlib.h>

void samples_add(struct samples *s, uint64_t ns)
{
    if (s->n == s->room) {
        size_t room = s->room == 0 ? 65536 : 2 * s->room;
        uint64_t *more = realloc(s->ns, room * sizeof *more);
        if (more == NULL) {
            fputs("load: no memory\n", stderr);
            exit(2);
        }
        s->ns = more;
        s->room = room;
    }
    s->ns[s->n++] = ns;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* In microseconds, of sorted samples: the smallest that a share q of them does not exceed. */
static double quantile(const struct samples *s, double q)
{
    size_t rank = (size_t)ceil(q * (double)s->n);
    return s->n == 0 ? 0.0 : (double)s->ns[rank == 0 ? 0 : rank - 1] / 1e3;
}

static void print_class(const char *name, struct samples *s, double seconds)
{
    qsort(s->ns, s->n, sizeof *s->ns, ascending);
    printf("\"%s\": {\"arrived\": %zu, \"ok\": %zu, \"within\": %zu, \"answered_per_s\": %.1f, "
           "\"units_per_s\": %.1f, \"p50_us\": %.1f, \"p90_us\": %.1f, \"p99_us\": %.1f, "
           "\"max_us\": %.1f}",
           name, s->arrived, s->ok, s->within, (double)s->answered / seconds, s->units / seconds,
           quantile(s, 0.5), quantile(s, 0.9), quantile(s, 0.99), quantile(s, 1.0));
}

void results_print(const struct workload *w, struct results *r, const char *mode, size_t n_conns)
{
    double answered = 0.0, units = 0.0;
    const char *comma = "";
    for (size_t i = 0; i < w->n_classes; i++) {
        answered += (double)r->of[i].answered;
        units += r->of[i].units;
    }
    printf("{\"mode\": \"%s\", \"seconds\": %.3f, \"connections\": %zu, \"cpu_s\": %.3f, "
           "\"answered_per_s\": %.1f, \"units_per_s\": %.1f, \"lost\": %zu, \"unanswered\": %zu, "
           "\"statuses\": {",
           mode, r->seconds, n_conns, r->cpu_s, answered / r->seconds, units / r->seconds, r->lost,
           r->unanswered);
    for (int i = 0; i < STATUS_MAX; i++) {
        if (r->statuses[i] > 0) {
            printf("%s\"%d\": %zu", comma, i, r->statuses[i]);
            comma = ", ";
        }
    }
    fputs("}, \"classes\": {", stdout);
    for (size_t i = 0; i < w->n_classes; i++) {
        fputs(i > 0 ? ", " : "", stdout);
        print_class(w->classes[i].name, &r->of[i], r->seconds);
    }
    puts("}}");
}
