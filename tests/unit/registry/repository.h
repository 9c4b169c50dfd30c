/* repository.h - a model repository in a temporary folder, and a registry over it whose hooks count. */
#pragma once
#include "fake_engine.h"
#include "recurd/registry.h"

struct site {
    char root[64];
    rcd_registry *r;
    int attached, detached; /* calls; detached by one thread only */
    bool refuse;            /* attach fails */
    char log[65536];        /* all lines, "P text\n" */
};

void site_start(struct site *s);
void site_start_threads(struct site *s, unsigned load_threads);
/** Free the registry, remove the folder; nothing may be left over. */
void site_end(struct site *s);
/** Text into a file below the root; folders are made. The file is new each time. */
void put(const struct site *s, const char *path, const char *text);
void link_to(const struct site *s, const char *target, const char *path);
void rm(const struct site *s, const char *path); /* with all below */
/** Number of failed models; asserts that the scan itself works. */
size_t rescan(struct site *s);
/** "char-lstm 1 READY; x 2 UNAVAILABLE(reason); y UNKNOWN" */
const char *table(struct site *s);
bool logged(const struct site *s, const char *text);
/** Reference or NULL; err may be NULL. */
rcd_version *get(struct site *s, const char *name, const char *version, struct rcd_error *err);
/** Number of the version that answers, "-" for none. */
const char *serving(struct site *s, const char *name);
