/* stress_graphs.c - versions of graphs under ThreadSanitizer: threads that change graphs and write them to disk, threads
 * that hold versions and read, search, save and decompose them, one that makes a graph and drops it. A plain program,
 * because criterion does not run under ThreadSanitizer.
 *
 * Version v of a graph: a ring of NODES nodes, one more edge where v is even, and v as the feature of node 0.
 *
 *   stress_graphs [rounds]     exit status 0: every version was whole, and the disk has the last ones */
#include "recurd/graphs_spectrum.h"

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NODES = 12, MORE_FROM = 0, MORE_TO = 5, READERS = 3, GRAPHS = 2 };

static const char *const names[GRAPHS] = {"a", "b"};
static rcd_graphs *table;
static pthread_mutex_t loop = PTHREAD_MUTEX_INITIALIZER; /* the table is one thread's at a time */
static atomic_bool stop;
static size_t rounds = 150;

static struct rcd_graph_tensor tensor(const char *name, rcd_dtype dtype, unsigned rank, int64_t d0,
                                      int64_t d1, void *data)
{
    const int64_t dims[2] = {d0, d1};
    struct rcd_graph_tensor t = {.name = name};
    RCD_ASSERT(rcd_tensor_shape(&t.tensor, dtype, rank, dims));
    t.tensor.data = data;
    return t;
}

static rcd_graph *first_version(const char *name)
{
    float x[NODES] = {1};
    int64_t ends[2][NODES], ids[NODES];
    for (int64_t i = 0; i < NODES; i++) {
        ends[0][i] = i;
        ends[1][i] = (i + 1) % NODES;
        ids[i] = 100 + i;
    }
    const struct rcd_graph_tensor t[] = {tensor("x", RCD_F32, 2, NODES, 1, x),
                                         tensor("id", RCD_I64, 1, NODES, 0, ids),
                                         tensor("edge_index", RCD_I64, 2, 2, NODES, ends)};
    const struct rcd_graph_parts parts = {.name = name,
                                          .n = RCD_COUNT(t),
                                          .tensors = t,
                                          .version = 1,
                                          .nodes = -1,
                                          .max_bytes = 1 << 20};
    struct rcd_error err;
    rcd_graph *g = NULL;
    RCD_ASSERT(rcd_graph_new(&parts, &g, &err) == RCD_OK);
    return g;
}

static rcd_graph *newest(const char *name)
{
    pthread_mutex_lock(&loop);
    rcd_graph *g = rcd_graphs_find(table, name);
    if (g != NULL)
        g = rcd_graph_ref(g);
    pthread_mutex_unlock(&loop);
    return g;
}

static void set(rcd_graph *g)
{
    struct rcd_error err;
    pthread_mutex_lock(&loop);
    RCD_ASSERT(rcd_graphs_room(table, g, &err) == RCD_OK &&
               rcd_graphs_set(table, g, &err) == RCD_OK);
    pthread_mutex_unlock(&loop);
}

static void *change(void *name)
{
    for (size_t i = 0; i < rounds; i++) {
        rcd_graph *old = newest(name), *g = NULL;
        uint64_t v = rcd_graph_version(old) + 1;
        float value = (float)v;
        int64_t node = 100, ends[2] = {MORE_FROM, MORE_TO};
        const struct rcd_graph_tensor t[] = {
            tensor("set.nodes", RCD_I64, 1, 1, 0, &node), tensor("set.x", RCD_F32, 2, 1, 1, &value),
            tensor(v % 2 == 0 ? "add.edge_index" : "remove.edge_index", RCD_I64, 2, 2, 1, ends)};
        const struct rcd_graph_parts parts = {
            .name = name, .n = RCD_COUNT(t), .tensors = t, .nodes = -1, .max_bytes = 1 << 20};
        struct rcd_error err = {.code = RCD_OK};
        if (rcd_graph_patch(old, &parts, &g, &err) != RCD_OK)
            fprintf(stderr, "%s\n", err.text);
        RCD_ASSERT(g != NULL);
        RCD_ASSERT((i % 16 == 0 ? rcd_graphs_write(table, g, &err)
                                : rcd_graphs_append(table, g, &parts, &err)) == RCD_OK);
        set(g);
        rcd_graph_unref(g);
        rcd_graph_unref(old);
    }
    return NULL;
}

/* The version is the one that it says it is. */
static void check(const rcd_graph *g)
{
    uint64_t v = rcd_graph_version(g);
    int64_t more = v % 2 == 0, id[2] = {111, 103}, at[2] = {0, 0};
    const struct rcd_tensor *x = rcd_graph_tensor(g, "x"),
                            *ends = rcd_graph_tensor(g, "edge_index");
    struct rcd_graph_tensor who = tensor("nodes", RCD_I64, 1, 2, 0, id);
    struct rcd_error err;
    RCD_ASSERT(((const float *)x->data)[0] == (float)v && x->n == NODES);
    RCD_ASSERT(ends->dims[1] == NODES + more && ((const int64_t *)ends->data)[1] == 1);
    RCD_ASSERT(!more || ((const int64_t *)ends->data)[2 * NODES + 1] == MORE_TO);
    RCD_ASSERT(rcd_graph_find(g, "", &who.tensor, at, &err) == RCD_OK && at[0] == 11 && at[1] == 3);
}

