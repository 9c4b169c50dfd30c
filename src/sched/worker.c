/* worker.c - a compute thread: asks the policy for a batch and carries it from bytes to bytes. The loop
 * thread runs small batches with the same code (here.c).
 *
 * The policy fills a batch by the rows that the submitter announced. Decoding may find more, so the
 * batch is run in groups that keep to max_rows: a job that does not fit any more starts the next
 * group. Outputs are encoded and dropped before the next group runs, so that the memory of a run is
 * that of one group. */
#include "sched_int.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

enum { FIRST_REQS = 64 };
static const uint64_t GONE_FROM_NS = 5000000u; /* shorter waits are not worth a system call */

rcd_status rcd__worker_init(struct rcd__worker *w, rcd_sched *s, const struct rcd_sched_opts *opts,
                            struct rcd_error *err)
{
    w->s = s;
    w->idle = true;
    atomic_init(&w->beats, 0);
    w->max_bytes = opts->exec_live_bytes;
    w->cap = FIRST_REQS;
    w->reqs = rcd_alloc(w->cap * sizeof(void *));
    w->exec = rcd_exec_new(opts->exec_live_bytes, opts->exec_idle_bytes);
    if (w->reqs == NULL || w->exec == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a worker (%zu bytes for its runs)",
                        opts->exec_live_bytes);
    return RCD_OK;
}

void rcd__worker_done(struct rcd__worker *w)
{
    rcd_exec_free(w->exec);
    rcd_free(w->reqs);
    rcd_free(w->outs);
}

void rcd__wake_worker(rcd_sched *s)
{
    if (s->n_asleep == s->n_woken)
        return; /* whoever is awake looks again before it sleeps */
    s->n_woken++;
    pthread_cond_signal(&s->work);
}

static void beat(struct rcd__worker *w)
{
    atomic_fetch_add_explicit(&w->beats, 1, memory_order_relaxed);
}

/* Bytes to checked tensors; a failure ends up in job->err. Once per job. */
static void prepare(rcd_queue *q, struct rcd_job *job, uint64_t picked)
{
    job->prepared = true;
    job->times.picked = picked;
    rcd_status st = job->ops->decode != NULL ? job->ops->decode(job, &job->err) : RCD_OK;
    if (st == RCD_OK && job->ops->begin != NULL)
        st = job->ops->begin(job, &job->err);
    if (st == RCD_OK && !job->answered)
        st = rcd_plan_check_inputs(q->plan, &job->infer, &job->err);
    job->err.code = st;
    if (job->rows == 0)
        job->rows = 1;
}

