/* test_here.c - small jobs that the loop runs itself. A run of the fake engine takes a microsecond; how
 * long is known for as many elements as a worker has seen. */
#include "loop_jobs.h"

#include <criterion/criterion.h>
#include <unistd.h>

TestSuite(here, .timeout = 400);

static struct site site;
static struct test_job jobs[20];

/* One worker that has run one job, then three together. */
static rcd_queue *learn(void)
{
    site_start(&site, 1, 100);
    rcd_queue *q = site_queue(&site, 8, 0, 100);
    for (size_t i = 0; i < RCD_COUNT(jobs); i++) {
        struct rcd_error err;
        job_init(&jobs[i], &site, (int32_t)i);
        cr_assert_eq(jobs[i].job.ops->decode(&jobs[i].job, &err), RCD_OK);
    }
    cr_expect_not(rcd_queue_take_here(q, &jobs[0].job), "nothing is known yet");
    submit_ok(q, &jobs[0]);
    site_await(&site, 1);
    for (size_t i = 1; i <= 3; i++)
        submit_ok(q, &jobs[i]);
    site_await(&site, 4);
    cr_assert_eq(fake_runs(), 2);
    cr_assert_eq(fake_run_at(1).n, 3, "what comes in one turn is one batch");
    return q;
}

/* Once more when the worker was interrupted in a run, which then took too long for the loop. */
static rcd_queue *learned(void)
{
    for (;;) {
        struct rcd_queue_stats st;
        rcd_queue *q = learn();
        rcd_queue_stats(q, &st);
        if (st.infer.ns < 500000)
            return q;
        rcd_queue_close(q);
        site_end(&site);
        fake_forget_runs();
    }
}

Test(here, one_batch_on_this_thread)
{
    rcd_queue *q = learned();
    for (size_t i = 4; i <= 6; i++)
        cr_assert(rcd_queue_take_here(q, &jobs[i].job));
    cr_expect_not(rcd_queue_take_here(q, &jobs[7].job), "four were never seen together");
    cr_expect_eq(rcd_sched_pending(site.sched), 3);
    cr_expect_eq(site.done, 4);
    rcd_sched_run_here(site.sched);
    cr_expect_eq(rcd_sched_pending(site.sched), 0);
    cr_expect_eq(site.done, 7);
    cr_expect_eq(fake_runs(), 3);
    cr_expect_eq(fake_run_at(2).n, 3);
    for (size_t i = 4; i <= 6; i++) {
        cr_expect(jobs[i].answer == (int32_t)i + 1 && jobs[i].encoded == 1 && jobs[i].ended == 1);
        cr_expect_eq(jobs[i].order, i);
        cr_expect_eq(jobs[i].job.batch_rows, 3);
    }
    struct rcd_queue_stats st;
    rcd_queue_stats(q, &st);
    cr_expect_eq(st.success.count, 7);
    cr_expect_eq(st.execution_count, 3);
    cr_expect_eq(st.running, 0);
    rcd_queue_close(q);
    site_end(&site);
}

Test(here, nobody_is_overtaken)
{
    rcd_queue *q = learned();
    submit_ok(q, &jobs[4]);
    cr_expect_not(rcd_queue_take_here(q, &jobs[5].job), "job 4 waits for a worker");
    site_await(&site, 5);
    cr_expect(rcd_queue_take_here(q, &jobs[5].job));
    rcd_sched_run_here(site.sched);
    jobs[6].job.deadline_ns = 1;
    cr_expect_not(rcd_queue_take_here(q, &jobs[6].job), "its time is over");
    jobs[7].job.rows = 9;
    cr_expect_not(rcd_queue_take_here(q, &jobs[7].job), "more rows than a batch has");
    rcd_queue_close(q);
    site_end(&site);
}

Test(here, sessions_keep_their_order)
{
    rcd_queue *q = learned();
    struct rcd_serial serial = {.busy = false};
    for (size_t i = 4; i <= 6; i++)
        jobs[i].job.serial = &serial;
    cr_assert(rcd_queue_take_here(q, &jobs[4].job));
    cr_expect_not(rcd_queue_take_here(q, &jobs[5].job));
    submit_ok(q, &jobs[5]);
    uv_run(&site.loop, UV_RUN_NOWAIT);
    cr_expect_eq(site.done, 4, "job 5 waits for job 4");
    rcd_sched_run_here(site.sched);
    site_await(&site, 6);
    cr_expect_eq(jobs[4].order, 4);
    cr_expect_eq(jobs[5].order, 5);
    cr_assert(rcd_queue_take_here(q, &jobs[6].job), "the serial is free again");
    rcd_queue_close(q);
    site_end(&site); /* runs job 6 */
    cr_expect_eq(jobs[6].answer, 7);
}

Test(here, long_runs_are_for_workers)
{
    rcd_queue *q = learned();
    fake_gate(false);
    submit_ok(q, &jobs[4]);
    site_await_runs(&site, 3);
    usleep(50000); /* an eighth of it counts */
    fake_gate(true);
    site_await(&site, 5);
    cr_expect_not(rcd_queue_take_here(q, &jobs[5].job));
    rcd_queue_close(q);
    site_end(&site);
}
