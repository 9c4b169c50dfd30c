/* test_buf.c - the bounded buffer. */
#include "recurd/base.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(buf, .timeout = 400);

Test(buf, append_and_grow)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 20);
    for (int i = 0; i < 10000; i++) {
        cr_assert_eq(rcd_buf_printf(&b, "%d,", i), RCD_OK);
        cr_assert_leq(b.len, b.cap);
    }
    cr_assert_eq(rcd_buf_puts(&b, "end"), RCD_OK);
    cr_assert_eq(rcd_buf_append(&b, "\0!", 2), RCD_OK);
    cr_assert_eq(rcd_buf_append(&b, NULL, 0), RCD_OK);
    cr_assert(b.len == 48890 + 3 + 2 && memcmp(b.data, "0,1,2,3,", 8) == 0);
    cr_assert(memcmp(b.data + b.len - 5, "end\0!", 5) == 0);
    cr_assert_not(b.failed);
    rcd_buf_done(&b);
    cr_assert(b.data == NULL && b.len == 0 && b.max == 1 << 20);
}

Test(buf, maximum)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 10);
    cr_assert_eq(rcd_buf_append(&b, "0123456789", 10), RCD_OK);
    cr_assert_not(b.failed);
    cr_assert_eq(rcd_buf_append(&b, "x", 1), RCD_ETOOBIG);
    cr_assert(b.failed && b.len == 10 && memcmp(b.data, "0123456789", 10) == 0);
    const volatile size_t most = SIZE_MAX; /* not for the compiler to see */
    cr_assert_eq(rcd_buf_append(&b, "x", most), RCD_ETOOBIG);
    cr_assert_null(rcd_buf_reserve(&b, 1));
    rcd_buf_done(&b);
    cr_assert_not(b.failed);
    cr_assert_eq(rcd_buf_printf(&b, "%s", "01234567890"), RCD_ETOOBIG);
    cr_assert_eq(b.len, 0);
    rcd_buf_done(&b);
}

Test(buf, reserve_and_commit)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 1000);
    char *p = rcd_buf_reserve(&b, 600);
    cr_assert_not_null(p);
    memset(p, 'a', 600);
    cr_assert_eq(b.len, 0);
    rcd_buf_commit(&b, 500);
    cr_assert_eq(b.len, 500);
    cr_assert_eq(rcd_buf_reserve(&b, 500), b.data + 500);
    cr_assert_null(rcd_buf_reserve(&b, 501));
    rcd_buf_done(&b);
}

Test(buf, failing_memory)
{
    struct rcd_buf b;
    rcd_buf_init(&b, 1 << 20);
    cr_assert_eq(rcd_buf_puts(&b, "kept"), RCD_OK);
    rcd_fault_after(0);
    char *p = rcd_buf_reserve(&b, 5000);
    cr_assert(rcd_fault_hit() && p == NULL && b.failed);
    cr_assert(b.len == 4 && memcmp(b.data, "kept", 4) == 0);
    rcd_buf_done(&b);
}
