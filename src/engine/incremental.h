/* incremental.h - what a live binding keeps, so that a change of its inputs costs what it touches.
 *
 * Entries (nodes, edges, edges chosen from others) have *slots* that do not move: one that goes leaves a
 * hole, one that comes takes a new slot behind the others, so slots ascend in the order of the list and
 * sums along them keep their bits. A value is *rows* (one axis goes along the entries of a domain), a
 * *fill* (all elements equal, whatever how many), *whole* (computed anew when anything it reads
 * changes) or *sorted* edges, written out of lists for each version. A turn (one update) walks the plan
 * with the rows that can have changed; operators run on these rows alone, packed together, which their
 * bits do not show. */
#pragma once
#include "bind_int.h"
#include "ops/move.h"

struct rcd__team;

/** Entries by slots. */
struct rcd__dom {
    struct rcd__dom *next; /* all of a state's */
    size_t cap, high, n;   /* slots there may be, used so far (holes too), entries alive */
    uint64_t *alive;       /* bit per slot */
    int group;             /* of the inputs that it belongs to; -1: none */
    bool indexed;          /* other values hold its positions: it must stay without holes */
    struct rcd__dom *of;   /* chosen from these, slot by slot */
    size_t n_parts;        /* of a chain of others: slot s of part i is base[i] + s */
    struct rcd__dom *parts[4];
    size_t base[4];
    bool turned;              /* in this turn: what follows is known; its memory */
    int32_t *added, *removed; /* `added` ascends */
    size_t n_added, n_removed;
};

/** Slots of a domain, ascending. */
struct rcd__rows {
    size_t n;
    const int32_t *at;
    bool all; /* every entry */
};

struct rcd__pair {
    int32_t slot, col; /* col: what `cols` says of the slot */
};

/** Which entries hold index r, for every r: lists in slot order, each with some room to grow. */
struct rcd__inv {
    struct rcd__dom *dom, *over; /* of the entries; of what they point to */
    size_t n_rows;               /* lists: over->cap */
    struct rcd__inv_row {
        uint32_t begin, len, cap;
    } * row;
    struct rcd__pair *pool;
    size_t used, cap, n_live, bytes;
    int32_t *target;             /* per slot; -1: none */
    const struct rcd__inv *cols; /* another index of the same entries, mirrored in the lists */
    const struct rcd__ival
        *factors;             /* rows of one float for each entry, mirrored, too: in `factor`, */
    float *factor;            /* as in the pool; NULL: none */
    bool factors_turned;      /* in this turn: `factor` is up to date */
    int32_t *touched, *moved; /* rows whose lists changed in this turn (may repeat); slots that came
                                    or point elsewhere; in the turn's memory */
    size_t n_touched, n_moved;
};

/** Memory of a value that a binding may give out while the state goes on: written only when nobody else
 * holds it. */
struct rcd__rowstore {
    unsigned refs; /* atomic */
    size_t bytes;
    void *data;
};

enum rcd__kind {
    RCD__NOTHING,
    RCD__WHOLE,
    RCD__FILL,
    RCD__ROWS,
    RCD__SORTED /* edges in sorted order, as requests read them; lists are kept instead */
};

struct rcd__ival {
    enum rcd__kind kind;
    struct rcd_tensor t; /* WHOLE: the value; else shape (dims[axis] of rows: not kept) */
    struct rcd__dom *dom;
    int axis;
    size_t outer, inner; /* a row is `outer` pieces of `inner` bytes */
    bool same;           /* rows that hold the positions of their own entries in dom->of */
    char element[8];     /* FILL */
    bool keep;           /* rows that somebody reads later: they have a store */
    bool out;            /* somebody outside wants to know which rows changed */
    bool shape_alone;    /* rows that come with requests: their number is known */
    bool sums_read; /* by one sparse product alone, which can do without zeros (fuse_order.c), */
    bool squeezed;  /* and the store has rows as kernels->squeeze makes them */
    struct rcd__rowstore *store;
    struct rcd__inv *inv;
    /* this turn */
    const struct rcd__rows *dirty; /* NULL: none */
    struct rcd_tensor fresh; /* the dirty rows, packed; RCD_NONE: they are in the store alone */
    bool changed;            /* WHOLE: is another one; FILL: its element is */
    bool resized;            /* FILL: has another size */
};

