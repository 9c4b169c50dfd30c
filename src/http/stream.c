/* stream.c - answers that are written piece by piece (server-sent events).
 *
 * What the handler writes waits in a bounded buffer; libmicrohttpd fetches it with a content
 * reader. When the buffer is empty the reader suspends the connection, so an idle stream costs
 * nothing, and the next turn of the loop (turn.c) resumes all streams that got bytes and runs MHD
 * once for all of them. While suspended MHD does not notice a client that leaves: the tick does.
 *
 * A stream ends in one of two ways. Ended (by its writer, or by the draining server): the reader
 * reports the end after what is buffered. Cut (client gone, too slow, no memory): the socket is
 * shut down, and the reader reports an error lest a truncated answer looks whole.
 *
 * `closed` is called after MHD_run and never from inside it or from the functions here, so that it
 * may use any other request or stream. The stream is freed when it was called and the request is
 * over. */
#include "http_int.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>

enum {
    BLOCK = 4096,       /* of MHD's buffer for clients of HTTP/1.0 */
    KEEP_EMPTY = 16384, /* an emptied buffer larger than this is given back */
};

struct rcd_http_stream {
    struct rcd_http *http;
    rcd_http_req *req;            /* NULL once it is over */
    rcd_http_stream *prev, *next; /* the open ones; `next` also links those that are over */
    rcd_http_stream *next_stirred;
    void (*closed)(void *ctx);
    void *ctx;
    struct rcd_buf bytes; /* at most max_buffered of them */
    size_t taken;         /* of `bytes`, by MHD */
    bool head_only, suspended, stirred, ended, cut, too_slow, told;
};

/* ---- what MHD calls ------------------------------------------------------------------------- */

/* While a stream lives the client must take each piece in time; once it has ended, all the rest. */
static void restart_deadline(rcd_http_stream *s)
{
    if (s->req->conn->phase == RCD__PHASE_REPLY)
        rcd__conn_phase(s->req->conn, RCD__PHASE_REPLY);
}

static ssize_t take(rcd_http_stream *s, char *out, size_t max)
{
    size_t waiting = s->bytes.len - s->taken;
    size_t n = waiting < max ? waiting : max;
    memcpy(out, s->bytes.data + s->taken, n);
    s->taken += n;
    if (n == waiting) {
        s->taken = s->bytes.len = 0;
        if (s->bytes.cap > KEEP_EMPTY)
            rcd_buf_done(&s->bytes);
    }
    if (!s->ended)
        restart_deadline(s);
    return (ssize_t)n;
}

static ssize_t reader(void *cls, uint64_t pos, char *out, size_t max)
{
    rcd_http_stream *s = cls;
    (void)pos;
    if (s->suspended)
        return 0; /* MHD does not check, and suspending twice would corrupt its lists */
    if (s->cut) {
        s->http->mute_log = true; /* MHD reports it as an error of ours */
        return MHD_CONTENT_READER_END_WITH_ERROR;
    }
    if (s->bytes.len > s->taken)
        return take(s, out, max);
    if (s->ended)
        return MHD_CONTENT_READER_END_OF_STREAM;
    s->suspended = true;
    MHD_suspend_connection(s->req->mhd);
    return 0;
}

void rcd__stream_over(rcd_http_stream *s)
{
    struct rcd_http *h = s->http;
    RCD_ASSERT(!s->suspended && !s->stirred);
    if (s->prev != NULL)
        s->prev->next = s->next;
    else
        h->streams = s->next;
    if (s->next != NULL)
        s->next->prev = s->prev;
    rcd_buf_done(&s->bytes);
    s->req = NULL;
    s->prev = NULL;
    s->next = h->streams_over;
    h->streams_over = s;
}

/* ---- turns and ticks ------------------------------------------------------------------------ */

/* The reader has something to say: let MHD ask it in this or the next turn. */
static void stir(rcd_http_stream *s)
{
    struct rcd_http *h = s->http;
    if (s->suspended && !s->stirred) {
        s->stirred = true;
        s->next_stirred = h->streams_stirred;
        h->streams_stirred = s;
    }
    rcd__turn_arm(h);
}

static void end(rcd_http_stream *s)
{
    s->ended = true;
    restart_deadline(s);
    stir(s);
}

static void cut(rcd_http_stream *s)
{
    s->cut = true;
    s->req->conn->killed = true;
    shutdown(s->req->conn->fd, SHUT_RDWR); /* MHD may be waiting for the socket, not for us */
    stir(s);
}

