/* request_id.c - request ids: the client's if harmless, else 128 random bits in hexadecimal. */
#include "http_int.h"

#include <string.h>
#include <sys/random.h>

/* Only these bytes: the id goes into logs and back into a header. */
bool rcd__id_sane(const char *text)
{
    size_t len = strnlen(text, RCD__ID_CAP);
    if (len == 0 || len >= RCD__ID_CAP)
        return false;
    return strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-") == len;
}

void rcd__id_make(struct rcd__id_source *src, char out[RCD__ID_CAP])
{
    static const char hex[] = "0123456789abcdef";
    if (src->left < 16) {
        ssize_t got = getrandom(src->random, sizeof src->random, 0);
        if (got !=
            (ssize_t)sizeof src->random) { /* interrupted: the clock still makes ids differ */
            uint64_t now = rcd_now_ns();
            memcpy(src->random, &now, sizeof now);
        }
        src->left = sizeof src->random;
    }
    src->left -= 16;
    const unsigned char *r = src->random + src->left;
    for (int i = 0; i < 16; i++) {
        out[2 * i] = hex[r[i] >> 4];
        out[2 * i + 1] = hex[r[i] & 15];
    }
    out[32] = '\0';
}
