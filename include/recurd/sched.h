/* sched.h - admission, per-model queues, batch policy and the worker threads. Sees neither HTTP nor
 * JSON: a job brings callbacks. */
#pragma once
#include "recurd/base.h"
#include "recurd/engine.h"
#include "recurd/engine_steps.h"

struct uv_loop_s;

typedef struct rcd_sched rcd_sched;
typedef struct rcd_queue rcd_queue; /* the waiting jobs of one plan */

struct rcd_job;
/** What a job can do; W = worker thread, L = loop thread. Never two of them at the same time. */
struct rcd_job_ops {
    /** W. Bytes -> job->infer.in, and the array job->infer.out. Failing ends the job with that error.
     * May be NULL when the submitter did it. */
    rcd_status (*decode)(struct rcd_job *job, struct rcd_error *err);
    /** W. The job is to run now and no other of its rcd_serial is under way. It may take the last inputs
     * (a session's state), or put the answer into job->infer.out by itself and set job->answered: then
     * nothing is run. Failing ends the job. May be NULL. */
    rcd_status (*begin)(struct rcd_job *job, struct rcd_error *err);
    /** W. The job has run and is encoded: make it count. Failing ends the job with that error (encode is
     * called again). *later = true: rcd_job_finish will be called, when what the answer promises is on
     * disk, f.e. May be NULL. */
    rcd_status (*commit)(struct rcd_job *job, bool *later, struct rcd_error *err);
    /** W. job->infer.out -> bytes; also called for failed jobs (job->err set) to write the error,
     * then perhaps on L: jobs that expire while all workers are busy, or that a stop finds waiting.
     * The out tensors are dropped after it. */
    void (*encode)(struct rcd_job *job);
    /** W. Is anybody still waiting? Asked before a job that has waited runs. May be NULL. */
    bool (*gone)(const struct rcd_job *job);
    /** L. The job is over; it may free itself. */
    void (*done)(struct rcd_job *job);
};

/** Times of a job's life, monotonic ns; 0 when not reached. */
struct rcd_job_times {
    uint64_t queued, picked, decoded, computed, encoded;
};

/** Jobs that share one run one after the other, in the order of their submission: the steps of a
 * session. Owner's memory, zeroed at first; lives until its last job is done. */
struct rcd_serial {
    struct rcd_job *head, *tail;     /* that wait for their turn */
    struct rcd_serial *prev, *after; /* among those of the queue that have such jobs */
    bool busy;                       /* one is in a lane or under way */
};

/** Embedded in its owner. The submitter fills the first part; zero the rest. */
struct rcd_job {
    const struct rcd_job_ops *ops;
    uint64_t deadline_ns;       /* monotonic; 0: none. Passed in the queue: RCD_ETIMEOUT */
    uint64_t queue_deadline_ns; /* as deadline, for the wait in the queue only; 0: none */
    uint32_t priority;          /* 1 highest to 16; larger counts as 16, 0 (the default) as 8 */
    size_t rows;                /* batch rows for limits and statistics; 0: 1; decode may set it */
    struct rcd_serial *serial;  /* NULL: none */
    struct rcd_infer infer;     /* in[] may be filled by decode */
    bool answered;              /* set by begin */
    /* owned by sched from here on */
    struct rcd_error err; /* code RCD_OK when the answer is good */
    struct rcd_job_times times;
    size_t batch_rows;    /* rows of the last batch that it ran in */
    uint32_t runs;        /* batches that it was part of */
    uint64_t compute_ns;  /* that these took */
    bool prepared;        /* decoded and begun */
    rcd_stepper *stepper; /* a sequence that is run in pieces */
    rcd_queue *queue;
    struct rcd_job *next;
};

struct rcd_sched_opts {
    struct uv_loop_s *loop; /* [borrowed] */
    unsigned n_workers;
    size_t exec_live_bytes, exec_idle_bytes; /* per worker */
    size_t max_queued;                       /* over all queues; beyond: RCD_EBUSY */
    bool whole_requests; /* never run a sequence in pieces: batches of requests, for comparison */
};

struct rcd_queue_opts {
    const char *name; /* [copied] for messages */
    size_t max_rows;  /* rows of one batch; a job that has more runs alone */
    uint64_t
        max_delay_ns; /* a batch may wait that long for company, only while all workers are busy */
    size_t max_queue; /* waiting jobs; beyond: RCD_EBUSY */
};

