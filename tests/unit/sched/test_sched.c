/* test_sched.c - queues, workers and the loop together, with a fake engine whose runs a gate holds. */
#include "loop_jobs.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

TestSuite(sched, .timeout = 400);

static struct site site;
static struct test_job jobs[10000];

static void fill(size_t from, size_t to)
{
    for (size_t i = from; i < to; i++)
        job_init(&jobs[i], &site, (int32_t)i);
}

/* One worker in a closed gate with job 0, so that what comes next waits. */
static rcd_queue *hold_one_worker(size_t max_rows, size_t max_queue)
{
    site_start(&site, 1, 100);
    fake_gate(false);
    rcd_queue *q = site_queue(&site, max_rows, 0, max_queue);
    fill(0, 100);
    submit_ok(q, &jobs[0]);
    site_await_runs(&site, 1);
    return q;
}

static uint64_t in_ms(uint64_t ms)
{
    return rcd_now_ns() + ms * 1000000u;
}

Test(sched, answers_and_times)
{
    site_start(&site, 2, 100);
    rcd_queue *q = site_queue(&site, 8, 0, 100);
    fill(0, 1);
    submit_ok(q, &jobs[0]);
    cr_expect_eq(rcd_sched_pending(site.sched), 1);
    site_await(&site, 1);
    cr_expect_eq(rcd_sched_pending(site.sched), 0);
    cr_expect_eq(jobs[0].answer, 1);
    cr_expect_eq(jobs[0].job.err.code, RCD_OK);
    cr_expect_eq(jobs[0].job.batch_rows, 1);
    const struct rcd_job_times *t = &jobs[0].job.times;
    cr_expect(t->queued > 0 && t->queued <= t->picked && t->picked <= t->decoded &&
              t->decoded <= t->computed && t->computed <= t->encoded);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, jobs_that_wait_run_as_one_batch_in_order)
{
    rcd_queue *q = hold_one_worker(4, 100);
    for (int i = 1; i <= 6; i++)
        submit_ok(q, &jobs[i]);
    fake_gate(true);
    site_await(&site, 7);
    cr_expect_eq(fake_runs(), 3);
    cr_expect_eq(fake_run_at(1).n, 4);
    cr_expect_eq(fake_run_at(1).first, 1);
    cr_expect_eq(fake_run_at(2).n, 2);
    for (int i = 0; i <= 6; i++) {
        cr_expect_eq(jobs[i].order, (size_t)i);
        cr_expect_eq(jobs[i].answer, i + 1);
    }
    cr_expect_eq(jobs[3].job.batch_rows, 4);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, rows_found_by_decoding_split_the_batch)
{
    rcd_queue *q = hold_one_worker(4, 100);
    static const size_t rows[] = {0, 1, 2, 2, 9, 1, 3, 1}; /* [0] is running */
    for (int i = 1; i <= 7; i++) {
        jobs[i].job.rows = 0;
        jobs[i].set_rows = rows[i];
        submit_ok(q, &jobs[i]);
    }
    fake_gate(true);
    site_await(&site, 8);
    static const size_t want[] = {1, 2, 1, 1, 2, 1}; /* 1+2, 2, 9, 1+3, 1 */
    cr_assert_eq(fake_runs(), RCD_COUNT(want));
    for (size_t i = 0; i < RCD_COUNT(want); i++)
        cr_expect_eq(fake_run_at(i).n, want[i], "run %zu", i);
    cr_expect_eq(jobs[4].job.batch_rows, 9);
    cr_expect_eq(jobs[6].job.batch_rows, 4);
    for (int i = 0; i <= 7; i++)
        cr_expect(jobs[i].answer == i + 1 && jobs[i].encoded == 1 && jobs[i].ended == 1);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, failures_stay_alone)
{
    rcd_queue *q = hold_one_worker(8, 100);
    jobs[1].bad_bytes = true;
    jobs[2].bad_type = true;
    jobs[3].value = FAKE_FAILS;
    for (int i = 1; i <= 4; i++)
        submit_ok(q, &jobs[i]);
    fake_gate(true);
    site_await(&site, 5);
    cr_expect_str_eq(jobs[1].job.err.text, "byte 7: not a number");
    cr_expect_str_eq(jobs[2].job.err.text, "input 'x' is not INT32");
    cr_expect_eq(jobs[3].job.err.code, RCD_EINTERNAL);
    cr_expect_eq(jobs[4].answer, 5);
    cr_expect_eq(fake_run_at(1).n, 2);
    for (int i = 1; i <= 3; i++)
        cr_expect(jobs[i].encoded == 1 && jobs[i].answer == -1);
    struct rcd_queue_stats st;
    rcd_queue_stats(q, &st);
    cr_expect_eq(st.success.count, 2);
    cr_expect_eq(st.fail.count, 3);
    cr_expect_eq(st.inference_count, 2);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, a_client_that_left_is_not_served)
{
    rcd_queue *q = hold_one_worker(8, 100);
    submit_ok(q, &jobs[1]);
    submit_ok(q, &jobs[2]);
    atomic_store(&jobs[1].left, true);
    usleep(6000); /* who waits shorter than that is not asked */
    fake_gate(true);
    site_await(&site, 3);
    cr_expect_eq(jobs[1].job.err.code, RCD_ECANCELLED);
    cr_expect_eq(jobs[2].answer, 3);
    struct rcd_queue_stats st;
    rcd_queue_stats(q, &st);
    cr_expect_eq(st.cancelled, 1);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, deadlines_pass_while_all_workers_are_busy)
{
    rcd_queue *q = hold_one_worker(8, 100);
    uint64_t from = rcd_now_ns();
    jobs[1].job.deadline_ns = in_ms(60000);
    jobs[2].job.deadline_ns = in_ms(400); /* not over before all are submitted */
    jobs[3].job.queue_deadline_ns = in_ms(200);
    for (int i = 1; i <= 4; i++)
        submit_ok(q, &jobs[i]);
    site_await(&site, 2); /* the gate is still closed */
    cr_expect_lt(rcd_now_ns() - from, 15000000000u);
    cr_expect(jobs[3].order == 0 && jobs[2].order == 1);
    cr_expect_eq(jobs[2].job.err.code, RCD_ETIMEOUT);
    cr_expect(strstr(jobs[2].job.err.text, "model 'm': the time limit passed after ") != NULL, "%s",
              jobs[2].job.err.text);
    fake_gate(true);
    site_await(&site, 5);
    cr_expect(jobs[1].answer == 2 && jobs[4].answer == 5);
    jobs[5].job.deadline_ns = in_ms(0) - 1;
    struct rcd_error err;
    cr_expect_eq(rcd_queue_submit(q, &jobs[5].job, NULL, &err), RCD_ETIMEOUT);
    struct rcd_queue_stats st;
    rcd_queue_stats(q, &st);
    cr_expect_eq(st.expired, 3);
    cr_expect_eq(st.fail.count, 2);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, full_queues_shed)
{
    rcd_queue *q = hold_one_worker(1, 3);
    rcd_queue *other = site_queue(&site, 1, 0, 100);
    struct rcd_error err;
    unsigned retry = 0;
    for (int i = 1; i <= 3; i++)
        submit_ok(q, &jobs[i]);
    cr_expect_eq(rcd_queue_submit(q, &jobs[4].job, &retry, &err), RCD_EBUSY);
    cr_expect_str_eq(err.text, "model 'm': the queue is full (3 requests wait)");
    cr_expect(retry >= 1 && retry <= 60);
    cr_expect(jobs[4].encoded == 0 && jobs[4].ended == 0);
    cr_expect_eq(rcd_sched_pending(site.sched), 4);
    struct rcd_queue_stats st;
    rcd_queue_stats(q, &st);
    cr_expect_eq(st.rejected, 1);
    cr_expect_eq(st.waiting, 3);
    cr_expect_eq(st.running, 1);
    for (int i = 5; i < 100; i++) { /* 3 wait; 97 more fill the server */
        submit_ok(other, &jobs[i]);
    }
    fill(100, 104);
    for (int i = 100; i < 102; i++)
        submit_ok(other, &jobs[i]);
    cr_expect_eq(rcd_queue_submit(other, &jobs[102].job, &retry, &err), RCD_EBUSY);
    cr_expect(strstr(err.text, "for all models together") != NULL, "%s", err.text);
    fake_gate(true);
    site_await(&site, 101);
    rcd_queue_close(q);
    rcd_queue_close(other);
    site_end(&site);
}

