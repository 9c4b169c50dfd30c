/* encode_data.c - tensors as flat JSON arrays.
 *
 * Numbers are written straight into the buffer, in groups for which room was reserved at their
 * greatest length. Near the buffer's maximum a group shrinks to single numbers that are appended,
 * so that an answer is only too large if it really is. */
#include "codec_int.h"

#include "number_int.h"

#include <math.h>
#include <string.h>

/* Numbers; bytes of one with its comma, and with what is written behind it as a whole word. */
enum { GROUP = 512, LONGEST = 32, LONGEST_F32 = RCD__F32_TEXT };

struct writer {
    const struct rcd_tensor *t;
    rcd_nonfinite policy;
    bool bad; /* element `at` is not finite and may not be written */
    size_t at;
};

/* Writes element i at out; returns its length, 0 after setting w->bad. */
typedef size_t print_fn(struct writer *w, char *out, size_t i);

/* ---- integers ---- */

size_t rcd_u64_print(char *out, uint64_t v)
{
    static const char pairs[] = "00010203040506070809101112131415161718192021222324"
                                "25262728293031323334353637383940414243444546474849"
                                "50515253545556575859606162636465666768697071727374"
                                "75767778798081828384858687888990919293949596979899";
    char text[20];
    char *p = text + sizeof text;
    for (; v >= 100; v /= 100) {
        p -= 2;
        memcpy(p, pairs + 2 * (v % 100), 2);
    }
    if (v >= 10) {
        p -= 2;
        memcpy(p, pairs + 2 * v, 2);
    } else {
        *--p = (char)('0' + v);
    }
    size_t len = (size_t)(text + sizeof text - p);
    memcpy(out, p, len);
    return len;
}

size_t rcd__i64_print(char *out, int64_t v)
{
    if (v >= 0)
        return rcd_u64_print(out, (uint64_t)v);
    out[0] = '-';
    return 1 + rcd_u64_print(out + 1, 0 - (uint64_t)v);
}

#define PRINT_INT(name, type, print)                                                               \
    static inline size_t name(struct writer *w, char *out, size_t i)                               \
    {                                                                                              \
        return print(out, ((const type *)w->t->data)[i]);                                          \
    }
PRINT_INT(print_u8, uint8_t, rcd_u64_print)
PRINT_INT(print_u16, uint16_t, rcd_u64_print)
PRINT_INT(print_u32, uint32_t, rcd_u64_print)
PRINT_INT(print_u64, uint64_t, rcd_u64_print)
PRINT_INT(print_i8, int8_t, rcd__i64_print)
PRINT_INT(print_i16, int16_t, rcd__i64_print)
PRINT_INT(print_i32, int32_t, rcd__i64_print)
PRINT_INT(print_i64, int64_t, rcd__i64_print)

static inline size_t print_bool(struct writer *w, char *out, size_t i)
{
    return rcd__word_print(out, ((const uint8_t *)w->t->data)[i] != 0 ? "true" : "false");
}

size_t rcd__word_print(char *out, const char *word)
{
    size_t len = 0;
    for (; word[len] != '\0'; len++)
        out[len] = word[len];
    return len;
}

/* ---- floats ---- */

static size_t print_nonfinite(struct writer *w, char *out, double v, size_t i)
{
    const char *text = "null";
    if (w->policy == RCD_NONFINITE_REFUSE) {
        if (!w->bad) /* the group goes on; name the first */
            w->at = i;
        w->bad = true;
        return 0;
    }
    if (w->policy == RCD_NONFINITE_STRING)
        text = isnan(v) ? "\"NaN\"" : v > 0 ? "\"Infinity\"" : "\"-Infinity\"";
    return rcd__word_print(out, text);
}

static inline size_t print_float(struct writer *w, char *out, float v, size_t i)
{
    if (__builtin_expect(!isfinite(v), 0))
        return print_nonfinite(w, out, (double)v, i);
    return rcd__f32_to_text(out, v);
}

static inline size_t print_f32(struct writer *w, char *out, size_t i)
{
    return print_float(w, out, ((const float *)w->t->data)[i], i);
}

/* Half-width values are exact as float, so their shortest float text reads back to the same bits;
 * numbers are what clients expect of every float type. */
static inline size_t print_f16(struct writer *w, char *out, size_t i)
{
    return print_float(w, out, rcd_f16_to_f32(((const uint16_t *)w->t->data)[i]), i);
}

