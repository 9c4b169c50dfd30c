/* A server that is freed, or is out of memory, with streams open; tests/http has the wire. */
#include "http/http_int.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(http_stream, .timeout = 400);

enum { PIECE = 1 << 20, MAX = 32 << 20 };

static rcd_http_stream *stream;
static int n_closed;
static size_t pieces; /* to be written by the handler */
static bool fail;

static void on_closed(void *ctx)
{
    cr_assert_eq(ctx, &n_closed);
    n_closed++;
    if (stream == NULL)
        return;
    cr_assert_eq(rcd_http_stream_write(stream, "x", 1), RCD_ECANCELLED); /* still allowed */
    rcd_http_stream_end(stream);
    stream = NULL; /* freed; or a leak, to be found */
}

static void on_stream(void *ctx, rcd_http_req *req)
{
    static char piece[PIECE];
    (void)ctx;
    rcd_fault_after(fail ? 0 : SIZE_MAX);
    stream = rcd_http_stream_begin(req, "text/event-stream", MAX, on_closed, &n_closed);
    rcd_fault_after(SIZE_MAX);
    for (size_t i = 0; stream != NULL && i < pieces; i++)
        cr_assert_eq(rcd_http_stream_write(stream, piece, sizeof piece), RCD_OK);
}

static const struct rcd_route routes[] = {{"GET", "/s", on_stream, 0}};

/* A server with a client whose request was answered. */
static rcd_http *started(uv_loop_t *loop, int *ret_client)
{
    struct rcd_http_opts opts = {.loop = loop,
                                 .limits = {.max_body_bytes = 1000,
                                            .max_head_bytes = 16384,
                                            .max_connections = 8,
                                            .head_timeout_ms = 5000,
                                            .body_timeout_ms = 5000,
                                            .idle_timeout_ms = 5000},
                                 .routes = routes,
                                 .n_routes = 1};
    static const char request[] = "GET /s HTTP/1.1\r\nHost: x\r\n\r\n";
    rcd_http *h = NULL;
    struct rcd_error err;
    cr_assert_eq(uv_loop_init(loop), 0);
    cr_assert_eq(rcd_http_new(&opts, &h, &err), RCD_OK);
    cr_assert_eq(rcd_http_listen(h, "127.0.0.1:0", -1, false, &err), RCD_OK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET,
                            .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)},
                            .sin_port = htons((uint16_t)rcd_http_port(h, 0))};
    cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(send(fd, request, sizeof request - 1, 0), (ssize_t)sizeof request - 1);
    char byte;
    while (recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) != 1)
        uv_run(loop, UV_RUN_ONCE);
    for (int i = 0; i < 3; i++)
        uv_run(loop, UV_RUN_ONCE);
    *ret_client = fd;
    return h;
}

/* The server is freed; what the client then finds, up to the end of the connection. */
static size_t ended(uv_loop_t *loop, rcd_http *h, int client, char *last, size_t last_cap)
{
    cr_assert_null(rcd_http_free(h));
    uv_run(loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(loop), 0);
    static char in[65536];
    size_t total = 0, kept = 0;
    for (ssize_t n; (n = recv(client, in, sizeof in, 0)) > 0; total += (size_t)n) {
        kept = (size_t)n < last_cap ? (size_t)n : last_cap - 1;
        memcpy(last, in + (size_t)n - kept, kept);
    }
    last[kept] = '\0';
    close(client);
    return total;
}

Test(http_stream, freed_while_idle)
{
    uv_loop_t loop;
    int client = -1;
    char last[1024];
    rcd_http *h = started(&loop, &client);
    cr_assert_not_null(stream);
    cr_assert_eq(rcd_http_active(h), 1u);
    cr_assert_eq(n_closed, 0);
    ended(&loop, h, client, last, sizeof last);
    cr_assert_eq(n_closed, 1);
    cr_assert_not_null(strstr(last, "\r\n\r\n0\r\n\r\n")); /* head, then a sound end */
}

