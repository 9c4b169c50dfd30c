/* spill.c - out of memory and back: the least recently used leave for the disk when there is no room, and
 * come back when they are used. All under the store's lock. */
#include "sessions_int.h"

#include <string.h>
#include <syslog.h>

enum { SPILL_AT_ONCE = 64, SEEN_AT_ONCE = 512, MORE_PART = 8 };

static rcd_status put_record(rcd_sessions *s, uint32_t at, struct rcd_error *err)
{
    struct rcd_buf image;
    struct rcd__record *r = rcd__record_at(s, at);
    struct rcd_session_id id = rcd__record_id(s, r);
    rcd_buf_init(&image, RCD__IMAGE_MAX);
    rcd_status st = rcd__image_put(s, r, rcd__latest_row(s, r), &image, err);
    if (st == RCD_OK)
        st = rcd__disk_put(s, &id, image.data, image.len, err);
    rcd_buf_done(&image);
    return st;
}

/* What was removed, then those of these records that the disk does not know. */
static rcd_status write_records(rcd_sessions *s, const uint32_t *list, size_t n,
                                struct rcd_error *err)
{
    size_t dirty = 0;
    for (size_t i = 0; i < n; i++)
        dirty += rcd__record_at(s, list[i])->dirty;
    if (dirty == 0)
        return RCD_OK;
    pthread_mutex_lock(&s->disk_lock);
    rcd_status st = rcd__disk_begin(s, err);
    if (st == RCD_OK) {
        st = rcd__delete_all(s, &s->removed, err);
        for (size_t i = 0; st == RCD_OK && i < n; i++) {
            if (rcd__record_at(s, list[i])->dirty)
                st = put_record(s, list[i], err);
        }
        rcd_status ended = rcd__disk_end(s, st == RCD_OK, st == RCD_OK ? err : NULL);
        st = st == RCD_OK ? ended : st;
    }
    if (st == RCD_OK)
        s->removed.len = 0;
    pthread_mutex_unlock(&s->disk_lock);
    return st;
}

/* The least recently used that are idle; `clean`: of those that the disk knows as they are. One that is on
 * its way to the disk stays until it is there: *ret_later, as for those that are not clean. */
static size_t choose(const rcd_sessions *s, bool clean, uint32_t list[SPILL_AT_ONCE],
                     bool *ret_later)
{
    size_t n = 0, most = s->records.used / 8 + 1; /* a small store must not be emptied for one */
    uint32_t i = s->lru_head;
    for (size_t seen = 0; i != RCD__NONE && n < SPILL_AT_ONCE && n < most; seen++) {
        const struct rcd__record *r = rcd__record_at(s, i);
        if (clean && seen == SEEN_AT_ONCE)
            break;
        bool fits = r->state == RCD__LIVE && !r->writing && !(clean && r->dirty);
        *ret_later = *ret_later || (r->state == RCD__LIVE && !fits);
        if (fits)
            list[n++] = i;
        i = r->next;
    }
    return n;
}

/* With a keeper writing means a sync, which the loop must not wait for: those go first that the disk has as
 * they are; if there are none, the keeper is to write now, and a little more memory is taken meanwhile. */
rcd_status rcd__spill(rcd_sessions *s, struct rcd_error *err)
{
    uint32_t list[SPILL_AT_ONCE];
    bool later = false;
    size_t n = choose(s, s->keeper_runs, list, &later);
    if (n == 0 && later) {
        s->keeper_hurries = true;
        pthread_cond_signal(&s->keeper_work);
        size_t part = s->opts.max_bytes / MORE_PART, some = SPILL_AT_ONCE * s->charge;
        if (s->charged < s->opts.max_bytes + (part > some ? part : some))
            return RCD_EBUSY;
        n = choose(s, false, list, &later);
    }
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

rcd_status rcd__restore(rcd_sessions *s, const struct rcd_session_id *id, uint32_t *ret,
                        unsigned *retry_after_s, struct rcd_error *err)
{
    struct rcd_buf image;
    struct rcd__image_about about;
    *ret = RCD__NONE;
    if (s->disk == NULL || s->n_spilled == 0 || rcd__is_removed(s, id))
        return RCD_OK;
    rcd_buf_init(&image, RCD__IMAGE_MAX);
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
    if (s->opts.durable >= RCD_DURABLE_SNAPSHOT)
        rcd__record_at(s, *ret)->dirty = 0; /* the disk has what was read */
    else if (drop_key(s, id, &why) != RCD_OK)
        rcd__store_say(s, LOG_ERR, "%s", why.text); /* memory counts; at the next start, too */
    return RCD_OK;
}

void rcd__spilled_expired(rcd_sessions *s, const struct rcd_session_id *id)
{
    struct rcd_error why;
    if (s->opts.durable >= RCD_DURABLE_SNAPSHOT) {
        rcd__note_removed(s, id);
    } else if (drop_key(s, id, &why) != RCD_OK) {
        rcd__store_say(s, LOG_ERR, "%s", why.text);
        return;
    }
    s->n_spilled--;
    rcd__expired_on_disk(s, id);
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
