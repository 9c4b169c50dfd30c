/* apply.c - makes one model equal to what its source holds.
 *
 * Versions are built beside the ones that serve, swapped in one by one, and only then are unwanted
 * ones taken down, so there is no moment without an answer. A version that cannot be built leaves its
 * predecessor alone. With the policy "latest" a broken newest version is passed over for the next
 * one below, so that a restart serves what was served before it.
 *
 * What was tried is remembered with the state of the files, so a scan that finds nothing changed
 * neither builds nor complains again. Lack of memory and failing reads are tried again. */
#include "registry_int.h"

#include <string.h>
#include <syslog.h>

void rcd__say(const struct rcd_registry_opts *opts, int priority, const char *fmt, ...)
{
    char text[2 * RCD_ERROR_TEXT];
    va_list args;
    if (opts->log == NULL)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    opts->log(opts->ctx, priority, text);
}

size_t rcd__n_loaded(const struct rcd__entry *e)
{
    size_t n = 0;
    for (const struct rcd__slot *s = e->slots; s != NULL; s = s->next)
        n += s->v != NULL;
    return n;
}

static void unload_slot(rcd_registry *r, struct rcd__entry *e, struct rcd__slot *s)
{
    if (s->v == NULL)
        return;
    rcd__set_slot(r, s, NULL, RCD_MODEL_UNAVAILABLE, "unloaded");
    s->tried = RCD_STATUS_MAX;
    rcd__say(&r->opts, LOG_INFO, "unloaded %s version %llu", e->name,
             (unsigned long long)s->number);
}

void rcd__take_down(rcd_registry *r, struct rcd__entry *e)
{
    for (struct rcd__slot *s = e->slots; s != NULL; s = s->next)
        unload_slot(r, e, s);
}

/* ---- one version ------------------------------------------------------------------------------ */

static bool is_unchanged(const struct rcd__slot *s, const struct rcd__source *src,
                         const struct rcd__found *f)
{
    return s->tried != RCD_STATUS_MAX && s->tried != RCD_ENOMEM && s->tried != RCD_EIO &&
           rcd__same_ident(&s->onnx, &f->onnx) && rcd__same_ident(&s->labels, &f->labels) &&
           rcd__same_ident(&s->config, &src->config_ident);
}

static rcd_status bring(rcd_registry *r, struct rcd__entry *e, const struct rcd__source *src,
                        const struct rcd__found *f, bool force, struct rcd_error *err)
{
    struct rcd__slot *s = rcd__enter_slot(r, e, f->number);
    if (s == NULL)
        return rcd_fail(err, RCD_ENOMEM, "%s: no memory for version %llu", e->name,
                        (unsigned long long)f->number);
    s->keep = true;
    if (!force && is_unchanged(s, src, f))
        return s->tried == RCD_OK ? RCD_OK : rcd_fail(err, s->tried, "%s", s->reason);
    if (s->v == NULL)
        rcd__set_slot(r, s, NULL, RCD_MODEL_LOADING, "");
    const struct rcd__recipe recipe = {.model = e->name,
                                       .number = f->number,
                                       .root = src->root,
                                       .config = src->config,
                                       .config_len = src->config_len,
                                       .onnx = f->onnx_file,
                                       .labels = f->labels_file};
    rcd_version *v = NULL;
    struct rcd_error why;
    rcd_status st = rcd__version_new(&r->opts, &recipe, &v, &why);
    s->tried = st;
    s->onnx = f->onnx;
    s->labels = f->labels;
    s->config = src->config_ident;
    if (st == RCD_OK) {
        rcd__set_slot(r, s, v, RCD_MODEL_READY, "");
        return RCD_OK;
    }
    rcd__set_slot(r, s, s->v, s->v != NULL ? RCD_MODEL_READY : RCD_MODEL_UNAVAILABLE, why.text);
    rcd__say(&r->opts, LOG_ERR, "%s version %llu was not loaded%s: %s", e->name,
             (unsigned long long)f->number,
             rcd__n_loaded(e) > 0 ? ", the model goes on serving what it has" : "", why.text);
    return rcd_fail(err, st, "%s", why.text);
}

/* ---- the model ---------------------------------------------------------------------------------- */

struct outcome {
    size_t serving; /* wanted versions that answer */
    rcd_status first;
    struct rcd_error *err;
    struct rcd_error missing; /* a version that the configuration names and nobody has */
};

static void note(struct outcome *o, rcd_status st, const struct rcd_error *why)
{
    if (o->first == RCD_OK && st != RCD_OK)
        o->first = rcd_fail(o->err, st, "%s", why->text);
}

static bool is_listed(const struct rcd_model_config *c, uint64_t number)
{
    for (size_t i = 0; i < c->n_specific; i++) {
        if (c->specific[i] == number)
            return true;
    }
    return false;
}

