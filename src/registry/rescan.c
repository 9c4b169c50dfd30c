/* rescan.c - makes what is loaded equal to the repository's folder.
 *
 * First every model's folder is read and its entry made, then entry after entry is made equal to what was
 * found. At the first scan, when nobody is served yet, several threads do that, the largest models first, so
 * that no large one is left for the end. The caller holds `work` for all of them; each has entries of its own. */
#include "registry_int.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <unistd.h>

enum { THREADS_MAX = 8 }; /* each holds a file and its plan at once */

struct found_model {
    struct rcd__entry *e;
    struct rcd__source src;
    struct rcd_arena arena; /* holds what `src` points to */
    int64_t bytes;          /* of its files */
    bool load, failed;
};

struct scan {
    rcd_registry *r;
    struct found_model *models;
    size_t n, next; /* next: atomic */
};

/* Names that cannot be models are told once, and again when they change. */
static void tell_odd_names(rcd_registry *r, const char **names, size_t n)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < n; i++) {
        for (const char *c = names[i]; rcd__name_fault(names[i]) != NULL; c++) {
            hash = (hash ^ (unsigned char)*c) * 1099511628211u;
            if (*c == '\0')
                break;
        }
    }
    if (hash == r->odd_names)
        return;
    r->odd_names = hash;
    for (size_t i = 0; i < n; i++) {
        char name[128];
        const char *fault = rcd__name_fault(names[i]);
        if (fault != NULL)
            rcd__say(&r->opts, LOG_WARNING, "'%s' in the model repository is left out: %s",
                     rcd_quote(name, sizeof name, names[i], strlen(names[i])), fault);
    }
}

/* ---- reading folders --------------------------------------------------------------------------- */

/* False: it is no model. */
static bool look_into(rcd_registry *r, int root, const char *name, struct found_model *m)
{
    struct rcd_error err = {.code = RCD_OK};
    m->e = rcd__find(r, name);
    if (m->e != NULL && m->e->given) {
        m->e->seen = true;
        return true;
    }
    rcd_status st = rcd__source_folder(root, name, NULL, &m->arena, &m->src, &err);
    if (st == RCD_ENOTFOUND)
        return false;
    m->e = rcd__enter(r, name);
    m->failed = st != RCD_OK || m->e == NULL;
    if (m->e == NULL)
        return true;
    m->e->seen = true;
    if (st != RCD_OK) {
        if (strcmp(m->e->reason, err.text) != 0)
            rcd__say(&r->opts, LOG_ERR, "%s", err.text);
        rcd__set_reason(r, m->e, err.text);
    }
    m->load = st == RCD_OK && !m->e->by_hand;
    for (size_t i = 0; i < m->src.n_found; i++)
        m->bytes += m->src.found[i].onnx.size;
    return true;
}

static void found_done(struct found_model *m)
{
    rcd__source_done(&m->src);
    rcd_arena_done(&m->arena);
}

static void look_around(struct scan *s, int root, const char **names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct found_model *m = &s->models[s->n];
        *m = (struct found_model){.src = {.model = names[i]}};
        rcd_arena_init(&m->arena, RCD__SCAN_ARENA);
        if (rcd__name_fault(names[i]) == NULL && look_into(s->r, root, names[i], m))
            s->n++;
        else
            found_done(m);
    }
}

/* ---- loading ----------------------------------------------------------------------------------- */

static int largest_first(const void *a, const void *b)
{
    const struct found_model *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return strcmp(x->src.model, y->src.model);
}

static void *load_some(void *arg)
{
    struct scan *s = arg;
    for (;;) {
        size_t i =
            __atomic_fetch_add(&s->next, 1, __ATOMIC_RELAXED); /* the models were there before */
        if (i >= s->n)
            return NULL;
        struct found_model *m = &s->models[i];
        struct rcd_error err = {.code = RCD_OK};
        if (m->load)
            m->failed = rcd__apply(s->r, m->e, &m->src, false, &err) != RCD_OK;
        found_done(m);
    }
}

static void load_all(struct scan *s)
{
    pthread_t helpers[THREADS_MAX];
    size_t wanted = s->r->opts.load_threads < s->n ? s->r->opts.load_threads : s->n, n = 0;
    if (s->r->scanned || wanted <= 1) {
        load_some(s);
        return;
    }
    qsort(s->models, s->n, sizeof *s->models, largest_first);
    while (n < THREADS_MAX && n + 1 < wanted &&
           pthread_create(&helpers[n], NULL, load_some, s) == 0) /* fewer are fine */
        n++;
    load_some(s);
    while (n > 0)
        pthread_join(helpers[--n], NULL);
}

static void drop_vanished(rcd_registry *r)
{
    for (size_t i = r->n; i-- > 0;) {
        struct rcd__entry *e = r->entries[i];
        if (!e->seen && !e->given) {
            rcd__take_down(r, e);
            rcd__drop_entry(r, e);
        }
    }
}

/* ---- the scan ---------------------------------------------------------------------------------- */

static rcd_status scan(rcd_registry *r, int root, struct rcd_arena *arena, size_t *ret_failed,
                       struct rcd_error *err)
{
    const char **names = NULL;
    size_t n = 0;
    struct scan s = {.r = r};
    rcd_status st = rcd__list(root, ".", arena, &names, &n, err);
    if (st != RCD_OK)
        return st;
    s.models = rcd_calloc(n + 1, sizeof *s.models);
    if (s.models == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the scan of %zu models", n);
    for (size_t i = 0; i < r->n; i++)
        r->entries[i]->seen = false;
    tell_odd_names(r, names, n);
    look_around(&s, root, names, n);
    load_all(&s);
    drop_vanished(r);
    for (size_t i = 0; i < s.n; i++)
        *ret_failed += s.models[i].failed;
    rcd_free(s.models);
    if (r->n == 0 && !r->said_empty)
        rcd__say(&r->opts, LOG_WARNING, "there is no model in %s", r->opts.root);
    r->said_empty = r->n == 0;
    pthread_mutex_lock(&r->lock);
    r->scanned = true;
    pthread_mutex_unlock(&r->lock);
    return RCD_OK;
}

rcd_status rcd_registry_rescan(rcd_registry *r, size_t *ret_failed, struct rcd_error *err)
{
    struct rcd_arena arena;
    size_t failed = 0;
    int root = -1;
    pthread_mutex_lock(&r->work);
    rcd_arena_init(&arena, RCD__SCAN_ARENA);
    rcd_status st = rcd__open_root(r->opts.root, &root, err);
    if (st == RCD_OK)
        st = scan(r, root, &arena, &failed, err);
    if (root >= 0)
        close(root);
    rcd_arena_done(&arena);
    pthread_mutex_unlock(&r->work);
    if (st == RCD_OK && ret_failed != NULL)
        *ret_failed = failed;
    return st;
}
