/* guard.c - refuses requests whose framing another HTTP program might read differently.
 *
 * libmicrohttpd 0.9.75 takes Content-Length together with Transfer-Encoding, repeated lengths,
 * unknown codings, "Content-Length :" and missing Host: all of them are doors for request
 * smuggling behind a proxy. Run over the headers in the first handler call, before any body byte
 * is believed. */
#include "http_int.h"

#include <string.h>
#include <strings.h>

static bool name_is(const char *name, size_t len, const char *want, size_t want_len)
{
    return len == want_len && strncasecmp(name, want, len) == 0;
}

#define NAME_IS(name, len, want) name_is(name, len, want, sizeof(want) - 1)

/* Bytes that are allowed, one bit each: letters and digits, and with them !#$%&'*+-.^_`|~ or
 * -._~%!$&'()*+;=:[] */
static const uint32_t token_bytes[8] = {0, 0x03ff6cfau, 0xc7fffffeu, 0x57ffffffu};
static const uint32_t host_bytes[8] = {0, 0x2fff6ff2u, 0xaffffffeu, 0x47fffffeu};

static bool all_in(const char *text, size_t len, const uint32_t allowed[8])
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if ((allowed[c >> 5] >> (c & 31) & 1) == 0)
            return false;
    }
    return true;
}

static bool value_sound(const char *value, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)value[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return false;
    }
    return true;
}

/* Digits only: "+5", "5, 5", "0x5" and "5 " are read differently by different programs. */
static bool length_parse(const char *value, size_t len, uint64_t *ret)
{
    uint64_t n = 0;
    if (len == 0 || len > 18)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (value[i] < '0' || value[i] > '9')
            return false;
        n = n * 10 + (uint64_t)(value[i] - '0');
    }
    *ret = n;
    return true;
}

static void fault(struct rcd__guard *g, const char *why)
{
    if (g->why == NULL)
        g->why = why;
}

void rcd__guard_header(struct rcd__guard *g, const char *name, size_t name_len, const char *value,
                       size_t value_len)
{
    if (name_len == 0 || !all_in(name, name_len, token_bytes))
        fault(g, "a header name holds a byte that is not allowed there");
    if (value != NULL && !value_sound(value, value_len))
        fault(g, "a header value holds a control byte");
    if (value == NULL)
        value_len = 0;
    if (NAME_IS(name, name_len, "Host")) {
        g->hosts++;
        if (!all_in(value, value_len, host_bytes))
            fault(g, "the Host header is malformed");
    } else if (NAME_IS(name, name_len, "Content-Length")) {
        g->lengths++;
        if (!length_parse(value, value_len, &g->length))
            fault(g, "the Content-Length header is not a plain number");
    } else if (NAME_IS(name, name_len, "Transfer-Encoding")) {
        g->codings++;
        if (!NAME_IS(value, value_len, "chunked"))
            fault(g, "a Transfer-Encoding other than \"chunked\" is not supported");
        g->chunked = true;
    } else if (NAME_IS(name, name_len, "Expect")) {
        g->expect = true;
    }
}

const char *rcd__guard_verdict(struct rcd__guard *g, const char *version)
{
    bool http10 = strcmp(version, "HTTP/1.0") == 0;
    if (g->lengths > 1)
        fault(g, "more than one Content-Length header");
    if (g->codings > 1)
        fault(g, "more than one Transfer-Encoding header");
    if (g->lengths > 0 && g->codings > 0)
        fault(g, "both Content-Length and Transfer-Encoding");
    if (g->codings > 0 && http10)
        fault(g, "Transfer-Encoding in an HTTP/1.0 request");
    if (g->hosts > 1)
        fault(g, "more than one Host header");
    if (g->hosts == 0 && !http10) /* HTTP/1.0 has no Host; load balancers' checks rely on it */
        fault(g, "the Host header is missing");
    return g->why;
}
