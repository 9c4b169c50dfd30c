/* model_bytes.c - see model_bytes.h. */
#include "model_bytes.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static uint8_t heap[64 << 20];
static size_t heap_used;

static void need(struct pb *p, size_t more)
{
    if (p->cap - p->len >= more)
        return;
    size_t cap = (p->len + more) * 2 + 64;
    cr_assert_leq(cap, sizeof heap - heap_used, "the heap of the test is too small");
    uint8_t *grown = heap + heap_used;
    heap_used += cap;
    if (p->len > 0)
        memcpy(grown, p->data, p->len);
    p->data = grown;
    p->cap = cap;
}

void pb_raw(struct pb *p, const void *data, size_t len)
{
    need(p, len);
    if (len > 0)
        memcpy(p->data + p->len, data, len);
    p->len += len;
}

static void varint(struct pb *p, uint64_t v)
{
    do {
        uint8_t c = (uint8_t)((v & 0x7f) | (v > 0x7f ? 0x80 : 0));
        pb_raw(p, &c, 1);
        v >>= 7;
    } while (v != 0);
}

void pb_int(struct pb *p, unsigned field, int64_t v)
{
    varint(p, (uint64_t)field << 3);
    varint(p, (uint64_t)v);
}

void pb_float(struct pb *p, unsigned field, float v)
{
    varint(p, (uint64_t)field << 3 | 5);
    pb_raw(p, &v, sizeof v);
}

void pb_bytes(struct pb *p, unsigned field, const void *data, size_t len)
{
    varint(p, (uint64_t)field << 3 | 2);
    varint(p, len);
    pb_raw(p, data, len);
}

void pb_str(struct pb *p, unsigned field, const char *text)
{
    pb_bytes(p, field, text, strlen(text));
}

void pb_msg(struct pb *p, unsigned field, struct pb child)
{
    pb_bytes(p, field, child.data, child.len);
}

void pb_packed(struct pb *p, unsigned field, const int64_t *v, size_t n)
{
    struct pb list = {0};
    for (size_t i = 0; i < n; i++)
        varint(&list, (uint64_t)v[i]);
    pb_msg(p, field, list);
}

/* Call `add` with each part of "a,b,c". */
static void split(struct pb *p, unsigned field, const char *list,
                  void (*add)(struct pb *, unsigned, const char *, size_t))
{
    if (list == NULL)
        return;
    for (;;) {
        size_t len = strcspn(list, ",");
        add(p, field, list, len);
        if (list[len] == '\0')
            return;
        list += len + 1;
    }
}

static void add_name(struct pb *p, unsigned field, const char *text, size_t len)
{
    pb_bytes(p, field, text, len);
}

static void add_number(struct pb *p, unsigned field, const char *text, size_t len)
{
    if (len > 0)
        pb_int(p, field, strtoll(text, NULL, 10));
}

static void add_dim(struct pb *p, unsigned field, const char *text, size_t len)
{
    struct pb dim = {0};
    if (len == 0)
        return;
    if (text[0] == '-' || (text[0] >= '0' && text[0] <= '9'))
        pb_int(&dim, 1, strtoll(text, NULL, 10));
    else
        pb_bytes(&dim, 2, text, len);
    pb_msg(p, field, dim);
}

struct pb mk_node(const char *op, const char *name, const char *in, const char *out)
{
    struct pb n = {0};
    split(&n, 1, in, add_name);
    split(&n, 2, out, add_name);
    if (name != NULL)
        pb_str(&n, 3, name);
    pb_str(&n, 4, op);
    return n;
}

static struct pb attr(const char *name, int type)
{
    struct pb a = {0};
    pb_str(&a, 1, name);
    pb_int(&a, 20, type);
    return a;
}

void add_attr_int(struct pb *node, const char *name, int64_t v)
{
    struct pb a = attr(name, 2);
    pb_int(&a, 3, v);
    pb_msg(node, 5, a);
}

void add_attr_float(struct pb *node, const char *name, float v)
{
    struct pb a = attr(name, 1);
    pb_float(&a, 2, v);
    pb_msg(node, 5, a);
}

void add_attr_str(struct pb *node, const char *name, const char *v)
{
    struct pb a = attr(name, 3);
    pb_str(&a, 4, v);
    pb_msg(node, 5, a);
}

