/* onnx_int.h - inside the loader: its memory, names, scopes, and who builds what.
 *
 * The way of a file: wire_scan.c walks the bytes without recursion and bounds what they can unpack
 * to; protobuf-c unpacks them into scratch memory (memory.c); model.c reads the head, graph.c
 * builds graphs node by node (node.c), putting the bodies of model-local functions in the place of
 * their calls (function.c). What stays is copied into the model's arena, and the scratch is
 * released.
 *
 * Recursion follows the nesting of graphs and function calls only, and `depth` bounds both. */
#pragma once
#include "recurd/onnx.h"

#include "onnx_subset.pb-c.h"

enum {
    ONNX_MAX_DEPTH = 64,      /* nested messages; nested graphs and function calls */
    ONNX_MAX_NODES = 1000000, /* of the file, and visited while inlining */
    ONNX_MAX_VALUES = 1000000,
    ONNX_MAX_EDGES = 16000000,   /* inputs, outputs, attributes and declarations visited */
    ONNX_MAX_MESSAGES = 4000000, /* of all kinds in a file */
    ONNX_MAX_NODE_ATTRS = 128,
    ONNX_MAX_OPSETS = 64,
    ONNX_MAX_NAME = 2048, /* bytes of a text other than metadata */
    ONNX_QUOTE = 80,      /* room for a name in a message */
};

/* ---- scratch memory (memory.c) ------------------------------------------------------------ */

/** Memory that lives as long as the loading, under one byte limit. */
struct rcd__onnx_mem {
    ProtobufCAllocator vt; /* for protobuf-c; its data is this struct */
    size_t live, max;
    bool over;   /* the limit refused an allocation */
    bool failed; /* memory did */
};

void rcd__onnx_mem_init(struct rcd__onnx_mem *mem, size_t max_bytes);
RCD_MUST_CHECK void *rcd__onnx_mem_alloc(struct rcd__onnx_mem *mem, size_t bytes);
void rcd__onnx_mem_free(struct rcd__onnx_mem *mem, void *p);
/** Make room for one more element of `size` bytes in *list, which holds n of *cap. */
RCD_MUST_CHECK bool rcd__onnx_mem_grow(struct rcd__onnx_mem *mem, void **list, size_t n,
                                       size_t *cap, size_t size);

/* ---- wire scan (wire_scan.c) --------------------------------------------------------------- */

/** Walk `bytes` as message `desc`: well-formed, nested at most ONNX_MAX_DEPTH deep, counts within
 * the limits, texts UTF-8, no singular sub-message twice. No recursion, no allocation. */
RCD_MUST_CHECK rcd_status rcd__onnx_wire_scan(const ProtobufCMessageDescriptor *desc,
                                              const void *bytes, size_t len, struct rcd_error *err);
bool rcd__onnx_utf8(const uint8_t *text, size_t len);

/* ---- names (names.c) ------------------------------------------------------------------------ */

struct rcd__name {
    const char *key; /* [borrowed] */
    size_t len;
    uint64_t hash;
    bool bound; /* `id` says which value; else only `info` is known */
    rcd_value_id id;
    const void *info; /* declaration of the value, function, or tensor */
};

/** Hash table from names to values or to things. All zero but `mem` and `seed`: empty. */
struct rcd__names {
    struct rcd__onnx_mem *mem;
    uint64_t seed; /* so that a file cannot hold prepared collisions */
    struct rcd__name *slots;
    size_t n, cap;
};

void rcd__names_init(struct rcd__names *t, struct rcd__onnx_mem *mem);
void rcd__names_done(struct rcd__names *t);
struct rcd__name *rcd__names_find(const struct rcd__names *t, const char *key, size_t len);
/** Entry of `key`, new or old; NULL without memory. Valid until the next add. */
RCD_MUST_CHECK struct rcd__name *rcd__names_add(struct rcd__names *t, const char *key, size_t len);
/** xxh3 of `len` bytes, continuing from `seed`. */
uint64_t rcd__onnx_hash(const void *bytes, size_t len, uint64_t seed);

/* ---- the loading --------------------------------------------------------------------------- */

struct rcd__load {
    struct rcd_arena *arena; /* what stays */
    struct rcd__onnx_mem *mem;
    struct rcd_error *err;
    int dir_fd;
    uint64_t fingerprint;
    bool placed; /* the message in err says already in which node the error lies */
    /* models only */
    rcd_onnx_model *model;
    struct rcd__names functions; /* "domain:name:overload" -> FunctionProto */
    struct rcd__names tensors;   /* address of a TensorProto -> tensor made of it */
    struct rcd_onnx_value *values;
    size_t n_values, cap_values;
    size_t n_nodes, n_edges; /* visited */
    int depth;
    Onx__OperatorSetIdProto first_opset; /* what a file means that imports none */
    Onx__OperatorSetIdProto *only_first[1];
};

struct rcd__scope {
    struct rcd__scope *up; /* NULL: nothing outside is visible */
    struct rcd__names names;
};

struct rcd__frame;

/** What a piece of the file means depends on where it stands. */
struct rcd__env {
    struct rcd__load *l;
    struct rcd__scope *scope;
    const struct rcd__frame *frame; /* call of a function whose body this is; NULL: none */
    size_t n_opsets;
    Onx__OperatorSetIdProto *const *opsets;
    size_t n_nodes; /* the list that is worked on, for messages */
    Onx__NodeProto *const *nodes;
    struct rcd__node_list *out;
};

struct rcd__node_list {
    struct rcd_onnx_node *nodes;
    size_t n, cap;
};

/** An attribute given to a function, with the place where it was written. */
struct rcd__bind {
    const char *name;
    const Onx__AttributeProto *attr;
    const struct rcd__env *env;
};

