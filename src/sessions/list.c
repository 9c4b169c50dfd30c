/* list.c - all sessions of a store, one after the other: those in memory by the places of their records,
 * then those on disk by their ids, so that going on costs nothing for what stands before. */
#include "sessions_int.h"

#include <string.h>

static void note(struct rcd_session_cursor *c, const struct rcd_session_id *id)
{
    c->id = *id;
    if (id->text != NULL) {
        memmove(c->text, id->text, id->len);
        c->id.text = c->text;
    }
}

static bool next_record(const rcd_sessions *s, struct rcd_session_cursor *c, size_t *most,
                        struct rcd_session_info *ret)
{
    while (*most > 0 && c->at < s->records.n) {
        const struct rcd__record *r = rcd__record_at(s, c->at++);
        --*most;
        if (r->state != RCD__LIVE)
            continue;
        rcd__describe(s, r, ret);
        return true;
    }
    return false;
}

static bool next_on_disk(rcd_sessions *s, struct rcd_session_cursor *c, size_t *most,
                         struct rcd_session_info *ret, bool *ret_end)
{
    struct rcd_session_id id, *after = c->id.text != NULL || c->id.number != 0 ? &c->id : NULL;
    struct rcd__image_about about;
    char text[RCD_SESSION_ID_MAX];
    while (*most > 0) {
        --*most;
        *ret_end = s->n_spilled == 0 || !rcd__disk_next(s, after, text, &id, &about);
        if (*ret_end)
            return false;
        note(c, &id);
        after = &c->id;
        if (rcd__table_find(s, &id) != RCD__NONE || rcd__is_removed(s, &id))
            continue; /* in memory, too; or about to go */
        *ret = (struct rcd_session_info){.id = id,
                                         .spilled = true,
                                         .last_ms = about.last_ms,
                                         .created_ms = about.created_ms,
                                         .steps = about.steps};
        if (id.text != NULL)
            memcpy(ret->text, id.text, id.len);
        return true;
    }
    return false;
}

bool rcd_session_next(rcd_sessions *s, struct rcd_session_cursor *cursor, size_t *most,
                      struct rcd_session_info *ret, bool *ret_end)
{
    *ret_end = false;
    if (cursor->id.text != NULL)
        cursor->id.text = cursor->text; /* it may have been copied */
    pthread_mutex_lock(&s->lock);
    bool found = !cursor->on_disk && next_record(s, cursor, most, ret);
    cursor->on_disk = cursor->on_disk || (!found && cursor->at >= s->records.n);
    if (!found && cursor->on_disk)
        found = next_on_disk(s, cursor, most, ret, ret_end);
    pthread_mutex_unlock(&s->lock);
    if (found && ret->id.text != NULL)
        ret->id.text = ret->text;
    return found;
}
