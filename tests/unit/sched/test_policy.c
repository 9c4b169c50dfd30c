/* test_policy.c - the batch policy with made-up times: histories as tables, no threads. */
#include "sched/sched_int.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(sched_policy, .timeout = 400);

enum { MANY = 64 };
static struct rcd__policy policy;
static struct rcd__line line_a, line_b, line_c;
static struct rcd_job jobs[MANY];
static size_t n_jobs;

static void start(void)
{
    rcd__policy_init(&policy, 1000);
    rcd__line_init(&line_a, 4, 0, 100);
    rcd__line_init(&line_b, 4, 0, 100);
    rcd__line_init(&line_c, 4, 0, 100);
    n_jobs = 0;
}

static struct rcd_job *add(struct rcd__line *l, uint32_t priority, size_t rows, uint64_t at,
                           uint64_t deadline)
{
    struct rcd_job *job = &jobs[n_jobs++];
    *job = (struct rcd_job){.priority = priority, .rows = rows, .deadline_ns = deadline};
    job->times.queued = at;
    rcd__line_push(&policy, l, job);
    return job;
}

/* "0 2 5" for the jobs with these numbers. */
static const char *numbers(const struct rcd__jobs *list)
{
    static char text[256];
    text[0] = '\0';
    for (const struct rcd_job *j = list->head; j != NULL; j = j->next)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%td", text[0] ? " " : "",
                 j - jobs);
    return text;
}

static struct rcd__pick pick(uint64_t now, bool pressed)
{
    struct rcd__pick p;
    rcd__policy_pick(&policy, now, pressed, &p);
    return p;
}

#define picks(LINE, TEXT)                                                                          \
    do {                                                                                           \
        struct rcd__pick got = pick(100, false);                                                   \
        cr_expect(got.line == (LINE), "wrong queue, line %d", __LINE__);                           \
        cr_expect_str_eq(numbers(&got.jobs), (TEXT));                                              \
    } while (0)

Test(sched_policy, nothing_to_do_sleeps_until_the_next_job)
{
    start();
    struct rcd__pick p = pick(100, true);
    cr_expect_null(p.line);
    cr_expect_eq(p.sleep_until, UINT64_MAX);
}

Test(sched_policy, arrival_order_and_full_batches)
{
    start();
    for (int i = 0; i < 6; i++)
        add(&line_a, 0, 1, 1, 0);
    picks(&line_a, "0 1 2 3");
    picks(&line_a, "4 5");
    picks(NULL, "");
    cr_expect_eq(policy.n, 0);
}

Test(sched_policy, priorities_first_one_is_highest_zero_is_the_middle)
{
    start();
    static const uint32_t priority[] = {0, 16, 1, 8, 2, 9, 4000000000u, 1};
    rcd__line_init(&line_a, 100, 0, 100);
    for (size_t i = 0; i < RCD_COUNT(priority); i++)
        add(&line_a, priority[i], 1, 1, 0);
    picks(&line_a, "2 7 4 0 3 5 1 6");
}

Test(sched_policy, rows_limit_the_batch_and_nobody_is_overtaken)
{
    start();
    static const size_t rows[] = {2, 3, 1, 1, 9, 0, SIZE_MAX, 1};
    for (size_t i = 0; i < RCD_COUNT(rows); i++)
        add(&line_a, 0, rows[i], 1, 0);
    picks(&line_a, "0");   /* 2, then 3 would be 5 */
    picks(&line_a, "1 2"); /* 3 + 1: full */
    picks(&line_a, "3");
    picks(&line_a, "4"); /* more than max_rows: alone */
    picks(&line_a, "5"); /* 0 counts as 1 */
    picks(&line_a, "6");
    picks(&line_a, "7");
    cr_expect_eq(line_a.rows, 0);
}

Test(sched_policy, queues_take_turns)
{
    start();
    for (int i = 0; i < 12; i++)
        add(&line_a, 0, 1, 1, 0); /* 0..11 */
    add(&line_b, 0, 4, 1, 0);     /* 12 */
    picks(&line_a, "0 1 2 3");
    add(&line_c, 1, 1, 2, 0); /* 13: new queues go to the end */
    picks(&line_b, "12");
    picks(&line_a, "4 5 6 7");
    add(&line_b, 0, 1, 2, 0); /* 14 */
    picks(&line_c, "13");
    picks(&line_a, "8 9 10 11");
    picks(&line_b, "14");
    picks(NULL, "");
}

Test(sched_policy, no_queue_waits_more_than_one_round)
{
    start();
    size_t served_b = 0;
    for (int round = 0; round < 20; round++) {
        n_jobs = 0;
        for (int i = 0; i < 8; i++) /* a always has more than it can be served */
            add(&line_a, 1, 1, 1, 0);
        add(&line_b, 16, 1, 1, 0);
        served_b += pick(1, false).line == &line_b;
        served_b += pick(1, false).line == &line_b;
        rcd__policy_flush(&policy);
    }
    cr_expect_eq(served_b, 20);
}

