/* simplify.c - one pass over the nodes in order, with what symbols.h knows about sizes.
 *
 * Exporters write the same things again and again: each layer of a graph network takes the rows of
 * edge_index anew, counts the nodes anew from its own input, builds self-loops and degrees anew. Here
 * every value gets the first value that is surely the same as its stand-in: nodes with equal
 * operators, attributes and inputs; constants with equal contents; shapes with equal terms; and the
 * input of a node that changes nothing. What nobody reads any more is removed with the lifetimes. */
#include "ops/sizes.h"
#include "rewrite.h"

#include <stdlib.h>
#include <string.h>

static rcd_value_id stand_in(const struct rcd__rewrite *w, rcd_value_id id)
{
    return id == RCD_NO_VALUE ? id : w->alias[id];
}

static void rename_reads(const struct rcd__rewrite *w, struct rcd_node *node)
{
    /* the arrays are the plan's own copies (own_names) */
    rcd_value_id *in = (rcd_value_id *)(uintptr_t)node->in;
    for (size_t i = 0; i < node->n_in; i++)
        in[i] = stand_in(w, in[i]);
    for (size_t b = 0; b < node->n_bodies; b++) {
        struct rcd_body *body = &node->bodies[b];
        rcd_value_id *out = (rcd_value_id *)(uintptr_t)body->outputs;
        for (size_t i = 0; i < body->n_nodes; i++)
            rename_reads(w, &body->nodes[i]);
        for (size_t i = 0; i < body->n_outputs; i++)
            out[i] = stand_in(w, out[i]);
    }
}

static rcd_status own_names(struct rcd__rewrite *w, struct rcd_body *body)
{
    struct rcd_arena *a = &w->p->arena;
    rcd_value_id *out = rcd_arena_calloc(a, body->n_outputs, sizeof *out);
    if (out == NULL)
        return rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
    if (body->n_outputs > 0)
        memcpy(out, body->outputs, body->n_outputs * sizeof *out);
    body->outputs = out;
    for (size_t i = 0; i < body->n_nodes; i++) {
        struct rcd_node *node = &body->nodes[i];
        rcd_value_id *in = rcd_arena_calloc(a, node->n_in, sizeof *in);
        if (in == NULL)
            return rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
        if (node->n_in > 0)
            memcpy(in, node->in, node->n_in * sizeof *in);
        node->in = in;
        for (size_t b = 0; b < node->n_bodies; b++) {
            rcd_status st = own_names(w, &node->bodies[b]);
            if (st != RCD_OK)
                return st;
        }
    }
    return RCD_OK;
}

/* ---- equal things ------------------------------------------------------------------------- */

static bool equal_tensors(const struct rcd_tensor *a, const struct rcd_tensor *b)
{
    return a->dtype == b->dtype && a->rank == b->rank && a->dtype != RCD_BYTES &&
           memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) == 0 &&
           (a->n == 0 || memcmp(a->data, b->data, a->n * rcd_dtype_size(a->dtype)) == 0);
}

static bool equal_attr(const struct rcd_attr *a, const struct rcd_attr *b)
{
    uint32_t bits[2];
    if (strcmp(a->name, b->name) != 0 || a->type != b->type || a->n != b->n)
        return false;
    switch (a->type) {
    case RCD_ATTR_FLOAT: /* by bits: zeros of two signs differ */
        memcpy(&bits[0], &a->f, sizeof a->f);
        memcpy(&bits[1], &b->f, sizeof b->f);
        return bits[0] == bits[1];
    case RCD_ATTR_INT:
        return a->i == b->i;
    case RCD_ATTR_STRING:
        return a->s.len == b->s.len && memcmp(a->s.ptr, b->s.ptr, a->s.len) == 0;
    case RCD_ATTR_TENSOR:
        return equal_tensors(a->t, b->t);
    case RCD_ATTR_INTS:
        return a->n == 0 || memcmp(a->ints, b->ints, a->n * sizeof *a->ints) == 0;
    case RCD_ATTR_FLOATS:
        return a->n == 0 || memcmp(a->floats, b->floats, a->n * sizeof *a->floats) == 0;
    default:
        return false;
    }
}

