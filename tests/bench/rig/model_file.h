/* model_file.h - what the rigs that run the engine without a server share: files, and plans made of them. Whatever
 * goes wrong ends the program. */
#pragma once
#include "recurd/engine.h"

_Noreturn void rig_die(const char *what, const struct rcd_error *err);
/** The whole file, aligned; released with rcd_free. */
void *rig_read(const char *path, size_t *ret_n);
/** Plan of an ONNX file on this machine's best kernels. */
rcd_plan *rig_load(const char *path);
/** Data of a tensor of 4-byte elements into a file. */
void rig_save(const char *path, const struct rcd_tensor *t);
