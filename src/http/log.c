/* log.c - messages of libmicrohttpd and of this folder, to the log hook at a bounded rate (a
 * client must not be able to fill the log). */
#include "http_int.h"

#include <stdlib.h>
#include <string.h>
#include <syslog.h>

enum { LINES_PER_WINDOW = 10, LINE_CAP = 256 };
static const uint64_t WINDOW_NS = 5000000000u;

static struct rcd_http *panic_target; /* MHD has one panic hook per process */

static bool wanted(struct rcd_http *h)
{
    if (h->opts.log == NULL)
        return false;
    if (h->log_lines >= LINES_PER_WINDOW) {
        h->log_dropped++;
        return false;
    }
    h->log_lines++;
    return true;
}

static void emit(struct rcd_http *h, int priority, const char *line)
{
    char safe[LINE_CAP];
    h->opts.log(h->opts.ctx, priority, rcd_quote(safe, sizeof safe, line, strcspn(line, "\r\n")));
}

void rcd__log(struct rcd_http *h, int priority, const char *fmt, ...)
{
    char line[LINE_CAP];
    va_list args;
    if (!wanted(h))
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    emit(h, priority, line);
}

void rcd__log_mhd(void *cls, const char *fmt, va_list args)
{
    struct rcd_http *h = cls;
    char line[LINE_CAP];
    bool mute = h->mute_log;
    h->mute_log = false; /* set for the one message that we provoke ourselves */
    if (mute || !wanted(h))
        return;
    vsnprintf(line, sizeof line, fmt, args);
    emit(h, LOG_INFO, line);
}

void rcd__log_tick(struct rcd_http *h, uint64_t now)
{
    h->mute_log = false;
    if (now - h->log_window_ns < WINDOW_NS)
        return;
    unsigned dropped = h->log_dropped;
    h->log_window_ns = now;
    h->log_lines = h->log_dropped = 0;
    if (dropped > 0)
        rcd__log(h, LOG_INFO, "%u more messages were not logged", dropped);
}

static void panic(void *cls, const char *file, unsigned line, const char *reason)
{
    (void)cls;
    if (panic_target != NULL && panic_target->opts.log != NULL) {
        panic_target->log_lines = 0;
        rcd__log(panic_target, LOG_CRIT, "libmicrohttpd stopped at %s:%u: %s", file, line,
                 reason != NULL ? reason : "");
    }
    abort();
}

void rcd__log_panic_to(struct rcd_http *h)
{
    if (panic_target == NULL)
        MHD_set_panic_func(panic, NULL);
    panic_target = h;
}
