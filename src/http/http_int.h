/* http_int.h - what the files of http/ share: server, connection, request, router, framing guard.
 *
 * One MHD daemon without a listen socket serves every listener: we accept ourselves (accept.c) and
 * hand the descriptor over, so the connection limit, the administration flag and the deadlines are
 * ours. Everything runs on the loop thread. */
#pragma once
#include "recurd/http.h"

#include <microhttpd.h>
#include <uv.h>

enum {
    RCD__SEGMENTS = 16,      /* most path segments a route or a request may have */
    RCD__ID_CAP = 65,        /* request id with its NUL */
    RCD__METHOD_CAP = 16,    /* longer methods match no route */
    RCD__TICK_MS = 100,      /* house-keeping: deadlines, and what MHD forgets to do */
    RCD__DISCARD_MAX = 65536 /* refused bodies up to this are read, to keep the connection */
};

/* ---- router.c (pure) ------------------------------------------------------------------------ */

struct rcd__path {
    unsigned n;
    const char *seg[RCD__SEGMENTS]; /* percent-decoded, NUL-terminated */
};
struct rcd__router;

/** Split and decode the path `raw` into `scratch` (strlen(raw) + 1 bytes). RCD_EINVAL for a bad
 * escape, a decoded control byte; RCD_ENOTFOUND for more segments than any route has. */
rcd_status rcd__path_split(const char *raw, char *scratch, struct rcd__path *ret,
                           struct rcd_error *err);
rcd_status rcd__router_new(const struct rcd_route *routes, size_t n, struct rcd__router **ret,
                           struct rcd_error *err);
void rcd__router_free(struct rcd__router *r);
/** The route for method and path (HEAD finds GET routes), most literal first. NULL: RCD_EMETHOD
 * with the list for the Allow header in `allow`, or RCD_ENOTFOUND, in *ret_why. */
const struct rcd_route *rcd__router_find(const struct rcd__router *r, const char *method,
                                         const struct rcd__path *path, rcd_status *ret_why,
                                         char *allow, size_t allow_cap);
/** The value of {name} in `route` for `path`; NULL when it has none. */
const char *rcd__router_segment(const struct rcd__router *r, const struct rcd_route *route,
                                const struct rcd__path *path, const char *name);

/* ---- guard.c (pure) ------------------------------------------------------------------------- */

/** Collects what frames a request; zero-initialised, then one call per header. */
struct rcd__guard {
    const char *why; /* first fault found; NULL: none */
    unsigned hosts, lengths, codings;
    bool chunked, expect;
    uint64_t length; /* of Content-Length */
};
void rcd__guard_header(struct rcd__guard *g, const char *name, size_t name_len, const char *value,
                       size_t value_len);
/** After the last header: NULL when the framing is sound, else the reason for a 400. */
const char *rcd__guard_verdict(struct rcd__guard *g, const char *version);

/* ---- request_id.c --------------------------------------------------------------------------- */

struct rcd__id_source {
    unsigned char random[1024]; /* one getrandom call serves 64 ids */
    size_t left;
};
bool rcd__id_sane(const char *text);
void rcd__id_make(struct rcd__id_source *src, char out[RCD__ID_CAP]);

/* ---- connections ---------------------------------------------------------------------------- */

typedef enum rcd__phase {
    RCD__PHASE_NEW,  /* accepted, no request line yet */
    RCD__PHASE_IDLE, /* keep-alive, between requests */
    RCD__PHASE_HEAD, /* request line seen */
    RCD__PHASE_BODY,
    RCD__PHASE_HANDLER, /* the answer is ours to give: no deadline here */
    RCD__PHASE_REPLY
} rcd__phase;

struct rcd__conn {
    struct rcd_http *http;
    struct rcd__conn *prev, *next; /* the server's table */
    rcd_http_req *req;
    uint64_t since_ns;  /* when the phase began */
    uint64_t rx_mark;   /* bytes received when first seen idle; 0: not yet */
    const char *target; /* request line's, in MHD's memory; to compare only */
    int fd;
    rcd__phase phase;
    bool admin;      /* came in by a listener that allows administration */
    bool bad_target; /* request line held a space or control byte */
    bool killed;
};

struct rcd__listener {
    struct rcd__listener *next;
    struct rcd_http *http;
    uv_poll_t poll;
    int fd;
    unsigned port;
    bool admin, is_unix;
    char *path; /* of a unix socket that we made; NULL otherwise */
};

struct rcd__lingerer {
    int fd;
    uint64_t until_ns;
};
enum { RCD__LINGERERS = 64 };

