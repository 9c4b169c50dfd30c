/* coding.c - gzip and zlib with bounds on what a small upload may grow to.
 *
 * Two caps: out->max, always; and max_ratio, which counts only once the output passes 1 MiB, so
 * that a short, honest run of zeros is not called a bomb. */
#include "http_int.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>

enum {
    RATIO_FROM = 1 << 20, /* output below this is never refused for its ratio */
    PIECE = 64 * 1024,
    EITHER_FORMAT = 15 | 32, /* zlib's windowBits: detect gzip or zlib */
    AS_GZIP = 15 | 16,
    AS_ZLIB = 15,
    MEMORY_LEVEL = 8
};

static void *zalloc_hook(void *opaque, unsigned items, unsigned size)
{
    (void)opaque;
    return rcd_calloc(items, size);
}

static void zfree_hook(void *opaque, void *p)
{
    (void)opaque;
    rcd_free(p);
}

struct source {
    const char *at;
    size_t left;
};

/* zlib counts in unsigned int. */
static void feed(z_stream *z, struct source *src)
{
    if (z->avail_in > 0 || src->left == 0)
        return;
    size_t n = src->left < INT_MAX ? src->left : INT_MAX;
    union {
        const char *in;
        Bytef *z;
    } p = {.in = src->at}; /* zlib reads through a pointer to non-const */
    z->next_in = p.z;
    z->avail_in = (uInt)n;
    src->at += n;
    src->left -= n;
}

/* Point zlib at free room of `out`; one byte of `spare` when it is full, to see whether more
 * would come. */
static rcd_status offer(z_stream *z, struct rcd_buf *out, unsigned char *spare)
{
    size_t room = out->max - out->len;
    if (room == 0) {
        z->next_out = spare;
        z->avail_out = 1;
        return RCD_OK;
    }
    if (room > PIECE)
        room = PIECE;
    char *to = rcd_buf_reserve(out, room);
    if (to == NULL)
        return RCD_ENOMEM;
    z->next_out = (Bytef *)to;
    z->avail_out = (uInt)room;
    return RCD_OK;
}

static rcd_status took(z_stream *z, struct rcd_buf *out, const unsigned char *spare)
{
    if (z->next_out == spare)
        return RCD_OK;
    if (z->next_out == spare + 1)
        return RCD_ETOOBIG;
    rcd_buf_commit(out, (size_t)((char *)z->next_out - (out->data + out->len)));
    return RCD_OK;
}

/* After the end of a member: more input must be another gzip member. */
static rcd_status next_member(z_stream *z, struct source *src, bool gzip, bool *ret_end,
                              struct rcd_error *err)
{
    feed(z, src);
    *ret_end = z->avail_in == 0;
    if (*ret_end)
        return RCD_OK;
    if (!gzip || z->next_in[0] != 0x1f)
        return rcd_fail(err, RCD_EINVAL, "bytes follow the end of the compressed body");
    inflateReset(z);
    return RCD_OK;
}

static rcd_status inflate_all(z_stream *z, struct source *src, size_t len, unsigned max_ratio,
                              struct rcd_buf *out, struct rcd_error *err)
{
    bool gzip = len > 0 && (unsigned char)src->at[0] == 0x1f;
    bool end = false;
    while (!end) {
        unsigned char spare[1];
        feed(z, src);
        rcd_status st = offer(z, out, spare);
        if (st != RCD_OK)
            return rcd_fail(err, st, "no memory to inflate the body");
        int rc = inflate(z, Z_NO_FLUSH);
        if (took(z, out, spare) != RCD_OK)
            return rcd_fail(err, RCD_ETOOBIG,
                            "inflated body is over the limit of %zu bytes (server.max_body)",
                            out->max);
        if (max_ratio > 0 && out->len > RATIO_FROM && out->len / max_ratio > len)
            return rcd_fail(err, RCD_ETOOBIG, "body inflates to more than %u times its size",
                            max_ratio);
        if (rc == Z_STREAM_END) {
            st = next_member(z, src, gzip, &end, err);
            if (st != RCD_OK)
                return st;
        } else if (rc == Z_MEM_ERROR) {
            return rcd_fail(err, RCD_ENOMEM, "no memory to inflate the body");
        } else if (rc == Z_BUF_ERROR && z->avail_in == 0 && src->left == 0) {
            return rcd_fail(err, RCD_EINVAL, "compressed body ends too early");
        } else if (rc != Z_OK && rc != Z_BUF_ERROR) {
            return rcd_fail(err, RCD_EINVAL, "compressed body is damaged: %s",
                            z->msg != NULL ? z->msg : "unknown format");
        }
    }
    return RCD_OK;
}

rcd_status rcd_inflate(const char *in, size_t len, unsigned max_ratio, struct rcd_buf *out,
                       struct rcd_error *err)
{
    z_stream z = {.zalloc = zalloc_hook, .zfree = zfree_hook};
    struct source src = {in, len};
    if (len == 0)
        return rcd_fail(err, RCD_EINVAL, "compressed body is empty");
    if (inflateInit2(&z, EITHER_FORMAT) != Z_OK)
        return rcd_fail(err, RCD_ENOMEM, "no memory to inflate the body");
    rcd_status st = inflate_all(&z, &src, len, max_ratio, out, err);
    inflateEnd(&z);
    return st;
}

rcd_status rcd_deflate(rcd_coding c, const char *in, size_t len, struct rcd_buf *out,
                       struct rcd_error *err)
{
    z_stream z = {.zalloc = zalloc_hook, .zfree = zfree_hook};
    struct source src = {in, len};
    RCD_ASSERT(c == RCD_CODING_GZIP || c == RCD_CODING_DEFLATE);
    if (deflateInit2(&z, Z_BEST_SPEED, Z_DEFLATED, c == RCD_CODING_GZIP ? AS_GZIP : AS_ZLIB,
                     MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK)
        return rcd_fail(err, RCD_ENOMEM, "no memory to compress the answer");
    rcd_status st = RCD_OK;
    for (int rc = Z_OK; st == RCD_OK && rc != Z_STREAM_END;) {
        unsigned char spare[1];
        feed(&z, &src);
        st = offer(&z, out, spare);
        if (st != RCD_OK) {
            rcd_fail(err, st, "no memory to compress the answer");
            break;
        }
        rc = deflate(&z, src.left == 0 ? Z_FINISH : Z_NO_FLUSH);
        RCD_ASSERT(rc != Z_STREAM_ERROR);
        st = took(&z, out, spare);
        if (st != RCD_OK)
            rcd_fail(err, st, "compressed answer is over the limit of %zu bytes", out->max);
    }
    deflateEnd(&z);
    return st;
}
