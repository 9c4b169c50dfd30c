/* session_call.h - inside api/: a call on a session on its way, perhaps on a helper thread. */
#pragma once
#include "sessions.h"

#include <uv.h>

struct rcd__session_call;
/** Does it and makes the answer: status, body, binary, json_len; or fails (and perhaps sets
 * retry_after_s). On any thread: what it touches of the api must not change, or have a lock. */
typedef rcd_status rcd__session_run(struct rcd__session_call *c, struct rcd_error *err);

struct rcd__session_call {
    uv_work_t work;
    rcd_api *api;
    rcd_http_req *req;
    struct rcd__session_path p;
    rcd__session_run *run;
    struct rcd_arena arena; /* the request's own is small */
    int status;
    struct rcd_buf body;
    bool binary;
    size_t json_len; /* of a binary answer's head; 0: it has none */
    struct rcd_error err;
    unsigned retry_after_s;
};

/** Handle the request by `how`. Threading: loop. */
void rcd__session_call(rcd_api *api, rcd_http_req *req, rcd__session_run *how);
/** The answer is the description of the session. */
RCD_MUST_CHECK rcd_status rcd__call_session(struct rcd__session_call *c, int status,
                                            const struct rcd_session_id *id, struct rcd_error *err);
