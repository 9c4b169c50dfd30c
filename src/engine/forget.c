/* forget.c - weights are not held twice: the pages of constants that only packed copies stand for, or that
 * nobody reads at all, go back once the plan is made.
 *
 * Operators say which inputs they have packed (node->packed). A constant may be a view of another one
 * (Reshape, folded), so what goes is decided by addresses. Sizes stay readable, for the checks of a run. */
#include "plan_int.h"

enum { FORGET_MIN_BYTES = 64 * 1024 }; /* less is not worth a system call */

struct range {
    const char *from, *to;
};

static struct range range_of(const struct rcd_tensor *t)
{
    const char *from = t->data;
    return (struct range){from, from + t->n * rcd_dtype_size(t->dtype)};
}

static void mark_value(const rcd_plan *p, rcd_value_id id, bool *read)
{
    if (id != RCD_NO_VALUE && p->values[id].constant != NULL)
        read[id] = true;
}

/* Constants that the nodes of a body read when they run, or that it hands out. */
static void mark_body(const rcd_plan *p, const struct rcd_body *b, bool *read)
{
    for (size_t o = 0; o < b->n_outputs; o++)
        mark_value(p, b->outputs[o], read);
    for (size_t i = 0; i < b->n_nodes; i++) {
        const struct rcd_node *n = &b->nodes[i];
        for (size_t k = 0; k < n->n_in; k++) {
            if (k >= 32 || (n->packed >> k & 1) == 0)
                mark_value(p, n->in[k], read);
        }
        for (size_t k = 0; k < n->n_bodies; k++)
            mark_body(p, &n->bodies[k], read);
    }
}

static bool overlaps_a_read_one(const rcd_plan *p, const bool *read, struct range r)
{
    for (size_t i = 0; i < p->n_values; i++) {
        if (!read[i])
            continue;
        struct range other = range_of(p->values[i].constant);
        if (other.from < r.to && r.from < other.to)
            return true;
    }
    return false;
}

rcd_status rcd__plan_forget(rcd_plan *p, struct rcd_error *err)
{
    bool *read = rcd_calloc(p->n_values + 1, sizeof *read);
    if (read == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a plan of %zu values", p->n_values);
    mark_body(p, &p->main, read);
    for (size_t i = 0; i < p->n_values; i++) {
        const struct rcd_tensor *t = p->values[i].constant;
        if (t == NULL || read[i] || t->dtype == RCD_BYTES || t->data == NULL)
            continue;
        struct range r = range_of(t);
        if ((size_t)(r.to - r.from) >= FORGET_MIN_BYTES && !overlaps_a_read_one(p, read, r))
            p->forgotten_bytes += rcd_arena_forget(t->data, (size_t)(r.to - r.from));
    }
    rcd_free(read);
    return RCD_OK;
}
