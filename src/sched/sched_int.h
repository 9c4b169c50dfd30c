/* sched_int.h - what the files of sched/ share: the pure policy, queues, workers, the driver.
 *
 * Threads: L is the loop thread, W a worker; L also runs small jobs itself (here.c). Locks, none of which is ever held while another is
 * taken, so there is no lock order to keep:
 *   rcd_sched.lock       the policy (all waiting jobs), who sleeps, stopping; held for list work only
 *   rcd_sched.done_lock  the list of finished jobs
 *   rcd_queue.stats_lock that queue's counters
 * A job belongs to L until it is submitted, then to the policy (under `lock`), then to the worker
 * that picked it, then to the list of finished jobs, then to L again. No callback runs under a
 * lock. */
#pragma once
#include "recurd/sched.h"

#include <pthread.h>
#include <stdatomic.h>
#include <uv.h>

/* ---- policy.c (pure: no clock, no threads, no memory) ---------------------------------------- */

enum { RCD__LEVELS = 16, RCD__DEFAULT_LEVEL = 8, RCD__RETRY_MAX_S = 60 };

/** A first-in, first-out list of jobs, linked by job->next. */
struct rcd__jobs {
    struct rcd_job *head, *tail;
};

static inline void rcd__jobs_push(struct rcd__jobs *list, struct rcd_job *job)
{
    job->next = NULL;
    if (list->tail != NULL)
        list->tail->next = job;
    else
        list->head = job;
    list->tail = job;
}

static inline struct rcd_job *rcd__jobs_pop(struct rcd__jobs *list)
{
    struct rcd_job *job = list->head;
    if (job != NULL) {
        list->head = job->next;
        job->next = NULL;
    }
    if (list->head == NULL)
        list->tail = NULL;
    return job;
}

/** The waiting jobs of one queue, as the policy sees them. */
struct rcd__line {
    struct rcd__line *next; /* in the ring; lines without jobs are not in it */
    bool in_ring;
    struct rcd__jobs lanes[RCD__LEVELS];
    uint32_t filled;            /* bit i: lane i has jobs */
    size_t n, rows;             /* in the lanes */
    struct rcd_serial *serials; /* those with jobs that wait for their turn */
    size_t n_serial;            /* these jobs */
    size_t max_rows, max_waiting;
    uint64_t max_delay_ns;
    uint64_t next_expiry; /* no job expires before; UINT64_MAX: none will */
    uint64_t ns_per_job;  /* at which jobs have been leaving lately; 0: unknown */
    uint64_t last_end_ns; /* end of the last batch */
};

struct rcd__policy {
    struct rcd__line *head, *tail; /* least recently served first */
    size_t n, max_waiting;
    uint64_t next_expiry;
};

struct rcd__pick {
    struct rcd__line *line; /* NULL: nothing to run now */
    struct rcd__jobs jobs;
    size_t n;
    struct rcd__jobs expired; /* left the lines because their time is over */
    uint64_t sleep_until;     /* when there is nothing to run; UINT64_MAX: until the next job */
};

void rcd__policy_init(struct rcd__policy *p, size_t max_waiting);
void rcd__line_init(struct rcd__line *l, size_t max_rows, uint64_t max_delay_ns,
                    size_t max_waiting);
/** 0: room; else the limit that is reached. */
size_t rcd__line_full(const struct rcd__policy *p, const struct rcd__line *l);
/** Takes the job, whose times.queued is set; it may leave in any later call here. */
void rcd__line_push(struct rcd__policy *p, struct rcd__line *l, struct rcd_job *job);
/** A job that has run a piece and has more to do: behind those that wait. */
void rcd__line_requeue(struct rcd__policy *p, struct rcd__line *l, struct rcd_job *job);
/** A job of a serial is over: the next one may run. Does nothing for other jobs. Returns whether one
 * came into a lane. */
bool rcd__line_release(struct rcd__policy *p, struct rcd__line *l, const struct rcd_job *job);
/** When the job must have left the queue; 0: no limit. */
uint64_t rcd__job_expiry(const struct rcd_job *job);
/** What a worker that has nothing to do should do. `pressed`: it comes straight from a batch and
 * every other worker is in one; only then may a batch wait for company. */
void rcd__policy_pick(struct rcd__policy *p, uint64_t now, bool pressed, struct rcd__pick *ret);
/** Is there a job that could run? */
bool rcd__policy_ready(const struct rcd__policy *p);
/** All jobs whose time is over leave. */
struct rcd__jobs rcd__policy_expire(struct rcd__policy *p, uint64_t now);
/** All jobs leave. */
struct rcd__jobs rcd__policy_flush(struct rcd__policy *p);
/** n jobs that were picked at `picked` are done at `now`: the measure for Retry-After. */
void rcd__line_drained(struct rcd__line *l, size_t n, uint64_t picked, uint64_t now);
/** Seconds until the line should have room again, 1 to RCD__RETRY_MAX_S. */
unsigned rcd__line_retry_after_s(const struct rcd__line *l);

/* ---- pace.c (pure): how many time steps a run takes -------------------------------------------- */

enum { RCD__PACE_SIZES = 12, RCD__PACE_WHOLE = 24 };
struct rcd__pace {
    uint64_t step_ns[RCD__PACE_SIZES]; /* by log2 of the rows: time of one step; 0: not seen yet */
    uint64_t around_ns;                /* of a run outside the engine */
    /* of runs that cannot be cut, by log2 of the elements of all inputs; 0: not seen yet */
    uint64_t whole_ns[RCD__PACE_WHOLE];
};
/** Time steps of the next run with so many rows; at least 1. */
int64_t rcd__pace_steps(const struct rcd__pace *p, size_t rows);
/** A run whose longest piece had `steps` steps, and all its rows together `row_steps`, took `ns`, and
 * `around_ns` for cutting and keeping. */
