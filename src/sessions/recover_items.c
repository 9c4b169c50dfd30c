/* recover_items.c - what is in the segments of a file that is taken over: records by sum and range, rows and blobs
 * by sum. What is counted (references, free items, idle list, table) is counted anew.
 *
 * With a million sessions all of this is waiting for memory. So two threads read rows and records once, front to
 * back; what then needs an order (who is taken, references, the table) works on arrays, with the table, met in any
 * order, asked for ahead; and rows are put in order while records are. */
#include "sessions_int.h"

#include <pthread.h>
#include <string.h>

enum {
    FETCH_AHEAD = 16,       /* records */
    SHARED_FROM = 1u << 14, /* records; fewer are done before a thread has begun */
};

#define UNSOUND UINT32_MAX

enum found { FOUND_FREE, FOUND_DAMAGED, FOUND_SOUND };

struct counts {
    struct rcd__taken *taken;
    uint32_t *refs;                  /* of each row; UNSOUND: nobody may have it */
    uint8_t *found;                  /* of each record */
    uint64_t *hashes;                /* of the ids of those that are sound */
    uint8_t *blobs[RCD__BLOB_SIZES]; /* used */
    uint8_t *extras;
    bool sorted; /* the idle list */
};

static void damaged(const rcd_sessions *s, struct counts *c)
{
    rcd__keep_damaged(s, &c->taken->aside);
}

/* ---- rows and blobs ------------------------------------------------------------------------------ */

static bool blob_good(const rcd_sessions *s, uint32_t blob)
{
    uint32_t size = blob >> 28, at = blob & 0xfffffffu;
    if (size >= RCD__BLOB_SIZES || at >= s->blobs[size].n)
        return false;
    const struct rcd__blob *b = rcd__blob_at(s, blob);
    return b->len <= s->blobs[size].item - sizeof *b && b->sum == rcd__blob_sum(b, blob);
}

static void blob_use(rcd_sessions *s, struct counts *c, uint32_t blob)
{
    uint32_t size = blob >> 28, at = blob & 0xfffffffu;
    if (blob == RCD__NONE || c->blobs[size][at])
        return;
    c->blobs[size][at] = 1;
    s->blobs[size].used++;
}

/* Also rows that nobody has: which these are is known when all records are read. */
static void check_row(const rcd_sessions *s, struct counts *c, uint32_t i)
{
    const struct rcd__row *r = rcd__row_at(s, i);
    if (r->sum != rcd__row_sum(s, i) || (r->answer != RCD__NONE && !blob_good(s, r->answer)))
        c->refs[i] = UNSOUND;
}

static bool row_good(const rcd_sessions *s, const struct counts *c, uint32_t row)
{
    return row == RCD__NONE || (row < s->rows.n && c->refs[row] != UNSOUND);
}

static void row_use(struct counts *c, uint32_t row)
{
    if (row != RCD__NONE)
        c->refs[row]++;
}

/* ---- records -------------------------------------------------------------------------------------- */

static bool id_good(const rcd_sessions *s, const struct rcd__record *r)
{
    uint32_t blob = 0;
    memcpy(&blob, r->id, sizeof blob);
    switch (r->id_kind) {
    case RCD__ID_NUMBER:
        return r->id_len == 0;
    case RCD__ID_TEXT:
        return r->id_len > 0 && r->id_len <= RCD__ID_INLINE;
    case RCD__ID_LONG:
        return r->id_len <= RCD_SESSION_ID_MAX && blob_good(s, blob) &&
               rcd__blob_at(s, blob)->len == r->id_len;
    default:
        return false;
    }
}

