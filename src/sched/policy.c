/* policy.c - which jobs run next. Pure: no clock, no threads, no memory of its own, so that a test
 * can play any history with made-up times.
 *
 * Between queues: lines with waiting jobs stand in a ring and each turn serves the first one, which
 * then goes to the end. So a queue waits for at most one batch of each other queue (per worker),
 * whatever the others' load. Inside a queue: by priority, then in order of arrival; a batch is filled
 * until the next job would lift it over max_rows, and that job is not overtaken.
 *
 * Waiting for company pays only under pressure: a worker that has slept takes what is there. A worker
 * that comes from a batch while all others are in one (`pressed`) leaves a line alone until its batch
 * is full or its oldest job has waited for max_delay.
 *
 * Jobs of one serial (the requests of a session) never run at the same time: the first one stands in its
 * lane, the others behind it in the serial, and take their place at the lane's end one by one. A sequence
 * that has run a piece goes to the end of its lane, too: so whoever came meanwhile runs with its next
 * piece or before it, and long jobs share a worker fairly.
 *
 * Expiry costs nothing until a deadline passes: each line knows a time before which no job of it
 * expires, and is searched only after that. */
#include "sched_int.h"

static const uint64_t SECOND_NS = 1000000000u;

void rcd__policy_init(struct rcd__policy *p, size_t max_waiting)
{
    *p = (struct rcd__policy){.max_waiting = max_waiting, .next_expiry = UINT64_MAX};
}

void rcd__line_init(struct rcd__line *l, size_t max_rows, uint64_t max_delay_ns, size_t max_waiting)
{
    *l = (struct rcd__line){.max_rows = max_rows > 0 ? max_rows : 1,
                            .max_delay_ns = max_delay_ns,
                            .max_waiting = max_waiting,
                            .next_expiry = UINT64_MAX};
}

/* ---- the ring of lines that have jobs, in lanes or in serials ----------------------------------------------------- */

static void ring_append(struct rcd__policy *p, struct rcd__line *l)
{
    l->next = NULL;
    l->in_ring = true;
    if (p->tail != NULL)
        p->tail->next = l;
    else
        p->head = l;
    p->tail = l;
}

static void ring_remove(struct rcd__policy *p, struct rcd__line *prev, struct rcd__line *l)
{
    if (prev != NULL)
        prev->next = l->next;
    else
        p->head = l->next;
    if (p->tail == l)
        p->tail = prev;
    l->next = NULL;
    l->in_ring = false;
}

/* ---- one line ----------------------------------------------------------------------------- */

static size_t rows_of(const struct rcd_job *job)
{
    return job->rows > 0 ? job->rows : 1;
}

static unsigned lane_of(const struct rcd_job *job)
{
    uint32_t level = job->priority == 0 ? RCD__DEFAULT_LEVEL : job->priority;
    return (level < RCD__LEVELS ? level : RCD__LEVELS) - 1;
}

uint64_t rcd__job_expiry(const struct rcd_job *job)
{
    uint64_t a = job->deadline_ns, b = job->runs > 0 ? 0 : job->queue_deadline_ns;
    return a == 0 || (b != 0 && b < a) ? b : a;
}

size_t rcd__line_full(const struct rcd__policy *p, const struct rcd__line *l)
{
    if (l->n + l->n_serial >= l->max_waiting)
        return l->max_waiting;
    return p->n >= p->max_waiting ? p->max_waiting : 0;
}

static void note_expiry(struct rcd__policy *p, struct rcd__line *l, const struct rcd_job *job)
{
    uint64_t expiry = rcd__job_expiry(job);
    if (expiry != 0 && expiry < l->next_expiry)
        l->next_expiry = expiry;
    if (l->next_expiry < p->next_expiry)
        p->next_expiry = l->next_expiry;
}

static void into_lane(struct rcd__policy *p, struct rcd__line *l, struct rcd_job *job)
{
    unsigned lane = lane_of(job);
    if (!l->in_ring)
        ring_append(p, l);
    rcd__jobs_push(&l->lanes[lane], job);
    l->filled |= 1u << lane;
    l->rows += rows_of(job);
    l->n++;
    p->n++;
}

static void count_out(struct rcd__policy *p, struct rcd__line *l, const struct rcd_job *job)
{
    l->rows -= rows_of(job);
    l->n--;
    p->n--;
    if (l->n + l->n_serial == 0)
        l->next_expiry = UINT64_MAX;
}

/* ---- serials -------------------------------------------------------------------------------- */

static void serial_link(struct rcd__line *l, struct rcd_serial *s)
{
    s->prev = NULL;
    s->after = l->serials;
    if (l->serials != NULL)
        l->serials->prev = s;
    l->serials = s;
}

static void serial_unlink(struct rcd__line *l, struct rcd_serial *s)
{
    if (s->prev != NULL)
        s->prev->after = s->after;
    else
        l->serials = s->after;
    if (s->after != NULL)
        s->after->prev = s->prev;
    s->prev = s->after = NULL;
}

