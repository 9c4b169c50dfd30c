/* tensor_data.c - the elements of a TensorProto: raw bytes, typed fields, or an external file. */
#include "onnx_int.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "raw_data is little endian");

enum { LOCATION_DEFAULT = 0, LOCATION_EXTERNAL = 1 };

/* Elements in the typed field of the tensor's type, and in all data fields together. */
static size_t typed_count(const Onx__TensorProto *p, rcd_dtype t)
{
    switch (t) {
    case RCD_F32:
        return p->n_float_data;
    case RCD_F64:
        return p->n_double_data;
    case RCD_I64:
        return p->n_int64_data;
    case RCD_U32:
    case RCD_U64:
        return p->n_uint64_data;
    case RCD_BYTES:
        return p->n_string_data;
    default:
        return p->n_int32_data;
    }
}

static size_t any_count(const Onx__TensorProto *p)
{
    return p->n_float_data + p->n_double_data + p->n_int64_data + p->n_uint64_data +
           p->n_string_data + p->n_int32_data;
}

static rcd_status out_of_range(struct rcd__load *l, rcd_dtype t, size_t i, long long v)
{
    return rcd_fail(l->err, RCD_EMODEL, "element %zu is %lld, not a value of %s", i, v,
                    rcd_dtype_onnx_name(t));
}

/* Types of 4 bytes and less travel in int32_data; the halves as their bits. */
static rcd_status from_int32(struct rcd__load *l, const Onx__TensorProto *p, struct rcd_tensor *t)
{
    static const struct {
        int32_t low, high;
    } ranges[RCD_DTYPE_MAX] = {
        [RCD_BOOL] = {0, 1},
        [RCD_U8] = {0, UINT8_MAX},
        [RCD_U16] = {0, UINT16_MAX},
        [RCD_I8] = {INT8_MIN, INT8_MAX},
        [RCD_I16] = {INT16_MIN, INT16_MAX},
        [RCD_I32] = {INT32_MIN, INT32_MAX},
        [RCD_F16] = {0, UINT16_MAX},
        [RCD_BF16] = {0, UINT16_MAX},
    };
    size_t width = rcd_dtype_size(t->dtype);
    for (size_t i = 0; i < t->n; i++) {
        int32_t v = p->int32_data[i];
        if (v < ranges[t->dtype].low || v > ranges[t->dtype].high)
            return out_of_range(l, t->dtype, i, v);
        memcpy((char *)t->data + i * width, &v, width); /* little endian: the low bytes */
    }
    return RCD_OK;
}

static rcd_status from_strings(struct rcd__load *l, const Onx__TensorProto *p, struct rcd_tensor *t)
{
    struct rcd_bytes *out = t->data;
    for (size_t i = 0; i < t->n; i++) {
        const ProtobufCBinaryData *s = &p->string_data[i];
        out[i].len = s->len;
        out[i].ptr = rcd__onnx_keep_text(l, (const char *)s->data, s->len);
        if (out[i].ptr == NULL)
            return rcd__onnx_no_memory(l);
    }
    return RCD_OK;
}

static rcd_status from_typed(struct rcd__load *l, const Onx__TensorProto *p, struct rcd_tensor *t,
                             size_t bytes)
{
    switch (t->dtype) {
    case RCD_F32:
        memcpy(t->data, p->float_data, bytes);
        return RCD_OK;
    case RCD_F64:
        memcpy(t->data, p->double_data, bytes);
        return RCD_OK;
    case RCD_I64:
        memcpy(t->data, p->int64_data, bytes);
        return RCD_OK;
    case RCD_U64:
        memcpy(t->data, p->uint64_data, bytes);
        return RCD_OK;
    case RCD_U32:
        for (size_t i = 0; i < t->n; i++) {
            if (p->uint64_data[i] > UINT32_MAX)
                return out_of_range(l, t->dtype, i, (long long)p->uint64_data[i]);
            ((uint32_t *)t->data)[i] = (uint32_t)p->uint64_data[i];
        }
        return RCD_OK;
    case RCD_BYTES:
        return from_strings(l, p, t);
    default:
        return from_int32(l, p, t);
    }
}

/* Which of the three forms holds the data, and is it exactly enough? */
static rcd_status check_form(struct rcd__load *l, const Onx__TensorProto *p,
                             const struct rcd_tensor *t, size_t bytes)
{
    char shape[RCD_MAX_RANK * 22];
    rcd_shape_text(shape, sizeof shape, t->rank, t->dims);
    const char *type = rcd_dtype_onnx_name(t->dtype);
    size_t typed = typed_count(p, t->dtype), any = any_count(p);
    bool raw = p->has_raw_data && (p->raw_data.len > 0 || any == 0);
    if (p->data_location != LOCATION_DEFAULT && p->data_location != LOCATION_EXTERNAL)
        return rcd_fail(l->err, RCD_EMODEL, "unknown data_location %d", (int)p->data_location);
    if (p->data_location == LOCATION_EXTERNAL) {
        if (any > 0 || (p->has_raw_data && p->raw_data.len > 0))
            return rcd_fail(l->err, RCD_EMODEL, "data both in the file and external");
        if (t->dtype == RCD_BYTES)
            return rcd_fail(l->err, RCD_EMODEL, "a string tensor cannot be external");
        return RCD_OK;
    }
    if (any > typed || (raw && any > 0))
        return rcd_fail(l->err, RCD_EMODEL, "data of %s lie in a field of another type", type);
    if (raw && t->dtype == RCD_BYTES && p->raw_data.len > 0)
        return rcd_fail(l->err, RCD_EMODEL, "a string tensor cannot have raw_data");
    if (raw && p->raw_data.len != bytes)
        return rcd_fail(l->err, RCD_EMODEL, "%s%s needs %zu bytes, raw_data has %zu", type, shape,
                        bytes, p->raw_data.len);
    if (!raw && typed != t->n)
        return rcd_fail(l->err, RCD_EMODEL, "%s%s needs %zu elements, the file has %zu", type,
                        shape, t->n, typed);
    return RCD_OK;
}

rcd_status rcd__onnx_tensor_data(struct rcd__load *l, const Onx__TensorProto *p,
                                 struct rcd_tensor *t, size_t bytes)
{
    rcd_status st = check_form(l, p, t, bytes);
    if (st != RCD_OK)
        return st;
    if (bytes >= l->arena->max - l->arena->used)
        l->mem->over = true;
    t->data = rcd_arena_alloc_aligned(l->arena, bytes);
    if (t->data == NULL)
        return rcd__onnx_no_memory(l);
    if (p->data_location == LOCATION_EXTERNAL)
        st = rcd__onnx_external(l, p, t->data, bytes);
    else if (t->n == 0)
        return RCD_OK;
    else if (p->has_raw_data && p->raw_data.len > 0)
        memcpy(t->data, p->raw_data.data, bytes);
    else
        return from_typed(l, p, t, bytes);
    if (st == RCD_OK && t->dtype == RCD_BOOL) { /* any other byte is not a bool in C */
        uint8_t *b = t->data;
        for (size_t i = 0; i < t->n; i++)
            b[i] = b[i] != 0;
    }
    return st;
}
