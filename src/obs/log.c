/* log.c - one line per event, to the journal or to standard error.
 *
 * The journal takes fields (REQUEST_ID=, MODEL=) beside the message. Standard error gets the same
 * as a suffix; in front stands a time for people, or `<N>` when a service manager reads it (it turns
 * that into a priority). A line is one write(), so lines of threads do not mix. Whatever the text
 * holds, it stays one line: control bytes are escaped and length is bounded, since log lines that a
 * client could forge are worse than none. */
#include "recurd/obs.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define SD_JOURNAL_SUPPRESS_LOCATION /* the place is always this file */
#include <systemd/sd-journal.h>

enum { MESSAGE_MAX = 2048, ID_MAX = 192 };

static _Atomic int level_now = RCD_LOG_INFO; /* relaxed: a late change of level harms nobody */
static rcd_log_target target_now = RCD_LOG_STDERR;
static bool manager_reads; /* standard error is the journal's stream */

/* JOURNAL_STREAM is "device:inode" of what the service manager connected; a child that redirected
 * standard error since then no longer matches. */
static bool stderr_is_journal(void)
{
    const char *text = getenv("JOURNAL_STREAM");
    unsigned long long device = 0, inode = 0;
    struct stat st;
    if (text == NULL || sscanf(text, "%llu:%llu", &device, &inode) != 2 || fstat(2, &st) != 0)
        return false;
    return st.st_dev == (dev_t)device && st.st_ino == (ino_t)inode;
}

void rcd_log_init(rcd_log_target target, rcd_log_level level)
{
    manager_reads = stderr_is_journal();
    target_now = target;
    if (target == RCD_LOG_AUTO)
        target_now = manager_reads ? RCD_LOG_JOURNAL : RCD_LOG_STDERR;
    /* sd_journal_sendv() says success when there is no journal at all; lines would be lost. */
    if (target_now == RCD_LOG_JOURNAL && access("/run/systemd/journal/socket", W_OK) != 0)
        target_now = RCD_LOG_STDERR;
    rcd_log_set_level(level);
}

void rcd_log_set_level(rcd_log_level level)
{
    atomic_store_explicit(&level_now, (int)level, memory_order_relaxed);
}

rcd_log_level rcd_log_get_level(void)
{
    return (rcd_log_level)atomic_load_explicit(&level_now, memory_order_relaxed);
}

/* Copy with control bytes as \xNN; UTF-8 is left alone. Cut with "..." when it does not fit. */
static size_t escape(char *out, size_t cap, const char *text)
{
    size_t at = 0;
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool control = c < 0x20 || c == 0x7f;
        if (at + (control ? 4u : 1u) + 4u > cap) {
            memcpy(out + at, "...", 4);
            return at + 3;
        }
        if (control)
            at += (size_t)snprintf(out + at, cap - at, "\\x%02x", c);
        else
            out[at++] = *text;
    }
    out[at] = '\0';
    return at;
}

static const char *const words[] = {"emerg",   "alert",  "crit", "error",
                                    "warning", "notice", "info", "debug"};

static void to_stderr(int level, const char *request_id, const char *model, const char *message)
{
    char line[MESSAGE_MAX + 3 * ID_MAX + 96];
    size_t at = 0;
    if (manager_reads) {
        at = (size_t)snprintf(line, sizeof line, "<%d>", level);
    } else {
        struct timespec now;
        struct tm tm;
        clock_gettime(CLOCK_REALTIME, &now);
        gmtime_r(&now.tv_sec, &tm);
        at = strftime(line, sizeof line, "%Y-%m-%dT%H:%M:%S", &tm);
        at += (size_t)snprintf(line + at, sizeof line - at, ".%03ldZ %-7s ", now.tv_nsec / 1000000,
                               words[level]);
    }
    at += (size_t)snprintf(line + at, sizeof line - at, "%s", message);
    if (model != NULL)
        at += (size_t)snprintf(line + at, sizeof line - at, " model=%s", model);
    if (request_id != NULL)
        at += (size_t)snprintf(line + at, sizeof line - at, " request=%s", request_id);
    line[at++] = '\n';
    ssize_t written = write(2, line, at);
    (void)written; /* nowhere left to say it */
}

static bool to_journal(int level, const char *request_id, const char *model, const char *message)
{
    char text[MESSAGE_MAX + 16], priority[16], id[ID_MAX + 16], name[ID_MAX + 16];
    struct iovec fields[5];
    int n = 0;
#define FIELD(buf, ...)                                                                            \
    fields[n++] = (struct iovec){buf, (size_t)snprintf(buf, sizeof(buf), __VA_ARGS__)}
    FIELD(text, "MESSAGE=%s", message);
    FIELD(priority, "PRIORITY=%d", level);
    static char identifier[] = "SYSLOG_IDENTIFIER=recurd";
    fields[n++] = (struct iovec){identifier, sizeof identifier - 1};
    if (request_id != NULL)
        FIELD(id, "REQUEST_ID=%s", request_id);
    if (model != NULL)
        FIELD(name, "MODEL=%s", model);
#undef FIELD
    return sd_journal_sendv(fields, n) == 0;
}

void rcd_log(rcd_log_level level, const char *request_id, const char *model, const char *fmt, ...)
{
    int priority = (int)level < 0 ? 0 : (int)level > 7 ? 7 : (int)level;
    if (priority > (int)rcd_log_get_level())
        return;
    char raw[MESSAGE_MAX], message[MESSAGE_MAX], id[ID_MAX], name[ID_MAX];
    va_list args;
    va_start(args, fmt);
    if (vsnprintf(raw, sizeof raw, fmt, args) < 0)
        raw[0] = '\0';
    va_end(args);
    escape(message, sizeof message, raw);
    if (request_id != NULL)
        escape(id, sizeof id, request_id);
    if (model != NULL)
        escape(name, sizeof name, model);
    const char *id_text = request_id != NULL ? id : NULL, *model_text = model != NULL ? name : NULL;
    if (target_now != RCD_LOG_JOURNAL || !to_journal(priority, id_text, model_text, message))
        to_stderr(priority, id_text, model_text, message);
}
