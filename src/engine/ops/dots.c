/* dots.c - Mul by a constant row and the ReduceSum behind it, some rows at a time: the products of a stretch stay in the
 * first-level cache. */
#include "dots.h"
#include "../team.h"

enum {
    STRETCH = 1 << 12,
    PARALLEL = 1 << 17
}; /* floats: of a stretch, at least; of a thread's share */

struct dots {
    const struct rcd_kernels *kern;
    const float *x, *w;
    bool w_first; /* w is the left factor */
    size_t row;   /* floats of w */
    size_t last;  /* ... that are summed */
    size_t rows;  /* of a stretch */
    float *y, *scratch;
    unsigned taken; /* atomic: parts of scratch */
};

static void multiply(const struct dots *d, const float *x, float *restrict p)
{
    const float *w = d->w;
    for (size_t i = 0; d->w_first && i < d->row; i++)
        p[i] = w[i] * x[i];
    for (size_t i = 0; !d->w_first && i < d->row; i++)
        p[i] = x[i] * w[i];
}

static void dots_some(void *ctx, size_t from, size_t to)
{
    struct dots *d = ctx;
    const unsigned place = rcd__place_take(&d->taken);
    float *p = d->scratch + place * d->rows * d->row;
    for (size_t row = from, n = 0; row < to; row += n) {
        n = to - row < d->rows ? to - row : d->rows;
        for (size_t i = 0; i < n; i++)
            multiply(d, d->x + (row + i) * d->row, p + i * d->row);
        const size_t each = d->row / d->last;
        d->kern->sums(n * each, d->last, p, d->y + row * each);
    }
    rcd__place_give(&d->taken, place);
}

rcd_status rcd__dots_run(struct rcd_call *c, size_t r)
{
    const struct rcd_tensor *a = rcd__in(c, 0, r), *b = rcd__in(c, 1, r);
    const bool w_first = c->run->plan->values[c->node->in[0]].constant != NULL;
    const struct rcd_tensor *x = w_first ? b : a, *w = w_first ? a : b;
    struct rcd_call sum = *c;
    struct rcd_tensor *out = NULL;
    sum.node = c->node + 1;
    rcd_status st = rcd__reduce_out(&sum, r, x, &out);
    if (st != RCD_OK || out == NULL || x->n == 0)
        return st;
    const size_t last = (size_t)x->dims[x->rank - 1];
    RCD_ASSERT(x->n % w->n == 0 && w->n % last == 0 && out->n * last == x->n); /* fuse_dots.c */
    struct dots d = {.kern = c->kern,
                     .x = x->data,
                     .w = w->data,
                     .w_first = w_first,
                     .row = w->n,
                     .last = last,
                     .rows = STRETCH / w->n + 1,
                     .y = out->data};
    d.scratch = rcd__scratch(c, r, rcd__places(c->x->team) * d.rows * d.row * sizeof *d.scratch);
    if (d.scratch == NULL)
        return RCD_ENOMEM;
    rcd__team_run(c->x->team, x->n / w->n, PARALLEL / w->n + 1, dots_some, &d);
    return RCD_OK;
}
