/* test_number.c - float text: printing reads back to the same bits, reading is exact. The C library
 * is the judge. */
#include "codec/decimal_int.h"
#include "recurd/codec.h"

#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

TestSuite(number, .timeout = 400);

static uint64_t next(uint64_t *state) /* xorshift64 */
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Takes apart the number at text, behind which stands a byte that ends it: eight digits at a time where
 * the text goes on for long, and one by one at its end. Both must find the same. */
static const char *taken(const char *text, struct rcd__decimal *d)
{
    char room[1300];
    size_t len = strcspn(text, "}");
    if (len >= sizeof room - 32)
        return NULL;
    memcpy(room, text, len);
    memset(room + len, '}', 32);
    memset(room + len + 1, '7', 8); /* digits of something else */
    struct rcd__decimal far;
    const char *end = rcd__decimal(text, text + len, d);
    const char *far_end = rcd__decimal(room, room + len + 32, &far);
    cr_assert_eq(end != NULL, far_end != NULL, "%s", text);
    if (end == NULL)
        return NULL;
    cr_assert_eq(end - text, far_end - room, "%s", text);
    cr_assert(far.mantissa == d->mantissa && far.exp10 == d->exp10 && far.n_digits == d->n_digits &&
                  far.negative == d->negative && far.integer == d->integer,
              "%s", text);
    return end;
}

/* Reading `text` with both widths gives what strtof and strtod give. */
static void reads_right(const char *text)
{
    char sentinel[1200];
    snprintf(sentinel, sizeof sentinel, "%s}", text);
    struct rcd__decimal d;
    float f = 7, want_f = strtof(text, NULL);
    double v = 7, want = strtod(text, NULL);
    const char *end = taken(sentinel, &d);
    cr_assert(end != NULL && *end == '}', "%s", text);
    cr_assert_eq(rcd__decimal_f32(&d, &f), isfinite(want_f), "%s", text);
    cr_assert_eq(rcd__decimal_f64(&d, &v), isfinite(want), "%s", text);
    if (isfinite(want_f))
        cr_assert_eq(memcmp(&f, &want_f, sizeof f), 0, "%s: %a, want %a", text, f, want_f);
    if (isfinite(want))
        cr_assert_eq(memcmp(&v, &want, sizeof v), 0, "%s: %a, want %a", text, v, want);
}

static bool is_json_number(const char *text, size_t len)
{
    char sentinel[64];
    struct rcd__decimal d;
    memcpy(sentinel, text, len);
    sentinel[len] = '}';
    return taken(sentinel, &d) == sentinel + len;
}

Test(number, a_million_floats_come_back)
{
    uint64_t state = 20261123;
    char text[40];
    for (int i = 0; i < 1000000; i++) {
        uint32_t bits = (uint32_t)(next(&state) >> 20);
        float v, back = 0;
        if ((bits >> 23 & 0xff) == 0xff)
            continue;
        memcpy(&v, &bits, sizeof v);
        size_t len = rcd_f32_print(text, v);
        cr_assert(len > 0 && len <= 16);
        text[len] = '}';
        struct rcd__decimal d;
        const char *end = taken(text, &d);
        cr_assert(end == text + len, "%.*s", (int)len, text);
        cr_assert(rcd__decimal_f32(&d, &back) && memcmp(&back, &v, sizeof v) == 0, "%.*s of %a",
                  (int)len, text, v);
    }
}

/* Reads back; one digit less does not; no other text of that length is nearer. */
static void prints_shortest(float v)
{
    char text[40], other[40];
    size_t digits = 0;
    text[rcd_f32_print(text, v)] = '\0';
    cr_assert_eq(strtof(text, NULL), v, "%s of %a", text, v);
    for (const char *p = text + strspn(text, "-0."); *p != '\0' && *p != 'e'; p++)
        digits += *p != '.';
    if (strchr(text, '.') == NULL && strchr(text, 'e') == NULL)
        return; /* an integer in full */
    snprintf(other, sizeof other, "%.*e", (int)digits - 1, (double)v);
    cr_assert(strtod(other, NULL) == strtod(text, NULL) || strtof(other, NULL) != v,
              "%s, but %s is nearer", text, other);
    if (digits > 1) {
        snprintf(other, sizeof other, "%.*e", (int)digits - 2, (double)v);
        cr_assert_neq(strtof(other, NULL), v, "%s, but %s does", text, other);
    }
}

