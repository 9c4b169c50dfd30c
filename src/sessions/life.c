/* life.c - how sessions come and go: room and budget, idleness, reasons. All under the lock.
 *
 * Idle sessions form a list by their last use. All of a store have the same limit, so the first of the
 * list is the next to expire and the one to leave when room is needed. Busy ones are not in it: their
 * clock stands. */
#include "sessions_int.h"

#include <stdio.h>
#include <string.h>

enum { EXPIRE_AT_ONCE = 1000, SWEEP_AT_ONCE = 100, RETRY_MAX_S = 60 };

static const char *const why_gone[RCD_SESSION_EVENTS] = {
    [RCD_SESSION_ENDED] = "it was ended",
    [RCD_SESSION_EXPIRED] = "it expired after its idle time",
    [RCD_SESSION_EVICTED] = "it was evicted to make room"};

const char *rcd_session_event_name(rcd_session_event_kind k)
{
    static const char *const names[] = {"created", "ended",    "expired", "evicted",
                                        "spilled", "restored", "migrated"};
    return names[k];
}

void rcd__tell(rcd_sessions *s, rcd_session_event_kind kind, const struct rcd__record *r,
               const char *reason)
{
    if (s->opts.event == NULL)
        return;
    const struct rcd_session_event e = {.kind = kind,
                                        .id = rcd__record_id(s, r),
                                        .steps =
                                            r->row != RCD__NONE ? rcd__row_at(s, r->row)->steps : 0,
                                        .reason = reason};
    s->opts.event(s->opts.ctx, &e);
}

/* ---- the list of idle sessions ------------------------------------------------------------------ */

void rcd__lru_link(rcd_sessions *s, uint32_t at)
{
    struct rcd__record *r = rcd__record_at(s, at);
    r->next = RCD__NONE;
    r->prev = s->lru_tail;
    if (s->lru_tail != RCD__NONE)
        rcd__record_at(s, s->lru_tail)->next = at;
    else
        s->lru_head = at;
    s->lru_tail = at;
}

void rcd__lru_unlink(rcd_sessions *s, uint32_t at)
{
    const struct rcd__record *r = rcd__record_at(s, at);
    if (r->next != RCD__NONE)
        __builtin_prefetch(rcd__record_at(s, r->next), 1);
    if (r->prev != RCD__NONE)
        rcd__record_at(s, r->prev)->next = r->next;
    else
        s->lru_head = r->next;
    if (r->next != RCD__NONE)
        rcd__record_at(s, r->next)->prev = r->prev;
    else
        s->lru_tail = r->prev;
}

/* ---- the budget ----------------------------------------------------------------------------------- */

bool rcd__charge(rcd_sessions *s, size_t bytes)
{
    struct rcd_session_budget *all = s->opts.budget;
    if (bytes > s->opts.max_bytes || s->charged > s->opts.max_bytes - bytes)
        return false;
    size_t used = __atomic_add_fetch(&all->used, bytes, __ATOMIC_RELAXED);
    if (used > all->max) {
        __atomic_sub_fetch(&all->used, bytes, __ATOMIC_RELAXED);
        return false;
    }
    s->charged += bytes;
    return true;
}

/* What the budget does not hold is kept all the same: it was promised. */
void rcd__charge_anyway(rcd_sessions *s, size_t bytes)
{
    s->charged += bytes;
    __atomic_add_fetch(&s->opts.budget->used, bytes, __ATOMIC_RELAXED);
}

void rcd__uncharge(rcd_sessions *s, size_t bytes)
{
    RCD_ASSERT(s->charged >= bytes);
    s->charged -= bytes;
    __atomic_sub_fetch(&s->opts.budget->used, bytes, __ATOMIC_RELAXED);
}

/* When the session that has been idle longest expires there is room again. */
static unsigned retry_after(const rcd_sessions *s)
{
    uint64_t now = rcd__clock_ms();
    if (s->lru_head == RCD__NONE)
        return RETRY_MAX_S;
    uint64_t end = rcd__last_of(rcd__record_at(s, s->lru_head)) + s->opts.idle_ms;
    uint64_t left = end > now ? (end - now) / 1000 + 1 : 1;
    return left < RETRY_MAX_S ? (unsigned)left : RETRY_MAX_S;
}

