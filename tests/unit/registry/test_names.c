/* test_names.c - names, version numbers, sizes, and what an unknown word was meant to be. */
#include "registry/registry_int.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(registry_names, .timeout = 400);

Test(registry_names, model_names)
{
    static const char *const good[] = {
        "a",      "char-lstm", "A.b_9-",
        "statsx", "1",         "0123456789012345678901234567890123456789012345678901234567890123"};
    static const char *const bad[] = {
        "",     ".",        "..",
        ".git", "a/b",      "../x",
        "a b",  "a\\b",     "stats",
        "a\nb", "\xc3\xa4", "a%2e",
        "a:b",  "a\x01",    "01234567890123456789012345678901234567890123456789012345678901234"};
    for (size_t i = 0; i < RCD_COUNT(good); i++)
        cr_expect_null(rcd__name_fault(good[i]), "%s", good[i]);
    for (size_t i = 0; i < RCD_COUNT(bad); i++)
        cr_expect_not_null(rcd__name_fault(bad[i]), "%s", bad[i]);
}

Test(registry_names, version_numbers)
{
    static const struct {
        const char *text;
        uint64_t number; /* 0: refused */
    } table[] = {
        {"1", 1},
        {"20261123", 20261123},
        {"9223372036854775807", INT64_MAX},
        {"0", 0},
        {"01", 0},
        {"", 0},
        {"-1", 0},
        {"+1", 0},
        {"1.0", 0},
        {" 1", 0},
        {"1 ", 0},
        {"0x1", 0},
        {"1e3", 0},
        {"9223372036854775808", 0},
        {"99999999999999999999999", 0},
        {"v1", 0},
    };
    for (size_t i = 0; i < RCD_COUNT(table); i++) {
        uint64_t n = 0;
        cr_expect_eq(rcd__version_parse(table[i].text, &n), table[i].number != 0, "%s",
                     table[i].text);
        cr_expect_eq(n, table[i].number, "%s", table[i].text);
    }
}

Test(registry_names, sizes)
{
    static const struct {
        const char *text;
        bool good;
        uint64_t bytes;
    } table[] = {
        {"0", true, 0},
        {"4096", true, 4096},
        {"64K", true, 65536},
        {"256M", true, 268435456},
        {"2G", true, 1ull << 31},
        {"", false, 0},
        {"M", false, 0},
        {"1MB", false, 0},
        {"-1", false, 0},
        {"1.5G", false, 0},
        {"1m", false, 0},
        {"99999999999999999999", false, 0},
        {"18446744073709551615G", false, 0},
    };
    for (size_t i = 0; i < RCD_COUNT(table); i++) {
        uint64_t n = 0;
        cr_expect_eq(rcd__size_parse(table[i].text, &n), table[i].good, "%s", table[i].text);
        cr_expect_eq(n, table[i].bytes, "%s", table[i].text);
    }
}

Test(registry_names, nearest_word)
{
    static const char *const known[] = {"batching", "state", "sessions", "versions"};
    cr_expect_str_eq(rcd__nearest("batchin", known, 4), "batching");
    cr_expect_str_eq(rcd__nearest("version", known, 4), "versions");
    cr_expect_str_eq(rcd__nearest("states", known, 4), "state");
    cr_expect_null(rcd__nearest("dynamic_batching_with_a_name_longer_than_any", known, 4));
    cr_expect_null(rcd__nearest("zzz", known, 4));
    cr_expect_null(rcd__nearest("", known, 4));
}
