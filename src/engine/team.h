/* team.h - helpers of one executor. */
#pragma once
#include "recurd/base.h"

struct rcd__team;
/** Do items [from, to). Called by several threads at the same time. */
typedef void rcd__team_fn(void *ctx, size_t from, size_t to);

/** NULL: no memory. */
RCD_MUST_CHECK struct rcd__team *rcd__team_new(unsigned helpers);
struct rcd__team *rcd__team_free(struct rcd__team *t); /* NULL is fine; returns NULL */
/** All items, in chunks, by the helpers and the caller; over when it returns. NULL: by the caller. */
void rcd__team_run(struct rcd__team *t, size_t items, size_t chunk, rcd__team_fn *fn, void *ctx);
