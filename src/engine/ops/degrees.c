/* degrees.c - sums of one number of each edge, such as the degrees by which layers are normalised: no row is as long as a
 * vector. Where all numbers are equal, a row's sum is known from how many edges it has. The chains are the kernel's, and
 * so are the bits. */
#include "../team.h"
#include "sparse.h"

#include <string.h>

enum { SOME_ROWS = 4096 };

struct degrees {
    const struct rcd_spmm *s;
    const float *sums; /* of 0, 1, 2, ... equal numbers; NULL: they differ */
};

static void some_rows(void *ctx, size_t from, size_t to)
{
    const struct degrees *d = ctx;
    const struct rcd_spmm *s = d->s;
    for (size_t i = from; i < to && d->sums != NULL; i++)
        s->y[i] = d->sums[s->ptr[i + 1] - s->ptr[i]];
    for (size_t i = from; i < to && d->sums == NULL; i++) {
        float sum = 0.0f;
        for (int32_t e = s->ptr[i]; e < s->ptr[i + 1]; e++)
            sum += s->x[s->col[e]]; /* fma(1, x, sum) */
        s->y[i] = sum;
    }
}

static const float *equal_sums(const struct rcd_call *c, const struct rcd_spmm *s)
{
    int32_t most = 0;
    if (s->x_rows == 0 || memcmp(s->x, s->x + 1, (s->x_rows - 1) * sizeof *s->x) != 0)
        return NULL;
    for (size_t i = 0; i < s->row_end; i++)
        most = s->ptr[i + 1] - s->ptr[i] > most ? s->ptr[i + 1] - s->ptr[i] : most;
    float *sums = rcd__scratch_try(c, ((size_t)most + 1) * sizeof *sums);
    if (sums == NULL)
        return NULL;
    sums[0] = 0.0f;
    for (int32_t i = 0; i < most; i++)
        sums[i + 1] = sums[i] + s->x[0];
    return sums;
}

bool rcd__degrees(const struct rcd_call *c, const struct rcd_spmm *s)
{
    if (s->groups * s->chan != 1 || s->how != RCD_SPMM_SUM || s->w != NULL || s->bias != NULL ||
        s->relu || s->accumulate || s->squeezed != 0)
        return false;
    struct degrees d = {.s = s, .sums = equal_sums(c, s)};
    rcd__team_run(c->x->team, s->row_end, SOME_ROWS, some_rows, &d);
    return true;
}
