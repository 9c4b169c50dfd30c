/* incremental_sets.c - entries by slots, and sets of them. */
#include "incremental.h"

#include <stdlib.h>
#include <string.h>

/* ---- domains ------------------------------------------------------------------------------- */

struct rcd__dom *rcd__dom_new(struct rcd__live *l, size_t cap, size_t n)
{
    struct rcd__dom *d = rcd_calloc(1, sizeof *d);
    if (d != NULL)
        d->alive = rcd_calloc(cap / 64 + 1, sizeof *d->alive);
    if (d == NULL || d->alive == NULL || cap >= INT32_MAX) {
        rcd__dom_free(d);
        l->why = "no memory";
        return NULL;
    }
    d->cap = cap;
    d->high = d->n = n;
    d->group = -1;
    for (size_t i = 0; i < n / 64; i++)
        d->alive[i] = ~UINT64_C(0);
    if (n % 64 != 0)
        d->alive[n / 64] = (UINT64_C(1) << (n % 64)) - 1;
    d->next = l->doms;
    l->doms = d;
    l->bytes += sizeof *d + (cap / 64 + 1) * sizeof *d->alive;
    return d;
}

void rcd__dom_free(struct rcd__dom *d)
{
    if (d != NULL)
        rcd_free(d->alive);
    rcd_free(d);
}

void rcd__dom_put(struct rcd__dom *d, size_t slot, bool is)
{
    const uint64_t bit = UINT64_C(1) << (slot % 64);
    if (((d->alive[slot / 64] & bit) != 0) == is)
        return;
    d->alive[slot / 64] ^= bit;
    d->n += is ? 1 : (size_t)-1;
    if (is && slot >= d->high)
        d->high = slot + 1;
}

size_t rcd__dom_run(const struct rcd__dom *d, size_t from, size_t *ret_n)
{
    size_t begin = from, end;
    while (begin < d->high && d->alive[begin / 64] >> (begin % 64) == 0)
        begin = (begin / 64 + 1) * 64;
    if (begin >= d->high) {
        *ret_n = 0;
        return d->high;
    }
    begin += (size_t)__builtin_ctzll(d->alive[begin / 64] >> (begin % 64));
    for (end = begin; end < d->high; end = (end / 64 + 1) * 64) {
        const uint64_t gone = ~d->alive[end / 64] >> (end % 64);
        if (gone != 0) {
            end += (size_t)__builtin_ctzll(gone);
            break;
        }
    }
    *ret_n = (end < d->high ? end : d->high) - begin;
    return begin;
}

size_t rcd__dom_at(const struct rcd__dom *d, size_t p)
{
    if (rcd__dom_dense(d))
        return p;
    size_t i = 0;
    for (;; i++) {
        size_t here = (size_t)__builtin_popcountll(d->alive[i]);
        if (p < here)
            break;
        p -= here;
    }
    uint64_t bits = d->alive[i];
    for (; p > 0; p--)
        bits &= bits - 1;
    return 64 * i + (size_t)__builtin_ctzll(bits);
}

bool rcd__dom_is_new(const struct rcd__dom *d, int32_t slot)
{
    size_t lo = 0, hi = d->n_added;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (d->added[mid] < slot)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < d->n_added && d->added[lo] == slot;
}

/* ---- sets of slots ---------------------------------------------------------------------------- */

static void *turn_alloc(struct rcd__turn *t, size_t bytes)
{
    void *p = rcd_arena_alloc(&t->arena, bytes);
    if (p == NULL)
        t->why = "no memory";
    return p;
}

static const struct rcd__rows *collect(struct rcd__turn *t, const struct rcd__dom *d,
                                       const uint64_t *marks, size_t most)
{
    struct rcd__rows *r = turn_alloc(t, sizeof *r);
    int32_t *at = turn_alloc(t, (most + 1) * sizeof *at);
    if (r == NULL || at == NULL)
        return NULL;
    *r = (struct rcd__rows){.at = at};
    for (size_t i = 0; i <= d->high / 64; i++) {
        for (uint64_t bits = marks[i] & d->alive[i]; bits != 0; bits &= bits - 1)
            at[r->n++] = (int32_t)(64 * i + (size_t)__builtin_ctzll(bits));
    }
    r->all = r->n == d->n;
    return r->n > 0 ? r : NULL;
}

