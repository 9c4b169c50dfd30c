/* main.c - arguments and exit status: 0 stopped as asked, 1 cannot run, 2 wrong configuration. */
#include "daemon_int.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { EXIT_CONFIG = 2, TEXT_MAX = 1 << 20 };

static int print_help(void)
{
    struct rcd_buf text;
    rcd_buf_init(&text, TEXT_MAX);
    rcd_status st = rcd_config_write_help(&text);
    if (st == RCD_OK)
        fwrite(text.data, 1, text.len, stdout);
    rcd_buf_done(&text);
    return st == RCD_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}

/* --check: the configuration is good already; load every model as serving would. */
static int check(struct rcd_daemon *d)
{
    struct rcd_error err;
    size_t failed = 0;
    rcd_status st = rcd__wire_registry(d, false, &err);
    if (st == RCD_OK)
        st = rcd_registry_rescan(d->registry, &failed, &err);
    if (st != RCD_OK)
        fprintf(stderr, "recurd: %s\n", err.text);
    else if (failed > 0)
        fprintf(stderr, "recurd: %zu models cannot be served\n", failed);
    else
        printf("configuration and models are good\n");
    rcd_registry_free(d->registry);
    return st == RCD_OK && failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static struct rcd_daemon d; /* holds handles that must not move */
    struct rcd_error err;
    d.argc = argc;
    d.argv = argv;
    if (rcd_config_load(&d.cfg, argc, argv, environ, &err) != RCD_OK) {
        fprintf(stderr, "recurd: %s\n", err.text);
        return EXIT_CONFIG;
    }
    int status = EXIT_SUCCESS;
    if (d.cfg.help) {
        status = print_help();
    } else if (d.cfg.version) {
        printf("recurd %s\n", RCD_VERSION);
    } else if (rcd__wire_kernels(&d, &err) != RCD_OK) {
        fprintf(stderr, "recurd: %s\n", err.text);
        status = EXIT_CONFIG;
    } else {
        rcd_log_init((rcd_log_target)d.cfg.log_target,
                     (rcd_log_level)(d.cfg.log_level + RCD_LOG_ERR));
        status = d.cfg.check ? check(&d) : rcd__live_until_stopped(&d);
    }
    rcd_config_done(&d.cfg);
    return status;
}
