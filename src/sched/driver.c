/* driver.c - the scheduler as the loop sees it: threads, the list of finished jobs, the end.
 *
 * Workers append finished jobs to one list and call uv_async_send only when it was empty; the loop
 * swaps the whole list. A wake-up is only a hint: libuv may merge several into one.
 *
 * The struct outlives rcd_sched_free until libuv has closed our handles and every queue is closed,
 * so registry and scheduler may be taken down in either order. */
#include "sched_int.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

void rcd__complete(rcd_sched *s, struct rcd__jobs jobs)
{
    pthread_mutex_lock(&s->done_lock);
    bool first = s->done.head == NULL;
    if (first)
        s->done.head = jobs.head;
    else
        s->done.tail->next = jobs.head;
    s->done.tail = jobs.tail;
    pthread_mutex_unlock(&s->done_lock);
    if (first)
        uv_async_send(&s->wake);
}

void rcd__done(rcd_sched *s, struct rcd__jobs jobs)
{
    struct rcd_job *job;
    bool outer = s->in_done;
    s->in_done = true;
    while ((job = rcd__jobs_pop(&jobs)) != NULL) {
        rcd_queue *q = job->queue;
        s->pending--;
        job->ops->done(job); /* may free the job */
        rcd__queue_unref(q);
    }
    s->in_done = outer;
}

static void drain_done(rcd_sched *s)
{
    pthread_mutex_lock(&s->done_lock);
    struct rcd__jobs jobs = s->done;
    s->done = (struct rcd__jobs){NULL, NULL};
    pthread_mutex_unlock(&s->done_lock);
    rcd__done(s, jobs);
}

static void on_wake(uv_async_t *wake)
{
    drain_done(wake->data);
}

/* ---- the end -------------------------------------------------------------------------------- */

void rcd__sched_unref(rcd_sched *s)
{
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    pthread_mutex_destroy(&s->lock);
    pthread_mutex_destroy(&s->done_lock);
    pthread_cond_destroy(&s->work);
    rcd_free(s);
}

static void on_closed(uv_handle_t *handle)
{
    rcd__sched_unref(handle->data);
}

static void stop_workers(rcd_sched *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    struct rcd__jobs waiting = rcd__policy_flush(&s->policy);
    pthread_cond_broadcast(&s->work);
    pthread_mutex_unlock(&s->lock);
    rcd__end_waiting(s, waiting, RCD_EUNAVAILABLE);
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct rcd__worker *w = &s->workers[i];
        if (w->started)
            pthread_join(w->thread, NULL);
        rcd__worker_done(w);
    }
    rcd__worker_done(&s->here);
    rcd_free(s->workers);
    s->workers = NULL;
    s->n_workers = 0;
}

rcd_sched *rcd_sched_free(rcd_sched *s)
{
    if (s == NULL)
        return NULL;
    RCD_ASSERT(!s->in_done);
    rcd_sched_run_here(s);
    stop_workers(s);
    drain_done(s);
    while (s->pending >
           0) { /* jobs whose commit is under way: whoever makes them durable is alive */
        usleep(500);
        drain_done(s);
    }
    uv_close((uv_handle_t *)&s->wake, on_closed);
    uv_close((uv_handle_t *)&s->expiry, on_closed);
    uv_close((uv_handle_t *)&s->prepare, on_closed);
    rcd__sched_unref(s);
    return NULL;
}

/* ---- the beginning ---------------------------------------------------------------------------- */

/* Signals are for the loop thread: a new thread inherits a mask with all of them blocked. */
static rcd_status start_worker(struct rcd__worker *w, unsigned i, struct rcd_error *err)
{
    sigset_t all, old;
    char name[16];
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&w->thread, NULL, rcd__worker_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0)
        return rcd_fail(err, RCD_EUNAVAILABLE, "worker thread %u: %s", i, strerror(rc));
    w->started = true;
    snprintf(name, sizeof name, "recurd-w%u", i % 10000);
    pthread_setname_np(w->thread, name);
    return RCD_OK;
}

static rcd_status start_workers(rcd_sched *s, const struct rcd_sched_opts *opts,
                                struct rcd_error *err)
{
    rcd_status st = rcd__worker_init(&s->here, s, opts, err);
    s->here.here = true;
    for (unsigned i = 0; st == RCD_OK && i < s->n_workers; i++)
        st = rcd__worker_init(&s->workers[i], s, opts, err);
    for (unsigned i = 0; st == RCD_OK && i < s->n_workers; i++)
        st = start_worker(&s->workers[i], i, err);
    return st;
}

static void init_locks(rcd_sched *s)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC); /* the clock of rcd_now_ns */
    pthread_cond_init(&s->work, &attr);
    pthread_condattr_destroy(&attr);
    pthread_mutex_init(&s->lock, NULL);
    pthread_mutex_init(&s->done_lock, NULL);
}

rcd_status rcd_sched_new(const struct rcd_sched_opts *opts, rcd_sched **ret, struct rcd_error *err)
{
    RCD_ASSERT(opts->loop != NULL && opts->n_workers > 0);
    rcd_sched *s = rcd_calloc(1, sizeof *s);
    struct rcd__worker *workers = rcd_calloc(opts->n_workers, sizeof *workers);
    if (s == NULL || workers == NULL) {
        rcd_free(s);
        rcd_free(workers);
        return rcd_fail(err, RCD_ENOMEM, "no memory for %u workers", opts->n_workers);
    }
    s->loop = opts->loop;
    s->workers = workers;
    s->n_workers = opts->n_workers;
    s->expiry_due = UINT64_MAX;
    s->whole_requests = opts->whole_requests;
    rcd__policy_init(&s->policy, opts->max_queued);
    int rc = uv_async_init(s->loop, &s->wake, on_wake);
    if (rc != 0) {
        rcd_free(workers);
        rcd_free(s);
        return rcd_fail(err, RCD_EIO, "scheduler in the event loop: %s", uv_strerror(rc));
    }
    uv_timer_init(s->loop, &s->expiry);
    uv_prepare_init(s->loop, &s->prepare);
    s->wake.data = s->expiry.data = s->prepare.data = s;
    atomic_init(&s->refs, 4); /* the opener, three handles */
    init_locks(s);
    rcd_status st = start_workers(s, opts, err);
    if (st != RCD_OK) {
        rcd_sched_free(s);
        return st;
    }
    *ret = s;
    return RCD_OK;
}

/* ---- questions --------------------------------------------------------------------------------- */

size_t rcd_sched_pending(const rcd_sched *s)
{
    return s->pending;
}

bool rcd_sched_alive(rcd_sched *s)
{
    bool alive = true;
    pthread_mutex_lock(&s->lock);
    for (unsigned i = 0; i < s->n_workers; i++) {
        struct rcd__worker *w = &s->workers[i];
        uint64_t beats = atomic_load_explicit(&w->beats, memory_order_relaxed);
        alive = alive && (w->idle || beats != w->seen_beats);
        w->seen_beats = beats;
    }
    pthread_mutex_unlock(&s->lock);
    return alive;
}
