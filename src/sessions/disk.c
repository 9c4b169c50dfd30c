/* disk.c - sessions by id in an LMDB environment: what `commit` and `snapshot` promise and where `spill`
 * puts what has no room.
 *
 * LMDB trusts its file: a page that lies ends in a fault, not in an error. So a file that was there before
 * us is first read by salvage.c; a damaged one is kept aside under another name, and what is whole in it is
 * written, key by key, into a new one. */
#include "sessions_int.h"

#include <errno.h>
#include <lmdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <syslog.h>
#include <unistd.h>

static const size_t MAP_BYTES = (size_t)1 << 38; /* of addresses; the file grows as it is filled */

enum { LITTLE_SPACE = 1 << 20, PAGE = 4096 };

struct rcd__disk {
    MDB_env *env;
    MDB_dbi dbi;
    MDB_txn *txn; /* being written */
    bool changed; /* by it */
    struct rcd__tally kept, now;
};

void rcd__disk_path(const rcd_sessions *s, char out[4300])
{
    snprintf(out, 4300, "%s%s.lmdb", s->path, s->opts.durable == RCD_DURABLE_NONE ? ".spill" : "");
}

/* LMDB calls a short write EIO; a full disk makes one. */
static bool is_full(const rcd_sessions *s, int rc)
{
    char path[4300];
    struct statvfs about;
    rcd__disk_path(s, path);
    if (rc == EIO && statvfs(path, &about) == 0)
        return (uint64_t)about.f_bavail * about.f_frsize < LITTLE_SPACE;
    return rc == ENOSPC || rc == EDQUOT || rc == MDB_MAP_FULL;
}

static rcd_status failed(const rcd_sessions *s, int rc, struct rcd_error *err)
{
    bool full = is_full(s, rc);
    rcd_status code = full ? RCD_ENOSPC : rc == ENOMEM ? RCD_ENOMEM : RCD_EIO;
    return rcd_fail(err, code, "model '%s': session store on disk: %s", s->model, mdb_strerror(rc));
}

static int open_env(const char *path, unsigned flags, struct rcd__disk *d)
{
    MDB_txn *txn = NULL;
    int rc = mdb_env_create(&d->env);
    if (rc != 0)
        return rc;
    mdb_env_set_mapsize(d->env, MAP_BYTES);
    rc = mdb_env_open(d->env, path, flags | MDB_NOTLS | MDB_NOSUBDIR, 0600);
    if (rc == 0)
        rc = mdb_txn_begin(d->env, NULL, flags & MDB_RDONLY, &txn);
    if (rc == 0)
        rc = mdb_dbi_open(txn, NULL, 0, &d->dbi);
    if (rc == 0)
        rc = mdb_txn_commit(txn);
    return rc;
}

/* ---- keys ------------------------------------------------------------------------------------------ */

static MDB_val key_of(const struct rcd_session_id *id, char out[RCD_SESSION_ID_MAX + 1])
{
    size_t len = id->text != NULL ? id->len : sizeof id->number;
    out[0] = id->text != NULL ? 't' : 'n';
    memcpy(out + 1, id->text != NULL ? id->text : (const char *)&id->number, len);
    return (MDB_val){.mv_size = len + 1, .mv_data = out};
}

static bool id_of(const MDB_val *key, struct rcd_session_id *ret)
{
    const char *bytes = key->mv_data;
    *ret = (struct rcd_session_id){.text = bytes + 1, .len = key->mv_size - 1};
    if (key->mv_size < 2 || key->mv_size > RCD_SESSION_ID_MAX + 1)
        return false;
    if (bytes[0] == 'n') {
        ret->text = NULL;
        ret->len = 0;
        memcpy(&ret->number, bytes + 1, sizeof ret->number);
    }
    return bytes[0] == 't' || key->mv_size == 1 + sizeof ret->number;
}

/* ---- opening ------------------------------------------------------------------------------------------ */

static bool whole(const char *key, size_t key_len, const char *value, size_t len,
                  struct rcd_session_id *ret)
{
    union {
        const char *c;
        void *p;
    } bytes = {.c = key};
    MDB_val k = {.mv_size = key_len, .mv_data = bytes.p};
    return id_of(&k, ret) && rcd__image_good(ret, value, len);
}

static bool look(void *ctx, const char *key, size_t key_len, const char *value, size_t len)
{
    struct rcd_session_id id;
    (void)ctx;
    return whole(key, key_len, value, len, &id);
}

/* ---- a damaged file ------------------------------------------------------------------------------------ */

struct rescue {
    rcd_sessions *s;
    size_t good, bad;
    struct rcd_error err;
};

