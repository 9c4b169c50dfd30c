/* config_int.h - the option table as data, shared by the readers and writers of this folder. */
#pragma once
#include "recurd/config.h"

struct rcd__option {
    const char *section, *key;
    const char *flag; /* "server-max-body" */
    const char *env;  /* "RECURD_SERVER_MAX_BODY" */
    rcd_option_type type;
    const char *def;
    uint64_t min, max;
    bool reloadable;
    const char *choices; /* comma-separated; enums only */
    const char *doc;
    size_t offset; /* of the field in struct rcd_config */
};

enum { RCD__NAME_MAX = 64 }; /* flags and variables fit, with their NUL */

/** All options in the order of options.def. The names are made on the first call.
 * Threading: before threads start (all functions of this file). */
const struct rcd__option *rcd__options(size_t *ret_n);
const struct rcd__option *rcd__option_by_key(const char *section, const char *key);

/** How a name is spelt in the three sources. */
typedef enum rcd__spelling { RCD__BY_KEY, RCD__BY_ENV, RCD__BY_FLAG } rcd__spelling;
const char *rcd__option_name(const struct rcd__option *o, rcd__spelling s, char *buf, size_t cap);
/** The option whose spelt name equals `name`, or NULL. */
const struct rcd__option *rcd__option_find(const char *name, rcd__spelling s);
/** RCD_EINVAL: "<where>: <name> is not an option; did you mean <nearest>?" */
rcd_status rcd__option_unknown(const char *where, const char *name, rcd__spelling s,
                               struct rcd_error *err);

/** Parse `text` into the option's field; `where` and `name` lead the message of RCD_EINVAL. The
 * field is untouched on failure. */
RCD_MUST_CHECK rcd_status rcd__option_set(struct rcd_config *c, const struct rcd__option *o,
                                          const char *text, const char *where, const char *name,
                                          struct rcd_error *err);
/** A value of option `o` as a person would write it: "16M", "5s". Returns buf. */
const char *rcd__value_text(const struct rcd__option *o, uint64_t value, char *buf, size_t cap);
/** "4K to 1G", "yes or no", "auto, c, neon": what the option takes. Returns buf. */
const char *rcd__option_range(const struct rcd__option *o, char *buf, size_t cap);
bool rcd__option_equal(const struct rcd_config *a, const struct rcd_config *b,
                       const struct rcd__option *o);
/** Move the option's value from one to the other (strings: swap). */
void rcd__option_swap(struct rcd_config *a, struct rcd_config *b, const struct rcd__option *o);

RCD_MUST_CHECK rcd_status rcd__config_read_file(struct rcd_config *c, const char *path,
                                                struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__config_read_env(struct rcd_config *c, char *const *environ_,
                                               struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__config_read_args(struct rcd_config *c, int argc, char *const *argv,
                                                struct rcd_error *err);
/** Value of --config among the arguments, or NULL. */
const char *rcd__config_file_arg(int argc, char *const *argv);
