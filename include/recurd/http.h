/* http.h - HTTP/1.1 on the libuv loop (libmicrohttpd inside); route table; knows no models. */
#pragma once
#include "recurd/base.h"

struct uv_loop_s;

typedef struct rcd_http rcd_http;         /* a server: listeners and connections */
typedef struct rcd_http_req rcd_http_req; /* one request, from its head to its sent answer */

struct rcd_http_limits {
    size_t max_body_bytes;    /* as uploaded and as inflated */
    size_t max_head_bytes;    /* pool per connection: memory per live connection */
    unsigned max_connections; /* of all listeners; more clients wait in the kernel's backlog */
    unsigned head_timeout_ms; /* whole head, from accept or from its first byte */
    unsigned body_timeout_ms; /* whole body; also for the client to take the whole answer */
    unsigned body_min_rate;   /* bytes per second once 5 s have passed; 0: no floor */
    unsigned idle_timeout_ms; /* keep-alive */
    bool allow_chunked;       /* false: 411 */
};

/** Handles a complete request on the loop thread. It answers now or later (rcd_http_respond); until
 * then the connection is suspended and `req` stays valid. Or it calls rcd_http_hold. */
typedef void rcd_http_handler(void *ctx, rcd_http_req *req);

typedef enum rcd_route_flags {
    RCD_ROUTE_ADMIN = 1, /* only on listeners that allow administration */
    RCD_ROUTE_INFER = 2, /* body may be compressed (Content-Encoding is left to the handler) */
} rcd_route_flags;

/** `pattern` segments: literal, or {name} for one percent-decoded, non-empty segment. GET routes
 * serve HEAD. Where several fit, the one with literals further left is taken. One trailing slash of
 * a request's path is ignored. */
struct rcd_route {
    const char *method;
    const char *pattern;
    rcd_http_handler *handler;
    unsigned flags;
};

struct rcd_http_opts {
    struct uv_loop_s *loop; /* [borrowed] */
    struct rcd_http_limits limits;
    const struct rcd_route *routes; /* [borrowed] */
    size_t n_routes;
    void *ctx; /* given to handlers and to the hooks below */
    /** Head is known, body not yet read: return RCD_OK, or a refusal (429, 503 ...; `err` text,
     * *retry_after_s > 0 adds Retry-After). A body of up to 64 KiB is then read and dropped, so
     * that the client keeps its connection; otherwise the answer goes out at once and the
     * connection ends. Must not answer by itself. May be NULL. */
    rcd_status (*admit)(void *ctx, rcd_http_req *req, unsigned *retry_after_s,
                        struct rcd_error *err);
    /** Request is over (answer sent or client gone); for counters and the access log. Also for
     * requests that reached no handler (rcd_http_route may be NULL). http_status is 499 when there
     * was no answer. A client that half-closes while it waits may count as gone. May be NULL. */
    void (*finished)(void *ctx, const rcd_http_req *req, int http_status, uint64_t total_ns,
                     bool client_gone);
    /** Every request that was held has to be answered in here. Comes after all that was readable has
     * been read, before anything else happens to a connection. NULL: nothing is held. */
    void (*settle)(void *ctx);
    void (*log)(void *ctx, int priority, const char *text); /* syslog priorities */
};

/** A server without listeners. The process must ignore SIGPIPE. RCD_EINVAL for a faulty route table
 * (a pattern given twice), RCD_ENOMEM, RCD_EIO. Threading: loop thread (all calls unless said). */
RCD_MUST_CHECK rcd_status rcd_http_new(const struct rcd_http_opts *opts, rcd_http **ret_http,
                                       struct rcd_error *err);
/** Listen on "ADDR:PORT" (numeric or localhost; "[::1]:8000", "unix:/path") or on an inherited
 * descriptor (listen_fd >= 0: taken on success; `address` is then only a name for messages);
 * port 0 takes a free one. RCD_EINVAL for bad text, RCD_EIO naming address and reason.
 * May be called again for more listeners. */
RCD_MUST_CHECK rcd_status rcd_http_listen(rcd_http *h, const char *address, int listen_fd,
                                          bool allow_admin, struct rcd_error *err);
/** Port of the i-th listener (0 for unix sockets). */
unsigned rcd_http_port(const rcd_http *h, size_t i);
/** Stop accepting; answers from now on say Connection: close. */
void rcd_http_quiesce(rcd_http *h);
/** Requests whose head was read and whose answer is not yet sent, and open connections. */
size_t rcd_http_active(const rcd_http *h);
size_t rcd_http_connections(const rcd_http *h);
/** Every pending request must have been answered (asserted). Connections are closed; requests that
 * come up meanwhile get 503. Closes handles on the loop: run the loop until they are closed, which
 * also frees `h`. Call it from a loop callback or outside uv_run, never from a handler. NULL is
 * fine; returns NULL. */
rcd_http *rcd_http_free(rcd_http *h);

