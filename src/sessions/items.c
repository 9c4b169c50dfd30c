/* items.c - rows, blobs and extras: made whole, then pointed to, freed when the last pointer is gone. */
#include "sessions_int.h"

#include <string.h>
#include <xxhash.h>

struct rcd__record *rcd__record_at(const rcd_sessions *s, uint32_t at)
{
    return rcd__slab_at(&s->records, at);
}

struct rcd__row *rcd__row_at(const rcd_sessions *s, uint32_t row)
{
    return rcd__slab_at(&s->rows, row);
}

static rcd_status no_room(const rcd_sessions *s, bool full, struct rcd_error *err)
{
    if (full)
        return rcd_fail(err, RCD_ENOSPC, "model '%s': no space for session states: %s", s->model,
                        s->live != NULL ? s->live : "the machine");
    return rcd_fail(err, RCD_ENOMEM, "model '%s': no memory for session states", s->model);
}

typedef uint64_t __attribute__((may_alias)) word;

static void put_word(struct rcd__record *r, uint64_t all)
{
    __atomic_store_n((word *)(void *)&r->row, all, __ATOMIC_RELEASE);
}

uint16_t rcd__word_tag(const struct rcd__record *r, uint32_t row, uint8_t state)
{
    uint16_t tag = (uint16_t)rcd__record_tag(r, row);
    return state == RCD__LIVE ? tag : (uint16_t)~tag; /* never the same */
}

void rcd__record_point(struct rcd__record *r, uint32_t row, uint8_t state)
{
    const struct {
        uint32_t row;
        uint16_t tag, sum;
    } parts = {row, rcd__word_tag(r, row, state), r->sum};
    uint64_t all = 0;
    memcpy(&all, &parts, sizeof all);
    put_word(r, all);
    __atomic_store_n(&r->state, state, __ATOMIC_RELAXED);
}

void rcd__record_clear(struct rcd__record *r)
{
    put_word(r, RCD__FREE_WORD);
    __atomic_store_n(&r->state, (uint8_t)RCD__FREE, __ATOMIC_RELAXED);
}

uint64_t rcd__record_word(const struct rcd__record *r)
{
    return *(const word *)(const void *)&r->row;
}

/* ---- times: 42 bits of milliseconds, and 22 that say whether they are what was written ------------- */

enum { MS_BITS = 42 };

static uint64_t coded(uint64_t ms)
{
    ms &= ((uint64_t)1 << MS_BITS) - 1;
    return ms | (ms * 0x9e3779b97f4a7c15u) >> MS_BITS << MS_BITS;
}

void rcd__touch(struct rcd__record *r, uint64_t ms)
{
    r->last = coded(ms);
}

bool rcd__last_ms(const struct rcd__record *r, uint64_t *ret)
{
    *ret = rcd__last_of(r);
    return r->last == coded(*ret);
}

/* ---- rows ---------------------------------------------------------------------------------- */

rcd_status rcd__row_new(rcd_sessions *s, uint32_t *ret, struct rcd_error *err)
{
    bool full = false;
    *ret = rcd__slab_take(&s->rows, &full);
    if (*ret == RCD__NONE)
        return no_room(s, full, err);
    struct rcd__row *row = rcd__row_at(s, *ret);
    row->refs = 1;
    row->steps = 0;
    row->answer = RCD__NONE;
    return RCD_OK;
}

/* The place is part of it: a row that stands in another one's is damage. */
uint64_t rcd__row_sum(const rcd_sessions *s, uint32_t row)
{
    const struct rcd__row *r = rcd__row_at(s, row);
    uint64_t seed = r->steps * 0x9e3779b97f4a7c15u ^ ((uint64_t)row << 32 | r->answer);
    return XXH3_64bits_withSeed(r->state, s->row_bytes, seed) | 1; /* a free row's is 0 */
}

void rcd__row_seal(const rcd_sessions *s, uint32_t row)
{
    if (s->live != NULL) /* else nobody will ever look at it */
        rcd__row_at(s, row)->sum = rcd__row_sum(s, row);
}

void rcd__row_ref(rcd_sessions *s, uint32_t row)
{
    if (row != RCD__NONE)
        rcd__row_at(s, row)->refs++;
}

void rcd__row_unref(rcd_sessions *s, uint32_t row)
{
    if (row == RCD__NONE)
        return;
    struct rcd__row *r = rcd__row_at(s, row);
    RCD_ASSERT(r->refs > 0);
    if (--r->refs > 0)
        return;
    rcd__blob_free(s, r->answer);
#ifdef RCD_POISON
    memset(r->state, 0xa5, s->row_bytes); /* a reader without a reference shows */
#endif
    rcd__slab_give(&s->rows, row);
}

