/* use.c - a request's way through its session: enter, begin, commit or drop, leave.
 *
 * enter and leave are the loop's, around the whole stay in the queue; begin and commit are a worker's,
 * around the run. A session can end in between, by a call: the generation tells. */
#include "sessions_int.h"

#include <string.h>

enum { ROW_SMALL = 64 << 10, NEAR_BYTES = 1024, BRING_MAX = 64 };

/* ---- busy sessions -------------------------------------------------------------------------- */

static bool use_take(rcd_sessions *s, uint32_t at)
{
    struct rcd__record *r = rcd__record_at(s, at);
    if (s->free_use == RCD__NONE) {
        size_t cap = s->cap_uses > 0 ? 2 * s->cap_uses : 64;
        struct rcd__use *more = rcd_realloc(s->uses, cap * sizeof *more);
        if (more == NULL)
            return false;
        for (size_t i = cap; i > s->cap_uses; i--) {
            more[i - 1] = (struct rcd__use){.at = RCD__NONE, .jobs = s->free_use};
            s->free_use = (uint32_t)(i - 1);
        }
        s->uses = more;
        s->cap_uses = cap;
    }
    uint32_t u = s->free_use;
    s->free_use = s->uses[u].jobs;
    s->uses[u] = (struct rcd__use){.at = at, .pending = RCD__NONE};
    s->n_uses++;
    rcd__lru_unlink(s, at);
    r->busy = 1;
    r->prev = u;
    return true;
}

static void *use_give(rcd_sessions *s, uint32_t u)
{
    void *user = s->uses[u].user;
    s->uses[u] = (struct rcd__use){.at = RCD__NONE, .jobs = s->free_use};
    s->free_use = u;
    s->n_uses--;
    return user;
}

static rcd_status unknown(const rcd_sessions *s, const struct rcd_session_id *id,
                          struct rcd_error *err)
{
    struct rcd_error why;
    rcd__unknown(s, id, &why);
    return rcd_fail(err, RCD_EINVAL,
                    "%s; the first request of a sequence must specify the START flag", why.text);
}

/* The worker reads the state in a moment: one of a million is in no cache. */
static void bring_row(const rcd_sessions *s, const struct rcd__record *r)
{
    if (r->row == RCD__NONE)
        return;
    const char *row = (const char *)rcd__row_at(s, r->row);
    size_t bytes = s->rows.item < NEAR_BYTES ? s->rows.item : NEAR_BYTES;
    for (size_t at = 0; at < bytes; at += 64)
        __builtin_prefetch(row + at);
    __builtin_prefetch(row + bytes - 1);
}

/* A load and not a prefetch, which is dropped when the page's address is not at hand; nobody waits for what
 * it brings. */
static void touch(const void *p)
{
    (void)*(const volatile char *)p;
}

/* What rcd__lru_unlink writes. */
static void bring_neighbours(const rcd_sessions *s, const struct rcd__record *r)
{
    if (r->busy)
        return;
    if (r->prev != RCD__NONE)
        touch(rcd__record_at(s, r->prev));
    if (r->next != RCD__NONE)
        touch(rcd__record_at(s, r->next));
}

/* Round by round, and all of a round at once: each needs what the one before has brought. */
void rcd_sessions_bring(rcd_sessions *s, const struct rcd_session_id *const *ids, size_t n)
{
    uint64_t hash[BRING_MAX];
    uint32_t at[BRING_MAX];
    RCD_ASSERT(n <= BRING_MAX);
    for (size_t i = 0; i < n; i++)
        hash[i] = rcd__id_hash(ids[i]);
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < n && s->table_size > 0; i++)
        touch(&s->table[hash[i] & (s->table_size - 1)]);
    for (size_t i = 0; i < n; i++) {
        at[i] = rcd__table_guess(s, hash[i]);
        if (at[i] != RCD__NONE)
            touch(rcd__record_at(s, at[i]));
    }
    for (size_t i = 0; i < n; i++) {
        const struct rcd__record *r = at[i] != RCD__NONE ? rcd__record_at(s, at[i]) : NULL;
        if (r != NULL && r->row != RCD__NONE)
            touch(rcd__row_at(s, r->row));
        if (r != NULL)
            bring_neighbours(s, r);
    }
    for (size_t i = 0; i < n; i++) {
        if (at[i] != RCD__NONE)
            bring_row(s, rcd__record_at(s, at[i]));
    }
    pthread_mutex_unlock(&s->lock);
}

