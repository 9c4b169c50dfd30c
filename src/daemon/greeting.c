/* greeting.c - for a person who starts the daemon by hand: what it serves, and a line to paste. */
#include "daemon_int.h"

#include <string.h>

enum { EXAMPLE_MAX = 64 }; /* elements of one tensor in the example */

/* Inputs of ones, open sizes as 1: something that most models accept. */
static bool example_input(const struct rcd_io *io, bool first, struct rcd_buf *out)
{
    int64_t dims[RCD_MAX_RANK];
    size_t n = 0;
    for (int d = 0; d < io->rank; d++)
        dims[d] = io->dims[d] >= 0 ? io->dims[d] : 1;
    if (io->rank < 0 || io->dtype == RCD_BYTES ||
        !rcd_shape_count(io->dtype, io->rank, dims, &n, NULL) || n > EXAMPLE_MAX)
        return false;
    rcd_buf_printf(out, "%s{\"name\":\"%s\",\"datatype\":\"%s\",\"shape\":[", first ? "" : ",",
                   io->name, rcd_dtype_name(io->dtype));
    for (int d = 0; d < io->rank; d++)
        rcd_buf_printf(out, "%s%lld", d > 0 ? "," : "", (long long)dims[d]);
    rcd_buf_puts(out, "],\"data\":[");
    for (size_t i = 0; i < n; i++)
        rcd_buf_printf(out, "%s1", i > 0 ? "," : "");
    rcd_buf_puts(out, "]}");
    return true;
}

static bool example(const rcd_version *v, const char *url, struct rcd_buf *out)
{
    size_t n = 0;
    bool ok = true, first = true;
    const struct rcd_io *ios = rcd_plan_inputs(rcd_version_plan(v), &n);
    rcd_buf_printf(out, "  curl -s %s/v2/models/%s/infer -d '{\"inputs\":[", url,
                   rcd_version_model(v));
    for (size_t i = 0; ok && i < n; i++) {
        if (ios[i].optional)
            continue;
        ok = example_input(&ios[i], first, out);
        first = false;
    }
    rcd_buf_puts(out, "]}'\n");
    return ok && !out->failed;
}

static void io_text(const struct rcd_io *ios, size_t n, char *text, size_t cap)
{
    size_t at = 0;
    text[0] = '\0';
    for (size_t i = 0; i < n && at + 96 < cap; i++) {
        char shape[64];
        at += (size_t)snprintf(
            text + at, cap - at, "%s%.24s %s%s", i > 0 ? ", " : "", ios[i].name,
            rcd_dtype_name(ios[i].dtype),
            ios[i].rank < 0 ? "" : rcd_shape_text(shape, sizeof shape, ios[i].rank, ios[i].dims));
    }
}

static void greet_row(const struct rcd_daemon *d, const struct rcd_index_row *row, const char *url,
                      struct rcd_buf *curl)
{
    rcd_version *v = NULL;
    if (row->state != RCD_MODEL_READY ||
        rcd_registry_get(d->registry, row->name, row->version, &v, NULL) != RCD_OK) {
        printf("  %-16s %-3s not served: %s\n", row->name,
               row->version != NULL ? row->version : "-",
               row->reason != NULL ? row->reason : rcd_model_state_name(row->state));
        return;
    }
    char ins[512], outs[512];
    size_t n_in = 0, n_out = 0;
    const struct rcd_io *in = rcd_plan_inputs(rcd_version_plan(v), &n_in);
    const struct rcd_io *out = rcd_plan_outputs(rcd_version_plan(v), &n_out);
    io_text(in, n_in, ins, sizeof ins);
    io_text(out, n_out, outs, sizeof outs);
    printf("  %-16s %-3s %s  ->  %s\n", row->name, row->version, ins, outs);
    if (curl->len == 0 && !example(v, url, curl)) {
        rcd_buf_done(curl);
        rcd_buf_init(curl, 16 << 10);
    }
    rcd_version_unref(v);
}

void rcd__greet(const struct rcd_daemon *d)
{
    char url[300];
    struct rcd_arena arena;
    struct rcd_buf curl;
    struct rcd_index_row *rows = NULL;
    size_t n = 0;
    rcd_arena_init(&arena, 16 << 20);
    rcd_buf_init(&curl, 16 << 10);
    size_t host = strcspn(d->cfg.server_listen, ",");
    const char *colon = memrchr(d->cfg.server_listen, ':', host);
    unsigned port = rcd_http_port(d->http, 0);
    if (port == 0)
        snprintf(url, sizeof url, "--unix-socket %.*s http://localhost",
                 (int)(host > 5 ? host - 5 : 0), d->cfg.server_listen + 5);
    else
        snprintf(url, sizeof url, "http://%.*s:%u",
                 (int)(colon != NULL ? colon - d->cfg.server_listen : 0), d->cfg.server_listen,
                 port);
    printf("\nrecurd %s serves %s on %s\n\n", RCD_VERSION, d->cfg.models_dir, url);
    if (rcd_registry_index(d->registry, &arena, &rows, &n) == RCD_OK) {
        for (size_t i = 0; i < n; i++)
            greet_row(d, &rows[i], url, &curl);
    }
    if (curl.len > 0)
        printf("\nTry:\n%.*s\n", (int)curl.len, curl.data);
    else
        printf("\nTry:\n  curl -s %s/v2\n\n", url);
    fflush(stdout);
    rcd_buf_done(&curl);
    rcd_arena_done(&arena);
}