static bool equal_nodes(const struct rcd_node *a, const struct rcd_node *b)
{
    if (a->op == &rcd__op_sizes) /* what it makes of its inputs is in its state: equal_elements */
        return false;
    if (a->op != b->op || a->n_in != b->n_in || a->n_out != b->n_out || a->n_bodies != 0 ||
        b->n_bodies != 0 || a->src->n_attrs != b->src->n_attrs || a->op->impure)
        return false;
    if (a->n_in > 0 && memcmp(a->in, b->in, a->n_in * sizeof *a->in) != 0)
        return false;
    for (size_t i = 0; i < a->n_out; i++) {
        if ((a->out[i] == RCD_NO_VALUE) != (b->out[i] == RCD_NO_VALUE))
            return false;
    }
    for (size_t i = 0; i < a->src->n_attrs; i++) {
        if (!equal_attr(&a->src->attrs[i], &b->src->attrs[i]))
            return false;
    }
    return true;
}

/* Small integer tensors made at run time: equal terms mean equal values. */
static bool equal_elements(const struct rcd__rewrite *w, rcd_value_id a, rcd_value_id b)
{
    const struct rcd__fact *x = &w->sym.facts[a], *y = &w->sym.facts[b];
    if (x->n_val < 1 || x->n_val != y->n_val || x->rank < 0 || x->rank != y->rank ||
        w->p->values[a].dtype != w->p->values[b].dtype)
        return false;
    for (int e = 0; e < x->n_val; e++) {
        if (!rcd__term_equal(x->val[e], y->val[e]))
            return false;
    }
    return true;
}

/* ---- nodes that change nothing ------------------------------------------------------------- */

const struct rcd_node *rcd__made_by(const struct rcd__rewrite *w, rcd_value_id id, const char *op)
{
    const struct rcd_node *node = rcd__maker(w, id);
    bool is = node != NULL && node->op->domain == NULL && strcmp(node->op->name, op) == 0;
    return is ? node : NULL;
}

static bool changes_nothing(const struct rcd__rewrite *w, const struct rcd_node *node)
{
    static const char *const movers[] = {"Identity", "Cast",    "Slice",     "Expand",
                                         "Reshape",  "Squeeze", "Unsqueeze", "Flatten"};
    if (!rcd__is_op(node, movers, RCD_COUNT(movers)) || node->n_out != 1 || node->n_in < 1)
        return false;
    rcd_value_id in = node->in[0], out = node->out[0];
    if (w->p->values[in].dtype != w->p->values[out].dtype)
        return false;
    if (strcmp(node->op->name, "Identity") == 0 || strcmp(node->op->name, "Cast") == 0)
        return true;
    if (strcmp(node->op->name, "Slice") == 0) {
        /* equal sizes may still be another order: only without steps */
        bool steps = node->n_in > 4 && node->in[4] != RCD_NO_VALUE;
        const struct rcd__fact *s = &w->sym.facts[steps ? node->in[4] : in];
        for (int e = 0; steps && e < RCD_MAX_RANK && (s->n_val < 0 || e < s->n_val); e++) {
            if (s->n_val < 0 || !rcd__term_is(&w->sym, s->val[e], 1))
                return false;
        }
    }
    return rcd__same_shape(&w->sym, in, out);
}

/* The branch of an If that is always taken, or NULL. */
static const struct rcd_body *known_branch(const struct rcd__rewrite *w,
                                           const struct rcd_node *node)
{
    if (node->op->domain != NULL || strcmp(node->op->name, "If") != 0 || node->n_bodies != 2)
        return NULL;
    const struct rcd__fact *f = &w->sym.facts[node->in[0]];
    if (f->n_val != 1)
        return NULL;
    if (rcd__term_is(&w->sym, f->val[0], 0))
        return &node->bodies[0]; /* if.c asks for the else branch first */
    return rcd__term_is(&w->sym, f->val[0], 1) ? &node->bodies[1] : NULL;
}

/* ---- the pass ------------------------------------------------------------------------------ */

