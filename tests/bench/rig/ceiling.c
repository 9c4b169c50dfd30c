/* ceiling.c - what libmicrohttpd alone does: reads each request's body, answers a constant.
 *
 * "ceiling BYTES [HEADER:VALUE...]" serves answers of so many bytes on a free port of 127.0.0.1,
 * prints the port, ends on SIGTERM or SIGINT. One epoll thread answers at once, without a hand-off
 * to workers: no server that computes something on this library is faster. */
#include <microhttpd.h>

#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct MHD_Response *answer;
static volatile unsigned char last; /* so that the bodies are really read */

static enum MHD_Result on_request(void *cls, struct MHD_Connection *conn, const char *url,
                                  const char *method, const char *version, const char *body,
                                  size_t *body_size, void **state)
{
    static int begun;
    (void)cls, (void)url, (void)method, (void)version;
    if (*state == NULL) {
        *state = &begun;
        return MHD_YES;
    }
    if (*body_size > 0) {
        unsigned char sum = 0;
        for (size_t i = 0; i < *body_size; i++)
            sum ^= (unsigned char)body[i];
        last = sum;
        *body_size = 0;
        return MHD_YES;
    }
    return MHD_queue_response(conn, MHD_HTTP_OK, answer);
}

static void make_answer(int argc, char **argv)
{
    size_t n = strtoul(argv[1], NULL, 10);
    char *bytes = malloc(n + 1);
    if (bytes == NULL)
        exit(1);
    memset(bytes, ' ', n);
    answer = MHD_create_response_from_buffer(n, bytes, MHD_RESPMEM_MUST_FREE);
    for (int i = 2; i < argc && answer != NULL; i++) {
        char *colon = strchr(argv[i], ':');
        if (colon != NULL) {
            *colon = '\0';
            MHD_add_response_header(answer, argv[i], colon + 1);
        }
    }
    if (answer == NULL)
        exit(1);
}

int main(int argc, char **argv)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sigset_t ends;
    int got = 0;
    if (argc < 2) {
        fputs("usage: ceiling BYTES [HEADER:VALUE...]\n", stderr);
        return 2;
    }
    make_answer(argc, argv);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    struct MHD_Daemon *d =
        MHD_start_daemon(MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_ERROR_LOG, 0, NULL, NULL,
                         on_request, NULL, MHD_OPTION_SOCK_ADDR, &at, MHD_OPTION_CONNECTION_LIMIT,
                         1024u, MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)65536, MHD_OPTION_END);
    const union MHD_DaemonInfo *info =
        d == NULL ? NULL : MHD_get_daemon_info(d, MHD_DAEMON_INFO_BIND_PORT);
    if (info == NULL) {
        fputs("ceiling: the server did not start\n", stderr);
        return 1;
    }
    printf("%u\n", (unsigned)info->port);
    fflush(stdout);
    sigwait(&ends, &got);
    MHD_stop_daemon(d);
    MHD_destroy_response(answer);
    return 0;
}
