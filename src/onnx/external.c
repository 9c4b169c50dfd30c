/* external.c - tensor data that lies in a file beside the model.
 *
 * The path comes from the model, so it is hostile. Checks of the text have failed every project
 * that tried ("../", "a/../../", links): here the kernel resolves the path, refusing to leave the
 * folder and to follow any link; then the open file must be a regular one with a single name, as
 * a hard link could bring in a file from elsewhere. O_NONBLOCK: a fifo must not hang us. */
#include "onnx_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { READ_AT_ONCE = 64 << 20, OPEN_TRIES = 32 };

struct place {
    const char *path;
    uint64_t offset, length;
    bool has_offset, has_length;
};

static bool parse_u63(const char *text, uint64_t *ret)
{
    uint64_t v = 0;
    if (*text == '\0')
        return false;
    for (; *text != '\0'; text++) {
        if (*text < '0' || *text > '9' || v > ((uint64_t)INT64_MAX - 9) / 10)
            return false;
        v = v * 10 + (uint64_t)(*text - '0');
    }
    *ret = v;
    return true;
}

static rcd_status read_place(struct rcd__load *l, const Onx__TensorProto *p, struct place *ret)
{
    struct place at = {.path = NULL};
    for (size_t i = 0; i < p->n_external_data; i++) {
        const char *key = rcd__text(p->external_data[i]->key);
        const char *value = rcd__text(p->external_data[i]->value);
        bool *given = strcmp(key, "offset") == 0   ? &at.has_offset
                      : strcmp(key, "length") == 0 ? &at.has_length
                                                   : NULL;
        bool twice = given != NULL && *given;
        bool fine = true;
        if (strcmp(key, "location") == 0) {
            twice = at.path != NULL;
            at.path = value;
        } else if (given != NULL) {
            fine = parse_u63(value, given == &at.has_offset ? &at.offset : &at.length);
            *given = true;
        }
        if (twice || !fine) {
            char a[ONNX_QUOTE], b[ONNX_QUOTE];
            return rcd_fail(l->err, RCD_EMODEL, "external data: %s '%s' %s",
                            rcd__onnx_quote(a, key), rcd__onnx_quote(b, value),
                            twice ? "is given twice" : "is not a number of bytes");
        }
    }
    if (at.path == NULL || at.path[0] == '\0')
        return rcd_fail(l->err, RCD_EMODEL, "external data without a location");
    *ret = at;
    return RCD_OK;
}

static rcd_status open_beneath(struct rcd__load *l, const char *path, int *ret_fd)
{
    char name[ONNX_QUOTE];
    rcd__onnx_quote(name, path);
    if (l->dir_fd < 0)
        return rcd_fail(l->err, RCD_EMODEL, "external data ('%s') is not allowed here", name);
    struct open_how how = {
        .flags = O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS,
    };
    long fd = -1;
    for (int tries = 0; tries < OPEN_TRIES; tries++) { /* EAGAIN: a rename raced with the walk */
        fd = syscall(SYS_openat2, l->dir_fd, path, &how, sizeof how);
        if (fd >= 0 || (errno != EINTR && errno != EAGAIN))
            break;
    }
    if (fd < 0 && (errno == EXDEV || errno == ELOOP))
        return rcd_fail(l->err, RCD_EMODEL,
                        "external data '%s' lies outside the model's folder or behind a link",
                        name);
    if (fd < 0)
        return rcd_fail(l->err, RCD_EIO, "external data '%s': %s", name, strerror(errno));
    struct stat sb;
    rcd_status st = RCD_OK;
    if (fstat((int)fd, &sb) != 0)
        st = rcd_fail(l->err, RCD_EIO, "external data '%s': %s", name, strerror(errno));
    else if (!S_ISREG(sb.st_mode))
        st = rcd_fail(l->err, RCD_EMODEL, "external data '%s' is not a regular file", name);
    else if (sb.st_nlink != 1)
        st = rcd_fail(l->err, RCD_EMODEL, "external data '%s' has %llu hard links, not one", name,
                      (unsigned long long)sb.st_nlink);
    if (st == RCD_OK)
        *ret_fd = (int)fd;
    else
        close((int)fd);
    return st;
}

static rcd_status read_range(struct rcd__load *l, int fd, const struct place *at, char *out,
                             size_t bytes)
{
    struct stat sb;
    char name[ONNX_QUOTE];
    rcd__onnx_quote(name, at->path);
    if (fstat(fd, &sb) != 0)
        return rcd_fail(l->err, RCD_EIO, "external data '%s': %s", name, strerror(errno));
    uint64_t size = (uint64_t)sb.st_size;
    if (at->offset > size || bytes > size - at->offset)
        return rcd_fail(l->err, RCD_EMODEL,
                        "external data '%s' has %llu bytes, the tensor needs %zu from %llu on",
                        name, (unsigned long long)size, bytes, (unsigned long long)at->offset);
    for (size_t done = 0; done < bytes;) {
        size_t want = bytes - done < READ_AT_ONCE ? bytes - done : READ_AT_ONCE;
        ssize_t got = pread(fd, out + done, want, (off_t)(at->offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return rcd_fail(l->err, RCD_EIO, "external data '%s', byte %llu: %s", name,
                            (unsigned long long)at->offset + done,
                            got < 0 ? strerror(errno) : "the file became shorter");
        done += (size_t)got;
    }
    return RCD_OK;
}

rcd_status rcd__onnx_external(struct rcd__load *l, const Onx__TensorProto *p, void *out,
                              size_t bytes)
{
    struct place at = {.path = NULL};
    int fd = -1;
    rcd_status st = read_place(l, p, &at);
    if (st != RCD_OK)
        return st;
    if (at.has_length && at.length != bytes)
        return rcd_fail(l->err, RCD_EMODEL, "external data: length %llu, the tensor needs %zu",
                        (unsigned long long)at.length, bytes);
    st = open_beneath(l, at.path, &fd);
    if (st != RCD_OK)
        return st;
    st = read_range(l, fd, &at, out, bytes);
    close(fd);
    if (st == RCD_OK)
        l->fingerprint = rcd__onnx_hash(out, bytes, l->fingerprint);
    return st;
}
