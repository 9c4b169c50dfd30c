/* model_bytes.h - a writer of small ONNX files for the tests: bytes by hand, so that the tests can
 * also say what no library would write. Memory comes from a static heap that ends with the test's
 * process. */
#pragma once
#include "recurd/onnx.h"

struct pb {
    uint8_t *data;
    size_t len, cap;
};

/* ---- the wire ---- */
void pb_int(struct pb *p, unsigned field, int64_t v);
void pb_float(struct pb *p, unsigned field, float v);
void pb_bytes(struct pb *p, unsigned field, const void *data, size_t len);
void pb_str(struct pb *p, unsigned field, const char *text);
void pb_msg(struct pb *p, unsigned field, struct pb child);
void pb_raw(struct pb *p, const void *data, size_t len);
void pb_packed(struct pb *p, unsigned field, const int64_t *v, size_t n);

/* ---- parts of a model ---- */

/** Names are parted by commas; "a,,b" holds an empty one, NULL means none. */
struct pb mk_node(const char *op, const char *name, const char *in, const char *out);
void add_attr_int(struct pb *node, const char *name, int64_t v);
void add_attr_float(struct pb *node, const char *name, float v);
void add_attr_str(struct pb *node, const char *name, const char *v);
void add_attr_ints(struct pb *node, const char *name, const int64_t *v, size_t n);
void add_attr_floats(struct pb *node, const char *name, const float *v, size_t n);
void add_attr_strs(struct pb *node, const char *name, const char *list);
void add_attr_tensor(struct pb *node, const char *name, struct pb tensor);
void add_attr_graph(struct pb *node, const char *name, struct pb graph);
/** Attribute `name` is the attribute `ref` of the function around. */
void add_attr_ref(struct pb *node, const char *name, int type, const char *ref);

/** TensorProto without data; dims as "2,3", "" for rank 0. */
struct pb mk_tensor(const char *name, int data_type, const char *dims);
struct pb mk_f32(const char *name, const char *dims, const float *data, size_t n);
struct pb mk_i64(const char *name, const char *dims, const int64_t *data, size_t n);
/** ValueInfoProto of a tensor; dims are numbers or names: "batch,3"; NULL: no shape. */
struct pb mk_info(const char *name, int elem_type, const char *dims);
/** Number of an If branch etc.: a graph of nodes that are added with pb_msg(&g, G_NODE, node). */
struct pb mk_graph(const char *name);
/** ir_version, opset_import of the default domain (0: none), graph. */
struct pb mk_model(int64_t ir, int64_t opset, struct pb graph);
struct pb mk_opset(const char *domain, int64_t version);
struct pb mk_function(const char *domain, const char *name, const char *in, const char *out);

enum { G_NODE = 1, G_INIT = 5, G_INPUT = 11, G_OUTPUT = 12, G_INFO = 13, G_SPARSE = 15 };
enum { F_ATTR = 6, F_NODE = 7, F_OPSET = 9, F_DEFAULT = 11 };
enum { M_OPSET = 8, M_META = 14, M_FUNCTION = 25 };
enum { T_FLOAT = 1, T_U8 = 2, T_I8 = 3, T_I32 = 6, T_I64 = 7, T_STRING = 8, T_BOOL = 9 };

/** A model of one page with everything: initialisers, Constants, If with outer names, functions
 * that call functions, attribute references and defaults, metadata, an unused domain. */
struct pb sample_model(void);

/* ---- loading ---- */

rcd_onnx_model *load_ok(struct pb model);
/** Asserts that the model is refused with RCD_EMODEL and that the message holds `text`. */
void load_refused(struct pb model, const char *text);
/** The value of a name in the table; RCD_NO_VALUE when there is none. */
rcd_value_id value_named(const rcd_onnx_model *m, const char *name);