static bool is_found(const struct rcd__source *src, uint64_t number)
{
    for (size_t i = 0; i < src->n_found; i++) {
        if (src->found[i].number == number)
            return true;
    }
    return false;
}

static bool is_needed(const rcd_registry *r, const char *model, uint64_t number)
{
    return r->opts.needed != NULL && r->opts.needed(r->opts.ctx, model, number);
}

/* Beside what the policy wants; its failure refuses nothing. */
static void bring_needed(rcd_registry *r, struct rcd__entry *e, const struct rcd__source *src,
                         const struct rcd__found *f)
{
    struct rcd_error why;
    if (bring(r, e, src, f, false, &why) != RCD_OK)
        rcd__say(&r->opts, LOG_ERR, "%s version %llu has sessions, but does not load: %s", e->name,
                 (unsigned long long)f->number, why.text);
}

static void bring_all(rcd_registry *r, struct rcd__entry *e, const struct rcd__source *src,
                      const struct rcd_model_config *c, bool force, struct outcome *o)
{
    struct rcd_error why;
    for (size_t i = 0; i < src->n_found; i++) {
        const struct rcd__found *f = &src->found[i];
        bool wanted = (c->n_specific == 0 || is_listed(c, f->number)) &&
                      (c->n_latest == 0 || o->serving < c->n_latest);
        if (!wanted && is_needed(r, e->name, f->number))
            bring_needed(r, e, src, f);
        if (!wanted)
            continue;
        note(o, bring(r, e, src, f, force, &why), &why);
        const struct rcd__slot *s = rcd__find_slot(e, f->number);
        o->serving += s != NULL && s->v != NULL;
    }
    for (size_t i = 0; i < c->n_specific && o->missing.code == RCD_OK; i++) {
        if (!is_found(src, c->specific[i]))
            rcd_fail(&o->missing, RCD_EMODEL, "%s: there is no version %llu, which %s asks for",
                     e->name, (unsigned long long)c->specific[i], src->config_from);
    }
    note(o, o->missing.code, &o->missing);
}

/* Unless what is wanted cannot serve at all: then what serves goes on. */
static void clear_unwanted(rcd_registry *r, struct rcd__entry *e, const struct rcd__source *src,
                           const struct outcome *o)
{
    struct rcd__slot *after;
    for (struct rcd__slot *s = e->slots; s != NULL; s = after) {
        after = s->next;
        if (s->keep)
            continue;
        if (o->serving > 0 || src->n_found == 0)
            unload_slot(r, e, s);
        if (s->v == NULL && !is_found(src, s->number))
            rcd__drop_slot(r, e, s);
    }
}

static rcd_status fail_whole(rcd_registry *r, struct rcd__entry *e, const struct rcd__source *src,
                             const struct rcd_error *why, struct rcd_error *err)
{
    bool told =
        strcmp(e->reason, why->text) == 0 && rcd__same_ident(&e->config, &src->config_ident);
    if (!told)
        rcd__say(&r->opts, LOG_ERR, "%s%s: %s", e->name,
                 rcd__n_loaded(e) > 0 ? " goes on serving what it has" : " was not loaded",
                 why->text);
    e->config = src->config_ident;
    rcd__set_reason(r, e, why->text);
    return rcd_fail(err, why->code, "%s", why->text);
}

rcd_status rcd__apply(rcd_registry *r, struct rcd__entry *e, const struct rcd__source *src,
                      bool force, struct rcd_error *err)
{
    const struct rcd__defaults defaults = {.max_rows = 1, .max_queue = 1};
    struct rcd_model_config config;
    struct rcd_error why;
    struct rcd_arena scratch;
    struct outcome o = {.first = RCD_OK, .err = err};
    rcd_arena_init(&scratch, RCD__VERSION_ARENA);
    rcd_status st =
        rcd__model_json(src->config, src->config_len, e->name, &defaults, &scratch, &config, &why);
    if (st != RCD_OK) {
        rcd_error_prefix(&why, st, "%s: ", src->config_from);
        rcd_arena_done(&scratch);
        return fail_whole(r, e, src, &why, err);
    }
    for (struct rcd__slot *s = e->slots; s != NULL; s = s->next)
        s->keep = false;
    bring_all(r, e, src, &config, force, &o);
    rcd_arena_done(&scratch);
    clear_unwanted(r, e, src, &o);
    if (src->n_found == 0) {
        rcd_fail(&why, RCD_EMODEL, "%s holds no version folder", e->name);
        return fail_whole(r, e, src, &why, err);
    }
    if (o.missing.code != RCD_OK) {
        (void)fail_whole(r, e, src, &o.missing, NULL);
        return o.first;
    }
    rcd__set_reason(r, e, "");
    return o.first;
}
