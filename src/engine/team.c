/* team.c - threads that help with one large piece of work: rows of a product, nodes of a sparse one.
 * Each takes the next chunk until none is left, so that uneven rows even out. What is computed for a
 * row does not depend on who computes it. */
#include "team.h"

#include <pthread.h>

struct rcd__team {
    pthread_mutex_t lock;
    pthread_cond_t begin, end;
    uint64_t turn; /* grows with every job */
    bool stop;
    unsigned busy; /* helpers that are not done with this turn */
    rcd__team_fn *fn;
    void *ctx;
    size_t items, chunk, next; /* next: atomic */
    unsigned n;                /* helpers */
    pthread_t threads[];
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
    struct rcd__team *t = arg;
    uint64_t seen = 0;
    pthread_mutex_lock(&t->lock);
    for (;;) {
        while (!t->stop && t->turn == seen)
            pthread_cond_wait(&t->begin, &t->lock);
        if (t->stop)
            break;
        seen = t->turn;
        pthread_mutex_unlock(&t->lock);
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
    struct rcd__team *t = rcd_calloc(1, sizeof *t + helpers * sizeof t->threads[0]);
    if (t == NULL)
        return NULL;
    pthread_mutex_init(&t->lock, NULL);
    pthread_cond_init(&t->begin, NULL);
    pthread_cond_init(&t->end, NULL);
    while (t->n < helpers && pthread_create(&t->threads[t->n], NULL, help, t) == 0)
        t->n++; /* fewer are fine */
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
        pthread_join(t->threads[i], NULL);
    pthread_cond_destroy(&t->begin);
    pthread_cond_destroy(&t->end);
    pthread_mutex_destroy(&t->lock);
    rcd_free(t);
    return NULL;
}

void rcd__team_run(struct rcd__team *t, size_t items, size_t chunk, rcd__team_fn *fn, void *ctx)
{
    if (t == NULL || t->n == 0 || items <= chunk) {
        if (items > 0)
            fn(ctx, 0, items);
        return;
    }
    pthread_mutex_lock(&t->lock);
    t->fn = fn;
    t->ctx = ctx;
    t->items = items;
    t->chunk = chunk;
    t->next = 0;
    t->busy = t->n;
    t->turn++;
    pthread_cond_broadcast(&t->begin);
    pthread_mutex_unlock(&t->lock);
    take_chunks(t);
    pthread_mutex_lock(&t->lock);
    while (t->busy > 0)
        pthread_cond_wait(&t->end, &t->lock);
    pthread_mutex_unlock(&t->lock);
}
