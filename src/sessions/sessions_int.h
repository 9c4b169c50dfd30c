/* sessions_int.h - the store of sessions inside: slabs of items, records, rows.
 *
 * Items live in slabs, mappings that grow by segments; with durability `process` the mapping is a file's,
 * and what is in it must make sense to a successor at any moment. So an item is complete before anything
 * points to it, and one aligned store makes it count: record.row for a step, record.state for a session. */
#pragma once
#include "recurd/sessions.h"

#include <pthread.h>
#include <stdatomic.h>

#define RCD__NONE UINT32_MAX /* no item */

/* ---- slab.c ---------------------------------------------------------------------------------- */

/** Grows by segments, each with a header that tells what is in it. fd -1: anonymous memory. */
struct rcd__file {
    int fd;
    size_t size;
};
/** Where the file says how long it is: a segment counts when this has been written. */
enum { RCD__SIZE_AT = 64, RCD__SIZE_UNIT = 4096 };
/** The file is that long; whoever reads another word knows that it is damaged. */
uint64_t rcd__size_word(size_t bytes);

enum rcd__kind { RCD__RECORDS = 1, RCD__ROWS, RCD__EXTRAS, RCD__BLOBS /* and up: by size */ };
enum { RCD__BLOB_SIZES = 14, RCD__BLOB_MIN = 128 };

struct rcd__slab {
    struct rcd__file *file;
    uint32_t kind;
    size_t item; /* bytes; a multiple of 8 */
    unsigned shift;
    size_t n_segments, cap_segments;
    char **segments;
    char *spare; /* rest of a huge page, for the next segments */
    size_t spare_bytes;
    uint32_t n;    /* items that segments hold */
    uint32_t free; /* first of the list of free items */
    uint32_t used;
};

void rcd__slab_init(struct rcd__slab *b, struct rcd__file *f, uint32_t kind, size_t item);
void rcd__slab_done(struct rcd__slab *b);
/** RCD__NONE when there is no memory (*ret_full false) or no space on disk. */
RCD_MUST_CHECK uint32_t rcd__slab_take(struct rcd__slab *b, bool *ret_full);
void rcd__slab_give(struct rcd__slab *b, uint32_t at);
static inline void *rcd__slab_at(const struct rcd__slab *b, uint32_t at)
{
    return b->segments[at >> b->shift] + 64 + (size_t)(at & ((1u << b->shift) - 1)) * b->item;
}
/** Add the segment at `offset` of the file, as found; its items are not free and not used. */
RCD_MUST_CHECK bool rcd__slab_adopt(struct rcd__slab *b, size_t offset, size_t bytes);
/** Maps all of an adopted segment: it is about to be read. */
void rcd__slab_near(const struct rcd__slab *b, size_t segment);
/** After adoption: put an item that nobody uses on the free list. */
void rcd__slab_unused(struct rcd__slab *b, uint32_t at);

struct rcd__segment { /* first 64 bytes of a segment */
    uint64_t magic;
    uint32_t kind, count;
    uint64_t item, bytes;
    uint64_t sum; /* of the above */
    uint64_t spare[3];
};
uint64_t rcd__segment_sum(const struct rcd__segment *g);
#define RCD__SEGMENT_MAGIC 0x31746e6d67657352u /* "Rsegmnt1" */

/* ---- items ------------------------------------------------------------------------------------ */

enum rcd__record_state { RCD__FREE, RCD__PENDING, RCD__LIVE };
/** The word of a free record: neither zeros nor what a flipped bit makes of another. */
#define RCD__FREE_WORD 0x0000f4ee9bd3215cu
enum rcd__id_kind { RCD__ID_NUMBER = 1, RCD__ID_TEXT, RCD__ID_LONG };
enum { RCD__ID_INLINE = 24 };

