/* here.c - small jobs on the loop thread.
 *
 * Handing a job to a worker and its answer back costs two wake-ups of threads and a suspended
 * connection: more than a step of a small network. So what the loop finds in one turn, and what should
 * take no longer than TURN_NS altogether, it runs itself, as one batch. How long runs take is known from
 * earlier ones, of the same number of rows or elements; the first ones go to the workers.
 *
 * Nothing overtakes: while jobs of a queue wait for a worker, further ones wait behind them. A session's
 * job holds its serial from here on, as one in a lane does. */
#include "sched_int.h"

static const uint64_t TURN_NS = 1000000u; /* for which the loop can be spared */

/* What the jobs of the queue that are at hand and this one should take together; 0: not known. Under
 * s->lock. */
static uint64_t guess(const rcd_queue *q, const struct rcd_job *job, int64_t steps, size_t elements)
{
    size_t rows = q->here_rows + (job->rows > 0 ? job->rows : 1);
    if (rows > q->line.max_rows)
        return 0;
    return rcd__pace_guess(&q->pace, rows, steps, elements);
}

static bool free_to_run(const rcd_queue *q, const struct rcd_job *job, uint64_t now)
{
    uint64_t expiry = rcd__job_expiry(job);
    return !q->s->stopping && !q->closed && q->line.n + q->line.n_serial == 0 &&
           (job->serial == NULL || !job->serial->busy) && (expiry == 0 || expiry > now);
}

bool rcd_queue_take_here(rcd_queue *q, struct rcd_job *job)
{
    rcd_sched *s = q->s;
    uint64_t now = rcd_now_ns();
    int64_t steps = rcd_plan_steps(q->plan, &job->infer);
    size_t elements = q->here_elements + (steps > 0 ? 0 : rcd__elements(q->plan, &job->infer));
    job->runs = 0; /* counts for its expiry */
    steps = steps > q->here_steps ? steps : q->here_steps;
    pthread_mutex_lock(&s->lock);
    uint64_t ns = free_to_run(q, job, now) ? guess(q, job, steps, elements) : 0;
    bool taken = ns > 0 && ns <= TURN_NS && s->at_hand_ns - q->here_ns <= TURN_NS - ns;
    if (taken && job->serial != NULL)
        job->serial->busy = true;
    pthread_mutex_unlock(&s->lock);
    if (!taken)
        return false;
    rcd__queue_ref(q);
    rcd__job_begin(q, job, now);
    rcd__jobs_push(&s->at_hand, job);
    s->pending++;
    s->at_hand_ns += ns - q->here_ns;
    q->here_ns = ns;
    q->here_rows += job->rows > 0 ? job->rows : 1;
    q->here_steps = steps;
    q->here_elements = elements;
    return true;
}

/* The first job's queue: all that is at hand of it. */
static struct rcd__jobs next_batch(rcd_sched *s, size_t *ret_n)
{
    struct rcd__jobs batch = {NULL, NULL}, rest = {NULL, NULL};
    rcd_queue *q = s->at_hand.head->queue;
    *ret_n = 0;
    for (struct rcd_job *job; (job = rcd__jobs_pop(&s->at_hand)) != NULL;) {
        bool mine = job->queue == q;
        rcd__jobs_push(mine ? &batch : &rest, job);
        *ret_n += mine;
    }
    s->at_hand = rest;
    s->at_hand_ns -= q->here_ns;
    q->here_ns = 0;
    q->here_rows = q->here_elements = 0;
    q->here_steps = 0;
    return batch;
}

void rcd_sched_run_here(rcd_sched *s)
{
    while (s->at_hand.head != NULL) {
        size_t n = 0;
        rcd_queue *q = s->at_hand.head->queue;
        uint64_t now = rcd_now_ns();
        struct rcd__jobs batch = next_batch(s, &n);
        rcd__queue_ref(q);
        pthread_mutex_lock(&s->lock);
        q->running += n;
        pthread_mutex_unlock(&s->lock);
        size_t n_over = rcd__run_batch(&s->here, batch, now);
        pthread_mutex_lock(&s->lock);
        q->running -= n;
        rcd__line_drained(&q->line, n_over, now, rcd_now_ns());
        pthread_mutex_unlock(&s->lock);
        rcd__queue_unref(q);
    }
}
