/* store.c - a store's beginning and end, its counters, its clock. */
#include "sessions_int.h"

#include <stdarg.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>
#include <xxhash.h>

uint64_t rcd__clock_ms(void)
{
    static uint64_t base; /* the same from whoever comes first, within a millisecond */
    uint64_t b = __atomic_load_n(&base, __ATOMIC_RELAXED);
    if (b == 0) {
        uint64_t now = rcd_wall_ms() - rcd_now_ns() / 1000000u;
        if (__atomic_compare_exchange_n(&base, &b, now, false, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
            b = now;
    }
    return b + rcd_now_ns() / 1000000u;
}

void rcd__store_say(const rcd_sessions *s, int priority, const char *fmt, ...)
{
    char text[512];
    va_list args;
    if (s->opts.log == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    s->opts.log(s->opts.ctx, priority, text);
}

/* Names, types and sizes, in the order of the model's inputs. */
static uint64_t layout_of(const struct rcd_state_shape *states, size_t n)
{
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++) {
        uint64_t words[RCD_MAX_RANK + 2] = {(uint64_t)states[i].dtype, (uint64_t)states[i].rank};
        for (int d = 0; d < states[i].rank; d++)
            words[2 + d] = (uint64_t)states[i].dims[d];
        hash = XXH3_64bits_withSeed(states[i].name, strlen(states[i].name), hash);
        hash = XXH3_64bits_withSeed(words, sizeof words, hash);
    }
    return hash;
}

static rcd_status copy_shapes(rcd_sessions *s, const struct rcd_sessions_opts *opts,
                              struct rcd_error *err)
{
    s->model = rcd_strdup(opts->model);
    s->path = opts->path != NULL ? rcd_strdup(opts->path) : NULL;
    s->runtime_path = opts->runtime_path != NULL ? rcd_strdup(opts->runtime_path) : NULL;
    s->states = rcd_calloc(opts->n_states, sizeof *s->states);
    if (s->model == NULL || (opts->path != NULL && s->path == NULL) || s->states == NULL ||
        (opts->runtime_path != NULL && s->runtime_path == NULL))
        return rcd_fail(err, RCD_ENOMEM, "no memory for the sessions of '%s'", opts->model);
    for (size_t i = 0; i < opts->n_states; i++) {
        size_t n = 0, bytes = 0;
        s->states[i] = opts->states[i];
        s->states[i].name = rcd_strdup(opts->states[i].name);
        if (s->states[i].name == NULL)
            return rcd_fail(err, RCD_ENOMEM, "no memory for the sessions of '%s'", opts->model);
        if (!rcd_shape_count(opts->states[i].dtype, opts->states[i].rank, opts->states[i].dims, &n,
                             &bytes))
            return rcd_fail(err, RCD_EMODEL, "state '%s' is too large", opts->states[i].name);
        s->row_bytes += bytes;
    }
    s->layout = layout_of(s->states, opts->n_states);
    return RCD_OK;
}

/* The record, its place in the table at three quarters full, its row, and those of the ring. */
static size_t charge_of(const rcd_sessions *s, unsigned ring)
{
    size_t row = s->rows.item;
    return sizeof(struct rcd__record) + 16 + row + ring * (row + sizeof(struct rcd__extra));
}

static void init_slabs(rcd_sessions *s)
{
    size_t row = (sizeof(struct rcd__row) + s->row_bytes + 7) & ~(size_t)7;
    rcd__slab_init(&s->records, &s->file, RCD__RECORDS, sizeof(struct rcd__record));
    rcd__slab_init(&s->rows, &s->file, RCD__ROWS, row);
    rcd__slab_init(&s->extras, &s->file, RCD__EXTRAS, sizeof(struct rcd__extra));
    for (uint32_t i = 0; i < RCD__BLOB_SIZES; i++)
        rcd__slab_init(&s->blobs[i], &s->file, RCD__BLOBS + i, (size_t)RCD__BLOB_MIN << i);
    s->charge = charge_of(s, s->opts.ring);
}

static rcd_status open_places(rcd_sessions *s, bool source, struct rcd_error *err)
{
    bool process = s->opts.durable == RCD_DURABLE_PROCESS;
    rcd_status st = RCD_OK;
    if (process && (s->path != NULL || s->runtime_path != NULL))
        st = rcd__recover(s, err);
    else if (s->opts.durable == RCD_DURABLE_NONE)
        st = rcd__convert_to_none(s, err);
    if (st != RCD_OK || source)
        return st;
    if (process && s->opts.overflow != RCD_OVERFLOW_SPILL)
        st = rcd__convert_to_process(s, err);
    return st == RCD_OK ? rcd__keeper_start(s, err) : st;
}

static rcd_status open_store(const struct rcd_sessions_opts *opts, bool source, rcd_sessions **ret,
                             struct rcd_error *err)
{
    RCD_ASSERT(opts->n_states > 0 && opts->budget != NULL);
    rcd_sessions *s = rcd_calloc(1, sizeof *s);
    if (s == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the sessions of '%s'", opts->model);
    s->opts = *opts;
    s->fingerprint = opts->fingerprint;
    s->lru_head = s->lru_tail = s->free_use = RCD__NONE;
    s->file.fd = -1;
    pthread_mutex_init(&s->lock, NULL);
    s->gone = rcd_calloc(RCD__GONE, sizeof *s->gone); /* without it nobody learns the reason */
    rcd_status st = copy_shapes(s, opts, err);
    if (st == RCD_OK) {
        init_slabs(s);
        st = open_places(s, source, err);
    }
    if (st != RCD_OK) {
        rcd_sessions_free(s);
        return st;
    }
    s->opened = !source;
    *ret = s;
    return RCD_OK;
}

rcd_status rcd_sessions_new(const struct rcd_sessions_opts *opts, rcd_sessions **ret,
                            struct rcd_error *err)
{
    return open_store(opts, false, ret, err);
}

rcd_status rcd__sessions_source(const struct rcd_sessions_opts *opts, rcd_sessions **ret,
                                struct rcd_error *err)
{
    return open_store(opts, true, ret, err);
}

static void free_text(const char *text)
{
    union {
        const char *c;
        void *p;
    } u = {.c = text};
    rcd_free(u.p);
}

/* Files without sessions would only make somebody load the version again. */
static void remove_files(const rcd_sessions *s)
{
    char lmdb[4300], lock[4310];
    if (s->runtime_path != NULL)
        (void)unlink(s->runtime_path);
    if (s->path == NULL)
        return;
    rcd__disk_path(s, lmdb);
    snprintf(lock, sizeof lock, "%s-lock", lmdb);
    (void)unlink(s->path);
    (void)unlink(lmdb);
    (void)unlink(lock);
}

rcd_sessions *rcd_sessions_free(rcd_sessions *s)
{
    if (s == NULL)
        return NULL;
    bool empty = s->opened && s->records.used + s->n_spilled == 0;
    rcd__keeper_stop(s);
    rcd__slab_done(&s->records);
    rcd__slab_done(&s->rows);
    rcd__slab_done(&s->extras);
    for (size_t i = 0; i < RCD__BLOB_SIZES; i++)
        rcd__slab_done(&s->blobs[i]);
    if (s->opened && !empty)
        rcd__place_close(s);
    if (s->file.fd >= 0)
        close(s->file.fd); /* what is in it stays */
    rcd__uncharge(s, s->charged);
    for (size_t i = 0; s->states != NULL && i < s->opts.n_states; i++)
        free_text(s->states[i].name);
    if (empty)
        remove_files(s);
    rcd_free(s->states);
    rcd_free(s->table);
    rcd_free(s->uses);
    rcd_free(s->gone);
    rcd__last_free(s);
    rcd_free(s->model);
    rcd_free(s->path);
    rcd_free(s->runtime_path);
    pthread_mutex_destroy(&s->lock);
    rcd_free(s);
    return NULL;
}

const char *rcd_durable_name(rcd_durable d)
{
    static const char *const names[] = {"none", "process", "snapshot", "commit"};
    return names[d];
}

rcd_durable rcd_sessions_durable(const rcd_sessions *s)
{
    return s->live != NULL || s->disk != NULL ? s->opts.durable : RCD_DURABLE_NONE;
}

size_t rcd_sessions_live(rcd_sessions *s)
{
    pthread_mutex_lock(&s->lock);
    size_t n = s->records.used + s->n_spilled;
    pthread_mutex_unlock(&s->lock);
    return n;
}

uint64_t rcd_sessions_fingerprint(const rcd_sessions *s)
{
    return s->fingerprint;
}

void rcd_sessions_migrate(rcd_sessions *s, uint64_t fingerprint)
{
    pthread_mutex_lock(&s->lock);
    s->fingerprint = fingerprint;
    rcd__head_write(s);
    for (uint32_t i = 0; i < s->records.n; i++) {
        const struct rcd__record *r = rcd__record_at(s, i);
        if (r->state == RCD__LIVE)
            rcd__tell(s, RCD_SESSION_MIGRATED, r, "another version of the model was loaded");
    }
    pthread_mutex_unlock(&s->lock);
}

void rcd_sessions_limit(rcd_sessions *s, const struct rcd_sessions_opts *new)
{
    struct rcd_sessions_opts *o = &s->opts;
    pthread_mutex_lock(&s->lock);
    bool spills = new->overflow != RCD_OVERFLOW_SPILL || s->disk != NULL;
    const char *later = new->durable != o->durable ? "durable"
                        : !spills                  ? "overflow \"spill\""
                                                   : NULL;
    size_t charge = charge_of(s, new->ring), n = s->records.used;
    if (charge > s->charge)
        rcd__charge_anyway(s, n * (charge - s->charge));
    else
        rcd__uncharge(s, n * (s->charge - charge));
    s->charge = charge;
    o->ring = new->ring; /* a longer ring is cut by the next step */
    o->idle_ms = new->idle_ms;
    o->max_bytes = new->max_bytes;
    o->snapshot_interval_ms = new->snapshot_interval_ms;
    o->overflow = spills ? new->overflow : RCD_OVERFLOW_REJECT;
    if (s->keeper_ready)
        pthread_cond_signal(&s->keeper_work);
    pthread_mutex_unlock(&s->lock);
    if (later != NULL)
        rcd__store_say(s, LOG_WARNING,
                       "model '%s': its sessions live on; sessions.%s of the new version counts "
                       "from the next start of the server",
                       s->model, later);
}

const struct rcd_state_shape *rcd_sessions_states(const rcd_sessions *s, size_t *ret_n)
{
    *ret_n = s->opts.n_states;
    return s->states;
}

void rcd_sessions_stats(rcd_sessions *s, struct rcd_sessions_stats *ret)
{
    pthread_mutex_lock(&s->lock);
    *ret = s->stats;
    ret->busy = s->n_uses;
    ret->idle = s->records.used > s->n_uses ? s->records.used - s->n_uses : 0;
    ret->spilled = s->n_spilled;
    ret->bytes = s->charged;
    for (size_t i = 0; i < RCD__BLOB_SIZES; i++)
        ret->bytes += s->blobs[i].used * s->blobs[i].item;
    pthread_mutex_unlock(&s->lock);
}
