/* keeper.c - what has to be on disk, when: before the reply (`commit`), at intervals and at the end
 * (`snapshot`), or when there is no room in memory (`spill`).
 *
 * With `commit` a worker leaves the new state in a row of its own and goes on; one thread per store takes
 * all that wait, writes them in one transaction, publishes them and lets their requests go. So the cost of
 * a sync is shared by everything that came while the one before it ran. Lock order: the store's lock, then
 * disk_lock; the thread syncs under disk_lock alone. */
#include "sessions_int.h"

#include <string.h>
#include <syslog.h>
#include <time.h>

enum { SPILL_AT_ONCE = 64, IMAGE_MAX = 1 << 30 };

/* ---- ids that are to leave the disk: kind, length, bytes ---------------------------------------- */

static void note_removed(rcd_sessions *s, const struct rcd_session_id *id)
{
    unsigned char head[2] = {id->text != NULL, (unsigned char)(id->text != NULL ? id->len : 8)};
    rcd_buf_append(&s->removed, head, 2);
    rcd_buf_append(&s->removed, id->text != NULL ? id->text : (const char *)&id->number, head[1]);
}

static rcd_status delete_all(rcd_sessions *s, const struct rcd_buf *ids, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    for (size_t at = 0; st == RCD_OK && at < ids->len;) {
        const char *p = ids->data + at;
        struct rcd_session_id id = {.text = p[0] ? p + 2 : NULL, .len = (unsigned char)p[1]};
        if (id.text == NULL)
            memcpy(&id.number, p + 2, sizeof id.number);
        st = rcd__disk_delete(s, &id, err);
        at += 2 + (size_t)(unsigned char)p[1];
    }
    return st;
}

void rcd__keep_forget(rcd_sessions *s, const struct rcd_session_id *id)
{
    if (s->disk != NULL && s->opts.durable >= RCD_DURABLE_SNAPSHOT)
        note_removed(s, id);
}

/* ---- one transaction, under the store's lock ------------------------------------------------------ */

static uint32_t latest(const rcd_sessions *s, const struct rcd__record *r)
{
    /* a commit that is being written is newer than what is published */
    bool pending = r->busy && s->uses[r->prev].pending != RCD__NONE;
    return pending ? s->uses[r->prev].pending : r->row;
}

static rcd_status put_record(rcd_sessions *s, uint32_t at, struct rcd_error *err)
{
    struct rcd_buf image;
    struct rcd__record *r = rcd__record_at(s, at);
    struct rcd_session_id id = rcd__record_id(s, r);
    rcd_buf_init(&image, IMAGE_MAX);
    rcd_status st = rcd__image_put(s, r, latest(s, r), &image, err);
    if (st == RCD_OK)
        st = rcd__disk_put(s, &id, image.data, image.len, err);
    rcd_buf_done(&image);
    return st;
}

/* What was removed, then these records (NONE: all that changed). */
static rcd_status write_records(rcd_sessions *s, const uint32_t *list, size_t n,
                                struct rcd_error *err)
{
    pthread_mutex_lock(&s->disk_lock);
    rcd_status st = rcd__disk_begin(s, err);
    if (st == RCD_OK) {
        st = delete_all(s, &s->removed, err);
        for (size_t i = 0; st == RCD_OK && list != NULL && i < n; i++)
            st = put_record(s, list[i], err);
        for (uint32_t i = 0; st == RCD_OK && list == NULL && i < s->records.n; i++) {
            const struct rcd__record *r = rcd__record_at(s, i);
            if (r->state == RCD__LIVE && r->dirty)
                st = put_record(s, i, err);
        }
        rcd_status ended = rcd__disk_end(s, st == RCD_OK, st == RCD_OK ? err : NULL);
        st = st == RCD_OK ? ended : st;
    }
    if (st == RCD_OK) {
        s->removed.len = 0;
        for (uint32_t i = 0; list == NULL && i < s->records.n; i++)
            rcd__record_at(s, i)->dirty = 0;
    }
    pthread_mutex_unlock(&s->disk_lock);
    return st;
}

