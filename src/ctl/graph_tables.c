/* graph_tables.c - a table of edges, and one of nodes, from CSV files become the request that registers a graph. */
#include "csv.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define FLAT SIZE_MAX

/* ---- tables -> tensors ------------------------------------------------------------------------------- */

static void put_text(struct rcd_buf *b, const char *text)
{
    json_t *s = json_string(text);
    char *quoted = json_dumps(s, JSON_ENCODE_ANY);
    if (quoted == NULL)
        b->failed = true;
    else
        (void)rcd_buf_puts(b, quoted);
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
            const float v = strtof(cell, NULL);
            if (!rcd__csv_is_number(cell))
                return rcd__complain(CTL_USAGE, "%s: line %zu, column %zu: '%s' is no number%s",
                                     t->file, t->lines[r], c + 1, cell,
                                     strchr(cell, ',') != NULL ? " (decimals have a point)" : "");
            if (isinf(v))
                return rcd__complain(CTL_USAGE, "%s: line %zu, column %zu: %s is beyond %.9g",
                                     t->file, t->lines[r], c + 1, cell, (double)FLT_MAX);
            (void)rcd_buf_printf(b, "%s%.9g", r + c > from ? "," : "", (double)v);
        }
    }
    (void)rcd_buf_puts(b, "]}");
    return CTL_OK;
}

/* An index as people write one; 007 and numbers that the server takes for no index are names. */
static bool is_index(const char *cell)
{
    const size_t digits = strspn(cell, "0123456789");
    return digits > 0 && digits <= 10 && cell[digits] == '\0' && (cell[0] != '0' || digits == 1) &&
           strtoll(cell, NULL, 10) < INT32_MAX;
}

