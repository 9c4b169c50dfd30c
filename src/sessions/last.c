/* last.c - answers of steps that ended their sessions, for a client that did not get one and asks again:
 * the newest of a store, for its idle time, in memory. */
#include "sessions_int.h"

#include <string.h>

enum { LAST = 1024, LAST_BYTES = 16 << 20 };

struct rcd__last {
    uint64_t step, input_hash, ended_ms;
    struct rcd_session_id id; /* text: in `text` */
    char text[RCD_SESSION_ID_MAX];
    bool start;
    char *answer; /* NULL: nothing is here */
    size_t len;
};

static void empty(rcd_sessions *s, struct rcd__last *l)
{
    s->last_bytes -= l->answer != NULL ? l->len : 0;
    rcd_free(l->answer);
    l->answer = NULL;
}

void rcd__last_free(rcd_sessions *s)
{
    for (size_t i = 0; s->last != NULL && i < LAST; i++)
        rcd_free(s->last[i].answer);
    rcd_free(s->last);
}

void rcd__last_keep(rcd_sessions *s, const struct rcd_session_id *id, struct rcd_session_turn *turn)
{
    if (turn->answer == NULL || turn->answer_len > LAST_BYTES)
        return;
    if (s->last == NULL && (s->last = rcd_calloc(LAST, sizeof *s->last)) == NULL)
        return; /* a repeat will learn that the session has ended */
    for (size_t i = 0; i < LAST && s->last_bytes + turn->answer_len > LAST_BYTES; i++)
        empty(s, &s->last[(s->n_last + i) % LAST]); /* from the oldest on */
    struct rcd__last *l = &s->last[s->n_last++ % LAST];
    empty(s, l);
    *l = (struct rcd__last){.step = turn->step,
                            .input_hash = turn->input_hash,
                            .ended_ms = rcd__clock_ms(),
                            .id = *id,
                            .start = turn->start,
                            .answer = turn->answer,
                            .len = turn->answer_len};
    if (id->text != NULL)
        memcpy(l->text, id->text, id->len);
    s->last_bytes += l->len;
    turn->answer = NULL;
}

static bool same_id(const struct rcd__last *l, const struct rcd_session_id *id)
{
    if (l->id.text == NULL || id->text == NULL)
        return l->id.text == NULL && id->text == NULL && l->id.number == id->number;
    return l->id.len == id->len && memcmp(l->text, id->text, id->len) == 0;
}

static const struct rcd__last *find(const rcd_sessions *s, const struct rcd_session_id *id,
                                    const struct rcd_session_turn *turn)
{
    for (size_t i = 1; s->last != NULL && i <= LAST && i <= s->n_last; i++) {
        const struct rcd__last *l = &s->last[(s->n_last - i) % LAST];
        if (l->answer != NULL && l->step == turn->step && l->start == turn->start &&
            same_id(l, id) && rcd__clock_ms() < l->ended_ms + s->opts.idle_ms)
            return l;
    }
    return NULL;
}

rcd_status rcd_session_last(rcd_sessions *s, const struct rcd_session_id *id,
                            struct rcd_session_turn *turn, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    if (turn->step == 0 || !turn->end)
        return RCD_ENOTFOUND;
    pthread_mutex_lock(&s->lock);
    const struct rcd__last *l = find(s, id, turn);
    if (l == NULL) {
        st = RCD_ENOTFOUND;
    } else if (l->input_hash != turn->input_hash) {
        st = rcd_fail(err, RCD_ECONFLICT,
                      "model '%s': step %llu was done with other inputs, and ended the session",
                      s->model, (unsigned long long)turn->step);
    } else if ((turn->answer = rcd_alloc(l->len + 1)) == NULL) {
        st = rcd_fail(err, RCD_ENOMEM, "no memory for a stored answer of %zu bytes", l->len);
    } else {
        memcpy(turn->answer, l->answer, l->len);
        turn->answer_len = l->len;
        turn->repeated = true;
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}
