/* incremental_index.c - which entries hold which index: the sorted edges of Csr in a form that a change of
 * one edge alters in the time of one row. */
#include "incremental.h"
#include "ops/csr_sort.h"

#include <string.h>

static int64_t index_at(const struct rcd_tensor *t, size_t i)
{
    return t->dtype == RCD_I64 ? ((const int64_t *)t->data)[i] : ((const int32_t *)t->data)[i];
}

static uint32_t room(uint32_t len)
{
    return len + len / 8 + 2;
}

void rcd__inv_free(struct rcd__inv *v)
{
    if (v == NULL)
        return;
    rcd_free_large(v->row);
    rcd_free_large(v->pool);
    rcd_free_large(v->factor);
    rcd_free_large(v->target);
    rcd_free(v);
}

/* Sorted edges, as in a full run; slots are where entries lie. */
struct sorted {
    int32_t *ptr, *edge, *slot; /* slot NULL: entries lie side by side */
    void *scratch;
};

static void sorted_done(struct sorted *s)
{
    rcd_free_large(s->ptr);
    rcd_free_large(s->edge);
    rcd_free_large(s->slot);
    rcd_free_large(s->scratch);
}

static bool sort(struct rcd__live *l, struct rcd__inv *v, const struct rcd_tensor *index,
                 struct sorted *s)
{
    const struct rcd__dom *d = v->dom;
    int64_t range[2];
    rcd__index_range(l->team, index, range);
    if (range[0] < 0 || range[1] >= (int64_t)v->over->n) {
        l->why = "indices that count from the end";
        return false;
    }
    const size_t scratch = rcd__sort_scratch(index->n);
    s->ptr = rcd_alloc((v->over->n + 1) * sizeof *s->ptr);
    s->edge = rcd_alloc((index->n + 1) * sizeof *s->edge);
    s->slot = rcd__dom_dense(d) ? NULL : rcd_alloc((index->n + 1) * sizeof *s->slot);
    s->scratch = scratch > 0 ? rcd_alloc_aligned(scratch) : NULL; /* it can do without */
    if (s->ptr == NULL || s->edge == NULL || (s->slot == NULL && !rcd__dom_dense(d))) {
        l->why = "no memory";
        return false;
    }
    const struct rcd__edge_sort what = {
        .dst = index, .rows = (int64_t)v->over->n, .ptr = s->ptr, .edge = s->edge};
    rcd__sort_edges(l->team, &what, s->scratch);
    for (size_t n = 0, p = 0, slot = rcd__dom_run(d, 0, &n); n > 0;
         slot = rcd__dom_run(d, slot + n, &n)) {
        for (size_t k = 0; k < n; k++, p++) {
            v->target[slot + k] = (int32_t)index_at(index, p);
            if (s->slot != NULL)
                s->slot[p] = (int32_t)(slot + k);
        }
    }
    return true;
}

/* Lists with room, one behind the other. */
static bool lay_out(struct rcd__inv *v, const struct sorted *s)
{
    size_t at = 0;
    for (size_t r = 0; r < v->n_rows; r++) {
        struct rcd__inv_row *row = &v->row[r];
        row->len = r < v->over->n ? (uint32_t)(s->ptr[r + 1] - s->ptr[r]) : 0;
        row->begin = (uint32_t)at;
        row->cap = room(row->len);
        at += row->cap;
    }
    v->cap = at + at / 16 + 64;
    v->used = at;
    v->pool = at < UINT32_MAX / 2 ? rcd_alloc(v->cap * sizeof *v->pool) : NULL;
    if (v->pool == NULL)
        return false;
    for (size_t r = 0; r < v->over->n; r++) {
        struct rcd__pair *to = v->pool + v->row[r].begin;
        const int32_t *edge = s->edge + s->ptr[r];
        for (size_t k = 0; k < v->row[r].len; k++)
            to[k] = (struct rcd__pair){s->slot != NULL ? s->slot[edge[k]] : edge[k], -1};
        v->n_live += v->row[r].len;
    }
    return true;
}

