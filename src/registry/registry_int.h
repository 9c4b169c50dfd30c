/* registry_int.h - what the files of registry/ share.
 *
 * Two locks. `work` serialises the blocking calls (load, unload, rescan); `lock` guards the table of
 * models and is held for look-ups and swaps only, never while reading, building or calling a hook.
 * Order: work before lock. The table is written with both held, so either is enough to read it. */
#pragma once
#include "recurd/registry.h"

#include <pthread.h>
#include <stdatomic.h>

enum {
    RCD__NAME_MAX = 64,
    RCD__JSON_MAX = 1 << 20,      /* bytes of model.json */
    RCD__LABELS_MAX = 16 << 20,   /* bytes of labels.txt */
    RCD__SCAN_ARENA = 64 << 20,   /* what a model's folder holds */
    RCD__VERSION_ARENA = 64 << 20 /* configuration and labels of one version */
};

/* ---- names.c (pure) ------------------------------------------------------------------------- */

/** NULL: fine; else what is wrong with it. */
const char *rcd__name_fault(const char *name);
/** Decimal, no sign, no leading zero, 1 to 2^63 - 1. */
bool rcd__version_parse(const char *text, uint64_t *ret);
/** "256M": bytes, with K, M or G. */
bool rcd__size_parse(const char *text, uint64_t *ret);
/** The known word that `word` was probably meant to be, or NULL. */
const char *rcd__nearest(const char *word, const char *const *known, size_t n);

/* ---- folder.c: files below the root ------------------------------------------------------------ */

/** What tells that a file was changed. All zero: it is not there. */
struct rcd__ident {
    bool there;
    int64_t size, mtime_s, mtime_ns;
    uint64_t inode, device;
};
bool rcd__same_ident(const struct rcd__ident *a, const struct rcd__ident *b);

RCD_MUST_CHECK rcd_status rcd__open_root(const char *path, int *ret_fd, struct rcd_error *err);
/** A folder below `root`; links are followed as long as they stay below it. RCD_ENOTFOUND, RCD_EINVAL
 * when it is something else, RCD_EMODEL when it leads out, RCD_EIO. */
RCD_MUST_CHECK rcd_status rcd__open_folder(int root, const char *path, int *ret_fd,
                                           struct rcd_error *err);
/** As rcd__open_folder, for the state of a regular file; not there is RCD_OK. */
RCD_MUST_CHECK rcd_status rcd__look_at(int root, const char *path, struct rcd__ident *ret,
                                       struct rcd_error *err);
/** The whole of a regular file, NUL-terminated; release with rcd_free. RCD_ENOTFOUND; RCD_EMODEL for
 * anything but a regular file below the root and for more than `max` bytes; RCD_EIO, also when it
 * changes while it is read. */
RCD_MUST_CHECK rcd_status rcd__read_file(int root, const char *path, size_t max, char **ret_bytes,
                                         size_t *ret_len, struct rcd_error *err);
/** Names in a folder without those that begin with a dot, sorted. */
RCD_MUST_CHECK rcd_status rcd__list(int root, const char *path, struct rcd_arena *arena,
                                    const char ***ret_names, size_t *ret_n, struct rcd_error *err);

/* ---- model_json.c, labels.c, warmup.c ---------------------------------------------------------- */

struct rcd__defaults {
    size_t max_rows, max_queue;
    uint64_t max_delay_us;
};
/** Text of model.json (NULL: none, all defaults) -> *ret, in the arena. RCD_EMODEL names key and
 * expectation. */
RCD_MUST_CHECK rcd_status rcd__model_json(const char *text, size_t len, const char *model,
                                          const struct rcd__defaults *defaults,
                                          struct rcd_arena *arena, struct rcd_model_config *ret,
                                          struct rcd_error *err);
/** One label per line. RCD_EMODEL for text that is not UTF-8. */
RCD_MUST_CHECK rcd_status rcd__labels(const char *text, size_t len, struct rcd_arena *arena,
                                      const char *const **ret, size_t *ret_n,
                                      struct rcd_error *err);
/** Check the configured names against the plan, then run it once for each configured warm-up (or once
 * with guessed shapes). A guess that fails is no error: its reason is in *ret_warning (code not
 * RCD_OK). */
RCD_MUST_CHECK rcd_status rcd__warm_up(rcd_plan *plan, const struct rcd_model_config *config,
                                       size_t max_bytes, struct rcd_error *ret_warning,
                                       struct rcd_error *err);

/* ---- version.c ----------------------------------------------------------------------------------- */

/** What one version is made of. */
struct rcd__recipe {
    const char *model;
    uint64_t number;
    int root;           /* for files; -1: everything comes from memory */
    const char *config; /* text of model.json, NULL: none */
    size_t config_len;
    const struct rcd_load_file *onnx, *labels; /* from memory; NULL: from the folder */
};
/** Load, plan, warm up, attach. The version has one reference. */
RCD_MUST_CHECK rcd_status rcd__version_new(const struct rcd_registry_opts *opts,
                                           const struct rcd__recipe *recipe, rcd_version **ret,
                                           struct rcd_error *err);

