/* test_disk.c - durability `commit` on disk: what a successor finds in the file, whole and damaged. */
#include "small_store.h"

#include "sessions/sessions_int.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

TestSuite(sessions_disk, .timeout = 400);

enum { N = 120 };

static struct small m;
static char folder[64], path[128], file[160];
static struct rcd_sessions_opts opts;
static char good[8 << 20];
static size_t size;

static void begin(void)
{
    small_folder(folder, false);
    snprintf(path, sizeof path, "%s/s", folder);
    snprintf(file, sizeof file, "%s.lmdb", path);
    opts = (struct rcd_sessions_opts){
        .path = path, .durable = RCD_DURABLE_COMMIT, .snapshot_interval_ms = 60000};
    small_open(&m, &opts);
}

static void again(void)
{
    rcd_sessions_free(m.s);
    small_open(&m, &opts);
}

static void end(void)
{
    small_end(&m, folder);
}

static struct rcd_session_id id_of(uint64_t i, char room[32])
{
    snprintf(room, 32, "session %d of some", (int)i);
    return i % 2 == 0 ? text(room) : number(i);
}

static void put(uint64_t i, float value, bool make)
{
    char room[32];
    float h[4] = {value, value, value, value};
    struct rcd_tensor t = {.dtype = RCD_F32, .rank = 3, .dims = {1, 1, 4}, .n = 4, .data = h};
    const struct rcd_tensor *const states[] = {&t};
    struct rcd_session_id id = id_of(i, room);
    rcd_status st = make ? rcd_session_create(m.s, &id, states, NULL, &m.err)
                         : rcd_session_set(m.s, &id, states, &m.err);
    cr_assert_eq(st, RCD_OK, "%s", m.err.text);
}

static float value(uint64_t i)
{
    char room[32];
    return small_value(&m, id_of(i, room));
}

static void read_good(void)
{
    int fd = open(file, O_RDONLY);
    ssize_t n = read(fd, good, sizeof good);
    close(fd);
    cr_assert(n > 8192 && n < (ssize_t)sizeof good);
    size = (size_t)n;
}

static void write_file(const char *bytes, size_t n)
{
    int fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    cr_assert_eq(write(fd, bytes, n), (ssize_t)n);
    close(fd);
}

/* Whatever has happened to the file, it is sound for us as long as nobody has damaged it. */
Test(sessions_disk, come_and_go)
{
    uint64_t seed = 3;
    float now[N + 1] = {0};
    begin();
    for (int round = 0; round < 12; round++) {
        for (int k = 0; k < 60; k++) {
            char room[32];
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint64_t i = (seed >> 33) % N + 1;
            struct rcd_session_id id = id_of(i, room);
            bool ends = now[i] != 0 && (seed >> 20) % 3 == 0;
            if (ends)
                cr_assert_eq(rcd_session_end(m.s, &id, &m.err), RCD_OK);
            else
                put(i, (float)(k + 1), now[i] == 0);
            now[i] = ends ? 0 : (float)(k + 1);
        }
        again();
        cr_assert(strstr(m.said, "damaged") == NULL, "%s", m.said);
        for (uint64_t i = 1; i <= N; i++)
            cr_assert_eq(value(i), now[i] == 0 ? -1 : now[i]);
    }
    end();
}

static void make_all(void)
{
    for (uint64_t i = 1; i <= N; i++)
        put(i, (float)i, true);
    rcd_sessions_free(m.s);
    read_good();
}

Test(sessions_disk, one_damaged_session_costs_one)
{
    const float state[] = {77, 77, 77, 77};
    begin();
    make_all();
    size_t hits = 0;
    for (size_t at = 0; at + sizeof state <= size; at++) { /* in old pages, too */
        if (memcmp(good + at, state, sizeof state) == 0) {
            good[at + 5] ^= 16;
            hits++;
        }
    }
    cr_assert(hits > 0);
    write_file(good, size);
    small_open(&m, &opts);
    cr_expect(strstr(m.said, "kept aside") != NULL && strstr(m.said, "119 of") != NULL, "%s",
              m.said);
    for (uint64_t i = 1; i <= N; i++)
        cr_expect_eq(value(i), i == 77 ? -1 : (float)i, "%d", (int)i);
    put(77, 1, true);
    again();
    cr_expect_eq(m.said[0], '\0', "%s", m.said);
    cr_expect_eq(value(77), 1);
    cr_expect_eq(value(78), 78);
    end();
}

