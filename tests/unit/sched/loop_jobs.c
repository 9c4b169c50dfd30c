/* loop_jobs.c - see loop_jobs.h. */
#include "loop_jobs.h"

#include <string.h>

static rcd_status decode(struct rcd_job *job, struct rcd_error *err)
{
    struct test_job *t = (struct test_job *)job;
    if (t->bad_bytes)
        return rcd_fail(err, RCD_EINVAL, "byte 7: not a number");
    t->in[0] = (struct rcd_tensor){.dtype = RCD_I32, .n = 1, .data = &t->value};
    if (t->bad_type)
        t->in[0].dtype = RCD_F32;
    job->infer.in = t->in;
    job->infer.out = t->out;
    if (t->set_rows != 0)
        job->rows = t->set_rows;
    return RCD_OK;
}

static void encode(struct rcd_job *job)
{
    struct test_job *t = (struct test_job *)job;
    t->encoded++;
    if (t->opens_gate)
        fake_gate(true);
    t->answer = job->err.code == RCD_OK ? *(const int32_t *)t->out[0].data : -1;
}

static bool gone(const struct rcd_job *job)
{
    return atomic_load(&((const struct test_job *)job)->left);
}

static void done(struct rcd_job *job)
{
    struct test_job *t = (struct test_job *)job;
    t->ended++;
    t->order = t->site->done++;
    if (t->then != NULL)
        t->then(t);
}

static const struct rcd_job_ops ops = {
    .decode = decode, .encode = encode, .gone = gone, .done = done};

void site_start(struct site *s, unsigned n_workers, size_t max_queued)
{
    struct rcd_error err = {RCD_OK, ""};
    memset(s, 0, sizeof *s);
    RCD_ASSERT(uv_loop_init(&s->loop) == 0);
    const struct rcd_sched_opts opts = {.loop = &s->loop,
                                        .n_workers = n_workers,
                                        .exec_live_bytes = 1 << 20,
                                        .exec_idle_bytes = 1 << 20,
                                        .max_queued = max_queued};
    RCD_ASSERT(rcd_sched_new(&opts, &s->sched, &err) == RCD_OK);
    s->plan = fake_plan_new();
}

rcd_queue *site_queue(struct site *s, size_t max_rows, uint64_t max_delay_ns, size_t max_queue)
{
    rcd_queue *q = NULL;
    struct rcd_error err;
    const struct rcd_queue_opts opts = {
        .name = "m", .max_rows = max_rows, .max_delay_ns = max_delay_ns, .max_queue = max_queue};
    RCD_ASSERT(rcd_queue_new(s->sched, s->plan, &opts, &q, &err) == RCD_OK);
    return q;
}

void site_await(struct site *s, size_t n)
{
    while (s->done < n)
        uv_run(&s->loop, UV_RUN_ONCE);
}

void site_await_runs(struct site *s, size_t n)
{
    uv_run(&s->loop, UV_RUN_NOWAIT);
    fake_await_runs(n);
}

void site_end(struct site *s)
{
    s->sched = rcd_sched_free(s->sched);
    uv_run(&s->loop, UV_RUN_DEFAULT);
    RCD_ASSERT(uv_loop_close(&s->loop) == 0);
    s->plan = rcd_plan_unref(s->plan);
    RCD_ASSERT(fake_plans() == 0);
}

void job_init(struct test_job *t, struct site *s, int32_t value)
{
    memset(t, 0, sizeof *t);
    t->job.ops = &ops;
    t->job.rows = 1;
    t->site = s;
    t->value = value;
}

void submit_ok(rcd_queue *q, struct test_job *t)
{
    struct rcd_error err = {RCD_OK, ""};
    rcd_status st = rcd_queue_submit(q, &t->job, NULL, &err);
    if (st != RCD_OK)
        fprintf(stderr, "submit: %s\n", err.text);
    RCD_ASSERT(st == RCD_OK);
}
