#include "decoded.h"

#include <string.h>

const struct rcd_wire_limits test_limits = {
    .max_depth = 100, .max_inputs = 64, .max_string_bytes = 1000};

struct decoded decode_bytes(const char *body, size_t len, size_t json_len)
{
    struct decoded d = {.st = RCD_OK};
    d.body = rcd_alloc(len);
    RCD_ASSERT(d.body != NULL);
    if (len > 0)
        memcpy(d.body, body, len);
    rcd_arena_init(&d.arena, (size_t)1 << 24);
    d.st = rcd_wire_decode(&d.arena, d.body, len, json_len, &test_limits, &d.req, &d.err);
    if (d.st == RCD_OK)
        d.err.text[0] = '\0';
    return d;
}

struct decoded decode_text(const char *body)
{
    return decode_bytes(body, strlen(body), RCD_NO_JSON_LEN);
}

struct decoded decode_data(const char *dtype, const char *shape, const char *data)
{
    static const char form[] =
        "{\"inputs\":[{\"name\":\"x\",\"shape\":%s,\"datatype\":\"%s\",\"data\":%s}]}";
    struct rcd_buf b;
    rcd_buf_init(&b, (size_t)1 << 24);
    RCD_ASSERT(rcd_buf_printf(&b, form, shape, dtype, data) == RCD_OK);
    struct decoded d = decode_bytes(b.data, b.len, RCD_NO_JSON_LEN);
    rcd_buf_done(&b);
    return d;
}

void decoded_done(struct decoded *d)
{
    rcd_arena_done(&d->arena);
    rcd_free(d->body);
    d->body = NULL;
}

bool refused(const char *body, size_t len, size_t json_len, const char *want)
{
    struct decoded d = decode_bytes(body, len, json_len);
    bool ok = d.st == RCD_EINVAL && d.err.code == RCD_EINVAL && strstr(d.err.text, want) != NULL;
    if (!ok)
        fprintf(stderr, "body %.200s\n  status %d, message '%s', want '%s'\n", body, (int)d.st,
                d.err.text, want);
    decoded_done(&d);
    return ok;
}
