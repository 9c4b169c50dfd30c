/* keeper.c - what has to be on disk, when: before the reply (`commit`), at intervals and at the end
 * (`snapshot`).
 *
 * With `commit` a worker leaves the new state in a row of its own and goes on; one thread per store takes
 * all that wait, writes them in one transaction, publishes them and lets their requests go. So the cost of
 * a sync is shared by everything that came while the one before it ran. Lock order: the store's lock, then
 * disk_lock; the thread syncs under disk_lock alone. */
#include "sessions_int.h"

#include <string.h>
#include <syslog.h>
#include <time.h>

enum { SLICE = 256, SLICE_BYTES = 4 << 20 };
enum { REMOVED_MAX = 4096, SECOND_NS = 1000000000 };

/* ---- ids that are to leave the disk: kind, length, bytes ---------------------------------------- */

void rcd__note_removed(rcd_sessions *s, const struct rcd_session_id *id)
{
    unsigned char head[2] = {id->text != NULL, (unsigned char)(id->text != NULL ? id->len : 8)};
    rcd_buf_append(&s->removed, head, 2);
    rcd_buf_append(&s->removed, id->text != NULL ? id->text : (const char *)&id->number, head[1]);
}

rcd_status rcd__delete_all(rcd_sessions *s, const struct rcd_buf *ids, struct rcd_error *err)
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
        rcd__note_removed(s, id);
}

/* ---- one transaction ------------------------------------------------------ */

uint32_t rcd__latest_row(const rcd_sessions *s, const struct rcd__record *r)
{
    /* a commit that is being written is newer than what is published */
    bool pending = r->busy && s->uses[r->prev].pending != RCD__NONE;
    return pending ? s->uses[r->prev].pending : r->row;
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
    struct rcd_session_wait w = {.ref = {.at = at}, .row = RCD__NONE};
    if (at != RCD__NONE)
        w.ref.generation = rcd__record_at(s, at)->generation;
    rcd__keep_later(s, &w);
    while (!w.done)
        pthread_cond_wait(&s->kept, &s->lock);
    return w.err.code != RCD_OK ? rcd_fail(err, w.err.code, "%s", w.err.text) : RCD_OK;
}

