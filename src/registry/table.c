/* table.c - the models and versions that are known, and the questions that requests ask. */
#include "registry_int.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *rcd_model_state_name(rcd_model_state s)
{
    static const char *const names[] = {"UNKNOWN", "LOADING", "READY", "UNLOADING", "UNAVAILABLE"};
    return (size_t)s < RCD_COUNT(names) ? names[s] : "UNKNOWN";
}

/* ---- finding ---------------------------------------------------------------------------------- */

/* Index of the first entry whose name is not less. */
static size_t place_of(const rcd_registry *r, const char *name)
{
    size_t low = 0, high = r->n;
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        if (strcmp(r->entries[mid]->name, name) < 0)
            low = mid + 1;
        else
            high = mid;
    }
    return low;
}

struct rcd__entry *rcd__find(const rcd_registry *r, const char *name)
{
    size_t i = place_of(r, name);
    return i < r->n && strcmp(r->entries[i]->name, name) == 0 ? r->entries[i] : NULL;
}

struct rcd__slot *rcd__find_slot(const struct rcd__entry *e, uint64_t number)
{
    struct rcd__slot *s = e->slots;
    while (s != NULL && s->number < number)
        s = s->next;
    return s != NULL && s->number == number ? s : NULL;
}

/* ---- changing (under work) ---------------------------------------------------------------------- */

struct rcd__entry *rcd__enter(rcd_registry *r, const char *name)
{
    struct rcd__entry *e = rcd__find(r, name);
    if (e != NULL)
        return e;
    e = rcd_calloc(1, sizeof *e);
    if (e == NULL)
        return NULL;
    snprintf(e->name, sizeof e->name, "%s", name);
    pthread_mutex_lock(&r->lock);
    if (r->n == r->cap) {
        size_t cap = r->cap > 0 ? 2 * r->cap : 16;
        struct rcd__entry **more = rcd_realloc(r->entries, cap * sizeof(void *));
        if (more == NULL) {
            pthread_mutex_unlock(&r->lock);
            rcd_free(e);
            return NULL;
        }
        r->entries = more;
        r->cap = cap;
    }
    size_t at = place_of(r, name);
    memmove(&r->entries[at + 1], &r->entries[at], (r->n - at) * sizeof(void *));
    r->entries[at] = e;
    r->n++;
    pthread_mutex_unlock(&r->lock);
    return e;
}

struct rcd__slot *rcd__enter_slot(rcd_registry *r, struct rcd__entry *e, uint64_t number)
{
    struct rcd__slot *s = rcd__find_slot(e, number);
    if (s != NULL)
        return s;
    s = rcd_calloc(1, sizeof *s);
    if (s == NULL)
        return NULL;
    s->number = number;
    s->tried = RCD_STATUS_MAX;
    pthread_mutex_lock(&r->lock);
    struct rcd__slot **at = &e->slots;
    while (*at != NULL && (*at)->number < number)
        at = &(*at)->next;
    s->next = *at;
    *at = s;
    pthread_mutex_unlock(&r->lock);
    return s;
}

void rcd__set_slot(rcd_registry *r, struct rcd__slot *s, rcd_version *v, rcd_model_state state,
                   const char *reason)
{
    pthread_mutex_lock(&r->lock);
    rcd_version *old = s->v != v ? s->v : NULL;
    s->v = v;
    s->state = state;
    snprintf(s->reason, sizeof s->reason, "%s", reason);
    pthread_mutex_unlock(&r->lock);
    rcd_version_unref(old);
}

void rcd__drop_slot(rcd_registry *r, struct rcd__entry *e, struct rcd__slot *s)
{
    pthread_mutex_lock(&r->lock);
    struct rcd__slot **at = &e->slots;
    while (*at != s)
        at = &(*at)->next;
    *at = s->next;
    pthread_mutex_unlock(&r->lock);
    rcd_version_unref(s->v);
    rcd_free(s);
}

