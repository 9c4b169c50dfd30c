/* main.c - recurctl, the command-line client: arguments, and which command they mean. */
#include "ctl_int.h"

#include <curl/curl.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "usage: recurctl [OPTIONS] COMMAND\n"
    "\n"
    "  models                  the repository: versions, states, reasons of failures\n"
    "  infer MODEL --input NAME=JSON ... | -f REQUEST.json\n"
    "                          one request; JSON may be @FILE, flat or nested lists; the\n"
    "                          answer is printed as JSON. -f takes a whole request, - is\n"
    "                          standard input\n"
    "                          --graph NAME: what the inputs leave out comes from this graph;\n"
    "                          --nodes JSON: only the rows of these nodes, by index or id;\n"
    "                          TYPE=JSON where nodes have types\n"
    "  plan MODEL              what became of the file: nodes, fusions, warnings\n"
    "  graphs                  the graphs that the server keeps\n"
    "  graph-put NAME --edges E.csv [--nodes-file N.csv] [--undirected] | --npz F.npz | -f "
    "REQUEST.json\n"
    "                          register a graph; E: source,target[,weight], N: id[,features];\n"
    "                          without N numbers are indices, which count from 0; F: numpy's\n"
    "                          arrays by their names (x, edge_index, paper.x, ...)\n"
    "  graph-patch NAME -f REQUEST.json\n"
    "                          change it: add.*, remove.*, set.*\n"
    "  graph-show NAME, graph-rm NAME\n"
    "  quantize --report FOLDER [-f REQUEST.json]\n"
    "                          what bf16 and int8 weights do to a model, or to each model of a\n"
    "                          folder: size, speed, differences from f32. Runs here, without a\n"
    "                          server, on made-up inputs; -f: on those of a request (one model)\n"
    "  load MODEL              load or reload a model\n"
    "  unload MODEL            stop serving a model\n"
    "  stats [MODEL]           counters and mean times\n"
    "  ready [MODEL]           is the server (the model) ready?\n"
    "\n"
    "  --server URL            default: $RECURD_SERVER, else http://127.0.0.1:8000;\n"
    "                          unix:/path for a socket\n"
    "  --version N             for infer: this version of the model\n"
    "  --timeout SECONDS       for the whole call, default 60\n"
    "  --json                  print the server's JSON instead of a table\n"
    "  --help\n"
    "\n"
    "Exit status: 0 done, 1 the server refused or cannot be reached, 2 wrong usage.\n";

struct command {
    const char *name;
    int (*run)(const struct ctl_args *args);
    int models_min, models_max; /* how many model names it takes */
};

static const struct command commands[] = {
    {"models", rcd__command_models, 0, 0},
    {"infer", rcd__command_infer, 1, 1},
    {"load", rcd__command_load, 1, 1},
    {"unload", rcd__command_unload, 1, 1},
    {"stats", rcd__command_stats, 0, 1},
    {"ready", rcd__command_ready, 0, 1},
    {"plan", rcd__command_plan, 1, 1},
    {"graphs", rcd__command_graphs, 0, 0},
    {"graph-put", rcd__command_graph_put, 1, 1},
    {"graph-patch", rcd__command_graph_patch, 1, 1},
    {"graph-show", rcd__command_graph_show, 1, 1},
    {"graph-rm", rcd__command_graph_rm, 1, 1},
    {"quantize", rcd__command_quantize, 1, 1},
};

