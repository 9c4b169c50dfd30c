/* request_get.c - what a handler may ask about its request. */
#include "http_int.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

const char *rcd_http_method(const rcd_http_req *req)
{
    return req->method;
}

const char *rcd_http_path(const rcd_http_req *req)
{
    return req->text;
}

const char *rcd_http_segment(const rcd_http_req *req, const char *name)
{
    if (req->route == NULL)
        return NULL;
    return rcd__router_segment(req->http->router, req->route, &req->path, name);
}

const char *rcd_http_header(const rcd_http_req *req, const char *name)
{
    return MHD_lookup_connection_value(req->mhd, MHD_HEADER_KIND, name);
}

const char *rcd_http_query(const rcd_http_req *req, const char *name)
{
    return MHD_lookup_connection_value(req->mhd, MHD_GET_ARGUMENT_KIND, name);
}

const char *rcd_http_body(const rcd_http_req *req, size_t *ret_len)
{
    *ret_len = req->body.len;
    return req->body.len > 0 ? req->body.data : "";
}

const char *rcd_http_id(const rcd_http_req *req)
{
    return req->id;
}

const struct rcd_route *rcd_http_route(const rcd_http_req *req)
{
    return req->route;
}

struct rcd_arena *rcd_http_arena(rcd_http_req *req)
{
    return &req->arena;
}

uint64_t rcd_http_started_ns(const rcd_http_req *req)
{
    return req->started_ns;
}

void rcd_http_unhold(rcd_http_req *req)
{
    req->hold = false;
    req->http->n_held -= req->held;
    req->held = false;
}

void rcd_http_hold(rcd_http_req *req)
{
    RCD_ASSERT(req->http->opts.settle != NULL && !req->suspended);
    req->hold = true;
}

bool rcd_http_peer_gone(const rcd_http_req *req)
{
    char byte;
    ssize_t n = recv(req->conn->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
}
