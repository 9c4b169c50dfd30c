/* small_store.h - a store of sessions whose state is one FP32 [1,1,4], and steps that add a number. */
#pragma once
#include "recurd/sessions.h"

struct small {
    struct rcd_session_budget budget;
    rcd_sessions *s;
    struct rcd_error err;
    unsigned retry_after_s;
    unsigned events[RCD_SESSION_EVENTS];
    char said[2048]; /* what was logged */
};

/** A folder for a store's files, new; `in_memory` where there is one: nothing waits for a disk. */
void small_folder(char folder[64], bool in_memory);
/** More than the defaults of `more` may be NULL. */
void small_open(struct small *m, const struct rcd_sessions_opts *more);
void small_close(struct small *m);
/** Closes it, and removes its folder, which has files only. */
void small_end(struct small *m, const char *folder);
struct rcd_session_id number(uint64_t n);
struct rcd_session_id text(const char *t);
/** One request: the state's elements each grow by `add`. Returns the status of the first call that fails. */
rcd_status small_step(struct small *m, struct rcd_session_id id, struct rcd_session_turn *turn,
                      float add);
rcd_status plain_step(struct small *m, struct rcd_session_id id, bool start, float add);
/** The first element of the state; -1 when there is no session. */
float small_value(struct small *m, struct rcd_session_id id);
uint64_t small_steps(struct small *m, struct rcd_session_id id);