const uint64_t rcd_sync_bounds_ns[RCD_SYNC_BUCKETS] = {100000,     300000,    1000000,   3000000,
                                                       10000000,   30000000,  100000000, 300000000,
                                                       1000000000, UINT64_MAX};

static void note_sync(rcd_sessions *s, uint64_t ns)
{
    size_t b = 0;
    while (ns > rcd_sync_bounds_ns[b])
        b++;
    s->stats.sync_buckets[b]++;
    s->stats.syncs++;
    s->stats.sync_ns += ns;
}

rcd_status rcd__keep_now(rcd_sessions *s, uint32_t at, struct rcd_error *err)
{
    if (s->disk == NULL || s->opts.durable != RCD_DURABLE_COMMIT)
        return RCD_OK;
    uint64_t from = rcd_now_ns();
    rcd_status st = write_records(s, &at, at != RCD__NONE ? 1 : 0, err);
    note_sync(s, rcd_now_ns() - from);
    return st;
}

/* ---- out of memory and back, under the store's lock ------------------------------------------------- */

rcd_status rcd__spill(rcd_sessions *s, struct rcd_error *err)
{
    uint32_t list[SPILL_AT_ONCE];
    size_t n = 0;
    for (uint32_t i = s->lru_head; i != RCD__NONE && n < SPILL_AT_ONCE;) {
        const struct rcd__record *r = rcd__record_at(s, i);
        if (r->state == RCD__LIVE)
            list[n++] = i;
        i = r->next;
    }
    if (n > s->records.used / 8 + 1)
        n = s->records.used / 8 + 1; /* a small store must not be emptied for one that comes */
    if (n == 0)
        return RCD_EUNAVAILABLE;
    rcd_status st = write_records(s, list, n, err);
    for (size_t i = 0; st == RCD_OK && i < n; i++) {
        rcd__session_remove(s, list[i], RCD_SESSION_SPILLED, "no room in memory");
        s->n_spilled++;
    }
    return st;
}

static rcd_status drop_key(rcd_sessions *s, const struct rcd_session_id *id, struct rcd_error *err)
{
    pthread_mutex_lock(&s->disk_lock);
    rcd_status st = rcd__disk_begin(s, err);
    if (st == RCD_OK) {
        st = rcd__disk_delete(s, id, err);
        rcd_status ended = rcd__disk_end(s, st == RCD_OK, err);
        st = st == RCD_OK ? ended : st;
    }
    pthread_mutex_unlock(&s->disk_lock);
    return st;
}

/* The key was removed here, but the disk does not know yet. */
static bool is_removed(const rcd_sessions *s, const struct rcd_session_id *id)
{
    for (size_t at = 0; at < s->removed.len;) {
        const char *p = s->removed.data + at;
        size_t len = (unsigned char)p[1];
        bool same = (p[0] != 0) == (id->text != NULL);
        if (same && id->text != NULL)
            same = len == id->len && memcmp(p + 2, id->text, len) == 0;
        else if (same)
            same = memcmp(p + 2, &id->number, sizeof id->number) == 0;
        if (same)
            return true;
        at += 2 + len;
    }
    return false;
}

rcd_status rcd__restore(rcd_sessions *s, const struct rcd_session_id *id, uint32_t *ret,
                        unsigned *retry_after_s, struct rcd_error *err)
{
    struct rcd_buf image;
    struct rcd__image_about about;
    *ret = RCD__NONE;
    if (s->disk == NULL || s->n_spilled == 0 || is_removed(s, id))
        return RCD_OK;
    rcd_buf_init(&image, IMAGE_MAX);
    rcd_status st = rcd__disk_get(s, id, &image, err);
    if (st == RCD_OK && rcd__image_look(image.data, image.len, &about) &&
        rcd__clock_ms() >= about.last_ms + s->opts.idle_ms) {
        rcd__spilled_expired(s, id);
        st = RCD_ENOTFOUND;
    }
    if (st == RCD_OK)
        st = rcd__image_take(s, id, &image, ret, retry_after_s, err);
    rcd_buf_done(&image);
    if (st == RCD_ENOTFOUND)
        return RCD_OK;
    if (st != RCD_OK)
        return st;
    s->n_spilled--;
    rcd__tell(s, RCD_SESSION_RESTORED, rcd__record_at(s, *ret), "used again");
    struct rcd_error why;
    if (s->opts.durable < RCD_DURABLE_SNAPSHOT && drop_key(s, id, &why) != RCD_OK)
        rcd__store_say(s, LOG_ERR, "%s", why.text); /* memory counts; at the next start, too */
    return RCD_OK;
}

