/* reduced.c - LSTM steps with f32, bf16 and int8 weights, and plain reading of as many bytes, one thread.
 *
 *   reduced [LAYERS HIDDEN BATCH]     default 2 x 1024 at batch 1, then smaller and larger ones
 *
 * A step is what the engine does for one time step of a session: for each layer the projection of its input
 * (as wide as the layer) and the recurrent part. Rounds are interleaved; medians; ratios are to f32. "read"
 * is the time of loading the same bytes once, front to back: the limit at batch 1. */
#include "recurd/kernels_reduced.h"
#include "rig/median.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 9, MAX_LAYERS = 4, MAX_BATCH = 64 };
static const double round_s = 0.15;
static float sink;

struct layer {
    struct rcd_packed w, r;
    float *x[MAX_BATCH], *pre[MAX_BATCH], *h[2][MAX_BATCH], *c[MAX_BATCH];
};

struct net {
    const struct rcd_kernels *k;
    size_t n_layers, hidden, batch, turn, bytes;
    struct layer layers[MAX_LAYERS];
    void *scratch;
};

static void *taken(size_t bytes)
{
    void *p = rcd_alloc_aligned(bytes);
    if (p == NULL)
        exit(1);
    memset(p, 0, bytes);
    return p;
}

static float *filled(size_t n, float size)
{
    float *p = taken(n * sizeof *p);
    for (size_t i = 0; i < n; i++)
        p[i] = ((float)((i * 7919) % 1000) * 1e-3f - 0.5f) * size;
    return p;
}

static struct rcd_packed weights_of(struct net *net, rcd_weights how)
{
    static const uint8_t map[4] = {0, 1, 2, 3};
    size_t bytes = 0, h = net->hidden;
    struct rcd_packed f32, p;
    if (!rcd_packed_gates_bytes(4, h, h, &bytes))
        exit(1);
    f32.data = taken(bytes);
    float *w = filled(4 * h * h, 0.1f);
    rcd_pack_gates(&f32, w, 4, map, h, h);
    rcd_free(w);
    if (how == RCD_WEIGHTS_F32) {
        net->bytes += bytes;
        return f32;
    }
    if (!rcd_reduced_bytes(h, f32.padded, how, &bytes))
        exit(1);
    rcd_reduce(&p, &f32, how, taken(bytes));
    rcd_free(f32.data);
    net->bytes += bytes;
    return p;
}

static void net_init(struct net *net, size_t layers, size_t hidden, size_t batch, rcd_weights how)
{
    *net = (struct net){.k = rcd_kernels_for(rcd_cpu_best(RCD_CPU_AVX512)),
                        .n_layers = layers,
                        .hidden = hidden,
                        .batch = batch};
    for (size_t l = 0; l < layers; l++) {
        struct layer *y = &net->layers[l];
        y->w = weights_of(net, how);
        y->r = weights_of(net, how);
        for (size_t b = 0; b < batch; b++) {
            y->x[b] = filled(hidden, 1.0f);
            y->pre[b] = filled(y->w.padded, 1.0f);
            y->h[0][b] = filled(hidden, 1.0f);
            y->h[1][b] = filled(hidden, 1.0f);
            y->c[b] = filled(hidden, 1.0f);
        }
    }
    net->scratch = taken(rcd_gemm_scratch(&net->layers[0].r, batch) + 1);
}

static void net_done(struct net *net)
{
    for (size_t l = 0; l < net->n_layers; l++) {
        struct layer *y = &net->layers[l];
        rcd_free(y->w.weights == RCD_WEIGHTS_F32 ? (void *)y->w.data : (void *)(uintptr_t)y->w.low);
        rcd_free(y->r.weights == RCD_WEIGHTS_F32 ? (void *)y->r.data : (void *)(uintptr_t)y->r.low);
        for (size_t b = 0; b < net->batch; b++) {
            rcd_free(y->x[b]), rcd_free(y->pre[b]), rcd_free(y->c[b]);
            rcd_free(y->h[0][b]), rcd_free(y->h[1][b]);
        }
    }
    rcd_free(net->scratch);
}

static void one_layer(const struct net *net, const struct layer *l, const float *const *x,
                      const float *const *h_in, float *const *h_out)
{
    struct rcd_gemm g = {.rows = net->batch,
                         .a = x,
                         .c = l->pre,
                         .b = &l->w,
                         .c_padded = true,
                         .scratch = net->scratch};
    rcd_gemm_any(net->k, &g);
    if (l->r.weights == RCD_WEIGHTS_F32) {
        struct rcd_lstm_step s = {.rows = net->batch,
                                  .hidden = net->hidden,
                                  .pre = (const float *const *)l->pre,
                                  .h_in = h_in,
                                  .h_out = h_out,
                                  .c_in = (const float *const *)l->c,
                                  .c_out = l->c,
                                  .r = &l->r};
        net->k->lstm_step(&s);
        return;
    }
    g.a = h_in;
    g.b = &l->r;
    g.accumulate = true;
    rcd_gemm_any(net->k, &g);
    struct rcd_gates s = {.rows = net->batch,
                          .hidden = net->hidden,
                          .pre = (const float *const *)l->pre,
                          .h_out = h_out,
                          .c = l->c};
    net->k->lstm_gates(&s);
}

