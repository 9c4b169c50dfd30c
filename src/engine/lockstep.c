/* lockstep.c - several requests at once: in lockstep, or one by one where each brings a graph and that has been faster.
 *
 * In lockstep nodes are looked up once for all, and products with constant weights are one; one by one a request stays in
 * the nearest cache and its nodes are joined. What is faster depends on model and sizes; the bits are the same. */
#include "engine_int.h"

static struct rcd__choice_of *lockstep_or_not(rcd_exec *x, const rcd_plan *p, size_t n)
{
    struct rcd__lockstep *of = &x->lockstep[((uintptr_t)p >> 6) % RCD__LOCKSTEP_PLANS];
    if (of->plan != p)
        *of = (struct rcd__lockstep){.plan = p};
    const size_t size = 63 - (size_t)__builtin_clzll(n); /* n > 1 */
    return &of->of[size < RCD__LOCKSTEP_SIZES ? size : RCD__LOCKSTEP_SIZES - 1];
}

static double elements(const rcd_plan *p, size_t n, struct rcd_infer *const *reqs)
{
    double sum = 1.0;
    for (size_t r = 0; r < n; r++) {
        for (size_t i = 0; i < p->n_inputs; i++)
            sum += reqs[r]->in[i].dtype != RCD_NONE ? (double)reqs[r]->in[i].n : 0.0;
    }
    return sum;
}

void rcd_exec_run(rcd_exec *x, const rcd_plan *p, size_t n, struct rcd_infer *const *reqs,
                  const volatile bool *cancel)
{
    if (n < 2 || !p->sums_edges) {
        rcd__run_lockstep(x, p, n, reqs, cancel);
        return;
    }
    struct rcd__choice_of *choice = lockstep_or_not(x, p, n);
    const bool together = rcd__choose(choice);
    const uint64_t begin = rcd_now_ns();
    if (together)
        rcd__run_lockstep(x, p, n, reqs, cancel);
    for (size_t r = 0; !together && r < n; r++)
        rcd__run_lockstep(x, p, 1, &reqs[r], cancel);
    rcd__choice_took(choice, together, (double)(rcd_now_ns() - begin) / elements(p, n, reqs));
}
