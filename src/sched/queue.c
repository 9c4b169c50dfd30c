/* queue.c - a plan's queue: opening and closing, admission, and the end of jobs that never ran.
 *
 * A queue lives as long as anybody may still touch it: its opener, its jobs until their `done`, and
 * the worker that runs one of its batches. */
#include "sched_int.h"

rcd_status rcd_queue_new(rcd_sched *s, rcd_plan *plan, const struct rcd_queue_opts *opts,
                         rcd_queue **ret, struct rcd_error *err)
{
    RCD_ASSERT(s != NULL && plan != NULL && opts->name != NULL);
    rcd_queue *q = rcd_calloc(1, sizeof *q);
    if (q == NULL || (q->name = rcd_strdup(opts->name)) == NULL) {
        rcd_free(q);
        return rcd_fail(err, RCD_ENOMEM, "no memory for the queue of '%s'", opts->name);
    }
    q->s = s;
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    q->plan = rcd_plan_ref(plan);
    rcd_plan_outputs(plan, &q->n_outputs);
    atomic_init(&q->refs, 1);
    pthread_mutex_init(&q->stats_lock, NULL);
    rcd__line_init(&q->line, opts->max_rows, opts->max_delay_ns, opts->max_queue);
    *ret = q;
    return RCD_OK;
}

void rcd__queue_ref(rcd_queue *q)
{
    atomic_fetch_add_explicit(&q->refs, 1, memory_order_relaxed);
}

void rcd__queue_unref(rcd_queue *q)
{
    /* acq_rel: whoever frees sees all that the others did with the queue */
    if (atomic_fetch_sub_explicit(&q->refs, 1, memory_order_acq_rel) != 1)
        return;
    RCD_ASSERT(q->line.n + q->line.n_serial == 0);
    rcd_plan_unref(q->plan);
    pthread_mutex_destroy(&q->stats_lock);
    rcd__sched_unref(q->s);
    rcd_free(q->name);
    rcd_free(q);
}

void rcd_queue_close(rcd_queue *q)
{
    if (q == NULL)
        return;
    pthread_mutex_lock(&q->s->lock);
    RCD_ASSERT(!q->closed);
    q->closed = true;
    pthread_mutex_unlock(&q->s->lock);
    rcd__queue_unref(q);
}

void rcd__end_waiting(rcd_sched *s, struct rcd__jobs jobs, rcd_status why)
{
    struct rcd__jobs done = {NULL, NULL};
    struct rcd_job *job;
    uint64_t now = rcd_now_ns();
    while ((job = rcd__jobs_pop(&jobs)) != NULL) {
        if (why == RCD_ETIMEOUT)
            rcd_fail(&job->err, why, "model '%s': the time limit passed after %.3f s in the queue",
                     job->queue->name, (double)(now - job->times.queued) / 1e9);
        else
            rcd_fail(&job->err, why, "model '%s': the server stops", job->queue->name);
        job->stepper = rcd_stepper_free(job->stepper);
        job->ops->encode(job);
        job->times.encoded = rcd_now_ns();
        rcd__stats_unrun(job->queue, job);
        rcd__jobs_push(&done, job);
    }
    if (done.head != NULL)
        rcd__complete(s, done);
}

/* ---- admission ------------------------------------------------------------------------------ */

struct admission {
    struct rcd__jobs expired; /* found on the way */
    size_t limit;             /* RCD_EBUSY: what is reached */
    bool shared;              /* it is the limit over all queues */
    unsigned retry_after_s;
};

/* Under s->lock. Jobs that have expired make room before anybody is sent away. */
static rcd_status admit(rcd_queue *q, struct rcd_job *job, struct admission *a)
{
    rcd_sched *s = q->s;
    uint64_t now = job->times.queued, expiry = rcd__job_expiry(job);
    if (s->stopping || q->closed)
        return RCD_EUNAVAILABLE;
    if (expiry != 0 && expiry <= now)
        return RCD_ETIMEOUT;
    if (rcd__line_full(&s->policy, &q->line) != 0)
        a->expired = rcd__policy_expire(&s->policy, now);
    a->limit = rcd__line_full(&s->policy, &q->line);
    if (a->limit != 0) {
        a->shared = q->line.n + q->line.n_serial < q->line.max_waiting;
        a->retry_after_s = rcd__line_retry_after_s(&q->line);
        return RCD_EBUSY;
    }
    rcd__queue_ref(q);
    rcd__line_push(&s->policy, &q->line, job);
    return RCD_OK;
}

