#include "http/http_int.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

TestSuite(http_coding, .timeout = 400);

enum { MIB = 1 << 20, NO_RATIO = 0 };

static struct rcd_buf packed(rcd_coding c, const char *text, size_t len)
{
    struct rcd_buf out;
    struct rcd_error err;
    rcd_buf_init(&out, 64u << 20);
    cr_assert_eq(rcd_deflate(c, text, len, &out, &err), RCD_OK);
    return out;
}

static rcd_status unpack(const char *in, size_t len, unsigned ratio, size_t max,
                         struct rcd_buf *out)
{
    struct rcd_error err = {.code = RCD_OK};
    char *exact = malloc(len > 0 ? len : 1); /* for the sanitizer to watch */
    memcpy(exact, in, len);
    rcd_buf_init(out, max);
    rcd_status st = rcd_inflate(exact, len, ratio, out, &err);
    cr_assert(st == RCD_OK || (err.code == st && err.text[0] != '\0'));
    free(exact);
    return st;
}

static rcd_status unpack_only(const char *in, size_t len, unsigned ratio, size_t max)
{
    struct rcd_buf out;
    rcd_status st = unpack(in, len, ratio, max, &out);
    rcd_buf_done(&out);
    return st;
}

static char *noise(size_t len)
{
    char *p = malloc(len);
    unsigned x = 1;
    for (size_t i = 0; i < len; i++) {
        x = x * 1103515245u + 12345u;
        p[i] = (char)(x >> 24);
    }
    return p;
}

Test(http_coding, round_trip)
{
    static const size_t sizes[] = {0, 1, 100, 65535, 65536, 65537, 3 * MIB};
    for (rcd_coding c = RCD_CODING_GZIP; c <= RCD_CODING_DEFLATE; c++) {
        for (size_t i = 0; i < RCD_COUNT(sizes); i++) {
            char *text = noise(sizes[i] + 1);
            struct rcd_buf small = packed(c, text, sizes[i]), back;
            /* the limit is exactly the size */
            cr_assert_eq(unpack(small.data, small.len, 100, sizes[i], &back), RCD_OK);
            cr_assert_eq(back.len, sizes[i]);
            cr_assert(sizes[i] == 0 || memcmp(back.data, text, sizes[i]) == 0);
            rcd_buf_done(&back);
            if (sizes[i] > 0)
                cr_assert_eq(unpack_only(small.data, small.len, 100, sizes[i] - 1), RCD_ETOOBIG);
            rcd_buf_done(&small);
            free(text);
        }
    }
}

Test(http_coding, format_bytes)
{
    struct rcd_buf gzip = packed(RCD_CODING_GZIP, "abc", 3);
    struct rcd_buf zlib = packed(RCD_CODING_DEFLATE, "abc", 3);
    cr_assert_eq(memcmp(gzip.data, "\x1f\x8b", 2), 0);
    cr_assert_eq(zlib.data[0], 0x78);
    rcd_buf_done(&gzip);
    rcd_buf_done(&zlib);
}

Test(http_coding, members_and_trailing_bytes)
{
    struct rcd_buf gzip = packed(RCD_CODING_GZIP, "abc", 3), back;
    struct rcd_buf zlib = packed(RCD_CODING_DEFLATE, "abc", 3);
    char two[256];
    memcpy(two, gzip.data, gzip.len);
    memcpy(two + gzip.len, gzip.data, gzip.len);
    cr_assert_eq(unpack(two, 2 * gzip.len, NO_RATIO, MIB, &back), RCD_OK);
    cr_assert_eq(back.len, 6u);
    cr_assert_eq(memcmp(back.data, "abcabc", 6), 0);
    rcd_buf_done(&back);
    cr_assert_eq(unpack_only(two, 2 * gzip.len - 1, NO_RATIO, MIB), RCD_EINVAL);
    cr_assert_eq(unpack_only(two, gzip.len + 1, NO_RATIO, MIB), RCD_EINVAL);
    two[gzip.len] = '\0';
    cr_assert_eq(unpack_only(two, gzip.len + 1, NO_RATIO, MIB), RCD_EINVAL);
    memcpy(two, zlib.data, zlib.len);
    memcpy(two + zlib.len, zlib.data, zlib.len);
    cr_assert_eq(unpack_only(two, 2 * zlib.len, NO_RATIO, MIB), RCD_EINVAL);
    rcd_buf_done(&gzip);
    rcd_buf_done(&zlib);
}

Test(http_coding, damaged_and_truncated)
{
    char *text = noise(5000);
    for (rcd_coding c = RCD_CODING_GZIP; c <= RCD_CODING_DEFLATE; c++) {
        struct rcd_buf small = packed(c, text, 5000);
        for (size_t len = 0; len < small.len; len += len < 40 ? 1 : 97)
            cr_assert_eq(unpack_only(small.data, len, NO_RATIO, MIB), RCD_EINVAL, "%zu", len);
        cr_assert_eq(unpack_only(small.data, small.len - 1, NO_RATIO, MIB), RCD_EINVAL);
        small.data[small.len / 2] = (char)(small.data[small.len / 2] ^ 0x55);
        cr_assert_eq(unpack_only(small.data, small.len, NO_RATIO, MIB), RCD_EINVAL);
        rcd_buf_done(&small);
    }
    cr_assert_eq(unpack_only(text, 5000, NO_RATIO, MIB), RCD_EINVAL);
    free(text);
}

