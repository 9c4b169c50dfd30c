/* model_metadata.c - GET /v2/models/{model}: names, types and shapes of the inputs and outputs. */
#include "api_int.h"

#include <inttypes.h>

/* [{"name":..,"datatype":..,"shape":[..]},..]; a tensor of any rank says [-1]. */
static void put_tensors(struct rcd_buf *b, const struct rcd_io *io, size_t n)
{
    (void)rcd_buf_puts(b, "[");
    for (size_t i = 0; i < n; i++) {
        (void)rcd_buf_puts(b, i == 0 ? "{\"name\":" : ",{\"name\":");
        rcd__put_text(b, io[i].name);
        (void)rcd_buf_printf(b, ",\"datatype\":\"%s\",\"shape\":[", rcd_dtype_name(io[i].dtype));
        if (io[i].rank < 0)
            (void)rcd_buf_puts(b, "-1");
        for (int d = 0; d < io[i].rank; d++)
            (void)rcd_buf_printf(b, "%s%" PRId64, d == 0 ? "" : ",", io[i].dims[d]);
        (void)rcd_buf_puts(b, "]}");
    }
    (void)rcd_buf_puts(b, "]");
}

static void put_texts(struct rcd_buf *b, const char *const *texts, size_t n)
{
    (void)rcd_buf_puts(b, "[");
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            (void)rcd_buf_puts(b, ",");
        rcd__put_text(b, texts[i]);
    }
    (void)rcd_buf_puts(b, "]");
}

static void put_extras(struct rcd_buf *b, const rcd_version *v)
{
    const struct rcd_model_config *c = rcd_version_config(v);
    size_t n_warnings = 0, n_labels = 0;
    const char *const *warnings = rcd_plan_warnings(rcd_version_plan(v), &n_warnings);
    (void)rcd_version_labels(v, &n_labels);
    (void)rcd_buf_puts(b, "{\"description\":");
    rcd__put_text(b, c->description != NULL ? c->description : "");
    (void)rcd_buf_printf(b, ",\"weights\":\"%s\",\"state\":[",
                         rcd_weights_name(rcd_plan_weights(rcd_version_plan(v))));
    for (size_t i = 0; i < c->n_states; i++) {
        (void)rcd_buf_puts(b, i == 0 ? "{\"input\":" : ",{\"input\":");
        rcd__put_text(b, c->state_inputs[i]);
        (void)rcd_buf_puts(b, ",\"output\":");
        rcd__put_text(b, c->state_outputs[i]);
        (void)rcd_buf_puts(b, "}");
    }
    (void)rcd_buf_printf(b, "],\"labels\":%zu,\"warnings\":", n_labels);
    put_texts(b, warnings, n_warnings);
    (void)rcd_buf_puts(b, "}");
}

void rcd__model_metadata(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    rcd_version *v = rcd__version_of(api, req);
    if (v == NULL)
        return;
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_puts(&b, "{\"name\":");
    rcd__put_text(&b, rcd_version_model(v));
    (void)rcd_buf_puts(&b, ",\"versions\":[");
    if (rcd_http_segment(req, "version") != NULL) {
        rcd__put_text(&b, rcd_version_number(v));
    } else {
        rcd_version **all = NULL;
        size_t n = 0;
        if (rcd__versions_ready(api, rcd_version_model(v), rcd_http_arena(req), &all, &n) != RCD_OK)
            b.failed = true;
        for (size_t i = 0; i < n; i++) {
            if (i > 0)
                (void)rcd_buf_puts(&b, ",");
            rcd__put_text(&b, rcd_version_number(all[i]));
        }
        rcd__versions_unref(all, n);
    }
    size_t n_in = 0, n_out = 0;
    const struct rcd_io *in = rcd_plan_inputs(rcd_version_plan(v), &n_in);
    const struct rcd_io *out = rcd_plan_outputs(rcd_version_plan(v), &n_out);
    (void)rcd_buf_puts(&b, "],\"platform\":\"recurd_onnx\",\"inputs\":");
    put_tensors(&b, in, n_in);
    (void)rcd_buf_puts(&b, ",\"outputs\":");
    put_tensors(&b, out, n_out);
    (void)rcd_buf_puts(&b, ",\"recurd\":");
    put_extras(&b, v);
    (void)rcd_buf_puts(&b, "}");
    rcd_version_unref(v);
    rcd__answer(req, 200, &b);
}
