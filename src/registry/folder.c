/* folder.c - the only place that opens files of the repository.
 *
 * The root is the administrator's word and is resolved as any path. Everything else is opened with
 * openat2 beneath it: the kernel follows links as long as they stay inside (the folders that
 * Kubernetes makes from a ConfigMap consist of links) and refuses those that lead out, also when
 * they are changed under our hands. Checks of the text of a path would be both too strict and too
 * weak. O_NONBLOCK: a fifo must not hang us. */
#include "registry_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { OPEN_TRIES = 32, READ_AT_ONCE = 64 << 20, ENTRIES_MAX = 100000 };

bool rcd__same_ident(const struct rcd__ident *a, const struct rcd__ident *b)
{
    return a->there == b->there && a->size == b->size && a->mtime_s == b->mtime_s &&
           a->mtime_ns == b->mtime_ns && a->inode == b->inode && a->device == b->device;
}

static struct rcd__ident ident_of(const struct stat *sb)
{
    return (struct rcd__ident){.there = true,
                               .size = sb->st_size,
                               .mtime_s = sb->st_mtim.tv_sec,
                               .mtime_ns = sb->st_mtim.tv_nsec,
                               .inode = sb->st_ino,
                               .device = sb->st_dev};
}

rcd_status rcd__open_root(const char *path, int *ret_fd, struct rcd_error *err)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return rcd_fail(err, RCD_EIO, "model repository %s: %s", path, strerror(errno));
    *ret_fd = fd;
    return RCD_OK;
}

