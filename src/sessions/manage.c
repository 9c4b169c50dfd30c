/* manage.c - sessions as resources: describe, list, end, read and set the state, fork, snapshots, rewind.
 *
 * What only reads sees the state after the last step that succeeded, whatever runs. What changes the
 * state refuses while a request is queued or running: whoever asks would not know in which order. */
#include "sessions_int.h"

#include <string.h>

rcd_status rcd__look_up(rcd_sessions *s, const struct rcd_session_id *id, uint32_t *ret,
                        unsigned *retry_after_s, struct rcd_error *err)
{
    *ret = rcd__table_find(s, id);
    return *ret != RCD__NONE ? RCD_OK : rcd__restore(s, id, ret, retry_after_s, err);
}

rcd_status rcd__session_find(rcd_sessions *s, const struct rcd_session_id *id, uint32_t *ret,
                             struct rcd_error *err)
{
    rcd_status st = rcd__look_up(s, id, ret, NULL, err);
    if (st != RCD_OK)
        return st;
    /* one that a request is about to start is not there before that request has succeeded */
    if (*ret == RCD__NONE || rcd__record_at(s, *ret)->state != RCD__LIVE)
        return rcd__unknown(s, id, err);
    return RCD_OK;
}

static rcd_status find_idle(rcd_sessions *s, const struct rcd_session_id *id, uint32_t *ret,
                            struct rcd_error *err)
{
    rcd_status st = rcd__session_find(s, id, ret, err);
    if (st != RCD_OK)
        return st;
    const struct rcd__record *r = rcd__record_at(s, *ret);
    char text[80];
    if (r->busy)
        return rcd_fail(
            err, RCD_ECONFLICT,
            "session %s of model '%s' has %u requests queued or running: wait for their "
            "answers",
            rcd__id_text(text, id), s->model, s->uses[r->prev].jobs);
    return RCD_OK;
}

void rcd__publish(rcd_sessions *s, struct rcd__record *r, uint32_t row)
{
    uint32_t old = r->row;
    /* release: whoever maps the file after our death sees a whole row behind it */
    rcd__record_point(r, row, r->state);
    rcd__touch(r, rcd__clock_ms());
    r->dirty = 1;
    rcd__row_unref(s, old);
}

/* ---- what a call changed, on disk or undone --------------------------------------------------- */

/* A session that this call made. */
static rcd_status keep_made(rcd_sessions *s, uint32_t at, struct rcd_error *err)
{
    uint32_t generation = rcd__record_at(s, at)->generation;
    rcd_status st = rcd__keep_now(s, at, err);
    if (st != RCD_OK && rcd__record_at(s, at)->generation == generation)
        rcd__session_remove(s, at, RCD_SESSION_ENDED, "not on disk");
    return st;
}

rcd_status rcd__put_row(rcd_sessions *s, uint32_t at, uint32_t row, struct rcd_error *err)
{
    struct rcd__record *r = rcd__record_at(s, at);
    uint32_t generation = r->generation, old = r->row;
    rcd__row_ref(s, old);
    rcd__publish(s, r, row);
    rcd_status st = rcd__keep_now(s, at, err);
    if (st != RCD_OK && r->generation == generation && r->row == row && !r->busy)
        rcd__publish(s, r, old);
    else
        rcd__row_unref(s, old);
    return st;
}

/* ---- describing ------------------------------------------------------------------------------ */

void rcd__describe(const rcd_sessions *s, const struct rcd__record *r, struct rcd_session_info *ret)
{
    *ret = (struct rcd_session_info){.id = rcd__record_id(s, r),
                                     .created_ms = (uint64_t)r->created_s * 1000,
                                     .last_ms = rcd__last_of(r),
                                     .bytes = s->charge};
    if (ret->id.text != NULL) {
        memcpy(ret->text, ret->id.text, ret->id.len);
        ret->id.text = ret->text;
    }
    if (r->row != RCD__NONE)
        ret->steps = rcd__row_at(s, r->row)->steps;
    if (r->busy)
        ret->queued = s->uses[r->prev].jobs;
    for (uint32_t i = r->extras; i != RCD__NONE;) {
        const struct rcd__extra *x = rcd__slab_at(&s->extras, i);
        ret->ring += x->type == RCD__EXTRA_RING;
        ret->n_snapshots += x->type == RCD__EXTRA_SNAPSHOT;
        i = x->next;
    }
    ret->bytes += ret->n_snapshots * (s->rows.item + sizeof(struct rcd__extra));
}

