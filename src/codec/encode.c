/* encode.c - answers: the JSON object, then the blobs of the results that go out binary.
 *
 * A result in JSON has no "parameters": the C++ client takes that key for a promise of binary data.
 * A buffer that fails half-way is cut back to what it held before. */
#include "codec_int.h"

#include "number_int.h"

#include <math.h>
#include <string.h>

enum { LENGTH = 4 }; /* bytes of the length in front of a BYTES element */

static rcd_status put_key(struct rcd_buf *out, bool *first, const char *key)
{
    rcd_status st = rcd_buf_append(out, ",", *first ? 0 : 1);
    *first = false;
    if (st == RCD_OK)
        st = rcd_json_string(out, key, strlen(key));
    return st == RCD_OK ? rcd_buf_append(out, ":", 1) : st;
}

/* A key of our own, as it is written behind another member. */
static rcd_status put_written(struct rcd_buf *out, bool *first, const char *text, size_t len)
{
    const size_t skip = *first ? 1 : 0;
    *first = false;
    return rcd_buf_append(out, text + skip, len - skip);
}

#define PUT_KEY(out, first, key)                                                                   \
    put_written(out, first, ",\"" key "\":", sizeof(",\"" key "\":") - 1)

static rcd_status put_value(struct rcd_buf *out, const struct rcd_param *p, struct rcd_error *err)
{
    char text[RCD__F64_TEXT];
    switch (p->kind) {
    case RCD_PARAM_STRING:
        return rcd_json_string(out, p->str, p->str_len);
    case RCD_PARAM_BOOL:
        return rcd_buf_puts(out, p->b ? "true" : "false");
    case RCD_PARAM_INT:
        return rcd_buf_append(out, text, rcd__i64_print(text, p->i));
    case RCD_PARAM_UINT:
        return rcd_buf_append(out, text, rcd_u64_print(text, p->u));
    default:
        if (!isfinite(p->d))
            return rcd_fail(err, RCD_EINVAL, "parameter '%s' of the answer is not finite", p->name);
        return rcd_buf_append(out, text, rcd__f64_to_text(text, p->d));
    }
}

static rcd_status put_params(struct rcd_buf *out, const struct rcd_wire_answer *answer, bool *first,
                             struct rcd_error *err)
{
    bool first_param = true;
    if (answer->n_params == 0)
        return RCD_OK;
    rcd_status st = PUT_KEY(out, first, "parameters");
    if (st == RCD_OK)
        st = rcd_buf_append(out, "{", 1);
    for (size_t i = 0; i < answer->n_params && st == RCD_OK; i++) {
        st = put_key(out, &first_param, answer->params[i].name);
        if (st == RCD_OK)
            st = put_value(out, &answer->params[i], err);
    }
    return st == RCD_OK ? rcd_buf_append(out, "}", 1) : st;
}

static size_t blob_bytes(const struct rcd_tensor *t)
{
    if (t->dtype != RCD_BYTES)
        return t->n * rcd_dtype_size(t->dtype);
    const struct rcd_bytes *strings = t->data;
    size_t bytes = t->n * LENGTH;
    for (size_t i = 0; i < t->n; i++)
        bytes += strings[i].len;
    return bytes;
}

static rcd_status put_shape(struct rcd_buf *out, const struct rcd_tensor *t)
{
    char text[RCD_MAX_RANK * 20 + 2];
    size_t len = 0;
    text[len++] = '[';
    for (int i = 0; i < t->rank; i++) {
        if (i > 0)
            text[len++] = ',';
        len += rcd__i64_print(text + len, t->dims[i]);
    }
    text[len++] = ']';
    return rcd_buf_append(out, text, len);
}

static rcd_status put_result(struct rcd_buf *out, const struct rcd_wire_result *r,
                             rcd_nonfinite policy, struct rcd_error *err)
{
    bool first = true;
    const char *dtype = rcd_dtype_name(r->tensor->dtype);
    rcd_status st = rcd_buf_append(out, "{", 1);
    if (st == RCD_OK)
        st = PUT_KEY(out, &first, "name");
    if (st == RCD_OK)
        st = rcd_json_string(out, r->name, strlen(r->name));
    if (st == RCD_OK)
        st = PUT_KEY(out, &first, "datatype");
    if (st == RCD_OK)
        st = rcd_json_string(out, dtype, strlen(dtype));
    if (st == RCD_OK)
        st = PUT_KEY(out, &first, "shape");
    if (st == RCD_OK)
        st = put_shape(out, r->tensor);
    if (st == RCD_OK && r->binary) {
        char size[20];
        st = rcd_buf_puts(out, ",\"parameters\":{\"binary_data_size\":");
        if (st == RCD_OK)
            st = rcd_buf_append(out, size, rcd_u64_print(size, blob_bytes(r->tensor)));
        if (st == RCD_OK)
            st = rcd_buf_append(out, "}", 1);
    } else if (st == RCD_OK) {
        st = PUT_KEY(out, &first, "data");
        if (st == RCD_OK)
            st = rcd__encode_data(out, r->tensor, policy, r->name, err);
    }
    return st == RCD_OK ? rcd_buf_append(out, "}", 1) : st;
}

