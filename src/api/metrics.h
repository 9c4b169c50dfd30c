/* metrics.h - the rows that the families of /metrics walk over. */
#pragma once
#include "api_int.h"
#include "recurd/obs.h"

struct rcd__metrics_row {
    const rcd_version *v;
    struct rcd_label labels[3]; /* model, version, and one for the family's own */
    struct rcd_queue_stats s;
};

/** *before: what the machine had done when this was last asked. */
void rcd__metrics_triton(struct rcd_prom *p, struct rcd__metrics_row *rows, size_t n,
                         struct rcd_machine_use *before);
