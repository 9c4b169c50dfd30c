/* infer_params.c - the parameters of an inference request that mean something to recurd. Others are
 * accepted and ignored, as the protocol wants it; the reserved ones are not. */
#include "infer_int.h"

#include <string.h>

static rcd_status want_uint(const struct rcd_param *p, struct rcd_error *err)
{
    if (p->kind != RCD_PARAM_UINT)
        return rcd_fail(err, RCD_EINVAL, "parameter '%s' must be an unsigned integer", p->name);
    return RCD_OK;
}

static rcd_status sequence_id(struct rcd__infer *x, const struct rcd_param *p,
                              struct rcd_error *err)
{
    if (p->kind != RCD_PARAM_UINT && p->kind != RCD_PARAM_STRING)
        return rcd_fail(err, RCD_EINVAL,
                        "parameter 'sequence_id' must be an unsigned integer or a string");
    if (p->kind == RCD_PARAM_STRING && p->str_len > RCD_SESSION_ID_MAX)
        return rcd_fail(err, RCD_EINVAL, "parameter 'sequence_id' has %zu bytes, at most %d",
                        p->str_len, RCD_SESSION_ID_MAX);
    x->seq.given = p->kind == RCD_PARAM_UINT ? p->u != 0 : p->str_len != 0;
    if (p->kind == RCD_PARAM_UINT)
        x->seq.id = (struct rcd_session_id){.number = p->u};
    else
        x->seq.id = (struct rcd_session_id){.text = p->str, .len = p->str_len};
    return RCD_OK;
}

static rcd_status want_bool(const struct rcd_param *p, bool *ret, struct rcd_error *err)
{
    if (p->kind != RCD_PARAM_BOOL)
        return rcd_fail(err, RCD_EINVAL, "parameter '%s' must be true or false", p->name);
    *ret = p->b;
    return RCD_OK;
}

static rcd_status nonfinite(struct rcd__infer *x, const struct rcd_param *p, struct rcd_error *err)
{
    static const char *const words[] = {"refuse", "null", "string"};
    static const rcd_nonfinite kinds[] = {RCD_NONFINITE_REFUSE, RCD_NONFINITE_NULL,
                                          RCD_NONFINITE_STRING};
    for (size_t i = 0; p->kind == RCD_PARAM_STRING && i < RCD_COUNT(words); i++) {
        if (strcmp(p->str, words[i]) == 0) {
            x->nonfinite = kinds[i];
            return RCD_OK;
        }
    }
    return rcd_fail(err, RCD_EINVAL,
                    "parameter 'nonfinite' must be \"refuse\", \"null\" or \"string\"");
}

static rcd_status take(struct rcd__infer *x, const struct rcd_param *p, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    if (strcmp(p->name, "sequence_id") == 0)
        return sequence_id(x, p, err);
    if (strcmp(p->name, "nonfinite") == 0)
        return nonfinite(x, p, err);
    if (strcmp(p->name, "priority") == 0) {
        st = want_uint(p, err);
        x->job.priority = p->u > 16 ? 16 : (uint32_t)p->u;
    } else if (strcmp(p->name, "timeout") == 0) {
        st = want_uint(p, err);
        x->timeout_ns = p->u > UINT64_MAX / 2000 ? 0 : p->u * 1000; /* centuries: no limit */
    } else if (strcmp(p->name, "sequence_start") == 0) {
        st = want_bool(p, &x->seq.start, err);
    } else if (strcmp(p->name, "sequence_end") == 0) {
        st = want_bool(p, &x->seq.end, err);
    } else if (strcmp(p->name, "timing") == 0) {
        st = want_bool(p, &x->timing, err);
    } else if (strcmp(p->name, "graph") == 0) {
        if (p->kind != RCD_PARAM_STRING || p->str_len == 0)
            return rcd_fail(err, RCD_EINVAL, "parameter 'graph' must be the name of a graph");
        x->on_graph.name = p->str;
    } else if (strcmp(p->name, "graph_version") == 0) {
        st = want_uint(p, err);
        x->on_graph.version = p->u;
    } else if (strcmp(p->name, "step") == 0) {
        st = want_uint(p, err);
        x->seq.turn.step = p->u;
        if (st == RCD_OK && p->u == 0)
            st = rcd_fail(err, RCD_EINVAL, "parameter 'step' counts from 1");
    } else if (strncmp(p->name, "triton_", 7) == 0 || strcmp(p->name, "headers") == 0) {
        char quoted[64];
        st = rcd_fail(err, RCD_EINVAL, "parameter '%s' is reserved",
                      rcd_quote(quoted, sizeof(quoted), p->name, strlen(p->name)));
    }
    return st;
}

rcd_status rcd__infer_params(struct rcd__infer *x, struct rcd_error *err)
{
    rcd_status st = RCD_OK;
    for (size_t i = 0; st == RCD_OK && i < x->wire.n_params; i++)
        st = take(x, &x->wire.params[i], err);
    if (st == RCD_OK && x->seq.turn.step != 0 && !x->seq.given)
        st = rcd_fail(err, RCD_EINVAL, "parameter 'step' needs a 'sequence_id'");
    return st;
}
