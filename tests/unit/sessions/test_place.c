/* test_place.c - the file of `process` in a runtime directory and its copy in the state directory: whatever is
 * left by whom, the newest state goes on and no older one comes back. */
#include "small_store.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(sessions_place, .timeout = 400);

enum { FILE_MAX = 4 << 20 };

static struct small m;
static char folder[64], copy[128], live[128];
static struct rcd_sessions_opts opts;

struct image {
    ssize_t size; /* -1: not there */
    char bytes[FILE_MAX];
};
static struct image in_memory, on_disk;

static void begin(void)
{
    small_folder(folder, false);
    snprintf(copy, sizeof copy, "%s/copy", folder);
    snprintf(live, sizeof live, "%s/live", folder);
    opts = (struct rcd_sessions_opts){
        .path = copy, .runtime_path = live, .durable = RCD_DURABLE_PROCESS, .fingerprint = 5};
    small_open(&m, &opts);
}

static void keep(struct image *i, const char *path)
{
    int fd = open(path, O_RDONLY);
    i->size = fd < 0 ? -1 : read(fd, i->bytes, sizeof i->bytes);
    if (fd >= 0)
        close(fd);
    cr_assert(i->size < FILE_MAX);
}

static void put_back(const struct image *i, const char *path)
{
    (void)unlink(path);
    if (i->size < 0)
        return;
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    cr_assert_eq(write(fd, i->bytes, (size_t)i->size), i->size);
    close(fd);
}

static bool there(const char *path)
{
    return access(path, F_OK) == 0;
}

static size_t files_like(const char *part)
{
    size_t n = 0;
    DIR *d = opendir(folder);
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        n += strstr(e->d_name, part) != NULL;
    closedir(d);
    return n;
}

/* As after kill -9: the files as they are now. */
static void killed(void)
{
    keep(&in_memory, live);
    keep(&on_disk, copy);
    rcd_sessions_free(m.s);
    put_back(&in_memory, live);
    put_back(&on_disk, copy);
}

static void steps(int n)
{
    for (int i = 0; i < n; i++)
        cr_assert_eq(plain_step(&m, number(1), small_value(&m, number(1)) == -1, 1), RCD_OK);
}

Test(sessions_place, a_killed_one_goes_on_in_memory)
{
    begin();
    steps(3);
    cr_expect(there(live) && !there(copy));
    killed();
    small_open(&m, &opts);
    cr_expect_eq(small_value(&m, number(1)), 3);
    cr_expect(!there(copy));
    small_end(&m, folder);
}

Test(sessions_place, an_orderly_end_leaves_a_copy)
{
    begin();
    steps(3);
    rcd_sessions_free(m.s);
    cr_expect(there(live) && there(copy));
    cr_assert_eq(unlink(live), 0); /* as a stop of the unit does */
    small_open(&m, &opts);
    cr_expect_eq(small_value(&m, number(1)), 3);
    cr_expect(there(live) && !there(copy), "it was moved in");
    steps(1);
    rcd_sessions_free(m.s);
    small_open(&m, &opts); /* and a restart, which keeps both */
    cr_expect_eq(small_value(&m, number(1)), 4);
    cr_expect(there(live) && !there(copy), "the copy goes before anything is served");
    cr_expect_null(strstr(m.said, "aside"), "%s", m.said);
    small_end(&m, folder);
}

Test(sessions_place, an_old_copy_never_comes_back)
{
    begin();
    steps(3);
    rcd_sessions_free(m.s);
    keep(&on_disk, copy);
    small_open(&m, &opts);
    steps(2);
    killed();
    cr_expect(!there(copy));
    small_open(&m, &opts);
    cr_expect_eq(small_value(&m, number(1)), 5);
    cr_assert_eq(rcd_session_end(m.s, &(struct rcd_session_id){.number = 1}, &m.err), RCD_OK);
    rcd_sessions_free(m.s);
    cr_expect(!there(live) && !there(copy), "nothing is kept of nothing");
    small_open(&m, &opts);
    small_end(&m, folder);
}

/* Between the copy's removal, the rename into place and the new stamp. */
Test(sessions_place, a_death_while_it_is_moved_in)
{
    static struct image half, first;
    begin();
    steps(3);
    rcd_sessions_free(m.s);
    keep(&first, copy);
    cr_assert_eq(unlink(live), 0);
    for (int where = 0; where < 3; where++) {
        char left[160];
        snprintf(left, sizeof left, "%s.new", where < 2 ? live : copy);
        half = first;
        half.size = where == 1 ? first.size : first.size / 2;
        put_back(&half, where == 1 ? live : left); /* 1: it is there, and the copy is, too */
        put_back(&first, copy);
        small_open(&m, &opts);
        cr_expect_eq(small_value(&m, number(1)), 3, "%d", where);
        cr_expect(there(live) && !there(copy), "%d", where);
        cr_expect_null(strstr(m.said, "aside"), "%s", m.said);
        steps(1);
        killed();
        small_open(&m, &opts);
        cr_expect_eq(small_value(&m, number(1)), 4, "%d", where);
        cr_expect_eq(files_like(".new"), 0);
        rcd_sessions_free(m.s);
        cr_assert_eq(unlink(live), 0);
    }
    put_back(&first, copy);
    small_open(&m, &opts);
    small_end(&m, folder);
}