/* Before the loop sleeps: what came in this turn is one batch, and one worker is woken for it; it wakes
 * the next if it leaves something. */
static void on_prepare(uv_prepare_t *prepare)
{
    rcd_sched *s = prepare->data;
    uv_prepare_stop(prepare);
    pthread_mutex_lock(&s->lock);
    if (rcd__policy_ready(&s->policy))
        rcd__wake_worker(s);
    pthread_mutex_unlock(&s->lock);
}

static rcd_status refuse(rcd_queue *q, rcd_status why, const struct admission *a,
                         struct rcd_error *err)
{
    pthread_mutex_lock(&q->stats_lock);
    q->stats.rejected += why == RCD_EBUSY;
    q->stats.expired += why == RCD_ETIMEOUT;
    pthread_mutex_unlock(&q->stats_lock);
    if (why == RCD_EBUSY)
        return rcd_fail(err, why, "model '%s': the queue is full (%zu requests wait%s)", q->name,
                        a->limit, a->shared ? " for all models together" : "");
    if (why == RCD_ETIMEOUT)
        return rcd_fail(err, why, "model '%s': the time limit passed before the request was queued",
                        q->name);
    return rcd_fail(err, why, "model '%s' takes no more requests", q->name);
}

static void on_expiry(uv_timer_t *timer)
{
    rcd_sched *s = timer->data;
    pthread_mutex_lock(&s->lock);
    struct rcd__jobs expired = rcd__policy_expire(&s->policy, rcd_now_ns());
    uint64_t next = s->policy.next_expiry;
    pthread_mutex_unlock(&s->lock);
    rcd__end_waiting(s, expired, RCD_ETIMEOUT);
    s->expiry_due = next;
    if (next != UINT64_MAX) {
        uint64_t now = rcd_now_ns();
        uv_timer_start(timer, on_expiry, next > now ? (next - now) / 1000000u + 1 : 1, 0);
    }
}

/* While all workers are in long batches nobody else would see a deadline pass. */
static void watch_expiry(rcd_sched *s, uint64_t expiry, uint64_t now)
{
    if (expiry == 0 || expiry >= s->expiry_due)
        return;
    s->expiry_due = expiry;
    uv_update_time(s->loop);
    uv_timer_start(&s->expiry, on_expiry, (expiry - now) / 1000000u + 1, 0);
}

void rcd__job_begin(rcd_queue *q, struct rcd_job *job, uint64_t now)
{
    RCD_ASSERT(job->ops != NULL && job->ops->encode != NULL && job->ops->done != NULL);
    job->err.code = RCD_OK;
    job->infer.err.code = RCD_OK;
    job->times = (struct rcd_job_times){.queued = now};
    job->batch_rows = 0;
    job->runs = 0;
    job->compute_ns = 0;
    job->answered = job->prepared = false;
    job->stepper = NULL;
    job->queue = q;
}

rcd_status rcd_queue_submit(rcd_queue *q, struct rcd_job *job, unsigned *retry_after_s,
                            struct rcd_error *err)
{
    rcd_sched *s = q->s;
    struct admission a = {.limit = 0};
    uint64_t now = rcd_now_ns(), expiry = rcd__job_expiry(job);
    rcd__job_begin(q, job, now);
    s->pending++; /* before the job can be done; only this thread reads it */
    pthread_mutex_lock(&s->lock);
    rcd_status st = admit(q, job, &a);
    pthread_mutex_unlock(&s->lock);
    rcd__end_waiting(s, a.expired, RCD_ETIMEOUT);
    if (st != RCD_OK) {
        s->pending--;
        if (retry_after_s != NULL)
            *retry_after_s = a.retry_after_s;
        return refuse(q, st, &a, err);
    }
    watch_expiry(s, expiry, now);
    uv_prepare_start(&s->prepare, on_prepare);
    return RCD_OK;
}
