/* codec_int.h - the scanner of a request's JSON text, and the pieces that the files of codec/ lend
 * each other.
 *
 * One forward pass; strings and tensors go to the arena at once. The text's last byte is '}'
 * (rcd_wire_decode refuses any other), so a loop over blanks or digits that began before it stops
 * there without asking for the end. Only after a '}' was consumed may the cursor be at the end. */
#pragma once
#include "recurd/codec.h"

#include <string.h>

struct rcd__scan {
    const char *start, *p, *end; /* end[-1] is '}' */
    size_t depth;                /* brackets open at p */
    size_t max_depth, max_string, max_items;
    struct rcd_arena *arena;
    struct rcd_error *err;
};

/** A string in the text, checked: bytes between the quotes, and their number once escapes are
 * resolved. No escapes if raw == len (every escape is longer than what it stands for). */
struct rcd__text {
    const char *at;
    size_t raw, len;
};

/** Names seen so far in one list; all zero: none. Hashes first, so that long names that differ late cost
 * nothing. Short lists lie in the struct, which must not be moved then. */
enum { RCD__FEW_NAMES = 8 };
struct rcd__names {
    uint64_t *hashes;
    const char **names;
    size_t n, cap;
    uint64_t few_hashes[RCD__FEW_NAMES];
    const char *few_names[RCD__FEW_NAMES];
};

enum { RCD__SNIPPET = 40 };      /* of the client's text in messages */
enum { RCD__DEPTH_LIMIT = 256 }; /* of max_depth: skipping recurses */
enum { RCD__MAX_PARAMS = 256 };  /* of one request */
#define RCD__NO_BLOB SIZE_MAX

/* ---- scan.c: values ---- */

/** RCD_EINVAL with the byte offset of `at` behind the message. */
rcd_status rcd__scan_fail(struct rcd__scan *s, const char *at, const char *fmt, ...)
    RCD_PRINTF(3, 4);
/** RCD_EINVAL: `want` was wanted at s->p; says what is there. */
rcd_status rcd__scan_unexpected(struct rcd__scan *s, const char *want);
rcd_status rcd__scan_no_memory(struct rcd__scan *s, const char *what, size_t bytes);
/** What stands at `at`, for a message; returns out (RCD__SNIPPET bytes). */
char *rcd__scan_snippet(const struct rcd__scan *s, const char *at, char *out);

static inline void rcd__scan_blanks(struct rcd__scan *s)
{
    while (s->p < s->end && (unsigned char)*s->p <= ' ' &&
           (*s->p == ' ' || *s->p == '\n' || *s->p == '\r' || *s->p == '\t'))
        s->p++;
}

/** First byte of the next token, or NUL at the end. */
static inline char rcd__scan_peek(struct rcd__scan *s)
{
    rcd__scan_blanks(s);
    return s->p < s->end ? *s->p : '\0';
}

/** '{' or '[' or an error that names `what`. */
RCD_MUST_CHECK rcd_status rcd__scan_open(struct rcd__scan *s, char bracket, const char *what);
/** In an object: true with the next key, s->p behind its colon; false at the end, or on an error
 * (*st). `*first` must be true at first. */
bool rcd__scan_member(struct rcd__scan *s, bool *first, struct rcd__text *key, rcd_status *st);
/** In an array: true when another value follows. */
bool rcd__scan_item(struct rcd__scan *s, bool *first, rcd_status *st);
/** Index of `key` in `keys`, n_keys if it is not there; RCD_EINVAL if it was seen before. */
rcd_status rcd__scan_known(struct rcd__scan *s, const char *const *keys, size_t n_keys,
                           const struct rcd__text *key, unsigned *seen, size_t *ret);
/** Check the syntax of one value of any kind and pass it. */
RCD_MUST_CHECK rcd_status rcd__scan_skip(struct rcd__scan *s);
/** True and passed, if the word stands at s->p. */
bool rcd__scan_word(struct rcd__scan *s, const char *word);
/** Unsigned integer of at most `max`. */
RCD_MUST_CHECK rcd_status rcd__scan_uint(struct rcd__scan *s, uint64_t max, const char *what,
                                         uint64_t *ret);

/* ---- text.c: strings ---- */

