/* symbols.h - sizes that are equal in every request, known before any request.
 *
 * Each dimension of a value, and each element of a small integer tensor (a shape on its way through
 * Shape, Gather, Concat ...), gets a term: a number, or a name for "whatever size axis 0 of x has".
 * Equal terms mean equal sizes in every run that does not fail. */
#pragma once
#include "buckets.h"
#include "engine_int.h"

typedef uint32_t rcd__term;
#define RCD__NO_TERM UINT32_MAX /* nothing is known; equal to nothing, not even to itself */

enum { RCD__MAX_ELEMENTS = 8 };

struct rcd__fact {
    int rank; /* -1: not known */
    rcd__term dims[RCD_MAX_RANK];
    int n_val; /* elements of a small integer or boolean tensor of rank 0 or 1; -1: not known */
    rcd__term val[RCD__MAX_ELEMENTS];
    bool spread; /* the first axis comes from two sizes that are not known to be equal: */
    rcd__term spread_a, spread_b;
};

struct rcd__term_info {
    int64_t number;
    bool is_number;
    rcd__term a, b;      /* sum of two terms; RCD__NO_TERM: not a sum */
    rcd_value_id origin; /* the value whose size along `axis` the term is; else RCD_NO_VALUE */
    int axis;
};

/** Axes of inputs that were seen to be of one size (symbols_join.c). */
struct rcd__axis {
    size_t input;
    int axis;
};
enum { RCD__JOINS = 32 };
struct rcd__joins {
    struct rcd__axis pairs[RCD__JOINS][2];
    size_t n;
};
typedef enum rcd__join_why {
    RCD__JOIN_SURE,  /* the operator fails where they differ */
    RCD__JOIN_ROWS,  /* they meet in an operator that broadcasts */
    RCD__JOIN_INDEX, /* one is spread to the other for a scatter */
} rcd__join_why;

struct rcd__symbols {
    const rcd_plan *p;
    struct rcd__joins *joins; /* NULL: nobody asks */
    struct rcd__fact *facts;  /* per value */
    size_t n_facts;
    struct rcd__term_info *terms;
    size_t n_terms, cap_terms;
    struct rcd__buckets index; /* numbers and sums */
    bool no_memory;
};

/** Facts for inputs and constants of the main body. False: no memory. */
RCD_MUST_CHECK bool rcd__symbols_init(struct rcd__symbols *s, const rcd_plan *p);
void rcd__symbols_done(struct rcd__symbols *s);

rcd__term rcd__term_number(struct rcd__symbols *s, int64_t n);
/** The size of a value along an axis that nothing else tells. */
rcd__term rcd__term_fresh(struct rcd__symbols *s, rcd_value_id origin, int axis);
rcd__term rcd__term_sum(struct rcd__symbols *s, rcd__term a, rcd__term b);
static inline bool rcd__term_equal(rcd__term a, rcd__term b)
{
    return a == b && a != RCD__NO_TERM;
}
static inline bool rcd__term_is(const struct rcd__symbols *s, rcd__term t, int64_t number)
{
    return t != RCD__NO_TERM && s->terms[t].is_number && s->terms[t].number == number;
}

/** Facts of a constant. */
void rcd__fact_of_constant(struct rcd__symbols *s, rcd_value_id id);
/** Facts of the outputs of a node from those of its inputs (symbols_ops.c). Nodes come in order. */
void rcd__symbols_node(struct rcd__symbols *s, const struct rcd_node *node);
/** Two sizes that met; noted if they are of inputs and `joins` is there. */
void rcd__symbols_join(struct rcd__symbols *s, rcd__term a, rcd__term b, rcd__join_why why);
/** Give the inputs one name for each size of theirs. False: no memory. */
RCD_MUST_CHECK bool rcd__joins_rename(rcd_plan *p, const struct rcd__joins *joins);
/** Have two values the same shape in every run? */
bool rcd__same_shape(const struct rcd__symbols *s, rcd_value_id a, rcd_value_id b);