static void serial_wait(struct rcd__policy *p, struct rcd__line *l, struct rcd_job *job)
{
    struct rcd_serial *s = job->serial;
    struct rcd__jobs list = {s->head, s->tail};
    if (s->head == NULL)
        serial_link(l, s);
    if (!l->in_ring)
        ring_append(p, l);
    rcd__jobs_push(&list, job);
    s->head = list.head;
    s->tail = list.tail;
    l->n_serial++;
    p->n++;
}

static struct rcd_job *serial_pop(struct rcd__policy *p, struct rcd__line *l, struct rcd_serial *s)
{
    struct rcd__jobs list = {s->head, s->tail};
    struct rcd_job *job = rcd__jobs_pop(&list);
    if (job == NULL)
        return NULL;
    s->head = list.head;
    s->tail = list.tail;
    if (s->head == NULL)
        serial_unlink(l, s);
    l->n_serial--;
    p->n--;
    return job;
}

void rcd__line_push(struct rcd__policy *p, struct rcd__line *l, struct rcd_job *job)
{
    if (job->serial != NULL && job->serial->busy)
        serial_wait(p, l, job);
    else
        into_lane(p, l, job);
    if (job->serial != NULL)
        job->serial->busy = true;
    note_expiry(p, l, job);
}

void rcd__line_requeue(struct rcd__policy *p, struct rcd__line *l, struct rcd_job *job)
{
    into_lane(p, l, job);
    note_expiry(p, l, job);
}

bool rcd__line_release(struct rcd__policy *p, struct rcd__line *l, const struct rcd_job *job)
{
    struct rcd_serial *s = job->serial;
    if (s == NULL)
        return false;
    struct rcd_job *next = serial_pop(p, l, s);
    s->busy = next != NULL;
    if (next != NULL)
        into_lane(p, l, next);
    return next != NULL;
}

static uint64_t oldest(const struct rcd__line *l)
{
    uint64_t t = UINT64_MAX;
    for (uint32_t left = l->filled; left != 0; left &= left - 1) {
        const struct rcd_job *job = l->lanes[__builtin_ctz(left)].head;
        if (job->times.queued < t)
            t = job->times.queued;
    }
    return t;
}

/* When the line's next batch may run: 0 is now. */
static uint64_t ripe_at(const struct rcd__line *l, bool pressed)
{
    if (!pressed || l->max_delay_ns == 0 || l->rows >= l->max_rows)
        return 0;
    return oldest(l) + l->max_delay_ns;
}

static void take_batch(struct rcd__policy *p, struct rcd__line *l, struct rcd__pick *ret)
{
    size_t rows = 0;
    while (l->filled != 0) {
        struct rcd__jobs *lane = &l->lanes[__builtin_ctz(l->filled)];
        size_t more = rows_of(lane->head);
        if (ret->n > 0 && (more > l->max_rows || rows > l->max_rows - more))
            break;
        struct rcd_job *job = rcd__jobs_pop(lane);
        if (lane->head == NULL)
            l->filled &= l->filled - 1;
        count_out(p, l, job);
        rcd__jobs_push(&ret->jobs, job);
        ret->n++;
        rows += more;
        if (rows >= l->max_rows)
            break;
    }
}

/* ---- expiry ------------------------------------------------------------------------------- */

static bool over(const struct rcd_job *job, uint64_t now, uint64_t *next)
{
    uint64_t expiry = rcd__job_expiry(job);
    if (expiry != 0 && expiry <= now)
        return true;
    if (expiry != 0 && expiry < *next)
        *next = expiry;
    return false;
}

static void expire_lane(struct rcd__policy *p, struct rcd__line *l, unsigned i, uint64_t now,
                        struct rcd__jobs *out)
{
    struct rcd__jobs old = l->lanes[i], kept = {NULL, NULL};
    struct rcd_job *job;
    while ((job = rcd__jobs_pop(&old)) != NULL) {
        bool ends = over(job, now, &l->next_expiry);
        if (ends)
            count_out(p, l, job);
        rcd__jobs_push(ends ? out : &kept, job);
    }
    l->lanes[i] = kept;
    if (kept.head == NULL)
        l->filled &= ~(1u << i);
}

/* Jobs behind others of their serial. */
static void expire_serial(struct rcd__policy *p, struct rcd__line *l, struct rcd_serial *s,
                          uint64_t now, struct rcd__jobs *out)
{
    struct rcd__jobs old = {s->head, s->tail}, kept = {NULL, NULL};
    struct rcd_job *job;
    while ((job = rcd__jobs_pop(&old)) != NULL) {
        bool ends = over(job, now, &l->next_expiry);
        l->n_serial -= ends;
        p->n -= ends;
        /* it never held the serial: whoever ends it must not let the next one go */
        if (ends)
            job->serial = NULL;
        rcd__jobs_push(ends ? out : &kept, job);
    }
    s->head = kept.head;
    s->tail = kept.tail;
    if (s->head == NULL)
        serial_unlink(l, s);
}

