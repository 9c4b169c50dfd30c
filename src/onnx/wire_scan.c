/* wire_scan.c - a walk over protobuf bytes before protobuf-c sees them.
 *
 * protobuf-c recurses into nested messages without a bound, so a few kilobytes of nesting could
 * end the stack; and it merges a singular sub-message that occurs twice, which no writer of ONNX
 * files does. The walk uses protobuf-c's own descriptors, an explicit stack, and no memory. */
#include "onnx_int.h"

#include <limits.h>
#include <string.h>

enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

struct level {
    const ProtobufCMessageDescriptor *desc;
    const uint8_t *end;
    uint64_t seen; /* singular sub-messages, by position in desc */
};

struct scan {
    const uint8_t *start, *at;
    size_t n_messages, n_nodes;
    int depth;
    struct level levels[ONNX_MAX_DEPTH];
    struct rcd_error *err;
};

bool rcd__onnx_utf8(const uint8_t *text, size_t len)
{
    for (size_t i = 0; i < len;) {
        uint8_t c = text[i];
        size_t more = c < 0x80 ? 0 : c < 0xc2 ? 9 : c < 0xe0 ? 1 : c < 0xf0 ? 2 : c < 0xf5 ? 3 : 9;
        if (c == 0 || more > 3 || more >= len - i)
            return false;
        for (size_t k = 1; k <= more; k++)
            if ((text[i + k] & 0xc0) != 0x80)
                return false;
        uint8_t second = more > 1 ? text[i + 1] : 0x80; /* overlong forms, surrogates, > 10ffff */
        if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second >= 0xa0) ||
            (c == 0xf0 && second < 0x90) || (c == 0xf4 && second >= 0x90))
            return false;
        i += more + 1;
    }
    return true;
}

static size_t offset(const struct scan *s)
{
    return (size_t)(s->at - s->start);
}

static rcd_status broken(const struct scan *s, const char *what)
{
    return rcd_fail(s->err, RCD_EMODEL, "not a valid ONNX file: %s at byte %zu", what, offset(s));
}

/* At most `max_len` bytes, as protobuf-c reads them; false when they do not end in time. */
static bool varint(struct scan *s, const uint8_t *end, size_t max_len, uint64_t *ret)
{
    uint64_t v = 0;
    for (size_t i = 0; i < max_len && s->at + i < end; i++) {
        uint8_t c = s->at[i];
        v |= (uint64_t)(c & 0x7f) << (7 * i);
        if (c < 0x80) {
            s->at += i + 1;
            *ret = v;
            return true;
        }
    }
    return false;
}

static rcd_status push(struct scan *s, const ProtobufCFieldDescriptor *f, size_t len)
{
    struct level *parent = &s->levels[s->depth - 1];
    const ProtobufCMessageDescriptor *desc = f->descriptor;
    if (f->label != PROTOBUF_C_LABEL_REPEATED) {
        uint64_t bit = (uint64_t)1 << (f - parent->desc->fields);
        if ((parent->seen & bit) != 0)
            return rcd_fail(s->err, RCD_EMODEL,
                            "not a valid ONNX file: %s.%s is there twice, at byte %zu",
                            parent->desc->short_name, f->name, offset(s));
        parent->seen |= bit;
    }
    if (s->depth == ONNX_MAX_DEPTH)
        return rcd_fail(s->err, RCD_EMODEL,
                        "messages are nested more than %d deep, at byte %zu (%s)", ONNX_MAX_DEPTH,
                        offset(s), desc->short_name);
    if (++s->n_messages > ONNX_MAX_MESSAGES)
        return rcd_fail(s->err, RCD_EMODEL, "the file holds more than %d parts", ONNX_MAX_MESSAGES);
    if (desc == &onx__node_proto__descriptor && ++s->n_nodes > ONNX_MAX_NODES)
        return rcd_fail(s->err, RCD_EMODEL, "the file holds more than %d nodes", ONNX_MAX_NODES);
    s->levels[s->depth++] = (struct level){.desc = desc, .end = s->at + len};
    return RCD_OK;
}

static rcd_status length_prefixed(struct scan *s, const struct level *lv,
                                  const ProtobufCFieldDescriptor *f)
{
    uint64_t len = 0;
    if (!varint(s, lv->end, 5, &len))
        return broken(s, "a broken length");
    if (len > (uint64_t)(lv->end - s->at))
        return broken(s, "a length that passes the end");
    if (f != NULL && f->type == PROTOBUF_C_TYPE_MESSAGE)
        return push(s, f, (size_t)len);
    if (f != NULL && f->type == PROTOBUF_C_TYPE_STRING && !rcd__onnx_utf8(s->at, (size_t)len))
        return rcd_fail(s->err, RCD_EMODEL,
                        "not a valid ONNX file: %s.%s is not UTF-8 text, at byte %zu",
                        lv->desc->short_name, f->name, offset(s));
    bool long_text = lv->desc == &onx__string_string_entry_proto__descriptor;
    if (f != NULL && f->type == PROTOBUF_C_TYPE_STRING && len > ONNX_MAX_NAME && !long_text)
        return rcd_fail(s->err, RCD_EMODEL, "%s.%s has %llu bytes, the limit is %d, at byte %zu",
                        lv->desc->short_name, f->name, (unsigned long long)len, ONNX_MAX_NAME,
                        offset(s));
    s->at += len;
    return RCD_OK;
}

static rcd_status field(struct scan *s)
{
    const struct level *lv = &s->levels[s->depth - 1];
    uint64_t key = 0, skipped = 0;
    const uint8_t *start = s->at;
    if (!varint(s, lv->end, 5, &key) || key > UINT32_MAX || key >> 3 == 0) {
        s->at = start;
        return broken(s, "a broken field key");
    }
    const ProtobufCFieldDescriptor *f =
        protobuf_c_message_descriptor_get_field(lv->desc, (unsigned)(key >> 3));
    size_t left = (size_t)(lv->end - s->at);
    switch (key & 7) {
    case WIRE_VARINT:
        return varint(s, lv->end, 10, &skipped) ? RCD_OK : broken(s, "a broken number");
    case WIRE_64:
    case WIRE_32: {
        size_t width = (key & 7) == WIRE_64 ? 8 : 4;
        if (left < width)
            return broken(s, "a number that passes the end");
        s->at += width;
        return RCD_OK;
    }
    case WIRE_BYTES:
        return length_prefixed(s, lv, f);
    default: /* groups were never part of the format */
        s->at = start;
        return broken(s, "a field of unknown wire type");
    }
}

rcd_status rcd__onnx_wire_scan(const ProtobufCMessageDescriptor *desc, const void *bytes,
                               size_t len, struct rcd_error *err)
{
    if (len > INT_MAX)
        return rcd_fail(err, RCD_EMODEL,
                        "the file has %zu bytes, protobuf ends at %d: large weights belong into "
                        "external data",
                        len, INT_MAX);
    struct scan s = {.start = bytes, .at = bytes, .err = err, .depth = 1};
    s.levels[0] = (struct level){.desc = desc, .end = s.at + len};
    while (s.depth > 0) {
        if (s.at == s.levels[s.depth - 1].end) {
            s.depth--;
            continue;
        }
        rcd_status st = field(&s);
        if (st != RCD_OK)
            return st;
    }
    return RCD_OK;
}
