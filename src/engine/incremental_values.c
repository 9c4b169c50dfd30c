/* incremental_values.c - values as rows: in stores, packed, and whole. */
#include "incremental.h"

#include <string.h>

/* ---- memory ------------------------------------------------------------------------------------ */

void rcd__rowstore_unref(struct rcd__rowstore *s)
{
    /* acq_rel: the last holder must see all others' use before it frees */
    if (s != NULL && __atomic_sub_fetch(&s->refs, 1, __ATOMIC_ACQ_REL) == 0) {
        rcd_free_large(s->data);
        rcd_free(s);
    }
}

struct rcd__rowstore *rcd__rowstore_new(size_t bytes)
{
    struct rcd__rowstore *s = rcd_calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->refs = 1;
    s->bytes = bytes;
    s->data = rcd_alloc_aligned(bytes + RCD_ALIGN);
    if (s->data == NULL) {
        rcd_free(s);
        return NULL;
    }
    return s;
}

char *rcd__writable(struct rcd__turn *t, struct rcd__ival *v)
{
    if (__atomic_load_n(&v->store->refs, __ATOMIC_ACQUIRE) == 1)
        return v->store->data;
    struct rcd__rowstore *own = rcd__rowstore_new(v->store->bytes);
    if (own == NULL) {
        t->why = "no memory";
        return NULL;
    }
    /* somebody still reads the old rows */
    const size_t used = v->outer == 1 ? v->dom->high * rcd__stored_bytes(v) : v->store->bytes;
    memcpy(own->data, v->store->data, used);
    rcd__rowstore_unref(v->store);
    v->store = own;
    return own->data;
}

/* ---- copying -------------------------------------------------------------------------------------- */

void rcd__rows_copy(char *to, size_t to_n, const int32_t *to_at, const char *from, size_t from_n,
                    const int32_t *from_at, size_t n, size_t outer, size_t inner)
{
    for (size_t o = 0; o < outer; o++) {
        char *out = to + o * to_n * inner;
        const char *in = from + o * from_n * inner;
        if (to_at == NULL && from_at == NULL && n > 0) {
            memcpy(out, in, n * inner);
            continue;
        }
        for (size_t i = 0; i < n; i++) {
            char *a = out + (to_at != NULL ? (size_t)to_at[i] : i) * inner;
            const char *b = in + (from_at != NULL ? (size_t)from_at[i] : i) * inner;
            if (inner == 4)
                memcpy(a, b, 4);
            else if (inner == 8)
                memcpy(a, b, 8);
            else
                memcpy(a, b, inner);
        }
    }
}

/* Rows of all entries, from `packed` (and then not written) or to it. */
static void move_all(const struct rcd__ival *v, char *packed, bool to_store)
{
    const struct rcd__dom *d = v->dom;
    for (size_t n = 0, p = 0, slot = rcd__dom_run(d, 0, &n); n > 0;
         p += n, slot = rcd__dom_run(d, slot + n, &n)) {
        for (size_t o = 0; o < v->outer; o++) {
            char *close = packed + (o * d->n + p) * v->inner,
                 *kept = (char *)v->store->data + (o * d->cap + slot) * v->inner;
            rcd__copy(to_store ? kept : close, to_store ? close : kept, n * v->inner);
        }
    }
}

void rcd__rows_pack(const struct rcd__ival *v, char *packed)
{
    move_all(v, packed, false);
}

/* ---- while a binding is made ------------------------------------------------------------------------ */

static struct rcd_tensor shape_of(const struct rcd_tensor *t)
{
    struct rcd_tensor s = *t;
    s.data = NULL;
    s.block = NULL;
    return s;
}

/* Within what may be kept; SIZE_MAX: too much in any case. */
static bool new_store(struct rcd__live *l, struct rcd__ival *v, size_t bytes)
{
    if (l->bytes > l->max_bytes || bytes == SIZE_MAX || bytes > l->max_bytes - l->bytes) {
        l->why = "more bytes than may be kept";
        return false;
    }
    v->store = rcd__rowstore_new(bytes);
    if (v->store == NULL) {
        l->why = "no memory";
        return false;
    }
    l->bytes += bytes;
    return true;
}

enum { SQUEEZE_ROWS = 2048, LOOK_ROWS = 48 };

void rcd__squeeze(const struct rcd_kernels *kern, size_t n, size_t width, const float *from,
                  float *to)
{
    memset(to, 0, n * (width + RCD_SQUEEZED_MORE) * sizeof *to);
    kern->squeeze(n, width, from, to);
}