static bool rescue_one(void *ctx, const char *key, size_t key_len, const char *value, size_t len)
{
    struct rescue *r = ctx;
    struct rcd_session_id id;
    bool good = whole(key, key_len, value, len, &id);
    r->bad += !good;
    r->good += good;
    if (good && r->err.code == RCD_OK)
        r->err.code = rcd__disk_put(r->s, &id, value, len, &r->err);
    return good;
}

/* What is whole in a file that was kept aside goes on in the new one. */
static rcd_status rescue(rcd_sessions *s, const char *from, struct rcd_error *err)
{
    struct rescue r = {.s = s};
    rcd_status st = rcd__disk_begin(s, err);
    if (st != RCD_OK)
        return st;
    struct rcd__tally was;
    if (rcd__salvage(from, rescue_one, &r, &was))
        rcd__store_say(s, LOG_WARNING, "%s is sound when it is read again", from);
    st = rcd__disk_end(s, r.err.code == RCD_OK, err);
    if (r.err.code != RCD_OK)
        return rcd_fail(err, r.err.code, "%s", r.err.text);
    if (st == RCD_OK)
        rcd__store_say(s, LOG_ERR,
                       "model '%s': sessions are damaged: %zu of %s are whole and go on, at least "
                       "%zu are not",
                       s->model, r.good, from, r.bad);
    return st;
}

static rcd_status aside(const rcd_sessions *s, const char *path, char name[4300],
                        struct rcd_error *err)
{
    rcd__aside_name(path, "damaged", name, 4300);
    if (rename(path, name) != 0)
        return rcd_fail(err, RCD_EIO, "%s is damaged and cannot be renamed: %s", path,
                        strerror(errno));
    rcd__store_say(s, LOG_ERR, "%s is damaged: kept aside as %s", path, name);
    return RCD_OK;
}

