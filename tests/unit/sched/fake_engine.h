/* fake_engine.h - the engine's functions that sched/ calls, with a gate to hold workers in a run and
 * a record of the runs. Each plan has one input and one output; the answer is the input plus one. */
#pragma once
#include "recurd/engine_steps.h"

rcd_plan *fake_plan_new(void);
int fake_plans(void); /* plans alive */

/** While the gate is closed, runs wait in it. */
void fake_gate(bool open);
/** Wait until n runs have begun, in all. */
void fake_await_runs(size_t n);
size_t fake_runs(void);
/** The next run is the first. */
void fake_forget_runs(void);

enum { FAKE_RUNS = 4096, FAKE_FAILS = -7 };
struct fake_run {
    const rcd_plan *plan;
    size_t n;      /* requests */
    int32_t first; /* value of the first one's input */
};
struct fake_run fake_run_at(size_t i);