static int by_slot(const void *a, const void *b)
{
    const int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
    return x < y ? -1 : x > y;
}

/* A few: sorted, so that nothing is as long as the domain. */
static const struct rcd__rows *few(struct rcd__turn *t, const struct rcd__dom *d,
                                   const int32_t *slots, size_t n)
{
    struct rcd__rows *r = turn_alloc(t, sizeof *r);
    int32_t *at = turn_alloc(t, (n + 1) * sizeof *at);
    if (r == NULL || at == NULL)
        return NULL;
    memcpy(at, slots, n * sizeof *at);
    qsort(at, n, sizeof *at, by_slot);
    *r = (struct rcd__rows){.at = at};
    for (size_t i = 0; i < n; i++) {
        if (rcd__dom_has(d, (size_t)at[i]) && (r->n == 0 || at[r->n - 1] != at[i]))
            at[r->n++] = at[i];
    }
    r->all = r->n == d->n;
    return r->n > 0 ? r : NULL;
}

/* To sort a slot costs about as much as to look at this many words of marks. */
enum { WORDS_OF_SLOT = 16 };

static bool are_few(const struct rcd__dom *d, size_t n)
{
    return n < d->cap / 64 / WORDS_OF_SLOT + 4;
}

bool rcd__marks_expect(struct rcd__turn *t, struct rcd__marks *m, size_t n)
{
    if (m->bits != NULL || are_few(m->dom, m->list.n + n))
        return true;
    m->bits = rcd_arena_calloc(&t->arena, m->dom->cap / 64 + 1, sizeof *m->bits);
    if (m->bits == NULL)
        return rcd__turn_give_up(t, "no memory");
    for (size_t i = 0; i < m->list.n; i++)
        (void)rcd__marks_add(t, m, m->list.at[i]);
    return true;
}

const struct rcd__rows *rcd__rows_marked(struct rcd__turn *t, const struct rcd__marks *m)
{
    if (m->bits != NULL)
        return collect(t, m->dom, m->bits, m->dom->n);
    return m->list.n > 0 ? few(t, m->dom, m->list.at, m->list.n) : NULL;
}

const struct rcd__rows *rcd__rows_of(struct rcd__turn *t, const struct rcd__dom *d,
                                     const int32_t *slots, size_t n)
{
    struct rcd__marks m = {.dom = d};
    if (!rcd__marks_expect(t, &m, n))
        return NULL;
    if (m.bits == NULL)
        return n > 0 ? few(t, d, slots, n) : NULL;
    for (size_t i = 0; i < n; i++)
        (void)rcd__marks_add(t, &m, slots[i]);
    return rcd__rows_marked(t, &m);
}

const struct rcd__rows *rcd__rows_all(struct rcd__turn *t, const struct rcd__dom *d)
{
    return d->n > 0 ? collect(t, d, d->alive, d->n) : NULL;
}

const struct rcd__rows *rcd__rows_join(struct rcd__turn *t, const struct rcd__dom *d,
                                       const struct rcd__rows *a, const struct rcd__rows *b)
{
    if (a == NULL || b == NULL || a == b)
        return a != NULL ? a : b;
    if (a->all || b->all)
        return a->all ? a : b;
    int32_t *both = turn_alloc(t, (a->n + b->n) * sizeof *both);
    struct rcd__rows *r = turn_alloc(t, sizeof *r);
    if (both == NULL || r == NULL)
        return NULL;
    size_t n = 0, i = 0, j = 0;
    while (i < a->n || j < b->n) {
        int32_t x = i < a->n ? a->at[i] : INT32_MAX, y = j < b->n ? b->at[j] : INT32_MAX;
        both[n++] = x < y ? x : y;
        i += x <= y;
        j += y <= x;
    }
    if (n == a->n || n == b->n)
        return n == a->n ? a : b;
    *r = (struct rcd__rows){.n = n, .at = both, .all = n == d->n};
    return r;
}

bool rcd__list_add(struct rcd__turn *t, struct rcd__list *l, int32_t slot)
{
    if (l->n == l->cap) {
        const size_t cap = 2 * l->cap + 64;
        int32_t *more = turn_alloc(t, cap * sizeof *more);
        if (more == NULL)
            return false;
        if (l->n > 0)
            memcpy(more, l->at, l->n * sizeof *more);
        l->at = more;
        l->cap = cap;
    }
    l->at[l->n++] = slot;
    return true;
}
