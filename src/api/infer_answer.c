/* infer_answer.c - the outputs of a run as the bytes of an answer. Runs on a worker. */
#include "graph_objects.h"

#include <string.h>

enum { COMPRESS_FROM = 1024, MAX_PARAMS = 11 };

/* The k best as text, in place of the tensor itself. */
static rcd_status classify(struct rcd__infer *x, const struct rcd__asked *a,
                           struct rcd_wire_result *r, struct rcd_error *err)
{
    size_t n_labels = 0;
    const char *const *labels = rcd_version_labels(x->version, &n_labels);
    struct rcd_tensor *best = rcd_arena_calloc(&x->arena, 1, sizeof(*best));
    if (best == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the classification");
    rcd_status st =
        rcd_wire_classify(&x->arena, r->tensor, a->classification, labels, n_labels, best, err);
    if (st != RCD_OK)
        return rcd_error_prefix(err, st, "output '%s': ", r->name);
    r->tensor = best;
    return RCD_OK;
}

/* Smaller is better; when it does not work the plain bytes are as good. */
static void compress(struct rcd__infer *x)
{
    struct rcd_buf packed;
    rcd_coding coding = x->coding_out;
    x->coding_out = RCD_CODING_IDENTITY;
    if (coding == RCD_CODING_IDENTITY || x->out.len < COMPRESS_FROM)
        return;
    rcd_buf_init(&packed, x->out.len);
    if (rcd_deflate(coding, x->out.data, x->out.len, &packed, NULL) != RCD_OK) {
        rcd_buf_done(&packed);
        return;
    }
    rcd_buf_done(&x->out);
    x->out = packed;
    x->coding_out = coding;
}

/* What the answer says of itself: the session's step, and where the time went. */
static size_t parameters(const struct rcd__infer *x, struct rcd_param params[MAX_PARAMS])
{
    const struct rcd_job *job = &x->job;
    const struct rcd_job_times *t = &job->times;
    size_t n = 0;
    if (x->seq.given) {
        const struct rcd_session_id *id = &x->seq.id;
        uint64_t step = x->seq.turn.steps + (x->seq.turn.repeated ? 0 : 1);
        params[n++] =
            (struct rcd_param){.name = "sequence_id",
                               .kind = id->text != NULL ? RCD_PARAM_STRING : RCD_PARAM_UINT,
                               .str = id->text,
                               .str_len = id->len,
                               .u = id->number};
        params[n++] = (struct rcd_param){.name = "step", .kind = RCD_PARAM_UINT, .u = step};
        if (x->seq.turn.repeated)
            params[n++] = (struct rcd_param){.name = "repeated", .kind = RCD_PARAM_BOOL, .b = true};
    }
    if (x->on_graph.graph != NULL) {
        const char *name = rcd_graph_name(x->on_graph.graph);
        params[n++] = (struct rcd_param){
            .name = "graph", .kind = RCD_PARAM_STRING, .str = name, .str_len = strlen(name)};
        params[n++] = (struct rcd_param){.name = "graph_version",
                                         .kind = RCD_PARAM_UINT,
                                         .u = rcd_graph_version(x->on_graph.graph)};
    }
    if (x->timing) {
        int64_t steps = rcd_plan_steps(rcd_version_plan(x->version), &job->infer);
        const struct {
            const char *name;
            uint64_t value;
        } figures[] = {{"queue_us", (t->picked - t->queued) / 1000},
                       {"compute_us", job->compute_ns / 1000},
                       {"batch_rows", job->batch_rows},
                       {"runs", job->runs},
                       {"steps", steps > 0 ? (uint64_t)steps : 1}};
        for (size_t i = 0; i < RCD_COUNT(figures); i++)
            params[n++] = (struct rcd_param){
                .name = figures[i].name, .kind = RCD_PARAM_UINT, .u = figures[i].value};
    }
    return n;
}

rcd_status rcd__infer_encode(struct rcd__infer *x, struct rcd_error *err)
{
    size_t n_out = 0;
    const struct rcd_io *io = rcd_plan_outputs(rcd_version_plan(x->version), &n_out);
    struct rcd_wire_result *results = rcd_arena_calloc(&x->arena, x->n_asked + 1, sizeof(*results));
    if (results == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for the answer");
    for (size_t i = 0; i < x->n_asked; i++) {
        const struct rcd__asked *a = &x->asked[i];
        results[i] = (struct rcd_wire_result){
            .name = io[a->index].name, .tensor = &x->job.infer.out[a->index], .binary = a->binary};
        rcd_status st = rcd__graph_rows(x, a->index, &results[i].tensor, err);
        if (st == RCD_OK && a->classification > 0)
            st = classify(x, a, &results[i], err);
        if (st != RCD_OK)
            return st;
    }
    if (x->objects != NULL && x->n_asked > 0) {
        rcd_status made = rcd__objects_encode(x, results[0].tensor, err);
        if (made == RCD_OK)
            compress(x);
        return made;
    }
    struct rcd_param params[MAX_PARAMS];
    const struct rcd_wire_answer answer = {.n_params = parameters(x, params),
                                           .params = params,
                                           .id = x->wire.id,
                                           .id_len = x->wire.id_len,
                                           .model_name = rcd_version_model(x->version),
                                           .model_version = rcd_version_number(x->version),
                                           .n_results = x->n_asked,
                                           .results = results,
                                           .nonfinite = x->nonfinite};
    rcd_status st = rcd_wire_encode(&answer, &x->out, &x->answer_json_len, err);
    if (st == RCD_ETOOBIG) /* 413 would blame the request's body */
        return rcd_fail(err, RCD_EINTERNAL, "the answer is over the limit of %zu bytes",
                        x->out.max);
    if (st == RCD_OK)
        compress(x);
    return st;
}