struct rcd__inv *rcd__inv_new(struct rcd__live *l, struct rcd__dom *dom, struct rcd__dom *over,
                              const struct rcd_tensor *index)
{
    if ((index->dtype != RCD_I64 && index->dtype != RCD_I32) || index->n != dom->n) {
        l->why = "indices that are not one for each entry";
        return NULL;
    }
    struct rcd__inv *v = rcd_calloc(1, sizeof *v);
    if (v != NULL) {
        v->dom = dom;
        v->over = over;
        v->n_rows = over->cap;
        v->row = rcd_calloc(over->cap + 1, sizeof *v->row);
        v->target = rcd_alloc((dom->cap + 1) * sizeof *v->target);
    }
    if (v == NULL || v->row == NULL || v->target == NULL) {
        rcd__inv_free(v);
        l->why = "no memory";
        return NULL;
    }
    memset(v->target, 0xff, (dom->cap + 1) * sizeof *v->target);
    struct sorted s = {.ptr = NULL};
    if (sort(l, v, index, &s) && !lay_out(v, &s))
        l->why = "no memory";
    sorted_done(&s);
    if (l->why != NULL) {
        rcd__inv_free(v);
        return NULL;
    }
    v->bytes = (over->cap + 1) * sizeof *v->row + (dom->cap + 1) * sizeof *v->target +
               v->cap * sizeof *v->pool;
    l->bytes += v->bytes;
    over->indexed = true;
    return v;
}

