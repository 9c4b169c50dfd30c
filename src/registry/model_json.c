/* model_json.c - model.json, strictly: every key is known, every value has the type and range that is
 * wanted, or the model is refused with the key's name and what would be right. A key that is silently
 * ignored is a setting that somebody believes in.
 *
 * An object is a table of fields, each with a reader. Fields are read in the order of the table, not of
 * the text. Two keys are there for configurations written for other servers of the protocol: "name"
 * (must be the model's) and "max_batch_size" (the same as batching.max_rows). */
#include "json_read.h"

#include <string.h>

enum { ROWS_MAX = 65536, QUEUE_MAX = 1000000, DELAY_MAX_US = 1000000, RING_MAX = 1024 };
enum { IDLE_MS = 3600 * 1000, INTERVAL_MS = 60 * 1000, SESSION_BYTES = 256 << 20 };

/* ---- state and time ------------------------------------------------------------------------------ */

static rcd_status want_member(struct rcd__parse *p, const char *key, size_t i, const json_t *o,
                              const char *member, const char **ret)
{
    char place[48];
    snprintf(place, sizeof place, "%s[%zu].%s", key, i, member);
    const json_t *v = json_object_get(o, member);
    if (v == NULL)
        return rcd__wrong(p, place, "is missing");
    return rcd__read_text(p, place, v, ret);
}

/* "shape" of a state: every size, 1 and more. */
static rcd_status read_state_shape(struct rcd__parse *p, const char *key, size_t i, const json_t *v,
                                   struct rcd_state_dims *ret)
{
    char place[48];
    ret->rank = -1;
    if (v == NULL)
        return RCD_OK;
    snprintf(place, sizeof place, "%s[%zu].shape", key, i);
    if (!json_is_array(v) || json_array_size(v) > RCD_MAX_RANK)
        return rcd__wrong(p, place, "must be a list of at most %d sizes", RCD_MAX_RANK);
    ret->rank = (int)json_array_size(v);
    for (int d = 0; d < ret->rank; d++) {
        rcd_status st =
            rcd__read_int(p, place, json_array_get(v, (size_t)d), 1, INT32_MAX, &ret->dims[d]);
        if (st != RCD_OK)
            return st;
    }
    return RCD_OK;
}

static rcd_status read_state(struct rcd__parse *p, const char *key, json_t *v)
{
    rcd_status st = rcd__want_list(p, key, v, "{\"input\": ..., \"output\": ...}");
    if (st != RCD_OK)
        return st;
    size_t n = json_array_size(v);
    const char **in = rcd_arena_calloc(p->arena, n, sizeof *in);
    const char **out = rcd_arena_calloc(p->arena, n, sizeof *out);
    struct rcd_state_dims *dims = rcd_arena_calloc(p->arena, n, sizeof *dims);
    if (in == NULL || out == NULL || dims == NULL)
        return rcd__no_memory(p);
    for (size_t i = 0; i < n; i++) {
        static const struct rcd__field pair[] = {
            {"input", NULL}, {"output", NULL}, {"shape", NULL}};
        const json_t *o = json_array_get(v, i);
        if (!json_is_object(o))
            return rcd__wrong(p, key, "member %zu is %s, want {\"input\": ..., \"output\": ...}", i,
                              rcd__type_name(o));
        p->where = key;
        if ((st = rcd__check_keys(p, json_array_get(v, i), pair, RCD_COUNT(pair))) != RCD_OK)
            return st;
        p->where = "";
        if ((st = want_member(p, key, i, o, "input", &in[i])) != RCD_OK ||
            (st = want_member(p, key, i, o, "output", &out[i])) != RCD_OK ||
            (st = read_state_shape(p, key, i, json_object_get(o, "shape"), &dims[i])) != RCD_OK)
            return st;
    }
    p->c->n_states = n;
    p->c->state_inputs = in;
    p->c->state_outputs = out;
    p->c->state_dims = dims;
    return RCD_OK;
}

static rcd_status read_time(struct rcd__parse *p, const char *key, json_t *v)
{
    if (!json_is_object(v))
        return rcd__wrong(p, key, "is %s, want an object of tensor names and axes",
                          rcd__type_name(v));
    size_t n = json_object_size(v), i = 0;
    if (n > RCD__LIST_MAX)
        return rcd__wrong(p, key, "has %zu members, limit %d", n, RCD__LIST_MAX);
    const char **names = rcd_arena_calloc(p->arena, n, sizeof *names);
    int *axes = rcd_arena_calloc(p->arena, n, sizeof *axes);
    if (names == NULL || axes == NULL)
        return rcd__no_memory(p);
    const char *name;
    json_t *value;
    p->where = key;
    json_object_foreach(v, name, value)
    {
        int64_t axis = 0;
        rcd_status st = rcd__read_int(p, name, value, 0, RCD_MAX_RANK - 1, &axis);
        if (st != RCD_OK)
            return st;
        names[i] = rcd_arena_strndup(p->arena, name, strlen(name));
        if (names[i] == NULL)
            return rcd__no_memory(p);
        axes[i++] = (int)axis;
    }
    p->where = "";
    p->c->n_time = n;
    p->c->time_names = names;
    p->c->time_axes = axes;
    return RCD_OK;
}

