/* tensor.c - TensorProto -> tensor: type, shape, and where the data comes from. */
#include "onnx_int.h"

#include <string.h>

char *rcd__onnx_quote(char *out, const char *name)
{
    return rcd_quote(out, ONNX_QUOTE, name, strlen(name));
}

/* Types of ONNX that recurd does not have, so that the message can say their names. */
static const char *foreign_type(int32_t data_type)
{
    static const char *const names[] = {
        [14] = "complex64",      [15] = "complex128", [17] = "float8e4m3fn",
        [18] = "float8e4m3fnuz", [19] = "float8e5m2", [20] = "float8e5m2fnuz",
        [21] = "uint4",          [22] = "int4",       [23] = "float4e2m1",
        [24] = "float8e8m0",     [25] = "uint2",      [26] = "int2",
        [27] = "float6e2m3",     [28] = "float6e3m2",
    };
    if (data_type < 0 || (size_t)data_type >= RCD_COUNT(names))
        return NULL;
    return names[data_type];
}

rcd_status rcd__onnx_dtype(struct rcd__load *l, int32_t data_type, rcd_dtype *ret)
{
    rcd_dtype t = rcd_dtype_from_onnx(data_type);
    if (t == RCD_NONE && foreign_type(data_type) != NULL)
        return rcd_fail(l->err, RCD_EMODEL, "element type %s is not supported",
                        foreign_type(data_type));
    if (t == RCD_NONE)
        return rcd_fail(l->err, RCD_EMODEL, "unknown element type %d", (int)data_type);
    *ret = t;
    return RCD_OK;
}

static rcd_status fill(struct rcd__load *l, const Onx__TensorProto *p, struct rcd_tensor *t)
{
    rcd_dtype dtype = RCD_NONE;
    size_t n = 0, bytes = 0;
    rcd_status st = rcd__onnx_dtype(l, p->data_type, &dtype);
    if (st != RCD_OK)
        return st;
    if (p->n_dims > RCD_MAX_RANK)
        return rcd_fail(l->err, RCD_EMODEL, "rank %zu is over the limit of %d", p->n_dims,
                        RCD_MAX_RANK);
    if (p->has_segment)
        return rcd_fail(l->err, RCD_EMODEL, "tensors in segments are not supported");
    if (!rcd_shape_count(dtype, (int)p->n_dims, p->dims, &n, &bytes)) {
        char shape[RCD_MAX_RANK * 22];
        return rcd_fail(l->err, RCD_EMODEL, "%s shape %s is not possible",
                        rcd_dtype_onnx_name(dtype),
                        rcd_shape_text(shape, sizeof shape, (int)p->n_dims, p->dims));
    }
    (void)rcd_tensor_shape(t, dtype, (int)p->n_dims, p->dims);
    return rcd__onnx_tensor_data(l, p, t, bytes);
}

rcd_status rcd__onnx_tensor(struct rcd__load *l, const Onx__TensorProto *p, struct rcd_tensor *ret)
{
    struct rcd_tensor t;
    rcd_status st = fill(l, p, &t);
    if (st == RCD_EMODEL || st == RCD_EIO) {
        char name[ONNX_QUOTE];
        return rcd_error_prefix(l->err, st,
                                "tensor '%s': ", rcd__onnx_quote(name, rcd__text(p->name)));
    }
    if (st == RCD_OK)
        *ret = t;
    return st;
}

rcd_status rcd_onnx_tensor_load(struct rcd_arena *arena, const void *bytes, size_t len,
                                struct rcd_tensor *ret_t, const char **ret_name,
                                struct rcd_error *err)
{
    struct rcd__onnx_mem mem;
    rcd__onnx_mem_init(&mem, arena->max);
    struct rcd__load l = {.arena = arena, .mem = &mem, .err = err, .dir_fd = -1};
    ProtobufCMessage *msg = NULL;
    rcd_status st = rcd__onnx_unpack(&l, &onx__tensor_proto__descriptor, bytes, len, &msg);
    if (st != RCD_OK)
        return st;
    const Onx__TensorProto *p = (const Onx__TensorProto *)msg;
    const char *text = rcd__text(p->name);
    const char *name = ret_name != NULL ? rcd__onnx_keep_text(&l, text, strlen(text)) : "";
    struct rcd_tensor t;
    st = name == NULL ? rcd__onnx_no_memory(&l) : rcd__onnx_tensor(&l, p, &t);
    protobuf_c_message_free_unpacked(msg, &mem.vt);
    if (st != RCD_OK)
        return st;
    *ret_t = t;
    if (ret_name != NULL)
        *ret_name = name;
    return RCD_OK;
}