static void expire_line(struct rcd__policy *p, struct rcd__line *l, uint64_t now,
                        struct rcd__jobs *out)
{
    struct rcd__jobs held = {NULL, NULL};
    struct rcd_serial *after;
    l->next_expiry = UINT64_MAX;
    for (struct rcd_serial *s = l->serials; s != NULL; s = after) {
        after = s->after;
        expire_serial(p, l, s, now, out);
    }
    for (uint32_t left = l->filled; left != 0; left &= left - 1)
        expire_lane(p, l, (unsigned)__builtin_ctz(left), now, &held);
    for (struct rcd_job *job; (job = rcd__jobs_pop(&held)) != NULL;) {
        rcd__line_release(p, l, job);
        job->serial = NULL;
        rcd__jobs_push(out, job);
    }
    if (l->n + l->n_serial == 0)
        l->next_expiry = UINT64_MAX;
}

static void unring_empty(struct rcd__policy *p)
{
    struct rcd__line *prev = NULL, *after;
    for (struct rcd__line *l = p->head; l != NULL; l = after) {
        after = l->next;
        if (l->n + l->n_serial == 0)
            ring_remove(p, prev, l);
        else
            prev = l;
    }
}

struct rcd__jobs rcd__policy_expire(struct rcd__policy *p, uint64_t now)
{
    struct rcd__jobs out = {NULL, NULL};
    if (now < p->next_expiry)
        return out;
    uint64_t next = UINT64_MAX;
    for (struct rcd__line *l = p->head; l != NULL; l = l->next) {
        if (l->next_expiry <= now)
            expire_line(p, l, now, &out);
        if (l->next_expiry < next)
            next = l->next_expiry;
    }
    unring_empty(p);
    p->next_expiry = next;
    return out;
}

/* ---- the two questions -------------------------------------------------------------------- */

void rcd__policy_pick(struct rcd__policy *p, uint64_t now, bool pressed, struct rcd__pick *ret)
{
    *ret = (struct rcd__pick){.sleep_until = UINT64_MAX};
    ret->expired = rcd__policy_expire(p, now);
    struct rcd__line *prev = NULL;
    for (struct rcd__line *l = p->head; l != NULL; prev = l, l = l->next) {
        if (l->n == 0)
            continue; /* all its jobs wait for one that runs */
        uint64_t ripe = ripe_at(l, pressed);
        if (ripe > now) {
            if (ripe < ret->sleep_until)
                ret->sleep_until = ripe;
            continue;
        }
        ring_remove(p, prev, l);
        take_batch(p, l, ret);
        if (l->n + l->n_serial > 0)
            ring_append(p, l);
        ret->line = l;
        return;
    }
}

struct rcd__jobs rcd__policy_flush(struct rcd__policy *p)
{
    struct rcd__jobs out = {NULL, NULL};
    for (struct rcd__line *l = p->head; l != NULL; l = l->next) {
        while (l->serials != NULL) {
            struct rcd_job *job = serial_pop(p, l, l->serials);
            job->serial = NULL;
            rcd__jobs_push(&out, job);
        }
    }
    while (p->head != NULL) {
        struct rcd__line *l = p->head;
        struct rcd__pick batch = {.n = 0};
        take_batch(p, l, &batch);
        for (struct rcd_job *job; (job = rcd__jobs_pop(&batch.jobs)) != NULL;)
            rcd__jobs_push(&out, job);
        if (l->filled == 0)
            ring_remove(p, NULL, l);
    }
    return out;
}

bool rcd__policy_ready(const struct rcd__policy *p)
{
    for (const struct rcd__line *l = p->head; l != NULL; l = l->next) {
        if (l->n > 0)
            return true;
    }
    return false;
}

/* ---- how fast a line empties --------------------------------------------------------------- */

void rcd__line_drained(struct rcd__line *l, size_t n, uint64_t picked, uint64_t now)
{
    /* Batches of several workers overlap: what counts is the time between their ends. After a
     * pause it is the batch's own time. */
    uint64_t since = l->last_end_ns > picked ? l->last_end_ns : picked;
    l->last_end_ns = now;
    if (n == 0 || now <= since)
        return;
    uint64_t sample = (now - since) / n + 1;
    l->ns_per_job = l->ns_per_job == 0 ? sample : l->ns_per_job - l->ns_per_job / 8 + sample / 8;
}

unsigned rcd__line_retry_after_s(const struct rcd__line *l)
{
    uint64_t ns = 0;
    if (__builtin_mul_overflow(l->ns_per_job, (uint64_t)(l->n + l->n_serial), &ns))
        return RCD__RETRY_MAX_S;
    uint64_t s = ns / SECOND_NS + (ns % SECOND_NS != 0 ? 1 : 0);
    if (s > RCD__RETRY_MAX_S)
        return RCD__RETRY_MAX_S;
    return s > 0 ? (unsigned)s : 1;
}
