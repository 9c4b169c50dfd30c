/* input.c - the objects of "inputs" and "outputs".
 *
 * Keys come in any order. "data" is scanned at once when shape and datatype are known; if not, it
 * is passed over (checked), and scanned when the object is complete. */
#include "codec_int.h"

#include <string.h>

enum { IN_NAME, IN_SHAPE, IN_DATATYPE, IN_PARAMETERS, IN_DATA, N_IN };
static const char *const input_keys[N_IN] = {"name", "shape", "datatype", "parameters", "data"};

enum { OUT_NAME, OUT_PARAMETERS, N_OUT };
static const char *const output_keys[N_OUT] = {"name", "parameters"};

enum { PARAM_SIZE, PARAM_BINARY, PARAM_CLASSES, PARAM_SHM, N_PARAM };
static const char *const param_keys[N_PARAM] = {"binary_data_size", "binary_data", "classification",
                                                "shared_memory_region"};

/* What the "parameters" of an input or output may say; others are accepted and ignored. */
struct tensor_params {
    size_t blob; /* binary_data_size */
    rcd_wire_form form;
    uint64_t classification;
};

static rcd_status scan_tensor_param(struct rcd__scan *s, const struct rcd__text *key,
                                    unsigned *seen, struct tensor_params *ret)
{
    struct rcd_param p;
    uint64_t size = 0;
    size_t which = N_PARAM;
    rcd_status st = rcd__scan_known(s, param_keys, N_PARAM, key, seen, &which);
    if (st != RCD_OK)
        return st;
    switch (which) {
    case PARAM_SIZE:
        st = rcd__scan_uint(s, SIZE_MAX - 1, "binary_data_size", &size);
        ret->blob = (size_t)size;
        return st;
    case PARAM_CLASSES:
        return rcd__scan_uint(s, UINT64_MAX, "classification", &ret->classification);
    case PARAM_BINARY:
        ret->form = rcd__scan_peek(s) == 't' ? RCD_FORM_BINARY : RCD_FORM_JSON;
        if (rcd__scan_word(s, "true") || rcd__scan_word(s, "false"))
            return RCD_OK;
        return rcd__scan_unexpected(s, "true or false for binary_data");
    case PARAM_SHM:
        return rcd_fail(s->err, RCD_EUNSUPPORTED, "shared memory is not supported");
    default:
        return rcd__scan_scalar(s, &p);
    }
}

static rcd_status scan_tensor_params(struct rcd__scan *s, struct tensor_params *ret)
{
    unsigned seen = 0;
    bool first = true;
    struct rcd__text key;
    rcd_status st = rcd__scan_open(s, '{', "'parameters'");
    while (st == RCD_OK && rcd__scan_member(s, &first, &key, &st))
        st = scan_tensor_param(s, &key, &seen, ret);
    return st;
}

/* ---- inputs ---- */

struct input {
    unsigned seen;
    struct rcd_wire_input in;
    struct tensor_params params;
    int64_t dims[RCD_MAX_RANK];
    int rank;
    const char *data_at; /* passed over, to be scanned later; NULL: not */
};

static rcd_status scan_shape(struct rcd__scan *s, struct input *in)
{
    bool first = true;
    rcd_status st = rcd__scan_open(s, '[', "'shape'");
    while (st == RCD_OK && rcd__scan_item(s, &first, &st)) {
        uint64_t dim = 0;
        if (in->rank == RCD_MAX_RANK)
            return rcd__scan_fail(s, s->p, "shape has more than %d dimensions", RCD_MAX_RANK);
        st = rcd__scan_uint(s, INT64_MAX, "a dimension of 'shape'", &dim);
        in->dims[in->rank++] = (int64_t)dim;
    }
    return st;
}

static rcd_status scan_datatype(struct rcd__scan *s, struct input *in)
{
    struct rcd__text t;
    if (rcd__scan_peek(s) != '"')
        return rcd__scan_unexpected(s, "a string for 'datatype'");
    const char *at = s->p;
    rcd_status st = rcd__scan_text(s, &t);
    if (st != RCD_OK)
        return st;
    for (int i = RCD_NONE + 1; i < RCD_DTYPE_MAX; i++)
        if (rcd__text_is(&t, rcd_dtype_name((rcd_dtype)i)))
            in->in.tensor.dtype = (rcd_dtype)i;
    if (in->in.tensor.dtype == RCD_NONE) {
        char found[RCD__SNIPPET];
        return rcd__scan_fail(s, at, "unknown datatype %s", rcd__scan_snippet(s, at, found));
    }
    return RCD_OK;
}