void rcd__drop_entry(rcd_registry *r, struct rcd__entry *e)
{
    pthread_mutex_lock(&r->lock);
    size_t at = place_of(r, e->name);
    r->n--;
    memmove(&r->entries[at], &r->entries[at + 1], (r->n - at) * sizeof(void *));
    pthread_mutex_unlock(&r->lock);
    while (e->slots != NULL) {
        struct rcd__slot *s = e->slots;
        e->slots = s->next;
        rcd_version_unref(s->v);
        rcd_free(s);
    }
    rcd_free(e);
}

void rcd__set_reason(rcd_registry *r, struct rcd__entry *e, const char *reason)
{
    pthread_mutex_lock(&r->lock);
    snprintf(e->reason, sizeof e->reason, "%s", reason);
    pthread_mutex_unlock(&r->lock);
}

/* ---- look-up ------------------------------------------------------------------------------------ */

static const struct rcd__slot *latest(const struct rcd__entry *e, bool *ret_loading)
{
    const struct rcd__slot *best = NULL;
    *ret_loading = false;
    for (const struct rcd__slot *s = e->slots; s != NULL; s = s->next) {
        if (s->v != NULL)
            best = s;
        *ret_loading = *ret_loading || s->state == RCD_MODEL_LOADING;
    }
    return best;
}

static rcd_status refuse(const rcd_registry *r, const struct rcd__entry *e,
                         const struct rcd__slot *s, const char *name, const char *version,
                         bool loading, struct rcd_error *err)
{
    char model[RCD__NAME_MAX + 16], number[32];
    rcd_quote(model, sizeof model, name, strlen(name));
    if (version != NULL)
        rcd_quote(number, sizeof number, version, strlen(version));
    bool unread = e == NULL || (e->slots == NULL && e->reason[0] == '\0');
    if (unread && !r->scanned)
        return rcd_fail(err, RCD_EUNAVAILABLE, "the models are loading");
    if (e == NULL)
        return rcd_fail(err, RCD_ENOTFOUND, "there is no model '%s'", model);
    if (loading)
        return rcd_fail(err, RCD_EUNAVAILABLE, "model '%s' is loading", model);
    if (version != NULL && s == NULL)
        return rcd_fail(err, RCD_ENOTFOUND, "model '%s' has no version '%s'", model, number);
    if (version != NULL)
        return rcd_fail(err, RCD_ENOTFOUND, "version %s of model '%s' is not loaded%s%.160s",
                        number, model, s->reason[0] != '\0' ? ": " : "", s->reason);
    const char *why = e->by_hand ? "unloaded" : e->reason;
    for (const struct rcd__slot *t = e->slots; t != NULL && why[0] == '\0'; t = t->next)
        why = t->reason;
    return rcd_fail(err, RCD_ENOTFOUND, "model '%s' is not loaded%s%.160s", model,
                    why[0] != '\0' ? ": " : "", why);
}

rcd_status rcd_registry_get(rcd_registry *r, const char *name, const char *version,
                            rcd_version **ret, struct rcd_error *err)
{
    uint64_t number = 0;
    bool loading = false;
    rcd_status st = RCD_OK;
    pthread_mutex_lock(&r->lock);
    const struct rcd__entry *e = rcd__find(r, name);
    const struct rcd__slot *s = NULL;
    if (e != NULL && version == NULL) {
        s = latest(e, &loading);
    } else if (e != NULL && rcd__version_parse(version, &number)) {
        s = rcd__find_slot(e, number);
        loading = s != NULL && s->state == RCD_MODEL_LOADING;
    }
    if (s != NULL && s->v != NULL)
        *ret = rcd_version_ref(s->v);
    else
        st = refuse(r, e, s, name, version, loading, err);
    pthread_mutex_unlock(&r->lock);
    return st;
}

bool rcd_registry_ready(rcd_registry *r)
{
    pthread_mutex_lock(&r->lock);
    bool ready = r->scanned;
    for (size_t i = 0; i < r->n && ready; i++) {
        bool loading = false;
        ready = r->entries[i]->by_hand || latest(r->entries[i], &loading) != NULL;
    }
    pthread_mutex_unlock(&r->lock);
    return ready;
}