/* Many rows, and, by the first of them, at least a quarter of zeros, as in a full run (ops/chain.c). */
static bool can_squeeze(const struct rcd__live *l, const struct rcd__ival *v,
                        const struct rcd_tensor *t)
{
    const size_t width = v->inner / sizeof(float);
    if (!v->sums_read || v->out || l->plan->kernels->squeeze == NULL || t->dtype != RCD_F32 ||
        v->axis != 0 || (width != RCD_SQUEEZED && width != RCD_SQUEEZED / 2) ||
        v->dom->n < SQUEEZE_ROWS || !rcd__dom_dense(v->dom))
        return false;
    size_t zeros = 0;
    for (size_t i = 0; i < LOOK_ROWS * width; i++)
        zeros += ((const float *)t->data)[i] == 0.0f;
    return zeros >= LOOK_ROWS * width / 4;
}

static void squeeze_all(const struct rcd_kernels *kern, const struct rcd__ival *v,
                        const struct rcd_tensor *t)
{
    const size_t width = v->inner / sizeof(float), row = width + RCD_SQUEEZED_MORE;
    const float *from = t->data;
    float *to = (float *)v->store->data;
    for (size_t i = 0; i < v->dom->n; i += LOOK_ROWS) {
        const size_t n = v->dom->n - i < LOOK_ROWS ? v->dom->n - i : LOOK_ROWS;
        rcd__squeeze(kern, n, width, from + i * width, to + i * row);
    }
}

bool rcd__make_rows(struct rcd__live *l, rcd_value_id id, const struct rcd_tensor *t,
                    struct rcd__dom *dom, int axis)
{
    struct rcd__ival *v = rcd__ival(l, id);
    if ((size_t)t->dims[axis] != dom->n || t->dtype == RCD_BYTES) {
        l->why = "a value whose rows are not its entries";
        return false;
    }
    v->kind = RCD__ROWS;
    v->t = shape_of(t);
    v->dom = dom;
    v->axis = axis;
    v->outer = rcd__span(t->dims, 0, axis);
    v->inner = rcd__span(t->dims, axis + 1, t->rank) * rcd_dtype_size(t->dtype);
    if (!v->keep || v->same)
        return true;
    v->squeezed = can_squeeze(l, v, t);
    size_t bytes = 0;
    if (!rcd_mul(dom->cap * v->outer, rcd__stored_bytes(v), &bytes))
        bytes = SIZE_MAX;
    if (!new_store(l, v, bytes))
        return false;
    if (v->squeezed) {
        squeeze_all(l->plan->kernels, v, t);
        return true;
    }
    move_all(v, t->data, true);
    return true;
}

bool rcd__make_whole(struct rcd__live *l, rcd_value_id id, const struct rcd_tensor *t)
{
    struct rcd__ival *v = rcd__ival(l, id);
    const size_t bytes = t->n * rcd_dtype_size(t->dtype);
    if (!new_store(l, v, t->dtype == RCD_BYTES ? SIZE_MAX : bytes))
        return false;
    v->kind = RCD__WHOLE;
    v->t = shape_of(t);
    v->t.data = v->store->data;
    if (bytes > 0)
        memcpy(v->t.data, t->data, bytes);
    return true;
}

/* ---- turns ------------------------------------------------------------------------------------------ */

static bool new_tensor(struct rcd__turn *t, struct rcd_tensor *ret, rcd_dtype type, int rank,
                       const int64_t *dims)
{
    struct rcd_error err;
    if (rcd_tensor_new(ret, t->x->pool, type, rank, dims, &err) == RCD_OK)
        return true;
    t->why = "no memory";
    return false;
}

bool rcd__packed(struct rcd__turn *t, const struct rcd__ival *v, size_t n, struct rcd_tensor *ret)
{
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, v->t.dims, sizeof dims);
    dims[v->axis] = (int64_t)n;
    return new_tensor(t, ret, v->t.dtype, v->t.rank, dims);
}

/* Memory of the turn that a tensor without a block may lie in. */
static bool turn_tensor(struct rcd__turn *t, const struct rcd_tensor *like, struct rcd_tensor *ret)
{
    *ret = *like;
    ret->block = NULL;
    ret->data = rcd_arena_alloc_aligned(&t->arena, like->n * rcd_dtype_size(like->dtype) + 1);
    if (ret->data == NULL)
        t->why = "no memory";
    return ret->data != NULL;
}

static void set_axis(struct rcd_tensor *s, int axis, size_t n)
{
    s->dims[axis] = (int64_t)n;
    s->n = rcd__span(s->dims, 0, s->rank);
}

