/* hooks.c - what the HTTP server asks and tells about requests. */
#include "api_int.h"

#include <string.h>

rcd_status rcd_api_admit(void *ctx, rcd_http_req *req, unsigned *retry_after_s,
                         struct rcd_error *err)
{
    const rcd_api *api = ctx;
    const struct rcd_route *route = rcd_http_route(req);
    /* While draining, what still comes is served: the listeners close, and so does every connection
     * after its next answer. */
    if (api->life != RCD_LIFE_STARTING || route == NULL || (route->flags & RCD_ROUTE_INFER) == 0)
        return RCD_OK;
    *retry_after_s = 1;
    return rcd_fail(err, RCD_EUNAVAILABLE, "the server is starting");
}

void rcd_api_settle(void *ctx)
{
    rcd_api *api = ctx;
    rcd__infer_settle(api);
    rcd_sched_run_here(api->opts.sched);
}

void rcd__log_access(rcd_api *api, const rcd_http_req *req, int status, uint64_t total_ns)
{
    char path[200], text[320];
    const char *p = rcd_http_path(req), *method = rcd_http_method(req);
    char verb[24];
    snprintf(text, sizeof(text), "%s %s %d %llu us",
             rcd_quote(verb, sizeof(verb), method != NULL ? method : "-",
                       method != NULL ? strlen(method) : 1),
             rcd_quote(path, sizeof(path), p != NULL ? p : "-", p != NULL ? strlen(p) : 1), status,
             (unsigned long long)(total_ns / 1000));
    api->opts.log(api->opts.log_ctx, 6, rcd_http_id(req), text);
}

void rcd_api_finished(void *ctx, const rcd_http_req *req, int http_status, uint64_t total_ns,
                      bool client_gone)
{
    rcd_api *api = ctx;
    if (http_status > 0 && http_status < RCD__HTTP_CODES)
        api->answers[http_status]++;
    api->client_aborts += client_gone;
    if (api->opts.access_log && api->opts.log != NULL)
        rcd__log_access(api, req, http_status, total_ns);
}
