/* test_quote.c - hostile text for logs, and the clocks. */
#include "recurd/base.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(quote, .timeout = 400);

Test(quote, control_and_high_bytes)
{
    char out[64];
    cr_assert_str_eq(rcd_quote(out, sizeof out, "plain text", 10), "plain text");
    cr_assert_str_eq(rcd_quote(out, sizeof out, "", 0), "");
    cr_assert_str_eq(rcd_quote(out, sizeof out, "a\nb\x1b[0m", 7), "a\\x0ab\\x1b[0m");
    cr_assert_str_eq(rcd_quote(out, sizeof out, "a\0\\\xff~\x7f", 6), "a\\x00\\x5c\\xff~\\x7f");
}

/* Every length against every capacity: never past the end, always terminated. */
Test(quote, never_past_the_capacity)
{
    char text[40], out[48];
    for (size_t len = 0; len <= sizeof text; len++) {
        for (size_t cap = 8; cap <= 40; cap++) {
            memset(text, len % 2 != 0 ? '\n' : 'x', sizeof text);
            memset(out, '#', sizeof out);
            rcd_quote(out, cap, text, len);
            size_t n = strnlen(out, cap);
            cr_assert_lt(n, cap, "len %zu cap %zu", len, cap);
            cr_assert_eq(out[cap], '#');
            size_t full = len % 2 != 0 ? 4 * len : len;
            if (n < full)
                cr_assert_str_eq(out + n - 3, "...");
        }
    }
}

Test(quote, clocks)
{
    uint64_t a = rcd_now_ns(), b = rcd_now_ns();
    cr_assert_geq(b, a);
    cr_assert_gt(rcd_wall_ms(), UINT64_C(1577836800000), "after 2020");
}
