/* commands.c - models, ready, stats, load, unload: a call each, and its answer as a table. */
#include "ctl_int.h"

#include <string.h>

enum { PATH_MAX_LEN = 1024, CELL_MAX = 400 };

/* A string of the server, safe for a terminal. */
static const char *cell(const json_t *row, const char *key, char *out)
{
    const char *text = json_string_value(json_object_get(row, key));
    return text != NULL ? rcd_quote(out, CELL_MAX, text, strlen(text)) : "-";
}

static int width_of(const json_t *rows, const char *key, int least)
{
    size_t i;
    const json_t *row;
    json_array_foreach(rows, i, row)
    {
        size_t n = json_string_length(json_object_get(row, key));
        if (n > (size_t)least && n < 64)
            least = (int)n;
    }
    return least;
}

int rcd__command_models(const struct ctl_args *args)
{
    json_t *rows = NULL;
    int status = rcd__call_json(args, "/v2/repository/index", "", 0, &rows);
    if (status == CTL_OK && !args->json) {
        char name[CELL_MAX], version[CELL_MAX], state[CELL_MAX], reason[CELL_MAX];
        int wide = width_of(rows, "name", 5);
        size_t i;
        const json_t *row;
        printf("%-*s  %-7s  %-11s  %s\n", wide, "MODEL", "VERSION", "STATE", "REASON");
        json_array_foreach(rows, i, row) printf(
            "%-*s  %-7s  %-11s  %s\n", wide, cell(row, "name", name), cell(row, "version", version),
            cell(row, "state", state), cell(row, "reason", reason));
    }
    json_decref(rows);
    return status;
}

int rcd__command_ready(const struct ctl_args *args)
{
    char path[PATH_MAX_LEN] = "/v2/health/ready";
    struct ctl_reply r;
    if (args->model != NULL &&
        !rcd__call_path(path, sizeof path, "/v2/models/", args->model, "/ready"))
        return rcd__complain(CTL_USAGE, "the model's name is too long");
    int status = rcd__call(args, path, NULL, 0, &r);
    if (status == CTL_OK) {
        bool ready = r.status == 200;
        if (args->json && r.body.len > 0)
            printf("%.*s\n", (int)r.body.len, r.body.data);
        else
            printf("%s\n", ready ? "ready" : "not ready");
        status = ready ? CTL_OK : CTL_REFUSED;
    }
    rcd__reply_done(&r);
    return status;
}

static double mean_ms(const json_t *stats, const char *phase)
{
    const json_t *p = json_object_get(stats, phase);
    json_int_t n = json_integer_value(json_object_get(p, "count"));
    return n > 0 ? (double)json_integer_value(json_object_get(p, "ns")) / 1e6 / (double)n : 0.0;
}

int rcd__command_stats(const struct ctl_args *args)
{
    char path[PATH_MAX_LEN] = "/v2/models/stats";
    json_t *answer = NULL;
    if (args->model != NULL &&
        !rcd__call_path(path, sizeof path, "/v2/models/", args->model, "/stats"))
        return rcd__complain(CTL_USAGE, "the model's name is too long");
    int status = rcd__call_json(args, path, NULL, 0, &answer);
    if (status == CTL_OK && !args->json) {
        const json_t *rows = json_object_get(answer, "model_stats"), *row;
        char name[CELL_MAX], version[CELL_MAX];
        int wide = width_of(rows, "name", 5);
        size_t i;
        printf("%-*s  %-7s  %10s  %10s  %7s  %9s  %9s  %9s\n", wide, "MODEL", "VERSION", "ROWS",
               "RUNS", "FAILED", "MEAN ms", "QUEUE ms", "INFER ms");
        json_array_foreach(rows, i, row)
        {
            const json_t *s = json_object_get(row, "inference_stats");
            printf(
                "%-*s  %-7s  %10lld  %10lld  %7lld  %9.3f  %9.3f  %9.3f\n", wide,
                cell(row, "name", name), cell(row, "version", version),
                (long long)json_integer_value(json_object_get(row, "inference_count")),
                (long long)json_integer_value(json_object_get(row, "execution_count")),
                (long long)json_integer_value(json_object_get(json_object_get(s, "fail"), "count")),
                mean_ms(s, "success"), mean_ms(s, "queue"), mean_ms(s, "compute_infer"));
        }
    }
    json_decref(answer);
    return status;
}

static int control(const struct ctl_args *args, const char *verb, const char *done)
{
    char path[PATH_MAX_LEN], quoted[CELL_MAX];
    if (!rcd__call_path(path, sizeof path, "/v2/repository/models/", args->model, verb))
        return rcd__complain(CTL_USAGE, "the model's name is too long");
    int status = rcd__call_json(args, path, "", 0, NULL);
    if (status == CTL_OK && !args->json)
        printf("%s %s\n", rcd_quote(quoted, sizeof quoted, args->model, strlen(args->model)), done);
    return status;
}

int rcd__command_load(const struct ctl_args *args)
{
    return control(args, "/load", "is loaded");
}

int rcd__command_unload(const struct ctl_args *args)
{
    return control(args, "/unload", "is unloaded");
}
