/* request.c - an infer body: the JSON object, then the blobs of the inputs that are binary. */
#include "codec_int.h"

#include <string.h>

enum { REQ_ID, REQ_PARAMETERS, REQ_INPUTS, REQ_OUTPUTS, N_REQ };
static const char *const request_keys[N_REQ] = {"id", "parameters", "inputs", "outputs"};

struct request {
    struct rcd_wire_request req;
    size_t *blobs; /* one per input: binary_data_size or RCD__NO_BLOB */
    unsigned seen;
};

static rcd_status scan_inputs(struct rcd__scan *s, struct request *r)
{
    struct rcd__names names = {.n = 0};
    void *list = NULL, *blobs = NULL;
    size_t cap = 0, blobs_cap = 0;
    bool first = true;
    rcd_status st = rcd__scan_open(s, '[', "'inputs'");
    while (st == RCD_OK && rcd__scan_item(s, &first, &st)) {
        size_t i = r->req.n_inputs;
        if (i >= s->max_items)
            return rcd__scan_fail(s, s->p, "more than %zu inputs", s->max_items);
        st = rcd__scan_grow(s, &list, i, &cap, sizeof *r->req.inputs);
        if (st == RCD_OK)
            st = rcd__scan_grow(s, &blobs, i, &blobs_cap, sizeof *r->blobs);
        if (st != RCD_OK)
            return st;
        r->req.inputs = list;
        r->blobs = blobs;
        st = rcd__scan_input(s, &r->req.inputs[i], &r->blobs[i]);
        if (st == RCD_OK)
            st = rcd__wire_names_add(s, &names, r->req.inputs[i].name, "input");
        if (st != RCD_OK)
            return rcd_error_prefix(s->err, st, "inputs[%zu] ", i);
        r->req.n_inputs++;
    }
    return st;
}

static rcd_status scan_outputs(struct rcd__scan *s, struct rcd_wire_request *req)
{
    struct rcd__names names = {.n = 0};
    void *list = NULL;
    size_t cap = 0;
    bool first = true;
    rcd_status st = rcd__scan_open(s, '[', "'outputs'");
    while (st == RCD_OK && rcd__scan_item(s, &first, &st)) {
        size_t i = req->n_outputs;
        if (i >= s->max_items)
            return rcd__scan_fail(s, s->p, "more than %zu outputs", s->max_items);
        st = rcd__scan_grow(s, &list, i, &cap, sizeof *req->outputs);
        if (st != RCD_OK)
            return st;
        req->outputs = list;
        st = rcd__scan_output(s, &req->outputs[i]);
        if (st == RCD_OK)
            st = rcd__wire_names_add(s, &names, req->outputs[i].name, "output");
        if (st != RCD_OK)
            return rcd_error_prefix(s->err, st, "outputs[%zu] ", i);
        req->n_outputs++;
    }
    req->outputs_given = true;
    return st;
}

static rcd_status scan_member(struct rcd__scan *s, const struct rcd__text *key, struct request *r)
{
    size_t which = N_REQ;
    rcd_status st = rcd__scan_known(s, request_keys, N_REQ, key, &r->seen, &which);
    if (st != RCD_OK)
        return st;
    switch (which) {
    case REQ_ID:
        return rcd__scan_string(s, "'id'", &r->req.id, &r->req.id_len);
    case REQ_PARAMETERS:
        return rcd__scan_params(s, &r->req);
    case REQ_INPUTS:
        return scan_inputs(s, r);
    case REQ_OUTPUTS:
        return scan_outputs(s, &r->req);
    default:
        return rcd__scan_skip(s);
    }
}

static rcd_status scan_request(struct rcd__scan *s, struct request *r)
{
    bool first = true;
    struct rcd__text key;
    rcd_status st = rcd__scan_open(s, '{', "the request");
    while (st == RCD_OK && rcd__scan_member(s, &first, &key, &st))
        st = scan_member(s, &key, r);
    if (st != RCD_OK)
        return st;
    if (s->p != s->end)
        return rcd__scan_unexpected(s, "nothing behind the request's object");
    if (r->req.id_len == 0) /* "" is how some clients say none */
        r->req.id = NULL;
    return RCD_OK;
}

/* Blobs follow in the order of the inputs and fill the body to its last byte. */
static rcd_status take_blobs(struct rcd_arena *arena, struct request *r, const char *at,
                             size_t left, struct rcd_error *err)
{
    for (size_t i = 0; i < r->req.n_inputs; i++) {
        struct rcd_wire_input *in = &r->req.inputs[i];
        size_t bytes = r->blobs[i];
        if (bytes == RCD__NO_BLOB)
            continue;
        char name[RCD__SNIPPET];
        rcd_quote(name, sizeof name, in->name, strlen(in->name));
        if (bytes > left)
            return rcd_fail(err, RCD_EINVAL,
                            "inputs[%zu] '%s': binary_data_size is %zu, but %zu bytes are left "
                            "behind the JSON part (Inference-Header-Content-Length)",
                            i, name, bytes, left);
        struct rcd_tensor t;
        rcd_status st = rcd_wire_tensor(arena, in->tensor.dtype, in->tensor.rank, in->tensor.dims,
                                        at, bytes, &t, err);
        if (st != RCD_OK)
            return rcd_error_prefix(err, st, "inputs[%zu] '%s': ", i, name);
        in->tensor = t;
        at += bytes;
        left -= bytes;
    }
    if (left > 0)
        return rcd_fail(err, RCD_EINVAL, "%zu bytes at the end of the body belong to no input",
                        left);
    return RCD_OK;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

rcd_status rcd_wire_decode(struct rcd_arena *arena, const char *body, size_t len, size_t json_len,
                           const struct rcd_wire_limits *limits, struct rcd_wire_request *ret,
                           struct rcd_error *err)
{
    struct request r = {.seen = 0};
    if (json_len == 0) {
        *ret = (struct rcd_wire_request){
            .raw = true, .raw_bytes = body, .raw_len = len, .binary_output = true};
        return RCD_OK;
    }
    if (json_len == RCD_NO_JSON_LEN)
        json_len = len;
    if (json_len > len)
        return rcd_fail(err, RCD_EINVAL,
                        "Inference-Header-Content-Length is %zu, the body has %zu bytes", json_len,
                        len);
    const char *end = len > 0 ? body + json_len : body; /* body may be NULL then */
    while (end > body && is_blank(end[-1]))
        end--;
    if (end == body || end[-1] != '}')
        return rcd_fail(err, RCD_EINVAL,
                        "the request is not a JSON object: its %zu bytes do not end with '}'",
                        json_len);
    struct rcd__scan s = {.start = body,
                          .p = body,
                          .end = end,
                          .max_depth = limits->max_depth,
                          .max_string = limits->max_string_bytes,
                          .max_items = limits->max_inputs,
                          .arena = arena,
                          .err = err};
    if (s.max_depth > RCD__DEPTH_LIMIT)
        s.max_depth = RCD__DEPTH_LIMIT;
    rcd_status st = scan_request(&s, &r);
    if (st == RCD_OK)
        st = take_blobs(arena, &r, body + json_len, len - json_len, err);
    if (st == RCD_OK)
        *ret = r.req;
    return st;
}