Test(number, floats_print_as_short_as_can_be)
{
    uint64_t state = 7;
    for (int i = 0; i < 50000; i++) {
        uint32_t bits = (uint32_t)(next(&state) >> 20);
        float v;
        memcpy(&v, &bits, sizeof v);
        if (isfinite(v) && v != 0)
            prints_shortest(v);
    }
    for (int e = -149; e < 128; e++) { /* whose lower neighbour is nearer */
        prints_shortest(ldexpf(1, e));
        prints_shortest(nextafterf(ldexpf(1, e), 1e-30f));
        prints_shortest(nextafterf(ldexpf(-1, e), -INFINITY));
    }
}

Test(number, doubles_come_back)
{
    uint64_t state = 99;
    char text[40];
    for (int i = 0; i < 200000; i++) {
        uint64_t bits = next(&state);
        double v, back = 0;
        if (i % 2 == 0) /* of usual size */
            bits = (bits & 0x800fffffffffffffu) | (1023 - 60 + bits % 120) << 52;
        if ((bits >> 52 & 0x7ff) == 0x7ff)
            continue;
        memcpy(&v, &bits, sizeof v);
        size_t len = rcd_f64_print(text, v);
        cr_assert(len > 0 && len <= 25 && is_json_number(text, len), "%.*s", (int)len, text);
        text[len] = '}';
        struct rcd__decimal d;
        cr_assert(taken(text, &d) != NULL && rcd__decimal_f64(&d, &back));
        cr_assert_eq(memcmp(&back, &v, sizeof v), 0, "%.*s of %a", (int)len, text, v);
    }
}

Test(number, random_texts_read_exactly)
{
    uint64_t state = 4711;
    char text[64];
    for (int i = 0; i < 300000; i++) {
        uint64_t digits = next(&state) >> next(&state) % 64;
        int exp10 = (int)(next(&state) % 61) - 30;
        switch (i % 4) {
        case 0:
            snprintf(text, sizeof text, "%llue%d", (unsigned long long)digits, exp10);
            break;
        case 1:
            snprintf(text, sizeof text, "-%llu.%llu", (unsigned long long)(digits % 100),
                     (unsigned long long)next(&state));
            break;
        case 2:
            snprintf(text, sizeof text, "%.17g", (double)digits * 1e-19);
            break;
        default:
            snprintf(text, sizeof text, "0.%0*dE%+d", 1 + (int)(digits % 12),
                     (int)(next(&state) % 1000), exp10);
        }
        reads_right(text);
    }
}

/* Texts in the middle between two floats, and a hair beside: where rounding twice goes wrong. */
Test(number, midpoints)
{
    uint64_t state = 1234;
    char text[200];
    for (int i = 0; i < 50000; i++) {
        uint32_t bits = (uint32_t)(next(&state) >> 33);
        if (i % 2 == 0)
            bits = (127 - 20 + bits % 40) << 23 | (bits >> 8 & 0x7fffff);
        if ((bits >> 23 & 0xff) >= 0xfe)
            continue;
        float low, high;
        uint32_t up = bits + 1;
        memcpy(&low, &bits, sizeof low);
        memcpy(&high, &up, sizeof high);
        double middle = ((double)low + (double)high) / 2;
        int n = snprintf(text, sizeof text, "%.*e", i % 3 == 0 ? 120 : 15 + i % 5, middle);
        cr_assert(n > 0);
        reads_right(text);
        snprintf(text, sizeof text, "%.17g", nextafter(middle, i % 2 == 0 ? 0 : INFINITY));
        reads_right(text);
    }
}