static void save_and_load(const rcd_graph *g)
{
    struct rcd_buf bytes;
    struct rcd_error err;
    rcd_graph *again = NULL;
    rcd_buf_init(&bytes, 1 << 20);
    RCD_ASSERT(rcd_graph_save(g, &bytes) == RCD_OK);
    RCD_ASSERT(rcd_graph_load(bytes.data, bytes.len, &again, &err) == RCD_OK);
    check(again);
    rcd_graph_unref(again);
    rcd_buf_done(&bytes);
}

static void decompose(rcd_graph *g, size_t k)
{
    struct rcd_tensor basis, values;
    struct rcd_error err;
    rcd_status st = rcd_graph_spectrum(g, k, NODES, &basis, &values, &err);
    if (st == RCD_EUNSUPPORTED) /* no LAPACK here */
        return;
    RCD_ASSERT(st == RCD_OK && basis.n == NODES * k && ((const float *)values.data)[0] < 1e-5f);
    rcd_free(basis.data);
    rcd_free(values.data);
}

static void *read_versions(void *arg)
{
    size_t *n = arg;
    for (size_t i = 0; !atomic_load(&stop); i++) {
        rcd_graph *g = newest(i % 3 == 2 ? "c" : names[i % 2]);
        if (g == NULL)
            continue;
        check(g);
        struct rcd_graph_delta d = rcd_graph_delta_of(g, 0);
        RCD_ASSERT(d.other || (d.n_changed == 1 && d.changed[0] == 0));
        if (i % 5 == 0)
            save_and_load(g);
        if (i % 3 == 0)
            decompose(g, 1 + i % NODES);
        rcd_graph_unref(g);
        (*n)++;
    }
    return NULL;
}

static void *make_and_drop(void *unused)
{
    struct rcd_error err;
    while (!atomic_load(&stop)) {
        rcd_graph *g = first_version("c");
        RCD_ASSERT(rcd_graphs_write(table, g, &err) == RCD_OK);
        set(g);
        rcd_graph_unref(g);
        pthread_mutex_lock(&loop);
        RCD_ASSERT(rcd_graphs_count(table) == GRAPHS + 1 && rcd_graphs_drop(table, "c"));
        pthread_mutex_unlock(&loop);
    }
    return unused;
}

static void say(void *ctx, int priority, const char *text)
{
    (void)ctx;
    fprintf(stderr, "%d %s\n", priority, text);
}

static void open_table(const char *dir)
{
    const struct rcd_graphs_opts opts = {
        .max_graphs = 8, .max_bytes = 1 << 24, .dir = dir, .log = say};
    struct rcd_error err;
    RCD_ASSERT(rcd_graphs_new(&opts, &table, &err) == RCD_OK);
}

static int remove_one(const char *path, const struct stat *sb, int kind, struct FTW *ftw)
{
    (void)sb;
    (void)kind;
    (void)ftw;
    return remove(path);
}

int main(int argc, char **argv)
{
    char dir[] = "/tmp/recurd-stress-XXXXXX";
    pthread_t changers[GRAPHS], others[READERS + 1];
    size_t n[READERS] = {0};
    if (argc > 1)
        rounds = strtoul(argv[1], NULL, 10);
    RCD_ASSERT(mkdtemp(dir) != NULL);
    open_table(dir);
    for (size_t i = 0; i < GRAPHS; i++) {
        rcd_graph *g = first_version(names[i]);
        set(g);
        rcd_graph_unref(g);
    }
    for (size_t i = 0; i < GRAPHS; i++)
        pthread_create(&changers[i], NULL, change, (void *)(uintptr_t)names[i]);
    for (size_t i = 0; i < READERS; i++)
        pthread_create(&others[i], NULL, read_versions, &n[i]);
    pthread_create(&others[READERS], NULL, make_and_drop, NULL);
    for (size_t i = 0; i < GRAPHS; i++)
        pthread_join(changers[i], NULL);
    atomic_store(&stop, true);
    for (size_t i = 0; i <= READERS; i++)
        pthread_join(others[i], NULL);
    rcd_graphs_free(table);
    open_table(dir); /* what was acknowledged is there */
    for (size_t i = 0; i < GRAPHS; i++) {
        RCD_ASSERT(rcd_graph_version(rcd_graphs_find(table, names[i])) == rounds + 1);
        check(rcd_graphs_find(table, names[i]));
    }
    rcd_graphs_free(table);
    nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    printf("%zu changes of %d graphs, %zu, %zu and %zu versions read\n", rounds, GRAPHS, n[0], n[1],
           n[2]);
    return n[0] > 0 && n[1] > 0 && n[2] > 0 ? 0 : 1;
}
