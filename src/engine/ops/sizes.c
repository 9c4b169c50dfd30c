/* sizes.c - Sizes: a small integer tensor whose elements are sums of sizes, read from the values that
 * the sizes belong to. Fusion puts it in the place of Shape, Gather, Concat ... so that nothing has to
 * be computed only to ask how large it is. */
#include "sizes.h"

static rcd_status run(struct rcd_call *c, size_t r)
{
    const struct rcd__sizes *s = c->node->state;
    const int64_t n = (int64_t)s->n;
    struct rcd_tensor *out = NULL;
    rcd_status st = rcd__new_out(c, 0, r, s->dtype, s->rank, &n, &out);
    if (st != RCD_OK || out == NULL)
        return st;
    for (size_t i = 0; i < s->n; i++) {
        int64_t total = s->elements[i].number;
        for (size_t p = 0; p < s->elements[i].n_parts; p++) {
            const struct rcd__size_part *part = &s->elements[i].parts[p];
            const struct rcd_tensor *t = rcd__in(c, part->in, r);
            total += part->axis < t->rank ? t->dims[part->axis] : 0;
        }
        if (s->dtype == RCD_I64)
            ((int64_t *)out->data)[i] = total;
        else
            ((int32_t *)out->data)[i] = (int32_t)total;
    }
    return RCD_OK;
}

const struct rcd_op rcd__op_sizes = {
    .name = "Sizes", .domain = "recurd.fused", .check = rcd__check_fused, .run = run};