Test(sched_policy, waits_for_company_only_under_pressure)
{
    static const struct {
        uint64_t now;
        bool pressed;
        size_t jobs;
        bool runs;
        uint64_t sleep_until;
    } table[] = {
        {15, false, 1, true, 0},  /* a worker that slept */
        {15, true, 1, false, 60}, /* oldest came at 10, delay is 50 */
        {59, true, 3, false, 60}, {60, true, 1, true, 0},
        {61, true, 3, true, 0},   {15, true, 4, true, 0}, /* full */
        {15, true, 9, true, 0},
    };
    for (size_t i = 0; i < RCD_COUNT(table); i++) {
        start();
        rcd__line_init(&line_a, 4, 50, 100);
        for (size_t j = 0; j < table[i].jobs; j++)
            add(&line_a, j == 0 ? 16 : 1, 1, 10 + j, 0); /* the oldest has the lowest priority */
        struct rcd__pick p = pick(table[i].now, table[i].pressed);
        cr_expect_eq(p.line == &line_a, table[i].runs, "row %zu", i);
        if (!table[i].runs)
            cr_expect_eq(p.sleep_until, table[i].sleep_until, "row %zu", i);
    }
}

Test(sched_policy, a_line_that_waits_does_not_hold_up_others)
{
    start();
    rcd__line_init(&line_a, 4, 50, 100);
    rcd__line_init(&line_c, 4, 20, 100);
    add(&line_a, 0, 1, 10, 0);
    add(&line_b, 0, 1, 11, 0);
    add(&line_c, 0, 1, 12, 0);
    struct rcd__pick p = pick(15, true);
    cr_expect(p.line == &line_b);
    p = pick(15, true);
    cr_expect_null(p.line);
    cr_expect_eq(p.sleep_until, 32); /* the earlier of 60 and 32 */
    p = pick(32, true);
    cr_expect(p.line == &line_c);
    p = pick(60, true);
    cr_expect(p.line == &line_a);
}

Test(sched_policy, expired_jobs_leave)
{
    start();
    add(&line_a, 0, 1, 1, 50); /* 0 */
    add(&line_a, 0, 1, 1, 0);  /* 1 */
    add(&line_a, 1, 1, 1, 40); /* 2 */
    add(&line_b, 0, 1, 1, 60); /* 3 */
    jobs[n_jobs] = (struct rcd_job){.queue_deadline_ns = 45, .deadline_ns = 1000};
    rcd__line_push(&policy, &line_b, &jobs[n_jobs++]); /* 4 */
    cr_expect_eq(policy.next_expiry, 40);
    struct rcd__jobs out = rcd__policy_expire(&policy, 39);
    cr_expect_null(out.head);
    out = rcd__policy_expire(&policy, 45);
    cr_expect_str_eq(numbers(&out), "2 4");
    cr_expect_eq(policy.next_expiry, 50);
    struct rcd__pick p = pick(60, false);
    cr_expect_str_eq(numbers(&p.expired), "0 3");
    cr_expect_str_eq(numbers(&p.jobs), "1");
    cr_expect_eq(policy.n, 0);
    cr_expect_eq(policy.next_expiry, UINT64_MAX);
    cr_expect_null(policy.head);
    add(&line_b, 0, 1, 61, 100); /* a line that expiry emptied works on */
    picks(NULL, "");
}

Test(sched_policy, limits_name_what_is_full)
{
    start();
    rcd__policy_init(&policy, 3);
    rcd__line_init(&line_a, 4, 0, 2);
    cr_expect_eq(rcd__line_full(&policy, &line_a), 0);
    add(&line_a, 0, 1, 1, 0);
    add(&line_a, 0, 1, 1, 0);
    cr_expect_eq(rcd__line_full(&policy, &line_a), 2);
    cr_expect_eq(rcd__line_full(&policy, &line_b), 0);
    add(&line_b, 0, 1, 1, 0);
    cr_expect_eq(rcd__line_full(&policy, &line_b), 3);
}

Test(sched_policy, flush_empties_all)
{
    start();
    for (int i = 0; i < 9; i++)
        add(i % 2 != 0 ? &line_a : &line_b, (uint32_t)i, 1, 1, 50);
    struct rcd__jobs out = rcd__policy_flush(&policy);
    size_t n = 0;
    while (rcd__jobs_pop(&out) != NULL)
        n++;
    cr_expect_eq(n, 9);
    cr_expect_eq(policy.n, 0);
    cr_expect_null(policy.head);
    picks(NULL, "");
}

