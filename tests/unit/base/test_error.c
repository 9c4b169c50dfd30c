/* test_error.c - statuses and messages. */
#include "recurd/base.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>

TestSuite(error, .timeout = 400);

Test(error, fail_and_prefix)
{
    struct rcd_error err = {RCD_OK, ""};
    cr_assert_eq(rcd_fail(&err, RCD_EINVAL, "value %d over %d", 7, 5), RCD_EINVAL);
    cr_assert_eq(err.code, RCD_EINVAL);
    cr_assert_str_eq(err.text, "value 7 over 5");
    cr_assert_eq(rcd_error_prefix(&err, RCD_EINVAL, "node '%s': ", "n"), RCD_EINVAL);
    cr_assert_str_eq(err.text, "node 'n': value 7 over 5");
    cr_assert_eq(rcd_fail(NULL, RCD_EIO, "nobody listens"), RCD_EIO);
    cr_assert_eq(rcd_error_prefix(NULL, RCD_EIO, "x"), RCD_EIO);
}

Test(error, long_texts_are_cut)
{
    struct rcd_error err;
    char text[1000];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    rcd_fail(&err, RCD_EMODEL, "%s", text);
    cr_assert_eq(strlen(err.text), RCD_ERROR_TEXT - 1);
    rcd_error_prefix(&err, RCD_EMODEL, "front: ");
    cr_assert_eq(strlen(err.text), RCD_ERROR_TEXT - 1);
    cr_assert_eq(strncmp(err.text, "front: xxx", 10), 0);
    rcd_error_prefix(&err, RCD_EMODEL, "%s", text);
    cr_assert_eq(strlen(err.text), RCD_ERROR_TEXT - 1);
}

Test(error, words_and_http_codes)
{
    cr_assert_eq(rcd_status_http(RCD_OK), 200);
    cr_assert_eq(rcd_status_http(RCD_EBUSY), 429);
    cr_assert_eq(rcd_status_http(RCD_ENOSPC), 507);
    cr_assert_str_eq(rcd_status_word(RCD_EMODEL), "bad_model");
    for (int i = 0; i < RCD_STATUS_MAX; i++) {
        cr_assert(rcd_status_http((rcd_status)i) >= 200 && rcd_status_http((rcd_status)i) < 600);
        for (int k = 0; k < i; k++)
            cr_assert_str_neq(rcd_status_word((rcd_status)i), rcd_status_word((rcd_status)k));
    }
    cr_assert_eq(rcd_status_http(RCD_STATUS_MAX), 500);
    cr_assert_eq(rcd_status_http((rcd_status)-1), 500);
    cr_assert_str_eq(rcd_status_word((rcd_status)1000), "internal");
}

Test(error, assertions_abort, .signal = SIGABRT)
{
    RCD_ASSERT(1 + 1 == 3);
}