Test(number, edges)
{
    static const char *const texts[] = {"0",
                                        "-0",
                                        "0.0",
                                        "-0.0e5",
                                        "0e999999999999999999999",
                                        "-0.000e-99999999999999999999",
                                        "1",
                                        "-1",
                                        "10",
                                        "9999999999999999999",
                                        "10000000000000000000",
                                        "18446744073709551615",
                                        "18446744073709551616",
                                        "9223372036854775807",
                                        "9223372036854775808",
                                        "9007199254740992",
                                        "9007199254740993",
                                        "9007199254740991e22",
                                        "9007199254740993e-22",
                                        "1e22",
                                        "1e23",
                                        "1e-22",
                                        "1e-23",
                                        "1e27",
                                        "1e28",
                                        "1e-27",
                                        "1e-28",
                                        "3e18",
                                        "3e19",
                                        "16777217",
                                        "16777219",
                                        "3.4028234663852886e38",
                                        "3.4028235677973366e38",
                                        "3.4028235677973367e38",
                                        "1e38",
                                        "1.17549435e-38",
                                        "1.17549429e-38",
                                        "7.0064923216240853e-46",
                                        "7.0064923216240854e-46",
                                        "1e-45",
                                        "1e-46",
                                        "-1e-400",
                                        "1e400",
                                        "-1e400",
                                        "1e-99999999999999999999",
                                        "1e99999999999999999999",
                                        "2.2250738585072011e-308",
                                        "2.2250738585072014e-308",
                                        "4.9406564584124654e-324",
                                        "2.4703282292062327e-324",
                                        "2.4703282292062328e-324",
                                        "1.7976931348623157e308",
                                        "1.7976931348623158e308",
                                        "1.7976931348623159e308",
                                        "0.30000001192092896",
                                        "0.100000001490116119384765625",
                                        "8388608.5",
                                        "8388609.5",
                                        "8388608.50000000000000000001",
                                        "123456789012345678901234567890e-29",
                                        "0.000000000000000000000000000000000000000000001",
                                        "1000000000000000000000000000000000000000e-39",
                                        "100000000000000000000000000000000000000000000000000e-20"};
    for (size_t i = 0; i < RCD_COUNT(texts); i++)
        reads_right(texts[i]);
    char lots[1100] = "0."; /* too small in a thousand digits, then back by the exponent */
    memset(lots + 2, '0', 1000);
    memcpy(lots + 1002, "5e1001", 7);
    reads_right(lots);
    memcpy(lots + 1002, "5e1300", 7);
    reads_right(lots);
    memset(lots, '7', 1000);
    memcpy(lots + 1000, "e-1000", 7);
    reads_right(lots);
    memcpy(lots + 1000, "e-1500", 7);
    reads_right(lots);
    memcpy(lots + 1000, "e-500", 6); /* too large, with a negative exponent */
    reads_right(lots);
}

Test(number, special_prints)
{
    char text[40];
    static const struct {
        double v;
        const char *want;
    } cases[] = {{0, "0"},
                 {-0.0, "-0.0"},
                 {1, "1"},
                 {-2.5, "-2.5"},
                 {100000, "1e+05"},
                 {9223372036854774784.0, "9223372036854774784"},
                 {9223372036854775808.0, "9.223372036854776e+18"},
                 {DBL_MAX, "1.7976931348623157e+308"}};
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        size_t len = rcd_f64_print(text, cases[i].v);
        text[len] = '\0';
        cr_assert_str_eq(text, cases[i].want);
        cr_assert_eq(strtod(text, NULL), cases[i].v);
    }
}

Test(number, forms_of_floats)
{
    static const struct {
        float v;
        const char *want;
    } cases[] = {{0, "0"},
                 {-0.0f, "-0.0"},
                 {7, "7"},
                 {-120, "-120"},
                 {10000, "10000"},
                 {100000, "1e+05"},
                 {1200000, "1200000"},
                 {1.2e7f, "1.2e+07"},
                 {16777216, "16777216"},
                 {123456789, "123456792"},
                 {1.23456794e9f, "1234567936"},
                 {1e10f, "1e+10"},
                 {33554432000.f, "33554432000"},
                 {0.5f, "0.5"},
                 {0.001f, "0.001"},
                 {0.0001f, "1e-04"},
                 {0.00012f, "0.00012"},
                 {0.000123f, "0.000123"},
                 {1.2345e-5f, "1.2345e-05"},
                 {-0.1f, "-0.1"},
                 {3.14159274f, "3.1415927"},
                 {8388608.5f, "8388608"},
                 {4194304.5f, "4194304.5"},
                 {0x1p-126f, "1.1754944e-38"},
                 {-0x1.fffffep127f, "-3.4028235e+38"},
                 {0x1p-149f, "1e-45"},
                 {0x1p31f, "2147483648"},
                 {0x1p-20f, "9.536743e-07"}};
    char text[40];
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        text[rcd_f32_print(text, cases[i].v)] = '\0';
        cr_assert_str_eq(text, cases[i].want);
        cr_assert_eq(strtof(text, NULL), cases[i].v);
    }
}

Test(number, integers)
{
    static const struct {
        const char *text;
        bool fits;
        uint64_t want;
    } cases[] = {{"0}", true, 0},
                 {"18446744073709551615}", true, UINT64_MAX},
                 {"18446744073709551616}", false, 0},
                 {"18446744073709551620}", false, 0},
                 {"20000000000000000000}", false, 0},
                 {"99999999999999999999}", false, 0},
                 {"100000000000000000000}", false, 0},
                 {"-9223372036854775808}", true, (uint64_t)1 << 63}};
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct rcd__decimal d;
        uint64_t v = 0;
        cr_assert(taken(cases[i].text, &d) != NULL && d.integer);
        cr_assert_eq(rcd__decimal_u64(&d, &v), cases[i].fits, "%s", cases[i].text);
        cr_assert(!cases[i].fits || v == cases[i].want);
    }
}