rcd_status rcd_session_describe(rcd_sessions *s, const struct rcd_session_id *id,
                                struct rcd_session_info *ret, struct rcd_error *err)
{
    uint32_t at = 0;
    pthread_mutex_lock(&s->lock);
    rcd_status st = rcd__session_find(s, id, &at, err);
    if (st == RCD_OK)
        rcd__describe(s, rcd__record_at(s, at), ret);
    pthread_mutex_unlock(&s->lock);
    if (st == RCD_OK && ret->id.text != NULL)
        ret->id.text = ret->text;
    return st;
}

/* ---- making, ending ----------------------------------------------------------------------------- */

rcd_status rcd_session_create(rcd_sessions *s, const struct rcd_session_id *id,
                              const struct rcd_tensor *const *states, unsigned *retry_after_s,
                              struct rcd_error *err)
{
    uint32_t at = 0, row = RCD__NONE;
    char text[80];
    pthread_mutex_lock(&s->lock);
    rcd_status st = rcd__look_up(s, id, &at, retry_after_s, err);
    if (st == RCD_OK && at != RCD__NONE)
        st = rcd_fail(err, RCD_ECONFLICT, "model '%s' has a session %s already", s->model,
                      rcd__id_text(text, id));
    if (st == RCD_OK && states != NULL)
        st = rcd__row_of(s, NULL, states, 0, &row, err);
    if (st == RCD_OK)
        st = rcd__session_make(s, id, RCD__LIVE, &at, retry_after_s, err);
    if (st == RCD_OK && row != RCD__NONE) {
        rcd__row_seal(s, row);
        rcd__publish(s, rcd__record_at(s, at), row);
    } else {
        rcd__row_unref(s, row);
    }
    if (st == RCD_OK)
        st = keep_made(s, at, err);
    pthread_mutex_unlock(&s->lock);
    return st;
}

rcd_status rcd_session_end(rcd_sessions *s, const struct rcd_session_id *id, struct rcd_error *err)
{
    uint32_t at = 0;
    pthread_mutex_lock(&s->lock);
    rcd_status st = rcd__session_find(s, id, &at, err);
    if (st == RCD_OK)
        rcd__session_remove(s, at, RCD_SESSION_ENDED, "ended by a call");
    if (st == RCD_OK)
        st = rcd__keep_now(s, RCD__NONE, err);
    pthread_mutex_unlock(&s->lock);
    return st;
}

/* ---- the state ------------------------------------------------------------------------------------ */

