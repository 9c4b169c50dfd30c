/* blame.h - failing a request for a number that it sent: the input and the place are named where they can be found. */
#pragma once
#include "engine_int.h"

/** Element `at` of `idx`, an input of the node, is not in [least, most]. Returns RCD_EINVAL. */
rcd_status rcd__fail_index(const struct rcd_call *c, size_t r, const struct rcd_tensor *idx,
                           size_t at, int64_t least, int64_t most);
/** A value of these sizes could not be made, `text` says why; it may be that they come of a number in the request. Returns
 * `code`, or RCD_EINVAL if so. */
rcd_status rcd__fail_size(const struct rcd_call *c, size_t r, rcd_status code, int rank,
                          const int64_t *dims, const char *text);
