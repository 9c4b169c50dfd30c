/* store_open.c - where a store's files are, and the making of a store for a version. */
#include "stores_int.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the directories ---------------------------------------------------------------------------- */

static rcd_status dir_open(const char *dir, const char *option, int *ret_fd, struct rcd_error *err)
{
    char path[4200];
    if (dir == NULL)
        return RCD_OK;
    if (mkdir(dir, 0700) != 0 && errno != EEXIST)
        return rcd_fail(err, RCD_EIO, "%s %s: %s", option, dir, strerror(errno));
    snprintf(path, sizeof path, "%s/lock", dir);
    *ret_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*ret_fd < 0)
        return rcd_fail(err, RCD_EIO, "%s: %s: %s", option, path, strerror(errno));
    if (flock(*ret_fd, LOCK_EX | LOCK_NB) != 0)
        return rcd_fail(err, RCD_EIO, "%s %s: another recurd uses it (%s is locked)", option, dir,
                        path);
    return RCD_OK;
}

rcd_status rcd__state_dirs_open(rcd_stores *s, struct rcd_error *err)
{
    rcd_status st = dir_open(s->dir, "state.dir", &s->lock_fds[0], err);
    struct stat a, b;
    if (st == RCD_OK && s->dir != NULL && s->runtime_dir != NULL && stat(s->dir, &a) == 0 &&
        stat(s->runtime_dir, &b) == 0 && a.st_dev == b.st_dev && a.st_ino == b.st_ino)
        return rcd_fail(err, RCD_EINVAL, "state.runtime_dir %s is state.dir", s->runtime_dir);
    return st == RCD_OK ? dir_open(s->runtime_dir, "state.runtime_dir", &s->lock_fds[1], err) : st;
}

/* ---- making a store ------------------------------------------------------------------------------------ */

/* Sizes that the file leaves open: model.json's, else 1. */
static rcd_status open_sizes(const rcd_version *v, const struct rcd_io *io,
                             struct rcd_state_shape *to, struct rcd_error *err)
{
    const struct rcd_model_config *c = rcd_version_config(v);
    size_t s = 0;
    while (s < c->n_states && strcmp(c->state_inputs[s], io->name) != 0)
        s++;
    const struct rcd_state_dims *told =
        s < c->n_states && c->state_dims[s].rank >= 0 ? &c->state_dims[s] : NULL;
    bool fits = told == NULL || told->rank == io->rank;
    for (int d = 0; d < io->rank; d++) {
        to->dims[d] = io->dims[d] >= 0 ? io->dims[d] : told != NULL && fits ? told->dims[d] : 1;
        fits = fits && (told == NULL || told->dims[d] == to->dims[d]);
    }
    char want[128], file[128];
    return fits ? RCD_OK
                : rcd_fail(err, RCD_EMODEL,
                           "state '%s' has shape %s in model.json and %s in the file", io->name,
                           rcd_shape_text(want, sizeof want, told->rank, told->dims),
                           rcd_shape_text(file, sizeof file, io->rank, io->dims));
}

