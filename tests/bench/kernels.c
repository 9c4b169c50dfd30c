/* kernels.c - the products and the LSTM step against this machine's own peak of fused multiply-adds,
 * measured in the same run, one thread, CPU time; medians of several rounds, interleaved. Reports ratios. */
#include "rig/machine.h"
#include "rig/median.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 7, MAX_ROWS = 64 };
static const double round_s = 0.01;
static float sink;

struct work {
    const struct rcd_kernels *k;
    size_t hidden, rows;
    bool step; /* an LSTM step; else the bare product */
    struct rcd_packed r;
    const float *h[MAX_ROWS], *c[MAX_ROWS], *pre[MAX_ROWS];
    float *out[MAX_ROWS], *gates[MAX_ROWS], *c_out[MAX_ROWS];
};

static float *filled(size_t n)
{
    float *p = aligned_alloc(64, (n * sizeof *p + 63) / 64 * 64);
    for (size_t i = 0; p != NULL && i < n; i++)
        p[i] = (float)((i * 7919) % 1000) * 1e-3f - 0.5f;
    if (p == NULL)
        exit(1);
    return p;
}

static void work_init(struct work *w, const struct rcd_kernels *k, size_t hidden, size_t rows,
                      bool step)
{
    size_t bytes = 0, columns = 4 * hidden;
    *w = (struct work){.k = k, .hidden = hidden, .rows = rows, .step = step};
    if (!rcd_packed_bytes(hidden, columns, &bytes))
        exit(1);
    float *b = filled(hidden * columns);
    w->r.data = filled(bytes / sizeof(float));
    rcd_pack(&w->r, b, columns, 1, hidden, columns, 64);
    free(b);
    for (size_t i = 0; i < rows; i++) {
        w->h[i] = filled(hidden);
        w->c[i] = w->c_out[i] = filled(hidden);
        w->pre[i] = filled(columns);
        w->gates[i] = filled(columns);
        w->out[i] = filled(hidden);
    }
}

static void run_once(const struct work *w)
{
    if (w->step) {
        struct rcd_lstm_step s = {.rows = w->rows,
                                  .hidden = w->hidden,
                                  .pre = w->pre,
                                  .h_in = w->h,
                                  .h_out = w->out,
                                  .c_in = w->c,
                                  .c_out = w->c_out,
                                  .r = &w->r};
        w->k->lstm_step(&s);
        sink += w->out[0][0];
    } else {
        struct rcd_gemm g = {
            .rows = w->rows, .a = w->h, .c = w->gates, .b = &w->r, .c_padded = true};
        w->k->gemm(&g);
        sink += w->gates[0][0];
    }
}

/* GFLOP/s over one round: 2 for each multiply-add. */
static double measure(const struct work *w)
{
    size_t n = 0;
    uint64_t start = rig_cpu_ns(), now = start;
    while ((double)(now - start) < round_s * 1e9) {
        for (int i = 0; i < 4; i++, n++)
            run_once(w);
        now = rig_cpu_ns();
    }
    return 2.0 * (double)(w->rows * w->r.k * w->r.padded) * (double)n / (double)(now - start);
}

int main(void)
{
    static const size_t hiddens[] = {128, 256, 512, 1024}, batches[] = {1, 4, 8, 16, 32, 64};
    const struct rcd_kernels *k = rcd_kernels_for(rcd_cpu_best(RCD_CPU_AVX512));
    printf("kernels on %s, one thread, medians of %d rounds\n", k->name, ROUNDS);
    printf("%6s %6s  %12s %8s  %12s %8s\n", "hidden", "batch", "product GF/s", "of peak",
           "lstm GF/s", "of peak");
    for (size_t i = 0; i < RCD_COUNT(hiddens); i++) {
        for (size_t j = 0; j < RCD_COUNT(batches); j++) {
            static struct work product, step;
            double p[ROUNDS], s[ROUNDS], best[ROUNDS];
            work_init(&product, k, hiddens[i], batches[j], false);
            work_init(&step, k, hiddens[i], batches[j], true);
            for (int r = 0; r < ROUNDS; r++) {
                best[r] = rig_fma_gflops(k->level);
                p[r] = measure(&product);
                s[r] = measure(&step);
            }
            double top = rig_median(best, ROUNDS), gp = rig_median(p, ROUNDS),
                   gs = rig_median(s, ROUNDS);
            printf("%6zu %6zu  %12.1f %7.0f%%  %12.1f %7.0f%%\n", hiddens[i], batches[j], gp,
                   100.0 * gp / top, gs, 100.0 * gs / top);
        }
    }
    printf("\"of peak\": share of multiply-adds in registers, measured beside each row\n");
    return sink == 12345.0f;
}
