/* The server's own life and its addresses, without a client; tests/http has the wire. */
#include "http/http_int.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

TestSuite(http_server, .timeout = 400);

static void nothing(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    (void)req;
}

static const struct rcd_route routes[] = {{"GET", "/a", nothing, 0}};

static struct rcd_http_opts options(uv_loop_t *loop)
{
    return (struct rcd_http_opts){.loop = loop,
                                  .limits = {.max_body_bytes = 1000,
                                             .max_head_bytes = 16384,
                                             .max_connections = 8,
                                             .head_timeout_ms = 1000,
                                             .body_timeout_ms = 1000,
                                             .idle_timeout_ms = 1000},
                                  .routes = routes,
                                  .n_routes = 1};
}

static rcd_http *started(uv_loop_t *loop)
{
    struct rcd_http_opts opts = options(loop);
    rcd_http *h = NULL;
    struct rcd_error err;
    cr_assert_eq(uv_loop_init(loop), 0);
    cr_assert_eq(rcd_http_new(&opts, &h, &err), RCD_OK);
    return h;
}

static void ended(uv_loop_t *loop, rcd_http *h)
{
    cr_assert_null(rcd_http_free(h));
    uv_run(loop, UV_RUN_DEFAULT);
    cr_assert_eq(uv_loop_close(loop), 0);
}

Test(http_server, starts_and_ends)
{
    uv_loop_t loop;
    rcd_http *h = started(&loop);
    cr_assert_eq(rcd_http_active(h), 0u);
    cr_assert_eq(rcd_http_connections(h), 0u);
    cr_assert_eq(rcd_http_port(h, 0), 0u);
    ended(&loop, h);
    cr_assert_null(rcd_http_free(NULL));
}

Test(http_server, addresses)
{
    static const struct {
        const char *address;
        rcd_status want;
    } cases[] = {
        {"127.0.0.1:0", RCD_OK},
        {"localhost:0", RCD_OK},
        {"[::1]:0", RCD_OK},
        {"", RCD_EINVAL},
        {":8000", RCD_EINVAL},
        {"127.0.0.1", RCD_EINVAL},
        {"127.0.0.1:", RCD_EINVAL},
        {"127.0.0.1:x", RCD_EINVAL},
        {"127.0.0.1:-1", RCD_EINVAL},
        {"127.0.0.1:65536", RCD_EINVAL},
        {"example.org:80", RCD_EINVAL},
        {"::1:80", RCD_EINVAL},
        {"[::1]", RCD_EINVAL},
        {"[]:80", RCD_EINVAL},
        {"unix:", RCD_EINVAL},
        {"1.2.3.4:99999999999999999999", RCD_EINVAL},
        {"192.0.2.1:0", RCD_EIO}, /* not an address of this machine */
        {"unix:/nonexistent/folder/s", RCD_EIO},
    };
    uv_loop_t loop;
    rcd_http *h = started(&loop);
    size_t listeners = 0;
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct rcd_error err = {.code = RCD_OK};
        cr_assert_eq(rcd_http_listen(h, cases[i].address, -1, false, &err), cases[i].want, "%s: %s",
                     cases[i].address, err.text);
        if (cases[i].want != RCD_OK)
            cr_assert_not_null(strstr(err.text, cases[i].address));
        else
            cr_assert_neq(rcd_http_port(h, listeners++), 0u);
    }
    char long_path[300] = "unix:/";
    memset(long_path + 6, 'a', 200);
    cr_assert_eq(rcd_http_listen(h, long_path, -1, false, NULL), RCD_EINVAL);
    ended(&loop, h);
}

Test(http_server, address_in_use)
{
    uv_loop_t loop;
    rcd_http *h = started(&loop);
    struct rcd_error err;
    char address[64];
    cr_assert_eq(rcd_http_listen(h, "127.0.0.1:0", -1, false, &err), RCD_OK);
    snprintf(address, sizeof address, "127.0.0.1:%u", rcd_http_port(h, 0));
    cr_assert_eq(rcd_http_listen(h, address, -1, false, &err), RCD_EIO);
    cr_assert_not_null(strstr(err.text, "in use"));
    ended(&loop, h);
}

Test(http_server, inherited_descriptors)
{
    uv_loop_t loop;
    rcd_http *h = started(&loop);
    struct rcd_error err;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr = {.s_addr = htonl(INADDR_LOOPBACK)}};
    cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    cr_assert_eq(rcd_http_listen(h, "fd", fd, false, &err), RCD_EINVAL); /* does not listen yet */
    cr_assert_eq(listen(fd, 5), 0);
    cr_assert_eq(rcd_http_listen(h, "fd", fd, false, &err), RCD_OK);
    cr_assert_neq(rcd_http_port(h, 0), 0u);
    int null = open("/dev/null", O_RDONLY);
    cr_assert_eq(rcd_http_listen(h, "fd", null, false, &err), RCD_EIO);
    close(null);
    ended(&loop, h);
}

Test(http_server, unix_socket_files)
{
    uv_loop_t loop;
    rcd_http *h = started(&loop);
    struct rcd_error err;
    char address[64], other[64];
    snprintf(address, sizeof address, "unix:/tmp/recurd-test-%d.sock", (int)getpid());
    snprintf(other, sizeof other, "/tmp/recurd-test-%d.file", (int)getpid());
    cr_assert_eq(rcd_http_listen(h, address, -1, false, &err), RCD_OK);
    cr_assert_eq(rcd_http_listen(h, address, -1, false, &err), RCD_EIO); /* it is alive */
    ended(&loop, h);
    struct stat st;
    cr_assert_neq(stat(address + 5, &st), 0); /* removed */

    int stale = socket(AF_UNIX, SOCK_STREAM, 0); /* left by a crash */
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    memcpy(a.sun_path, address + 5, strlen(address + 5) + 1);
    cr_assert_eq(bind(stale, (struct sockaddr *)&a, sizeof a), 0);
    close(stale);
    h = started(&loop);
    cr_assert_eq(rcd_http_listen(h, address, -1, false, &err), RCD_OK, "%s", err.text);
    int file = open(other, O_CREAT | O_WRONLY, 0600); /* a file of somebody is never removed */
    close(file);
    memmove(other + 5, other, strlen(other) + 1);
    memcpy(other, "unix:", 5);
    cr_assert_eq(rcd_http_listen(h, other, -1, false, &err), RCD_EIO);
    cr_assert_eq(unlink(other + 5), 0);
    ended(&loop, h);
}

Test(http_server, quiesce_then_free)
{
    uv_loop_t loop;
    rcd_http *h = started(&loop);
    struct rcd_error err;
    cr_assert_eq(rcd_http_listen(h, "127.0.0.1:0", -1, false, &err), RCD_OK);
    rcd_http_quiesce(h);
    rcd_http_quiesce(h);
    uv_run(&loop, UV_RUN_NOWAIT);
    ended(&loop, h);
}

Test(http_server, survives_failing_allocations)
{
    for (size_t k = 0;; k++) {
        uv_loop_t loop;
        rcd_http *h = NULL;
        struct rcd_error err;
        cr_assert_eq(uv_loop_init(&loop), 0);
        struct rcd_http_opts opts = options(&loop);
        rcd_fault_after(k);
        rcd_status st = rcd_http_new(&opts, &h, &err);
        if (st == RCD_OK)
            st = rcd_http_listen(h, "127.0.0.1:0", -1, false, &err);
        bool hit = rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        cr_assert_eq(st, hit ? RCD_ENOMEM : RCD_OK);
        ended(&loop, h);
        if (!hit)
            break;
    }
}
