/* memory.c - the only caller of malloc: one seam where tests make the k-th allocation fail. */
#include "recurd/base.h"

#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* Thread-local, so that a test's injected failure cannot hit another thread's allocation. */
static _Thread_local size_t fault_left = SIZE_MAX;
static _Thread_local bool fault_delivered;

static bool fails_now(void)
{
    if (__builtin_expect(fault_left == SIZE_MAX, 1))
        return false;
    if (fault_left > 0) {
        fault_left--;
        return false;
    }
    fault_left = SIZE_MAX;
    fault_delivered = true;
    return true;
}

void rcd_fault_after(size_t n)
{
    fault_left = n;
    fault_delivered = false;
}

bool rcd_fault_hit(void)
{
    return fault_delivered;
}

void *rcd_alloc(size_t bytes)
{
    return fails_now() ? NULL : malloc(bytes != 0 ? bytes : 1);
}

void *rcd_calloc(size_t count, size_t bytes)
{
    if (fails_now())
        return NULL;
    return count != 0 && bytes != 0 ? calloc(count, bytes) : calloc(1, 1);
}

void *rcd_realloc(void *old, size_t bytes)
{
    return fails_now() ? NULL : realloc(old, bytes != 0 ? bytes : 1);
}

void rcd_huge_pages(void *memory, size_t bytes)
{
    const size_t before = -(uintptr_t)memory & (RCD_HUGE_PAGE - 1);
    if (bytes >= before + RCD_HUGE_PAGE)
        (void)madvise((char *)memory + before, (bytes - before) & ~(RCD_HUGE_PAGE - 1),
                      MADV_HUGEPAGE);
}

void *rcd_alloc_aligned(size_t bytes)
{
    size_t rounded = 0;
    if (!rcd_add(bytes, RCD_ALIGN - 1, &rounded) || fails_now())
        return NULL;
    rounded &= ~(size_t)(RCD_ALIGN - 1);
    if (rounded < RCD_HUGE_PAGE / 4 * 3)
        return aligned_alloc(RCD_ALIGN, rounded != 0 ? rounded : RCD_ALIGN);
    /* Rows of a large table that are read in the order of a graph's edges: with small pages, most of the time would go
     * into finding the page. And weights that just fill the second-level cache: small pages are scattered over its sets.
     * An end of less than half a huge page stays on small ones. */
    const size_t whole = (rounded + RCD_HUGE_PAGE / 2) & ~(RCD_HUGE_PAGE - 1);
    void *p = NULL; /* aligned_alloc wants a multiple of the alignment */
    if (posix_memalign(&p, RCD_HUGE_PAGE, whole > rounded ? whole : rounded) != 0)
        return NULL;
    rcd_huge_pages(p, whole);
    return p;
}

char *rcd_strndup(const char *text, size_t len)
{
    char *copy = rcd_alloc(len + 1);
    if (copy != NULL) {
        memcpy(copy, text, len);
        copy[len] = '\0';
    }
    return copy;
}

char *rcd_strdup(const char *text)
{
    return rcd_strndup(text, strlen(text));
}

void rcd_free(void *p)
{
    free(p);
}

void rcd_free_large(void *p)
{
    const size_t bytes = malloc_usable_size(p); /* 0 of NULL */
    if (bytes >= RCD_HUGE_PAGE) {
        const uintptr_t page = 4096, from = ((uintptr_t)p + page - 1) & ~(page - 1),
                        to = ((uintptr_t)p + bytes) & ~(page - 1);
        (void)madvise((char *)p + (from - (uintptr_t)p), to - from, MADV_DONTNEED);
    }
    free(p);
}
