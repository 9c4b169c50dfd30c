/* idle.c - the list of idle sessions, oldest first, of a store that was just taken over. */
#include "sessions_int.h"

enum { FETCH_AHEAD = 16, DIGIT_BITS = 11, DIGITS = 1 << DIGIT_BITS };

struct age {
    uint64_t last_ms;
    uint32_t at;
};

/* Oldest first, those of one age in the order given. Digit by digit, since comparing a million takes as long as all
 * the rest of taking them over. Returns which of the two arrays holds them then. */
static struct age *by_age(struct age *from, struct age *to, size_t n)
{
    uint64_t least = UINT64_MAX, most = 0;
    for (size_t i = 0; i < n; i++) {
        least = from[i].last_ms < least ? from[i].last_ms : least;
        most = from[i].last_ms > most ? from[i].last_ms : most;
    }
    for (unsigned shift = 0; n > 0 && shift < 64 && (most - least) >> shift != 0;
         shift += DIGIT_BITS) {
        size_t place[DIGITS + 1] = {0};
        for (size_t i = 0; i < n; i++)
            place[((from[i].last_ms - least) >> shift & (DIGITS - 1)) + 1]++;
        for (size_t d = 0; d < DIGITS; d++)
            place[d + 1] += place[d];
        for (size_t i = 0; i < n; i++)
            to[place[(from[i].last_ms - least) >> shift & (DIGITS - 1)]++] = from[i];
        struct age *was = from;
        from = to;
        to = was;
    }
    return from;
}

bool rcd__idle_sort(rcd_sessions *s)
{
    s->lru_head = s->lru_tail = RCD__NONE;
    size_t n = 0;
    struct age *ages = rcd_alloc(2 * ((size_t)s->records.used + 1) * sizeof *ages);
    uint64_t now = rcd__clock_ms();
    if (ages == NULL)
        return false;
    for (uint32_t i = 0; i < s->records.n; i++) {
        struct rcd__record *r = rcd__record_at(s, i);
        if (r->state != RCD__LIVE)
            continue;
        if (rcd__last_of(r) > now)
            rcd__touch(r, now);
        ages[n++] = (struct age){rcd__last_of(r), i};
    }
    const struct age *sorted = by_age(ages, ages + n, n);
    for (size_t i = 0; i < n; i++) {
        if (i + FETCH_AHEAD < n)
            __builtin_prefetch(rcd__record_at(s, sorted[i + FETCH_AHEAD].at), 1);
        rcd__lru_link(s, sorted[i].at);
    }
    rcd_free(ages);
    return true;
}
