/* infer_inputs.c - a request's body as inputs of the plan: inflate, decode, match by name, and work
 * out which outputs are wanted in which form. Runs on the loop or on a worker. */
#include "graph_objects.h"

#include <stdio.h>
#include <string.h>

enum { MAX_RATIO = 100, MAX_DEPTH = 100, MAX_INPUTS = 1024 };

/* ---- names ---------------------------------------------------------------------------------- */

static size_t find(const struct rcd_io *io, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(io[i].name, name) == 0)
            return i;
    return n;
}

static rcd_status unknown(const struct rcd__infer *x, const char *what, const char *name,
                          const struct rcd_io *io, size_t n, struct rcd_error *err)
{
    char quoted[64], known[160];
    size_t len = 0;
    known[0] = '\0';
    for (size_t i = 0; i < n && len < sizeof(known) - 1; i++) {
        int more =
            snprintf(known + len, sizeof(known) - len, "%s%s", i == 0 ? "" : ", ", io[i].name);
        len += more > 0 ? (size_t)more : 0;
    }
    return rcd_fail(err, RCD_EINVAL, "model '%s' has no %s '%s'; it has: %s",
                    rcd_version_model(x->version), what,
                    rcd_quote(quoted, sizeof(quoted), name, strlen(name)), known);
}

static rcd_status no_memory(struct rcd_error *err)
{
    return rcd_fail(err, RCD_ENOMEM, "no memory for the request");
}

/* ---- the raw form ---------------------------------------------------------------------------- */

rcd_status rcd__raw_shape(const struct rcd_io *io, size_t len, int64_t dims[RCD_MAX_RANK],
                          struct rcd_error *err)
{
    int open = -1, n_open = 0;
    size_t known = io->dtype == RCD_BYTES ? 1 : rcd_dtype_size(io->dtype);
    if (io->rank < 0)
        return rcd_fail(err, RCD_EINVAL, "input '%s' has no fixed rank: give its shape", io->name);
    for (int d = 0; d < io->rank; d++)
        n_open += io->dims[d] < 0;
    for (int d = 0; d < io->rank; d++) {
        dims[d] = io->dims[d];
        if (dims[d] < 0 && ((d == 0 && n_open > 1) || io->dtype == RCD_BYTES)) {
            dims[d] = 1; /* the batch of one; or the one element that BYTES can be */
        } else if (dims[d] < 0) {
            if (open >= 0)
                return rcd_fail(err, RCD_EINVAL,
                                "input '%s' has several variable dimensions: give its shape",
                                io->name);
            open = d;
            continue;
        }
        if (!rcd_mul(known, (size_t)dims[d], &known))
            return rcd_fail(err, RCD_EINVAL, "input '%s' is too large", io->name);
    }
    if (io->dtype == RCD_BYTES) {
        if (known != 1)
            return rcd_fail(err, RCD_EINVAL, "input '%s' has more than one element", io->name);
        return RCD_OK;
    }
    if (open >= 0 && known > 0 && len % known == 0) {
        dims[open] = (int64_t)(len / known);
        return RCD_OK;
    }
    if (open < 0 && known == len)
        return RCD_OK;
    return rcd_fail(err, RCD_EINVAL, "input '%s' takes %s%zu bytes, the body has %zu", io->name,
                    open >= 0 ? "a multiple of " : "", known, len);
}