static rcd_status read_weights(struct rcd__parse *p, const char *key, json_t *v)
{
    static const char *const choices[RCD_WEIGHTS_MAX] = {
        [RCD_WEIGHTS_F32] = "f32", [RCD_WEIGHTS_BF16] = "bf16", [RCD_WEIGHTS_INT8] = "int8"};
    size_t i = 0;
    rcd_status st = rcd__read_choice(p, key, v, choices, RCD_COUNT(choices), &i);
    p->c->weights = (rcd_weights)i;
    return st;
}

/* ---- batching ------------------------------------------------------------------------------------ */

static rcd_status read_max_rows(struct rcd__parse *p, const char *key, json_t *v)
{
    int64_t n = 0;
    rcd_status st = rcd__read_int(p, key, v, 1, ROWS_MAX, &n);
    if (st == RCD_OK)
        p->c->max_rows = (size_t)n;
    return st;
}

static rcd_status read_max_queue(struct rcd__parse *p, const char *key, json_t *v)
{
    int64_t n = 0;
    rcd_status st = rcd__read_int(p, key, v, 1, QUEUE_MAX, &n);
    if (st == RCD_OK)
        p->c->max_queue = (size_t)n;
    return st;
}

static rcd_status read_max_delay(struct rcd__parse *p, const char *key, json_t *v)
{
    int64_t n = 0;
    rcd_status st = rcd__read_int(p, key, v, 0, DELAY_MAX_US, &n);
    if (st == RCD_OK)
        p->c->max_delay_us = (uint64_t)n;
    return st;
}

static rcd_status read_batching(struct rcd__parse *p, const char *key, json_t *v)
{
    static const struct rcd__field fields[] = {{"max_rows", read_max_rows},
                                               {"max_delay_us", read_max_delay},
                                               {"max_queue", read_max_queue}};
    return rcd__read_object(p, key, v, fields, RCD_COUNT(fields));
}

/* ---- sessions --------------------------------------------------------------------------------------- */

static rcd_status read_idle(struct rcd__parse *p, const char *key, json_t *v)
{
    int64_t n = 0;
    rcd_status st = rcd__read_int(p, key, v, 1, INT32_MAX, &n);
    if (st == RCD_OK)
        p->c->sessions.idle_ms = (uint64_t)n * 1000;
    return st;
}

static rcd_status read_max_bytes(struct rcd__parse *p, const char *key, json_t *v)
{
    uint64_t *n = &p->c->sessions.max_bytes;
    if (json_is_integer(v) && json_integer_value(v) >= 0) {
        *n = (uint64_t)json_integer_value(v);
        return RCD_OK;
    }
    if (json_is_string(v) && rcd__size_parse(json_string_value(v), n))
        return RCD_OK;
    return rcd__wrong(p, key, "want a number of bytes: 1048576, \"64K\", \"256M\" or \"2G\"");
}

static rcd_status read_overflow(struct rcd__parse *p, const char *key, json_t *v)
{
    static const char *const choices[] = {"reject", "lru", "spill"};
    size_t i = 0;
    rcd_status st = rcd__read_choice(p, key, v, choices, RCD_COUNT(choices), &i);
    p->c->sessions.overflow = (rcd_overflow)i;
    return st;
}

static rcd_status read_durable(struct rcd__parse *p, const char *key, json_t *v)
{
    static const char *const choices[] = {"none", "process", "snapshot", "commit"};
    size_t i = 0;
    rcd_status st = rcd__read_choice(p, key, v, choices, RCD_COUNT(choices), &i);
    p->c->sessions.durable = (rcd_durable)i;
    return st;
}

static rcd_status read_ring(struct rcd__parse *p, const char *key, json_t *v)
{
    int64_t n = 0;
    rcd_status st = rcd__read_int(p, key, v, 0, RING_MAX, &n);
    if (st == RCD_OK)
        p->c->sessions.ring = (unsigned)n;
    return st;
}

static rcd_status read_interval(struct rcd__parse *p, const char *key, json_t *v)
{
    int64_t n = 0;
    rcd_status st = rcd__read_int(p, key, v, 1, INT32_MAX, &n);
    if (st == RCD_OK)
        p->c->sessions.snapshot_interval_ms = (uint64_t)n * 1000;
    return st;
}

