/* test_recover.c - durability `process`: what a successor finds in the file, whole, torn and damaged. */
#include "small_store.h"

#include "sessions/sessions_int.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(sessions_recover, .timeout = 400);

static struct small m;
static uint64_t at; /* of a snapshot */
static char folder[64], path[128];
static struct rcd_sessions_opts opts;

static void begin(void)
{
    small_folder(folder, true);
    snprintf(path, sizeof path, "%s/s", folder);
    opts = (struct rcd_sessions_opts){
        .path = path, .durable = RCD_DURABLE_PROCESS, .ring = 2, .fingerprint = 5};
    small_open(&m, &opts);
}

static void again(void)
{
    rcd_sessions_free(
        m.s); /* nothing is written at the end: the file is as a killed process leaves it */
    small_open(&m, &opts);
}

static size_t files(void)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += e->d_name[0] != '.';
    closedir(d);
    return n;
}

/* What was kept aside, so that the disk does not fill. */
static void unlink_copies(void)
{
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;) {
        if (strstr(e->d_name, "damaged") != NULL || strstr(e->d_name, "aside") != NULL)
            (void)unlinkat(dirfd(d), e->d_name, 0);
    }
    closedir(d);
}

static void end(void)
{
    small_end(&m, folder);
}

Test(sessions_recover, everything_is_there_again)
{
    struct rcd_session_id a = number(1), b = text("b"), kept = text("a name of more than 24 bytes");
    begin();
    cr_assert_eq(plain_step(&m, a, true, 1), RCD_OK);
    cr_assert_eq(plain_step(&m, a, false, 1), RCD_OK);
    cr_assert_eq(rcd_session_snapshot(m.s, &a, "two", 3, &at, &m.err), RCD_OK);
    cr_assert_eq(rcd_session_fork(m.s, &a, &b, NULL, &m.err), RCD_OK);
    struct rcd_session_turn t = {.step = 3, .input_hash = 8};
    cr_assert_eq(small_step(&m, a, &t, 1), RCD_OK);
    cr_assert_eq(rcd_session_create(m.s, &kept, NULL, NULL, &m.err), RCD_OK);
    for (int round = 0; round < 3; round++) {
        again();
        cr_expect_eq(rcd_sessions_live(m.s), 3, "%s", m.said);
        cr_expect_eq(small_value(&m, a), 3);
        cr_expect_eq(small_value(&m, b), 2);
        cr_expect_eq(small_value(&m, kept), 0);
        t = (struct rcd_session_turn){.step = 3, .input_hash = 8};
        cr_expect_eq(small_step(&m, a, &t, 1), RCD_OK);
        cr_expect(t.repeated, "the answer survives, too");
    }
    cr_expect_eq(rcd_session_rewind(m.s, &a, NULL, 0, 2, &m.err), RCD_OK);
    cr_expect_eq(small_value(&m, a), 1);
    cr_expect_eq(rcd_session_rewind(m.s, &a, "two", 3, 0, &m.err), RCD_OK);
    cr_expect_eq(small_value(&m, a), 2);
    cr_expect_eq(plain_step(&m, b, false, 1), RCD_OK);
    cr_expect_eq(small_value(&m, b), 3);
    cr_expect_eq(files(), 1);
    end();
}

Test(sessions_recover, many_come_and_go)
{
    begin();
    for (int round = 0; round < 4; round++) {
        for (uint64_t i = 1; i <= 1500; i++)
            cr_assert_eq(plain_step(&m, number(i), i % 4 == 0 || round == 0, (float)i), RCD_OK);
        again();
        for (uint64_t i = 1; i <= 1500; i++)
            cr_assert_eq(small_value(&m, number(i)),
                         (float)i * (i % 4 == 0 ? 1 : (float)(round + 1)));
    }
    end();
}

