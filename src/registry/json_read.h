/* json_read.h - reading a JSON object strictly: tables of fields, typed readers, messages. */
#pragma once
#include "registry_int.h"

#include <jansson.h>

enum { RCD__LIST_MAX = 256 };

/** State of one reading; readers fill *c. */
struct rcd__parse {
    const char *model;
    struct rcd_arena *arena;
    struct rcd_model_config *c;
    const char *where; /* "batching" while inside it, "" at the top */
    struct rcd_error *err;
};

typedef rcd_status rcd__reader(struct rcd__parse *p, const char *key, json_t *value);
struct rcd__field {
    const char *key;
    rcd__reader *read;
};

/** RCD_EMODEL with "batching.max_rows: " in front of what is wrong. */
rcd_status rcd__wrong(struct rcd__parse *p, const char *key, const char *fmt, ...) RCD_PRINTF(3, 4);
rcd_status rcd__no_memory(struct rcd__parse *p);
const char *rcd__type_name(const json_t *v);

RCD_MUST_CHECK rcd_status rcd__read_int(struct rcd__parse *p, const char *key, const json_t *v,
                                        int64_t min, int64_t max, int64_t *ret);
RCD_MUST_CHECK rcd_status rcd__read_text(struct rcd__parse *p, const char *key, const json_t *v,
                                         const char **ret);
RCD_MUST_CHECK rcd_status rcd__read_choice(struct rcd__parse *p, const char *key, const json_t *v,
                                           const char *const *choices, size_t n, size_t *ret);
RCD_MUST_CHECK rcd_status rcd__want_list(struct rcd__parse *p, const char *key, const json_t *v,
                                         const char *of);
/** Refuse keys that are not in the table, then read the fields that are there, in its order. */
RCD_MUST_CHECK rcd_status rcd__read_object(struct rcd__parse *p, const char *key, json_t *v,
                                           const struct rcd__field *fields, size_t n);
RCD_MUST_CHECK rcd_status rcd__check_keys(struct rcd__parse *p, json_t *v,
                                          const struct rcd__field *fields, size_t n);
