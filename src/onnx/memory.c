/* memory.c - the loader's memory: scratch under a byte limit, and what stays with the model.
 *
 * protobuf-c unpacks a message into many small allocations and keeps copies of fields that it does
 * not know, so a file of 2-byte fields grows fifty-fold. Every piece carries its size in front,
 * so that the limit counts what is alive. */
#include "onnx_int.h"

#include <string.h>

enum { HEAD = 16 }; /* keeps malloc's alignment */

void *rcd__onnx_mem_alloc(struct rcd__onnx_mem *mem, size_t bytes)
{
    size_t total = 0;
    if (!rcd_add(bytes, HEAD, &total) || total > mem->max - mem->live) {
        mem->over = true;
        return NULL;
    }
    char *p = rcd_alloc(total);
    if (p == NULL) {
        mem->failed = true;
        return NULL;
    }
    memcpy(p, &total, sizeof total);
    mem->live += total;
    return p + HEAD;
}

void rcd__onnx_mem_free(struct rcd__onnx_mem *mem, void *p)
{
    if (p == NULL)
        return;
    char *start = (char *)p - HEAD;
    size_t total = 0;
    memcpy(&total, start, sizeof total);
    RCD_ASSERT(mem->live >= total);
    mem->live -= total;
    rcd_free(start);
}

static void *vt_alloc(void *data, size_t bytes)
{
    return rcd__onnx_mem_alloc(data, bytes);
}

static void vt_free(void *data, void *p)
{
    rcd__onnx_mem_free(data, p);
}

void rcd__onnx_mem_init(struct rcd__onnx_mem *mem, size_t max_bytes)
{
    *mem = (struct rcd__onnx_mem){.vt = {vt_alloc, vt_free, mem}, .max = max_bytes};
}

bool rcd__onnx_mem_grow(struct rcd__onnx_mem *mem, void **list, size_t n, size_t *cap, size_t size)
{
    if (n < *cap)
        return true;
    size_t more = *cap < 8 ? 16 : *cap * 2;
    size_t bytes = 0;
    if (!rcd_mul(more, size, &bytes)) {
        mem->over = true;
        return false;
    }
    void *grown = rcd__onnx_mem_alloc(mem, bytes);
    if (grown == NULL)
        return false;
    if (n > 0)
        memcpy(grown, *list, n * size);
    rcd__onnx_mem_free(mem, *list);
    *list = grown;
    *cap = more;
    return true;
}

void *rcd__onnx_keep(struct rcd__load *l, size_t count, size_t size)
{
    void *p = rcd_arena_calloc(l->arena, count, size);
    if (p == NULL) {
        size_t bytes = 0;
        if (!rcd_mul(count, size, &bytes) || bytes >= l->arena->max - l->arena->used)
            l->mem->over = true;
    }
    return p;
}

char *rcd__onnx_keep_text(struct rcd__load *l, const char *text, size_t len)
{
    char *copy = rcd__onnx_keep(l, len + 1, 1);
    if (copy != NULL && len > 0)
        memcpy(copy, text, len);
    return copy;
}

rcd_status rcd__onnx_no_memory(struct rcd__load *l)
{
    /* An arena close to its limit may fail a little before it: rounding and alignment. */
    bool full = l->arena->max - l->arena->used < 4 * RCD_ALIGN;
    if (!l->mem->failed && (l->mem->over || full))
        return rcd_fail(l->err, RCD_EMODEL, "the model unpacks to more than the limit of %zu bytes",
                        l->arena->max);
    return rcd_fail(l->err, RCD_ENOMEM, "no memory for the model (%zu bytes so far)",
                    l->arena->used + l->mem->live);
}

rcd_status rcd__onnx_unpack(struct rcd__load *l, const ProtobufCMessageDescriptor *desc,
                            const void *bytes, size_t len, ProtobufCMessage **ret)
{
    rcd_status st = rcd__onnx_wire_scan(desc, bytes, len, l->err);
    if (st != RCD_OK)
        return st;
    ProtobufCMessage *p = protobuf_c_message_unpack(desc, &l->mem->vt, len, bytes);
    if (p == NULL && (l->mem->over || l->mem->failed))
        return rcd__onnx_no_memory(l);
    if (p == NULL)
        return rcd_fail(l->err, RCD_EMODEL,
                        "not a valid ONNX file: a field has the wrong wire type");
    *ret = p;
    return RCD_OK;
}
