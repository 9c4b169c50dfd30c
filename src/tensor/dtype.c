/* dtype.c - one table with everything that is known of an element type. */
#include "recurd/tensor.h"

#include <string.h>

static const struct {
    const char *name;      /* Open Inference Protocol */
    const char *onnx_name; /* as ONNX and numpy say it */
    uint8_t size;
    uint8_t onnx; /* TensorProto.DataType */
} types[RCD_DTYPE_MAX] = {
    [RCD_NONE] = {"NONE", "undefined", 0, 0},
    [RCD_BOOL] = {"BOOL", "bool", 1, 9},
    [RCD_U8] = {"UINT8", "uint8", 1, 2},
    [RCD_U16] = {"UINT16", "uint16", 2, 4},
    [RCD_U32] = {"UINT32", "uint32", 4, 12},
    [RCD_U64] = {"UINT64", "uint64", 8, 13},
    [RCD_I8] = {"INT8", "int8", 1, 3},
    [RCD_I16] = {"INT16", "int16", 2, 5},
    [RCD_I32] = {"INT32", "int32", 4, 6},
    [RCD_I64] = {"INT64", "int64", 8, 7},
    [RCD_F16] = {"FP16", "float16", 2, 10},
    [RCD_BF16] = {"BF16", "bfloat16", 2, 16},
    [RCD_F32] = {"FP32", "float32", 4, 1},
    [RCD_F64] = {"FP64", "float64", 8, 11},
    [RCD_BYTES] = {"BYTES", "string", sizeof(struct rcd_bytes), 8},
};

static size_t row(rcd_dtype t)
{
    return (size_t)t < RCD_DTYPE_MAX ? (size_t)t : (size_t)RCD_NONE;
}

size_t rcd_dtype_size(rcd_dtype t)
{
    return types[row(t)].size;
}

const char *rcd_dtype_name(rcd_dtype t)
{
    return types[row(t)].name;
}

const char *rcd_dtype_onnx_name(rcd_dtype t)
{
    return t == RCD_SEQ ? "sequence" : types[row(t)].onnx_name;
}

int32_t rcd_dtype_to_onnx(rcd_dtype t)
{
    return types[row(t)].onnx;
}

rcd_dtype rcd_dtype_from_onnx(int32_t data_type)
{
    for (size_t i = 1; i < RCD_DTYPE_MAX; i++)
        if (types[i].onnx == data_type)
            return (rcd_dtype)i;
    return RCD_NONE;
}

rcd_dtype rcd_dtype_parse(const char *name, size_t len)
{
    for (size_t i = 1; i < RCD_DTYPE_MAX; i++)
        if (strlen(types[i].name) == len && memcmp(types[i].name, name, len) == 0)
            return (rcd_dtype)i;
    return RCD_NONE;
}