static rcd_status fits(const struct rcd_state_shape *want, const struct rcd_tensor *t,
                       struct rcd_error *err)
{
    if (t->dtype == want->dtype && t->rank == want->rank &&
        memcmp(t->dims, want->dims, (size_t)want->rank * sizeof *want->dims) == 0)
        return RCD_OK;
    char got[128], text[128];
    return rcd_fail(err, RCD_EINVAL, "state '%s' is %s %s, a session's is %s %s", want->name,
                    rcd_dtype_name(t->dtype), rcd_shape_text(got, sizeof got, t->rank, t->dims),
                    rcd_dtype_name(want->dtype),
                    rcd_shape_text(text, sizeof text, want->rank, want->dims));
}

static size_t state_bytes(const struct rcd_state_shape *shape)
{
    size_t n = 0, bytes = 0;
    RCD_ASSERT(rcd_shape_count(shape->dtype, shape->rank, shape->dims, &n, &bytes));
    return bytes;
}

rcd_status rcd__row_of(rcd_sessions *s, const char *from, const struct rcd_tensor *const *states,
                       uint64_t steps, uint32_t *ret, struct rcd_error *err)
{
    for (size_t i = 0; states != NULL && i < s->opts.n_states; i++) {
        rcd_status st = states[i] != NULL ? fits(&s->states[i], states[i], err) : RCD_OK;
        if (st != RCD_OK)
            return st;
    }
    rcd_status st = rcd__row_new(s, ret, err);
    if (st != RCD_OK)
        return st;
    struct rcd__row *row = rcd__row_at(s, *ret);
    row->steps = steps;
    size_t at = 0;
    for (size_t i = 0; i < s->opts.n_states; i++) {
        size_t bytes = state_bytes(&s->states[i]);
        if (states != NULL && states[i] != NULL)
            memcpy(row->state + at, states[i]->data, bytes);
        else if (from != NULL)
            memcpy(row->state + at, from + at, bytes);
        else
            memset(row->state + at, 0, bytes);
        at += bytes;
    }
    return RCD_OK;
}

/* ---- blobs: stored answers and long ids -------------------------------------------------------- */

enum { SIZE_SHIFT = 28 };

struct rcd__blob *rcd__blob_at(const rcd_sessions *s, uint32_t blob)
{
    return rcd__slab_at(&s->blobs[blob >> SIZE_SHIFT], blob & ((1u << SIZE_SHIFT) - 1));
}

uint64_t rcd__blob_sum(const struct rcd__blob *b, uint32_t blob)
{
    return XXH3_64bits_withSeed(b->data, b->len, b->input_hash ^ ((uint64_t)blob << 32 | b->len)) |
           1;
}

rcd_status rcd__blob_new(rcd_sessions *s, const void *bytes, size_t len, uint64_t input_hash,
                         uint32_t *ret, struct rcd_error *err)
{
    uint32_t size = 0;
    bool full = false;
    while (size < RCD__BLOB_SIZES &&
           ((size_t)RCD__BLOB_MIN << size) < len + sizeof(struct rcd__blob))
        size++;
    if (size == RCD__BLOB_SIZES)
        return rcd_fail(err, RCD_EINVAL,
                        "the answer of a request with 'step' is kept for its repeat, and %zu bytes "
                        "are more than the %zu that can be: ask for fewer outputs",
                        len, (size_t)RCD__BLOB_MIN << (RCD__BLOB_SIZES - 1));
    uint32_t at = rcd__slab_take(&s->blobs[size], &full);
    if (at == RCD__NONE)
        return no_room(s, full, err);
    *ret = size << SIZE_SHIFT | at;
    struct rcd__blob *b = rcd__blob_at(s, *ret);
    memcpy(b->data, bytes, len);
    b->len = (uint32_t)len;
    b->input_hash = input_hash;
    b->sum = rcd__blob_sum(b, *ret);
    return RCD_OK;
}

void rcd__blob_free(rcd_sessions *s, uint32_t blob)
{
    if (blob == RCD__NONE)
        return;
    rcd__slab_give(&s->blobs[blob >> SIZE_SHIFT], blob & ((1u << SIZE_SHIFT) - 1));
}

/* ---- extras ------------------------------------------------------------------------------------- */

void rcd__extra_drop(rcd_sessions *s, struct rcd__record *r, uint32_t prev, uint32_t at)
{
    struct rcd__extra *x = rcd__slab_at(&s->extras, at);
    uint32_t row = x->row;
    if (prev == RCD__NONE)
        r->extras = x->next;
    else
        ((struct rcd__extra *)rcd__slab_at(&s->extras, prev))->next = x->next;
    rcd__slab_give(&s->extras, at);
    rcd__row_unref(s, row);
}

void rcd__ring_keep(rcd_sessions *s, struct rcd__record *r, unsigned newest)
{
    unsigned kept = 0;
    for (uint32_t prev = RCD__NONE, i = r->extras; i != RCD__NONE;) {
        const struct rcd__extra *e = rcd__slab_at(&s->extras, i);
        uint32_t next = e->next;
        if (e->type == RCD__EXTRA_RING && ++kept > newest)
            rcd__extra_drop(s, r, prev, i);
        else
            prev = i;
        i = next;
    }
}
