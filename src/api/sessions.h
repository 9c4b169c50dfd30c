/* sessions.h - inside api/: what the endpoints of sessions share. */
#pragma once
#include "api_int.h"
#include "stores.h"

/** The request's model and, where its path has one, its session. */
struct rcd__session_path {
    rcd_version *version;     /* a reference */
    struct rcd__store *store; /* that has the session, else where new ones begin */
    struct rcd_session_id id;
};
/** The session that the path names; RCD_EINVAL. False in *ret_given: it names none. */
RCD_MUST_CHECK rcd_status rcd__session_id_in_path(const rcd_http_req *req,
                                                  struct rcd_session_id *ret, bool *ret_given,
                                                  struct rcd_error *err);
/** False when an error was answered. */
RCD_MUST_CHECK bool rcd__session_path(rcd_api *api, rcd_http_req *req,
                                      struct rcd__session_path *ret);
void rcd__session_path_done(struct rcd__session_path *p);
/** "id" of a JSON body: a whole number from 1, or a string of 1 to 128 bytes. */
RCD_MUST_CHECK rcd_status rcd__session_id_of(const rcd_http_req *req, const json_t *v,
                                             struct rcd_session_id *ret, struct rcd_error *err);
/** As rcd__body_object, but whole numbers beyond jansson's become reals. */
RCD_MUST_CHECK rcd_status rcd__session_body(const rcd_http_req *req, json_t **ret,
                                            struct rcd_error *err);
/** 22 characters that nobody can guess. RCD_EIO. */
RCD_MUST_CHECK rcd_status rcd__session_id_make(char out[24], struct rcd_error *err);
void rcd__put_session_id(struct rcd_buf *b, const struct rcd_session_id *id);
void rcd__put_session(struct rcd_buf *b, const struct rcd__store *store,
                      const struct rcd_session_info *info);
/** A JSON list of the session's snapshots. */
void rcd__put_snapshots(struct rcd_buf *b, const struct rcd__store *store,
                        const struct rcd_session_info *info);
/** An id that any version's store has is taken: RCD_ECONFLICT. Threading: any thread. */
RCD_MUST_CHECK rcd_status rcd__session_id_free(const rcd_api *api, const char *model,
                                               const struct rcd_session_id *id,
                                               struct rcd_error *err);
void rcd__answer_refused(rcd_http_req *req, const struct rcd_error *err, unsigned retry_after_s);
/** States by name from an infer-like body; array in `arena`, NULL where one is not given. */
RCD_MUST_CHECK rcd_status rcd__read_states(rcd_api *api, const struct rcd__store *store,
                                           struct rcd_arena *arena, const char *body, size_t len,
                                           size_t json_len, const struct rcd_tensor ***ret,
                                           struct rcd_error *err);
