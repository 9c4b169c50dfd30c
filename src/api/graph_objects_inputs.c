/* graph_objects_inputs.c - rows of numbers for the model's inputs from graphs as JSON objects: which nodes or edges an
 * input takes says its name, which numbers their features. */
#include "graph_objects_int.h"

#include <string.h>

/* What one input takes. */
struct want {
    const struct rcd_io *io;
    char type[RCD__OBJECTS_NAME]; /* "" : all */
    const char *base;
    bool edge;
};

static bool edge_is(const json_t *edge, const char *type)
{
    char name[3 * RCD__OBJECTS_NAME];
    const json_t *t = json_object_get(edge, "edge_type");
    const char *part[3] = {"", "", ""};
    for (size_t i = 0; i < 3; i++) {
        const char *text = json_string_value(json_array_get(t, i));
        part[i] = text != NULL ? text : "";
    }
    snprintf(name, sizeof name, "%.300s.%.300s.%.300s", part[0], part[1], part[2]);
    return type[0] == '\0' || strcmp(name, type) == 0;
}

static bool takes(const struct want *w, const json_t *row)
{
    if (w->edge)
        return edge_is(row, w->type);
    const char *type = json_string_value(json_object_get(row, "node_type"));
    return w->type[0] == '\0' || (type != NULL && strcmp(type, w->type) == 0);
}

/* Numbers of a value at `out`, if there is room; how many, or -1 when it is none. */
static int64_t numbers(const json_t *v, double *out, size_t cap)
{
    if (json_is_number(v) || json_is_boolean(v)) {
        if (cap > 0)
            out[0] = json_is_boolean(v) ? json_is_true(v) : json_number_value(v);
        return 1;
    }
    for (size_t i = 0; i < json_array_size(v); i++) {
        const json_t *e = json_array_get(v, i);
        if (!json_is_number(e))
            return -1;
        if (i < cap)
            out[i] = json_number_value(e);
    }
    return json_is_array(v) ? (int64_t)json_array_size(v) : -1;
}

/* A number that a double has exactly. */
static bool is_whole(double v)
{
    static const double most = 9007199254740992; /* 2^53 */
    return v > -most && v < most && v == (double)(int64_t)v;
}

/* The features of one row that the input takes; `all`: every one, in the order of `keys`. */
static int64_t row_numbers(const struct want *w, json_t *row, json_t *keys, double *out, size_t cap)
{
    json_t *features = json_object_get(row, "features");
    const bool relation = w->edge && strcmp(w->base, "edge_type") == 0;
    const json_t *v = json_object_get(features, w->base);
    if (v == NULL && w->edge && strncmp(w->base, "edge_", 5) == 0)
        v = json_object_get(features, w->base + 5);
    if (v != NULL)
        return numbers(v, out, cap);
    if (relation) {
        const char *text = json_string_value(json_array_get(json_object_get(row, "edge_type"), 1));
        char *end = NULL;
        const double n = text != NULL ? strtod(text, &end) : 0;
        if (text == NULL || end == text || *end != '\0')
            return -1;
        if (cap > 0)
            out[0] = n;
        return 1;
    }
    int64_t n = 0;
    const char *key;
    json_t *any;
    if (keys == NULL)
        return -1;
    json_object_foreach(keys, key, any)
    {
        const size_t at = (size_t)n < cap ? (size_t)n : cap;
        const int64_t more = numbers(json_object_get(features, key), out + at, cap - at);
        if (more < 0)
            return -1;
        n += more;
    }
    return n;
}

static void row_name(const struct want *w, size_t i, const json_t *row, char *out, size_t cap)
{
    char text[RCD__OBJECTS_NAME] = "=?";
    (void)rcd__objects_id(json_object_get(row, "node_id"), text, sizeof text);
    if (w->edge)
        snprintf(out, cap, "graph.edges[%zu]", i);
    else
        snprintf(out, cap, "graph.nodes[%zu] ('%.80s')", i, text + 1);
}

static rcd_status add_input(struct rcd__objects_reader *r, const struct want *w, int rank,
                            const int64_t *dims, struct rcd_tensor **ret)
{
    struct rcd_wire_input *in = &r->made[r->n_made++];
    in->name = w->io->name;
    if (!rcd_tensor_shape(&in->tensor, w->io->dtype, rank, dims))
        return rcd__objects_fail(r, RCD__OBJECTS_WRONG, "input '%s' is too large", w->io->name);
    in->tensor.data =
        rcd_arena_alloc_aligned(&r->x->arena, in->tensor.n * rcd_dtype_size(w->io->dtype) + 8);
    *ret = &in->tensor;
    return in->tensor.data != NULL ? RCD_OK : rcd__objects_no_memory(r);
}