struct out_nodes {
    struct rcd_node *nodes;
    size_t n, cap;
    struct rcd__buckets by_reads;    /* nodes */
    struct rcd__buckets by_elements; /* values with known elements */
};

static uint64_t reads_key(const struct rcd_node *node)
{
    return rcd__key((uint64_t)(uintptr_t)node->op, node->in, node->n_in * sizeof *node->in);
}

static uint64_t elements_key(const struct rcd__fact *f)
{
    return rcd__key((uint64_t)f->rank, f->val, (size_t)f->n_val * sizeof *f->val);
}

/* a + Expand(b): the sum broadcasts by itself when a has the result's shape. */
static void drop_expands(const struct rcd__rewrite *w, const struct out_nodes *o,
                         struct rcd_node *node)
{
    static const char *const binary[] = {"Add", "Sub", "Mul", "Div"};
    if (!rcd__is_op(node, binary, RCD_COUNT(binary)) || node->n_in != 2)
        return;
    rcd_value_id *in = (rcd_value_id *)(uintptr_t)node->in;
    for (size_t i = 0; i < 2; i++) {
        static const char *const expand[] = {"Expand"};
        const uint32_t m = in[i] != RCD_NO_VALUE ? w->maker[in[i]] : UINT32_MAX;
        const struct rcd_node *e = m != UINT32_MAX ? &o->nodes[m] : NULL;
        if (e != NULL && rcd__is_op(e, expand, 1) && rcd__same_shape(&w->sym, in[i], in[1 - i]) &&
            w->sym.facts[e->in[0]].rank >= 0 &&
            w->sym.facts[e->in[0]].rank <= w->sym.facts[in[i]].rank)
            in[i] = e->in[0];
    }
}

static bool find_equal(struct rcd__rewrite *w, const struct out_nodes *o,
                       const struct rcd_node *node)
{
    uint64_t key = reads_key(node);
    uint32_t at = UINT32_MAX, i = 0;
    while ((i = rcd__buckets_find(&o->by_reads, key, &at)) != UINT32_MAX) {
        if (!equal_nodes(&o->nodes[i], node))
            continue;
        for (size_t k = 0; k < node->n_out; k++) {
            if (node->out[k] != RCD_NO_VALUE)
                w->alias[node->out[k]] = o->nodes[i].out[k];
        }
        return true;
    }
    if (node->n_out != 1 || w->sym.facts[node->out[0]].n_val < 1)
        return false;
    key = elements_key(&w->sym.facts[node->out[0]]);
    at = UINT32_MAX;
    while ((i = rcd__buckets_find(&o->by_elements, key, &at)) != UINT32_MAX) {
        if (equal_elements(w, i, node->out[0])) {
            w->alias[node->out[0]] = i;
            return true;
        }
    }
    return false;
}

static rcd_status take_node(struct rcd__rewrite *w, struct out_nodes *o, struct rcd_node *node);

static rcd_status keep_node(struct rcd__rewrite *w, struct out_nodes *o,
                            const struct rcd_node *node, uint64_t key)
{
    if (o->n == o->cap) {
        size_t cap = 2 * o->cap + 64;
        struct rcd_node *more = rcd_realloc(o->nodes, cap * sizeof *more);
        if (more == NULL)
            return rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
        o->nodes = more;
        o->cap = cap;
    }
    for (size_t i = 0; i < node->n_out; i++) {
        if (node->out[i] != RCD_NO_VALUE)
            w->maker[node->out[i]] = (uint32_t)o->n;
    }
    o->nodes[o->n] = *node;
    if (!rcd__buckets_add(&o->by_reads, key, (uint32_t)o->n++))
        return rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
    return RCD_OK;
}

static rcd_status take_branch(struct rcd__rewrite *w, struct out_nodes *o,
                              const struct rcd_node *node, const struct rcd_body *body)
{
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && i < body->n_nodes; i++)
        st = take_node(w, o, &body->nodes[i]);
    for (size_t i = 0; i < node->n_out; i++) {
        if (node->out[i] != RCD_NO_VALUE)
            w->alias[node->out[i]] = stand_in(w, body->outputs[i]);
    }
    return st;
}

