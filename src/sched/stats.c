/* stats.c - a queue's counters: one short lock per run and its jobs, so that a scrape never holds up a worker for
 * longer than a copy of 3 KB. */
#include "sched_int.h"

const uint32_t rcd_batch_bounds[RCD_BATCH_BUCKETS] = {1,  2,   4,   8,   16,        32,
                                                      64, 128, 256, 512, UINT32_MAX};

#define US 1000u
#define MS 1000000u
const uint64_t rcd_time_bounds_ns[RCD_TIME_BUCKETS] = {
    50 * US,   100 * US, 200 * US, 500 * US, 1 * MS,   2 * MS,    5 * MS,    10 * MS,
    20 * MS,   50 * MS,  100 * MS, 200 * MS, 500 * MS, 1000 * MS, 2000 * MS, 5000u * (uint64_t)MS,
    UINT64_MAX};

static void add_time(struct rcd_phase_stats *p, uint64_t from, uint64_t to)
{
    uint64_t ns = to > from ? to - from : 0;
    size_t b = 0;
    while (ns > rcd_time_bounds_ns[b])
        b++;
    p->count++;
    p->ns += ns;
    p->buckets[b]++;
}

static void add_job(struct rcd_queue_stats *st, const struct rcd_job *job)
{
    const struct rcd_job_times *t = &job->times;
    if (job->err.code != RCD_OK) {
        add_time(&st->fail, t->queued, t->encoded);
        st->cancelled += job->err.code == RCD_ECANCELLED;
        return;
    }
    st->inference_count += job->rows;
    add_time(&st->success, t->queued, t->encoded);
    add_time(&st->queue, t->queued, t->picked);
    add_time(&st->input, t->picked, t->decoded);
    add_time(&st->infer, t->decoded, t->computed);
    add_time(&st->output, t->computed, t->encoded);
}

static size_t bucket_of(uint64_t n)
{
    size_t bucket = 0;
    while (n > rcd_batch_bounds[bucket] && bucket < RCD_BATCH_BUCKETS - 1)
        bucket++;
    return bucket;
}

static void add_run(struct rcd_queue_stats *st, const struct rcd__run_times *t, uint64_t ended,
                    uint64_t wall_ms)
{
    size_t at = t->rows < RCD_BATCH_STATS_MAX ? t->rows - 1 : RCD_BATCH_STATS_MAX - 1;
    struct rcd_batch_stats *b = &st->batches[at];
    b->count++;
    b->input_ns += t->ready - t->started;
    b->infer_ns += t->computed - t->ready;
    b->output_ns += ended - t->computed;
    st->batch_rows_buckets[bucket_of(t->rows)]++;
    if (t->steps > 0) {
        st->run_steps_buckets[bucket_of((uint64_t)t->steps)]++;
        st->run_steps += (uint64_t)t->steps;
    }
    st->execution_count++;
    st->last_inference_ms = wall_ms;
}

void rcd__stats_group(rcd_queue *q, const struct rcd__run_times *t, bool ran,
                      const struct rcd_job *over)
{
    uint64_t ended = rcd_now_ns(), wall_ms = rcd_wall_ms();
    pthread_mutex_lock(&q->stats_lock);
    if (ran)
        add_run(&q->stats, t, ended, wall_ms);
    for (; over != NULL; over = over->next)
        add_job(&q->stats, over);
    pthread_mutex_unlock(&q->stats_lock);
}

void rcd__stats_job(rcd_queue *q, const struct rcd_job *job)
{
    pthread_mutex_lock(&q->stats_lock);
    add_job(&q->stats, job);
    pthread_mutex_unlock(&q->stats_lock);
}

void rcd__stats_unrun(rcd_queue *q, const struct rcd_job *job)
{
    pthread_mutex_lock(&q->stats_lock);
    add_job(&q->stats, job);
    q->stats.expired += job->err.code == RCD_ETIMEOUT;
    pthread_mutex_unlock(&q->stats_lock);
}

void rcd_queue_stats(rcd_queue *q, struct rcd_queue_stats *ret)
{
    pthread_mutex_lock(&q->stats_lock);
    *ret = q->stats;
    pthread_mutex_unlock(&q->stats_lock);
    pthread_mutex_lock(&q->s->lock);
    ret->waiting = q->line.n;
    ret->running = q->running;
    pthread_mutex_unlock(&q->s->lock);
}
