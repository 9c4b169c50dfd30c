/* quote.c - text from outside made safe for a log line or an error message. */
#include "recurd/base.h"

#include <string.h>

char *rcd_quote(char *out, size_t cap, const char *text, size_t len)
{
    RCD_ASSERT(cap >= 8);
    size_t at = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool plain = c >= 0x20 && c < 0x7f && c != '\\';
        if (at + (plain ? 1u : 4u) + 4u > cap) {
            memcpy(out + at, "...", 4);
            return out;
        }
        if (plain)
            out[at++] = (char)c;
        else
            at += (size_t)snprintf(out + at, cap - at, "\\x%02x", c);
    }
    out[at] = '\0';
    return out;
}
