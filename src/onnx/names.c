/* names.c - hash table with open addressing for the names of a file. */
#include "onnx_int.h"

#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { CAP_MIN = 16 };

uint64_t rcd__onnx_hash(const void *bytes, size_t len, uint64_t seed)
{
    return XXH3_64bits_withSeed(bytes, len, seed);
}

void rcd__names_init(struct rcd__names *t, struct rcd__onnx_mem *mem)
{
    *t = (struct rcd__names){.mem = mem};
    t->seed = rcd_now_ns() ^ (uint64_t)(uintptr_t)mem;
}

void rcd__names_done(struct rcd__names *t)
{
    rcd__onnx_mem_free(t->mem, t->slots);
    t->slots = NULL;
    t->n = t->cap = 0;
}

/* The slot of `key`, or the free one where it belongs. cap > n, so the walk ends. */
static struct rcd__name *slot_of(struct rcd__name *slots, size_t cap, const char *key, size_t len,
                                 uint64_t hash)
{
    for (size_t i = (size_t)hash & (cap - 1);; i = (i + 1) & (cap - 1)) {
        struct rcd__name *e = &slots[i];
        if (e->key == NULL || (e->hash == hash && e->len == len && memcmp(e->key, key, len) == 0))
            return e;
    }
}

struct rcd__name *rcd__names_find(const struct rcd__names *t, const char *key, size_t len)
{
    if (t->n == 0)
        return NULL;
    struct rcd__name *e = slot_of(t->slots, t->cap, key, len, rcd__onnx_hash(key, len, t->seed));
    return e->key != NULL ? e : NULL;
}

static bool grow(struct rcd__names *t)
{
    size_t cap = t->cap == 0 ? CAP_MIN : t->cap * 2;
    struct rcd__name *slots = rcd__onnx_mem_alloc(t->mem, cap * sizeof *slots);
    if (slots == NULL)
        return false;
    memset(slots, 0, cap * sizeof *slots);
    for (size_t i = 0; i < t->cap; i++) {
        const struct rcd__name *e = &t->slots[i];
        if (e->key != NULL)
            *slot_of(slots, cap, e->key, e->len, e->hash) = *e;
    }
    rcd__onnx_mem_free(t->mem, t->slots);
    t->slots = slots;
    t->cap = cap;
    return true;
}

struct rcd__name *rcd__names_add(struct rcd__names *t, const char *key, size_t len)
{
    if ((t->n + 1) * 3 > t->cap * 2 && !grow(t))
        return NULL;
    uint64_t hash = rcd__onnx_hash(key, len, t->seed);
    struct rcd__name *e = slot_of(t->slots, t->cap, key, len, hash);
    if (e->key == NULL) {
        *e = (struct rcd__name){.key = key, .len = len, .hash = hash, .id = RCD_NO_VALUE};
        t->n++;
    }
    return e;
}
