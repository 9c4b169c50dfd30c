/* stores.c - the list of stores: made when a version is loaded, let go when it has neither version nor
 * session. Loading happens on helper threads, so the list has a lock; what is in a store has its own. */
#include "stores.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

enum { EVENTS = 4096 };

struct rcd_stores {
    struct rcd_stores_opts opts;
    char *dir;
    int lock_fd;
    struct rcd_session_budget budget;
    pthread_mutex_t lock;
    struct rcd__store *first;
    pthread_mutex_t events_lock; /* taken under a store's lock; takes none */
    struct rcd__event *events;
    uint64_t n_events;
};

/* ---- the state directory ------------------------------------------------------------------------ */

static rcd_status open_dir(rcd_stores *s, struct rcd_error *err)
{
    char path[4200];
    if (s->dir == NULL)
        return RCD_OK;
    if (mkdir(s->dir, 0700) != 0 && errno != EEXIST)
        return rcd_fail(err, RCD_EIO, "state.dir %s: %s", s->dir, strerror(errno));
    snprintf(path, sizeof path, "%s/lock", s->dir);
    s->lock_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (s->lock_fd < 0)
        return rcd_fail(err, RCD_EIO, "state.dir: %s: %s", path, strerror(errno));
    if (flock(s->lock_fd, LOCK_EX | LOCK_NB) != 0)
        return rcd_fail(err, RCD_EIO, "state.dir %s: another recurd uses it (%s is locked)", s->dir,
                        path);
    return RCD_OK;
}

rcd_status rcd_stores_new(const struct rcd_stores_opts *opts, rcd_stores **ret,
                          struct rcd_error *err)
{
    rcd_stores *s = rcd_calloc(1, sizeof *s);
    if (s == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for sessions");
    s->opts = *opts;
    s->lock_fd = -1;
    s->budget.max = opts->max_bytes;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->events_lock, NULL);
    bool kept = opts->state_dir != NULL && opts->state_dir[0] != '\0';
    s->dir = kept ? rcd_strdup(opts->state_dir) : NULL;
    s->events = rcd_calloc(EVENTS, sizeof *s->events);
    rcd_status st = RCD_OK;
    if (s->events == NULL || (kept && s->dir == NULL))
        st = rcd_fail(err, RCD_ENOMEM, "no memory for sessions");
    if (st == RCD_OK)
        st = open_dir(s, err);
    if (st != RCD_OK) {
        rcd_stores_free(s);
        return st;
    }
    *ret = s;
    return RCD_OK;
}

rcd_stores *rcd_stores_free(rcd_stores *s)
{
    if (s == NULL)
        return NULL;
    RCD_ASSERT(s->first == NULL);
    if (s->lock_fd >= 0)
        close(s->lock_fd);
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->events_lock);
    rcd_free(s->events);
    rcd_free(s->dir);
    rcd_free(s);
    return NULL;
}

/* ---- events ----------------------------------------------------------------------------------------- */

static void on_event(void *ctx, const struct rcd_session_event *e)
{
    struct rcd__store *store = ctx;
    rcd_stores *s = store->stores;
    pthread_mutex_lock(&s->events_lock);
    struct rcd__event *to = &s->events[s->n_events++ % EVENTS];
    *to = (struct rcd__event){.kind = e->kind,
                              .reason = e->reason,
                              .steps = e->steps,
                              .time_ms = rcd_wall_ms(),
                              .number = s->n_events,
                              .id_number = e->id.number};
    snprintf(to->model, sizeof to->model, "%s", store->model);
    snprintf(to->version, sizeof to->version, "%llu", (unsigned long long)store->number);
    if (e->id.text != NULL) {
        memcpy(to->id, e->id.text, e->id.len);
        to->id_len = e->id.len;
    }
    pthread_mutex_unlock(&s->events_lock);
}

bool rcd__stores_event(rcd_stores *s, uint64_t after, struct rcd__event *ret)
{
    pthread_mutex_lock(&s->events_lock);
    uint64_t oldest = s->n_events > EVENTS ? s->n_events - EVENTS : 0;
    bool found = after < s->n_events;
    if (found)
        *ret = s->events[(after < oldest ? oldest : after) % EVENTS];
    pthread_mutex_unlock(&s->events_lock);
    return found;
}

uint64_t rcd__stores_last_event(rcd_stores *s)
{
    pthread_mutex_lock(&s->events_lock);
    uint64_t n = s->n_events;
    pthread_mutex_unlock(&s->events_lock);
    return n;
}

