/* incremental_chain.c - a sparse product in a turn, with the products of rows that are joined to it (fuse_order.c), some
 * rows at a time: their edges are packed, summed, multiplied, compared with the rows that are kept, and kept, all of it
 * near. Nothing as large as the rows or their edges is made on the way, and threads share the rows. The same kernels over
 * the same numbers as in a full run, and so the same bits. */
#include "incremental_ends.h"
#include "ops/product.h"
#include "team.h"

#include <string.h>

enum {
    BLOCK_ROWS = RCD__SOME_ROWS, /* rows that are on their way together, */
    BLOCK_EDGES = 4096,          /* with so many edges, or one row with more */
    CHUNK_ROWS = 4 * BLOCK_ROWS, /* of a thread at a time, */
    FEW_CHUNKS = 8,              /* fewer where that many are not there: few rows are often long */
    LITTLE_WORK = 1 << 21,       /* multiply-adds: not worth waking anybody; */
    EDGE_WORK = 32,              /* an edge is as much as so many, besides its columns */
    MORE_EDGES = 16              /* of the rows to come, for the kernel to ask for ahead */
};

struct chain {
    const struct rcd_kernels *kern;
    const struct rcd__ends *e;
    const struct rcd__rows *rows;
    struct rcd_spmm sum; /* but for edges and y */
    bool by_slot;        /* factors are looked up, not mirrored */
    const float *start;  /* rows of it by slots, or one for all; NULL: zeros */
    size_t start_step;
    const struct rcd__row_product *products[RCD__JOINED];
    size_t n, width;    /* floats of a row that comes out */
    float *packed;      /* where they go, one behind the other; NULL: to their slots */
    const char *before; /* by slots, as they are kept: rows of so many bytes, */
    char *kept;
    size_t stored;
    bool squeezed; /* without zeros */
    bool *changed; /* per row */
    size_t widest, most_edges, place_bytes;
    char *scratch;
    unsigned taken; /* atomic: places of scratch */
};

/* What one thread has in its place. */
struct block {
    float *buf[2], *w;
    int32_t *ptr, *col, *edge;
    size_t edges;
};

static size_t lines(size_t bytes)
{
    return (bytes + RCD_ALIGN - 1) & ~(size_t)(RCD_ALIGN - 1);
}

static struct block block_at(const struct chain *c, unsigned place)
{
    char *p = c->scratch + place * c->place_bytes;
    struct block b;
    for (int i = 0; i < 2; i++, p += lines(BLOCK_ROWS * c->widest * sizeof(float)))
        b.buf[i] = (float *)(void *)p;
    b.col = (int32_t *)(void *)p;
    b.edge = (int32_t *)(void *)(p += lines(c->most_edges * sizeof(int32_t)));
    b.w = (float *)(void *)b.edge; /* either */
    b.ptr = (int32_t *)(void *)(p + lines(c->most_edges * sizeof(int32_t)));
    return b;
}

static size_t place_bytes(const struct chain *c)
{
    return 2 * lines(BLOCK_ROWS * c->widest * sizeof(float)) +
           2 * lines(c->most_edges * sizeof(int32_t)) + lines((BLOCK_ROWS + 1) * sizeof(int32_t));
}

/* ---- edges ------------------------------------------------------------------------------------------- */

static const struct rcd__inv_row *row_of(const struct chain *c, size_t i)
{
    return &c->e->dst->row[c->rows->at[i]];
}

/* The first n edges of a row, behind those that are there. */
static void pack_row(const struct chain *c, struct block *b, const struct rcd__inv_row *r, size_t n)
{
    rcd__ends_row(c->e, r, n, b->col + b->edges, c->by_slot ? b->edge + b->edges : NULL);
    if (c->by_slot && c->e->w->kind == RCD__FILL)
        memset(b->edge + b->edges, 0, n * sizeof *b->edge);
    else if (!c->by_slot && c->sum.w != NULL && n > 0)
        memcpy(b->w + b->edges, c->e->dst->factor + r->begin, n * sizeof *b->w);
    b->edges += n;
}

/* Rows from i on; how many. */
static size_t pack_rows(const struct chain *c, struct block *b, size_t i, size_t to)
{
    size_t n = 0;
    b->edges = 0;
    for (; n < BLOCK_ROWS && i + n < to; n++) {
        const struct rcd__inv_row *r = row_of(c, i + n);
        if (n > 0 && b->edges + r->len > BLOCK_EDGES)
            break;
        b->ptr[n] = (int32_t)b->edges;
        pack_row(c, b, r, r->len);
    }
    b->ptr[n] = (int32_t)b->edges;
    for (size_t k = i + n, more = MORE_EDGES; k < c->rows->n && more > 0; k++) {
        const size_t len = row_of(c, k)->len < more ? row_of(c, k)->len : more;
        pack_row(c, b, row_of(c, k), len);
        more -= len;
    }
    return n;
}

