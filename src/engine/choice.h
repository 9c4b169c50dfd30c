/* choice.h - alone or together: what earlier pieces of work of that size took decides, where no estimate knows. Threads that
 * meet at each step (recurrent_walk.c) win where each has a processor of its own, and lose where two of them share a core
 * or others take their turns. Requests in lockstep (lockstep.c) win or lose by model and sizes. The bits of a result are
 * the same. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

enum { RCD__CHOICE_STEPS = 16, RCD__CHOICE_SIZES = 16 };

/** A table by the size of steps and of weights; all zero at first. Threading: its owner's. */
struct rcd__choice {
    struct rcd__choice_of {
        float took[2]; /* alone, together: over what was estimated, smoothed */
        uint32_t uses;
    } of[RCD__CHOICE_STEPS][RCD__CHOICE_SIZES];
};

/** For a piece of work whose steps are estimated at `step_ns` each and read `bytes` of weights. */
struct rcd__choice_of *rcd__choice_for(struct rcd__choice *c, double step_ns, double bytes);
/** True: together. Both ways are tried twice, then the better one is taken, and the other one seldom. */
bool rcd__choose(struct rcd__choice_of *c);
/** It took `ratio` times the estimate. */
void rcd__choice_took(struct rcd__choice_of *c, bool together, double ratio);
