/* weights.c - memory for packed constant weights, and their reduction to bf16 or int8.
 *
 * An operator asks how the weights of a node are to be stored, packs them as f32 and hands them over: for an
 * f32 plan they already are in its memory; else they were in the heap, and only the reduced form stays.
 * Nodes whose inputs are all constant run once, while the plan is made: they keep every bit. */
#include "engine_int.h"

rcd_status rcd__weights_of(struct rcd_check *k, size_t inner, rcd_weights *ret)
{
    *ret = RCD_WEIGHTS_F32;
    if (k->plan->weights == RCD_WEIGHTS_F32 || rcd__in_const(k, 0) != NULL)
        return RCD_OK;
    if (k->plan->weights == RCD_WEIGHTS_INT8 && inner > RCD_INT8_MAX_K)
        return rcd__warn(k, "its weights stay f32: sums of %zu products, limit %d for int8", inner,
                         RCD_INT8_MAX_K);
    *ret = k->plan->weights;
    return RCD_OK;
}

float *rcd__weights_new(struct rcd_check *k, rcd_weights how, size_t bytes)
{
    if (how == RCD_WEIGHTS_F32)
        return rcd__plan_alloc(k, bytes);
    float *mem = rcd_alloc_aligned(bytes + 1);
    if (mem == NULL)
        rcd_fail(k->err, RCD_ENOMEM, "node '%s' (%s): no memory for %zu bytes of weights",
                 k->src->name, k->src->op_type, bytes);
    return mem;
}

rcd_status rcd__weights_reduce(struct rcd_check *k, rcd_weights how, struct rcd_packed *p)
{
    size_t bytes = p->k * p->padded * sizeof(float);
    k->plan->f32_bytes += bytes;
    if (how != RCD_WEIGHTS_F32) {
        if (!rcd_reduced_bytes(p->k, p->padded, how, &bytes))
            return rcd__refuse(k, "a matrix of %zu x %zu is too large", p->k, p->padded);
        void *mem = rcd__plan_alloc(k, bytes);
        if (mem == NULL)
            return RCD_ENOMEM;
        rcd_reduce(p, p, how, mem);
        k->node->weights = how;
    }
    k->plan->stored_bytes += bytes;
    return RCD_OK;
}

rcd_status rcd__weights_keep(struct rcd_check *k, rcd_weights how, struct rcd_packed *p)
{
    float *packed = p->data;
    rcd_status st = rcd__weights_reduce(k, how, p);
    if (how != RCD_WEIGHTS_F32)
        rcd_free(packed);
    return st;
}

rcd_weights rcd_plan_weights(const rcd_plan *p)
{
    return p->weights;
}

size_t rcd_plan_weight_bytes(const rcd_plan *p, size_t *ret_f32)
{
    *ret_f32 = p->f32_bytes;
    return p->stored_bytes;
}
