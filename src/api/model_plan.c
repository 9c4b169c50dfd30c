/* model_plan.c - GET .../plan: what became of the model's file, in words. */
#include "api_int.h"
#include "recurd/engine_report.h"

void rcd__model_plan(void *ctx, rcd_http_req *req)
{
    rcd_version *v = rcd__version_of(ctx, req);
    if (v == NULL)
        return;
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    rcd_status st = rcd_plan_report(rcd_version_plan(v), &b);
    rcd_version_unref(v);
    if (st == RCD_OK) {
        rcd_http_respond(req, 200, "text/plain; charset=utf-8", NULL, 0, &b);
        return;
    }
    rcd_buf_done(&b);
    rcd_http_respond_error(req, st, "no memory for the plan's report", 1);
}
