/* answer.c - JSON in and out for the small control messages. */
#include "api_int.h"

#include <stdlib.h>
#include <string.h>

void rcd__answer(rcd_http_req *req, int status, struct rcd_buf *body)
{
    if (body->failed) {
        rcd_buf_done(body);
        rcd_http_respond_error(req, RCD_ENOMEM, "no memory for the answer", 1);
        return;
    }
    rcd_http_respond(req, status, "application/json", NULL, 0, body);
}

/* jansson's sink: straight into the answer's buffer. */
static int append(const char *bytes, size_t len, void *buf)
{
    return rcd_buf_append(buf, bytes, len) == RCD_OK ? 0 : -1;
}

void rcd__answer_json(rcd_http_req *req, int status, json_t *tree)
{
    struct rcd_buf body;
    rcd_buf_init(&body, RCD__ANSWER_MAX);
    if (tree == NULL || json_dump_callback(tree, append, &body, JSON_COMPACT) != 0)
        body.failed = true;
    json_decref(tree);
    rcd__answer(req, status, &body);
}

void rcd__answer_error(rcd_http_req *req, const struct rcd_error *err)
{
    bool later = err->code == RCD_EUNAVAILABLE || err->code == RCD_ENOMEM;
    rcd_http_respond_error(req, err->code, err->text, later ? 1 : 0);
}

void rcd__put_text(struct rcd_buf *b, const char *text)
{
    (void)rcd_json_string(b, text, strlen(text));
}

rcd_status rcd__body_object(const rcd_http_req *req, json_t **ret, struct rcd_error *err)
{
    size_t len = 0;
    const char *body = rcd_http_body(req, &len);
    json_error_t why;
    *ret = NULL;
    json_t *tree = len == 0 ? json_object() : json_loadb(body, len, JSON_REJECT_DUPLICATES, &why);
    if (tree == NULL && len == 0)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the request");
    if (tree == NULL) {
        char quoted[JSON_ERROR_TEXT_LENGTH];
        rcd_quote(quoted, sizeof(quoted), why.text, strlen(why.text));
        return rcd_fail(err, RCD_EINVAL, "the body is not JSON: byte %d: %s", why.position, quoted);
    }
    if (!json_is_object(tree)) {
        json_decref(tree);
        return rcd_fail(err, RCD_EINVAL, "the body must be a JSON object");
    }
    *ret = tree;
    return RCD_OK;
}