static void one_step(struct net *net)
{
    size_t from = net->turn, to = net->turn = 1 - net->turn;
    const float *const *x = (const float *const *)net->layers[0].x;
    for (size_t i = 0; i < net->n_layers; i++) {
        struct layer *l = &net->layers[i];
        one_layer(net, l, x, (const float *const *)l->h[from], l->h[to]);
        x = (const float *const *)l->h[to];
    }
    sink += x[0][0];
}

/* Microseconds of one step. */
static double measure_step(struct net *net)
{
    size_t n = 0;
    one_step(net); /* what the other kinds pushed out of the caches */
    one_step(net);
    uint64_t start = rcd_now_ns(), now = start;
    for (; (double)(now - start) < round_s * 1e9 || n < 3; n++) {
        one_step(net);
        now = rcd_now_ns();
    }
    return (double)(now - start) / 1e3 / (double)n;
}

#if defined(__x86_64__)
__attribute__((target_clones("avx512f", "avx2", "default")))
#endif
static void
read_matrix(const struct rcd_packed *p, size_t bytes)
{
    typedef uint64_t wide __attribute__((vector_size(64)));
    const wide *at = p->weights == RCD_WEIGHTS_F32 ? (const void *)p->data : (const void *)p->low;
    wide a[8] = {{0}};
    for (size_t i = 0; i + 8 <= bytes / sizeof *at; i += 8) {
#pragma GCC unroll 8
        for (size_t j = 0; j < 8; j++) {
            __builtin_prefetch(at + i + j + 64);
            a[j] |= at[i + j];
        }
    }
    for (size_t j = 0; j < 8; j++)
        sink += (float)(a[j][0] & 1);
}

static double measure_read(struct net *net)
{
    size_t n = 0, each = net->bytes / (2 * net->n_layers);
    uint64_t start = 0, now = 0;
    for (; n < 4 || (double)(now - start) < round_s / 3 * 1e9; n++) {
        if (n == 1)
            start = rcd_now_ns(); /* the first warms up */
        for (size_t l = 0; l < net->n_layers; l++) {
            read_matrix(&net->layers[l].w, each);
            read_matrix(&net->layers[l].r, each);
        }
        now = rcd_now_ns();
    }
    return (double)(now - start) / 1e3 / (double)(n - 1);
}

static void compare(size_t layers, size_t hidden, size_t batch)
{
    static struct net nets[RCD_WEIGHTS_MAX];
    static double step[RCD_WEIGHTS_MAX][ROUNDS], reading[RCD_WEIGHTS_MAX][ROUNDS];
    for (int how = 0; how < RCD_WEIGHTS_MAX; how++)
        net_init(&nets[how], layers, hidden, batch, (rcd_weights)how);
    for (int r = 0; r < ROUNDS; r++) {
        for (int how = 0; how < RCD_WEIGHTS_MAX; how++) {
            step[how][r] = measure_step(&nets[how]);
            reading[how][r] = measure_read(&nets[how]);
        }
    }
    double base = rig_median(step[0], ROUNDS);
    for (int how = 0; how < RCD_WEIGHTS_MAX; how++) {
        double us = rig_median(step[how], ROUNDS), read_us = rig_median(reading[how], ROUNDS);
        printf("%3zu x %-5zu %5zu  %-5s %6.2f x  %9.1f us  %8.1f MB  %6.1f GB/s  %5.0f%%\n", layers,
               hidden, batch, rcd_weights_name((rcd_weights)how), base / us, us,
               (double)nets[how].bytes / 1e6, (double)nets[how].bytes / us / 1e3,
               100.0 * read_us / us);
        net_done(&nets[how]);
    }
}

int main(int argc, char **argv)
{
    printf("LSTM steps on %s, one thread, medians of %d interleaved rounds\n",
           rcd_cpu_level_name(rcd_cpu_best(RCD_CPU_AVX512)), ROUNDS);
    printf("%11s %5s  %-5s %8s  %12s  %11s  %11s  %s\n", "layers", "batch", "kind", "speed", "step",
           "weights", "streamed", "of read");
    if (argc == 4) {
        compare(strtoul(argv[1], NULL, 10), strtoul(argv[2], NULL, 10), strtoul(argv[3], NULL, 10));
        return sink == 12345.0f;
    }
    static const size_t cases[][3] = {{2, 1024, 1}, {2, 512, 1},   {1, 256, 1},
                                      {1, 128, 1},  {2, 1024, 16}, {1, 256, 16}};
    for (size_t i = 0; i < RCD_COUNT(cases); i++)
        compare(cases[i][0], cases[i][1], cases[i][2]);
    return sink == 12345.0f;
}
