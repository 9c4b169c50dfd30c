/* product.inc.h - rows times packed panels (body.inc.h).
 *
 * A tile is up to six or eight rows by a strip of a panel, all accumulators in registers: the fewer the rows, the
 * wider the strip, so that enough chains run side by side to hide the latency of a multiply-add. Every output is one
 * chain over k, started from what `from` points to. One row alone waits for memory: it walks several panels side
 * by side where the registers suffice, since several streams are read faster than one. */

/* Sixteens of columns in a strip of R rows of a panel of so many sixteens: what the registers hold. */
INLINE int strip_sixteens(const int R, const int panel)
{
    if (MAX_ROWS == 1)
        return 1;
    if (VF_LANES == 16)
        return R <= 6 ? 4 : panel == 3 ? 3 : 2;
    return R == 1 ? 4 : R <= 3 ? 2 : 1;
}

enum {
    STRIP_MAX = 4 * PER16,
    MAX_PANELS = VF_LANES == 16 ? 4 : 1, /* side by side, for one row */
    FAR_STEPS = 12, /* so early a tile that is all rows asks for what may come from afar */
};

/* A tile's work: columns [at, at + 16 S) of a panel, steps [k0, k0 + k) of the inner dimension. */
struct strip {
    size_t k0, k;
    const float *const *a; /* rows */
    const float *b;        /* the panel at k0 */
    size_t w;              /* floats of a step of the panel */
    const float *const *from;
    float *const *to;
    size_t at;
    size_t apart;             /* floats between panels that are walked side by side */
    const struct strip *then; /* goes on with the same chains: its a, b, k0, k, ahead count */
    const char
        *ahead; /* what to ask for meanwhile: bytes that later tiles read, one line a step of k */
    size_t ahead_step;
};

/* Where a panel comes from, and so what a tile asks for meanwhile. */
enum reach {
    REACH_NEAR, /* the second level */
    REACH_NEXT, /* beyond it, for several tiles: a share of the panel that follows */
    REACH_OWN   /* beyond it, for this tile alone: what it reads itself, in time */
};

/* One step of k: row r has its factor at a[r][i], panel p its columns at b + p * apart. */
INLINE void tile_step(const int P, const int R, const int S, const int REACH, const float *const *a,
                      size_t i, const float *b, size_t w, size_t apart,
                      vf acc[MAX_PANELS][MAX_ROWS][STRIP_MAX])
{
    const int NV = S * PER16,
              fetched = REACH != REACH_NEAR || R >= 4 ? S : 0; /* for few rows it is just read */
    const size_t early = REACH == REACH_OWN || (R >= 7 && S == 2) ? FAR_STEPS : 2;
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
        vf x, col[STRIP_MAX];
#pragma GCC unroll 16
        for (int v = 0; v < NV; v++)
            col[v] = v_load(b + (size_t)p * apart + v * VF_LANES);
#pragma GCC unroll 4
        for (int j = 0; j < fetched; j++)
            __builtin_prefetch(b + early * w + 16 * j, 0, 3);
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            x = v_set1(a[r][i]);
#pragma GCC unroll 16
            for (int v = 0; v < NV; v++)
                acc[p][r][v] = v_fma(x, col[v], acc[p][r][v]);
        }
    }
}

/* The chains of a strip: R rows, S sixteens of columns of each of P panels. */
INLINE void tile_steps(const int P, const int R, const int S, const int REACH,
                       const struct strip *s, size_t at, vf acc[MAX_PANELS][MAX_ROWS][STRIP_MAX])
{
    /* Where a strip is a whole panel its steps are a constant apart. */
    const size_t w = VF_LANES == 16 && (R <= 6 || S == 3) ? 16 * (size_t)S : s->w;
    const size_t apart = s->apart, ahead_step = s->ahead_step;
    const float *b = s->b + at, *a[MAX_ROWS];
    const char *ahead = s->ahead;
#pragma GCC unroll 8
    for (int r = 0; r < R; r++)
        a[r] = s->a[r] + s->k0;
    size_t i = 0;
    for (const size_t end = s->k & ~(size_t)1; i < end; i += 2, b += 2 * w) {
        if (REACH == REACH_NEXT) {
            __builtin_prefetch(ahead, 0, 2);
            __builtin_prefetch(ahead + ahead_step, 0, 2);
            ahead += 2 * ahead_step;
        }
        tile_step(P, R, S, REACH, a, i, b, w, apart, acc);
        tile_step(P, R, S, REACH, a, i + 1, b + w, w, apart, acc);
    }
    if (i < s->k)
        tile_step(P, R, S, REACH, a, i, b, w, apart, acc);
}

