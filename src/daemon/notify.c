/* notify.c - the service manager's protocol: state, status and watchdog. */
#include "daemon_int.h"

#include <stdlib.h>
#include <systemd/sd-daemon.h>

void rcd__notify_ready(size_t models)
{
    (void)sd_notifyf(0, "READY=1\nSTATUS=serving %zu model versions", models);
}

/* MONOTONIC_USEC lets newer managers use Type=notify-reload with the same messages. */
void rcd__notify_reloading(void)
{
    (void)sd_notifyf(0, "RELOADING=1\nMONOTONIC_USEC=%llu\nSTATUS=reading the repository again",
                     (unsigned long long)(rcd_now_ns() / 1000u));
}

void rcd__notify_stopping(void)
{
    (void)sd_notify(0, "STOPPING=1\nSTATUS=finishing what runs");
}

void rcd__notify_alive(void)
{
    (void)sd_notify(0, "WATCHDOG=1");
}

void rcd__notify_longer(uint64_t usec)
{
    (void)sd_notifyf(0, "EXTEND_TIMEOUT_USEC=%llu", (unsigned long long)usec);
}

uint64_t rcd__notify_watchdog_us(void)
{
    uint64_t usec = 0;
    return sd_watchdog_enabled(0, &usec) > 0 ? usec : 0;
}

bool rcd__notify_managed(void)
{
    return getenv("NOTIFY_SOCKET") != NULL || getenv("JOURNAL_STREAM") != NULL;
}
