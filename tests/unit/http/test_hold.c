/* Requests that are held: answered together, by `settle`, whatever becomes of their connections. */
#include "http/http_int.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <linux/sockios.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

TestSuite(http_hold, .timeout = 400);

enum {
    PATIENCE_MS = 300000
}; /* a busy machine may stop us for seconds, and no limit is tested here */

static uv_loop_t loop;
static rcd_http *server;
static rcd_http_req *held[16], *later;
static size_t n_held, largest, n_over;
static bool put_off; /* the first of those that are held is answered later after all */

static void hold(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    held[n_held++] = req;
    rcd_http_hold(req);
}

static void at_once(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    rcd_http_respond(req, 204, NULL, NULL, 0, NULL);
}

static void settle(void *ctx)
{
    (void)ctx;
    largest = n_held > largest ? n_held : largest;
    if (put_off) {
        put_off = false;
        later = held[--n_held];
        rcd_http_unhold(later);
    }
    while (n_held > 0)
        rcd_http_respond(held[--n_held], 202, NULL, NULL, 0, NULL);
}

static void finished(void *ctx, const rcd_http_req *req, int status, uint64_t ns, bool gone)
{
    (void)ctx;
    (void)req;
    (void)status;
    (void)ns;
    (void)gone;
    n_over++;
}

static const struct rcd_route routes[] = {{"POST", "/hold", hold, 0}, {"POST", "/now", at_once, 0}};

static void start(void)
{
    struct rcd_http_opts opts = {.loop = &loop,
                                 .limits = {.max_body_bytes = 1000,
                                            .max_head_bytes = 16384,
                                            .max_connections = 16,
                                            .head_timeout_ms = PATIENCE_MS,
                                            .body_timeout_ms = PATIENCE_MS,
                                            .idle_timeout_ms = PATIENCE_MS},
                                 .routes = routes,
                                 .n_routes = RCD_COUNT(routes),
                                 .settle = settle,
                                 .finished = finished};
    struct rcd_error err;
    cr_assert_eq(uv_loop_init(&loop), 0);
    cr_assert_eq(rcd_http_new(&opts, &server, &err), RCD_OK);
    cr_assert_eq(rcd_http_listen(server, "127.0.0.1:0", -1, false, &err), RCD_OK);
}

static void end(void)
{
    cr_assert_null(rcd_http_free(server));
    uv_run(&loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(&loop), 0);
}

static int client(void)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)rcd_http_port(server, 0)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    return fd;
}

static void ask(int fd, const char *path)
{
    char text[128];
    int n = snprintf(text, sizeof text,
                     "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}", path);
    cr_assert_eq(send(fd, text, (size_t)n, 0), n);
    for (int left = 1;
         left > 0;) /* on a busy machine the kernel may take its time to carry it over */
        cr_assert_eq(ioctl(fd, SIOCOUTQ, &left), 0);
}

/* Run the loop until so many answers are there; the status of the last. */
static int answers(int fd, size_t want)
{
    char text[4096];
    size_t len = 0;
    for (;;) {
        ssize_t n = recv(fd, text + len, sizeof text - 1 - len, MSG_DONTWAIT);
        cr_assert(n != 0, "the server has closed the connection");
        len += n > 0 ? (size_t)n : 0;
        text[len] = '\0';
        size_t seen = 0;
        const char *last = text;
        for (const char *p = text; (p = strstr(p, "HTTP/1.1 ")) != NULL; p++) {
            last = p;
            seen++;
        }
        if (seen >= want && strstr(last, "\r\n\r\n") != NULL)
            return (int)strtol(last + 9, NULL, 10);
        uv_run(&loop, UV_RUN_ONCE);
    }
}

Test(http_hold, many_are_answered_together)
{
    start();
    int fd[8];
    for (size_t i = 0; i < RCD_COUNT(fd); i++) {
        fd[i] = client();
        ask(fd[i], i == 3 ? "/now" : "/hold");
    }
    for (size_t i = 0; i < RCD_COUNT(fd); i++)
        cr_expect_eq(answers(fd[i], 1), i == 3 ? 204 : 202);
    largest = 0;
    for (size_t i = 0; i < RCD_COUNT(fd); i++)
        ask(fd[i], "/hold");
    for (size_t i = 0; i < RCD_COUNT(fd); i++)
        cr_expect_eq(answers(fd[i], 1), 202);
    cr_expect_geq(largest, 7, "%zu", largest);
    cr_expect_eq(rcd_http_active(server), 0);
    for (size_t i = 0; i < RCD_COUNT(fd); i++)
        close(fd[i]);
    end();
}

Test(http_hold, pipelined_requests_are_answered_in_order)
{
    start();
    int fd = client();
    ask(fd, "/hold");
    ask(fd, "/now");
    ask(fd, "/hold");
    ask(fd, "/now");
    cr_expect_eq(answers(fd, 4), 204);
    close(fd);
    end();
}

Test(http_hold, one_is_answered_later_after_all)
{
    start();
    int fd[3];
    put_off = true;
    for (size_t i = 0; i < RCD_COUNT(fd); i++) {
        fd[i] = client();
        ask(fd[i], "/hold");
    }
    ask(fd[0], "/hold"); /* pipelined: must not overtake */
    ask(fd[1], "/hold");
    ask(fd[2], "/hold");
    while (n_over < 4)
        uv_run(&loop, UV_RUN_ONCE);
    for (int i = 0; i < 200; i++)
        uv_run(&loop, UV_RUN_NOWAIT);
    cr_assert_not_null(later);
    cr_expect_eq(n_over, 4, "%zu: the others have both answers, this one none", n_over);
    cr_expect_eq(rcd_http_active(server), 1);
    rcd_http_respond(later, 201, NULL, NULL, 0, NULL);
    for (size_t i = 0; i < RCD_COUNT(fd); i++)
        cr_expect_eq(answers(fd[i], 2), 202);
    cr_expect_eq(n_over, 6, "%zu", n_over);
    for (size_t i = 0; i < RCD_COUNT(fd); i++)
        close(fd[i]);
    end();
}

Test(http_hold, a_broken_connection_does_no_harm)
{
    start();
    int other = client();
    for (int i = 0; i < 20; i++) {
        struct linger at_once_gone = {.l_onoff = 1, .l_linger = 0};
        int fd = client();
        ask(fd, "/hold");
        ask(other, "/hold");
        while (n_held == 0)
            uv_run(&loop, UV_RUN_ONCE);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once_gone, sizeof at_once_gone);
        close(fd); /* a reset, while it is held */
        cr_expect_eq(answers(other, 1), 202);
    }
    while (n_over < 40)
        uv_run(&loop, UV_RUN_ONCE);
    close(other);
    end();
}

Test(http_hold, the_end_answers_what_is_held)
{
    start();
    int fd = client();
    ask(fd, "/hold");
    while (n_held == 0)
        uv_run(&loop, UV_RUN_ONCE);
    end();
    cr_expect_eq(n_held, 0);
    cr_expect_eq(n_over, 1);
    char text[512];
    ssize_t n = recv(fd, text, sizeof text - 1, 0);
    cr_assert_gt(n, 0);
    text[n] = '\0';
    cr_expect_not_null(strstr(text, "HTTP/1.1 202"));
    close(fd);
}
