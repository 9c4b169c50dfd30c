/* life.c - starting, ready, draining, stopped, on one loop.
 *
 * The port answers health from the start; models load on a helper thread; READY goes to the service
 * manager when they are warm. SIGTERM or SIGINT drains: not ready, an optional delay for load balancers,
 * no new connections, every request that was taken is answered, exit 0. A second one leaves at once.
 * SIGHUP reads configuration and repository again. */
#include "daemon_int.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LAG_MS = 100, DRAIN_TICK_MS = 10, EXIT_SIGNAL = 128 };
enum { QUIET_TICKS = 3 }; /* idle for so long after the last accept: nobody's request is unread */
enum { EXTEND_EVERY_S = 10, EXTEND_BY_S = 30 };

/* ---- the repository --------------------------------------------------------------------------- */

static void scan_start(struct rcd_daemon *d);
static void drain_start(struct rcd_daemon *d);

static void scan_work(uv_work_t *work)
{
    struct rcd_daemon *d = work->data;
    d->scan_status = rcd_registry_rescan(d->registry, &d->scan_failed, &d->scan_err);
}

static size_t ready_count(const struct rcd_daemon *d)
{
    struct rcd_arena arena;
    struct rcd_index_row *rows = NULL;
    size_t n = 0, ready = 0;
    rcd_arena_init(&arena, 16 << 20);
    if (rcd_registry_index(d->registry, &arena, &rows, &n) == RCD_OK) {
        for (size_t i = 0; i < n; i++)
            ready += rows[i].state == RCD_MODEL_READY;
    }
    rcd_arena_done(&arena);
    return ready;
}

static void scan_done(uv_work_t *work, int status)
{
    struct rcd_daemon *d = work->data;
    d->scanning = false;
    if (status != 0 || d->life == RCD_LIFE_DRAINING)
        return;
    if (d->scan_status != RCD_OK)
        rcd_log(RCD_LOG_ERR, NULL, NULL, "%s", d->scan_err.text);
    if (d->scan_status != RCD_OK && d->life == RCD_LIFE_STARTING) {
        d->exit_status = EXIT_FAILURE; /* nothing was ever served from here: a wrong path */
        drain_start(d);
        return;
    }
    if (d->life == RCD_LIFE_STARTING) {
        d->life = RCD_LIFE_READY;
        rcd_api_set_life(d->api, RCD_LIFE_READY);
        size_t ready = ready_count(d);
        rcd_log(RCD_LOG_NOTICE, NULL, NULL, "ready: %zu model versions, %s kernels", ready,
                d->kernels->name);
        if (!rcd__notify_managed())
            rcd__greet(d);
    }
    rcd__notify_ready(ready_count(d));
    if (d->rescan_wanted)
        scan_start(d);
}

static void scan_start(struct rcd_daemon *d)
{
    d->rescan_wanted = d->scanning;
    if (d->scanning)
        return;
    d->scan.data = d;
    d->scanning = uv_queue_work(&d->loop, &d->scan, scan_work, scan_done) == 0;
}

/* ---- stopping ----------------------------------------------------------------------------------- */

static void close_handle(uv_handle_t *h)
{
    if (!uv_is_closing(h))
        uv_close(h, NULL);
}

static void stop(struct rcd_daemon *d)
{
    for (size_t i = 0; i < RCD_COUNT(d->signals); i++)
        close_handle((uv_handle_t *)&d->signals[i]);
    close_handle((uv_handle_t *)&d->lag);
    close_handle((uv_handle_t *)&d->watchdog);
    close_handle((uv_handle_t *)&d->drain);
    close_handle((uv_handle_t *)&d->poll);
    d->sched = rcd_sched_free(d->sched);
    d->http = rcd_http_free(d->http);
}

/* Everything that was taken must be answered; what still waits in queues after the time limit is told so
 * by the scheduler, and a load that runs is waited for. */
static void drain_tick(uv_timer_t *timer)
{
    struct rcd_daemon *d = timer->data;
    uint64_t now = rcd_now_ns(), delay = d->cfg.server_drain_delay * 1000000u;
    if (d->exit_status != EXIT_SUCCESS)
        delay = 0; /* it never served: nobody has to be told to go elsewhere */
    if (now - d->drain_started_ns < delay)
        return;
    if (!d->drain_quiesced) {
        d->drain_quiesced = true;
        rcd_http_quiesce(d->http);
    }
    bool late = now - d->drain_started_ns > delay + d->cfg.server_drain_timeout * 1000000u;
    d->quiet_ticks = rcd_http_active(d->http) > 0 ? 0 : d->quiet_ticks + 1;
    if (d->scanning || (d->quiet_ticks < QUIET_TICKS && !late))
        return;
    if (late && d->sched != NULL) {
        rcd_log(RCD_LOG_WARNING, NULL, NULL, "stopping with %zu requests unfinished after %llu ms",
                rcd_http_active(d->http), (unsigned long long)d->cfg.server_drain_timeout);
        d->sched = rcd_sched_free(d->sched);
    }
    if (rcd_api_pending(d->api) == 0)
        stop(d);
}

static void drain_start(struct rcd_daemon *d)
{
    rcd__notify_stopping();
    d->life = RCD_LIFE_DRAINING;
    d->drain_started_ns = rcd_now_ns();
    rcd_api_set_life(d->api, RCD_LIFE_DRAINING);
    d->drain.data = d;
    uv_timer_start(&d->drain, drain_tick, 0, DRAIN_TICK_MS);
}