/** Are the next 8 bytes ASCII without quote, backslash and control bytes? May say no for a byte
 * behind one that is not plain; never says yes wrongly. */
static inline bool rcd__eight_plain(const char *p)
{
    const uint64_t ones = 0x0101010101010101u, high = ones * 0x80;
    uint64_t w;
    memcpy(&w, p, sizeof w);
    uint64_t quote = w ^ ones * '"', slash = w ^ ones * '\\';
    uint64_t found = w | (w - ones * 0x20) | (quote - ones) | (slash - ones);
    return (found & high) == 0;
}

static inline bool rcd__is_plain(char c)
{
    unsigned char u = (unsigned char)c;
    return u >= 0x20 && u < 0x80 && u != '"' && u != '\\';
}

/** s->p must be at the opening quote. */
RCD_MUST_CHECK rcd_status rcd__scan_text(struct rcd__scan *s, struct rcd__text *ret);
/** Resolve escapes; `out` holds t->len bytes. */
void rcd__text_decode(const struct rcd__text *t, char *out);
bool rcd__text_equals(const struct rcd__text *t, const char *word);
/** The same; most words are told apart by their first letter. */
static inline bool rcd__text_is(const struct rcd__text *t, const char *word)
{
    bool plain = t->raw == t->len; /* at[0] is the closing quote if there is no letter */
    return (!plain || t->at[0] == word[0]) && rcd__text_equals(t, word);
}
/** String value into the arena, NUL-terminated, at most max_string bytes. */
RCD_MUST_CHECK rcd_status rcd__scan_string(struct rcd__scan *s, const char *what, const char **ret,
                                           size_t *ret_len);
/** As rcd__scan_string, not empty and without NULs. */
RCD_MUST_CHECK rcd_status rcd__scan_name(struct rcd__scan *s, const char *what, const char **ret);
/** A name already scanned, as above. */
RCD_MUST_CHECK rcd_status rcd__text_name(struct rcd__scan *s, const struct rcd__text *t,
                                         const char *what, const char **ret);
/** RCD_EINVAL when the name is there already. `what`: "input" ... */
RCD_MUST_CHECK rcd_status rcd__wire_names_add(struct rcd__scan *s, struct rcd__names *names,
                                              const char *name, const char *what);
/** Room for one more element in an array of the arena; `*array` moves when it grows. */
RCD_MUST_CHECK rcd_status rcd__scan_grow(struct rcd__scan *s, void **array, size_t n, size_t *cap,
                                         size_t elt_bytes);

/* ---- utf8.c ---- */

/** Length of the well-formed character at text, 0 if it is not one. */
size_t rcd__utf8_len(const char *text, const char *end);
bool rcd__utf8_valid(const char *text, size_t len);
size_t rcd__utf8_put(char *out, uint32_t code);

/* ---- param.c, input.c, data.c ---- */

/** One string, number or boolean; the name is the caller's. */
RCD_MUST_CHECK rcd_status rcd__scan_scalar(struct rcd__scan *s, struct rcd_param *ret);
RCD_MUST_CHECK rcd_status rcd__scan_params(struct rcd__scan *s, struct rcd_wire_request *req);
/** One object of "inputs"; *ret_blob is its binary_data_size, or RCD__NO_BLOB. */
RCD_MUST_CHECK rcd_status rcd__scan_input(struct rcd__scan *s, struct rcd_wire_input *ret,
                                          size_t *ret_blob);
/** One object of "outputs". */
RCD_MUST_CHECK rcd_status rcd__scan_output(struct rcd__scan *s, struct rcd_wire_output *ret);
/** The array at s->p into a new data block of the tensor, whose dtype and shape are set. */
RCD_MUST_CHECK rcd_status rcd__scan_data(struct rcd__scan *s, struct rcd_tensor *t);

/* ---- encode_data.c ---- */

/** "[1,2]": the elements of `t` as a flat array. `what` names the tensor in messages. */
RCD_MUST_CHECK rcd_status rcd__encode_data(struct rcd_buf *out, const struct rcd_tensor *t,
                                           rcd_nonfinite policy, const char *what,
                                           struct rcd_error *err);
size_t rcd__i64_print(char *out, int64_t v);
/** Copy a word without its NUL; returns its length. */
size_t rcd__word_print(char *out, const char *word);
