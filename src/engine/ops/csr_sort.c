/* csr_sort.c - edges by the row they end in, in their order.
 *
 * Few edges: a counting sort. Many: from all rows at once most would be written to memory that is not near, so they go by
 * parts of the rows first and are sorted part by part, with where they start, since what lies apart costs a line of memory
 * each time. Pieces of the list and parts of the rows may be done by several threads: where an edge goes is known from
 * counts of the pieces before, so the order does not depend on who does what. */
#include "csr_sort.h"
#include "../team.h"

#include <string.h>

enum {
    PARTS = 256, /* of the rows; the edges of each lie near while they are sorted, */
    PIECES = 16, /* of the list */
    MANY_EDGES = 1 << 17,
    SOME_PARTS = 8
};

struct part_edge {
    int32_t row, edge, col;
};

struct sort {
    const struct rcd__edge_sort *s;
    unsigned shift; /* a part has 2^shift rows */
    struct part_edge *parts;
    uint32_t at[PIECES][PARTS]; /* counts, then places; n < 2^31 */
    int32_t begin[PARTS + 1];
    int64_t range[PIECES][2];
    const struct rcd_tensor *list; /* whose range is asked for */
};

/* Index e of a list; a negative one counts from the end of `rows`. */
static inline int64_t index_at(const void *data, bool wide, size_t e, int64_t rows)
{
    const int64_t i = wide ? ((const int64_t *)data)[e] : ((const int32_t *)data)[e];
    return i < 0 ? i + rows : i;
}

static size_t piece_begin(size_t n, size_t piece)
{
    return n / PIECES * piece + (n % PIECES < piece ? n % PIECES : piece);
}

/* ---- the range --------------------------------------------------------------------------------------- */

static inline void range_of(const void *data, bool wide, size_t from, size_t to, int64_t *range)
{
    int64_t least = INT64_MAX, most = -1;
    for (size_t e = from; e < to; e++) {
        const int64_t i = index_at(data, wide, e, 0);
        least = i < least ? i : least;
        most = i > most ? i : most;
    }
    range[0] = least;
    range[1] = most;
}

static void range_some(void *ctx, size_t from, size_t to)
{
    struct sort *p = ctx;
    const struct rcd_tensor *t = p->list;
    for (size_t i = from; i < to; i++) {
        const size_t a = piece_begin(t->n, i), b = piece_begin(t->n, i + 1);
        if (t->dtype == RCD_I64)
            range_of(t->data, true, a, b, p->range[i]);
        else
            range_of(t->data, false, a, b, p->range[i]);
    }
}

void rcd__index_range(struct rcd__team *team, const struct rcd_tensor *t, int64_t range[2])
{
    struct sort p;
    p.list = t;
    rcd__team_run(t->n >= MANY_EDGES ? team : NULL, PIECES, 1, range_some, &p);
    range[0] = t->n > 0 ? INT64_MAX : 0;
    range[1] = -1;
    for (size_t i = 0; i < PIECES; i++) {
        range[0] = p.range[i][0] < range[0] ? p.range[i][0] : range[0];
        range[1] = p.range[i][1] > range[1] ? p.range[i][1] : range[1];
    }
}

/* ---- few edges --------------------------------------------------------------------------------------- */

/* ptr[row + 1] counts, then says where the row's next edge goes, and at last where the row ends. */
static void sort_few(const struct rcd__edge_sort *s)
{
    const bool wide = s->dst->dtype == RCD_I64;
    memset(s->ptr, 0, ((size_t)s->rows + 1) * sizeof *s->ptr);
    for (size_t e = 0; e < s->dst->n; e++)
        s->ptr[index_at(s->dst->data, wide, e, s->rows) + 1]++;
    int32_t at = 0;
    for (int64_t i = 1; i <= s->rows; i++) {
        const int32_t count = s->ptr[i];
        s->ptr[i] = at;
        at += count;
    }
    for (size_t e = 0; e < s->dst->n; e++) {
        const int32_t to = s->ptr[index_at(s->dst->data, wide, e, s->rows) + 1]++;
        s->edge[to] = (int32_t)e;
        if (s->col != NULL)
            s->col[to] = (int32_t)index_at(s->src->data, s->src->dtype == RCD_I64, e, s->x_rows);
    }
}

/* ---- many edges -------------------------------------------------------------------------------------- */

