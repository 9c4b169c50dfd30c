/* engine_report.h - a plan in words, for people who want to know what became of their file. */
#pragma once
#include "recurd/engine.h"

/** Nodes of the file, bodies included (functions are inlined, constants are no nodes). */
size_t rcd_plan_file_nodes(const rcd_plan *p);
/** Nodes of the plan: after folding, merging and fusing. Threading: any thread (all of this header) */
size_t rcd_plan_nodes(const rcd_plan *p);
/** A line per node in the order in which they run; those that fusion made are marked with a star.
 * RCD_ENOMEM. */
RCD_MUST_CHECK rcd_status rcd_plan_report(const rcd_plan *p, struct rcd_buf *out);