/* R rows, S sixteens of columns of each of P panels (rows of panel p are p * R and on in from and to). */
INLINE void tile(const int P, const int R, const int S, const int REACH, const struct strip *s)
{
    const int NV = S * PER16;
    const size_t at = s->at;
    vf acc[MAX_PANELS][MAX_ROWS][STRIP_MAX];
    float *to[MAX_PANELS * MAX_ROWS]; /* read before anything is stored */
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
            const float *from = s->from[p * R + r] + at;
            to[p * R + r] = s->to[p * R + r] + at;
#pragma GCC unroll 16
            for (int v = 0; v < NV; v++)
                acc[p][r][v] = v_load(from + (size_t)v * VF_LANES);
        }
    }
    do {
        tile_steps(P, R, S, REACH, s, at, acc);
        s = s->then;
    } while (P == 1 && s != NULL);
#pragma GCC unroll 4
    for (int p = 0; p < P; p++) {
#pragma GCC unroll 8
        for (int r = 0; r < R; r++) {
#pragma GCC unroll 16
            for (int v = 0; v < NV; v++)
                v_store(to[p * R + r] + (size_t)v * VF_LANES, acc[p][r][v]);
        }
    }
}

#define TILE(R, S)                                                                                 \
    case S:                                                                                        \
        if ((S) <= strip_sixteens(R, S) && MAX_ROWS > 1 && reach == REACH_NEXT)                    \
            tile(1, R, S, REACH_NEXT, s);                                                          \
        else if ((S) <= strip_sixteens(R, S) && VF_LANES == 16 && reach == REACH_OWN)              \
            tile(1, R, S, REACH_OWN, s);                                                           \
        else if ((S) <= strip_sixteens(R, S))                                                      \
            tile(1, R, S, REACH_NEAR, s);                                                          \
        break;
#define TILE_ROWS(R)                                                                               \
    case R:                                                                                        \
        switch (sixteens) {                                                                        \
            TILE(R, 1)                                                                             \
            TILE(R, 2)                                                                             \
            TILE(R, 3)                                                                             \
            TILE(R, 4)                                                                             \
        }                                                                                          \
        break;

static void strip(size_t rows, size_t sixteens, enum reach reach, const struct strip *s)
{
    switch (rows) {
        TILE_ROWS(1)
#ifndef KERNELS_SIMPLE
        TILE_ROWS(2)
        TILE_ROWS(3)
        TILE_ROWS(4)
        TILE_ROWS(5)
        TILE_ROWS(6)
#endif
#if VF_LANES == 16
        TILE_ROWS(7)
        TILE_ROWS(8)
#endif
    default:
        break;
    }
}

#define TILE_PANELS(S)                                                                             \
    case S:                                                                                        \
        if (panels == 2)                                                                           \
            tile(MAX_PANELS >= 2 ? 2 : 1, 1, S, REACH_NEAR, s);                                    \
        else                                                                                       \
            tile(MAX_PANELS, 1, S, REACH_NEAR, s);                                                 \
        break;

/* One row through two or MAX_PANELS panels of sixteens * 16 columns. */
static void strip_panels(size_t panels, size_t sixteens, const struct strip *s)
{
    switch (sixteens) {
        TILE_PANELS(1)
        TILE_PANELS(2)
        TILE_PANELS(3)
        TILE_PANELS(4)
    default:
        break;
    }
}

/* ---- all rows through all panels -------------------------------------------------------------- */

/* Some rows of one panel. */
struct patch {
    size_t col, w; /* columns [col, col + w) of the packed matrix */
    size_t row, rows;
};

/* What a sweep is about. `start` says where the chains of a patch start: from[r] -> f32[w]; `finish` gets what
 * they came to. start may set to[r] to where that is wanted; else to[r] is near. Inline: the sweep of each caller
 * is compiled for it alone. */
typedef void patch_start(const void *what, const struct patch *p, const float **from, float **to);
typedef void patch_finish(const void *what, const struct patch *p, float *const *tile);
/* Asks for the memory that start and finish of a patch will use; called one tile earlier. */
typedef void patch_touch(const void *what, const struct patch *p);

struct patch_work {
    patch_touch *touch;
    patch_start *start;
    patch_finish *finish;
};

