/* fake_engine.c - see fake_engine.h. An input value of FAKE_FAILS makes its request fail. */
#include "fake_engine.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct rcd_plan {
    atomic_int refs;
};
struct rcd_exec {
    size_t live; /* outputs handed out; must be 0 at the end */
    int32_t cells[1024];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool gate_open = true;
static size_t n_runs;
static struct fake_run runs[FAKE_RUNS];
static atomic_int plans;

rcd_plan *fake_plan_new(void)
{
    rcd_plan *p = calloc(1, sizeof *p);
    atomic_init(&p->refs, 1);
    atomic_fetch_add(&plans, 1);
    return p;
}

int fake_plans(void)
{
    return atomic_load(&plans);
}

void fake_gate(bool open)
{
    pthread_mutex_lock(&lock);
    gate_open = open;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

void fake_await_runs(size_t n)
{
    pthread_mutex_lock(&lock);
    while (n_runs < n)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

size_t fake_runs(void)
{
    pthread_mutex_lock(&lock);
    size_t n = n_runs;
    pthread_mutex_unlock(&lock);
    return n;
}

void fake_forget_runs(void)
{
    pthread_mutex_lock(&lock);
    n_runs = 0;
    pthread_mutex_unlock(&lock);
}

struct fake_run fake_run_at(size_t i)
{
    pthread_mutex_lock(&lock);
    RCD_ASSERT(i < n_runs && i < FAKE_RUNS);
    struct fake_run run = runs[i];
    pthread_mutex_unlock(&lock);
    return run;
}

rcd_plan *rcd_plan_ref(rcd_plan *p)
{
    atomic_fetch_add(&p->refs, 1);
    return p;
}

rcd_plan *rcd_plan_unref(rcd_plan *p)
{
    if (p != NULL && atomic_fetch_sub(&p->refs, 1) == 1) {
        atomic_fetch_sub(&plans, 1);
        free(p);
    }
    return NULL;
}

const struct rcd_io *rcd_plan_inputs(const rcd_plan *p, size_t *ret_n)
{
    static const struct rcd_io io = {.name = "x", .dtype = RCD_I32, .rank = 0};
    (void)p;
    *ret_n = 1;
    return &io;
}

const struct rcd_io *rcd_plan_outputs(const rcd_plan *p, size_t *ret_n)
{
    static const struct rcd_io io = {.name = "y", .dtype = RCD_I32, .rank = 0};
    (void)p;
    *ret_n = 1;
    return &io;
}

rcd_status rcd_plan_check_inputs(const rcd_plan *p, const struct rcd_infer *req,
                                 struct rcd_error *err)
{
    (void)p;
    if (req->in[0].dtype != RCD_I32)
        return rcd_fail(err, RCD_EINVAL, "input 'x' is not INT32");
    return RCD_OK;
}

rcd_exec *rcd_exec_new(size_t max_live_bytes, size_t max_idle_bytes)
{
    (void)max_idle_bytes;
    return max_live_bytes == 0 ? NULL : rcd_calloc(1, sizeof(rcd_exec));
}

rcd_exec *rcd_exec_free(rcd_exec *x)
{
    RCD_ASSERT(x == NULL || x->live == 0);
    rcd_free(x);
    return NULL;
}

static void note_run(const rcd_plan *p, size_t n, int32_t first)
{
    pthread_mutex_lock(&lock);
    if (n_runs < FAKE_RUNS)
        runs[n_runs] = (struct fake_run){.plan = p, .n = n, .first = first};
    n_runs++;
    pthread_cond_broadcast(&changed);
    while (!gate_open)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

void rcd_exec_run(rcd_exec *x, const rcd_plan *p, size_t n, struct rcd_infer *const *reqs,
                  const volatile bool *cancel)
{
    (void)cancel;
    RCD_ASSERT(n > 0 && n <= RCD_COUNT(x->cells) && x->live == 0);
    note_run(p, n, *(const int32_t *)reqs[0]->in[0].data);
    for (size_t i = 0; i < n; i++) {
        int32_t v = *(const int32_t *)reqs[i]->in[0].data;
        reqs[i]->err.code = RCD_OK;
        if (v == FAKE_FAILS) {
            rcd_fail(&reqs[i]->err, RCD_EINTERNAL, "node 'n' fails");
            continue;
        }
        x->cells[i] = v + 1;
        reqs[i]->out[0] = (struct rcd_tensor){.dtype = RCD_I32, .n = 1, .data = &x->cells[i]};
        reqs[i]->out[0].block = (struct rcd_block *)x; /* whom to tell */
        x->live++;
    }
}

void rcd_infer_drop(struct rcd_infer *req, size_t n_outputs)
{
    RCD_ASSERT(n_outputs == 1);
    if (req->out[0].dtype != RCD_NONE)
        ((rcd_exec *)req->out[0].block)->live--;
    req->out[0] = (struct rcd_tensor){.dtype = RCD_NONE};
}

/* ---- sequences: an input of rank 1 has dims[0] time steps ------------------------------------- */

struct rcd_stepper {
    struct rcd_infer *whole, piece;
    struct rcd_tensor out[1];
    int64_t left, len;
};
static atomic_int steppers;

int fake_steppers(void)
{
    return atomic_load(&steppers);
}

int64_t rcd_plan_steps(const rcd_plan *p, const struct rcd_infer *req)
{
    (void)p;
    return req->in[0].rank == 1 ? req->in[0].dims[0] : 0;
}

rcd_status rcd_stepper_new(const rcd_plan *p, struct rcd_infer *whole, size_t max_bytes,
                           rcd_stepper **ret, struct rcd_error *err)
{
    (void)max_bytes;
    (void)err;
    rcd_stepper *s = calloc(1, sizeof *s);
    atomic_fetch_add(&steppers, 1);
    s->whole = whole;
    s->left = rcd_plan_steps(p, whole);
    s->piece = (struct rcd_infer){.in = whole->in, .out = s->out};
    *ret = s;
    return RCD_OK;
}

rcd_stepper *rcd_stepper_free(rcd_stepper *s)
{
    if (s != NULL)
        atomic_fetch_sub(&steppers, 1);
    free(s);
    return NULL;
}

int64_t rcd_stepper_left(const rcd_stepper *s)
{
    return s->left;
}

rcd_status rcd_stepper_next(rcd_stepper *s, int64_t steps, struct rcd_infer **ret,
                            struct rcd_error *err)
{
    (void)err;
    s->len = steps < s->left ? steps : s->left;
    *ret = &s->piece;
    return RCD_OK;
}

rcd_status rcd_stepper_take(rcd_stepper *s, struct rcd_error *err)
{
    if (s->piece.err.code != RCD_OK)
        return rcd_fail(err, s->piece.err.code, "%s", s->piece.err.text);
    s->left -= s->len;
    if (s->left == 0)
        s->whole->out[0] = s->out[0];
    else
        rcd_infer_drop(&s->piece, 1);
    return RCD_OK;
}