/* ---- the index ---------------------------------------------------------------------------------- */

struct index {
    struct rcd_arena *arena;
    struct rcd_index_row *rows;
    size_t n, cap;
};

static bool add_row(struct index *x, const char *name, uint64_t number, rcd_model_state state,
                    const char *reason)
{
    char text[24];
    if (x->n == x->cap) {
        size_t cap = x->cap > 0 ? 2 * x->cap : 32;
        struct rcd_index_row *more = rcd_arena_alloc(x->arena, cap * sizeof *more);
        if (more == NULL)
            return false;
        if (x->n > 0)
            memcpy(more, x->rows, x->n * sizeof *more);
        x->rows = more;
        x->cap = cap;
    }
    struct rcd_index_row row = {.state = state};
    snprintf(text, sizeof text, "%llu", (unsigned long long)number);
    row.name = rcd_arena_strndup(x->arena, name, strlen(name));
    bool good = row.name != NULL;
    if (number > 0)
        good = good && (row.version = rcd_arena_strndup(x->arena, text, strlen(text))) != NULL;
    if (reason[0] != '\0')
        good = good && (row.reason = rcd_arena_strndup(x->arena, reason, strlen(reason))) != NULL;
    x->rows[x->n++] = row;
    return good;
}

static bool add_entry(struct index *x, const struct rcd__entry *e)
{
    if (e->slots == NULL)
        return add_row(x, e->name, 0,
                       e->reason[0] != '\0' ? RCD_MODEL_UNAVAILABLE : RCD_MODEL_UNKNOWN, e->reason);
    for (const struct rcd__slot *s = e->slots; s != NULL; s = s->next) {
        /* what is wrong with the model as a whole stands at its latest version */
        const char *reason = s->next == NULL && e->reason[0] != '\0' ? e->reason : s->reason;
        if (!add_row(x, e->name, s->number, s->state, reason))
            return false;
    }
    return true;
}

/* Models that came into the folder and that nobody has loaded: their names, without loading them. */
static bool add_unknown(struct index *x, rcd_registry *r)
{
    const char **names = NULL;
    size_t n = 0;
    int root = -1;
    bool good = true;
    if (rcd__open_root(r->opts.root, &root, NULL) != RCD_OK)
        return true;
    if (rcd__list(root, ".", x->arena, &names, &n, NULL) != RCD_OK)
        n = 0;
    for (size_t i = 0; i < n && good; i++) {
        pthread_mutex_lock(&r->lock);
        bool known = rcd__find(r, names[i]) != NULL;
        pthread_mutex_unlock(&r->lock);
        if (!known && rcd__name_fault(names[i]) == NULL && rcd__is_model(root, names[i], x->arena))
            good = add_row(x, names[i], 0, RCD_MODEL_UNKNOWN, "");
    }
    close(root);
    return good;
}

static int by_name(const void *a, const void *b)
{
    const struct rcd_index_row *x = a, *y = b;
    int order = strcmp(x->name, y->name);
    if (order != 0 || x->version == NULL || y->version == NULL)
        return order;
    size_t nx = strlen(x->version), ny = strlen(y->version);
    return nx != ny ? (nx < ny ? -1 : 1) : strcmp(x->version, y->version);
}

rcd_status rcd_registry_index(rcd_registry *r, struct rcd_arena *arena,
                              struct rcd_index_row **ret_rows, size_t *ret_n)
{
    struct index x = {.arena = arena};
    bool good = add_unknown(&x, r);
    pthread_mutex_lock(&r->lock);
    for (size_t i = 0; i < r->n && good; i++)
        good = add_entry(&x, r->entries[i]);
    pthread_mutex_unlock(&r->lock);
    if (!good)
        return RCD_ENOMEM;
    if (x.n > 0)
        qsort(x.rows, x.n, sizeof *x.rows, by_name);
    *ret_rows = x.rows;
    *ret_n = x.n;
    return RCD_OK;
}
