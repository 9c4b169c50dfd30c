/* worker.c - a compute thread: asks the policy for a batch and carries it from bytes to bytes.
 *
 * The policy fills a batch by the rows that the submitter announced. Decoding may find more, so the
 * batch is run in groups that keep to max_rows: a job that does not fit any more starts the next
 * group. Outputs are encoded and dropped before the next group runs, so that the memory of a run is
 * that of one group. */
#include "sched_int.h"

#include <errno.h>
#include <time.h>

static void beat(struct rcd__worker *w)
{
    atomic_fetch_add_explicit(&w->beats, 1, memory_order_relaxed);
}

/* Bytes to checked tensors; a failure ends up in job->err. */
static void prepare(struct rcd__worker *w, rcd_queue *q, struct rcd_job *job, uint64_t picked)
{
    beat(w);
    job->times.picked = picked;
    if (job->ops->gone != NULL && job->ops->gone(job)) {
        rcd_fail(&job->err, RCD_ECANCELLED, "the client left while the request waited");
        return;
    }
    rcd_status st = job->ops->decode != NULL ? job->ops->decode(job, &job->err) : RCD_OK;
    if (st == RCD_OK)
        st = rcd_plan_check_inputs(q->plan, job->infer.in, &job->err);
    job->err.code = st;
    if (job->rows == 0)
        job->rows = 1;
}

static bool make_room(struct rcd__worker *w, size_t n)
{
    if (n < w->cap)
        return true;
    struct rcd_infer **more = rcd_realloc(w->reqs, 2 * w->cap * sizeof(void *));
    if (more == NULL)
        return false; /* then the group is as large as the list */
    w->reqs = more;
    w->cap *= 2;
    return true;
}

static void finish(struct rcd__worker *w, rcd_queue *q, struct rcd_job *job,
                   const struct rcd__run_times *t)
{
    bool ran = job->err.code == RCD_OK;
    job->times.decoded = t->ready;
    if (ran) {
        job->times.computed = t->computed;
        job->batch_rows = t->rows;
        if (job->infer.err.code != RCD_OK)
            job->err = job->infer.err;
    }
    job->ops->encode(job);
    if (ran && q->n_outputs > 0)
        rcd_infer_drop(&job->infer, q->n_outputs);
    job->times.encoded = rcd_now_ns();
    beat(w);
}

/* Take jobs off `todo` until max_rows, run them, hand them over. *ahead: the first job of `todo` is
 * decoded already. */
static void run_group(struct rcd__worker *w, rcd_queue *q, struct rcd__jobs *todo, bool *ahead,
                      uint64_t picked)
{
    struct rcd__jobs group = {NULL, NULL};
    struct rcd__run_times t = {.started = rcd_now_ns()};
    const size_t max_rows = q->line.max_rows;
    size_t n = 0;
    for (struct rcd_job *job; (job = todo->head) != NULL && make_room(w, n);) {
        if (!*ahead)
            prepare(w, q, job, picked);
        bool good = job->err.code == RCD_OK;
        *ahead = good && n > 0 && (job->rows > max_rows || t.rows > max_rows - job->rows);
        if (*ahead)
            break;
        rcd__jobs_push(&group, rcd__jobs_pop(todo));
        if (good) {
            w->reqs[n++] = &job->infer;
            t.rows += job->rows;
        }
    }
    t.ready = rcd_now_ns();
    if (n > 0)
        rcd_exec_run(w->exec, q->plan, n, w->reqs, NULL);
    t.computed = rcd_now_ns();
    for (struct rcd_job *job = group.head; job != NULL; job = job->next)
        finish(w, q, job, &t);
    rcd__stats_run(q, &t, &group);
    rcd__complete(w->s, group);
}

static void run_batch(struct rcd__worker *w, struct rcd__pick *pick, uint64_t picked)
{
    rcd_queue *q = pick->jobs.head->queue;
    for (bool ahead = false; pick->jobs.head != NULL;)
        run_group(w, q, &pick->jobs, &ahead, picked);
}

/* Under s->lock, which is left while it sleeps. */
static void sleep_until(rcd_sched *s, uint64_t t)
{
    s->n_asleep++;
    if (t == UINT64_MAX) {
        pthread_cond_wait(&s->work, &s->lock);
    } else {
        const struct timespec at = {.tv_sec = (time_t)(t / 1000000000u),
                                    .tv_nsec = (long)(t % 1000000000u)};
        pthread_cond_timedwait(&s->work, &s->lock, &at);
    }
    s->n_asleep--;
}

void *rcd__worker_main(void *worker)
{
    struct rcd__worker *w = worker;
    rcd_sched *s = w->s;
    bool from_batch = false;
    pthread_mutex_lock(&s->lock);
    w->idle = false;
    for (;;) {
        struct rcd__pick pick;
        uint64_t now = rcd_now_ns();
        bool pressed = from_batch && s->n_running + 1 == s->n_workers;
        rcd__policy_pick(&s->policy, now, pressed, &pick);
        if (pick.line == NULL && pick.expired.head == NULL) {
            if (s->stopping)
                break;
            w->idle = true;
            sleep_until(s, pick.sleep_until);
            w->idle = false;
            beat(w);
            from_batch = from_batch && pick.sleep_until != UINT64_MAX;
            continue;
        }
        rcd_queue *q = pick.line != NULL ? pick.jobs.head->queue : NULL;
        if (q != NULL) {
            rcd__queue_ref(q); /* its jobs may be done, and it closed, before we are back here */
            q->running += pick.n;
            s->n_running++;
        }
        pthread_mutex_unlock(&s->lock);
        rcd__end_waiting(s, pick.expired, RCD_ETIMEOUT);
        if (q != NULL)
            run_batch(w, &pick, now);
        pthread_mutex_lock(&s->lock);
        if (q != NULL) {
            q->running -= pick.n;
            rcd__line_drained(&q->line, pick.n, now, rcd_now_ns());
            s->n_running--;
            from_batch = true;
            pthread_mutex_unlock(&s->lock);
            rcd__queue_unref(q);
            pthread_mutex_lock(&s->lock);
        }
    }
    w->idle = true;
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
