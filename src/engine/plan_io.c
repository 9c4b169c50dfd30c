/* plan_io.c - inputs and outputs as clients see them, the pairing of states, and the check of one
 * request's inputs against them. */
#include "bind_int.h"
#include "plan_int.h"
#include "spread.h"

#include <string.h>

static void describe(const rcd_plan *p, rcd_value_id id, bool declared, struct rcd_io *io)
{
    const struct rcd_onnx_value *v = &p->model->values[id];
    *io = (struct rcd_io){.name = v->name, .dtype = p->values[id].dtype, .rank = v->rank};
    if (!declared && v->rank < 0)
        io->rank = p->values[id].rank;
    for (int d = 0; d < io->rank; d++) {
        io->dims[d] = v->rank >= 0 ? v->dims[d] : -1;
        io->dim_names[d] = v->rank >= 0 ? v->dim_names[d] : NULL;
    }
}

static int find(const struct rcd_io *ios, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(ios[i].name, name) == 0)
            return (int)i;
    }
    return -1;
}

static rcd_status pair_states(rcd_plan *p, const struct rcd_plan_opts *opts, struct rcd_error *err)
{
    for (size_t i = 0; i < p->n_inputs; i++)
        p->state_output[i] = -1;
    for (size_t s = 0; s < opts->n_states; s++) {
        int in = find(p->inputs, p->n_inputs, opts->state_inputs[s]);
        int out = find(p->outputs, p->n_outputs, opts->state_outputs[s]);
        if (in < 0 || out < 0)
            return rcd_fail(err, RCD_EMODEL, "state: the model has no %s '%s'",
                            in < 0 ? "input" : "output",
                            in < 0 ? opts->state_inputs[s] : opts->state_outputs[s]);
        if (p->inputs[in].dtype != p->outputs[out].dtype)
            return rcd_fail(err, RCD_EMODEL, "state: input '%s' is %s but output '%s' is %s",
                            p->inputs[in].name, rcd_dtype_name(p->inputs[in].dtype),
                            p->outputs[out].name, rcd_dtype_name(p->outputs[out].dtype));
        if (p->inputs[in].rank < 0)
            return rcd_fail(err, RCD_EMODEL, "state: the file does not give the rank of input '%s'",
                            p->inputs[in].name);
        if (p->state_output[in] >= 0)
            return rcd_fail(err, RCD_EMODEL, "state: input '%s' is paired twice",
                            p->inputs[in].name);
        p->state_output[in] = out;
        p->inputs[in].optional = true;
    }
    return RCD_OK;
}

rcd_status rcd__plan_io(rcd_plan *p, const struct rcd_plan_opts *opts, struct rcd_error *err)
{
    const struct rcd_onnx_graph *g = &p->model->graph;
    p->n_inputs = g->n_inputs;
    p->n_outputs = g->n_outputs;
    p->inputs = rcd_arena_calloc(&p->arena, p->n_inputs, sizeof *p->inputs);
    p->outputs = rcd_arena_calloc(&p->arena, p->n_outputs, sizeof *p->outputs);
    p->state_output = rcd_arena_calloc(&p->arena, p->n_inputs, sizeof *p->state_output);
    if (p->inputs == NULL || p->outputs == NULL || p->state_output == NULL)
        return rcd_fail(err, RCD_ENOMEM, "no memory for a plan");
    for (size_t i = 0; i < p->n_inputs; i++)
        describe(p, g->inputs[i], true, &p->inputs[i]);
    for (size_t i = 0; i < p->n_outputs; i++)
        describe(p, g->outputs[i], false, &p->outputs[i]);
    return pair_states(p, opts, err);
}

const struct rcd_io *rcd_plan_inputs(const rcd_plan *p, size_t *ret_n)
{
    *ret_n = p->n_inputs;
    return p->inputs;
}

const struct rcd_io *rcd_plan_outputs(const rcd_plan *p, size_t *ret_n)
{
    *ret_n = p->n_outputs;
    return p->outputs;
}

int rcd_plan_state_output(const rcd_plan *p, size_t input)
{
    return p->state_output[input];
}

int rcd_plan_output_rows(const rcd_plan *p, size_t output)
{
    return p->output_rows[output];
}