void rcd__spilled_expired(rcd_sessions *s, const struct rcd_session_id *id)
{
    struct rcd_error why;
    if (drop_key(s, id, &why) != RCD_OK) {
        rcd__store_say(s, LOG_ERR, "%s", why.text);
        return;
    }
    s->n_spilled--;
    rcd__expired_on_disk(s, id);
}

/* ---- commit: the thread ---------------------------------------------------------------------------------- */

void rcd__keep_later(rcd_sessions *s, struct rcd_session_wait *p)
{
    p->next = NULL;
    if (s->pending_tail != NULL)
        s->pending_tail->next = p;
    else
        s->pending = p;
    s->pending_tail = p;
    pthread_cond_signal(&s->keeper_work);
}

/* Images of all that wait, one after the other; a failure is the request's own. Under the lock. */
static void images(rcd_sessions *s, struct rcd_session_wait *list, struct rcd_buf *out)
{
    for (struct rcd_session_wait *p = list; p != NULL; p = p->next) {
        const struct rcd__record *r = rcd__record_at(s, p->ref.at);
        p->err.code = RCD_OK;
        p->from = out->len;
        if (r->generation != p->ref.generation)
            p->err.code = rcd_fail(&p->err, RCD_EGONE,
                                   "model '%s': the session was ended meanwhile", s->model);
        else if (!p->turn->end)
            p->err.code = rcd__image_put(s, r, p->row, out, &p->err);
        p->len = out->len - p->from;
        p->id = rcd__record_id(s, r);
        if (p->id.text != NULL) {
            memcpy(p->text, p->id.text, p->id.len);
            p->id.text = p->text;
        }
    }
}

static rcd_status write_group(rcd_sessions *s, struct rcd_session_wait *list,
                              const struct rcd_buf *removed, const struct rcd_buf *bytes,
                              struct rcd_error *err)
{
    rcd_status st = rcd__disk_begin(s, err);
    if (st != RCD_OK)
        return st;
    st = delete_all(s, removed, err);
    for (struct rcd_session_wait *p = list; st == RCD_OK && p != NULL; p = p->next) {
        if (p->err.code != RCD_OK)
            continue;
        st = p->turn->end ? rcd__disk_delete(s, &p->id, err)
                          : rcd__disk_put(s, &p->id, bytes->data + p->from, p->len, err);
    }
    rcd_status ended = rcd__disk_end(s, st == RCD_OK, st == RCD_OK ? err : NULL);
    return st == RCD_OK ? ended : st;
}

/* With the lock held, which is left while it writes. */
static void commit_group(rcd_sessions *s)
{
    struct rcd_session_wait *list = s->pending;
    struct rcd_buf bytes, removed = s->removed;
    struct rcd_error err = {.code = RCD_OK};
    uint64_t from = rcd_now_ns();
    s->pending = s->pending_tail = NULL;
    rcd_buf_init(&s->removed, IMAGE_MAX);
    rcd_buf_init(&bytes, IMAGE_MAX);
    images(s, list, &bytes);
    pthread_mutex_lock(&s->disk_lock);
    pthread_mutex_unlock(&s->lock);
    rcd_status st = write_group(s, list, &removed, &bytes, &err);
    pthread_mutex_unlock(&s->disk_lock);
    rcd_buf_done(&bytes);
    pthread_mutex_lock(&s->lock);
    if (st != RCD_OK) /* to be tried again */
        rcd_buf_append(&s->removed, removed.data, removed.len);
    rcd_buf_done(&removed);
    note_sync(s, rcd_now_ns() - from);
    for (struct rcd_session_wait *p = list; p != NULL; p = p->next) {
        if (p->err.code == RCD_OK && st != RCD_OK)
            p->err = err;
        rcd__commit_ends(s, p);
    }
    pthread_mutex_unlock(&s->lock);
    for (struct rcd_session_wait *p = list, *next; p != NULL; p = next) {
        next = p->next;
        s->opts.committed(p->cookie, &p->err); /* p is the request's */
    }
    pthread_mutex_lock(&s->lock);
}

