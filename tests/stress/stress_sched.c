/* stress_sched.c - the scheduler under ThreadSanitizer: a loop that submits jobs of all kinds, threads
 * that open, close and scrape queues meanwhile, stops in the middle of it. A plain program, because
 * criterion does not run under ThreadSanitizer.
 *
 *   stress_sched [jobs per round] [rounds]     exit status 0: every job ended once, in the right way */
#include "../unit/sched/loop_jobs.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { N_QUEUES = 3 };

struct scraper {
    struct site *site;
    rcd_queue *queues[N_QUEUES];
    atomic_bool stop;
    size_t scrapes;
};

static uint64_t seed = 1;

static uint32_t random_below(uint32_t n)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(seed >> 33) % n;
}

/* Reads counters and opens and closes queues of its own, as a scrape and a load call do. */
static void *scrape(void *arg)
{
    struct scraper *sc = arg;
    struct rcd_queue_stats st;
    while (!atomic_load(&sc->stop)) {
        rcd_queue *q = site_queue(sc->site, 4, 0, 4);
        for (size_t i = 0; i < N_QUEUES; i++)
            rcd_queue_stats(sc->queues[i], &st);
        rcd_sched_alive(sc->site->sched);
        rcd_queue_close(q);
        sc->scrapes++;
        usleep(200);
    }
    return NULL;
}

static void make_job(struct test_job *t, struct site *s, int32_t value)
{
    job_init(t, s, value);
    uint32_t kind = random_below(100);
    t->job.priority = random_below(20);
    t->job.rows = random_below(3);
    t->set_rows = random_below(10) == 0 ? 1 + random_below(12) : 0;
    t->bad_bytes = kind == 0;
    t->bad_type = kind == 1;
    if (kind == 2)
        t->value = FAKE_FAILS;
    if (kind == 3)
        atomic_store(&t->left, true);
    if (kind < 20)
        t->job.deadline_ns = rcd_now_ns() + random_below(3000000);
}

static bool ended_well(const struct test_job *t, int32_t value)
{
    if (t->ended != 1 || t->encoded != 1)
        return false;
    switch (t->job.err.code) {
    case RCD_OK:
        return t->answer == value + 1;
    case RCD_EINVAL:
        return t->bad_bytes || t->bad_type;
    case RCD_EINTERNAL:
        return t->value == FAKE_FAILS;
    case RCD_ECANCELLED:
        return atomic_load(&t->left);
    case RCD_ETIMEOUT:
        return t->job.deadline_ns != 0;
    default:
        return t->job.err.code == RCD_EUNAVAILABLE;
    }
}

static size_t submit_some(struct site *site, struct test_job *jobs, size_t n, rcd_queue **queues,
                          bool *taken)
{
    size_t n_taken = 0;
    for (size_t i = 0; i < n; i++) {
        make_job(&jobs[i], site, (int32_t)i);
        struct rcd_error err;
        taken[i] =
            rcd_queue_submit(queues[random_below(N_QUEUES)], &jobs[i].job, NULL, &err) == RCD_OK;
        n_taken += taken[i];
        if (random_below(60) == 0)
            fake_gate(random_below(2) ==
                      0); /* runs that last, so that queues fill and jobs expire */
        if (random_below(8) == 0)
            uv_run(&site->loop, UV_RUN_NOWAIT);
        if (random_below(500) == 0)
            usleep(1000);
    }
    fake_gate(true);
    return n_taken;
}

static bool round_of(size_t n, bool stop_in_the_middle)
{
    struct site site;
    struct test_job *jobs = calloc(n, sizeof *jobs);
    bool *taken = calloc(n, sizeof *taken);
    struct scraper sc = {.site = &site};
    pthread_t thread;
    bool good = true;
    site_start(&site, 3, 200);
    for (size_t i = 0; i < N_QUEUES; i++)
        sc.queues[i] = site_queue(&site, 1 + 4 * i, i * 50000, 80);
    pthread_create(&thread, NULL, scrape, &sc);
    size_t n_taken = submit_some(&site, jobs, n, sc.queues, taken);
    if (!stop_in_the_middle)
        site_await(&site, n_taken);
    atomic_store(&sc.stop, true);
    pthread_join(thread, NULL);
    if (stop_in_the_middle)
        site.sched = rcd_sched_free(site.sched);
    for (size_t i = 0; i < N_QUEUES; i++)
        rcd_queue_close(sc.queues[i]);
    site_end(&site);
    for (size_t i = 0; i < n; i++) {
        if (taken[i] ? !ended_well(&jobs[i], (int32_t)i) : jobs[i].ended + jobs[i].encoded > 0) {
            fprintf(stderr, "job %zu: ended %d times, status %s\n", i, jobs[i].ended,
                    rcd_status_word(jobs[i].job.err.code));
            good = false;
        }
    }
    printf("%zu jobs, %zu taken, %zu scrapes%s\n", n, n_taken, sc.scrapes,
           stop_in_the_middle ? ", stopped in the middle" : "");
    free(taken);
    free(jobs);
    return good && n_taken > n / 10 && n_taken < n;
}

int main(int argc, char **argv)
{
    size_t n = argc > 1 ? strtoul(argv[1], NULL, 10) : 5000;
    size_t rounds = argc > 2 ? strtoul(argv[2], NULL, 10) : 4;
    for (size_t i = 0; i < rounds; i++) {
        seed = i + 1;
        if (!round_of(n, i % 2 == 1))
            return 1;
    }
    return 0;
}
