/* machine.c - how busy the machine is, from /proc/stat and /proc/meminfo, which the hardened service does not see. */
#include "recurd/obs.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The first `bytes` of a file, as text. */
static bool read_text(const char *path, char *text, size_t bytes)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t len = read(fd, text, bytes - 1);
    close(fd);
    text[len > 0 ? len : 0] = '\0';
    return len > 0;
}

/* cpu user nice system idle iowait irq softirq steal; what guests use is part of user. */
static bool ticks(const char *text, struct rcd_machine_use *ret)
{
    enum { IDLE = 3, IOWAIT = 4, FIELDS = 8 };
    if (strncmp(text, "cpu ", 4) != 0)
        return false;
    char *at = NULL;
    const char *from = text + 4;
    for (int i = 0; i < FIELDS; i++) {
        uint64_t n = strtoull(from, &at, 10);
        if (at == from)
            return false;
        ret->all_ticks += n;
        if (i != IDLE && i != IOWAIT)
            ret->busy_ticks += n;
        from = at;
    }
    return true;
}

static bool kilobytes(const char *text, const char *name, uint64_t *ret)
{
    const char *at = strstr(text, name);
    if (at == NULL)
        return false;
    *ret = strtoull(at + strlen(name), NULL, 10) * 1024;
    return true;
}

bool rcd_machine_use(struct rcd_machine_use *ret)
{
    char text[2048];
    uint64_t available = 0;
    *ret = (struct rcd_machine_use){.all_ticks = 0};
    if (!read_text("/proc/stat", text, sizeof text) || !ticks(text, ret) ||
        !read_text("/proc/meminfo", text, sizeof text) ||
        !kilobytes(text, "MemTotal:", &ret->memory_total) ||
        !kilobytes(text, "MemAvailable:", &available))
        return false;
    ret->memory_used = ret->memory_total > available ? ret->memory_total - available : 0;
    return true;
}
