/* slow_sync.c - a slow disk, for LD_PRELOAD: each fdatasync takes a quarter of a second. */
#include <unistd.h>

int fdatasync(int fd);

int fdatasync(int fd)
{
    usleep(250000);
    return fsync(fd);
}
