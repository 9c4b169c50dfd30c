/* config.c - load, reload and release a configuration. */
#include "config_int.h"

#include <string.h>

static rcd_status set_defaults(struct rcd_config *c, struct rcd_error *err)
{
    size_t n = 0;
    const struct rcd__option *o = rcd__options(&n);
    for (size_t i = 0; i < n; i++) {
        rcd_status status = rcd__option_set(c, &o[i], o[i].def, "default of ", o[i].flag, err);
        if (status != RCD_OK)
            return status;
    }
    return RCD_OK;
}

static const char *config_from_env(char *const *environ_)
{
    for (char *const *e = environ_; e != NULL && *e != NULL; e++)
        if (strncmp(*e, "RECURD_CONFIG=", 14) == 0 && (*e)[14] != '\0')
            return *e + 14;
    return NULL;
}

rcd_status rcd_config_load(struct rcd_config *c, int argc, char *const *argv, char *const *environ_,
                           struct rcd_error *err)
{
    memset(c, 0, sizeof *c);
    const char *file = rcd__config_file_arg(argc, argv);
    if (file == NULL)
        file = config_from_env(environ_);
    rcd_status status = set_defaults(c, err);
    if (status == RCD_OK && file != NULL) {
        c->config_file = rcd_strdup(file);
        status = c->config_file == NULL ? rcd_fail(err, RCD_ENOMEM, "--config: no memory")
                                        : rcd__config_read_file(c, file, err);
    }
    if (status == RCD_OK)
        status = rcd__config_read_env(c, environ_, err);
    if (status == RCD_OK)
        status = rcd__config_read_args(c, argc, argv, err);
    if (status != RCD_OK)
        rcd_config_done(c);
    return status;
}

rcd_status rcd_config_reload(struct rcd_config *c, int argc, char *const *argv,
                             char *const *environ_, char *ret_ignored, size_t cap,
                             struct rcd_error *err)
{
    struct rcd_config fresh;
    rcd_status status = rcd_config_load(&fresh, argc, argv, environ_, err);
    if (status != RCD_OK)
        return status;
    size_t n = 0, at = 0;
    const struct rcd__option *o = rcd__options(&n);
    if (cap > 0)
        ret_ignored[0] = '\0';
    for (size_t i = 0; i < n; i++) {
        if (rcd__option_equal(c, &fresh, &o[i]))
            continue;
        if (o[i].reloadable) {
            rcd__option_swap(c, &fresh, &o[i]);
        } else if (at < cap) {
            int len = snprintf(ret_ignored + at, cap - at, "%s%s.%s", at > 0 ? ", " : "",
                               o[i].section, o[i].key);
            at += len > 0 ? (size_t)len : 0;
        }
    }
    rcd_config_done(&fresh);
    return RCD_OK;
}

void rcd_config_done(struct rcd_config *c)
{
    size_t n = 0;
    const struct rcd__option *o = rcd__options(&n);
    for (size_t i = 0; i < n; i++) {
        if (o[i].type == RCD_OPT_STRING) {
            char **text = (char **)(void *)((char *)c + o[i].offset);
            rcd_free(*text);
            *text = NULL;
        }
    }
    rcd_free(c->config_file);
    c->config_file = NULL;
}