static rcd_status take_raw(struct rcd__infer *x, const struct rcd_io *io, size_t n,
                           struct rcd_tensor *in, struct rcd_error *err)
{
    size_t at = n, needed = 0;
    int64_t dims[RCD_MAX_RANK];
    for (size_t i = 0; i < n; i++) {
        if (io[i].optional)
            continue;
        at = i;
        needed++;
    }
    if (needed != 1)
        return rcd_fail(err, RCD_EINVAL,
                        "model '%s' has %zu inputs that must be given; a body without JSON works "
                        "for one only",
                        rcd_version_model(x->version), needed);
    rcd_status st = rcd__raw_shape(&io[at], x->wire.raw_len, dims, err);
    if (st != RCD_OK)
        return st;
    if (io[at].dtype != RCD_BYTES)
        return rcd_wire_tensor(&x->arena, io[at].dtype, io[at].rank, dims, x->wire.raw_bytes,
                               x->wire.raw_len, &in[at], err);
    struct rcd_bytes *element = rcd_arena_alloc(&x->arena, sizeof(*element));
    if (element == NULL)
        return no_memory(err);
    *element = (struct rcd_bytes){x->wire.raw_bytes, x->wire.raw_len};
    if (!rcd_tensor_shape(&in[at], RCD_BYTES, io[at].rank, dims))
        return rcd_fail(err, RCD_EINVAL, "input '%s' is too large", io[at].name);
    in[at].data = element;
    return RCD_OK;
}

/* ---- inputs and outputs ------------------------------------------------------------------------ */

/* Rows for the batch limits: the size of the dimension that is called batch, or of a nameless
 * variable first one. */
static size_t rows_of(const struct rcd_io *io, size_t n, const struct rcd_tensor *in)
{
    for (size_t i = 0; i < n; i++) {
        if (in[i].dtype == RCD_NONE || io[i].optional)
            continue;
        int at = io[i].rank > 0 && io[i].dims[0] < 0 && io[i].dim_names[0] == NULL ? 0 : -1;
        for (int d = 0; d < io[i].rank; d++) {
            const char *name = io[i].dim_names[d];
            if (name != NULL && (strncasecmp(name, "batch", 5) == 0 || strcmp(name, "N") == 0)) {
                at = d;
                break;
            }
        }
        return at >= 0 && at < in[i].rank && in[i].dims[at] > 0 ? (size_t)in[i].dims[at] : 1;
    }
    return 1;
}

enum { GRAPH_ROW = 256 };

/* A graph inside a request counts by its nodes and edges: 256 of them are a row, so that max_rows is a
 * budget for the graphs of a batch, too. 0: there is none. */
static size_t graph_rows(const struct rcd_io *io, size_t n, const struct rcd_tensor *in)
{
    size_t nodes = 0, edges = 0;
    bool graph = false;
    for (size_t i = 0; i < n; i++) {
        const bool index = in[i].dtype == RCD_I64 && in[i].rank == 2 && in[i].dims[0] == 2;
        if (index && strncmp(io[i].name, "edge_index", 10) == 0) {
            graph = true;
            edges += (size_t)in[i].dims[1];
        } else if (in[i].dtype == RCD_F32 && in[i].rank >= 1 && (size_t)in[i].dims[0] > nodes) {
            nodes = (size_t)in[i].dims[0];
        }
    }
    return graph ? 1 + (nodes + edges) / GRAPH_ROW : 0;
}

static rcd_status take_inputs(struct rcd__infer *x, struct rcd_error *err)
{
    size_t n = 0;
    const struct rcd_io *io = rcd_plan_inputs(rcd_version_plan(x->version), &n);
    struct rcd_tensor *in = rcd_arena_calloc(&x->arena, n + 1, sizeof(*in));
    rcd_status st = RCD_OK;
    if (in == NULL)
        return no_memory(err);
    if (x->wire.raw)
        st = take_raw(x, io, n, in, err);
    for (size_t i = 0; st == RCD_OK && i < x->wire.n_inputs; i++) {
        const struct rcd_wire_input *given = &x->wire.inputs[i];
        size_t at = find(io, n, given->name);
        if (at == n && rcd__graph_beside(x, given))
            continue;
        if (at == n)
            return unknown(x, "input", x->wire.inputs[i].name, io, n, err);
        in[at] = x->wire.inputs[i].tensor;
    }
    x->job.infer.in = in;
    const size_t graph = graph_rows(io, n, in);
    x->graph_inside = graph > 0;
    x->job.rows = graph > 0 ? graph : rows_of(io, n, in);
    if (st == RCD_OK)
        st = rcd__graph_inside(x, in, err);
    if (st == RCD_OK && x->on_graph.graph != NULL)
        st = rcd__graph_inputs(x, in, err);
    return st;
}

