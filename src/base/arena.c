/* arena.c - bump allocator in growing chunks; big pieces get a chunk of their own size.
 *
 * Under AddressSanitizer the unused tail of a chunk is poisoned, so that an arena does not blind
 * the sanitizer to overruns. */
#include "recurd/base.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
enum { RED_ZONE = 16 };
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
enum { RED_ZONE = 0 };
#endif

enum { CHUNK_MIN = 4096, CHUNK_MAX = 1 << 20, ARENA_UNIT = 16 };

struct rcd_arena_chunk {
    struct rcd_arena_chunk *next;
    size_t cap, used; /* bytes of data that follow this header */
    char pad[RCD_ALIGN - 3 * sizeof(size_t)];
};

static char *chunk_data(struct rcd_arena_chunk *c)
{
    return (char *)c + sizeof *c;
}

void rcd_arena_init(struct rcd_arena *a, size_t max_bytes)
{
    *a = (struct rcd_arena){.head = NULL, .used = 0, .max = max_bytes};
}

void rcd_arena_done(struct rcd_arena *a)
{
    while (a->head != NULL) {
        struct rcd_arena_chunk *next = a->head->next;
        UNPOISON(chunk_data(a->head), a->head->cap);
        rcd_free(a->head);
        a->head = next;
    }
    a->used = 0;
}

void rcd_arena_clear(struct rcd_arena *a)
{
    struct rcd_arena rest = {.head = a->head};
    struct rcd_arena_chunk **at = &rest.head;
    while (*at != NULL && (*at)->cap != CHUNK_MIN)
        at = &(*at)->next;
    struct rcd_arena_chunk *kept = *at;
    if (kept != NULL) {
        *at = kept->next;
        kept->next = NULL;
        kept->used = 0;
        POISON(chunk_data(kept), kept->cap);
    }
    rcd_arena_done(&rest);
    a->head = kept;
    a->used = 0;
}

/* What has room for `need` bytes. A big piece stands behind the chunk that is being filled, so that its
 * size does not become the measure of the next one. */
static struct rcd_arena_chunk *chunk_new(struct rcd_arena *a, size_t need)
{
    size_t cap = a->head != NULL ? a->head->cap * 2 : CHUNK_MIN;
    size_t total = 0;
    if (cap > CHUNK_MAX)
        cap = CHUNK_MAX;
    bool own = need > cap && a->head != NULL;
    if (cap < need)
        cap = need;
    if (!rcd_add(cap, sizeof(struct rcd_arena_chunk), &total))
        return NULL;
    struct rcd_arena_chunk *c = rcd_alloc_aligned(total);
    if (c == NULL)
        return NULL;
    c->cap = cap;
    c->used = 0;
    c->next = own ? a->head->next : a->head;
    if (own)
        a->head->next = c;
    else
        a->head = c;
    POISON(chunk_data(c), cap);
    return c;
}

static void *take(struct rcd_arena *a, size_t bytes, size_t align)
{
    size_t need = 0;
    if (!rcd_add(bytes, align + RED_ZONE, &need) || a->used > a->max || need > a->max - a->used)
        return NULL;
    struct rcd_arena_chunk *c = a->head;
    if (c == NULL || c->cap - c->used < need)
        c = chunk_new(a, need);
    if (c == NULL)
        return NULL;
    size_t at = (c->used + align - 1) & ~(align - 1); /* chunk data starts RCD_ALIGN-aligned */
    size_t end = at + bytes + RED_ZONE;
    end = (end + ARENA_UNIT - 1) & ~(size_t)(ARENA_UNIT - 1);
    if (end > c->cap)
        end = c->cap;
    a->used += end - c->used;
    c->used = end;
    char *p = chunk_data(c) + at;
    UNPOISON(p, bytes);
    return p;
}

void *rcd_arena_alloc(struct rcd_arena *a, size_t bytes)
{
    return take(a, bytes, ARENA_UNIT);
}

void *rcd_arena_alloc_aligned(struct rcd_arena *a, size_t bytes)
{
    return take(a, bytes, RCD_ALIGN);
}

void *rcd_arena_calloc(struct rcd_arena *a, size_t count, size_t bytes)
{
    size_t total = 0;
    if (!rcd_mul(count, bytes, &total))
        return NULL;
    void *p = take(a, total, ARENA_UNIT);
    if (p != NULL)
        memset(p, 0, total);
    return p;
}

char *rcd_arena_strndup(struct rcd_arena *a, const char *text, size_t len)
{
    char *copy = rcd_arena_alloc(a, len + 1);
    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

size_t rcd_arena_forget(void *p, size_t bytes)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t from = ((uintptr_t)p + page - 1) & ~(page - 1);
    uintptr_t to = ((uintptr_t)p + bytes) & ~(page - 1);
    POISON(p, bytes);
    if (from >= to)
        return 0;
    char *pages = (char *)p + (from - (uintptr_t)p);
    return madvise(pages, to - from, MADV_DONTNEED) == 0 ? to - from : 0;
}