rcd_status rcd__make_room(rcd_sessions *s, size_t bytes, unsigned *retry_after_s,
                          struct rcd_error *err)
{
    if (s->unlimited) {
        rcd__charge_anyway(s, bytes);
        return RCD_OK;
    }
    bool fits = rcd__charge(s, bytes);
    while (!fits && s->opts.overflow == RCD_OVERFLOW_SPILL && s->disk != NULL) {
        struct rcd_error why;
        rcd_status st = rcd__spill(s, &why);
        if (st == RCD_EUNAVAILABLE)
            break;
        if (st == RCD_EBUSY) {
            rcd__charge_anyway(s, bytes);
            return RCD_OK;
        }
        if (st != RCD_OK)
            return rcd_fail(err, st, "%s", why.text);
        fits = rcd__charge(s, bytes);
    }
    while (!fits && s->opts.overflow == RCD_OVERFLOW_LRU && s->lru_head != RCD__NONE) {
        rcd__session_remove(s, s->lru_head, RCD_SESSION_EVICTED, "no room: least recently used");
        fits = rcd__charge(s, bytes);
    }
    if (fits)
        return RCD_OK;
    if (retry_after_s != NULL)
        *retry_after_s = retry_after(s);
    if (s->charged > s->opts.max_bytes - bytes || bytes > s->opts.max_bytes)
        return rcd_fail(err, RCD_EUNAVAILABLE,
                        "model '%s': its sessions take %zu bytes, %zu more are over the limit of "
                        "%llu (sessions.max_bytes of model.json)",
                        s->model, s->charged, bytes, (unsigned long long)s->opts.max_bytes);
    return rcd_fail(err, RCD_EUNAVAILABLE,
                    "the sessions of all models take %zu bytes, %zu more are over the limit of %zu "
                    "(sessions.max_bytes)",
                    __atomic_load_n(&s->opts.budget->used, __ATOMIC_RELAXED), bytes,
                    s->opts.budget->max);
}

/* ---- making ------------------------------------------------------------------------------------------ */

static rcd_status put_id(rcd_sessions *s, struct rcd__record *r, const struct rcd_session_id *id,
                         struct rcd_error *err)
{
    memset(r->id, 0, sizeof r->id);
    r->id_len = (uint8_t)id->len;
    if (id->text == NULL) {
        r->id_kind = RCD__ID_NUMBER;
        r->id_len = 0;
        memcpy(r->id, &id->number, sizeof id->number);
    } else if (id->len <= RCD__ID_INLINE) {
        r->id_kind = RCD__ID_TEXT;
        memcpy(r->id, id->text, id->len);
    } else {
        uint32_t blob = RCD__NONE;
        rcd_status st = rcd__blob_new(s, id->text, id->len, 0, &blob, err);
        if (st != RCD_OK)
            return st;
        r->id_kind = RCD__ID_LONG;
        memcpy(r->id, &blob, sizeof blob);
    }
    return RCD_OK;
}

rcd_status rcd__session_make(rcd_sessions *s, const struct rcd_session_id *id, uint8_t state,
                             uint32_t *ret, unsigned *retry_after_s, struct rcd_error *err)
{
    bool full = false;
    rcd_status st = rcd__make_room(s, s->charge, retry_after_s, err);
    if (st != RCD_OK)
        return st;
    uint32_t at = rcd__table_room(s, 1) ? rcd__slab_take(&s->records, &full) : RCD__NONE;
    if (at == RCD__NONE) {
        rcd__uncharge(s, s->charge);
        return rcd_fail(err, full ? RCD_ENOSPC : RCD_ENOMEM, "model '%s': no %s for a session",
                        s->model, full ? "space on disk" : "memory");
    }
    struct rcd__record *r = rcd__record_at(s, at);
    st = put_id(s, r, id, err);
    if (st != RCD_OK) {
        rcd__slab_give(&s->records, at);
        rcd__uncharge(s, s->charge);
        return st;
    }
    uint64_t now = rcd__clock_ms();
    rcd__touch(r, now);
    r->created_s = (uint32_t)(now / 1000);
    r->extras = RCD__NONE;
    r->generation++;
    r->busy = 0;
    r->dirty = 1;
    r->writing = 0;
    r->sum = rcd__record_sum(r);
    rcd__record_point(r, RCD__NONE, state);
    rcd__table_put(s, rcd__id_hash(id), at);
    rcd__lru_link(s, at);
    if (state == RCD__LIVE) {
        s->stats.created++;
        rcd__tell(s, RCD_SESSION_CREATED, r, "made by a call");
    }
    *ret = at;
    return RCD_OK;
}

/* ---- ending --------------------------------------------------------------------------------------------- */

