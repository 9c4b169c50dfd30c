/* limits.c - this machine's limits for peers_kernels.py: reads lines from standard input, answers each with a number.
 *
 * lines: "fma" - GFLOP/s; "read BYTES" - GB/s (machine.h). */
#include "machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    rcd_cpu_level level = rcd_cpu_best(RCD_CPU_AVX512);
    char line[64];
    while (fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL) {
        if (strncmp(line, "fma", 3) == 0)
            printf("%.2f\n", rig_fma_gflops(level));
        else if (strncmp(line, "read ", 5) == 0)
            printf("%.3f\n", rig_read_gbs(level, strtoul(line + 5, NULL, 10) / 256 * 256));
        else
            return 2;
    }
    return 0;
}
