/* onnx.h - untrusted bytes of an ONNX file -> a validated graph IR. Never executes anything.
 *
 * After loading: names are resolved to ids in one table for the whole model (bodies of If, Loop
 * and Scan refer to outer values by the same ids), nodes stand in topological order, model-local
 * functions are inlined, initialisers and Constant nodes are tensors, every size is checked. */
#pragma once
#include "recurd/base.h"
#include "recurd/tensor.h"

typedef uint32_t rcd_value_id;
#define RCD_NO_VALUE UINT32_MAX /* an optional input or output that was left out */

/** A value of the model: graph input, initialiser, or node output. */
struct rcd_onnx_value {
    const char *name;           /* may be "" for values that inlining made */
    rcd_dtype dtype;            /* declared element type; RCD_NONE when the file does not say */
    int rank;                   /* declared; -1 when the file does not say */
    int64_t dims[RCD_MAX_RANK]; /* -1: not a number in the file */
    const char *dim_names[RCD_MAX_RANK]; /* symbolic name ("batch") or NULL */
    const struct rcd_tensor *constant;   /* initialiser or Constant node; else NULL */
};

struct rcd_onnx_graph;

typedef enum rcd_attr_type {
    RCD_ATTR_FLOAT,
    RCD_ATTR_INT,
    RCD_ATTR_STRING,
    RCD_ATTR_TENSOR,
    RCD_ATTR_GRAPH,
    RCD_ATTR_FLOATS,
    RCD_ATTR_INTS,
    RCD_ATTR_STRINGS,
} rcd_attr_type;

struct rcd_attr {
    const char *name;
    rcd_attr_type type;
    float f;
    int64_t i;
    struct rcd_bytes s; /* NUL-terminated as well */
    const struct rcd_tensor *t;
    struct rcd_onnx_graph *g;
    size_t n; /* of floats, ints or strings */
    const float *floats;
    const int64_t *ints;
    const struct rcd_bytes *strings;
};

struct rcd_onnx_node {
    const char *name;    /* as in the file; "" where it has none */
    const char *op_type; /* "LSTM" */
    const char *domain;  /* "" for the default domain ("ai.onnx" is mapped to "") */
    int opset;           /* imported version of that domain (of the function for inlined nodes) */
    size_t n_in, n_out;
    rcd_value_id *in, *out; /* RCD_NO_VALUE for empty names */
    size_t n_attrs;
    struct rcd_attr *attrs;
};

struct rcd_onnx_graph {
    const char *name;
    size_t n_inputs, n_outputs, n_nodes;
    rcd_value_id *inputs;  /* without those that have an initialiser of the same name */
    rcd_value_id *outputs; /* may be constants; those of a body may be outer values */
    struct rcd_onnx_node *nodes;
};

/** A loaded model; immutable, owned by one holder. */
typedef struct rcd_onnx_model {
    struct rcd_arena arena; /* holds everything below */
    int64_t ir_version;
    int opset; /* of the default domain */
    const char *producer_name, *producer_version, *doc;
    size_t n_meta; /* metadata_props */
    const char **meta_keys, **meta_values;
    size_t n_values;
    struct rcd_onnx_value *values;
    struct rcd_onnx_graph graph;
    uint64_t fingerprint; /* xxh3 of the file's bytes and of external data */
} rcd_onnx_model;

/** Where external tensor data lies. The loader asks for nothing outside it: paths are opened with
 * openat2 RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS, regular files with one link only. */
struct rcd_onnx_source {
    const void *bytes; /* [borrowed] the model.onnx file; not needed after the call */
    size_t len;
    int dir_fd;       /* folder of the version, for external data; -1: none allowed */
    size_t max_bytes; /* limit on everything the model may unpack to */
};

/** Parse and validate. RCD_EMODEL with a message that names node, value and limit; RCD_ENOMEM;
 * RCD_EIO for external files. Threading: any thread; nothing shared. */
RCD_MUST_CHECK rcd_status rcd_onnx_load(const struct rcd_onnx_source *src,
                                        rcd_onnx_model **ret_model, struct rcd_error *err);
/** Release; NULL is fine; returns NULL. */
rcd_onnx_model *rcd_onnx_free(rcd_onnx_model *m);

/** One TensorProto (the ONNX test data's *.pb files) into a tensor whose data lies in `arena`;
 * *ret_name (may be NULL) gets its name. */
RCD_MUST_CHECK rcd_status rcd_onnx_tensor_load(struct rcd_arena *arena, const void *bytes,
                                               size_t len, struct rcd_tensor *ret_t,
                                               const char **ret_name, struct rcd_error *err);

/** Attribute of a node by name, or NULL. */
const struct rcd_attr *rcd_onnx_attr(const struct rcd_onnx_node *node, const char *name);
