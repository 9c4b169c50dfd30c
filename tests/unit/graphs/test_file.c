/* test_file.c - a version of a graph as bytes: there and back, and bytes that nobody wrote, with the right checksum. */
#include "recurd/graphs.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

TestSuite(graphs_file, .timeout = 60);

enum {
    N = 3,
    HEAD = 24,
    SUM = 16
}; /* of the file: before what is summed, and where the sum stands */
static const char *const names[N] = {"ann", "", "longer"};

static rcd_graph *graph(void)
{
    static struct rcd_bytes id[N];
    static int64_t ends[2] = {2, 0};
    static float x[N] = {1, 2, 3};
    struct rcd_graph_tensor t[3] = {{.name = "id"}, {.name = "x"}, {.name = "edge_index"}};
    const int64_t dims[3] = {N, 2, 1};
    struct rcd_error err;
    rcd_graph *g = NULL;
    for (size_t i = 0; i < N; i++)
        id[i] = (struct rcd_bytes){names[i], strlen(names[i])};
    cr_assert(rcd_tensor_shape(&t[0].tensor, RCD_BYTES, 1, dims) &&
              rcd_tensor_shape(&t[1].tensor, RCD_F32, 1, dims) &&
              rcd_tensor_shape(&t[2].tensor, RCD_I64, 2, dims + 1));
    t[0].tensor.data = id;
    t[1].tensor.data = x;
    t[2].tensor.data = ends;
    const struct rcd_graph_parts parts = {
        .name = "g", .n = 3, .tensors = t, .version = 1, .nodes = -1, .max_bytes = 1 << 20};
    cr_assert(rcd_graph_new(&parts, &g, &err) == RCD_OK, "%s", err.text);
    return g;
}

static struct rcd_buf saved(void)
{
    struct rcd_buf b;
    rcd_graph *g = graph();
    rcd_buf_init(&b, 1 << 20);
    cr_assert(rcd_graph_save(g, &b) == RCD_OK);
    rcd_graph_unref(g);
    return b;
}

static rcd_status load(struct rcd_buf *b, rcd_graph **ret)
{
    struct rcd_error err;
    const uint64_t sum = XXH3_64bits(b->data + HEAD, b->len - HEAD);
    memcpy(b->data + SUM, &sum, sizeof sum);
    return rcd_graph_load(b->data, b->len, ret, &err);
}

/* Where the text of a name stands, behind its length. */
static size_t place_of(const struct rcd_buf *b, const char *name)
{
    for (size_t at = HEAD; at + strlen(name) <= b->len; at++) {
        if (memcmp(b->data + at, name, strlen(name)) == 0)
            return at;
    }
    cr_assert_fail("%s is not in the file", name);
    return 0;
}

Test(graphs_file, there_and_back)
{
    struct rcd_buf b = saved();
    rcd_graph *g = NULL;
    cr_assert(load(&b, &g) == RCD_OK);
    const struct rcd_tensor *id = rcd_graph_tensor(g, "id");
    for (size_t i = 0; i < N; i++) {
        const struct rcd_bytes *is = &((const struct rcd_bytes *)id->data)[i];
        cr_expect(is->len == strlen(names[i]) && memcmp(is->ptr, names[i], is->len) == 0);
    }
    cr_expect(rcd_graph_nodes(g, "") == N && rcd_graph_version(g) == 1);
    rcd_graph_unref(g);
    rcd_buf_done(&b);
}

/* Lengths of texts that together are more than the tensor has, though the file goes on behind it. */
Test(graphs_file, lengths_that_nobody_wrote)
{
    static const struct {
        const char *text;
        int more;
    } cases[] = {{"ann", 1}, {"longer", 1}, {"longer", 40}, {"longer", -1}, {"ann", -3}};
    for (size_t i = 0; i < RCD_COUNT(cases); i++) {
        struct rcd_buf b = saved();
        rcd_graph *g = NULL;
        const size_t at = place_of(&b, cases[i].text) - sizeof(uint32_t);
        uint32_t len = 0;
        memcpy(&len, b.data + at, sizeof len);
        len = (uint32_t)((int)len + cases[i].more);
        memcpy(b.data + at, &len, sizeof len);
        cr_expect(load(&b, &g) == RCD_EINVAL, "case %zu", i);
        rcd_graph_unref(g);
        rcd_buf_done(&b);
    }
}

/* Whatever a byte is changed to: refused or another graph, and nothing is read or written beyond. */
Test(graphs_file, every_byte_changed)
{
    struct rcd_buf b = saved();
    for (size_t at = HEAD; at < b.len; at++) {
        const char was = b.data[at];
        for (int bit = 0; bit < 8; bit++) {
            rcd_graph *g = NULL;
            b.data[at] = (char)(was ^ (1 << bit));
            if (load(&b, &g) == RCD_OK)
                rcd_graph_unref(g);
        }
        b.data[at] = was;
    }
    rcd_buf_done(&b);
}
