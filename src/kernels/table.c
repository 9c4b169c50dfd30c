/* table.c - which CPU levels this build and this machine have. */
#include "kernels_int.h"

static const char *const names[RCD_CPU_MAX] = {"c", "neon", "avx2", "avx512"};

const char *rcd_cpu_level_name(rcd_cpu_level level)
{
    return (unsigned)level < RCD_CPU_MAX ? names[level] : "unknown";
}

/* Beside the level, which a machine may have without it. */
static bool machine_has_vnni(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

/* __builtin_cpu_supports asks the operating system too: registers it does not save do not count. */
static bool machine_has(rcd_cpu_level level)
{
    switch (level) {
    case RCD_CPU_C:
        return true;
#if defined(__x86_64__)
    case RCD_CPU_AVX2:
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    case RCD_CPU_AVX512:
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
#elif defined(__aarch64__)
    case RCD_CPU_NEON:
        return true;
#endif
    default:
        return false;
    }
}

const struct rcd_kernels *rcd_kernels_for(rcd_cpu_level level)
{
    if (!machine_has(level))
        return NULL;
    switch (level) {
    case RCD_CPU_AVX512:
        return machine_has_vnni() ? rcd__kernels_avx512_vnni() : rcd__kernels_avx512();
    case RCD_CPU_AVX2:
        return rcd__kernels_avx2();
    case RCD_CPU_NEON:
        return rcd__kernels_neon();
    default:
        return rcd__kernels_c();
    }
}

const struct rcd_kernels *rcd_kernels_variant(size_t i)
{
    for (int level = RCD_CPU_C; level < RCD_CPU_MAX; level++) {
        const struct rcd_kernels *k = rcd_kernels_for((rcd_cpu_level)level);
        if (k != NULL && i-- == 0)
            return k;
    }
    bool another = machine_has(RCD_CPU_AVX512) && machine_has_vnni();
    return another && i == 0 ? rcd__kernels_avx512() : NULL;
}

rcd_cpu_level rcd_cpu_best(rcd_cpu_level limit)
{
    for (int level = (int)limit; level > RCD_CPU_C; level--) {
        if (rcd_kernels_for((rcd_cpu_level)level) != NULL)
            return (rcd_cpu_level)level;
    }
    return RCD_CPU_C;
}
