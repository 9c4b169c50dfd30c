/* test_pool.c - blocks: classes, limits, reuse, failing memory. */
#include "recurd/tensor.h"

#include <criterion/criterion.h>
#include <signal.h>
#include <string.h>
#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#endif

TestSuite(pool, .timeout = 400);

Test(pool, classes_waste_little)
{
    rcd_pool *pool = rcd_pool_new(SIZE_MAX, 0);
    for (size_t bytes = 0; bytes < 100000; bytes += bytes < 2100 ? 1 : 37) {
        struct rcd_block *b = rcd_block_new(pool, bytes);
        cr_assert_not_null(b);
        size_t took = rcd_pool_live_bytes(pool);
        cr_assert_geq(took, bytes);
        cr_assert_eq(took % RCD_ALIGN, 0);
        if (bytes > 256)
            cr_assert_leq((double)(took - RCD_ALIGN), 1.25 * (double)bytes, "%zu -> %zu", bytes,
                          took);
        else
            cr_assert_leq(took, bytes + RCD_ALIGN, "%zu -> %zu", bytes, took);
        cr_assert_eq((uintptr_t)b->data % RCD_ALIGN, 0);
        cr_assert_eq(b->bytes, bytes);
        memset(b->data, 0xaa, bytes);
        rcd_block_unref(b);
        cr_assert_eq(rcd_pool_live_bytes(pool), 0);
    }
    rcd_pool_free(pool);
}

/* Just over each power of two is where a wrong class shows. */
Test(pool, classes_of_large_sizes)
{
    for (unsigned log = 9; log < 47; log++) {
        size_t bytes = ((size_t)1 << log) + 1;
        rcd_pool *pool = rcd_pool_new(bytes + bytes / 4 + RCD_ALIGN, 0);
        rcd_fault_after(0); /* the class fits the limit: so memory is asked for, and refused */
        cr_assert_null(rcd_block_new(pool, bytes));
        cr_assert(rcd_fault_hit(), "2^%u + 1 is charged with more than 25 %% of waste", log);
        rcd_pool_free(pool);
    }
    rcd_pool *pool = rcd_pool_new(SIZE_MAX, 0);
    cr_assert_null(rcd_block_new(pool, SIZE_MAX));
    cr_assert_null(rcd_block_new(pool, ((size_t)1 << 47) + 1));
    rcd_pool_free(pool);
}

Test(pool, last_freed_comes_first)
{
    rcd_pool *pool = rcd_pool_new(1 << 20, 1 << 20);
    struct rcd_block *a = rcd_block_new(pool, 1000), *b = rcd_block_new(pool, 1000);
    cr_assert_neq(a, b);
    rcd_block_unref(a);
    rcd_block_unref(b);
    rcd_fault_after(0); /* no malloc from here on */
    cr_assert_eq(rcd_block_new(pool, 1010), b);
    cr_assert_eq(rcd_block_new(pool, 990), a);
    cr_assert_not(rcd_fault_hit());
    cr_assert_null(rcd_block_new(pool, 1000));
    cr_assert(rcd_fault_hit());
    rcd_block_unref(a);
    rcd_block_unref(b);
    rcd_pool_free(pool);
}

/* Does one of so many bytes wait? Asked for where malloc fails. */
static bool waits(rcd_pool *pool, size_t bytes)
{
    rcd_fault_after(0);
    struct rcd_block *b = rcd_block_new(pool, bytes);
    rcd_fault_after(SIZE_MAX);
    rcd_block_unref(b);
    return b != NULL;
}

/* Sizes that came once do not stay for ever: what waits and what is out is never more than was out at one time and the
 * slack. Sizes of small models stay. */
Test(pool, what_waits_makes_room_for_other_sizes)
{
    rcd_pool *pool = rcd_pool_new(SIZE_MAX, SIZE_MAX);
    const size_t mb = 1 << 20;
    for (size_t size = 1; size <= 4; size++)
        rcd_block_unref(rcd_block_new(pool, size * mb));
    for (size_t size = 1; size <= 4; size++)
        cr_assert(waits(pool, size * mb), "%zu MB", size);
    for (size_t size = 32; size <= 128; size *= 2)
        rcd_block_unref(rcd_block_new(pool, size * mb));
    cr_assert(waits(pool, 128 * mb));
    cr_assert_not(waits(pool, 32 * mb) && waits(pool, 64 * mb)); /* with 128 more than 128 and 32 */
    struct rcd_block *a = rcd_block_new(pool, 128 * mb), *b = rcd_block_new(pool, 64 * mb);
    rcd_block_unref(a); /* both were out together, so both may wait */
    rcd_block_unref(b);
    rcd_block_unref(rcd_block_new(pool, 20 * mb));
    cr_assert(waits(pool, 128 * mb) && waits(pool, 64 * mb) && waits(pool, 20 * mb));
    rcd_pool_free(pool);
}