enum rcd__how {
    RCD__DO_WHOLE, /* run it on whole values when one has changed */
    RCD__DO_SIZES, /* the same, but only sizes are read */
    RCD__DO_ROWS,  /* row by row */
    RCD__DO_VIEW,  /* the same rows under another shape */
    RCD__DO_FILL,
    RCD__DO_RANGE,
    RCD__DO_PICK,   /* rows of a value by rows of indices */
    RCD__DO_CHOOSE, /* rows of a value by positions of its own entries */
    RCD__DO_FILTER, /* NonZero */
    RCD__DO_CHAIN,  /* Concat along the entries */
    RCD__DO_MERGE,  /* ScatterND of chosen rows */
    RCD__DO_INDEX,  /* Csr, CsrCols: an index is kept instead */
    RCD__DO_SPMM,
    RCD__DO_ATTEND,
};

struct rcd__inode {
    enum rcd__how how;
    int axis; /* of the outputs, where they are rows */
    struct rcd__dom *dom;
};

struct rcd__live {
    const rcd_plan *plan;
    const bool *done; /* of the binding; nodes that are kept up to date */
    struct rcd__ival *v;
    struct rcd__inode *nodes;
    struct rcd__dom *doms;
    size_t bytes, max_bytes;
    bool keep_all;                           /* of every value */
    const char *why;                         /* it cannot be kept up to date; NULL: it can */
    const struct rcd_bound_entries *entries; /* per input; while it is made */
    struct rcd__team *team;                  /* while it is made */
};

/** One update. `why` set: give up and make all anew. */
struct rcd__turn {
    struct rcd__live *live;
    rcd_exec *x;
    struct rcd_run run;
    struct rcd_arena arena;
    struct rcd_infer req, *reqs[1];
    const char *why;
    struct rcd_bound_effort effort;
    size_t n_joined; /* nodes behind this one that were done with it */
};

/* ---- what all turns use ---- */
static inline struct rcd__ival *rcd__ival(const struct rcd__live *l, rcd_value_id id)
{
    return &l->v[id];
}
/* A value that is no constant; NULL: it is one, or none. */
static inline struct rcd__ival *rcd__turn_value(const struct rcd__turn *t, rcd_value_id id)
{
    return id != RCD_NO_VALUE && t->live->plan->values[id].constant == NULL ? rcd__ival(t->live, id)
                                                                            : NULL;
}

static inline struct rcd__ival *rcd__turn_in(const struct rcd__turn *t, const struct rcd_node *node,
                                             size_t j)
{
    return j < node->n_in ? rcd__turn_value(t, node->in[j]) : NULL;
}

static inline struct rcd__ival *rcd__turn_out(const struct rcd__turn *t,
                                              const struct rcd_node *node)
{
    return rcd__ival(t->live, node->out[0]);
}

static inline bool rcd__turn_give_up(struct rcd__turn *t, const char *why)
{
    t->why = why;
    return false;
}

/* ---- incremental_sets.c ---- */
struct rcd__dom *rcd__dom_new(struct rcd__live *l, size_t cap, size_t n);
void rcd__dom_free(struct rcd__dom *d);
static inline bool rcd__dom_has(const struct rcd__dom *d, size_t slot)
{
    return (d->alive[slot / 64] >> (slot % 64) & 1) != 0;
}
static inline bool rcd__dom_dense(const struct rcd__dom *d)
{
    return d->n == d->high && d->n_parts == 0;
}
void rcd__dom_put(struct rcd__dom *d, size_t slot, bool is);
/** Did the slot's entry come in this turn? */
bool rcd__dom_is_new(const struct rcd__dom *d, int32_t slot);
/** The first run of entries without holes at or behind a slot: where it begins (d->high: there is none), and how long it is. */
size_t rcd__dom_run(const struct rcd__dom *d, size_t from, size_t *ret_n);
/** The slot of the p-th entry, p < n. */
size_t rcd__dom_at(const struct rcd__dom *d, size_t p);
/** Slots in any order, repeated or not alive: those that are alive, once, ascending; NULL: none. */
const struct rcd__rows *rcd__rows_of(struct rcd__turn *t, const struct rcd__dom *d,
                                     const int32_t *slots, size_t n);
const struct rcd__rows *rcd__rows_all(struct rcd__turn *t, const struct rcd__dom *d);
/** Union; either may be NULL; the same list where the two are equal. */
const struct rcd__rows *rcd__rows_join(struct rcd__turn *t, const struct rcd__dom *d,
                                       const struct rcd__rows *a, const struct rcd__rows *b);
