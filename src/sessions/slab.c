/* slab.c - items of one size in segments that never move. Free items are a list inside themselves; a file
 * is made longer before it is mapped, so that a full disk is an error here and not a fault later. */
#include "sessions_int.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

enum { SEGMENT_BYTES = 1 << 18, HEADER = 64, PAGE = 4096, HUGE_FROM = 32 };

void rcd__slab_init(struct rcd__slab *b, struct rcd__file *f, uint32_t kind, size_t item)
{
    *b = (struct rcd__slab){.file = f, .kind = kind, .item = item, .free = RCD__NONE};
    while (item * ((size_t)2 << b->shift) + HEADER <= SEGMENT_BYTES)
        b->shift++;
}

static size_t segment_bytes(const struct rcd__slab *b)
{
    size_t n = HEADER + (b->item << b->shift);
    return (n + PAGE - 1) & ~(size_t)(PAGE - 1);
}

void rcd__slab_done(struct rcd__slab *b)
{
    for (size_t i = 0; i < b->n_segments; i++)
        munmap(b->segments[i], segment_bytes(b));
    if (b->spare_bytes > 0)
        munmap(b->spare, b->spare_bytes);
    b->spare_bytes = 0;
    rcd_free(b->segments);
    b->segments = NULL;
    b->n_segments = 0;
}

uint64_t rcd__segment_sum(const struct rcd__segment *g)
{
    return XXH3_64bits(g, offsetof(struct rcd__segment, sum));
}

static bool room(struct rcd__slab *b)
{
    if (b->n_segments < b->cap_segments)
        return true;
    size_t cap = b->cap_segments > 0 ? 2 * b->cap_segments : 4;
    char **more = rcd_realloc(b->segments, cap * sizeof *more);
    if (more == NULL)
        return false;
    b->segments = more;
    b->cap_segments = cap;
    return true;
}

/* Memory of a slab that has become large comes in huge pages, several segments in each: with a million
 * sessions most of a step's misses would be those of the page tables. */
static char *map_huge(struct rcd__slab *b, size_t bytes)
{
    if (b->spare_bytes < bytes) {
        char *p = mmap(NULL, 2 * RCD_HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
                       -1, 0);
        if (p == MAP_FAILED)
            return NULL;
        const size_t before = -(uintptr_t)p & (RCD_HUGE_PAGE - 1);
        if (before > 0)
            munmap(p, before);
        munmap(p + before + RCD_HUGE_PAGE, RCD_HUGE_PAGE - before);
        if (b->spare_bytes > 0)
            munmap(b->spare, b->spare_bytes);
        b->spare = p + before;
        b->spare_bytes = RCD_HUGE_PAGE;
        rcd_huge_pages(b->spare, b->spare_bytes);
    }
    char *segment = b->spare;
    b->spare += bytes;
    b->spare_bytes -= bytes;
    return segment;
}

static char *map(struct rcd__slab *b, size_t offset, size_t bytes)
{
    if (b->file->fd < 0 && b->n_segments >= HUGE_FROM && bytes <= RCD_HUGE_PAGE / 2)
        return map_huge(b, bytes);
    int flags = b->file->fd >= 0 ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS;
    char *p = mmap(NULL, bytes, PROT_READ | PROT_WRITE, flags, b->file->fd,
                   b->file->fd >= 0 ? (off_t)offset : 0);
    return p != MAP_FAILED ? p : NULL;
}

static void add(struct rcd__slab *b, char *segment)
{
    b->segments[b->n_segments++] = segment;
    b->n += 1u << b->shift;
}

static bool grow(struct rcd__slab *b, bool *ret_full)
{
    struct rcd__file *f = b->file;
    size_t bytes = segment_bytes(b);
    if (b->n >= RCD__NONE - (1u << b->shift) || !room(b))
        return false;
    int rc = f->fd >= 0 ? posix_fallocate(f->fd, (off_t)f->size, (off_t)bytes) : 0;
    *ret_full = rc == ENOSPC || rc == EDQUOT || rc == EFBIG;
    char *p = rc == 0 ? map(b, f->size, bytes) : NULL;
    if (p == NULL)
        return false;
    struct rcd__segment *g = (struct rcd__segment *)(void *)p;
    *g = (struct rcd__segment){.kind = b->kind,
                               .count = 1u << b->shift,
                               .item = b->item,
                               .bytes = bytes,
                               .magic = RCD__SEGMENT_MAGIC};
    g->sum = rcd__segment_sum(g);
    uint32_t first = b->n;
    add(b, p);
    for (uint32_t i = first; b->kind == RCD__RECORDS && i < b->n; i++)
        rcd__record_clear(rcd__slab_at(b, i));
    uint64_t length = rcd__size_word(f->size + bytes);
    if (f->fd >= 0 && pwrite(f->fd, &length, sizeof length, RCD__SIZE_AT) != sizeof length) {
        b->n = first;
        munmap(b->segments[--b->n_segments], bytes);
        return false;
    }
    f->size += bytes;
    for (uint32_t i = b->n; i > first; i--)
        rcd__slab_unused(b, i - 1);
    return true;
}

void rcd__slab_unused(struct rcd__slab *b, uint32_t at)
{
    /* the second word: a record's state and a row's sum stay what says that they are free */
    memcpy((char *)rcd__slab_at(b, at) + 4, &b->free, sizeof b->free);
    b->free = at;
}

uint32_t rcd__slab_take(struct rcd__slab *b, bool *ret_full)
{
    *ret_full = false;
    if (b->free == RCD__NONE && !grow(b, ret_full))
        return RCD__NONE;
    uint32_t at = b->free;
    memcpy(&b->free, (char *)rcd__slab_at(b, at) + 4, sizeof b->free);
    b->used++;
    return at;
}

void rcd__slab_give(struct rcd__slab *b, uint32_t at)
{
    b->used--;
    rcd__slab_unused(b, at);
}

bool rcd__slab_adopt(struct rcd__slab *b, size_t offset, size_t bytes)
{
    if (bytes != segment_bytes(b) || !room(b))
        return false;
    char *p = map(b, offset, bytes);
    if (p == NULL)
        return false;
    add(b, p);
    return true;
}

void rcd__slab_near(const struct rcd__slab *b, size_t segment)
{
    /* without it, or before Linux 5.14, each page is a fault */
    (void)madvise(b->segments[segment], segment_bytes(b), MADV_POPULATE_READ);
}
