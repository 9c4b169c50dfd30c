/* file.c - the configuration file, through inih.
 *
 * inih gives no line numbers to its handler, takes an indented line for a continuation and cuts
 * lines at 200 bytes without a word. So lines come from our own reader over the file in memory: it
 * counts them, drops leading blanks, and stops at the first line that is too long or holds a NUL. */
#include "config_int.h"

#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_FILE = 1 << 20 };

struct reading {
    struct rcd_config *c;
    const char *path;
    const char *at, *end; /* rest of the file */
    int line;
    int *seen; /* per option: line where it was set, 0 for not yet */
    rcd_status status;
    int status_line; /* of the first error */
    struct rcd_error *err;
};

/* An fgets over memory; the stream is a struct reading. */
static char *next_line(char *out, int cap, void *stream)
{
    struct reading *r = stream;
    if (r->at == r->end || r->status != RCD_OK)
        return NULL;
    r->line++;
    const char *newline = memchr(r->at, '\n', (size_t)(r->end - r->at));
    const char *stop = newline != NULL ? newline : r->end;
    while (r->at < stop && (*r->at == ' ' || *r->at == '\t'))
        r->at++;
    size_t len = (size_t)(stop - r->at);
    if (len + 2 > (size_t)cap || memchr(r->at, '\0', len) != NULL) {
        r->status_line = r->line;
        r->status = rcd_fail(r->err, RCD_EINVAL,
                             len + 2 > (size_t)cap ? "%s:%d: line of more than %d bytes"
                                                   : "%s:%d: a NUL byte, in a line of up to %d",
                             r->path, r->line, cap - 2);
        return NULL;
    }
    memcpy(out, r->at, len);
    out[len] = '\n';
    out[len + 1] = '\0';
    r->at = newline != NULL ? newline + 1 : r->end;
    return out;
}

static int on_value(void *user, const char *section, const char *key, const char *value)
{
    struct reading *r = user;
    if (r->status != RCD_OK)
        return 0;
    char where[RCD_ERROR_TEXT], name[2 * RCD__NAME_MAX + 2];
    snprintf(where, sizeof where, "%s:%d: ", r->path, r->line);
    snprintf(name, sizeof name, "%s.%s", section, key);
    const struct rcd__option *o = rcd__option_by_key(section, key);
    if (o == NULL) {
        r->status = *section == '\0'
                        ? rcd_fail(r->err, RCD_EINVAL, "%sa key before the first [section]", where)
                        : rcd__option_unknown(where, name, RCD__BY_KEY, r->err);
    } else {
        int *seen = &r->seen[o - rcd__options(NULL)];
        r->status = *seen != 0 ? rcd_fail(r->err, RCD_EINVAL, "%s%s is set twice, first in line %d",
                                          where, name, *seen)
                               : rcd__option_set(r->c, o, value, where, name, r->err);
        *seen = r->line;
    }
    r->status_line = r->line;
    return r->status == RCD_OK;
}

/* The whole file into *b. */
static rcd_status slurp(const char *path, struct rcd_buf *b, struct rcd_error *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return rcd_fail(err, RCD_EINVAL, "configuration file %s: %s", path, strerror(errno));
    rcd_status status = RCD_OK;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode))
        status = rcd_fail(err, RCD_EINVAL, "configuration file %s: not a regular file", path);
    while (status == RCD_OK) {
        char *room = rcd_buf_reserve(b, 4096);
        if (room == NULL) {
            status = b->len + 4096 > b->max
                         ? rcd_fail(err, RCD_EINVAL, "configuration file %s: over %d bytes", path,
                                    MAX_FILE)
                         : rcd_fail(err, RCD_ENOMEM, "configuration file %s: no memory", path);
            break;
        }
        ssize_t n = read(fd, room, 4096);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            status = rcd_fail(err, RCD_EINVAL, "configuration file %s: %s", path, strerror(errno));
        if (n <= 0)
            break;
        rcd_buf_commit(b, (size_t)n);
    }
    close(fd);
    return status;
}

rcd_status rcd__config_read_file(struct rcd_config *c, const char *path, struct rcd_error *err)
{
    size_t n_options = 0;
    (void)rcd__options(&n_options);
    int *seen = rcd_calloc(n_options, sizeof *seen);
    if (seen == NULL)
        return rcd_fail(err, RCD_ENOMEM, "configuration file %s: no memory", path);
    struct rcd_buf text;
    rcd_buf_init(&text, MAX_FILE + 4096);
    rcd_status status = slurp(path, &text, err);
    if (status == RCD_OK && text.len > 0) {
        struct reading r = {.c = c,
                            .path = path,
                            .at = text.data,
                            .end = text.data + text.len,
                            .seen = seen,
                            .err = err};
        int bad_line = ini_parse_stream(next_line, &r, on_value, &r);
        status = r.status;
        if (bad_line < 0)
            status = rcd_fail(err, RCD_ENOMEM, "configuration file %s: no memory", path);
        else if (bad_line > 0 && (status == RCD_OK || bad_line < r.status_line))
            status =
                rcd_fail(err, RCD_EINVAL, "%s:%d: neither [section], key = value nor a comment",
                         path, bad_line);
    }
    rcd_buf_done(&text);
    rcd_free(seen);
    return status;
}
