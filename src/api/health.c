/* health.c - alive and ready, of the server and of models. The bodies are JSON because KServe's
 * client parses them; Triton's clients look at the status only. */
#include "api_int.h"

void rcd__live(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_puts(&b, "{\"live\":true}");
    rcd__answer(req, 200, &b);
}

void rcd__ready(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    bool ready = api->life == RCD_LIFE_READY;
    if (ready && api->opts.strict_ready)
        ready = rcd_registry_ready(api->opts.registry);
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_printf(&b, "{\"ready\":%s,\"live\":true}", ready ? "true" : "false");
    rcd__answer(req, ready ? 200 : 503, &b);
}

void rcd__model_ready(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    rcd_version *v = NULL;
    struct rcd_error err = {.code = RCD_OK};
    const char *name = rcd_http_segment(req, "model");
    rcd_status st =
        rcd_registry_get(api->opts.registry, name, rcd_http_segment(req, "version"), &v, &err);
    if (st == RCD_OK) {
        rcd_version_unref(v);
    } else if (st != RCD_EUNAVAILABLE) {
        rcd__answer_error(req, &err);
        return;
    }
    bool ready = st == RCD_OK && api->life != RCD_LIFE_DRAINING;
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_puts(&b, "{\"name\":");
    rcd__put_text(&b, name);
    (void)rcd_buf_printf(&b, ",\"ready\":%s", ready ? "true" : "false");
    if (!ready) {
        (void)rcd_buf_puts(&b, ",\"error\":");
        rcd__put_text(&b, st != RCD_OK ? err.text : "the server is draining");
    }
    (void)rcd_buf_puts(&b, "}");
    rcd__answer(req, ready ? 200 : 503, &b);
}
