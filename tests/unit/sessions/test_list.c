/* test_list.c - all sessions in pages, and the limits that a new version brings. */
#include "small_store.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(sessions_list, .timeout = 400);

enum { N = 3000 };

static struct small m;
static char folder[64], path[128];
static bool seen[N + 1];

static void begin(struct rcd_sessions_opts *opts)
{
    small_folder(folder, false);
    snprintf(path, sizeof path, "%s/s", folder);
    opts->path = path;
    small_open(&m, opts);
}

static void end(void)
{
    small_end(&m, folder);
}

/* Ids are numbers and texts by turns. */
static struct rcd_session_id id_of(size_t i, char room[24])
{
    snprintf(room, 24, "s%zu", i);
    return i % 2 == 0 ? text(room) : number(i);
}

static size_t see(const struct rcd_session_info *info)
{
    size_t i = info->id.text == NULL ? (size_t)info->id.number : 0;
    if (info->id.text != NULL) {
        char room[RCD_SESSION_ID_MAX + 1] = "";
        memcpy(room, info->id.text, info->id.len);
        i = strtoul(room + 1, NULL, 10);
    }
    cr_assert(i >= 1 && i <= N && !seen[i], "session %zu is listed twice", i);
    cr_assert_eq(info->steps, 1);
    seen[i] = true;
    return info->spilled;
}

Test(sessions_list, pages_in_memory_and_on_disk)
{
    struct rcd_sessions_opts opts = {.overflow = RCD_OVERFLOW_SPILL, .max_bytes = 20000};
    struct rcd_session_cursor cursor = {.at = 0};
    struct rcd_session_info info;
    char room[24];
    size_t n = 0, spilled = 0, pages = 1;
    bool over = false;
    begin(&opts);
    for (size_t i = 1; i <= N; i++)
        cr_assert_eq(plain_step(&m, id_of(i, room), true, 1), RCD_OK, "%s", m.err.text);
    for (size_t most = 70; !over;) {
        struct rcd_session_cursor copy = cursor; /* as one that went to a client and back */
        if (rcd_session_next(m.s, &copy, &most, &info, &over)) {
            spilled += see(&info);
            n++;
        }
        cursor = copy;
        if (most == 0) {
            most = 70;
            pages++;
        }
    }
    cr_expect_eq(n, N);
    cr_expect(spilled > N / 2 && spilled < N, "%zu", spilled);
    cr_expect(pages > N / 70, "%zu", pages);
    end();
}

static struct rcd_sessions_opts limits(uint64_t max_bytes, unsigned ring)
{
    return (struct rcd_sessions_opts){.idle_ms = 1000000, .max_bytes = max_bytes, .ring = ring};
}

Test(sessions_list, a_new_version_brings_its_limits)
{
    struct rcd_sessions_opts small = limits(1200, 0), more = limits(1 << 20, 3);
    small_open(&m, &small);
    size_t n = 0;
    while (plain_step(&m, number(n + 1), true, 1) == RCD_OK)
        n++;
    cr_assert(n > 1 && n < 20, "%zu", n);
    rcd_sessions_limit(m.s, &more);
    for (size_t i = 0; i < 4 * n; i++)
        cr_assert_eq(plain_step(&m, number(n + 1 + i), true, 1), RCD_OK, "%s", m.err.text);
    for (int i = 0; i < 5; i++)
        cr_assert_eq(plain_step(&m, number(1), false, 1), RCD_OK);
    cr_expect_eq(rcd_session_rewind(m.s, &(struct rcd_session_id){.number = 1}, NULL, 0, 3, &m.err),
                 RCD_OK);
    cr_expect_eq(small_value(&m, number(1)), 3);
    rcd_sessions_limit(m.s, &small);
    cr_expect_eq(plain_step(&m, number(1000), true, 1), RCD_EUNAVAILABLE);
    cr_expect_eq(plain_step(&m, number(1), false, 1), RCD_OK);
    cr_expect_eq(rcd_sessions_live(m.s), 5 * n, "those that are there stay");
    cr_expect_eq(m.said[0], '\0');
    small.durable = RCD_DURABLE_COMMIT;
    rcd_sessions_limit(m.s, &small);
    cr_expect(strstr(m.said, "sessions.durable") != NULL, "%s", m.said);
    small_close(&m); /* and what was charged is given back */
}

Test(sessions_list, where_one_is_and_what_a_fetch_leaves_as_it_is)
{
    struct rcd_sessions_opts opts = {.overflow = RCD_OVERFLOW_SPILL, .max_bytes = 20000};
    char room[24];
    size_t here = 0, away = 0;
    begin(&opts);
    cr_expect_eq(rcd_session_where(m.s, &(struct rcd_session_id){.number = 9}), RCD_SESSION_NOWHERE,
                 "nothing is on disk yet");
    for (size_t i = 1; i <= 600; i++)
        cr_assert_eq(plain_step(&m, id_of(i, room), true, 1), RCD_OK, "%s", m.err.text);
    for (size_t i = 1; i <= 600; i++) {
        const struct rcd_session_id id = id_of(i, room);
        const enum rcd_session_where where = rcd_session_where(m.s, &id);
        here += where == RCD_SESSION_IN_MEMORY;
        away += where == RCD_SESSION_ON_DISK;
        rcd_session_fetch(m.s, &id);
        cr_assert_eq(rcd_session_where(m.s, &id), where, "session %zu moved", i);
    }
    cr_expect_eq(here + away, 600);
    cr_expect(here > 20 && away > 300, "%zu here, %zu away", here, away);
    const struct rcd_session_id first = id_of(1, room);
    cr_expect_eq(small_steps(&m, first), 1);
    cr_expect_eq(rcd_session_where(m.s, &first), RCD_SESSION_IN_MEMORY, "it was asked for");
    end();
}
