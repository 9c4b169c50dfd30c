/* team.c - threads that help with one large piece of work: rows of a product, nodes of a sparse one. Each takes
 * the next chunk until none is left, so that uneven rows even out. Or all work side by side and meet after each
 * step, as recurrent layers do. What is computed does not depend on who computes it. */
#include "team.h"

#include <pthread.h>
#include <sched.h>

/* A helper's number: place in the array of threads, which its own pthread_t may not be in yet. */
struct helper {
    struct rcd__team *team;
    unsigned number;
};

struct rcd__team {
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    uint64_t turn; /* grows with every job */
    bool stop;
    unsigned busy; /* helpers that are not done with this turn */
    rcd__team_fn *fn;
    void *ctx;
    size_t items, chunk, next; /* next: atomic */
    bool together;             /* each thread does one item, its own */
    unsigned n;                /* helpers */
    struct rcd__choice choice;
    struct member {
        pthread_t thread;
        struct helper me;
    } members[];
};

static void take_chunks(struct rcd__team *t)
{
    for (;;) {
        size_t from = __atomic_fetch_add(&t->next, t->chunk, __ATOMIC_RELAXED);
        if (from >= t->items)
            return;
        t->fn(t->ctx, from, t->items - from < t->chunk ? t->items : from + t->chunk);
    }
}

static void *help(void *arg)
{
    const struct helper *me = arg;
    struct rcd__team *t = me->team;
    uint64_t seen = 0;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (!t->stop && t->turn == seen)
            pthread_cond_wait(&t->begin, &t->lock);
        if (t->stop)
            break;
        seen = t->turn;
        const bool together = t->together;
        pthread_mutex_unlock(&t->lock);
        if (together)
            t->fn(t->ctx, me->number, me->number + 1);
        else
            take_chunks(t);
        pthread_mutex_lock(&t->lock);
        if (--t->busy == 0)
            pthread_cond_signal(&t->end);
    }
    pthread_mutex_unlock(&t->lock);
    return NULL;
}

struct rcd__team *rcd__team_new(unsigned helpers)
{
    struct rcd__team *t = rcd_calloc(1, sizeof *t + helpers * sizeof t->members[0]);
    if (t == NULL)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->begin, NULL);
    pthread_cond_init(&t->end, NULL);
    for (; t->n < helpers; t->n++) { /* fewer are fine */
        struct member *m = &t->members[t->n];
        m->me = (struct helper){t, t->n + 1};
        if (pthread_create(&m->thread, NULL, help, &m->me) != 0)
            break;
    }
    return t;
}

struct rcd__team *rcd__team_free(struct rcd__team *t)
{
    if (t == NULL)
        return NULL;
    pthread_mutex_lock(&t->lock);
    t->stop = true;
    pthread_cond_broadcast(&t->begin);
    pthread_mutex_unlock(&t->lock);
    for (unsigned i = 0; i < t->n; i++)
        pthread_join(t->members[i].thread, NULL);
    pthread_cond_destroy(&t->begin);
    pthread_cond_destroy(&t->end);
    pthread_mutex_destroy(&t->lock);
    rcd_free(t);
    return NULL;
}

/* Wakes the helpers; the caller works too, then calls end. */
static void begin(struct rcd__team *t, rcd__team_fn *fn, void *ctx, bool together)
{
    pthread_mutex_lock(&t->lock);
    t->fn = fn;
    t->ctx = ctx;
    t->together = together;
    t->next = 0;
    t->busy = t->n;
    t->turn++;
    pthread_cond_broadcast(&t->begin);
    pthread_mutex_unlock(&t->lock);
}

static void end(struct rcd__team *t)
{
    pthread_mutex_lock(&t->lock);
    while (t->busy > 0)
        pthread_cond_wait(&t->end, &t->lock);
    pthread_mutex_unlock(&t->lock);
}

void rcd__team_run(struct rcd__team *t, size_t items, size_t chunk, rcd__team_fn *fn, void *ctx)
{
    if (t == NULL || t->n == 0 || items <= chunk) {
        /* in chunks all the same: what a chunk reads stays in cache */
        for (size_t from = 0; from < items; from += chunk)
            fn(ctx, from, items - from < chunk ? items : from + chunk);
        return;
    }
    t->items = items; /* the helpers are asleep */
    t->chunk = chunk;
    begin(t, fn, ctx, false);
    take_chunks(t);
    end(t);
}

struct rcd__choice *rcd__team_choice(struct rcd__team *t)
{
    return &t->choice;
}

unsigned rcd__team_size(const struct rcd__team *t)
{
    return t != NULL ? t->n + 1 : 1;
}

unsigned rcd__places(const struct rcd__team *t)
{
    const unsigned threads = rcd__team_size(t);
    return threads < RCD__PLACES ? threads : RCD__PLACES;
}

unsigned rcd__place_take(unsigned *taken)
{
    unsigned seen = __atomic_load_n(taken, __ATOMIC_RELAXED);
    for (;;) {
        if (~seen == 0) { /* more threads than places */
            sched_yield();
            seen = __atomic_load_n(taken, __ATOMIC_RELAXED);
            continue;
        }
        const unsigned place = (unsigned)__builtin_ctz(~seen);
        if (__atomic_compare_exchange_n(taken, &seen, seen | 1u << place, false, __ATOMIC_ACQUIRE,
                                        __ATOMIC_RELAXED))
            return place; /* acquire: pairs with the release of who had the place before */
    }
}

void rcd__place_give(unsigned *taken, unsigned place)
{
    __atomic_and_fetch(taken, ~(1u << place), __ATOMIC_RELEASE);
}

void rcd__team_together(struct rcd__team *t, rcd__team_fn *fn, void *ctx)
{
    if (t != NULL && t->n > 0)
        begin(t, fn, ctx, true);
    fn(ctx, 0, 1);
    if (t != NULL && t->n > 0)
        end(t);
}

void rcd__meet(struct rcd__meeting *m, unsigned n)
{
    enum { PATIENCE = 4000 };
    const unsigned round =
        __atomic_load_n(&m->round, __ATOMIC_RELAXED); /* nobody leaves without us */
    if (__atomic_add_fetch(&m->arrived, 1, __ATOMIC_ACQ_REL) == n) {
        __atomic_store_n(&m->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&m->round, round + 1, __ATOMIC_RELEASE); /* pairs with the loads below */
        return;
    }
    for (unsigned i = 0; __atomic_load_n(&m->round, __ATOMIC_ACQUIRE) == round; i++) {
        if (i >= PATIENCE)
            sched_yield();
#if defined(__x86_64__)
        __builtin_ia32_pause();
#endif
    }
}