void add_attr_ints(struct pb *node, const char *name, const int64_t *v, size_t n)
{
    struct pb a = attr(name, 7);
    for (size_t i = 0; i < n; i++)
        pb_int(&a, 8, v[i]);
    pb_msg(node, 5, a);
}

void add_attr_floats(struct pb *node, const char *name, const float *v, size_t n)
{
    struct pb a = attr(name, 6);
    pb_bytes(&a, 7, v, n * sizeof *v);
    pb_msg(node, 5, a);
}

void add_attr_strs(struct pb *node, const char *name, const char *list)
{
    struct pb a = attr(name, 8);
    split(&a, 9, list, add_name);
    pb_msg(node, 5, a);
}

void add_attr_tensor(struct pb *node, const char *name, struct pb tensor)
{
    struct pb a = attr(name, 4);
    pb_msg(&a, 5, tensor);
    pb_msg(node, 5, a);
}

void add_attr_graph(struct pb *node, const char *name, struct pb graph)
{
    struct pb a = attr(name, 5);
    pb_msg(&a, 6, graph);
    pb_msg(node, 5, a);
}

void add_attr_ref(struct pb *node, const char *name, int type, const char *ref)
{
    struct pb a = attr(name, type);
    pb_str(&a, 21, ref);
    pb_msg(node, 5, a);
}

struct pb mk_tensor(const char *name, int data_type, const char *dims)
{
    struct pb t = {0};
    split(&t, 1, dims, add_number);
    pb_int(&t, 2, data_type);
    pb_str(&t, 8, name);
    return t;
}

struct pb mk_f32(const char *name, const char *dims, const float *data, size_t n)
{
    struct pb t = mk_tensor(name, T_FLOAT, dims);
    pb_bytes(&t, 9, data, n * sizeof *data);
    return t;
}

struct pb mk_i64(const char *name, const char *dims, const int64_t *data, size_t n)
{
    struct pb t = mk_tensor(name, T_I64, dims);
    pb_bytes(&t, 9, data, n * sizeof *data); /* raw_data */
    return t;
}

struct pb mk_info(const char *name, int elem_type, const char *dims)
{
    struct pb info = {0}, type = {0}, tensor = {0}, shape = {0};
    pb_str(&info, 1, name);
    pb_int(&tensor, 1, elem_type);
    split(&shape, 1, dims, add_dim);
    if (dims != NULL)
        pb_msg(&tensor, 2, shape);
    pb_msg(&type, 1, tensor);
    pb_msg(&info, 2, type);
    return info;
}

struct pb mk_graph(const char *name)
{
    struct pb g = {0};
    pb_str(&g, 2, name);
    return g;
}

struct pb mk_opset(const char *domain, int64_t version)
{
    struct pb o = {0};
    pb_str(&o, 1, domain);
    pb_int(&o, 2, version);
    return o;
}

struct pb mk_model(int64_t ir, int64_t opset, struct pb graph)
{
    struct pb m = {0};
    pb_int(&m, 1, ir);
    pb_str(&m, 2, "recurd-tests");
    if (opset != 0)
        pb_msg(&m, M_OPSET, mk_opset("", opset));
    pb_msg(&m, 7, graph);
    return m;
}

struct pb mk_function(const char *domain, const char *name, const char *in, const char *out)
{
    struct pb f = {0};
    pb_str(&f, 1, name);
    split(&f, 4, in, add_name);
    split(&f, 5, out, add_name);
    pb_str(&f, 10, domain);
    return f;
}

/* scale(x; factor = 3) = x * factor; twice(x) = scale(scale(x, factor = 2)) */
static void add_functions(struct pb *m)
{
    struct pb scale = mk_function("test", "scale", "x", "y");
    struct pb factor = mk_node("Constant", NULL, NULL, "f"), dflt = {0};
    add_attr_ref(&factor, "value_float", 1, "factor");
    pb_msg(&scale, F_NODE, factor);
    pb_msg(&scale, F_NODE, mk_node("Mul", "mul", "x,f", "y"));
    pb_msg(&scale, F_OPSET, mk_opset("", 14));
    pb_str(&dflt, 1, "factor");
    pb_float(&dflt, 2, 3.0f);
    pb_int(&dflt, 20, 1);
    pb_msg(&scale, F_DEFAULT, dflt);
    pb_msg(m, M_FUNCTION, scale);

    struct pb twice = mk_function("test", "twice", "x", "y");
    struct pb call = mk_node("scale", NULL, "x", "t"), again = mk_node("scale", NULL, "t", "y");
    pb_str(&call, 7, "test");
    pb_str(&again, 7, "test");
    add_attr_float(&call, "factor", 2.0f);
    pb_msg(&twice, F_NODE, call);
    pb_msg(&twice, F_NODE, again);
    pb_msg(&twice, F_OPSET, mk_opset("test", 1));
    pb_msg(m, M_FUNCTION, twice);
}

