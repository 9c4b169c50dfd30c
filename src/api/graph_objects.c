/* graph_objects.c - a graph as JSON objects (the "gs-realtime" payload of GraphStorm), as inputs of the model:
 *
 *   {"graph": {"nodes": [{"node_type", "node_id", "features": {name: number or list}}],
 *              "edges": [{"edge_type": [from, relation, to], "src_node_id", "dest_node_id", "features"}]},
 *    "targets": [{"node_type", "node_id"}]}
 *
 * Nodes are rows in their order. An input `x` takes the feature x of each node, or all its features one after the
 * other where none is called so; `paper.x` the nodes of type paper, `author.writes.paper.edge_index` the edges of that
 * type. edge_weight, edge_attr ... come from the edges' features in the same way. A number that names the relation
 * becomes `edge_type`. What is missing is told with the node or the edge. */
#include "graph_objects.h"
#include "graphs.h"

#include <jansson.h>
#include <string.h>

enum {
    NAME_MAX_LEN = 400,
    TYPES_MAX = 64,
    TASK = 421,
    NO_FIELD = 401,
    NO_VALUE = 402,
    NO_TARGET = 404,
    WRONG = 411
};

struct type {
    const char *name;
    int64_t n;
};

struct reader {
    struct rcd__infer *x;
    struct rcd__objects *o;
    struct rcd_error *err;
    json_t *nodes, *edges, *index; /* index: "type\x1fid" -> [row among all, row of its type] */
    struct type types[TYPES_MAX];
    size_t n_types;
    struct rcd_wire_input *made;
    size_t n_made;
};

static rcd_status fail(const struct reader *r, int code, const char *fmt, ...) RCD_PRINTF(3, 4);
static rcd_status fail(const struct reader *r, int code, const char *fmt, ...)
{
    char text[RCD_ERROR_TEXT];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->o->code = code;
    return rcd_fail(r->err, RCD_EINVAL, "%s", text);
}

static rcd_status no_memory(const struct reader *r)
{
    return rcd_fail(r->err, RCD_ENOMEM, "no memory for the request");
}

/* ---- nodes ------------------------------------------------------------------------------------------- */

/* An id is a text or a whole number; false: neither. */
static bool id_text(const json_t *id, char *out, size_t cap)
{
    if (json_is_string(id) && json_string_length(id) < cap &&
        strlen(json_string_value(id)) == json_string_length(id))
        snprintf(out, cap, "%s", json_string_value(id));
    else if (json_is_integer(id))
        snprintf(out, cap, "#%lld", (long long)json_integer_value(id));
    else
        return false;
    return true;
}

static json_t *look_up(const struct reader *r, const char *type, const json_t *id)
{
    char key[2 * NAME_MAX_LEN], text[NAME_MAX_LEN];
    if (type == NULL || !id_text(id, text, sizeof text))
        return NULL;
    snprintf(key, sizeof key, "%s\x1f%s", type, text);
    return json_object_get(r->index, key);
}

static rcd_status read_node(struct reader *r, size_t i, json_t *node)
{
    const char *type = json_string_value(json_object_get(node, "node_type"));
    const json_t *id = json_object_get(node, "node_id");
    char key[2 * NAME_MAX_LEN], text[NAME_MAX_LEN];
    if (type == NULL || strlen(type) >= NAME_MAX_LEN)
        return fail(r, NO_FIELD, "graph.nodes[%zu] has no 'node_type'", i);
    if (!id_text(id, text, sizeof text))
        return fail(r, NO_FIELD, "graph.nodes[%zu] has no 'node_id' (a text or a whole number)", i);
    size_t t = 0;
    while (t < r->n_types && strcmp(r->types[t].name, type) != 0)
        t++;
    if (t == TYPES_MAX)
        return fail(r, WRONG, "graph.nodes has more than %d types", TYPES_MAX);
    if (t == r->n_types)
        r->types[r->n_types++] = (struct type){.name = type};
    snprintf(key, sizeof key, "%s\x1f%s", type, text);
    if (json_object_get(r->index, key) != NULL)
        return fail(r, WRONG,
                    "graph.nodes[%zu] has the type and id of an earlier node ('%s', '%s')", i, type,
                    text);
    json_t *place = json_pack("[I, I]", (json_int_t)i, (json_int_t)r->types[t].n++);
    return json_object_set_new(r->index, key, place) == 0 ? RCD_OK : no_memory(r);
}

/* ---- rows -> tensors ----------------------------------------------------------------------------------- */

/* What one input takes. */
struct want {
    const struct rcd_io *io;
    char type[NAME_MAX_LEN]; /* "" : all */
    const char *base;
    bool edge;
};

