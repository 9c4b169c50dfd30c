/* stores_int.h - the list of stores inside: stores.c keeps it, store_open.c makes what is in it. */
#pragma once
#include "stores.h"

struct rcd_stores {
    struct rcd_stores_opts opts;
    char *dir;         /* NULL: nothing survives the process... */
    char *runtime_dir; /* ...but what `process` keeps here; NULL: in `dir` */
    int lock_fds[2];
    struct rcd_session_budget budget;
    pthread_mutex_t make_lock; /* a store is opened or closed; `lock` is taken under it */
    pthread_mutex_t lock;
    struct rcd__store *first;
    struct rcd__event_ring events;
};

/* ---- store_open.c ---- */
/** Make the state and the runtime directory and lock them. RCD_EIO. */
RCD_MUST_CHECK rcd_status rcd__state_dirs_open(rcd_stores *s, struct rcd_error *err);
/** Is there a file with sessions of this version? */
bool rcd__state_file_of(const rcd_stores *s, const char *model, uint64_t number);
/** The states of one session: sizes that the file leaves open from model.json, else 1 (the batch). Array in
 * `arena`; *ret_n 0: the model keeps none. RCD_ENOMEM, RCD_EMODEL. */
RCD_MUST_CHECK rcd_status rcd__state_shapes(const rcd_version *v, struct rcd_arena *arena,
                                            struct rcd_state_shape **ret, size_t *ret_n,
                                            struct rcd_error *err);
/** What the version's model.json says sessions may do; the rest is zero. */
struct rcd_sessions_opts rcd__store_limits(const rcd_version *v);
/** A store without users, not in the list. RCD_EMODEL, RCD_ENOMEM, RCD_EIO, RCD_ENOSPC. */
RCD_MUST_CHECK rcd_status rcd__store_new(rcd_stores *s, const rcd_version *v,
                                         const struct rcd_state_shape *states, size_t n,
                                         struct rcd__store **ret, struct rcd_error *err);