Test(http_stream, freed_right_after_a_write)
{
    uv_loop_t loop;
    int client = -1;
    char last[1024];
    rcd_http *h = started(&loop, &client);
    cr_assert_eq(rcd_http_stream_write(stream, "data: 1\n\n", 9), RCD_OK);
    cr_assert_eq(n_closed, 0);
    ended(&loop, h, client, last, sizeof last);
    cr_assert_eq(n_closed, 1);
    cr_assert_not_null(strstr(last, "\r\n9\r\ndata: 1\n\n\r\n"), "%s", last);
}

Test(http_stream, freed_with_a_backlog)
{
    uv_loop_t loop;
    int client = -1;
    char last[16];
    pieces = MAX / PIECE;
    rcd_http *h = started(&loop, &client);
    cr_assert_not_null(stream);
    size_t total = ended(&loop, h, client, last, sizeof last);
    cr_assert_eq(n_closed, 1);
    cr_assert_lt(total, (size_t)MAX); /* nobody waits for the client any more */
}

Test(http_stream, room_comes_back_while_the_client_takes)
{
    uv_loop_t loop;
    int client = -1;
    char last[16];
    static char piece[PIECE], in[65536];
    pieces = MAX / PIECE;
    rcd_http *h = started(&loop, &client);
    for (size_t took = 0; took < 2 * PIECE;) { /* the rest never becomes empty */
        ssize_t n = recv(client, in, sizeof in, MSG_DONTWAIT);
        took += n > 0 ? (size_t)n : 0;
        uv_run(&loop, UV_RUN_NOWAIT);
    }
    cr_assert_eq(rcd_http_stream_write(stream, piece, sizeof piece), RCD_OK);
    cr_assert_eq(n_closed, 0);
    ended(&loop, h, client, last, sizeof last);
    cr_assert_eq(n_closed, 1);
}

Test(http_stream, quiesce_tells_the_writer_before_the_client_has_all)
{
    uv_loop_t loop;
    int client = -1;
    char last[16];
    pieces = MAX / PIECE;
    rcd_http *h = started(&loop, &client);
    rcd_http_quiesce(h);
    cr_assert_eq(n_closed, 0);
    uv_run(&loop, UV_RUN_ONCE);
    uv_run(&loop, UV_RUN_ONCE);
    cr_assert_eq(n_closed, 1);
    cr_assert_eq(rcd_http_active(h), 1u); /* still being sent */
    ended(&loop, h, client, last, sizeof last);
    cr_assert_eq(n_closed, 1);
}

Test(http_stream, too_much_is_cut)
{
    uv_loop_t loop;
    int client = -1;
    char last[16];
    rcd_http *h = started(&loop, &client);
    static char much[MAX + 1];
    cr_assert_eq(rcd_http_stream_write(stream, much, 0), RCD_OK);
    cr_assert_eq(rcd_http_stream_write(stream, much, sizeof much), RCD_ETOOBIG);
    cr_assert_eq(rcd_http_stream_write(stream, "x", 1), RCD_ETOOBIG);
    rcd_http_stream_end(stream);
    cr_assert_eq(n_closed, 0);
    stream = NULL; /* it would say RCD_ETOOBIG in on_closed */
    while (rcd_http_active(h) > 0)
        uv_run(&loop, UV_RUN_ONCE);
    ended(&loop, h, client, last, sizeof last);
    cr_assert_eq(n_closed, 1);
}

Test(http_stream, no_memory_to_begin)
{
    uv_loop_t loop;
    int client = -1;
    char last[1024];
    fail = true;
    rcd_http *h = started(&loop, &client);
    cr_assert_null(stream);
    cr_assert_eq(rcd_http_active(h), 0u);
    ended(&loop, h, client, last, sizeof last);
    cr_assert_eq(n_closed, 0);
    cr_assert_not_null(strstr(last, " 503 "));
    cr_assert_not_null(strstr(last, "out_of_memory"));
}
