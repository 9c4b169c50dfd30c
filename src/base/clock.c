/* clock.c - the two clocks: monotonic for durations, wall for people. */
#include "recurd/base.h"

#include <time.h>

static uint64_t read_ns(clockid_t id)
{
    struct timespec t;
    clock_gettime(id, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

uint64_t rcd_now_ns(void)
{
    return read_ns(CLOCK_MONOTONIC);
}

uint64_t rcd_wall_ms(void)
{
    return read_ns(CLOCK_REALTIME) / 1000000u;
}
