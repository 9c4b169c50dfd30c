/* median.h - of an odd number of rounds. */
#pragma once
#include <stddef.h>

/** Sorts v. */
double rig_median(double *v, size_t n);
