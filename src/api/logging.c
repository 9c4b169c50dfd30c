/* logging.c - GET and POST /v2/logging. The protocol's switches are a view of one log level:
 * errors are always logged, each further class includes the ones above it. */
#include "api_int.h"
#include "recurd/obs.h"

#include <string.h>

void rcd__logging_get(void *ctx, rcd_http_req *req)
{
    (void)ctx;
    rcd_log_level level = rcd_log_get_level();
    rcd__answer_json(req, 200,
                     json_pack("{s:s,s:b,s:b,s:b,s:i,s:s}", "log_file", "", "log_info",
                               level >= RCD_LOG_INFO, "log_warning", level >= RCD_LOG_WARNING,
                               "log_error", 1, "log_verbose_level", level >= RCD_LOG_DEBUG,
                               "log_format", "default"));
}

struct switches {
    bool info, warning, debug;
};

static rcd_status take(struct switches *s, const char *key, const json_t *value,
                       struct rcd_error *err)
{
    if (strcmp(key, "log_verbose_level") == 0) {
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return rcd_fail(err, RCD_EINVAL, "'log_verbose_level' must be an integer from 0 up");
        s->debug = json_integer_value(value) > 0;
        return RCD_OK;
    }
    if (strcmp(key, "log_file") == 0)
        return rcd_fail(err, RCD_EUNSUPPORTED, "'log_file' cannot be changed over the network");
    if (strcmp(key, "log_format") == 0) {
        if (json_is_string(value) && strcmp(json_string_value(value), "default") == 0)
            return RCD_OK;
        return rcd_fail(err, RCD_EUNSUPPORTED, "'log_format' can only be \"default\"");
    }
    bool *at = strcmp(key, "log_info") == 0      ? &s->info
               : strcmp(key, "log_warning") == 0 ? &s->warning
                                                 : NULL;
    if (at == NULL && strcmp(key, "log_error") != 0) {
        char quoted[80];
        return rcd_fail(err, RCD_EINVAL, "setting '%s' is not known",
                        rcd_quote(quoted, sizeof(quoted), key, strlen(key)));
    }
    if (!json_is_boolean(value))
        return rcd_fail(err, RCD_EINVAL, "'%s' must be true or false", key);
    if (at != NULL)
        *at = json_is_true(value);
    else if (json_is_false(value))
        return rcd_fail(err, RCD_EUNSUPPORTED, "errors are always logged");
    return RCD_OK;
}

void rcd__logging_set(void *ctx, rcd_http_req *req)
{
    struct rcd_error err = {.code = RCD_OK};
    json_t *body = NULL;
    rcd_log_level old = rcd_log_get_level();
    struct switches s = {.info = old >= RCD_LOG_INFO,
                         .warning = old >= RCD_LOG_WARNING,
                         .debug = old >= RCD_LOG_DEBUG};
    const struct switches before = s;
    rcd_status st = rcd__body_object(req, &body, &err);
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        if (st == RCD_OK && !json_is_null(value))
            st = take(&s, key, value, &err);
    }
    json_decref(body);
    if (st != RCD_OK) {
        rcd__answer_error(req, &err);
        return;
    }
    bool same = s.info == before.info && s.warning == before.warning && s.debug == before.debug;
    if (!same) /* NOTICE has no switch of its own: keep it where nothing was changed */
        rcd_log_set_level(s.debug     ? RCD_LOG_DEBUG
                          : s.info    ? RCD_LOG_INFO
                          : s.warning ? RCD_LOG_WARNING
                                      : RCD_LOG_ERR);
    rcd__logging_get(ctx, req);
}
