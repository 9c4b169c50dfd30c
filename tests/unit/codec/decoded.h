/* decoded.h - one decoded body with its arena; the body lies in an allocation of exactly its size,
 * so that a sanitizer sees a read past its end. */
#pragma once
#include "recurd/codec.h"

struct decoded {
    struct rcd_arena arena;
    char *body;
    rcd_status st;
    struct rcd_wire_request req;
    struct rcd_error err;
};

extern const struct rcd_wire_limits test_limits; /* depth 100, 64 inputs, strings of 1000 */

struct decoded decode_bytes(const char *body, size_t len, size_t json_len);
struct decoded decode_text(const char *body);
/** {"inputs":[{"name":"x","shape":SHAPE,"datatype":"DTYPE","data":DATA}]} */
struct decoded decode_data(const char *dtype, const char *shape, const char *data);
void decoded_done(struct decoded *d);

/** Does decoding `body` fail with EINVAL and a message that holds `want`? Prints if not. */
bool refused(const char *body, size_t len, size_t json_len, const char *want);