int rcd__complain(int status, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    fputs("recurctl: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    va_end(ap);
    return status;
}

static int parse_seconds(const char *text, unsigned long *ret)
{
    char *end = NULL;
    errno = 0;
    *ret = strtoul(text, &end, 10);
    if (errno != 0 || text[0] < '0' || text[0] > '9' || *end != '\0' || *ret == 0 || *ret > 86400)
        return rcd__complain(CTL_USAGE, "--timeout %s: expected seconds, 1 to 86400", text);
    return CTL_OK;
}

/* An option with its value, given as "--option VALUE" or "--option=VALUE"; steps *i past it. */
static const char *value_of(const char *option, int argc, char **argv, int *i)
{
    size_t n = strlen(option);
    if (strncmp(argv[*i], option, n) != 0)
        return NULL;
    if (option[1] == '-' && argv[*i][n] == '=')
        return argv[*i] + n + 1;
    return argv[*i][n] == '\0' && *i + 1 < argc ? argv[++*i] : NULL;
}

static int parse_option(struct ctl_args *a, int argc, char **argv, int *i)
{
    const char *arg = argv[*i], *v;
    if (strcmp(arg, "--json") == 0)
        a->json = true;
    else if ((v = value_of("--server", argc, argv, i)) != NULL)
        a->server = v;
    else if ((v = value_of("--version", argc, argv, i)) != NULL)
        a->version = v;
    else if ((v = value_of("--timeout", argc, argv, i)) != NULL)
        return parse_seconds(v, &a->timeout_s);
    else if ((v = value_of("--input", argc, argv, i)) != NULL)
        a->inputs[a->n_inputs++] = v;
    else if ((v = value_of("-f", argc, argv, i)) != NULL)
        a->request_file = v;
    else if ((v = value_of("--graph", argc, argv, i)) != NULL)
        a->graph = v;
    else if ((v = value_of("--npz", argc, argv, i)) != NULL)
        a->npz_file = v;
    else if ((v = value_of("--nodes-file", argc, argv, i)) != NULL)
        a->nodes_file = v;
    else if ((v = value_of("--nodes", argc, argv, i)) != NULL)
        a->nodes = v;
    else if ((v = value_of("--edges", argc, argv, i)) != NULL)
        a->edges_file = v;
    else if (strcmp(arg, "--undirected") == 0)
        a->undirected = true;
    else if (strcmp(arg, "--report") == 0)
        a->report = true;
    else
        return rcd__complain(CTL_USAGE, "option '%s' is not known or lacks its value; see --help",
                             arg);
    return CTL_OK;
}

static int parse(struct ctl_args *a, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        int status = CTL_OK;
        if (argv[i][0] == '-')
            status = parse_option(a, argc, argv, &i);
        else if (a->command == NULL)
            a->command = argv[i];
        else if (a->model == NULL)
            a->model = argv[i];
        else
            status = rcd__complain(CTL_USAGE, "'%s' is one argument too many", argv[i]);
        if (status != CTL_OK)
            return status;
    }
    return CTL_OK;
}

static int run(const struct ctl_args *a)
{
    if (a->command == NULL)
        return rcd__complain(CTL_USAGE, "which command? See recurctl --help");
    for (size_t i = 0; i < RCD_COUNT(commands); i++) {
        const struct command *c = &commands[i];
        if (strcmp(c->name, a->command) != 0)
            continue;
        int n = a->model != NULL;
        bool is_infer = c->run == rcd__command_infer;
        if (n < c->models_min)
            return rcd__complain(CTL_USAGE, "%s needs a name", c->name);
        if (n > c->models_max)
            return rcd__complain(CTL_USAGE, "%s takes no model", c->name);
        bool takes_file =
            is_infer || c->run == rcd__command_quantize || strncmp(c->name, "graph-p", 7) == 0;
        if (is_infer && (a->n_inputs > 0 || a->graph != NULL) == (a->request_file != NULL))
            return rcd__complain(CTL_USAGE, "infer needs --input NAME=JSON, or -f FILE");
        if (!is_infer &&
            (a->n_inputs > 0 || a->version != NULL || (a->request_file != NULL && !takes_file)))
            return rcd__complain(CTL_USAGE, "%s takes no --input, -f or --version", c->name);
        return c->run(a);
    }
    return rcd__complain(CTL_USAGE, "command '%s' is not known; see recurctl --help", a->command);
}

int main(int argc, char **argv)
{
    const char *server = getenv("RECURD_SERVER");
    struct ctl_args a = {
        .server = server != NULL && server[0] != '\0' ? server : "http://127.0.0.1:8000",
        .timeout_s = 60,
    };
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            fputs(help_text, stdout);
            return CTL_OK;
        }
    }
    a.inputs = rcd_calloc((size_t)argc + 1, sizeof *a.inputs);
    if (a.inputs == NULL || curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        rcd_free(a.inputs);
        return rcd__complain(CTL_REFUSED, "no memory");
    }
    int status = parse(&a, argc, argv);
    if (status == CTL_OK)
        status = run(&a);
    curl_global_cleanup();
    rcd_free(a.inputs);
    if (fflush(stdout) != 0 && status == CTL_OK)
        status = rcd__complain(CTL_REFUSED, "standard output: %s", strerror(errno));
    return status;
}
