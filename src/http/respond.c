/* respond.c - answers: built when given, queued by the connection's next handler call. */
#include "http_int.h"

#include <string.h>
#include <syslog.h>

enum { ERROR_OBJECT_MAX = 16384 };
static const char json_type[] = "application/json";

/* ---- the error object ----------------------------------------------------------------------- */

/* Length of the valid UTF-8 character at `s`, 0 if there is none. */
static size_t utf8_len(const unsigned char *s)
{
    size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (n == 0 || s[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xc0) != 0x80)
            return 0;
    if ((s[0] == 0xe0 && s[1] < 0xa0) || (s[0] == 0xed && s[1] > 0x9f) ||
        (s[0] == 0xf0 && s[1] < 0x90) || (s[0] == 0xf4 && s[1] > 0x8f))
        return 0;
    return n;
}

static void put_string(struct rcd_buf *out, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    rcd_buf_puts(out, "\"");
    while (*s != '\0') {
        size_t n = utf8_len(s);
        if (n == 0)
            rcd_buf_puts(out, "\xef\xbf\xbd");
        else if (*s < 0x20 || *s == 0x7f)
            rcd_buf_printf(out, "\\u%04x", *s);
        else if (*s == '"' || *s == '\\')
            rcd_buf_printf(out, "\\%c", *s);
        else
            rcd_buf_append(out, s, n);
        s += n > 0 ? n : 1;
    }
    rcd_buf_puts(out, "\"");
}

rcd_status rcd__error_object(struct rcd_buf *out, const char *text, const char *word)
{
    rcd_buf_puts(out, "{\"error\": ");
    put_string(out, text);
    rcd_buf_puts(out, ", \"code\": ");
    put_string(out, word);
    rcd_buf_puts(out, "}");
    return out->failed ? RCD_ENOMEM : RCD_OK;
}

/* ---- building ------------------------------------------------------------------------------- */

struct MHD_Response *rcd__respond_oom(void)
{
    static char text[] = "{\"error\": \"no memory for the answer\", \"code\": \"out_of_memory\"}";
    struct MHD_Response *r =
        MHD_create_response_from_buffer(sizeof text - 1, text, MHD_RESPMEM_PERSISTENT);
    if (r != NULL)
        MHD_add_response_header(r, "Content-Type", json_type);
    return r;
}

/* Takes the body, also on failure. */
static struct MHD_Response *with_body(struct rcd_buf *body)
{
    static char nothing[] = "";
    if (body == NULL || body->len == 0) {
        if (body != NULL)
            rcd_buf_done(body);
        return MHD_create_response_from_buffer(0, nothing, MHD_RESPMEM_PERSISTENT);
    }
    struct MHD_Response *r =
        MHD_create_response_from_buffer_with_free_callback(body->len, body->data, rcd_free);
    if (r == NULL)
        rcd_buf_done(body);
    else
        *body = (struct rcd_buf){.data = NULL, .max = body->max};
    return r;
}

static void add_header(rcd_http_req *req, struct MHD_Response *r, const char *name,
                       const char *value)
{
    if (MHD_add_response_header(r, name, value) != MHD_YES)
        rcd__log(req->http, LOG_WARNING, "header %s could not be added to an answer", name);
}

static void set_answer(rcd_http_req *req, int status, struct MHD_Response *r)
{
    RCD_ASSERT(!req->answered); /* exactly one answer per request */
    if (r == NULL) {
        r = req->http->oom;
        status = rcd_status_http(RCD_ENOMEM);
    }
    req->response = r;
    req->status = status;
    req->answered = true;
    if (req->held)
        req->http->n_held--;
    req->held = false;
    if (req->suspended) {
        req->next_done = req->http->done;
        req->http->done = req;
        rcd__turn_arm(req->http);
    }
}

void rcd__respond_with(rcd_http_req *req, int status, const char *content_type,
                       const struct rcd_http_header *headers, size_t n_headers,
                       struct MHD_Response *r)
{
    if (r != NULL) {
        add_header(req, r, "X-Request-Id", req->id);
        if (content_type != NULL)
            add_header(req, r, "Content-Type", content_type);
        for (size_t i = 0; i < n_headers; i++)
            add_header(req, r, headers[i].name, headers[i].value);
        if (req->http->quiesced)
            add_header(req, r, "Connection", "close");
    }
    set_answer(req, status, r);
}

void rcd_http_respond(rcd_http_req *req, int status, const char *content_type,
                      const struct rcd_http_header *headers, size_t n_headers, struct rcd_buf *body)
{
    rcd__respond_with(req, status, content_type, headers, n_headers, with_body(body));
}

void rcd__respond_text(rcd_http_req *req, int status, const char *word, const char *text,
                       const struct rcd_http_header *headers, size_t n_headers)
{
    struct rcd_buf body;
    rcd_buf_init(&body, ERROR_OBJECT_MAX);
    if (rcd__error_object(&body, text, word) != RCD_OK) {
        rcd_buf_done(&body);
        set_answer(req, status, NULL);
        return;
    }
    rcd_http_respond(req, status, json_type, headers, n_headers, &body);
}

void rcd_http_respond_error(rcd_http_req *req, rcd_status code, const char *text,
                            unsigned retry_after_s)
{
    char seconds[16];
    snprintf(seconds, sizeof seconds, "%u", retry_after_s);
    const struct rcd_http_header retry = {"Retry-After", seconds};
    rcd__respond_text(req, rcd_status_http(code), rcd_status_word(code), text, &retry,
                      retry_after_s > 0 ? 1 : 0);
}

enum MHD_Result rcd__respond_queue(rcd_http_req *req)
{
    struct MHD_Response *r = req->response;
    struct rcd_http *h = req->http;
    req->response = NULL;
    rcd__conn_phase(req->conn, RCD__PHASE_REPLY);
    enum MHD_Result ret = MHD_queue_response(req->mhd, (unsigned)req->status, r);
    if (r != h->oom)
        MHD_destroy_response(r);
    return ret;
}
