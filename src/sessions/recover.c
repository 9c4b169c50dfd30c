/* recover.c - the file of durability `process`: made, or taken over from a predecessor that may have died
 * at any moment.
 *
 * The file is a header and then segments, each with a header that says what is in it. Nothing in it is
 * believed: segments are checked by sum, records by sum and range, rows by sum; what is counted (references,
 * free items, idle list, table) is counted anew. A file in which anything was wrong is kept aside under
 * another name, and what was whole in it goes on in a new one. */
#include "sessions_int.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

enum {
    PAGE = RCD__SIZE_UNIT,
    LINE = 64,
    FETCH_AHEAD = 16,  /* records */
    FETCH_BYTES = 512, /* of a row: the processor goes on by itself */
    DIGIT_BITS = 11,
    DIGITS = 1 << DIGIT_BITS
};

static rcd_status io_error(const rcd_sessions *s, const char *what, struct rcd_error *err)
{
    bool full = errno == ENOSPC || errno == EDQUOT;
    return rcd_fail(err, full ? RCD_ENOSPC : RCD_EIO, "%s: %s: %s", s->path, what, strerror(errno));
}

static rcd_status make_file(rcd_sessions *s, struct rcd_error *err)
{
    char page[PAGE] = "";
    struct rcd__head h = rcd__head_of(s);
    uint64_t length = rcd__size_word(PAGE);
    memcpy(page, &h, sizeof h);
    memcpy(page + RCD__SIZE_AT, &length, sizeof length);
    s->file.fd = open(s->live, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (s->file.fd < 0)
        return io_error(s, "cannot be made", err);
    if (write(s->file.fd, page, sizeof page) != (ssize_t)sizeof page)
        return io_error(s, "cannot be written", err);
    s->file.size = PAGE;
    return RCD_OK;
}

/* ---- segments -------------------------------------------------------------------------------- */

static struct rcd__slab *slab_of(rcd_sessions *s, const struct rcd__segment *g)
{
    struct rcd__slab *b = NULL;
    if (g->kind == RCD__RECORDS)
        b = &s->records;
    else if (g->kind == RCD__ROWS)
        b = &s->rows;
    else if (g->kind == RCD__EXTRAS)
        b = &s->extras;
    else if (g->kind >= RCD__BLOBS && g->kind < RCD__BLOBS + RCD__BLOB_SIZES)
        b = &s->blobs[g->kind - RCD__BLOBS];
    return b != NULL && g->item == b->item && g->count == 1u << b->shift ? b : NULL;
}

/* How much of the file counts; false: it does not know, or not so much is there. */
static bool length_of(const rcd_sessions *s, size_t size, size_t *ret)
{
    uint64_t pages = 0;
    *ret = size;
    if (!rcd__size_read(s->file.fd, &pages) || pages > size / PAGE)
        return false;
    *ret = (size_t)pages * PAGE; /* a death while the file grew leaves more */
    return true;
}

static bool adopt(rcd_sessions *s, size_t *at, size_t size)
{
    struct rcd__segment g;
    if (*at + sizeof g > size || pread(s->file.fd, &g, sizeof g, (off_t)*at) != (ssize_t)sizeof g)
        return false;
    struct rcd__slab *b = slab_of(s, &g);
    if (g.magic != RCD__SEGMENT_MAGIC || g.sum != rcd__segment_sum(&g) || b == NULL ||
        g.bytes > size - *at || !rcd__slab_adopt(b, *at, (size_t)g.bytes))
        return false;
    *at = s->file.size += (size_t)g.bytes;
    return true;
}

/* Returns whether all of the file was understood: nothing can stand behind what was not. */
static bool adopt_segments(rcd_sessions *s, size_t size)
{
    size_t at = s->file.size = PAGE; /* what is understood so far */
    bool whole = length_of(s, size, &size);
    while (at < size && adopt(s, &at, size))
        ;
    return whole && at == size;
}

/* ---- items ------------------------------------------------------------------------------------ */

struct count {
    size_t good, bad;
    bool aside;                      /* a copy of the file as it was found is made */
    uint8_t *blobs[RCD__BLOB_SIZES]; /* used */
    uint8_t *extras;
};

static void keep_aside(const rcd_sessions *s, struct count *c);

static bool blob_good(const rcd_sessions *s, uint32_t blob)
{
    uint32_t size = blob >> 28, at = blob & 0xfffffffu;
    if (size >= RCD__BLOB_SIZES || at >= s->blobs[size].n)
        return false;
    const struct rcd__blob *b = rcd__blob_at(s, blob);
    return b->len <= s->blobs[size].item - sizeof *b && b->sum == rcd__blob_sum(b, blob);
}

static void blob_use(rcd_sessions *s, struct count *c, uint32_t blob)
{
    uint32_t size = blob >> 28, at = blob & 0xfffffffu;
    if (blob == RCD__NONE || c->blobs[size][at])
        return;
    c->blobs[size][at] = 1;
    s->blobs[size].used++;
}

static bool row_good(const rcd_sessions *s, uint32_t row)
{
    if (row == RCD__NONE)
        return true;
    if (row >= s->rows.n)
        return false;
    const struct rcd__row *r = rcd__row_at(s, row);
    return r->sum == rcd__row_sum(s, row) && (r->answer == RCD__NONE || blob_good(s, r->answer));
}

static void row_use(rcd_sessions *s, struct count *c, uint32_t row)
{
    if (row == RCD__NONE)
        return;
    struct rcd__row *r = rcd__row_at(s, row);
    if (r->refs++ == 0) {
        s->rows.used++;
        blob_use(s, c, r->answer);
    }
}

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

/* Earlier states: the list is cut where it cannot be followed. */
static void take_extras(rcd_sessions *s, struct count *c, struct rcd__record *r)
{
    uint32_t *link = &r->extras;
    while (*link != RCD__NONE) {
        struct rcd__extra *x = *link < s->extras.n ? rcd__slab_at(&s->extras, *link) : NULL;
        if (x == NULL || c->extras[*link] || x->type < RCD__EXTRA_RING ||
            x->type > RCD__EXTRA_SNAPSHOT || x->len > RCD_SNAPSHOT_NAME_MAX ||
            x->tag != rcd__extra_tag(r, x) || !row_good(s, x->row)) {
            keep_aside(s, c);
            *link = RCD__NONE;
            return;
        }
        c->extras[*link] = 1;
        s->extras.used++;
        row_use(s, c, x->row);
        if (x->type == RCD__EXTRA_SNAPSHOT)
            rcd__charge_anyway(s, s->rows.item + sizeof *x);
        link = &x->next;
    }
}

static void take_record(rcd_sessions *s, struct count *c, uint32_t at)
{
    struct rcd__record *r = rcd__record_at(s, at);
    uint32_t blob = 0;
    bool sound = r->sum == rcd__record_sum(r);
    if (rcd__record_word(r) == RCD__FREE_WORD ||
        (sound && r->tag == rcd__word_tag(r, r->row, RCD__PENDING))) {
        rcd__record_clear(r); /* a request that never ended was to start it */
        return;
    }
    struct rcd_session_id id;
    if (!sound || r->tag != rcd__word_tag(r, r->row, RCD__LIVE) || !id_good(s, r) ||
        !row_good(s, r->row) || (id = rcd__record_id(s, r), rcd__table_find(s, &id) != RCD__NONE)) {
        keep_aside(s, c);
        rcd__record_clear(r);
        c->bad++;
        return;
    }
    uint64_t last_ms = 0;
    if (!rcd__last_ms(r, &last_ms)) {
        keep_aside(s, c);
        rcd__touch(r, rcd__clock_ms());
    }
    r->state = RCD__LIVE;
    r->dirty = 1;
    r->writing = 0;
    memcpy(&blob, r->id, sizeof blob);
    if (r->id_kind == RCD__ID_LONG)
        blob_use(s, c, blob);
    row_use(s, c, r->row);
    r->busy = 0;
    s->records.used++;
    rcd__table_put(s, rcd__id_hash(&id), at);
    rcd__charge_anyway(s, s->charge);
    c->good++;
    take_extras(s, c, r);
}

/* Rows and table are met in any order: with a million sessions waiting for them would be most of the time. */
static void fetch_record(const rcd_sessions *s, uint32_t at)
{
    if (at >= s->records.n)
        return;
    const struct rcd__record *r = rcd__record_at(s, at);
    for (size_t i = 0; r->row < s->rows.n && i < s->rows.item && i < FETCH_BYTES; i += LINE)
        __builtin_prefetch((const char *)rcd__row_at(s, r->row) + i, 1);
    if (r->id_kind != RCD__ID_LONG && id_good(s, r)) {
        struct rcd_session_id id = rcd__record_id(s, r);
        rcd__table_fetch(s, &id);
    }
}

static void sweep(struct rcd__slab *b, const uint8_t *used)
{
    for (uint32_t i = b->n; i > 0; i--) {
        if (!used[i - 1])
            rcd__slab_unused(b, i - 1);
    }
}

/* ---- the idle list, oldest first ---------------------------------------------------------------- */

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

static bool counts_new(const rcd_sessions *s, struct count *c)
{
    bool good = (c->extras = rcd_calloc((size_t)s->extras.n + 1, 1)) != NULL;
    for (size_t i = 0; i < RCD__BLOB_SIZES; i++)
        good = (c->blobs[i] = rcd_calloc((size_t)s->blobs[i].n + 1, 1)) != NULL && good;
    return good;
}

static void counts_free(struct count *c)
{
    rcd_free(c->extras);
    for (size_t i = 0; i < RCD__BLOB_SIZES; i++)
        rcd_free(c->blobs[i]);
}

static rcd_status take_items(rcd_sessions *s, struct count *c, struct rcd_error *err)
{
    if (!counts_new(s, c) || !rcd__table_room(s, s->records.n))
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory to take it over", s->live);
    for (uint32_t i = 0; i < s->rows.n; i++)
        rcd__row_at(s, i)->refs = 0;
    for (uint32_t i = 0; i < s->records.n; i++) {
        fetch_record(s, i + FETCH_AHEAD);
        take_record(s, c, i);
    }
    for (uint32_t i = s->records.n; i > 0; i--) {
        if (rcd__record_at(s, i - 1)->state == RCD__FREE)
            rcd__slab_unused(&s->records, i - 1);
    }
    for (uint32_t i = s->rows.n; i > 0; i--) {
        if (rcd__row_at(s, i - 1)->refs == 0)
            rcd__slab_unused(&s->rows, i - 1);
    }
    sweep(&s->extras, c->extras);
    for (size_t i = 0; i < RCD__BLOB_SIZES; i++)
        sweep(&s->blobs[i], c->blobs[i]);
    if (!rcd__idle_sort(s))
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory to take it over", s->live);
    return RCD_OK;
}

/* ---- the whole ------------------------------------------------------------------------------------- */

/* A copy under another name, before anything is mended: what is whole in the file goes on in place. */
static void keep_aside(const rcd_sessions *s, struct count *c)
{
    if (c->aside)
        return;
    c->aside = true;
    char name[4300];
    rcd__aside_name(s->path != NULL ? s->path : s->live, "damaged", name, sizeof name);
    if (rcd__file_copy(s->file.fd, name))
        rcd__store_say(s, LOG_ERR, "%s is damaged: kept aside as %s", s->live, name);
    else
        rcd__store_say(s, LOG_ERR, "%s is damaged, and cannot be kept aside as %s: %s", s->live,
                       name, strerror(errno));
}

static rcd_status set_aside(rcd_sessions *s, const char *why, struct rcd_error *err)
{
    char name[4300];
    close(s->file.fd);
    s->file.fd = -1;
    if (!rcd__file_aside(s, s->live, "aside", name, sizeof name))
        return io_error(s, "cannot be kept aside", err);
    rcd__store_say(s, LOG_ERR, "%s %s: it is kept aside as %s, and no session of it is served",
                   s->live, why, name);
    return make_file(s, err);
}

static rcd_status take_over(rcd_sessions *s, size_t size, struct rcd_error *err)
{
    struct rcd__head h = {.magic = 0}, mine = rcd__head_of(s);
    struct count c = {.good = 0};
    if (!rcd__head_read(s->file.fd, &h) || size < PAGE)
        return set_aside(s, "is damaged at its head", err);
    if (h.layout != mine.layout || h.row_bytes != mine.row_bytes)
        return set_aside(s, "holds states of another shape", err);
    if (h.fingerprint != mine.fingerprint && !s->opts.carry)
        return set_aside(s, "is of another model file (sessions.reload is not \"carry\")", err);
    bool whole = adopt_segments(s, size);
    if (!whole)
        keep_aside(s, &c);
    rcd_status st = take_items(s, &c, err);
    counts_free(&c);
    if (st != RCD_OK)
        return st;
    if (h.fingerprint != mine.fingerprint)
        rcd__head_write(s);
    uint64_t length = rcd__size_word(s->file.size);
    if (!whole && pwrite(s->file.fd, &length, sizeof length, RCD__SIZE_AT) != sizeof length)
        return io_error(s, "cannot be written", err);
    if (size > s->file.size && ftruncate(s->file.fd, (off_t)s->file.size) != 0)
        return io_error(s, "cannot be cut", err);
    rcd__store_say(s, LOG_NOTICE,
                   "model '%s': %zu sessions taken over from %s, %zu of them damaged", s->model,
                   c.good + c.bad, s->live, c.bad);
    return RCD_OK;
}

static rcd_status open_file(rcd_sessions *s, struct rcd_error *err)
{
    struct stat about;
    s->file.fd = open(s->live, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (s->file.fd < 0 && errno == ENOENT)
        return make_file(s, err);
    if (s->file.fd < 0 || fstat(s->file.fd, &about) != 0)
        return io_error(s, "cannot be opened", err);
    if (!S_ISREG(about.st_mode))
        return rcd_fail(err, RCD_EIO, "%s is not a regular file", s->live);
    return take_over(s, (size_t)about.st_size, err);
}

rcd_status rcd__recover(rcd_sessions *s, struct rcd_error *err)
{
    rcd_status st = rcd__place_open(s, err);
    if (st == RCD_OK)
        st = open_file(s, err);
    if (st == RCD_OK && !rcd__head_stamp(s))
        return io_error(s, "cannot be written", err);
    return st;
}
