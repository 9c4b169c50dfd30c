/* codec.h - request and response bytes <-> tensors: the Open Inference Protocol's infer objects
 * with the binary tensor extension (wire.md 5 and 6). Knows no models and no HTTP.
 * Tensor arrays are scanned straight into their destination; there is no tree of JSON values. */
#pragma once
#include "recurd/base.h"
#include "recurd/tensor.h"

typedef enum rcd_param_kind {
    RCD_PARAM_STRING,
    RCD_PARAM_INT,  /* negative integers */
    RCD_PARAM_UINT, /* 0 .. 2^64-1 */
    RCD_PARAM_DOUBLE,
    RCD_PARAM_BOOL,
} rcd_param_kind;

/** One scalar of a "parameters" object. Strings are NUL-terminated and may hold NULs (len). */
struct rcd_param {
    const char *name;
    rcd_param_kind kind;
    const char *str;
    size_t str_len;
    uint64_t u;
    int64_t i;
    double d;
    bool b;
};

struct rcd_wire_input {
    const char *name;
    struct rcd_tensor tensor; /* data in the arena, or inside the body for binary where aligned */
};

typedef enum rcd_wire_form { RCD_FORM_DEFAULT, RCD_FORM_JSON, RCD_FORM_BINARY } rcd_wire_form;

struct rcd_wire_output {
    const char *name;
    rcd_wire_form form;      /* parameters.binary_data */
    uint64_t classification; /* k of parameters.classification; 0: not asked */
};

/** A decoded infer request. Everything lies in the arena given (or in the body). */
struct rcd_wire_request {
    const char *id; /* NULL when absent or "" */
    size_t id_len;
    size_t n_params, n_inputs, n_outputs;
    struct rcd_param *params; /* of the request; binary_data_output is among them too */
    struct rcd_wire_input *inputs;
    struct rcd_wire_output *outputs;
    bool outputs_given; /* "outputs" was there, even if empty */
    bool binary_output; /* parameters.binary_data_output; set for a raw body too */
    bool raw;           /* Inference-Header-Content-Length: 0 - the body is the only input */
    const char *raw_bytes;
    size_t raw_len;
};

#define RCD_NO_JSON_LEN SIZE_MAX /* no Inference-Header-Content-Length */

struct rcd_wire_limits {
    size_t max_depth;        /* JSON nesting, the request's own braces included; at most 256 */
    size_t max_inputs;       /* f.e. 1024; as many outputs */
    size_t max_string_bytes; /* one BYTES element or name in JSON */
};

/** Decode an infer body. RCD_EINVAL names the field, the value and the byte offset; RCD_ENOMEM
 * when the arena's limit is reached; RCD_EUNSUPPORTED for shared memory. `body` must stay until
 * the request is done with: strings without escapes and aligned blobs are used where they stand.
 * JSON strictly after RFC 8259. Integers must be written without fraction and exponent and fit
 * their type; BOOL takes 0 and 1 too; FP16 and BF16 take numbers, rounded once; a float that is
 * too large is refused, one that is too small becomes 0. *ret is untouched on failure.
 * @param json_len  value of Inference-Header-Content-Length, or RCD_NO_JSON_LEN.
 * Threading: any thread; the arena's owner. */
RCD_MUST_CHECK rcd_status rcd_wire_decode(struct rcd_arena *arena, const char *body, size_t len,
                                          size_t json_len, const struct rcd_wire_limits *limits,
                                          struct rcd_wire_request *ret, struct rcd_error *err);

/** Tensor from packed little-endian bytes (BOOL checked, BYTES elements length-prefixed), copied
 * into the arena unless they are aligned for the element type: then `data` borrows them. Size must
 * fit the shape exactly. Threading: as rcd_wire_decode. */
RCD_MUST_CHECK rcd_status rcd_wire_tensor(struct rcd_arena *arena, rcd_dtype dtype, int rank,
                                          const int64_t *dims, const char *bytes, size_t len,
                                          struct rcd_tensor *ret, struct rcd_error *err);

/** One output to be written. */
struct rcd_wire_result {
    const char *name;
    const struct rcd_tensor *tensor; /* [borrowed] */
    bool binary;
};

typedef enum rcd_nonfinite {
    RCD_NONFINITE_REFUSE, /* RCD_EINVAL: ask for binary data or set the parameter */
    RCD_NONFINITE_NULL,
    RCD_NONFINITE_STRING, /* "NaN", "Infinity", "-Infinity" */
} rcd_nonfinite;

struct rcd_wire_answer {
    const char *id; /* NULL: none */
    size_t id_len;
    const char *model_name, *model_version;
    size_t n_params, n_results;
    const struct rcd_param *params; /* response-level; none when n_params is 0 */
    const struct rcd_wire_result *results;
    rcd_nonfinite nonfinite;
};

/** Append the answer to `out`: JSON, then blobs in the order of results. *ret_json_len is the
 * value for Inference-Header-Content-Length, 0 when no blob has a byte (then no header).
 * Floats are written shortest, FP16 and BF16 as the float that they are. RCD_EINVAL for what JSON
 * cannot carry (see nonfinite; BYTES that are not UTF-8), RCD_ETOOBIG over out's maximum,
 * RCD_ENOMEM. On failure `out` holds what it held before.
 * Threading: any thread. */
RCD_MUST_CHECK rcd_status rcd_wire_encode(const struct rcd_wire_answer *answer, struct rcd_buf *out,
                                          size_t *ret_json_len, struct rcd_error *err);

/** Classification extension (wire.md 8.8): the k best of the last axis as "value:index[:label]"
 * BYTES, best first, ties by lower index, NaN last; the last dimension becomes min(k, n). `labels`
 * may hold NULLs. RCD_EINVAL for BYTES, rank 0 or k = 0; RCD_ENOMEM. Threading: as decode. */
RCD_MUST_CHECK rcd_status rcd_wire_classify(struct rcd_arena *arena, const struct rcd_tensor *t,
                                            uint64_t k, const char *const *labels, size_t n_labels,
                                            struct rcd_tensor *ret, struct rcd_error *err);

/** JSON string with quotes and escapes; invalid UTF-8 bytes become U+FFFD. Threading: any. */
rcd_status rcd_json_string(struct rcd_buf *out, const char *text, size_t len);

/** Shortest JSON number that reads back to the same bits (but -0.0 for the negative zero, so that
 * no reader takes it for an integer); no NUL; returns the length. `out` holds 32 bytes.
 * Non-finite values must not come here. Threading: any thread. */
size_t rcd_f32_print(char *out, float v);
size_t rcd_f64_print(char *out, double v);
/** In decimal, likewise; at most 20 bytes. */
size_t rcd_u64_print(char *out, uint64_t v);
