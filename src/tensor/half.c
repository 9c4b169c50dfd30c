/* half.c - float16 and bfloat16 to and from float32, in integer arithmetic, so that the results
 * depend neither on the CPU level nor on the rounding mode. */
#include "recurd/tensor.h"

union bits {
    float f;
    uint32_t u;
};

float rcd_f16_to_f32(uint16_t h)
{
    uint32_t sign = (uint32_t)(h & 0x8000u) << 16;
    uint32_t exp = (h >> 10) & 0x1fu;
    uint32_t frac = h & 0x3ffu;
    union bits x;
    if (exp == 0x1f) {
        x.u = sign | 0x7f800000u | frac << 13; /* infinity; NaN keeps its payload */
    } else if (exp != 0) {
        x.u = sign | (exp + 127 - 15) << 23 | frac << 13;
    } else {
        x.f = (float)frac * 0x1p-24f; /* subnormal or zero: exact */
        x.u |= sign;
    }
    return x.f;
}

uint16_t rcd_f32_to_f16(float f)
{
    union bits x = {.f = f};
    uint32_t sign = (x.u >> 16) & 0x8000u;
    uint32_t mag = x.u & 0x7fffffffu;
    if (mag > 0x7f800000u) /* NaN: quiet, upper payload kept */
        return (uint16_t)(sign | 0x7e00u | ((mag >> 13) & 0x3ffu));
    if (mag >= 0x477ff000u) /* 65520 and more round to infinity */
        return (uint16_t)(sign | 0x7c00u);
    if (mag >= 0x38800000u) { /* normal; a carry out of the fraction raises the exponent */
        uint32_t odd = (mag >> 13) & 1u;
        return (uint16_t)(sign | ((mag - 0x38000000u + 0xfffu + odd) >> 13));
    }
    if (mag < 0x33000000u) /* less than half of the smallest subnormal, 2^-25 */
        return (uint16_t)sign;
    uint32_t shift = 126u - (mag >> 23); /* 14..24: from the 24-bit fraction to units of 2^-24 */
    uint32_t frac = (mag & 0x7fffffu) | 0x800000u;
    uint32_t kept = frac >> shift;
    uint32_t rest = frac & ((1u << shift) - 1u);
    uint32_t half = 1u << (shift - 1);
    if (rest > half || (rest == half && (kept & 1u) != 0))
        kept++;
    return (uint16_t)(sign | kept);
}

uint16_t rcd_f32_to_bf16(float f)
{
    union bits x = {.f = f};
    if ((x.u & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)(x.u >> 16 | 0x40u);
    return (uint16_t)((x.u + 0x7fffu + ((x.u >> 16) & 1u)) >> 16);
}
