/* npz.h - arrays of numpy's .npz files, as tensors of a request. */
#pragma once
#include "ctl_int.h"

/** A request with one binary tensor for each array of the file: JSON, then the bytes; *ret_json_len is the length of the
 * JSON. float64 becomes FP32 and whole numbers INT64, texts (dtype U or S) BYTES. A message is printed when the file is no
 * .npz, an array has another type or Fortran's order, or the whole is over 1 GB. */
int rcd__request_from_npz(const char *path, bool undirected, struct rcd_buf *out,
                          size_t *ret_json_len);
