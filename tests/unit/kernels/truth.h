/* truth.h - exp, tanh and sigmoid of float32 inputs in double precision, many at a time: the C library's take minutes
 * more over all inputs. Within 1e-15 of the truth; NaN gives NaN, and what rounds to an infinity or to zero as float
 * may be a large or small number. Threading: any. */
#pragma once
#include <stddef.h>

void truth_exp(size_t n, const float *x, double *y);
void truth_tanh(size_t n, const float *x, double *y);
void truth_sigmoid(size_t n, const float *x, double *y);