Test(sched, expired_jobs_make_room)
{
    rcd_queue *q = hold_one_worker(1, 2);
    uint64_t deadline = in_ms(300); /* not over before both are submitted */
    jobs[1].job.deadline_ns = jobs[2].job.deadline_ns = deadline;
    submit_ok(q, &jobs[1]);
    submit_ok(q, &jobs[2]);
    while (rcd_now_ns() <= deadline) /* the loop does not run meanwhile */
        usleep(1000);
    submit_ok(q, &jobs[3]);
    fake_gate(true);
    site_await(&site, 4);
    cr_expect_eq(jobs[1].job.err.code, RCD_ETIMEOUT);
    cr_expect_eq(jobs[3].answer, 4);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, two_models_run_at_the_same_time)
{
    site_start(&site, 2, 100);
    fake_gate(false);
    rcd_queue *a = site_queue(&site, 8, 0, 100), *b = site_queue(&site, 8, 0, 100);
    fill(0, 10);
    submit_ok(a, &jobs[0]);
    submit_ok(b, &jobs[1]);
    site_await_runs(&site, 2); /* both wait in the gate */
    for (int i = 2; i < 10; i++)
        submit_ok(a, &jobs[i]);
    fake_gate(true);
    site_await(&site, 10);
    rcd_queue_close(a);
    rcd_queue_close(b);
    site_end(&site);
}