/* What a record is by itself. */
static void check_record(const rcd_sessions *s, struct counts *c, uint32_t i)
{
    const struct rcd__record *r = rcd__record_at(s, i);
    const bool sound = r->sum == rcd__record_sum(r);
    c->found[i] = FOUND_DAMAGED;
    if (rcd__record_word(r) == RCD__FREE_WORD ||
        (sound && r->tag == rcd__word_tag(r, r->row, RCD__PENDING))) {
        c->found[i] = FOUND_FREE; /* or a request that never ended was to start it */
    } else if (sound && r->tag == rcd__word_tag(r, r->row, RCD__LIVE) && id_good(s, r)) {
        const struct rcd_session_id id = rcd__record_id(s, r);
        c->found[i] = FOUND_SOUND;
        c->hashes[i] = rcd__id_hash(&id);
    }
}

struct part {
    rcd_sessions *s;
    struct counts *c;
    size_t number, of;
};

/* A part of the segments of rows and of records. */
static void *check_part(void *arg)
{
    const struct part *p = arg;
    const struct rcd__slab *rows = &p->s->rows, *records = &p->s->records;
    for (size_t g = rows->n_segments * p->number / p->of;
         g < rows->n_segments * (p->number + 1) / p->of; g++) {
        rcd__slab_near(rows, g);
        for (uint32_t i = 0; i < 1u << rows->shift; i++)
            check_row(p->s, p->c, ((uint32_t)g << rows->shift) + i);
    }
    for (size_t g = records->n_segments * p->number / p->of;
         g < records->n_segments * (p->number + 1) / p->of; g++) {
        rcd__slab_near(records, g);
        for (uint32_t i = 0; i < 1u << records->shift; i++)
            check_record(p->s, p->c, ((uint32_t)g << records->shift) + i);
    }
    return NULL;
}

/* Earlier states: the list is cut where it cannot be followed. */
static void take_extras(rcd_sessions *s, struct counts *c, struct rcd__record *r)
{
    uint32_t *link = &r->extras;
    while (*link != RCD__NONE) {
        struct rcd__extra *x = *link < s->extras.n ? rcd__slab_at(&s->extras, *link) : NULL;
        if (x == NULL || c->extras[*link] || x->type < RCD__EXTRA_RING ||
            x->type > RCD__EXTRA_SNAPSHOT || x->len > RCD_SNAPSHOT_NAME_MAX ||
            x->tag != rcd__extra_tag(r, x) || !row_good(s, c, x->row)) {
            damaged(s, c);
            *link = RCD__NONE;
            return;
        }
        c->extras[*link] = 1;
        s->extras.used++;
        row_use(c, x->row);
        if (x->type == RCD__EXTRA_SNAPSHOT)
            rcd__charge_anyway(s, s->rows.item + sizeof *x);
        link = &x->next;
    }
}

static void take_record(rcd_sessions *s, struct counts *c, uint32_t at)
{
    struct rcd__record *r = rcd__record_at(s, at);
    if (c->found[at] == FOUND_FREE) {
        rcd__record_clear(r);
        return;
    }
    if (c->found[at] == FOUND_DAMAGED || !row_good(s, c, r->row) ||
        !rcd__table_add(s, c->hashes[at], at)) {
        damaged(s, c);
        rcd__record_clear(r);
        c->taken->bad++;
        return;
    }
    uint32_t blob = 0;
    uint64_t last_ms = 0;
    if (!rcd__last_ms(r, &last_ms)) {
        damaged(s, c);
        rcd__touch(r, rcd__clock_ms());
    }
    r->state = RCD__LIVE;
    r->dirty = 1;
    r->writing = 0;
    memcpy(&blob, r->id, sizeof blob);
    if (r->id_kind == RCD__ID_LONG)
        blob_use(s, c, blob);
    row_use(c, r->row);
    r->busy = 0;
    s->records.used++;
    c->taken->good++;
    take_extras(s, c, r);
}

static void take_records(rcd_sessions *s, struct counts *c)
{
    for (uint32_t i = 0; i < s->records.n; i++) {
        const uint32_t ahead = i + FETCH_AHEAD;
        if (ahead < s->records.n && c->found[ahead] == FOUND_SOUND) {
            const struct rcd__record *r = rcd__record_at(s, ahead);
            rcd__table_fetch(s, c->hashes[ahead]);
            if (r->row < s->rows.n)
                __builtin_prefetch(&c->refs[r->row], 1);
        }
        take_record(s, c, i);
    }
    rcd__charge_anyway(s, c->taken->good * s->charge);
}

