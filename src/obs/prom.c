/* prom.c - the Prometheus text format, version 0.0.4.
 *
 * Names and help texts are ours and taken as they are; label values may be anything and are
 * escaped. A family stops growing at max_series, so that no label can fill the memory of whoever
 * scrapes; what was left out is counted in `dropped`. */
#include "recurd/obs.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_SERIES = 1000 };

void rcd_prom_family(struct rcd_prom *p, const char *name, const char *type, const char *help)
{
    p->series = 0;
    (void)rcd_buf_printf(p->out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

/* May one more series of this family be written? */
static bool admit(struct rcd_prom *p)
{
    size_t max = p->max_series != 0 ? p->max_series : MAX_SERIES;
    if (p->series >= max) {
        p->dropped++;
        return false;
    }
    p->series++;
    return true;
}

static void put_escaped(struct rcd_buf *out, const char *value)
{
    for (;;) {
        size_t plain = strcspn(value, "\\\"\n");
        (void)rcd_buf_append(out, value, plain);
        value += plain;
        if (*value == '\0')
            return;
        (void)rcd_buf_puts(out, *value == '\n' ? "\\n" : *value == '"' ? "\\\"" : "\\\\");
        value++;
    }
}

/* name{labels,le="..."}; le may be NULL. */
static void put_series(struct rcd_prom *p, const char *name, const char *suffix,
                       const struct rcd_label *labels, size_t n_labels, const char *le)
{
    (void)rcd_buf_printf(p->out, "%s%s", name, suffix);
    for (size_t i = 0; i < n_labels; i++) {
        (void)rcd_buf_printf(p->out, "%c%s=\"", i == 0 ? '{' : ',', labels[i].name);
        put_escaped(p->out, labels[i].value);
        (void)rcd_buf_puts(p->out, "\"");
    }
    if (le != NULL)
        (void)rcd_buf_printf(p->out, "%cle=\"%s\"", n_labels == 0 ? '{' : ',', le);
    (void)rcd_buf_puts(p->out, n_labels > 0 || le != NULL ? "} " : " ");
}

/* Shortest text that reads back as the same double. */
static const char *number(double value, char buf[32])
{
    if (isnan(value))
        return "NaN";
    if (isinf(value))
        return value > 0 ? "+Inf" : "-Inf";
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(buf, 32, "%.*g", digits, value);
        if (strtod(buf, NULL) == value)
            break;
    }
    return buf;
}

void rcd_prom_sample(struct rcd_prom *p, const char *name, const struct rcd_label *labels,
                     size_t n_labels, double value)
{
    char text[32];
    if (!admit(p))
        return;
    put_series(p, name, "", labels, n_labels, NULL);
    (void)rcd_buf_printf(p->out, "%s\n", number(value, text));
}

void rcd_prom_sample_u64(struct rcd_prom *p, const char *name, const struct rcd_label *labels,
                         size_t n_labels, uint64_t value)
{
    if (!admit(p))
        return;
    put_series(p, name, "", labels, n_labels, NULL);
    (void)rcd_buf_printf(p->out, "%llu\n", (unsigned long long)value);
}

void rcd_prom_histogram(struct rcd_prom *p, const char *name, const struct rcd_label *labels,
                        size_t n_labels, const double *bounds, const uint64_t *counts, size_t n,
                        double sum)
{
    char text[32];
    uint64_t total = 0;
    if (!admit(p))
        return;
    for (size_t i = 0; i < n; i++) {
        total += counts[i];
        put_series(p, name, "_bucket", labels, n_labels,
                   i + 1 < n ? number(bounds[i], text) : "+Inf");
        (void)rcd_buf_printf(p->out, "%llu\n", (unsigned long long)total);
    }
    put_series(p, name, "_sum", labels, n_labels, NULL);
    (void)rcd_buf_printf(p->out, "%s\n", number(sum, text));
    put_series(p, name, "_count", labels, n_labels, NULL);
    (void)rcd_buf_printf(p->out, "%llu\n", (unsigned long long)total);
}
