/* reduce.c - packed f32 weights to bf16 and int8; the layouts are the same on every CPU level. */
#include "recurd/kernels_reduced.h"

#include <math.h>
#include <string.h>

static const char *const names[RCD_WEIGHTS_MAX] = {"f32", "bf16", "int8"};

const char *rcd_weights_name(rcd_weights w)
{
    return (unsigned)w < RCD_WEIGHTS_MAX ? names[w] : "unknown";
}

rcd_weights rcd_weights_parse(const char *name)
{
    for (int i = 0; i < RCD_WEIGHTS_MAX; i++) {
        if (strcmp(names[i], name) == 0)
            return (rcd_weights)i;
    }
    return RCD_WEIGHTS_MAX;
}

static size_t groups_of(size_t k, rcd_weights how)
{
    return how == RCD_WEIGHTS_BF16 ? (k + 1) / 2 : (k + 3) / 4;
}

bool rcd_reduced_bytes(size_t k, size_t padded, rcd_weights how, size_t *ret_bytes)
{
    size_t bytes = 0;
    if (how == RCD_WEIGHTS_INT8 && k > RCD_INT8_MAX_K)
        return false;
    if (!rcd_mul(groups_of(k, how), padded, &bytes) || !rcd_mul(bytes, sizeof(uint32_t), &bytes))
        return false;
    size_t more = how == RCD_WEIGHTS_INT8 ? padded * (sizeof(float) + sizeof(int32_t)) : 0;
    return rcd_add(bytes, more, ret_bytes);
}

size_t rcd_gemm_scratch(const struct rcd_packed *b, size_t rows)
{
    return b->weights == RCD_WEIGHTS_INT8 ? rows * (64 + 2 * ((b->k + 63) / 64 * 64)) : 0;
}

/* As rcd_f32_to_bf16 of the tensors, which this layer does not know. */
static uint32_t bf16_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    if ((bits & 0x7fffffff) > 0x7f800000)
        return (bits >> 16) | 0x40; /* stays a NaN */
    return (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
}

static void to_bf16(const struct rcd_packed *f, uint32_t *out)
{
    for (size_t col = 0; col < f->padded; col += f->width) {
        size_t w = f->padded - col < f->width ? f->padded - col : f->width;
        const float *panel = f->data + col * f->k;
        for (size_t i = 0; i < f->k; i += 2) {
            for (size_t j = 0; j < w; j++) {
                uint32_t low = bf16_of(panel[i * w + j]);
                uint32_t high = i + 1 < f->k ? bf16_of(panel[(i + 1) * w + j]) : 0;
                *out++ = low | high << 16;
            }
        }
    }
}

/* Scale of a column whose elements are `step` apart. */
static float column_scale(const float *column, size_t k, size_t step)
{
    float max = 0.0f;
    for (size_t i = 0; i < k; i++) {
        float x = fabsf(column[i * step]);
        max = x > max || x != x ? x : max;
        if (max != max || max == INFINITY)
            return NAN;
    }
    return max < RCD_INT8_TINY ? 0.0f : max / 127.0f;
}

/* One column into its bytes, four of each `4 * step`; returns the sum. */
static int32_t quantize_column(const float *column, size_t k, size_t step, float scale, int8_t *out)
{
    int32_t sum = 0;
    for (size_t i = 0; i < (k + 3) / 4 * 4; i++) {
        float q = i < k && scale > 0.0f ? rintf(column[i * step] / scale) : 0.0f;
        int8_t byte = (int8_t)(q > 127.0f ? 127.0f : q < -127.0f ? -127.0f : q);
        out[i / 4 * 4 * step + i % 4] = byte;
        sum += byte;
    }
    return sum;
}

static void to_int8(const struct rcd_packed *f, int8_t *out, float *scale, int32_t *sums)
{
    const size_t fours = groups_of(f->k, RCD_WEIGHTS_INT8);
    for (size_t col = 0; col < f->padded; col += f->width) {
        size_t w = f->padded - col < f->width ? f->padded - col : f->width;
        for (size_t j = 0; j < w; j++) {
            const float *column = f->data + col * f->k + j;
            scale[col + j] = column_scale(column, f->k, w);
            sums[col + j] =
                quantize_column(column, f->k, w, scale[col + j], out + (col * fours + j) * 4);
        }
    }
}

void rcd_reduce(struct rcd_packed *ret, const struct rcd_packed *f32, rcd_weights how, void *mem)
{
    RCD_ASSERT(how != RCD_WEIGHTS_F32 && f32->weights == RCD_WEIGHTS_F32);
    struct rcd_packed p = *f32;
    p.data = NULL;
    p.weights = how;
    p.low = mem;
    if (how == RCD_WEIGHTS_BF16) {
        to_bf16(f32, mem);
    } else {
        size_t bytes = groups_of(p.k, how) * p.padded * 4;
        float *scale = (void *)((char *)mem + bytes);
        int32_t *sums = (void *)(scale + p.padded);
        p.scale = scale;
        p.sums = sums;
        to_int8(f32, mem, scale, sums);
    }
    *ret = p;
}