static rcd_status read_reload(struct rcd__parse *p, const char *key, json_t *v)
{
    static const char *const choices[] = {"pin", "carry"};
    size_t i = 0;
    rcd_status st = rcd__read_choice(p, key, v, choices, RCD_COUNT(choices), &i);
    p->c->sessions.carry = i == 1;
    return st;
}

static rcd_status read_sessions(struct rcd__parse *p, const char *key, json_t *v)
{
    static const struct rcd__field fields[] = {
        {"idle_timeout_s", read_idle}, {"max_bytes", read_max_bytes},
        {"overflow", read_overflow},   {"durable", read_durable},
        {"ring", read_ring},           {"snapshot_interval_s", read_interval},
        {"reload", read_reload}};
    return rcd__read_object(p, key, v, fields, RCD_COUNT(fields));
}

/* ---- versions -------------------------------------------------------------------------------------- */

static rcd_status read_policy(struct rcd__parse *p, const char *key, json_t *v)
{
    static const char *const choices[] = {"latest", "all", "specific"};
    size_t i = 0;
    rcd_status st = rcd__read_choice(p, key, v, choices, RCD_COUNT(choices), &i);
    if (st != RCD_OK)
        return st;
    p->c->n_latest = i == 0 ? 1 : 0;
    p->c->all_versions = i == 1;
    return RCD_OK;
}

static rcd_status read_count(struct rcd__parse *p, const char *key, json_t *v)
{
    int64_t n = 0;
    if (p->c->n_latest == 0)
        return rcd__wrong(p, key, "goes with the policy \"latest\" only");
    rcd_status st = rcd__read_int(p, key, v, 1, 1000, &n);
    if (st == RCD_OK)
        p->c->n_latest = (size_t)n;
    return st;
}

static rcd_status read_numbers(struct rcd__parse *p, const char *key, json_t *v)
{
    if (p->c->n_latest > 0 || p->c->all_versions)
        return rcd__wrong(p, key, "goes with the policy \"specific\" only");
    rcd_status st = rcd__want_list(p, key, v, "version numbers");
    if (st != RCD_OK)
        return st;
    size_t n = json_array_size(v);
    uint64_t *numbers = rcd_arena_calloc(p->arena, n, sizeof *numbers);
    if (numbers == NULL)
        return rcd__no_memory(p);
    for (size_t i = 0; i < n; i++) {
        char place[48];
        int64_t number = 0;
        snprintf(place, sizeof place, "%s[%zu]", key, i);
        st = rcd__read_int(p, place, json_array_get(v, i), 1, INT64_MAX, &number);
        if (st != RCD_OK)
            return st;
        numbers[i] = (uint64_t)number;
    }
    p->c->n_specific = n;
    p->c->specific = numbers;
    return RCD_OK;
}

static rcd_status read_versions(struct rcd__parse *p, const char *key, json_t *v)
{
    static const struct rcd__field fields[] = {
        {"policy", read_policy}, {"count", read_count}, {"versions", read_numbers}};
    rcd_status st = rcd__read_object(p, key, v, fields, RCD_COUNT(fields));
    if (st == RCD_OK && p->c->n_latest == 0 && !p->c->all_versions && p->c->n_specific == 0)
        return rcd__wrong(p, key, "the policy \"specific\" needs \"versions\": [numbers]");
    return st;
}

/* ---- warm-up ---------------------------------------------------------------------------------------- */

static rcd_status read_shape(struct rcd__parse *p, const char *place, const json_t *o,
                             int *ret_rank, int64_t *dims)
{
    const json_t *shape = json_object_get(o, "shape");
    if (!json_is_object(o) || json_object_size(o) != 1 || !json_is_array(shape))
        return rcd__wrong(p, place, "want {\"shape\": [sizes]}");
    size_t rank = json_array_size(shape);
    if (rank > RCD_MAX_RANK)
        return rcd__wrong(p, place, "has rank %zu, limit %d", rank, RCD_MAX_RANK);
    for (size_t d = 0; d < rank; d++) {
        rcd_status st = rcd__read_int(p, place, json_array_get(shape, d), 0, INT32_MAX, &dims[d]);
        if (st != RCD_OK)
            return st;
    }
    *ret_rank = (int)rank;
    return RCD_OK;
}