/* ---- what nobody uses: free lists begin with the first items ------------------------------------------ */

static void sweep_records(rcd_sessions *s)
{
    for (uint32_t i = s->records.n; i > 0; i--) {
        if (rcd__record_at(s, i - 1)->state == RCD__FREE)
            rcd__slab_unused(&s->records, i - 1);
    }
}

/* A row is written only if it must be: on a disk each page that is costs a fault. */
static void sweep_rows(rcd_sessions *s, struct counts *c)
{
    for (uint32_t i = s->rows.n; i > 0; i--) {
        uint32_t refs = c->refs[i - 1];
        if (refs == 0 || refs == UNSOUND) {
            rcd__slab_unused(&s->rows, i - 1);
            continue;
        }
        struct rcd__row *r = rcd__row_at(s, i - 1);
        if (r->refs != refs)
            r->refs = refs;
        s->rows.used++;
        blob_use(s, c, r->answer);
    }
}

static void sweep(struct rcd__slab *b, const uint8_t *used)
{
    for (uint32_t i = b->n; i > 0; i--) {
        if (!used[i - 1])
            rcd__slab_unused(b, i - 1);
    }
}

/* These two touch nothing in common. */
static void *order_rows(void *arg)
{
    const struct part *p = arg;
    sweep_rows(p->s, p->c);
    for (size_t i = 0; i < RCD__BLOB_SIZES; i++)
        sweep(&p->s->blobs[i], p->c->blobs[i]);
    return NULL;
}

static void *order_records(void *arg)
{
    const struct part *p = arg;
    sweep_records(p->s);
    sweep(&p->s->extras, p->c->extras);
    p->c->sorted = rcd__idle_sort(p->s);
    return NULL;
}

/* ---- the whole ----------------------------------------------------------------------------------------- */

typedef void *work(void *arg);

/* At once, if there is much to do and a thread can be had. */
static void both(const rcd_sessions *s, work *first, work *second, struct part part[2])
{
    pthread_t helper;
    bool helped =
        s->records.n >= SHARED_FROM && pthread_create(&helper, NULL, second, &part[1]) == 0;
    first(&part[0]);
    if (helped)
        pthread_join(helper, NULL);
    else
        second(&part[1]);
}

static bool counts_new(const rcd_sessions *s, struct counts *c)
{
    bool good = (c->extras = rcd_calloc((size_t)s->extras.n + 1, 1)) != NULL;
    good = (c->refs = rcd_calloc((size_t)s->rows.n + 1, sizeof *c->refs)) != NULL && good;
    good = (c->found = rcd_calloc((size_t)s->records.n + 1, 1)) != NULL && good;
    good = (c->hashes = rcd_calloc((size_t)s->records.n + 1, sizeof *c->hashes)) != NULL && good;
    for (size_t i = 0; i < RCD__BLOB_SIZES; i++)
        good = (c->blobs[i] = rcd_calloc((size_t)s->blobs[i].n + 1, 1)) != NULL && good;
    return good;
}

static void counts_free(struct counts *c)
{
    rcd_free(c->extras);
    rcd_free(c->refs);
    rcd_free(c->found);
    rcd_free(c->hashes);
    for (size_t i = 0; i < RCD__BLOB_SIZES; i++)
        rcd_free(c->blobs[i]);
}

rcd_status rcd__take_items(rcd_sessions *s, struct rcd__taken *taken, struct rcd_error *err)
{
    struct counts c = {.taken = taken};
    struct part part[] = {{s, &c, 0, 2}, {s, &c, 1, 2}};
    if (counts_new(s, &c) && rcd__table_room(s, s->records.n)) {
        both(s, check_part, check_part, part);
        take_records(s, &c);
        both(s, order_records, order_rows, part);
    }
    counts_free(&c);
    if (!c.sorted)
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory to take it over", s->live);
    return RCD_OK;
}