enum { RCD_BATCH_BUCKETS = 11, RCD_TIME_BUCKETS = 17 };
extern const uint32_t rcd_batch_bounds[RCD_BATCH_BUCKETS];  /* rows, steps <= bound; last is +Inf */
extern const uint64_t rcd_time_bounds_ns[RCD_TIME_BUCKETS]; /* last is UINT64_MAX */

struct rcd_phase_stats {
    uint64_t count, ns;
    uint64_t buckets[RCD_TIME_BUCKETS]; /* not cumulative */
};
struct rcd_batch_stats {
    uint64_t count, input_ns, infer_ns, output_ns; /* runs of this many rows */
};
enum { RCD_BATCH_STATS_MAX = 64 }; /* index rows - 1, the last also holds larger batches */

/** Snapshot of a queue's counters since its start. */
struct rcd_queue_stats {
    uint64_t inference_count;   /* rows */
    uint64_t execution_count;   /* runs */
    uint64_t last_inference_ms; /* wall clock */
    /* per job. success and fail: from submit to encoded. The others only of successful jobs: waiting,
     * then what the whole batch took to be decoded (input) and run, and until this job was encoded */
    struct rcd_phase_stats success, fail, queue, input, infer, output;
    struct rcd_batch_stats batches[RCD_BATCH_STATS_MAX];
    uint64_t batch_rows_buckets[RCD_BATCH_BUCKETS];
    uint64_t run_steps_buckets[RCD_BATCH_BUCKETS]; /* time steps of a run's longest piece */
    uint64_t run_steps;                            /* their sum */
    uint64_t rejected, expired, cancelled; /* queue full; time limit in the queue; client left */
    size_t waiting, running;
};

/** RCD_ENOMEM, RCD_EIO, RCD_EUNAVAILABLE (threads). After a failure, too, the loop must run until the
 * handles are closed. Threading: loop thread for all calls unless said. */
RCD_MUST_CHECK rcd_status rcd_sched_new(const struct rcd_sched_opts *opts, rcd_sched **ret,
                                        struct rcd_error *err);
/** Stop: waiting jobs end with RCD_EUNAVAILABLE, running ones finish (it waits for them), `done` of
 * every job is called before this returns. Not from `done`. Closes handles on the loop: run the loop
 * until they are closed. Queues may be closed before or after. NULL is fine; returns NULL. */
rcd_sched *rcd_sched_free(rcd_sched *s);
/** Jobs submitted whose `done` has not been called. */
size_t rcd_sched_pending(const rcd_sched *s);
/** Did every worker make progress since the last call? Idle counts as progress; a single run of the
 * engine that lasts from one call to the next does not. For the watchdog. */
bool rcd_sched_alive(rcd_sched *s);

/** A queue that runs `plan` (a reference is taken). Threading: any thread. */
RCD_MUST_CHECK rcd_status rcd_queue_new(rcd_sched *s, rcd_plan *plan,
                                        const struct rcd_queue_opts *opts, rcd_queue **ret,
                                        struct rcd_error *err);
/** No more submits; frees itself when the last job is done. NULL is fine. Threading: any thread. */
void rcd_queue_close(rcd_queue *q);
void rcd_queue_stats(rcd_queue *q, struct rcd_queue_stats *ret); /* Threading: any thread */

/** A job whose commit said *later is over; job->err may have been set meanwhile (then encode must not be
 * needed). Threading: any thread. */
void rcd_job_finish(struct rcd_job *job);

/** Leave a small job to the loop itself: false if it has to be submitted. True: it has been taken like a
 * submitted one, and the next rcd_sched_run_here calls its `done`. For jobs that need no decode and whose
 * commit is never *later. Taken is what nobody waits before and what, with all that was taken so far,
 * should take no longer than the loop can be spared, by the times of earlier runs. */
bool rcd_queue_take_here(rcd_queue *q, struct rcd_job *job);
/** Run what was taken, in batches like a worker. Not from `done`. */
void rcd_sched_run_here(rcd_sched *s);

/** Queue a job. RCD_EBUSY (shed; *retry_after_s, which may be NULL, computed from the queue's own
 * rate, 1 to 60), RCD_ETIMEOUT (the deadline has passed already), RCD_EUNAVAILABLE (closed or
 * stopping): then the job was not taken and none of its callbacks is called. */
RCD_MUST_CHECK rcd_status rcd_queue_submit(rcd_queue *q, struct rcd_job *job,
                                           unsigned *retry_after_s, struct rcd_error *err);