/* So many that two threads take them over; with forks, ends and, at last, a row that is damaged. */
Test(sessions_recover, a_crowd)
{
    enum { SESSIONS = 20000 };
    size_t forks = 0, ends = 0;
    begin();
    opts.max_bytes = 16 << 20;
    again();
    for (uint64_t i = 1; i <= SESSIONS; i++)
        cr_assert_eq(plain_step(&m, number(i), true, (float)i), RCD_OK, "%s", m.err.text);
    for (uint64_t i = 1; i <= SESSIONS; i += 7, forks++) {
        const struct rcd_session_id from = number(i), to = number(SESSIONS + i);
        cr_assert_eq(rcd_session_fork(m.s, &from, &to, NULL, &m.err), RCD_OK, "%s", m.err.text);
    }
    for (uint64_t i = 3; i <= SESSIONS; i += 5, ends++) {
        const struct rcd_session_id id = number(i);
        cr_assert_eq(rcd_session_end(m.s, &id, &m.err), RCD_OK, "%s", m.err.text);
    }
    again();
    cr_assert_eq(rcd_sessions_live(m.s), SESSIONS + forks - ends, "%s", m.said);
    for (uint64_t i = 1; i <= SESSIONS; i++) {
        cr_assert_eq(small_value(&m, number(i)), i % 5 == 3 ? -1 : (float)i, "session %llu",
                     (unsigned long long)i);
        if (i % 7 == 1)
            cr_assert_eq(small_value(&m, number(SESSIONS + i)), (float)i);
    }
    const struct rcd_session_id shared = number(22); /* with its fork */
    const uint32_t row = rcd__record_at(m.s, rcd__table_find(m.s, &shared))->row;
    cr_assert_eq(rcd__row_at(m.s, row)->refs, 2);
    rcd__row_at(m.s, row)->state[3] ^= 4;
    again();
    cr_expect_eq(rcd_sessions_live(m.s), SESSIONS + forks - ends - 2, "%s", m.said);
    cr_expect(strstr(m.said, "2 of them damaged") != NULL, "%s", m.said);
    cr_expect_eq(small_value(&m, shared), -1);
    cr_expect_eq(small_value(&m, number(9)), 9);
    end();
}

Test(sessions_recover, another_model_file_or_shape_is_kept_aside)
{
    begin();
    cr_assert_eq(plain_step(&m, number(1), true, 1), RCD_OK);
    opts.fingerprint = 6;
    again();
    cr_expect_eq(rcd_sessions_live(m.s), 0);
    cr_expect(strstr(m.said, "aside") != NULL);
    cr_expect_eq(files(), 2);
    cr_assert_eq(plain_step(&m, number(1), true, 1), RCD_OK);
    opts.fingerprint = 7;
    opts.carry = true;
    again();
    cr_expect_eq(small_value(&m, number(1)), 1, "carried over");
    opts.carry = false;
    again();
    cr_expect_eq(small_value(&m, number(1)), 1, "and of this file from now on");
    end();
}

/* From milliseconds to months ago, some at the same time, in no order. */
Test(sessions_recover, idle_ones_stand_by_age)
{
    enum { SESSIONS = 3000 };
    begin();
    for (uint64_t i = 1; i <= SESSIONS; i++) {
        struct rcd_session_id id = number(i);
        cr_assert_eq(rcd_session_create(m.s, &id, NULL, NULL, &m.err), RCD_OK);
        uint64_t age = i * 0x9e3779b97f4a7c15u >> (31 + i % 33);
        rcd__touch(rcd__record_at(m.s, rcd__table_find(m.s, &id)), rcd__clock_ms() - age / 4 * 4);
    }
    again();
    size_t n = 0;
    uint64_t last = 0;
    for (uint32_t i = m.s->lru_head; i != RCD__NONE; i = rcd__record_at(m.s, i)->next, n++) {
        uint64_t ms = rcd__last_of(rcd__record_at(m.s, i));
        cr_assert_geq(ms, last, "place %zu", n);
        last = ms;
    }
    cr_expect_eq(n, SESSIONS);
    end();
}

/* Whatever is done to the file: no crash, nothing wrong served, and the damaged file is kept. */
Test(sessions_recover, damage_anywhere)
{
    uint64_t seed = 1;
    size_t whole = 0;
    begin();
    for (uint64_t i = 1; i <= 40; i++) {
        struct rcd_session_turn t = {.start = true, .step = 1};
        cr_assert_eq(small_step(&m, number(i), &t, (float)i), RCD_OK);
        cr_assert_eq(plain_step(&m, number(i), false, (float)i), RCD_OK);
    }
    rcd_sessions_free(m.s);
    static char good[16 << 20];
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, good, sizeof good);
    close(fd);
    cr_assert(size > 4096 && size < (ssize_t)sizeof good);
    for (int round = 0; round < 300; round++) {
        int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        size_t place = (size_t)(seed >> 20) % (size_t)size, len = (size_t)size;
        if (round % 3 == 0) /* near the beginning of a segment, where there is something */
            place = (place & ~(size_t)0x3ffff) + (size_t)(seed >> 10) % 4096;
        if (round % 10 == 9)
            len = place;
        cr_assert_eq(write(to, good, len), (ssize_t)len);
        char bad = (char)(seed >> 33);
        if (len == (size_t)size && place < len)
            cr_assert_eq(pwrite(to, &bad, 1, (off_t)place), 1);
        close(to);
        small_open(&m, &opts);
        size_t n = 0;
        for (uint64_t i = 1; i <= 40; i++) {
            float v = small_value(&m, number(i));
            cr_assert(v == -1 || v == 2 * (float)i, "round %d: session %d has %f", round, (int)i,
                      (double)v);
            n += v != -1;
        }
        cr_assert(n == 40 || strstr(m.said, "aside") != NULL, "round %d: %zu left, silently", round,
                  n);
        whole += n == 40;
        cr_assert_eq(plain_step(&m, number(99), true, 1), RCD_OK, "it serves on");
        rcd_sessions_free(m.s);
    }
    cr_expect(whole > 100, "most of a file is empty");
    small_open(&m, &opts);
    end();
}