static rcd_status take_outputs(struct rcd__infer *x, struct rcd_error *err)
{
    size_t n = 0, n_asked = x->wire.n_outputs;
    const struct rcd_io *io = rcd_plan_outputs(rcd_version_plan(x->version), &n);
    bool all = n_asked == 0;
    bool *wanted = rcd_arena_calloc(&x->arena, n + 1, sizeof(*wanted));
    x->job.infer.out = rcd_arena_calloc(&x->arena, n + 1, sizeof(*x->job.infer.out));
    x->asked = rcd_arena_calloc(&x->arena, (all ? n : n_asked) + 1, sizeof(*x->asked));
    if (wanted == NULL || x->job.infer.out == NULL || x->asked == NULL)
        return no_memory(err);
    bool binary = x->wire.binary_output || x->wire.raw;
    for (size_t i = 0; i < n_asked; i++) {
        const struct rcd_wire_output *o = &x->wire.outputs[i];
        size_t at = find(io, n, o->name);
        if (at == n)
            return unknown(x, "output", o->name, io, n, err);
        x->asked[i] = (struct rcd__asked){
            .index = at,
            .binary = o->form == RCD_FORM_DEFAULT ? binary : o->form == RCD_FORM_BINARY,
            .classification = o->classification};
        wanted[at] = true;
    }
    x->n_asked = n_asked;
    bool others = false; /* a cell whose state is all that it says shows it */
    for (size_t i = 0; i < n; i++)
        others = others || !rcd__is_state_output(rcd_version_plan(x->version), i);
    for (size_t i = 0; i < n; i++) {
        bool state = x->seq.given && rcd__is_state_output(rcd_version_plan(x->version), i);
        if (all && !(state && others)) /* the server keeps a session's states: who wants to see
                                          them names them */
            x->asked[x->n_asked++] = (struct rcd__asked){.index = i, .binary = binary};
        wanted[i] = wanted[i] || all || state;
    }
    x->job.infer.wanted = wanted;
    return RCD_OK;
}

rcd_status rcd__infer_read(struct rcd__infer *x, struct rcd_error *err)
{
    size_t len = 0;
    const char *body = rcd_http_body(x->req, &len);
    const struct rcd_wire_limits limits = {.max_depth = MAX_DEPTH,
                                           .max_inputs = MAX_INPUTS,
                                           .max_string_bytes = x->api->opts.max_body_bytes};
    rcd_status st = RCD_OK;
    if (x->coding_in != RCD_CODING_IDENTITY) {
        st = rcd_inflate(body, len, MAX_RATIO, &x->inflated, err);
        body = x->inflated.data != NULL ? x->inflated.data : "";
        len = x->inflated.len;
    }
    bool objects = false;
    if (st == RCD_OK)
        st = rcd__objects_decode(x, body, len, &objects, err);
    if (st == RCD_OK && !objects)
        st = rcd_wire_decode(&x->arena, body, len, x->json_len, &limits, &x->wire, err);
    if (st == RCD_OK)
        st = rcd__infer_params(x, err);
    return st;
}

rcd_status rcd__infer_decode(struct rcd__infer *x, struct rcd_error *err)
{
    rcd_status st = rcd__infer_read(x, err);
    return st == RCD_OK ? rcd__infer_take(x, err) : st;
}

rcd_status rcd__infer_take(struct rcd__infer *x, struct rcd_error *err)
{
    rcd_status st = rcd__graph_find(x, err);
    if (st == RCD_OK && x->seq.given)
        st = rcd__sequence_find(x, err);
    if (st == RCD_OK)
        st = take_inputs(x, err);
    if (st == RCD_OK)
        st = take_outputs(x, err);
    return st;
}
