/* test_half.c - float16 and bfloat16: every value there and back, and rounding at every gap. */
#include "recurd/tensor.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

TestSuite(half, .timeout = 400);

static double f16_by_definition(uint16_t h)
{
    int exp = h >> 10 & 0x1f, frac = h & 0x3ff;
    double mag = exp == 0 ? ldexp(frac, -24) : ldexp(1024 + frac, exp - 25);
    return h & 0x8000 ? -mag : mag;
}

static uint32_t bits_of(float f)
{
    uint32_t u;
    memcpy(&u, &f, sizeof u);
    return u;
}

Test(half, every_f16_there_and_back)
{
    for (uint32_t h = 0; h <= 0xffff; h++) {
        float f = rcd_f16_to_f32((uint16_t)h);
        if ((h & 0x7fff) > 0x7c00) {
            cr_assert(isnan(f));
            cr_assert_eq(rcd_f32_to_f16(f), h | 0x200, "NaN %04x stays, made quiet", h);
            continue;
        }
        if ((h & 0x7fff) == 0x7c00)
            cr_assert(isinf(f) && (f < 0) == (h > 0x7fff));
        else
            cr_assert_eq((double)f, f16_by_definition((uint16_t)h), "%04x", h);
        cr_assert_eq(signbit(f) != 0, h >> 15, "%04x", h);
        cr_assert_eq(rcd_f32_to_f16(f), h, "%04x", h);
    }
}

/* The middle between two neighbours goes to the even one, what lies beside it to the nearer. */
Test(half, f16_rounds_to_nearest_even)
{
    for (uint32_t h = 0; h < 0x7c00; h++) {
        float low = rcd_f16_to_f32((uint16_t)h);
        float high = h == 0x7bff ? 65536.0f : rcd_f16_to_f32((uint16_t)(h + 1));
        float mid = low + (high - low) / 2; /* exact in float32 */
        for (uint32_t sign = 0; sign <= 0x8000; sign += 0x8000) {
            float s = sign != 0 ? -1.0f : 1.0f;
            cr_assert_eq(rcd_f32_to_f16(s * mid), sign | ((h & 1) != 0 ? h + 1 : h), "%04x", h);
            cr_assert_eq(rcd_f32_to_f16(s * nextafterf(mid, 0.0f)), sign | h, "%04x", h);
            cr_assert_eq(rcd_f32_to_f16(s * nextafterf(mid, 1e9f)), sign | (h + 1), "%04x", h);
        }
    }
    cr_assert_eq(rcd_f32_to_f16(3e38f), 0x7c00);
    cr_assert_eq(rcd_f32_to_f16(-INFINITY), 0xfc00);
    cr_assert_eq(rcd_f32_to_f16(1e-45f), 0);
}

Test(half, bf16)
{
    for (uint32_t h = 0; h <= 0xffff; h++) {
        float f = rcd_bf16_to_f32((uint16_t)h);
        bool nan = (h & 0x7fff) > 0x7f80;
        cr_assert_eq(isnan(f) != 0, nan);
        cr_assert_eq(rcd_f32_to_bf16(f), nan ? h | 0x40 : h, "%04x", h);
    }
    for (uint32_t h = 0; h < 0x7f80; h++) {
        union {
            uint32_t u;
            float f;
        } mid = {.u = h << 16 | 0x8000}, below = {.u = h << 16 | 0x7fff},
          above = {.u = h << 16 | 0x8001};
        cr_assert_eq(rcd_f32_to_bf16(mid.f), h + (h & 1), "%04x", h);
        cr_assert_eq(rcd_f32_to_bf16(below.f), h, "%04x", h);
        cr_assert_eq(rcd_f32_to_bf16(above.f), h + 1, "%04x", h);
    }
    cr_assert_eq(bits_of(rcd_bf16_to_f32(rcd_f32_to_bf16(NAN))) & 0x7f800000u, 0x7f800000u);
    union {
        uint32_t u;
        float f;
    } low_nan = {.u = 0x7f800001u};
    cr_assert_eq(rcd_f32_to_bf16(low_nan.f), 0x7fc0, "a NaN must not become infinity");
}