rcd_status rcd__state_shapes(const rcd_version *v, struct rcd_arena *arena,
                             struct rcd_state_shape **ret, size_t *ret_n, struct rcd_error *err)
{
    size_t n_in = 0;
    const rcd_plan *plan = rcd_version_plan(v);
    const struct rcd_io *io = rcd_plan_inputs(plan, &n_in);
    *ret = rcd_arena_calloc(arena, n_in, sizeof **ret);
    *ret_n = 0;
    if (*ret == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the shapes of states");
    for (size_t i = 0; i < n_in; i++) {
        if (rcd_plan_state_output(plan, i) < 0)
            continue;
        struct rcd_state_shape *to = &(*ret)[(*ret_n)++];
        *to =
            (struct rcd_state_shape){.name = io[i].name, .dtype = io[i].dtype, .rank = io[i].rank};
        if (io[i].dtype == RCD_BYTES)
            return rcd_fail(err, RCD_EMODEL, "state '%s' is of type BYTES", io[i].name);
        rcd_status st = open_sizes(v, &io[i], to, err);
        if (st != RCD_OK)
            return st;
    }
    return RCD_OK;
}

struct rcd_sessions_opts rcd__store_limits(const rcd_version *v)
{
    const struct rcd_session_config *c = &rcd_version_config(v)->sessions;
    return (struct rcd_sessions_opts){.idle_ms = c->idle_ms,
                                      .max_bytes = c->max_bytes,
                                      .overflow = c->overflow,
                                      .durable = c->durable,
                                      .ring = c->ring,
                                      .snapshot_interval_ms = c->snapshot_interval_ms,
                                      .carry = c->carry};
}

static void on_event(void *ctx, const struct rcd_session_event *e)
{
    const struct rcd__store *store = ctx;
    rcd__event_ring_put(&store->stores->events, store->model, rcd__store_number(store), e);
}

static void log_of(void *ctx, int priority, const char *text)
{
    const struct rcd__store *store = ctx;
    store->stores->opts.log(store->stores->opts.log_ctx, priority, text);
}

/* Files that could both be in use have different names: by what must be the same to go on with one. */
static void file_name(char out[80], const rcd_version *v, const struct rcd_state_shape *states,
                      size_t n)
{
    uint64_t hash = n;
    for (size_t i = 0; i < n; i++) {
        hash = rcd_session_hash(hash ^ (uint64_t)states[i].dtype, states[i].name,
                                strlen(states[i].name));
        hash = rcd_session_hash(hash, states[i].dims, sizeof states[i].dims);
    }
    if (rcd_version_config(v)->sessions.carry)
        snprintf(out, 80, "/carried-%016llx.sessions", (unsigned long long)hash);
    else
        snprintf(out, 80, "/%s-%016llx.sessions", rcd_version_number(v),
                 (unsigned long long)(hash ^ rcd_version_fingerprint(v)));
}

/* The file in the model's folder in a directory; the folder is made if need be. */
static rcd_status place(const char *dir, bool make, const rcd_version *v,
                        const struct rcd_state_shape *states, size_t n, char path[4400],
                        struct rcd_error *err)
{
    snprintf(path, 4300, "%s/%s", dir, rcd_version_model(v));
    if (make && mkdir(path, 0700) != 0 && errno != EEXIST)
        return rcd_fail(err, errno == ENOSPC ? RCD_ENOSPC : RCD_EIO, "%s: %s", path,
                        strerror(errno));
    file_name(path + strlen(path), v, states, n);
    return RCD_OK;
}

rcd_status rcd__store_new(rcd_stores *s, const rcd_version *v, const struct rcd_state_shape *states,
                          size_t n, struct rcd__store **ret, struct rcd_error *err)
{
    const struct rcd_session_config *c = &rcd_version_config(v)->sessions;
    char path[4400], runtime[4400];
    bool spills = c->overflow == RCD_OVERFLOW_SPILL,
         disk = c->durable != RCD_DURABLE_NONE || spills;
    if (s->dir == NULL && (c->durable > RCD_DURABLE_PROCESS || spills))
        return rcd_fail(err, RCD_EMODEL, "sessions: %s needs state.dir (--state-dir)",
                        spills ? "overflow \"spill\"" : "durable \"snapshot\" or \"commit\"");
    rcd_status st = RCD_OK;
    if (s->dir != NULL)
        st = place(s->dir, disk, v, states, n, path, err);
    if (st == RCD_OK && s->runtime_dir != NULL)
        st = place(s->runtime_dir, c->durable == RCD_DURABLE_PROCESS, v, states, n, runtime, err);
    if (st != RCD_OK)
        return st;
    struct rcd__store *store = rcd_calloc(1, sizeof *store);
    if (store == NULL || (store->model = rcd_strdup(rcd_version_model(v))) == NULL) {
        rcd_free(store);
        return rcd_fail(err, RCD_ENOMEM, "no memory for the sessions of '%s'",
                        rcd_version_model(v));
    }
    store->stores = s;
    struct rcd_sessions_opts opts = rcd__store_limits(v);
    opts.model = store->model;
    opts.states = states;
    opts.n_states = n;
    opts.fingerprint = rcd_version_fingerprint(v);
    opts.committed = rcd__sequence_committed;
    opts.budget = &s->budget;
    opts.path = s->dir != NULL ? path : NULL;
    opts.runtime_path = s->runtime_dir != NULL ? runtime : NULL;
    opts.ctx = store;
    opts.event = on_event;
    opts.log = log_of;
    st = rcd_sessions_new(&opts, &store->sessions, err);
    if (st != RCD_OK) {
        rcd_free(store->model);
        rcd_free(store);
        return st;
    }
    *ret = store;
    return RCD_OK;
}

static bool file_in(const char *dir, const char *model, uint64_t number)
{
    char path[4300], prefix[32];
    bool found = false;
    snprintf(path, sizeof path, "%s/%s", dir, model);
    int len = snprintf(prefix, sizeof prefix, "%llu-", (unsigned long long)number);
    DIR *d = opendir(path);
    for (const struct dirent *e; !found && d != NULL && (e = readdir(d)) != NULL;) {
        const char *end = strstr(e->d_name, ".sessions");
        found = strncmp(e->d_name, prefix, (size_t)len) == 0 && end != NULL &&
                (strcmp(end, ".sessions") == 0 || strcmp(end, ".sessions.lmdb") == 0);
    }
    if (d != NULL)
        closedir(d);
    return found;
}

/* Files are called by version and hash; one without sessions is removed when its store goes. */
bool rcd__state_file_of(const rcd_stores *s, const char *model, uint64_t number)
{
    return (s->dir != NULL && file_in(s->dir, model, number)) ||
           (s->runtime_dir != NULL && file_in(s->runtime_dir, model, number));
}