/* ---- making a store ------------------------------------------------------------------------------------ */

/* The states of one session: batch 1, and so every other size that the file leaves open. */
static rcd_status shapes(const rcd_plan *plan, struct rcd_arena *arena,
                         struct rcd_state_shape **ret, size_t *ret_n, struct rcd_error *err)
{
    size_t n_in = 0;
    const struct rcd_io *io = rcd_plan_inputs(plan, &n_in);
    *ret = rcd_arena_calloc(arena, n_in, sizeof **ret);
    *ret_n = 0;
    if (*ret == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the shapes of states");
    for (size_t i = 0; i < n_in; i++) {
        if (rcd_plan_state_output(plan, i) < 0)
            continue;
        struct rcd_state_shape *to = &(*ret)[(*ret_n)++];
        *to =
            (struct rcd_state_shape){.name = io[i].name, .dtype = io[i].dtype, .rank = io[i].rank};
        if (io[i].dtype == RCD_BYTES)
            return rcd_fail(err, RCD_EMODEL, "state '%s' is of type BYTES", io[i].name);
        for (int d = 0; d < io[i].rank; d++)
            to->dims[d] = io[i].dims[d] >= 0 ? io[i].dims[d] : 1;
    }
    return RCD_OK;
}

static void log_of(void *ctx, int priority, const char *text)
{
    const struct rcd__store *store = ctx;
    store->stores->opts.log(store->stores->opts.log_ctx, priority, text);
}

/* Files that could both be in use have different names: by what must be the same to go on with one. */
static void file_name(char out[80], const rcd_version *v, const struct rcd_state_shape *states,
                      size_t n)
{
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++) {
        hash = rcd_session_hash(hash ^ (uint64_t)states[i].dtype, states[i].name,
                                strlen(states[i].name));
        hash = rcd_session_hash(hash, states[i].dims, sizeof states[i].dims);
    }
    if (rcd_version_config(v)->sessions.carry)
        snprintf(out, 80, "/carried-%016llx.sessions", (unsigned long long)hash);
    else
        snprintf(out, 80, "/%s-%016llx.sessions", rcd_version_number(v),
                 (unsigned long long)(hash ^ rcd_version_fingerprint(v)));
}

static rcd_status new_store(rcd_stores *s, const rcd_version *v,
                            const struct rcd_state_shape *states, size_t n, struct rcd__store **ret,
                            struct rcd_error *err)
{
    const struct rcd_session_config *c = &rcd_version_config(v)->sessions;
    char path[4400];
    bool disk = c->durable != RCD_DURABLE_NONE || c->overflow == RCD_OVERFLOW_SPILL;
    bool kept = s->dir != NULL && disk;
    if (disk && !kept && (c->durable > RCD_DURABLE_PROCESS || c->overflow == RCD_OVERFLOW_SPILL))
        return rcd_fail(err, RCD_EMODEL, "sessions: %s needs state.dir (--state-dir)",
                        c->overflow == RCD_OVERFLOW_SPILL ? "overflow \"spill\""
                                                          : "durable \"snapshot\" or \"commit\"");
    snprintf(path, sizeof path, "%s/%s", s->dir != NULL ? s->dir : "", rcd_version_model(v));
    if (kept && mkdir(path, 0700) != 0 && errno != EEXIST)
        return rcd_fail(err, errno == ENOSPC ? RCD_ENOSPC : RCD_EIO, "%s: %s", path,
                        strerror(errno));
    file_name(path + strlen(path), v, states, n);
    struct rcd__store *store = rcd_calloc(1, sizeof *store);
    if (store == NULL || (store->model = rcd_strdup(rcd_version_model(v))) == NULL) {
        rcd_free(store);
        return rcd_fail(err, RCD_ENOMEM, "no memory for the sessions of '%s'",
                        rcd_version_model(v));
    }
    store->stores = s;
    const struct rcd_sessions_opts opts = {.model = store->model,
                                           .states = states,
                                           .n_states = n,
                                           .fingerprint = rcd_version_fingerprint(v),
                                           .idle_ms = c->idle_ms,
                                           .max_bytes = c->max_bytes,
                                           .overflow = c->overflow,
                                           .durable = c->durable,
                                           .ring = c->ring,
                                           .snapshot_interval_ms = c->snapshot_interval_ms,
                                           .committed = rcd__sequence_committed,
                                           .budget = &s->budget,
                                           .path = kept ? path : NULL,
                                           .carry = c->carry,
                                           .ctx = store,
                                           .event = on_event,
                                           .log = log_of};
    rcd_status st = rcd_sessions_new(&opts, &store->sessions, err);
    if (st != RCD_OK) {
        rcd_free(store->model);
        rcd_free(store);
        return st;
    }
    *ret = store;
    return RCD_OK;
}

