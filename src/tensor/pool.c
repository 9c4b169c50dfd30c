/* pool.c - blocks for the tensors that a run makes.
 *
 * A freed block waits in a free list of its size class, so a run in steady state never calls
 * malloc. There are four classes per power of two: a block is less than 25 % larger than asked
 * for (up to 256 bytes: whole cache lines). Lists are last in, first out: the block that is
 * handed out next is the one most likely in cache.
 *
 * What waits is bounded. When a block comes back and the bound is reached, blocks of other
 * classes are released in turn, so that a change of shapes cannot leave the pool full of sizes
 * that nobody asks for any more.
 *
 * A header takes two lines, so that rows of a large block, which lies on a page, begin where a pair of lines does.
 *
 * Under AddressSanitizer idle blocks and the slack behind the asked size are poisoned. */
#include "recurd/tensor.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define POISON(p, n) ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#else
#define POISON(p, n) ((void)(p), (void)(n))
#define UNPOISON(p, n) ((void)(p), (void)(n))
#endif

enum { N_CLASSES = 168, HEADER = 2 * RCD_ALIGN, SLACK = 32 << 20 };
#define BLOCK_MAX_BYTES ((size_t)1 << 47)
_Static_assert(sizeof(struct rcd_block) <= HEADER, "a block's header fits");

struct rcd_pool {
    size_t live, live_max; /* bytes of the classes of blocks that are out */
    size_t idle, idle_max; /* ... and of those that wait */
    size_t most;           /* that were ever out */
    size_t hand;           /* class that gives up a block next */
    struct rcd_block *lists[N_CLASSES];
};

/* Sizes are counted in cache lines: 1 2 3 4, then 5 6 7 8, 10 12 14 16, 20 24 28 32, ... */
static uint32_t class_of(size_t bytes)
{
    size_t units = (bytes + RCD_ALIGN - 1) / RCD_ALIGN;
    if (units <= 4)
        return units == 0 ? 0 : (uint32_t)units - 1;
    uint32_t log = 63u - (uint32_t)__builtin_clzll(units - 1); /* 2^log < units <= 2^(log+1) */
    size_t step = (size_t)1 << (log - 2);
    size_t quarter = (units - ((size_t)1 << log) + step - 1) / step; /* 1..4 */
    return 4 * (log - 1) + (uint32_t)quarter - 1;
}

static size_t class_bytes(uint32_t class)
{
    if (class < 4)
        return (size_t)(class + 1) * RCD_ALIGN;
    uint32_t log = class / 4 + 1;
    return (((size_t)1 << log) + ((size_t)(class % 4 + 1) << (log - 2))) * RCD_ALIGN;
}

rcd_pool *rcd_pool_new(size_t max_live_bytes, size_t max_idle_bytes)
{
    rcd_pool *pool = rcd_calloc(1, sizeof *pool);
    if (pool != NULL) {
        pool->live_max = max_live_bytes;
        pool->idle_max = max_idle_bytes;
    }
    return pool;
}

static void release(struct rcd_block *b)
{
    const size_t total = class_bytes(b->size_class);
    UNPOISON(b->data, total);
    rcd_free_large(b);
}

rcd_pool *rcd_pool_free(rcd_pool *pool)
{
    if (pool == NULL)
        return NULL;
    RCD_ASSERT(pool->live == 0);
    for (size_t i = 0; i < N_CLASSES; i++) {
        while (pool->lists[i] != NULL) {
            struct rcd_block *b = pool->lists[i];
            pool->lists[i] = b->next;
            release(b);
        }
    }
    rcd_free(pool);
    return NULL;
}

/* Release waiting blocks, but those of class `keep`, until no more than `bytes` wait. */
static void idle_down_to(rcd_pool *pool, size_t bytes, uint32_t keep)
{
    for (size_t tried = 0; tried < N_CLASSES && pool->idle > bytes;) {
        struct rcd_block *b = pool->hand == keep ? NULL : pool->lists[pool->hand];
        if (b == NULL) {
            pool->hand = (pool->hand + 1) % N_CLASSES;
            tried++;
            continue;
        }
        pool->lists[pool->hand] = b->next;
        pool->idle -= class_bytes(b->size_class);
        release(b);
    }
}

/* The largest waiting block of no more than so many bytes, or else the smallest one: what goes must be cleared by the system
 * when it is asked for again, so little more goes than must. */
static struct rcd_block **no_more_than(rcd_pool *pool, size_t bytes)
{
    struct rcd_block **found = NULL;
    for (uint32_t i = 0; i < N_CLASSES && (found == NULL || class_bytes(i) <= bytes); i++)
        found = pool->lists[i] != NULL ? &pool->lists[i] : found;
    return found;
}

/* Before a block of `total` bytes is made: what waits is of other sizes, and may never be asked for again. With what is
 * out it is not to be more than was ever out at one time, but for SLACK: models of usual size keep all they had. */
static void limit_held(rcd_pool *pool, size_t total)
{
    const size_t out = pool->live + total;
    pool->most = out > pool->most ? out : pool->most;
    while (pool->idle > 0 && out + pool->idle > pool->most + SLACK) {
        const size_t excess = out + pool->idle - pool->most - SLACK;
        struct rcd_block **list = no_more_than(pool, excess), *b = *list;
        *list = b->next;
        pool->idle -= class_bytes(b->size_class);
        release(b);
    }
}

struct rcd_block *rcd_block_new(rcd_pool *pool, size_t bytes)
{
    if (bytes > BLOCK_MAX_BYTES)
        return NULL;
    uint32_t class = class_of(bytes);
    size_t total = class_bytes(class);
    if (pool->live > pool->live_max || total > pool->live_max - pool->live)
        return NULL;
    struct rcd_block *b = pool->lists[class];
    if (b != NULL) {
        pool->lists[class] = b->next;
        pool->idle -= total;
    } else {
        limit_held(pool, total);
        b = rcd_alloc_aligned(HEADER + total);
        if (b == NULL)
            return NULL;
        *b = (struct rcd_block){.pool = pool, .size_class = class, .data = (char *)b + HEADER};
    }
    POISON(b->data, total);
    UNPOISON(b->data, bytes);
    b->next = NULL;
    b->refs = 1;
    b->bytes = bytes;
    pool->live += total;
    return b;
}

void rcd_block_unref(struct rcd_block *b)
{
    if (b == NULL)
        return;
    RCD_ASSERT(b->refs > 0);
    if (--b->refs > 0)
        return;
    rcd_pool *pool = b->pool;
    size_t total = class_bytes(b->size_class);
    RCD_ASSERT(pool->live >= total);
    pool->live -= total;
    if (total <= pool->idle_max) /* what came back is the better guess of what is needed next */
        idle_down_to(pool, pool->idle_max - total, b->size_class);
    if (total > pool->idle_max - pool->idle) {
        release(b);
        return;
    }
    b->next = pool->lists[b->size_class];
    pool->lists[b->size_class] = b;
    pool->idle += total;
    POISON(b->data, total);
}

size_t rcd_pool_live_bytes(const rcd_pool *pool)
{
    return pool->live;
}
