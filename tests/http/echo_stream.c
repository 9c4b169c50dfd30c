/* echo_stream.c - streams of numbered events, and what became of them. */
#include "echo_stream.h"

#include <stdlib.h>
#include <string.h>

struct feed {
    uv_timer_t timer;
    rcd_http_req *req; /* until the stream has begun */
    rcd_http_stream *stream;
    size_t n, sent, size, max, burst;
    uint64_t ms;
    bool fail_begin, fail_write;
};

static struct {
    size_t begun, closed, too_slow, cancelled, no_memory, written;
} count;
static bool inside; /* one of the functions that must not call `closed` */

static size_t number(const rcd_http_req *req, const char *name, size_t otherwise)
{
    const char *text = rcd_http_query(req, name);
    return text != NULL ? strtoul(text, NULL, 10) : otherwise;
}

static void on_timer_closed(uv_handle_t *timer)
{
    free(timer->data);
}

static void on_closed(void *ctx)
{
    struct feed *f = ctx;
    if (inside)
        abort();
    count.closed++;
    f->stream = NULL;
    uv_close((uv_handle_t *)&f->timer, on_timer_closed);
}

static void note_failure(rcd_status st)
{
    if (st == RCD_ETOOBIG)
        count.too_slow++;
    else if (st == RCD_ECANCELLED)
        count.cancelled++;
    else if (st == RCD_ENOMEM)
        count.no_memory++;
    else
        abort();
}

static rcd_status write_event(struct feed *f)
{
    char text[65536];
    int head = snprintf(text, sizeof text, "data: %zu", f->sent);
    size_t len = (size_t)head;
    if (f->size > len + 2 && f->size <= sizeof text) {
        memset(text + len, '.', f->size - len - 2);
        len = f->size - 2;
    }
    memcpy(text + len, "\n\n", 2);
    rcd_status st = rcd_http_stream_write(f->stream, text, len + 2);
    if (st == RCD_OK) {
        f->sent++;
        count.written += len + 2;
    }
    return st;
}

static void begin(struct feed *f)
{
    rcd_http_req *req = f->req;
    f->req = NULL;
    inside = true;
    if (f->fail_begin)
        rcd_fault_after(0);
    f->stream = rcd_http_stream_begin(req, "text/event-stream", f->max, on_closed, f);
    rcd_fault_after(SIZE_MAX);
    inside = false;
    if (f->stream == NULL)
        uv_close((uv_handle_t *)&f->timer, on_timer_closed);
    else
        count.begun++;
}

static void on_timer(uv_timer_t *timer)
{
    struct feed *f = timer->data;
    if (f->req != NULL) {
        begin(f);
        if (f->stream == NULL)
            return;
    }
    inside = true;
    rcd_status st = RCD_OK;
    for (size_t i = 0; i < f->burst && f->sent < f->n && st == RCD_OK; i++) {
        if (f->fail_write)
            rcd_fault_after(0);
        st = write_event(f);
        rcd_fault_after(SIZE_MAX);
    }
    if (st != RCD_OK)
        note_failure(st);
    if (st != RCD_OK || f->sent == f->n) {
        uv_timer_stop(&f->timer);
        rcd_http_stream_end(f->stream); /* harmless after a failure */
    }
    inside = false;
}

void echo_stream_begin(uv_loop_t *loop, rcd_http_req *req)
{
    struct feed *f = calloc(1, sizeof *f);
    if (f == NULL)
        abort();
    const char *fail = rcd_http_query(req, "fail");
    f->req = req;
    f->n = number(req, "n", SIZE_MAX);
    f->ms = number(req, "ms", 10);
    f->size = number(req, "size", 0);
    f->max = number(req, "max", 65536);
    f->burst = number(req, "burst", 1);
    f->fail_begin = fail != NULL && strcmp(fail, "begin") == 0;
    f->fail_write = fail != NULL && strcmp(fail, "write") == 0;
    size_t later = number(req, "later", 0);
    uv_timer_init(loop, &f->timer);
    f->timer.data = f;
    uv_timer_start(&f->timer, on_timer, later > 0 ? later : f->ms, f->ms);
    if (later == 0)
        begin(f);
}

void echo_stream_report(rcd_http_req *req)
{
    struct rcd_buf out;
    rcd_buf_init(&out, 65536);
    rcd_buf_printf(&out,
                   "{\"begun\": %zu, \"closed\": %zu, \"too_slow\": %zu, \"cancelled\": %zu, "
                   "\"no_memory\": %zu, \"written\": %zu}",
                   count.begun, count.closed, count.too_slow, count.cancelled, count.no_memory,
                   count.written);
    rcd_http_respond(req, 200, "application/json", NULL, 0, &out);
}

bool echo_stream_balanced(void)
{
    return count.begun == count.closed;
}