Test(sched, one_model_uses_both_workers)
{
    site_start(&site, 2, 100);
    fake_gate(false);
    rcd_queue *q = site_queue(&site, 8, 0, 100);
    fill(0, 2);
    submit_ok(q, &jobs[0]);
    site_await_runs(&site, 1);
    submit_ok(q, &jobs[1]);
    site_await_runs(&site, 2);
    fake_gate(true);
    site_await(&site, 2);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, a_busy_worker_waits_for_company_an_idle_one_does_not)
{
    site_start(&site, 1, 100);
    const uint64_t delay = 1000000000u, less = 950000000u;
    rcd_queue *q = site_queue(&site, 3, delay, 100);
    fill(0, 10);
    uint64_t from = rcd_now_ns();
    submit_ok(q, &jobs[0]);
    site_await(&site, 1);
    cr_expect_lt(rcd_now_ns() - from, less, "an idle worker waited");
    fake_gate(false);
    submit_ok(q, &jobs[1]);
    site_await_runs(&site, 2);
    from = rcd_now_ns();
    submit_ok(q, &jobs[2]); /* under pressure: alone, it waits for company */
    fake_gate(true);
    site_await(&site, 3);
    uint64_t took = rcd_now_ns() - from;
    cr_expect(took >= less, "%llu ns", (unsigned long long)took);
    fake_gate(false);
    submit_ok(q, &jobs[3]);
    site_await_runs(&site, 4);
    from = rcd_now_ns();
    for (int i = 4; i <= 6; i++) /* a full batch goes at once */
        submit_ok(q, &jobs[i]);
    fake_gate(true);
    site_await(&site, 7);
    cr_expect_lt(rcd_now_ns() - from, less);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, stop_ends_waiting_jobs_and_finishes_running_ones)
{
    rcd_queue *q = hold_one_worker(8, 100);
    for (int i = 1; i <= 50; i++)
        submit_ok(q, &jobs[i]);
    jobs[1].opens_gate = true; /* those that wait are ended before the worker is waited for */
    site.sched = rcd_sched_free(site.sched);
    cr_expect_eq(site.done, 51);
    cr_expect_eq(jobs[0].answer, 1);
    for (int i = 0; i <= 50; i++)
        cr_expect(jobs[i].ended == 1 && jobs[i].encoded == 1);
    for (int i = 1; i <= 50; i++)
        cr_expect_eq(jobs[i].job.err.code, RCD_EUNAVAILABLE);
    cr_expect_eq(fake_runs(), 1);
    struct rcd_error err;
    cr_expect_eq(rcd_queue_submit(q, &jobs[60].job, NULL, &err), RCD_EUNAVAILABLE);
    rcd_queue_close(q); /* after the scheduler: fine */
    site_end(&site);
}

static void submit_again(struct test_job *t)
{
    struct rcd_error err;
    t->then = NULL;
    cr_expect_eq(rcd_queue_submit(t->job.queue, &t->job, NULL, &err), RCD_EUNAVAILABLE);
}

Test(sched, a_job_that_ends_in_the_stop_cannot_come_back)
{
    rcd_queue *q = hold_one_worker(8, 100);
    jobs[1].then = submit_again;
    submit_ok(q, &jobs[1]);
    fake_gate(true);
    site.sched = rcd_sched_free(site.sched);
    cr_expect_eq(jobs[1].ended, 1);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, a_closed_queue_finishes_and_takes_no_more)
{
    rcd_queue *q = hold_one_worker(2, 100);
    for (int i = 1; i <= 5; i++)
        submit_ok(q, &jobs[i]);
    rcd_plan_unref(site.plan); /* the queue has its own reference */
    site.plan = NULL;
    rcd_queue_close(q);
    struct rcd_error err;
    cr_expect_eq(rcd_queue_submit(q, &jobs[6].job, NULL, &err), RCD_EUNAVAILABLE);
    cr_expect_str_eq(err.text, "model 'm' takes no more requests");
    fake_gate(true);
    site_await(&site, 6);
    for (int i = 0; i <= 5; i++)
        cr_expect_eq(jobs[i].answer, i + 1);
    site_end(&site); /* asserts that the plan is gone */
}

