/* loop_jobs.h - a scheduler on a loop of its own and jobs that add one to a number, for the tests. */
#pragma once
#include "fake_engine.h"
#include "recurd/sched.h"

#include <stdatomic.h>
#include <uv.h>

struct site {
    uv_loop_t loop;
    rcd_sched *sched;
    rcd_plan *plan;
    size_t done; /* jobs */
};

struct test_job {
    struct rcd_job job; /* first */
    struct site *site;
    int32_t value, answer;
    size_t set_rows;                      /* decode sets job.rows to it when not 0 */
    bool bad_bytes, bad_type, opens_gate; /* the gate is open once its answer is made */
    atomic_bool left;
    struct rcd_tensor in[1], out[1];
    int encoded, ended; /* how often */
    size_t order;       /* place among the ended */
    void (*then)(struct test_job *t);
};

void site_start(struct site *s, unsigned n_workers, size_t max_queued);
rcd_queue *site_queue(struct site *s, size_t max_rows, uint64_t max_delay_ns, size_t max_queue);
/** Run the loop until n jobs are done. */
void site_await(struct site *s, size_t n);
/** A turn of the loop, which wakes workers for what was submitted, then wait until n runs have begun. */
void site_await_runs(struct site *s, size_t n);
/** Free the scheduler if it is still there, run the loop to its end; no plan may be left. */
void site_end(struct site *s);
void job_init(struct test_job *t, struct site *s, int32_t value);
void submit_ok(rcd_queue *q, struct test_job *t);
