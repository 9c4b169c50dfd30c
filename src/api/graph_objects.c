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
#include "graph_objects_int.h"
#include "graphs.h"

#include <string.h>

rcd_status rcd__objects_fail(const struct rcd__objects_reader *r, int code, const char *fmt, ...)
{
    char text[RCD_ERROR_TEXT];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    r->o->code = code;
    return rcd_fail(r->err, RCD_EINVAL, "%s", text);
}

rcd_status rcd__objects_no_memory(const struct rcd__objects_reader *r)
{
    return rcd_fail(r->err, RCD_ENOMEM, "no memory for the request");
}

/* ---- nodes ------------------------------------------------------------------------------------------- */

bool rcd__objects_id(const json_t *id, char *out, size_t cap)
{
    if (json_is_string(id) && json_string_length(id) + 1 < cap &&
        strlen(json_string_value(id)) == json_string_length(id))
        snprintf(out, cap, "=%s", json_string_value(id));
    else if (json_is_integer(id))
        snprintf(out, cap, "#%lld", (long long)json_integer_value(id));
    else
        return false;
    return true;
}

json_t *rcd__objects_find(const struct rcd__objects_reader *r, const char *type, const json_t *id)
{
    char key[2 * RCD__OBJECTS_NAME], text[RCD__OBJECTS_NAME];
    if (type == NULL || !rcd__objects_id(id, text, sizeof text))
        return NULL;
    snprintf(key, sizeof key, "%s\x1f%s", type, text);
    return json_object_get(r->index, key);
}

/* Models of several types name them in their inputs: paper.x, author.writes.paper.edge_index. */
static bool knows_type(const struct rcd__objects_reader *r, const char *type)
{
    size_t n = 0;
    const size_t len = strlen(type);
    const struct rcd_io *io = rcd_plan_inputs(rcd_version_plan(r->x->version), &n);
    bool typed = false;
    for (size_t k = 0; k < n; k++) {
        const char *dot = strrchr(io[k].name, '.');
        typed = typed || dot != NULL;
        for (const char *at = io[k].name; dot != NULL && at <= dot;) {
            const size_t part = strcspn(at, ".");
            if (part == len && strncmp(at, type, len) == 0)
                return true;
            at += part + 1;
        }
    }
    return !typed;
}

static rcd_status read_node(struct rcd__objects_reader *r, size_t i, json_t *node)
{
    const char *type = json_string_value(json_object_get(node, "node_type"));
    const json_t *id = json_object_get(node, "node_id");
    char key[2 * RCD__OBJECTS_NAME], text[RCD__OBJECTS_NAME];
    if (type == NULL || strlen(type) >= RCD__OBJECTS_NAME)
        return rcd__objects_fail(r, RCD__OBJECTS_NO_FIELD, "graph.nodes[%zu] has no 'node_type'",
                                 i);
    if (!rcd__objects_id(id, text, sizeof text))
        return rcd__objects_fail(r, RCD__OBJECTS_NO_FIELD,
                                 "graph.nodes[%zu] has no 'node_id' (a text or a whole number)", i);
    size_t t = 0;
    while (t < r->n_types && strcmp(r->types[t].name, type) != 0)
        t++;
    if (t == RCD__OBJECTS_TYPES)
        return rcd__objects_fail(r, RCD__OBJECTS_WRONG, "graph.nodes has more than %d types",
                                 RCD__OBJECTS_TYPES);
    if (t == r->n_types && !knows_type(r, type))
        return rcd__objects_fail(r, RCD__OBJECTS_WRONG,
                                 "graph.nodes[%zu]: the model has no nodes of type '%.80s'", i,
                                 type);
    if (t == r->n_types)
        r->types[r->n_types++] = (struct rcd__objects_type){.name = type};
    snprintf(key, sizeof key, "%s\x1f%s", type, text);
    if (json_object_get(r->index, key) != NULL)
        return rcd__objects_fail(
            r, RCD__OBJECTS_WRONG,
            "graph.nodes[%zu] has the type and id of an earlier node ('%s', '%s')", i, type,
            text + 1);
    json_t *place = json_pack("[I, I]", (json_int_t)i, (json_int_t)r->types[t].n++);
    return json_object_set_new(r->index, key, place) == 0 ? RCD_OK : rcd__objects_no_memory(r);
}

/* ---- targets -------------------------------------------------------------------------------------------- */