/* Where the slot is in its row's list, or belongs. */
static size_t seek(const struct rcd__inv *v, const struct rcd__inv_row *r, int32_t slot)
{
    size_t lo = r->begin, hi = (size_t)r->begin + r->len;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (v->pool[mid].slot < slot)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static bool touch(struct rcd__turn *t, struct rcd__inv *v, struct rcd__list *rows, int32_t row)
{
    bool ok = rcd__list_add(t, rows, row);
    v->touched = rows->at;
    v->n_touched = rows->n;
    return ok;
}

static void take_out(struct rcd__inv *v, int32_t slot)
{
    struct rcd__inv_row *r = &v->row[v->target[slot]];
    size_t at = seek(v, r, slot);
    RCD_ASSERT(at < (size_t)r->begin + r->len && v->pool[at].slot == slot);
    r->len--;
    memmove(v->pool + at, v->pool + at + 1, (r->begin + r->len - at) * sizeof *v->pool);
    if (v->factor != NULL)
        memmove(v->factor + at, v->factor + at + 1, (r->begin + r->len - at) * sizeof *v->factor);
    v->target[slot] = -1;
    v->n_live--;
}

static size_t pool_bytes(const struct rcd__inv *v)
{
    return sizeof *v->pool + (v->factor != NULL ? sizeof *v->factor : 0);
}

/* A list that is full moves to the end of the pool. */
static bool grow(struct rcd__turn *t, struct rcd__inv *v, struct rcd__inv_row *r)
{
    const uint32_t cap = 2 * r->cap;
    if (v->used + cap > v->cap) {
        const size_t more = v->used + cap + v->used / 8;
        struct rcd__pair *pool =
            more < UINT32_MAX / 2 ? rcd_realloc(v->pool, more * sizeof *pool) : NULL;
        v->pool = pool != NULL ? pool : v->pool;
        float *factor = pool != NULL && v->factor != NULL
                            ? rcd_realloc(v->factor, more * sizeof *factor)
                            : NULL;
        v->factor = factor != NULL ? factor : v->factor;
        if (pool == NULL || factor != v->factor)
            return rcd__turn_give_up(t, "no memory");
        t->live->bytes += (more - v->cap) * pool_bytes(v);
        v->cap = more;
    }
    memcpy(v->pool + v->used, v->pool + r->begin, r->len * sizeof *v->pool);
    if (v->factor != NULL)
        memcpy(v->factor + v->used, v->factor + r->begin, r->len * sizeof *v->factor);
    r->begin = (uint32_t)v->used;
    r->cap = cap;
    v->used += cap;
    return true;
}

static bool put_in(struct rcd__turn *t, struct rcd__inv *v, int32_t slot, int32_t row)
{
    struct rcd__inv_row *r = &v->row[row];
    if (r->len == r->cap && !grow(t, v, r))
        return false;
    size_t at = seek(v, r, slot);
    memmove(v->pool + at + 1, v->pool + at, (r->begin + r->len - at) * sizeof *v->pool);
    if (v->factor != NULL)
        memmove(v->factor + at + 1, v->factor + at, (r->begin + r->len - at) * sizeof *v->factor);
    v->pool[at] = (struct rcd__pair){slot, -1};
    r->len++;
    v->target[slot] = row;
    v->n_live++;
    return true;
}

void rcd__inv_turn(struct rcd__turn *t, const struct rcd__ival *value)
{
    struct rcd__inv *v = value->inv;
    struct rcd__list rows = {.n = 0}, moved = {.n = 0};
    for (size_t i = 0; i < v->dom->n_removed; i++) {
        int32_t slot = v->dom->removed[i];
        if (v->target[slot] < 0)
            continue;
        if (!touch(t, v, &rows, v->target[slot]))
            return;
        take_out(v, slot);
    }
    struct rcd_tensor new;
    if (value->dirty == NULL || !rcd__take(t, value, value->dirty, &new))
        return;
    for (size_t i = 0; i < value->dirty->n; i++) {
        const int32_t slot = value->dirty->at[i];
        const int64_t row = index_at(&new, i);
        if (row < 0 || row >= (int64_t)v->over->n) {
            t->why = "an index out of range"; /* the full run says which */
            return;
        }
        if (v->target[slot] == row)
            continue;
        if (v->target[slot] >= 0) {
            if (!touch(t, v, &rows, v->target[slot]))
                return;
            take_out(v, slot);
        }
        if (!put_in(t, v, slot, (int32_t)row) || !touch(t, v, &rows, (int32_t)row) ||
            !rcd__list_add(t, &moved, slot))
            return;
    }
    v->moved = moved.at;
    v->n_moved = moved.n;
}

static void set_col(const struct rcd__inv *v, int32_t slot)
{
    if (v->target[slot] < 0)
        return;
    const struct rcd__inv_row *r = &v->row[v->target[slot]];
    v->pool[seek(v, r, slot)].col = v->cols->target[slot];
}

void rcd__inv_mirror(struct rcd__inv *v, const struct rcd__inv *cols)
{
    v->cols = cols;
    for (size_t r = 0; r < v->n_rows; r++) {
        struct rcd__pair *p = v->pool + v->row[r].begin;
        for (size_t i = 0; i < v->row[r].len; i++)
            p[i].col = cols->target[p[i].slot];
    }
}

void rcd__inv_mirror_turn(const struct rcd__inv *v)
{
    for (size_t i = 0; i < v->n_moved; i++)
        set_col(v, v->moved[i]);
    for (size_t i = 0; i < v->cols->n_moved; i++)
        set_col(v, v->cols->moved[i]);
}

static void all_factors(const struct rcd__inv *v)
{
    const float *from = v->factors->store->data;
    for (size_t r = 0; r < v->n_rows; r++) {
        const size_t begin = v->row[r].begin;
        for (size_t i = begin; i < begin + v->row[r].len; i++)
            v->factor[i] = from[v->pool[i].slot];
    }
}

void rcd__inv_mirror_factors(struct rcd__live *l, struct rcd__inv *v,
                             const struct rcd__ival *factors)
{
    v->factor = rcd_alloc(v->cap * sizeof *v->factor);
    if (v->factor == NULL)
        return; /* they are looked up */
    v->factors = factors;
    l->bytes += v->cap * sizeof *v->factor;
    all_factors(v);
}

static void set_factor(const struct rcd__inv *v, int32_t slot)
{
    if (v->target[slot] >= 0)
        v->factor[seek(v, &v->row[v->target[slot]], slot)] =
            ((const float *)(const void *)v->factors->store->data)[slot];
}

void rcd__inv_factors_turn(struct rcd__inv *v)
{
    const struct rcd__rows *dirty = v->factors != NULL ? v->factors->dirty : NULL;
    if (v->factors == NULL || v->factors_turned)
        return;
    v->factors_turned = true;
    if (dirty != NULL && dirty->n > v->n_live / 16) {
        all_factors(v);
        return;
    }
    for (size_t i = 0; dirty != NULL && i < dirty->n; i++)
        set_factor(v, dirty->at[i]);
    for (size_t i = 0; i < v->n_moved; i++)
        set_factor(v, v->moved[i]);
}