/** A session. PENDING: made by a request that has not succeeded yet. */
struct rcd__record {
    uint64_t last; /* rcd__last_ms; a session whose time is damaged must not expire for it */
    uint32_t row;  /* RCD__NONE: zeros, no step yet; with the next two one word, stored at once */
    uint16_t tag, sum; /* of row and state, for this session; of id, created_s, generation */
    uint32_t extras;
    uint32_t prev, next; /* idle: neighbours by last use. busy: prev is its place in uses */
    uint32_t created_s, generation;
    uint8_t state, id_kind, id_len; /* state: a copy of what the word says */
    uint8_t busy : 1, dirty : 1;    /* dirty: the disk does not know its last change... */
    uint8_t writing : 1;            /* ...or is about to know it */

    char id[RCD__ID_INLINE]; /* the number, the text, or the blob that holds it */
};

struct rcd__row {
    uint64_t sum; /* of steps, answer and the state */
    uint64_t steps;
    uint32_t answer; /* blob */
    uint32_t refs;   /* counted anew when a file is opened */
    char state[];
};

enum { RCD__EXTRA_RING = 1, RCD__EXTRA_SNAPSHOT = 2 };
/** An earlier state that a session holds on to. */
struct rcd__extra {
    uint32_t next, row;
    uint8_t type, len;
    char name[RCD_SNAPSHOT_NAME_MAX];
    uint64_t tag, spare; /* tag: of all but `next`, for this session */
};

struct rcd__blob {
    uint64_t sum, input_hash;
    uint32_t len, spare;
    char data[];
};

struct rcd__use { /* a busy session */
    uint32_t at, jobs;
    uint32_t pending; /* row that is on its way to the disk */
    bool starts;      /* with it the sequence begins anew */
    void *user;
};

struct rcd__gone { /* one that ended lately */
    uint64_t hash;
    uint8_t why;
};
enum { RCD__GONE = 4096 };

struct rcd_sessions {
    struct rcd_sessions_opts opts; /* pointers: own copies */
    char *model, *path, *runtime_path;
    const char *live; /* one of the two: where the file of `process` is */
    struct rcd_state_shape *states;
    size_t row_bytes; /* of the state */
    uint64_t layout, fingerprint;
    size_t charge; /* what a session costs, for the budget */
    pthread_mutex_t lock;
    struct rcd__file file;
    struct rcd__slab records, rows, extras, blobs[RCD__BLOB_SIZES];
    uint64_t *table; /* open addressing: tag << 32 | record + 1 */
    size_t table_size;
    uint32_t lru_head, lru_tail;
    struct rcd__use *uses;
    size_t n_uses, cap_uses;
    uint32_t free_use;
    struct rcd__gone *gone;
    size_t n_gone;
    struct rcd__last *last; /* last.c */
    size_t n_last, last_bytes;
    size_t charged;
    bool opened;    /* rcd_sessions_new succeeded */
    bool unlimited; /* what is taken over has room */
    struct rcd_sessions_stats stats;
    /* keeper.c */
    struct rcd__disk *disk; /* NULL: nothing is on disk by id */
    pthread_mutex_t disk_lock;
    pthread_cond_t keeper_work, kept; /* kept: a call's wait is done */
    pthread_t keeper;
    bool keeper_ready, keeper_runs, keeper_stop, keeper_hurries;
    struct rcd_session_wait *pending, *pending_tail;
    struct rcd_buf removed;  /* ids to be deleted by the next transaction */
    struct rcd_buf removing; /* by the one that is being written */
    size_t n_spilled;        /* on disk only */
    char sweep_text[RCD_SESSION_ID_MAX];
    struct rcd_session_id sweep; /* where the search for expired ones on disk goes on */
    bool sweeping;
};

