/* apart.h - a piece of a request that a helper thread does, so that the loop need not wait for it; what follows runs
 * on the loop, in the order of arrival among those that have to keep it. */
#pragma once
#include "api_int.h"

#include <uv.h>

/** First member of whoever is done apart; zero but for model, run, behind and go. */
struct rcd__apart {
    uv_work_t work;
    struct rcd__apart *next; /* in order of arrival */
    rcd_api *api;
    const char *model; /* in the request's memory */
    void (*run)(struct rcd__apart *a);
    /* Must `a` wait for `earlier`, which has the same model and the same `run`? */
    bool (*behind)(const struct rcd__apart *a, const struct rcd__apart *earlier);
    void (*go)(struct rcd__apart *a); /* it is its own again */
    bool done;
    uint64_t since_ns;
};
/** `run` on a helper thread, then `go` on the loop. False: it could not be begun. Threading: loop. */
RCD_MUST_CHECK bool rcd__apart_begin(rcd_api *api, struct rcd__apart *a);
