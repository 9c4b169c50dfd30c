/* f32_text.c - the shortest decimal text of a float.
 *
 * Schubfach (R. Giulietti, "The Schubfach way to render doubles", 2020): of the decimals with one
 * digit more or less than the float's precision, at most two lie near enough; three products with a
 * power of ten, rounded to odd, say which of them rounds back. Floats are what answers are made of,
 * and this takes half the time of <charconv>'s; the text is the same, for every float (checked once
 * over all of them, and by the unit tests over a sample). Doubles are left to <charconv>.
 *
 * The digits are made eight at a time in one register, without a loop over them. */
#include "codec_int.h"

#include "number_int.h"

#include <string.h>

enum { MIN_POWER = -31, MAX_POWER = 45, BIAS = 127 + 23, FRACTION_BITS = 23 };

/* 10^k for k = MIN_POWER to MAX_POWER: top 64 bits, rounded up. */
static const uint64_t powers[MAX_POWER - MIN_POWER + 1] = {
    0x81ceb32c4b43fcf5u, 0xa2425ff75e14fc32u, 0xcad2f7f5359a3b3fu, 0xfd87b5f28300ca0eu,
    0x9e74d1b791e07e49u, 0xc612062576589ddbu, 0xf79687aed3eec552u, 0x9abe14cd44753b53u,
    0xc16d9a0095928a28u, 0xf1c90080baf72cb2u, 0x971da05074da7befu, 0xbce5086492111aebu,
    0xec1e4a7db69561a6u, 0x9392ee8e921d5d08u, 0xb877aa3236a4b44au, 0xe69594bec44de15cu,
    0x901d7cf73ab0acdau, 0xb424dc35095cd810u, 0xe12e13424bb40e14u, 0x8cbccc096f5088ccu,
    0xafebff0bcb24aaffu, 0xdbe6fecebdedd5bfu, 0x89705f4136b4a598u, 0xabcc77118461cefdu,
    0xd6bf94d5e57a42bdu, 0x8637bd05af6c69b6u, 0xa7c5ac471b478424u, 0xd1b71758e219652cu,
    0x83126e978d4fdf3cu, 0xa3d70a3d70a3d70bu, 0xcccccccccccccccdu, 0x8000000000000000u,
    0xa000000000000000u, 0xc800000000000000u, 0xfa00000000000000u, 0x9c40000000000000u,
    0xc350000000000000u, 0xf424000000000000u, 0x9896800000000000u, 0xbebc200000000000u,
    0xee6b280000000000u, 0x9502f90000000000u, 0xba43b74000000000u, 0xe8d4a51000000000u,
    0x9184e72a00000000u, 0xb5e620f480000000u, 0xe35fa931a0000000u, 0x8e1bc9bf04000000u,
    0xb1a2bc2ec5000000u, 0xde0b6b3a76400000u, 0x8ac7230489e80000u, 0xad78ebc5ac620000u,
    0xd8d726b7177a8000u, 0x878678326eac9000u, 0xa968163f0a57b400u, 0xd3c21bcecceda100u,
    0x84595161401484a0u, 0xa56fa5b99019a5c8u, 0xcecb8f27f4200f3au, 0x813f3978f8940985u,
    0xa18f07d736b90be6u, 0xc9f2c9cd04674edfu, 0xfc6f7c4045812297u, 0x9dc5ada82b70b59eu,
    0xc5371912364ce306u, 0xf684df56c3e01bc7u, 0x9a130b963a6c115du, 0xc097ce7bc90715b4u,
    0xf0bdc21abb48db21u, 0x96769950b50d88f5u, 0xbc143fa4e250eb32u, 0xeb194f8e1ae525feu,
    0x92efd1b8d0cf37bfu, 0xb7abc627050305aeu, 0xe596b7b0c643c71au, 0x8f7e32ce7bea5c70u,
    0xb35dbf821ae4f38cu,
};

__extension__ typedef unsigned __int128 u128;

/* Bits 64 and up of g * cp, with a last bit that is set if anything was cut ("rounded to odd"). */
static inline uint32_t product(uint64_t g, uint32_t cp)
{
    u128 p = (u128)g * cp;
    uint32_t high = (uint32_t)(uint64_t)(p >> 64), low = (uint32_t)((uint64_t)p >> 32);
    return high | (low > 1);
}

