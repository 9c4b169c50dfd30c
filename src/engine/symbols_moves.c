/* symbols_moves.c - the sizes of what is cut, joined and seen in another shape. */
#include "symbols_rules.h"

void rcd__rule_slice(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0);
    int64_t starts[RCD_MAX_RANK], axes[RCD_MAX_RANK], steps[RCD_MAX_RANK], ends[RCD_MAX_RANK];
    bool old = rcd_onnx_attr(k->src, "starts") != NULL;
    int n = rcd__rule_numbers(k, "starts", 1, starts),
        n_axes = rcd__rule_numbers(k, "axes", 3, axes);
    int n_steps = old ? -1 : rcd__rule_numbers(k, NULL, 4, steps);
    bool has_axes =
        rcd_onnx_attr(k->src, "axes") != NULL || rcd__rule_in(k, 3) != &rcd__unknown_fact;
    bool has_steps = !old && rcd__rule_in(k, 4) != &rcd__unknown_fact;
    if (a->rank < 0 || n < 0 || (has_axes && n_axes != n) || (has_steps && n_steps != n))
        return;
    const struct rcd__fact *e = rcd__rule_in(k, 2);
    if (old ? rcd__rule_numbers(k, "ends", 2, ends) != n : e->n_val != n)
        return;
    struct rcd__fact f = *a;
    f.n_val = -1;
    for (int i = 0; i < n; i++) {
        int axis = 0;
        if (!rcd__rule_axis(has_axes ? axes[i] : i, a->rank, &axis))
            return;
        int64_t len = 0, end = 0;
        bool known_end = old || rcd__rule_number(k, e->val[i], &end);
        end = old ? ends[i] : end;
        if (has_steps && steps[i] == -1 && starts[i] == -1 && known_end && end <= INT32_MIN) {
            continue; /* all of it, from behind */
        } else if (has_steps && steps[i] != 1) {
            f.dims[axis] = RCD__NO_TERM;
        } else if (starts[i] == 0 && (known_end ? end == INT64_MAX || end == INT32_MAX
                                                : rcd__term_equal(e->val[i], a->dims[axis]))) {
            continue; /* all of it */
        } else if (rcd__rule_number(k, a->dims[axis], &len) && known_end) {
            int64_t from = starts[i] < 0 ? starts[i] + len : starts[i];
            int64_t to = end < 0 ? end + len : end;
            from = from < 0 ? 0 : from > len ? len : from;
            to = to < from ? from : to > len ? len : to;
            f.dims[axis] = rcd__term_number(k->s, to - from);
            if (a->n_val >= 0 && a->rank == 1 && n == 1) {
                f.n_val = (int)(to - from);
                memcpy(f.val, a->val + from, (size_t)f.n_val * sizeof *f.val);
            }
        } else {
            f.dims[axis] = RCD__NO_TERM;
        }
    }
    *rcd__rule_out(k) = f;
}

void rcd__rule_concat(const struct rcd__rule *k)
{
    struct rcd__fact f = *rcd__rule_in(k, 0);
    int axis = 0;
    if (!rcd__rule_axis(rcd__rule_attr(k, "axis", 0), f.rank, &axis))
        return;
    for (size_t i = 1; i < k->node->n_in; i++) {
        const struct rcd__fact *b = rcd__rule_in(k, i);
        if (b->rank != f.rank) {
            return;
        }
        for (int d = 0; d < f.rank; d++) {
            if (d != axis)
                rcd__symbols_join(k->s, f.dims[d], b->dims[d], RCD__JOIN_SURE);
        }
        f.dims[axis] = rcd__term_sum(k->s, f.dims[axis], b->dims[axis]);
        bool fits = f.n_val >= 0 && b->n_val >= 0 && f.n_val + b->n_val <= RCD__MAX_ELEMENTS;
        for (int e = 0; fits && e < b->n_val; e++)
            f.val[f.n_val + e] = b->val[e];
        f.n_val = fits ? f.n_val + b->n_val : -1;
    }
    *rcd__rule_out(k) = f;
}

void rcd__rule_unsqueeze(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0);
    int64_t axes[RCD_MAX_RANK];
    int n = rcd__rule_numbers(k, "axes", 1, axes);
    if (a->rank < 0 || n < 0 || a->rank + n > RCD_MAX_RANK)
        return;
    struct rcd__fact f = {.rank = a->rank + n, .n_val = a->rank == 0 && n == 1 ? a->n_val : -1};
    memcpy(f.val, a->val, sizeof f.val);
    bool is_new[RCD_MAX_RANK] = {false};
    for (int i = 0; i < n; i++) {
        int axis = 0;
        if (!rcd__rule_axis(axes[i], f.rank, &axis))
            return;
        is_new[axis] = true;
    }
    for (int d = 0, from = 0; d < f.rank; d++)
        f.dims[d] = is_new[d] ? rcd__term_number(k->s, 1) : a->dims[from++];
    *rcd__rule_out(k) = f;
}

