/* number_int.h - float text to bits and back: number.cc and f32_text.c. */
#pragma once
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Room that printing needs; the longest texts have 15 and 24 characters. */
enum { RCD__F32_TEXT = 20, RCD__F64_TEXT = 25 };

/** Nearest float to the JSON number at [first, last); 0 on success, 1 when it is out of range
 * (too large or too small; *ret is then untouched). Threading: any thread (all of these). */
int rcd__text_to_f32(const char *first, const char *last, float *ret);
int rcd__text_to_f64(const char *first, const char *last, double *ret);

/** Shortest JSON number that reads back to the same bits; finite values only. Returns its length;
 * `out` holds RCD__F32_TEXT / RCD__F64_TEXT bytes. */
size_t rcd__f32_to_text(char *out, float v);
size_t rcd__f64_to_text(char *out, double v);

#ifdef __cplusplus
}
#endif
