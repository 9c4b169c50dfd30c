/* machine.h - what one thread of this machine can do at best, measured for some 20 ms. By the CPU time of the thread,
 * so that others on the machine do not make the limits look low. */
#pragma once
#include "recurd/kernels.h"

/** CPU time of this thread. */
uint64_t rig_cpu_ns(void);
/** GFLOP/s of independent multiply-adds in registers. */
double rig_fma_gflops(rcd_cpu_level level);
/** GB/s of reading `bytes` (a multiple of 256) again and again, front to back, in large pages where the system gives
 * them. */
double rig_read_gbs(rcd_cpu_level level, size_t bytes);