static bool edge_is(const json_t *edge, const char *type)
{
    char name[3 * NAME_MAX_LEN];
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
    char text[NAME_MAX_LEN] = "?";
    (void)id_text(json_object_get(row, "node_id"), text, sizeof text);
    if (w->edge)
        snprintf(out, cap, "graph.edges[%zu]", i);
    else
        snprintf(out, cap, "graph.nodes[%zu] ('%.80s')", i, text[0] == '#' ? text + 1 : text);
}

static rcd_status add_input(struct reader *r, const struct want *w, int rank, const int64_t *dims,
                            struct rcd_tensor **ret)
{
    struct rcd_wire_input *in = &r->made[r->n_made++];
    in->name = w->io->name;
    if (!rcd_tensor_shape(&in->tensor, w->io->dtype, rank, dims))
        return fail(r, WRONG, "input '%s' is too large", w->io->name);
    in->tensor.data =
        rcd_arena_alloc_aligned(&r->x->arena, in->tensor.n * rcd_dtype_size(w->io->dtype) + 8);
    *ret = &in->tensor;
    return in->tensor.data != NULL ? RCD_OK : no_memory(r);
}

static rcd_status take_features(struct reader *r, const struct want *w)
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
        return fail(r, WRONG, "input '%s' has %d axes: objects give rows of numbers", w->io->name,
                    w->io->rank);
    if (w->io->dtype != RCD_F32 && w->io->dtype != RCD_I64)
        return fail(r, WRONG, "input '%s' is %s: objects give FP32 and INT64", w->io->name,
                    rcd_dtype_name(w->io->dtype));
    rcd_status st = v != NULL ? add_input(r, w, w->io->rank, dims, &t) : no_memory(r);
    json_array_foreach(rows, i, row)
    {
        if (st != RCD_OK || !takes(w, row))
            continue;
        char name[NAME_MAX_LEN];
        row_name(w, i, row, name, sizeof name);
        const int64_t got = row_numbers(w, row, keys, v, (size_t)dims[1]);
        if (got < 0)
            return fail(r, NO_VALUE, "%s has no feature '%s' of numbers", name, w->base);
        if (got != dims[1] || (w->io->rank == 1 && got != 1))
            return fail(r, NO_VALUE, "%s has %lld numbers for '%s', want %lld", name,
                        (long long)got, w->io->name, w->io->rank == 1 ? 1ll : (long long)dims[1]);
        for (int64_t k = 0; k < got; k++, at++) {
            if (w->io->dtype == RCD_F32)
                ((float *)t->data)[at] = (float)v[k];
            else
                ((int64_t *)t->data)[at] = (int64_t)v[k];
        }
    }
    return st;
}

static rcd_status take_edges(struct reader *r, const struct want *w)
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
            return fail(r, NO_FIELD, "graph.edges[%zu] has no 'edge_type' [from, relation, to]", i);
        for (size_t end = 0; end < 2; end++) {
            const char *from = json_string_value(json_array_get(type, 2 * end));
            const json_t *id = json_object_get(edge, ids[end]), *place = look_up(r, from, id);
            char text[NAME_MAX_LEN] = "?";
            if (id == NULL)
                return fail(r, NO_FIELD, "graph.edges[%zu] has no '%s'", i, ids[end]);
            (void)id_text(id, text, sizeof text);
            if (place == NULL)
                return fail(
                    r, WRONG,
                    "graph.edges[%zu]: there is no node of type '%.80s' with the id '%.80s' (%s)",
                    i, from != NULL ? from : "?", text[0] == '#' ? text + 1 : text, ids[end]);
            ((int64_t *)t->data)[(int64_t)end * dims[1] + at] =
                json_integer_value(json_array_get(place, w->type[0] != '\0'));
        }
        at++;
    }
    return st;
}

static rcd_status take_input(struct reader *r, const struct rcd_io *io)
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

/* ---- targets -------------------------------------------------------------------------------------------- */

static rcd_status take_target(struct reader *r, size_t i, json_t *target, bool typed)
{
    const char *type = json_string_value(json_object_get(target, "node_type"));
    const json_t *id = json_object_get(target, "node_id"), *place = look_up(r, type, id);
    char text[NAME_MAX_LEN] = "?";
    if (type == NULL || !id_text(id, text, sizeof text))
        return fail(r, NO_FIELD, "targets[%zu] has no 'node_type' or no 'node_id'", i);
    const char *shown = text[0] == '#' ? text + 1 : text;
    if (place == NULL)
        return fail(r, NO_TARGET,
                    "targets[%zu]: there is no node of type '%.80s' with the id '%.80s'", i, type,
                    shown);
    if (typed && i > 0 && strcmp(type, r->o->targets[0].type) != 0)
        return fail(r, WRONG, "targets[%zu] is of type '%.80s', the first one of '%.80s'", i, type,
                    r->o->targets[0].type);
    struct rcd__target *t = &r->o->targets[i];
    t->type = rcd_arena_strndup(&r->x->arena, type, strlen(type));
    t->id = rcd_arena_strndup(&r->x->arena, shown, strlen(shown));
    t->number = json_is_integer(id);
    r->x->on_graph.nodes[i] = json_integer_value(json_array_get(place, typed));
    return t->type != NULL && t->id != NULL ? RCD_OK : no_memory(r);
}

