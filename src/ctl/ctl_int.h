/* ctl_int.h - the parts of recurctl: one HTTP call at a time, and the commands made of it. */
#pragma once
#include "recurd/base.h"

#include <jansson.h>

/** Exit status: 0 done, 1 the server refused or cannot be reached, 2 wrong usage or input. */
enum { CTL_OK = 0, CTL_REFUSED = 1, CTL_USAGE = 2 };

/** What the command line said. Strings are argv's. */
struct ctl_args {
    const char *server; /* URL without path, or unix:/path */
    const char *command, *model, *version, *request_file;
    const char *graph, *nodes; /* infer: parameter "graph"; JSON list of nodes */
    const char *edges_file, *nodes_file, *npz_file;
    size_t json_len;    /* of a body with binary tensors behind it; 0: none */
    const char *method; /* NULL: GET without a body, POST with one */
    bool undirected;
    bool report;         /* quantize */
    const char **inputs; /* NAME=VALUE, n_inputs of them */
    size_t n_inputs;
    unsigned long timeout_s;
    bool json; /* print the server's answer as it is */
};

/** An answer of the server; release with rcd__reply_done. */
struct ctl_reply {
    long status;
    struct rcd_buf body;
};

/** "/v2/models/" and the like, then `name` percent-encoded, then `rest`; false when too long. */
bool rcd__call_path(char *out, size_t cap, const char *before, const char *name, const char *rest);
/** Send `body` (NULL: GET) to args->server. 0 with a filled reply for whatever HTTP status, or
 * CTL_REFUSED with a message printed. */
int rcd__call(const struct ctl_args *args, const char *path, const char *body, size_t body_len,
              struct ctl_reply *ret);
/** As rcd__call, and a status other than 200 is printed and CTL_REFUSED; the JSON of the answer
 * goes to *ret_json (may be NULL), which the caller releases. With --json the body is printed. */
int rcd__call_json(const struct ctl_args *args, const char *path, const char *body, size_t body_len,
                   json_t **ret_json);
void rcd__reply_done(struct ctl_reply *r);

/** The commands; each returns the exit status. */
int rcd__command_models(const struct ctl_args *args);
int rcd__command_ready(const struct ctl_args *args);
int rcd__command_stats(const struct ctl_args *args);
int rcd__command_load(const struct ctl_args *args);
int rcd__command_unload(const struct ctl_args *args);
int rcd__command_infer(const struct ctl_args *args);
int rcd__command_plan(const struct ctl_args *args);
int rcd__command_graphs(const struct ctl_args *args);
int rcd__command_graph_put(const struct ctl_args *args);
int rcd__command_graph_patch(const struct ctl_args *args);
int rcd__command_graph_show(const struct ctl_args *args);
int rcd__command_graph_rm(const struct ctl_args *args);
int rcd__command_quantize(const struct ctl_args *args);

/** A file's bytes; "-" is standard input. A message is printed when it fails. */
int rcd__read_whole(const char *path, struct rcd_buf *out);

/** The "shape" of one input: the nesting of `data`, or, for a flat list, the sizes that the model's
 * `declared` shape leaves open filled in: the last open size takes what there is, the others are 1.
 * NULL and a message in `err` when they cannot be brought together. */
json_t *rcd__input_shape(const json_t *data, const json_t *declared, struct rcd_error *err);

/** "recurctl: ..." on standard error; returns `status`. */
int rcd__complain(int status, const char *fmt, ...) RCD_PRINTF(2, 3);
