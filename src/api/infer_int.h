/* infer_int.h - one inference request on its way through the scheduler. */
#pragma once
#include "api_int.h"

/* An output that goes into the answer, in the order of the answer. */
struct rcd__asked {
    size_t index; /* of the plan's outputs */
    bool binary;
    uint64_t classification;
};

struct rcd__infer {
    struct rcd_job job; /* first: the scheduler's callbacks get its address */
    rcd_api *api;
    rcd_http_req *req;
    rcd_version *version;   /* a reference */
    struct rcd_arena arena; /* decoded request, classification; one thread at a time */
    struct rcd_buf inflated, out;
    rcd_coding coding_in, coding_out; /* coding_out: wanted, then what `out` really is in */
    size_t json_len;                  /* of the request's header, or RCD_NO_JSON_LEN */
    size_t answer_json_len;           /* 0: no blobs */
    struct rcd_wire_request wire;
    struct rcd__asked *asked;
    size_t n_asked;
    rcd_nonfinite nonfinite;
    uint64_t timeout_ns; /* for the wait in the queue; 0: none */
};

/* infer_inputs.c: bytes -> job.infer, rows and the fields above. RCD_EINVAL and kin. */
RCD_MUST_CHECK rcd_status rcd__infer_decode(struct rcd__infer *x, struct rcd_error *err);
/* infer_params.c: the request's parameters. */
RCD_MUST_CHECK rcd_status rcd__infer_params(struct rcd__infer *x, struct rcd_error *err);
/* infer_answer.c: job.infer.out -> x->out. */
RCD_MUST_CHECK rcd_status rcd__infer_encode(struct rcd__infer *x, struct rcd_error *err);
/* infer_inputs.c: the shape of a tensor that comes as `len` bytes alone. RCD_EINVAL. */
RCD_MUST_CHECK rcd_status rcd__raw_shape(const struct rcd_io *io, size_t len,
                                         int64_t dims[RCD_MAX_RANK], struct rcd_error *err);
/* infer.c: strict decimal of an Inference-Header-Content-Length. */
bool rcd__parse_length(const char *text, size_t *ret);
