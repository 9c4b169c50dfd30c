/* pace.c - how many time steps one run of a queue takes. Pure.
 *
 * A run cannot be joined or left, so its length is what a newcomer waits for: runs should be short.
 * Each run costs something beside its steps (the lock, cutting inputs, keeping states and outputs), so
 * they should not be too short. Both are known by measurement: the time of a step depends on how many
 * rows run together and is kept by the logarithm of that; the rest is kept as one average. A run is as
 * many steps as fit the quantum, but at least so many that the rest stays below a share of it. With
 * nobody waiting short runs cost no more than that share, so the rule need not know who waits.
 *
 * The same figures tell whether a run is short enough for the loop thread (here.c).
 *
 * They are written under the scheduler's lock; a worker that is about to run reads them without it. */
#include "sched_int.h"

enum { QUANTUM_NS = 1000000, AROUND_SHARE = 20, FIRST_STEPS = 16, MAX_STEPS = 1 << 20 };

static uint64_t seen(const uint64_t *value)
{
    return __atomic_load_n(value, __ATOMIC_RELAXED);
}

static unsigned size_of(size_t rows)
{
    unsigned b = rows > 1 ? (unsigned)(63 - __builtin_clzll((unsigned long long)rows)) : 0;
    return b < RCD__PACE_SIZES ? b : RCD__PACE_SIZES - 1;
}

/* Of sizes not seen yet the nearest smaller one counts by its rows: steps of more rows take longer, at
 * most in proportion. */
static uint64_t step_ns(const struct rcd__pace *p, size_t rows)
{
    unsigned at = size_of(rows);
    for (unsigned d = 0; d <= at; d++) {
        uint64_t ns = seen(&p->step_ns[at - d]);
        if (ns != 0)
            return ns << d;
    }
    for (unsigned b = at + 1; b < RCD__PACE_SIZES; b++) {
        uint64_t ns = seen(&p->step_ns[b]);
        if (ns != 0)
            return ns;
    }
    return 0;
}

int64_t rcd__pace_steps(const struct rcd__pace *p, size_t rows)
{
    uint64_t ns = step_ns(p, rows);
    if (ns == 0)
        return FIRST_STEPS;
    uint64_t fit = QUANTUM_NS / ns, least = AROUND_SHARE * seen(&p->around_ns) / ns + 1;
    uint64_t steps = fit > least ? fit : least;
    return steps < MAX_STEPS ? (int64_t)steps : MAX_STEPS;
}

static void average(uint64_t *value, uint64_t sample)
{
    uint64_t next = *value == 0 ? sample : *value - *value / 8 + sample / 8;
    __atomic_store_n(value, next, __ATOMIC_RELAXED);
}

static unsigned whole_of(size_t elements)
{
    unsigned b = elements > 1 ? (unsigned)(63 - __builtin_clzll((unsigned long long)elements)) : 0;
    return b < RCD__PACE_WHOLE ? b : RCD__PACE_WHOLE - 1;
}

void rcd__pace_ran_whole(struct rcd__pace *p, size_t elements, uint64_t ns)
{
    average(&p->whole_ns[whole_of(elements)], ns + 1);
}

/* How the time of a run that cannot be cut grows with its size is not known: only what was seen at this
 * size or above counts. */
static uint64_t whole_ns(const struct rcd__pace *p, size_t elements)
{
    for (unsigned b = whole_of(elements); b < RCD__PACE_WHOLE - 1; b++) {
        if (p->whole_ns[b] != 0)
            return p->whole_ns[b];
    }
    return 0;
}

uint64_t rcd__pace_guess(const struct rcd__pace *p, size_t rows, int64_t steps, size_t elements)
{
    uint64_t ns = 0;
    if (steps <= 0)
        return whole_ns(p, elements);
    if (__builtin_mul_overflow(step_ns(p, rows), (uint64_t)steps, &ns))
        return UINT64_MAX;
    return ns;
}

void rcd__pace_ran(struct rcd__pace *p, uint64_t row_steps, int64_t steps, uint64_t ns,
                   uint64_t around_ns)
{
    if (steps <= 0)
        return;
    /* rows that end early leave the batch: what counts is how many ran at a time */
    size_t rows = (size_t)((row_steps + (uint64_t)steps - 1) / (uint64_t)steps);
    uint64_t sample = ns / (uint64_t)steps + 1;
    average(&p->step_ns[size_of(rows)], sample);
    average(&p->around_ns, around_ns + 1);
}
