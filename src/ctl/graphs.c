/* graphs.c - the commands for graphs: each is a call; a body comes from tables (graph_tables.c), arrays (npz.c) or a
 * file. */
#include "csv.h"
#include "npz.h"

#include <string.h>

enum { PATH_MAX_LEN = 1024, REQUEST_MAX = 1 << 30 };

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
                     : rcd__request_from_tables(args, &b);
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
    if (args->nodes != NULL)
        return rcd__complain(CTL_USAGE, "--nodes is of infer; a table of nodes is --nodes-file %s",
                             args->nodes);
    if (args->nodes_file != NULL && args->edges_file == NULL)
        return rcd__complain(CTL_USAGE, "--nodes-file goes with --edges FILE.csv");
    if (args->undirected && args->request_file != NULL)
        return rcd__complain(CTL_USAGE, "--undirected: -f says so itself, in its \"parameters\"");
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