static rcd_status take_node(struct rcd__rewrite *w, struct out_nodes *o, struct rcd_node *node)
{
    rename_reads(w, node);
    const struct rcd_body *branch = known_branch(w, node);
    if (branch != NULL)
        return take_branch(w, o, node, branch);
    rcd__symbols_node(&w->sym, node);
    if (changes_nothing(w, node)) {
        w->alias[node->out[0]] = node->in[0];
        return RCD_OK;
    }
    drop_expands(w, o, node);
    if (find_equal(w, o, node))
        return RCD_OK;
    const rcd_value_id picked = rcd__simplify_pick(w, o->nodes, node);
    if (picked != RCD_NO_VALUE) {
        w->alias[node->out[0]] = picked;
        return RCD_OK;
    }
    const uint64_t key = reads_key(node);
    bool constant = false;
    rcd_status st = rcd__simplify_sizes(w, node, &constant);
    if (st == RCD_OK && node->n_out == 1 && w->sym.facts[node->out[0]].n_val >= 1 &&
        !rcd__buckets_add(&o->by_elements, elements_key(&w->sym.facts[node->out[0]]), node->out[0]))
        st = rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
    return st == RCD_OK && !constant ? keep_node(w, o, node, key) : st;
}

enum { MERGED_BYTES = 256 }; /* larger constants are weights: not compared */

static rcd_status merge_constants(struct rcd__rewrite *w, struct out_nodes *o)
{
    const rcd_plan *p = w->p;
    struct rcd__buckets by_contents = {.n = 0};
    bool room = true;
    for (size_t v = 0; room && v < p->n_values; v++) {
        const struct rcd_tensor *c = p->values[v].constant;
        if (c == NULL || c->dtype == RCD_BYTES || c->n * rcd_dtype_size(c->dtype) > MERGED_BYTES)
            continue;
        uint64_t key = rcd__key(c->dtype, c->data, c->n * rcd_dtype_size(c->dtype));
        uint32_t at = UINT32_MAX, u = 0;
        while ((u = rcd__buckets_find(&by_contents, key, &at)) != UINT32_MAX &&
               !equal_tensors(p->values[u].constant, c))
            ;
        if (u != UINT32_MAX) {
            w->alias[v] = u;
            continue;
        }
        room = rcd__buckets_add(&by_contents, key, (uint32_t)v);
        const struct rcd__fact *f = &w->sym.facts[v];
        if (room && f->n_val >= 1)
            room = rcd__buckets_add(&o->by_elements, elements_key(f), (uint32_t)v);
    }
    rcd__buckets_done(&by_contents);
    return room ? RCD_OK : rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
}

rcd_status rcd__plan_simplify(struct rcd__rewrite *w)
{
    rcd_plan *p = w->p;
    rcd_status st = own_names(w, &p->main);
    struct out_nodes o = {.nodes = NULL};
    if (st == RCD_OK)
        st = merge_constants(w, &o);
    for (size_t i = 0; st == RCD_OK && i < p->main.n_nodes; i++)
        st = take_node(w, &o, &p->main.nodes[i]);
    if (st == RCD_OK && w->sym.no_memory)
        st = rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
    if (st == RCD_OK) {
        struct rcd_node *nodes = rcd_arena_calloc(&p->arena, o.n, sizeof *nodes);
        if (nodes == NULL) {
            st = rcd_fail(w->err, RCD_ENOMEM, "no memory for a plan");
        } else {
            if (o.n > 0)
                memcpy(nodes, o.nodes, o.n * sizeof *nodes);
            p->main.nodes = nodes;
            p->main.n_nodes = o.n;
            rcd_value_id *out = (rcd_value_id *)(uintptr_t)p->main.outputs;
            for (size_t i = 0; i < p->main.n_outputs; i++)
                out[i] = stand_in(w, out[i]);
        }
    }
    rcd_free(o.nodes);
    rcd__buckets_done(&o.by_reads);
    rcd__buckets_done(&o.by_elements);
    return st;
}
