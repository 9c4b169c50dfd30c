/* base64.c - the files of a load request. */
#include "api_int.h"

static int value_of(unsigned char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

rcd_status rcd__base64(struct rcd_arena *arena, const char *text, size_t len, const void **ret,
                       size_t *ret_len, struct rcd_error *err)
{
    size_t pad = 0;
    if (len % 4 != 0)
        return rcd_fail(err, RCD_EINVAL, "base64 of %zu characters, not a multiple of 4", len);
    while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
        pad++;
    unsigned char *out = rcd_arena_alloc(arena, len / 4 * 3 + 1);
    if (out == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for %zu bytes of base64", len);
    size_t n = 0;
    for (size_t i = 0; i < len; i += 4) {
        uint32_t word = 0;
        for (size_t k = i; k < i + 4; k++) {
            int v = k >= len - pad ? 0 : value_of((unsigned char)text[k]);
            if (v < 0)
                return rcd_fail(err, RCD_EINVAL, "byte %zu is not base64", k);
            word = word << 6 | (uint32_t)v;
        }
        out[n++] = (unsigned char)(word >> 16);
        out[n++] = (unsigned char)(word >> 8);
        out[n++] = (unsigned char)word;
    }
    *ret = out;
    *ret_len = n - pad;
    return RCD_OK;
}
