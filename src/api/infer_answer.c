/* infer_answer.c - the outputs of a run as the bytes of an answer. Runs on a worker. */
#include "infer_int.h"

#include <string.h>

enum { COMPRESS_FROM = 1024 };

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
        rcd_status st = a->classification > 0 ? classify(x, a, &results[i], err) : RCD_OK;
        if (st != RCD_OK)
            return st;
    }
    const struct rcd_wire_answer answer = {.id = x->wire.id,
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