static bool listed(const struct rcd_buf *ids, const struct rcd_session_id *id)
{
    for (size_t at = 0; at < ids->len;) {
        const char *p = ids->data + at;
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

bool rcd__is_removed(const rcd_sessions *s, const struct rcd_session_id *id)
{
    return listed(&s->removed, id) || listed(&s->removing, id);
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
        p->err.code = RCD_OK;
        p->from = out->len;
        p->len = 0;
        if (p->ref.at == RCD__NONE)
            continue; /* a call that waits for what was removed */
        struct rcd__record *r = rcd__record_at(s, p->ref.at);
        if (r->generation != p->ref.generation) {
            p->err.code = rcd_fail(&p->err, RCD_EGONE,
                                   "model '%s': the session was ended meanwhile", s->model);
            continue;
        }
        p->id = rcd__record_id(s, r);
        if (p->id.text != NULL) {
            memcpy(p->text, p->id.text, p->id.len);
            p->id.text = p->text;
        }
        if (p->turn == NULL) {
            r->dirty = 0; /* what changes from here on is not in the image */
            r->writing = 1;
            p->err.code = rcd__image_put(s, r, rcd__latest_row(s, r), out, &p->err);
        } else if (!p->turn->end) {
            p->err.code = rcd__image_put(s, r, p->row, out, &p->err);
        }
        p->len = out->len - p->from;
    }
}

static rcd_status write_group(rcd_sessions *s, struct rcd_session_wait *list,
                              const struct rcd_buf *bytes, struct rcd_error *err)
{
    rcd_status st = rcd__disk_begin(s, err);
    if (st != RCD_OK)
        return st;
    st = rcd__delete_all(s, &s->removing, err);
    for (struct rcd_session_wait *p = list; st == RCD_OK && p != NULL; p = p->next) {
        if (p->err.code != RCD_OK || p->ref.at == RCD__NONE)
            continue;
        st = p->turn != NULL && p->turn->end
                 ? rcd__disk_delete(s, &p->id, err)
                 : rcd__disk_put(s, &p->id, bytes->data + p->from, p->len, err);
    }
    rcd_status ended = rcd__disk_end(s, st == RCD_OK, st == RCD_OK ? err : NULL);
    return st == RCD_OK ? ended : st;
}

/* One transaction: what was removed and all of the list, whose errors say how it went. With the lock held,
 * which is left while it writes. */
static rcd_status write_list(rcd_sessions *s, struct rcd_session_wait *list, struct rcd_error *err)
{
    struct rcd_buf bytes;
    s->removing = s->removed;
    rcd_buf_init(&s->removed, RCD__IMAGE_MAX);
    rcd_buf_init(&bytes, RCD__IMAGE_MAX);
    images(s, list, &bytes);
    pthread_mutex_lock(&s->disk_lock);
    pthread_mutex_unlock(&s->lock);
    rcd_status st = write_group(s, list, &bytes, err);
    pthread_mutex_unlock(&s->disk_lock);
    rcd_buf_done(&bytes);
    pthread_mutex_lock(&s->lock);
    if (st != RCD_OK) /* to be tried again */
        rcd_buf_append(&s->removed, s->removing.data, s->removing.len);
    rcd_buf_done(&s->removing);
    for (struct rcd_session_wait *p = list; p != NULL; p = p->next) {
        if (p->err.code == RCD_OK && st != RCD_OK)
            p->err = *err;
        if (p->turn != NULL || p->ref.at == RCD__NONE)
            continue;
        struct rcd__record *r = rcd__record_at(s, p->ref.at);
        if (r->generation != p->ref.generation)
            continue;
        r->writing = 0;
        if (p->err.code != RCD_OK)
            r->dirty = 1;
    }
    return st;
}

static void commit_group(rcd_sessions *s)
{
    struct rcd_session_wait *list = s->pending, *steps = NULL, **tail = &steps;
    struct rcd_error err = {.code = RCD_OK};
    uint64_t from = rcd_now_ns();
    s->pending = s->pending_tail = NULL;
    (void)write_list(s, list, &err);
    note_sync(s, rcd_now_ns() - from);
    for (struct rcd_session_wait *p = list, *next; p != NULL; p = next) {
        next = p->next;
        if (p->turn == NULL) {
            p->done = true; /* it is the call's again when the lock is left */
            continue;
        }
        rcd__commit_ends(s, p);
        p->next = NULL;
        *tail = p;
        tail = &p->next;
    }
    pthread_cond_broadcast(&s->kept);
    pthread_mutex_unlock(&s->lock);
    for (struct rcd_session_wait *p = steps, *next; p != NULL; p = next) {
        next = p->next;
        s->opts.committed(p->cookie, &p->err); /* p is the request's */
    }
    pthread_mutex_lock(&s->lock);
}

/* A slice of what changed, from record *at on. */
static struct rcd_session_wait *changed(const rcd_sessions *s, struct rcd_session_wait *list,
                                        size_t most, uint32_t *at)
{
    size_t n = 0;
    for (; *at < s->records.n && n < most; ++*at) {
        const struct rcd__record *r = rcd__record_at(s, *at);
        if (r->state != RCD__LIVE || !r->dirty)
            continue;
        list[n] = (struct rcd_session_wait){.ref = {.at = *at, .generation = r->generation},
                                            .row = RCD__NONE};
        if (n > 0)
            list[n - 1].next = &list[n];
        n++;
    }
    return n > 0 ? list : NULL;
}

/* All that changed, in slices, so that nobody waits longer than for the copies of one. */
static void write_changed(rcd_sessions *s, const char *what)
{
    struct rcd_error err = {.code = RCD_OK};
    size_t fit = SLICE_BYTES / (s->charge + 1) + 1, most = fit < SLICE ? fit : SLICE;
    struct rcd_session_wait *room = rcd_alloc(most * sizeof *room);
    rcd_status st = RCD_OK;
    if (room == NULL)
        st = rcd_fail(&err, RCD_ENOMEM, "no memory to write %zu sessions", most);
    for (uint32_t at = 0; st == RCD_OK && (at < s->records.n || s->removed.len > 0);) {
        struct rcd_session_wait *list = changed(s, room, most, &at);
        if (list == NULL && s->removed.len == 0)
            break;
        st = write_list(s, list, &err);
        if (s->pending != NULL)
            commit_group(s);
    }
    rcd_free(room);
    if (st != RCD_OK)
        rcd__store_say(s, LOG_ERR, "%s: %s", what, err.text);
}

static void *keeper_main(void *store)
{
    rcd_sessions *s = store;
    pthread_mutex_lock(&s->lock);
    uint64_t last = rcd_now_ns();
    while (!s->keeper_stop || s->pending != NULL) {
        if (s->pending != NULL) {
            commit_group(s);
            continue;
        }
        uint64_t due = last + s->opts.snapshot_interval_ms * 1000000u, now = rcd_now_ns();
        if (s->removed.len > REMOVED_MAX && due > last + SECOND_NS)
            due = last + SECOND_NS; /* those that search it wait */
        if (due <= now || s->keeper_hurries) {
            s->keeper_hurries = false;
            write_changed(s, "snapshot");
            last = rcd_now_ns();
            continue;
        }
        const struct timespec until = {.tv_sec = (time_t)(due / 1000000000u),
                                       .tv_nsec = (long)(due % 1000000000u)};
        pthread_cond_timedwait(&s->keeper_work, &s->lock, &until);
    }
    write_changed(s, "the last snapshot");
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

rcd_status rcd__keeper_start(rcd_sessions *s, struct rcd_error *err)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(&s->keeper_work, &attr);
    pthread_cond_init(&s->kept, NULL);
    pthread_condattr_destroy(&attr);
    rcd_buf_init(&s->removed, RCD__IMAGE_MAX);
    rcd_buf_init(&s->removing, RCD__IMAGE_MAX);
    pthread_mutex_init(&s->disk_lock, NULL);
    s->keeper_ready = true;
    bool thread = s->opts.durable >= RCD_DURABLE_SNAPSHOT;
    bool disk = s->path != NULL && (thread || s->opts.overflow == RCD_OVERFLOW_SPILL);
    if (!disk)
        return RCD_OK;
    rcd_status st = rcd__disk_open(s, s->opts.durable != RCD_DURABLE_NONE, thread, err);
    if (st != RCD_OK)
        return st;
    if (thread)
        st = rcd__convert_to_disk(s, err);
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
    pthread_cond_destroy(&s->kept);
}