bool rcd__take(struct rcd__turn *t, const struct rcd__ival *v, const struct rcd__rows *rows,
               struct rcd_tensor *ret)
{
    if (v->dirty == rows && v->fresh.dtype != RCD_NONE) {
        *ret = v->fresh;
        ret->block = NULL;
        return true;
    }
    if (v->store == NULL || v->squeezed)
        return rcd__turn_give_up(t, "rows that were not kept");
    struct rcd_tensor shape = v->t;
    set_axis(&shape, v->axis, rows->n);
    if (rows->all && v->outer == 1 && rcd__dom_dense(v->dom)) {
        *ret = shape;
        ret->data = v->store->data;
        ret->block = NULL;
        return true;
    }
    if (!turn_tensor(t, &shape, ret))
        return false;
    rcd__rows_copy(ret->data, rows->n, NULL, v->store->data, v->dom->cap, rows->at, rows->n,
                   v->outer, v->inner);
    return true;
}

static bool same_row(const struct rcd__ival *v, const char *fresh, size_t n, size_t i, size_t slot)
{
    for (size_t o = 0; o < v->outer; o++) {
        if (memcmp(fresh + (o * n + i) * v->inner,
                   (const char *)v->store->data + (o * v->dom->cap + slot) * v->inner,
                   v->inner) != 0)
            return false;
    }
    return true;
}

/* Rows that came out as they were need not go on. */
static bool leave_out_same(struct rcd__turn *t, const struct rcd__ival *v,
                           const struct rcd__rows **rows, struct rcd_tensor *fresh)
{
    const struct rcd__rows *all = *rows;
    int32_t *at = rcd_arena_alloc(&t->arena, all->n * sizeof *at);
    int32_t *from = rcd_arena_alloc(&t->arena, all->n * sizeof *from);
    struct rcd__rows *less = rcd_arena_alloc(&t->arena, sizeof *less);
    if (at == NULL || from == NULL || less == NULL) {
        t->why = "no memory";
        return false;
    }
    size_t n = 0;
    for (size_t i = 0; i < all->n; i++) {
        if (!rcd__dom_is_new(v->dom, all->at[i]) &&
            same_row(v, fresh->data, all->n, i, (size_t)all->at[i]))
            continue;
        from[n] = (int32_t)i;
        at[n++] = all->at[i];
    }
    if (n == all->n)
        return true;
    *less = (struct rcd__rows){.n = n, .at = at};
    struct rcd_tensor packed, shape = *fresh;
    set_axis(&shape, v->axis, n);
    if (!turn_tensor(t, &shape, &packed))
        return false;
    rcd__rows_copy(packed.data, n, NULL, fresh->data, all->n, from, n, v->outer, v->inner);
    rcd_tensor_drop(fresh);
    *fresh = packed;
    *rows = n > 0 ? less : NULL;
    return true;
}

bool rcd__give(struct rcd__turn *t, struct rcd__ival *v, const struct rcd__rows *rows,
               struct rcd_tensor *fresh)
{
    v->dirty = rows;
    v->fresh = *fresh;
    *fresh = (struct rcd_tensor){.dtype = RCD_NONE};
    const bool in_place = v->store != NULL && v->fresh.data == v->store->data;
    if (v->store == NULL || in_place)
        return true;
    if (v->squeezed) /* incremental_chain.c alone makes such rows */
        return rcd__turn_give_up(t, "rows without zeros come by themselves");
    if (v->fresh.n == 0 || ((!rows->all || v->out) && !leave_out_same(t, v, &v->dirty, &v->fresh)))
        return t->why == NULL;
    if (v->dirty == NULL)
        return true;
    char *to = rcd__writable(t, v);
    if (to == NULL)
        return false;
    rcd__rows_copy(to, v->dom->cap, v->dirty->all && rcd__dom_dense(v->dom) ? NULL : v->dirty->at,
                   v->fresh.data, v->dirty->n, NULL, v->dirty->n, v->outer, v->inner);
    return true;
}

bool rcd__whole_of(struct rcd__turn *t, const struct rcd__ival *v, bool sizes_only,
                   struct rcd_tensor *ret)
{
    *ret = v->t;
    ret->block = NULL;
    if (v->kind == RCD__ROWS)
        set_axis(ret, v->axis, v->dom->n);
    if (v->kind == RCD__WHOLE || sizes_only)
        return true;
    if (v->kind == RCD__FILL) {
        if (!turn_tensor(t, ret, ret))
            return false;
        rcd__repeat(ret->data, ret->n, rcd_dtype_size(ret->dtype), v->element);
        return true;
    }
    if (v->kind != RCD__ROWS || v->store == NULL || v->squeezed) {
        t->why = "a value that was not kept";
        return false;
    }
    const bool dense = rcd__dom_dense(v->dom);
    if (dense && v->outer == 1) {
        ret->data = v->store->data;
        return true;
    }
    if (!turn_tensor(t, ret, ret))
        return false;
    rcd__rows_pack(v, ret->data);
    return true;
}
