/* model_config.c - GET /v2/models/{model}/config in the words of Triton's ModelConfig.
 * max_batch_size is 0: shapes are given in full, the batch dimension is one of them. */
#include "stores.h"

#include <inttypes.h>

static void put_tensors(struct rcd_buf *b, const struct rcd_io *io, size_t n, bool inputs)
{
    (void)rcd_buf_puts(b, "[");
    for (size_t i = 0; i < n; i++) {
        const char *type = io[i].dtype == RCD_BYTES ? "STRING" : rcd_dtype_name(io[i].dtype);
        (void)rcd_buf_puts(b, i == 0 ? "{\"name\":" : ",{\"name\":");
        rcd__put_text(b, io[i].name);
        (void)rcd_buf_printf(b, ",\"data_type\":\"TYPE_%s\",\"dims\":[", type);
        if (io[i].rank < 0)
            (void)rcd_buf_puts(b, "-1");
        for (int d = 0; d < io[i].rank; d++)
            (void)rcd_buf_printf(b, "%s%" PRId64, d == 0 ? "" : ",", io[i].dims[d]);
        (void)rcd_buf_puts(b, "]");
        if (inputs)
            (void)rcd_buf_printf(b, ",\"optional\":%s", io[i].optional ? "true" : "false");
        (void)rcd_buf_puts(b, "}");
    }
    (void)rcd_buf_puts(b, "]");
}

static void put_policy(struct rcd_buf *b, const struct rcd_model_config *c)
{
    if (c->all_versions) {
        (void)rcd_buf_puts(b, "{\"all\":{}}");
    } else if (c->n_specific > 0) {
        (void)rcd_buf_puts(b, "{\"specific\":{\"versions\":[");
        for (size_t i = 0; i < c->n_specific; i++)
            (void)rcd_buf_printf(b, "%s%" PRIu64, i == 0 ? "" : ",", c->specific[i]);
        (void)rcd_buf_puts(b, "]}}");
    } else {
        (void)rcd_buf_printf(b, "{\"latest\":{\"num_versions\":%zu}}", c->n_latest);
    }
}

/* As Triton says of a model whose requests belong to sequences. */
static void put_sequences(struct rcd_buf *b, const rcd_version *v, const struct rcd_io *in,
                          size_t n_in, const struct rcd_io *out)
{
    const struct rcd_model_config *c = rcd_version_config(v);
    bool first = true;
    (void)rcd_buf_printf(b,
                         ",\"sequence_batching\":{\"max_sequence_idle_microseconds\":%" PRIu64
                         ",\"oldest\":{\"max_queue_delay_microseconds\":%" PRIu64 "},\"state\":[",
                         c->sessions.idle_ms * 1000, c->max_delay_us);
    for (size_t i = 0; i < n_in; i++) {
        const int o = rcd_plan_state_output(rcd_version_plan(v), i);
        if (o < 0)
            continue;
        (void)rcd_buf_puts(b, first ? "{\"input_name\":" : ",{\"input_name\":");
        first = false;
        rcd__put_text(b, in[i].name);
        (void)rcd_buf_puts(b, ",\"output_name\":");
        rcd__put_text(b, out[o].name);
        (void)rcd_buf_printf(b, ",\"data_type\":\"TYPE_%s\",\"dims\":[",
                             rcd_dtype_name(in[i].dtype));
        for (int d = 0; d < in[i].rank; d++)
            (void)rcd_buf_printf(b, "%s%" PRId64, d == 0 ? "" : ",", in[i].dims[d]);
        (void)rcd_buf_puts(b, "]}");
    }
    (void)rcd_buf_puts(b, "]}");
}

void rcd__model_config(void *ctx, rcd_http_req *req)
{
    rcd_version *v = rcd__version_of(ctx, req);
    if (v == NULL)
        return;
    const struct rcd_model_config *c = rcd_version_config(v);
    size_t n_in = 0, n_out = 0;
    const struct rcd_io *in = rcd_plan_inputs(rcd_version_plan(v), &n_in);
    const struct rcd_io *out = rcd_plan_outputs(rcd_version_plan(v), &n_out);
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_puts(&b, "{\"name\":");
    rcd__put_text(&b, rcd_version_model(v));
    (void)rcd_buf_puts(&b, ",\"platform\":\"recurd_onnx\",\"backend\":\"recurd\","
                           "\"max_batch_size\":0,\"version_policy\":");
    put_policy(&b, c);
    (void)rcd_buf_puts(&b, ",\"input\":");
    put_tensors(&b, in, n_in, true);
    (void)rcd_buf_puts(&b, ",\"output\":");
    put_tensors(&b, out, n_out, false);
    (void)rcd_buf_puts(&b, ",\"instance_group\":[{\"name\":");
    rcd__put_text(&b, rcd_version_model(v));
    (void)rcd_buf_printf(&b, ",\"kind\":\"KIND_CPU\",\"count\":1}],"
                             "\"model_transaction_policy\":{\"decoupled\":false}");
    if (rcd__served(v)->store != NULL)
        put_sequences(&b, v, in, n_in, out);
    else
        (void)rcd_buf_printf(&b,
                             ",\"dynamic_batching\":{\"max_queue_delay_microseconds\":%" PRIu64
                             ",\"default_queue_policy\":{\"max_queue_size\":%zu}}",
                             c->max_delay_us, c->max_queue);
    (void)rcd_buf_printf(&b,
                         ",\"parameters\":{\"recurd_max_rows\":{\"string_value\":\"%zu\"},"
                         "\"recurd_weights\":{\"string_value\":\"%s\"}}}",
                         c->max_rows, rcd_weights_name(rcd_plan_weights(rcd_version_plan(v))));
    rcd_version_unref(v);
    rcd__answer(req, 200, &b);
}