void rcd__rule_squeeze(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0);
    int64_t axes[RCD_MAX_RANK];
    int n = rcd__rule_numbers(k, "axes", 1, axes);
    bool all = rcd_onnx_attr(k->src, "axes") == NULL && rcd__rule_in(k, 1) == &rcd__unknown_fact;
    if (a->rank < 0 || (n < 0 && !all))
        return;
    struct rcd__fact f = {.rank = 0, .n_val = a->n_val};
    memcpy(f.val, a->val, sizeof f.val);
    for (int d = 0; d < a->rank; d++) {
        int64_t len = 0;
        bool gone = false;
        if (all && !rcd__rule_number(k, a->dims[d], &len))
            return; /* it may be 1 or not */
        for (int i = 0; !all && i < n; i++)
            gone = gone || axes[i] == d || axes[i] == d - a->rank;
        if (!(all ? len == 1 : gone))
            f.dims[f.rank++] = a->dims[d];
    }
    *rcd__rule_out(k) = f;
}

/* The size that -1 stands for: what is left of the old sizes when those that are written are gone. */
static rcd__term inferred(const struct rcd__rule *k, const struct rcd__fact *a, const rcd__term *to,
                          int rank, int hole)
{
    bool used[RCD_MAX_RANK] = {false};
    int64_t have = 1, want = 1, n = 0;
    rcd__term left = RCD__NO_TERM;
    int n_left = 0;
    for (int d = 0; d < rank; d++) {
        if (d == hole ||
            (rcd__rule_number(k, to[d], &n) && !__builtin_mul_overflow(want, n, &want)))
            continue;
        int i = 0;
        while (i < a->rank && (used[i] || !rcd__term_equal(a->dims[i], to[d])))
            i++;
        if (i == a->rank)
            return RCD__NO_TERM;
        used[i] = true;
    }
    for (int i = 0; i < a->rank; i++) {
        if (used[i] ||
            (rcd__rule_number(k, a->dims[i], &n) && !__builtin_mul_overflow(have, n, &have)))
            continue;
        left = a->dims[i];
        n_left++;
    }
    if (n_left == 0 && want > 0 && have % want == 0)
        return rcd__term_number(k->s, have / want);
    return n_left == 1 && have == want ? left : RCD__NO_TERM;
}

void rcd__rule_reshape(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0), *to = rcd__rule_in(k, 1);
    if (to->n_val < 0 || to->n_val > RCD_MAX_RANK)
        return;
    bool zero = rcd__rule_attr(k, "allowzero", 0) != 0;
    struct rcd__fact f = {.rank = to->n_val, .n_val = to->n_val <= 1 ? a->n_val : -1};
    memcpy(f.val, a->val, sizeof f.val);
    int hole = -1;
    for (int d = 0; d < f.rank; d++) {
        f.dims[d] = to->val[d];
        if (rcd__term_is(k->s, to->val[d], 0) && !zero)
            f.dims[d] = d < a->rank ? a->dims[d] : RCD__NO_TERM;
        else if (rcd__term_is(k->s, to->val[d], -1))
            hole = d;
    }
    if (hole >= 0)
        f.dims[hole] = a->rank >= 0 ? inferred(k, a, f.dims, f.rank, hole) : RCD__NO_TERM;
    *rcd__rule_out(k) = f;
}

void rcd__rule_transpose(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0);
    const struct rcd_attr *perm = rcd_onnx_attr(k->src, "perm");
    if (a->rank < 0 || (perm != NULL && perm->n != (size_t)a->rank))
        return;
    struct rcd__fact f = {.rank = a->rank, .n_val = -1};
    for (int d = 0; d < a->rank; d++) {
        int64_t from = perm != NULL ? perm->ints[d] : a->rank - 1 - d;
        f.dims[d] = from >= 0 && from < a->rank ? a->dims[from] : RCD__NO_TERM;
    }
    *rcd__rule_out(k) = f;
}

/* Sizes from an attribute, an input, or equal parts of which the last may be smaller. */
void rcd__rule_split(const struct rcd__rule *k)
{
    const struct rcd__fact *a = rcd__rule_in(k, 0);
    int axis = 0;
    if (!rcd__rule_axis(rcd__rule_attr(k, "axis", 0), a->rank, &axis))
        return;
    const struct rcd_attr *old = rcd_onnx_attr(k->src, "split");
    const struct rcd__fact *sizes = rcd__rule_in(k, 1);
    const size_t parts = k->node->n_out;
    int64_t total = 0;
    const bool equal =
        old == NULL && sizes == &rcd__unknown_fact && rcd__rule_number(k, a->dims[axis], &total);
    const int64_t even = (total + (int64_t)parts - 1) / (int64_t)parts;
    for (size_t i = 0; i < parts; i++) {
        if (k->node->out[i] == RCD_NO_VALUE)
            continue;
        struct rcd__fact *f = &k->s->facts[k->node->out[i]];
        const int64_t left = total - even * (int64_t)i;
        *f = *a;
        f->n_val = -1;
        f->dims[axis] = old != NULL && old->type == RCD_ATTR_INTS && i < old->n
                            ? rcd__term_number(k->s, old->ints[i])
                        : old == NULL && sizes->n_val == (int)parts ? sizes->val[i]
                        : equal && left >= 0 ? rcd__term_number(k->s, left < even ? left : even)
                                             : RCD__NO_TERM;
    }
}