/* ---- store.c: rows, blobs, records ---- */
struct rcd__row *rcd__row_at(const rcd_sessions *s, uint32_t row);
struct rcd__record *rcd__record_at(const rcd_sessions *s, uint32_t at);
void rcd__row_ref(rcd_sessions *s, uint32_t row);
void rcd__row_unref(rcd_sessions *s, uint32_t row);
/** A row of its own with refs 1, not published. RCD_ENOMEM, RCD_ENOSPC. */
RCD_MUST_CHECK rcd_status rcd__row_new(rcd_sessions *s, uint32_t *ret, struct rcd_error *err);
void rcd__row_seal(const rcd_sessions *s, uint32_t row);
uint64_t rcd__row_sum(const rcd_sessions *s, uint32_t row);
RCD_MUST_CHECK rcd_status rcd__blob_new(rcd_sessions *s, const void *bytes, size_t len,
                                        uint64_t input_hash, uint32_t *ret, struct rcd_error *err);
void rcd__blob_free(rcd_sessions *s, uint32_t blob);
struct rcd__blob *rcd__blob_at(const rcd_sessions *s, uint32_t blob);
uint64_t rcd__blob_sum(const struct rcd__blob *b, uint32_t blob);
/** The row counts from now on: one store, complete or not there for whoever maps the file next. */
void rcd__record_point(struct rcd__record *r, uint32_t row, uint8_t state);
/** It is free for whoever maps the file next. */
void rcd__record_clear(struct rcd__record *r);
uint16_t rcd__word_tag(const struct rcd__record *r, uint32_t row, uint8_t state);
uint64_t rcd__record_word(const struct rcd__record *r);
/** Time of the last use. False: what is there is damaged. */
bool rcd__last_ms(const struct rcd__record *r, uint64_t *ret);
static inline uint64_t rcd__last_of(const struct rcd__record *r)
{
    return r->last & (((uint64_t)1 << 42) - 1);
}
void rcd__touch(struct rcd__record *r, uint64_t ms);
void rcd__extra_drop(rcd_sessions *s, struct rcd__record *r, uint32_t prev, uint32_t at);
/** Only the newest of the ring's states stay; 0 when they are not what came before the state. */
void rcd__ring_keep(rcd_sessions *s, struct rcd__record *r, unsigned newest);
/** A state of zeros or of `from`, then the given tensors; refs 1. RCD_EINVAL for a wrong shape. */
RCD_MUST_CHECK rcd_status rcd__row_of(rcd_sessions *s, const char *from,
                                      const struct rcd_tensor *const *states, uint64_t steps,
                                      uint32_t *ret, struct rcd_error *err);

/* ---- table.c ---- */
uint64_t rcd__id_hash(const struct rcd_session_id *id);
struct rcd_session_id rcd__record_id(const rcd_sessions *s, const struct rcd__record *r);
uint16_t rcd__record_sum(const struct rcd__record *r);
/** What says that a row, an extra belongs to this session. */
uint64_t rcd__record_tag(const struct rcd__record *r, uint32_t of);
uint64_t rcd__extra_tag(const struct rcd__record *r, const struct rcd__extra *x);
uint32_t rcd__table_find(const rcd_sessions *s, const struct rcd_session_id *id);
/** The same by the hash alone, without a look at the record: most likely, it is the one. */
uint32_t rcd__table_guess(const rcd_sessions *s, uint64_t hash);
/** For so many more records than are used. False: no memory. */
RCD_MUST_CHECK bool rcd__table_room(rcd_sessions *s, size_t more);
/** Asks for the memory that a search will look at. */
void rcd__table_fetch(const rcd_sessions *s, uint64_t hash);
/** False: there is one with the record's id. There must be room. */
RCD_MUST_CHECK bool rcd__table_add(rcd_sessions *s, uint64_t hash, uint32_t at);
void rcd__table_put(rcd_sessions *s, uint64_t hash, uint32_t at);
void rcd__table_remove(rcd_sessions *s, const struct rcd_session_id *id);
/** "7", or the text, quoted; for messages. */
const char *rcd__id_text(char out[80], const struct rcd_session_id *id);

/* ---- store.c ---- */
/** Wall clock that does not jump while the process lives. */
uint64_t rcd__clock_ms(void);