static void on_stop_signal(uv_signal_t *s, int signum)
{
    struct rcd_daemon *d = s->data;
    if (d->life == RCD_LIFE_DRAINING) {
        rcd_log(RCD_LOG_WARNING, NULL, NULL, "second signal: leaving at once");
        _exit(EXIT_SIGNAL + signum);
    }
    rcd_log(RCD_LOG_NOTICE, NULL, NULL, "%s: finishing %zu requests",
            signum == SIGINT ? "SIGINT" : "SIGTERM", rcd_http_active(d->http));
    drain_start(d);
}

/* ---- SIGHUP, timers ------------------------------------------------------------------------------ */

static void poll_tick(uv_timer_t *timer)
{
    struct rcd_daemon *d = timer->data;
    if (d->life == RCD_LIFE_READY && !d->scanning)
        scan_start(d);
}

static void timer_start(struct rcd_daemon *d, uv_timer_t *t, uv_timer_cb cb, uint64_t ms)
{
    t->data = d;
    uv_timer_start(t, cb, ms, ms);
}

static void poll_start(struct rcd_daemon *d)
{
    if (d->cfg.models_control == 1)
        timer_start(d, &d->poll, poll_tick, d->cfg.models_poll_interval);
}

static void on_reload_signal(uv_signal_t *s, int signum)
{
    struct rcd_daemon *d = s->data;
    struct rcd_error err;
    char ignored[512] = "";
    (void)signum;
    if (d->life == RCD_LIFE_DRAINING)
        return;
    if (d->life == RCD_LIFE_READY)
        rcd__notify_reloading();
    if (rcd_config_reload(&d->cfg, d->argc, d->argv, environ, ignored, sizeof ignored, &err) !=
        RCD_OK)
        rcd_log(RCD_LOG_ERR, NULL, NULL, "configuration not read again: %s", err.text);
    else if (ignored[0] != '\0')
        rcd_log(RCD_LOG_WARNING, NULL, NULL, "changed, but needs a restart: %s", ignored);
    rcd_log_set_level((rcd_log_level)(d->cfg.log_level + RCD_LOG_ERR));
    rcd_api_set_access_log(d->api, d->cfg.log_access_log);
    rcd_api_set_strict_ready(d->api, d->cfg.models_strict_ready);
    poll_start(d);
    scan_start(d);
}

static void lag_tick(uv_timer_t *timer)
{
    struct rcd_daemon *d = timer->data;
    uint64_t now = rcd_now_ns();
    rcd_api_note_loop_lag(d->api, now > d->lag_due_ns ? (double)(now - d->lag_due_ns) / 1e9 : 0.0);
    /* loading or finishing what runs may take longer than the manager waits by itself */
    if (d->life != RCD_LIFE_READY && now >= d->extend_due_ns) {
        d->extend_due_ns = now + (uint64_t)EXTEND_EVERY_S * 1000000000u;
        rcd__notify_longer((uint64_t)EXTEND_BY_S * 1000000u);
    }
    d->lag_due_ns = now + (uint64_t)LAG_MS * 1000000u;
    rcd_api_tick(d->api);
}

static void watchdog_tick(uv_timer_t *timer)
{
    struct rcd_daemon *d = timer->data;
    if (d->sched == NULL || rcd_sched_alive(d->sched))
        rcd__notify_alive();
}

static void handles_init(struct rcd_daemon *d)
{
    static const int numbers[3] = {SIGTERM, SIGINT, SIGHUP};
    for (size_t i = 0; i < RCD_COUNT(numbers); i++) {
        uv_signal_init(&d->loop, &d->signals[i]);
        d->signals[i].data = d;
        uv_signal_start(&d->signals[i], i < 2 ? on_stop_signal : on_reload_signal, numbers[i]);
    }
    uv_timer_init(&d->loop, &d->lag);
    uv_timer_init(&d->loop, &d->watchdog);
    uv_timer_init(&d->loop, &d->drain);
    uv_timer_init(&d->loop, &d->poll);
    d->lag_due_ns = rcd_now_ns() + (uint64_t)LAG_MS * 1000000u;
    timer_start(d, &d->lag, lag_tick, LAG_MS);
    uint64_t watchdog_ms = rcd__notify_watchdog_us() / 2000u;
    if (watchdog_ms > 0)
        timer_start(d, &d->watchdog, watchdog_tick, watchdog_ms);
    poll_start(d);
}

int rcd__live_until_stopped(struct rcd_daemon *d)
{
    struct rcd_error err;
    signal(SIGPIPE, SIG_IGN);
    (void)setenv("UV_THREADPOOL_SIZE", "16", 0); /* helpers may wait for a disk */
    RCD_ASSERT(uv_loop_init(&d->loop) == 0);
    if (rcd__wire_server(d, &err) != RCD_OK) {
        rcd_log(RCD_LOG_ERR, NULL, NULL, "cannot start: %s", err.text);
        d->sched = rcd_sched_free(d->sched);
        d->http = rcd_http_free(d->http);
        d->exit_status = EXIT_FAILURE;
    } else {
        handles_init(d);
        scan_start(d);
    }
    uv_run(&d->loop, UV_RUN_DEFAULT);
    d->registry = rcd_registry_free(d->registry);
    d->api = rcd_api_free(d->api);
    d->stores = rcd_stores_free(d->stores);
    d->graphs = rcd_graphs_free(d->graphs);
    RCD_ASSERT(uv_loop_close(&d->loop) == 0);
    if (d->exit_status == EXIT_SUCCESS)
        rcd_log(RCD_LOG_NOTICE, NULL, NULL, "stopped");
    return d->exit_status;
}