Test(sched, statistics)
{
    rcd_queue *q = hold_one_worker(64, 100);
    for (int i = 1; i <= 6; i++) {
        jobs[i].job.rows = 2;
        submit_ok(q, &jobs[i]);
    }
    usleep(20000);
    fake_gate(true);
    site_await(&site, 7);
    struct rcd_queue_stats st;
    rcd_queue_stats(q, &st);
    cr_expect_eq(st.inference_count, 13);
    cr_expect_eq(st.execution_count, 2);
    cr_expect(st.success.count == 7 && st.queue.count == 7 && st.input.count == 7 &&
              st.infer.count == 7 && st.output.count == 7);
    cr_expect_eq(st.success.ns, st.queue.ns + st.input.ns + st.infer.ns + st.output.ns);
    cr_expect_geq(st.infer.ns, 20000000u); /* job 0 was in the gate */
    cr_expect_geq(st.queue.ns, 6 * 20000000u);
    cr_expect_eq(st.batches[0].count, 1);
    cr_expect_eq(st.batches[11].count, 1); /* 12 rows */
    cr_expect_geq(st.batches[0].infer_ns, 20000000u);
    cr_expect_eq(st.batch_rows_buckets[0], 1);
    cr_expect_eq(st.batch_rows_buckets[4], 1); /* <= 16 */
    uint64_t in_buckets = 0;
    for (int i = 0; i < RCD_TIME_BUCKETS; i++)
        in_buckets += st.queue.buckets[i];
    cr_expect_eq(in_buckets, 7);
    cr_expect_lt(rcd_wall_ms() - st.last_inference_ms, 10000);
    cr_expect(st.waiting == 0);
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, a_stuck_worker_is_seen)
{
    rcd_queue *q = hold_one_worker(1, 100);
    rcd_sched_alive(site.sched);
    cr_expect_not(rcd_sched_alive(site.sched), "in the gate all the time");
    fake_gate(true);
    site_await(&site, 1);
    cr_expect(rcd_sched_alive(site.sched));
    for (int in_turn = 0; in_turn < 20;) { /* once it sleeps, and that is progress */
        in_turn = rcd_sched_alive(site.sched) ? in_turn + 1 : 0;
        usleep(1000);
    }
    rcd_queue_close(q);
    site_end(&site);
}

Test(sched, ten_thousand_jobs)
{
    site_start(&site, 2, 20000);
    rcd_queue *a = site_queue(&site, 64, 0, 20000), *b = site_queue(&site, 7, 0, 20000);
    fill(0, RCD_COUNT(jobs));
    for (size_t i = 0; i < RCD_COUNT(jobs); i++) {
        submit_ok(i % 3 == 0 ? b : a, &jobs[i]);
        if (i % 100 == 0)
            uv_run(&site.loop, UV_RUN_NOWAIT);
    }
    site_await(&site, RCD_COUNT(jobs));
    for (size_t i = 0; i < RCD_COUNT(jobs); i++)
        cr_expect(jobs[i].answer == (int32_t)i + 1 && jobs[i].ended == 1);
    struct rcd_queue_stats sa, sb;
    rcd_queue_stats(a, &sa);
    rcd_queue_stats(b, &sb);
    cr_expect_eq(sa.inference_count + sb.inference_count, RCD_COUNT(jobs));
    rcd_queue_close(a);
    rcd_queue_close(b);
    site_end(&site);
}

Test(sched, creation_survives_failing_allocations)
{
    for (size_t k = 0;; k++) {
        struct rcd_error err = {RCD_OK, ""};
        memset(&site, 0, sizeof site);
        uv_loop_init(&site.loop);
        const struct rcd_sched_opts opts = {
            .loop = &site.loop, .n_workers = 2, .exec_live_bytes = 1, .max_queued = 1};
        const struct rcd_queue_opts q_opts = {.name = "m", .max_rows = 1, .max_queue = 1};
        rcd_queue *q = NULL;
        rcd_plan *plan = fake_plan_new();
        rcd_fault_after(k);
        rcd_status st = rcd_sched_new(&opts, &site.sched, &err);
        if (st == RCD_OK)
            st = rcd_queue_new(site.sched, plan, &q_opts, &q, &err);
        bool hit = rcd_fault_hit();
        rcd_fault_after(SIZE_MAX);
        cr_assert_eq(st, hit ? RCD_ENOMEM : RCD_OK);
        rcd_queue_close(q);
        rcd_plan_unref(plan);
        site_end(&site);
        if (!hit)
            break;
    }
}