static uint64_t number_of(const rcd_version *v)
{
    return strtoull(rcd_version_number(v), NULL, 10);
}

/* The same file loaded again, or a newer one that carries sessions on. Under the lock. */
static struct rcd__store *predecessor(const rcd_stores *s, const rcd_version *v,
                                      uint64_t fingerprint, const char *model)
{
    bool carry = rcd_version_config(v)->sessions.carry;
    for (struct rcd__store *p = s->first; p != NULL; p = p->next) {
        if (strcmp(p->model, model) != 0)
            continue;
        bool again =
            p->number == number_of(v) && rcd_sessions_fingerprint(p->sessions) == fingerprint;
        if (again || (carry && p->number <= number_of(v)))
            return p;
    }
    return NULL;
}

static bool same_states(const struct rcd__store *p, const struct rcd_state_shape *states, size_t n)
{
    size_t m = 0;
    const struct rcd_state_shape *mine = rcd_sessions_states(p->sessions, &m);
    bool same = n == m;
    for (size_t i = 0; same && i < n; i++)
        same = strcmp(mine[i].name, states[i].name) == 0 && mine[i].dtype == states[i].dtype &&
               mine[i].rank == states[i].rank &&
               memcmp(mine[i].dims, states[i].dims, (size_t)mine[i].rank * sizeof *mine->dims) == 0;
    return same;
}

static rcd_status find_or_make(rcd_stores *s, const rcd_version *v,
                               const struct rcd_state_shape *states, size_t n,
                               struct rcd__store **ret, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    pthread_mutex_lock(&s->lock);
    struct rcd__store *p = predecessor(s, v, rcd_version_fingerprint(v), rcd_version_model(v));
    if (p == NULL || !same_states(p, states, n)) {
        st = new_store(s, v, states, n, &p, err);
        if (st == RCD_OK) {
            p->next = s->first;
            s->first = p;
        }
    }
    if (st == RCD_OK) {
        p->users++;
        p->number = number_of(v);
        *ret = p;
    }
    pthread_mutex_unlock(&s->lock);
    return st;
}

