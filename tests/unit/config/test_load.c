/* test_load.c - file, environment and flags into struct rcd_config, and what is said when wrong. */
#include "recurd/config.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(config, .timeout = 400);

enum { MAX_ARGS = 8 };

/* Load with the file text (NULL: no file), one environment entry and arguments (NULL-terminated). */
static rcd_status load(struct rcd_config *c, const char *file, const char *env,
                       const char *const *args, struct rcd_error *err)
{
    char path[] = "/tmp/recurd-config-XXXXXX", entry[512];
    char *argv[MAX_ARGS + 3] = {(char *)(uintptr_t) "recurd"};
    char *environment[2] = {entry, NULL};
    int argc = 1, fd = -1;
    if (file != NULL) {
        fd = mkstemp(path);
        cr_assert(fd >= 0 && write(fd, file, strlen(file)) == (ssize_t)strlen(file));
        argv[argc++] = (char *)(uintptr_t) "--config";
        argv[argc++] = path;
    }
    for (; args != NULL && *args != NULL; args++)
        argv[argc++] = (char *)(uintptr_t)*args;
    snprintf(entry, sizeof entry, "%s", env != NULL ? env : "HOME=/");
    rcd_status status = rcd_config_load(c, argc, argv, environment, err);
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    return status;
}

static void refused(const char *file, const char *env, const char *const *args, const char *want)
{
    struct rcd_config c;
    struct rcd_error err = {0};
    rcd_status status = load(&c, file, env, args, &err);
    cr_expect(status == RCD_EINVAL, "not refused: %s%s", file ? file : "", env ? env : "");
    cr_expect(strstr(err.text, want) != NULL, "got \"%s\", want \"%s\"", err.text, want);
    if (status == RCD_OK)
        rcd_config_done(&c);
}

Test(config, defaults)
{
    struct rcd_config c;
    struct rcd_error err = {0};
    cr_assert(load(&c, NULL, NULL, NULL, &err) == RCD_OK, "%s", err.text);
    cr_expect(eq(str, c.server_listen, "127.0.0.1:8000"));
    cr_expect(eq(u64, c.server_max_body, 16u << 20));
    cr_expect(eq(u64, c.server_head_timeout, 5000));
    cr_expect(eq(int, c.log_level, 3)); /* info */
    cr_expect(c.server_chunked && !c.log_access_log && !c.check);
    cr_expect(c.config_file == NULL);
    rcd_config_done(&c);
}

Test(config, later_sources_win)
{
    static const char file[] = "[server]\nmax_body = 1M\nmax_connections=10\n  idle_timeout = 2m\n"
                               "[log]\nlevel = debug ; why\n";
    const char *const args[] = {"--server-max-body=3M", "--listen", "[::1]:9", "--check", NULL};
    struct rcd_config c;
    struct rcd_error err = {0};
    cr_assert(load(&c, file, "RECURD_SERVER_MAX_CONNECTIONS=20", args, &err) == RCD_OK, "%s",
              err.text);
    cr_expect(eq(u64, c.server_max_body, 3u << 20), "flag over file");
    cr_expect(eq(u64, c.server_max_connections, 20), "environment over file");
    cr_expect(eq(u64, c.server_idle_timeout, 120000), "an indented line is no continuation");
    cr_expect(eq(int, c.log_level, 4));
    cr_expect(eq(str, c.server_listen, "[::1]:9"));
    cr_expect(c.check && c.config_file != NULL);
    rcd_config_done(&c);
}

Test(config, last_flag_wins)
{
    const char *const args[] = {"--listen", "127.0.0.1:1", "--server-listen", "127.0.0.1:2", NULL};
    struct rcd_config c;
    cr_assert(load(&c, NULL, NULL, args, NULL) == RCD_OK);
    cr_expect(eq(str, c.server_listen, "127.0.0.1:2"));
    rcd_config_done(&c);
}

Test(config, units)
{
    static const struct {
        const char *arg;
        uint64_t want;
    } durations[] = {{"--server-head-timeout=250ms", 250},
                     {"--server-head-timeout=3", 3000},
                     {"--server-head-timeout=3S", 3000},
                     {"--server-head-timeout=10m", 600000}};
    for (size_t i = 0; i < RCD_COUNT(durations); i++) {
        const char *const args[] = {durations[i].arg, NULL};
        struct rcd_config c;
        struct rcd_error err = {0};
        cr_assert(load(&c, NULL, NULL, args, &err) == RCD_OK, "%s", err.text);
        cr_expect(eq(u64, c.server_head_timeout, durations[i].want));
        rcd_config_done(&c);
    }
}

Test(config, file_errors_name_the_line)
{
    refused("[server]\n\nmax_bdy = 3\n", NULL, NULL,
            ":3: server.max_bdy is not an option; did you "
            "mean server.max_body?");
    refused("[servre]\nmax_body = 3\n", NULL, NULL, "did you mean server.max_body?");
    refused("[models]\nmax_body = 3\n", NULL, NULL, "did you mean server.max_body?");
    refused("[zzz]\nqqqqqqqqqqqqqqq = 3\n", NULL, NULL, "recurd --help lists them");
    refused("[server]\nmax_body = 1T\n", NULL, NULL,
            ":2: server.max_body: got '1T', want 4K to 1G (bytes, or with K, M, G)");
    refused("listen = x\n", NULL, NULL, ":1: a key before the first [section]");
    refused("[server]\nwhat is this\n", NULL, NULL, ":2: neither [section], key = value");
    refused("[server]\nwhat\nmax_bdy=1\n", NULL, NULL, ":2: neither");
    refused("[server]\nmax_bdy=1\nwhat\n", NULL, NULL, ":2: server.max_bdy");
    refused("[server]\nmax_body=1M\nmax_body=2M\n", NULL, NULL,
            ":3: server.max_body is set twice, first in line 2");
    char line[400] = "[server]\nlisten = ";
    memset(line + strlen(line), 'x', 300);
    refused(line, NULL, NULL, ":2: line of more than");
}

