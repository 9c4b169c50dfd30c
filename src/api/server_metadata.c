/* server_metadata.c - GET /v2. Lists what is there, nothing that is planned. */
#include "api_int.h"

void rcd__server_metadata(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_puts(&b, "{\"name\":\"recurd\",\"version\":");
    rcd__put_text(&b, api->opts.version);
    (void)rcd_buf_puts(&b,
                       ",\"extensions\":[\"classification\",\"model_repository\","
                       "\"model_repository(unload_dependents)\",\"schedule_policy\",\"sequence\","
                       "\"model_configuration\",\"binary_tensor_data\",\"parameters\","
                       "\"statistics\",\"logging\"]}");
    rcd__answer(req, 200, &b);
}