Test(http_coding, bombs)
{
    size_t len = 30u << 20;
    char *zeros = calloc(1, len);
    struct rcd_buf bomb = packed(RCD_CODING_GZIP, zeros, len), out;
    cr_assert_lt(bomb.len, len / 200);
    cr_assert_eq(unpack(bomb.data, bomb.len, 100, 64u << 20, &out), RCD_ETOOBIG);
    cr_assert_lt(out.cap, 20u << 20); /* stopped on the way, not at the end */
    rcd_buf_done(&out);
    cr_assert_eq(unpack_only(bomb.data, bomb.len, NO_RATIO, 8u << 20), RCD_ETOOBIG);
    cr_assert_eq(unpack_only(bomb.data, bomb.len, NO_RATIO, 64u << 20), RCD_OK);
    rcd_buf_done(&bomb);
    bomb = packed(RCD_CODING_GZIP, zeros, MIB); /* small: the ratio does not count */
    cr_assert_eq(unpack_only(bomb.data, bomb.len, 100, 64u << 20), RCD_OK);
    rcd_buf_done(&bomb);
    free(zeros);
}

Test(http_coding, survives_failing_allocations)
{
    struct rcd_buf small = packed(RCD_CODING_GZIP, "hello hello hello", 17);
    for (int what = 0; what < 2; what++) {
        for (size_t k = 0;; k++) {
            struct rcd_buf out;
            struct rcd_error err;
            rcd_buf_init(&out, MIB);
            rcd_fault_after(k);
            rcd_status st = what == 0
                                ? rcd_inflate(small.data, small.len, 100, &out, &err)
                                : rcd_deflate(RCD_CODING_GZIP, small.data, small.len, &out, &err);
            bool hit = rcd_fault_hit();
            rcd_fault_after(SIZE_MAX);
            rcd_buf_done(&out);
            cr_assert_eq(st, hit ? RCD_ENOMEM : RCD_OK);
            if (!hit) {
                cr_assert_gt(k, 0u);
                break;
            }
        }
    }
    rcd_buf_done(&small);
}

Test(http_coding, words)
{
    rcd_coding c = RCD_CODING_GZIP;
    cr_assert(rcd_coding_parse(NULL, &c) && c == RCD_CODING_IDENTITY);
    cr_assert(rcd_coding_parse("", &c) && c == RCD_CODING_IDENTITY);
    cr_assert(rcd_coding_parse("GZip", &c) && c == RCD_CODING_GZIP);
    cr_assert(rcd_coding_parse(" x-gzip ", &c) && c == RCD_CODING_GZIP);
    cr_assert(rcd_coding_parse("deflate", &c) && c == RCD_CODING_DEFLATE);
    cr_assert(rcd_coding_parse("identity", &c) && c == RCD_CODING_IDENTITY);
    cr_assert_not(rcd_coding_parse("br", &c));
    cr_assert_not(rcd_coding_parse("gzip, deflate", &c));
    cr_assert_not(rcd_coding_parse("gzi", &c));
    cr_assert_str_eq(rcd_coding_name(RCD_CODING_DEFLATE), "deflate");
}

Test(http_coding, choice)
{
    static const struct {
        const char *accept;
        rcd_coding want;
    } cases[] = {
        {NULL, RCD_CODING_IDENTITY},
        {"", RCD_CODING_IDENTITY},
        {"br, zstd", RCD_CODING_IDENTITY},
        {"gzip, deflate", RCD_CODING_GZIP},
        {"deflate, gzip", RCD_CODING_DEFLATE},
        {"deflate;q=0.5, gzip", RCD_CODING_GZIP},
        {"gzip ; q=0.123 , deflate;q=0.124", RCD_CODING_DEFLATE},
        {"gzip;q=0", RCD_CODING_IDENTITY},
        {"gzip;q=0.000, deflate;q=0.001", RCD_CODING_DEFLATE},
        {"identity, gzip;q=0.9", RCD_CODING_IDENTITY},
        {"identity;q=0.1, GZIP;Q=0.2", RCD_CODING_GZIP},
        {"gzip;q=2, deflate;q=0.1", RCD_CODING_DEFLATE},
        {"gzip;q=x, deflate;q=", RCD_CODING_IDENTITY},
        {"gzip;q=1.001", RCD_CODING_IDENTITY},
        {"*", RCD_CODING_IDENTITY},
        {",,;,gzip,", RCD_CODING_GZIP},
    };
    for (size_t i = 0; i < RCD_COUNT(cases); i++)
        cr_assert_eq(rcd_coding_choose(cases[i].accept), cases[i].want, "%s", cases[i].accept);
}