/* The descriptor, or a negative errno. */
static int beneath(int root, const char *path, uint64_t flags)
{
    struct open_how how = {.flags = flags | O_CLOEXEC,
                           .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
    long fd = -1;
    for (int tries = 0; tries < OPEN_TRIES; tries++) { /* EAGAIN: a rename raced with the walk */
        fd = syscall(SYS_openat2, root, path, &how, sizeof how);
        if (fd >= 0 || (errno != EINTR && errno != EAGAIN))
            break;
    }
    return fd >= 0 ? (int)fd : -errno;
}

static rcd_status refuse(const char *path, int error, struct rcd_error *err)
{
    if (error == ENOENT)
        return rcd_fail(err, RCD_ENOTFOUND, "%s is not there", path);
    if (error == EXDEV)
        return rcd_fail(err, RCD_EMODEL, "%s leads out of the repository", path);
    if (error == ELOOP)
        return rcd_fail(err, RCD_EMODEL, "%s: too many links", path);
    if (error == ENOTDIR)
        return rcd_fail(err, RCD_EINVAL, "%s is not a folder", path);
    return rcd_fail(err, RCD_EIO, "%s: %s", path, strerror(error));
}

rcd_status rcd__open_folder(int root, const char *path, int *ret_fd, struct rcd_error *err)
{
    int fd = beneath(root, path, O_RDONLY | O_DIRECTORY);
    if (fd < 0)
        return refuse(path, -fd, err);
    *ret_fd = fd;
    return RCD_OK;
}

static rcd_status open_file(int root, const char *path, int *ret_fd, struct stat *sb,
                            struct rcd_error *err)
{
    int fd = beneath(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return refuse(path, -fd, err);
    rcd_status st = RCD_OK;
    if (fstat(fd, sb) != 0)
        st = rcd_fail(err, RCD_EIO, "%s: %s", path, strerror(errno));
    else if (!S_ISREG(sb->st_mode))
        st = rcd_fail(err, RCD_EMODEL, "%s is not a regular file", path);
    if (st == RCD_OK)
        *ret_fd = fd;
    else
        close(fd);
    return st;
}

rcd_status rcd__look_at(int root, const char *path, struct rcd__ident *ret, struct rcd_error *err)
{
    struct stat sb;
    int fd = -1;
    *ret = (struct rcd__ident){.there = false};
    rcd_status st = open_file(root, path, &fd, &sb, err);
    if (st == RCD_ENOTFOUND)
        return RCD_OK;
    if (st != RCD_OK)
        return st;
    close(fd);
    *ret = ident_of(&sb);
    return RCD_OK;
}

static rcd_status read_all(int fd, const char *path, char *to, size_t len, struct rcd_error *err)
{
    for (size_t done = 0; done < len;) {
        size_t want = len - done < READ_AT_ONCE ? len - done : READ_AT_ONCE;
        ssize_t got = read(fd, to + done, want);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return rcd_fail(err, RCD_EIO, "%s, byte %zu: %s", path, done,
                            got < 0 ? strerror(errno) : "the file became shorter");
        done += (size_t)got;
    }
    return RCD_OK;
}

rcd_status rcd__read_file(int root, const char *path, size_t max, char **ret_bytes, size_t *ret_len,
                          struct rcd_error *err)
{
    struct stat sb = {.st_size = 0};
    int fd = -1;
    rcd_status st = open_file(root, path, &fd, &sb, err);
    if (st != RCD_OK)
        return st;
    const struct rcd__ident before = ident_of(&sb);
    size_t len = (size_t)sb.st_size;
    char *bytes = len <= max ? rcd_alloc(len + 1) : NULL;
    if (bytes == NULL) {
        close(fd);
        if (len > max)
            return rcd_fail(err, RCD_EMODEL, "%s has %zu bytes, limit %zu", path, len, max);
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory for %zu bytes", path, len);
    }
    st = read_all(fd, path, bytes, len, err);
    if (st == RCD_OK && fstat(fd, &sb) == 0) {
        const struct rcd__ident after = ident_of(&sb);
        if (!rcd__same_ident(&before, &after))
            st = rcd_fail(err, RCD_EIO, "%s changed while it was read", path);
    }
    close(fd);
    if (st != RCD_OK) {
        rcd_free(bytes);
        return st;
    }
    bytes[len] = '\0';
    *ret_bytes = bytes;
    *ret_len = len;
    return RCD_OK;
}

/* ---- folders --------------------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

struct listing {
    const char **names;
    size_t n, cap;
};

static bool add_name(struct listing *l, struct rcd_arena *arena, const char *name)
{
    if (l->n == l->cap) {
        size_t cap = l->cap > 0 ? 2 * l->cap : 16;
        const char **more = rcd_arena_alloc(arena, cap * sizeof *more);
        if (more == NULL)
            return false;
        if (l->n > 0)
            memcpy(more, l->names, l->n * sizeof *more);
        l->names = more;
        l->cap = cap;
    }
    l->names[l->n] = rcd_arena_strndup(arena, name, strlen(name));
    return l->names[l->n++] != NULL;
}

rcd_status rcd__list(int root, const char *path, struct rcd_arena *arena, const char ***ret_names,
                     size_t *ret_n, struct rcd_error *err)
{
    struct listing l = {NULL, 0, 0};
    int fd = -1;
    rcd_status st = rcd__open_folder(root, path, &fd, err);
    if (st != RCD_OK)
        return st;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        close(fd);
        return rcd_fail(err, RCD_EIO, "%s: %s", path, strerror(errno));
    }
    for (const struct dirent *e; st == RCD_OK && (errno = 0, e = readdir(dir)) != NULL;) {
        if (e->d_name[0] == '.')
            continue;
        if (l.n == ENTRIES_MAX)
            st = rcd_fail(err, RCD_EMODEL, "%s has more than %d entries", path, ENTRIES_MAX);
        else if (!add_name(&l, arena, e->d_name))
            st = rcd_fail(err, RCD_ENOMEM, "%s: no memory for its entries", path);
    }
    if (st == RCD_OK && errno != 0)
        st = rcd_fail(err, RCD_EIO, "%s: %s", path, strerror(errno));
    closedir(dir);
    if (st != RCD_OK)
        return st;
    if (l.n > 0)
        qsort(l.names, l.n, sizeof *l.names, by_text);
    *ret_names = l.names;
    *ret_n = l.n;
    return RCD_OK;
}
