/* team.h - helpers of one executor. */
#pragma once
#include "choice.h"
#include "recurd/base.h"

struct rcd__team;
/** Do items [from, to). Called by several threads at the same time. */
typedef void rcd__team_fn(void *ctx, size_t from, size_t to);

/** NULL: no memory. */
RCD_MUST_CHECK struct rcd__team *rcd__team_new(unsigned helpers);
struct rcd__team *rcd__team_free(struct rcd__team *t); /* NULL is fine; returns NULL */
/** All items, in chunks, by the helpers and the caller; over when it returns. NULL: by the caller. */
void rcd__team_run(struct rcd__team *t, size_t items, size_t chunk, rcd__team_fn *fn, void *ctx);

/** Threads of a team, the caller's included; 1 for NULL. */
unsigned rcd__team_size(const struct rcd__team *t);
/** fn(ctx, i, i + 1) for every i below rcd__team_size, each by a thread of its own and all at the same time, so that
 * they may wait for each other. NULL: by the caller. */
void rcd__team_together(struct rcd__team *t, rcd__team_fn *fn, void *ctx);

/** What sharing between this team's threads has been worth. Threading: the caller of rcd__team_together. */
struct rcd__choice *rcd__team_choice(struct rcd__team *t);

/** Parts of memory that threads of rcd__team_run take in turn: how many there may be at a time; one that is free
 * (`taken`: atomic, zero at first), waiting for it where there are more threads; and back. */
enum { RCD__PLACES = 32 };
unsigned rcd__places(const struct rcd__team *t);
unsigned rcd__place_take(unsigned *taken);
void rcd__place_give(unsigned *taken, unsigned place);

/** Where the threads of rcd__team_together meet. All zero at first. */
struct rcd__meeting {
    unsigned arrived, round; /* atomic */
};
/** Returns when n threads have called it; what they wrote before is seen by all after. Waits busily, since steps take
 * microseconds; gives the processor away when that takes long. */
void rcd__meet(struct rcd__meeting *m, unsigned n);