INLINE void touch_floats(const float *p, size_t n)
{
    for (size_t i = 0; i < n; i += 16)
        __builtin_prefetch(p + i, 0, 3);
}

INLINE void touch_floats_to_write(const float *p, size_t n)
{
    for (size_t i = 0; i < n; i += 16)
        __builtin_prefetch(p + i, 1, 3);
}

enum {
    BLOCK_ROWS = 66, /* rows whose chains are under way at the same time */
    LONG_K = 1024,   /* from here on chains are done in parts, */
    PART_K = 128,    /* so that a part of a panel is still in the first levels for the next rows; */
    PARTS_WIDTH = 48, /* a narrow one stays in the second, and rows are read best from end to end */
    NEAR_BYTES = 1 << 19,     /* a matrix up to this stays in the second level, */
    ONE_LEVEL_BYTES = 1 << 21 /* and one beyond this does not */
};

/* Rows times a matrix. */
struct factors {
    const struct rcd_packed *b;
    const float *const *a;
};

struct block {
    const struct rcd_packed *b;
    const float *const *a;
    struct factors before; /* what the chains begin with, in panels alike; or b is NULL */
    const float **from;    /* [BLOCK_ROWS] */
    float **to;
    bool far; /* matrices that do not stay in the second level */
    enum reach reach;
    struct patch p; /* the block's rows of a panel */
    /* The rows in groups as equal as can be, as a tile of one or two would not fill the multipliers; those of
     * `small` rows first, then those with one more. */
    unsigned groups, small, n_small;
    size_t ahead_step; /* share of the next panel that a tile asks for, in bytes a step of k */
};

/* How a block's rows are split; divisions are slow, so not for every panel. */
INLINE void block_split(struct block *k, size_t rows, size_t w)
{
    if (k->p.rows == rows && k->p.w == w)
        return;
    const unsigned n = (unsigned)rows;
    k->p.rows = rows;
    k->p.w = w;
    const unsigned most_rows =
        VF_LANES != 16 || w == 3 * RCD_LANES || (n <= MAX_ROWS && (!k->far || k->b->k < LONG_K))
            ? MAX_ROWS
            : 6;
    k->groups = (n + most_rows - 1) / most_rows;
    k->small = n / k->groups;
    k->reach = !k->far                                               ? REACH_NEAR
               : k->groups == 1 && VF_LANES == 16                    ? REACH_OWN
               : k->groups > 1 || k->small <= 6 || k->b->k >= LONG_K ? REACH_NEXT
                                                                     : REACH_NEAR;
    k->n_small = k->groups - n % k->groups;
    const unsigned most = (unsigned)strip_sixteens((int)k->small, (int)w / RCD_LANES) * RCD_LANES;
    k->ahead_step = (unsigned)(w * sizeof(float)) / (k->groups * (((unsigned)w + most - 1) / most));
}

/* All strips of a panel for one group of rows. */
INLINE void group_strips(const struct block *k, size_t rows, struct strip *s, struct strip *then)
{
    const size_t most = (size_t)strip_sixteens((int)rows, (int)s->w / RCD_LANES) * RCD_LANES;
    for (s->at = 0; s->at < s->w; s->at += most) {
        strip(rows, (s->w - s->at < most ? s->w - s->at : most) / RCD_LANES, k->reach, s);
        s->ahead += s->k * k->ahead_step;
        if (then != NULL)
            then->ahead += then->k * k->ahead_step;
    }
}

/* While a panel is multiplied the next one is brought near, a share of it by each tile; and the rows that the
 * next tile starts from. */