rcd_status rcd__check_input(const struct rcd_io *io, const struct rcd_tensor *t,
                            struct rcd_error *err)
{
    if (t->dtype == RCD_NONE) {
        if (io->optional)
            return RCD_OK;
        return rcd_fail(err, RCD_EINVAL, "input '%s' is missing", io->name);
    }
    if (t->dtype != io->dtype)
        return rcd_fail(err, RCD_EINVAL, "input '%s' has datatype %s, want %s", io->name,
                        rcd_dtype_name(t->dtype), rcd_dtype_name(io->dtype));
    if (io->rank < 0)
        return RCD_OK;
    bool fits = t->rank == io->rank, varies = io->rank == 0;
    for (int d = 0; d < io->rank; d++) {
        fits = fits && (io->dims[d] < 0 || io->dims[d] == t->dims[d]);
        varies = varies || io->dims[d] < 0;
    }
    if (fits)
        return RCD_OK;
    char got[128], want[128];
    return rcd_fail(
        err, RCD_EINVAL, "input '%s' has shape %s, want %s (%s)", io->name,
        rcd_shape_text(got, sizeof got, t->rank, t->dims),
        rcd_shape_text(want, sizeof want, io->rank, io->dims),
        varies ? "-1: any size"
               : "the file has no other: sizes vary where it was exported with dynamic axes");
}

/* What the request says of an input: its own tensor, or the shape of a fixed one. */
static const struct rcd_tensor *given(const struct rcd_infer *req, size_t i)
{
    bool fixed = req->bound != NULL && rcd_bound_fixes(req->bound, i);
    return fixed ? &req->bound->in[i] : &req->in[i];
}

/* Axis d of input i against the inputs before it that use the same name for a size. */
static rcd_status check_name(const rcd_plan *p, const struct rcd_infer *req, size_t i, int d,
                             struct rcd_error *err)
{
    const char *name = p->inputs[i].dim_names[d];
    const struct rcd_tensor *t = given(req, i);
    for (size_t k = 0; k <= i; k++) {
        const struct rcd_tensor *u = given(req, k);
        for (int e = 0; u->dtype != RCD_NONE && e < p->inputs[k].rank && (k < i || e < d); e++) {
            const char *other = p->inputs[k].dim_names[e];
            if (other == NULL || strcmp(other, name) != 0 || u->dims[e] == t->dims[d] ||
                (d == 0 && rcd__spread_one(p, req, i)) || (e == 0 && rcd__spread_one(p, req, k)))
                continue;
            return rcd_fail(err, RCD_EINVAL,
                            "input '%s' has %lld and input '%s' has %lld '%s', want the same: "
                            "both axes have that name in the file",
                            p->inputs[k].name, (long long)u->dims[e], p->inputs[i].name,
                            (long long)t->dims[d], name);
        }
    }
    return RCD_OK;
}

rcd_status rcd__check_names(const rcd_plan *p, const struct rcd_infer *req, struct rcd_error *err)
{
    for (size_t i = 0; i < p->n_inputs && i < RCD__NAMED_INPUTS; i++) {
        for (int d = 0; given(req, i)->dtype != RCD_NONE && d < p->inputs[i].rank; d++) {
            rcd_status st =
                p->inputs[i].dim_names[d] != NULL ? check_name(p, req, i, d, err) : RCD_OK;
            if (st != RCD_OK)
                return st;
        }
    }
    return RCD_OK;
}

/* What was run for one shape is no good for another. */
static rcd_status check_shape(const rcd_plan *p, const struct rcd_infer *req, size_t i,
                              struct rcd_error *err)
{
    const struct rcd_tensor *want = &req->bound->shapes[i], *t = &req->in[i];
    if (want->dtype == RCD_NONE ||
        (t->rank == want->rank &&
         memcmp(t->dims, want->dims, (size_t)t->rank * sizeof *t->dims) == 0))
        return RCD_OK;
    char got[128], text[128];
    return rcd_fail(err, RCD_EINVAL, "input '%s' has shape %s, the graph wants %s",
                    p->inputs[i].name, rcd_shape_text(got, sizeof got, t->rank, t->dims),
                    rcd_shape_text(text, sizeof text, want->rank, want->dims));
}

rcd_status rcd_plan_check_inputs(const rcd_plan *p, const struct rcd_infer *req,
                                 struct rcd_error *err)
{
    for (size_t i = 0; i < p->n_inputs; i++) {
        rcd_status st = RCD_OK;
        if (req->bound == NULL || !rcd_bound_fixes(req->bound, i))
            st = rcd__check_input(&p->inputs[i], &req->in[i], err);
        else if (req->in[i].dtype != RCD_NONE)
            st = rcd_fail(err, RCD_EINVAL, "input '%s' is given by the graph already",
                          p->inputs[i].name);
        if (st == RCD_OK && req->bound != NULL)
            st = check_shape(p, req, i, err);
        if (st != RCD_OK)
            return st;
    }
    return rcd__check_names(p, req, err);
}