static void tell(rcd_http_stream *s)
{
    if (s->told)
        return;
    s->told = true;
    s->closed(s->ctx);
}

void rcd__streams_resume(struct rcd_http *h)
{
    if (h->quiesced)
        for (rcd_http_stream *s = h->streams; s != NULL; s = s->next)
            if (!s->ended && !s->cut)
                end(s);
    while (h->streams_stirred != NULL) {
        rcd_http_stream *s = h->streams_stirred;
        h->streams_stirred = s->next_stirred;
        s->stirred = s->suspended = false;
        MHD_resume_connection(s->req->mhd);
    }
}

void rcd__streams_tell(struct rcd_http *h)
{
    while (h->streams_over != NULL) {
        rcd_http_stream *s = h->streams_over;
        h->streams_over = s->next;
        tell(s);
        rcd_free(s);
    }
    if (h->quiesced) /* the writer can let go now, even if the client takes the rest slowly */
        for (rcd_http_stream *s = h->streams; s != NULL; s = s->next)
            if (s->ended)
                tell(s);
}

/* Not rcd_http_peer_gone: a request that the client sent ahead would hide its leave. */
static bool peer_left(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0;
}

void rcd__streams_tick(struct rcd_http *h)
{
    for (rcd_http_stream *s = h->streams; s != NULL; s = s->next) {
        if (s->ended || s->cut || !peer_left(s->req->conn->fd))
            continue; /* who half-closes may still take what is left of an ended stream */
        s->req->client_gone = true;
        cut(s);
    }
}

bool rcd__stream_idle(const rcd_http_stream *s)
{
    return s->suspended;
}

/* ---- what the writer calls ------------------------------------------------------------------ */

static struct MHD_Response *response_new(rcd_http_stream *s)
{
    struct MHD_Response *r =
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK, reader, s, NULL);
    /* MHD 0.9.75 would send the last chunk of a chunked body also for HEAD. */
    if (r != NULL && s->head_only)
        MHD_set_response_options(r, MHD_RF_HTTP_1_0_COMPATIBLE_STRICT, MHD_RO_END);
    return r;
}

rcd_http_stream *rcd_http_stream_begin(rcd_http_req *req, const char *content_type,
                                       size_t max_buffered, void (*closed)(void *ctx), void *ctx)
{
    static const struct rcd_http_header no_store = {"Cache-Control", "no-store"};
    struct rcd_http *h = req->http;
    rcd_http_stream *s = rcd_calloc(1, sizeof *s);
    struct MHD_Response *r = NULL;
    if (s != NULL) {
        s->head_only = strcmp(req->method, "HEAD") == 0;
        r = response_new(s);
    }
    rcd__respond_with(req, 200, content_type, &no_store, 1, r);
    if (r == NULL) {
        rcd_free(s);
        return NULL;
    }
    s->http = h;
    s->req = req;
    s->closed = closed;
    s->ctx = ctx;
    rcd_buf_init(&s->bytes, max_buffered);
    s->next = h->streams;
    if (s->next != NULL)
        s->next->prev = s;
    h->streams = s;
    req->stream = s;
    rcd__turn_arm(h);
    return s;
}

static rcd_status append(rcd_http_stream *s, const void *bytes, size_t len)
{
    struct rcd_buf *b = &s->bytes;
    if (s->taken > 0 && len > b->cap - b->len) {
        memmove(b->data, b->data + s->taken, b->len - s->taken);
        b->len -= s->taken;
        s->taken = 0;
    }
    return rcd_buf_append(b, bytes, len);
}

rcd_status rcd_http_stream_write(rcd_http_stream *s, const void *bytes, size_t len)
{
    if (s->req == NULL || s->ended || s->cut)
        return s->too_slow ? RCD_ETOOBIG : RCD_ECANCELLED;
    if (s->head_only || len == 0)
        return RCD_OK;
    rcd_status st = append(s, bytes, len);
    if (st == RCD_OK) {
        stir(s);
        return RCD_OK;
    }
    /* A reset tells the client of HTTP/1.0 too, and frees what the kernel holds for it. */
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(s->req->conn->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    s->too_slow = st == RCD_ETOOBIG;
    cut(s);
    return st;
}

size_t rcd_http_stream_waiting(const rcd_http_stream *s)
{
    return s->bytes.len - s->taken;
}

void rcd_http_stream_end(rcd_http_stream *s)
{
    if (s->req != NULL && !s->ended && !s->cut)
        end(s);
}
