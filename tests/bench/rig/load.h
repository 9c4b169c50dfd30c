/* load.h - what the parts of the load generator share. One thread, one epoll, loopback.
 *
 * A workload is a file of classes; each has ready-made HTTP requests, so that sending costs a
 * write. Requests of session classes have two places that are filled in for each use: 20 times '@'
 * (the session's id) and 5 times '#' ("true " on the session's first step, else "false").
 *
 * A job is one use of one request. Its latency counts from `due`: the moment its arrival was drawn
 * for, not the moment a connection was free for it. */
#ifndef RECURD_BENCH_LOAD_H
#define RECURD_BENCH_LOAD_H

#include "recurd/base.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { CLASSES_MAX = 8, NAME_SIZE = 32, STATUS_MAX = 600 };

/* ---- workload (load_workload.c) ------------------------------------------------------------- */

struct request {
    const char *bytes;
    size_t len;
    double units;           /* time steps in it */
    size_t id_at, start_at; /* places to fill in; SIZE_MAX: none */
};

enum { SESSION_STARTED = 1, SESSION_BUSY = 2 };

struct class
{
    char name[NAME_SIZE];
    double weight; /* share of the arrivals */
    struct request *requests;
    size_t n_requests;
    uint32_t n_sessions; /* 0: no sessions */
    uint64_t first_id;
    uint8_t *session; /* SESSION_ flags of each */
};

struct workload {
    struct class classes[CLASSES_MAX];
    size_t n_classes;
    double weights;   /* sum */
    size_t patch_max; /* longest request with places */
};

/* Reads the file; ends the process with a message when it is wrong. */
void workload_read(struct workload *w, const char *path);

struct job {
    uint64_t due;
    const struct class *class;
    const struct request *request;
    uint32_t session;
};

uint64_t draw(uint64_t *seed);    /* 64 random bits */
double draw_unit(uint64_t *seed); /* in (0, 1] */

/* A class by weight, one of its requests, one of its sessions: `bound` modulo their number, or,
 * with UINT32_MAX, one that has no job now (if that can be found). Marks the session busy. */
struct job draw_job(struct workload *w, uint64_t *seed, uint64_t due, uint32_t bound);

/* Writes the request with its places filled in; `out` has patch_max bytes. */
void job_patch(const struct job *job, char *out);
void job_done(const struct job *job, bool ok);

/* ---- connections (load_conn.c) -------------------------------------------------------------- */

enum conn_state { CONN_IDLE, CONN_CONNECTING, CONN_SENDING, CONN_WAITING };
enum { HEAD_MAX = 2048 };

struct conn {
    int fd;
    uint32_t index;
    enum conn_state state;
    bool wants_out; /* in the epoll set for writing, too */
    struct job job;
    const char *out;
    size_t out_len, out_at;
    char *scratch;
    char head[HEAD_MAX];
    size_t head_len, body_left;
    bool in_body, close_after;
    int status;
};

/* What an event brought: nothing to tell yet, an answer (status in `conn`), or a connection that
 * was lost with its job. */
enum conn_event { CONN_NOTHING, CONN_ANSWER, CONN_LOST };

/* Begins to connect to a port of 127.0.0.1 if it is not connected, and to send the job. */
enum conn_event conn_start(struct conn *c, int epoll, uint16_t port, const struct job *job);
enum conn_event conn_on_event(struct conn *c, int epoll, uint32_t events);
void conn_close(struct conn *c);

/* ---- results (load_report.c) ---------------------------------------------------------------- */

struct samples {
    uint64_t *ns;
    size_t n, room;
    size_t arrived, ok, within;
    size_t answered; /* status 200, answered between the first and the last moment measured */
    double units;    /* of those */
};

struct results {
    struct samples of[CLASSES_MAX];
    size_t statuses[STATUS_MAX];
    size_t lost, unanswered;
    double seconds, cpu_s;
    uint64_t within_ns;
};

void samples_add(struct samples *s, uint64_t ns);
void results_print(const struct workload *w, struct results *r, const char *mode, size_t n_conns);

/* ---- run (load_run.c) ----------------------------------------------------------------------- */

struct plan {
    uint16_t port;
    bool open;          /* Poisson arrivals at `rate`; else closed loop */
    bool bound;         /* connection i uses session i modulo their number */
    bool started;       /* the sessions live already */
    uint32_t max_conns; /* closed loop: exactly so many */
    double rate, warm_s, seconds, drain_s;
    uint64_t seed;
};

/* False (and a message on standard error) when the server could not be used. */
bool plan_run(const struct plan *p, struct workload *w, struct results *r, size_t *n_conns);

#endif
