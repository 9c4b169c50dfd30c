/* sessions.h - the hidden states of the sessions of one loaded model: who they are, where their state is,
 * how long they stay, and what survives the process. Knows no engine, no HTTP.
 *
 * A state is a row: the tensors of the model's state pairs one after the other, each packed as the model
 * wants it for a batch of one. A step never writes the row that it reads: it writes a spare one and then
 * publishes it with one store, so that a step that fails, and a process that is killed, leave the old
 * state. Rows are counted, so forks, snapshots and the ring of earlier states share them.
 *
 * Threading: every call may come from any thread; one lock per store, held for list work and the copy of
 * a row. Events are told under that lock. */
#pragma once
#include "recurd/base.h"
#include "recurd/tensor.h"

typedef struct rcd_sessions rcd_sessions;

enum { RCD_SESSION_ID_MAX = 128, RCD_SNAPSHOT_NAME_MAX = 38 };

/** A number (never 0) or 1 to 128 bytes; the two never match each other. */
struct rcd_session_id {
    const char *text; /* NULL: the number */
    size_t len;
    uint64_t number;
};

/** One state of the model; all sizes known (batch is 1). */
struct rcd_state_shape {
    const char *name; /* of the input */
    rcd_dtype dtype;
    int rank;
    int64_t dims[RCD_MAX_RANK];
};

typedef enum rcd_overflow {
    RCD_OVERFLOW_REJECT,
    RCD_OVERFLOW_LRU,
    RCD_OVERFLOW_SPILL
} rcd_overflow;
typedef enum rcd_durable {
    RCD_DURABLE_NONE,
    RCD_DURABLE_PROCESS,  /* rows live in a shared mapping of a file */
    RCD_DURABLE_SNAPSHOT, /* written to disk at the end and at intervals */
    RCD_DURABLE_COMMIT,   /* on disk before the reply */
} rcd_durable;
const char *rcd_durable_name(rcd_durable d);

typedef enum rcd_session_event_kind {
    RCD_SESSION_CREATED,
    RCD_SESSION_ENDED,
    RCD_SESSION_EXPIRED,
    RCD_SESSION_EVICTED,
    RCD_SESSION_SPILLED,
    RCD_SESSION_RESTORED,
    RCD_SESSION_MIGRATED,
    RCD_SESSION_EVENTS
} rcd_session_event_kind;
const char *rcd_session_event_name(rcd_session_event_kind k); /* "created" */

struct rcd_session_event {
    rcd_session_event_kind kind;
    struct rcd_session_id id; /* valid during the call */
    uint64_t steps;
    const char *reason; /* static text */
};

/** Bytes of all stores together. */
struct rcd_session_budget {
    size_t used; /* atomic */
    size_t max;
};

struct rcd_sessions_opts {
    const char *model;                    /* [copied] */
    const struct rcd_state_shape *states; /* [copied] */
    size_t n_states;
    uint64_t fingerprint; /* of the model's file */
    uint64_t idle_ms, max_bytes;
    rcd_overflow overflow;
    rcd_durable durable;
    unsigned ring; /* earlier states kept per session */
    uint64_t snapshot_interval_ms;
    struct rcd_session_budget *budget; /* [borrowed] */
    const char *path;                  /* [copied] file; NULL: nothing survives the process... */
    const char *runtime_path; /* [copied] ...but what `process` has here, in memory that lives
                                          longer; a copy at `path` while nobody serves */
    bool carry; /* a stored file of another model file whose state fits is taken over */
    void *ctx;
    void (*event)(void *ctx, const struct rcd_session_event *e);
    void (*log)(void *ctx, int priority, const char *text);
    /** A commit that came back *later is on disk, or not. On a thread of the store, without locks. */
    void (*committed)(void *cookie, const struct rcd_error *err);
};

/** RCD_ENOMEM, RCD_EIO, RCD_ENOSPC. What the path holds is taken over: sessions of the same model
 * file (or, with `carry`, of the same layout). A damaged file is renamed, reported and not used
 * but for the sessions in it that are whole. */