/* No crash, nothing wrong served, nothing lost in silence. */
Test(sessions_disk, damage_anywhere)
{
    static char bad[sizeof good];
    uint64_t seed = 1;
    size_t all = 0, some = 0;
    begin();
    make_all();
    for (int round = 0; round < 250; round++) {
        size_t len = size;
        memcpy(bad, good, size);
        for (int k = 0; k < (round % 5 == 0 ? 20 : 1); k++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            size_t place = (size_t)(seed >> 20) % size;
            if (round % 2 == 0) /* heads of pages and their lists */
                place = (place & ~(size_t)4095) + (size_t)(seed >> 12) % 160;
            bad[place] = (char)(bad[place] ^ (1 << ((seed >> 8) & 7)));
        }
        if (round % 25 == 24)
            len = (size_t)(seed >> 20) % size;
        write_file(bad, len);
        small_open(&m, &opts);
        size_t n = 0;
        for (uint64_t i = 1; i <= N; i++) {
            float v = value(i);
            cr_assert(v == -1 || v == (float)i, "round %d: session %d has %f", round, (int)i,
                      (double)v);
            n += v != -1;
        }
        cr_assert(n == N || m.said[0] != '\0', "round %d: %zu left, in silence", round, n);
        all += n == N;
        some += n > 0 && n < N;
        put(N + 1, 5, true);
        rcd_sessions_free(m.s);
    }
    cr_expect(all > 20 && some > 5, "%zu %zu", all, some);
    (void)unlink(file);
    small_open(&m, &opts);
    end();
}

/* ---- every place ------------------------------------------------------------------------------- */

static bool any_session(void *ctx, const char *key, size_t key_len, const char *value, size_t len)
{
    (void)ctx;
    struct rcd_session_id id = {.text = key + 1, .len = key_len - 1};
    if (key_len < 2)
        return false;
    if (key[0] == 'n') {
        id = (struct rcd_session_id){.text = NULL};
        memcpy(&id.number, key + 1,
               key_len - 1 < sizeof id.number ? key_len - 1 : sizeof id.number);
    }
    return rcd__image_good(&id, value, len);
}

static bool all_there(uint64_t n)
{
    small_open(&m, &opts);
    bool there = true;
    for (uint64_t i = 1; there && i <= n; i++)
        there = value(i) == (float)i;
    there = there && rcd_sessions_live(m.s) == n;
    put(N + 1, 5, true);
    there = there && value(N + 1) == 5;
    rcd_sessions_free(m.s);
    return there;
}

/* One bit anywhere: LMDB's file is found to be damaged, or nothing has changed for anybody. */
Test(sessions_disk, one_bit_in_every_place)
{
    struct rcd__tally tally;
    size_t sound = 0, damaged = 0;
    begin();
    for (uint64_t i = 1; i <= N; i++)
        put(i, (float)i + 1, true);
    again();
    for (uint64_t i = 1; i <= N; i++)
        put(i, (float)i, false);
    rcd_sessions_free(m.s);
    read_good();
    cr_assert(rcd__salvage(file, any_session, NULL, &tally));
    cr_expect_eq(tally.count, N);
    int fd = open(file, O_RDWR);
    for (size_t at = 0; at < size; at += at < 8192 + 200 ? 1 : 3) {
        char bad = (char)(good[at] ^ 1 << at / 3 % 8);
        cr_assert_eq(pwrite(fd, &bad, 1, (off_t)at), 1);
        if (!rcd__salvage(file, any_session, NULL, &tally)) {
            damaged++;
        } else if (sound++ % 101 == 0) {
            bool there = all_there(N);
            cr_assert(there && m.said[0] == '\0', "byte %zu bit %d: %s", at, (int)(at / 3 % 8),
                      m.said);
            write_file(good, size);
        }
        cr_assert_eq(pwrite(fd, good + at, 1, (off_t)at), 1);
    }
    close(fd);
    cr_expect(damaged > size / 20 && sound > size / 20, "%zu %zu", damaged, sound);
    small_open(&m, &opts);
    end();
}

/* Pages 0 and 1 tell of two transactions; the older one must not pose as the newer. */
Test(sessions_disk, no_way_back)
{
    enum { PAGE = 4096, TXN = 16 + 128 };
    struct rcd__tally tally;
    uint64_t txn[2];
    begin();
    for (uint64_t i = 1; i <= 40; i++)
        put(i, (float)i, true);
    rcd_sessions_free(m.s);
    read_good();
    for (size_t i = 0; i < 2; i++)
        memcpy(&txn[i], good + i * PAGE + TXN, sizeof txn[i]);
    size_t newer = txn[1] > txn[0];
    cr_assert_eq(txn[newer], txn[1 - newer] + 1);
    for (int other = 0; other < 2; other++) {
        for (uint64_t to = 0; to < 200; to++) {
            size_t which = other ? 1 - newer : newer;
            write_file(good, size);
            int fd = open(file, O_RDWR);
            cr_assert_eq(pwrite(fd, &to, sizeof to, (off_t)(which * PAGE + TXN)), 8);
            close(fd);
            cr_assert_eq(rcd__salvage(file, any_session, NULL, &tally), to == txn[which], "%d",
                         (int)to);
        }
    }
    write_file(good, size);
    small_open(&m, &opts);
    end();
}
