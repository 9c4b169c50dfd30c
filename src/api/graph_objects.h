/* graph_objects.h - requests that bring a graph as JSON objects, and their answers. */
#pragma once
#include "infer_int.h"

struct rcd__target {
    const char *type, *id;
    bool number; /* the id is a number */
};

/** What the answer needs of the request. */
struct rcd__objects {
    const char *uid;
    size_t n_targets;
    struct rcd__target *targets;
    int code; /* of the error in the body; 0: as the HTTP status */
};

/** Is the body of that form? Then x->wire gets the inputs, x->on_graph the rows that are asked for, x->objects the
 * rest. RCD_EINVAL names node, edge or target. */
RCD_MUST_CHECK rcd_status rcd__objects_decode(struct rcd__infer *x, const char *body, size_t len,
                                              bool *ret_taken, struct rcd_error *err);
/** The rows of the first output as results. */
RCD_MUST_CHECK rcd_status rcd__objects_encode(struct rcd__infer *x, const struct rcd_tensor *rows,
                                              struct rcd_error *err);
/** The error as an answer of that form. */
void rcd__objects_error(const struct rcd__infer *x, const struct rcd_error *err);