static rcd_status take_targets(struct reader *r, json_t *targets, bool typed)
{
    struct rcd__on_graph *g = &r->x->on_graph;
    json_t *list = json_is_array(targets) ? targets : r->nodes, *target = NULL;
    const size_t n = json_array_size(list);
    size_t i = 0;
    if (typed && !json_is_array(targets))
        return fail(r, NO_FIELD, "'targets' is missing: the model has several types of nodes");
    r->o->targets = rcd_arena_calloc(&r->x->arena, n + 1, sizeof *r->o->targets);
    g->nodes = rcd_arena_alloc_aligned(&r->x->arena, (n + 1) * sizeof *g->nodes);
    if (r->o->targets == NULL || g->nodes == NULL)
        return no_memory(r);
    r->o->n_targets = g->n_nodes = n;
    json_array_foreach(list, i, target)
    {
        rcd_status st = take_target(r, i, target, typed);
        if (st != RCD_OK)
            return st;
    }
    g->n_rows = json_array_size(r->nodes);
    for (size_t t = 0; typed && n > 0 && t < r->n_types; t++) {
        if (strcmp(r->types[t].name, r->o->targets[0].type) == 0)
            g->n_rows = (size_t)r->types[t].n;
    }
    return RCD_OK;
}

/* ---- all of it ---------------------------------------------------------------------------------------------- */

static rcd_status convert(struct reader *r, json_t *root)
{
    static const char *const tasks[] = {"node_classification", "node_regression",
                                        "graph_classification", "graph_regression"};
    const char *task = json_string_value(json_object_get(root, "gml_task"));
    const char *uid = json_string_value(json_object_get(root, "request_uid"));
    json_t *graph = json_object_get(root, "graph"), *node = NULL;
    bool known = task == NULL, typed = false;
    size_t n = 0, i = 0;
    for (size_t t = 0; task != NULL && t < RCD_COUNT(tasks); t++)
        known = known || strcmp(task, tasks[t]) == 0;
    r->o->uid = uid != NULL ? rcd_arena_strndup(&r->x->arena, uid, strlen(uid)) : "";
    if (!known)
        return fail(r, TASK, "gml_task '%.80s' is not known (node_classification, node_regression)",
                    task);
    r->nodes = json_object_get(graph, "nodes");
    r->edges = json_object_get(graph, "edges");
    if (!json_is_array(r->nodes) || !json_is_array(r->edges))
        return fail(r, NO_FIELD, "'graph' needs the lists 'nodes' and 'edges'");
    rcd_status st = RCD_OK;
    json_array_foreach(r->nodes, i, node)
    {
        if (st == RCD_OK)
            st = read_node(r, i, node);
    }
    const struct rcd_io *io = rcd_plan_inputs(rcd_version_plan(r->x->version), &n);
    r->made = rcd_arena_calloc(&r->x->arena, n + 1, sizeof *r->made);
    if (r->made == NULL)
        return no_memory(r);
    for (size_t k = 0; st == RCD_OK && k < n; k++) {
        typed = typed || strchr(io[k].name, '.') != NULL;
        if (!io[k].optional)
            st = take_input(r, &io[k]);
    }
    if (st == RCD_OK)
        st = take_targets(r, json_object_get(root, "targets"), typed);
    r->x->wire = (struct rcd_wire_request){.n_inputs = r->n_made, .inputs = r->made};
    return st;
}

rcd_status rcd__objects_decode(struct rcd__infer *x, const char *body, size_t len, bool *ret_taken,
                               struct rcd_error *err)
{
    *ret_taken = false;
    if (x->json_len != RCD_NO_JSON_LEN || memmem(body, len, "\"graph\"", 7) == NULL ||
        memmem(body, len, "\"nodes\"", 7) == NULL || memmem(body, len, "\"edges\"", 7) == NULL)
        return RCD_OK;
    json_t *root = json_loadb(body, len, JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_object(json_object_get(root, "graph")) ||
        json_object_get(root, "inputs") != NULL) {
        json_decref(root); /* another form, or no JSON: its own reader says what is wrong */
        return RCD_OK;
    }
    *ret_taken = true;
    struct rcd__objects *o = rcd_arena_calloc(&x->arena, 1, sizeof *o);
    struct reader r = {.x = x, .o = o, .err = err, .index = json_object()};
    rcd_status st = RCD_ENOMEM;
    if (o == NULL || r.index == NULL)
        rcd_fail(err, RCD_ENOMEM, "no memory for the request");
    else
        st = convert(&r, root);
    x->objects = o;
    json_decref(r.index);
    json_decref(root);
    return st;
}
