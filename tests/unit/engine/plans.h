/* plans.h - what tests of plans share: a plan from bytes or from a network of tests/golden, and its report. */
#pragma once
#include "../onnx/model_bytes.h"
#include "recurd/engine.h"

/** A graph with "src" and "dst", the rows of "edge_index" (an input that is still to be said), and a "column" to reshape
 * by. */
struct pb graph_of_edges(void);
/** Asserts that the model is taken. */
rcd_plan *plan_from(struct pb model, rcd_cpu_level level);
/** A network of tests/golden/nets, on plain C. */
rcd_plan *plan_of_golden(const char *name);
/** How often the plan's report says `word`. */
size_t lines_with(const rcd_plan *p, const char *word);
