/* test_steps.c - steps, retries, room, idleness, forks, snapshots, the ring, export: in memory. */
#include "small_store.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

TestSuite(sessions_steps, .timeout = 400);

static struct small m;
static bool later;
static uint64_t at; /* of a snapshot */

Test(sessions_steps, start_continue_end)
{
    small_open(&m, NULL);
    cr_expect_eq(plain_step(&m, number(7), false, 1), RCD_EINVAL);
    cr_expect(strstr(m.err.text, "must specify the START flag") != NULL);
    cr_expect_eq(plain_step(&m, number(7), true, 1), RCD_OK);
    cr_expect_eq(plain_step(&m, number(7), false, 2), RCD_OK);
    cr_expect_eq(plain_step(&m, text("7"), false, 2), RCD_EINVAL, "a string is another id");
    cr_expect_eq(small_value(&m, number(7)), 3);
    cr_expect_eq(small_steps(&m, number(7)), 2);
    cr_expect_eq(plain_step(&m, number(7), true, 5), RCD_OK, "starts anew");
    cr_expect_eq(small_value(&m, number(7)), 5);
    struct rcd_session_turn last = {.end = true};
    cr_expect_eq(small_step(&m, number(7), &last, 1), RCD_OK);
    cr_expect_eq(small_steps(&m, number(7)), UINT64_MAX);
    cr_expect_eq(m.err.code, RCD_EGONE);
    cr_expect_eq(plain_step(&m, number(7), false, 1), RCD_EINVAL);
    cr_expect(strstr(m.err.text, "ended") && strstr(m.err.text, "START"));
    struct rcd_session_turn only = {.start = true, .end = true};
    cr_expect_eq(small_step(&m, number(9), &only, 1), RCD_OK);
    cr_expect_eq(rcd_sessions_live(m.s), 0);
    small_close(&m);
}

Test(sessions_steps, asking_for_memory_changes_nothing)
{
    struct rcd_session_id who[64];
    const struct rcd_session_id *ids[64];
    for (size_t i = 0; i < RCD_COUNT(who); i++) {
        who[i] = number(i % 60 + 1); /* some of them twice */
        ids[i] = &who[i];
    }
    who[63] = text("nobody");
    small_open(&m, NULL);
    rcd_sessions_bring(m.s, ids, RCD_COUNT(ids)); /* of nobody at all */
    for (uint64_t i = 1; i <= 40; i++)
        cr_expect_eq(plain_step(&m, number(i), true, (float)i), RCD_OK);
    struct rcd_session_turn last = {.end = true};
    cr_expect_eq(small_step(&m, number(3), &last, 1), RCD_OK);
    struct rcd_session_ref ref;
    uint32_t use = 0;
    cr_expect_eq(rcd_session_enter(m.s, &who[4], 0, &ref, &use, &m.retry_after_s, &m.err), RCD_OK,
                 "busy");
    rcd_sessions_bring(m.s, ids, 0);
    rcd_sessions_bring(m.s, ids, RCD_COUNT(ids));
    cr_expect_null(rcd_session_leave(m.s, use));
    for (uint64_t i = 1; i <= 60; i++)
        cr_expect_eq(small_value(&m, number(i)), i <= 40 && i != 3 ? (float)i : -1);
    cr_expect_eq(rcd_sessions_live(m.s), 39);
    small_close(&m);
}

Test(sessions_steps, a_step_is_done_once)
{
    small_open(&m, NULL);
    struct rcd_session_turn t = {.start = true, .step = 1, .input_hash = 11};
    cr_expect_eq(small_step(&m, number(1), &t, 1), RCD_OK);
    t = (struct rcd_session_turn){.start = true, .step = 1, .input_hash = 11};
    cr_expect_eq(small_step(&m, number(1), &t, 1), RCD_OK);
    cr_expect(t.repeated);
    cr_expect_eq(small_value(&m, number(1)), 1);
    t = (struct rcd_session_turn){.step = 1, .input_hash = 12};
    cr_expect_eq(small_step(&m, number(1), &t, 1), RCD_ECONFLICT, "other inputs");
    t = (struct rcd_session_turn){.step = 3};
    cr_expect_eq(small_step(&m, number(1), &t, 1), RCD_ECONFLICT);
    cr_expect_eq(t.expected, 2);
    t = (struct rcd_session_turn){.step = 2};
    cr_expect_eq(small_step(&m, number(1), &t, 1), RCD_OK);
    cr_expect_eq(small_value(&m, number(1)), 2);
    cr_expect_eq(plain_step(&m, number(1), false, 1), RCD_OK, "without a number");
    t = (struct rcd_session_turn){.step = 3};
    cr_expect_eq(small_step(&m, number(1), &t, 1), RCD_ECONFLICT, "nothing is stored for it");
    cr_expect_eq(t.expected, 4);
    small_close(&m);
}

