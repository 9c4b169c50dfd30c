#include "http/http_int.h"

#include <criterion/criterion.h>
#include <string.h>

TestSuite(http_guard, .timeout = 400);

/* Headers as "Name: value" parts; every case ends with NULL. */
struct guard_case {
    const char *headers[5];
    const char *version;
    bool sound;
};

#define HOST "Host: x"
static const struct guard_case cases[] = {
    {{HOST}, "HTTP/1.1", true},
    {{HOST, "Content-Length: 0"}, "HTTP/1.1", true},
    {{HOST, "content-length: 17"}, "HTTP/1.1", true},
    {{HOST, "Transfer-Encoding: chunked"}, "HTTP/1.1", true},
    {{HOST, "transfer-encoding: CHUNKED"}, "HTTP/1.1", true},
    {{"Host: [::1]:8000"}, "HTTP/1.1", true},
    {{"Host: "}, "HTTP/1.1", true},
    {{NULL}, "HTTP/1.0", true},
    {{HOST, "A: tab\there"}, "HTTP/1.1", true},
    {{HOST, "A: \xc3\xa4"}, "HTTP/1.1", true},
    {{NULL}, "HTTP/1.1", false},
    {{HOST, HOST}, "HTTP/1.1", false},
    {{HOST, HOST}, "HTTP/1.0", false},
    {{"Host: a/b"}, "HTTP/1.1", false},
    {{"Host: a, b"}, "HTTP/1.1", false},
    {{"Host: u@b"}, "HTTP/1.1", false},
    {{HOST, "Content-Length: 3", "Content-Length: 3"}, "HTTP/1.1", false},
    {{HOST, "Content-Length: 3", "Transfer-Encoding: chunked"}, "HTTP/1.1", false},
    {{HOST, "Transfer-Encoding: chunked", "Content-Length: 3"}, "HTTP/1.1", false},
    {{HOST, "Transfer-Encoding: chunked", "Transfer-Encoding: chunked"}, "HTTP/1.1", false},
    {{HOST, "Transfer-Encoding: gzip"}, "HTTP/1.1", false},
    {{HOST, "Transfer-Encoding: gzip, chunked"}, "HTTP/1.1", false},
    {{HOST, "Transfer-Encoding: chunked "}, "HTTP/1.1", false},
    {{HOST, "Transfer-Encoding: "}, "HTTP/1.1", false},
    {{HOST, "Transfer-Encoding: chunked"}, "HTTP/1.0", false},
    {{HOST, "Content-Length: "}, "HTTP/1.1", false},
    {{HOST, "Content-Length: +3"}, "HTTP/1.1", false},
    {{HOST, "Content-Length: -3"}, "HTTP/1.1", false},
    {{HOST, "Content-Length: 3,3"}, "HTTP/1.1", false},
    {{HOST, "Content-Length: 3 "}, "HTTP/1.1", false},
    {{HOST, "Content-Length: 0x3"}, "HTTP/1.1", false},
    {{HOST, "Content-Length: 9999999999999999999"}, "HTTP/1.1", false},
    {{HOST, "Content-Length : 3"}, "HTTP/1.1", false},
    {{HOST, "Content-Length\t: 3"}, "HTTP/1.1", false},
    {{HOST, "A\x7f: b"}, "HTTP/1.1", false},
    {{HOST, "A\x80: b"}, "HTTP/1.1", false},
    {{HOST, ": b"}, "HTTP/1.1", false},
    {{HOST, "A: b\rc"}, "HTTP/1.1", false},
    {{HOST, "A: b\nc"}, "HTTP/1.1", false},
    {{HOST, "A: b\x01"}, "HTTP/1.1", false},
    {{HOST, "A: b\x7f"}, "HTTP/1.1", false},
};

static void feed(struct rcd__guard *g, const char *line)
{
    const char *colon = strstr(line, ": ");
    rcd__guard_header(g, line, (size_t)(colon - line), colon + 2, strlen(colon + 2));
}

Test(http_guard, table)
{
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct rcd__guard g = {.why = NULL};
        for (size_t k = 0; k < 5 && cases[i].headers[k] != NULL; k++)
            feed(&g, cases[i].headers[k]);
        const char *why = rcd__guard_verdict(&g, cases[i].version);
        cr_assert_eq(why == NULL, cases[i].sound, "case %zu: %s", i, why != NULL ? why : "passed");
    }
}

Test(http_guard, remembers_what_frames_the_body)
{
    struct rcd__guard g = {.why = NULL};
    feed(&g, HOST);
    feed(&g, "Content-Length: 1234567890123");
    feed(&g, "Expect: 100-continue");
    rcd__guard_header(&g, "X-Empty", 7, NULL, 0);
    cr_assert_null(rcd__guard_verdict(&g, "HTTP/1.1"));
    cr_assert_eq(g.length, 1234567890123u);
    cr_assert(g.expect);
    cr_assert_not(g.chunked);
}

Test(http_guard, nul_in_a_value)
{
    struct rcd__guard g = {.why = NULL};
    feed(&g, HOST);
    rcd__guard_header(&g, "A", 1, "b\0c", 3);
    cr_assert_not_null(rcd__guard_verdict(&g, "HTTP/1.1"));
}

Test(http_guard, request_ids)
{
    static struct rcd__id_source src;
    char seen[200][RCD__ID_CAP];
    for (size_t i = 0; i < 200; i++) {
        rcd__id_make(&src, seen[i]);
        cr_assert_eq(strlen(seen[i]), 32u);
        cr_assert(rcd__id_sane(seen[i]));
        for (size_t k = 0; k < i; k++)
            cr_assert_str_neq(seen[i], seen[k]);
    }
    char exact[66];
    memset(exact, 'a', sizeof exact);
    exact[65] = '\0';
    cr_assert_not(rcd__id_sane(exact));
    exact[64] = '\0';
    cr_assert(rcd__id_sane(exact));
    cr_assert_not(rcd__id_sane(""));
    cr_assert_not(rcd__id_sane("a b"));
    cr_assert_not(rcd__id_sane("a\nb"));
    cr_assert_not(rcd__id_sane("\xc3\xa4"));
}

static void expect_object(const char *text, const char *want)
{
    struct rcd_buf out;
    rcd_buf_init(&out, 4096);
    cr_assert_eq(rcd__error_object(&out, text, "w"), RCD_OK);
    cr_assert_eq(rcd_buf_append(&out, "", 1), RCD_OK);
    cr_assert_str_eq(out.data, want);
    rcd_buf_done(&out);
}

Test(http_guard, error_object_is_valid_json)
{
    expect_object("plain", "{\"error\": \"plain\", \"code\": \"w\"}");
    expect_object("\"\\\n\x7f", "{\"error\": \"\\\"\\\\\\u000a\\u007f\", \"code\": \"w\"}");
    expect_object("\xc3\xa4\xf0\x9f\x98\x80",
                  "{\"error\": \"\xc3\xa4\xf0\x9f\x98\x80\", \"code\": \"w\"}");
    expect_object("\xff\xc3", "{\"error\": \"\xef\xbf\xbd\xef\xbf\xbd\", \"code\": \"w\"}");
    expect_object("\xed\xa0\x80", /* a surrogate */
                  "{\"error\": \"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\", \"code\": \"w\"}");
}
