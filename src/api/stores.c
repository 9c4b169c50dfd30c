/* stores.c - the list of stores: made when a version is loaded, let go when it has neither version nor
 * session. Loading happens on helper threads, so the list has a lock; what is in a store has its own. */
#include "infer_int.h"
#include "stores_int.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

static bool copy_name(const char *from, char **ret)
{
    bool given = from != NULL && from[0] != '\0';
    *ret = given ? rcd_strdup(from) : NULL;
    return !given || *ret != NULL;
}

rcd_status rcd_stores_new(const struct rcd_stores_opts *opts, rcd_stores **ret,
                          struct rcd_error *err)
{
    rcd_stores *s = rcd_calloc(1, sizeof *s);
    if (s == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for sessions");
    s->opts = *opts;
    s->lock_fds[0] = s->lock_fds[1] = -1;
    s->budget.max = opts->max_bytes;
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->make_lock, NULL);
    bool good = copy_name(opts->state_dir, &s->dir);
    good = copy_name(opts->runtime_dir, &s->runtime_dir) && good;
    rcd_status st = RCD_OK;
    if (!rcd__event_ring_init(&s->events) || !good)
        st = rcd_fail(err, RCD_ENOMEM, "no memory for sessions");
    if (st == RCD_OK)
        st = rcd__state_dirs_open(s, err);
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
    for (size_t i = 0; i < RCD_COUNT(s->lock_fds); i++) {
        if (s->lock_fds[i] >= 0)
            close(s->lock_fds[i]);
    }
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->make_lock);
    rcd__event_ring_done(&s->events);
    rcd_free(s->dir);
    rcd_free(s->runtime_dir);
    rcd_free(s);
    return NULL;
}

/* ---- which store a version's sessions are in --------------------------------------------------------------- */

static uint64_t number_of(const rcd_version *v)
{
    return strtoull(rcd_version_number(v), NULL, 10);
}