/* ---- life.c: making, ending, idleness, room (all under the lock) ---- */
RCD_MUST_CHECK rcd_status rcd__session_make(rcd_sessions *s, const struct rcd_session_id *id,
                                            uint8_t state, uint32_t *ret, unsigned *retry_after_s,
                                            struct rcd_error *err);
void rcd__session_remove(rcd_sessions *s, uint32_t at, rcd_session_event_kind why,
                         const char *reason);
void rcd__lru_link(rcd_sessions *s, uint32_t at);
void rcd__lru_unlink(rcd_sessions *s, uint32_t at);
void rcd__tell(rcd_sessions *s, rcd_session_event_kind kind, const struct rcd__record *r,
               const char *reason);
/** RCD_ENOTFOUND or RCD_EGONE for an id that is not there. */
rcd_status rcd__unknown(const rcd_sessions *s, const struct rcd_session_id *id,
                        struct rcd_error *err);
/** Charge the bytes, if need be by the overflow policy. RCD_EUNAVAILABLE. */
RCD_MUST_CHECK rcd_status rcd__make_room(rcd_sessions *s, size_t bytes, unsigned *retry_after_s,
                                         struct rcd_error *err);
RCD_MUST_CHECK bool rcd__charge(rcd_sessions *s, size_t bytes);
void rcd__uncharge(rcd_sessions *s, size_t bytes);

/** What an image tells without its states. */
struct rcd__image_about {
    uint64_t last_ms, created_ms, steps;
};

/* ---- salvage.c ---- */
/** What is in LMDB's file after a transaction, in a record of its own before all others: how many
 * sessions, and the sum of their images' checksums, which know the ids. One that vanished, or is another
 * one's, shows. */
struct rcd__tally {
    uint64_t txn, count, sum;
};
#define RCD__TALLY_KEY '\0'
/** False: it is damaged. */
typedef bool rcd__salvage_found(void *ctx, const char *key, size_t key_len, const char *value,
                                size_t len);
/** Every session that LMDB's file has and that can be reached; *ret: what these are. Returns whether the
 * whole file is sound, the list of free pages, too. Any bytes are safe. */
RCD_MUST_CHECK bool rcd__salvage(const char *path, rcd__salvage_found *found, void *ctx,
                                 struct rcd__tally *ret);

/* ---- last.c ---- */
struct rcd__last;
/** The turn's answer (which is taken) is that of the step that ended the session. Under the lock. */
void rcd__last_keep(rcd_sessions *s, const struct rcd_session_id *id,
                    struct rcd_session_turn *turn);
void rcd__last_free(rcd_sessions *s);

/* ---- disk.c ---- */
/** LMDB's file; with durability `none` one of its own, which nobody takes over. */
void rcd__disk_path(const rcd_sessions *s, char out[4300]);
RCD_MUST_CHECK rcd_status rcd__disk_open(rcd_sessions *s, bool keep, bool sync,
                                         struct rcd_error *err);
