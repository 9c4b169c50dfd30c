/* shared_memory.c - there is none: the list of regions is empty, everything else is refused. */
#include "api_int.h"

void rcd__shm_status(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_puts(&b, "[]");
    rcd__answer(req, 200, &b);
}

void rcd__shm_refuse(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    rcd_http_respond_error(req, RCD_EUNSUPPORTED,
                           "recurd has no shared memory extension; send tensors in the request", 0);
}