static rcd_status take_target(struct rcd__objects_reader *r, size_t i, json_t *target, bool typed)
{
    const char *type = json_string_value(json_object_get(target, "node_type"));
    const json_t *id = json_object_get(target, "node_id"), *place = rcd__objects_find(r, type, id);
    char text[RCD__OBJECTS_NAME] = "";
    if (type == NULL || !rcd__objects_id(id, text, sizeof text))
        return rcd__objects_fail(r, RCD__OBJECTS_NO_FIELD,
                                 "targets[%zu] has no 'node_type' or no 'node_id'", i);
    const char *shown = text + 1;
    if (place == NULL)
        return rcd__objects_fail(
            r, RCD__OBJECTS_NO_TARGET,
            "targets[%zu]: there is no node of type '%.80s' with the id '%.80s'", i, type, shown);
    if (typed && i > 0 && strcmp(type, r->o->targets[0].type) != 0)
        return rcd__objects_fail(r, RCD__OBJECTS_WRONG,
                                 "targets[%zu] is of type '%.80s', the first one of '%.80s'", i,
                                 type, r->o->targets[0].type);
    struct rcd__target *t = &r->o->targets[i];
    t->type = rcd_arena_strndup(&r->x->arena, type, strlen(type));
    t->id = rcd_arena_strndup(&r->x->arena, shown, strlen(shown));
    t->number = json_is_integer(id);
    r->x->on_graph.nodes[i] = json_integer_value(json_array_get(place, typed));
    return t->type != NULL && t->id != NULL ? RCD_OK : rcd__objects_no_memory(r);
}

static rcd_status take_targets(struct rcd__objects_reader *r, json_t *targets, bool typed)
{
    struct rcd__on_graph *g = &r->x->on_graph;
    json_t *list = json_is_array(targets) ? targets : r->nodes, *target = NULL;
    const size_t n = json_array_size(list);
    size_t i = 0;
    if (typed && !json_is_array(targets))
        return rcd__objects_fail(r, RCD__OBJECTS_NO_FIELD,
                                 "'targets' is missing: the model has several types of nodes");
    r->o->targets = rcd_arena_calloc(&r->x->arena, n + 1, sizeof *r->o->targets);
    g->nodes = rcd_arena_alloc_aligned(&r->x->arena, (n + 1) * sizeof *g->nodes);
    if (r->o->targets == NULL || g->nodes == NULL)
        return rcd__objects_no_memory(r);
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

static rcd_status convert(struct rcd__objects_reader *r, json_t *root)
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
    if (r->o->uid == NULL)
        return rcd__objects_no_memory(r);
    if (!known)
        return rcd__objects_fail(r, RCD__OBJECTS_TASK,
                                 "gml_task '%.80s' is not known (%s, %s, %s, %s)", task, tasks[0],
                                 tasks[1], tasks[2], tasks[3]);
    r->nodes = json_object_get(graph, "nodes");
    r->edges = json_object_get(graph, "edges");
    if (!json_is_array(r->nodes) || !json_is_array(r->edges))
        return rcd__objects_fail(r, RCD__OBJECTS_NO_FIELD,
                                 "'graph' needs the lists 'nodes' and 'edges'");
    rcd_status st = RCD_OK;
    json_array_foreach(r->nodes, i, node)
    {
        if (st == RCD_OK)
            st = read_node(r, i, node);
    }
    const struct rcd_io *io = rcd_plan_inputs(rcd_version_plan(r->x->version), &n);
    r->made = rcd_arena_calloc(&r->x->arena, n + 1, sizeof *r->made);
    if (r->made == NULL)
        return rcd__objects_no_memory(r);
    for (size_t k = 0; st == RCD_OK && k < n; k++) {
        typed = typed || strchr(io[k].name, '.') != NULL;
        if (!io[k].optional)
            st = rcd__objects_input(r, &io[k]);
    }
    if (st == RCD_OK)
        st = take_targets(r, json_object_get(root, "targets"), typed);
    r->x->wire = (struct rcd_wire_request){.n_inputs = r->n_made, .inputs = r->made};
    return st;
}

/* Looks for the letter first: in what most requests hold, numbers, it stands nowhere. */
static bool has_graph(const char *body, size_t len)
{
    static const char word[] = "\"graph\"";
    const char *p = body, *end = body + len;
    while ((p = memchr(p, 'g', (size_t)(end - p))) != NULL) {
        if (p > body && (size_t)(end - p) >= sizeof word - 2 &&
            memcmp(p - 1, word, sizeof word - 1) == 0)
            return true;
        p++;
    }
    return false;
}

rcd_status rcd__objects_decode(struct rcd__infer *x, const char *body, size_t len, bool *ret_taken,
                               struct rcd_error *err)
{
    *ret_taken = false;
    if (x->json_len != RCD_NO_JSON_LEN || !has_graph(body, len) ||
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
    struct rcd__objects_reader r = {.x = x, .o = o, .err = err, .index = json_object()};
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