static void remember(rcd_sessions *s, const struct rcd_session_id *id, rcd_session_event_kind why)
{
    if (s->gone != NULL)
        s->gone[s->n_gone++ % RCD__GONE] =
            (struct rcd__gone){.hash = rcd__id_hash(id), .why = (uint8_t)why};
}

/* A session that is busy keeps its use; whoever is at it finds another generation. */
void rcd__session_remove(rcd_sessions *s, uint32_t at, rcd_session_event_kind why,
                         const char *reason)
{
    struct rcd__record *r = rcd__record_at(s, at);
    struct rcd_session_id id = rcd__record_id(s, r);
    uint32_t blob = RCD__NONE, row = r->row;
    if (r->state == RCD__LIVE) {
        s->stats.ended[why]++;
        rcd__tell(s, why, r, reason);
        if (why != RCD_SESSION_SPILLED) {
            remember(s, &id, why);
            rcd__keep_forget(s, &id);
        }
    }
    rcd__table_remove(s, &id);
    rcd__record_clear(r);
    if (r->busy)
        s->uses[r->prev].at = RCD__NONE;
    else
        rcd__lru_unlink(s, at);
    if (r->id_kind == RCD__ID_LONG)
        memcpy(&blob, r->id, sizeof blob);
    while (r->extras != RCD__NONE) {
        const struct rcd__extra *x = rcd__slab_at(&s->extras, r->extras);
        if (x->type == RCD__EXTRA_SNAPSHOT)
            rcd__uncharge(s, s->rows.item + sizeof *x);
        rcd__extra_drop(s, r, RCD__NONE, r->extras);
    }
    r->generation++;
    r->busy = 0;
    rcd__blob_free(s, blob);
    rcd__row_unref(s, row);
    rcd__slab_give(&s->records, at);
    rcd__uncharge(s, s->charge);
}

rcd_status rcd__unknown(const rcd_sessions *s, const struct rcd_session_id *id,
                        struct rcd_error *err)
{
    char text[80];
    uint64_t hash = rcd__id_hash(id);
    size_t n = s->gone != NULL ? s->n_gone : 0;
    for (size_t i = 0; i < n && i < RCD__GONE; i++) {
        const struct rcd__gone *g = &s->gone[(n - 1 - i) % RCD__GONE];
        if (g->hash == hash)
            return rcd_fail(err, RCD_EGONE, "session %s of model '%s' is gone: %s",
                            rcd__id_text(text, id), s->model, why_gone[g->why]);
    }
    return rcd_fail(err, RCD_ENOTFOUND, "model '%s' has no session %s", s->model,
                    rcd__id_text(text, id));
}

void rcd__expired_on_disk(rcd_sessions *s, const struct rcd_session_id *id)
{
    const struct rcd_session_event e = {
        .kind = RCD_SESSION_EXPIRED, .id = *id, .reason = "idle for too long"};
    s->stats.ended[RCD_SESSION_EXPIRED]++;
    remember(s, id, RCD_SESSION_EXPIRED);
    if (s->opts.event != NULL)
        s->opts.event(s->opts.ctx, &e);
}

/* Some of those on disk, going round. */
static void sweep_disk(rcd_sessions *s, uint64_t now)
{
    char text[RCD_SESSION_ID_MAX];
    for (int n = 0; n < SWEEP_AT_ONCE && s->n_spilled > 0; n++) {
        struct rcd_session_id id;
        struct rcd__image_about about;
        s->sweeping = rcd__disk_next(s, s->sweeping ? &s->sweep : NULL, text, &id, &about);
        if (!s->sweeping)
            return;
        if (now >= about.last_ms + s->opts.idle_ms && rcd__table_find(s, &id) == RCD__NONE &&
            !rcd__is_removed(s, &id))
            rcd__spilled_expired(s, &id);
        s->sweep = id;
        if (id.text != NULL) {
            memcpy(s->sweep_text, id.text, id.len);
            s->sweep.text = s->sweep_text;
        }
    }
}

void rcd_sessions_tick(rcd_sessions *s, uint64_t held_ms)
{
    uint64_t now = rcd__clock_ms();
    now = now > held_ms ? now - held_ms : 0;
    pthread_mutex_lock(&s->lock);
    for (int n = 0; n < EXPIRE_AT_ONCE && s->lru_head != RCD__NONE; n++) {
        if (now < rcd__last_of(rcd__record_at(s, s->lru_head)) + s->opts.idle_ms)
            break;
        rcd__session_remove(s, s->lru_head, RCD_SESSION_EXPIRED, "idle for too long");
    }
    sweep_disk(s, now);
    pthread_mutex_unlock(&s->lock);
}
