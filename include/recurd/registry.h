/* registry.h - the model repository: scan, versions, model.json, load, unload, swap, states.
 * Blocking calls (load, unload, rescan) are for a helper thread; look-ups take a short lock. */
#pragma once
#include "recurd/base.h"
#include "recurd/engine.h"
#include "recurd/sessions.h"

typedef struct rcd_registry rcd_registry;
/** One loaded version of one model; immutable, reference-counted. */
typedef struct rcd_version rcd_version;

/** "sessions" of model.json. */
struct rcd_session_config {
    uint64_t idle_ms, max_bytes;
    rcd_overflow overflow;
    rcd_durable durable;
    unsigned ring;
    uint64_t snapshot_interval_ms;
    bool carry; /* "reload": a new version takes the sessions over */
};

/** "shape" of a state, for sizes that the file leaves open. */
struct rcd_state_dims {
    int rank; /* -1: model.json does not say */
    int64_t dims[RCD_MAX_RANK];
};

/** What model.json says, with defaults filled in. */
struct rcd_model_config {
    const char *description;
    size_t n_states;
    const char *const *state_inputs, *const *state_outputs;
    const struct rcd_state_dims *state_dims; /* one per state */
    size_t n_time;                           /* "time": tensor name -> axis */
    const char *const *time_names;
    const int *time_axes;
    rcd_weights weights;
    size_t max_rows, max_queue;
    uint64_t max_delay_us;
    bool all_versions; /* policy "all" */
    size_t n_latest;   /* policy "latest" */
    size_t n_specific; /* policy "specific" */
    const uint64_t *specific;
    size_t n_warmup;
    const struct rcd_warmup *warmup;
    struct rcd_session_config sessions;
};
struct rcd_warmup {
    size_t n;
    const char *const *names;
    const int *ranks;
    const int64_t (*dims)[RCD_MAX_RANK];
};

typedef enum rcd_model_state {
    RCD_MODEL_UNKNOWN, /* on disk, never loaded */
    RCD_MODEL_LOADING,
    RCD_MODEL_READY,
    RCD_MODEL_UNLOADING,   /* for the protocol's sake: unloading takes effect at once */
    RCD_MODEL_UNAVAILABLE, /* could not be loaded, or was unloaded: the reason says which */
} rcd_model_state;
const char *rcd_model_state_name(rcd_model_state s); /* "READY" */

struct rcd_registry_opts {
    const char *root; /* [copied] path of the repository */
    const struct rcd_kernels *kernels;
    size_t max_model_bytes;
    size_t max_run_bytes; /* memory of a warm-up run; 0: 1 GiB */
    size_t default_max_rows, default_max_queue;
    uint64_t default_max_delay_us;
    unsigned load_threads; /* at the first scan; at most 8 count */
    void *ctx;
    /** A version is about to become READY: the owner attaches its queue. Called on the thread that
     * loads, at the first scan on several at once; a failure refuses the version. The hooks may call the
     * getters of a version only. */
    rcd_status (*attach)(void *ctx, const rcd_version *v, void **ret_user, struct rcd_error *err);
    /** The last reference to a version has fallen, on whatever thread: also after the registry is
     * gone, while a request still holds one. */
    void (*detach)(void *ctx, void *user);
    void (*log)(void *ctx, int priority, const char *text); /* syslog priorities; as attach */
    /** Must a version be served although the policy does not want it: does somebody still use it? May be
     * NULL. Called on the thread that loads. */
    bool (*needed)(void *ctx, const char *model, uint64_t number);
};

RCD_MUST_CHECK rcd_status rcd_registry_new(const struct rcd_registry_opts *opts, rcd_registry **ret,
                                           struct rcd_error *err);
/** Drops its references to all versions. NULL is fine. */
rcd_registry *rcd_registry_free(rcd_registry *r);

/** Read the folder and make what is loaded equal to it: new and changed models load (a change of
 * model.json, model.onnx or labels.txt by size, time or inode), vanished ones unload; models that
 * were unloaded by hand stay so, those loaded with a configuration or files of a call are left alone.
 * A bad new version leaves the old one serving; with the policy "latest" the next lower one that loads
 * takes its place where none serves. External tensor data is not watched. RCD_EIO when the root cannot
 * be read; single models' failures are logged once and kept as their reason. *ret_failed (may be NULL)
 * counts the models that have one. Threading: any thread, one at a time (serialised inside); blocks. */
RCD_MUST_CHECK rcd_status rcd_registry_rescan(rcd_registry *r, size_t *ret_failed,
                                              struct rcd_error *err);
struct rcd_load_file {
    const char *path; /* "1/model.onnx": version folder and file name */
    const void *bytes;
    size_t len;
};
/** Load or reload one model by name, changed or not; `config_json` (may be NULL) replaces model.json
 * for this load; `files` (VERSION/model.onnx, VERSION/labels.txt; may be none; needs config_json)
 * replace the folder. RCD_EMODEL with path and reason, RCD_EINVAL (name, files), RCD_ENOTFOUND,
 * RCD_EIO, RCD_ENOMEM: then what served goes on. Threading: any thread; blocks. */
RCD_MUST_CHECK rcd_status rcd_registry_load(rcd_registry *r, const char *name,
                                            const char *config_json,
                                            const struct rcd_load_file *files, size_t n_files,
                                            struct rcd_error *err);
/** RCD_ENOTFOUND. Threading: any thread; returns when no new request can reach the model. */
RCD_MUST_CHECK rcd_status rcd_registry_unload(rcd_registry *r, const char *name,
                                              struct rcd_error *err);

/** Version by name and number text (NULL: the latest READY one). RCD_ENOTFOUND names what is not
 * there or not loaded, with the reason; RCD_EUNAVAILABLE while it loads and before the first scan.
 * Release with rcd_version_unref. Threading: any thread. */
RCD_MUST_CHECK rcd_status rcd_registry_get(rcd_registry *r, const char *name, const char *version,
                                           rcd_version **ret, struct rcd_error *err);
rcd_version *rcd_version_ref(rcd_version *v);
rcd_version *rcd_version_unref(rcd_version *v); /* Threading: any thread */

/* getters of a version; Threading: any thread while referenced */
const char *rcd_version_model(const rcd_version *v);
const char *rcd_version_number(const rcd_version *v); /* "3" */
rcd_plan *rcd_version_plan(const rcd_version *v);     /* [borrowed] */
const struct rcd_model_config *rcd_version_config(const rcd_version *v);
void *rcd_version_user(const rcd_version *v);                               /* what attach gave */
const char *const *rcd_version_labels(const rcd_version *v, size_t *ret_n); /* labels.txt */
double rcd_version_load_seconds(const rcd_version *v);
uint64_t rcd_version_fingerprint(const rcd_version *v); /* of model.onnx */

/** One row of the index; strings live in the arena that was given. */
struct rcd_index_row {
    const char *name, *version, *reason; /* version NULL: never loaded; reason NULL: none */
    rcd_model_state state;
};
/** All models and versions, sorted by name, then number. Lists the root's folder, to name models that
 * nobody has loaded yet (UNKNOWN). RCD_ENOMEM. Threading: any thread. */
RCD_MUST_CHECK rcd_status rcd_registry_index(rcd_registry *r, struct rcd_arena *arena,
                                             struct rcd_index_row **ret_rows, size_t *ret_n);
/** Every model that was not unloaded by hand has a READY version. Threading: any thread. */
bool rcd_registry_ready(rcd_registry *r);