/* v = *ret * 10^result, shortest, *ret < 10^9 (perhaps with zeros at its end). v > 0. */
static inline int shortest(uint32_t fraction, uint32_t exponent, uint32_t *ret)
{
    uint32_t c = exponent != 0 ? fraction | 1u << FRACTION_BITS : fraction;
    int q = exponent != 0 ? (int)exponent - BIAS : 1 - BIAS;
    if (q <= 0 && q > -24 && (c & ((1u << -q) - 1)) == 0) { /* a small integer */
        *ret = c >> -q;
        return 0;
    }
    bool odd = (c & 1) != 0;                     /* its bounds round to the even neighbours */
    bool closer = fraction == 0 && exponent > 1; /* the lower neighbour is half as far */
    int k = (q * 1262611 - (closer ? 524031 : 0)) >> 22; /* floor(log10 of the spacing) */
    int h = q + ((-k * 1741647) >> 19) + 1;
    uint64_t g = powers[-k - MIN_POWER];
    uint32_t lower = product(g, (4 * c - 2 + closer) << h) + odd;
    uint32_t value = product(g, (4 * c) << h);
    uint32_t upper = product(g, (4 * c + 2) << h) - odd;
    /* One digit less: is one of the two neighbours inside? Both answers are made and one is taken:
     * nobody can guess which. */
    uint32_t s = value / 4, tens = s / 10;
    bool tens_down = lower <= 40 * tens, tens_up = 40 * tens + 40 <= upper;
    bool shorter = (s >= 10) & (tens_down != tens_up);
    bool down = lower <= 4 * s, up = 4 * s + 4 <= upper;
    uint32_t middle = 4 * s + 2;
    bool nearest_up = (value > middle) | ((value == middle) & (s & 1));
    bool add = down != up ? up : nearest_up;
    *ret = shorter ? tens + tens_up : s + add;
    return k + shorter;
}

/* Eight digits of v < 10^8 as bytes 0 to 9, the first one lowest. */
static inline uint64_t eight_digits(uint32_t v)
{
    uint64_t d = v / 10000 | (uint64_t)(v % 10000) << 32;
    uint64_t hundreds = (d * 10486 >> 20) & 0x0000007f0000007fu;
    d = hundreds | (d - 100 * hundreds) << 16;
    uint64_t tens = (d * 103 >> 10) & 0x000f000f000f000fu;
    return tens | (d - 10 * tens) << 8;
}

static inline int count_digits(uint32_t v)
{
    static const uint32_t tens[] = {0,      10,      100,      1000,      10000,
                                    100000, 1000000, 10000000, 100000000, 1000000000};
    int guess = (32 - __builtin_clz(v | 1)) * 1233 >> 12;
    return guess + (v >= tens[guess]);
}

/* digits[0..n) with the point behind the first `point` of them, or an exponent where that is shorter. */
static size_t lay_out(char *out, const char *digits, int n, int point)
{
    if (point > 0 && point <= n) { /* 12.34 */
        memcpy(out, digits, 9);
        if (point == n)
            return (size_t)n;
        memcpy(out + point + 1, digits + point, 9);
        out[point] = '.';
        return (size_t)n + 1;
    }
    if (point <= 0 && 2 - point <= (n > 1) + 4) { /* 0.0012 */
        memcpy(out, "0.000", 5);
        memcpy(out + 2 - point, digits, 9);
        return (size_t)(2 - point + n);
    }
    char *p = out; /* 1.2e+34 */
    int exponent = point - 1;
    *p++ = digits[0];
    if (n > 1) {
        *p++ = '.';
        memcpy(p, digits + 1, 9);
        p += n - 1;
    }
    *p++ = 'e';
    *p++ = exponent < 0 ? '-' : '+';
    exponent = exponent < 0 ? -exponent : exponent;
    *p++ = (char)('0' + exponent / 10);
    *p++ = (char)('0' + exponent % 10);
    return (size_t)(p - out);
}

/* d has n digits, and zeros among the last of them count only for the point. */
static __attribute__((noinline)) size_t any_form(char *out, uint32_t d, int n, int point, float v)
{
    char text[32] = {(char)('0' + d / 100000000)}; /* room for whole words */
    uint64_t low = eight_digits(d % 100000000);
    int zeros = low != 0 ? __builtin_clzll(low) / 8 : 8;
    low |= 0x3030303030303030u;
    memcpy(text + 1, &low, sizeof low);
    const char *digits = text + 9 - n;
    n -= zeros;
    /* An integer with zeros behind its shortest digits: in full, if that is not longer. */
    if (point > n && point <= n + (n > 1) + 4)
        return rcd_u64_print(out, (uint64_t)(v < 0 ? -v : v));
    return lay_out(out, digits, n, point);
}

size_t rcd__f32_to_text(char *out, float v)
{
    uint32_t bits, d = 0;
    memcpy(&bits, &v, sizeof bits);
    char *p = out;
    *p = '-';
    p += bits >> 31;
    bits &= 0x7fffffffu;
    if (bits == 0) {
        memcpy(p, "0.0", 3);
        return p > out ? 4 : 1; /* "-0" is an integer to some readers: keep the sign with a point */
    }
    int k = shortest(bits & 0x7fffffu, bits >> FRACTION_BITS, &d);
    int n = count_digits(d), point = n + k;
    if (__builtin_expect(n > 8 || point > 0 || point < -2, 0))
        return (size_t)(p - out) + any_form(p, d, n, point, v);
    /* 0.12, 0.0012: most of what networks give; its digits stay in a register */
    uint64_t digits = eight_digits(d);
    int zeros = __builtin_clzll(digits) / 8; /* at the end */
    digits = (digits | 0x3030303030303030u) >> 8 * (8 - n);
    memcpy(p, "0.00", 4); /* as many zeros as there can be */
    memcpy(p + 2 - point, &digits, sizeof digits);
    return (size_t)(p - out) + (size_t)(2 - point + n - zeros);
}
