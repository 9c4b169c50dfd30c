/* classify.c - the k best of each row as "value:index[:label]" (wire.md 8.8).
 *
 * Values of every type become unsigned keys of the same order, so one heap serves all of them: the
 * worst of the best so far is at its root, and a row is read once. */
#include "codec_int.h"

#include "number_int.h"

#include <math.h>
#include <string.h>

struct ranked {
    uint64_t key;
    size_t index;
};

/* Order of doubles as unsigned integers; NaN comes last. -0 and 0 are equal. */
static uint64_t float_key(double v)
{
    if (isnan(v))
        return 0;
    v += 0.0;
    uint64_t bits;
    memcpy(&bits, &v, sizeof bits);
    return (bits >> 63) != 0 ? ~bits : bits | (uint64_t)1 << 63;
}

static bool is_signed_int(rcd_dtype t)
{
    return t == RCD_I8 || t == RCD_I16 || t == RCD_I32 || t == RCD_I64;
}

static double float_at(const struct rcd_tensor *t, size_t i)
{
    switch (t->dtype) {
    case RCD_F16:
        return (double)rcd_f16_to_f32(((const uint16_t *)t->data)[i]);
    case RCD_BF16:
        return (double)rcd_bf16_to_f32(((const uint16_t *)t->data)[i]);
    case RCD_F32:
        return (double)((const float *)t->data)[i];
    default:
        return ((const double *)t->data)[i];
    }
}

/* An integer element in two's complement of 64 bits. */
static uint64_t int_at(const struct rcd_tensor *t, size_t i)
{
    size_t bytes = rcd_dtype_size(t->dtype);
    uint64_t v = 0;
    memcpy(&v, (const char *)t->data + i * bytes, bytes);
    uint64_t sign = (uint64_t)1 << (8 * bytes - 1);
    return is_signed_int(t->dtype) ? (v ^ sign) - sign : v;
}

static bool is_float(rcd_dtype t)
{
    return t == RCD_F16 || t == RCD_BF16 || t == RCD_F32 || t == RCD_F64;
}

static uint64_t key_at(const struct rcd_tensor *t, size_t i)
{
    if (is_float(t->dtype))
        return float_key(float_at(t, i));
    return is_signed_int(t->dtype) ? int_at(t, i) ^ (uint64_t)1 << 63 : int_at(t, i);
}

static size_t value_text(const struct rcd_tensor *t, size_t i, char *out)
{
    if (!is_float(t->dtype))
        return is_signed_int(t->dtype) ? rcd__i64_print(out, (int64_t)int_at(t, i))
                                       : rcd_u64_print(out, int_at(t, i));
    double v = float_at(t, i);
    if (isfinite(v))
        return t->dtype == RCD_F64 ? rcd__f64_to_text(out, v) : rcd__f32_to_text(out, (float)v);
    return rcd__word_print(out, isnan(v) ? "NaN" : v > 0 ? "Infinity" : "-Infinity");
}

static bool is_worse(struct ranked a, struct ranked b)
{
    return a.key < b.key || (a.key == b.key && a.index > b.index);
}

/* Let `item` sink from the root of a heap of n with the worst on top. */
static void sink(struct ranked *heap, size_t n, struct ranked item)
{
    size_t at = 0;
    for (size_t child = 1; child < n; child = 2 * at + 1) {
        if (child + 1 < n && is_worse(heap[child + 1], heap[child]))
            child++;
        if (!is_worse(heap[child], item))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = item;
}

static void rise(struct ranked *heap, size_t at, struct ranked item)
{
    while (at > 0 && is_worse(item, heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = item;
}

/* best[0..k) of the row's n elements, best first. */
static void best_of_row(const struct rcd_tensor *t, size_t row, size_t n, size_t k,
                        struct ranked *best)
{
    for (size_t i = 0; i < n; i++) {
        struct ranked item = {.key = key_at(t, row * n + i), .index = i};
        if (i < k)
            rise(best, i, item);
        else if (is_worse(best[0], item))
            sink(best, k, item);
    }
    for (size_t left = k; left > 1; left--) { /* the worst of those left goes to their end */
        struct ranked worst = best[0];
        sink(best, left - 1, best[left - 1]);
        best[left - 1] = worst;
    }
}

static bool write_class(struct rcd_arena *arena, const struct rcd_tensor *t, size_t at,
                        size_t index, const char *label, struct rcd_bytes *ret)
{
    char text[RCD__F64_TEXT + 1 + 20];
    size_t len = value_text(t, at, text);
    text[len++] = ':';
    len += rcd_u64_print(text + len, index);
    size_t label_len = label != NULL ? strlen(label) : 0;
    size_t total = len + (label_len > 0 ? 1 + label_len : 0);
    char *out = rcd_arena_alloc(arena, total);
    if (out == NULL)
        return false;
    memcpy(out, text, len);
    if (label_len > 0) {
        out[len] = ':';
        rcd__word_print(out + len + 1, label);
    }
    *ret = (struct rcd_bytes){.ptr = out, .len = total};
    return true;
}

rcd_status rcd_wire_classify(struct rcd_arena *arena, const struct rcd_tensor *t, uint64_t k,
                             const char *const *labels, size_t n_labels, struct rcd_tensor *ret,
                             struct rcd_error *err)
{
    if (t->rank < 1 || t->dtype == RCD_BYTES || t->dtype == RCD_NONE)
        return rcd_fail(err, RCD_EINVAL,
                        "classification wants numbers of rank 1 or more, got %s of rank %d",
                        rcd_dtype_name(t->dtype), t->rank);
    if (k == 0)
        return rcd_fail(err, RCD_EINVAL, "classification 0; at least 1");
    struct rcd_tensor made = *t;
    int64_t dims[RCD_MAX_RANK];
    memcpy(dims, t->dims, sizeof dims);
    const size_t n = (size_t)dims[t->rank - 1];
    const size_t best_n = k < n ? (size_t)k : n;
    dims[t->rank - 1] = (int64_t)best_n;
    if (!rcd_tensor_shape(&made, RCD_BYTES, t->rank, dims))
        return rcd_fail(err, RCD_EINVAL, "classification %zu makes too many elements", best_n);
    struct ranked *best = rcd_arena_alloc(arena, best_n * sizeof *best);
    struct rcd_bytes *out = rcd_arena_alloc_aligned(arena, made.n * sizeof *out);
    if (best == NULL || out == NULL)
        goto oom;
    made.data = out;
    for (size_t row = 0; best_n > 0 && row < made.n / best_n; row++) {
        best_of_row(t, row, n, best_n, best);
        for (size_t i = 0; i < best_n; i++, out++) {
            size_t index = best[i].index;
            const char *label = index < n_labels ? labels[index] : NULL;
            if (!write_class(arena, t, row * n + index, index, label, out))
                goto oom;
        }
    }
    *ret = made;
    return RCD_OK;
oom:
    return rcd_fail(err, RCD_ENOMEM, "no memory for %zu classes", made.n);
}