static void look_at(struct rcd__worker *w, rcd_queue *q, struct rcd_job *job, uint64_t picked)
{
    beat(w);
    bool waited = job->runs > 0 || picked - job->times.queued > GONE_FROM_NS;
    if (waited && job->ops->gone != NULL && job->ops->gone(job)) {
        if (!job->prepared)
            job->times.picked = picked;
        rcd_fail(&job->err, RCD_ECANCELLED, "the client left while the request %s",
                 job->runs > 0 ? "ran" : "waited");
    } else if (!job->prepared) {
        prepare(q, job, picked);
    }
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

/* ---- one group ------------------------------------------------------------------------------ */

struct group {
    rcd_queue *q;
    struct rcd__jobs jobs, over, again; /* in the run; at their end; with more to do */
    struct rcd__run_times t;
    size_t n;
};

static bool runs(const struct rcd_job *job)
{
    return job->err.code == RCD_OK && !job->answered;
}

/* Take jobs off `todo` until max_rows. *ahead: the first job of `todo` is looked at already. */
static void gather(struct rcd__worker *w, struct group *g, struct rcd__jobs *todo, bool *ahead,
                   uint64_t picked)
{
    const size_t max_rows = g->q->line.max_rows;
    size_t n = 0;
    for (struct rcd_job *job; (job = todo->head) != NULL && make_room(w, n);) {
        if (!*ahead)
            look_at(w, g->q, job, picked);
        bool good = runs(job);
        *ahead = good && n > 0 && (job->rows > max_rows || g->t.rows > max_rows - job->rows);
        if (*ahead)
            break;
        rcd__jobs_push(&g->jobs, rcd__jobs_pop(todo));
        if (good) {
            n++;
            g->t.rows += job->rows;
        }
    }
}

/* The next piece of a job: all of it, or some time steps of a long sequence. */
static struct rcd_infer *next_piece(struct rcd__worker *w, struct group *g, struct rcd_job *job,
                                    int64_t steps)
{
    struct rcd_infer *piece = &job->infer;
    rcd_status st = RCD_OK;
    int64_t left = job->stepper != NULL ? rcd_stepper_left(job->stepper)
                                        : rcd_plan_steps(g->q->plan, &job->infer);
    int64_t len = left <= steps + steps / 4 ? left : steps; /* no small rest */
    if (job->stepper == NULL && left > len)
        st = rcd_stepper_new(g->q->plan, &job->infer, w->max_bytes, &job->stepper, &job->err);
    if (st == RCD_OK && job->stepper != NULL)
        st = rcd_stepper_next(job->stepper, len, &piece, &job->err);
    job->err.code = st;
    g->t.steps = len > g->t.steps ? len : g->t.steps;
    g->t.row_steps += (uint64_t)len * job->rows;
    return piece;
}

/* Room for one request's outputs. */
static bool outs_room(struct rcd__worker *w, size_t n)
{
    if (n <= w->outs_cap)
        return true;
    struct rcd_tensor *more = rcd_realloc(w->outs, n * sizeof *more);
    if (more == NULL)
        return false;
    w->outs = more;
    w->outs_cap = n;
    return true;
}

size_t rcd__elements(const rcd_plan *plan, const struct rcd_infer *req)
{
    size_t n = 0, sum = 0;
    rcd_plan_inputs(plan, &n);
    for (size_t i = 0; i < n; i++)
        sum += req->in[i].dtype != RCD_NONE ? req->in[i].n : 0;
    return sum;
}

static void run(struct rcd__worker *w, struct group *g)
{
    bool whole = w->s->whole_requests || w->here;
    int64_t steps = whole ? INT64_MAX / 2 : rcd__pace_steps(&g->q->pace, g->t.rows);
    for (struct rcd_job *job = g->jobs.head; job != NULL; job = job->next) {
        if (!runs(job))
            continue;
        if (!outs_room(w, g->q->n_outputs)) {
            rcd_fail(&job->err, RCD_ENOMEM, "no memory for the outputs of a request");
            continue;
        }
        struct rcd_infer *piece = next_piece(w, g, job, steps);
        if (job->err.code != RCD_OK)
            continue;
        w->reqs[g->n++] = piece;
        if (g->t.steps == 0)
            g->t.elements += rcd__elements(g->q->plan, &job->infer);
    }
    g->t.ready = rcd_now_ns();
    if (g->n > 0)
        rcd_exec_run(w->exec, g->q->plan, g->n, w->reqs, NULL);
    g->t.computed = rcd_now_ns();
}

/* What the run gave: an error, an answer, or more to do. */
static bool take(struct group *g, struct rcd_job *job)
{
    if (!runs(job))
        return true;
    job->runs++;
    job->compute_ns += g->t.computed - g->t.ready;
    job->batch_rows = g->t.rows;
    if (job->times.decoded == 0)
        job->times.decoded = g->t.ready;
    job->times.computed = g->t.computed;
    if (job->stepper != NULL)
        job->err.code = rcd_stepper_take(job->stepper, &job->err);
    else if (job->infer.err.code != RCD_OK)
        job->err = job->infer.err;
    return job->err.code != RCD_OK || job->stepper == NULL || rcd_stepper_left(job->stepper) == 0;
}

/* The job's answer is made and kept, or its failure. Returns whether it is over now: if it is not, it
 * belongs to whoever commits it, and may be gone already. */
static bool finish(struct rcd__worker *w, struct group *g, struct rcd_job *job)
{
    bool later = false, ran = job->runs > 0 && job->err.code == RCD_OK;
    struct rcd_infer outputs = {.out = w->outs};
    rcd_stepper *stepper = job->stepper;
    job->stepper = NULL;
    job->ops->encode(job);
    if (ran)
        memcpy(w->outs, job->infer.out, g->q->n_outputs * sizeof *w->outs);
    if (job->err.code == RCD_OK && job->ops->commit != NULL) {
        struct rcd_error err = {.code = RCD_OK};
        rcd_status st = job->ops->commit(job, &later, &err);
        if (st != RCD_OK) {
            job->err = err;
            job->err.code = st;
            job->ops->encode(job);
        }
    }
    if (ran && g->q->n_outputs > 0)
        rcd_infer_drop(&outputs, g->q->n_outputs);
    rcd_stepper_free(stepper);
    if (!later)
        job->times.encoded = rcd_now_ns();
    return !later;
}

/* Jobs that are over let the next of their serial run; those with more to do wait again. Nobody is woken for them by a worker
 * that is done with its batch: it looks itself, and wakes others for what it leaves. */
static void back_to_queue(struct rcd__worker *w, struct group *g, bool last)
{
    rcd_sched *s = w->s;
    bool work = g->again.head != NULL;
    pthread_mutex_lock(&s->lock);
    for (const struct rcd_job *job = g->over.head; job != NULL; job = job->next)
        work = rcd__line_release(&s->policy, &g->q->line, job) || work;
    for (struct rcd_job *job; (job = rcd__jobs_pop(&g->again)) != NULL;)
        rcd__line_requeue(&s->policy, &g->q->line, job);
    if (g->t.rows > 0 && g->t.steps > 0)
        rcd__pace_ran(&g->q->pace, g->t.row_steps, g->t.steps, g->t.computed - g->t.ready,
                      rcd_now_ns() - g->t.computed);
    else if (g->n > 0)
        rcd__pace_ran_whole(&g->q->pace, g->t.elements, g->t.computed - g->t.ready);
    if (work && (w->here || !last))
        rcd__wake_worker(s);
    pthread_mutex_unlock(&s->lock);
}

/* Returns how many jobs are over. */
static size_t run_group(struct rcd__worker *w, rcd_queue *q, struct rcd__jobs *todo, bool *ahead,
                        uint64_t picked)
{
    struct group g = {.q = q, .t = {.started = rcd_now_ns()}};
    size_t n_over = 0;
    gather(w, &g, todo, ahead, picked);
    run(w, &g);
    for (struct rcd_job *job; (job = rcd__jobs_pop(&g.jobs)) != NULL;) {
        if (!take(&g, job)) {
            rcd__jobs_push(&g.again, job);
            continue;
        }
        beat(w);
        n_over++;
        if (finish(w, &g, job))
            rcd__jobs_push(&g.over, job);
    }
    if (g.n > 0 || g.over.head != NULL)
        rcd__stats_group(q, &g.t, g.n > 0, g.over.head);
    back_to_queue(w, &g, todo->head == NULL);
    if (w->here)
        rcd__done(w->s, g.over);
    else if (g.over.head != NULL)
        rcd__complete(w->s, g.over);
    return n_over;
}

void rcd_job_finish(struct rcd_job *job)
{
    rcd_queue *q = job->queue;
    rcd_sched *s = q->s;
    struct rcd__jobs one = {job, job};
    job->next = NULL;
    job->times.encoded = rcd_now_ns();
    rcd__stats_job(q, job);
    pthread_mutex_lock(&s->lock);
    if (rcd__line_release(&s->policy, &q->line, job))
        rcd__wake_worker(s);
    pthread_mutex_unlock(&s->lock);
    rcd__complete(s, one);
}

size_t rcd__run_batch(struct rcd__worker *w, struct rcd__jobs jobs, uint64_t picked)
{
    rcd_queue *q = jobs.head->queue;
    size_t n_over = 0;
    for (bool ahead = false; jobs.head != NULL;)
        n_over += run_group(w, q, &jobs, &ahead, picked);
    return n_over;
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
    s->n_woken -= s->n_woken > 0;
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
            if (rcd__policy_ready(&s->policy))
                rcd__wake_worker(s);
        }
        pthread_mutex_unlock(&s->lock);
        rcd__end_waiting(s, pick.expired, RCD_ETIMEOUT);
        size_t n_over = q != NULL ? rcd__run_batch(w, pick.jobs, now) : 0;
        pthread_mutex_lock(&s->lock);
        if (q != NULL) {
            q->running -= pick.n;
            rcd__line_drained(&q->line, n_over, now, rcd_now_ns());
            s->n_running--;
            from_batch = true;
            pthread_mutex_unlock(&s->lock);
            rcd__queue_unref(q);
            (void)sched_yield(); /* the loop may be waiting for this processor */
            pthread_mutex_lock(&s->lock);
        }
    }
    w->idle = true;
    pthread_mutex_unlock(&s->lock);
    return NULL;
}