static void sum_rows(const struct chain *c, const struct block *b, size_t i, size_t n, float *to)
{
    const size_t width = c->sum.groups * c->sum.chan;
    struct rcd_spmm s = c->sum;
    for (size_t k = 0; c->start != NULL && k < n; k++)
        memcpy(to + k * width, c->start + (size_t)c->rows->at[i + k] * c->start_step,
               width * sizeof *to);
    s.ptr = b->ptr;
    s.col = b->col;
    s.edge = s.w != NULL && c->by_slot ? b->edge : NULL;
    s.w = s.w != NULL && !c->by_slot ? b->w : s.w;
    s.n_edges = b->edges;
    s.row_end = n;
    s.y = to;
    c->kern->spmm(&s);
}

/* ---- rows -------------------------------------------------------------------------------------------- */

static void keep_rows(const struct chain *c, size_t i, size_t n, const float *from, float *spare)
{
    const struct rcd__dom *d = c->e->out->dom;
    const size_t width = c->stored / sizeof *from;
    if (c->squeezed) {
        rcd__squeeze(c->kern, n, c->width, from, spare);
        from = spare;
    }
    for (size_t k = 0; k < n; k++) {
        const int32_t slot = c->rows->at[i + k];
        const char *was = c->before + (size_t)slot * c->stored;
        const bool differs = (d->n_added > 0 && rcd__dom_is_new(d, slot)) ||
                             memcmp(was, from + k * width, c->stored) != 0;
        c->changed[i + k] = differs;
        if (differs || c->kept != c->before)
            memcpy(c->kept + (size_t)slot * c->stored, from + k * width, c->stored);
    }
}

static void chain_some(void *ctx, size_t from, size_t to)
{
    struct chain *c = ctx;
    const unsigned place = rcd__place_take(&c->taken);
    struct block b = block_at(c, place);
    for (size_t i = from, n = 0; i < to; i += n) {
        n = pack_rows(c, &b, i, to);
        float *const end = c->packed != NULL ? c->packed + i * c->width : b.buf[c->n % 2];
        sum_rows(c, &b, i, n, c->n > 0 ? b.buf[0] : end);
        for (size_t j = 0; j < c->n; j++)
            rcd__row_product_some(c->kern, c->products[j], n, b.buf[j % 2],
                                  j + 1 < c->n ? b.buf[(j + 1) % 2] : end);
        if (c->packed == NULL)
            keep_rows(c, i, n, end, b.buf[(c->n + 1) % 2]);
    }
    rcd__place_give(&c->taken, place);
}

/* ---- setting up -------------------------------------------------------------------------------------- */

static bool find_factors(struct rcd__turn *t, struct chain *c)
{
    const struct rcd__ival *w = c->e->w;
    struct rcd_spmm *s = &c->sum;
    if (w == NULL)
        return true;
    s->groups = rcd__span(w->t.dims, 1, w->t.rank);
    if (s->groups == 0 || s->chan % s->groups != 0)
        return rcd__turn_give_up(t, "factors of another size");
    s->chan /= s->groups;
    c->by_slot = c->e->dst->factors != w;
    s->w = rcd__numbers(t, w, s->groups);
    return t->why == NULL;
}

static bool find_start(struct rcd__turn *t, struct chain *c)
{
    const struct rcd__ival *start = c->e->start;
    if (start == NULL && c->e->first == NULL)
        return true;
    const size_t width = c->sum.groups * c->sum.chan;
    c->sum.accumulate = true;
    c->start = start != NULL ? rcd__numbers(t, start, width) : c->e->first->data;
    c->start_step = start == NULL || start->kind == RCD__ROWS ? width : 0;
    return t->why == NULL;
}

/* Products behind the sum whose rows nobody else knows of. Returns the value that comes out. */
static struct rcd__ival *find_products(const struct rcd__turn *t, const struct rcd_node *node,
                                       struct chain *c)
{
    const struct rcd__live *l = t->live;
    const struct rcd_node *nodes = l->plan->main.nodes, *end = nodes + l->plan->main.n_nodes;
    struct rcd__ival *out = rcd__ival(l, node->out[0]);
    for (const struct rcd_node *next = node + 1; next < end && c->n < RCD__JOINED; next++) {
        const struct rcd__row_product *p = next->joined ? rcd__row_product_of(next) : NULL;
        const struct rcd__inode *is = &l->nodes[next - nodes];
        if (p == NULL || out->store != NULL || out->out || !l->done[next - nodes] ||
            is->how != RCD__DO_ROWS || is->dom != out->dom || is->axis != 0)
            break;
        RCD_ASSERT(p->b.k == c->width);
        c->products[c->n++] = p;
        c->width = p->b.n;
        c->widest = c->width > c->widest ? c->width : c->widest;
        out = rcd__ival(l, next->out[0]);
    }
    return out;
}