/* Shape and datatype are known: make the tensor's shape, once. */
static rcd_status set_shape(struct rcd__scan *s, struct input *in)
{
    char shape[96];
    if (rcd_tensor_shape(&in->in.tensor, in->in.tensor.dtype, in->rank, in->dims))
        return RCD_OK;
    return rcd__scan_fail(s, s->p, "shape %s of %s is too large",
                          rcd_shape_text(shape, sizeof shape, in->rank, in->dims),
                          rcd_dtype_name(in->in.tensor.dtype));
}

static bool has(const struct input *in, int key)
{
    return (in->seen >> key & 1u) != 0;
}

static rcd_status scan_data(struct rcd__scan *s, struct input *in)
{
    if (!has(in, IN_SHAPE) || !has(in, IN_DATATYPE)) {
        if (rcd__scan_peek(s) != '[')
            return rcd__scan_unexpected(s, "an array for 'data'");
        in->data_at = s->p;
        return rcd__scan_skip(s);
    }
    rcd_status st = set_shape(s, in);
    return st == RCD_OK ? rcd__scan_data(s, &in->in.tensor) : st;
}

/* The object is complete: is everything there? What is left to be done? */
static rcd_status complete(struct rcd__scan *s, struct input *in)
{
    for (int key = IN_NAME; key <= IN_DATATYPE; key++)
        if (!has(in, key))
            return rcd__scan_fail(s, s->p, "'%s' is missing", input_keys[key]);
    bool blob = in->params.blob != RCD__NO_BLOB;
    if (blob && has(in, IN_DATA))
        return rcd__scan_fail(s, s->p, "both 'data' and 'binary_data_size'");
    if (!blob && !has(in, IN_DATA))
        return rcd__scan_fail(s, s->p, "neither 'data' nor 'parameters.binary_data_size'");
    if (blob)
        return set_shape(s, in);
    if (in->data_at == NULL)
        return RCD_OK;
    const char *behind = s->p;
    s->p = in->data_at;
    s->depth++; /* as inside the object */
    rcd_status st = scan_data(s, in);
    s->depth--;
    if (st == RCD_OK)
        s->p = behind;
    return st;
}

static rcd_status scan_input_member(struct rcd__scan *s, const struct rcd__text *key,
                                    struct input *in)
{
    size_t which = N_IN;
    rcd_status st = rcd__scan_known(s, input_keys, N_IN, key, &in->seen, &which);
    if (st != RCD_OK)
        return st;
    switch (which) {
    case IN_NAME:
        return rcd__scan_name(s, "'name'", &in->in.name);
    case IN_SHAPE:
        return scan_shape(s, in);
    case IN_DATATYPE:
        return scan_datatype(s, in);
    case IN_PARAMETERS:
        return scan_tensor_params(s, &in->params);
    case IN_DATA:
        return scan_data(s, in);
    default:
        return rcd__scan_skip(s);
    }
}

static rcd_status name_prefix(struct rcd__scan *s, rcd_status st, const char *name)
{
    char text[RCD__SNIPPET];
    if (st == RCD_OK || name == NULL)
        return st;
    return rcd_error_prefix(s->err, st, "'%s': ", rcd_quote(text, sizeof text, name, strlen(name)));
}

rcd_status rcd__scan_input(struct rcd__scan *s, struct rcd_wire_input *ret, size_t *ret_blob)
{
    struct input in = {.params = {.blob = RCD__NO_BLOB}};
    bool first = true;
    struct rcd__text key;
    rcd_status st = rcd__scan_open(s, '{', "an input");
    while (st == RCD_OK && rcd__scan_member(s, &first, &key, &st))
        st = scan_input_member(s, &key, &in);
    if (st == RCD_OK)
        st = complete(s, &in);
    *ret = in.in;
    *ret_blob = in.params.blob;
    return name_prefix(s, st, in.in.name);
}

/* ---- outputs ---- */

rcd_status rcd__scan_output(struct rcd__scan *s, struct rcd_wire_output *ret)
{
    struct tensor_params params = {.blob = RCD__NO_BLOB, .form = RCD_FORM_DEFAULT};
    unsigned seen = 0;
    bool first = true;
    struct rcd__text key;
    *ret = (struct rcd_wire_output){.name = NULL};
    rcd_status st = rcd__scan_open(s, '{', "an output");
    while (st == RCD_OK && rcd__scan_member(s, &first, &key, &st)) {
        size_t which = N_OUT;
        st = rcd__scan_known(s, output_keys, N_OUT, &key, &seen, &which);
        if (st != RCD_OK)
            break;
        if (which == OUT_NAME)
            st = rcd__scan_name(s, "'name'", &ret->name);
        else if (which == OUT_PARAMETERS)
            st = scan_tensor_params(s, &params);
        else
            st = rcd__scan_skip(s);
    }
    if (st == RCD_OK && ret->name == NULL)
        st = rcd__scan_fail(s, s->p, "'name' is missing");
    ret->form = params.form;
    ret->classification = params.classification;
    return name_prefix(s, st, ret->name);
}