Test(sessions_steps, a_request_that_fails_leaves_all_as_it_was)
{
    small_open(&m, NULL);
    struct rcd_session_ref ref;
    uint32_t use = 0;
    struct rcd_session_id id = number(3);
    cr_assert_eq(rcd_session_enter(m.s, &id, RCD_SESSION_START, &ref, &use, NULL, &m.err), RCD_OK);
    cr_expect_eq(small_steps(&m, id), UINT64_MAX, "not there before its first request succeeded");
    struct rcd_session_turn t = {.start = true};
    cr_assert_eq(rcd_session_begin(m.s, ref, &t, &m.err), RCD_OK);
    struct rcd_tensor wrong = {.dtype = RCD_F32, .rank = 1, .dims = {4}, .n = 4};
    const struct rcd_tensor *const states[] = {&wrong};
    cr_expect_eq(rcd_session_commit(m.s, ref, &t, states, NULL, 0, NULL, &later, &m.err),
                 RCD_EINVAL);
    rcd_session_drop(m.s, &t);
    rcd_session_leave(m.s, use);
    cr_expect_eq(rcd_sessions_live(m.s), 0);
    cr_expect_eq(m.events[RCD_SESSION_CREATED] + m.events[RCD_SESSION_ENDED], 0);
    small_close(&m);
}

Test(sessions_steps, one_that_was_ended_meanwhile_is_gone)
{
    small_open(&m, NULL);
    struct rcd_session_ref ref;
    uint32_t use = 0;
    struct rcd_session_id id = number(3);
    struct rcd_session_turn t = {.start = false};
    cr_assert_eq(plain_step(&m, id, true, 1), RCD_OK);
    cr_assert_eq(rcd_session_enter(m.s, &id, 0, &ref, &use, NULL, &m.err), RCD_OK);
    cr_assert_eq(rcd_session_begin(m.s, ref, &t, &m.err), RCD_OK);
    cr_assert_eq(rcd_session_end(m.s, &id, &m.err), RCD_OK);
    float h = 0;
    memcpy(&h, t.state, sizeof h);
    cr_expect_eq(h, 1, "who reads a state holds it");
    cr_assert_eq(plain_step(&m, id, true, 10), RCD_OK, "another one of the same id");
    cr_expect_eq(rcd_session_commit(m.s, ref, &t, NULL, NULL, 0, NULL, &later, &m.err), RCD_EGONE);
    rcd_session_drop(m.s, &t);
    rcd_session_leave(m.s, use);
    cr_expect_eq(small_value(&m, id), 10);
    small_close(&m);
}

Test(sessions_steps, room)
{
    const struct rcd_sessions_opts tight = {.max_bytes = 400},
                                   lru = {.max_bytes = 400, .overflow = RCD_OVERFLOW_LRU};
    small_open(&m, &tight);
    cr_expect_eq(plain_step(&m, number(1), true, 1), RCD_OK);
    cr_expect_eq(plain_step(&m, number(2), true, 1), RCD_OK);
    cr_expect_eq(plain_step(&m, number(3), true, 1), RCD_OK);
    cr_expect_eq(plain_step(&m, number(4), true, 1), RCD_EUNAVAILABLE);
    cr_expect(m.retry_after_s >= 1 && m.retry_after_s <= 60);
    cr_expect(strstr(m.err.text, "400") != NULL, "%s", m.err.text);
    small_close(&m);
    small_open(&m, &lru);
    for (unsigned i = 1; i <= 3; i++)
        cr_expect_eq(plain_step(&m, number(i), true, 1), RCD_OK);
    cr_expect_eq(plain_step(&m, number(1), false, 1), RCD_OK);
    cr_expect_eq(plain_step(&m, number(4), true, 1), RCD_OK);
    cr_expect_eq(small_steps(&m, number(2)), UINT64_MAX, "the least recently used one went");
    cr_expect(strstr(m.err.text, "evicted") != NULL, "%s", m.err.text);
    cr_expect_eq(small_value(&m, number(1)), 2);
    cr_expect_eq(m.events[RCD_SESSION_EVICTED], 1);
    small_close(&m);
}

