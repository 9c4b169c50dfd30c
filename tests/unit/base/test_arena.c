/* test_arena.c - the bump allocator: alignment, limit, failing memory. */
#include "recurd/base.h"

#include <criterion/criterion.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

TestSuite(arena, .timeout = 400);

Test(arena, pieces_do_not_overlap_and_are_aligned)
{
    struct rcd_arena a;
    unsigned char *pieces[300];
    rcd_arena_init(&a, 1 << 24);
    for (size_t i = 0; i < RCD_COUNT(pieces); i++) {
        size_t size = i * 37 % 5000;
        pieces[i] = i % 3 == 0 ? rcd_arena_alloc_aligned(&a, size) : rcd_arena_alloc(&a, size);
        cr_assert_not_null(pieces[i]);
        cr_assert_eq((uintptr_t)pieces[i] % (i % 3 == 0 ? RCD_ALIGN : 16), 0, "%zu", i);
        memset(pieces[i], (int)(i & 0xff), size);
    }
    for (size_t i = 0; i < RCD_COUNT(pieces); i++)
        for (size_t k = 0; k < i * 37 % 5000; k++)
            cr_assert_eq(pieces[i][k], i & 0xff);
    cr_assert_leq(a.used, a.max);
    rcd_arena_done(&a);
    cr_assert_eq(a.used, 0);
}

Test(arena, limit)
{
    struct rcd_arena a;
    rcd_arena_init(&a, 4096);
    cr_assert_null(rcd_arena_alloc(&a, 4097));
    cr_assert_null(rcd_arena_alloc(&a, SIZE_MAX));
    cr_assert_null(rcd_arena_alloc_aligned(&a, SIZE_MAX - 8));
    cr_assert_null(rcd_arena_calloc(&a, SIZE_MAX / 2, 4));
    size_t n = 0;
    while (rcd_arena_alloc(&a, 64) != NULL)
        n++;
    cr_assert(n >= 40 && n <= 64, "%zu", n);
    cr_assert_leq(a.used, 4096);
    rcd_arena_done(&a);
    cr_assert_not_null(rcd_arena_alloc(&a, 64), "usable again");
    rcd_arena_done(&a);
}

Test(arena, cleared_for_the_next_use)
{
    struct rcd_arena a;
    rcd_arena_init(&a, 1 << 20);
    rcd_arena_clear(&a);
    cr_assert_null(a.head);
    const void *first = rcd_arena_alloc(&a, 100);
    cr_assert_not_null(rcd_arena_alloc(&a, 100000), "a piece of its own");
    for (int i = 0; i < 1000; i++)
        cr_assert_not_null(rcd_arena_alloc(&a, 64));
    rcd_arena_clear(&a);
    cr_assert_eq(a.used, 0);
    rcd_fault_after(0); /* what was kept is there without asking */
    cr_assert_eq(rcd_arena_alloc(&a, 100), first);
    cr_assert_not(rcd_fault_hit());
    cr_assert_null(rcd_arena_alloc(&a, 8000));
    cr_assert(rcd_fault_hit(), "the rest went back");
    rcd_arena_done(&a);
    rcd_arena_init(&a, 1 << 20);
    cr_assert_not_null(rcd_arena_alloc(&a, 5000));
    rcd_arena_clear(&a);
    cr_assert_null(a.head, "a large first piece is not kept");
}

Test(arena, calloc_and_strndup)
{
    struct rcd_arena a;
    rcd_arena_init(&a, 1 << 16);
    unsigned char *dirt = rcd_arena_alloc(&a, 1000);
    memset(dirt, 0xff, 1000);
    rcd_arena_done(&a);
    const unsigned char *zero = rcd_arena_calloc(&a, 100, 10);
    for (size_t i = 0; i < 1000; i++)
        cr_assert_eq(zero[i], 0);
    cr_assert_str_eq(rcd_arena_strndup(&a, "abcdef", 3), "abc");
    cr_assert_str_eq(rcd_arena_strndup(&a, "", 0), "");
    rcd_arena_done(&a);
}

Test(arena, failing_memory)
{
    struct rcd_arena a;
    rcd_arena_init(&a, 1 << 20);
    rcd_fault_after(0);
    cr_assert_null(rcd_arena_alloc(&a, 10));
    cr_assert(rcd_fault_hit());
    cr_assert_eq(a.used, 0);
    cr_assert_not_null(rcd_arena_alloc(&a, 10));
    rcd_arena_done(&a);
}

/* Of a forgotten piece whole pages are gone; its neighbours are as they were. */
Test(arena, forgotten_pages_go_back)
{
    enum { PIECE = 64 * 1024 + 100, LITTLE = 300 };
    struct rcd_arena a;
    unsigned char *pieces[3], resident[PIECE / 4096 + 2];
    rcd_arena_init(&a, 1 << 24);
    for (size_t i = 0; i < 3; i++) {
        pieces[i] = rcd_arena_alloc_aligned(&a, PIECE);
        cr_assert_not_null(pieces[i]);
        memset(pieces[i], 7, PIECE);
    }
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    size_t gone = rcd_arena_forget(pieces[1], PIECE);
    cr_assert(gone > PIECE - 2 * page && gone < PIECE && gone % page == 0, "%zu", gone);
    unsigned char *first = pieces[1] + (page - (uintptr_t)pieces[1] % page) % page;
    cr_assert_eq(mincore(first, gone, resident), 0);
    for (size_t i = 0; i < gone / page; i++)
        cr_assert_eq(resident[i] & 1, 0, "page %zu", i);
    for (size_t i = 0; i < PIECE; i++)
        cr_assert(pieces[0][i] == 7 && pieces[2][i] == 7, "%zu", i);
    unsigned char *little = rcd_arena_alloc(&a, LITTLE);
    cr_assert_not_null(little);
    cr_assert_eq(rcd_arena_forget(little, LITTLE), 0); /* no whole page */
    rcd_arena_done(&a);
}