INLINE void block_rows(const struct block *k, const struct patch_work work, const void *what)
{
    const struct rcd_packed *b = k->b;
    const struct factors before = k->before;
    const bool two = before.b != NULL;
    const bool parts = b->k >= LONG_K && k->groups > 1 && b->padded >= PARTS_WIDTH && !two;
    const size_t w = k->p.w, part = parts ? PART_K : b->k;
    struct strip s = {.w = w, .ahead_step = k->ahead_step}, first = s;
    if (two) {
        first.k = before.b->k;
        first.b = before.b->data + k->p.col * first.k;
        first.ahead = (const char *)(first.b + first.k * w);
        first.then = &s;
    }
    do {
        const bool begins = s.k0 == 0, last = s.k0 + part >= b->k;
        s.k = last ? b->k - s.k0 : part;
        s.b = b->data + k->p.col * b->k + s.k0 * w;
        s.ahead = (const char *)(s.b + s.k * w);
        struct patch p = {.col = k->p.col, .w = w, .row = k->p.row};
        for (unsigned g = 0; g < k->groups; g++, p.row += p.rows) {
            const size_t at_row = p.row - k->p.row;
            p.rows = g < k->n_small ? k->small : k->small + 1;
            if (begins)
                work.start(what, &p, k->from + at_row, k->to + at_row);
            if (last) {
                struct patch next = {p.col, w, p.row + p.rows, p.rows};
                if (g + 1 == k->groups) /* of the next panel, if the block is all rows */
                    next = (struct patch){p.col + w, w, k->p.row, k->small};
                if (k->far && next.col + w <= b->padded)
                    work.touch(what, &next);
            }
            s.a = k->a + p.row;
            s.from = begins ? k->from + at_row : (const float *const *)k->to + at_row;
            s.to = k->to + at_row;
            if (two) {
                first.a = before.a + p.row;
                first.from = s.from;
                first.to = s.to;
                group_strips(k, p.rows, &first, &s);
            } else {
                group_strips(k, p.rows, &s, NULL);
            }
            if (last)
                work.finish(what, &p, k->to + at_row);
        }
        s.k0 += s.k;
    } while (s.k0 < b->k);
}

/* One row through n panels of width w side by side, from column col on. */
INLINE void block_panels(const struct block *k, size_t n, const struct patch_work work,
                         const void *what)
{
    struct patch p = k->p;
    for (size_t i = 0; i < n; i++, p.col += p.w)
        work.start(what, &p, k->from + i, k->to + i);
    const struct strip s = {.k = k->b->k,
                            .a = k->a,
                            .b = k->b->data + k->p.col * k->b->k,
                            .w = p.w,
                            .from = k->from,
                            .to = k->to,
                            .apart = p.w * k->b->k};
    strip_panels(n, p.w / RCD_LANES, &s);
    p.col = k->p.col;
    for (size_t i = 0; i < n; i++, p.col += p.w)
        work.finish(what, &p, k->to + i);
}

/* How many of the panels that are left one row walks side by side. */
INLINE size_t panels_beside(size_t bytes, size_t left)
{
    if (MAX_PANELS == 1 || left < 2)
        return 1;
    return bytes > ONE_LEVEL_BYTES && left >= MAX_PANELS ? MAX_PANELS : 2;
}

/* Columns [begin, end) of b, whole panels. */
INLINE void sweep_both(struct factors before, const struct rcd_packed *b, size_t begin, size_t end,
                       size_t n_rows, const float *const *a, const struct patch_work work,
                       const void *what)
{
    float buf[BLOCK_ROWS][MAX_WIDTH]
        __attribute__((aligned(64))); /* 17 KB: nothing calls deeper from here */
    const float *from[BLOCK_ROWS];
    float *to[BLOCK_ROWS];
    const size_t inner = b->k + (before.b != NULL ? before.b->k : 0);
    const size_t bytes = inner * b->padded * sizeof(float);
    struct block k = {.b = b, .a = a, .before = before, .from = from, .to = to};
    k.far = bytes > NEAR_BYTES;
    for (size_t col = begin, w = 0; col < end; col += w) {
        w = rcd__panel_width(b, col);
        k.p.col = col;
        k.p.row = 0;
        const size_t panels =
            n_rows == 1 && before.b == NULL ? panels_beside(bytes, (end - col) / w) : 1;
        if (panels > 1) {
            k.p.rows = 1;
            k.p.w = w;
            for (size_t i = 0; i < panels; i++)
                to[i] = buf[i];
            block_panels(&k, panels, work, what);
            k.p.rows = 0; /* not split */
            w *= panels;
            continue;
        }
        for (; k.p.row < n_rows; k.p.row += k.p.rows) {
            block_split(&k, n_rows - k.p.row < BLOCK_ROWS ? n_rows - k.p.row : BLOCK_ROWS, w);
            for (size_t r = 0; r < k.p.rows; r++)
                to[r] = buf[r];
            block_rows(&k, work, what);
        }
    }
}

INLINE void sweep(const struct rcd_packed *b, size_t begin, size_t end, size_t n_rows,
                  const float *const *a, const struct patch_work work, const void *what)
{
    sweep_both((struct factors){NULL, NULL}, b, begin, end, n_rows, a, work, what);
}
