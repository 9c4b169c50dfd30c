/* test_log.c - what a log line looks like on standard error, and that it stays one line. */
#include "recurd/obs.h"

#include <criterion/criterion.h>
#include <criterion/new/assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

TestSuite(obs, .timeout = 400);

static int saved_stderr;

/* Point standard error at a pipe; returns its reading end. */
static int capture(void)
{
    int ends[2];
    cr_assert(pipe(ends) == 0 && (saved_stderr = dup(2)) >= 0 && dup2(ends[1], 2) == 2);
    close(ends[1]);
    return ends[0];
}

static const char *captured(int fd)
{
    static char text[16384];
    dup2(saved_stderr, 2);
    close(saved_stderr);
    size_t len = 0;
    ssize_t n = 0;
    while ((n = read(fd, text + len, sizeof text - 1 - len)) > 0)
        len += (size_t)n;
    text[len] = '\0';
    close(fd);
    return text;
}

Test(obs, lines_carry_time_level_and_ids)
{
    unsetenv("JOURNAL_STREAM");
    int fd = capture();
    rcd_log_init(RCD_LOG_AUTO, RCD_LOG_INFO);
    rcd_log(RCD_LOG_WARNING, "r-1", "lstm", "took %d ms", 5);
    rcd_log(RCD_LOG_DEBUG, NULL, NULL, "not shown");
    rcd_log_set_level(RCD_LOG_DEBUG);
    rcd_log(RCD_LOG_DEBUG, NULL, NULL, "shown");
    const char *text = captured(fd);
    cr_expect(rcd_log_get_level() == RCD_LOG_DEBUG);
    cr_expect(text[10] == 'T' && text[23] == 'Z', "%s", text);
    cr_expect(strstr(text, "Z warning took 5 ms model=lstm request=r-1\n") != NULL, "%s", text);
    cr_expect(strstr(text, "not shown") == NULL);
    cr_expect(strstr(text, "Z debug   shown\n") != NULL, "%s", text);
}

Test(obs, a_manager_gets_priorities)
{
    int fd = capture();
    struct stat st;
    char stream[64];
    cr_assert(fstat(2, &st) == 0);
    snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino);
    setenv("JOURNAL_STREAM", stream, 1);
    rcd_log_init(RCD_LOG_STDERR, RCD_LOG_INFO);
    rcd_log(RCD_LOG_ERR, NULL, NULL, "bad");
    cr_expect(eq(str, (char *)(uintptr_t)captured(fd), "<3>bad\n"));
}

Test(obs, another_stream_is_not_the_manager)
{
    int fd = capture();
    setenv("JOURNAL_STREAM", "1:2", 1);
    rcd_log_init(RCD_LOG_AUTO, RCD_LOG_INFO);
    rcd_log(RCD_LOG_ERR, NULL, NULL, "bad");
    cr_expect(strstr(captured(fd), "Z error   bad\n") != NULL);
}

Test(obs, without_a_journal_lines_are_not_lost)
{
    if (access("/run/systemd/journal/socket", F_OK) == 0)
        return; /* they would arrive there */
    unsetenv("JOURNAL_STREAM");
    int fd = capture();
    rcd_log_init(RCD_LOG_JOURNAL, RCD_LOG_INFO);
    rcd_log(RCD_LOG_ERR, "r-2", "gru", "bad");
    cr_expect(strstr(captured(fd), "Z error   bad model=gru request=r-2\n") != NULL);
}

Test(obs, a_line_cannot_be_forged_or_endless)
{
    static char big[10000];
    unsetenv("JOURNAL_STREAM");
    memset(big, 'x', sizeof big - 1);
    int fd = capture();
    rcd_log_init(RCD_LOG_STDERR, RCD_LOG_INFO);
    rcd_log(RCD_LOG_INFO, "id\nroot", "\x1b[2J", "one\ntwo\x7f caf\xc3\xa9");
    rcd_log(RCD_LOG_INFO, big, big, "%s", big);
    const char *text = captured(fd);
    cr_expect(strstr(text, "one\\x0atwo\\x7f caf\xc3\xa9 model=\\x1b[2J request=id\\x0aroot\n") !=
                  NULL,
              "%s", text);
    size_t lines = 0;
    for (const char *p = text; *p != '\0'; p++)
        lines += *p == '\n';
    cr_expect(eq(sz, lines, 2));
    cr_expect(strlen(text) < 4096);
}