RCD_MUST_CHECK rcd_status rcd_sessions_new(const struct rcd_sessions_opts *opts, rcd_sessions **ret,
                                           struct rcd_error *err);
/** Everything durable is written. NULL is fine; returns NULL. */
rcd_sessions *rcd_sessions_free(rcd_sessions *s);

size_t rcd_sessions_live(rcd_sessions *s);
uint64_t rcd_sessions_fingerprint(const rcd_sessions *s);
/** Another file of the model with equal states serves these sessions from now on. */
void rcd_sessions_migrate(rcd_sessions *s, uint64_t fingerprint);
/** From now on: idle_ms, max_bytes, overflow, ring, snapshot_interval_ms of `new`; the rest of it is not
 * looked at. Another `durable`, and `spill` without a file for it, wait for the next start, and the log
 * says so. */
void rcd_sessions_limit(rcd_sessions *s, const struct rcd_sessions_opts *new);
rcd_durable
rcd_sessions_durable(const rcd_sessions *s); /* as it is: a store without a path keeps nothing */
const struct rcd_state_shape *rcd_sessions_states(const rcd_sessions *s, size_t *ret_n);

/* ---- a request of a session ----------------------------------------------------------------- */

/** A session and which one under its place's number: one that ended and another that began there are
 * told apart. */
struct rcd_session_ref {
    uint32_t at, generation;
};

enum { RCD_SESSION_START = 1 };

/** A request for the session arrives: it is busy (its idle clock stands) until rcd_session_leave.
 * START: it is made when there is none. RCD_EINVAL: unknown id, in the words of the protocol, and why it
 * ended, if lately. RCD_EUNAVAILABLE: no room (*retry_after_s computed). RCD_ENOMEM, RCD_ENOSPC.
 * *ret_use: the place of this stay. Threading: the loop, as the next two. */
RCD_MUST_CHECK rcd_status rcd_session_enter(rcd_sessions *s, const struct rcd_session_id *id,
                                            unsigned flags, struct rcd_session_ref *ret,
                                            uint32_t *ret_use, unsigned *retry_after_s,
                                            struct rcd_error *err);
/** Asks for the memory that steps of these sessions will look at, and does not wait for it; who is not
 * there does not matter. n up to 64. */
void rcd_sessions_bring(rcd_sessions *s, const struct rcd_session_id *const *ids, size_t n);
/** A pointer's place that all requests of one stay share; NULL at first. Until the next enter. */
void **rcd_session_user(rcd_sessions *s, uint32_t use);
/** The request is over. Returns what is in the user's place if it was the last one, else NULL. */
void *rcd_session_leave(rcd_sessions *s, uint32_t use);
/** Calls on its sessions may have to wait for a disk, or copy much. */
bool rcd_sessions_slow(const rcd_sessions *s);
bool rcd_session_known(rcd_sessions *s, const struct rcd_session_id *id);
enum rcd_session_where {
    RCD_SESSION_NOWHERE,
    RCD_SESSION_IN_MEMORY,
    RCD_SESSION_ON_DISK, /* or nowhere: the disk has some, and was not asked */
};
enum rcd_session_where rcd_session_where(rcd_sessions *s, const struct rcd_session_id *id);
/** Reads what the disk has of the session, and forgets it: a call that needs it a moment later finds it in the
 * kernel's cache. Waits for the disk, but holds nothing that others wait for. Threading: any thread. */
void rcd_session_fetch(const rcd_sessions *s, const struct rcd_session_id *id);

/** A commit on its way to the disk: the request's memory, the store's business. */
struct rcd_session_wait {
    struct rcd_session_wait *next;
    struct rcd_session_turn *turn; /* NULL: of a call, which sleeps until `done` */
    bool done;
    struct rcd_session_ref ref;
    uint32_t row;
    size_t from, len;
    struct rcd_session_id id;
    char text[RCD_SESSION_ID_MAX];
    void *cookie;
    struct rcd_error err;
};

