/* edge_program.c - operations on edges, a few hundred edges at a time, so that what lies between them
 * stays in cache and nothing of the size [edges, channels] is ever made. */
#include "sparse.h"

size_t rcd__edge_program_floats(const struct rcd__edge_program *p, size_t n)
{
    size_t widths = p->n == 0 ? p->width : 0;
    for (size_t i = 0; i < p->n; i++)
        widths += p->steps[i].width;
    return widths * n;
}

bool rcd__edge_leaves(const struct rcd__edge_program *p, rcd__edge_leaf_fn *f, void *ctx)
{
    if (p->n == 0)
        return f(ctx, NULL, &p->only);
    for (size_t i = 0; i < p->n; i++) {
        const struct rcd__edge_step *s = &p->steps[i];
        const bool two = s->op != RCD_EDGE_UNARY && s->op != RCD_EDGE_SUMS;
        if ((s->a.from != RCD__FROM_STEP && !f(ctx, s, &s->a)) ||
            (two && s->b.from != RCD__FROM_STEP && !f(ctx, s, &s->b)))
            return false;
    }
    return true;
}

struct block {
    const struct rcd__edge_program *p;
    const struct rcd__edge_inputs *in;
    size_t from;
    const int32_t *dst;
    float *results[RCD__EDGE_STEPS];
};

static struct rcd_edge_side side(const struct block *b, const struct rcd__edge_arg *a)
{
    struct rcd_edge_side s = {.single = a->single};
    if (a->from == RCD__FROM_STEP) {
        s.base = b->results[a->i];
        s.stride = b->p->steps[a->i].width;
        return s;
    }
    s.base = b->in->leaves[a->i];
    s.stride = a->from == RCD__FROM_UNIFORM ? 0 : b->in->strides[a->i];
    if (a->from == RCD__FROM_SRC)
        s.at = b->in->col + b->from;
    else if (a->from == RCD__FROM_DST)
        s.at = b->dst;
    else if (a->from == RCD__FROM_EDGE)
        s.at = b->in->edge + b->from;
    return s;
}

const float *rcd__edge_program_run(const struct rcd_kernels *k, const struct rcd__edge_program *p,
                                   const struct rcd__edge_inputs *in, size_t from, size_t n,
                                   const int32_t *dst, float *scratch)
{
    struct block b = {.p = p, .in = in, .from = from, .dst = dst};
    for (size_t i = 0; i < p->n; i++) {
        const struct rcd__edge_step *s = &p->steps[i];
        struct rcd_edge_step step = {.op = s->op,
                                     .n = n,
                                     .width = s->width,
                                     .inner = s->inner,
                                     .a = side(&b, &s->a),
                                     .b = side(&b, &s->b),
                                     .y = scratch,
                                     .f = s->f,
                                     .alpha = s->alpha,
                                     .beta = s->beta};
        k->edge_step(&step);
        b.results[i] = scratch;
        scratch += n * s->width;
    }
    if (p->n > 0)
        return b.results[p->n - 1];
    const struct rcd_edge_side s = side(&b, &p->only);
    for (size_t t = 0; t < n; t++)
        rcd__copy(scratch + t * p->width, s.base + (size_t)s.at[t] * s.stride,
                  p->width * sizeof(float));
    return scratch;
}