/** A growing list of slots in the turn's memory. */
struct rcd__list {
    int32_t *at;
    size_t n, cap;
};
bool rcd__list_add(struct rcd__turn *t, struct rcd__list *l, int32_t slot);
/** Slots of a domain in any order: a list, or a bit for each slot where they are many. */
struct rcd__marks {
    const struct rcd__dom *dom;
    struct rcd__list list;
    uint64_t *bits; /* NULL: they are listed */
};
/** So many more will come, some of them again. False: t->why is set. */
bool rcd__marks_expect(struct rcd__turn *t, struct rcd__marks *m, size_t n);
static inline bool rcd__marks_add(struct rcd__turn *t, struct rcd__marks *m, int32_t slot)
{
    if (m->bits == NULL)
        return rcd__list_add(t, &m->list, slot);
    m->bits[slot / 64] |= UINT64_C(1) << (slot % 64);
    return true;
}
/** As rcd__rows_of. */
const struct rcd__rows *rcd__rows_marked(struct rcd__turn *t, const struct rcd__marks *m);

/* ---- incremental_index.c ---- */
/** From the whole value; NULL and l->why set when it cannot be. */
struct rcd__inv *rcd__inv_new(struct rcd__live *l, struct rcd__dom *dom, struct rcd__dom *over,
                              const struct rcd_tensor *index);
void rcd__inv_free(struct rcd__inv *v);
/** Entries that went, entries that have a new index (v: rows of indices, dirty ones fresh). */
void rcd__inv_turn(struct rcd__turn *t, const struct rcd__ival *v);
void rcd__inv_mirror(struct rcd__inv *v, const struct rcd__inv *cols);
/** After both had their turn. */
void rcd__inv_mirror_turn(const struct rcd__inv *v);
/** Rows of `factors` (of v's entries, kept, one float each) are mirrored, unless there is no memory. */
void rcd__inv_mirror_factors(struct rcd__live *l, struct rcd__inv *v,
                             const struct rcd__ival *factors);
/** After the index and the factors had their turn. */
void rcd__inv_factors_turn(struct rcd__inv *v);

/* ---- incremental_values.c ---- */
/** A value of the run becomes rows; copied where it is kept. */
bool rcd__make_rows(struct rcd__live *l, rcd_value_id id, const struct rcd_tensor *t,
                    struct rcd__dom *dom, int axis);
bool rcd__make_whole(struct rcd__live *l, rcd_value_id id, const struct rcd_tensor *t);
/** Bytes of a row in the store. */
static inline size_t rcd__stored_bytes(const struct rcd__ival *v)
{
    return v->inner + (v->squeezed ? RCD_SQUEEZED_MORE * sizeof(float) : 0);
}
/** Rows f32[n][width] without their zeros; what is behind a row's end is zero, so that equal rows have equal bytes. */
void rcd__squeeze(const struct rcd_kernels *kern, size_t n, size_t width, const float *from,
                  float *to);
/** Rows of v packed: its fresh ones where `rows` are just those, else from the store. */
bool rcd__take(struct rcd__turn *t, const struct rcd__ival *v, const struct rcd__rows *rows,
               struct rcd_tensor *ret);
/** The new rows of v, for its readers and into the store. `fresh` is taken over; rows that are equal to
 * the old ones are left out. */
bool rcd__give(struct rcd__turn *t, struct rcd__ival *v, const struct rcd__rows *rows,
               struct rcd_tensor *fresh);
/** The value as the plan would have it: data borrowed or in the turn's memory; sizes only: no data. */
bool rcd__whole_of(struct rcd__turn *t, const struct rcd__ival *v, bool sizes_only,
                   struct rcd_tensor *ret);
/** New packed rows for v, of n entries. */
bool rcd__packed(struct rcd__turn *t, const struct rcd__ival *v, size_t n, struct rcd_tensor *ret);
/** Store that may be written. */
char *rcd__writable(struct rcd__turn *t, struct rcd__ival *v);
struct rcd__rowstore *rcd__rowstore_new(size_t bytes); /* NULL: no memory */
void rcd__rowstore_unref(struct rcd__rowstore *s);     /* NULL is fine */
/** Rows of all entries, out of the store: [outer][dom->n][inner], without holes. */
void rcd__rows_pack(const struct rcd__ival *v, char *packed);
/** Copies of rows between [outer][n][inner] arrays; NULL lists: 0, 1, 2, ... */
void rcd__rows_copy(char *to, size_t to_n, const int32_t *to_at, const char *from, size_t from_n,
                    const int32_t *from_at, size_t n, size_t outer, size_t inner);