struct rcd_http {
    struct rcd_http_opts opts;
    struct MHD_Daemon *mhd;
    struct rcd__router *router;
    struct MHD_Response *oom; /* 503, made in advance */
    uv_poll_t poll;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t tick;
    struct rcd__listener *listeners; /* in order of rcd_http_listen */
    struct rcd__conn *conns;
    size_t n_conns, n_active, n_pending, n_held;
    rcd_http_req *spare; /* for the next requests */
    size_t n_spare;
    uint64_t turn_ns;    /* when this turn began: time enough for deadlines */
    rcd_http_req *done;  /* answered while suspended, to be resumed by the next turn */
    rcd_http_req *fresh; /* head seen during this MHD_run */
    rcd_http_stream *streams, *streams_stirred, *streams_over; /* open; to be resumed; ended */
    struct rcd__id_source ids;
    struct rcd__lingerer linger[RCD__LINGERERS];
    size_t n_linger;
    uint64_t log_window_ns;
    unsigned log_lines, log_dropped, open_handles;
    bool want_run, quiesced, stopping, accept_paused, mute_log;
    bool settling; /* only answers that are there may move on: handlers are not called */
    struct rcd__listener *accepting; /* whose connection MHD is being given */
};

struct rcd_http_req {
    struct rcd_http *http;
    struct rcd__conn *conn;
    struct MHD_Connection *mhd;
    const struct rcd_route *route;
    rcd_http_req *next_done, *next_fresh;
    struct MHD_Response *response;
    rcd_http_stream *stream; /* NULL: an ordinary answer */
    uint64_t started_ns, suspended_ns;
    struct rcd_arena arena;
    struct rcd_buf body;
    struct rcd__path path;
    int status;
    bool answered, hold, held, suspended, complete, refused, client_gone;
    char id[RCD__ID_CAP];
    char method[RCD__METHOD_CAP];
    size_t text_cap;
    char text[]; /* the path as sent, then its decoded segments */
};

/* ---- calls between the files ---------------------------------------------------------------- */

/* server.c */
/** One handle on the loop is closed; the last one frees the server. */
void rcd__http_handle_gone(struct rcd_http *h);

/* log.c */
void rcd__log(struct rcd_http *h, int priority, const char *fmt, ...) RCD_PRINTF(3, 4);
void rcd__log_mhd(void *cls, const char *fmt, va_list args) RCD_PRINTF(2, 0);
void rcd__log_panic_to(struct rcd_http *h);
void rcd__log_tick(struct rcd_http *h, uint64_t now);

/* turn.c */
rcd_status rcd__turn_start(struct rcd_http *h, struct rcd_error *err);
void rcd__turn_arm(struct rcd_http *h);
void rcd__turn_run(struct rcd_http *h);
void rcd__turn_stop(struct rcd_http *h);

/* accept.c */
void rcd__accept_pause(struct rcd_http *h);
void rcd__accept_resume(struct rcd_http *h);
void rcd__accept_close(struct rcd_http *h);

/* connections.c */
void rcd__conn_notify(void *cls, struct MHD_Connection *mhd, void **socket_context,
                      enum MHD_ConnectionNotificationCode toe);
void *rcd__conn_request_line(void *cls, const char *target, struct MHD_Connection *mhd);
struct rcd__conn *rcd__conn_of(struct MHD_Connection *mhd);
void rcd__conn_phase(struct rcd__conn *c, rcd__phase phase);
void rcd__conn_tick(struct rcd_http *h, uint64_t now);
/** Send a bare answer by hand; the connection is to end (MHD takes no answer inside a body). */
void rcd__conn_last_words(struct rcd__conn *c, int status, const char *reason, const char *word,
                          const char *text);

/* linger.c: keep reading for a while after a refusal, lest the reset destroys the answer */
void rcd__linger_add(struct rcd_http *h, int fd);
void rcd__linger_tick(struct rcd_http *h, uint64_t now);
void rcd__linger_close(struct rcd_http *h);

/* request.c */
void rcd__request_spare_free(struct rcd_http *h);
enum MHD_Result rcd__request_call(void *cls, struct MHD_Connection *mhd, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **con_cls);
void rcd__request_over(void *cls, struct MHD_Connection *mhd, void **con_cls,
                       enum MHD_RequestTerminationCode toe);
size_t rcd__unescape(void *cls, struct MHD_Connection *mhd, char *text);

/* stream.c */
/** Before MHD runs: resume the streams that have something to send; end all when draining. */
void rcd__streams_resume(struct rcd_http *h);
/** After MHD ran: tell the writers of those that are over. */
void rcd__streams_tell(struct rcd_http *h);
void rcd__streams_tick(struct rcd_http *h);
/** The request is over; its stream is freed when the writer was told. */
void rcd__stream_over(rcd_http_stream *s);
/** Nothing is left to be taken by the client: no deadline. */
bool rcd__stream_idle(const rcd_http_stream *s);

/* respond.c */
/** Answer with `r` (taken) and the common headers; NULL: no memory, 503. */
void rcd__respond_with(rcd_http_req *req, int status, const char *content_type,
                       const struct rcd_http_header *headers, size_t n_headers,
                       struct MHD_Response *r);
void rcd__respond_text(rcd_http_req *req, int status, const char *word, const char *text,
                       const struct rcd_http_header *headers, size_t n_headers);
/** Write {"error": text, "code": word}; invalid UTF-8 becomes U+FFFD. */
rcd_status rcd__error_object(struct rcd_buf *out, const char *text, const char *word);
struct MHD_Response *rcd__respond_oom(void);
enum MHD_Result rcd__respond_queue(rcd_http_req *req);
