/* graphs.c - the commands for graphs: a table of edges (and one of nodes) from CSV files becomes a
 * request; the others are a call each. */
#include "csv.h"
#include "npz.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_MAX_LEN = 1024, REQUEST_MAX = 1 << 30 };
#define FLAT SIZE_MAX

/* ---- tables -> tensors ------------------------------------------------------------------------------- */

static void put_text(struct rcd_buf *b, const char *text)
{
    json_t *s = json_string(text); /* NULL: not UTF-8 */
    char *quoted = s != NULL ? json_dumps(s, JSON_ENCODE_ANY) : NULL;
    (void)rcd_buf_puts(b, quoted != NULL ? quoted : "\"?\"");
    free(quoted);
    json_decref(s);
}

/* m FLAT: of one axis */
static void put_head(struct rcd_buf *b, const char *name, const char *datatype, size_t n, size_t m)
{
    (void)rcd_buf_printf(b, "%s{\"name\":\"%s\",\"datatype\":\"%s\",\"shape\":[%zu",
                         b->data[b->len - 1] == '[' ? "" : ",", name, datatype, n);
    if (m != FLAT)
        (void)rcd_buf_printf(b, ",%zu", m);
    (void)rcd_buf_puts(b, "],\"data\":[");
}

/* Columns [from, to) as numbers. */
static int put_numbers(struct rcd_buf *b, const struct rcd__csv *t, size_t from, size_t to)
{
    for (size_t r = 0; r < t->rows; r++) {
        for (size_t c = from; c < to; c++) {
            const char *cell = t->cells[r * t->columns + c];
            char *end = NULL;
            const double v = strtod(cell, &end);
            if (!rcd__csv_is_number(cell))
                return rcd__complain(CTL_USAGE, "%s: line %zu, column %zu: '%s' is no number",
                                     t->file, t->lines[r], c + 1, cell);
            (void)rcd_buf_printf(b, "%s%.9g", r + c > from ? "," : "", v);
        }
    }
    (void)rcd_buf_puts(b, "]}");
    return CTL_OK;
}

static bool whole_numbers(const struct rcd__csv *t, size_t columns)
{
    for (size_t r = 0; r < t->rows; r++) {
        for (size_t c = 0; c < columns; c++) {
            const char *cell = t->cells[r * t->columns + c];
            if (cell[0] == '\0' || cell[strspn(cell, "0123456789")] != '\0')
                return false;
        }
    }
    return true;
}

/* Where edges have names and nobody says which nodes there are: the names in order of appearance. */
static int put_names(struct rcd_buf *b, const struct rcd__csv *edges)
{
    json_t *seen = json_object();
    size_t n = 0;
    for (size_t i = 0; seen != NULL && i < 2 * edges->rows; i++) {
        const char *cell = edges->cells[i / 2 * edges->columns + i % 2];
        if (json_object_get(seen, cell) == NULL &&
            json_object_set_new(seen, cell, json_true()) == 0)
            n++;
    }
    put_head(b, "id", "BYTES", n, FLAT);
    const char *key;
    json_t *value;
    size_t i = 0;
    json_object_foreach(seen, key, value)
    {
        (void)rcd_buf_puts(b, i++ > 0 ? "," : "");
        put_text(b, key);
    }
    (void)rcd_buf_puts(b, "]}");
    json_decref(seen);
    return CTL_OK;
}

static int put_edges(struct rcd_buf *b, const struct rcd__csv *t, bool by_name)
{
    int status = CTL_OK;
    put_head(b, "edge_index", by_name ? "BYTES" : "INT64", 2, t->rows);
    for (size_t c = 0; c < 2; c++) {
        for (size_t r = 0; r < t->rows; r++) {
            const char *cell = t->cells[r * t->columns + c];
            (void)rcd_buf_puts(b, r + c > 0 ? "," : "");
            if (by_name)
                put_text(b, cell);
            else
                (void)rcd_buf_puts(b, cell);
        }
    }
    (void)rcd_buf_puts(b, "]}");
    if (t->columns == 3) {
        put_head(b, "edge_weight", "FP32", t->rows, FLAT);
        status = put_numbers(b, t, 2, 3);
    } else if (t->columns > 3) {
        put_head(b, "edge_attr", "FP32", t->rows, t->columns - 2);
        status = put_numbers(b, t, 2, t->columns);
    }
    return status;
}

static int put_nodes(struct rcd_buf *b, const struct rcd__csv *t)
{
    put_head(b, "id", "BYTES", t->rows, FLAT);
    for (size_t r = 0; r < t->rows; r++) {
        (void)rcd_buf_puts(b, r > 0 ? "," : "");
        put_text(b, t->cells[r * t->columns]);
    }
    (void)rcd_buf_puts(b, "]}");
    if (t->columns == 1)
        return CTL_OK;
    put_head(b, "x", "FP32", t->rows, t->columns - 1);
    return put_numbers(b, t, 1, t->columns);
}

/* One line and nothing else: the names of columns, or an edge between two names? */
static bool is_named(const struct rcd__csv *edges)
{
    static const char *const from[] = {"source", "src", "from"};
    bool named = false;
    for (size_t i = 0; edges->head != NULL && i < RCD_COUNT(from); i++)
        named = named || strcmp(edges->head[0], from[i]) == 0;
    return named;
}

