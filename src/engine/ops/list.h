/* list.h - lists of tensors, for the operators that make and read them. */
#pragma once
#include "ops.h"

#include <string.h>

static inline rcd_dtype rcd__list_type(const struct rcd_check *k, size_t i)
{
    return rcd__has_in(k, i) ? k->plan->values[k->node->in[i]].elem : RCD_NONE;
}

static inline rcd_status rcd__list_want(struct rcd_check *k, size_t i)
{
    return rcd__in_type(k, i) == RCD_SEQ ? RCD_OK : rcd__refuse(k, "input %zu is no sequence", i);
}

static inline rcd_status rcd__list_unwanted(struct rcd_check *k, size_t i)
{
    return rcd__in_type(k, i) != RCD_SEQ ? RCD_OK : rcd__refuse(k, "input %zu is a sequence", i);
}

/* A new list of n elements, all empty; false: the request has failed. */
static inline bool rcd__list_new(const struct rcd_call *c, size_t r, size_t i, size_t n,
                                 struct rcd_tensor **ret)
{
    struct rcd_block *block = rcd_block_new(c->x->pool, (n + 1) * sizeof(struct rcd_tensor));
    if (block == NULL) {
        rcd__fail(c, r, RCD_ENOMEM, "no memory for a sequence of %zu tensors", n);
        return false;
    }
    memset(block->data, 0, n * sizeof(struct rcd_tensor));
    *ret = rcd__out(c, i, r);
    RCD_ASSERT(*ret != NULL); /* checked at load: output 0 is there */
    **ret = (struct rcd_tensor){.dtype = RCD_SEQ,
                                .rank = 1,
                                .dims = {(int64_t)n},
                                .n = n,
                                .data = block->data,
                                .block = block};
    return true;
}

static inline const struct rcd_tensor *rcd__list_at(const struct rcd_tensor *list, size_t i)
{
    return (const struct rcd_tensor *)list->data + i;
}

static inline void rcd__list_put(struct rcd_tensor *list, size_t i, const struct rcd_tensor *t)
{
    ((struct rcd_tensor *)list->data)[i] = rcd__share(t);
}