/** What a request wants of its session, and what it finds. */
struct rcd_session_turn {
    bool start, end;
    uint64_t step;       /* 0: not given */
    uint64_t input_hash; /* of the inputs; counts only with `step` */
    /* found by rcd_session_begin */
    uint64_t steps;    /* of the session before this request */
    const char *state; /* its row's bytes, until commit or drop; NULL: zeros */
    uint32_t row;      /* held */
    bool repeated;     /* the step was done: answer[] is what it gave */
    char *answer;      /* [freed by drop] */
    size_t answer_len;
    uint64_t expected; /* RCD_ECONFLICT: the step that would be right */
    struct rcd_session_wait wait;
};
/** The request is next. RCD_ECONFLICT (step), RCD_EGONE (it ended meanwhile, or the request
 * that should have started it failed: RCD_EINVAL), RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd_session_begin(rcd_sessions *s, struct rcd_session_ref ref,
                                            struct rcd_session_turn *turn, struct rcd_error *err);
/** The request succeeded: `states` (one per state, of its shape) is the new state, answer (may be NULL)
 * is kept for a repeat. RCD_EGONE, RCD_EINVAL (a state has another shape), RCD_ENOMEM, RCD_ENOSPC: then
 * the state is as it was. *ret_later: what was given is copied, and opts.committed(cookie) will tell. */
RCD_MUST_CHECK rcd_status rcd_session_commit(rcd_sessions *s, struct rcd_session_ref ref,
                                             struct rcd_session_turn *turn,
                                             const struct rcd_tensor *const *states,
                                             const void *answer, size_t answer_len, void *cookie,
                                             bool *ret_later, struct rcd_error *err);
/** The request failed. Also after commit; harmless when nothing is held. */
void rcd_session_drop(rcd_sessions *s, struct rcd_session_turn *turn);

/** A repeat (`step`, `end`) of the step that ended the session: RCD_OK, turn->repeated and the answer.
 * Kept for the idle time, the newest of a store, in memory only. RCD_ENOTFOUND without a message: it is
 * not such a repeat. RCD_ECONFLICT: done with other inputs. RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd_session_last(rcd_sessions *s, const struct rcd_session_id *id,
                                           struct rcd_session_turn *turn, struct rcd_error *err);

/** Hash for rcd_session_turn.input_hash; chain it by the seed. */
uint64_t rcd_session_hash(uint64_t seed, const void *bytes, size_t len);

/* ---- as resources -------------------------------------------------------------------------------- */

struct rcd_session_info {
    struct rcd_session_id id; /* text: in `text` */
    char text[RCD_SESSION_ID_MAX];
    uint64_t steps, created_ms, last_ms; /* wall clock */
    size_t bytes;
    unsigned queued, ring, n_snapshots;
    bool spilled;
};
struct rcd_snapshot_info {
    char name[RCD_SNAPSHOT_NAME_MAX + 1];
    uint64_t steps;
};

/* Calls that change something return when the change is on disk, with durability `commit`: not for the
 * loop of a store that is rcd_sessions_slow. When it cannot be written, what was before is there again,
 * unless a request went on with the change meanwhile. */

/** RCD_ENOTFOUND, RCD_EGONE with the reason when it ended lately. (All calls below.) */
RCD_MUST_CHECK rcd_status rcd_session_describe(rcd_sessions *s, const struct rcd_session_id *id,
                                               struct rcd_session_info *ret, struct rcd_error *err);
/** A place in the list of all sessions: those in memory by their records, then those on disk by id. */
struct rcd_session_cursor {
    uint32_t at;              /* records before it have been seen */
    bool on_disk;             /* all records have been */
    struct rcd_session_id id; /* the last one seen on disk; number 0: none */
    char text[RCD_SESSION_ID_MAX];
};
/** The next session behind the cursor (zeroed: from the first), which is moved; one that begins or comes
 * back from the disk meanwhile may be missed. *most: how many may still be looked at, counted
 * down. False: none among them, and *ret_end tells whether there are no more at all. */
bool rcd_session_next(rcd_sessions *s, struct rcd_session_cursor *cursor, size_t *most,
                      struct rcd_session_info *ret, bool *ret_end);
RCD_MUST_CHECK rcd_status rcd_session_end(rcd_sessions *s, const struct rcd_session_id *id,
                                          struct rcd_error *err);