static rcd_status take_features(struct rcd__objects_reader *r, const struct want *w)
{
    json_t *rows = w->edge ? r->edges : r->nodes, *row = NULL, *keys = NULL;
    size_t i = 0;
    int64_t n = 0, width = -1, at = 0;
    json_array_foreach(rows, i, row)
    {
        if (!takes(w, row))
            continue;
        const bool first = n++ == 0;
        json_t *features = json_object_get(row, "features");
        if (first && strcmp(w->base, w->edge ? "edge_attr" : "x") == 0)
            keys = features;
        if (first)
            width = row_numbers(w, row, keys, NULL, 0);
    }
    if (width < 0 && n == 0)
        width = w->io->rank > 1 && w->io->dims[1] > 0 ? w->io->dims[1] : w->io->rank > 1 ? 0 : 1;
    const int64_t dims[2] = {n, width < 0 ? 0 : width};
    struct rcd_tensor *t = NULL;
    double *v = rcd_arena_alloc_aligned(&r->x->arena, (size_t)(dims[1] + 1) * sizeof *v);
    if (w->io->rank != 1 && w->io->rank != 2)
        return rcd__objects_fail(r, RCD__OBJECTS_WRONG,
                                 "input '%s' has %d axes: objects give rows of numbers",
                                 w->io->name, w->io->rank);
    if (w->io->dtype != RCD_F32 && w->io->dtype != RCD_I64)
        return rcd__objects_fail(r, RCD__OBJECTS_WRONG,
                                 "input '%s' is %s: objects give FP32 and INT64", w->io->name,
                                 rcd_dtype_name(w->io->dtype));
    rcd_status st = v != NULL ? add_input(r, w, w->io->rank, dims, &t) : rcd__objects_no_memory(r);
    json_array_foreach(rows, i, row)
    {
        if (st != RCD_OK || !takes(w, row))
            continue;
        char name[RCD__OBJECTS_NAME];
        row_name(w, i, row, name, sizeof name);
        const int64_t got = row_numbers(w, row, keys, v, (size_t)dims[1]);
        if (got < 0 || (got == 0 && w->io->rank > 1 && w->io->dims[1] > 0))
            return rcd__objects_fail(r, RCD__OBJECTS_NO_VALUE, "%s has no feature '%s' of numbers",
                                     name, w->base);
        if (got != dims[1] || (w->io->rank == 1 && got != 1))
            return rcd__objects_fail(
                r, RCD__OBJECTS_NO_VALUE, "%s has %lld numbers for '%s', want %lld", name,
                (long long)got, w->io->name, w->io->rank == 1 ? 1ll : (long long)dims[1]);
        for (int64_t k = 0; k < got; k++, at++) {
            if (w->io->dtype == RCD_F32)
                ((float *)t->data)[at] = (float)v[k];
            else if (is_whole(v[k]))
                ((int64_t *)t->data)[at] = (int64_t)v[k];
            else
                return rcd__objects_fail(r, RCD__OBJECTS_NO_VALUE,
                                         "%s has %g for '%s', want a whole number below 2^53", name,
                                         v[k], w->io->name);
        }
    }
    return st;
}

static rcd_status take_edges(struct rcd__objects_reader *r, const struct want *w)
{
    json_t *edge = NULL;
    size_t i = 0;
    int64_t dims[2] = {2, 0}, at = 0;
    struct rcd_tensor *t = NULL;
    json_array_foreach(r->edges, i, edge) dims[1] += takes(w, edge);
    rcd_status st = add_input(r, w, 2, dims, &t);
    json_array_foreach(r->edges, i, edge)
    {
        if (st != RCD_OK || !takes(w, edge))
            continue;
        static const char *const ids[2] = {"src_node_id", "dest_node_id"};
        const json_t *type = json_object_get(edge, "edge_type");
        if (json_array_size(type) != 3)
            return rcd__objects_fail(r, RCD__OBJECTS_NO_FIELD,
                                     "graph.edges[%zu] has no 'edge_type' [from, relation, to]", i);
        for (size_t end = 0; end < 2; end++) {
            const char *from = json_string_value(json_array_get(type, 2 * end));
            const json_t *id = json_object_get(edge, ids[end]),
                         *place = rcd__objects_find(r, from, id);
            char text[RCD__OBJECTS_NAME] = "=?";
            if (id == NULL)
                return rcd__objects_fail(r, RCD__OBJECTS_NO_FIELD, "graph.edges[%zu] has no '%s'",
                                         i, ids[end]);
            (void)rcd__objects_id(id, text, sizeof text);
            if (place == NULL)
                return rcd__objects_fail(
                    r, RCD__OBJECTS_WRONG,
                    "graph.edges[%zu]: there is no node of type '%.80s' with the id '%.80s' (%s)",
                    i, from != NULL ? from : "?", text + 1, ids[end]);
            ((int64_t *)t->data)[(int64_t)end * dims[1] + at] =
                json_integer_value(json_array_get(place, w->type[0] != '\0'));
        }
        at++;
    }
    return st;
}

rcd_status rcd__objects_input(struct rcd__objects_reader *r, const struct rcd_io *io)
{
    struct want w = {.io = io, .base = io->name};
    const char *dot = strrchr(io->name, '.');
    if (dot != NULL && (size_t)(dot - io->name) < sizeof w.type) {
        snprintf(w.type, sizeof w.type, "%.*s", (int)(dot - io->name), io->name);
        w.base = dot + 1;
    }
    w.edge = strncmp(w.base, "edge_", 5) == 0;
    if (strcmp(w.base, "edge_index") == 0 && io->dtype == RCD_I64)
        return take_edges(r, &w);
    if (strcmp(io->name, "batch") == 0 && io->dtype == RCD_I64) {
        const int64_t n = (int64_t)json_array_size(r->nodes);
        struct rcd_tensor *t = NULL;
        rcd_status st = add_input(r, &w, 1, &n, &t);
        if (st == RCD_OK)
            memset(t->data, 0, (size_t)n * sizeof n);
        return st;
    }
    return take_features(r, &w);
}