/* A large block does not go where smaller ones make room: it is the one that takes long to be made again. */
Test(pool, little_more_goes_than_must)
{
    rcd_pool *pool = rcd_pool_new(SIZE_MAX, SIZE_MAX);
    const size_t mb = 1 << 20;
    for (int turn = 0; turn < 3; turn++) {
        struct rcd_block *b[3];
        for (size_t i = 0; i < 3; i++)
            b[i] = rcd_block_new(pool, (i < 2 ? 24 : 128) * mb);
        for (size_t i = 0; i < 3; i++)
            rcd_block_unref(b[i]);
        rcd_block_unref(rcd_block_new(pool, 60 * mb)); /* with 176 more than 176 and 32 */
        cr_assert(waits(pool, 128 * mb) && waits(pool, 60 * mb));
    }
    rcd_pool_free(pool);
}

Test(pool, references)
{
    rcd_pool *pool = rcd_pool_new(1 << 20, 1 << 20);
    struct rcd_block *a = rcd_block_new(pool, 100);
    cr_assert_eq(rcd_block_ref(a), a);
    rcd_block_unref(a);
    cr_assert_gt(rcd_pool_live_bytes(pool), 0);
    rcd_block_unref(a);
    cr_assert_eq(rcd_pool_live_bytes(pool), 0);
    rcd_block_unref(NULL);
    cr_assert_null(rcd_block_ref(NULL));
    rcd_pool_free(pool);
    cr_assert_null(rcd_pool_free(NULL));
}

Test(pool, live_limit)
{
    rcd_pool *pool = rcd_pool_new(4096, 4096);
    struct rcd_block *a = rcd_block_new(pool, 2048);
    cr_assert_not_null(a);
    cr_assert_null(rcd_block_new(pool, 2049));
    struct rcd_block *b = rcd_block_new(pool, 2048);
    cr_assert_not_null(b);
    cr_assert_null(rcd_block_new(pool, 0));
    rcd_block_unref(a);
    a = rcd_block_new(pool, 0);
    cr_assert_not_null(a);
    rcd_block_unref(a);
    rcd_block_unref(b);
    rcd_pool_free(pool);
}

Test(pool, idle_limit_releases_other_classes)
{
    rcd_pool *pool = rcd_pool_new(SIZE_MAX, 8192);
    struct rcd_block *small[4];
    for (size_t i = 0; i < 4; i++)
        small[i] = rcd_block_new(pool, 1024);
    struct rcd_block *big = rcd_block_new(pool, 8192), *huge = rcd_block_new(pool, 16384);
    for (size_t i = 0; i < 4; i++)
        rcd_block_unref(small[i]);
    rcd_block_unref(huge); /* does not fit at all: the small ones stay */
    rcd_fault_after(0);
    cr_assert_eq(rcd_block_new(pool, 1024), small[3]);
    cr_assert_not(rcd_fault_hit());
    rcd_block_unref(small[3]);
    rcd_block_unref(big); /* takes all the room */
    rcd_fault_after(0);
    cr_assert_eq(rcd_block_new(pool, 8192), big);
    cr_assert_not(rcd_fault_hit());
    cr_assert_null(rcd_block_new(pool, 1024));
    cr_assert(rcd_fault_hit(), "the small blocks were released");
    rcd_block_unref(big);
    rcd_pool_free(pool);
}

Test(pool, failing_memory)
{
    rcd_fault_after(0);
    cr_assert_null(rcd_pool_new(1, 1));
    rcd_pool *pool = rcd_pool_new(1 << 20, 0);
    rcd_fault_after(0);
    cr_assert_null(rcd_block_new(pool, 10));
    cr_assert_eq(rcd_pool_live_bytes(pool), 0);
    struct rcd_block *b = rcd_block_new(pool, 10);
    cr_assert_not_null(b);
    rcd_block_unref(b);
    rcd_pool_free(pool);
}

Test(pool, free_with_live_blocks_is_a_bug, .signal = SIGABRT)
{
    rcd_pool *pool = rcd_pool_new(1 << 20, 0);
    cr_assert_not_null(rcd_block_new(pool, 10));
    rcd_pool_free(pool);
}

#if defined(__SANITIZE_ADDRESS__)
Test(pool, idle_blocks_and_slack_are_poisoned)
{
    rcd_pool *pool = rcd_pool_new(1 << 20, 1 << 20);
    struct rcd_block *b = rcd_block_new(pool, 100);
    char *data = b->data;
    cr_assert_not(__asan_address_is_poisoned(data + 99));
    cr_assert(__asan_address_is_poisoned(data + 104), "slack behind the asked size");
    rcd_block_unref(b);
    cr_assert(__asan_address_is_poisoned(data));
    cr_assert_eq(rcd_block_new(pool, 128), b);
    cr_assert_not(__asan_address_is_poisoned(data + 127));
    rcd_block_unref(b);
    rcd_pool_free(pool);
}
#endif
