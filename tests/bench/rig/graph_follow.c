/* graph_follow.c - a live binding of a graph model that follows changes of single edges, for graph.py: reads
 * lines from standard input, answers each with one line.
 *
 * usage: graph_follow MODEL.onnx NODES FEATURES X.f32 EDGES EDGE_INDEX.i64 THREADS
 * lines: "full" - all anew: ms; "change N" - N changes, in turn an edge that comes and one that goes, both
 * directions: ms of each, then dirty rows of each sparse product; "check" - 1 when all bits are those of all
 * anew. Edges come between nodes as likely as their degrees, and go wherever one is. */
#include "model_file.h"
#include "recurd/engine_bind.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct {
    rcd_plan *plan;
    rcd_exec *x;
    struct rcd_tensor in[2];
    int64_t *ends[2];
    size_t edges, cap;
    rcd_bound *b;
} s;

static size_t below(size_t n)
{
    static uint64_t state = 88172645463325252u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (size_t)(state >> 11) % n;
}

static rcd_bound *anew(bool live)
{
    static const struct rcd_bound_entries entries[2] = {{0, 0}, {1, 1}};
    struct rcd_error err = {.code = RCD_OK};
    int64_t *index = rcd_alloc_aligned(2 * s.edges * sizeof *index);
    rcd_bound *b = NULL;
    if (index == NULL)
        rig_die("memory", NULL);
    memcpy(index, s.ends[0], s.edges * sizeof *index);
    memcpy(index + s.edges, s.ends[1], s.edges * sizeof *index);
    s.in[1].dims[1] = (int64_t)s.edges;
    s.in[1].n = 2 * s.edges;
    s.in[1].data = index;
    rcd_status st =
        live ? rcd_bound_new_live(s.x, s.plan, s.in, entries, (size_t)1 << 33, NULL, &b, &err)
             : rcd_bound_new(s.x, s.plan, s.in, NULL, &b, &err);
    if (st != RCD_OK)
        rig_die("bind", &err);
    rcd_free(index);
    return b;
}

/* An edge and its mirror image, which stand side by side but for those of the file. */
static void change(void)
{
    int64_t removed[2] = {0}, added[4] = {0};
    struct rcd_input_delta deltas[2] = {{.other = false}};
    if (below(2)) {
        const int64_t a = s.ends[0][below(s.edges)], b = s.ends[1][below(s.edges)];
        const int64_t both[4] = {a, b, b, a};
        memcpy(added, both, sizeof both);
        deltas[1].n_added = 2;
        for (size_t i = 0; i < 2; i++, s.edges++) {
            s.ends[0][s.edges] = i ? b : a;
            s.ends[1][s.edges] = i ? a : b;
        }
    } else {
        size_t e = below(s.edges), m = 0;
        for (; m < s.edges; m++) {
            if (m != e && s.ends[0][m] == s.ends[1][e] && s.ends[1][m] == s.ends[0][e])
                break;
        }
        removed[0] = (int64_t)(e < m ? e : m);
        removed[1] = (int64_t)(e < m ? m : e);
        deltas[1].n_removed = m < s.edges ? 2 : 1;
        for (size_t i = deltas[1].n_removed; i-- > 0; s.edges--) {
            for (int r = 0; r < 2; r++)
                memmove(s.ends[r] + removed[i], s.ends[r] + removed[i] + 1,
                        (s.edges - (size_t)removed[i] - 1) * sizeof(int64_t));
        }
    }
    deltas[1].removed = removed;
    deltas[1].added = added;
    s.in[1].dims[1] = (int64_t)s.edges;
    s.in[1].n = 2 * s.edges;
    struct rcd_tensor in[2] = {s.in[0], s.in[1]};
    struct rcd_error err = {.text = ""};
    rcd_bound *b = NULL;
    uint64_t t = rcd_now_ns();
    if (rcd_bound_update(s.x, s.b, in, deltas, NULL, &b, &err) != RCD_OK)
        rig_die("update", &err);
    s.b = b != NULL ? b : anew(true);
    t = rcd_now_ns() - t;
    const struct rcd_bound_effort f = rcd_bound_effort_of(s.b);
    printf("%.4f %d", (double)t / 1e6, b != NULL);
    for (size_t i = 0; i < f.n_products && i < RCD_BOUND_PRODUCTS; i++)
        printf(" %zu", f.products[i]);
    printf(b != NULL ? ";" : " (%s);", err.text);
}

static bool check(void)
{
    rcd_bound *want = anew(false);
    const struct rcd_tensor *a = rcd_bound_output(s.b, 0), *b = rcd_bound_output(want, 0);
    bool ok = a->n == b->n && memcmp(a->data, b->data, a->n * sizeof(float)) == 0;
    rcd_bound_unref(want);
    return ok;
}

int main(int argc, char **argv)
{
    if (argc != 8)
        return 2;
    size_t n = 0;
    const int64_t xd[2] = {strtoll(argv[2], NULL, 10), strtoll(argv[3], NULL, 10)};
    const int64_t ed[2] = {2, strtoll(argv[5], NULL, 10)};
    struct rcd_error err = {.code = RCD_OK};
    s.plan = rig_load(argv[1]);
    if (!rcd_tensor_shape(&s.in[0], RCD_F32, 2, xd) || !rcd_tensor_shape(&s.in[1], RCD_I64, 2, ed))
        return 2;
    s.in[0].data = rig_read(argv[4], &n);
    int64_t *index = rig_read(argv[6], &n);
    s.edges = (size_t)ed[1];
    s.cap = s.edges + (1 << 20);
    for (int r = 0; r < 2; r++) {
        s.ends[r] = rcd_alloc_aligned(s.cap * sizeof(int64_t));
        if (s.ends[r] == NULL)
            rig_die("memory", NULL);
        memcpy(s.ends[r], index + (size_t)r * s.edges, s.edges * sizeof(int64_t));
    }
    rcd_free(index);
    s.x = rcd_exec_new((size_t)1 << 33, (size_t)1 << 30);
    if (s.x == NULL ||
        rcd_exec_set_threads(s.x, (unsigned)strtoul(argv[7], NULL, 10), &err) != RCD_OK)
        rig_die("exec", &err);
    s.b = anew(true);
    if (rcd_bound_not_live(s.b) != NULL)
        rig_die(rcd_bound_not_live(s.b), NULL);
    char line[200];
    printf("ready %zu\n", rcd_bound_bytes(s.b));
    while (fflush(stdout) == 0 && fgets(line, sizeof line, stdin) != NULL) {
        if (strncmp(line, "change ", 7) == 0) {
            for (size_t k = strtoul(line + 7, NULL, 10); k > 0 && s.edges + 4 < s.cap; k--)
                change();
            puts("");
        } else if (strcmp(line, "check\n") == 0) {
            printf("%d\n", check());
        } else {
            uint64_t t = rcd_now_ns();
            rcd_bound *b = anew(false);
            printf("%.4f\n", (double)(rcd_now_ns() - t) / 1e6);
            rcd_bound_unref(b);
        }
    }
    rcd_bound_unref(s.b);
    rcd_exec_free(s.x);
    rcd_plan_unref(s.plan);
    return 0;
}