/* ---- a request ------------------------------------------------------------------------- */
const char *rcd_http_method(const rcd_http_req *req);
const char *rcd_http_path(const rcd_http_req *req);
/** Value of the pattern's {name}, percent-decoded; NULL if the pattern has none. */
const char *rcd_http_segment(const rcd_http_req *req, const char *name);
/** First header of that name (case-insensitive), or NULL. Valid until answered. */
const char *rcd_http_header(const rcd_http_req *req, const char *name);
const char *rcd_http_query(const rcd_http_req *req, const char *name);
/** The body as uploaded; valid until the request is over. Threading: any while pending. */
const char *rcd_http_body(const rcd_http_req *req, size_t *ret_len);
/** Request id: X-Request-Id if it was sane, else made here; also in the answer and the log. */
const char *rcd_http_id(const rcd_http_req *req);
const struct rcd_route *rcd_http_route(const rcd_http_req *req);
/** Memory that lives as long as the request. */
struct rcd_arena *rcd_http_arena(rcd_http_req *req);
/** Monotonic ns at which the head was seen. */
uint64_t rcd_http_started_ns(const rcd_http_req *req);
/** Has the client closed? A peek on the socket. Threading: any thread while pending. */
bool rcd_http_peer_gone(const rcd_http_req *req);

struct rcd_http_header {
    const char *name, *value;
};
/** The answer. `body` is taken (buffer emptied); may be NULL. Content-Length is always sent.
 * content_type NULL: none. Exactly once per request; inside the handler `req` stays valid until the
 * handler returns, outside it until the loop's next turn, so do not use it after this call. */
void rcd_http_respond(rcd_http_req *req, int status, const char *content_type,
                      const struct rcd_http_header *headers, size_t n_headers,
                      struct rcd_buf *body);
/** Error object {"error": text, "code": word}; retry_after_s > 0 adds the header. */
void rcd_http_respond_error(rcd_http_req *req, rcd_status code, const char *text,
                            unsigned retry_after_s);

/** From the handler, instead of an answer: it will be given in the next `settle` at the latest. Costs
 * less than a suspended connection. */
void rcd_http_hold(rcd_http_req *req);
/** From `settle`, for a request that was held: it will be answered later after all. */
void rcd_http_unhold(rcd_http_req *req);

/* ---- an answer in pieces ------------------------------------------------------------------ */
typedef struct rcd_http_stream rcd_http_stream;
/** Answer `req` with status 200 and a body that is written piece by piece (chunked for HTTP/1.1,
 * until close for 1.0), not to be stored by caches. Instead of rcd_http_respond, with the same rule
 * for `req`; once per request. A HEAD request gets the head only. At most `max_buffered` bytes wait
 * for the client; each piece must be taken within body_timeout_ms, and all of them once the stream
 * has ended. An idle stream has no deadline and counts as an active request.
 * `closed` is called on the loop exactly once: when the client left or was too slow, when the
 * stream was ended and sent, or when the server quiesces or is freed (which ends all streams; what
 * is buffered is still sent). It is never called from inside the functions here. In it other
 * streams and requests may be used, after it the stream must not. Returns NULL without memory (a
 * 503 was answered; `closed` is not called). */
rcd_http_stream *rcd_http_stream_begin(rcd_http_req *req, const char *content_type,
                                       size_t max_buffered, void (*closed)(void *ctx), void *ctx);
/** Append bytes; they go out in the loop's next turn. RCD_ETOOBIG: the client is too slow and
 * more than max_buffered bytes would wait; RCD_ENOMEM: no memory for them. Then the stream is cut.
 * RCD_ECANCELLED: it has ended already. After any of them `closed` comes from the loop. */
rcd_status rcd_http_stream_write(rcd_http_stream *s, const void *bytes, size_t len);
/** Bytes that wait for the client. */
size_t rcd_http_stream_waiting(const rcd_http_stream *s);
/** No more bytes: the answer ends after what is buffered. */
void rcd_http_stream_end(rcd_http_stream *s);

/* ---- content coding (zlib) ---------------------------------------------------------------- */
typedef enum rcd_coding { RCD_CODING_IDENTITY, RCD_CODING_GZIP, RCD_CODING_DEFLATE } rcd_coding;
/** Of a Content-Encoding header: false when unknown (415). NULL or "" is identity. */
bool rcd_coding_parse(const char *content_encoding, rcd_coding *ret);
/** Best of an Accept-Encoding header by q, first wins ties, identity when nothing fits. */
rcd_coding rcd_coding_choose(const char *accept_encoding);
const char *rcd_coding_name(rcd_coding c);
/** Inflate gzip or zlib; RCD_ETOOBIG beyond out->max or a ratio over `max_ratio`, RCD_EINVAL for
 * damaged or truncated data and trailing bytes. Threading: any thread. */
RCD_MUST_CHECK rcd_status rcd_inflate(const char *in, size_t len, unsigned max_ratio,
                                      struct rcd_buf *out, struct rcd_error *err);
/** gzip, or zlib for deflate. Threading: any thread. */
RCD_MUST_CHECK rcd_status rcd_deflate(rcd_coding c, const char *in, size_t len, struct rcd_buf *out,
                                      struct rcd_error *err);
