/* slow_disk.c - a slow disk, for LD_PRELOAD: each fdatasync takes a quarter of a second, and so does, while the file
 * named by SLOW_READS is there, what LMDB reads of a key for the first time after it was written (later the kernel would
 * have it). */
#include <dlfcn.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

enum { WAIT_US = 250000, PLACES = 1 << 16 };

static _Atomic unsigned char near[PLACES];
static _Thread_local int reading;

int fdatasync(int fd);

int fdatasync(int fd)
{
    usleep(WAIT_US);
    return fsync(fd);
}

static _Atomic unsigned char *place(const MDB_val *key)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < key->mv_size; i++)
        h = (h ^ ((const unsigned char *)key->mv_data)[i]) * 16777619u;
    return &near[(h ^ h >> 16) % PLACES];
}

int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
    union {
        void *p;
        int (*call)(MDB_env *, MDB_txn *, unsigned, MDB_txn **);
    } real = {.p = dlsym(RTLD_NEXT, "mdb_txn_begin")};
    reading = (flags & MDB_RDONLY) != 0;
    return real.call(env, parent, flags, txn);
}

int mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data)
{
    union {
        void *p;
        int (*call)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *);
    } real = {.p = dlsym(RTLD_NEXT, "mdb_get")};
    const char *flag = getenv("SLOW_READS");
    if (reading && flag != NULL && access(flag, F_OK) == 0 && !atomic_exchange(place(key), 1))
        usleep(WAIT_US);
    return real.call(txn, dbi, key, data);
}

int mdb_put(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data, unsigned flags)
{
    union {
        void *p;
        int (*call)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *, unsigned);
    } real = {.p = dlsym(RTLD_NEXT, "mdb_put")};
    atomic_store(place(key), 0);
    return real.call(txn, dbi, key, data, flags);
}