/* ---- incremental_rules.c ---- */
/** Along which axis of the output the entries lie, if the node computes each entry from that entry alone;
 * -1: it does not. axis[j]: of the entries in input j; -1: not rows. fill[j]: all elements are equal. */
int rcd__row_axis(const struct rcd_plan *p, const struct rcd_node *node,
                  const struct rcd_tensor *const *in, const int *axis, const bool *fill,
                  const struct rcd_tensor *out);
/** Does a node read input j row by row whatever the other inputs are, and are these constant? Then the
 * value need not be kept for it. */
bool rcd__reads_once(const struct rcd_plan *p, const struct rcd_node *node, size_t j,
                     const bool *is_fill);
bool rcd__named(const struct rcd_node *node, const char *name);
bool rcd__is_each(const struct rcd_node *node); /* equal elements in, equal elements out */
bool rcd__is_view(const struct rcd_node *node); /* the same elements under another shape */
bool rcd__is_expand(const struct rcd_node *node);

/* ---- incremental_capture.c ---- */
/** A value of the run that makes a binding. */
static inline const struct rcd_tensor *rcd__tensor_of(const struct rcd_run *run, rcd_value_id id)
{
    const struct rcd_plan_value *v = &run->plan->values[id];
    return v->constant != NULL ? v->constant : rcd__slot(run, v->slot, 0);
}
/** After node i has run: keep what its updates will need. Sets l->why when that cannot be. */
void rcd__capture(struct rcd__live *l, const struct rcd_run *run, size_t i);

/* ---- incremental_sparse.c, incremental_chain.c, _attend.c, _lists.c, _nodes.c ---- */
/** A sparse product, and the nodes joined to it: t->n_joined says how many. */
bool rcd__turn_spmm(struct rcd__turn *t, const struct rcd_node *node);
bool rcd__turn_attend(struct rcd__turn *t, const struct rcd_node *node);
bool rcd__capture_attend(struct rcd__live *l, const struct rcd_run *run,
                         const struct rcd_node *node);
bool rcd__capture_spmm(struct rcd__live *l, const struct rcd_run *run, const struct rcd_node *node);
bool rcd__turn_node(struct rcd__turn *t, const struct rcd_node *node, struct rcd__inode *is);
/** Csr, CsrCols, CsrFactors: factors that are mirrored come up to date. */
void rcd__turn_sorted(const struct rcd__turn *t, const struct rcd_node *node);
bool rcd__turn_pick(struct rcd__turn *t, const struct rcd_node *node);
bool rcd__turn_choose(struct rcd__turn *t, const struct rcd_node *node);
bool rcd__turn_merge(struct rcd__turn *t, const struct rcd_node *node);
bool rcd__turn_filter(struct rcd__turn *t, const struct rcd_node *node);
bool rcd__turn_chain(struct rcd__turn *t, const struct rcd_node *node);

/* ---- incremental_sorted.c ---- */
/** At the end of the run that makes the binding: the lists from which the sorted edges that requests read can be written. Sets
 * l->why when that cannot be. */
void rcd__sorted_prepare(struct rcd__live *l, const struct rcd_tensor *slots);
/** Write them. RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd__sorted_publish(rcd_bound *b, struct rcd__live *l,
                                              struct rcd__team *team, struct rcd_error *err);

/* ---- incremental.c ---- */
/** To be told of every node while a binding is made. `wanted`: per slot, what the binding keeps. NULL: no
 * memory. */
struct rcd__live *rcd__live_new(const rcd_plan *p, const bool *done, const struct rcd_tensor *in,
                                const struct rcd_bound_entries *entries, const bool *wanted,
                                size_t max_bytes, bool keep_all, struct rcd__team *team);
void rcd__live_free(struct rcd__live *l);
/** Bring it up to date. False: it is of no use any more. In either case rcd__turn_done must follow; until
 * then the values tell which rows are dirty. */
bool rcd__live_turn(struct rcd__turn *t, const struct rcd_input_delta *deltas,
                    const volatile bool *cancel);
void rcd__turn_done(struct rcd__turn *t);
