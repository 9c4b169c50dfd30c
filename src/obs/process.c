/* process.c - the process_* metrics that Prometheus' client libraries agree on.
 *
 * Only /proc/self is read: the service runs with ProcSubset=pid, which hides /proc/stat, so the
 * start time comes from the difference of two clocks. What cannot be read is left out. */
#include "recurd/obs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static void gauge(struct rcd_prom *p, const char *name, const char *help, double value)
{
    rcd_prom_family(p, name, "gauge", help);
    rcd_prom_sample(p, name, NULL, 0, value);
}

/* Fields of /proc/self/stat from the third on (after the name, which may hold anything):
 * field[0] is field 3 of proc(5). */
static size_t read_stat(unsigned long long *field, size_t n)
{
    char text[1024];
    int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    ssize_t len = read(fd, text, sizeof text - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    char *at = strrchr(text, ')');
    if (at == NULL || at[1] != ' ')
        return 0;
    at += 2;
    size_t got = 0;
    for (; got < n && *at != '\0'; got++) {
        field[got] = strtoull(at, NULL, 10);
        at += strcspn(at, " ");
        at += strspn(at, " ");
    }
    return got;
}

static double seconds(clockid_t clock)
{
    struct timespec t = {0};
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void put_stat(struct rcd_prom *p)
{
    unsigned long long f[22];
    if (read_stat(f, RCD_COUNT(f)) != RCD_COUNT(f))
        return;
    double ticks = (double)sysconf(_SC_CLK_TCK), page = (double)sysconf(_SC_PAGESIZE);
    rcd_prom_family(p, "process_cpu_seconds_total", "counter",
                    "Total user and system CPU time spent in seconds.");
    rcd_prom_sample(p, "process_cpu_seconds_total", NULL, 0, (double)(f[11] + f[12]) / ticks);
    gauge(p, "process_threads", "Number of OS threads in the process.", (double)f[17]);
    gauge(p, "process_start_time_seconds", "Start time of the process since unix epoch in seconds.",
          seconds(CLOCK_REALTIME) - seconds(CLOCK_BOOTTIME) + (double)f[19] / ticks);
    gauge(p, "process_virtual_memory_bytes", "Virtual memory size in bytes.", (double)f[20]);
    gauge(p, "process_resident_memory_bytes", "Resident memory size in bytes.",
          (double)f[21] * page);
}

static void put_limit(struct rcd_prom *p, const char *name, const char *help,
                      __rlimit_resource_t which)
{
    struct rlimit limit;
    if (getrlimit(which, &limit) == 0)
        gauge(p, name, help, limit.rlim_cur == RLIM_INFINITY ? -1.0 : (double)limit.rlim_cur);
}

void rcd_prom_process(struct rcd_prom *p)
{
    put_stat(p);
    put_limit(p, "process_max_fds", "Maximum number of open file descriptors.", RLIMIT_NOFILE);
    put_limit(p, "process_virtual_memory_max_bytes",
              "Maximum amount of virtual memory available in bytes, -1 for no limit.", RLIMIT_AS);
    DIR *dir = opendir("/proc/self/fd");
    if (dir == NULL)
        return;
    size_t n = 0;
    while (readdir(dir) != NULL)
        n++;
    closedir(dir);
    gauge(p, "process_open_fds", "Number of open file descriptors.",
          n >= 3 ? (double)(n - 3) : 0.0); /* without ".", ".." and the one that reads */
}