/* Rows [from, ...) of the first two columns. */
static bool have_indices(const struct rcd__csv *t, size_t from)
{
    for (size_t r = from; r < t->rows; r++) {
        for (size_t c = 0; c < 2; c++) {
            if (!is_index(t->cells[r * t->columns + c]))
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

/* ---- heads: what the first line of a table is ----------------------------------------------------------- */

/* Is this column's name the word, or the word and "id", "node" (source_id, SourceNode)? */
static bool is_word(const char *cell, const char *word)
{
    const size_t len = strlen(word);
    if (strncasecmp(cell, word, len) != 0)
        return false;
    const char *rest = cell + len + strspn(cell + len, "_ ");
    return *rest == '\0' || strcasecmp(rest, "id") == 0 || strcasecmp(rest, "node") == 0 ||
           strcasecmp(rest, "nodeid") == 0 || strcasecmp(rest, "node_id") == 0;
}

/* The names that tools give the ends of an edge: no nodes. */
static bool names_ends(const struct rcd__csv *t)
{
    static const char *const ends[][2] = {{"source", "target"},
                                          {"src", "dst"},
                                          {"src", "dest"},
                                          {"from", "to"},
                                          {"start", "end"},
                                          {"head", "tail"},
                                          {"u", "v"},
                                          {"node1", "node2"},
                                          {"node_1", "node_2"},
                                          {"id1", "id2"},
                                          {"id_1", "id_2"},
                                          {"citing", "cited"},
                                          {"sender", "receiver"},
                                          {"parent", "child"},
                                          {"follower", "followee"},
                                          {"source", "destination"}};
    for (size_t i = 0; i < RCD_COUNT(ends); i++) {
        if (is_word(t->cells[0], ends[i][0]) && is_word(t->cells[1], ends[i][1]))
            return true;
    }
    return false;
}

/* `ids`: the names of the nodes, NULL: nobody says which there are. */
static bool edges_have_head(const struct rcd__csv *t, const json_t *ids)
{
    const char *const *c = t->cells;
    if (t->columns > 2 && rcd__csv_is_number(c[2]))
        return false;
    if (names_ends(t))
        return true;
    if (t->columns > 2)
        return t->rows > 1 && !is_index(c[0]) && !is_index(c[1]) && rcd__csv_has_head(t, 2);
    if (ids != NULL)
        return json_object_get(ids, c[0]) == NULL && json_object_get(ids, c[1]) == NULL &&
               t->rows > 1;
    return t->rows > 1 && !is_index(c[0]) && !is_index(c[1]) && have_indices(t, 1);
}

static bool nodes_have_head(const struct rcd__csv *t)
{
    static const char *const ids[] = {"id", "node", "name", "key", "index"};
    if (t->columns > 1)
        return rcd__csv_has_head(t, 1);
    for (size_t i = 0; i < RCD_COUNT(ids); i++) {
        if (is_word(t->cells[0], ids[i]))
            return true;
    }
    return false;
}

/* ---- the tables ------------------------------------------------------------------------------------------ */

static int read_nodes(const char *file, struct rcd__csv *t, json_t *ids)
{
    int status = rcd__csv_read(t, file, false);
    if (status == CTL_OK && nodes_have_head(t))
        status = rcd__csv_take_head(t);
    if (status == CTL_OK && t->rows == 0)
        status = rcd__complain(CTL_USAGE, "%s has no rows", file);
    for (size_t r = 0; status == CTL_OK && r < t->rows; r++) {
        const char *id = t->cells[r * t->columns];
        const json_t *line = json_object_get(ids, id);
        if (line != NULL)
            status = rcd__complain(CTL_USAGE, "%s: lines %lld and %zu have the same id '%s'", file,
                                   (long long)json_integer_value(line), t->lines[r], id);
        else if (json_object_set_new(ids, id, json_integer((json_int_t)t->lines[r])) != 0)
            status = rcd__complain(CTL_REFUSED, "no memory for %s", file);
    }
    return status;
}

static int check_ends(const struct rcd__csv *t, const json_t *ids, const char *nodes_file)
{
    for (size_t r = 0; r < t->rows; r++) {
        for (size_t c = 0; c < 2; c++) {
            const char *cell = t->cells[r * t->columns + c];
            if (json_object_get(ids, cell) == NULL)
                return rcd__complain(CTL_USAGE, "%s: line %zu, column %zu: '%s' is no node of %s",
                                     t->file, t->lines[r], c + 1, cell, nodes_file);
        }
    }
    return CTL_OK;
}

static int read_edges(const struct ctl_args *args, struct rcd__csv *t, const json_t *ids)
{
    int status = rcd__csv_read(t, args->edges_file, true);
    if (status == CTL_OK && t->columns < 2)
        status = rcd__complain(CTL_USAGE, "%s: line %zu has 1 column, want source,target[,weight]",
                               args->edges_file, t->lines[0]);
    if (status == CTL_OK && edges_have_head(t, ids))
        status = rcd__csv_take_head(t);
    if (status == CTL_OK && t->rows == 0 && ids == NULL)
        status = rcd__complain(CTL_USAGE, "%s has no rows", args->edges_file);
    if (status == CTL_OK && ids != NULL)
        status = check_ends(t, ids, args->nodes_file);
    return status;
}

int rcd__request_from_tables(const struct ctl_args *args, struct rcd_buf *b)
{
    struct rcd__csv edges = {.rows = 0}, nodes = {.rows = 0};
    json_t *ids = args->nodes_file != NULL ? json_object() : NULL;
    int status = ids != NULL ? read_nodes(args->nodes_file, &nodes, ids) : CTL_OK;
    if (status == CTL_OK)
        status = read_edges(args, &edges, ids);
    const bool by_name = ids != NULL || (status == CTL_OK && !have_indices(&edges, 0));
    (void)rcd_buf_puts(b, "{\"inputs\":[");
    if (status == CTL_OK && ids != NULL)
        status = put_nodes(b, &nodes);
    else if (status == CTL_OK && by_name)
        status = put_names(b, &edges);
    if (status == CTL_OK)
        status = put_edges(b, &edges, by_name);
    (void)rcd_buf_printf(b, "],\"parameters\":{\"undirected\":%s}}",
                         args->undirected ? "true" : "false");
    if (b->failed && status == CTL_OK)
        status = rcd__complain(CTL_REFUSED, "no memory for the request");
    json_decref(ids);
    rcd__csv_done(&edges);
    rcd__csv_done(&nodes);
    return status;
}