rcd_status rcd_session_state(rcd_sessions *s, const struct rcd_session_id *id, char **ret,
                             uint64_t *ret_steps, struct rcd_error *err)
{
    uint32_t at = 0;
    *ret = rcd_calloc(1, s->row_bytes + 1);
    *ret_steps = 0;
    if (*ret == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a state of %zu bytes", s->row_bytes);
    pthread_mutex_lock(&s->lock);
    rcd_status st = rcd__session_find(s, id, &at, err);
    if (st == RCD_OK && rcd__record_at(s, at)->row != RCD__NONE) {
        const struct rcd__row *row = rcd__row_at(s, rcd__record_at(s, at)->row);
        memcpy(*ret, row->state, s->row_bytes);
        *ret_steps = row->steps;
    }
    pthread_mutex_unlock(&s->lock);
    if (st != RCD_OK) {
        rcd_free(*ret);
        *ret = NULL;
    }
    return st;
}

rcd_status rcd_session_set(rcd_sessions *s, const struct rcd_session_id *id,
                           const struct rcd_tensor *const *states, struct rcd_error *err)
{
    uint32_t at = 0, row = RCD__NONE;
    pthread_mutex_lock(&s->lock);
    rcd_status st = find_idle(s, id, &at, err);
    if (st == RCD_OK) {
        const struct rcd__record *r = rcd__record_at(s, at);
        const struct rcd__row *old = r->row != RCD__NONE ? rcd__row_at(s, r->row) : NULL;
        st = rcd__row_of(s, old != NULL ? old->state : NULL, states, old != NULL ? old->steps : 0,
                         &row, err);
        if (st == RCD_OK) {
            rcd__row_seal(s, row);
            st = rcd__put_row(s, at, row, err);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

rcd_status rcd_session_fork(rcd_sessions *s, const struct rcd_session_id *from,
                            const struct rcd_session_id *to, unsigned *retry_after_s,
                            struct rcd_error *err)
{
    uint32_t at = 0, copy = 0;
    char text[80];
    pthread_mutex_lock(&s->lock);
    rcd_status st = rcd__session_find(s, from, &at, err);
    uint32_t row = st == RCD_OK ? rcd__record_at(s, at)->row : RCD__NONE;
    rcd__row_ref(s, row); /* making room may evict the one we fork */
    if (st == RCD_OK)
        st = rcd__look_up(s, to, &copy, retry_after_s, err);
    if (st == RCD_OK && copy != RCD__NONE)
        st = rcd_fail(err, RCD_ECONFLICT, "model '%s' has a session %s already", s->model,
                      rcd__id_text(text, to));
    if (st == RCD_OK)
        st = rcd__session_make(s, to, RCD__LIVE, &copy, retry_after_s, err);
    if (st == RCD_OK)
        rcd__publish(s, rcd__record_at(s, copy), row);
    else
        rcd__row_unref(s, row);
    if (st == RCD_OK)
        st = keep_made(s, copy, err);
    pthread_mutex_unlock(&s->lock);
    return st;
}

/* ---- snapshots ------------------------------------------------------------------------------------- */

static uint32_t find_snapshot(const rcd_sessions *s, const struct rcd__record *r, const char *name,
                              size_t len, uint32_t *ret_prev)
{
    *ret_prev = RCD__NONE;
    for (uint32_t i = r->extras; i != RCD__NONE;) {
        const struct rcd__extra *x = rcd__slab_at(&s->extras, i);
        if (x->type == RCD__EXTRA_SNAPSHOT && x->len == len && memcmp(x->name, name, len) == 0)
            return i;
        *ret_prev = i;
        i = x->next;
    }
    return RCD__NONE;
}

static rcd_status need_snapshot(const rcd_sessions *s, const struct rcd_session_id *id,
                                const struct rcd__record *r, const char *name, size_t len,
                                uint32_t *ret, uint32_t *ret_prev, struct rcd_error *err)
{
    char text[80], quoted[80];
    *ret = find_snapshot(s, r, name, len, ret_prev);
    if (*ret != RCD__NONE)
        return RCD_OK;
    return rcd_fail(err, RCD_ENOTFOUND, "session %s of model '%s' has no snapshot '%s'",
                    rcd__id_text(text, id), s->model, rcd_quote(quoted, sizeof quoted, name, len));
}

rcd_status rcd_session_forget(rcd_sessions *s, const struct rcd_session_id *id, const char *name,
                              size_t len, struct rcd_error *err)
{
    uint32_t at = 0, x = 0, prev = 0;
    pthread_mutex_lock(&s->lock);
    rcd_status st = rcd__session_find(s, id, &at, err);
    if (st == RCD_OK)
        st = need_snapshot(s, id, rcd__record_at(s, at), name, len, &x, &prev, err);
    if (st == RCD_OK) {
        rcd__extra_drop(s, rcd__record_at(s, at), prev, x);
        rcd__uncharge(s, s->rows.item + sizeof(struct rcd__extra));
        rcd__record_at(s, at)->dirty = 1;
        st = rcd__keep_now(s, at, err);
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

/* Room for a snapshot of this session; it must not be the one that leaves. */
static rcd_status snapshot_room(rcd_sessions *s, uint32_t at, struct rcd_error *err)
{
    bool idle = !rcd__record_at(s, at)->busy;
    if (idle)
        rcd__lru_unlink(s, at);
    rcd_status st = rcd__make_room(s, s->rows.item + sizeof(struct rcd__extra), NULL, err);
    if (idle)
        rcd__lru_link(s, at);
    return st;
}

static rcd_status add_snapshot(rcd_sessions *s, uint32_t session, const char *name, size_t len,
                               struct rcd_error *err)
{
    bool full = false;
    struct rcd__record *r = rcd__record_at(s, session);
    uint32_t prev = 0, old = find_snapshot(s, r, name, len, &prev);
    rcd_status st = old == RCD__NONE ? snapshot_room(s, session, err) : RCD_OK;
    if (st != RCD_OK)
        return st;
    uint32_t at = rcd__slab_take(&s->extras, &full);
    if (at == RCD__NONE) {
        if (old == RCD__NONE)
            rcd__uncharge(s, s->rows.item + sizeof(struct rcd__extra));
        return rcd_fail(err, full ? RCD_ENOSPC : RCD_ENOMEM, "model '%s': no room for a snapshot",
                        s->model);
    }
    if (old != RCD__NONE)
        rcd__extra_drop(s, r, prev, old);
    struct rcd__extra *x = rcd__slab_at(&s->extras, at);
    *x = (struct rcd__extra){
        .next = r->extras, .row = r->row, .type = RCD__EXTRA_SNAPSHOT, .len = (uint8_t)len};
    memcpy(x->name, name, len);
    x->tag = rcd__extra_tag(r, x);
    rcd__row_ref(s, r->row);
    __atomic_store_n(&r->extras, at, __ATOMIC_RELEASE);
    return RCD_OK;
}

static rcd_status keep_snapshot(rcd_sessions *s, uint32_t at, const char *name, size_t len,
                                struct rcd_error *err)
{
    struct rcd__record *r = rcd__record_at(s, at);
    uint32_t generation = r->generation, prev = 0;
    rcd_status st = rcd__keep_now(s, at, err);
    uint32_t x = st != RCD_OK && r->generation == generation ? find_snapshot(s, r, name, len, &prev)
                                                             : RCD__NONE;
    if (x != RCD__NONE) {
        rcd__extra_drop(s, r, prev, x);
        rcd__uncharge(s, s->rows.item + sizeof(struct rcd__extra));
    }
    return st;
}

rcd_status rcd_session_snapshot(rcd_sessions *s, const struct rcd_session_id *id, const char *name,
                                size_t len, uint64_t *ret_steps, struct rcd_error *err)
{
    uint32_t at = 0;
    if (len == 0 || len > RCD_SNAPSHOT_NAME_MAX)
        return rcd_fail(err, RCD_EINVAL, "a snapshot's name has 1 to %d bytes, not %zu",
                        RCD_SNAPSHOT_NAME_MAX, len);
    pthread_mutex_lock(&s->lock);
    rcd_status st = rcd__session_find(s, id, &at, err);
    if (st == RCD_OK)
        st = add_snapshot(s, at, name, len, err);
    if (st == RCD_OK) {
        uint32_t row = rcd__record_at(s, at)->row;
        *ret_steps = row != RCD__NONE ? rcd__row_at(s, row)->steps : 0;
        rcd__record_at(s, at)->dirty = 1;
        st = keep_snapshot(s, at, name, len, err);
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

rcd_status rcd_session_snapshots(rcd_sessions *s, const struct rcd_session_id *id,
                                 struct rcd_snapshot_info *ret, size_t max, size_t *ret_n,
                                 struct rcd_error *err)
{
    uint32_t at = 0;
    *ret_n = 0;
    pthread_mutex_lock(&s->lock);
    rcd_status st = rcd__session_find(s, id, &at, err);
    for (uint32_t i = st == RCD_OK ? rcd__record_at(s, at)->extras : RCD__NONE; i != RCD__NONE;) {
        const struct rcd__extra *x = rcd__slab_at(&s->extras, i);
        if (x->type == RCD__EXTRA_SNAPSHOT) {
            if (*ret_n < max) {
                struct rcd_snapshot_info *info = &ret[*ret_n];
                *info = (struct rcd_snapshot_info){
                    .steps = x->row != RCD__NONE ? rcd__row_at(s, x->row)->steps : 0};
                memcpy(info->name, x->name, x->len);
            }
            ++*ret_n;
        }
        i = x->next;
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

/* ---- going back -------------------------------------------------------------------------------------- */

/* The ring's newest `back` states go; *ret: the last of them, with a reference. */
static rcd_status back_in_ring(rcd_sessions *s, struct rcd__record *r, uint64_t back, uint32_t *ret,
                               struct rcd_error *err)
{
    uint64_t n = 0;
    for (uint32_t i = r->extras; i != RCD__NONE;) {
        const struct rcd__extra *x = rcd__slab_at(&s->extras, i);
        n += x->type == RCD__EXTRA_RING;
        i = x->next;
    }
    if (back > n)
        return rcd_fail(err, RCD_ECONFLICT,
                        "model '%s': %llu steps back are too many, this session can go %llu back "
                        "(sessions.ring of model.json is %u)",
                        s->model, (unsigned long long)back, (unsigned long long)n, s->opts.ring);
    for (uint32_t prev = RCD__NONE, i = r->extras; back > 0 && i != RCD__NONE;) {
        const struct rcd__extra *x = rcd__slab_at(&s->extras, i);
        uint32_t next = x->next;
        if (x->type != RCD__EXTRA_RING) {
            prev = i;
        } else {
            if (--back == 0) {
                rcd__row_ref(s, x->row);
                *ret = x->row;
            }
            rcd__extra_drop(s, r, prev, i);
        }
        i = next;
    }
    return RCD_OK;
}

rcd_status rcd_session_rewind(rcd_sessions *s, const struct rcd_session_id *id, const char *name,
                              size_t len, uint64_t back, struct rcd_error *err)
{
    uint32_t at = 0, x = 0, prev = 0, row = RCD__NONE;
    pthread_mutex_lock(&s->lock);
    rcd_status st = find_idle(s, id, &at, err);
    if (st == RCD_OK && name != NULL) {
        struct rcd__record *r = rcd__record_at(s, at);
        st = need_snapshot(s, id, r, name, len, &x, &prev, err);
        if (st == RCD_OK) {
            row = ((const struct rcd__extra *)rcd__slab_at(&s->extras, x))->row;
            rcd__row_ref(s, row);
            rcd__ring_keep(s, r, 0);
        }
    } else if (st == RCD_OK) {
        st = back_in_ring(s, rcd__record_at(s, at), back, &row, err);
    }
    if (st == RCD_OK)
        st = rcd__put_row(s, at, row, err);
    pthread_mutex_unlock(&s->lock);
    return st;
}