/* A server without this runtime directory went on with the copy: then the file in memory is the old one. */
Test(sessions_place, the_other_one_went_on)
{
    struct rcd_sessions_opts plain;
    begin();
    plain = opts;
    plain.runtime_path = NULL;
    steps(3);
    rcd_sessions_free(m.s);
    small_open(&m, &plain);
    cr_expect_eq(small_value(&m, number(1)), 3);
    steps(4);
    rcd_sessions_free(m.s);
    small_open(&m, &opts);
    cr_expect_eq(small_value(&m, number(1)), 7);
    cr_expect_not_null(strstr(m.said, "older than what was served"), "%s", m.said);
    cr_expect(there(live) && !there(copy) && files_like(".aside-") == 1);
    killed();
    small_open(&m, &plain); /* sees nothing, and starts anew */
    cr_expect_eq(small_value(&m, number(1)), -1);
    steps(1);
    killed();
    small_open(&m, &opts);
    cr_expect_eq(small_value(&m, number(1)), 1, "what was served last");
    cr_expect_eq(files_like(".aside-"), 2, "and the rest is kept");
    small_end(&m, folder);
}

Test(sessions_place, damaged_ones)
{
    static struct image bad;
    begin();
    steps(3);
    rcd_sessions_free(m.s);
    keep(&on_disk, copy);
    bad = on_disk;
    bad.bytes[9] ^= 4;
    for (int round = 0; round < 4; round++) {
        bool copy_bad = round != 1, live_bad = round >= 1 && round < 3;
        put_back(copy_bad ? &bad : &on_disk, copy);
        put_back(live_bad ? &bad : &on_disk, live);
        if (round == 3)
            cr_assert_eq(unlink(live), 0);
        small_open(&m, &opts);
        cr_expect_eq(small_value(&m, number(1)), round < 2 ? 3 : -1, "%d: %s", round, m.said);
        cr_expect_not_null(strstr(m.said, "damaged"), "%d: %s", round, m.said);
        cr_expect_not_null(strstr(m.said, "damaged"), "%d: %s", round, m.said);
        cr_expect(there(live) && !there(copy), "%d", round);
        rcd_sessions_free(m.s);
    }
    cr_expect_eq(files_like("damaged-") + files_like("aside-"), 5, "%zu %zu",
                 files_like("damaged-"), files_like("aside-"));
    put_back(&on_disk, copy);
    small_open(&m, &opts);
    small_end(&m, folder);
}

Test(sessions_place, without_a_state_directory)
{
    begin();
    small_end(&m, folder);
    cr_assert_eq(mkdir(folder, 0700), 0);
    opts.path = NULL;
    small_open(&m, &opts);
    steps(3);
    rcd_sessions_free(m.s);
    cr_expect(there(live));
    small_open(&m, &opts);
    cr_expect_eq(small_value(&m, number(1)), 3);
    cr_expect_eq(rcd_sessions_durable(m.s), RCD_DURABLE_PROCESS);
    small_end(&m, folder);
}

/* ---- another `durable` ----------------------------------------------------------------------------- */

/* A death when all was taken over, and before what it came from was removed. */
Test(sessions_place, a_conversion_that_did_not_end)
{
    static struct image file, lmdb;
    char disk[160];
    begin();
    snprintf(disk, sizeof disk, "%s.lmdb", copy);
    steps(3);
    cr_assert_eq(rcd_session_create(m.s, &(struct rcd_session_id){.number = 2}, NULL, NULL, &m.err),
                 RCD_OK);
    killed();
    keep(&file, live);
    opts.durable = RCD_DURABLE_COMMIT;
    opts.snapshot_interval_ms = 60000;
    for (int round = 0; round < 2; round++) {
        put_back(&file, live);
        small_open(&m, &opts);
        cr_expect_eq(small_value(&m, number(1)), 3, "%s", m.said);
        cr_expect_eq(small_value(&m, number(2)), 0);
        cr_expect_eq(rcd_sessions_live(m.s), 2);
        cr_expect(!there(live) && !there(copy) && there(disk));
        rcd_sessions_free(m.s);
    }
    keep(&lmdb, disk);
    opts.durable = RCD_DURABLE_PROCESS;
    for (int round = 0; round < 2; round++) {
        put_back(&lmdb, disk);
        small_open(&m, &opts);
        cr_expect_eq(small_value(&m, number(1)), 3, "%s", m.said);
        cr_expect_eq(rcd_sessions_live(m.s), 2);
        cr_expect(there(live) && !there(disk));
        rcd_sessions_free(m.s);
    }
    opts.durable = RCD_DURABLE_NONE;
    small_open(&m, &opts);
    cr_expect_eq(rcd_sessions_live(m.s), 0);
    cr_expect(!there(live) && !there(copy) && files_like(".aside-") == 2, "%s", m.said);
    small_end(&m, folder);
}