/* Rows are written where they are kept; to a store of their own while somebody still reads the old one. */
static bool find_kept(struct rcd__turn *t, struct chain *c, struct rcd__ival *out,
                      struct rcd__rowstore **ret_old)
{
    c->stored = rcd__stored_bytes(out);
    c->squeezed = out->squeezed;
    c->changed = rcd_arena_calloc(&t->arena, c->rows->n, sizeof *c->changed);
    if (c->changed == NULL)
        return rcd__turn_give_up(t, "no memory");
    if (!c->rows->all || __atomic_load_n(&out->store->refs, __ATOMIC_ACQUIRE) == 1) {
        c->before = c->kept = rcd__writable(t, out);
        return c->kept != NULL;
    }
    struct rcd__rowstore *own = rcd__rowstore_new(out->store->bytes);
    if (own == NULL)
        return rcd__turn_give_up(t, "no memory");
    *ret_old = out->store;
    out->store = own;
    c->before = (*ret_old)->data;
    c->kept = own->data;
    return true;
}

static bool find_scratch(struct rcd__turn *t, struct chain *c)
{
    for (size_t i = 0; i < c->rows->n; i++)
        c->most_edges = row_of(c, i)->len > c->most_edges ? row_of(c, i)->len : c->most_edges;
    c->most_edges = (c->most_edges > BLOCK_EDGES ? c->most_edges : BLOCK_EDGES) + MORE_EDGES;
    c->place_bytes = place_bytes(c);
    const struct rcd_call call = {.run = &t->run, .x = t->x};
    c->scratch = rcd__scratch_try(&call, rcd__places(t->x->team) * c->place_bytes);
    return c->scratch != NULL ? true : rcd__turn_give_up(t, "no memory");
}

/* ---- the end ----------------------------------------------------------------------------------------- */

/* Rows that came out as they were need not go on. */
static bool give_changed(struct rcd__turn *t, const struct chain *c, struct rcd__ival *out)
{
    size_t n = 0;
    for (size_t i = 0; i < c->rows->n; i++)
        n += c->changed[i];
    out->dirty = n > 0 ? c->rows : NULL;
    if (n == 0 || n == c->rows->n)
        return true;
    struct rcd__rows *some = rcd_arena_alloc(&t->arena, sizeof *some);
    int32_t *at = rcd_arena_alloc(&t->arena, n * sizeof *at);
    if (some == NULL || at == NULL)
        return rcd__turn_give_up(t, "no memory");
    *some = (struct rcd__rows){.at = at};
    for (size_t i = 0; i < c->rows->n; i++) {
        if (c->changed[i])
            at[some->n++] = c->rows->at[i];
    }
    out->dirty = some;
    return true;
}

/* By one thread where it takes no longer than waking others. */
static void run(struct rcd__turn *t, struct chain *c, size_t n_edges)
{
    const size_t n = c->rows->n;
    size_t work = n_edges * (c->sum.groups * c->sum.chan + EDGE_WORK), chunk = n / FEW_CHUNKS;
    for (size_t i = 0; i < c->n; i++)
        work += n * c->products[i]->b.k * c->products[i]->b.n;
    chunk = chunk > CHUNK_ROWS ? CHUNK_ROWS : chunk + 1;
    rcd__team_run(t->x->team, n, work < LITTLE_WORK ? n : chunk, chain_some, c);
}

bool rcd__turn_chain_rows(struct rcd__turn *t, const struct rcd_node *node,
                          const struct rcd__ends *e, const struct rcd__rows *rows)
{
    const struct rcd__spmm_state *state = node->state;
    struct chain c = {.kern = t->run.plan->kernels, .e = e, .rows = rows};
    c.width = c.widest = e->out->inner / sizeof(float);
    c.sum =
        (struct rcd_spmm){.how = state->how, .groups = 1, .chan = c.width, .relu = state->end.relu};
    if (node->in[RCD__EDGES_BIAS] != RCD_NO_VALUE) /* a constant (fuse_epilogue.c) */
        c.sum.bias = t->live->plan->values[node->in[RCD__EDGES_BIAS]].constant->data;
    c.sum.x = rcd__numbers(t, e->x, c.width);
    c.sum.x_rows = e->x->kind == RCD__FILL ? 1 : e->x->dom->cap;
    c.sum.squeezed = e->x->squeezed ? rcd__stored_bytes(e->x) / sizeof(float) : 0;
    if (t->why != NULL || !find_factors(t, &c) || !find_start(t, &c))
        return false;
    struct rcd__ival *out = find_products(t, node, &c);
    struct rcd__rowstore *old = NULL;
    struct rcd_tensor fresh = {.dtype = RCD_NONE};
    const bool kept = out->store != NULL;
    if (out->squeezed)
        c.widest = c.widest > c.width + RCD_SQUEEZED_MORE ? c.widest : c.width + RCD_SQUEEZED_MORE;
    if (!find_scratch(t, &c) ||
        (kept ? !find_kept(t, &c, out, &old) : !rcd__packed(t, out, rows->n, &fresh)))
        return false;
    c.packed = fresh.data;
    const size_t n_edges = rcd__ends_count(e, rows);
    if (c.width > 0)
        run(t, &c, n_edges);
    rcd__rowstore_unref(old);
    t->n_joined = c.n;
    t->effort.rows += c.n * rows->n;
    t->effort.edges += n_edges;
    return kept ? give_changed(t, &c, out) : rcd__give(t, out, rows, &fresh);
}
