/* load_run.c - the phases of a run: every session's first step (nothing is measured), warm-up and
 * measured time, draining.
 *
 * Jobs come from the closed loop (a connection that is free draws one) or from the queue that
 * Poisson arrivals fill. An open-loop job that no connection is free for opens one, up to the
 * bound, and else waits in the queue; its latency counts from its arrival in any case. What is
 * unanswered when draining ends is counted with the time it has waited so far. */
#include "load.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum phase { FILL, RUN, DRAIN };
enum { EVENTS_MAX = 256, LOST_MAX = 1000, FILL_CONNS = 64 };
static const double fill_limit_s = 110.0;

struct run {
    const struct plan *p;
    struct workload *w;
    struct results *r;
    enum phase phase;
    struct conn *conns; /* room for max_conns */
    uint32_t n_conns;
    uint32_t *idle; /* stack of indices */
    uint32_t n_idle;
    struct job *queue; /* ring */
    size_t queue_at, queue_n, queue_room;
    size_t fill_class;
    uint32_t fill_session;
    uint64_t seed, next_due, from, to, until;
    bool failed;
    int epoll;
};

static void fail(struct run *run, const char *what)
{
    if (!run->failed)
        fprintf(stderr, "load: %s\n", what);
    run->failed = true;
}

static void add_conn(struct run *run)
{
    struct conn *c = &run->conns[run->n_conns];
    *c = (struct conn){.fd = -1, .index = run->n_conns, .scratch = malloc(run->w->patch_max + 1)};
    if (c->scratch == NULL) {
        fail(run, "no memory");
        return;
    }
    run->idle[run->n_idle++] = run->n_conns++;
}

/* ---- where jobs come from ------------------------------------------------------------------- */

static bool queue_put(struct run *run, const struct job *job)
{
    if (run->queue_n == run->queue_room) {
        size_t room = run->queue_room == 0 ? 1024 : 2 * run->queue_room;
        struct job *more = malloc(room * sizeof *more);
        if (more == NULL)
            return false;
        for (size_t i = 0; i < run->queue_n; i++)
            more[i] = run->queue[(run->queue_at + i) % run->queue_room];
        free(run->queue);
        run->queue = more;
        run->queue_at = 0;
        run->queue_room = room;
    }
    run->queue[(run->queue_at + run->queue_n++) % run->queue_room] = *job;
    return true;
}

/* Draws the arrivals up to now. */
static void arrive(struct run *run, uint64_t now)
{
    while (run->phase == RUN && run->p->open && run->next_due <= now && run->next_due < run->to) {
        struct job job = draw_job(run->w, &run->seed, run->next_due, UINT32_MAX);
        if (!queue_put(run, &job))
            fail(run, "no memory");
        run->next_due += (uint64_t)(-log(draw_unit(&run->seed)) / run->p->rate * 1e9);
    }
}

static bool next_first_step(struct run *run, uint64_t now, struct job *job)
{
    while (run->fill_class < run->w->n_classes) {
        struct class *k = &run->w->classes[run->fill_class];
        if (run->fill_session < k->n_sessions) {
            *job = (struct job){
                .due = now, .class = k, .request = k->requests, .session = run->fill_session++};
            return true;
        }
        run->fill_class++;
        run->fill_session = 0;
    }
    return false;
}

static bool next_job(struct run *run, uint32_t conn, uint64_t now, struct job *job)
{
    if (run->phase == FILL)
        return next_first_step(run, now, job);
    if (run->p->open) {
        if (run->queue_n == 0)
            return false;
        *job = run->queue[run->queue_at];
        run->queue_at = (run->queue_at + 1) % run->queue_room;
        run->queue_n--;
        return true;
    }
    if (run->phase == DRAIN || now >= run->to)
        return false;
    *job = draw_job(run->w, &run->seed, now, run->p->bound ? conn : UINT32_MAX);
    return true;
}

/* ---- what becomes of them ------------------------------------------------------------------- */

static void count(struct run *run, const struct conn *c, uint64_t now)
{
    const struct job *job = &c->job;
    struct samples *s = &run->r->of[job->class - run->w->classes];
    bool ok = c->status == 200;
    if (ok && now >= run->from && now < run->to) {
        s->answered++;
        s->units += job->request->units;
    }
    if (job->due < run->from)
        return;
    run->r->statuses[c->status]++;
    s->arrived++;
    if (ok) {
        s->ok++;
        s->within += run->r->within_ns == 0 || now - job->due <= run->r->within_ns;
        samples_add(s, now - job->due);
    }
}

static void finish(struct run *run, struct conn *c, enum conn_event event)
{
    bool ok = event == CONN_ANSWER && c->status == 200;
    if (event == CONN_NOTHING)
        return;
    job_done(&c->job, ok);
    run->idle[run->n_idle++] = c->index;
    if (event == CONN_LOST && ++run->r->lost > LOST_MAX)
        fail(run, "too many connections were lost");
    if (run->phase == FILL && !ok) {
        fprintf(stderr, "load: status %d for a session's first step\n",
                event == CONN_LOST ? 0 : c->status);
        fail(run, "sessions cannot be made");
    } else if (run->phase != FILL && event == CONN_ANSWER) {
        count(run, c, rcd_now_ns());
    }
}