static rcd_status put_json(struct rcd_buf *out, const struct rcd_wire_answer *answer,
                           struct rcd_error *err)
{
    bool first = true;
    rcd_status st = rcd_buf_append(out, "{", 1);
    if (st == RCD_OK && answer->id != NULL && answer->id_len > 0) {
        st = PUT_KEY(out, &first, "id");
        if (st == RCD_OK)
            st = rcd_json_string(out, answer->id, answer->id_len);
    }
    if (st == RCD_OK)
        st = PUT_KEY(out, &first, "model_name");
    if (st == RCD_OK)
        st = rcd_json_string(out, answer->model_name, strlen(answer->model_name));
    if (st == RCD_OK && answer->model_version != NULL) {
        st = PUT_KEY(out, &first, "model_version");
        if (st == RCD_OK)
            st = rcd_json_string(out, answer->model_version, strlen(answer->model_version));
    }
    if (st == RCD_OK)
        st = put_params(out, answer, &first, err);
    if (st == RCD_OK)
        st = PUT_KEY(out, &first, "outputs");
    if (st == RCD_OK)
        st = rcd_buf_append(out, "[", 1);
    for (size_t i = 0; i < answer->n_results && st == RCD_OK; i++) {
        if (i > 0)
            st = rcd_buf_append(out, ",", 1);
        if (st == RCD_OK)
            st = put_result(out, &answer->results[i], answer->nonfinite, err);
    }
    return st == RCD_OK ? rcd_buf_append(out, "]}", 2) : st;
}

static rcd_status put_blob(struct rcd_buf *out, const struct rcd_wire_result *r,
                           struct rcd_error *err)
{
    const struct rcd_tensor *t = r->tensor;
    if (t->n == 0)
        return RCD_OK;
    if (t->dtype != RCD_BYTES)
        return rcd_buf_append(out, t->data, t->n * rcd_dtype_size(t->dtype));
    const struct rcd_bytes *strings = t->data;
    rcd_status st = RCD_OK;
    for (size_t i = 0; i < t->n && st == RCD_OK; i++) {
        if (strings[i].len > UINT32_MAX)
            return rcd_fail(err, RCD_ETOOBIG, "output '%s': element %zu has %zu bytes", r->name, i,
                            strings[i].len);
        uint32_t len = (uint32_t)strings[i].len;
        st = rcd_buf_append(out, &len, sizeof len);
        if (st == RCD_OK && len > 0)
            st = rcd_buf_append(out, strings[i].ptr, len);
    }
    return st;
}

/* Room for an answer of usual size at once; a large one grows on its way. */
static rcd_status make_room(struct rcd_buf *out, const struct rcd_wire_answer *answer)
{
    enum { HEAD = 256, RESULT = 128, NUMBERS = 512 };
    size_t bytes = HEAD;
    for (size_t i = 0; i < answer->n_results; i++) {
        size_t n = answer->results[i].tensor->n;
        bytes += RESULT + (n < NUMBERS ? n : NUMBERS) * RCD__F32_TEXT;
    }
    if (bytes > out->max - out->len)
        return RCD_OK;
    return rcd_buf_reserve(out, bytes) != NULL ? RCD_OK : RCD_ENOMEM;
}

rcd_status rcd_wire_encode(const struct rcd_wire_answer *answer, struct rcd_buf *out,
                           size_t *ret_json_len, struct rcd_error *err)
{
    const size_t start = out->len;
    struct rcd_error why = {.code = RCD_OK};
    rcd_status st = make_room(out, answer);
    if (st == RCD_OK)
        st = put_json(out, answer, &why);
    size_t json_len = out->len - start;
    for (size_t i = 0; i < answer->n_results && st == RCD_OK; i++)
        if (answer->results[i].binary)
            st = put_blob(out, &answer->results[i], &why);
    if (st == RCD_OK) {
        *ret_json_len = out->len - start > json_len ? json_len : 0;
        return RCD_OK;
    }
    out->len = start;
    if (why.code != RCD_OK)
        return rcd_fail(err, st, "%s", why.text);
    if (st == RCD_ETOOBIG)
        return rcd_fail(err, st, "the answer is over the limit of %zu bytes", out->max);
    return rcd_fail(err, st, "no memory for the answer");
}