/** A copy of the state and its step; *ret is the caller's (rcd_free), laid out as the shapes say. */
RCD_MUST_CHECK rcd_status rcd_session_state(rcd_sessions *s, const struct rcd_session_id *id,
                                            char **ret, uint64_t *ret_steps, struct rcd_error *err);
/** A new session that starts from these states (NULL, or one of them NULL: zeros). RCD_ECONFLICT when the
 * id exists, RCD_EINVAL for a wrong shape, RCD_EUNAVAILABLE (no room), RCD_ENOMEM, RCD_ENOSPC. */
RCD_MUST_CHECK rcd_status rcd_session_create(rcd_sessions *s, const struct rcd_session_id *id,
                                             const struct rcd_tensor *const *states,
                                             unsigned *retry_after_s, struct rcd_error *err);
/** Replace the states that are given (NULL: keep). RCD_ECONFLICT when busy, RCD_EINVAL for a wrong
 * shape. */
RCD_MUST_CHECK rcd_status rcd_session_set(rcd_sessions *s, const struct rcd_session_id *id,
                                          const struct rcd_tensor *const *states,
                                          struct rcd_error *err);
/** RCD_ECONFLICT when `to` exists. */
RCD_MUST_CHECK rcd_status rcd_session_fork(rcd_sessions *s, const struct rcd_session_id *from,
                                           const struct rcd_session_id *to, unsigned *retry_after_s,
                                           struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd_session_snapshot(rcd_sessions *s, const struct rcd_session_id *id,
                                               const char *name, size_t len, uint64_t *ret_steps,
                                               struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd_session_forget(rcd_sessions *s, const struct rcd_session_id *id,
                                             const char *name, size_t len, struct rcd_error *err);
/** Into an array of at most `max`; *ret_n is how many there are. */
RCD_MUST_CHECK rcd_status rcd_session_snapshots(rcd_sessions *s, const struct rcd_session_id *id,
                                                struct rcd_snapshot_info *ret, size_t max,
                                                size_t *ret_n, struct rcd_error *err);
/** To a snapshot, or (name NULL) `back` steps. RCD_ENOTFOUND, RCD_ECONFLICT (busy; too far). */
RCD_MUST_CHECK rcd_status rcd_session_rewind(rcd_sessions *s, const struct rcd_session_id *id,
                                             const char *name, size_t len, uint64_t back,
                                             struct rcd_error *err);
/** The portable form: magic, fingerprint, layout, step, states, checksum. */
RCD_MUST_CHECK rcd_status rcd_session_export(rcd_sessions *s, const struct rcd_session_id *id,
                                             struct rcd_buf *out, struct rcd_error *err);
/** Into session `id`, which is made or replaced. RCD_EINVAL: damaged; RCD_ECONFLICT: busy, another
 * layout, or another model file and not `carry`. */
RCD_MUST_CHECK rcd_status rcd_session_import(rcd_sessions *s, const struct rcd_session_id *id,
                                             const void *bytes, size_t len, bool carry,
                                             unsigned *retry_after_s, struct rcd_error *err);

/** Expire what has been idle too long, some at a time. Call it every 100 ms or so.
 * @param held_ms  how long a request is under way already that may turn out to be for any of the
 *                 sessions: none expires that had not when it came; 0: there is none. */
void rcd_sessions_tick(rcd_sessions *s, uint64_t held_ms);

enum { RCD_SYNC_BUCKETS = 10 };
extern const uint64_t rcd_sync_bounds_ns[RCD_SYNC_BUCKETS]; /* the last is UINT64_MAX */

struct rcd_sessions_stats {
    size_t idle, busy, spilled;
    uint64_t created, steps;
    uint64_t ended[RCD_SESSION_EVENTS]; /* ENDED, EXPIRED, EVICTED count */
    size_t bytes;                       /* states and bookkeeping */
    uint64_t syncs, sync_ns,
        sync_buckets[RCD_SYNC_BUCKETS]; /* transactions of durability `commit` */
};
void rcd_sessions_stats(rcd_sessions *s, struct rcd_sessions_stats *ret);
