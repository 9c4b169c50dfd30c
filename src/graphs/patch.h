/* patch.h - a change on its way to the next version. */
#pragma once
#include "graphs_int.h"

struct change {
    const rcd_graph *old; /* may be an empty one */
    const struct rcd_graph_parts *parts;
    bool first;       /* names are bare: all is added */
    rcd_graph *nodes; /* node tensors with all that is added */
    rcd_graph *g;     /* the new version */
};

/** Names that are known, and what they need beside them (parts.c). */
RCD_MUST_CHECK rcd_status rcd__check_parts(const struct change *c, struct rcd_error *err);
/** The number of nodes that was told is that of the new version's tensors. */
RCD_MUST_CHECK rcd_status rcd__check_nodes_told(const struct change *c, struct rcd_error *err);
/** Tensor "verb.name" of the change, or NULL. */
const struct rcd_tensor *rcd__part(const struct change *c, const char *verb, const char *name);
const struct rcd_tensor *rcd__part_of(const struct change *c, const char *verb, const char *type,
                                      const char *base);
/** The name behind the verb of a part; NULL: the verb is not "add". */
const char *rcd__added_name(const struct change *c, size_t i);
/** The type in a tensor's name. */
void rcd__type_of(const char *name, char ret[RCD_GRAPH_NAME_MAX + 1]);
/** New index per old one, -1 for those that go; *ret NULL: none goes. */
RCD_MUST_CHECK rcd_status rcd__node_map(const struct change *c, const char *type, int64_t **ret,
                                        struct rcd_error *err);
/** Each edge type once: those of the old version, then those that a change speaks of (edges.c). */
RCD_MUST_CHECK rcd_status rcd__all_edges(struct change *c, struct rcd_error *err);