Test(sessions_steps, idle_ones_expire_busy_ones_do_not)
{
    const struct rcd_sessions_opts brief = {.idle_ms = 300};
    struct rcd_session_ref ref;
    uint32_t use = 0;
    struct rcd_session_id id = number(2);
    small_open(&m, &brief);
    cr_expect_eq(plain_step(&m, number(1), true, 1), RCD_OK);
    cr_expect_eq(plain_step(&m, id, true, 1), RCD_OK);
    cr_assert_eq(rcd_session_enter(m.s, &id, 0, &ref, &use, NULL, &m.err), RCD_OK);
    usleep(310000);
    rcd_sessions_tick(m.s, 5000);
    cr_expect_eq(small_steps(&m, number(1)), 1, "a request that came before its end may be for it");
    rcd_sessions_tick(m.s, 0);
    cr_expect_eq(small_steps(&m, number(1)), UINT64_MAX);
    cr_expect(strstr(m.err.text, "expired") != NULL);
    cr_expect_eq(small_steps(&m, id), 1);
    rcd_session_leave(m.s, use);
    rcd_sessions_tick(m.s, 0);
    cr_expect_eq(small_steps(&m, id), 1, "its clock begins now");
    small_close(&m);
}

Test(sessions_steps, forks_share_and_part)
{
    small_open(&m, NULL);
    struct rcd_session_id a = number(1), b = text("b");
    cr_assert_eq(plain_step(&m, a, true, 1), RCD_OK);
    cr_assert_eq(rcd_session_fork(m.s, &a, &b, NULL, &m.err), RCD_OK);
    cr_expect_eq(rcd_session_fork(m.s, &a, &b, NULL, &m.err), RCD_ECONFLICT);
    cr_assert_eq(plain_step(&m, b, false, 10), RCD_OK);
    cr_expect_eq(small_value(&m, a), 1);
    cr_expect_eq(small_value(&m, b), 11);
    cr_assert_eq(rcd_session_end(m.s, &a, &m.err), RCD_OK);
    cr_expect_eq(small_value(&m, b), 11);
    small_close(&m);
}

Test(sessions_steps, snapshots_and_the_ring)
{
    const struct rcd_sessions_opts ring = {.ring = 3};
    struct rcd_session_id a = number(1);
    struct rcd_snapshot_info list[4];
    size_t n = 0;
    small_open(&m, &ring);
    cr_assert_eq(plain_step(&m, a, true, 1), RCD_OK);
    for (int i = 2; i <= 6; i++) {
        cr_assert_eq(plain_step(&m, a, false, 1), RCD_OK);
        if (i == 3)
            cr_assert_eq(rcd_session_snapshot(m.s, &a, "three", 5, &at, &m.err), RCD_OK);
    }
    cr_expect_eq(rcd_session_rewind(m.s, &a, NULL, 0, 4, &m.err), RCD_ECONFLICT);
    cr_expect(strstr(m.err.text, "can go 3 back") != NULL, "%s", m.err.text);
    cr_assert_eq(rcd_session_rewind(m.s, &a, NULL, 0, 2, &m.err), RCD_OK);
    cr_expect_eq(small_value(&m, a), 4);
    cr_expect_eq(small_steps(&m, a), 4);
    cr_assert_eq(rcd_session_rewind(m.s, &a, NULL, 0, 1, &m.err), RCD_OK);
    cr_expect_eq(small_value(&m, a), 3);
    cr_assert_eq(plain_step(&m, a, false, 100), RCD_OK);
    cr_assert_eq(rcd_session_rewind(m.s, &a, "three", 5, 0, &m.err), RCD_OK);
    cr_expect_eq(small_value(&m, a), 3);
    cr_assert_eq(rcd_session_snapshot(m.s, &a, "three", 5, &at, &m.err), RCD_OK, "replaced");
    cr_assert_eq(rcd_session_snapshots(m.s, &a, list, 4, &n, &m.err), RCD_OK);
    cr_expect(n == 1 && strcmp(list[0].name, "three") == 0 && list[0].steps == 3);
    cr_assert_eq(rcd_session_forget(m.s, &a, "three", 5, &m.err), RCD_OK);
    cr_expect_eq(rcd_session_rewind(m.s, &a, "three", 5, 0, &m.err), RCD_ENOTFOUND);
    small_close(&m);
}

