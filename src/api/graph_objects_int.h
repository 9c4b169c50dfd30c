/* graph_objects_int.h - what the readers of graphs as JSON objects share: graph_objects.c (nodes, targets) and
 * graph_objects_inputs.c (rows of numbers). */
#pragma once
#include "graph_objects.h"

#include <jansson.h>

enum {
    RCD__OBJECTS_NAME = 400,
    RCD__OBJECTS_TYPES = 64,
    RCD__OBJECTS_TASK = 421,
    RCD__OBJECTS_NO_FIELD = 401,
    RCD__OBJECTS_NO_VALUE = 402,
    RCD__OBJECTS_NO_TARGET = 404,
    RCD__OBJECTS_WRONG = 411
};

struct rcd__objects_type {
    const char *name;
    int64_t n;
};

struct rcd__objects_reader {
    struct rcd__infer *x;
    struct rcd__objects *o;
    struct rcd_error *err;
    json_t *nodes, *edges, *index; /* index: "type\x1fid" -> [row among all, row of its type] */
    struct rcd__objects_type types[RCD__OBJECTS_TYPES];
    size_t n_types;
    struct rcd_wire_input *made;
    size_t n_made;
};

/** RCD_EINVAL with a text and the form's own code. */
rcd_status rcd__objects_fail(const struct rcd__objects_reader *r, int code, const char *fmt, ...)
    RCD_PRINTF(3, 4);
rcd_status rcd__objects_no_memory(const struct rcd__objects_reader *r);
/** An id is a text, which gets a = before it, or a whole number, which gets a #; false: neither. */
bool rcd__objects_id(const json_t *id, char *out, size_t cap);
/** The place of a node in r->index, or NULL. */
json_t *rcd__objects_find(const struct rcd__objects_reader *r, const char *type, const json_t *id);
/** One input of the model from the nodes' or edges' features. */
RCD_MUST_CHECK rcd_status rcd__objects_input(struct rcd__objects_reader *r,
                                             const struct rcd_io *io);
