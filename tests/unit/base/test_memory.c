/* test_memory.c - allocation, its failure on demand, and checked sizes. */
#include "recurd/base.h"

#include <criterion/criterion.h>
#include <malloc.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

TestSuite(memory, .timeout = 400);

Test(memory, every_call_can_fail)
{
    rcd_fault_after(0);
    cr_assert(rcd_alloc(1) == NULL && rcd_fault_hit());
    rcd_fault_after(0);
    cr_assert(rcd_calloc(1, 1) == NULL && rcd_fault_hit());
    rcd_fault_after(0);
    cr_assert(rcd_alloc_aligned(1) == NULL && rcd_fault_hit());
    rcd_fault_after(0);
    cr_assert(rcd_strdup("a") == NULL && rcd_fault_hit());
    char *kept = rcd_strndup("abc", 2);
    cr_assert_str_eq(kept, "ab");
    rcd_fault_after(0);
    cr_assert_null(rcd_realloc(kept, 100));
    cr_assert_str_eq(kept, "ab", "the old piece stays");
    rcd_free(kept);
    rcd_free(NULL);
}

Test(memory, fails_once_after_n)
{
    rcd_fault_after(2);
    void *a = rcd_alloc(1), *b = rcd_alloc(1);
    cr_assert(a != NULL && b != NULL && !rcd_fault_hit());
    cr_assert(rcd_alloc(1) == NULL && rcd_fault_hit());
    void *c = rcd_alloc(1);
    cr_assert_not_null(c);
    rcd_fault_after(SIZE_MAX);
    cr_assert_not(rcd_fault_hit());
    rcd_free(a);
    rcd_free(b);
    rcd_free(c);
}

static void *allocate(void *arg)
{
    (void)arg;
    return rcd_alloc(1);
}

Test(memory, other_threads_are_not_hit)
{
    pthread_t thread;
    void *got = NULL;
    rcd_fault_after(0);
    cr_assert_eq(pthread_create(&thread, NULL, allocate, NULL), 0);
    pthread_join(thread, &got);
    cr_assert_not_null(got);
    cr_assert_not(rcd_fault_hit());
    rcd_fault_after(SIZE_MAX);
    rcd_free(got);
}

Test(memory, sizes)
{
    unsigned char *p = rcd_alloc_aligned(100);
    cr_assert_eq((uintptr_t)p % RCD_ALIGN, 0);
    memset(p, 1, 128); /* rounded up */
    rcd_free(p);
    p = rcd_alloc_aligned(0);
    cr_assert_not_null(p);
    rcd_free(p);
    cr_assert_null(rcd_alloc_aligned(SIZE_MAX - 10));
    p = rcd_alloc(0);
    cr_assert_not_null(p);
    p = rcd_realloc(p, 0);
    cr_assert_not_null(p);
    rcd_free(p);
    p = rcd_calloc(0, 8);
    cr_assert_not_null(p);
    rcd_free(p);
}

Test(memory, checked_arithmetic)
{
    size_t r = 0;
    cr_assert(rcd_mul((size_t)1 << 32, ((size_t)1 << 32) - 1, &r));
    cr_assert_eq(r, 0xffffffff00000000u);
    cr_assert_not(rcd_mul((size_t)1 << 32, (size_t)1 << 32, &r));
    cr_assert(rcd_add(SIZE_MAX, 0, &r) && r == SIZE_MAX);
    cr_assert_not(rcd_add(SIZE_MAX, 1, &r));
}

#ifndef __SANITIZE_ADDRESS__ /* which has a malloc of its own */
Test(memory, pages_of_large_blocks_go_back)
{
    enum { PAGE = 4096, BYTES = 12 << 20, PAGES = BYTES / PAGE - 2 };
    static unsigned char here[PAGES];
    mallopt(M_PERTURB, 0);          /* which writes what is freed, and which meson asks for */
    rcd_free(rcd_alloc(2 * BYTES)); /* from here on malloc takes blocks of BYTES from its heap */
    char *large = rcd_alloc(BYTES), *behind = rcd_alloc(100000);
    cr_assert(large != NULL && behind != NULL);
    memset(large, 1, BYTES);
    char *inner = large + (PAGE - (uintptr_t)large % PAGE);
    cr_assert_eq(mincore(inner, PAGES * PAGE, here), 0);
    for (size_t i = 0; i < PAGES; i++)
        cr_assert_eq(here[i] & 1, 1);
    rcd_free_large(large);
    cr_assert_eq(mincore(inner, PAGES * PAGE, here), 0, "it was not from the heap");
    for (size_t i = 0; i < PAGES; i++)
        cr_assert_eq(here[i] & 1, 0);
    rcd_free(behind);
    rcd_free_large(NULL);
}
#endif