struct rcd__event_ring *rcd__stores_events(rcd_stores *s)
{
    return &s->events;
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

static struct rcd__store *take_existing(rcd_stores *s, const rcd_version *v,
                                        const struct rcd_state_shape *states, size_t n)
{
    pthread_mutex_lock(&s->lock);
    struct rcd__store *p = predecessor(s, v, rcd_version_fingerprint(v), rcd_version_model(v));
    if (p != NULL && !same_states(p, states, n))
        p = NULL;
    if (p != NULL) {
        p->users++;
        __atomic_store_n(&p->number, number_of(v), __ATOMIC_RELAXED);
    }
    pthread_mutex_unlock(&s->lock);
    return p;
}

/* Under the lock, when the list has changed. */
static void count_rivals(const rcd_stores *s)
{
    for (struct rcd__store *p = s->first; p != NULL; p = p->next) {
        bool alone = true;
        for (const struct rcd__store *q = s->first; q != NULL; q = q->next)
            alone = alone && (q == p || strcmp(q->model, p->model) != 0);
        __atomic_store_n(&p->alone, alone, __ATOMIC_RELAXED);
    }
}

/* Under make_lock alone: taking a large file over must not keep the loop from the other stores. */
static rcd_status find_or_make(rcd_stores *s, const rcd_version *v,
                               const struct rcd_state_shape *states, size_t n,
                               struct rcd__store **ret, struct rcd_error *err)
{
    struct rcd__store *p = take_existing(s, v, states, n);
    const struct rcd_sessions_opts limits = rcd__store_limits(v);
    *ret = p;
    if (p != NULL) {
        rcd_sessions_limit(p->sessions, &limits);
        return RCD_OK;
    }
    rcd_status st = rcd__store_new(s, v, states, n, &p, err);
    if (st != RCD_OK)
        return st;
    pthread_mutex_lock(&s->lock);
    p->users = 1;
    p->number = number_of(v);
    p->next = s->first;
    s->first = p;
    count_rivals(s);
    pthread_mutex_unlock(&s->lock);
    *ret = p;
    return RCD_OK;
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
    rcd_status st = rcd__state_shapes(v, &arena, &states, &n, err);
    if (st == RCD_OK && n > 0) {
        pthread_mutex_lock(&s->make_lock);
        st = find_or_make(s, v, states, n, &served->store, err);
        pthread_mutex_unlock(&s->make_lock);
    }
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

static void unlink_store(rcd_stores *s, const struct rcd__store *store)
{
    struct rcd__store **link = &s->first;
    while (*link != store)
        link = &(*link)->next;
    *link = store->next;
    count_rivals(s);
}

void rcd__store_hold(struct rcd__store *store)
{
    pthread_mutex_lock(&store->stores->lock);
    store->users++;
    pthread_mutex_unlock(&store->stores->lock);
}

void rcd__store_release(struct rcd__store *store)
{
    rcd_stores *s = store->stores;
    pthread_mutex_lock(&s->make_lock); /* nobody makes another one of its files meanwhile */
    pthread_mutex_lock(&s->lock);
    bool last = --store->users == 0;
    if (last)
        unlink_store(s, store);
    pthread_mutex_unlock(&s->lock);
    if (last) {
        rcd_sessions_free(store->sessions); /* its sessions, if any, wait in their file */
        rcd_free(store->model);
        rcd_free(store);
    }
    pthread_mutex_unlock(&s->make_lock);
}

void rcd_api_detach(void *ctx, void *user)
{
    struct rcd__served *served = user;
    (void)ctx;
    rcd_queue_close(served->queue);
    if (served->store != NULL)
        rcd__store_release(served->store);
    rcd_free(served);
}

/* ---- versions that are needed for their sessions ----------------------------------------------------- */

bool rcd_api_needed(void *ctx, const char *model, uint64_t number)
{
    rcd_stores *s = ctx;
    bool known = false; /* then its sessions hold it, loaded or not */
    pthread_mutex_lock(&s->lock);
    for (const struct rcd__store *p = s->first; p != NULL; p = p->next) {
        known = known || (p->number == number && strcmp(p->model, model) == 0);
    }
    pthread_mutex_unlock(&s->lock);
    return !known && rcd__state_file_of(s, model, number);
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

static struct rcd__store *at(const rcd_stores *s, const char *model, size_t i)
{
    struct rcd__store *p = s->first;
    for (; p != NULL; p = p->next) {
        if ((model == NULL || strcmp(p->model, model) == 0) && i-- == 0)
            break;
    }
    return p;
}

struct rcd__store *rcd__store_at(rcd_stores *s, const char *model, size_t i)
{
    pthread_mutex_lock(&s->lock);
    struct rcd__store *p = at(s, model, i);
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

bool rcd__stores_have(rcd_stores *s, const char *model, const struct rcd_session_id *id)
{
    bool have = false;
    pthread_mutex_lock(&s->lock); /* none of them goes meanwhile */
    for (const struct rcd__store *p = s->first; !have && p != NULL; p = p->next)
        have = strcmp(p->model, model) == 0 && rcd_session_known(p->sessions, id);
    pthread_mutex_unlock(&s->lock);
    return have;
}

bool rcd__stores_away(rcd_stores *s, const char *model, const struct rcd_session_id *id)
{
    bool here = false, away = false;
    pthread_mutex_lock(&s->lock); /* none of them goes meanwhile */
    for (const struct rcd__store *p = s->first; !here && p != NULL; p = p->next) {
        if (strcmp(p->model, model) != 0)
            continue;
        enum rcd_session_where where = rcd_session_where(p->sessions, id);
        here = where == RCD_SESSION_IN_MEMORY;
        away = away || where == RCD_SESSION_ON_DISK;
    }
    pthread_mutex_unlock(&s->lock);
    return away && !here;
}

void rcd__stores_fetch(rcd_stores *s, const char *model, const struct rcd_session_id *id)
{
    for (size_t i = 0;; i++) {
        pthread_mutex_lock(&s->lock);
        struct rcd__store *p = at(s, model, i);
        bool away = p != NULL && rcd_session_where(p->sessions, id) == RCD_SESSION_ON_DISK;
        if (away)
            p->users++; /* it stays while it is read without the lock */
        pthread_mutex_unlock(&s->lock);
        if (p == NULL)
            return;
        if (away) {
            rcd_session_fetch(p->sessions, id);
            rcd__store_release(p);
        }
    }
}

void rcd__store_pin(struct rcd__store *store, rcd_registry *registry)
{
    rcd_version *v = NULL;
    char number[24];
    snprintf(number, sizeof number, "%llu", rcd__store_number(store));
    if (rcd_registry_get(registry, store->model, number, &v, NULL) != RCD_OK)
        return;
    if (rcd__served(v)->store == store)
        (void)rcd__store_of(v);
    rcd_version_unref(v);
}

void rcd__stores_tick(rcd_stores *s, rcd_registry *registry, const rcd_api *api)
{
    struct rcd__store *p = NULL;
    for (size_t i = 0; (p = rcd__store_at(s, NULL, i)) != NULL; i++) {
        rcd_version *v = NULL;
        rcd_sessions_tick(p->sessions, rcd__apart_ms(api, p->model));
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
