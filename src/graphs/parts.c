/* parts.c - what a graph or a change may be made of, by the names alone: whatever would be passed over in silence is
 * refused, and what is missing beside it is named. */
#include "patch.h"

#include <string.h>

static const char *const verbs[] = {"add.", "remove.", "set."};

/* The name behind the verb; NULL: there is none. */
static const char *behind(const char *name, size_t verb)
{
    const size_t len = strlen(verbs[verb]);
    return strncmp(name, verbs[verb], len) == 0 ? name + len : NULL;
}

/* A mirror image has its ends swapped. */
static rcd_status check_ends(const struct change *c, const char *name, struct rcd_error *err)
{
    char type[RCD_GRAPH_NAME_MAX + 1], ends[2][RCD_GRAPH_NAME_MAX + 1];
    rcd__type_of(name, type);
    rcd__ends(type, ends);
    if (!rcd__is_edge_name(name) || strcmp(ends[0], ends[1]) == 0 ||
        !(c->first ? c->parts->undirected : c->old->undirected))
        return RCD_OK;
    return rcd_fail(err, RCD_EINVAL,
                    "'%s' goes from %s to %s: edges of an undirected graph end in the type they "
                    "start from; give both directions, each as a type of its own",
                    name, ends[0], ends[1]);
}

static rcd_status check_first(const struct change *c, const char *name, struct rcd_error *err)
{
    for (size_t v = 0; v < RCD_COUNT(verbs); v++) {
        if (behind(name, v) != NULL)
            return rcd_fail(
                err, RCD_EINVAL,
                "'%s' is of a change (PATCH); tensors of a graph have their names alone", name);
    }
    return check_ends(c, name, err);
}

static bool is_of(const char *name, const char *type, bool edges)
{
    char its[RCD_GRAPH_NAME_MAX + 1];
    rcd__type_of(name, its);
    return strcmp(its, type) == 0 && rcd__is_edge_name(name) == edges;
}

/* Nodes that are added bring a row of every tensor. */
static rcd_status check_add(const struct change *c, size_t i, const char *name,
                            struct rcd_error *err)
{
    char type[RCD_GRAPH_NAME_MAX + 1];
    const struct rcd_tensor *rows = &c->parts->tensors[i].tensor;
    rcd__type_of(name, type);
    if (rcd__is_edge_name(name)) {
        if (rcd__part_of(c, "add", type, "edge_index") != NULL)
            return check_ends(c, name, err);
        return rcd_fail(err, RCD_EINVAL, "'add.%s' needs 'add.%s%sedge_index' beside it", name,
                        type, type[0] != '\0' ? "." : "");
    }
    if (rcd_graph_tensor(c->old, name) == NULL || rows->rank < 1 || rows->dims[0] == 0)
        return RCD_OK;
    for (size_t t = 0; t < c->old->n; t++) {
        const char *other = c->old->tensors[t].name;
        if (is_of(other, type, false) && rcd__part(c, "add", other) == NULL)
            return rcd_fail(err, RCD_EINVAL, "'add.%s' is missing: the nodes of 'add.%s' need one",
                            other, name);
    }
    return RCD_OK;
}

static rcd_status check_remove(const struct change *c, const char *name, struct rcd_error *err)
{
    char type[RCD_GRAPH_NAME_MAX + 1];
    const char *base = NULL;
    (void)rcd__prefix(name, &base);
    rcd__type_of(name, type);
    if (strcmp(base, "edge_index") == 0)
        return RCD_OK;
    if (strcmp(base, "nodes") != 0)
        return rcd_fail(err, RCD_EINVAL,
                        "'remove.%s': what can be removed is remove.nodes and remove.edge_index, "
                        "with a type remove.TYPE.nodes",
                        name);
    bool known = rcd_graph_nodes(c->old, type) >= 0;
    for (size_t i = 0; !known && i < c->parts->n; i++) {
        const char *added = behind(c->parts->tensors[i].name, 0);
        known = added != NULL && is_of(added, type, false);
    }
    return known ? RCD_OK
                 : rcd_fail(err, RCD_EINVAL, "'remove.%s': graph '%s' has no nodes of type '%s'",
                            name, c->old->name, type);
}

static rcd_status check_set(const struct change *c, const char *name, struct rcd_error *err)
{
    char type[RCD_GRAPH_NAME_MAX + 1];
    const char *base = NULL;
    (void)rcd__prefix(name, &base);
    rcd__type_of(name, type);
    bool alone = strcmp(base, "nodes") == 0;
    for (size_t i = 0; alone && i < c->parts->n; i++) {
        const char *other = behind(c->parts->tensors[i].name, 2);
        alone = other == NULL || strcmp(other, name) == 0 || !is_of(other, type, false);
    }
    return alone ? rcd_fail(err, RCD_EINVAL, "'set.%s' needs rows to set beside it: set.%s%sNAME",
                            name, type, type[0] != '\0' ? "." : "")
                 : RCD_OK;
}

static rcd_status check_name(const struct change *c, size_t i, struct rcd_error *err)
{
    const char *is = c->parts->tensors[i].name, *name = NULL;
    char quoted[64];
    (void)rcd_quote(quoted, sizeof quoted, is, strlen(is));
    if (is[0] == '\0' || strlen(is) > RCD_GRAPH_NAME_MAX)
        return rcd_fail(err, RCD_EINVAL, "tensor name '%s' has %zu bytes, want 1 to %d", quoted,
                        strlen(is), RCD_GRAPH_NAME_MAX);
    if (c->first)
        return check_first(c, is, err);
    if ((name = behind(is, 0)) != NULL)
        return check_add(c, i, name, err);
    if ((name = behind(is, 1)) != NULL)
        return check_remove(c, name, err);
    if ((name = behind(is, 2)) != NULL)
        return check_set(c, name, err);
    return rcd_fail(err, RCD_EINVAL,
                    "'%s' is not known in a change (known: add.NAME, remove.edge_index, "
                    "remove.nodes, set.nodes, set.NAME)",
                    quoted);
}

rcd_status rcd__check_parts(const struct change *c, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && i < c->parts->n; i++)
        st = check_name(c, i, err);
    return st;
}

rcd_status rcd__check_nodes_told(const struct change *c, struct rcd_error *err)
{
    const int64_t told = c->parts->nodes;
    for (size_t i = 0; told >= 0 && i < c->g->n; i++) {
        const struct rcd_graph_tensor *t = &c->g->tensors[i];
        if (is_of(t->name, "", false) && t->tensor.dims[0] != told)
            return rcd_fail(err, RCD_EINVAL, "'nodes' is %lld, but '%s' has %lld rows",
                            (long long)told, t->name, (long long)t->tensor.dims[0]);
    }
    return RCD_OK;
}