rcd_status rcd_api_attach(void *ctx, const rcd_version *v, void **ret_user, struct rcd_error *err)
{
    rcd_stores *s = ctx;
    const struct rcd_model_config *c = rcd_version_config(v);
    const struct rcd_queue_opts opts = {.name = rcd_version_model(v),
                                        .max_rows = c->max_rows,
                                        .max_delay_ns = c->max_delay_us * 1000,
                                        .max_queue = c->max_queue};
    struct rcd_arena arena;
    struct rcd_state_shape *states = NULL;
    size_t n = 0;
    struct rcd__served *served = rcd_calloc(1, sizeof *served);
    if (served == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a queue");
    rcd_arena_init(&arena, 1 << 20);
    rcd_status st = shapes(rcd_version_plan(v), &arena, &states, &n, err);
    if (st == RCD_OK && n > 0)
        st = find_or_make(s, v, states, n, &served->store, err);
    rcd_arena_done(&arena);
    if (st == RCD_OK)
        st = rcd_queue_new(s->opts.sched, rcd_version_plan(v), &opts, &served->queue, err);
    if (st != RCD_OK) {
        rcd_api_detach(s, served);
        return st;
    }
    *ret_user = served;
    return RCD_OK;
}

static void let_go(rcd_stores *s, struct rcd__store *store)
{
    struct rcd__store **link = &s->first;
    while (*link != store)
        link = &(*link)->next;
    *link = store->next;
    rcd_sessions_free(store->sessions);
    rcd_free(store->model);
    rcd_free(store);
}

void rcd_api_detach(void *ctx, void *user)
{
    rcd_stores *s = ctx;
    struct rcd__served *served = user;
    rcd_queue_close(served->queue);
    pthread_mutex_lock(&s->lock);
    if (served->store != NULL && --served->store->users == 0)
        let_go(s, served->store); /* its sessions, if any, wait in their file */
    pthread_mutex_unlock(&s->lock);
    rcd_free(served);
}

/* ---- versions that are needed for their sessions ----------------------------------------------------- */

/* Files are called by version and hash; one without sessions is removed when its store goes. */
static bool has_file(const rcd_stores *s, const char *model, uint64_t number)
{
    char path[4300], prefix[32];
    bool found = false;
    snprintf(path, sizeof path, "%s/%s", s->dir, model);
    int len = snprintf(prefix, sizeof prefix, "%llu-", (unsigned long long)number);
    DIR *d = opendir(path);
    for (const struct dirent *e; !found && d != NULL && (e = readdir(d)) != NULL;) {
        const char *end = strstr(e->d_name, ".sessions");
        found = strncmp(e->d_name, prefix, (size_t)len) == 0 && end != NULL &&
                (strcmp(end, ".sessions") == 0 || strcmp(end, ".sessions.lmdb") == 0);
    }
    if (d != NULL)
        closedir(d);
    return found;
}

bool rcd_api_needed(void *ctx, const char *model, uint64_t number)
{
    rcd_stores *s = ctx;
    bool known = false; /* then its sessions hold it, loaded or not */
    pthread_mutex_lock(&s->lock);
    for (const struct rcd__store *p = s->first; p != NULL; p = p->next) {
        known = known || (p->number == number && strcmp(p->model, model) == 0);
    }
    pthread_mutex_unlock(&s->lock);
    return !known && s->dir != NULL && has_file(s, model, number);
}

/* ---- on the loop -------------------------------------------------------------------------------------------- */

struct rcd__store *rcd__store_of(rcd_version *v)
{
    struct rcd__store *store = rcd__served(v)->store;
    if (store == NULL || store->version == v)
        return store;
    if (store->version == NULL || number_of(v) >= number_of(store->version)) {
        rcd_version *old = store->version;
        store->version = rcd_version_ref(v);
        if (rcd_sessions_fingerprint(store->sessions) != rcd_version_fingerprint(v))
            rcd_sessions_migrate(store->sessions, rcd_version_fingerprint(v));
        rcd_version_unref(old);
    }
    return store;
}

struct rcd__store *rcd__store_at(rcd_stores *s, const char *model, size_t i)
{
    pthread_mutex_lock(&s->lock);
    struct rcd__store *p = s->first;
    for (; p != NULL; p = p->next) {
        if ((model == NULL || strcmp(p->model, model) == 0) && i-- == 0)
            break;
    }
    pthread_mutex_unlock(&s->lock);
    return p;
}

struct rcd__store *rcd__store_with(rcd_stores *s, const char *model,
                                   const struct rcd_session_id *id)
{
    struct rcd__store *p = NULL;
    for (size_t i = 0; (p = rcd__store_at(s, model, i)) != NULL; i++) {
        if (rcd_session_known(p->sessions, id))
            break;
    }
    return p;
}

void rcd__store_pin(struct rcd__store *store, rcd_registry *registry)
{
    rcd_version *v = NULL;
    char number[24];
    snprintf(number, sizeof number, "%llu", (unsigned long long)store->number);
    if (rcd_registry_get(registry, store->model, number, &v, NULL) != RCD_OK)
        return;
    if (rcd__served(v)->store == store)
        (void)rcd__store_of(v);
    rcd_version_unref(v);
}

void rcd__stores_tick(rcd_stores *s, rcd_registry *registry)
{
    struct rcd__store *p = NULL;
    for (size_t i = 0; (p = rcd__store_at(s, NULL, i)) != NULL; i++) {
        rcd_version *v = NULL;
        rcd_sessions_tick(p->sessions);
        if (rcd_sessions_live(p->sessions) == 0) {
            v = p->version;
            p->version = NULL;
            if (v != NULL) {
                rcd_version_unref(v);
                i = (size_t)-1; /* it may have taken the store along: begin anew */
            }
            continue;
        }
        rcd__store_pin(p, registry);
    }
}

void rcd__stores_unpin(rcd_stores *s)
{
    struct rcd__store *p = NULL;
    for (size_t i = 0; (p = rcd__store_at(s, NULL, i)) != NULL; i++) {
        rcd_version *v = p->version;
        p->version = NULL;
        if (v != NULL) {
            rcd_version_unref(v);
            i = (size_t)-1;
        }
    }
}
