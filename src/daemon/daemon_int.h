/* daemon_int.h - the daemon's parts and the states of its life. */
#pragma once
#include "recurd/api.h"
#include "recurd/config.h"
#include "recurd/http.h"
#include "recurd/kernels.h"
#include "recurd/obs.h"
#include "recurd/registry.h"
#include "recurd/sched.h"

#include <uv.h>

enum { RCD_TIMERS = 4 };

/** Everything that lives as long as the process. Threading: the loop thread owns it. */
struct rcd_daemon {
    struct rcd_config cfg;
    int argc;
    char **argv;
    uv_loop_t loop;
    const struct rcd_kernels *kernels;
    rcd_sched *sched;
    rcd_stores *stores;
    rcd_graphs *graphs;
    rcd_registry *registry;
    rcd_api *api;
    rcd_http *http;
    rcd_life life;
    uv_signal_t signals[3];
    uv_timer_t lag, watchdog, drain, poll;
    uint64_t lag_due_ns;
    uv_work_t scan;
    bool scanning, rescan_wanted;
    rcd_status scan_status;
    struct rcd_error scan_err;
    size_t scan_failed;
    uint64_t drain_started_ns, extend_due_ns;
    bool drain_quiesced;
    unsigned quiet_ticks;
    int exit_status;
};

/** Modules from the configuration (wiring.c). */
RCD_MUST_CHECK rcd_status rcd__wire_kernels(struct rcd_daemon *d, struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__wire_registry(struct rcd_daemon *d, bool serve,
                                             struct rcd_error *err);
RCD_MUST_CHECK rcd_status rcd__wire_server(struct rcd_daemon *d, struct rcd_error *err);

/** Run until stopped; the exit status (life.c). */
int rcd__live_until_stopped(struct rcd_daemon *d);

/** Service manager (notify.c); all do nothing without one. */
void rcd__notify_ready(size_t models);
void rcd__notify_reloading(void);
void rcd__notify_stopping(void);
void rcd__notify_alive(void);
void rcd__notify_longer(uint64_t usec);
/** Watchdog interval in microseconds, 0: none. */
uint64_t rcd__notify_watchdog_us(void);
/** Does a service manager read our log? */
bool rcd__notify_managed(void);

/** What is served and how to ask, for a person at a terminal (greeting.c). */
void rcd__greet(const struct rcd_daemon *d);