rcd_status rcd_session_enter(rcd_sessions *s, const struct rcd_session_id *id, unsigned flags,
                             struct rcd_session_ref *ret, uint32_t *ret_use,
                             unsigned *retry_after_s, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    pthread_mutex_lock(&s->lock);
    uint32_t at = RCD__NONE;
    st = rcd__look_up(s, id, &at, retry_after_s, err);
    if (st == RCD_OK && at == RCD__NONE && (flags & RCD_SESSION_START) == 0)
        st = unknown(s, id, err);
    else if (st == RCD_OK && at == RCD__NONE)
        st = rcd__session_make(s, id, RCD__PENDING, &at, retry_after_s, err);
    if (st == RCD_OK) {
        struct rcd__record *r = rcd__record_at(s, at);
        bring_row(s, r);
        bool made = r->state == RCD__PENDING && !r->busy;
        if (r->busy || use_take(s, at)) {
            s->uses[r->prev].jobs++;
            *ret = (struct rcd_session_ref){.at = at, .generation = r->generation};
            *ret_use = r->prev;
        } else {
            if (made)
                rcd__session_remove(s, at, RCD_SESSION_ENDED, "");
            st = rcd_fail(err, RCD_ENOMEM, "model '%s': no memory for a session's request",
                          s->model);
        }
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

void **rcd_session_user(rcd_sessions *s, uint32_t use)
{
    return &s->uses[use].user; /* only the loop adds uses, and only the loop asks */
}

void *rcd_session_leave(rcd_sessions *s, uint32_t use)
{
    void *user = NULL;
    pthread_mutex_lock(&s->lock);
    struct rcd__use *u = &s->uses[use];
    uint32_t at = u->at;
    RCD_ASSERT(u->jobs > 0);
    if (--u->jobs == 0) {
        user = use_give(s, use);
        if (at != RCD__NONE) {
            struct rcd__record *r = rcd__record_at(s, at);
            r->busy = 0;
            rcd__touch(r, rcd__clock_ms());
            rcd__lru_link(s, at);
            if (r->state == RCD__PENDING) /* what should have started it failed */
                rcd__session_remove(s, at, RCD_SESSION_ENDED, "");
        }
    }
    pthread_mutex_unlock(&s->lock);
    return user;
}

bool rcd_sessions_slow(const rcd_sessions *s)
{
    return s->disk != NULL || s->row_bytes > ROW_SMALL;
}

bool rcd_session_known(rcd_sessions *s, const struct rcd_session_id *id)
{
    pthread_mutex_lock(&s->lock);
    bool known =
        rcd__table_find(s, id) != RCD__NONE ||
        (s->n_spilled > 0 && !rcd__is_removed(s, id) && rcd__disk_get(s, id, NULL, NULL) == RCD_OK);
    pthread_mutex_unlock(&s->lock);
    return known;
}

enum rcd_session_where rcd_session_where(rcd_sessions *s, const struct rcd_session_id *id)
{
    if (s->disk == NULL)
        return RCD_SESSION_NOWHERE;
    pthread_mutex_lock(&s->lock);
    bool here = rcd__table_find(s, id) != RCD__NONE, away = s->n_spilled > 0;
    pthread_mutex_unlock(&s->lock);
    return here ? RCD_SESSION_IN_MEMORY : away ? RCD_SESSION_ON_DISK : RCD_SESSION_NOWHERE;
}

void rcd_session_fetch(const rcd_sessions *s, const struct rcd_session_id *id)
{
    if (s->disk != NULL)
        rcd__disk_touch(s, id);
}

/* ---- the run ---------------------------------------------------------------------------------- */

static struct rcd__record *live(const rcd_sessions *s, struct rcd_session_ref ref,
                                struct rcd_error *err)
{
    struct rcd__record *r = rcd__record_at(s, ref.at);
    if (r->generation == ref.generation && r->state != RCD__FREE)
        return r;
    rcd_fail(err, RCD_EGONE, "model '%s': the session was ended while the request waited",
             s->model);
    return NULL;
}

/* The stored answer, if this is the step that gave it. */
static rcd_status repeat(const rcd_sessions *s, const struct rcd__row *row,
                         struct rcd_session_turn *turn, struct rcd_error *err)
{
    const struct rcd__blob *b = rcd__blob_at(s, row->answer);
    if (b->input_hash != turn->input_hash) {
        turn->expected = row->steps + 1;
        return rcd_fail(err, RCD_ECONFLICT,
                        "model '%s': step %llu was done with other inputs; the next one is %llu",
                        s->model, (unsigned long long)turn->step,
                        (unsigned long long)turn->expected);
    }
    turn->answer = rcd_alloc(b->len);
    if (turn->answer == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a stored answer of %u bytes", b->len);
    memcpy(turn->answer, b->data, b->len);
    turn->answer_len = b->len;
    turn->repeated = true;
    return RCD_OK;
}

static rcd_status look(const rcd_sessions *s, const struct rcd__record *r,
                       struct rcd_session_turn *turn, struct rcd_error *err)
{
    const struct rcd__row *row = r->row != RCD__NONE ? rcd__row_at(s, r->row) : NULL;
    uint64_t steps = row != NULL ? row->steps : 0, done = turn->start ? 0 : steps;
    turn->steps = done;
    if (turn->step != 0 && turn->step == steps && (!turn->start || turn->step == 1) &&
        row->answer != RCD__NONE)
        return repeat(s, row, turn, err);
    if (turn->step != 0 && turn->step != done + 1) {
        turn->expected = done + 1;
        return rcd_fail(err, RCD_ECONFLICT, "model '%s': step %llu is not the next one, %llu is",
                        s->model, (unsigned long long)turn->step,
                        (unsigned long long)turn->expected);
    }
    return RCD_OK;
}

rcd_status rcd_session_begin(rcd_sessions *s, struct rcd_session_ref ref,
                             struct rcd_session_turn *turn, struct rcd_error *err)
{
    turn->row = RCD__NONE;
    turn->state = NULL;
    pthread_mutex_lock(&s->lock);
    rcd_status st = RCD_EGONE;
    const struct rcd__record *r = live(s, ref, err);
    if (r != NULL && r->state == RCD__PENDING && !turn->start) {
        struct rcd_session_id id = rcd__record_id(s, r);
        st = unknown(s, &id, err);
    } else if (r != NULL) {
        st = look(s, r, turn, err);
        if (st == RCD_OK && !turn->repeated && !turn->start && r->row != RCD__NONE) {
            turn->row = r->row;
            rcd__row_ref(s, r->row);
            turn->state = rcd__row_at(s, r->row)->state;
        }
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

static void release(rcd_sessions *s, struct rcd_session_turn *turn)
{
    rcd__row_unref(s, turn->row);
    turn->row = RCD__NONE;
    turn->state = NULL;
}

void rcd_session_drop(rcd_sessions *s, struct rcd_session_turn *turn)
{
    pthread_mutex_lock(&s->lock);
    release(s, turn);
    pthread_mutex_unlock(&s->lock);
    rcd_free(turn->answer);
    turn->answer = NULL;
}

/* The state that was becomes the ring's newest; the oldest one over its size goes. */
static rcd_status into_ring(rcd_sessions *s, struct rcd__record *r, struct rcd_error *err)
{
    bool full = false;
    if (s->opts.ring == 0)
        return RCD_OK;
    uint32_t at = rcd__slab_take(&s->extras, &full);
    if (at == RCD__NONE)
        return rcd_fail(err, full ? RCD_ENOSPC : RCD_ENOMEM, "model '%s': no room for the ring",
                        s->model);
    struct rcd__extra *x = rcd__slab_at(&s->extras, at);
    *x = (struct rcd__extra){.next = r->extras, .row = r->row, .type = RCD__EXTRA_RING};
    x->tag = rcd__extra_tag(r, x);
    rcd__row_ref(s, r->row);
    __atomic_store_n(&r->extras, at, __ATOMIC_RELEASE);
    rcd__ring_keep(s, r, s->opts.ring);
    return RCD_OK;
}

/* The new state in a row of its own; nobody sees it yet. */
static rcd_status prepare(rcd_sessions *s, const struct rcd_session_turn *turn,
                          const struct rcd_tensor *const *states, const void *answer, size_t len,
                          uint32_t *ret, struct rcd_error *err)
{
    *ret = RCD__NONE;
    if (turn->end)
        return RCD_OK;
    rcd_status st = rcd__row_of(s, turn->state, states, turn->steps + 1, ret, err);
    if (st != RCD_OK)
        return st;
    if (answer != NULL)
        st = rcd__blob_new(s, answer, len, turn->input_hash, &rcd__row_at(s, *ret)->answer, err);
    if (st != RCD_OK) {
        rcd__row_unref(s, *ret);
        return st;
    }
    rcd__row_seal(s, *ret);
    return RCD_OK;
}

static void settle(rcd_sessions *s, struct rcd__record *r, uint32_t at,
                   struct rcd_session_turn *turn, uint32_t row)
{
    struct rcd_error err;
    s->stats.steps++;
    if (!turn->end) {
        /* without room the ring is empty, not wrong */
        if (turn->start || into_ring(s, r, &err) != RCD_OK)
            rcd__ring_keep(s, r, 0);
        rcd__publish(s, r, row);
    }
    if (r->state == RCD__PENDING) {
        rcd__record_point(r, r->row, RCD__LIVE);
        s->stats.created++;
        rcd__tell(s, RCD_SESSION_CREATED, r, "started by a request");
    }
    if (turn->end) {
        struct rcd_session_id id = rcd__record_id(s, r);
        rcd__last_keep(s, &id, turn);
        rcd__session_remove(s, at, RCD_SESSION_ENDED, "ended by a request");
    }
}

void rcd__commit_ends(rcd_sessions *s, struct rcd_session_wait *w)
{
    struct rcd_error gone;
    struct rcd__record *r = live(s, w->ref, &gone);
    if (r != NULL && r->busy)
        s->uses[r->prev].pending = RCD__NONE;
    if (w->err.code == RCD_OK && r == NULL)
        w->err = gone;
    if (w->err.code == RCD_OK)
        settle(s, r, w->ref.at, w->turn, w->row);
    else
        rcd__row_unref(s, w->row);
    if (w->err.code == RCD_OK && !w->turn->end)
        r->dirty = 0;
    release(s, w->turn);
}

rcd_status rcd_session_commit(rcd_sessions *s, struct rcd_session_ref ref,
                              struct rcd_session_turn *turn, const struct rcd_tensor *const *states,
                              const void *answer, size_t answer_len, void *cookie, bool *ret_later,
                              struct rcd_error *err)
{
    uint32_t row = RCD__NONE;
    *ret_later = false;
    pthread_mutex_lock(&s->lock);
    rcd_status st = RCD_EGONE;
    struct rcd__record *r = live(s, ref, err);
    if (r != NULL)
        st = prepare(s, turn, states, answer, answer_len, &row, err);
    if (st == RCD_OK && turn->end && answer != NULL &&
        (turn->answer = rcd_alloc(answer_len)) != NULL) {
        memcpy(turn->answer, answer, answer_len);
        turn->answer_len = answer_len;
    }
    if (st == RCD_OK && s->disk != NULL && s->opts.durable == RCD_DURABLE_COMMIT) {
        s->uses[r->prev].pending = row;
        s->uses[r->prev].starts = turn->start;
        turn->wait =
            (struct rcd_session_wait){.turn = turn, .ref = ref, .row = row, .cookie = cookie};
        *ret_later = true;
        rcd__keep_later(s, &turn->wait);
    } else {
        if (st == RCD_OK)
            settle(s, r, ref.at, turn, row);
        release(s, turn);
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}