void rcd__pace_ran(struct rcd__pace *p, uint64_t row_steps, int64_t steps, uint64_t ns,
                   uint64_t around_ns);
/** A run that was not cut, of so many elements, took `ns`. */
void rcd__pace_ran_whole(struct rcd__pace *p, size_t elements, uint64_t ns);
/** What a run should take; 0: not known. With steps > 0 it has so many for each of its rows. */
uint64_t rcd__pace_guess(const struct rcd__pace *p, size_t rows, int64_t steps, size_t elements);

/* ---- queues and workers ------------------------------------------------------------------------ */

struct rcd_queue {
    rcd_sched *s; /* counted reference */
    rcd_plan *plan;
    char *name;
    size_t n_outputs;
    atomic_size_t refs; /* the opener, each job, each worker at work on it */
    /* under s->lock */
    struct rcd__line line;
    struct rcd__pace pace;
    size_t running;
    bool closed;
    /* L only: its jobs that the loop is to run */
    size_t here_rows, here_elements;
    int64_t here_steps;
    uint64_t here_ns; /* what that should take */
    /* under stats_lock */
    pthread_mutex_t stats_lock;
    struct rcd_queue_stats stats; /* without waiting and running */
};

struct rcd__worker {
    rcd_sched *s;
    pthread_t thread;
    bool started; /* L only */
    bool here;    /* not a thread: the loop */
    rcd_exec *exec;
    struct rcd_infer **reqs; /* of the batch; grows */
    size_t max_bytes;        /* of one sequence's outputs */
    struct rcd_tensor *outs; /* of the request that ends; grows */
    size_t outs_cap;
    size_t cap;
    bool idle;                  /* under s->lock */
    atomic_uint_fast64_t beats; /* steps of progress; relaxed, only ever compared */
    uint64_t seen_beats;        /* L only */
};

struct rcd_sched {
    /* L only */
    uv_loop_t *loop;
    uv_async_t wake;
    uv_timer_t expiry;
    uv_prepare_t prepare; /* wakes a worker for what came in this turn */
    uint64_t expiry_due;  /* UINT64_MAX: timer not running */
    size_t pending;
    bool in_done;
    unsigned n_workers;
    struct rcd__worker *workers;
    struct rcd__worker here;
    struct rcd__jobs at_hand; /* that the loop is to run */
    uint64_t at_hand_ns;      /* what that should take */
    atomic_size_t refs;       /* the opener, each queue, each libuv handle */

    pthread_mutex_t lock;
    pthread_cond_t work; /* signalled under `lock`: jobs came or stopping was set */
    struct rcd__policy policy;
    size_t n_running, n_asleep, n_woken; /* n_woken: of those asleep, on their way */
    bool whole_requests;                 /* set once */
    bool stopping;

    pthread_mutex_t done_lock;
    struct rcd__jobs done;
};

/** One run, for the counters: rows is 0 when no job got as far as the engine. */
struct rcd__run_times {
    uint64_t started, ready, computed;
    size_t rows;
    int64_t steps;      /* of the longest piece; 0: no sequence */
    uint64_t row_steps; /* of all rows */
    size_t elements;    /* of all inputs, if no sequence */
};

/* worker.c */
void *rcd__worker_main(void *worker);
/** Room for the runs of one worker; RCD_ENOMEM. */
rcd_status rcd__worker_init(struct rcd__worker *w, rcd_sched *s, const struct rcd_sched_opts *opts,
                            struct rcd_error *err);
void rcd__worker_done(struct rcd__worker *w);
/** Run jobs of one queue that were picked at `picked`; returns how many are over. */
size_t rcd__run_batch(struct rcd__worker *w, struct rcd__jobs jobs, uint64_t picked);
/** Wake a worker if one sleeps. Under s->lock. */
void rcd__wake_worker(rcd_sched *s);
/** Elements of all the inputs that a request gives. */
size_t rcd__elements(const rcd_plan *plan, const struct rcd_infer *req);
/* driver.c; Threading: any thread */
void rcd__sched_unref(rcd_sched *s);
/** Hand finished jobs to the loop. */
void rcd__complete(rcd_sched *s, struct rcd__jobs jobs);
/** L. Finished jobs are done. */
void rcd__done(rcd_sched *s, struct rcd__jobs jobs);
/* queue.c; Threading: any thread */
void rcd__queue_ref(rcd_queue *q);
void rcd__queue_unref(rcd_queue *q);
/** A job as it is when it comes in at `now`. */
void rcd__job_begin(rcd_queue *q, struct rcd_job *job, uint64_t now);
/** End jobs that wait, with RCD_ETIMEOUT or RCD_EUNAVAILABLE. */
void rcd__end_waiting(rcd_sched *s, struct rcd__jobs jobs, rcd_status why);
/* stats.c; Threading: any thread */
/** A run is over and with it a list of jobs. `ran`: it got as far as the engine. */
void rcd__stats_group(rcd_queue *q, const struct rcd__run_times *t, bool ran,
                      const struct rcd_job *over);
void rcd__stats_job(rcd_queue *q, const struct rcd_job *job);
void rcd__stats_unrun(rcd_queue *q, const struct rcd_job *job);
