/* server.c - makes and ends a server. */
#include "http_int.h"

enum { CONNECTION_SLACK = 16 };

static struct MHD_Daemon *mhd_start(struct rcd_http *h)
{
    const struct rcd_http_limits *lim = &h->opts.limits;
    struct MHD_OptionItem options[] = {
        /* The limit that counts is ours (accept.c); MHD's must never be the first to be met. */
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)lim->max_connections + CONNECTION_SLACK, NULL},
        {MHD_OPTION_CONNECTION_TIMEOUT, 0, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)lim->max_head_bytes, NULL},
        {MHD_OPTION_SIGPIPE_HANDLED_BY_APP, 1, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 0, NULL}, /* our guard is stricter and answers better */
        {MHD_OPTION_END, 0, NULL}};
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_ERROR_LOG | MHD_USE_NO_LISTEN_SOCKET, 0,
        NULL, NULL, rcd__request_call, h, MHD_OPTION_EXTERNAL_LOGGER, rcd__log_mhd, h,
        MHD_OPTION_NOTIFY_COMPLETED, rcd__request_over, h, MHD_OPTION_NOTIFY_CONNECTION,
        rcd__conn_notify, h, MHD_OPTION_URI_LOG_CALLBACK, rcd__conn_request_line, h,
        MHD_OPTION_UNESCAPE_CALLBACK, rcd__unescape, h, MHD_OPTION_ARRAY, options, MHD_OPTION_END);
}

static void release(struct rcd_http *h)
{
    if (h->oom != NULL)
        MHD_destroy_response(h->oom);
    rcd__router_free(h->router);
    rcd__request_spare_free(h);
    while (h->listeners != NULL) {
        struct rcd__listener *l = h->listeners;
        h->listeners = l->next;
        rcd_free(l->path);
        rcd_free(l);
    }
    rcd_free(h);
}

rcd_status rcd_http_new(const struct rcd_http_opts *opts, rcd_http **ret_http,
                        struct rcd_error *err)
{
    struct rcd_http *h = rcd_calloc(1, sizeof *h);
    if (h == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the HTTP server");
    h->opts = *opts;
    rcd__log_panic_to(h);
    rcd_status st = rcd__router_new(opts->routes, opts->n_routes, &h->router, err);
    if (st != RCD_OK) {
        release(h);
        return st;
    }
    h->oom = rcd__respond_oom();
    h->mhd = h->oom != NULL ? mhd_start(h) : NULL;
    if (h->mhd == NULL)
        st = rcd_fail(err, RCD_ENOMEM, "the HTTP server cannot be started");
    else
        st = rcd__turn_start(h, err);
    if (st != RCD_OK) {
        if (h->mhd != NULL)
            MHD_stop_daemon(h->mhd);
        release(h);
        return st;
    }
    *ret_http = h;
    return RCD_OK;
}

void rcd_http_quiesce(rcd_http *h)
{
    rcd__accept_close(h);
}

size_t rcd_http_active(const rcd_http *h)
{
    return h->n_active;
}

size_t rcd_http_connections(const rcd_http *h)
{
    return h->n_conns;
}

void rcd__http_handle_gone(struct rcd_http *h)
{
    if (--h->open_handles == 0)
        release(h);
}

rcd_http *rcd_http_free(rcd_http *h)
{
    if (h == NULL)
        return NULL;
    h->stopping = true;
    rcd__accept_close(h);
    do /* resume what is answered and the streams, which end, and let MHD send it */
        rcd__turn_run(h);
    while (h->done != NULL || h->n_held > 0);
    RCD_ASSERT(h->n_pending == 0); /* MHD aborts when stopped with suspended connections */
    MHD_run(h->mhd);
    rcd__turn_stop(h);
    MHD_stop_daemon(h->mhd);
    h->mhd = NULL;
    rcd__streams_tell(h);
    rcd__linger_close(h);
    rcd__log_panic_to(NULL);
    return NULL;
}