static inline void count_piece(const struct sort *p, bool wide, size_t from, size_t to,
                               uint32_t *counts)
{
    for (size_t e = from; e < to; e++)
        counts[index_at(p->s->dst->data, wide, e, p->s->rows) >> p->shift]++;
}

static void count_some(void *ctx, size_t from, size_t to)
{
    struct sort *p = ctx;
    for (size_t i = from; i < to; i++) {
        const size_t a = piece_begin(p->s->dst->n, i), b = piece_begin(p->s->dst->n, i + 1);
        memset(p->at[i], 0, sizeof p->at[i]);
        if (p->s->dst->dtype == RCD_I64)
            count_piece(p, true, a, b, p->at[i]);
        else
            count_piece(p, false, a, b, p->at[i]);
    }
}

static inline void put_piece(const struct sort *p, bool wide, bool src_wide, size_t from, size_t to,
                             uint32_t *at)
{
    const struct rcd__edge_sort *s = p->s;
    for (size_t e = from; e < to; e++) {
        const int32_t row = (int32_t)index_at(s->dst->data, wide, e, s->rows);
        const int32_t col =
            s->col != NULL ? (int32_t)index_at(s->src->data, src_wide, e, s->x_rows) : 0;
        p->parts[at[row >> p->shift]++] = (struct part_edge){row, (int32_t)e, col};
    }
}

static void put_some(void *ctx, size_t from, size_t to)
{
    struct sort *p = ctx;
    const bool wide = p->s->dst->dtype == RCD_I64;
    const bool src_wide = p->s->col != NULL && p->s->src->dtype == RCD_I64;
    for (size_t i = from; i < to; i++) {
        const size_t a = piece_begin(p->s->dst->n, i), b = piece_begin(p->s->dst->n, i + 1);
        if (wide && src_wide)
            put_piece(p, true, true, a, b, p->at[i]);
        else if (wide)
            put_piece(p, true, false, a, b, p->at[i]);
        else
            put_piece(p, false, src_wide, a, b, p->at[i]);
    }
}

/* As sort_few, for the rows of one part: nobody else writes their ends. */
static void sort_part(const struct sort *p, size_t part)
{
    const struct rcd__edge_sort *s = p->s;
    const int64_t first = (int64_t)(part << p->shift), past = first + ((int64_t)1 << p->shift);
    const int64_t last = past < s->rows ? past : s->rows;
    const struct part_edge *from = p->parts + p->begin[part], *to = p->parts + p->begin[part + 1];
    if (first >= s->rows)
        return;
    memset(s->ptr + first + 1, 0, (size_t)(last - first) * sizeof *s->ptr);
    for (const struct part_edge *e = from; e < to; e++)
        s->ptr[e->row + 1]++;
    int32_t at = p->begin[part];
    for (int64_t i = first + 1; i <= last; i++) {
        const int32_t count = s->ptr[i];
        s->ptr[i] = at;
        at += count;
    }
    for (const struct part_edge *e = from; e < to; e++) {
        const int32_t place = s->ptr[e->row + 1]++;
        s->edge[place] = e->edge;
        if (s->col != NULL)
            s->col[place] = e->col;
    }
}

static void sort_some(void *ctx, size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        sort_part(ctx, i);
}

size_t rcd__sort_scratch(size_t n_edges)
{
    return n_edges >= MANY_EDGES ? n_edges * sizeof(struct part_edge) + sizeof(struct sort) : 0;
}

void rcd__sort_edges(struct rcd__team *team, const struct rcd__edge_sort *s, void *scratch)
{
    if (scratch == NULL || s->dst->n < MANY_EDGES) {
        sort_few(s);
        return;
    }
    struct sort *p = scratch;
    p->s = s;
    p->parts = (struct part_edge *)(p + 1);
    p->shift = 0;
    while (s->rows >> p->shift >= PARTS)
        p->shift++;
    rcd__team_run(team, PIECES, 1, count_some, p);
    uint32_t at = 0;
    for (size_t part = 0; part < PARTS; part++) {
        p->begin[part] = (int32_t)at;
        for (size_t i = 0; i < PIECES; i++) {
            const uint32_t count = p->at[i][part];
            p->at[i][part] = at;
            at += count;
        }
    }
    p->begin[PARTS] = (int32_t)at;
    rcd__team_run(team, PIECES, 1, put_some, p);
    s->ptr[0] = 0;
    rcd__team_run(team, PARTS, SOME_PARTS, sort_some, p);
}
