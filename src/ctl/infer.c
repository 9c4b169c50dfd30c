/* infer.c - the command `infer`: a whole request from a file, or inputs that are JSON lists; their
 * datatypes come from the model's metadata. */
#include "ctl_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_MAX_LEN = 1024, FILE_MAX = 512 << 20, NAME_MAX_LEN = 256 };

int rcd__read_whole(const char *path, struct rcd_buf *out)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *f = is_stdin ? stdin : fopen(path, "rb");
    int status = CTL_OK;
    rcd_buf_init(out, FILE_MAX);
    if (f == NULL)
        return rcd__complain(CTL_USAGE, "%s: %s", path, strerror(errno));
    char piece[16384];
    for (size_t n = 1; n > 0 && !out->failed;) {
        n = fread(piece, 1, sizeof piece, f);
        (void)rcd_buf_append(out, piece, n);
    }
    if (ferror(f))
        status = rcd__complain(CTL_USAGE, "%s: %s", path, strerror(errno));
    else if (out->failed)
        status = rcd__complain(CTL_USAGE, "%s is too large", path);
    if (!is_stdin)
        fclose(f);
    return status;
}

/* The value of --input: JSON, or @FILE with JSON in it. */
static json_t *input_data(const char *name, const char *value)
{
    json_error_t bad;
    json_t *data = NULL;
    if (value[0] != '@') {
        data = json_loads(value, JSON_DECODE_ANY, &bad);
    } else {
        struct rcd_buf text;
        int status = rcd__read_whole(value + 1, &text);
        if (status == CTL_OK)
            data = json_loadb(text.data, text.len, JSON_DECODE_ANY, &bad);
        rcd_buf_done(&text);
        if (status != CTL_OK)
            return NULL;
    }
    if (data == NULL)
        rcd__complain(CTL_USAGE, "input '%s' is no JSON: line %d, column %d: %s", name, bad.line,
                      bad.column, bad.text);
    return data;
}

/* The flat elements of nested lists: what "data" holds in row-major order. */
static void flatten(json_t *data, json_t *out)
{
    size_t i;
    json_t *e;
    if (!json_is_array(data))
        json_array_append(out, data);
    json_array_foreach(data, i, e) flatten(e, out);
}

static json_t *declared_input(const json_t *metadata, const char *name)
{
    size_t i;
    json_t *io;
    json_array_foreach(json_object_get(metadata, "inputs"), i, io)
    {
        const char *io_name = json_string_value(json_object_get(io, "name"));
        if (io_name != NULL && strcmp(io_name, name) == 0)
            return io;
    }
    return NULL;
}

/* NAME=VALUE -> an element of "inputs". */
static int add_input(const struct ctl_args *args, const char *text, const json_t *metadata,
                     json_t *inputs)
{
    char name[NAME_MAX_LEN];
    struct rcd_error err;
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text || (size_t)(equals - text) >= sizeof name)
        return rcd__complain(CTL_USAGE, "--input %s: expected NAME=JSON or NAME=@FILE", text);
    memcpy(name, text, (size_t)(equals - text));
    name[equals - text] = '\0';
    const json_t *io = declared_input(metadata, name);
    if (io == NULL)
        return rcd__complain(CTL_USAGE, "model '%s' has no input '%s'", args->model, name);
    json_t *data = input_data(name, equals + 1);
    if (data == NULL)
        return CTL_USAGE;
    json_t *shape = rcd__input_shape(data, json_object_get(io, "shape"), &err);
    if (shape == NULL) {
        json_decref(data);
        return rcd__complain(CTL_USAGE, "input '%s': %s", name, err.text);
    }
    json_t *flat = json_array();
    flatten(data, flat);
    json_decref(data);
    const bool ids = args->graph != NULL && json_is_string(json_array_get(flat, 0)); /* of nodes */
    json_array_append_new(
        inputs, json_pack("{s:s, s:s, s:o, s:o}", "name", name, "datatype",
                          ids ? "BYTES" : json_string_value(json_object_get(io, "datatype")),
                          "shape", shape, "data", flat));
    return CTL_OK;
}

/* --nodes: a list of indices, or of ids; TYPE=LIST for those of a type. */
static int add_nodes(const struct ctl_args *args, json_t *inputs)
{
    char name[256] = "nodes";
    const size_t type = strcspn(args->nodes, "=[@");
    const char *list = args->nodes;
    if (list[type] == '=') {
        snprintf(name, sizeof name, "%.*s.nodes", (int)(type < 200 ? type : 200), list);
        list += type + 1;
    }
    json_t *data = input_data("nodes", list);
    if (data == NULL)
        return CTL_USAGE;
    bool ids = json_is_string(json_array_get(data, 0));
    json_array_append_new(inputs, json_pack("{s:s, s:s, s:[i], s:o}", "name", name, "datatype",
                                            ids ? "BYTES" : "INT64", "shape",
                                            (int)json_array_size(data), "data", data));
    return CTL_OK;
}

static int request_from_inputs(const struct ctl_args *args, const char *model_path,
                               struct rcd_buf *out)
{
    struct ctl_args quiet = *args;
    json_t *metadata = NULL, *inputs = json_array();
    quiet.json = false;
    rcd_buf_init(out, FILE_MAX);
    int status = rcd__call_json(&quiet, model_path, NULL, 0, &metadata);
    for (size_t i = 0; status == CTL_OK && i < args->n_inputs; i++)
        status = add_input(args, args->inputs[i], metadata, inputs);
    if (status == CTL_OK && args->nodes != NULL)
        status = add_nodes(args, inputs);
    json_t *request = json_pack("{s:o}", "inputs", inputs);
    if (args->graph != NULL)
        json_object_set_new(request, "parameters", json_pack("{s:s}", "graph", args->graph));
    if (status == CTL_OK) {
        char *text = json_dumps(request, JSON_COMPACT);
        if (text == NULL || rcd_buf_puts(out, text) != RCD_OK)
            status = rcd__complain(CTL_REFUSED, "no memory for the request");
        free(text);
    }
    json_decref(request);
    json_decref(metadata);
    return status;
}

int rcd__command_infer(const struct ctl_args *args)
{
    char path[PATH_MAX_LEN], infer_path[PATH_MAX_LEN + 8];
    bool ok = rcd__call_path(path, sizeof path, "/v2/models/", args->model, "");
    if (ok && args->version != NULL) {
        char before[PATH_MAX_LEN];
        ok = snprintf(before, sizeof before, "%s/versions/", path) < (int)sizeof before &&
             rcd__call_path(path, sizeof path, before, args->version, "");
    }
    if (!ok)
        return rcd__complain(CTL_USAGE, "the model's name is too long");
    snprintf(infer_path, sizeof infer_path, "%s/infer", path);
    struct rcd_buf request;
    struct ctl_args printing = *args;
    printing.json = true;
    int status = args->request_file != NULL ? rcd__read_whole(args->request_file, &request)
                                            : request_from_inputs(args, path, &request);
    if (status == CTL_OK)
        status = rcd__call_json(&printing, infer_path, request.len > 0 ? request.data : "",
                                request.len, NULL);
    rcd_buf_done(&request);
    return status;
}
