/* symbols_rules.h - what the rules of symbols_ops.c, symbols_arith.c and symbols_moves.c share. */
#pragma once
#include "symbols.h"

#include <string.h>

struct rcd__rule {
    struct rcd__symbols *s;
    const struct rcd_node *node;
    const struct rcd_onnx_node *src;
};

static const struct rcd__fact rcd__unknown_fact = {.rank = -1, .n_val = -1};

static inline const struct rcd__fact *rcd__rule_in(const struct rcd__rule *k, size_t i)
{
    if (i >= k->node->n_in || k->node->in[i] == RCD_NO_VALUE)
        return &rcd__unknown_fact;
    return &k->s->facts[k->node->in[i]];
}

static inline struct rcd__fact *rcd__rule_out(const struct rcd__rule *k)
{
    return &k->s->facts[k->node->out[0]];
}

static inline int64_t rcd__rule_attr(const struct rcd__rule *k, const char *name, int64_t def)
{
    const struct rcd_attr *a = rcd_onnx_attr(k->src, name);
    return a != NULL && a->type == RCD_ATTR_INT ? a->i : def;
}

static inline bool rcd__rule_number(const struct rcd__rule *k, rcd__term t, int64_t *ret)
{
    if (t == RCD__NO_TERM || !k->s->terms[t].is_number)
        return false;
    *ret = k->s->terms[t].number;
    return true;
}

/* Constant integers from an attribute (older opsets) or from input i. -1: not known. */
static inline int rcd__rule_numbers(const struct rcd__rule *k, const char *name, size_t i,
                                    int64_t ret[RCD_MAX_RANK])
{
    const struct rcd_attr *a = name != NULL ? rcd_onnx_attr(k->src, name) : NULL;
    if (a != NULL && a->type == RCD_ATTR_INTS && a->n <= RCD_MAX_RANK) {
        memcpy(ret, a->ints, a->n * sizeof *ret);
        return (int)a->n;
    }
    const struct rcd__fact *f = rcd__rule_in(k, i);
    for (int e = 0; e < f->n_val; e++) {
        if (!rcd__rule_number(k, f->val[e], &ret[e]))
            return -1;
    }
    return f->n_val;
}

static inline bool rcd__rule_axis(int64_t axis, int rank, int *ret)
{
    if (rank < 0 || axis < -rank || axis >= rank)
        return false;
    *ret = (int)(axis < 0 ? axis + rank : axis);
    return true;
}

void rcd__rule_slice(const struct rcd__rule *k);
void rcd__rule_concat(const struct rcd__rule *k);
void rcd__rule_unsqueeze(const struct rcd__rule *k);
void rcd__rule_squeeze(const struct rcd__rule *k);
void rcd__rule_reshape(const struct rcd__rule *k);
void rcd__rule_transpose(const struct rcd__rule *k);
void rcd__rule_split(const struct rcd__rule *k);
void rcd__rule_elementwise(const struct rcd__rule *k);
void rcd__rule_arithmetic(const struct rcd__rule *k);
void rcd__rule_matmul(const struct rcd__rule *k);
void rcd__rule_gemm(const struct rcd__rule *k);
void rcd__rule_expand(const struct rcd__rule *k);
