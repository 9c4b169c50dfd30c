/* stores.h - inside api/: which store holds the sessions of which version.
 *
 * A store belongs to a model and outlives versions: a version that is loaded again, or a new one that is
 * configured to carry sessions on, finds the store of its predecessor. While a store has sessions, it
 * holds a reference to the version that runs them, loaded or replaced. */
#pragma once
#include "api_int.h"

#include <pthread.h>

struct rcd__store {
    struct rcd__store *next;
    rcd_stores *stores;
    char *model;
    rcd_sessions *sessions;
    uint64_t number;      /* of the newest version that uses it: rcd__store_number */
    unsigned users;       /* versions alive; under stores->lock */
    rcd_version *version; /* runs them; loop only; NULL: none has to be kept */
    bool here;            /* the loop ran the last request itself; loop only */
    bool alone;           /* the model has no other store; atomic */
};

/** The version that it is said to be of; a load may change it meanwhile. Threading: any thread. */
static inline unsigned long long rcd__store_number(const struct rcd__store *store)
{
    return __atomic_load_n(&store->number, __ATOMIC_RELAXED);
}

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
/** Has any of the model's stores the session? Threading: any thread. */
bool rcd__stores_have(rcd_stores *s, const char *model, const struct rcd_session_id *id);
/** No store of the model has the session in memory, and one may have it on disk. Threading: any thread. */
bool rcd__stores_away(rcd_stores *s, const char *model, const struct rcd_session_id *id);
/** rcd_session_fetch in all stores of the model. Threading: any thread. */
void rcd__stores_fetch(rcd_stores *s, const char *model, const struct rcd_session_id *id);
/** The i-th store of a model (NULL: of all), in no order. Threading: loop. */
struct rcd__store *rcd__store_at(rcd_stores *s, const char *model, size_t i);
struct rcd_prom;
void rcd__metrics_sessions(rcd_api *api, struct rcd_prom *p);
/** A request's commit is on disk, or not. sequence.c; any thread. */
void rcd__sequence_committed(void *request, const struct rcd_error *err);
/** It stays while somebody who is no version works with it. Threading: any thread. */
void rcd__store_hold(struct rcd__store *store);
void rcd__store_release(struct rcd__store *store);
/** The newest version that uses the store, if it is loaded, runs its sessions. Threading: loop. */
void rcd__store_pin(struct rcd__store *store, rcd_registry *registry);
/** Keep alive who has sessions, let go who has none. */
void rcd__stores_tick(rcd_stores *s, rcd_registry *registry, const rcd_api *api);
void rcd__stores_unpin(rcd_stores *s);

/* ---- event_ring.c: Threading: any thread; its lock is taken under a store's and takes none ---- */

struct rcd__event {
    rcd_session_event_kind kind;
    const char *reason;
    uint64_t steps, time_ms, number;
    char model[72], version[24];
    char id[RCD_SESSION_ID_MAX];
    size_t id_len; /* 0: a number */
    uint64_t id_number;
};
struct rcd__event_ring {
    pthread_mutex_t lock;
    struct rcd__event *events;
    uint64_t n; /* that ever happened */
};
/** False without memory; rcd__event_ring_done is due all the same. */
RCD_MUST_CHECK bool rcd__event_ring_init(struct rcd__event_ring *r);
void rcd__event_ring_done(struct rcd__event_ring *r);
void rcd__event_ring_put(struct rcd__event_ring *r, const char *model, uint64_t version,
                         const struct rcd_session_event *e);
/** The first one after number `after` that is still there; numbers go up by one. */
bool rcd__event_ring_get(struct rcd__event_ring *r, uint64_t after, struct rcd__event *ret);
uint64_t rcd__event_ring_last(struct rcd__event_ring *r);
struct rcd__event_ring *rcd__stores_events(rcd_stores *s);
