/* config.h - one option table (options.def): file, environment, command line, in that order of rising
 * precedence. Only daemon/ reads it; modules get options structs of their own. */
#pragma once
#include "recurd/base.h"

typedef enum rcd_option_type {
    RCD_OPT_STRING,
    RCD_OPT_BOOL,
    RCD_OPT_UINT,
    RCD_OPT_BYTES,    /* 4096, 64K, 16M, 2G */
    RCD_OPT_DURATION, /* in ms: 500ms, 5s, 2m, 1h; a bare number is seconds */
    RCD_OPT_ENUM,
} rcd_option_type;

/** X(section, key, field, type, default text, min, max, reloadable, choices, doc) */
struct rcd_config {
#define RCD_C_STRING char *
#define RCD_C_BOOL bool
#define RCD_C_UINT uint64_t
#define RCD_C_BYTES uint64_t
#define RCD_C_DURATION uint64_t
#define RCD_C_ENUM int
#define X(section, key, field, type, def, min, max, reload, choices, doc) RCD_C_##type field;
#include "recurd/options.def"
#undef X
    char *config_file;         /* --config, or NULL */
    bool check, help, version; /* --check, --help, --version */
};

/** Defaults, then file, then RECURD_SECTION_KEY, then flags (--section-key VALUE or =VALUE; --config
 * F, --models DIR, --listen ADDR:PORT, --check, --help, --version). RCD_EINVAL names source (file and
 * line, variable or flag), value and range; unknown keys, variables and flags are refused with the
 * nearest known name. Threading: before threads start. */
RCD_MUST_CHECK rcd_status rcd_config_load(struct rcd_config *c, int argc, char *const *argv,
                                          char *const *environ_, struct rcd_error *err);
/** Read again: only reloadable options change; *ret_ignored lists (one line) those that differ and
 * need a restart. */
RCD_MUST_CHECK rcd_status rcd_config_reload(struct rcd_config *c, int argc, char *const *argv,
                                            char *const *environ_, char *ret_ignored, size_t cap,
                                            struct rcd_error *err);
void rcd_config_done(struct rcd_config *c);
/** conf/recurd.conf: every option with doc, unit, range, default, reloadable or not. */
rcd_status rcd_config_write_example(struct rcd_buf *out);
/** Text of --help. */
rcd_status rcd_config_write_help(struct rcd_buf *out);