Test(sched_policy, retry_after_follows_the_drain)
{
    const uint64_t ms = 1000000u;
    start();
    for (int i = 0; i < 40; i++)
        add(&line_a, 0, 1, 1, 0);
    cr_expect_eq(rcd__line_retry_after_s(&line_a), 1); /* nothing known yet */
    rcd__line_drained(&line_a, 4, 0, 400 * ms);        /* 100 ms each */
    cr_expect_eq(rcd__line_retry_after_s(&line_a), 5); /* a little over 4 s */
    rcd__line_drained(&line_a, 4, 200 * ms, 800 * ms); /* overlaps: still 100 ms each */
    cr_expect_eq(rcd__line_retry_after_s(&line_a), 5);
    for (int i = 1; i < 100; i++) /* becomes faster: 10 ms each, with pauses that do not count */
        rcd__line_drained(&line_a, 4, (uint64_t)i * 5000 * ms, ((uint64_t)i * 5000 + 40) * ms);
    cr_expect_eq(rcd__line_retry_after_s(&line_a), 1);
    for (int i = 100; i < 300; i++)
        rcd__line_drained(&line_a, 1, (uint64_t)i * 50000 * ms, ((uint64_t)i * 50000 + 9000) * ms);
    cr_expect_eq(rcd__line_retry_after_s(&line_a), RCD__RETRY_MAX_S);
}

/* ---- serials: the requests of a session ------------------------------------------------------- */

static struct rcd_job *add_serial(struct rcd_serial *serial, uint64_t deadline)
{
    struct rcd_job *job = &jobs[n_jobs++];
    *job = (struct rcd_job){.rows = 1, .serial = serial, .deadline_ns = deadline};
    job->times.queued = 1;
    rcd__line_push(&policy, &line_a, job);
    return job;
}

Test(sched_policy, jobs_of_a_serial_run_one_by_one_in_order)
{
    struct rcd_serial one = {.busy = false}, two = {.busy = false};
    start();
    for (int i = 0; i < 3; i++)
        add_serial(&one, 0);
    add_serial(&two, 0);
    cr_expect_eq(policy.n, 4);
    picks(&line_a, "0 3");
    picks(NULL, "");
    rcd__line_release(&policy, &line_a, &jobs[0]);
    rcd__line_release(&policy, &line_a, &jobs[3]);
    cr_expect(!two.busy && one.busy);
    add_serial(&two, 0);
    picks(&line_a, "1 4");
    rcd__line_release(&policy, &line_a, &jobs[1]);
    picks(&line_a, "2");
    rcd__line_release(&policy, &line_a, &jobs[2]);
    picks(NULL, "");
    cr_expect(!one.busy);
    cr_expect_eq(policy.n, 0);
}

Test(sched_policy, expiry_reaches_jobs_behind_others_and_lets_the_next_go)
{
    struct rcd_serial one = {.busy = false};
    start();
    add_serial(&one, 50);
    add_serial(&one, 60);
    add_serial(&one, 0);
    struct rcd__jobs out = rcd__policy_expire(&policy, 70);
    cr_expect_str_eq(numbers(&out), "1 0");
    picks(&line_a, "2");
    add_serial(&one, 200);
    picks(NULL, "");
    out = rcd__policy_expire(&policy, 300);
    cr_expect_str_eq(numbers(&out), "3");
    cr_expect_eq(policy.n, 0);
    rcd__line_release(&policy, &line_a, &jobs[2]);
    cr_expect(!one.busy);
}

Test(sched_policy, a_full_queue_counts_jobs_that_wait_for_their_session)
{
    struct rcd_serial one = {.busy = false};
    start();
    rcd__line_init(&line_a, 4, 0, 3);
    for (int i = 0; i < 3; i++)
        add_serial(&one, 0);
    cr_expect_eq(rcd__line_full(&policy, &line_a), 3);
    struct rcd__jobs out = rcd__policy_flush(&policy);
    cr_expect_str_eq(numbers(&out), "1 2 0");
    cr_expect_eq(policy.n, 0);
}

Test(sched_policy, a_sequence_goes_on_behind_whoever_came_meanwhile)
{
    start();
    struct rcd_job *longer = add(&line_a, 0, 1, 1, 0);
    picks(&line_a, "0");
    longer->runs = 1;
    add(&line_a, 0, 1, 2, 0);
    rcd__line_requeue(&policy, &line_a, longer);
    add(&line_a, 0, 1, 3, 0);
    picks(&line_a, "1 0 2");
}

Test(sched_policy, steps_of_a_run_fit_the_quantum_and_outweigh_what_is_around)
{
    struct rcd__pace pace = {.around_ns = 0};
    cr_expect_eq(rcd__pace_steps(&pace, 1), 16, "nothing is known yet");
    for (int i = 0; i < 100; i++)
        rcd__pace_ran(&pace, 10, 10, 100000, 1000); /* one row: 10 us a step */
    cr_expect(rcd__pace_steps(&pace, 1) >= 95 && rcd__pace_steps(&pace, 1) <= 105);
    cr_expect(rcd__pace_steps(&pace, 8) >= 11 && rcd__pace_steps(&pace, 8) <= 14,
              "sizes not seen: in proportion");
    for (int i = 0; i < 100; i++)
        rcd__pace_ran(&pace, 64 * 10, 10, 10000000, 200000); /* 64 rows: 1 ms a step */
    cr_expect(rcd__pace_steps(&pace, 64) >= 4 && rcd__pace_steps(&pace, 64) <= 5,
              "a run of 1 ms would spend a sixth of it on the rest");
    cr_expect_geq(rcd__pace_steps(&pace, 100000), 1);
}