/* ---- source.c: what a model's folder (or a load call) holds ---------------------------------------- */

struct rcd__found {
    uint64_t number;
    struct rcd__ident onnx, labels;
    const struct rcd_load_file *onnx_file, *labels_file; /* from memory */
};
struct rcd__source {
    const char *model;
    int root;
    bool from_memory;   /* files were given */
    bool given;         /* configuration or files were given */
    char *read_config;  /* owned: model.json as read */
    const char *config; /* text in force, or NULL */
    size_t config_len;
    const char *config_from; /* for messages: "char-lstm/model.json" */
    struct rcd__ident config_ident;
    struct rcd__found *found; /* highest number first */
    size_t n_found;
};
/** RCD_ENOTFOUND: the folder is not there, or is no model (neither versions nor model.json). The
 * arena holds what is found; release with rcd__source_done. */
RCD_MUST_CHECK rcd_status rcd__source_folder(int root, const char *model, const char *config,
                                             struct rcd_arena *arena, struct rcd__source *ret,
                                             struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__source_memory(const char *model, const char *config,
                                             const struct rcd_load_file *files, size_t n_files,
                                             struct rcd_arena *arena, struct rcd__source *ret,
                                             struct rcd_error *err);
void rcd__source_done(struct rcd__source *src);
/** Does the folder look like a model? */
bool rcd__is_model(int root, const char *model, struct rcd_arena *arena);

/* ---- table.c ------------------------------------------------------------------------------------------ */

/** A version that is, was, or should be loaded. */
struct rcd__slot {
    struct rcd__slot *next; /* rising numbers */
    uint64_t number;
    rcd_version *v; /* owned reference; NULL: not loaded */
    rcd_model_state state;
    char reason[RCD_ERROR_TEXT];
    /* under work only */
    struct rcd__ident onnx, labels, config; /* as of the last try */
    rcd_status tried;                       /* its result; RCD_STATUS_MAX: never tried */
    bool keep;
};

struct rcd__entry {
    char name[RCD__NAME_MAX + 1];
    struct rcd__slot *slots;
    char reason[RCD_ERROR_TEXT]; /* what is wrong with the model as a whole */
    bool by_hand;                /* unloaded by hand */
    bool given;                  /* loaded with configuration or files of a call */
    /* under work only */
    bool seen;                /* in this scan */
    struct rcd__ident config; /* of the model.json that `reason` is about */
};

struct rcd_registry {
    struct rcd_registry_opts opts; /* root owned */
    pthread_mutex_t work, lock;
    struct rcd__entry **entries; /* sorted by name */
    size_t n, cap;
    bool scanned;
    /* under work only */
    uint64_t odd_names; /* hash of the names that were refused, to say it once */
    bool said_empty;
};

/** Under work or lock. */
struct rcd__entry *rcd__find(const rcd_registry *r, const char *name);
struct rcd__slot *rcd__find_slot(const struct rcd__entry *e, uint64_t number);
/** Under work; they take the lock. NULL: no memory. */
RCD_MUST_CHECK struct rcd__entry *rcd__enter(rcd_registry *r, const char *name);
RCD_MUST_CHECK struct rcd__slot *rcd__enter_slot(rcd_registry *r, struct rcd__entry *e,
                                                 uint64_t number);
/** Put `v` (taken; may be NULL) in the slot's place for versions. */
void rcd__set_slot(rcd_registry *r, struct rcd__slot *s, rcd_version *v, rcd_model_state state,
                   const char *reason);
void rcd__drop_slot(rcd_registry *r, struct rcd__entry *e, struct rcd__slot *s);
void rcd__drop_entry(rcd_registry *r, struct rcd__entry *e);
void rcd__set_reason(rcd_registry *r, struct rcd__entry *e, const char *reason);

/* ---- apply.c --------------------------------------------------------------------------------------------- */

/** Make the entry equal to the source: build what is new or changed (everything with `force`), swap
 * it in, take down what is not wanted any more. The first failure's status and reason; the entry
 * keeps serving what it can. Under work, which may be held for several threads at once, each with an
 * entry of its own. */
RCD_MUST_CHECK rcd_status rcd__apply(rcd_registry *r, struct rcd__entry *e,
                                     const struct rcd__source *src, bool force,
                                     struct rcd_error *err);
/** Take down every version. Under work. */
void rcd__take_down(rcd_registry *r, struct rcd__entry *e);
size_t rcd__n_loaded(const struct rcd__entry *e);
void rcd__say(const struct rcd_registry_opts *opts, int priority, const char *fmt, ...)
    RCD_PRINTF(3, 4);