static void *keeper_main(void *store)
{
    rcd_sessions *s = store;
    struct rcd_error err;
    pthread_mutex_lock(&s->lock);
    while (!s->keeper_stop || s->pending != NULL) {
        if (s->pending != NULL) {
            commit_group(s);
            continue;
        }
        uint64_t at = rcd_now_ns() + s->opts.snapshot_interval_ms * 1000000u;
        const struct timespec until = {.tv_sec = (time_t)(at / 1000000000u),
                                       .tv_nsec = (long)(at % 1000000000u)};
        int rc = pthread_cond_timedwait(&s->keeper_work, &s->lock, &until);
        if (rc != 0 && write_records(s, NULL, 0, &err) != RCD_OK)
            rcd__store_say(s, LOG_ERR, "snapshot: %s", err.text);
    }
    if (write_records(s, NULL, 0, &err) != RCD_OK)
        rcd__store_say(s, LOG_ERR, "the last snapshot was not written: %s", err.text);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

rcd_status rcd__keeper_start(rcd_sessions *s, struct rcd_error *err)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->keeper_work, &attr);
    pthread_condattr_destroy(&attr);
    rcd_buf_init(&s->removed, IMAGE_MAX);
    pthread_mutex_init(&s->disk_lock, NULL);
    s->keeper_ready = true;
    bool thread = s->opts.durable >= RCD_DURABLE_SNAPSHOT;
    bool disk = s->path != NULL && (thread || s->opts.overflow == RCD_OVERFLOW_SPILL);
    if (!disk)
        return RCD_OK;
    rcd_status st = rcd__disk_open(s, s->opts.durable != RCD_DURABLE_NONE, thread, err);
    if (st != RCD_OK)
        return st;
    s->n_spilled = rcd__disk_count(s);
    if (!thread)
        return rcd__drop_doubles(s, err);
    if (pthread_create(&s->keeper, NULL, keeper_main, s) != 0)
        return rcd_fail(err, RCD_EUNAVAILABLE, "no thread for the session store of '%s'", s->model);
    s->keeper_runs = true;
    return RCD_OK;
}

/* Killed between a spill and the end of its stay in memory, or while it came back: memory counts. */
rcd_status rcd__drop_doubles(rcd_sessions *s, struct rcd_error *err)
{
    char text[2][RCD_SESSION_ID_MAX];
    struct rcd_session_id id, before = {.text = NULL};
    unsigned turn = 0;
    while (rcd__disk_next(s, turn > 0 ? &before : NULL, text[turn % 2], &id, NULL)) {
        if (rcd__table_find(s, &id) != RCD__NONE) {
            rcd_status st = drop_key(s, &id, err);
            if (st != RCD_OK)
                return st;
            s->n_spilled--;
        }
        before = id;
        turn = turn % 2 == 0 ? 1 : 2;
    }
    return RCD_OK;
}

void rcd__keeper_stop(rcd_sessions *s)
{
    if (!s->keeper_ready)
        return;
    if (s->keeper_runs) {
        pthread_mutex_lock(&s->lock);
        s->keeper_stop = true;
        pthread_cond_signal(&s->keeper_work);
        pthread_mutex_unlock(&s->lock);
        pthread_join(s->keeper, NULL);
    }
    rcd__disk_close(s);
    rcd_buf_done(&s->removed);
    pthread_mutex_destroy(&s->disk_lock);
    pthread_cond_destroy(&s->keeper_work);
}