void rcd__disk_close(rcd_sessions *s);
/** A write transaction; under disk_lock. */
RCD_MUST_CHECK rcd_status rcd__disk_begin(rcd_sessions *s, struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__disk_put(rcd_sessions *s, const struct rcd_session_id *id,
                                        const void *bytes, size_t len, struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__disk_delete(rcd_sessions *s, const struct rcd_session_id *id,
                                           struct rcd_error *err);
rcd_status rcd__disk_end(rcd_sessions *s, bool good, struct rcd_error *err);
/** RCD_ENOTFOUND without a message; out NULL: only whether it is there. */
RCD_MUST_CHECK rcd_status rcd__disk_get(rcd_sessions *s, const struct rcd_session_id *id,
                                        struct rcd_buf *out, struct rcd_error *err);
/** Brings its pages into memory. Needs no lock. */
void rcd__disk_touch(const rcd_sessions *s, const struct rcd_session_id *id);
/** The first id behind `after` (NULL: of all); its text in text[RCD_SESSION_ID_MAX]. */
bool rcd__disk_next(rcd_sessions *s, const struct rcd_session_id *after, char text[],
                    struct rcd_session_id *ret, struct rcd__image_about *about);
size_t rcd__disk_count(const rcd_sessions *s);

/* ---- image.c ---- */
/** The checksum holds for this id. */
bool rcd__image_good(const struct rcd_session_id *id, const void *bytes, size_t len);
RCD_MUST_CHECK rcd_status rcd__image_put(const rcd_sessions *s, const struct rcd__record *r,
                                         uint32_t row, struct rcd_buf *out, struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__image_take(rcd_sessions *s, const struct rcd_session_id *id,
                                          const struct rcd_buf *image, uint32_t *ret,
                                          unsigned *retry_after_s, struct rcd_error *err);
/** False: it is no image. */
bool rcd__image_look(const void *bytes, size_t len, struct rcd__image_about *ret);

/* ---- keeper.c (under the lock, but for start and stop) ---- */
RCD_MUST_CHECK rcd_status rcd__keeper_start(rcd_sessions *s, struct rcd_error *err);
void rcd__keeper_stop(rcd_sessions *s);
/** The next transaction deletes the session. */
void rcd__keep_forget(rcd_sessions *s, const struct rcd_session_id *id);
/** With `commit`: the session (NONE: what was removed) is on disk when this returns. The lock is left
 * meanwhile, and the session may have changed or ended. */
RCD_MUST_CHECK rcd_status rcd__keep_now(rcd_sessions *s, uint32_t at, struct rcd_error *err);
enum { RCD__IMAGE_MAX = 1 << 30 };
/** The row that the disk gets: a commit that is being written is newer than what is published. */
uint32_t rcd__latest_row(const rcd_sessions *s, const struct rcd__record *r);
void rcd__note_removed(rcd_sessions *s, const struct rcd_session_id *id);
/** In the transaction that is open, under disk_lock. */
RCD_MUST_CHECK rcd_status rcd__delete_all(rcd_sessions *s, const struct rcd_buf *ids,
                                          struct rcd_error *err);
/** It leaves the disk, though the disk may not know yet. */
bool rcd__is_removed(const rcd_sessions *s, const struct rcd_session_id *id);
void rcd__keep_later(rcd_sessions *s, struct rcd_session_wait *w);

/* ---- spill.c (under the lock) ---- */
/** Some of the least recently used leave for the disk. RCD_EUNAVAILABLE: all are busy. RCD_EBUSY: they will
 * soon; till then the budget may be exceeded by an eighth, or 64 sessions. */
RCD_MUST_CHECK rcd_status rcd__spill(rcd_sessions *s, struct rcd_error *err);
/** Back from the disk; RCD_OK and NONE when it is not there. */
RCD_MUST_CHECK rcd_status rcd__restore(rcd_sessions *s, const struct rcd_session_id *id,
                                       uint32_t *ret, unsigned *retry_after_s,
                                       struct rcd_error *err);
/** At the start: who is in memory is not on disk. */
RCD_MUST_CHECK rcd_status rcd__drop_doubles(rcd_sessions *s, struct rcd_error *err);
void rcd__spilled_expired(rcd_sessions *s, const struct rcd_session_id *id);

/* ---- use.c ---- */
/** A commit that was written, or not (w->err), takes effect. Under the lock. */
void rcd__commit_ends(rcd_sessions *s, struct rcd_session_wait *w);
/* ---- life.c ---- */
void rcd__expired_on_disk(rcd_sessions *s, const struct rcd_session_id *id);
void rcd__charge_anyway(rcd_sessions *s, size_t bytes);

/* ---- manage.c ---- */
/** In memory, or back from the disk; RCD_OK and NONE when it is nowhere. */
RCD_MUST_CHECK rcd_status rcd__look_up(rcd_sessions *s, const struct rcd_session_id *id,
                                       uint32_t *ret, unsigned *retry_after_s,
                                       struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__session_find(rcd_sessions *s, const struct rcd_session_id *id,
                                            uint32_t *ret, struct rcd_error *err);
/** The record's row becomes `row` (a reference is taken over), at once and for a successor too. */
void rcd__publish(rcd_sessions *s, struct rcd__record *r, uint32_t row);

/** rcd__publish by a call, and on disk with `commit`; else as it was. A reference is taken over. */
RCD_MUST_CHECK rcd_status rcd__put_row(rcd_sessions *s, uint32_t at, uint32_t row,
                                       struct rcd_error *err);
void rcd__describe(const rcd_sessions *s, const struct rcd__record *r,
                   struct rcd_session_info *ret);

/* ---- place.c ---- */
/** Which file serves: s->live. The other one is not there any more, or the same. RCD_EIO, RCD_ENOSPC. */
RCD_MUST_CHECK rcd_status rcd__place_open(rcd_sessions *s, struct rcd_error *err);
/** An orderly end: a file in the runtime directory is copied to the state directory. */
void rcd__place_close(const rcd_sessions *s);
/** All of the file under that name, on disk, or nothing (errno tells). */
RCD_MUST_CHECK bool rcd__file_copy(int from, const char *to);
/** A name that is free: path.how-time. */
void rcd__aside_name(const char *path, const char *how, char name[], size_t bytes);
/** Renamed, into the state directory if there is one; its new name. False: errno tells. */
RCD_MUST_CHECK bool rcd__file_aside(const rcd_sessions *s, const char *path, const char *how,
                                    char name[], size_t bytes);

/** The file that serves is damaged: once (*done), and before anything in it is mended, a copy goes aside. */
void rcd__keep_damaged(const rcd_sessions *s, bool *done);

int rcd__folder_sync(const char *path);

/* ---- convert.c: before anything is served; RCD_EIO, RCD_ENOMEM, RCD_ENOSPC ---- */
RCD_MUST_CHECK rcd_status rcd__convert_to_disk(rcd_sessions *s, struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__convert_to_process(rcd_sessions *s, struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__convert_to_none(const rcd_sessions *s, struct rcd_error *err);
/** A store that is only read: nothing is written or removed at its end. store.c */
RCD_MUST_CHECK rcd_status rcd__sessions_source(const struct rcd_sessions_opts *opts,
                                               rcd_sessions **ret, struct rcd_error *err);
/** The list of idle sessions by their last use. idle.c; false: no memory */
RCD_MUST_CHECK bool rcd__idle_sort(rcd_sessions *s);

/* ---- head.c ---- */
struct rcd__head {
    uint64_t magic, fingerprint, layout, row_bytes, sum;
};
struct rcd__head rcd__head_of(const rcd_sessions *s);
/** False: it is damaged. */
RCD_MUST_CHECK bool rcd__head_read(int fd, struct rcd__head *ret);
RCD_MUST_CHECK bool rcd__size_read(int fd, uint64_t *ret_units);
/** A stamp of its own each time that the file is taken over. */
RCD_MUST_CHECK bool rcd__head_stamp(const rcd_sessions *s);
enum rcd__peek { RCD__PEEK_NONE, RCD__PEEK_DAMAGED, RCD__PEEK_GOOD };
enum rcd__peek rcd__file_peek(const char *path, uint64_t *ret_stamp);
/** The file is of this fingerprint from now on. */
void rcd__head_write(const rcd_sessions *s);

/* ---- recover.c ---- */
/** Open or make the file; take over what it holds. */
RCD_MUST_CHECK rcd_status rcd__recover(rcd_sessions *s, struct rcd_error *err);

/* ---- recover_items.c ---- */
struct rcd__taken {
    size_t good, bad; /* sessions */
    bool aside;       /* a copy of the file as it was found is made, or was tried */
};
/** What is whole in the segments that were adopted. RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd__take_items(rcd_sessions *s, struct rcd__taken *taken,
                                          struct rcd_error *err);

void rcd__store_say(const rcd_sessions *s, int priority, const char *fmt, ...) RCD_PRINTF(3, 4);
