/* echo_stream.h - the streaming routes of the echo server. */
#pragma once
#include "recurd/http.h"

#include <uv.h>

/** Answer with a stream as the query says: n events (endless without), one each ms milliseconds,
 * padded to `size` bytes, at most `max` bytes buffered; burst=b writes b events at a time; later=ms
 * answers after a wait; fail=begin and fail=write make an allocation fail. */
void echo_stream_begin(uv_loop_t *loop, rcd_http_req *req);
/** Counters as JSON. */
void echo_stream_report(rcd_http_req *req);
/** Has `closed` been called for every stream? */
bool echo_stream_balanced(void);