rcd_status rcd__disk_open(rcd_sessions *s, bool keep, bool sync, struct rcd_error *err)
{
    char path[4300], name[4300];
    struct stat about;
    rcd__disk_path(s, path);
    if (!keep && unlink(path) != 0 && errno != ENOENT)
        return rcd_fail(err, RCD_EIO, "%s: %s", path, strerror(errno));
    struct rcd__tally tally = {.count = 0};
    bool damaged = stat(path, &about) == 0 && !rcd__salvage(path, look, NULL, &tally);
    rcd_status st = damaged ? aside(s, path, name, err) : RCD_OK;
    if (st != RCD_OK)
        return st;
    s->disk = rcd_calloc(1, sizeof *s->disk);
    if (s->disk == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the sessions of '%s'", s->model);
    int rc = open_env(path, sync ? 0 : MDB_NOSYNC, s->disk);
    if (rc != 0)
        return failed(s, rc, err);
    if (damaged)
        return rescue(s, name, err);
    s->disk->kept = tally;
    return RCD_OK;
}

void rcd__disk_close(rcd_sessions *s)
{
    if (s->disk != NULL && s->disk->env != NULL)
        mdb_env_close(s->disk->env);
    rcd_free(s->disk);
    s->disk = NULL;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

rcd_status rcd__disk_begin(rcd_sessions *s, struct rcd_error *err)
{
    int rc = mdb_txn_begin(s->disk->env, NULL, 0, &s->disk->txn);
    s->disk->now = s->disk->kept;
    s->disk->changed = false;
    return rc == 0 ? RCD_OK : failed(s, rc, err);
}

/* What is there under the key goes out of the tally. */
static int untally(struct rcd__disk *d, MDB_val *key)
{
    MDB_val old;
    uint64_t sum = 0;
    int rc = mdb_get(d->txn, d->dbi, key, &old);
    if (rc != 0)
        return rc;
    d->now.count--;
    memcpy(&sum, old.mv_data, old.mv_size < sizeof sum ? old.mv_size : sizeof sum);
    d->now.sum -= sum;
    return 0;
}

rcd_status rcd__disk_put(rcd_sessions *s, const struct rcd_session_id *id, const void *bytes,
                         size_t len, struct rcd_error *err)
{
    char text[RCD_SESSION_ID_MAX + 1];
    struct rcd__disk *d = s->disk;
    union {
        const void *c;
        void *p;
    } from = {.c = bytes};
    MDB_val key = key_of(id, text), value = {.mv_size = len, .mv_data = from.p};
    uint64_t sum = 0;
    RCD_ASSERT(len >= sizeof sum);
    memcpy(&sum, bytes, sizeof sum);
    int rc = untally(d, &key);
    if (rc == 0 || rc == MDB_NOTFOUND)
        rc = mdb_put(d->txn, d->dbi, &key, &value, 0);
    d->now.count++;
    d->now.sum += sum;
    d->changed = true;
    return rc == 0 ? RCD_OK : failed(s, rc, err);
}

rcd_status rcd__disk_delete(rcd_sessions *s, const struct rcd_session_id *id, struct rcd_error *err)
{
    char text[RCD_SESSION_ID_MAX + 1];
    struct rcd__disk *d = s->disk;
    MDB_val key = key_of(id, text);
    int rc = untally(d, &key);
    if (rc == MDB_NOTFOUND)
        return RCD_OK;
    if (rc == 0)
        rc = mdb_del(d->txn, d->dbi, &key, NULL);
    d->changed = true;
    return rc == 0 ? RCD_OK : failed(s, rc, err);
}

rcd_status rcd__disk_end(rcd_sessions *s, bool good, struct rcd_error *err)
{
    struct rcd__disk *d = s->disk;
    MDB_txn *txn = d->txn;
    char first[] = {RCD__TALLY_KEY};
    MDB_val key = {.mv_size = 1, .mv_data = first},
            value = {.mv_size = sizeof d->now, .mv_data = &d->now};
    d->txn = NULL;
    if (!good) {
        mdb_txn_abort(txn);
        return RCD_OK;
    }
    d->now.txn = mdb_txn_id(txn);
    int rc = d->changed ? mdb_put(txn, d->dbi, &key, &value, 0) : 0;
    if (rc != 0)
        mdb_txn_abort(txn);
    else
        rc = mdb_txn_commit(txn);
    if (rc == 0 && d->changed)
        d->kept = d->now;
    return rc == 0 ? RCD_OK : failed(s, rc, err);
}

/* ---- reading ------------------------------------------------------------------------------------------- */

rcd_status rcd__disk_get(rcd_sessions *s, const struct rcd_session_id *id, struct rcd_buf *out,
                         struct rcd_error *err)
{
    char text[RCD_SESSION_ID_MAX + 1];
    MDB_txn *txn = NULL;
    MDB_val key = key_of(id, text), value;
    int rc = mdb_txn_begin(s->disk->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return failed(s, rc, err);
    rc = mdb_get(txn, s->disk->dbi, &key, &value);
    if (rc == 0 && out != NULL && rcd_buf_append(out, value.mv_data, value.mv_size) != RCD_OK)
        rc = ENOMEM;
    mdb_txn_abort(txn);
    if (rc == MDB_NOTFOUND)
        return RCD_ENOTFOUND;
    return rc == 0 ? RCD_OK : failed(s, rc, err);
}

void rcd__disk_touch(const rcd_sessions *s, const struct rcd_session_id *id)
{
    char text[RCD_SESSION_ID_MAX + 1];
    MDB_txn *txn = NULL;
    MDB_val key = key_of(id, text), value;
    if (mdb_txn_begin(s->disk->env, NULL, MDB_RDONLY, &txn) != 0)
        return;
    if (mdb_get(txn, s->disk->dbi, &key, &value) == 0) {
        const volatile char *bytes = value.mv_data;
        for (size_t i = 0; i < value.mv_size; i += PAGE)
            (void)bytes[i];
        if (value.mv_size > 0)
            (void)bytes[value.mv_size - 1];
    }
    mdb_txn_abort(txn);
}

bool rcd__disk_next(rcd_sessions *s, const struct rcd_session_id *after, char text[],
                    struct rcd_session_id *ret, struct rcd__image_about *about)
{
    char from[RCD_SESSION_ID_MAX + 1];
    MDB_txn *txn = NULL;
    MDB_cursor *cursor = NULL;
    char first[] = {RCD__TALLY_KEY + 1};
    MDB_val key = {.mv_size = 1, .mv_data = first}, value;
    int rc = mdb_txn_begin(s->disk->env, NULL, MDB_RDONLY, &txn);
    if (rc != 0)
        return false;
    rc = mdb_cursor_open(txn, s->disk->dbi, &cursor);
    if (rc == 0 && after != NULL) {
        MDB_val mine = key_of(after, from);
        key = mine;
        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
        bool same = rc == 0 && key.mv_size == mine.mv_size &&
                    memcmp(key.mv_data, mine.mv_data, mine.mv_size) == 0;
        if (same)
            rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
    } else if (rc == 0) {
        rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
    }
    bool found = rc == 0 && id_of(&key, ret);
    if (found && ret->text != NULL) {
        memcpy(text, ret->text, ret->len);
        ret->text = text;
    }
    if (found && about != NULL)
        found = rcd__image_look(value.mv_data, value.mv_size, about);
    if (cursor != NULL)
        mdb_cursor_close(cursor);
    mdb_txn_abort(txn);
    return found;
}

size_t rcd__disk_count(const rcd_sessions *s)
{
    return s->disk != NULL ? (size_t)s->disk->kept.count : 0;
}
