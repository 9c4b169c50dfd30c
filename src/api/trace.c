/* trace.c - GET and POST .../trace/setting. recurd writes no traces: the level is OFF and cannot be
 * raised; the numbers are kept so that tools which set them up front go on. */
#include "api_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Models have no settings of their own, but must exist. */
static bool model_known(rcd_api *api, rcd_http_req *req)
{
    if (rcd_http_segment(req, "model") == NULL)
        return true;
    rcd_version *v = rcd__version_of(api, req);
    if (v == NULL)
        return false;
    rcd_version_unref(v);
    return true;
}

static void answer(const rcd_api *api, rcd_http_req *req)
{
    struct rcd_buf b;
    rcd_buf_init(&b, RCD__ANSWER_MAX);
    (void)rcd_buf_printf(&b,
                         "{\"trace_level\":[\"OFF\"],\"trace_rate\":\"%" PRIu64
                         "\",\"trace_count\":\"%" PRId64 "\",\"log_frequency\":\"%" PRIu64
                         "\",\"trace_file\":\"\",\"trace_mode\":\"triton\"}",
                         api->trace.rate, api->trace.count, api->trace.log_frequency);
    rcd__answer(req, 200, &b);
}

static rcd_status number(const char *key, const json_t *value, long long least, long long *ret,
                         struct rcd_error *err)
{
    if (json_is_integer(value)) {
        *ret = json_integer_value(value);
    } else if (json_is_string(value) && json_string_length(value) > 0) {
        char *end = NULL;
        errno = 0;
        *ret = strtoll(json_string_value(value), &end, 10);
        if (*end != '\0' || errno != 0)
            return rcd_fail(err, RCD_EINVAL, "'%s' is not a number", key);
    } else {
        return rcd_fail(err, RCD_EINVAL, "'%s' must be a number in a string", key);
    }
    if (*ret < least)
        return rcd_fail(err, RCD_EINVAL, "'%s' is %lld, below %lld", key, *ret, least);
    return RCD_OK;
}

static bool is_off(const json_t *value)
{
    const json_t *first = json_is_array(value) ? json_array_get(value, 0) : value;
    return (!json_is_array(value) || json_array_size(value) == 1) && json_is_string(first) &&
           strcmp(json_string_value(first), "OFF") == 0;
}

static rcd_status take(struct rcd__trace_settings *t, const char *key, const json_t *value,
                       struct rcd_error *err)
{
    long long n = 0;
    rcd_status st = RCD_OK;
    if (strcmp(key, "trace_level") == 0) {
        if (!is_off(value))
            st = rcd_fail(err, RCD_EUNSUPPORTED,
                          "recurd writes no traces: trace_level must be "
                          "[\"OFF\"]");
    } else if (strcmp(key, "trace_rate") == 0) {
        st = number(key, value, 0, &n, err);
        t->rate = (uint64_t)n;
    } else if (strcmp(key, "trace_count") == 0) {
        st = number(key, value, -1, &n, err);
        t->count = n;
    } else if (strcmp(key, "log_frequency") == 0) {
        st = number(key, value, 0, &n, err);
        t->log_frequency = (uint64_t)n;
    } else if (strcmp(key, "trace_file") == 0 || strcmp(key, "trace_mode") == 0) {
        st = rcd_fail(err, RCD_EUNSUPPORTED, "'%s' cannot be changed over the network", key);
    } else {
        char quoted[80];
        st = rcd_fail(err, RCD_EINVAL, "setting '%s' is not known",
                      rcd_quote(quoted, sizeof(quoted), key, strlen(key)));
    }
    return st;
}

void rcd__trace_get(void *ctx, rcd_http_req *req)
{
    if (model_known(ctx, req))
        answer(ctx, req);
}

void rcd__trace_set(void *ctx, rcd_http_req *req)
{
    rcd_api *api = ctx;
    struct rcd_error err = {.code = RCD_OK};
    struct rcd__trace_settings t = api->trace;
    json_t *body = NULL;
    if (!model_known(api, req))
        return;
    bool of_model = rcd_http_segment(req, "model") != NULL;
    rcd_status st = rcd__body_object(req, &body, &err);
    const char *key;
    json_t *value;
    json_object_foreach(body, key, value)
    {
        if (st != RCD_OK || json_is_null(value))
            continue;
        st = take(&t, key, value, &err);
        if (st == RCD_OK && of_model && strcmp(key, "trace_level") != 0)
            st = rcd_fail(&err, RCD_EUNSUPPORTED, "models have no trace settings of their own");
    }
    json_decref(body);
    if (st != RCD_OK) {
        rcd__answer_error(req, &err);
        return;
    }
    api->trace = t;
    answer(api, req);
}