/* Gives jobs to connections while there are both. */
static void dispatch(struct run *run)
{
    struct job job;
    uint64_t now = rcd_now_ns();
    arrive(run, now);
    while (!run->failed) {
        if (run->n_idle == 0) {
            bool grow = run->phase != FILL && run->p->open && run->queue_n > 0;
            if (!grow || run->n_conns == run->p->max_conns)
                return;
            add_conn(run);
            continue;
        }
        uint32_t i = run->idle[run->n_idle - 1];
        if (!next_job(run, i, now, &job))
            return;
        run->n_idle--;
        finish(run, &run->conns[i], conn_start(&run->conns[i], run->epoll, run->p->port, &job));
    }
}

/* One sleep and what it brings; not past `until`. */
static void turn(struct run *run, uint64_t until)
{
    struct epoll_event events[EVENTS_MAX];
    uint64_t now = rcd_now_ns();
    if (run->phase == RUN && run->p->open && run->next_due < until)
        until = run->next_due;
    uint64_t wait = until > now ? until - now : 0;
    struct timespec sleep = {.tv_sec = (time_t)(wait / 1000000000u),
                             .tv_nsec = (long)(wait % 1000000000u)};
    int n = epoll_pwait2(run->epoll, events, EVENTS_MAX, &sleep, NULL);
    for (int i = 0; i < n && !run->failed; i++) {
        struct conn *c = events[i].data.ptr;
        finish(run, c, conn_on_event(c, run->epoll, events[i].events));
        dispatch(run);
    }
    dispatch(run);
}

static bool at_rest(const struct run *run)
{
    return run->n_idle == run->n_conns && run->queue_n == 0;
}

/* ---- phases --------------------------------------------------------------------------------- */

static void fill(struct run *run)
{
    uint64_t limit = rcd_now_ns() + (uint64_t)(fill_limit_s * 1e9);
    if (run->p->started) {
        for (size_t i = 0; i < run->w->n_classes; i++)
            if (run->w->classes[i].n_sessions > 0)
                memset(run->w->classes[i].session, SESSION_STARTED, run->w->classes[i].n_sessions);
        return;
    }
    dispatch(run);
    while (!run->failed && !at_rest(run)) {
        turn(run, limit);
        if (rcd_now_ns() >= limit)
            fail(run, "the sessions' first steps took too long");
    }
}

static double cpu_s(void)
{
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           1e-6 * (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static void measure(struct run *run)
{
    uint64_t start = rcd_now_ns();
    run->phase = RUN;
    run->from = start + (uint64_t)(run->p->warm_s * 1e9);
    run->to = run->from + (uint64_t)(run->p->seconds * 1e9);
    run->until = run->to + (uint64_t)(run->p->drain_s * 1e9);
    run->next_due = start;
    while (!run->p->open && run->n_conns < run->p->max_conns && !run->failed)
        add_conn(run);
    double cpu = 0.0;
    bool warm = true;
    dispatch(run);
    while (!run->failed && rcd_now_ns() < run->to) {
        turn(run, run->to);
        if (warm && rcd_now_ns() >= run->from) {
            cpu = cpu_s();
            warm = false;
        }
    }
    run->r->cpu_s = cpu_s() - cpu;
    run->r->seconds = run->p->seconds;
    arrive(run, run->to);
    run->phase = DRAIN;
    dispatch(run);
    while (!run->failed && !at_rest(run) && rcd_now_ns() < run->until)
        turn(run, run->until);
}

static void count_unanswered(struct run *run, const struct job *job)
{
    struct samples *s = &run->r->of[job->class - run->w->classes];
    if (job->due >= run->from) {
        run->r->unanswered++;
        s->arrived++;
        samples_add(s, run->until - job->due);
    }
}

bool plan_run(const struct plan *p, struct workload *w, struct results *r, size_t *n_conns)
{
    struct run run = {.p = p, .w = w, .r = r, .seed = p->seed, .epoll = epoll_create1(0)};
    run.conns = calloc(p->max_conns, sizeof *run.conns);
    run.idle = calloc(p->max_conns, sizeof *run.idle);
    if (run.epoll < 0 || run.conns == NULL || run.idle == NULL)
        fail(&run, "no memory or no epoll descriptor");
    prctl(PR_SET_TIMERSLACK, 1000ul); /* arrivals are some 10 us apart */
    while (!run.failed && run.n_conns < p->max_conns && run.n_conns < FILL_CONNS)
        add_conn(&run);
    if (!run.failed)
        fill(&run);
    if (!run.failed)
        measure(&run);
    for (uint32_t i = 0; i < run.n_conns; i++) {
        if (run.phase == DRAIN && run.conns[i].state != CONN_IDLE)
            count_unanswered(&run, &run.conns[i].job);
        conn_close(&run.conns[i]);
        free(run.conns[i].scratch);
    }
    for (size_t i = 0; i < run.queue_n; i++)
        count_unanswered(&run, &run.queue[(run.queue_at + i) % run.queue_room]);
    free(run.conns);
    free(run.idle);
    free(run.queue);
    close(run.epoll);
    *n_conns = run.n_conns;
    return !run.failed;
}
