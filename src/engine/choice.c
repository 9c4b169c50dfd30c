/* choice.c - see choice.h. */
#include "choice.h"

#include <math.h>

enum { FIRST_TRIES = 4, SELDOM = 64, SMOOTH = 8, OUTLIER = 8 };

static int bucket(double x, double least, int n)
{
    const int i = x > least ? (int)log2(x / least) : 0;
    return i < n ? i : n - 1;
}

struct rcd__choice_of *rcd__choice_for(struct rcd__choice *c, double step_ns, double bytes)
{
    return &c->of[bucket(step_ns, 1e3, RCD__CHOICE_STEPS)]
                 [bucket(bytes, 1 << 12, RCD__CHOICE_SIZES)];
}

bool rcd__choose(struct rcd__choice_of *c)
{
    const uint32_t use = c->uses++;
    if (use < FIRST_TRIES)
        return use % 2 == 0;
    const bool better = c->took[1] < c->took[0];
    return use % SELDOM == 0 ? !better : better;
}

void rcd__choice_took(struct rcd__choice_of *c, bool together, double ratio)
{
    float *took = &c->took[together];
    /* One that the system interrupted for long counts, but not for ever. */
    if (*took > 0.0f && ratio > OUTLIER * (double)*took)
        ratio = OUTLIER * (double)*took;
    *took = *took > 0.0f ? *took + ((float)ratio - *took) / SMOOTH : (float)ratio;
}