Test(config, other_errors_name_the_source)
{
    const char *const no_such[] = {"--config", "/nonexistent/recurd.conf", NULL};
    const char *const folder[] = {"--config=/tmp", NULL};
    const char *const typo[] = {"--lisen", "x", NULL}, *const bare[] = {"--max-body", "1M", NULL};
    const char *const value[] = {"--help=1", NULL}, *const none[] = {"--listen", NULL};
    const char *const word[] = {"serve", NULL}, *const level[] = {"--log-level", "loud", NULL};
    const char *const sign[] = {"--engine-workers=-1", NULL};
    const char *const huge[] = {"--server-max-body", "99999999999999999999", NULL};
    const char *const wrap[] = {"--models-max-bytes", "18014398509481985K", NULL};
    refused(NULL, NULL, no_such, "/nonexistent/recurd.conf: No such file");
    refused(NULL, NULL, folder, "/tmp: not a regular file");
    refused(NULL, NULL, typo, "--lisen is not an option; did you mean --listen?");
    refused(NULL, NULL, bare, "did you mean --server-max-body?");
    refused(NULL, NULL, value, "--help takes no value");
    refused(NULL, NULL, none, "--listen needs a value");
    refused(NULL, NULL, word, "'serve' is not a flag");
    refused(NULL, NULL, level, "--log-level: got 'loud', want err, warning, notice, info or debug");
    const char *const over[] = {"--server-max-body=2G", NULL};
    const char *const under[] = {"--server-head-timeout=99ms", NULL};
    refused(NULL, NULL, over, "--server-max-body: got '2G', want 4K to 1G");
    refused(NULL, NULL, under, "got '99ms', want 100ms to 10m (with ms, s, m, h, d; seconds w");
    refused(NULL, NULL, sign, "--engine-workers: got '-1', want 0 to 256");
    refused(NULL, NULL, huge, "--server-max-body: got '9999");
    refused(NULL, NULL, wrap, "--models-max-bytes: got '1801");
    refused(NULL, "RECURD_SERVER_LISTN=x", NULL, "did you mean RECURD_SERVER_LISTEN?");
    refused(NULL, "RECURD_LOG_ACCESS_LOG=perhaps", NULL,
            "environment: RECURD_LOG_ACCESS_LOG: got 'perhaps', want yes or no");
    refused(NULL, "RECURD_SERVER_LISTEN=a\x01z", NULL, "got 'a\\x01z', want text of");
}

Test(config, foreign_variables_are_left_alone)
{
    static const char *const fine[] = {"RECURD_PORT=tcp://10.0.0.1:8000",
                                       "RECURD_SERVICE_HOST=10.0.0.1", "RECURD_SERVER=http://a",
                                       "RECURDX=1", "OTHER=1"};
    for (size_t i = 0; i < RCD_COUNT(fine); i++) {
        struct rcd_config c;
        struct rcd_error err = {0};
        cr_assert(load(&c, NULL, fine[i], NULL, &err) == RCD_OK, "%s", err.text);
        rcd_config_done(&c);
    }
    refused(NULL, "RECURD_CONFIG=/nonexistent", NULL, "configuration file /nonexistent");
}

Test(config, reload_takes_only_what_may_change)
{
    struct rcd_config c;
    char ignored[256], name[] = "recurd", level[] = "--log-level=debug",
                       body[] = "--server-max-body=1M";
    char *argv[] = {name, level, body, NULL};
    cr_assert(rcd_config_load(&c, 1, argv, NULL, NULL) == RCD_OK);
    cr_assert(rcd_config_reload(&c, 3, argv, NULL, ignored, sizeof ignored, NULL) == RCD_OK);
    cr_expect(eq(int, c.log_level, 4));
    cr_expect(eq(u64, c.server_max_body, 16u << 20));
    cr_expect(eq(str, ignored, "server.max_body"));
    char wrong[] = "--log-level=loud";
    argv[1] = wrong;
    cr_assert(rcd_config_reload(&c, 3, argv, NULL, ignored, sizeof ignored, NULL) == RCD_EINVAL);
    cr_expect(eq(int, c.log_level, 4), "a bad reload leaves everything as it was");
    rcd_config_done(&c);
}

Test(config, survives_failing_allocations)
{
    const char *const args[] = {"--listen", "127.0.0.1:1", NULL};
    bool hit = true;
    for (size_t k = 0; hit && k < 1000; k++) {
        struct rcd_config c;
        rcd_fault_after(k);
        rcd_status status = load(&c, "[log]\nlevel=debug\n", NULL, args, NULL);
        hit = rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        cr_expect(hit != (status == RCD_OK), "allocation %zu", k);
        if (status == RCD_OK)
            rcd_config_done(&c);
    }
    cr_expect(hit == false);
}