static rcd_status read_one_warmup(struct rcd__parse *p, size_t at, json_t *o,
                                  struct rcd_warmup *ret)
{
    char place[128], quoted[64];
    snprintf(place, sizeof place, "warmup[%zu]", at);
    if (!json_is_object(o))
        return rcd__wrong(p, place, "is %s, want an object of input names", rcd__type_name(o));
    size_t n = json_object_size(o), i = 0;
    if (n > RCD__LIST_MAX)
        return rcd__wrong(p, place, "has %zu members, limit %d", n, RCD__LIST_MAX);
    const char **names = rcd_arena_calloc(p->arena, n, sizeof *names);
    int *ranks = rcd_arena_calloc(p->arena, n, sizeof *ranks);
    int64_t(*dims)[RCD_MAX_RANK] = rcd_arena_calloc(p->arena, n, sizeof *dims);
    if (names == NULL || ranks == NULL || dims == NULL)
        return rcd__no_memory(p);
    const char *name;
    json_t *value;
    json_object_foreach(o, name, value)
    {
        snprintf(place, sizeof place, "warmup[%zu].%s", at,
                 rcd_quote(quoted, sizeof quoted, name, strlen(name)));
        rcd_status st = read_shape(p, place, value, &ranks[i], dims[i]);
        if (st != RCD_OK)
            return st;
        names[i] = rcd_arena_strndup(p->arena, name, strlen(name));
        if (names[i++] == NULL)
            return rcd__no_memory(p);
    }
    *ret = (struct rcd_warmup){
        .n = n, .names = names, .ranks = ranks, .dims = (const int64_t(*)[RCD_MAX_RANK])dims};
    return RCD_OK;
}

static rcd_status read_warmup(struct rcd__parse *p, const char *key, json_t *v)
{
    rcd_status st = rcd__want_list(p, key, v, "objects of input names");
    if (st != RCD_OK)
        return st;
    size_t n = json_array_size(v);
    struct rcd_warmup *list = rcd_arena_calloc(p->arena, n, sizeof *list);
    if (list == NULL)
        return rcd__no_memory(p);
    for (size_t i = 0; i < n && st == RCD_OK; i++)
        st = read_one_warmup(p, i, json_array_get(v, i), &list[i]);
    p->c->n_warmup = n;
    p->c->warmup = list;
    return st;
}

/* ---- the whole ---------------------------------------------------------------------------------------- */

static rcd_status read_name(struct rcd__parse *p, const char *key, json_t *v)
{
    const char *text = json_string_value(v);
    if (text != NULL && strcmp(text, p->model) == 0)
        return RCD_OK;
    return rcd__wrong(p, key, "must be the name of the model's folder, \"%s\"", p->model);
}

static rcd_status read_max_batch_size(struct rcd__parse *p, const char *key, json_t *v)
{
    if (json_is_integer(v) && json_integer_value(v) == 0)
        return RCD_OK; /* "no batch axis": here every model batches */
    return read_max_rows(p, key, v);
}

static rcd_status read_description(struct rcd__parse *p, const char *key, json_t *v)
{
    return rcd__read_text(p, key, v, &p->c->description);
}

static rcd_status read_model(struct rcd__parse *p, json_t *root)
{
    static const struct rcd__field fields[] = {
        {"name", read_name},         {"description", read_description},
        {"state", read_state},       {"time", read_time},
        {"weights", read_weights},   {"max_batch_size", read_max_batch_size},
        {"batching", read_batching}, {"sessions", read_sessions},
        {"versions", read_versions}, {"warmup", read_warmup}};
    if (!json_is_object(root))
        return rcd_fail(p->err, RCD_EMODEL, "is %s, want an object", rcd__type_name(root));
    return rcd__read_object(p, "", root, fields, RCD_COUNT(fields));
}

rcd_status rcd__model_json(const char *text, size_t len, const char *model,
                           const struct rcd__defaults *defaults, struct rcd_arena *arena,
                           struct rcd_model_config *ret, struct rcd_error *err)
{
    struct rcd_model_config c = {.description = "",
                                 .max_rows = defaults->max_rows,
                                 .max_queue = defaults->max_queue,
                                 .max_delay_us = defaults->max_delay_us,
                                 .n_latest = 1,
                                 .sessions = {.idle_ms = IDLE_MS,
                                              .max_bytes = SESSION_BYTES,
                                              .snapshot_interval_ms = INTERVAL_MS,
                                              .durable = RCD_DURABLE_PROCESS}};
    struct rcd__parse p = {.model = model, .arena = arena, .c = &c, .where = "", .err = err};
    rcd_status st = RCD_OK;
    if (text != NULL) {
        json_error_t at;
        json_t *root = json_loadb(text, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &at);
        if (root == NULL) {
            char why[JSON_ERROR_TEXT_LENGTH];
            return rcd_fail(err, RCD_EMODEL, "line %d, column %d: %s", at.line, at.column,
                            rcd_quote(why, sizeof why, at.text, strlen(at.text)));
        }
        st = read_model(&p, root);
        json_decref(root);
    }
    if (st == RCD_OK)
        *ret = c;
    return st;
}