Test(sessions_steps, the_portable_form_is_checked)
{
    struct rcd_session_id a = number(1), b = text("copy");
    struct rcd_buf out;
    small_open(&m, NULL);
    rcd_buf_init(&out, 1 << 20);
    cr_assert_eq(plain_step(&m, a, true, 5), RCD_OK);
    cr_assert_eq(rcd_session_export(m.s, &a, &out, &m.err), RCD_OK);
    cr_assert_eq(rcd_session_import(m.s, &b, out.data, out.len, false, NULL, &m.err), RCD_OK);
    cr_expect_eq(small_value(&m, b), 5);
    cr_expect_eq(small_steps(&m, b), 1);
    for (size_t i = 0; i < out.len; i++) {
        out.data[i] ^= 4;
        cr_expect_eq(rcd_session_import(m.s, &b, out.data, out.len, false, NULL, &m.err),
                     RCD_EINVAL, "byte %zu", i);
        out.data[i] ^= 4;
        cr_expect_eq(rcd_session_import(m.s, &b, out.data, i, false, NULL, &m.err), RCD_EINVAL);
    }
    small_close(&m);
    const struct rcd_sessions_opts other = {.fingerprint = 99};
    small_open(&m, &other);
    cr_expect_eq(rcd_session_import(m.s, &b, out.data, out.len, false, NULL, &m.err),
                 RCD_ECONFLICT);
    cr_expect_eq(rcd_session_import(m.s, &b, out.data, out.len, true, NULL, &m.err), RCD_OK);
    small_close(&m);
    static const struct rcd_state_shape shape = {
        .name = "h", .dtype = RCD_F32, .rank = 3, .dims = {1, 2, 2}};
    const struct rcd_sessions_opts wide = {.states = &shape};
    small_open(&m, &wide);
    cr_expect_eq(rcd_session_import(m.s, &b, out.data, out.len, true, NULL, &m.err), RCD_ECONFLICT);
    small_close(&m);
    rcd_buf_done(&out);
}

Test(sessions_steps, ids_of_every_kind_by_the_thousand)
{
    char long_id[129];
    memset(long_id, 'x', 128);
    long_id[128] = '\0';
    small_open(&m, NULL);
    for (uint64_t i = 1; i <= 3000; i++)
        cr_assert_eq(plain_step(&m, number(i), true, (float)i), RCD_OK, "%s", m.err.text);
    cr_assert_eq(plain_step(&m, number(UINT64_MAX), true, 1), RCD_OK);
    cr_assert_eq(plain_step(&m, text(long_id), true, 2), RCD_OK);
    for (uint64_t i = 1; i <= 3000; i += 3) {
        struct rcd_session_id id = number(i);
        cr_assert_eq(rcd_session_end(m.s, &id, &m.err), RCD_OK);
    }
    for (uint64_t i = 1; i <= 3000; i++)
        cr_expect_eq(small_value(&m, number(i)), i % 3 == 1 ? -1.0f : (float)i);
    cr_expect_eq(small_value(&m, text(long_id)), 2);
    long_id[127] = 'y';
    cr_expect_eq(small_value(&m, text(long_id)), -1);
    cr_expect_eq(rcd_sessions_live(m.s), 2002);
    small_close(&m);
}
