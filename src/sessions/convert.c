/* convert.c - a model's `durable` was changed while the server was down: what the other way has on disk is
 * taken over, and goes only when all of it is here. So a death on the way is no loss, and the next start does
 * the rest: nothing is served before. */
#include "sessions_int.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <unistd.h>

enum { AT_ONCE = 256, PATH_BYTES = 4300 };

static bool is_there(const char *path)
{
    struct stat about;
    return path != NULL && stat(path, &about) == 0;
}

static rcd_status drop(const char *path, struct rcd_error *err)
{
    if (path == NULL || (unlink(path) != 0 && errno == ENOENT))
        return RCD_OK;
    if (is_there(path) || rcd__folder_sync(path) != 0)
        return rcd_fail(err, RCD_EIO,
                        "%s was taken over, and cannot be removed: %s (it would come back)", path,
                        strerror(errno));
    return RCD_OK;
}

/* ---- from the file of `process` into LMDB's -------------------------------------------------------- */

static rcd_status put_some(rcd_sessions *s, const rcd_sessions *from, uint32_t *at, size_t *n,
                           struct rcd_error *err)
{
    struct rcd_buf image;
    rcd_status st = rcd__disk_begin(s, err);
    if (st != RCD_OK)
        return st;
    rcd_buf_init(&image, RCD__IMAGE_MAX);
    for (size_t k = 0; st == RCD_OK && k < AT_ONCE && *at < from->records.n; ++*at) {
        const struct rcd__record *r = rcd__record_at(from, *at);
        if (r->state != RCD__LIVE)
            continue;
        const struct rcd_session_id id = rcd__record_id(from, r);
        image.len = 0;
        st = rcd__image_put(from, r, r->row, &image, err);
        if (st == RCD_OK)
            st = rcd__disk_put(s, &id, image.data, image.len, err);
        k++;
        ++*n;
    }
    rcd_buf_done(&image);
    rcd_status ended = rcd__disk_end(s, st == RCD_OK, st == RCD_OK ? err : NULL);
    return st == RCD_OK ? ended : st;
}

rcd_status rcd__convert_to_disk(rcd_sessions *s, struct rcd_error *err)
{
    struct rcd_session_budget budget = {.max = SIZE_MAX};
    struct rcd_sessions_opts opts = s->opts;
    rcd_sessions *from = NULL;
    size_t n = 0;
    if (!is_there(s->path) && !is_there(s->runtime_path))
        return RCD_OK;
    opts.durable = RCD_DURABLE_PROCESS;
    opts.overflow = RCD_OVERFLOW_REJECT;
    opts.budget = &budget;
    opts.path = s->path;
    opts.runtime_path = s->runtime_path;
    opts.model = s->model;
    opts.states = s->states;
    rcd_status st = rcd__sessions_source(&opts, &from, err);
    for (uint32_t at = 0; st == RCD_OK && at < from->records.n;)
        st = put_some(s, from, &at, &n, err);
    rcd_sessions_free(from);
    if (st == RCD_OK)
        st = drop(s->path, err);
    if (st == RCD_OK)
        st = drop(s->runtime_path, err);
    if (st == RCD_OK)
        rcd__store_say(
            s, LOG_NOTICE,
            "model '%s': sessions.durable was \"process\": %zu sessions go on with \"%s\"",
            s->model, n, rcd_durable_name(s->opts.durable));
    return st;
}

/* ---- from LMDB's file into that of `process` --------------------------------------------------------- */

static rcd_status take_one(rcd_sessions *s, const struct rcd_session_id *id, size_t *n,
                           struct rcd_error *err)
{
    struct rcd_buf image;
    uint32_t at = RCD__NONE;
    if (rcd__table_find(s, id) != RCD__NONE)
        return RCD_OK; /* a start that did not end took it already */
    rcd_buf_init(&image, RCD__IMAGE_MAX);
    rcd_status st = rcd__disk_get(s, id, &image, err);
    if (st == RCD_OK)
        st = rcd__image_take(s, id, &image, &at, NULL, err);
    rcd_buf_done(&image);
    *n += st == RCD_OK;
    return st;
}

static rcd_status take_all(rcd_sessions *s, size_t *n, struct rcd_error *err)
{
    char text[2][RCD_SESSION_ID_MAX];
    struct rcd_session_id id, before = {.text = NULL};
    rcd_status st = RCD_OK;
    s->unlimited = true; /* they were promised */
    for (unsigned turn = 0;
         st == RCD_OK && rcd__disk_next(s, turn > 0 ? &before : NULL, text[turn % 2], &id, NULL);
         turn = turn % 2 == 0 ? 1 : 2) {
        st = take_one(s, &id, n, err);
        before = id;
    }
    s->unlimited = false;
    return st;
}

rcd_status rcd__convert_to_process(rcd_sessions *s, struct rcd_error *err)
{
    char path[PATH_BYTES], lock[PATH_BYTES + 8];
    size_t n = 0;
    if (s->path == NULL)
        return RCD_OK;
    snprintf(path, sizeof path, "%s.lmdb", s->path);
    snprintf(lock, sizeof lock, "%s-lock", path);
    if (!is_there(path))
        return RCD_OK;
    rcd_status st = rcd__disk_open(s, true, true, err);
    if (st == RCD_OK)
        st = take_all(s, &n, err);
    rcd__disk_close(s);
    if (st == RCD_OK && !rcd__idle_sort(s))
        st = rcd_fail(err, RCD_ENOMEM, "no memory for the sessions of '%s'", s->model);
    if (st == RCD_OK)
        st = drop(path, err);
    (void)unlink(lock);
    if (st == RCD_OK)
        rcd__store_say(
            s, LOG_NOTICE,
            "model '%s': %zu sessions that were on disk by id (another sessions.durable or "
            "overflow) go on with \"process\"",
            s->model, n);
    return st;
}

/* ---- from anything to `none` ------------------------------------------------------------------------------ */

rcd_status rcd__convert_to_none(const rcd_sessions *s, struct rcd_error *err)
{
    char lmdb[PATH_BYTES], name[PATH_BYTES];
    snprintf(lmdb, sizeof lmdb, "%s.lmdb", s->path != NULL ? s->path : "");
    const char *const files[] = {s->path, s->path != NULL ? lmdb : NULL, s->runtime_path};
    for (size_t i = 0; i < RCD_COUNT(files); i++) {
        if (!is_there(files[i]))
            continue;
        if (!rcd__file_aside(s, files[i], "aside", name, sizeof name))
            return rcd_fail(err, RCD_EIO, "%s cannot be kept aside: %s", files[i], strerror(errno));
        rcd__store_say(s, LOG_WARNING,
                       "model '%s': sessions.durable is \"none\" now: those in %s are not served, "
                       "and kept aside as %s",
                       s->model, files[i], name);
    }
    return RCD_OK;
}
