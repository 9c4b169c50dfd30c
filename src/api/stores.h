/* stores.h - inside api/: which store holds the sessions of which version.
 *
 * A store belongs to a model and outlives versions: a version that is loaded again, or a new one that is
 * configured to carry sessions on, finds the store of its predecessor. While a store has sessions, it
 * holds a reference to the version that runs them, loaded or replaced. */
#pragma once
#include "api_int.h"

struct rcd__store {
    struct rcd__store *next;
    rcd_stores *stores;
    char *model;
    rcd_sessions *sessions;
    uint64_t number;      /* of the newest version that uses it */
    unsigned users;       /* versions alive; under stores->lock */
    rcd_version *version; /* runs them; loop only; NULL: none has to be kept */
};

/** What a version's queue and sessions are: rcd_version_user. */
struct rcd__served {
    rcd_queue *queue;
    struct rcd__store *store; /* NULL: the model has no states */
};

static inline const struct rcd__served *rcd__served(const rcd_version *v)
{
    return rcd_version_user(v);
}

/** The store where this version's new sessions begin; from now on that version runs all of them.
 * NULL: the model has no states. Threading: loop. */
struct rcd__store *rcd__store_of(rcd_version *v);
/** The model's store that has the session, or NULL. Threading: loop. */
struct rcd__store *rcd__store_with(rcd_stores *s, const char *model,
                                   const struct rcd_session_id *id);
/** The i-th store of a model (NULL: of all), in no order. Threading: loop. */
struct rcd__store *rcd__store_at(rcd_stores *s, const char *model, size_t i);
struct rcd_prom;
void rcd__metrics_sessions(rcd_api *api, struct rcd_prom *p);
/** A request's commit is on disk, or not. sequence.c; any thread. */
void rcd__sequence_committed(void *request, const struct rcd_error *err);
/** The newest version that uses the store, if it is loaded, runs its sessions. Threading: loop. */
void rcd__store_pin(struct rcd__store *store, rcd_registry *registry);
/** Keep alive who has sessions, let go who has none. */
void rcd__stores_tick(rcd_stores *s, rcd_registry *registry);
void rcd__stores_unpin(rcd_stores *s);
/** Events since `after` (their numbers go up by one): calls `each` in order; returns the last number. */
struct rcd__event {
    rcd_session_event_kind kind;
    const char *reason;
    uint64_t steps, time_ms, number;
    char model[72], version[24];
    char id[RCD_SESSION_ID_MAX];
    size_t id_len; /* 0: a number */
    uint64_t id_number;
};
bool rcd__stores_event(rcd_stores *s, uint64_t after, struct rcd__event *ret);
uint64_t rcd__stores_last_event(rcd_stores *s);
