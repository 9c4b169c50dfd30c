/* test_choice.c - threads together or one alone: whatever has been faster so far, and again when that changes. */
#include "engine/choice.h"

#include <criterion/criterion.h>

TestSuite(engine_choice, .timeout = 400);

/* So many pieces of work, which take as much as is said; how many of them went together. */
static int go(struct rcd__choice_of *c, int n, double alone, double together)
{
    int shared = 0;
    for (int i = 0; i < n; i++) {
        const bool both = rcd__choose(c);
        rcd__choice_took(c, both, both ? together : alone);
        shared += both;
    }
    return shared;
}

Test(engine_choice, the_faster_way_is_taken_and_the_other_one_tried)
{
    static struct rcd__choice all;
    struct rcd__choice_of *slow = rcd__choice_for(&all, 5e3, 1e6),
                          *fast = rcd__choice_for(&all, 5e5, 1e6);
    cr_assert(slow != fast && slow != rcd__choice_for(&all, 5e3, 1e7), "sizes are told apart");
    cr_expect_eq(go(slow, 4, 1.0, 3.0), 2, "both ways are tried at first");
    cr_expect_eq(go(slow, 640, 1.0, 3.0), 10, "then seldom the slower one");
    cr_expect_eq(go(fast, 4, 1.0, 0.6), 2);
    cr_expect_eq(go(fast, 640, 1.0, 0.6), 630);
}

Test(engine_choice, a_machine_that_changes_is_followed)
{
    static struct rcd__choice all;
    struct rcd__choice_of *c = rcd__choice_for(&all, 1e5, 1e6);
    go(c, 100, 1.0, 0.5);
    const int shared = go(c, 200, 1.0, 4.0); /* others have come */
    cr_expect(shared < 20, "%d of 200", shared);
    cr_expect_eq(go(c, 6400, 1.0, 4.0), 100);
    cr_expect(go(c, 6400, 1.0, 0.5) > 3000, "and have gone");
}

Test(engine_choice, one_interruption_does_not_decide)
{
    static struct rcd__choice all;
    struct rcd__choice_of *c = rcd__choice_for(&all, 1e5, 1e6);
    go(c, 40, 1.0, 0.5);
    rcd__choice_took(c, true, 1000.0);
    const int shared = go(c, 640, 1.0, 0.5);
    cr_expect(shared >= 500, "%d of 640", shared);
}

Test(engine_choice, sizes_beyond_the_table)
{
    static struct rcd__choice all;
    cr_expect_eq(rcd__choice_for(&all, 0.0, 0.0), &all.of[0][0]);
    cr_expect_eq(rcd__choice_for(&all, 1e18, 1e18),
                 &all.of[RCD__CHOICE_STEPS - 1][RCD__CHOICE_SIZES - 1]);
}