static inline size_t print_bf16(struct writer *w, char *out, size_t i)
{
    return print_float(w, out, rcd_bf16_to_f32(((const uint16_t *)w->t->data)[i]), i);
}

static inline size_t print_f64(struct writer *w, char *out, size_t i)
{
    double v = ((const double *)w->t->data)[i];
    return isfinite(v) ? rcd__f64_to_text(out, v) : print_nonfinite(w, out, v, i);
}

/* ---- arrays ---- */

static rcd_status append_one(struct writer *w, struct rcd_buf *out, size_t i, print_fn *print)
{
    char text[LONGEST];
    size_t len = print(w, text, i);
    if (i + 1 < w->t->n)
        text[len++] = ',';
    return rcd_buf_append(out, text, len);
}

static inline __attribute__((always_inline)) rcd_status
write_all(struct writer *w, struct rcd_buf *out, const size_t longest, print_fn *print)
{
    const size_t n = w->t->n;
    for (size_t i = 0; i < n && !w->bad;) {
        size_t group = n - i < GROUP ? n - i : GROUP;
        if (group > (out->max - out->len) / longest)
            group = (out->max - out->len) / longest;
        if (group == 0) {
            rcd_status st = append_one(w, out, i++, print);
            if (st != RCD_OK)
                return st;
            continue;
        }
        char *start = rcd_buf_reserve(out, group * longest);
        if (start == NULL)
            return RCD_ENOMEM;
        char *p = start;
        for (size_t end = i + group; i < end; i++) {
            p += print(w, p, i);
            *p++ = ',';
        }
        rcd_buf_commit(out, (size_t)(p - start) - (i == n));
    }
    return RCD_OK;
}

static rcd_status write_ints(struct writer *w, struct rcd_buf *out)
{
    switch (w->t->dtype) {
    case RCD_U8:
        return write_all(w, out, LONGEST, print_u8);
    case RCD_U16:
        return write_all(w, out, LONGEST, print_u16);
    case RCD_U32:
        return write_all(w, out, LONGEST, print_u32);
    case RCD_U64:
        return write_all(w, out, LONGEST, print_u64);
    case RCD_I8:
        return write_all(w, out, LONGEST, print_i8);
    case RCD_I16:
        return write_all(w, out, LONGEST, print_i16);
    case RCD_I32:
        return write_all(w, out, LONGEST, print_i32);
    default:
        return write_all(w, out, LONGEST, print_i64);
    }
}

static rcd_status write_strings(const struct rcd_tensor *t, struct rcd_buf *out, const char *what,
                                struct rcd_error *err)
{
    const struct rcd_bytes *strings = t->data;
    rcd_status st = RCD_OK;
    for (size_t i = 0; i < t->n && st == RCD_OK; i++) {
        if (!rcd__utf8_valid(strings[i].ptr, strings[i].len))
            return rcd_fail(err, RCD_EINVAL,
                            "output '%s': element %zu is not UTF-8, which JSON cannot carry; ask "
                            "for binary_data",
                            what, i);
        if (i > 0)
            st = rcd_buf_append(out, ",", 1);
        if (st == RCD_OK)
            st = rcd_json_string(out, strings[i].ptr, strings[i].len);
    }
    return st;
}

static rcd_status write_numbers(struct writer *w, struct rcd_buf *out)
{
    switch (w->t->dtype) {
    case RCD_F32:
        return write_all(w, out, LONGEST_F32, print_f32);
    case RCD_F64:
        return write_all(w, out, LONGEST, print_f64);
    case RCD_F16:
        return write_all(w, out, LONGEST_F32, print_f16);
    case RCD_BF16:
        return write_all(w, out, LONGEST_F32, print_bf16);
    case RCD_BOOL:
        return write_all(w, out, LONGEST, print_bool);
    default:
        return write_ints(w, out);
    }
}

rcd_status rcd__encode_data(struct rcd_buf *out, const struct rcd_tensor *t, rcd_nonfinite policy,
                            const char *what, struct rcd_error *err)
{
    struct writer w = {.t = t, .policy = policy};
    rcd_status st = rcd_buf_append(out, "[", 1);
    if (st == RCD_OK)
        st = t->dtype == RCD_BYTES ? write_strings(t, out, what, err) : write_numbers(&w, out);
    if (w.bad)
        return rcd_fail(err, RCD_EINVAL,
                        "output '%s': element %zu is not finite, which JSON has no number for; ask "
                        "for binary_data, or set the parameter nonfinite",
                        what, w.at);
    return st == RCD_OK ? rcd_buf_append(out, "]", 1) : st;
}
