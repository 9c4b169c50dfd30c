/* repository_index.c - POST /v2/repository/index: every model and version with its state. */
#include "api_int.h"

static void put_row(struct rcd_buf *b, const struct rcd_index_row *row)
{
    (void)rcd_buf_puts(b, "{\"name\":");
    rcd__put_text(b, row->name);
    if (row->version != NULL) {
        (void)rcd_buf_puts(b, ",\"version\":");
        rcd__put_text(b, row->version);
    }
    if (row->version != NULL || row->state != RCD_MODEL_UNKNOWN)
        (void)rcd_buf_printf(b, ",\"state\":\"%s\"", rcd_model_state_name(row->state));
    if (row->reason != NULL && row->reason[0] != '\0') {
        (void)rcd_buf_puts(b, ",\"reason\":");
        rcd__put_text(b, row->reason);
    }
    (void)rcd_buf_puts(b, "}");
}

void rcd__index(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    struct rcd_error err = {.code = RCD_OK};
    json_t *body = NULL;
    if (rcd__body_object(req, &body, &err) != RCD_OK) {
        rcd__answer_error(req, &err);
        return;
    }
    const json_t *ready = json_object_get(body, "ready");
    bool only_ready = json_is_true(ready);
    bool bad = ready != NULL && !json_is_boolean(ready);
    json_decref(body);
    if (bad) {
        rcd_http_respond_error(req, RCD_EINVAL, "'ready' must be true or false", 0);
        return;
    }
    struct rcd_index_row *rows = NULL;
    size_t n = 0;
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    if (rcd_registry_index(api->opts.registry, rcd_http_arena(req), &rows, &n) != RCD_OK)
        b.failed = true;
    (void)rcd_buf_puts(&b, "[");
    for (size_t i = 0, written = 0; i < n; i++) {
        if (only_ready && rows[i].state != RCD_MODEL_READY)
            continue;
        if (written++ > 0)
            (void)rcd_buf_puts(&b, ",");
        put_row(&b, &rows[i]);
    }
    (void)rcd_buf_puts(&b, "]");
    rcd__answer(req, 200, &b);
}
