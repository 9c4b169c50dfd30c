/* number.cc - float text to bits and back, by libstdc++'s <charconv>: exact in, shortest out, no
 * locale, no memory. The only file of the project that is not C. */
#include "number_int.h"

#include <charconv>

namespace
{

template <typename Float> int read(const char *first, const char *last, Float *ret)
{
    return std::from_chars(first, last, *ret).ec == std::errc() ? 0 : 1;
}

/* Zero is written 0 or -0.0: a reader that takes "-0" for an integer would lose the sign. */
template <typename Float> size_t zero(char *out, Float v)
{
    static const char text[] = {'-', '0', '.', '0'};
    if (!__builtin_signbit(v)) {
        out[0] = '0';
        return 1;
    }
    __builtin_memcpy(out, text, sizeof text);
    return sizeof text;
}

} // namespace

int rcd__text_to_f32(const char *first, const char *last, float *ret)
{
    return read(first, last, ret);
}

int rcd__text_to_f64(const char *first, const char *last, double *ret)
{
    return read(first, last, ret);
}

size_t rcd__f64_to_text(char *out, double v)
{
    if (v == 0) { /* "-0" is an integer to some readers: keep the sign with a point */
        __builtin_memcpy(out, __builtin_signbit(v) ? "-0.0" : "0.00", 4);
        return __builtin_signbit(v) ? 4 : 1;
    }
    /* Readers that hold integers in 64 bits refuse longer ones: from 2^63 on with an exponent. */
    if (__builtin_fabs(v) >= 0x1p63)
        return static_cast<size_t>(
            std::to_chars(out, out + RCD__F64_TEXT, v, std::chars_format::scientific).ptr - out);
    return static_cast<size_t>(std::to_chars(out, out + RCD__F64_TEXT, v).ptr - out);
}