static int request_from_tables(const struct ctl_args *args, struct rcd_buf *b)
{
    struct rcd__csv edges, nodes = {.rows = 0};
    int status = rcd__csv_read(&edges, args->edges_file, 2);
    if (status == CTL_OK && edges.head == NULL && !whole_numbers(&edges, 2))
        status = rcd__csv_take_head(&edges, 0); /* "source,target" over names, or over numbers */
    if (status == CTL_OK && edges.columns < 2)
        status =
            rcd__complain(CTL_USAGE, "%s: want columns source,target[,weight]", args->edges_file);
    if (status == CTL_OK && edges.rows == 0 && (args->nodes_file == NULL || !is_named(&edges)))
        status = rcd__complain(CTL_USAGE, "%s has no rows", args->edges_file);
    if (status == CTL_OK && args->nodes_file != NULL)
        status = rcd__csv_read(&nodes, args->nodes_file, 1);
    if (status == CTL_OK && args->nodes_file != NULL && nodes.rows == 0)
        status = rcd__complain(CTL_USAGE, "%s has no rows", args->nodes_file);
    const bool by_name = nodes.rows > 0 || (status == CTL_OK && !whole_numbers(&edges, 2));
    (void)rcd_buf_puts(b, "{\"inputs\":[");
    if (status == CTL_OK && nodes.rows > 0)
        status = put_nodes(b, &nodes);
    else if (status == CTL_OK && by_name)
        status = put_names(b, &edges);
    if (status == CTL_OK)
        status = put_edges(b, &edges, by_name);
    (void)rcd_buf_printf(b, "],\"parameters\":{\"undirected\":%s}}",
                         args->undirected ? "true" : "false");
    if (b->failed && status == CTL_OK)
        status = rcd__complain(CTL_REFUSED, "no memory for the request");
    rcd__csv_done(&edges);
    rcd__csv_done(&nodes);
    return status;
}

/* ---- the commands ------------------------------------------------------------------------------------ */

static int call(const struct ctl_args *args, const char *method, const char *rest, const char *body,
                size_t len, json_t **ret)
{
    char path[PATH_MAX_LEN];
    struct ctl_args a = *args;
    a.method = method;
    if (!rcd__call_path(path, sizeof path, "/v2/graphs/", args->model, rest))
        return rcd__complain(CTL_USAGE, "the graph's name is too long");
    return rcd__call_json(&a, path, body, len, ret);
}

static void print_counts(const json_t *g, const char *key)
{
    const char *type;
    json_t *n;
    json_object_foreach(json_object_get(g, key), type, n)
    {
        char name[200];
        printf("  %lld %s%s%s", (long long)json_integer_value(n), key,
               type[0] != '\0' ? " of " : "", rcd_quote(name, sizeof name, type, strlen(type)));
    }
}

static void print_graph(const json_t *g)
{
    char name[200];
    const char *text = json_string_value(json_object_get(g, "name"));
    printf(
        "%s version %lld:", text != NULL ? rcd_quote(name, sizeof name, text, strlen(text)) : "-",
        (long long)json_integer_value(json_object_get(g, "version")));
    print_counts(g, "nodes");
    print_counts(g, "edges");
    printf("  %lld bytes\n", (long long)json_integer_value(json_object_get(g, "bytes")));
}

static int change(const struct ctl_args *args, const char *method)
{
    struct rcd_buf b;
    struct ctl_args a = *args;
    json_t *answer = NULL;
    int status = CTL_OK;
    if (args->request_file != NULL) {
        status = rcd__read_whole(args->request_file, &b);
    } else {
        rcd_buf_init(&b, REQUEST_MAX);
        status = args->npz_file != NULL
                     ? rcd__request_from_npz(args->npz_file, args->undirected, &b, &a.json_len)
                     : request_from_tables(args, &b);
    }
    if (status == CTL_OK)
        status = call(&a, method, "", b.len > 0 ? b.data : "", b.len, &answer);
    if (status == CTL_OK && !args->json)
        print_graph(answer);
    json_decref(answer);
    rcd_buf_done(&b);
    return status;
}

int rcd__command_graph_put(const struct ctl_args *args)
{
    if ((args->edges_file != NULL) + (args->npz_file != NULL) + (args->request_file != NULL) != 1)
        return rcd__complain(
            CTL_USAGE, "graph-put needs --edges FILE.csv, --npz FILE.npz, or -f REQUEST.json");
    return change(args, "PUT");
}

int rcd__command_graph_patch(const struct ctl_args *args)
{
    if (args->request_file == NULL)
        return rcd__complain(CTL_USAGE, "graph-patch needs -f REQUEST.json");
    return change(args, "PATCH");
}

int rcd__command_graph_show(const struct ctl_args *args)
{
    json_t *answer = NULL;
    int status = call(args, "GET", "", NULL, 0, &answer);
    if (status == CTL_OK && !args->json)
        print_graph(answer);
    json_decref(answer);
    return status;
}

int rcd__command_graph_rm(const struct ctl_args *args)
{
    return call(args, "DELETE", "", NULL, 0, NULL);
}

int rcd__command_graphs(const struct ctl_args *args)
{
    json_t *answer = NULL;
    int status = rcd__call_json(args, "/v2/graphs?limit=1000", NULL, 0, &answer);
    size_t i;
    const json_t *g;
    if (status == CTL_OK && !args->json)
        json_array_foreach(json_object_get(answer, "graphs"), i, g) print_graph(g);
    json_decref(answer);
    return status;
}

int rcd__command_plan(const struct ctl_args *args)
{
    char path[PATH_MAX_LEN];
    struct ctl_reply r;
    if (!rcd__call_path(path, sizeof path, "/v2/models/", args->model, "/plan"))
        return rcd__complain(CTL_USAGE, "the model's name is too long");
    int status = rcd__call(args, path, NULL, 0, &r);
    if (status == CTL_OK && r.status != 200)
        status = rcd__complain(CTL_REFUSED, "%.*s", (int)r.body.len, r.body.data);
    else if (status == CTL_OK)
        printf("%.*s", (int)r.body.len, r.body.data);
    rcd__reply_done(&r);
    return status;
}