struct rcd__frame {
    const Onx__FunctionProto *fn;
    const struct rcd__env *caller;
    size_t n_binds;
    struct rcd__bind *binds;
};

static inline const char *rcd__text(const char *maybe_null)
{
    return maybe_null != NULL ? maybe_null : "";
}
/** A name of the file for a message, into `out` of ONNX_QUOTE bytes; returns out. */
char *rcd__onnx_quote(char *out, const char *name);

/** Zeroed memory of the model; NULL without memory or over the limit (then rcd__onnx_no_memory). */
RCD_MUST_CHECK void *rcd__onnx_keep(struct rcd__load *l, size_t count, size_t size);
RCD_MUST_CHECK char *rcd__onnx_keep_text(struct rcd__load *l, const char *text, size_t len);
/** The error after a failed allocation: over the limit, or out of memory. */
rcd_status rcd__onnx_no_memory(struct rcd__load *l);
/** Unpack `bytes` after a wire scan; release with protobuf_c_message_free_unpacked and mem->vt. */
RCD_MUST_CHECK rcd_status rcd__onnx_unpack(struct rcd__load *l,
                                           const ProtobufCMessageDescriptor *desc,
                                           const void *bytes, size_t len, ProtobufCMessage **ret);

/* tensor.c, tensor_data.c, external.c */
/** Element type of the file; refuses types that recurd does not have by their ONNX name. */
RCD_MUST_CHECK rcd_status rcd__onnx_dtype(struct rcd__load *l, int32_t data_type, rcd_dtype *ret);
RCD_MUST_CHECK rcd_status rcd__onnx_tensor(struct rcd__load *l, const Onx__TensorProto *p,
                                           struct rcd_tensor *ret);
RCD_MUST_CHECK rcd_status rcd__onnx_tensor_data(struct rcd__load *l, const Onx__TensorProto *p,
                                                struct rcd_tensor *t, size_t bytes);
RCD_MUST_CHECK rcd_status rcd__onnx_external(struct rcd__load *l, const Onx__TensorProto *p,
                                             void *out, size_t bytes);

/* value.c */
/** The value that `name` means in this scope or an outer one; false: none. */
bool rcd__value_find(const struct rcd__scope *scope, const char *name, rcd_value_id *ret);
/** A new value called `name`, with what its scope has been told of it, bound in the scope. */
RCD_MUST_CHECK rcd_status rcd__value_define(const struct rcd__env *env, const char *name,
                                            rcd_value_id *ret);
/** Note what `info` declares of a name of this scope. */
RCD_MUST_CHECK rcd_status rcd__value_declare(const struct rcd__env *env,
                                             const Onx__ValueInfoProto *info);
RCD_MUST_CHECK rcd_status rcd__value_bind(const struct rcd__env *env, const char *name,
                                          rcd_value_id id);
/** Complete a value's type from what its scope has been told of `name`. */
RCD_MUST_CHECK rcd_status rcd__value_type(const struct rcd__env *env, const char *name,
                                          rcd_value_id id);
/** Make `tensor` the constant of a value; its type must agree with the declared one. */
RCD_MUST_CHECK rcd_status rcd__value_set_constant(const struct rcd__env *env, rcd_value_id id,
                                                  const struct rcd_tensor *tensor);

/* attr.c, constant.c */
/** Follow a reference to an attribute of the function; *attr becomes NULL when it was not given. */
RCD_MUST_CHECK rcd_status rcd__attr_resolve(const struct rcd__env **env,
                                            const Onx__AttributeProto **attr);
RCD_MUST_CHECK rcd_status rcd__attrs_build(const struct rcd__env *env, const Onx__NodeProto *node,
                                           size_t *ret_n, struct rcd_attr **ret_attrs);
/** A Constant node's tensor. */
RCD_MUST_CHECK rcd_status rcd__constant_tensor(const struct rcd__env *env,
                                               const Onx__NodeProto *node,
                                               const struct rcd_tensor **ret);

/* node.c, function.c, graph.c */
RCD_MUST_CHECK rcd_status rcd__node_build(const struct rcd__env *env, const Onx__NodeProto *node);
/** Append a node with `opset` of the default domain that copies `in` to the new value `out`. */
RCD_MUST_CHECK rcd_status rcd__node_identity(const struct rcd__env *env, rcd_value_id in,
                                             rcd_value_id out);
bool rcd__opset_find(const struct rcd__env *env, const char *domain, int *ret);
RCD_MUST_CHECK rcd_status rcd__functions_collect(struct rcd__load *l, const Onx__ModelProto *p);
void rcd__functions_release(struct rcd__load *l);
/** The model-local function that a node calls, or NULL. */
RCD_MUST_CHECK rcd_status rcd__function_find(struct rcd__load *l, const Onx__NodeProto *node,
                                             const Onx__FunctionProto **ret);
RCD_MUST_CHECK rcd_status rcd__function_inline(const struct rcd__env *env,
                                               const Onx__NodeProto *node,
                                               const Onx__FunctionProto *fn);
/** Build `g` inside `env` (whose scope is the outer one, NULL for the main graph). */
RCD_MUST_CHECK rcd_status rcd__graph_build(const struct rcd__env *env, const Onx__GraphProto *g,
                                           struct rcd_onnx_graph *ret);
/** One level deeper in graphs and calls; one more node; `n` more edges: or over the limit. */
RCD_MUST_CHECK rcd_status rcd__onnx_enter(struct rcd__load *l);
RCD_MUST_CHECK rcd_status rcd__onnx_count_node(struct rcd__load *l);
RCD_MUST_CHECK rcd_status rcd__onnx_count_edges(struct rcd__load *l, size_t n);
void rcd__onnx_leave(struct rcd__load *l);