struct pb sample_model(void)
{
    static const float w[6] = {1, 2, 3, 4, 5, 6};
    struct pb g = mk_graph("main");
    pb_msg(&g, G_INPUT, mk_info("x", T_FLOAT, "batch,2"));
    pb_msg(&g, G_INPUT, mk_info("flag", T_BOOL, ""));
    pb_msg(&g, G_INIT, mk_f32("w", "2,3", w, 6));
    struct pb shape = mk_tensor("shape", T_I64, "2");
    pb_packed(&shape, 7, (int64_t[]){-1, 3}, 2);
    pb_msg(&g, G_INIT, shape);
    struct pb words = mk_tensor("words", T_STRING, "2");
    pb_str(&words, 6, "one");
    pb_str(&words, 6, "");
    pb_msg(&g, G_INIT, words);
    pb_msg(&g, G_NODE, mk_node("MatMul", "mm", "x,w", "h"));
    pb_msg(&g, G_INFO, mk_info("h", T_FLOAT, "batch,3"));

    struct pb yes = mk_graph("yes"), no = mk_graph("no"),
              one = mk_node("Constant", NULL, NULL, "c");
    add_attr_float(&one, "value_float", 1.0f);
    pb_msg(&yes, G_NODE, one);
    pb_msg(&yes, G_NODE, mk_node("Add", NULL, "h,c", "a"));
    pb_msg(&yes, G_OUTPUT, mk_info("a", T_FLOAT, NULL));
    pb_msg(&no, G_NODE, mk_node("Relu", NULL, "h", "b"));
    pb_msg(&no, G_OUTPUT, mk_info("b", T_FLOAT, NULL));
    struct pb branch = mk_node("If", "branch", "flag", "s");
    add_attr_graph(&branch, "then_branch", yes);
    add_attr_graph(&branch, "else_branch", no);
    pb_msg(&g, G_NODE, branch);
    struct pb call = mk_node("twice", "call", "s", "y");
    pb_str(&call, 7, "test");
    pb_msg(&g, G_NODE, call);
    pb_msg(&g, G_OUTPUT, mk_info("y", T_FLOAT, "batch,3"));

    struct pb m = mk_model(8, 17, g), meta = {0};
    pb_str(&m, 6, "a sample");
    pb_msg(&m, M_OPSET, mk_opset("test", 1));
    pb_msg(&m, M_OPSET, mk_opset("com.example.unused", 7));
    pb_str(&meta, 1, "key");
    pb_str(&meta, 2, "value");
    pb_msg(&m, M_META, meta);
    add_functions(&m);
    return m;
}

static rcd_status load(struct pb model, rcd_onnx_model **ret, struct rcd_error *err)
{
    const struct rcd_onnx_source src = {model.data, model.len, -1, (size_t)256 << 20};
    return rcd_onnx_load(&src, ret, err);
}

rcd_onnx_model *load_ok(struct pb model)
{
    struct rcd_error err = {RCD_OK, ""};
    rcd_onnx_model *m = NULL;
    cr_assert_eq(load(model, &m, &err), RCD_OK, "%s", err.text);
    return m;
}

void load_refused(struct pb model, const char *text)
{
    struct rcd_error err = {RCD_OK, ""};
    rcd_onnx_model *m = NULL;
    rcd_status st = load(model, &m, &err);
    cr_assert_eq(st, RCD_EMODEL, "want '%s', got status %d '%s'", text, (int)st, err.text);
    cr_assert(strstr(err.text, text) != NULL, "want '%s', got '%s'", text, err.text);
    cr_assert_null(m);
}

rcd_value_id value_named(const rcd_onnx_model *m, const char *name)
{
    for (size_t i = 0; i < m->n_values; i++)
        if (strcmp(m->values[i].name, name) == 0)
            return (rcd_value_id)i;
    return RCD_NO_VALUE;
}