/* Where bytes mean something: not in places of the free list, of which most of a file is. */
static size_t places(const char *bytes, size_t n, size_t *ret)
{
    size_t found = 0;
    for (size_t place = 0; place + 64 <= n; place += 8) {
        size_t used = 0;
        for (size_t k = 0; k < 64; k++)
            used += bytes[place / 64 * 64 + k] != 0;
        for (size_t k = 0; used >= 14 && k < 8; k++)
            ret[found++] = place + k;
    }
    return found;
}

/* One bit anywhere, a page of zeros, a page in the place of another: nothing is lost in silence. */
Test(sessions_recover, one_bit_in_every_place)
{
    static char good[16 << 20], page[4096];
    static size_t where[1 << 20];
    size_t lost = 0;
    begin();
    for (uint64_t i = 1; i <= 24; i++) {
        struct rcd_session_turn t = {.start = true, .step = 1};
        cr_assert_eq(small_step(&m, number(i), &t, (float)i), RCD_OK);
        cr_assert_eq(plain_step(&m, number(i), false, (float)i), RCD_OK);
    }
    rcd_sessions_free(m.s);
    int fd = open(path, O_RDONLY);
    ssize_t size = read(fd, good, sizeof good);
    close(fd);
    size_t n = places(good, (size_t)size, where), pages = (size_t)size / 4096;
    cr_assert(n > 24 * 64 && n < RCD_COUNT(where));
    for (size_t k = 0; k < n / 5 + 2 * pages; k++) {
        size_t place = where[k * 5 % n], len = 1;
        char bad = (char)(good[place] ^ 1 << (place + k) % 8);
        const char *put = &bad;
        if (k >= n / 5) {
            place = (k - n / 5) / 2 * 4096;
            len = 4096;
            put = k % 2 == 0 ? page : good + (place + 4096) % (size_t)size / 4096 * 4096;
        }
        int to = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
        cr_assert_eq(write(to, good, (size_t)size), size);
        cr_assert_eq(pwrite(to, put, len, (off_t)place), (ssize_t)len);
        close(to);
        opts.idle_ms = 1000000;
        small_open(&m, &opts);
        rcd_sessions_tick(m.s, 0);
        size_t left = 0;
        for (uint64_t i = 1; i <= 24; i++) {
            float v = small_value(&m, number(i));
            cr_assert(v == -1 || v == 2 * (float)i, "byte %zu: session %d has %f", place, (int)i,
                      (double)v);
            left += v != -1 && small_steps(&m, number(i)) == 2;
        }
        cr_assert(left == 24 || strstr(m.said, "aside") != NULL, "byte %zu of %zd: %zu left", place,
                  size, left);
        lost += left < 24;
        rcd_sessions_free(m.s);
        unlink_copies();
    }
    cr_expect(lost > 100, "%zu", lost);
    small_open(&m, &opts);
    end();
}

/* A session that lives is never taken for one that was about to be started, or for a free record. */
Test(sessions_recover, states_are_told_apart)
{
    struct rcd__record r = {.id = "a session", .id_kind = RCD__ID_TEXT, .id_len = 9};
    r.sum = rcd__record_sum(&r);
    for (uint32_t row = 0; row < 500000; row++) {
        uint16_t live = rcd__word_tag(&r, row, RCD__LIVE);
        cr_assert_neq(live, rcd__word_tag(&r, row, RCD__PENDING), "row %u", row);
        rcd__record_point(&r, row, RCD__LIVE);
        cr_assert(r.tag == live && r.state == RCD__LIVE);
        cr_assert_neq(rcd__record_word(&r), RCD__FREE_WORD);
    }
    rcd__record_clear(&r);
    cr_assert_eq(rcd__record_word(&r), RCD__FREE_WORD);
}
